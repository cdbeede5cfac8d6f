//! What a command line fixes about the sessions to come (Codex 0.169.0).

use super::args::{WITH_VALUE, is_full_screen};
use super::thread::ThreadId;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::Path;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    pub front: Front,
    /// Codex's working folder, as its sessions name it; None for a path that is not UTF-8.
    pub folder: Option<String>,
    /// The thread to resume: `resume <id>`, `exec resume <id>`.
    pub thread: Option<ThreadId>,
    /// `--ephemeral`: Codex keeps no session file.
    pub is_ephemeral: bool,
}

/// Codex's interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Front {
    /// The full-screen interface.
    #[default]
    Screen,
    /// `exec` and `review`.
    Lines,
}

impl Front {
    /// Whether sessions that it begins have this originator. Before 0.47 `exec` had no originator of its own.
    pub fn is_called(self, originator: &str) -> bool {
        match (self, originator) {
            (_, "codex_cli_rs") => true,
            (Front::Screen, originator) => originator == "codex-tui",
            (Front::Lines, originator) => originator == "codex_exec",
        }
    }
}

impl Asked {
    pub fn of(args: &[OsString], cwd: Option<&Path>) -> Asked {
        let front = if is_full_screen(args) { Front::Screen } else { Front::Lines };
        let mut folder = cwd.map(Path::to_path_buf);
        // Words that are not options: commands first, then their arguments.
        let mut plain: Vec<&str> = Vec::new();
        let mut is_ephemeral = false;
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--ephemeral") => is_ephemeral = true,
                Some("--" | "-i" | "--image") => break,
                Some("-C" | "--cd") => folder = words.next().and_then(|to| Some(cwd?.join(to))),
                Some(text) if text.starts_with("--cd=") => {
                    folder = cwd.map(|cwd| cwd.join(&text["--cd=".len()..]));
                }
                Some(text) if WITH_VALUE.contains(&text) => drop(words.next()),
                Some(text) if text.starts_with('-') && text != "-" => {}
                Some(text) => plain.push(text),
                None => plain.push(""),
            }
        }
        let thread = match plain[..] {
            ["resume", id, ..] | ["exec" | "e", "resume", id, ..] => ThreadId::parse(id),
            _ => None,
        };
        let folder = folder.and_then(|folder| Some(folder.to_str()?.to_owned()));
        Asked { front, folder, thread, is_ephemeral }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: &str = "01a202b6-a73e-7ee3-8243-251c871b1d4f";

    #[test]
    fn a_command_line_names_folder_and_thread() {
        let table = [
            ("", Front::Screen, "/w", false),
            ("exec go", Front::Lines, "/w", false),
            ("-C sub exec go", Front::Lines, "/w/sub", false),
            ("exec --cd /other go", Front::Lines, "/other", false),
            ("--cd=/other", Front::Screen, "/other", false),
            ("resume ID", Front::Screen, "/w", true),
            ("-m gpt-5.5 resume --all ID go", Front::Screen, "/w", true),
            ("exec --json resume -m x ID go", Front::Lines, "/w", true),
            ("e resume ID", Front::Lines, "/w", true),
            ("resume --last", Front::Screen, "/w", false),
            // A new thread.
            ("fork ID", Front::Screen, "/w", false),
            ("exec fork ID go", Front::Lines, "/w", false),
            ("exec --ephemeral go", Front::Lines, "/w", false),
            ("exec explain ID", Front::Lines, "/w", false),
            ("-- resume ID", Front::Screen, "/w", false),
        ];
        for (line, front, folder, is_named) in table {
            let args: Vec<OsString> =
                line.split_whitespace().map(|word| word.replace("ID", THREAD).into()).collect();
            let thread = is_named.then(|| ThreadId::parse(THREAD).unwrap());
            let is_ephemeral = line.contains("--ephemeral");
            let expected = Asked { front, folder: Some(folder.into()), thread, is_ephemeral };
            assert_eq!(Asked::of(&args, Some(Path::new("/w"))), expected, "codex {line}");
        }
    }

    #[test]
    fn each_interface_has_its_own_originators() {
        let table = [
            ("codex-tui", [true, false]),
            ("codex_exec", [false, true]),
            ("codex_cli_rs", [true, true]),
            ("codex_vscode", [false, false]),
        ];
        for (originator, expected) in table {
            let called = [Front::Screen, Front::Lines].map(|front| front.is_called(originator));
            assert_eq!(called, expected, "{originator}");
        }
    }
}
