//! Messages to the person at the terminal: one line on stderr, and only to a person.

use crate::env::World;
use crate::unprintable::is_unprintable;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    Shown,
    /// Each in one line, for a log that is read by lines.
    InOneLine,
    Silent,
}

const NOTICE: &str = "CODEX_TRACED_NOTICE";

/// Between what happened and what to do.
const HINT: &str = "\n  hint: ";

impl Notices {
    /// `CODEX_TRACED_NOTICE=auto|always|never`; auto prints to a terminal only, so that a script reads Codex's
    /// own stderr and nothing else.
    pub fn choose(world: &World) -> Notices {
        match world.variables.text(NOTICE) {
            Some("always") => Notices::Shown,
            Some("never") => Notices::Silent,
            _ if world.stderr_is_terminal => Notices::Shown,
            _ => Notices::Silent,
        }
    }

    /// For messages that a job must always print: its log is all that remains of it.
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

/// Prints why the program cannot do what was asked, to scripts too. The only way to stderr: it removes control
/// characters, which a terminal would obey.
pub fn print(sentence: &dyn Display) {
    let sentence = clean(&sentence.to_string());
    // One write; a failure has no remedy (`eprintln!` would panic).
    let _ = std::io::stderr().write_all(format!("codex-traced: {sentence}\n").as_bytes());
}

/// The trace is in the spool, and its delivery failed.
pub fn kept_on_disk(waiting: usize, reason: &str) -> String {
    format!(
        "trace kept on disk ({waiting} waiting): {reason}{HINT}run `codex-traced mlflow sync` to try again"
    )
}

/// Its delivery was cut off, by the limit or by the user.
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

/// The trace is in quarantine: it is not delivered until the user asks.
pub fn set_aside(count: usize, reason: &str) -> String {
    let traces = if count == 1 { "a trace was".to_owned() } else { format!("{count} traces were") };
    format!(
        "{traces} set aside: {reason}\n  hint: `codex-traced mlflow sync --list` shows it, `--retry` tries again, `--drop` removes it"
    )
}

/// As `kept_on_disk`, when some of them have waited for so long that the user should look.
pub fn kept_for_long(waiting: usize, old: usize, days: u64, reason: &str) -> String {
    format!(
        "trace kept on disk ({waiting} waiting, {old} of them for more than {days} days): {reason}\n  hint: `codex-traced mlflow sync --list` shows what waits and why"
    )
}

/// Masks the user and password in addresses.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let authority =
            after.find(|c: char| c.is_whitespace() || "/?#'\"`)".contains(c)).unwrap_or(after.len());
        let host = after[..authority].rfind('@').map_or(0, |at| at + 1);
        masked.push_str(before);
        masked.push_str(if host > 0 { "://…@" } else { "://" });
        rest = &after[host..];
    }
    match masked.is_empty() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(masked + rest),
    }
}

/// Line by line: the text may contain a server's.
fn clean(sentence: &str) -> String {
    sentence.lines().map(in_one_line).collect::<Vec<_>>().join("\n")
}

/// The text in one line of a terminal, without characters that move its cursor.
pub fn in_one_line(text: &str) -> String {
    let mut line = String::new();
    for c in masked(text).chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            c if is_unprintable(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_keeps_its_lines_and_nothing_else_that_moves_the_cursor() {
        let sentence = "kept: \u{1b}]0;owned\u{7}\n  hint: see http://ann:pw@host";
        assert_eq!(clean(sentence), "kept: \\u{1b}]0;owned\\u{7}\n  hint: see http://…@host");
    }

    #[test]
    fn what_would_move_the_cursor_is_written_out() {
        let table = [
            ("plain ✗", "plain ✗"),
            ("a\nb\tc", "a b c"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b\r", "a\\u{202e}b\\u{d}"),
        ];
        for (text, expected) in table {
            assert_eq!(in_one_line(text), expected);
        }
    }
}
