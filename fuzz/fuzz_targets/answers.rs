//! Any answer of a server is what was hoped for or an error in a line, without a character that a terminal would obey.
#![no_main]

use mlflow_store::http::refusal::{Purpose, refused};
use mlflow_store::rest::answer::{Answer, error_code, is_page, message};
use libfuzzer_sys::fuzz_target;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};

fuzz_target!(|input: (u16, &[u8], &[u8], &[u8])| {
    let (status, kind, header, body) = input;
    let Ok(status) = StatusCode::from_u16(100 + status % 500) else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in [(CONTENT_TYPE, kind), (LOCATION, header), (RETRY_AFTER, header)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let answer = Answer { status, headers, body: body.to_vec() };
    let _ = (is_page(&answer), error_code(&answer), message(&answer), answer.json());
    let errors = [
        refused("http://host", Purpose::Look, &answer),
        refused("http://host", Purpose::Take, &answer),
    ];
    for error in errors {
        let said = error.to_string();
        assert!(
            !said.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)),
            "{said:?}"
        );
        assert!(said.len() < 4_000, "{}", said.len());
    }
});
