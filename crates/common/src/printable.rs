//! Text that is safe to print: without credentials, and without characters that a terminal interprets.

use std::borrow::Cow;
use std::fmt::{Display, Write};

/// Makes text of a user or a server safe to print: masks credentials and queries, escapes control characters.
pub fn clean(text: impl Display) -> String {
    escaped(&masked_with_queries(&text.to_string()))
}

/// Escapes control characters and marks of writing direction.
pub fn escaped(text: &str) -> String {
    with_unsafe(text, |c, safe| safe.extend(c.escape_default()))
}

/// Makes JSON safe for a terminal: serde escapes only the control characters of ASCII. Such characters occur only
/// within JSON strings.
pub fn json(json: &str) -> String {
    with_unsafe(json, |c, safe| match c {
        '\n' => safe.push(c),
        c => _ = write!(safe, "\\u{:04x}", u32::from(c)),
    })
}

/// Two digits a byte, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text on one line, without credentials in addresses.
pub fn in_one_line(text: &str) -> String {
    with_unsafe(&masked(text), |c, line| match c {
        '\n' | '\t' => line.push(' '),
        c => line.extend(c.escape_unicode()),
    })
}

/// As `in_one_line` for each line.
pub fn lines(text: &str) -> String {
    text.lines().map(in_one_line).collect::<Vec<_>>().join("\n")
}

fn with_unsafe(text: &str, replace: impl Fn(char, &mut String)) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { replace(c, &mut safe) } else { safe.push(c) }
    }
    safe
}

/// Whether a terminal interprets it: a control character, or a mark of writing direction.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Masks user names and passwords within addresses.
pub fn masked(text: &str) -> Cow<'_, str> {
    mask(text, false)
}

/// Masks user names and passwords within addresses, and queries, which may hold a token.
pub fn masked_with_queries(text: &str) -> Cow<'_, str> {
    mask(text, true)
}

fn mask(text: &str, also_queries: bool) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(after.len());
        let (address, next) = after.split_at(end);
        let (authority, path) = address.split_at(address.find('/').unwrap_or(end));
        let host = authority.rfind('@').map_or(0, |at| at + 1);
        masked.extend([before, if host > 0 { "://…@" } else { "://" }]);
        // A query may follow the host at once.
        if let Some((host, _)) = authority[host..].split_once('?').filter(|_| also_queries) {
            masked.extend([host, "?…"]);
            rest = next;
            continue;
        }
        masked.push_str(&authority[host..]);
        rest = match path.split_once('?') {
            // `?uri=true` belongs to a database's path that holds a question mark.
            Some((path, query)) if also_queries && query != "uri=true" => {
                masked.extend([path, "?…"]);
                next
            }
            _ => &after[authority.len()..],
        };
    }
    if masked.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(masked + rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_without_its_password() {
        let table = [
            ("http://user:secret@host:5000/x", "http://…@host:5000/x"),
            ("refused: https://a:b@c, then http://d@e", "refused: https://…@c, then http://…@e"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://user:p@ss@host", "http://…@host"),
            ("sqlite:////a@b/x.db", "sqlite:////a@b/x.db"),
            ("no address: a@b", "no address: a@b"),
            ("://", "://"),
        ];
        for (text, expected) in table {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn a_text_becomes_one_line_without_control_characters() {
        let table = [
            ("plain ✗", "plain ✗"),
            ("a\nb\tc", "a b c"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b\r", "a\\u{202e}b\\u{d}"),
        ];
        for (text, expected) in table {
            assert_eq!(in_one_line(text), expected);
        }
    }

    #[test]
    fn credentials_in_addresses_are_masked() {
        let table = [
            ("http://host:5000", "http://host:5000"),
            ("https://ada:secret@host:5000/ml", "https://…@host:5000/ml"),
            ("https://a:p@ss@host", "https://…@host"),
            ("http://host/a?uri=secret", "http://host/a?…"),
            ("http://u:p?x@host?key=a/b then", "http://…@host?… then"),
            ("sqlite:///file:/a%3Fb.db?uri=true", "sqlite:///file:/a%3Fb.db?uri=true"),
            (
                "no answer from http://u:p@h: refused, http://v:q@h/",
                "no answer from http://…@h: refused, http://…@h/",
            ),
            ("https://host/ml?token=abc&x=1 said no", "https://host/ml?… said no"),
            ("postgresql://u:p@host/db", "postgresql://…@host/db"),
            ("sqlite:////home/a@b/x.db", "sqlite:////home/a@b/x.db"),
            ("a user@host", "a user@host"),
        ];
        for (text, safe) in table {
            assert_eq!(clean(text), safe);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}d\u{202e}é"), "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}é");
        let value = serde_json::json!({ "a": "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}é\n" });
        let printed = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!printed.chars().any(|c| c != '\n' && is_unsafe(c)), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }
}
