//! The layout of the commands' text: 80 columns.

use crate::unprintable::is_unprintable;
use std::borrow::Cow;
use std::fmt::{Display, Write};

/// Columns; the usual width of a terminal.
pub(super) const WIDTH: usize = 80;

/// Makes text of a user or a server safe to print: masks credentials, escapes control characters.
pub(super) fn clean(text: impl Display) -> String {
    printable(&conceal(&text.to_string()))
}

/// Escapes control characters and marks of writing direction.
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

/// Makes JSON safe for a terminal: serde escapes only the control characters of ASCII. Such characters occur only
/// within JSON strings.
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
        // The form of a database's path that holds a question mark.
        None | Some((_, "uri=true")) => path.to_owned(),
        Some((path, _)) => format!("{path}?…"),
    };
    Cow::Owned(format!("{before}://{host}{path}{}", conceal(after)))
}

/// Breaks lines at spaces and indents all but the first. A long word stays whole: it may be an address to copy.
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

/// The width of a word; colour sequences count as zero.
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
    fn credentials_in_addresses_are_masked() {
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
    fn control_characters_are_escaped() {
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
