//! What an answer means: the cause of a refusal, and advice for the user. Servers are not trusted: their text
//! is shortened and shown without control characters.

#[cfg(test)]
mod tests;

use super::client::Answer;
use crate::export::ExportError;
use crate::printable::is_unsafe;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::Value;
use std::error::Error;
use std::time::Duration;

/// The longest part of a server's text that is shown, in characters.
const LONGEST_WORDS: usize = 200;

/// The purpose of the request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To look at the server, its experiments, or a trace.
    Look,
    /// To look at the trace that is to be sent.
    Find,
    /// To send spans or the information about a trace.
    Take,
}

/// The cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Temporary: a later try may succeed.
    Passing,
    /// The user lacks a right on the whole target; with advice.
    Access(&'static str),
    /// As `Access`, for one experiment only.
    Experiment(&'static str),
    /// The address leads to something else than the server, or a proxy turns back one trace.
    Target,
    /// This trace is too large or unacceptable.
    Trace,
}

/// Statuses that MLflow's own client tries again.
pub(super) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

const CLOSED: &str = "ask for the right to write there, or choose another experiment";

fn cause(purpose: Purpose, status: u16) -> Cause {
    match (status, purpose) {
        (401, _) => Cause::Access(
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        ),
        (403, Purpose::Look | Purpose::Find) => Cause::Access(CLOSED),
        // The user may be allowed to write to another experiment.
        (403, Purpose::Take) => Cause::Experiment(CLOSED),
        (407, _) => Cause::Access("put the proxy's user and password into HTTP_PROXY or HTTPS_PROXY"),
        (408 | 425 | 429 | 500 | 502..=504, _) => Cause::Passing,
        (400 | 409 | 413 | 422, Purpose::Take) => Cause::Trace,
        _ => Cause::Target,
    }
}

/// The error for an answer that the caller cannot use. `address` is the server's.
pub fn refused(address: &str, purpose: Purpose, answer: &Answer) -> ExportError {
    let (status, words) = (answer.status, message(answer));
    // A proxy may turn back one trace alone.
    let elsewhere = |reason: String| match purpose {
        Purpose::Look => ExportError::Target(reason),
        Purpose::Find | Purpose::Take => ExportError::unclear(reason),
    };
    if status.is_redirection() {
        let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("somewhere else");
        // The first request is for /version; the rest is the server's address.
        let to = plain(to.strip_suffix("/version").unwrap_or(to));
        return elsewhere(format!(
            "{address} sends on to {to}, where the trace was not sent (make that address MLFLOW_TRACKING_URI if it \
             is the server's)"
        ));
    }
    if status.is_success() {
        return elsewhere(format!(
            "{address} is not an MLflow server: it answered with {} (check MLFLOW_TRACKING_URI)",
            if is_page(answer) { "a web page" } else { "something that is not MLflow's" }
        ));
    }
    match cause(purpose, status.as_u16()) {
        Cause::Passing => ExportError::Transient {
            reason: format!("{address} answered {status}{words}"),
            after: retry_after(&answer.headers),
            status: Some(status.as_u16()),
        },
        Cause::Access(advice) => {
            ExportError::Target(format!("{address} answered {status}{words} ({advice})"))
        }
        Cause::Experiment(advice) => {
            ExportError::Experiment(format!("{address} answered {status}{words} ({advice})"))
        }
        Cause::Target => elsewhere(format!("{address} answered {status}{words}")),
        Cause::Trace => ExportError::Trace(format!("{address} does not take the trace: {status}{words}")),
    }
}

/// The answer's body as JSON; an error if it is not JSON.
pub fn json(address: &str, answer: &Answer) -> Result<Value, ExportError> {
    serde_json::from_slice(&answer.body).map_err(|_| refused(address, Purpose::Look, answer))
}

/// MLflow's name for an error, such as RESOURCE_DOES_NOT_EXIST.
pub fn error_code(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(body["error_code"].as_str()?.to_owned())
}

/// Whether the answer is a web page: a login, a proxy's error, another application.
pub fn is_page(answer: &Answer) -> bool {
    let is_html = |kind: &str| kind.trim_start().to_ascii_lowercase().starts_with("text/html");
    let named = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_html);
    named || answer.body.trim_ascii_start().first() == Some(&b'<')
}

/// The server's message after a colon; empty if it has none for people.
pub(super) fn message(answer: &Answer) -> String {
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
            String::from_utf8_lossy(&answer.body[..answer.body.len().min(4 * LONGEST_WORDS)]).into_owned()
        }
    };
    let words = plain(&text);
    if words.is_empty() { words } else { format!(": {words}") }
}

/// One line of text without control characters, shortened.
fn plain(text: &str) -> String {
    let one_line: String =
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_unsafe(*c)).collect();
    let one_line = one_line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(LONGEST_WORDS) {
        None => one_line,
        Some((end, _)) => format!("{}…", &one_line[..end]),
    }
}

/// In seconds, or as a date: then what lies between it and the server's own clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
    Duration::try_from(date(value)?.duration_since(date(text(DATE)?)?)).ok()
}

/// Why there was no answer. The outer error is for causes that no further try removes.
pub(super) fn no_answer(url: &str, error: &reqwest::Error) -> Result<String, ExportError> {
    let reason = format!("no answer from {}: {}", plain(url), causes(error));
    match tls_error(error) {
        None => Ok(reason),
        Some(tls) => match tls_advice(tls) {
            None => Ok(reason),
            Some(advice) => Err(ExportError::Target(format!("{reason} ({advice})"))),
        },
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
        _ => ExportError::Target(format!("cannot deliver: {}", causes(error))),
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
    let mut at: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = at {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // The source of an I/O error skips the error that it holds.
        let held = cause.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        at = match held {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    None
}

/// The error's causes, without the address that reqwest puts into its own text.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut at = error.source();
    while let Some(cause) = at {
        let text = plain(&cause.to_string());
        // Some layers repeat their cause.
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
        at = cause.source();
    }
    if texts.is_empty() { plain(&error.to_string()) } else { texts.join(": ") }
}
