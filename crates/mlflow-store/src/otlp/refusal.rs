//! The cause of a collector's refusal, and advice for the user.
//!
//! The OTLP specification lets a client repeat a request after 429, 502, 503 and 504 only. After any other status the
//! request is not repeated; the trace stays on disk where another delivery may succeed.

use crate::exporter::{ExportError, Sign};
use crate::rest::answer::{Answer, is_page, message, plain, retry_after};
use reqwest::StatusCode;
use reqwest::header::LOCATION;

/// The longest part of a collector's text that is shown, in characters.
const LONGEST_TEXT: usize = 200;

/// Statuses after which the request may be sent again.
pub(super) fn may_be_repeated(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}

/// The error for an answer that is no success, or for a web page.
pub(super) fn refused(address: &str, answer: &Answer) -> ExportError {
    let (status, words) = (answer.status, message(answer));
    let answered = format!("{address} answered {status}{words}");
    if status.is_redirection() {
        let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("somewhere else");
        return ExportError::Target(format!(
            "{address} sends on to {}, where the trace was not sent (name that address if it is the collector's)",
            plain(to, LONGEST_TEXT)
        ));
    }
    if status.is_success() && is_page(answer) {
        return ExportError::Target(format!(
            "{address} is not a collector: it answered with a web page (check the address and its path)"
        ));
    }
    match status.as_u16() {
        401 | 403 => ExportError::Target(format!(
            "{answered} (put the collector's key into OTEL_EXPORTER_OTLP_HEADERS, such as \
             \"authorization=Bearer%20KEY\")"
        )),
        407 => ExportError::Target(format!(
            "{answered} (put the proxy's user and password into HTTP_PROXY or HTTPS_PROXY)"
        )),
        404 | 405 | 415 | 501 => ExportError::Target(format!(
            "{answered} (a collector takes traces over HTTP at a path such as /v1/traces: check the address)"
        )),
        400 | 413 | 422 => ExportError::Trace(format!("{address} does not take the trace: {status}{words}")),
        _ => ExportError::Unclear { reason: answered, after: retry_after(&answer.headers), sign: Sign::None },
    }
}

/// The error for spans that the collector refuses for good. The specification forbids to send them again.
pub(super) fn rejected(address: &str, spans: i64, reason: &str) -> ExportError {
    let reason = plain(reason, LONGEST_TEXT);
    let why = if reason.is_empty() { reason } else { format!(": {reason}") };
    ExportError::Trace(format!("{address} rejected {spans} of its spans{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::answer;

    #[test]
    fn every_status_has_a_cause() {
        let kind = |status| match refused("otlp+http://host/v1/traces", &answer(status, &[], "")) {
            ExportError::Target(_) => "target",
            ExportError::Trace(_) => "trace",
            ExportError::Unclear { .. } => "unclear",
            other => panic!("{other:?}"),
        };
        let table = [
            ("target", vec![301, 308, 401, 403, 404, 405, 407, 415, 501]),
            ("trace", vec![400, 413, 422]),
            ("unclear", vec![408, 409, 425, 500, 505, 507]),
        ];
        for (expected, statuses) in table {
            for status in statuses {
                assert_eq!(kind(status), expected, "{status}");
                assert!(!may_be_repeated(StatusCode::from_u16(status).unwrap()), "{status}");
            }
        }
        for status in [429, 502, 503, 504] {
            assert!(may_be_repeated(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        let page = answer(200, &[("content-type", "text/html")], "<html>");
        assert!(matches!(refused("x", &page), ExportError::Target(_)));
    }

    #[test]
    fn rejected_spans_are_counted_with_the_collectors_reason() {
        let text = rejected("otlp+http://h/v1/traces", 3, "too\u{1b}[2J old\n").to_string();
        assert_eq!(text, "otlp+http://h/v1/traces rejected 3 of its spans: too[2J old");
        assert_eq!(rejected("x", 1, "").to_string(), "x rejected 1 of its spans");
    }
}
