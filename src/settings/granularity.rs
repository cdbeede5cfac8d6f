//! The granularity: one trace per session, or one per turn.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub const GRANULARITY: &str = "CODEX_TRACED_GRANULARITY";

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
}
