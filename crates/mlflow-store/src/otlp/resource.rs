//! What produced a trace, as a collector keeps it: service, program, machine.

use super::dialect::Dialect;
use super::value::flat_key_value;
use crate::trace::Trace;
use common::json::text::Text;
use common::json::value::Map;
use common::variables::Variables;
use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;

const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// `key=value` pairs with commas between them, in the form of W3C's Baggage.
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The service where no variable names one.
const CODEX: &str = "codex";

/// The user's attributes come first. A trace that holds metadata only gets nothing that names the machine or a folder
/// from us.
pub(super) fn resource(trace: &Trace, variables: &Variables, dialect: Dialect, project: &str) -> Resource {
    let mut all = Map::new();
    all.put("service.name", Some(Text::word(CODEX)));
    all.put("service.version", trace.tags.get("codex.cli_version").map(String::as_str));
    all.put("os.type", Some(Text::word(os_type())));
    all.put("host.arch", Some(Text::word(architecture())));
    if !trace.is_metadata_only() {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        all.put("host.name", name);
        all.put("process.executable.name", Some(Text::word(CODEX)));
    }
    if dialect == Dialect::OpenInference {
        all.put("openinference.project.name", Some(project));
    }
    // The user's tags, and facts of a CI job. Ours begin so, and are attributes of spans.
    for (key, value) in trace.tags.iter().filter(|(key, _)| !key.starts_with("codex.")) {
        all.insert(key.as_str(), value.as_str().into());
    }
    for (key, value) in pairs(variables.text(RESOURCE_ATTRIBUTES).unwrap_or_default()) {
        all.insert(key, value.into());
    }
    if let Some(name) = variables.text(SERVICE_NAME) {
        all.insert("service.name", name.into());
    }
    let attributes = all.iter().map(|(key, value)| flat_key_value(key, value)).collect();
    Resource { attributes, ..Default::default() }
}

/// Keys and values, decoded. What is no pair is left out.
fn pairs(list: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
    list.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(move |(key, value)| (decoded(key), decoded(value)))
        .filter(|(key, _)| !key.is_empty())
}

/// In the words of the conventions.
fn os_type() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mlflow_keys::CONTENT;
    use crate::tests::trace;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

    fn shown(trace: &Trace, variables: &[(&str, &str)], dialect: Dialect) -> Vec<(String, String)> {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let found = resource(trace, &variables, dialect, "codex-sessions").attributes.into_iter();
        let text = |value| match value {
            Some(Any::StringValue(text)) => text,
            other => panic!("{other:?}"),
        };
        found.map(|pair| (pair.key, text(pair.value.unwrap().value))).collect()
    }

    #[test]
    fn a_resource_names_the_service_and_the_users_attributes_win() {
        let mut trace = trace();
        let set = [
            (RESOURCE_ATTRIBUTES, "team=pay%2Cments, service.name=mine,service.version=9,,x"),
            (SERVICE_NAME, "codex-ci"),
        ];
        let found = shown(&trace, &set, Dialect::OpenInference);
        let of = |key: &str| found.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        assert_eq!(of("service.name"), Some("codex-ci"));
        assert_eq!((of("service.version"), of("team")), (Some("9"), Some("pay,ments")));
        assert_eq!(of("openinference.project.name"), Some("codex-sessions"));
        assert!(of("host.name").is_some() && of("os.type").is_some());
        trace.root_mut().unwrap().attributes.insert(CONTENT, "metadata".into());
        let keys: Vec<String> = shown(&trace, &[], Dialect::GenAi).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["service.name", "service.version", "os.type", "host.arch"]);
    }
}
