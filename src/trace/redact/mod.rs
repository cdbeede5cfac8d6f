//! Removes secrets from a finished trace, before any part of it is written.
//!
//! The spool takes only redacted traces, and every delivery goes through the spool. A secret becomes
//! `[redacted:<rule>:<hash>]`: the rule is its kind, and the hash, salted per installation, distinguishes secrets.

mod check;
mod content;
mod find;
mod lazy;
mod legible;
mod limits;
mod multiline;
mod placeholder;
mod redactor;
mod rules;
mod salt;
mod secrets;
mod small_images;
mod storable;
#[cfg(test)]
mod tests;
mod texts;

pub use find::Finder;
pub use lazy::LazyRedactor;
pub use rules::{Rule, Rules};
pub use salt::Salt;
pub use small_images::SmallImages;

use super::files;
use super::images::Images;
use super::limits;
use super::lines;
use super::model::Trace;
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use crate::trace::model::Trace;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

/// Metadata key and root attribute: JSON object of finds per rule.
pub const COUNTS: &str = "codex.redactions";

/// Hex digits of the hash in a placeholder: enough to distinguish the secrets of a trace, too few to verify guesses
/// for an attacker who has the salt.
const HASH_DIGITS: usize = 8;

/// Prefix of every placeholder.
const PLACEHOLDER: &str = "[redacted:";

/// A trace without the secrets that the rules find. Read-only; to change it, convert it into a `Trace`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redacted(Trace);

impl Redacted {
    /// Redacts with the built-in rules and a fixed salt: for synthetic traces, which belong to no session.
    pub fn made_up(trace: Trace) -> Redacted {
        static OURS: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(Rules::ours(), Salt::new([0; 32])));
        OURS.redact(trace, Keep::Everything)
    }

    /// Replaces characters that no store accepts. Traces that earlier versions spooled may still hold some.
    pub fn legible(self) -> Redacted {
        let Redacted(mut trace) = self;
        legible::make(&mut trace);
        Redacted(trace)
    }
}

impl Redacted {
    /// Adds small images after their notes. Their bytes begin as their type requires, so they need no search for
    /// secrets. A trace with metadata only has no notes.
    pub fn with_images(mut self, images: &SmallImages) -> Redacted {
        images.add_to(&mut self.0);
        self
    }
}

impl Deref for Redacted {
    type Target = Trace;

    fn deref(&self) -> &Trace {
        &self.0
    }
}

impl From<Redacted> for Trace {
    fn from(redacted: Redacted) -> Trace {
        redacted.0
    }
}

/// Content mode: how much of a session a trace may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything except secrets.
    Everything,
    /// Names of models and tools, times, counts, tokens, cost, statuses, exit codes, versions, thread and turn ids.
    /// No text that a person, a model or a program wrote.
    Figures,
}

/// Removes secrets from traces.
pub struct Redactor {
    finder: Finder,
    salt: Salt,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(…)")
    }
}

impl Redactor {
    pub fn new(rules: Rules, salt: Salt) -> Redactor {
        Redactor { finder: Finder::of(rules), salt }
    }

    /// Deterministic for the same trace, rules and salt. Cuts long texts last: no rule recognizes half a secret.
    pub fn redact(&self, mut trace: Trace, keep: Keep) -> Redacted {
        inline_files::replace(&mut trace);
        match keep {
            Keep::Figures => content::keep_figures(&mut trace),
            Keep::Everything => {
                let counts = walk::Walk::of(self).trace(&mut trace);
                note(&mut trace, &counts);
            }
        }
        legible::make(&mut trace);
        multiline::nest(&mut trace);
        limits::cut(&mut trace);
        Redacted(trace)
    }

    /// Redacts a single text; None where it holds no secret.
    pub fn text(&self, text: &str) -> Option<String> {
        walk::Walk::of(self).one(text)
    }

    fn placeholder(&self, rule: &str, secret: &[u8]) -> String {
        format!("{PLACEHOLDER}{rule}:{}]", self.salt.hash(secret))
    }
}

impl Salt {
    /// Hashes the secret without white space and escapes of it: line breaks may be written in several ways.
    fn hash(&self, secret: &[u8]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.bytes());
        let mut rest = secret.iter().copied().peekable();
        while let Some(byte) = rest.next() {
            match byte {
                b'\\' => {
                    while rest.next_if_eq(&b'\\').is_some() {}
                    rest.next_if(|next| b"nrt".contains(next));
                }
                byte if byte.is_ascii_whitespace() => {}
                byte => hash.update([byte]),
            }
        }
        let digest = hash.finalize();
        digest
            .iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .map(char::from)
            .take(HASH_DIGITS)
            .collect()
    }
}

/// Whether the trace holds metadata only. The target then deletes older content of the same trace.
pub fn is_of_figures(trace: &Trace) -> bool {
    trace.spans.first().is_some_and(|root| root.attributes.contains_key(content::CONTENT))
}

/// Finds per rule, from the trace's metadata; empty where no rule found anything.
pub fn counts_of(trace: &Trace) -> BTreeMap<String, u64> {
    trace.metadata.get(COUNTS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

fn note(trace: &mut Trace, counts: &BTreeMap<String, u64>) {
    if counts.is_empty() {
        return;
    }
    let json: Map = counts.iter().map(|(rule, count)| (rule.as_str().into(), (*count).into())).collect();
    let json = Value::Object(json);
    trace.metadata.insert(COUNTS.to_owned(), json.to_string());
    if let Some(root) = trace.spans.first_mut() {
        root.attributes.insert(Text::word(COUNTS), json);
    }
}
