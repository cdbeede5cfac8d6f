//! What a command line makes Codex do, as far as its words show (Codex 0.169.0).

use std::ffi::{OsStr, OsString};

/// Whether an invocation may write a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// It writes no session of its own: there is nothing to trace.
    WritesNoSession,
    /// Everything else, with unknown words: a search that finds nothing costs less than a lost session.
    MayWriteSession,
}

/// Commands that write no session of their own; `app-server`, `remote-control` and `exec-server` write those of
/// other programs.
const NO_SESSION: [&str; 29] = [
    "login",
    "logout",
    "mcp",
    "plugin",
    "app-server",
    "remote-control",
    "exec-server",
    "completion",
    "update",
    "doctor",
    "sandbox",
    "debug",
    "apply",
    "a",
    "queue",
    "archive",
    "delete",
    "unarchive",
    "migrate-rollouts",
    "migrate-nfs-db",
    "cloud",
    "features",
    "help",
    "execpolicy",
    "responses-api-proxy",
    "stdio-to-uds",
    // Of older versions.
    "proto",
    "generate-ts",
    "cloud-tasks",
];

/// Root options that take the next word as their value.
pub(super) const WITH_VALUE: [&str; 22] = [
    "-c",
    "--config",
    "--enable",
    "--disable",
    "--remote",
    "--remote-auth-token-env",
    "-m",
    "--model",
    "--local-provider",
    "-p",
    "--profile",
    "-s",
    "--sandbox",
    "-C",
    "--cd",
    "--add-dir",
    "-a",
    "--ask-for-approval",
    "--thread-source",
    "--color",
    "-o",
    "--output-schema",
];

impl Invocation {
    pub fn of(args: &[OsString]) -> Invocation {
        let mut command_is_open = true;
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let Some(text) = word.to_str() else {
                command_is_open = false;
                continue;
            };
            match text {
                // All that follows is a prompt.
                "--" => break,
                // Anywhere before `--`, these end every command before it acts.
                "-h" | "--help" | "-V" | "--version" => return Invocation::WritesNoSession,
                // The session is on another machine.
                "--remote" => return Invocation::WritesNoSession,
                _ if text.starts_with("--remote=") => return Invocation::WritesNoSession,
                _ if WITH_VALUE.contains(&text) => {
                    words.next();
                }
                // Takes every word up to the next option: none of them is a command.
                "-i" | "--image" => command_is_open = false,
                _ if text.starts_with('-') && text != "-" => {}
                _ if command_is_open && NO_SESSION.contains(&text) => return Invocation::WritesNoSession,
                _ => command_is_open = false,
            }
        }
        Invocation::MayWriteSession
    }
}

/// Commands that print lines and never take the screen.
const LINES_ONLY: [&str; 3] = ["exec", "e", "review"];

/// Whether Codex opens its full-screen interface: true for every command that is not known to print lines.
pub fn is_full_screen(args: &[OsString]) -> bool {
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--" | "-i" | "--image") => return true,
            Some(text) if WITH_VALUE.contains(&text) => drop(words.next()),
            Some(text) if text.starts_with('-') && text != "-" => {}
            Some(text) => return !LINES_ONLY.contains(&text),
            None => return true,
        }
    }
    true
}

/// The words of an own command (`mlflow …`), if the first argument is one.
pub fn own_command(args: &[OsString]) -> Option<&[OsString]> {
    let (first, rest) = args.split_first()?;
    (first == OsStr::new("mlflow")).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Invocation::{MayWriteSession, WritesNoSession};

    #[test]
    fn only_commands_known_to_write_no_session_are_not_traced() {
        let table = [
            ("", MayWriteSession),
            ("write a parser", MayWriteSession),
            ("exec", MayWriteSession),
            ("e --json go", MayWriteSession),
            ("exec resume 01a2 go", MayWriteSession),
            ("exec login", MayWriteSession),
            ("review --uncommitted", MayWriteSession),
            ("resume --last", MayWriteSession),
            ("fork", MayWriteSession),
            ("agents", MayWriteSession),
            ("a-new-command", MayWriteSession),
            ("-- login", MayWriteSession),
            ("exec -- --help", MayWriteSession),
            ("-c login exec go", MayWriteSession),
            ("-i a.png login", MayWriteSession),
            ("-m gpt-5.5 login", WritesNoSession),
            ("--model=gpt-5.5 login", WritesNoSession),
            ("--version", WritesNoSession),
            ("-V", WritesNoSession),
            ("exec --help", WritesNoSession),
            ("login status", WritesNoSession),
            ("mcp list", WritesNoSession),
            ("app-server --listen unix://", WritesNoSession),
            ("--remote ws://host:1 go", WritesNoSession),
            ("--remote=ws://host:1", WritesNoSession),
        ];
        for (line, invocation) in table {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(Invocation::of(&args), invocation, "codex {line}");
        }
    }

    #[test]
    fn all_but_exec_and_review_take_the_screen() {
        let table = [
            ("", true),
            ("hello", true),
            ("write exec", true),
            ("resume --last", true),
            ("resume exec", true),
            ("fork", true),
            ("agents", true),
            ("a-new-command", true),
            ("-", true),
            ("-- exec", true),
            ("-i a.png exec", true),
            ("-m exec", true),
            ("--search go", true),
            ("exec", false),
            ("e go", false),
            ("review --uncommitted", false),
            ("exec resume --last", false),
            ("-m gpt-5.5 exec go", false),
            ("--model=gpt-5.5 exec", false),
            ("--search -c a=b review", false),
        ];
        for (line, full_screen) in table {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(is_full_screen(&args), full_screen, "codex {line}");
        }
        assert!(is_full_screen(&["exec this for me".into()]));
    }

    #[test]
    fn a_prompt_that_holds_spaces_is_no_command() {
        assert_eq!(Invocation::of(&["login to the server".into()]), MayWriteSession);
        assert_eq!(Invocation::of(&["exec".into(), "explain --help".into()]), MayWriteSession);
    }

    #[test]
    fn only_the_first_word_names_an_own_command() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(own_command(&words("mlflow show --last")), Some(&words("show --last")[..]));
        assert_eq!(own_command(&words("exec mlflow")), None);
        assert_eq!(own_command(&[]), None);
    }
}
