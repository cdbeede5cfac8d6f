//! Modes of tracing that one word selects, each with its variable: content mode, granularity, liveness, and the words of
//! switches.

use clap::ValueEnum;
use mlflow_store::target::Target;
use serde::{Deserialize, Serialize};

/// The switch for tracing.
pub const ENABLED: &str = "MLFLOW_CODEX_TRACING_ENABLED";

pub const CONTENT: &str = "CODEX_TRACED_CONTENT";

pub const GRANULARITY: &str = "CODEX_TRACED_GRANULARITY";

pub const IMAGES: &str = "CODEX_TRACED_IMAGES";

pub const LIVE: &str = "CODEX_TRACED_LIVE";

/// How much of a session a trace holds. Ordered by strictness: the stricter mode is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    // `ValueEnum` shows doc comments as help.
    // Everything except secrets.
    #[default]
    Full,
    // Names of models and tools, times, counts, tokens, cost, statuses, exit codes, versions, thread and turn ids.
    // No text that a person, a model or a program wrote.
    Metadata,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    // `ValueEnum` shows doc comments as help.
    // One trace per session.
    #[default]
    Session,
    // One trace per turn; MLflow groups them by session.
    Turn,
}

/// When a trace is brought up to date while Codex works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Live {
    /// With every change.
    #[default]
    On,
    /// When a turn ends.
    Turn,
    Off,
}

impl Live {
    /// None for an unknown word.
    pub fn parse(word: &str) -> Option<Live> {
        [Live::On, Live::Turn, Live::Off]
            .into_iter()
            .find(|mode| word.trim().eq_ignore_ascii_case(mode.as_str()))
    }

    /// Where no setting says otherwise: a file store and Databricks take whole traces only, a collector those of turns
    /// that have ended.
    pub fn usual_for(target: &Target) -> Live {
        match target {
            Target::Sqlite(_) | Target::Http(_) => Live::On,
            Target::FileStore(_) | Target::Databricks { .. } | Target::Otlp(_) => Live::Turn,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Live::On => "on",
            Live::Turn => "turn",
            Live::Off => "off",
        }
    }
}

impl Granularity {
    /// None for an unknown word.
    pub fn parse(word: &str) -> Option<Granularity> {
        [Granularity::Session, Granularity::Turn].into_iter().find(|one| word.trim() == one.as_str())
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Granularity::Session => "session",
            Granularity::Turn => "turn",
        }
    }
}

impl Content {
    /// None for an unknown word.
    pub fn parse(text: &str) -> Option<Content> {
        [Content::Full, Content::Metadata]
            .into_iter()
            .find(|mode| text.trim().eq_ignore_ascii_case(mode.as_str()))
    }

    pub fn is_full(&self) -> bool {
        *self == Content::Full
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Content::Full => "full",
            Content::Metadata => "metadata",
        }
    }
}

/// The words of every switch; None for an unknown one.
pub(super) fn parse_switch(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_granularity_is_read_as_it_is_written() {
        for granularity in [Granularity::Session, Granularity::Turn] {
            assert_eq!(Granularity::parse(&format!(" {} ", granularity.as_str())), Some(granularity));
        }
        assert_eq!(Granularity::parse("turns"), None);
    }

    #[test]
    fn liveness_is_read_as_it_is_written_and_depends_on_the_target_where_it_is_not() {
        for mode in [Live::On, Live::Turn, Live::Off] {
            assert_eq!(Live::parse(&format!(" {} ", mode.as_str().to_uppercase())), Some(mode));
        }
        assert_eq!(Live::parse("always"), None);
        let table = [
            (Target::Sqlite("/a.db".into()), Live::On),
            (Target::Http("http://a".into()), Live::On),
            (Target::FileStore("/a".into()), Live::Turn),
            (Target::Databricks { profile: None }, Live::Turn),
            (Target::Otlp("http://a/v1/traces".into()), Live::Turn),
        ];
        for (target, usual) in table {
            assert_eq!(Live::usual_for(&target), usual, "{target}");
        }
    }

    #[test]
    fn switches_are_read_in_all_spellings() {
        for (word, expected) in
            [("true", Some(true)), (" True ", Some(true)), ("0", Some(false)), ("all", None)]
        {
            assert_eq!(parse_switch(word), expected, "{word}");
        }
    }
}
