//! The layout of the commands' text: 80 columns.

use std::fmt::Write;

/// Columns; the usual width of a terminal.
pub(super) const WIDTH: usize = 80;

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
