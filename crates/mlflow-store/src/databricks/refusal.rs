//! Refusals of Databricks' API.

use crate::exporter::ExportError;
use crate::rest::answer::{Answer, plain};
use crate::rest::credential_mask::CredentialMask;

/// The longest part of a server's message that is shown, in characters.
const LONGEST_MESSAGE: usize = 300;

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// `RESOURCE_DOES_NOT_EXIST` and its like; empty when there is none.
    pub(super) code: String,
    message: String,
}

impl Refusal {
    /// Databricks writes `error_code` and `message`, OAuth `error` and `error_description`; a proxy in
    /// between writes anything.
    pub(super) fn from_answer(answer: &Answer, mask: &CredentialMask) -> Refusal {
        let body = answer.json();
        let text = |names: [&str; 2]| names.iter().find_map(|name| body[name].as_str());
        let code = text(["error_code", "error"]).filter(|code| is_code(code)).unwrap_or_default().to_owned();
        let message = text(["message", "error_description"]).unwrap_or_default();
        Refusal {
            status: answer.status.as_u16(),
            code,
            message: plain(&mask.hide_text(message), LONGEST_MESSAGE),
        }
    }

    /// Nothing exists by that name or id.
    pub(super) fn is_missing(&self) -> bool {
        matches!((self.code.as_str(), self.status), ("RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND", _) | ("", 404))
    }

    /// It exists already.
    pub(super) fn is_taken(&self) -> bool {
        self.code == "RESOURCE_ALREADY_EXISTS" || self.code == "ALREADY_EXISTS" || self.status == 409
    }

    /// The error for a refusal that concerns every request; None if it concerns this one.
    pub(super) fn as_error(&self, host: &str) -> Option<ExportError> {
        let (status, message) = (self.status, self.message());
        Some(match status {
            401 => ExportError::Target(format!(
                "{host} refused the credentials{message} (renew the token or the secret)"
            )),
            403 => ExportError::Target(format!(
                "{host} does not allow this{message} (check the token, and its owner's permissions)"
            )),
            // A redirect: the address is another server's, or a login page comes first.
            300..=399 => ExportError::Target(format!(
                "{host} points elsewhere, HTTP {status} (is it the workspace's own address?)"
            )),
            500..=599 => ExportError::Transient {
                reason: format!("{host} answered HTTP {status}{message}"),
                after: None,
                status: Some(status),
            },
            _ => return None,
        })
    }

    /// Why no OAuth token was granted.
    pub(super) fn login_error(&self, host: &str) -> ExportError {
        match self.status {
            500..=599 => {
                ExportError::transient(format!("{host} answered HTTP {}{}", self.status, self.message()))
            }
            _ => ExportError::Target(format!(
                "{host} refused the service principal{} (check DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET)",
                self.message()
            )),
        }
    }

    /// `: RESOURCE_DOES_NOT_EXIST: Node …`, or as much of that as there is.
    pub(super) fn message(&self) -> String {
        let parts = [self.code.as_str(), self.message.as_str()];
        let texts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        match texts[..] {
            [] => format!(": HTTP {}", self.status),
            _ => format!(": {}", texts.join(": ")),
        }
    }
}

/// The same error with another text.
pub(super) fn reworded(mut error: ExportError, words: impl FnOnce(String) -> String) -> ExportError {
    use ExportError::*;
    match &mut error {
        Transient { reason, .. } | Unclear { reason, .. } => *reason = words(std::mem::take(reason)),
        Archived(reason) | Gone(reason) | Target(reason) | Experiment(reason) | Trace(reason) => {
            *reason = words(std::mem::take(reason));
        }
        Stopped => {}
    }
    error
}

/// A code of the API; in any other text, a server could send back credentials. OAuth's codes are in lower
/// case.
fn is_code(code: &str) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    (1..=60).contains(&code.len()) && code.bytes().all(is_of_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::answer;

    fn refusal(status: u16, body: &str) -> Refusal {
        let mask = CredentialMask::default();
        mask.add(b"dapi-1");
        Refusal::from_answer(&answer(status, &[], body), &mask)
    }

    #[test]
    fn a_refusal_is_understood_in_every_form_it_comes_in() {
        let table = [
            (404, r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Node"}"#, (true, false, false)),
            (404, "<html>", (true, false, false)),
            (404, r#"{"error_code": "ENDPOINT_NOT_FOUND"}"#, (false, false, false)),
            (400, r#"{"error_code": "RESOURCE_ALREADY_EXISTS"}"#, (false, true, false)),
            (409, "", (false, true, false)),
            (400, r#"{"error_code": "INVALID_PARAMETER_VALUE"}"#, (false, false, false)),
            (401, "", (false, false, true)),
            (403, r#"{"error_code": 403, "message": "Invalid access token."}"#, (false, false, true)),
            (302, "", (false, false, true)),
            (501, "", (false, false, true)),
        ];
        for (status, body, expected) in table {
            let refusal = refusal(status, body);
            let is = (refusal.is_missing(), refusal.is_taken(), refusal.as_error("h").is_some());
            assert_eq!(is, expected, "{status} {body}");
        }
    }

    #[test]
    fn a_code_is_a_word_or_is_not_shown() {
        let table = [
            ("RESOURCE_DOES_NOT_EXIST", ": RESOURCE_DOES_NOT_EXIST"),
            ("invalid_client", ": invalid_client"),
            ("dapi-1", ": HTTP 400"),
            ("A\\u001b[2J", ": HTTP 400"),
            (&"A".repeat(61), ": HTTP 400"),
        ];
        for (code, expected) in table {
            assert_eq!(refusal(400, &format!(r#"{{"error_code": "{code}"}}"#)).message(), expected, "{code}");
        }
    }

    #[test]
    fn a_token_that_a_server_sends_back_is_not_passed_on() {
        let refusal = refusal(401, r#"{"message": "bad token\n dapi-1"}"#);
        let expected = "h refused the credentials: bad token … (renew the token or the secret)";
        assert_eq!(refusal.as_error("h"), Some(ExportError::Target(expected.to_owned())));
    }
}
