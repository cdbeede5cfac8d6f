//! Turns a trace into a redacted trace.

use super::display_limits;
use super::find::Finder;
use super::inline_files::{self, SmallImages};
use super::metadata_only::keep_metadata;
use super::placeholder::Salt;
use super::rules::Rules;
use super::secret_pass::{self, Finds, KnownSecrets, Searched, SecretPass};
use super::texts::{RewriteTexts, rewrite_texts, storable};
use crate::settings::file::ConfigFile;
use crate::settings::modes::Content;
use common::json::text::Text;
use common::json::value::{Map, Value};
use mlflow_store::ids::SpanId;
use mlflow_store::mlflow_keys::REDACTIONS;
use mlflow_store::trace::{Span, Trace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::LazyLock;

/// A trace without the secrets that the rules find. Read-only; to change it, convert it into a `Trace`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redacted(Trace);

impl Redacted {
    /// Redacts with the built-in rules and a fixed salt: for synthetic traces, which belong to no session.
    pub fn with_built_in_rules(trace: Trace) -> Redacted {
        static REDACTOR: LazyLock<Redactor> =
            LazyLock::new(|| Redactor::new(Rules::built_in(), Salt::new([0; 32])));
        REDACTOR.redact(trace, Content::Full)
    }

    /// Replaces characters that no store accepts. Traces that earlier versions spooled may still hold some.
    pub fn into_storable(self) -> Redacted {
        let Redacted(mut trace) = self;
        rewrite_texts(&mut trace, &mut storable);
        Redacted(trace)
    }

    /// With those spans only that are wanted.
    pub fn with_spans(mut self, is_wanted: impl FnMut(&Span) -> bool) -> Redacted {
        self.0.spans.retain(is_wanted);
        self
    }

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

/// Removes secrets from traces.
pub struct Redactor {
    finder: Finder,
    salt: Salt,
}

impl Redactor {
    pub fn new(rules: Rules, salt: Salt) -> Redactor {
        Redactor { finder: Finder::new(rules), salt }
    }

    /// With the rules of the configuration, which cost milliseconds to compile.
    pub fn from_config(config: &ConfigFile, salt: Salt) -> Redactor {
        let (rules, problems) = Rules::from_config(config);
        problems.iter().for_each(|problem| tracing::warn!("{problem}"));
        Redactor::new(rules, salt)
    }

    /// Deterministic for the same trace, rules and salt. Cuts long texts last: no rule recognizes half a secret.
    pub fn redact(&self, mut trace: Trace, content: Content) -> Redacted {
        match content {
            Content::Metadata => {
                trace.spans.iter_mut().for_each(inline_files::replace);
                keep_metadata(&mut trace);
                self.redact_tags(&mut trace);
                shown(trace)
            }
            Content::Full => {
                let mut long = Vec::new();
                let nested = |at, span: &mut Span| {
                    display_limits::nest(span);
                    if display_limits::may_exceed(span) {
                        long.push(at);
                    }
                };
                let pass = SecretPass::new(&self.finder, &self.salt);
                let Searched { finds, is_storable } = pass.redact(&mut trace, inline_files::replace, nested);
                self.add_counts(&mut trace, &finds);
                if finds.is_empty() && is_storable {
                    long.into_iter().for_each(|at| display_limits::cut_span(&mut trace.spans[at]));
                } else {
                    // A placeholder may be longer than its secret, and may take half of a pair of escapes.
                    rewrite_texts(&mut trace, &mut storable);
                    trace.spans.iter_mut().for_each(display_limits::cut_span);
                }
                with_shown_information(trace)
            }
        }
    }

    /// As `redact`, for a trace that was redacted before, perhaps with fewer rules. Placeholders and notes stay.
    pub fn redact_again(&self, mut trace: Trace, content: Content) -> Redacted {
        match content {
            Content::Metadata => self.redact(trace, content),
            Content::Full => {
                let pass = SecretPass::new(&self.finder, &self.salt);
                let Searched { finds, .. } = pass.redact(&mut trace, |_| (), |_, _| ());
                let before = trace.metadata.get(REDACTIONS).and_then(|json| serde_json::from_str(json).ok());
                self.add_counts_to(before.unwrap_or_default(), &mut trace, &finds);
                // Its texts are within their limits: to cut them again would cut the notes.
                Redacted(trace)
            }
        }
    }

    /// As `redact`, for a trace that grows: `part` has all its information, and those spans that are new or changed
    /// since the part before. `memory` is the trace's own.
    pub fn redact_part(&self, mut part: Trace, content: Content, memory: &mut RedactionMemory) -> Redacted {
        part.spans.iter_mut().for_each(inline_files::replace);
        match content {
            Content::Metadata => {
                keep_metadata(&mut part);
                self.redact_tags(&mut part);
            }
            Content::Full => {
                let known = std::mem::take(&mut memory.known);
                let before = known.len();
                let pass = SecretPass::new(&self.finder, &self.salt).with_known(known);
                let (finds, known) = pass.redact_part(&mut part);
                memory.has_learned = known.len() > before;
                memory.known = known;
                for (of, finds) in finds {
                    match finds.is_empty() {
                        true => memory.finds.remove(&of),
                        false => memory.finds.insert(of, finds),
                    };
                }
                let mut all = Finds::new();
                memory.finds.values().for_each(|finds| secret_pass::add(&mut all, finds.clone()));
                self.add_counts(&mut part, &all);
            }
        }
        shown(part)
    }

    /// The user's tags, of a trace whose other texts are gone.
    fn redact_tags(&self, trace: &mut Trace) {
        for value in trace.context.tags.values_mut() {
            if let Some(redacted) = self.text(value) {
                *value = redacted;
            }
        }
    }

    fn add_counts(&self, trace: &mut Trace, finds: &Finds) {
        self.add_counts_to(BTreeMap::new(), trace, finds);
    }

    fn add_counts_to(&self, mut counts: BTreeMap<String, u64>, trace: &mut Trace, finds: &Finds) {
        if finds.is_empty() {
            return;
        }
        // Rules may have one name.
        for (rule, count) in finds {
            *counts.entry(self.finder.rule(*rule).name.clone()).or_default() += count;
        }
        let json: Map = counts.iter().map(|(rule, count)| (rule.as_str().into(), (*count).into())).collect();
        let json = Value::Object(json);
        trace.metadata.insert(REDACTIONS.to_owned(), json.to_string());
        if let Some(root) = trace.root_mut() {
            root.attributes.insert(Text::word(REDACTIONS), json);
        }
    }

    /// Redacts a single text; None where it holds no secret.
    pub fn text(&self, text: &str) -> Option<String> {
        SecretPass::new(&self.finder, &self.salt).text(text)
    }
}

fn shown(mut trace: Trace) -> Redacted {
    rewrite_texts(&mut trace, &mut storable);
    for span in &mut trace.spans {
        display_limits::nest(span);
        display_limits::cut_span(span);
    }
    with_shown_information(trace)
}

/// The trace's spans are as a page shows them.
fn with_shown_information(mut trace: Trace) -> Redacted {
    let tags = std::mem::take(&mut trace.context.tags);
    trace.tags.extend(tags);
    display_limits::cut_information(&mut trace);
    Redacted(trace)
}

/// What the redaction of a growing trace has found so far.
#[derive(Default)]
pub struct RedactionMemory {
    known: KnownSecrets,
    /// None: in texts outside of spans.
    finds: BTreeMap<Option<SpanId>, Finds>,
    has_learned: bool,
}

impl RedactionMemory {
    /// Whether the last part held a secret that was not known: earlier parts may repeat it.
    pub fn has_learned(&self) -> bool {
        self.has_learned
    }
}
