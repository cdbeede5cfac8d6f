//! Notices: sentences of the launcher and the finisher on stderr, by default only if stderr is a terminal.

use crate::base::world::World;
use common::printable::lines;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// Whether and how notices are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    Shown,
    /// On one line, for the log of a job.
    InOneLine,
    Silent,
}

const NOTICE: &str = "CODEX_TRACED_NOTICE";

/// Between the problem and its remedy.
pub(crate) const HINT: &str = "\n  hint: ";

impl Notices {
    /// Reads `CODEX_TRACED_NOTICE=auto|always|never`. `auto` prints to a terminal only, so that a script reads nothing
    /// but Codex's own output from stderr.
    pub fn choose(world: &World) -> Notices {
        match world.variables.text(NOTICE) {
            Some("always") => Notices::Shown,
            Some("never") => Notices::Silent,
            _ if world.stderr_is_terminal => Notices::Shown,
            _ => Notices::Silent,
        }
    }

    /// For notices that a job must print too: after the job, only its log remains.
    pub fn for_job(world: &World) -> Notices {
        match Notices::choose(world) {
            Notices::Silent if world.variables.text(NOTICE) != Some("never") => Notices::InOneLine,
            chosen => chosen,
        }
    }

    pub fn print(self, sentence: &str) {
        match self {
            Notices::Shown => print(&sentence),
            Notices::InOneLine => print(&sentence.replace(HINT, "; ")),
            Notices::Silent => {}
        }
    }
}

/// Prints an error, for scripts too. The only way to stderr, so that no control character of another program's text
/// reaches the terminal.
pub fn print(sentence: &dyn Display) {
    let sentence = lines(&sentence.to_string());
    // One write, so that lines of other processes do not mix in. Ignores errors (`eprintln!` would panic).
    let _ = std::io::stderr().write_all(format!("codex-traced: {sentence}\n").as_bytes());
}

/// The trace is in the spool, not delivered.
pub fn kept_on_disk(waiting: usize, reason: &str) -> String {
    format!(
        "trace kept on disk ({waiting} waiting): {reason}{HINT}run `codex-traced mlflow sync` to try again"
    )
}

/// The delivery ended early: at its limit, or by a signal.
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

/// The traces are in quarantine and need the user's decision.
pub fn set_aside(count: usize, reason: &str) -> String {
    let traces = if count == 1 { "a trace was".to_owned() } else { format!("{count} traces were") };
    format!(
        "{traces} set aside: {reason}\n  hint: `codex-traced mlflow sync --list` shows it, `--retry` tries again, `--drop` removes it"
    )
}

/// As `kept_on_disk`, if some traces wait for so long that the user should look.
pub fn kept_for_long(waiting: usize, old: usize, days: u64, reason: &str) -> String {
    format!(
        "trace kept on disk ({waiting} waiting, {old} of them for more than {days} days): {reason}\n  hint: `codex-traced mlflow sync --list` shows what waits and why"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_keeps_its_lines_and_nothing_else_that_moves_the_cursor() {
        let sentence = "kept: \u{1b}]0;owned\u{7}\n  hint: see http://ann:pw@host";
        assert_eq!(lines(sentence), "kept: \\u{1b}]0;owned\\u{7}\n  hint: see http://…@host");
    }
}
