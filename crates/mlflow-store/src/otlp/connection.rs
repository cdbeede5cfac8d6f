//! Makes a connection to a collector from OpenTelemetry's variables: headers, timeout, compression, TLS.

use super::collector::{Collector, Compression};
use super::refusal::may_be_repeated;
use crate::exporter::{ExportError, Remote, Result};
use crate::rest::client::{Client, RequestPolicy};
use crate::rest::variables::{
    header, proxy_for, read_file, request_policy_from, with_authorities, with_proxies,
};
use crate::target::Target;
use crate::target::access::Access;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::variables::Variables;
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use reqwest::{Certificate, ClientBuilder, Identity, Url};
use std::time::Duration;

/// A variable for traces, and the one for all signals; the first wins.
type Names = [&'static str; 2];

const HEADERS: Names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUT: Names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const COMPRESSION: Names = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const CERTIFICATE: Names = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const CLIENT_KEY: Names = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
const CLIENT_CERTIFICATE: Names =
    ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];

/// A number below it is in seconds, as Python's exporter reads it (and MLflow with it); any other is in milliseconds, as
/// the specification has it.
const MILLISECONDS_FROM: f64 = 1000.0;

/// OpenTelemetry's timeout, and pauses of Python's exporter.
const USUAL: RequestPolicy = RequestPolicy {
    timeout: Duration::from_secs(10),
    retries: 5,
    backoff: Duration::from_secs(1),
    jitter: Duration::from_secs(1),
};

fn value(names: Names, variables: &Variables) -> Option<(&'static str, &str)> {
    names.into_iter().find_map(|name| Some((name, variables.text(name)?.trim())))
}

pub(super) fn connect<'a>(remote: Remote<'_, 'a>, address: &str) -> Result<Collector<'a>> {
    let Remote { target, access, patience } = remote;
    let bad = || ExportError::Target(format!("{target} is no address of a collector (check it)"));
    let url = Url::parse(address).ok().filter(Url::has_host).ok_or_else(bad)?;
    let variables = access.variables_for(target);
    let headers = headers(&variables, target, access)?;
    let http = ClientBuilder::new().default_headers(headers.clone());
    let http = secured(with_proxies(http, &variables)?, &url, &variables)?;
    let client = Client::new(http, policy(&variables)?, patience)?.repeating_after(may_be_repeated);
    client.mask.add_headers(&headers);
    for proxy in ["http", "https"].iter().filter_map(|scheme| proxy_for(scheme, &variables)) {
        client.mask.add_address(proxy);
    }
    let compression = compression(&variables)?;
    Ok(Collector { client, address: target.to_string(), url: url.into(), compression })
}

/// Each may hold a key. A user and a password in the address count where no header replaces them.
fn headers(variables: &Variables, target: &Target, access: &Access) -> Result<HeaderMap> {
    let mut all = HeaderMap::new();
    if let Some((user, password)) = access.credentials_in_address(target) {
        let both = STANDARD.encode(format!("{user}:{}", password.reveal()));
        all.insert(AUTHORIZATION, header(HEADERS[1], &format!("Basic {both}"))?);
    }
    let Some((name, list)) = value(HEADERS, variables) else { return Ok(all) };
    for pair in list.split(',').filter(|pair| !pair.trim().is_empty()) {
        // The list may be a secret, so it is not shown.
        let bad = || {
            ExportError::Target(format!("{name} is no list of headers (write it as \"key=value,key=value\")"))
        };
        let (key, value) = pair.split_once('=').ok_or_else(bad)?;
        let key: HeaderName = key.trim().to_ascii_lowercase().parse().map_err(|_| bad())?;
        let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| bad())?;
        all.insert(key, header(name, &value)?);
    }
    Ok(all)
}

fn policy(variables: &Variables) -> Result<RequestPolicy> {
    let policy = request_policy_from(variables, USUAL)?;
    let Some((name, text)) = value(TIMEOUT, variables) else { return Ok(policy) };
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    let number = number.ok_or_else(|| {
        ExportError::Target(format!("{name} is no number of seconds (set it to one, or unset it)"))
    })?;
    let seconds = if number < MILLISECONDS_FROM { number } else { number / MILLISECONDS_FROM };
    let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(USUAL.timeout);
    Ok(RequestPolicy { timeout, ..policy })
}

/// gzip without a variable: every collector takes it.
fn compression(variables: &Variables) -> Result<Compression> {
    match value(COMPRESSION, variables) {
        None | Some((_, "gzip")) => Ok(Compression::Gzip),
        Some((_, "none")) => Ok(Compression::None),
        Some((name, _)) => {
            Err(ExportError::Target(format!("{name} is neither gzip nor none (set it to one)")))
        }
    }
}

/// Without TLS it reads no certificate.
fn secured(http: ClientBuilder, url: &Url, variables: &Variables) -> Result<ClientBuilder> {
    let is_secure = |url: &str| url.to_ascii_lowercase().starts_with("https:");
    if !is_secure(url.as_str()) && !proxy_for(url.scheme(), variables).is_some_and(is_secure) {
        return Ok(http.tls_certs_only([]));
    }
    let http = match (value(CLIENT_CERTIFICATE, variables), value(CLIENT_KEY, variables)) {
        (None, None) => http,
        (Some((name, path)), Some((key_name, key_path))) => {
            let mut pem = read_file(name, path)?;
            pem.push(b'\n');
            pem.extend(read_file(key_name, key_path)?);
            let identity = Identity::from_pem(&pem).map_err(|_| {
                ExportError::Target(format!(
                    "{path} and {key_path} hold no certificate with its key ({name} and {key_name} name them)"
                ))
            })?;
            http.identity(identity)
        }
        (Some((one, _)), None) | (None, Some((one, _))) => {
            return Err(ExportError::Target(format!(
                "{one} is set alone (set {} and {} both)",
                CLIENT_CERTIFICATE[1], CLIENT_KEY[1]
            )));
        }
    };
    let Some((name, path)) = value(CERTIFICATE, variables) else { return with_authorities(http, variables) };
    let bundle = Certificate::from_pem_bundle(&read_file(name, path)?).unwrap_or_default();
    match bundle.is_empty() {
        true => {
            Err(ExportError::Target(format!("{path} holds no certificate in PEM form ({name} names it)")))
        }
        false => Ok(http.tls_certs_only(bundle)),
    }
}
