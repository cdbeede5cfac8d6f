//! The collector that OpenTelemetry's variables name, as MLflow 3.17 and 3.18 read them.

use super::{OTLP_PATH, Target};
use common::variables::Variables;
use std::path::Path;

/// The whole address.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// The address before the path of the traces.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// MLflow's switch: `false` leaves the variables to other programs.
const ENABLED: &str = "MLFLOW_ENABLE_OTLP_EXPORTER";

/// The port of OTLP over gRPC.
const GRPC_PORT: &str = ":4317";

/// A collector, and the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCollector {
    pub target: Target,
    pub variable: &'static str,
}

/// Why nothing can be sent to the collector that a variable names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCollector {
    #[error(
        "{0} names no address of a collector\n  hint: set it to the address of one, such as http://localhost:4318"
    )]
    Address(&'static str),
    #[error(
        "{0} names a collector for gRPC, which codex-traced does not speak\n  hint: name its port for HTTP (4318 as a \
         rule), and set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    )]
    Grpc(&'static str),
}

/// None where no variable names one.
pub fn named_in(variables: &Variables) -> Option<Result<NamedCollector, BadCollector>> {
    let is_off = |text: &str| ["false", "0"].contains(&text.trim().to_ascii_lowercase().as_str());
    if variables.text(ENABLED).is_some_and(is_off) {
        return None;
    }
    let (variable, address) = endpoint_in(variables)?;
    let protocol = PROTOCOLS.into_iter().find_map(|name| variables.text(name)).map(str::trim);
    let is_grpc = match protocol {
        Some(protocol) => protocol == "grpc",
        None => authority_of(&address).ends_with(GRPC_PORT),
    };
    let parsed = Target::parse(&format!("otlp+{address}"), Path::new("/"));
    Some(match parsed {
        _ if is_grpc => Err(BadCollector::Grpc(variable)),
        Ok(target @ Target::Otlp(_)) => Ok(NamedCollector { target, variable }),
        _ => Err(BadCollector::Address(variable)),
    })
}

/// The whole address with user and password, and the variable that names it.
pub(super) fn endpoint_in(variables: &Variables) -> Option<(&'static str, String)> {
    let whole = variables.text(TRACES_ENDPOINT).map(|address| (TRACES_ENDPOINT, address.trim().to_owned()));
    let with_path = |base: &str| (ENDPOINT, format!("{}{OTLP_PATH}", base.trim().trim_end_matches('/')));
    whole.or_else(|| variables.text(ENDPOINT).map(with_path))
}

fn authority_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_as_for_mlflow() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<Result<&'a str, BadCollector>>);
        let table: &[Case] = &[
            (&[], None),
            (&[(ENDPOINT, "http://h:4318")], Some(Ok("otlp+http://h:4318/v1/traces"))),
            (&[(ENDPOINT, "https://h/otel/")], Some(Ok("otlp+https://h/otel/v1/traces"))),
            (&[(TRACES_ENDPOINT, "http://h:4318/in")], Some(Ok("otlp+http://h:4318/in"))),
            (&[(TRACES_ENDPOINT, "http://a/x"), (ENDPOINT, "http://b")], Some(Ok("otlp+http://a/x"))),
            (&[(ENDPOINT, "http://h:4318"), (ENABLED, "False")], None),
            (&[(ENDPOINT, "http://h:4317")], Some(Err(BadCollector::Grpc(ENDPOINT)))),
            (
                &[(ENDPOINT, "http://h:4317"), (PROTOCOLS[1], "http/protobuf")],
                Some(Ok("otlp+http://h:4317/v1/traces")),
            ),
            (
                &[(ENDPOINT, "http://h:4318"), (PROTOCOLS[0], "grpc"), (PROTOCOLS[1], "http/protobuf")],
                Some(Err(BadCollector::Grpc(ENDPOINT))),
            ),
            (&[(ENDPOINT, "h:4318")], Some(Err(BadCollector::Address(ENDPOINT)))),
            (&[(TRACES_ENDPOINT, "unix:///x")], Some(Err(BadCollector::Address(TRACES_ENDPOINT)))),
        ];
        for (pairs, expected) in table {
            let variables: Variables =
                pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let found = named_in(&variables).map(|named| named.map(|named| named.target.to_string()));
            let expected = expected.clone().map(|expected| expected.map(str::to_owned));
            assert_eq!(found, expected, "{pairs:?}");
        }
    }
}
