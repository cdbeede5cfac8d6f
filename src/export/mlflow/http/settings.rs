//! Makes a connection to a server from the variables of MLflow's client.

use super::client::{Client, RequestPolicy};
use super::credentials::authorization;
use super::proxies::{self, proxy_for};
use super::roots;
use crate::config::access::Access;
use crate::config::target::Target;
use crate::config::workspace;
use crate::env::Variables;
use crate::export::{ExportError, Patience};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{ClientBuilder, Identity, Url};
use std::time::Duration;

const WORKSPACE: HeaderName = HeaderName::from_static("x-mlflow-workspace");

/// The longest time that a variable may set: the sum with a time of the clock must not overflow.
const LONGEST_SECONDS: f64 = 24.0 * 3600.0;

/// A client for the target, and the address to start from.
pub(super) fn connect<'a>(
    target: &Target,
    address: &str,
    access: &Access,
    patience: Patience<'a>,
) -> Result<(Client<'a>, Url), ExportError> {
    let bad =
        || ExportError::Target(format!("{target} is no address of a server (check MLFLOW_TRACKING_URI)"));
    let url = Url::parse(address).ok().filter(Url::has_host).ok_or_else(bad)?;
    let variables = access.variables_for(target);
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization(&variables, target, access)? {
        headers.insert(AUTHORIZATION, value);
    }
    // The name of a workspace is no secret.
    let credentials = headers.clone();
    // A target of an earlier version has no workspace: then the environment names it.
    let name = target.workspace().or_else(|| variables.text(workspace::WORKSPACE).map(str::trim));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        headers.insert(WORKSPACE, header(workspace::WORKSPACE, name)?);
    }
    let http = ClientBuilder::new().default_headers(headers);
    let http = secured(proxies::set(http, &variables)?, &url, &variables)?;
    let client = Client::new(http, request_policy(&variables)?, patience)?;
    client.secrets().add_headers(&credentials);
    for scheme in ["http", "https"] {
        proxies::proxy_for(scheme, &variables)
            .into_iter()
            .for_each(|proxy| client.secrets().add_address(proxy));
    }
    Ok((client, url))
}

/// Sets the trusted authorities and the client's certificate. Without TLS it reads none, since a system may
/// have none.
fn secured(http: ClientBuilder, url: &Url, variables: &Variables) -> Result<ClientBuilder, ExportError> {
    let is_secure = |url: &str| url.to_ascii_lowercase().starts_with("https:");
    let goes_by_tls = is_secure(url.as_str()) || proxy_for(url.scheme(), variables).is_some_and(is_secure);
    if !goes_by_tls {
        return Ok(http.tls_certs_only([]));
    }
    let http = match variables.text("MLFLOW_TRACKING_CLIENT_CERT_PATH") {
        None => http,
        Some(path) => {
            let name = "MLFLOW_TRACKING_CLIENT_CERT_PATH";
            let identity = Identity::from_pem(&roots::read(name, path)?).map_err(|_| {
                ExportError::Target(format!("{path} holds no certificate with its key ({name} names it)"))
            })?;
            http.identity(identity)
        }
    };
    let own = variables.text("MLFLOW_TRACKING_SERVER_CERT_PATH");
    match (is_on("MLFLOW_TRACKING_INSECURE_TLS", variables)?, own) {
        (true, Some(_)) => Err(ExportError::Target(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH say opposite things (unset one of them)"
                .to_owned(),
        )),
        (true, None) => Ok(http.tls_danger_accept_invalid_certs(true)),
        (false, _) => roots::set(http, variables),
    }
}

/// Timeout and retries, for every target over a network.
pub fn request_policy(variables: &Variables) -> Result<RequestPolicy, ExportError> {
    let seconds = |name: &str, default: Duration| match variables.text(name) {
        None => Ok(default),
        Some(text) => match text.trim().parse::<f64>() {
            Ok(seconds) if (0.0..=LONGEST_SECONDS).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Err(ExportError::Target(format!(
                "{name} is no number of seconds (set it to one, or unset it)"
            ))),
        },
    };
    let usual = RequestPolicy::default();
    let retries = match variables.text("MLFLOW_HTTP_REQUEST_MAX_RETRIES") {
        None => usual.retries,
        Some(text) => text.trim().parse().map_err(|_| {
            ExportError::Target(
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES is no number (set it to one, or unset it)".to_owned(),
            )
        })?,
    };
    Ok(RequestPolicy {
        timeout: seconds("MLFLOW_HTTP_REQUEST_TIMEOUT", usual.timeout)?,
        retries,
        backoff: seconds("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", usual.backoff)?,
        jitter: seconds("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", usual.jitter)?,
    })
}

