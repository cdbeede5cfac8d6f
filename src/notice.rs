//! What we say to the person at the terminal: one line on stderr, and only to a person.

use crate::env::World;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// Whether anybody is there to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    Spoken,
    /// To a log that is read by lines.
    InOneLine,
    Silent,
}

const NOTICE: &str = "CODEX_TRACED_NOTICE";

/// What stands between what happened and what to do.
const HINT: &str = "\n  hint: ";

impl Notices {
    /// `CODEX_TRACED_NOTICE=auto|always|never`; auto speaks to a terminal only, so that a script reads
    /// from stderr what Codex wrote there and nothing else.
    pub fn choose(world: &World) -> Notices {
        match world.variables.text(NOTICE) {
            Some("always") => Notices::Spoken,
            Some("never") => Notices::Silent,
            _ if world.stderr_is_terminal => Notices::Spoken,
            _ => Notices::Silent,
        }
    }

    /// For what a job must not leave unsaid: its log is all that remains of it.
    pub fn of_job(world: &World) -> Notices {
        match Notices::choose(world) {
            Notices::Silent if world.variables.text(NOTICE) != Some("never") => Notices::InOneLine,
            chosen => chosen,
        }
    }

    pub fn say(self, sentence: &str) {
        match self {
            Notices::Spoken => tell(&sentence),
            Notices::InOneLine => tell(&sentence.replace(HINT, "; ")),
            Notices::Silent => {}
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
        "trace kept on disk ({waiting} waiting): {reason}{HINT}run `codex-traced mlflow sync` to try again"
    )
}

/// Its delivery was ended before it was through: past the limit, or because somebody asked.
pub fn cut_off(limit: Option<Duration>) -> String {
    let why = match limit {
        Some(limit) => format!("not delivered within {} s", limit.as_secs_f64()),
        None => "its delivery was stopped".to_owned(),
    };
    format!("trace kept on disk: {why}{HINT}run `codex-traced mlflow sync` to go on with it")
}

pub fn not_made(error: &dyn Display) -> String {
    format!("no trace of this session yet: {error}{HINT}`codex-traced mlflow sync` tries again")
}
