//! Texts within a Markdown document: answers that keep their Markdown and lose what acts, and plain texts.

use super::answer::{is_of_the_web, options, scheme};
use super::plain;
use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use std::collections::BTreeMap;
use std::ops::Range;

/// How often an answer is changed. A change may make Markdown of what was HTML.
const MOST_PASSES: usize = 16;

/// A paragraph that follows an answer, to see whether it is one.
const NEXT: &str = "next";

/// An answer whose HTML is text, whose images are links, and whose links lead to the web or nowhere.
pub(super) fn answer(markdown: &str) -> String {
    let mut text = markdown.trim_end().to_owned();
    for _ in 0..MOST_PASSES {
        match without_what_acts(&text) {
            Some(changed) => text = changed,
            None => return closed(text),
        }
    }
    fenced(markdown, "")
}

/// None where nothing was to change.
fn without_what_acts(text: &str) -> Option<String> {
    let mut edits: BTreeMap<usize, (usize, &str)> = BTreeMap::new();
    let mut each = |range: &Range<usize>, of: char, replacement| {
        let found = text[range.clone()].match_indices(of);
        edits.extend(found.map(|(at, _)| (range.start + at, (1, replacement))));
    };
    let mut events = Parser::new_ext(text, options()).into_offset_iter();
    let (mut images, mut is_in_code) = (Vec::new(), false);
    for (event, range) in events.by_ref() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => is_in_code = true,
            Event::End(TagEnd::CodeBlock) => is_in_code = false,
            Event::Html(_) | Event::InlineHtml(_) => each(&range, '<', "&lt;"),
            // Other readers of Markdown know more HTML: `<svg/onload=…>`.
            Event::Text(_) if !is_in_code && begins_html(text, &range) => each(&range, '<', "&lt;"),
            Event::Start(Tag::Image { .. }) => images.push(range.start),
            Event::Start(Tag::Link { dest_url, title, .. }) if acts(&dest_url, &title) => {
                let is_autolink = text[range.clone()].starts_with('<');
                each(&range, if is_autolink { '<' } else { '[' }, if is_autolink { "&lt;" } else { "&#91;" });
            }
            // An entity that spells a character: `&#27;`.
            Event::Text(spelled) if !plain::is_plain(&spelled) => each(&range, '&', "&amp;"),
            _ => {}
        }
    }
    for (_, definition) in events.reference_definitions().iter() {
        if acts(&definition.dest, definition.title.as_deref().unwrap_or_default()) {
            each(&definition.span, '[', "&#91;");
        }
    }
    edits.extend(images.into_iter().map(|at| (at, (1, ""))));
    if edits.is_empty() {
        return None;
    }
    let (mut changed, mut done) = (String::with_capacity(text.len() + 64), 0);
    for (at, (length, replacement)) in edits {
        changed.extend([&text[done..at], replacement]);
        done = at + length;
    }
    Some(changed + &text[done..])
}

/// Whether a name or a sign of HTML follows one of the `<` in the range, or follows the range.
fn begins_html(text: &str, range: &Range<usize>) -> bool {
    let mut after = text[range.clone()]
        .match_indices('<')
        .filter_map(|(at, _)| text[range.start + at + 1..].chars().next());
    after.any(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'))
}

/// A relative address leads nowhere outside of its repository.
fn acts(address: &str, title: &str) -> bool {
    let leads_on = scheme(address).is_some() && !is_of_the_web(address);
    leads_on || !plain::is_plain(address) || !plain::is_plain(title)
}

/// An open block of code would swallow what follows the answer.
fn closed(text: String) -> String {
    if leaves_room(&text) {
        return text;
    }
    for fence in ['`', '~'] {
        let longest = longest_run(&text, fence).max(3);
        let ended = format!("{text}\n{}", fence.to_string().repeat(longest));
        if leaves_room(&ended) {
            return ended;
        }
    }
    fenced(&text, "")
}

/// Whether a paragraph below the text is one.
fn leaves_room(text: &str) -> bool {
    let with_next = format!("{text}\n\n{NEXT}\n");
    let mut last: Vec<Event> = Vec::new();
    for event in Parser::new_ext(&with_next, options()) {
        if last.len() == 4 {
            last.remove(0);
        }
        last.push(event);
    }
    // In a list, the end of the list follows.
    matches!(&last[last.len().saturating_sub(3)..], [Event::Start(Tag::Paragraph), Event::Text(text), Event::End(_)] if **text == *NEXT)
}

fn longest_run(text: &str, of: char) -> usize {
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
    for c in text.chars() {
        match c {
            '<' => literal.push_str("&lt;"),
            '&' => literal.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '>' | '|' | '~' | '$' | '#' | '!' => {
                literal.extend(['\\', c])
            }
            '\n' => literal.push(' '),
            c => literal.push(c),
        }
    }
    literal
}

/// The text as a quotation.
pub(super) fn quoted(markdown: &str) -> String {
    let quoted = |line: &str| if line.is_empty() { ">".to_owned() } else { format!("> {line}") };
    markdown.lines().map(quoted).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::hostile_answers;
    use super::*;

    #[test]
    fn an_answer_keeps_its_markdown_and_loses_what_acts() {
        let table = [
            ("**a** `<b>` < c", "**a** `<b>` < c"),
            ("```\n<b>\n```", "```\n<b>\n```"),
            ("a <b>c</b>", "a &lt;b>c&lt;/b>"),
            ("<script>alert(1)</script>\n", "&lt;script>alert(1)&lt;/script>"),
            ("a <svg/onload=x> 1 <2 `<b/x>`", "a &lt;svg/onload=x> 1 <2 `<b/x>`"),
            ("<!-- a\n\n# b", "&lt;!-- a\n\n# b"),
            ("![a](http://x/i.png)", "[a](http://x/i.png)"),
            ("[a](http://x) [b](src/x.rs#L1) <http://y>", "[a](http://x) [b](src/x.rs#L1) <http://y>"),
            ("[a](javascript:alert(1))", "&#91;a](javascript:alert(1))"),
            ("[a][b]\n\n[b]: javascript:x", "&#91;a]&#91;b]\n\n&#91;b]: javascript:x"),
            ("<javascript:x>", "&lt;javascript:x>"),
            ("<div>\n![a](http://x)\n</div>", "&lt;div>\n[a](http://x)\n&lt;/div>"),
            ("a &#27; &#x202e; &amp;", "a &amp;#27; &amp;#x202e; &amp;"),
            ("```\nopen", "```\nopen\n```"),
            ("~~~~ a\nopen `````", "~~~~ a\nopen `````\n~~~~"),
            ("> ```\n> a", "> ```\n> a"),
            ("- a\n\n  b", "- a\n\n  b"),
        ];
        for (markdown, expected) in table {
            let safe = answer(markdown);
            assert_eq!(safe, expected, "{markdown}");
            assert_eq!(answer(&safe), safe, "{markdown}");
        }
    }

    #[test]
    fn nothing_that_acts_is_left_of_a_hostile_answer() {
        for text in hostile_answers() {
            let safe = answer(&text);
            assert_eq!(without_what_acts(&safe), None, "{text:?} became {safe:?}");
            assert!(leaves_room(&safe), "{text:?} became {safe:?}");
        }
    }

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
        ];
        for (text, expected) in table {
            assert_eq!(literal(text), expected);
        }
        assert_eq!(quoted("a\n\nb"), "> a\n>\n> b");
    }
}
