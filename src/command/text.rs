//! Text as our commands print it: 80 columns, nothing in it that a terminal would obey, no credentials.

use crate::unprintable::is_unprintable;
use std::borrow::Cow;
use std::fmt::{Display, Write};

/// As wide as terminals are unless somebody made them wider.
pub(super) const WIDTH: usize = 80;

/// What a person or a server wrote, made safe to print: without credentials, and with nothing that a terminal
/// would obey.
pub(super) fn clean(text: impl Display) -> String {
    printable(&conceal(&text.to_string()))
}

/// Control characters and marks that turn the direction of writing, written out.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unprintable(c) {
            true => _ = write!(safe, "{}", c.escape_default()),
            false => safe.push(c),
        }
    }
    safe
}

/// JSON that a terminal may be shown: serde writes out the control characters of ASCII only, and these stand in texts
/// alone.
pub(super) fn printable_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c != '\n' && is_unprintable(c) {
            true => _ = write!(safe, "\\u{:04x}", u32::from(c)),
            false => safe.push(c),
        }
    }
    safe
}

/// User names and passwords within addresses, and what follows a question mark, which may be a token.
pub(super) fn conceal(text: &str) -> Cow<'_, str> {
    let Some((before, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
    let (address, after) = rest.split_at(end);
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("…@{host}"));
    let path = match path.split_once('?') {
        // How a database's path is written that holds a question mark itself.
        None | Some((_, "uri=true")) => path.to_owned(),
        Some((path, _)) => format!("{path}?…"),
    };
    Cow::Owned(format!("{before}://{host}{path}{}", conceal(after)))
}

/// Broken at spaces, with every further line set in. A word that is too long stays whole: it may be an address
/// that is to be copied.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut at = indent;
    for (index, word) in text.split(' ').enumerate() {
        let width = columns(word);
        match index {
            0 => {}
            _ if at + 1 + width > WIDTH => {
                let _ = write!(lines, "\n{:indent$}", "");
                at = indent;
            }
            _ => {
                lines.push(' ');
                at += 1;
            }
        }
        lines.push_str(word);
        at += width;
    }
    lines
}

/// Colours take no room.
fn columns(word: &str) -> usize {
    let mut within = false;
    let is_shown = |c: &char| {
        within |= *c == '\u{1b}';
        let shown = !within;
        within &= *c != 'm';
        shown
    };
    word.chars().filter(is_shown).count()
}

/// `1 trace`, `2 traces`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credentials_of_an_address_are_printed() {
        let table = [
            ("http://host:5000", "http://host:5000"),
            ("https://ada:secret@host:5000/ml", "https://…@host:5000/ml"),
            ("https://a:p@ss@host", "https://…@host"),
            ("http://host/a?uri=secret", "http://host/a?…"),
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
    fn no_text_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}d\u{202e}é"), "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}é");
        let said = serde_json::json!({ "a": "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}é\n" });
        let json = printable_json(&serde_json::to_string_pretty(&said).unwrap());
        assert!(!json.chars().any(|c| c != '\n' && is_unprintable(c)), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), said);
    }

    #[test]
    fn lines_end_at_eighty_columns_and_long_words_stay_whole() {
        let text = format!("{} {} end", "word ".repeat(20).trim_end(), "x".repeat(100));
        let wrapped = wrap(&text, 4);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert!(lines.iter().all(|line| line.len() + 4 <= WIDTH || line.trim().len() == 100), "{wrapped}");
        assert_eq!(lines.len(), 4);
        assert_eq!(columns("\u{1b}[32myes\u{1b}[0m,"), 4);
        assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>().join(" "), text);
    }
}
