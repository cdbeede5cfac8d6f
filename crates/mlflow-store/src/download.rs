//! One file from a web server, for a user who names its address.

use crate::exporter::{ExportError, Patience, Result};
use crate::rest::answer::message;
use crate::rest::client::{Client, LARGEST_ANSWER, Request, RequestPolicy};
use crate::rest::variables::{with_authorities, with_proxies};
use common::variables::Variables;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};
use std::time::Duration;

/// As browsers count: a loop ends soon.
const MOST_REDIRECTS: usize = 5;

/// The content at an http(s) address. `variables` name proxies and certificates. Without retries: the user can ask again.
pub fn fetch(url: &str, variables: &Variables, patience: Patience) -> Result<Vec<u8>> {
    let policy = RequestPolicy { timeout: Duration::from_secs(60), retries: 0, ..RequestPolicy::default() };
    let http = with_authorities(with_proxies(reqwest::Client::builder(), variables)?, variables)?;
    let client = Client::new(http, policy, patience)?;
    let mut at = parse(url)?;
    for _ in 0..=MOST_REDIRECTS {
        let request =
            Request { method: Method::GET, url: at.to_string(), headers: HeaderMap::new(), body: Vec::new() };
        let answer = client.send(&request)?;
        match answer.status {
            StatusCode::OK if answer.body.len() >= LARGEST_ANSWER => {
                return Err(ExportError::Target(format!("{at} has more than {} MiB", LARGEST_ANSWER >> 20)));
            }
            StatusCode::OK => return Ok(answer.body),
            status if status.is_redirection() => {
                let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
                at = next(&at, to)?;
            }
            status => {
                return Err(ExportError::Target(format!("{at} answered {status}{}", message(&answer))));
            }
        }
    }
    Err(ExportError::Target(format!("{url} leads to more than {MOST_REDIRECTS} other addresses")))
}

fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| ExportError::Target(format!("{url} is no address: {error}")))
}

/// Where a redirect leads, without credentials. A connection that is encrypted stays so.
fn next(from: &Url, to: &str) -> Result<Url> {
    let refused = || ExportError::Target(format!("{from} leads to {to}, which is not followed"));
    let mut next = from.join(to).map_err(|_| refused())?;
    let may_follow = matches!((from.scheme(), next.scheme()), (_, "https") | ("http", "http"));
    if to.is_empty() || !may_follow {
        return Err(refused());
    }
    if next.host_str() != from.host_str() || next.username() != from.username() {
        next.set_username("").and_then(|()| next.set_password(None)).map_err(|()| refused())?;
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, Write};

    #[test]
    fn a_redirect_never_leads_to_another_kind_of_address_and_takes_no_credentials_along() {
        let table = [
            ("https://a.b/c/d", "e", Some("https://a.b/c/e")),
            ("https://a.b/c/d", "https://x.y/z", Some("https://x.y/z")),
            ("https://a.b/c/d", "https://u:p@x.y/z", Some("https://x.y/z")),
            ("https://a.b/c/d", "http://a.b/z", None),
            ("http://a.b/c", "https://a.b/c", Some("https://a.b/c")),
            ("http://a.b/c", "http://x.y/", Some("http://x.y/")),
            ("http://a.b/c", "file:///etc/passwd", None),
            ("http://a.b/c", "ftp://a.b/", None),
            ("http://a.b/c", "", None),
        ];
        for (from, to, expected) in table {
            let found = next(&Url::parse(from).unwrap(), to).ok().map(|url| url.to_string());
            assert_eq!(found.as_deref(), expected, "{from} {to}");
        }
    }

    /// Answers each path with the status and the rest of the head that `answer` gives.
    fn server(answer: fn(&str) -> String) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let line = std::io::BufReader::new(&stream).lines().next().unwrap().unwrap();
                let path = line.split(' ').nth(1).unwrap();
                let _ = (&stream).write_all(format!("HTTP/1.1 {}", answer(path)).as_bytes());
            }
        });
        url
    }

    #[test]
    fn a_file_is_fetched_through_a_few_redirects_and_no_more() {
        let url = server(|path| match path {
            "/file" => "200 -\r\ncontent-length: 2\r\n\r\nok".into(),
            "/once" => "302 -\r\nlocation: /file\r\ncontent-length: 0\r\n\r\n".into(),
            "/loop" => "302 -\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n".into(),
            "/page" => "302 -\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n".into(),
            "/empty" => "204 -\r\n\r\n".into(),
            _ => "503 -\r\ncontent-length: 4\r\n\r\nbusy".into(),
        });
        let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
        let table = [
            ("/file", Ok("ok")),
            ("/once", Ok("ok")),
            ("/loop", Err("leads to more than 5 other addresses")),
            ("/page", Err("leads to file:///etc/passwd, which is not followed")),
            ("/empty", Err("answered 204")),
            ("/busy", Err("answered 503 Service Unavailable: busy")),
        ];
        for (path, expected) in table {
            match (fetch(&format!("{url}{path}"), &Variables::default(), patience), expected) {
                (Ok(content), Ok(expected)) => assert_eq!(content, expected.as_bytes(), "{path}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{path}: {error}")
                }
                (found, _) => panic!("{path}: {found:?}"),
            }
        }
        let error = fetch("http://", &Variables::default(), patience).unwrap_err().to_string();
        assert_eq!(error, "http:// is no address: empty host");
    }
}
