//! The surfaces of Codex: whose sessions it writes, as far as the words of a command line show (0.36 to 0.171).

use launch::mode::Interface;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// A user has this interface. Every command that is not known is one: a search that finds nothing costs less
    /// than a lost session.
    User(Interface),
    /// Codex writes the sessions of the programs that talk to it.
    Server,
    /// Codex writes no session: there is nothing to trace.
    NoSession,
}

/// Commands that write no session of their own. `exec-server` runs commands for a Codex elsewhere (0.171); `debug`
/// may start an `app-server`, which is below a Codex and so not the launch's.
#[rustfmt::skip]
const NO_SESSION: [&str; 26] = [
    "login", "logout", "mcp", "plugin", "exec-server", "completion", "update", "doctor", "sandbox", "debug",
    "apply", "a", "queue", "archive", "delete", "unarchive", "migrate-rollouts", "migrate-nfs-db", "cloud",
    "features", "help", "execpolicy", "responses-api-proxy", "stdio-to-uds",
    // Of older versions.
    "generate-ts", "cloud-tasks",
];

/// Commands of `app-server` that serve no client.
const APP_SERVER_TOOLS: [&str; 6] =
    ["daemon", "proxy", "generate-ts", "generate-json-schema", "generate-internal-json-schema", "help"];

/// Commands of `remote-control` that speak to the daemon.
const REMOTE_CONTROL_TOOLS: [&str; 4] = ["start", "stop", "pair", "help"];

/// Commands that print lines and never take the screen.
const LINES_ONLY: [&str; 3] = ["exec", "e", "review"];

/// Options with which `app-server` serves no client of its own: the daemon's sessions are those of interfaces, whose
/// launches trace them, and the other one only prints.
const NO_CLIENTS: [&str; 2] = ["--managed-daemon", "--print-startup-config"];

impl Surface {
    /// `words` are the commands and then their arguments, without options; `options` are the options.
    pub(super) fn from_words(words: &[&str], options: &[&str]) -> Surface {
        let serves_none = NO_CLIENTS.iter().any(|option| options.contains(option));
        match words {
            ["app-server", tool, ..] if APP_SERVER_TOOLS.contains(tool) => Surface::NoSession,
            ["app-server", ..] if serves_none => Surface::NoSession,
            ["remote-control", tool, ..] if REMOTE_CONTROL_TOOLS.contains(tool) => Surface::NoSession,
            // `remote-control` serves in the foreground up to 0.130, and with `--no-daemon`. `mcp-server` is a prompt
            // since 0.169 (0.150 has the command), `proto` and the two forms of `mcp` are of 0.36.
            ["app-server" | "remote-control" | "mcp-server" | "proto", ..]
            | ["mcp"]
            | ["mcp", "serve", ..] => Surface::Server,
            [command, ..] if NO_SESSION.contains(command) => Surface::NoSession,
            [command, ..] if LINES_ONLY.contains(command) => Surface::User(Interface::Lines),
            _ => Surface::User(Interface::FullScreen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Surface::{NoSession, Server, User};

    #[test]
    fn a_server_is_known_by_its_words_and_its_tools_write_no_session() {
        let table = [
            ("", User(Interface::FullScreen)),
            ("a-new-command", User(Interface::FullScreen)),
            ("write app-server", User(Interface::FullScreen)),
            ("exec app-server", User(Interface::Lines)),
            ("review", User(Interface::Lines)),
            ("login", NoSession),
            ("app-server", Server),
            ("app-server --analytics-default-enabled", Server),
            ("app-server --stdio", Server),
            ("app-server --managed-daemon", NoSession),
            ("app-server --print-startup-config", NoSession),
            ("app-server daemon start", NoSession),
            ("app-server proxy --sock", NoSession),
            ("app-server generate-ts", NoSession),
            ("app-server generate-json-schema", NoSession),
            ("app-server help", NoSession),
            ("remote-control", Server),
            ("remote-control --no-daemon", Server),
            ("remote-control start", NoSession),
            ("remote-control stop", NoSession),
            ("remote-control pair", NoSession),
            ("mcp-server", Server),
            ("mcp", Server),
            ("mcp serve", Server),
            ("mcp list", NoSession),
            ("proto", Server),
            ("exec-server", NoSession),
            ("debug app-server send-message-v2 hi", NoSession),
        ];
        for (line, surface) in table {
            let (options, words): (Vec<&str>, Vec<&str>) =
                line.split_whitespace().partition(|word| word.starts_with('-'));
            assert_eq!(Surface::from_words(&words, &options), surface, "codex {line}");
        }
    }
}
