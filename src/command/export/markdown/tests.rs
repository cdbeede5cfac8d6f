//! Nothing of a hostile session acts in the document as a whole: texts that are harmless alone may not be together.

use super::super::answer::options;
use super::super::facts::Fact;
use super::super::mentions::NOTHING;
use super::super::plain;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, TextMergeStream};

/// What the program itself writes.
const OWN: [&str; 10] = [
    "<details>",
    "<details open>",
    "</details>",
    "<summary>",
    "</summary>",
    "<b>",
    "</b>",
    "<code>",
    "</code>",
    NOTHING,
];

/// Elements that the document of `document_of` folds.
const FOLDED: usize = 3;

const NASTY: [&str; 52] = [
    "<img src=x onerror=a>",
    "\t<img src=x>",
    "    <img src=x>",
    "  <img src=x>",
    "\u{2028}\t<img src=x>",
    "`x <img src=x>",
    "![x][pix]",
    "![pix]",
    "![x](http://i.example/p.png)",
    "[pix]: https://evil.example/p.png",
    "[pix]: <https://evil.example/p.png> 'a'",
    "[pix]:\nhttps://evil.example/p.png",
    "[^1]: a b\n\n    <img src=x>",
    "[a [pix] b](u \"![y][pix]\")",
    "[^1]",
    "<https://a.example>",
    "<javascript:a>",
    "<a@b.example>",
    "[a](javascript:x)",
    "<script>\n",
    "<pre>",
    "<!--",
    "-->",
    "<?php",
    "?>",
    "<!DOCTYPE html>",
    "<![CDATA[",
    "]]>",
    "<div>",
    "</details>",
    "<x-y z='>",
    "</a>",
    "===",
    "---",
    "```",
    "~~~~",
    "`````html",
    "- ",
    "1. a",
    "> ",
    "* ",
    "\t",
    "  ",
    "\\",
    "`",
    "``",
    "| a | b |\n|---|---|\n| ",
    "!",
    "[",
    "](",
    "@name &#64;name fixes #12",
    "&lt;img src=x&gt; &#60;img src=x&#62;",
];

/// A turn with a sub-agent: each prompt, answer, summary of reasoning, tool output and name has a text of its own.
fn document_of(texts: &[String; 5]) -> Document {
    let [prompt, reasoning, answer, other_answer, output] = texts.each_ref().map(|text| plain::lines(text));
    let answered = |reasoning, answer| {
        Step::Response(Response { reasoning, answer: Some(answer), error: None, figures: None })
    };
    let block = |text: &str| Block { name: plain::line(text, 80), language: "", text: text.to_owned() };
    let tool = Tool {
        name: plain::line(&output, 80),
        headline: plain::line(&output, 80),
        state: State::Failed,
        facts: vec![plain::line(&answer, 80)],
        error: Some(plain::line(&output, 80)),
        inputs: vec![block(&output)],
        changes: FileChange::from_patch("*** Begin Patch\n<img src=x>").into_iter().collect(),
        outputs: vec![block(&prompt)],
        steps: Vec::new(),
    };
    let part = |prompt: &str, steps| Part {
        name: plain::line(prompt, 80),
        state: State::Done,
        facts: vec![plain::line(prompt, 80)],
        prompt: Some(prompt.to_owned()),
        steps,
        error: Some(output.clone()),
    };
    let agent = part(&other_answer, vec![answered(None, prompt.clone())]);
    let steps = vec![
        answered(None, answer.clone()),
        answered(Some(reasoning), other_answer.clone()),
        answered(None, answer),
        Step::Tool(tool),
        Step::Part(agent),
        answered(None, output.clone()),
        Step::Note(plain::line(&output, 80)),
    ];
    Document {
        title: plain::line(&prompt, 80),
        status: "completed".into(),
        state: State::Done,
        facts: vec![Fact { name: "Folder", value: plain::line(&output, 80) }],
        has_figures_only: false,
        turns: vec![part(&prompt, steps)],
        others: Vec::new(),
    }
}

