//! How a collector's spans name their attributes.

use crate::target::Target;

/// The conventions that the attributes of a collector's spans follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// OpenTelemetry's conventions for generative AI.
    #[default]
    GenAi,
    /// Those of Arize: Phoenix shows chats, tokens and costs by them.
    OpenInference,
}

/// The variable that chooses one.
pub(super) const DIALECT: &str = "CODEX_TRACED_OTLP_DIALECT";

/// Phoenix's port, where its address does not name it.
const PHOENIX_PORT: &str = ":6006";

impl Dialect {
    /// None for an unknown word.
    pub fn parse(word: &str) -> Option<Dialect> {
        [Dialect::GenAi, Dialect::OpenInference]
            .into_iter()
            .find(|dialect| word.trim().eq_ignore_ascii_case(dialect.as_str()))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::GenAi => "gen_ai",
            Dialect::OpenInference => "openinference",
        }
    }

    /// Without a setting: by the collector's host.
    pub fn usual_for(target: &Target) -> Dialect {
        let uri = target.uri();
        let authority = uri.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let host = authority.to_ascii_lowercase();
        match host.ends_with(PHOENIX_PORT) || host.contains("phoenix") || host.contains("arize.com") {
            true => Dialect::OpenInference,
            false => Dialect::GenAi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phoenix_is_known_by_its_host_or_its_port() {
        use Dialect::{GenAi, OpenInference};
        let table = [
            ("http://localhost:4318/v1/traces", GenAi),
            ("http://localhost:6006/v1/traces", OpenInference),
            ("https://app.phoenix.arize.com/v1/traces", OpenInference),
            ("https://otlp.arize.com/v1/traces", OpenInference),
            ("http://phoenix.observability.svc:80/v1/traces", OpenInference),
            ("https://host/phoenix/v1/traces", GenAi),
        ];
        for (url, dialect) in table {
            assert_eq!(Dialect::usual_for(&Target::Otlp(url.to_owned())), dialect, "{url}");
        }
        for dialect in [GenAi, OpenInference] {
            assert_eq!(Dialect::parse(&format!(" {} ", dialect.as_str().to_uppercase())), Some(dialect));
        }
        assert_eq!(Dialect::parse("otel"), None);
    }
}
