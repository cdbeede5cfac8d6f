//! Finds secrets in a text: one pass for the keywords of all rules, then the rule's pattern at each keyword.

use super::rule_check::Context;
use super::rules::{Rule, Rules};
use common::keywords::Keywords;
use std::ops::Range;

/// Bytes after a keyword to search for a match that does not begin with the keyword.
const REACH: usize = 512;

/// Bytes after a keyword to search for a match that begins with the keyword: more than a private key has. A match that
/// reaches this limit is searched again to the end of the text.
const LONGEST: usize = 64 << 10;

/// Failed searches of that length per rule and text. Without this limit, a text of prefixes only (`eyJeyJeyJ…`) would
/// take quadratic time.
const MOST_WITHOUT_FIND: u32 = 4000;

/// Finds the secrets that the rules describe.
pub struct Finder {
    rules: Rules,
    keywords: Keywords,
    /// For each keyword, the index of its rule.
    rule_of: Vec<usize>,
    /// Rules without a keyword: they search the whole text.
    everywhere: Vec<usize>,
}

/// Byte range of a secret, and the index of the rule that found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRange {
    pub range: Range<usize>,
    pub rule: usize,
}

/// Progress of a rule in a text.
#[derive(Clone, Copy, Debug, Default)]
struct RuleProgress {
    /// End of its last find: later searches begin there.
    end: usize,
    without_find: u32,
}

impl Finder {
    pub fn new(rules: Rules) -> Finder {
        let numbered = || rules.rules.iter().enumerate();
        let pairs = numbered().flat_map(|(at, rule)| rule.keywords.iter().map(move |keyword| (at, keyword)));
        let (rule_of, words): (Vec<usize>, Vec<&String>) = pairs.unzip();
        let keywords = Keywords::new(words);
        let everywhere = numbered().filter(|(_, rule)| rule.keywords.is_empty()).map(|(at, _)| at).collect();
        Finder { keywords, rule_of, everywhere, rules }
    }

    pub fn rule(&self, at: usize) -> &Rule {
        &self.rules.rules[at]
    }

    /// Whether the text holds any keyword.
    pub(super) fn has_keyword(&self, text: &str) -> bool {
        self.keywords.any_in(text)
    }

    /// Finds in order, without overlaps. Each begins and ends at a character boundary.
    pub fn find(&self, text: &str) -> Vec<SecretRange> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        let mut progress = Vec::new();
        for hit in self.keywords.all_in(text) {
            let at = self.rule_of[hit.word];
            let rule = self.rule(at);
            if !rule.anywhere && !begins_a_word(&bytes[..hit.start]) {
                continue;
            }
            if progress.is_empty() {
                progress = vec![RuleProgress::default(); self.rules.rules.len()];
            }
            if hit.start < progress[at].end {
                continue;
            }
            let from = hit.start.saturating_sub(rule.before).max(progress[at].end);
            let reach = match rule.is_anchored() && progress[at].without_find < MOST_WITHOUT_FIND {
                true => LONGEST,
                false => REACH,
            };
            let to = if rule.is_unlimited { bytes.len() } else { bytes.len().min(hit.end + reach) };
            self.search(at, bytes, from..to, &mut progress[at], &mut found);
            if rule.is_unlimited {
                progress[at].end = bytes.len();
            }
        }
        for at in &self.everywhere {
            self.search(*at, bytes, 0..bytes.len(), &mut RuleProgress::default(), &mut found);
        }
        merged(found, text)
    }

    fn search(
        &self,
        at: usize,
        bytes: &[u8],
        mut within: Range<usize>,
        progress: &mut RuleProgress,
        found: &mut Vec<SecretRange>,
    ) {
        let rule = self.rule(at);
        let Some(regex) = rule.regex() else { return };
        let mut from = within.start;
        progress.without_find += 1;
        loop {
            let rest = &bytes[from..within.end];
            // Most texts with a keyword have no match, and groups take memory before the search.
            if !regex.is_match(rest) {
                return;
            }
            let Some(captures) = regex.captures(rest) else { return };
            let whole = captures.get(0).expect("a match is there");
            let quoted = captures.name("quoted");
            let secret = captures.name("secret").or(quoted).unwrap_or(whole);
            let range = from + secret.start()..from + secret.end();
            let name = &bytes[..from + secret.start()];
            let value = secret.as_bytes();
            let context = Context {
                name,
                name_start: from + whole.start(),
                after: bytes.get(range.end).copied(),
                is_quoted: quoted.is_some(),
            };
            let is_secret = !value.is_empty()
                && rule.check.holds(value, &context)
                && !self.rules.allowed.iter().any(|allowed| allowed.is_match(value));
            if is_secret && range.end == within.end && within.end < bytes.len() {
                within.end = bytes.len();
                continue;
            }
            if is_secret {
                *progress =
                    RuleProgress { end: range.end, without_find: progress.without_find.saturating_sub(1) };
                found.push(SecretRange { range, rule: at });
            }
            if rule.is_anchored() || whole.is_empty() {
                return;
            }
            from += whole.end();
        }
    }
}

/// Whether a word begins after these bytes. The last letter of an escape is not part of the word.
fn begins_a_word(before: &[u8]) -> bool {
    let Some((last, rest)) = before.split_last() else { return true };
    if !last.is_ascii_alphanumeric() {
        return true;
    }
    let is_escape = rest.last() == Some(&b'\\') && b"nrtbf".contains(last);
    let is_percent = matches!(rest, [.., b'%', hex] if hex.is_ascii_hexdigit()) && last.is_ascii_hexdigit();
    is_escape || is_percent || (*last == b'm' && ends_a_colour(rest))
}

/// Whether the bytes end in `ESC [ 1 ; 3 1`, with the escape as a byte or as JSON, C or a shell writes it.
fn ends_a_colour(before: &[u8]) -> bool {
    let digits =
        before.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').take(12).count();
    let Some(rest) = before[..before.len() - digits].strip_suffix(b"[") else { return false };
    [&b"\x1b"[..], b"u001b", b"u001B", b"x1b", b"x1B", b"033", b"\\e"]
        .iter()
        .any(|escape| rest.ends_with(escape))
}

/// Merges overlapping finds; the rule that is first in the list names them.
fn merged(mut found: Vec<SecretRange>, text: &str) -> Vec<SecretRange> {
    for one in &mut found {
        while !text.is_char_boundary(one.range.start) {
            one.range.start -= 1;
        }
        while !text.is_char_boundary(one.range.end) {
            one.range.end += 1;
        }
    }
    found.sort_by_key(|one| (one.range.start, one.rule));
    let mut all: Vec<SecretRange> = Vec::with_capacity(found.len());
    for one in found {
        match all.last_mut() {
            Some(last) if one.range.start < last.range.end => {
                last.range.end = last.range.end.max(one.range.end);
                last.rule = last.rule.min(one.rule);
            }
            _ => all.push(one),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_begins_after_an_escape_a_colour_and_an_encoded_character() {
        let table = [
            ("", true),
            ("a ", true),
            ("a", false),
            ("ta", false),
            ("\\n", true),
            ("%3D", true),
            ("x3D", false),
            ("\u{1b}[1;31m", true),
            ("\\u001b[0m", true),
            ("[0m", false),
            ("form", false),
        ];
        for (before, begins) in table {
            assert_eq!(begins_a_word(before.as_bytes()), begins, "{before:?}");
        }
    }
}
