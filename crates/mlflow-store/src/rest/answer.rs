//! A server's answer and its text for people, or why there is no answer. Servers are not trusted: their text is
//! shortened and shown without control characters.

use crate::exporter::{ExportError, Result};
use common::printable::is_unsafe;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use serde_json::Value;
use std::error::Error;
use std::time::Duration;

/// The longest part of a server's text or of an error that is shown, in characters.
const LONGEST_TEXT: usize = 200;

/// A server's answer, of any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Statuses that MLflow's own client tries again.
pub(crate) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// MLflow's name for an error, such as RESOURCE_DOES_NOT_EXIST.
pub(crate) fn error_code(answer: &Answer) -> Option<String> {
    Some(answer.json()["error_code"].as_str()?.to_owned())
}

/// Whether the answer is a web page: a login, a proxy's error, another application.
pub(crate) fn is_page(answer: &Answer) -> bool {
    let is_html = |kind: &str| kind.trim_start().to_ascii_lowercase().starts_with("text/html");
    let named = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_html);
    named || answer.body.trim_ascii_start().first() == Some(&b'<')
}

/// The server's message after a colon; empty if it has none for people.
pub(crate) fn message(answer: &Answer) -> String {
    if is_page(answer) {
        return String::new();
    }
    let text = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) => {
            let words = ["message", "detail", "error"].into_iter().find_map(|key| match &body[key] {
                Value::String(text) => Some(text.clone()),
                Value::Null => None,
                other => Some(other.to_string()),
            });
            words.unwrap_or_default()
        }
        Err(_) => {
            String::from_utf8_lossy(&answer.body[..answer.body.len().min(4 * LONGEST_TEXT)]).into_owned()
        }
    };
    let text = plain(&text, LONGEST_TEXT);
    if text.is_empty() { text } else { format!(": {text}") }
}

/// One line without control characters, of at most this many characters and `…`.
pub(crate) fn plain(text: &str, longest: usize) -> String {
    let is_shown = |c: &char| c.is_whitespace() || !is_unsafe(*c);
    let shown: String = text.chars().filter(is_shown).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// The pause that a server asks for: in seconds, or as a date, from which its own `Date` is subtracted.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Duration::try_from(date(headers, RETRY_AFTER)?.duration_since(date(headers, DATE)?)).ok()
}

/// A header in the date format of mail.
pub(crate) fn date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|time| time.timestamp())
}

/// Why there was no answer. The outer error is for causes that no further try removes.
pub(super) fn no_answer(url: &str, error: &reqwest::Error) -> Result<String> {
    let reason = format!("no answer from {}: {}", plain(url, LONGEST_TEXT), text_of(error));
    match tls_error(error).and_then(tls_advice) {
        None => Ok(reason),
        Some(advice) => Err(ExportError::Target(format!("{reason} ({advice})"))),
    }
}

/// Why no connection can be tried.
pub(super) fn cannot_connect(error: &reqwest::Error) -> ExportError {
    match tls_error(error) {
        // rustls-platform-verifier's only complaint about a system without certificates.
        Some(rustls::Error::General(_)) => ExportError::Target(
            "no server can be trusted: this system has no certificate authorities (install ca-certificates, or name a \
             file of them in SSL_CERT_FILE)"
                .to_owned(),
        ),
        _ => ExportError::Target(format!("cannot deliver: {}", text_of(error))),
    }
}

/// Advice for a failed handshake; None if another try may succeed.
fn tls_advice(error: &rustls::Error) -> Option<&'static str> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};
    const TRUST: &str =
        "name the certificate authority's file in MLFLOW_TRACKING_SERVER_CERT_PATH if it is your own";
    match error {
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            Some("use the name that the certificate is for")
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            Some("the server needs a new certificate")
        }
        Tls::InvalidCertificate(_) => Some(TRUST),
        Tls::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::AccessDenied,
        ) => Some("name a client certificate that the server knows in MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        Tls::InvalidMessage(_) => Some("the server does not speak TLS there: use http:// if that is meant"),
        Tls::PeerIncompatible(_) => Some("the server speaks no TLS of this century: 1.2 or 1.3 is needed"),
        _ => None,
    }
}

/// The TLS library's error, if TLS failed.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The error's causes as text, without the address that reqwest puts into its own text.
fn text_of(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = plain(&cause.to_string(), LONGEST_TEXT);
        // Some layers repeat their cause.
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() { plain(&error.to_string(), LONGEST_TEXT) } else { texts.join(": ") }
}

fn causes<'e>(error: &'e reqwest::Error) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let next = |&cause: &&'e (dyn Error + 'static)| -> Option<&'e (dyn Error + 'static)> {
        // The source of an I/O error skips the error that it holds.
        match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => cause.source(),
        }
    };
    std::iter::successors(error.source(), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::answer;
    use reqwest::header::HeaderValue;

    #[test]
    fn a_servers_text_cannot_move_the_cursor() {
        let words = message(&answer(500, &[], "a\u{1b}[2J\u{202e}b\u{0}\tc \n\n d"));
        assert_eq!(words, ": a[2Jb c d");
        let words = message(&answer(500, &[], &"ä".repeat(5000)));
        assert_eq!(words.chars().count(), LONGEST_TEXT + 3);
        assert_eq!(message(&answer(500, &[], r#"{"detail": [{"loc": "x"}]}"#)), r#": [{"loc":"x"}]"#);
        assert_eq!(message(&answer(500, &[], "")), "");
    }

    #[test]
    fn a_pause_is_in_seconds_or_by_the_servers_clock() {
        let date = ("date", "Mon, 23 Nov 2026 10:00:00 GMT");
        let pause = |headers: &[(&'static str, &'static str)]| retry_after(&answer(503, headers, "").headers);
        assert_eq!(pause(&[("retry-after", " 12 ")]), Some(Duration::from_secs(12)));
        let at = ("retry-after", "Mon, 23 Nov 2026 10:01:30 GMT");
        assert_eq!(pause(&[date, at]), Some(Duration::from_secs(90)));
        for useless in ["-1", "soon", "Mon, 23 Nov 2026 09:00:00 GMT"] {
            assert_eq!(pause(&[date, ("retry-after", useless)]), None, "{useless}");
        }
        assert_eq!(pause(&[at]), None, "a date means nothing without the server's clock");
    }

    #[test]
    fn a_servers_clock_is_read_as_servers_write_it() {
        let at =
            |text: &'static str| date(&HeaderMap::from_iter([(DATE, HeaderValue::from_static(text))]), DATE);
        assert_eq!(at("Sun, 22 Nov 2026 09:54:45 GMT"), Some("2026-11-22T09:54:45Z".parse().unwrap()));
        assert_eq!((at("yesterday"), date(&HeaderMap::new(), DATE)), (None, None));
    }
}
