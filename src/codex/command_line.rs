//! What a command line makes Codex do, as far as its words show (Codex 0.169.0).

#[cfg(test)]
mod tests;

use super::remote::RemoteAddress;
use super::surface::Surface;
use codex_session::thread::ThreadId;
use launch::mode::Interface;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// False for commands known to write no session of their own: there is nothing to trace. True for unknown
    /// commands: a search that finds nothing costs less than a lost session.
    pub may_write_session: bool,
    pub request: SessionRequest,
}

/// What the command line fixes about the sessions to come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRequest {
    /// Lines for `exec`, `review` and servers; the full screen for every command that is not known to print lines.
    #[serde(rename = "front", with = "StoredInterface")]
    pub interface: Interface,
    /// Codex's working folder, as its sessions name it; None for a path that is not UTF-8.
    pub folder: Option<String>,
    /// The thread to resume: `resume <id>`, `exec resume <id>`.
    pub thread: Option<ThreadId>,
    /// `--ephemeral`: Codex keeps no session file.
    pub is_ephemeral: bool,
    /// Codex writes the sessions of its clients (`app-server`). Absent where it is false, as in records of 0.1.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_server: bool,
    /// The app server that writes the sessions instead; absent in records of 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<Box<RemoteAddress>>,
}

/// The names of interfaces in launch records.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Interface", rename_all = "snake_case")]
enum StoredInterface {
    #[serde(rename = "screen")]
    FullScreen,
    Lines,
}

/// Options that take the next word as their value: those of Codex, then those of `app-server`.
#[rustfmt::skip]
const WITH_VALUE: [&str; 32] = [
    "-c", "--config", "--enable", "--disable", "--remote-auth-token-env", "-m", "--model",
    "--local-provider", "-p", "--profile", "-s", "--sandbox", "-C", "--cd", "--add-dir", "-a",
    "--ask-for-approval", "--thread-source", "--color", "-o", "--output-schema",
    "--listen", "--ws-auth", "--ws-token-file", "--ws-token-sha256", "--ws-shared-secret-file", "--ws-issuer",
    "--ws-audience", "--ws-max-clock-skew-seconds", "--startup-client-info", "--cloud-skills-snapshot",
    "--code-mode-host",
];

impl CommandLine {
    /// `args` are those of Codex, without its name; `cwd` is the launcher's working folder.
    pub fn parse(args: &[OsString], cwd: Option<&Path>) -> CommandLine {
        let mut may_write_session = true;
        let mut folder = cwd.map(Path::to_path_buf);
        let mut is_ephemeral = false;
        let mut remote: Option<Option<RemoteAddress>> = None;
        // Words that are not options: commands first, then their arguments.
        let mut plain: Vec<&str> = Vec::new();
        let mut options: Vec<&str> = Vec::new();
        // `-i` takes every word up to the next option. After it only options that end every command count.
        let mut has_images = false;
        let mut words = args.iter();
        while let Some(word) = words.next() {
            // Text that is not UTF-8 is neither an option nor a command.
            match word.to_str().unwrap_or_default() {
                // All that follows is a prompt.
                "--" => break,
                // Anywhere before `--`, these end every command before it acts.
                "-h" | "--help" | "-V" | "--version" => may_write_session = false,
                "-i" | "--image" => has_images = true,
                "--ephemeral" => is_ephemeral |= !has_images,
                "--remote" => {
                    let address = words.next().and_then(|word| word.to_str());
                    remote = Some(address.and_then(|text| RemoteAddress::parse(text, cwd)));
                }
                text if WITH_VALUE.contains(&text) => {
                    let value = words.next();
                    if matches!(text, "-C" | "--cd") && !has_images {
                        folder = value.and_then(|to| Some(cwd?.join(to)));
                    }
                }
                text if text.starts_with("--remote=") => {
                    remote = Some(RemoteAddress::parse(&text["--remote=".len()..], cwd));
                }
                text if text.starts_with('-') && text != "-" => {
                    options.push(text);
                    if let Some(to) = text.strip_prefix("--cd=").filter(|_| !has_images) {
                        folder = cwd.map(|cwd| cwd.join(to));
                    }
                }
                text if !has_images => plain.push(text),
                _ => {}
            }
        }
        // On another machine there is nothing to read.
        may_write_session &= remote != Some(None);
        let surface = Surface::from_words(&plain, &options);
        may_write_session &= surface != Surface::NoSession;
        let interface = match surface {
            Surface::User(interface) => interface,
            Surface::Server | Surface::NoSession => Interface::Lines,
        };
        let is_server = surface == Surface::Server;
        let thread = match plain[..] {
            ["resume", id, ..] | ["exec" | "e", "resume", id, ..] => ThreadId::parse(id),
            _ => None,
        };
        let folder = folder.and_then(|folder| Some(folder.to_str()?.to_owned()));
        let remote = remote.flatten().map(Box::new);
        let request = SessionRequest { interface, folder, thread, is_ephemeral, is_server, remote };
        CommandLine { may_write_session, request }
    }
}

impl SessionRequest {
    /// Whether sessions of this request may have this originator. Before 0.47 `exec` had no originator of its own. A
    /// server's sessions have the name of their client.
    pub fn has_originator(&self, originator: &str) -> bool {
        match (self.interface, originator) {
            _ if self.is_server => !["codex-tui", "codex_exec"].contains(&originator),
            (_, "codex_cli_rs") => true,
            (Interface::FullScreen, originator) => originator == "codex-tui",
            (Interface::Lines, originator) => originator == "codex_exec",
        }
    }
}

/// The words of an own command (`mlflow …`), if the first argument is one.
pub fn own_command(args: &[OsString]) -> Option<&[OsString]> {
    let (first, rest) = args.split_first()?;
    (first == OsStr::new("mlflow")).then_some(rest)
}
