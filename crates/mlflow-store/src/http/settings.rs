//! Makes a connection to a server from the variables of MLflow's client.

use super::credentials::authorization;
use super::server::ServerApi;
use crate::exporter::{ExportError, Remote};
use crate::rest::client::Client;
use crate::rest::proxies::{self, proxy_for};
use crate::rest::roots;
use crate::rest::variables::{header, is_on, request_policy};
use crate::target;
use common::variables::Variables;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use reqwest::{ClientBuilder, Identity, Url};

const WORKSPACE: HeaderName = HeaderName::from_static("x-mlflow-workspace");

/// The server at this address.
pub(super) fn connect<'a>(remote: Remote<'_, 'a>, address: &str) -> Result<ServerApi<'a>, ExportError> {
    let Remote { target, access, patience } = remote;
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
    let name = target.workspace().or_else(|| variables.text(target::WORKSPACE).map(str::trim));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        headers.insert(WORKSPACE, header(target::WORKSPACE, name)?);
    }
    let http = ClientBuilder::new().default_headers(headers);
    let http = secured(proxies::set(http, &variables)?, &url, &variables)?;
    let client = Client::new(http, request_policy(&variables)?, patience)?;
    client.secrets().add_headers(&credentials);
    for proxy in ["http", "https"].iter().filter_map(|scheme| proxy_for(scheme, &variables)) {
        client.secrets().add_address(proxy);
    }
    Ok(ServerApi::new(client, target.to_string(), url))
}

/// Sets the trusted authorities and the client's certificate. Without TLS it reads none, since a system may
/// have none.
fn secured(http: ClientBuilder, url: &Url, variables: &Variables) -> Result<ClientBuilder, ExportError> {
    let is_secure = |url: &str| url.to_ascii_lowercase().starts_with("https:");
    let goes_by_tls = is_secure(url.as_str()) || proxy_for(url.scheme(), variables).is_some_and(is_secure);
    if !goes_by_tls {
        return Ok(http.tls_certs_only([]));
    }
    let name = "MLFLOW_TRACKING_CLIENT_CERT_PATH";
    let http = match variables.text(name) {
        None => http,
        Some(path) => http.identity(Identity::from_pem(&roots::read(name, path)?).map_err(|_| {
            ExportError::Target(format!("{path} holds no certificate with its key ({name} names it)"))
        })?),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::Patience;
    use crate::target::Target;
    use crate::target::access::Access;

    fn outcome(uri: &str, variables: &[(&str, &str)]) -> String {
        let target = Target::parse(uri, std::path::Path::new("/")).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let access = Access { variables, ..Access::default() };
        let Target::Http(http) = &target else { panic!("{uri} is no server") };
        let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
        match connect(Remote { target: &target, access: &access, patience }, &http.url) {
            Ok(server) => format!("ok {}", server.url),
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
}
