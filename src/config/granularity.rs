//! What one trace is: a session, or a turn.

use crate::env::Variables;
use serde::{Deserialize, Serialize};

pub const GRANULARITY: &str = "CODEX_TRACED_GRANULARITY";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    #[default]
    Session,
    /// Each turn has a trace of its own; MLflow groups them by session.
    Turn,
}

impl Granularity {
    /// Err is a sentence; the default stands in for what was not understood.
    pub fn told(variables: &Variables) -> Result<Granularity, String> {
        match variables.text(GRANULARITY).map(str::trim) {
            None | Some("" | "session") => Ok(Granularity::Session),
            Some("turn") => Ok(Granularity::Turn),
            Some(other) => Err(format!(
                "{GRANULARITY} is \"{other}\", so a trace is a session\n  hint: set it to session or turn"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_none_is_told_and_a_trace_is_a_session() {
        let told = |value| Granularity::told(&Variables::from([(GRANULARITY, value)]));
        assert_eq!(Granularity::told(&Variables::from([])), Ok(Granularity::Session));
        assert_eq!((told("session"), told(" turn ")), (Ok(Granularity::Session), Ok(Granularity::Turn)));
        let sentence = told("turns").unwrap_err();
        assert!(sentence.starts_with("CODEX_TRACED_GRANULARITY is \"turns\", so"), "{sentence}");
    }
}
