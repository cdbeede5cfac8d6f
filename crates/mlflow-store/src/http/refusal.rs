//! The cause of a server's refusal, and advice for the user.

use crate::exporter::ExportError;
use crate::rest::answer::{Answer, is_page, message, plain, retry_after};
use crate::rest::api::Subject;
use reqwest::header::LOCATION;

/// The longest address of a redirect that is shown, in characters.
const LONGEST_ADDRESS: usize = 200;

/// The error for an answer that the caller cannot use. `address` is the server's.
pub(super) fn refused(address: &str, subject: Subject, answer: &Answer) -> ExportError {
    let (status, words) = (answer.status, message(answer));
    let sends_trace = matches!(subject, Subject::TraceInfo | Subject::Tag);
    // A proxy may turn back one trace alone.
    let elsewhere = |reason: String| match sends_trace || matches!(subject, Subject::StoredTrace) {
        true => ExportError::unclear(reason),
        false => ExportError::Target(reason),
    };
    if status.is_redirection() {
        let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("somewhere else");
        // The first request is for /version; the rest is the server's address.
        let to = plain(to.strip_suffix("/version").unwrap_or(to), LONGEST_ADDRESS);
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
    let answered = format!("{address} answered {status}{words}");
    let without_right =
        format!("{answered} (ask for the right to write there, or choose another experiment)");
    match status.as_u16() {
        401 => ExportError::Target(format!(
            "{answered} (set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)"
        )),
        // The user may be allowed to write to another experiment.
        403 if sends_trace => ExportError::Experiment(without_right),
        403 => ExportError::Target(without_right),
        407 => ExportError::Target(format!(
            "{answered} (put the proxy's user and password into HTTP_PROXY or HTTPS_PROXY)"
        )),
        408 | 425 | 429 | 500 | 502..=504 => ExportError::Transient {
            reason: answered,
            after: retry_after(&answer.headers),
            status: Some(status.as_u16()),
        },
        400 | 409 | 413 | 422 if sends_trace => {
            ExportError::Trace(format!("{address} does not take the trace: {status}{words}"))
        }
        _ => elsewhere(answered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::answer::{error_code, is_page};
    use crate::tests::answer;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};

    proptest! {
        #[test]
        fn any_answer_becomes_a_short_line_that_steers_no_terminal(
            status in 100_u16..600,
            kind in vec(any::<u8>(), 0..40),
            header in vec(any::<u8>(), 0..400),
            body in prop_oneof![
                vec(any::<u8>(), 0..9000),
                any::<String>().prop_map(String::into_bytes),
                any::<String>().prop_map(|message| serde_json::json!({"message": message}).to_string().into()),
            ],
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in [(CONTENT_TYPE, &kind), (LOCATION, &header), (RETRY_AFTER, &header)] {
                headers.extend(HeaderValue::from_bytes(value).ok().map(|value| (name, value)));
            }
            let status = reqwest::StatusCode::from_u16(status).expect("a status");
            let answer = Answer { status, headers, body };
            let _ = (is_page(&answer), error_code(&answer), answer.json());
            for subject in [Subject::Server, Subject::TraceInfo] {
                let line = refused("http://host", subject, &answer).to_string();
                let steers = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
                prop_assert!(!line.contains(steers) && line.len() < 4_000, "{line:?}");
            }
        }
    }

    fn error_text(
        subject: Subject,
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> String {
        match refused("http://host", subject, &answer(status, headers, body)) {
            ExportError::Unclear { reason, .. } => format!("unclear: {reason}"),
            ExportError::Archived(reason) => format!("archived: {reason}"),
            ExportError::Gone(reason) => format!("gone: {reason}"),
            ExportError::Transient { reason, after, .. } => format!("transient {after:?}: {reason}"),
            ExportError::Target(reason) => format!("target: {reason}"),
            ExportError::Experiment(reason) => format!("experiment: {reason}"),
            ExportError::Trace(reason) => format!("trace: {reason}"),
            ExportError::Stopped => "stopped".to_owned(),
        }
    }

    #[test]
    fn every_status_has_a_cause() {
        use Subject::{Server as Look, StoredTrace as Find, TraceInfo as Take};
        let table = [
            (Look, 400, "target"),
            (Take, 400, "trace"),
            (Look, 401, "target"),
            (Take, 401, "target"),
            (Look, 403, "target"),
            (Take, 403, "experiment"),
            (Look, 404, "target"),
            (Take, 404, "unclear"),
            (Take, 405, "unclear"),
            (Take, 407, "target"),
            (Take, 408, "transient"),
            (Take, 413, "trace"),
            (Take, 422, "trace"),
            (Look, 429, "transient"),
            (Take, 500, "transient"),
            (Take, 501, "unclear"),
            (Look, 502, "transient"),
            (Take, 503, "transient"),
            (Take, 504, "transient"),
            (Look, 200, "target"),
            (Look, 302, "target"),
            (Take, 308, "unclear"),
            (Take, 200, "unclear"),
            (Find, 400, "unclear"),
            (Find, 401, "target"),
            (Find, 200, "unclear"),
        ];
        for (subject, status, kind) in table {
            let text = error_text(subject, status, &[], "");
            assert!(text.starts_with(kind), "{subject:?} {status}: {text}");
        }
    }

    #[test]
    fn a_refusal_includes_the_servers_message_and_advice() {
        let json = [("content-type", "application/json")];
        let html = [("content-type", "text/html; charset=utf-8")];
        let table: &[(&str, String)] = &[
            (
                "target: http://host answered 401 Unauthorized: You are not \"allowed\" (set MLFLOW_TRACKING_USERNAME \
                 and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)",
                error_text(Subject::Server, 401, &[], "You are not\r\n \"allowed\"\n"),
            ),
            (
                "trace: http://host does not take the trace: 400 Bad Request: no such field",
                error_text(
                    Subject::TraceInfo,
                    400,
                    &json,
                    r#"{"error_code": "BAD", "message": "no such field"}"#,
                ),
            ),
            (
                "transient Some(7s): http://host answered 503 Service Unavailable",
                error_text(Subject::TraceInfo, 503, &[("retry-after", "7")], "<html>busy</html>"),
            ),
            (
                "target: http://host is not an MLflow server: it answered with a web page (check MLFLOW_TRACKING_URI)",
                error_text(Subject::Server, 200, &html, "<!doctype html>"),
            ),
            (
                "target: http://host sends on to https://other/mlflow, where the trace was not sent (make that address \
                 MLFLOW_TRACKING_URI if it is the server's)",
                error_text(Subject::Server, 302, &[("location", "https://other/mlflow/version")], ""),
            ),
        ];
        for (expected, found) in table {
            assert_eq!(found, expected);
        }
    }
}
