//! What each answer means, as tables.

use super::*;
use reqwest::header::HeaderValue;

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| {
        (reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value))
    });
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect(),
        body: body.as_bytes().to_vec(),
    }
}

fn error_text(purpose: Purpose, status: u16, headers: &[(&'static str, &'static str)], body: &str) -> String {
    match refused("http://host", purpose, &answer(status, headers, body)) {
        ExportError::Unclear { reason, .. } => format!("unclear: {reason}"),
        ExportError::Archived(reason) => format!("archived: {reason}"),
        ExportError::Transient { reason, after, .. } => format!("transient {after:?}: {reason}"),
        ExportError::Target(reason) => format!("target: {reason}"),
        ExportError::Experiment(reason) => format!("experiment: {reason}"),
        ExportError::Trace(reason) => format!("trace: {reason}"),
        ExportError::Stopped => "stopped".to_owned(),
    }
}

#[test]
fn every_status_has_a_cause() {
    use Purpose::{Find, Look, Take};
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
    for (purpose, status, kind) in table {
        let text = error_text(purpose, status, &[], "");
        assert!(text.starts_with(kind), "{purpose:?} {status}: {text}");
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
            error_text(Purpose::Look, 401, &[], "You are not\r\n \"allowed\"\n"),
        ),
        (
            "trace: http://host does not take the trace: 400 Bad Request: no such field",
            error_text(Purpose::Take, 400, &json, r#"{"error_code": "BAD", "message": "no such field"}"#),
        ),
        (
            "transient Some(7s): http://host answered 503 Service Unavailable",
            error_text(Purpose::Take, 503, &[("retry-after", "7")], "<html>busy</html>"),
        ),
        (
            "target: http://host is not an MLflow server: it answered with a web page (check MLFLOW_TRACKING_URI)",
            error_text(Purpose::Look, 200, &html, "<!doctype html>"),
        ),
        (
            "target: http://host sends on to https://other/mlflow, where the trace was not sent (make that address \
             MLFLOW_TRACKING_URI if it is the server's)",
            error_text(Purpose::Look, 302, &[("location", "https://other/mlflow/version")], ""),
        ),
    ];
    for (expected, found) in table {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_servers_text_cannot_move_the_cursor() {
    let words = message(&answer(500, &[], "a\u{1b}[2J\u{202e}b\u{0}\tc \n\n d"));
    assert_eq!(words, ": a[2Jb c d");
    let words = message(&answer(500, &[], &"ä".repeat(5000)));
    assert_eq!(words.chars().count(), LONGEST_WORDS + 3);
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
