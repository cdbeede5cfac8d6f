//! Plain texts within a Markdown document.

use super::html::escaped;
use super::mentions::{NOTHING, is_mention};

pub(super) fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}

/// A block of code whose fence is longer than each run of backticks in it.
pub(super) fn fenced(text: &str, language: &str) -> String {
    let fence = "`".repeat(longest_run(text, '`').max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// A text that Markdown shows as it is, within a line.
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        match c {
            '<' => literal.push_str("&lt;"),
            '&' => literal.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '>' | '|' | '~' | '$' | '#' | '!' => {
                literal.extend(['\\', c])
            }
            '\n' => literal.push(' '),
            c => literal.push(c),
        }
        if is_mention(text, at) {
            literal.push_str(NOTHING);
        }
    }
    literal
}

/// For HTML within Markdown, on one line. GitHub reads formulas between dollar signs.
pub(super) fn inline(text: &str) -> String {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices(['@', '#', '-']).filter(|(at, _)| is_mention(text, *at)) {
        parts.push(in_html(&text[begin..=at]));
        begin = at + 1;
    }
    parts.push(in_html(&text[begin..]));
    parts.join(NOTHING)
}

/// As `inline`, for an element of code: GitHub acts on nothing there.
pub(super) fn in_html(text: &str) -> String {
    escaped(&text.replace('\n', " ")).replace('$', "&#36;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_each_run_of_backticks() {
        let table = [
            ("a\n", "```sh\na\n```"),
            ("a ``` b", "````sh\na ``` b\n````"),
            ("`````", "``````sh\n`````\n``````"),
            ("", "```sh\n\n```"),
        ];
        for (text, expected) in table {
            assert_eq!(fenced(text, "sh"), expected, "{text}");
        }
    }

    #[test]
    fn a_plain_text_is_shown_as_it_is() {
        let table = [
            ("$1 <b> & a|b", "\\$1 &lt;b\\> &amp; a\\|b"),
            ("[a](b) # c_d_ `e`", "\\[a\\](b) \\# c\\_d\\_ \\`e\\`"),
            ("a\n# b", "a \\# b"),
            ("@a fixes #1", "@<!-- -->a fixes \\#<!-- -->1"),
        ];
        for (text, expected) in table {
            assert_eq!(literal(text), expected);
        }
        assert_eq!(inline("$1\n@a <b> #1"), "&#36;1 @<!-- -->a &lt;b&gt; #<!-- -->1");
        assert_eq!(in_html("@a"), "@a");
    }
}
