//! What we say to the person at the terminal: one line on stderr, and only to a person.

use crate::env::World;
use std::borrow::Cow;
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

/// Why we cannot do what was asked: said to scripts too. The only way to stderr, so nothing that a terminal would obey
/// gets there, whoever wrote it.
pub fn tell(sentence: &dyn Display) {
    let sentence = clean(&sentence.to_string());
    // In one write; and nobody is helped if it fails (`eprintln!` would panic).
    let _ = std::io::stderr().write_all(format!("codex-traced: {sentence}\n").as_bytes());
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

/// The trace is safe, but nobody will bring it there without being asked.
pub fn set_aside(count: usize, reason: &str) -> String {
    let traces = if count == 1 { "a trace was".to_owned() } else { format!("{count} traces were") };
    format!(
        "{traces} set aside: {reason}\n  hint: `codex-traced mlflow sync --list` shows it, `--retry` tries again, `--drop` removes it"
    )
}

/// As `kept_on_disk`, when some of them wait for so long that somebody should look.
pub fn kept_for_long(waiting: usize, old: usize, days: u64, reason: &str) -> String {
    format!(
        "trace kept on disk ({waiting} waiting, {old} of them for more than {days} days): {reason}\n  hint: `codex-traced mlflow sync --list` shows what waits and why"
    )
}

/// Without the user and password that an address may hold.
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

/// Line by line: a server's words may be in it.
fn clean(sentence: &str) -> String {
    sentence.lines().map(in_one_line).collect::<Vec<_>>().join("\n")
}

/// In one line of a terminal: what is to be read is not to move its cursor.
pub fn in_one_line(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::new();
    for c in masked(text).chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            c if hides(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let table = [
            ("http://user:secret@host:5000/x", "http://…@host:5000/x"),
            ("refused: https://a:b@c, then http://d@e", "refused: https://…@c, then http://…@e"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://user:p@ss@host", "http://…@host"),
            ("sqlite:////a@b/x.db", "sqlite:////a@b/x.db"),
            ("no address: a@b", "no address: a@b"),
            ("://", "://"),
        ];
        for (text, expected) in table {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn a_sentence_keeps_its_lines_and_nothing_else_that_moves_the_cursor() {
        let said = "kept: \u{1b}]0;owned\u{7}\n  hint: see http://ann:pw@host";
        assert_eq!(clean(said), "kept: \\u{1b}]0;owned\\u{7}\n  hint: see http://…@host");
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
