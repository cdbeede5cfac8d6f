//! A line of `facts`, as a test writes it: `name TYPE STATUS fact=value fact="a value"`.

use serde_json::{Value, json};

/// A line of what is expected.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) facts: Vec<Fact>,
}

/// `name=value`, the value as it is written.
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl Line {
    pub(crate) fn read(line: &str) -> Line {
        let mut words = words(line).into_iter();
        let name = words.next().unwrap_or_default();
        let facts = words.filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some(Fact { name: name.to_owned(), value: Some(value.to_owned()) })
        });
        Line { name, facts: facts.collect() }
    }
}

impl Fact {
    /// ` name=value`, in the expectation's own writing where that fits.
    pub(crate) fn told(&self, found: Option<Value>) -> String {
        let found = written(found);
        match &self.value {
            Some(expected) if fits(expected, &found) => format!(" {}={expected}", self.name),
            _ => format!(" {}={found}", self.name),
        }
    }
}

fn written(value: Option<Value>) -> String {
    let bare = |text: &str| {
        !text.is_empty() && text != "-" && !text.contains(|c: char| c.is_whitespace() || c == '"')
    };
    match value {
        None => "-".to_owned(),
        Some(Value::String(text)) if bare(&text) => text,
        Some(Value::String(text)) => json!(text).to_string(),
        Some(other) if bare(&other.to_string()) => other.to_string(),
        Some(other) => json!(other.to_string()).to_string(),
    }
}

/// Each `…` matches any text; quotes around one of the two do not matter.
fn fits(expected: &str, found: &str) -> bool {
    if !expected.contains('…') {
        return expected == found;
    }
    if found == "-" {
        return false;
    }
    let bare = |text: &str| {
        let text = text.strip_prefix('"').unwrap_or(text);
        text.strip_suffix('"').unwrap_or(text).to_owned()
    };
    let (expected, mut rest) = (bare(expected), &*bare(found));
    let parts: Vec<&str> = expected.split('…').collect();
    let (Some((first, inner)), last) = (parts.split_first(), parts.len() - 1) else { return false };
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    for (place, part) in inner.iter().enumerate() {
        let is_last = place + 1 == last;
        let found =
            if is_last { rest.ends_with(part).then(|| rest.len() - part.len()) } else { rest.find(part) };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// Split at spaces outside quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in line.trim().chars() {
        if c == ' ' && !quoted {
            words.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        words.last_mut().expect("there is one from the start").push(c);
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_its_own_form_and_dots_match_any_text() {
        let text = |text: &str| written(Some(json!(text)));
        for (expected, found, fit) in [
            ("ls", text("ls"), true),
            ("ls", text("ls -l"), false),
            (r#""ls -l""#, text("ls -l"), true),
            ("ls…", text("ls -l"), true),
            (r#""…no such file""#, text("cat: x: no such file"), true),
            (r#""a…a""#, text("a"), false),
            (r#""…such…""#, text("cat: x: no such file"), true),
            (r#""…such…x…""#, text("cat: x: no such file"), false),
            (r#""…x…such…""#, text("cat: x: no such file"), true),
            ("…", written(None), false),
            ("-", written(None), true),
            ("-", text("-"), false),
            ("3", written(Some(json!(3))), true),
        ] {
            assert_eq!(fits(expected, &found), fit, "{expected} and {found}");
        }
    }

    #[test]
    fn words_are_split_outside_quotes_only() {
        assert_eq!(words(r#"  a b="c d" e="\" f""#), ["a", r#"b="c d""#, r#"e="\" f""#]);
    }
}
