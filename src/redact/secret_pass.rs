//! Replaces secrets in every text of a trace, or of its changed spans: names, previews, keys, nested values. It
//! also looks for characters that no store can keep: a walk of its own would take as long, and seldom find any.

use super::find::{Finder, SecretRange};
use super::placeholder::Salt;
use super::texts::{RewriteTexts, rewrite_information, rewrite_span, rewrite_texts, storable};
use aho_corasick::{AhoCorasick, MatchKind};
use common::json::text::Text;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, Trace};
use std::collections::BTreeMap;

/// Minimum bytes of a known secret, which is replaced in all texts, also without a keyword. Shorter ones may be words.
const SHORTEST_KNOWN: usize = 10;

/// Known secrets per trace. A session with more has read a list of secrets.
const MOST_KNOWN: usize = 10_000;

/// Bytes of a name, and of a value that its name may mark as a secret.
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 4096;

/// What a pass found in a trace or in a part of one: finds per rule, by the rule's index.
pub(super) type Finds = BTreeMap<usize, u64>;

/// Secrets that a pass found, each with its placeholder and the index of its rule.
pub(super) type KnownSecrets = BTreeMap<String, (String, usize)>;

/// A pass over a trace, and its finds.
pub(super) struct SecretPass<'r> {
    finder: &'r Finder,
    salt: &'r Salt,
    finds: Finds,
    known: KnownSecrets,
    clean: CleanTexts,
    is_storable: bool,
}

/// What a pass found in a whole trace.
pub(super) struct Searched {
    pub(super) finds: Finds,
    /// Whether a store can keep every text.
    pub(super) is_storable: bool,
}

impl<'r> SecretPass<'r> {
    pub(super) fn new(finder: &'r Finder, salt: &'r Salt) -> SecretPass<'r> {
        let (finds, known, clean) = Default::default();
        SecretPass { finder, salt, finds, known, clean, is_storable: true }
    }

    /// As `new`, after passes that found these secrets.
    pub(super) fn with_known(self, known: KnownSecrets) -> SecretPass<'r> {
        SecretPass { known, ..self }
    }

    /// Replaces secrets, and counts the finds. `prepare` changes each span before it is searched, and `searched` after;
    /// the latter also gets the span's index. Known secrets may be in it still.
    pub(super) fn redact(
        mut self,
        trace: &mut Trace,
        prepare: impl Fn(&mut Span),
        mut searched: impl FnMut(usize, &mut Span),
    ) -> Searched {
        rewrite_information(trace, &mut self);
        // Span by span, while its values are in the processor's cache.
        for (at, span) in trace.spans.iter_mut().enumerate() {
            prepare(span);
            rewrite_span(span, &mut self);
            searched(at, span);
        }
        if let Some(mut repeats) = Repeats::new(&self.known) {
            rewrite_texts(trace, &mut repeats);
            add(&mut self.finds, repeats.finds);
        }
        Searched { finds: self.finds, is_storable: self.is_storable }
    }

    /// As `redact`, with the finds of each span; those of the trace's other texts have no id. Returns all secrets that
    /// are known by now.
    pub(super) fn redact_part(mut self, part: &mut Trace) -> (BTreeMap<Option<SpanId>, Finds>, KnownSecrets) {
        let (mut finds, mut spans) = (BTreeMap::new(), std::mem::take(&mut part.spans));
        rewrite_texts(part, &mut self);
        finds.insert(None, std::mem::take(&mut self.finds));
        for span in &mut spans {
            rewrite_span(span, &mut self);
            finds.insert(Some(span.id), std::mem::take(&mut self.finds));
        }
        if let Some(mut repeats) = Repeats::new(&self.known) {
            rewrite_texts(part, &mut repeats);
            add(finds.entry(None).or_default(), std::mem::take(&mut repeats.finds));
            for span in &mut spans {
                rewrite_span(span, &mut repeats);
                add(finds.entry(Some(span.id)).or_default(), std::mem::take(&mut repeats.finds));
            }
        }
        part.spans = spans;
        (finds, self.known)
    }

    fn replace(&mut self, text: &str, found: &[SecretRange]) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut at = 0;
        for one in found {
            let secret = &text[one.range.clone()];
            let placeholder = self.salt.placeholder(&self.finder.rule(one.rule).name, secret.as_bytes());
            kept.push_str(&text[at..one.range.start]);
            kept.push_str(&placeholder);
            *self.finds.entry(one.rule).or_default() += 1;
            if is_searched_elsewhere(secret) && self.known.len() < MOST_KNOWN {
                self.known.entry(secret.to_owned()).or_insert((placeholder, one.rule));
            }
            at = one.range.end;
        }
        kept.push_str(&text[at..]);
        kept
    }
}

/// The last texts in which the pass found no secret, by address. A trace holds most texts several times: a tool's result is
/// in the tool's span and in the messages of the next request. Clones of a text have one address.
#[derive(Default)]
struct CleanTexts(Vec<Option<Text>>);

impl CleanTexts {
    /// A power of two; more would not fit into a processor's nearest cache.
    const MOST: usize = 1024;

