//! The Markdown of an answer as HTML that does nothing: no HTML of the model's own, no images, no links but to the web.

use super::html::escaped;
use super::plain;
use pulldown_cmark::{
    CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html,
};

/// Schemes of addresses that a reader may follow.
const SCHEMES: [&str; 3] = ["http", "https", "mailto"];

/// HTML that the writer takes as it is.
pub(super) struct SafeHtml(String);

impl SafeHtml {
    pub(super) fn from_markdown(markdown: &str) -> SafeHtml {
        let mut html = String::with_capacity(markdown.len() * 2);
        let mut links = Links::default();
        let events = Parser::new_ext(markdown, options()).map(|event| links.safe(event));
        html::push_html(&mut html, events);
        SafeHtml(html)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What Codex's models write and GitHub reads.
pub(super) fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS
}

/// Whether a link may lead there: to the web, or to an address for mail.
pub(super) fn is_of_the_web(address: &str) -> bool {
    let known = |scheme: &str| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    scheme(address).is_some_and(known) && plain::is_plain(address)
}

/// The scheme of an address; None for a relative one.
pub(super) fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.trim_start().split_once(':')?;
    (!scheme.contains(['/', '?', '#'])).then_some(scheme)
}

/// The links that are open: whether each is kept. Images are links too.
#[derive(Default)]
struct Links(Vec<bool>);

impl Links {
    fn safe<'m>(&mut self, event: Event<'m>) -> Event<'m> {
        match event {
            Event::Html(text) | Event::InlineHtml(text) | Event::Text(text) => Event::Text(plain_text(text)),
            Event::Code(text) => Event::Code(plain_text(text)),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Start(Tag::Link { link_type, dest_url, .. }) => match link_type {
                LinkType::Email => self.begin(&format!("mailto:{dest_url}")),
                _ => self.begin(&dest_url),
            },
            Event::Start(Tag::Image { dest_url, .. }) => self.begin(&dest_url),
            Event::End(TagEnd::Link | TagEnd::Image) => match self.0.pop() {
                Some(true) => Event::InlineHtml("</a>".into()),
                _ => Event::Text("".into()),
            },
            Event::Start(Tag::Heading { level, .. }) => Event::Start(Tag::Heading {
                level: lowered(level),
                id: None,
                classes: Vec::new(),
                attrs: Vec::new(),
            }),
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lowered(level))),
            // The language is for programs that colour code.
            Event::Start(Tag::CodeBlock(_)) => Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)),
            Event::TaskListMarker(is_done) => Event::Text(if is_done { "☑ " } else { "☐ " }.into()),
            other => other,
        }
    }

    fn begin(&mut self, address: &str) -> Event<'static> {
        // HTML has no links within links.
        let is_kept = is_of_the_web(address) && !self.0.contains(&true);
        self.0.push(is_kept);
        if !is_kept {
            return Event::Text("".into());
        }
        let address = escaped(address);
        let tag = format!(r#"<a href="{address}" rel="noopener noreferrer nofollow">"#);
        Event::InlineHtml(tag.into())
    }
}

/// Markdown's entities may spell characters that act: `&#27;`.
fn plain_text(text: CowStr) -> CowStr {
    if plain::is_plain(&text) { text } else { plain::lines(&text).into() }
}

/// Below the headings of the page.
fn lowered(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html_that_does_nothing() {
        let rel = r#"rel="noopener noreferrer nofollow""#;
        let table = [
            ("**a** `b<c`", "<p><strong>a</strong> <code>b&lt;c</code></p>\n".to_owned()),
            ("# a", "<h3>a</h3>\n".into()),
            ("a <b onclick=x>c</b>", "<p>a &lt;b onclick=x&gt;c&lt;/b&gt;</p>\n".into()),
            ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n".into()),
            ("![alt](http://x/i.png)", format!("<p><a href=\"http://x/i.png\" {rel}>alt</a></p>\n")),
            ("![alt](data:image/png;base64,AA)", "<p>alt</p>\n".into()),
            ("[a](https://x/?a&b \"t\")", format!("<p><a href=\"https://x/?a&amp;b\" {rel}>a</a></p>\n")),
            (
                "[a](https://x/\"onclick=)",
                format!("<p><a href=\"https://x/&quot;onclick=\" {rel}>a</a></p>\n"),
            ),
            ("[a](javascript:alert(1))", "<p>a</p>\n".into()),
            ("[a](&#106;avascript:alert(1))", "<p>a</p>\n".into()),
            ("[a](JAVA&#9;script:x) [b](//h) [c](/etc/x)", "<p>a b c</p>\n".into()),
            ("[![i](http://i)](http://l)", format!("<p><a href=\"http://l\" {rel}>i</a></p>\n")),
            ("<a@b.c>", format!("<p><a href=\"mailto:a@b.c\" {rel}>a@b.c</a></p>\n")),
            ("<javascript:x>", "<p>javascript:x</p>\n".into()),
            ("a&#27;[2J&#x202e;b `&#27;`", "<p>a\\u{1b}[2J\\u{202e}b <code>&amp;#27;</code></p>\n".into()),
            ("```\"><x>\na\n```", "<pre><code>a\n</code></pre>\n".into()),
            ("- [x] a\n- [ ] b", "<ul>\n<li>☑ a</li>\n<li>☐ b</li>\n</ul>\n".into()),
        ];
        for (markdown, expected) in table {
            assert_eq!(SafeHtml::from_markdown(markdown).as_str(), expected, "{markdown}");
        }
    }

    #[test]
    fn only_addresses_of_the_web_are_followed() {
        let table = [
            ("http://a", true),
            ("HTTPS://a", true),
            ("mailto:a@b", true),
            ("javascript:http://a", false),
            ("file:///etc/passwd", false),
            ("a/b:c", false),
            ("https://a\u{202e}b", false),
            ("", false),
        ];
        for (address, expected) in table {
            assert_eq!(is_of_the_web(address), expected, "{address}");
        }
    }

    #[test]
    fn each_element_of_an_answer_is_the_renderers_own() {
        let known = [
            "<p>",
            "<a href=\"http://i\" rel=",
            "<pre><code>",
            "<code>",
            "<blockquote>",
            "<ul>",
            "<li>",
            "<del>",
            "<em>",
            "<br />",
            "<hr />",
        ];
        for text in hostile_answers() {
            let html = SafeHtml::from_markdown(&text);
            for (at, _) in html.as_str().match_indices('<') {
                let rest = &html.as_str()[at..];
                let is_known = rest.starts_with("</") || known.iter().any(|tag| rest.starts_with(tag));
                assert!(is_known, "{text:?} became {}", html.as_str());
            }
        }
    }

    /// Answers of hostile parts, each three in a row and the first again.
    pub(in crate::command::export) fn hostile_answers() -> impl Iterator<Item = String> {
        let parts = [
            "<div>",
            "\n\n",
            "![",
            "[a](javascript:x)",
            "](http://i)",
            "```\n",
            "<!--",
            "-->",
            "\\",
            "[a]: data:x\n",
            "[a]",
            "<svg onload=x>",
            "<svg/onload=x>",
            "&#27;",
            "> ",
            "- ",
            "`",
            "\n",
        ];
        let at = move |number: usize, place: u32| parts[number / parts.len().pow(place) % parts.len()];
        (0..parts.len().pow(3)).map(move |number| [0, 1, 2, 0].map(|place| at(number, place)).concat())
    }
}
