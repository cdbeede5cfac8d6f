//! A server's answer, and its text for people. Servers are not trusted: their text is shortened and shown
//! without control characters.

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use serde_json::Value;
use std::time::Duration;

/// The longest part of a server's text that is shown, in characters.
const LONGEST_TEXT: usize = 200;

/// A server's answer, of any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Statuses that MLflow's own client tries again.
pub fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// MLflow's name for an error, such as RESOURCE_DOES_NOT_EXIST.
pub fn error_code(answer: &Answer) -> Option<String> {
    Some(answer.json()["error_code"].as_str()?.to_owned())
}

/// Whether the answer is a web page: a login, a proxy's error, another application.
pub fn is_page(answer: &Answer) -> bool {
    let is_html = |kind: &str| kind.trim_start().to_ascii_lowercase().starts_with("text/html");
    let named = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_html);
    named || answer.body.trim_ascii_start().first() == Some(&b'<')
}

/// The server's message after a colon; empty if it has none for people.
pub fn message(answer: &Answer) -> String {
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
pub fn plain(text: &str, longest: usize) -> String {
    let is_shown = |c: &char| c.is_whitespace() || !(c.is_control() || is_reordering(*c));
    let shown: String = text.chars().filter(is_shown).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(longest) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// Characters that change the order in which text is shown.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The pause that a server asks for: in seconds, or as a date, from which its own `Date` is subtracted.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Duration::try_from(date(headers, RETRY_AFTER)?.duration_since(date(headers, DATE)?)).ok()
}

/// A header in the date format of mail.
pub fn date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
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
