//! Replaces secrets in every text of a trace: names, previews, keys, nested values.

use super::find::{Finder, SecretRange};
use super::placeholder::Salt;
use super::texts::{RewriteTexts, rewrite_texts};
use aho_corasick::{AhoCorasick, MatchKind};
use mlflow_store::trace::Trace;
use std::collections::BTreeMap;

/// Minimum bytes of a known secret, which is replaced in all texts, also without a keyword. Shorter ones may be words.
const SHORTEST_KNOWN: usize = 10;

/// Known secrets per trace. A session with more has read a list of secrets.
const MOST_KNOWN: usize = 10_000;

/// Bytes of a name, and of a value that its name may mark as a secret.
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 4096;

/// A pass over one trace, and its finds.
pub(super) struct SecretPass<'r> {
    finder: &'r Finder,
    salt: &'r Salt,
    /// For each rule's index.
    counts: BTreeMap<usize, u64>,
    /// Each secret with its placeholder and the index of its rule.
    known: BTreeMap<String, (String, usize)>,
}

impl<'r> SecretPass<'r> {
    pub(super) fn new(finder: &'r Finder, salt: &'r Salt) -> SecretPass<'r> {
        SecretPass { finder, salt, counts: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// Replaces secrets, and counts the finds per rule.
    pub(super) fn redact(mut self, trace: &mut Trace) -> BTreeMap<&'r str, u64> {
        rewrite_texts(trace, &mut self);
        self.replace_repeats(trace);
        self.counts.iter().map(|(rule, count)| (self.finder.rule(*rule).name.as_str(), *count)).collect()
    }

    fn replace(&mut self, text: &str, found: &[SecretRange]) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut at = 0;
        for one in found {
            let secret = &text[one.range.clone()];
            let placeholder = self.salt.placeholder(&self.finder.rule(one.rule).name, secret.as_bytes());
            kept.push_str(&text[at..one.range.start]);
            kept.push_str(&placeholder);
            *self.counts.entry(one.rule).or_default() += 1;
            if is_searched_elsewhere(secret) && self.known.len() < MOST_KNOWN {
                self.known.entry(secret.to_owned()).or_insert((placeholder, one.rule));
            }
            at = one.range.end;
        }
        kept.push_str(&text[at..]);
        kept
    }

    /// Replaces known secrets in all other texts: an answer may quote a password without a keyword.
    fn replace_repeats(&mut self, trace: &mut Trace) {
        let (known, replacements): (Vec<&String>, Vec<&(String, usize)>) = self.known.iter().unzip();
        if known.is_empty() {
            return;
        }
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(known);
        // The automaton may become too large. The secrets are already replaced where a rule found them.
        let Ok(finder) = finder else { return };
        let counts = &mut self.counts;
        rewrite_texts(trace, &mut |text: &str| {
            let (mut kept, mut at) = (String::new(), 0);
            for hit in finder.find_iter(text) {
                let (placeholder, rule) = replacements[hit.pattern().as_usize()];
                kept.push_str(&text[at..hit.start()]);
                kept.push_str(placeholder);
                *counts.entry(*rule).or_default() += 1;
                at = hit.end();
            }
            (at > 0).then(|| kept + &text[at..])
        });
    }
}

impl RewriteTexts for SecretPass<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        let found = self.finder.find(text);
        (!found.is_empty()).then(|| self.replace(text, &found))
    }

    fn value_of(&mut self, name: &str, value: &str) -> Option<String> {
        let is_name = name.len() <= LONGEST_NAME && value.len() <= LONGEST_VALUE;
        let is_option = name.starts_with('-');
        // A keyword of a short option includes the quote after it: `-u "`.
        let has_keyword = || match is_option {
            true => self.finder.has_keyword(&format!("{name} \"")),
            false => self.finder.has_keyword(name),
        };
        if !is_name || value.is_empty() || !has_keyword() {
            return None;
        }
        let joint = if is_option { " \"" } else { "=\"" };
        let start = name.len() + joint.len();
        let found = self.finder.find(&format!("{name}{joint}{value}\"")).into_iter();
        let within: Vec<SecretRange> = found
            .filter(|one| one.range.start >= start && one.range.end <= start + value.len())
            .map(|one| SecretRange { range: one.range.start - start..one.range.end - start, rule: one.rule })
            .collect();
        (!within.is_empty()).then(|| self.replace(value, &within))
    }
}

/// Long enough and mixed enough to be neither a word nor a coincidence elsewhere.
fn is_searched_elsewhere(secret: &str) -> bool {
    let has = |is: fn(&u8) -> bool| secret.bytes().any(|byte| is(&byte));
    secret.len() >= SHORTEST_KNOWN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}
