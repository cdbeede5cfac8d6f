//! One file from a web server, for a user who names its address.

use crate::exporter::{ExportError, Patience, Result};
use crate::rest::answer::message;
use crate::rest::client::{Client, LARGEST_ANSWER, Request, RequestPolicy};
use crate::rest::variables::{with_authorities, with_proxies};
use common::printable::masked_with_queries;
use common::variables::Variables;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};
use std::time::Duration;

/// As browsers count: a loop ends soon.
const MOST_REDIRECTS: usize = 5;

/// The content at an http(s) address. `variables` name proxies and certificates. Without retries: the user can ask again.
/// An error's text has no credentials and no query, which may hold a token.
pub fn fetch(url: &str, variables: &Variables, patience: Patience) -> Result<Vec<u8>> {
    content(url, variables, patience).map_err(|error| match error {
        ExportError::Stopped => ExportError::Stopped,
        other => refused(masked_with_queries(&other.to_string()).into_owned()),
    })
}

fn refused(why: String) -> ExportError {
    ExportError::Target(why)
}

fn content(url: &str, variables: &Variables, patience: Patience) -> Result<Vec<u8>> {
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
                return Err(refused(format!("{at} has more than {} MiB", LARGEST_ANSWER >> 20)));
            }
            StatusCode::OK => return Ok(answer.body),
            // 304 is no redirect: it has no address.
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok());
                let to = to.filter(|to| !to.is_empty()).ok_or_else(|| {
                    refused(format!("{at} answered {} without an address to follow", answer.status))
                })?;
                at = next(&at, to)?;
            }
            status => return Err(refused(format!("{at} answered {status}{}", message(&answer)))),
        }
    }
    Err(refused(format!("{url} leads to more than {MOST_REDIRECTS} other addresses")))
}

fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| refused(format!("{url} is no address: {error}")))
}

/// Where a redirect leads, without credentials. A connection that is encrypted stays so.
fn next(from: &Url, to: &str) -> Result<Url> {
    let mut next =
        from.join(to).map_err(|error| refused(format!("{from} leads to what is no address: {error}")))?;
    if !matches!((from.scheme(), next.scheme()), (_, "https") | ("http", "http")) {
        // Without `//` the text may be all data.
        let shown = if next.has_host() || next.scheme() == "file" { next.as_str() } else { next.scheme() };
        return Err(refused(format!("{from} leads to {shown}, which is not followed")));
    }
    if next.host_str() != from.host_str() || next.username() != from.username() {
        let cannot = refused(format!("{from} leads to {next}, which is not followed"));
        next.set_username("").and_then(|()| next.set_password(None)).map_err(|()| cannot)?;
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
                // To the end of the head: what is unread makes the end of the connection a reset.
                let head = std::io::BufReader::new(&stream).lines().map(Result::unwrap);
                let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
                let path = head[0].split(' ').nth(1).unwrap();
                // Else the client may send its next request into a connection that ends.
                let answer = answer(path).replacen("\r\n", "\r\nconnection: close\r\n", 1);
                let _ = (&stream).write_all(format!("HTTP/1.1 {answer}").as_bytes());
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
            "/data" => "302 -\r\nlocation: data:,hidden\r\ncontent-length: 0\r\n\r\n".into(),
            "/same" => "304 -\r\n\r\n".into(),
            "/nowhere" => "302 -\r\ncontent-length: 0\r\n\r\n".into(),
            "/odd" => "307 -\r\nlocation: /\u{e9}\r\ncontent-length: 0\r\n\r\n".into(),
            "/bad" => "302 -\r\nlocation: http://a:x/?hidden\r\ncontent-length: 0\r\n\r\n".into(),
            "/aside?key=hidden" => {
                "302 -\r\nlocation: ftp://u:hidden@a.b/x?key=hidden\r\ncontent-length: 0\r\n\r\n".into()
            }
            "/cut?key=hidden" => "".into(),
            "/empty" => "204 -\r\n\r\n".into(),
            _ => "503 -\r\ncontent-length: 4\r\n\r\nbusy".into(),
        });
        let patience = Patience { until: None, is_asked_to_end: &|| false, retrying: &|_, _| {} };
        let table = [
            ("/file", Ok("ok")),
            ("/once", Ok("ok")),
            ("/loop", Err("leads to more than 5 other addresses")),
            ("/page", Err("leads to file:///etc/passwd, which is not followed")),
            ("/data", Err("leads to data, which is not followed")),
            ("/same", Err("/same answered 304 Not Modified")),
            ("/nowhere", Err("/nowhere answered 302 Found without an address to follow")),
            ("/odd", Err("/odd answered 307 Temporary Redirect without an address to follow")),
            ("/bad", Err("/bad leads to what is no address: invalid port number")),
            ("/busy?key=hidden", Err("/busy?… answered 503")),
            ("/aside?key=hidden", Err("/aside?… leads to ftp://…@a.b/x?… which is not followed")),
            ("/cut?key=hidden", Err("no answer from ")),
            ("/empty", Err("answered 204")),
            ("/busy", Err("answered 503 Service Unavailable: busy")),
        ];
        for (path, expected) in table {
            match (fetch(&format!("{url}{path}"), &Variables::default(), patience), expected) {
                (Ok(content), Ok(expected)) => assert_eq!(content, expected.as_bytes(), "{path}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{path}: {error}");
                    assert!(!error.to_string().contains("hidden"), "{path}: {error}");
                }
                (found, _) => panic!("{path}: {found:?}"),
            }
        }
        let error = fetch("http://", &Variables::default(), patience).unwrap_err().to_string();
        assert_eq!(error, "http:// is no address: empty host");
    }
}
