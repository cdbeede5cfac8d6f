//! A small writer of HTML: each text is escaped, and each element is closed.

use super::answer::SafeHtml;

/// Names of elements and attributes are those of the program; texts are of anyone.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// An element with a class, or none for an empty one, and its content.
    pub(super) fn within(&mut self, tag: &'static str, class: &'static str, content: impl FnOnce(&mut Html)) {
        match class {
            "" => self.within_with(tag, &[], content),
            class => self.within_with(tag, &[("class", class)], content),
        }
    }

    pub(super) fn within_with(
        &mut self,
        tag: &'static str,
        attributes: &[(&'static str, &str)],
        content: impl FnOnce(&mut Html),
    ) {
        self.open(tag, attributes);
        content(self);
        self.0.extend(["</", tag, ">"]);
    }

    /// An element without an end, such as `meta`.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.extend(["<", tag]);
        for (name, value) in attributes {
            self.0.extend([" ", name]);
            // An attribute that is a switch has no value.
            if !value.is_empty() {
                self.0.extend(["=\"", &escaped(value), "\""]);
            }
        }
        self.0.push('>');
    }

    /// An element of one text.
    pub(super) fn leaf(&mut self, tag: &'static str, class: &'static str, text: &str) {
        self.within(tag, class, |html| html.text(text));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.0.push_str(&escaped(text));
    }

    pub(super) fn answer(&mut self, answer: &SafeHtml) {
        self.0.push_str(answer.as_str());
    }

    /// A part of the page that is the program's own: its style.
    pub(super) fn own(&mut self, text: &'static str) {
        self.0.push_str(text);
    }

    /// A line feed between elements, for readers of the source.
    pub(super) fn line(&mut self) {
        self.0.push('\n');
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// For the text of an element, and for the value of an attribute in double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_elements_closed() {
        let mut html = Html::default();
        html.within_with("p", &[("title", "\"'><&"), ("open", "")], |html| {
            html.leaf("b", "", "<script>'\"&</script>");
            html.within("i", "c", |_| {});
        });
        let expected = "<p title=\"&quot;&#39;&gt;&lt;&amp;\" open>\
            <b>&lt;script&gt;&#39;&quot;&amp;&lt;/script&gt;</b><i class=\"c\"></i></p>";
        assert_eq!(html.into_string(), expected);
    }
}
