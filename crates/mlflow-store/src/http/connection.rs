//! Makes a connection to a server from the variables of MLflow's client: address, Authorization header, TLS.

use super::server::ServerApi;
use crate::exporter::{ExportError, Remote, Result};
use crate::rest::client::Client;
use crate::rest::variables::{
    header, is_on, proxy_for, read_file, request_policy, with_authorities, with_proxies,
};
use crate::target;
use crate::target::Target;
use crate::target::access::Access;
use crate::target::credentials::Credential;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::variables::Variables;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{ClientBuilder, Identity, Url};
use std::fs;

const WORKSPACE: HeaderName = HeaderName::from_static("x-mlflow-workspace");

/// The server at this address.
pub(super) fn connect<'a>(remote: Remote<'_, 'a>, address: &str) -> Result<ServerApi<'a>> {
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
    let http = secured(with_proxies(http, &variables)?, &url, &variables)?;
    let client = Client::new(http, request_policy(&variables)?, patience)?;
    client.mask.add_headers(&credentials);
    for proxy in ["http", "https"].iter().filter_map(|scheme| proxy_for(scheme, &variables)) {
        client.mask.add_address(proxy);
    }
    Ok(ServerApi { client, address: target.to_string(), url })
}

/// Sets the trusted authorities and the client's certificate. Without TLS it reads none, since a system may
/// have none.
fn secured(http: ClientBuilder, url: &Url, variables: &Variables) -> Result<ClientBuilder> {
    let is_secure = |url: &str| url.to_ascii_lowercase().starts_with("https:");
    let goes_by_tls = is_secure(url.as_str()) || proxy_for(url.scheme(), variables).is_some_and(is_secure);
    if !goes_by_tls {
        return Ok(http.tls_certs_only([]));
    }
    let name = "MLFLOW_TRACKING_CLIENT_CERT_PATH";
    let http = match variables.text(name) {
        None => http,
        Some(path) => http.identity(Identity::from_pem(&read_file(name, path)?).map_err(|_| {
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
        (false, _) => with_authorities(http, variables),
    }
}

const USER: &str = "MLFLOW_TRACKING_USERNAME";
const PASSWORD: &str = "MLFLOW_TRACKING_PASSWORD";
const TOKEN: &str = "MLFLOW_TRACKING_TOKEN";

/// A user and password in the address win, then those of variables and MLflow's own file, then a token.
/// Unsupported ways to sign are refused: without a signature, the requests would have no user.
pub(super) fn authorization(
    variables: &Variables,
    target: &Target,
    access: &Access,
) -> Result<Option<HeaderValue>> {
    let unknown = |name: &str| {
        ExportError::Target(format!(
            "{target} wants requests signed as {name} says, which codex-traced cannot do (unset it, and use a user and \
             password or a token)"
        ))
    };
    if is_on("MLFLOW_TRACKING_AWS_SIGV4", variables)? {
        return Err(unknown("MLFLOW_TRACKING_AWS_SIGV4"));
    }
    if variables.text("MLFLOW_TRACKING_AUTH").is_some() {
        return Err(unknown("MLFLOW_TRACKING_AUTH"));
    }
    if let Some((user, password)) = access.credentials_in_address(target) {
        return basic(&user, &password).map(Some);
    }
    // Where `mlflow` recommends to keep a password, which is the first target's.
    let file = access.home.as_ref().filter(|_| !access.is_further(target));
    let file = file.map(|home| home.join(".mlflow/credentials"));
    let file = file.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let either = |name: &str| variables.text(name).map(str::to_owned).or_else(|| in_ini(&file, name));
    let (user, password) = (either(USER), either(PASSWORD).map(Credential::new));
    if let (Some(user), Some(password)) = (user, password) {
        return basic(&user, &password).map(Some);
    }
    variables.text(TOKEN).map(|token| header(TOKEN, &format!("Bearer {token}"))).transpose()
}

fn basic(user: &str, password: &Credential) -> Result<HeaderValue> {
    header(USER, &format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal()))))
}

/// A value of the section `[mlflow]` of an INI file.
fn in_ini(text: &str, wanted: &str) -> Option<String> {
    let mut is_ours = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_ours = section.strip_suffix(']') == Some("mlflow");
        }
        let Some(at) = line.find(['=', ':']) else { continue };
        if is_ours && !line.starts_with(['#', ';']) && line[..at].trim_end().eq_ignore_ascii_case(wanted) {
            found = Some(line[at + 1..].trim_start().to_owned()).filter(|value| !value.is_empty());
        }
    }
    found
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

    const FILE: &str = "# mine\n[other]\nmlflow_tracking_username = no\n[mlflow]\nMLFLOW_tracking_username = bob\n\
                        mlflow_tracking_password: s=cret ; x\n";

    fn authorization_for(uri: &str, pairs: &[(&str, &str)], file: Option<&str>) -> Option<String> {
        let home = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            fs::create_dir(home.path().join(".mlflow")).unwrap();
            fs::write(home.path().join(".mlflow/credentials"), text).unwrap();
        }
        let mut pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        pairs.push(("MLFLOW_TRACKING_URI".to_owned(), uri.to_owned()));
        let variables: Variables = pairs.into_iter().collect();
        let access =
            Access { variables: variables.clone(), home: Some(home.path().to_owned()), ..Access::default() };
        let target = Target::parse(uri, std::path::Path::new("/")).unwrap();
        let value = authorization(&variables, &target, &access).unwrap()?;
        let value = value.to_str().unwrap();
        Some(match value.strip_prefix("Basic ") {
            Some(encoded) => {
                format!("Basic {}", String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
            }
            None => value.to_owned(),
        })
    }

    #[test]
    fn mlflows_own_file_is_for_the_first_target() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".mlflow")).unwrap();
        fs::write(home.path().join(".mlflow/credentials"), FILE).unwrap();
        let further = Target::Http("http://further".into());
        let access = Access {
            home: Some(home.path().to_owned()),
            further: vec![(further.clone(), [(TOKEN, "its own")].into())],
            ..Access::default()
        };
        let of = |target: &Target| authorization(&access.variables_for(target), target, &access).unwrap();
        assert_eq!(of(&further).unwrap().to_str().unwrap(), "Bearer its own");
        assert!(of(&Target::Http("http://first".into())).unwrap().to_str().unwrap().starts_with("Basic "));
    }

    #[test]
    fn credentials_are_found_where_mlflow_finds_them() {
        let (user, password, token) = ((USER, "ann"), (PASSWORD, "pw"), (TOKEN, "t"));
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let table: &[Case] = &[
            ("http://h", &[], None, None),
            ("http://h", &[user, password], None, Some("Basic ann:pw")),
            ("http://h", &[user, password, token], None, Some("Basic ann:pw")),
            ("http://h", &[user, token], None, Some("Bearer t")),
            ("http://h", &[user], None, None),
            ("http://h", &[token], None, Some("Bearer t")),
            ("http://h", &[], Some(FILE), Some("Basic bob:s=cret ; x")),
            ("http://h", &[user], Some(FILE), Some("Basic ann:s=cret ; x")),
            ("http://h", &[token], Some(FILE), Some("Basic bob:s=cret ; x")),
            ("http://h", &[token], Some("[mlflow]\nmlflow_tracking_password =\n"), Some("Bearer t")),
            ("http://eve:x@h", &[user, password, token], Some(FILE), Some("Basic eve:x")),
        ];
        for (uri, pairs, file, expected) in table {
            assert_eq!(
                authorization_for(uri, pairs, *file).as_deref(),
                *expected,
                "{uri} {pairs:?} {file:?}"
            );
        }
    }
}