/// Whether a variable is on, as MLflow reads it.
pub(super) fn is_on(name: &str, variables: &Variables) -> Result<bool, ExportError> {
    match variables.text(name).map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => {
            Err(ExportError::Target(format!("{name} is neither true nor false (set it to one of them)")))
        }
    }
}

/// The value of a header. It may be a secret, so a bad one is not shown.
pub(super) fn header(name: &str, value: &str) -> Result<HeaderValue, ExportError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        ExportError::Target(format!("{name} holds characters that cannot be sent (set it anew)"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(uri: &str, variables: &[(&str, &str)]) -> String {
        let target = Target::parse(uri, std::path::Path::new("/")).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let access = Access { variables, ..Access::default() };
        let Target::Http(http) = &target else { panic!("{uri} is no server") };
        match connect(
            &target,
            &http.url,
            &access,
            Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} },
        ) {
            Ok((_, url)) => format!("ok {url}"),
            Err(ExportError::Target(reason)) => reason,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_setting_that_cannot_be_followed_is_reported_before_any_request() {
        let both = [("MLFLOW_TRACKING_INSECURE_TLS", "true"), ("MLFLOW_TRACKING_SERVER_CERT_PATH", "/x.pem")];
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let table: &[Case] = &[
            ("http://host:5000/mlflow", &[], "ok http://host:5000/mlflow"),
            ("http://host:99999", &[], "http://host:99999 is no address of a server"),
            ("https://host", &both, "say opposite things"),
            ("https://host", &[("MLFLOW_TRACKING_INSECURE_TLS", "maybe")], "is neither true nor false"),
            ("https://host", &[("MLFLOW_TRACKING_INSECURE_TLS", "1")], "ok "),
            (
                "https://host",
                &[("MLFLOW_TRACKING_SERVER_CERT_PATH", "/no/such.pem")],
                "cannot read /no/such.pem",
            ),
            (
                "https://host",
                &[("MLFLOW_TRACKING_CLIENT_CERT_PATH", "/no/such.pem")],
                "cannot read /no/such.pem",
            ),
            // Certificates do not matter where there is no TLS.
            ("http://host", &both, "ok "),
            ("http://host", &[("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon")], "is no number of seconds"),
            ("http://host", &[("MLFLOW_HTTP_REQUEST_TIMEOUT", "-1")], "is no number of seconds"),
            ("http://host", &[("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "inf")], "is no number of seconds"),
            ("http://host", &[("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "x")], "is no number"),
            ("http://host", &[("MLFLOW_TRACKING_AWS_SIGV4", "true")], "MLFLOW_TRACKING_AWS_SIGV4"),
            ("http://host", &[("MLFLOW_TRACKING_AWS_SIGV4", "false")], "ok "),
            ("http://host", &[("MLFLOW_TRACKING_AUTH", "kubernetes")], "MLFLOW_TRACKING_AUTH"),
            ("http://host", &[("MLFLOW_TRACKING_TOKEN", "a\nb")], "cannot be sent"),
            ("http://host", &[("MLFLOW_WORKSPACE", "a\nb")], "cannot be sent"),
            ("http://host", &[("HTTP_PROXY", "::")], "HTTP_PROXY"),
        ];
        for (uri, variables, expected) in table {
            let outcome = outcome(uri, variables);
            assert!(outcome.contains(expected), "{uri} {variables:?}: {outcome}");
        }
    }

    #[test]
    fn tries_are_as_the_variables_say() {
        let variables = [
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.5"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0"),
        ];
        let expected = RequestPolicy {
            timeout: Duration::from_secs(30),
            retries: 0,
            backoff: Duration::from_millis(500),
            jitter: Duration::ZERO,
        };
        assert_eq!(request_policy(&Variables::from(variables)), Ok(expected));
        assert_eq!(request_policy(&Variables::default()), Ok(RequestPolicy::default()));
    }
}
