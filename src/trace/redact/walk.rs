//! Replaces secrets in every text of a trace: names, previews, keys, nested values.

use super::Redactor;
use super::find::Found;
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use crate::trace::model::{Span, SpanEvent, SpanStatus, Trace};
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::BTreeMap;
use std::mem;

/// Minimum bytes of a known secret, which is replaced in all texts, also without a keyword. Shorter ones may be words.
const SHORTEST_KNOWN: usize = 10;

/// Known secrets per trace. A session with more has read a list of secrets.
const MOST_KNOWN: usize = 10_000;

/// Bytes of a name, and of a value that its name may mark as a secret.
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 4096;

/// A pass over one trace, and its finds.
pub(super) struct Walk<'r> {
    redactor: &'r Redactor,
    counts: BTreeMap<String, u64>,
    /// Each secret with its placeholder and the index of its rule.
    known: BTreeMap<String, (String, usize)>,
}

impl<'r> Walk<'r> {
    pub(super) fn of(redactor: &'r Redactor) -> Walk<'r> {
        Walk { redactor, counts: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// Replaces secrets, and counts the finds per rule.
    pub(super) fn trace(mut self, trace: &mut Trace) -> BTreeMap<String, u64> {
        texts(trace, &mut self);
        self.take_known(trace);
        self.counts
    }

    pub(super) fn one(mut self, text: &str) -> Option<String> {
        self.text(text)
    }

    fn without(&mut self, text: &str, found: &[Found]) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut at = 0;
        for one in found {
            let secret = &text[one.range.clone()];
            let rule = &self.redactor.finder.rule(one.rule).name;
            let placeholder = self.redactor.placeholder(rule, secret.as_bytes());
            kept.push_str(&text[at..one.range.start]);
            kept.push_str(&placeholder);
            *self.counts.entry(rule.clone()).or_default() += 1;
            if is_to_be_known(secret) && self.known.len() < MOST_KNOWN {
                self.known.entry(secret.to_owned()).or_insert((placeholder, one.rule));
            }
            at = one.range.end;
        }
        kept.push_str(&text[at..]);
        kept
    }

    /// Replaces known secrets in all other texts: an answer may quote a password without a keyword.
    fn take_known(&mut self, trace: &mut Trace) {
        let (known, places): (Vec<&String>, Vec<&(String, usize)>) = self.known.iter().unzip();
        if known.is_empty() {
            return;
        }
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(known);
        // The automaton may become too large. The secrets are already replaced where a rule found them.
        let Ok(finder) = finder else { return };
        let mut known = Known { finder, places, counts: BTreeMap::new() };
        texts(trace, &mut known);
        for (rule, count) in known.counts {
            *self.counts.entry(self.redactor.finder.rule(rule).name.clone()).or_default() += count;
        }
    }
}

impl Takes for Walk<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        let found = self.redactor.finder.find(text);
        (!found.is_empty()).then(|| self.without(text, &found))
    }

    fn value_of(&mut self, name: &str, value: &str) -> Option<String> {
        let is_name = name.len() <= LONGEST_NAME && value.len() <= LONGEST_VALUE;
        let is_option = name.starts_with('-');
        // A keyword of a short option includes the quote after it: `-u "`.
        let is_known = || match is_option {
            true => self.redactor.finder.knows_a_word_of(&format!("{name} \"")),
            false => self.redactor.finder.knows_a_word_of(name),
        };
        if !is_name || value.is_empty() || !is_known() {
            return None;
        }
        let joint = if is_option { " \"" } else { "=\"" };
        let start = name.len() + joint.len();
        let found = self.redactor.finder.find(&format!("{name}{joint}{value}\"")).into_iter();
        let within: Vec<Found> = found
            .filter(|one| one.range.start >= start && one.range.end <= start + value.len())
            .map(|one| Found { range: one.range.start - start..one.range.end - start, rule: one.rule })
            .collect();
        (!within.is_empty()).then(|| self.without(value, &within))
    }
}

/// A second pass, for secrets that the first pass found.
struct Known<'a> {
    finder: AhoCorasick,
    /// Placeholder and rule index of each secret.
    places: Vec<&'a (String, usize)>,
    counts: BTreeMap<usize, u64>,
}

