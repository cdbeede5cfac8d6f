//! The Markdown of prompts and answers within a document: it is kept, and loses what acts.

use super::answer::{is_of_the_web, options, scheme};
use super::markdown_text::{fenced, longest_run};
use super::mentions::{NOTHING, is_mention};
use super::plain;
use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};
use std::collections::BTreeMap;
use std::ops::Range;

/// How often an answer is changed. A change may make Markdown of what was HTML.
const MOST_PASSES: usize = 16;

/// A paragraph that follows an answer, to see whether it is one.
const NEXT: &str = "next";

/// Columns from one tab stop to the next.
const TAB: usize = 4;

/// An answer whose HTML is text, whose images are links, and whose links lead to the web or nowhere.
pub(super) fn answer(markdown: &str) -> String {
    match harmless(markdown.trim_end().to_owned()) {
        Some(text) => closed(apart(text)),
        None => fenced(markdown, ""),
    }
}

/// A prompt as a quotation, as harmless as an answer. A quotation has other columns than its text, thus other blocks of
/// code: it is made first.
pub(super) fn prompt(markdown: &str) -> String {
    let quotation = quoted(&with_spaces(markdown.trim_end()));
    harmless(quotation).unwrap_or_else(|| quoted(&fenced(markdown, "")))
}

/// GitHub's, and that of programs which know no tables.
fn dialects() -> [Options; 2] {
    [options(), Options::empty()]
}

/// None for a text that changes with each pass.
fn harmless(mut text: String) -> Option<String> {
    for _ in 0..MOST_PASSES {
        let changed = dialects().into_iter().find_map(|dialect| without_what_acts(&text, dialect));
        match changed {
            Some(changed) => text = changed,
            None => return Some(text),
        }
    }
    None
}

/// Changes of a text: where, how many bytes, and what replaces them.
#[derive(Default)]
struct Edits(BTreeMap<usize, (usize, &'static str)>);

impl Edits {
    fn replace(&mut self, at: usize, length: usize, replacement: &'static str) {
        self.0.insert(at, (length, replacement));
    }

    fn replace_each(&mut self, text: &str, range: &Range<usize>, of: char, replacement: &'static str) {
        let found = text[range.clone()].match_indices(of);
        self.0.extend(found.map(|(at, _)| (range.start + at, (of.len_utf8(), replacement))));
    }

    fn applied(self, text: &str) -> String {
        let (mut changed, mut done) = (String::with_capacity(text.len() + 64), 0);
        for (at, (length, replacement)) in self.0 {
            changed.extend([&text[done..at], replacement]);
            done = at + length;
        }
        changed + &text[done..]
    }
}

/// None where nothing was to change.
fn without_what_acts(text: &str, dialect: Options) -> Option<String> {
    let mut edits = Edits::default();
    let mut events = Parser::new_ext(text, dialect).into_offset_iter();
    let (mut images, mut is_in_code, mut is_in_autolink) = (Vec::new(), false, false);
    for (event, range) in events.by_ref() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => is_in_code = true,
            Event::End(TagEnd::CodeBlock) => is_in_code = false,
            Event::End(TagEnd::Link) => is_in_autolink = false,
            Event::Html(_) | Event::InlineHtml(_) if text[range.clone()].trim() == NOTHING => {}
            Event::Html(_) | Event::InlineHtml(_) => edits.replace_each(text, &range, '<', "&lt;"),
            // Other readers of Markdown know more HTML: `<svg/onload=…>`.
            Event::Text(_) if !is_in_code && begins_html(text, &range) => {
                edits.replace_each(text, &range, '<', "&lt;");
            }
            Event::Start(Tag::Image { .. }) => images.push(range.start),
            Event::Start(Tag::Link { dest_url, title, link_type, .. }) => {
                is_in_autolink = matches!(link_type, LinkType::Autolink | LinkType::Email);
                if acts(&dest_url, &title) {
                    let (sign, replacement) = if is_in_autolink { ('<', "&lt;") } else { ('[', "&#91;") };
                    edits.replace_each(text, &range, sign, replacement);
                }
            }
            // An entity that spells a character: `&#27;`.
            Event::Text(spelled) if !plain::is_plain(&spelled) => {
                edits.replace_each(text, &range, '&', "&amp;");
            }
            Event::Text(shown) if !is_in_code && !is_in_autolink => {
                without_references(text, &range, &shown, &mut edits);
            }
            _ => {}
        }
    }
    // A definition counts for the whole document: it could give an address to another answer's image.
    for (_, definition) in events.reference_definitions().iter() {
        edits.replace(definition.span.start, 1, "&#91;");
    }
    images.into_iter().for_each(|at| edits.replace(at, 1, ""));
    (!edits.0.is_empty()).then(|| edits.applied(text))
}