    /// Bytes of a text that is not remembered: to search it takes no longer.
    const SHORT: usize = 16;

    fn place_of(text: &Text) -> usize {
        // An allocator's addresses are multiples of 16.
        (text.as_ptr().addr() / 16) % CleanTexts::MOST
    }

    fn holds(&self, text: &Text) -> bool {
        let held = self.0.get(CleanTexts::place_of(text)).and_then(Option::as_ref);
        held.is_some_and(|held| held.as_ptr() == text.as_ptr())
    }

    /// Keeps a clone, so that no other text gets its address.
    fn add(&mut self, text: &Text) {
        if text.len() >= CleanTexts::SHORT {
            if self.0.is_empty() {
                self.0.resize(CleanTexts::MOST, None);
            }
            self.0[CleanTexts::place_of(text)] = Some(text.clone());
        }
    }
}

/// Replaces known secrets in all other texts: an answer may quote a password without a keyword.
struct Repeats<'k> {
    finder: AhoCorasick,
    /// In the order of the finder's patterns.
    replacements: Vec<&'k (String, usize)>,
    finds: Finds,
}

impl Repeats<'_> {
    /// None where no secret is known.
    fn new(known: &KnownSecrets) -> Option<Repeats<'_>> {
        let (known, replacements): (Vec<&String>, Vec<_>) = known.iter().unzip();
        if known.is_empty() {
            return None;
        }
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(known);
        // The automaton may become too large. The secrets are already replaced where a rule found them.
        Some(Repeats { finder: finder.ok()?, replacements, finds: Finds::new() })
    }
}

impl RewriteTexts for Repeats<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        let (mut kept, mut at) = (String::new(), 0);
        for hit in self.finder.find_iter(text) {
            let (placeholder, rule) = self.replacements[hit.pattern().as_usize()];
            kept.push_str(&text[at..hit.start()]);
            kept.push_str(placeholder);
            *self.finds.entry(*rule).or_default() += 1;
            at = hit.end();
        }
        (at > 0).then(|| kept + &text[at..])
    }
}

pub(super) fn add(to: &mut Finds, finds: Finds) {
    finds.into_iter().for_each(|(rule, count)| *to.entry(rule).or_default() += count);
}

impl RewriteTexts for SecretPass<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        // First: it brings the text into the processor's cache fastest.
        self.is_storable &= storable(text).is_none();
        let found = self.finder.find(text);
        (!found.is_empty()).then(|| self.replace(text, &found))
    }

    fn shared_text(&mut self, text: &Text) -> Option<String> {
        if self.clean.holds(text) {
            return None;
        }
        let new = self.text(text);
        if new.is_none() {
            self.clean.add(text);
        }
        new
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::rules::Rules;
    use crate::redact::tests::span;
    use common::json::value::Map;
    use serde_json::Value::Null;

    fn redacted(fields: &[(&str, &Text)]) -> (Vec<String>, u64, bool) {
        let (finder, salt) = (Finder::new(Rules::built_in()), Salt::new([7; 32]));
        let mut pass = SecretPass::new(&finder, &salt);
        let fields: Map = fields.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        let mut span = Span { inputs: fields.into(), ..span(Null, Null) };
        rewrite_span(&mut span, &mut pass);
        let texts =
            span.inputs.as_object().unwrap().iter().map(|(_, value)| value.as_str().unwrap().to_owned());
        (texts.collect(), pass.finds.values().sum(), pass.is_storable)
    }

    #[test]
    fn a_text_that_is_clean_by_itself_is_a_secret_by_its_name() {
        let text = Text::from("Zx81-qk72-Lm4v-90");
        let (texts, finds, is_storable) =
            redacted(&[("note", &text), ("password", &text), ("comment", &text)]);
        assert_eq!([&texts[0], &texts[2]], [text.as_str(); 2]);
        assert!(texts[1].starts_with("[redacted:"), "{}", texts[1]);
        assert_eq!((finds, is_storable), (1, true));
    }

    #[test]
    fn clones_of_a_text_are_replaced_alike_and_counted_each() {
        let secret = Text::from(format!("the key is ghp_{}", "aB3dE6gH9k".repeat(4).split_at(36).0));
        let nul = Text::from("a text with \0, a NUL, in it");
        let (texts, finds, is_storable) =
            redacted(&[("a", &secret), ("b", &nul), ("c", &secret), ("d", &nul)]);
        assert!(texts[0].starts_with("the key is [redacted:"), "{}", texts[0]);
        assert_eq!((&texts[0], &texts[1]), (&texts[2], &texts[3]));
        assert_eq!((finds, is_storable), (2, false));
    }

    #[test]
    fn a_clean_text_is_known_by_its_address_as_long_as_it_is_held() {
        let (mut clean, text) = (CleanTexts::default(), Text::from("long enough to be held"));
        assert!(!clean.holds(&text));
        clean.add(&text);
        assert!(clean.holds(&text.clone()));
        assert!(!clean.holds(&Text::from(text.as_str())));
        let short = Text::from("short");
        clean.add(&short);
        assert!(!clean.holds(&short));
    }
}
