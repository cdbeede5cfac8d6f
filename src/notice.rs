//! What we say to the person at the terminal: one line on stderr, and only to a person.

use crate::env::World;
use std::fmt::Display;
use std::io::Write;

/// Whether anybody is there to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    Spoken,
    Silent,
}

impl Notices {
    /// `CODEX_TRACED_NOTICE=auto|always|never`; auto speaks to a terminal only, so that a script reads
    /// from stderr what Codex wrote there and nothing else.
    pub fn choose(world: &World) -> Notices {
        match world.variables.text("CODEX_TRACED_NOTICE") {
            Some("always") => Notices::Spoken,
            Some("never") => Notices::Silent,
            _ if world.stderr_is_terminal => Notices::Spoken,
            _ => Notices::Silent,
        }
    }

    pub fn say(self, sentence: &str) {
        if self == Notices::Spoken {
            tell(&sentence);
        }
    }
}

/// Why we cannot do what was asked: said to scripts too.
pub fn tell(sentence: &dyn Display) {
    // In one write; and nobody is helped if it fails (`eprintln!` would panic).
    let _ = std::io::stderr().write_all(
        format!(
            "codex-traced: {sentence}
"
        )
        .as_bytes(),
    );
}

/// The trace is safe, but not yet where it should go.
pub fn kept_on_disk(waiting: usize, reason: &str) -> String {
    format!(
        "trace kept on disk ({waiting} waiting): {reason}\n  hint: run `codex-traced mlflow sync` to try again"
    )
}
