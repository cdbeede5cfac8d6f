//! What must not leave: secrets are taken out of a finished trace, before anything of it is written.
//!
//! Only a trace that went through here can be put into the spool, which is the only road to a target. What was a
//! secret becomes `[redacted:<rule>:<hash>]`: the rule says what it was, and the hash, which another installation
//! would make otherwise, tells one secret from the next.

mod check;
mod content;
mod find;
mod lazy;
mod legible;
mod rules;
mod salt;
#[cfg(test)]
mod tests;
mod walk;

pub use find::Finder;
pub use lazy::LazyRedactor;
pub use rules::{Rule, Rules};
pub use salt::Salt;

use super::files;
use super::images::Images;
use super::limits;
use super::lines;
use super::model::Trace;
use crate::rollout::text::Text;
use crate::rollout::value::Map;
use crate::rollout::value::Value;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

/// How often each rule found something; JSON in the trace's metadata and on its root.
pub const COUNTS: &str = "codex.redactions";

/// How much of the hash stands in a placeholder. Enough to tell the secrets of a trace apart, too little to try
/// guesses with, for whoever got hold of the salt.
const HASH_DIGITS: usize = 8;

/// How every placeholder begins.
const PLACEHOLDER: &str = "[redacted:";

/// A trace without secrets, as far as the rules know them. It can be read; whoever changes it has a trace again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redacted(Trace);

impl Redacted {
    /// By our own rules and without a salt: for a trace that nobody's session is.
    pub fn made_up(trace: Trace) -> Redacted {
        static OURS: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(Rules::ours(), Salt::new([0; 32])));
        OURS.redact(trace, Keep::Everything)
    }

    /// As any that is made now: what an earlier version put into the spool may hold what no place can keep.
    pub fn legible(self) -> Redacted {
        let Redacted(mut trace) = self;
        legible::make(&mut trace);
        Redacted(trace)
    }
}

impl Redacted {
    /// With small images beside their notes. Each is bytes of its type, in which no rule finds a secret; a trace of
    /// figures alone has no notes.
    pub fn with_images(mut self, images: &Images) -> Redacted {
        images.show_in(&mut self.0);
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

/// How much of a session a trace may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All but secrets.
    Everything,
    /// Names of models and tools, times, counts, tokens, cost, statuses, exit codes, versions, ids of threads and
    /// turns: nothing that a person, a model or a program wrote.
    Figures,
}

/// Takes secrets out of traces.
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

    /// The same trace, rules and salt give the same trace. Whatever is cut for being too long is cut here, after the
    /// secrets are out: half a secret would not be known for one.
    pub fn redact(&self, mut trace: Trace, keep: Keep) -> Redacted {
        files::note(&mut trace);
        match keep {
            Keep::Figures => content::keep_figures(&mut trace),
            Keep::Everything => {
                let counts = walk::Walk::of(self).trace(&mut trace);
                note(&mut trace, &counts);
            }
        }
        legible::make(&mut trace);
        lines::apart(&mut trace);
        limits::cut(&mut trace);
        Redacted(trace)
    }

    /// A text by itself; None where nothing is to be taken out of it.
    pub fn text(&self, text: &str) -> Option<String> {
        walk::Walk::of(self).one(text)
    }

    fn placeholder(&self, rule: &str, secret: &[u8]) -> String {
        format!("{PLACEHOLDER}{rule}:{}]", self.salt.hash(secret))
    }
}

impl Salt {
    /// Of the secret alone: line breaks within it may be written in several ways.
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

/// Whether figures alone are left of it: what its target has of the rest is to go.
pub fn is_of_figures(trace: &Trace) -> bool {
    trace.spans.first().is_some_and(|root| root.attributes.contains_key(content::CONTENT))
}

/// What a trace tells of it; empty where there was nothing.
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
