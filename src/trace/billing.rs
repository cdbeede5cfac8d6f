//! The provider whose price list applies to a model request.

/// By the provider's id in Codex's configuration, which Codex writes into the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    OpenAi,
    /// Defined by the user: `azure`, `azure-openai`, `my_azure`.
    Azure,
    /// Codex itself defines `amazon-bedrock`.
    Bedrock,
    /// `codex --oss`: the model runs on the user's machine and costs nothing.
    Local,
    /// Defined by the user. GPT models run at OpenAI, Azure or Bedrock only, so another provider is a gateway.
    /// MLflow prices such requests by the model's name too.
    Other,
}

impl Provider {
    pub(super) fn from_id(id: Option<&str>) -> Provider {
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
    fn a_provider_id_selects_its_price_list() {
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
            assert_eq!(Provider::from_id(id), expected, "{id:?}");
        }
    }
}
