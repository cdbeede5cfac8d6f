//! Whose price list a model request is on.

/// By the provider's id in Codex's configuration, which Codex writes into the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    OpenAi,
    /// A user defines it: `azure`, `azure-openai`, `my_azure`.
    Azure,
    /// `amazon-bedrock` is Codex's own.
    Bedrock,
    /// `codex --oss`: what a machine of one's own computes is on no list.
    Local,
    /// A user defines it. GPT models run at OpenAI, Azure or Bedrock only, so that another provider of one
    /// is a gateway to them, and MLflow prices it by the model's name too.
    Other,
}

impl Provider {
    pub(super) fn of(id: Option<&str>) -> Provider {
        let Some(id) = id.filter(|id| !id.is_empty()) else { return Provider::OpenAi };
        let id = id.to_ascii_lowercase();
        match &*id {
            "openai" => Provider::OpenAi,
            "oss" | "ollama" | "ollama-chat" | "lmstudio" => Provider::Local,
            _ if id.contains("azure") => Provider::Azure,
            _ if id.contains("bedrock") => Provider::Bedrock,
            _ => Provider::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_id_names_its_price_list() {
        let table = [
            (None, Provider::OpenAi),
            (Some(""), Provider::OpenAi),
            (Some("openai"), Provider::OpenAi),
            (Some("azure"), Provider::Azure),
            (Some("My-Azure_OpenAI"), Provider::Azure),
            (Some("amazon-bedrock"), Provider::Bedrock),
            (Some("bedrock"), Provider::Bedrock),
            (Some("oss"), Provider::Local),
            (Some("ollama"), Provider::Local),
            (Some("lmstudio"), Provider::Local),
            (Some("corp-gateway"), Provider::Other),
        ];
        for (id, expected) in table {
            assert_eq!(Provider::of(id), expected, "{id:?}");
        }
    }
}