/// Whether GitHub sees the name of a person or the number of an issue, except within an address.
fn refers(text: &str) -> bool {
    text.split_whitespace().filter(|word| !word.contains("://")).any(|word| {
        let names = |(at, _): (usize, &str)| !word[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        word.contains("#12") || word.match_indices("@name").any(names)
    })
}

/// What acts in the document; None where nothing does.
fn acting(markdown: &str) -> Option<String> {
    let dialects = [options(), Options::empty(), options() | Options::ENABLE_FOOTNOTES | Options::ENABLE_GFM];
    let mut folded = 0;
    for dialect in dialects {
        let mut is_quiet = false;
        for event in TextMergeStream::new(Parser::new_ext(markdown, dialect)) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => is_quiet = true,
                Event::End(TagEnd::CodeBlock | TagEnd::Link) => is_quiet = false,
                Event::Text(text) if !is_quiet && refers(&text) => return Some(format!("{text:?}")),
                Event::InlineHtml(html) if &*html == NOTHING => {}
                Event::Html(html) => {
                    let foreign = html
                        .match_indices('<')
                        .find(|(at, _)| !OWN.iter().any(|own| html[*at..].starts_with(own)));
                    if foreign.is_some() {
                        return Some(format!("{html:?}"));
                    }
                    folded += html.matches("<details").count();
                }
                Event::InlineHtml(_) | Event::Start(Tag::Image { .. }) | Event::FootnoteReference(_) => {
                    return Some(format!("{event:?}"));
                }
                Event::Start(Tag::Link { dest_url, .. }) if dest_url.starts_with("javascript:") => {
                    return Some(dest_url.into_string());
                }
                Event::Start(Tag::Link { .. }) => is_quiet = true,
                _ => {}
            }
        }
    }
    (folded != FOLDED * dialects.len()).then(|| format!("{folded} folded elements"))
}

#[track_caller]
fn assert_nothing_acts(texts: &[String; 5]) {
    let markdown = render(&document_of(texts));
    assert_eq!(acting(&markdown), None, "{texts:?} became\n{markdown}");
}

#[test]
fn nothing_acts_wherever_a_hostile_text_is() {
    let quiet = ["a", "b", "c", "d", "e"].map(str::to_owned);
    for nasty in NASTY {
        for at in 0..quiet.len() {
            let mut texts = quiet.clone();
            texts[at] = nasty.to_owned();
            assert_nothing_acts(&texts);
        }
    }
}

#[test]
fn texts_that_are_harmless_alone_are_harmless_together() {
    let table = [
        ["see ![x][pix]", "a", "[pix]: https://evil.example/p.png", "b", "c"],
        ["[pix]: https://evil.example/p.png", "![x][pix]", "![pix][]", "![pix]", "![pix]"],
        ["[a [pix] b](u \"![y][pix]\")", "a", "[pix]: https://evil.example/p.png", "b", "c"],
        ["a", "- b", "    <img src=x>", "- a", "1. c"],
        ["a\n\n\t`x <img src=x>", "1. a", "1. a", "\t<img src=x>", "\n    <img src=x>"],
        ["a[^1]", "[^1]: a b", "b[^1]", "[^1]:\n\n    <img src=x>", "c"],
        ["```", "~~~", "> ```", "- ```", "<!--"],
    ];
    for texts in table {
        assert_nothing_acts(&texts.map(str::to_owned));
    }
}

fn hostile() -> impl Strategy<Value = String> {
    let between = select(&["", " ", "\n", "\n\n", "\n\t", "\n    ", "\n> ", "\n- "][..]);
    vec((select(&NASTY[..]), between), 0..7)
        .prop_map(|parts| parts.iter().flat_map(|(nasty, between)| [*nasty, *between]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_acts_in_any_combination(texts in [hostile(), hostile(), hostile(), hostile(), hostile()]) {
        let markdown = render(&document_of(&texts));
        prop_assert_eq!(acting(&markdown), None, "{:?} became\n{}", texts, markdown);
    }
}