impl Takes for Known<'_> {
    fn text(&mut self, text: &str) -> Option<String> {
        let mut kept = String::new();
        let mut at = 0;
        for hit in self.finder.find_iter(text) {
            let (placeholder, rule) = self.places[hit.pattern().as_usize()];
            kept.push_str(&text[at..hit.start()]);
            kept.push_str(placeholder);
            *self.counts.entry(*rule).or_default() += 1;
            at = hit.end();
        }
        (at > 0).then(|| kept + &text[at..])
    }

    fn value_of(&mut self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// Long enough and mixed enough to be neither a word nor a coincidence elsewhere.
fn is_to_be_known(secret: &str) -> bool {
    let has = |is: fn(&u8) -> bool| secret.bytes().any(|byte| is(&byte));
    secret.len() >= SHORTEST_KNOWN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

/// Replaces parts of texts. Both functions return None where the text stays as it is.
pub(super) trait Takes {
    fn text(&mut self, text: &str) -> Option<String>;

    /// For a value next to its name: `{"password": "…"}`, `["--token", "…"]`. `text` gets the value as well.
    fn value_of(&mut self, name: &str, value: &str) -> Option<String>;
}

/// Stores the new text, if there is one.
fn put<T: From<String>>(left: Option<String>, text: &mut T) {
    if let Some(left) = left {
        *text = left.into();
    }
}

/// Passes every text of the trace to `takes`. A new field of the model breaks the patterns here at compile time.
pub(super) fn texts(trace: &mut Trace, takes: &mut impl Takes) {
    let Trace {
        id: _,
        name,
        state: _,
        started_at: _,
        ended_at: _,
        request_preview,
        response_preview,
        metadata,
        tags,
        spans,
    } = trace;
    put(takes.text(name), name);
    for preview in [request_preview, response_preview].into_iter().flatten() {
        put(takes.text(preview), preview);
    }
    for rows in [metadata, tags] {
        let row = |(mut key, mut value): (String, String)| {
            put(takes.value_of(&key, &value), &mut value);
            put(takes.text(&value), &mut value);
            put(takes.text(&key), &mut key);
            (key, value)
        };
        *rows = mem::take(rows).into_iter().map(row).collect();
    }
    for span in spans {
        let Span {
            id: _,
            parent: _,
            name,
            span_type: _,
            status,
            started_at: _,
            ended_at: _,
            inputs,
            outputs,
            attributes,
            events,
        } = span;
        put(takes.text(name), name);
        if let SpanStatus::Error { message } = status {
            put(takes.text(message), message);
        }
        values(inputs, takes);
        values(outputs, takes);
        fields(attributes, takes);
        for SpanEvent { name, at: _, attributes } in events {
            put(takes.text(name), name);
            fields(attributes, takes);
        }
    }
}

fn values(value: &mut Value, takes: &mut impl Takes) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => put(takes.text(text), text),
        Value::Array(items) => {
            words(items, takes);
            items.iter_mut().for_each(|item| values(item, takes));
        }
        Value::Object(object) => fields(object, takes),
    }
}

/// A command line: each option with the argument after it.
fn words(items: &mut [Value], takes: &mut impl Takes) {
    for at in 1..items.len() {
        let (before, after) = items.split_at_mut(at);
        if let (Some(Value::String(option)), Some(Value::String(text))) = (before.last(), after.first_mut())
            && option.starts_with('-')
        {
            put(takes.value_of(option, text), text);
        }
    }
}

fn fields(object: &mut Map, takes: &mut impl Takes) {
    named_value(object, takes);
    for (name, value) in object.iter_mut() {
        if let Value::String(text) = value {
            put(takes.value_of(name, text), text);
        }
        values(value, takes);
    }
    let names: Vec<Option<String>> = object.keys().map(|name| takes.text(name)).collect();
    if names.iter().any(Option::is_some) {
        let renamed = |((name, value), new): (_, Option<String>)| (new.map_or(name, Text::from), value);
        *object = mem::take(object).into_iter().zip(names).map(renamed).collect();
    }
}

/// `{"name": "DB_PASSWORD", "value": "…"}`
fn named_value(object: &mut Map, takes: &mut impl Takes) {
    let name = ["name", "key", "Name", "Key"].iter().find_map(|key| object.get(key)?.as_text());
    let Some(name) = name.cloned() else { return };
    for key in ["value", "Value"] {
        if let Some(Value::String(text)) = object.get_mut(key) {
            put(takes.value_of(&name, text), text);
        }
    }
}