/// Parts what refers to people and issues, and escapes what would be an image or a footnote with a definition elsewhere.
fn without_references(text: &str, range: &Range<usize>, shown: &str, edits: &mut Edits) {
    let source = &text[range.clone()];
    if source != shown {
        // An entity that spells the sign.
        let is_followed = text[range.end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '&');
        if matches!(shown, "@" | "#" | "-") && is_followed {
            edits.replace(range.end, 0, NOTHING);
        }
        return;
    }
    for (at, sign) in source.match_indices(['@', '#', '-', '[']) {
        let (at, before) = (range.start + at, text.as_bytes()[..range.start + at].last());
        let is_escaped = at == range.start && before == Some(&b'\\');
        match sign {
            "[" if before == Some(&b'!') || (!is_escaped && text[at..].starts_with("[^")) => {
                edits.replace(at, 1, "\\[");
            }
            "[" => {}
            _ if is_mention(text, at) => edits.replace(at + 1, 0, NOTHING),
            _ => {}
        }
    }
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

/// Below a list, a text that begins with spaces would be a part of its last item, and its code would be none.
fn apart(text: String) -> String {
    let first = text.lines().find(|line| !line.trim_matches([' ', '\t']).is_empty());
    match first.is_some_and(|line| line.starts_with([' ', '\t'])) {
        true => format!("{NOTHING}\n\n{text}"),
        false => text,
    }
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
    dialects().into_iter().all(|dialect| leaves_room_in(text, dialect))
}

fn leaves_room_in(text: &str, dialect: Options) -> bool {
    let with_next = format!("{text}\n\n{NEXT}\n");
    let mut last: Vec<Event> = Vec::new();
    for event in Parser::new_ext(&with_next, dialect) {
        if last.len() == 4 {
            last.remove(0);
        }
        last.push(event);
    }
    // In a list, the end of the list follows.
    matches!(&last[last.len().saturating_sub(3)..], [Event::Start(Tag::Paragraph), Event::Text(text), Event::End(_)] if **text == *NEXT)
}

/// The text as a quotation.
fn quoted(markdown: &str) -> String {
    let quoted = |line: &str| if line.is_empty() { ">".to_owned() } else { format!("> {line}") };
    markdown.lines().map(quoted).collect::<Vec<_>>().join("\n")
}

/// Behind `> `, a tab at the begin of a line is narrower, and its code would be none. Fenced code keeps its tabs.
fn with_spaces(markdown: &str) -> String {
    let events = Parser::new_ext(markdown, options()).into_offset_iter();
    let fences: Vec<Range<usize>> = events
        .filter(|(event, _)| matches!(event, Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_)))))
        .map(|(_, range)| range)
        .collect();
    let mut spaced = String::with_capacity(markdown.len());
    let (mut begin, mut fences) = (0, fences.iter().peekable());
    for line in markdown.split_inclusive('\n') {
        while fences.next_if(|fence| fence.end <= begin).is_some() {}
        let is_fenced = fences.peek().is_some_and(|fence| fence.start < begin);
        let code = if is_fenced { line } else { line.trim_start_matches([' ', '\t']) };
        let space = &line[..line.len() - code.len()];
        let width = space.chars().fold(0, |at, c| if c == '\t' { (at / TAB + 1) * TAB } else { at + 1 });
        spaced.extend([" ".repeat(width).as_str(), code]);
        begin += line.len();
    }
    spaced
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
            // A definition counts for the whole document, and an image may have its address elsewhere.
            ("[b]: http://x\n\n[b]: http://y", "&#91;b]: http://x\n\n&#91;b]: http://y"),
            ("a ![b][c] \\![b] `![b]`", "a !\\[b][c] \\!\\[b] `![b]`"),
            ("a[^1]\n\n[^1]: b c", "a\\[^1]\n\n\\[^1]: b c"),
            // GitHub notifies people and closes issues.
            ("@a fixes #1 `@a #1`", "@<!-- -->a fixes #<!-- -->1 `@a #1`"),
            (
                "&#64;a &commat;a \\@a <a@b.c> a@b.c",
                "&#64;<!-- -->a &commat;<!-- -->a \\@<!-- -->a <a@b.c> a@b.c",
            ),
            ("https://a.b/@c#1", "https://a.b/@c#1"),
            // A list above would go on.
            ("    <b>", "<!-- -->\n\n    <b>"),
            ("<javascript:x>", "&lt;javascript:x>"),
            ("<div>\n![a](http://x)\n</div>", "&lt;div>\n[a](http://x)\n&lt;/div>"),
            ("a &#27; &#x202e; &amp;", "a &amp;#<!-- -->27; &amp;#x202e; &amp;"),
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
            assert_eq!(harmless(safe.clone()).as_ref(), Some(&safe), "{text:?} became {safe:?}");
            assert!(leaves_room(&safe), "{text:?} became {safe:?}");
        }
    }

    #[test]
    fn a_prompt_is_quoted_with_its_code() {
        let table = [
            ("a\n\nb", "> a\n>\n> b"),
            ("\t<b>", ">     <b>"),
            ("a\n\n \t`x <b>", "> a\n>\n>     `x <b>"),
            ("```\n\ta\n```\n\n\tb", "> ```\n> \ta\n> ```\n>\n>     b"),
            ("-\t<b>", "> -\t&lt;b>"),
            ("<b>", "> &lt;b>"),
            ("```\n<b>", "> ```\n> <b>"),
        ];
        for (markdown, expected) in table {
            assert_eq!(prompt(markdown), expected, "{markdown:?}");
        }
    }
}
