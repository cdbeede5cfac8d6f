//! Texts of a trace without characters that act: control characters, marks of writing direction, further line breaks.

use common::printable::is_unsafe;

/// Bytes of a tool's text that an export shows.
pub(super) const LONGEST: usize = 64 << 10;

/// Characters of a line of a file: generated files have lines of megabytes.
const LONGEST_LINE: usize = 2000;

/// A text of several lines: line feeds and tabs stay, other breaks become line feeds, and characters that act are
/// spelled out.
pub(super) fn lines(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' => plain.push('\n'),
            '\n' | '\t' => plain.push(c),
            c if acts(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    plain
}

/// Whether `lines` leaves the text as it is.
pub(super) fn is_plain(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\n' | '\t') || !(acts(c) || matches!(c, '\u{2028}' | '\u{2029}')))
}

/// The beginning of a text on one line; `…` marks a cut text.
pub(super) fn line(text: &str, width: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = lines(&words.join(" "));
    match line.char_indices().nth(width) {
        None => line,
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
    }
}

/// One line of a file, with its spaces.
pub(super) fn line_of_code(line: &str) -> String {
    let line = lines(line).replace('\n', " ");
    match line.char_indices().nth(LONGEST_LINE) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// Both ends of a text that is longer than `longest` bytes, and a note between them. Ends of lines are kept.
pub(super) fn excerpt(text: &str, longest: usize) -> String {
    let plain = lines(text);
    if plain.len() <= longest {
        return plain;
    }
    let head = plain.floor_char_boundary(longest / 4 * 3);
    let head = plain[..head].rfind('\n').map_or(head, |end| end + 1);
    let tail = plain.ceil_char_boundary(plain.len() - longest / 4);
    let tail = plain[tail..].find('\n').map_or(tail, |end| tail + end + 1);
    let (size, left_out) = (plain.len(), tail - head);
    format!("{}\n[… {left_out} of {size} bytes left out …]\n\n{}", &plain[..head], &plain[tail..])
}

/// The Arabic letter mark is a mark of writing direction too; the byte order mark is invisible.
fn acts(c: char) -> bool {
    is_unsafe(c) || matches!(c, '\u{61c}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_are_spelled_out() {
        let table = [
            ("a\r\nb\rc\u{2028}d\te", "a\nb\nc\nd\te"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\u{202e}b\u{2066}c\u{61c}\u{9b}\0", "a\\u{202e}b\\u{2066}c\\u{61c}\\u{9b}\\u{0}"),
            ("grüße 👩\u{200d}💻", "grüße 👩\u{200d}💻"),
        ];
        for (text, expected) in table {
            assert_eq!(lines(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_is_cut_with_a_note() {
        let table = [("a  b\nc", 5, "a b c"), ("a b c", 3, "a b…"), ("a b c", 4, "a b…"), ("", 3, "")];
        for (text, width, expected) in table {
            assert_eq!(line(text, width), expected, "{text:?}");
        }
        assert_eq!(excerpt("ab\ncd\n", 6), "ab\ncd\n");
        let long = "one\ntwo\nthree\nfour\nfive\n";
        assert_eq!(excerpt(long, 16), "one\ntwo\n\n[… 16 of 24 bytes left out …]\n\n");
        assert_eq!(excerpt(&"ä".repeat(8), 8), "äää\n[… 8 of 16 bytes left out …]\n\nä");
    }
}
