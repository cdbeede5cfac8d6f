//! Answers of the cloud's storage, reported without any part of the signed address.

use super::refusal::reworded;
use crate::exporter::ExportError;
use crate::rest::answer::Answer;
use crate::rest::secrets::Secrets;
use reqwest::Url;

/// In bytes. Shorter values are words such as `flush` and versions; a signature has more than forty.
const SHORTEST_SECRET: usize = 16;

/// Why a request to the storage failed.
pub(super) enum Failed {
    /// Earlier parts are not there as they were sent: another upload interfered, or an answer was lost.
    OutOfStep(ExportError),
    For(ExportError),
}

impl From<ExportError> for Failed {
    fn from(error: ExportError) -> Failed {
        Failed::For(error)
    }
}

/// The part of an address that may be shown.
pub(super) fn place(url: &str) -> String {
    let host = Url::parse(url).ok().and_then(|url| Some(url.host_str()?.to_owned()));
    format!("the cloud storage at {}", host.as_deref().unwrap_or("an unknown place"))
}

/// The same error, without any part of the address that gives access.
pub(super) fn without_address(error: ExportError, url: &str, place: &str) -> ExportError {
    reworded(error, |reason| {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let values = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
        let secrets = Secrets::default();
        for value in values.filter(|value| value.len() >= SHORTEST_SECRET) {
            secrets.add(value.as_bytes());
        }
        secrets.hide_text(&reason.replace(url, place))
    })
}

/// The cloud's error code. The rest of the answer is not shown: S3 sends back what was signed.
pub(super) fn error_code(answer: &Answer) -> String {
    let header = answer.headers.get("x-ms-error-code").and_then(|value| value.to_str().ok());
    let body = String::from_utf8_lossy(&answer.body);
    let element = || body.split_once("<Code>")?.1.split_once("</Code>").map(|(code, _)| code);
    let word = header.or_else(element).unwrap_or_default();
    let is_word = word.len() < 80 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { word.to_owned() } else { String::new() }
}

/// S3 and Google's storage answer 400 to an address that was signed with expired credentials.
pub(super) fn may_have_expired(status: u16, code: &str) -> bool {
    matches!(status, 401 | 403) || code == "ExpiredToken"
}

pub(super) fn failure(status: u16, word: &str, place: &str) -> Failed {
    let code = if word.is_empty() { String::new() } else { format!(" ({word})") };
    let sentence = format!("{place} refused the spans with HTTP {status}{code}");
    if may_have_expired(status, word) {
        return Failed::For(ExportError::Target(format!(
            "{sentence} (is this machine allowed to reach the workspace's storage?)"
        )));
    }
    match status {
        413 => Failed::For(ExportError::Trace(sentence)),
        400 | 404 | 409 | 412 => Failed::OutOfStep(ExportError::unclear(sentence)),
        500.. => Failed::For(ExportError::transient(sentence)),
        _ => Failed::For(ExportError::unclear(sentence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue};

    #[test]
    fn no_part_of_a_signature_is_shown() {
        let url = "https://store.example/c/traces.json?se=1&sig=0123456789abcdef%3D";
        for (reason, shown) in [
            (
                format!("no answer from {url}: refused"),
                "no answer from the cloud storage at store.example: refused",
            ),
            ("503: no sig=0123456789abcdef%3D here".to_owned(), "503: no sig=… here"),
        ] {
            assert_eq!(without_address(ExportError::transient(reason), url, &place(url)).to_string(), shown);
        }
        let mut answer = Answer {
            status: StatusCode::FORBIDDEN,
            headers: HeaderMap::new(),
            body: b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>secret</StringToSign></Error>"
                .to_vec(),
        };
        assert_eq!(error_code(&answer), "SignatureDoesNotMatch");
        answer.headers.insert("x-ms-error-code", HeaderValue::from_static("AuthenticationFailed"));
        assert_eq!(error_code(&answer), "AuthenticationFailed");
        answer.headers.insert("x-ms-error-code", HeaderValue::from_static("sig=secret"));
        assert_eq!(error_code(&answer), "");
    }
}
