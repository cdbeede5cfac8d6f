//! The proxies, from the usual variables. reqwest would read them too, but only from the process's
//! environment; the configuration file may set some.

use crate::exporter::ExportError;
use common::variables::Variables;
use reqwest::{ClientBuilder, NoProxy, Proxy};

/// Lower case first, as in Python and curl.
const HTTP: [&str; 2] = ["http_proxy", "HTTP_PROXY"];
const HTTPS: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const ALL: [&str; 2] = ["all_proxy", "ALL_PROXY"];
const NONE: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Adds the proxies that the variables name, and no others.
pub fn set(http: ClientBuilder, variables: &Variables) -> Result<ClientBuilder, ExportError> {
    let exceptions = first(&NONE, variables).map_or("", |(_, list)| list);
    let exceptions = NoProxy::from_string(&without_ports(exceptions));
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
pub fn proxy_for<'v>(scheme: &str, variables: &'v Variables) -> Option<&'v str> {
    named_for(scheme, variables).map(|(_, address)| address)
}

fn named_for<'v>(scheme: &str, variables: &'v Variables) -> Option<(&'static str, &'v str)> {
    let own = if scheme == "https" { HTTPS } else { HTTP };
    first(&own, variables).or_else(|| first(&ALL, variables))
}

fn first<'v>(names: &[&'static str], variables: &'v Variables) -> Option<(&'static str, &'v str)> {
    names.iter().find_map(|name| Some((*name, variables.text(name)?)))
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

#[cfg(test)]
mod tests {
    use super::*;

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
