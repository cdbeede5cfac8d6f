//! What the variables of MLflow's client set for every request: timeouts, retries, proxies and trusted certificate
//! authorities.

use super::client::RequestPolicy;
use crate::exporter::{ExportError, Result};
use common::variables::Variables;
use reqwest::header::HeaderValue;
use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The longest time that a variable may set: the sum with a time of the clock must not overflow.
const LONGEST_SECONDS: f64 = 24.0 * 3600.0;

/// Timeout and retries for MLflow's servers.
pub(crate) fn request_policy(variables: &Variables) -> Result<RequestPolicy> {
    request_policy_from(variables, RequestPolicy::default())
}

/// Timeout and retries for a target over a network, with what counts where no variable is set.
pub(crate) fn request_policy_from(variables: &Variables, usual: RequestPolicy) -> Result<RequestPolicy> {
    let bad = |name: &str, what: &str| {
        ExportError::Target(format!("{name} is no {what} (set it to one, or unset it)"))
    };
    let seconds = |name: &str, default: Duration| {
        let Some(text) = variables.text(name) else { return Ok(default) };
        let seconds = text.trim().parse().ok().filter(|seconds| (0.0..=LONGEST_SECONDS).contains(seconds));
        seconds.map(Duration::from_secs_f64).ok_or_else(|| bad(name, "number of seconds"))
    };
    let retries = |name: &str, default: u32| {
        let Some(text) = variables.text(name) else { return Ok(default) };
        text.trim().parse().map_err(|_| bad(name, "number"))
    };
    Ok(RequestPolicy {
        timeout: seconds("MLFLOW_HTTP_REQUEST_TIMEOUT", usual.timeout)?,
        retries: retries("MLFLOW_HTTP_REQUEST_MAX_RETRIES", usual.retries)?,
        backoff: seconds("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", usual.backoff)?,
        jitter: seconds("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", usual.jitter)?,
    })
}

/// Whether a variable is on, as MLflow reads it.
pub(crate) fn is_on(name: &str, variables: &Variables) -> Result<bool> {
    match variables.text(name).map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => {
            Err(ExportError::Target(format!("{name} is neither true nor false (set it to one of them)")))
        }
    }
}

/// The value of a header. It may be a secret, so a bad one is not shown.
pub(crate) fn header(name: &str, value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        ExportError::Target(format!("{name} holds characters that cannot be sent (set it anew)"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Lower case first, as in Python and curl.
const HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Adds the proxies that the variables name, and no others. reqwest would read them too, but only from the process's
/// environment; the configuration file may set some.
pub(crate) fn with_proxies(http: ClientBuilder, variables: &Variables) -> Result<ClientBuilder> {
    let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(|name| variables.text(name));
    let exceptions = NoProxy::from_string(&without_ports(exceptions.unwrap_or_default()));
    let mut http = http.no_proxy();
    for scheme in ["http", "https"] {
        let Some((name, address)) = named_for(scheme, variables) else { continue };
        let proxy = if scheme == "https" { Proxy::https(address) } else { Proxy::http(address) };
        // The address may hold a password, so a bad one is not shown.
        let proxy = proxy.map_err(|_| {
            ExportError::Target(format!("{name} is no address of a proxy (set it anew, or unset it)"))
        })?;
        http = http.proxy(proxy.no_proxy(exceptions.clone()));
    }
    Ok(http)
}

/// The proxy for addresses of this scheme, unless the host is an exception.
pub(crate) fn proxy_for<'v>(scheme: &str, variables: &'v Variables) -> Option<&'v str> {
    named_for(scheme, variables).map(|(_, address)| address)
}

fn named_for<'v>(scheme: &str, variables: &'v Variables) -> Option<(&'static str, &'v str)> {
    let names = if scheme == "https" { HTTPS } else { HTTP };
    names.into_iter().find_map(|name| Some((name, variables.text(name)?)))
}

/// reqwest compares exceptions with hosts; users may write a port after one.
fn without_ports(list: &str) -> String {
    let host = |entry: &str| match entry.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            host.to_owned()
        }
        _ => entry.to_owned(),
    };
    list.split(',').map(|entry| host(entry.trim())).collect::<Vec<_>>().join(",")
}

/// Only the first that is set counts; each names a file or a folder of files.
const BUNDLES: [&str; 3] = ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
/// OpenSSL's; both count.
const OPENSSL: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Trusts the certificate authorities that the variables name, or the system's if they name none.
pub(crate) fn with_authorities(http: ClientBuilder, variables: &Variables) -> Result<ClientBuilder> {
    let named = |name: &&&'static str| variables.text(name).is_some();
    let first: Vec<&str> = BUNDLES.iter().find(named).copied().into_iter().collect();
    let names = if first.is_empty() { OPENSSL.iter().filter(named).copied().collect() } else { first };
    let mut all = Vec::new();
    for name in &names {
        let value = variables.text(name).unwrap_or_default();
        let paths: Vec<&str> = if *name == OPENSSL[1] { value.split(':').collect() } else { vec![value] };
        for path in paths {
            all.extend(certificates(name, path)?);
        }
    }
    match &names[..] {
        [] => Ok(http),
        _ if all.is_empty() => Err(ExportError::Target(format!(
            "there is no certificate where {} says (name a file in PEM form)",
            names.join(" and ")
        ))),
        _ => Ok(http.tls_certs_only(all)),
    }
}

fn certificates(name: &str, path: &str) -> Result<Vec<Certificate>> {
    if !Path::new(path).is_dir() {
        return Ok(Certificate::from_pem_bundle(&read_file(name, path)?).unwrap_or_default());
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(name, path, &error))?;
    // A folder holds other things, too: hashed links, revocation lists.
    let bundles = entries
        .flatten()
        .filter_map(|entry| Certificate::from_pem_bundle(&fs::read(entry.path()).ok()?).ok());
    Ok(bundles.flatten().collect())
}

/// The content of the file that a variable names.
pub(crate) fn read_file(name: &str, path: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| unreadable(name, path, &error))
}

fn unreadable(name: &str, path: &str, error: &std::io::Error) -> ExportError {
    ExportError::Target(format!("cannot read {path}: {error} ({name} names it)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_policy_is_as_the_variables_set_it() {
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

    #[test]
    fn each_scheme_has_its_own_proxy_and_lower_case_wins() {
        let variables = Variables::from([
            ("http_proxy", "http://small"),
            ("HTTP_PROXY", "http://large"),
            ("ALL_PROXY", "socks5://all"),
        ]);
        assert_eq!(proxy_for("http", &variables), Some("http://small"));
        assert_eq!(proxy_for("https", &variables), Some("socks5://all"));
        assert_eq!(proxy_for("https", &Variables::from([("HTTPS_PROXY", "")])), None);
    }

    #[test]
    fn exceptions_lose_their_ports() {
        let table = [
            ("localhost:5000, .corp ,10.0.0.0/8", "localhost,.corp,10.0.0.0/8"),
            ("::1,fe80::/10", "::1,fe80::/10"),
            ("*", "*"),
            ("", ""),
        ];
        for (list, hosts) in table {
            assert_eq!(without_ports(list), hosts);
        }
    }
}
