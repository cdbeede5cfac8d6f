//! Checks of the real codex: its path, its version, which process writes sessions, and what the word `codex` runs.

use super::Finding;
use crate::base::paths::CodexHome;
use crate::base::world::World;
use crate::codex::locate::{self, OnPath};
use crate::codex::version::{CodexVersion, InterfaceWriter, NEWEST_TESTED, OLDEST_TRACED};
use nix::pty::openpty;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// npm's launcher script needs a second on a slow disk.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn check(world: &World, home: &CodexHome) -> Vec<Finding> {
    let mut findings = Vec::new();
    match locate::next_depth(world).and_then(|depth| Ok((depth, locate::locate(world)?))) {
        Err(error) => {
            let text = error.to_string();
            let (found, todo) = text.split_once("\n  hint: ").unwrap_or((&text, "install Codex"));
            findings.push(Finding::error("codex", found, todo));
        }
        Ok((depth, file)) => {
            findings.push(Finding::ok("codex", file.display().to_string()));
            let version = version_of(&file, depth);
            findings.push(judge(version.as_deref().map_err(String::as_str)));
            if let Some(version) = version.ok().and_then(|output| CodexVersion::parse(&output)) {
                let config = fs::read_to_string(home.path().join("config.toml")).unwrap_or_default();
                findings.push(writer(InterfaceWriter::from_config(version, &config)));
            }
        }
    }
    findings.extend(system(std::env::consts::OS));
    findings.push(word(locate::first_on_path(world)));
    findings.push(terminal());
    findings
}

/// A system on which this program was never run.
fn system(name: &str) -> Option<Finding> {
    (name == "macos").then(|| {
        Finding::note(
            "system",
            "macOS: this version was checked for it, and never run on it",
            "the project's docs/macos.md lists what may differ; please report what does",
        )
    })
}

/// The output of `codex --version`, or why there is none.
fn version_of(file: &Path, depth: u32) -> Result<String, String> {
    let started = Command::new(file)
        .arg("--version")
        .env(locate::DEPTH, depth.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = started.map_err(|error| format!("cannot be started: {error}"))?;
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut output = Vec::new();
            let _ = stdout.by_ref().take(4096).read_to_end(&mut output);
            let _ = sender.send(String::from_utf8_lossy(&output).trim().to_owned());
        });
    }
    let output = receiver.recv_timeout(LIMIT);
    if output.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    output.map_err(|_| format!("did not tell its version within {} s", LIMIT.as_secs()))
}

fn judge(output: Result<&str, &str>) -> Finding {
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            return Finding::error(
                "version",
                error,
                "run `codex --version` yourself; reinstall Codex if it fails",
            );
        }
    };
    match CodexVersion::parse(output) {
        None => Finding::warning(
            "version",
            format!("`codex --version` said \"{output}\", which is no version"),
            "see whether CODEX_TRACED_CODEX_BIN or PATH leads to another program named codex",
        ),
        Some(version) if version < OLDEST_TRACED => Finding::error(
            "version",
            format!("{version}, too old: sessions are traced from Codex {OLDEST_TRACED} on"),
            "update Codex: `npm install -g @openai/codex`",
        ),
        Some(version) if version > NEWEST_TESTED => Finding::note(
            "version",
            format!(
                "{version} (newer than {NEWEST_TESTED}, the newest that this codex-traced was tried with)"
            ),
            "nothing, unless a trace lacks something (`codex-traced mlflow show`): then update codex-traced",
        ),
        Some(version) => Finding::ok("version", format!("{version} (tested up to {NEWEST_TESTED})")),
    }
}

fn writer(writer: InterfaceWriter) -> Finding {
    let found = match writer {
        InterfaceWriter::Itself => "Codex's own process writes its sessions",
        InterfaceWriter::Daemon => {
            "Codex's background process writes those of the full-screen interface (Codex itself with -c, --search, \
             --profile or --no-daemon); exec and review write their own"
        }
    };
    Finding::ok("writer", found)
}

/// What the word `codex` runs in a script. Aliases and functions of a shell are not visible to this process.
fn word(first: Option<OnPath>) -> Finding {
    let found = match first {
        Some(OnPath::Ourselves(path)) => {
            format!("the word `codex` runs {}, which is codex-traced", path.display())
        }
        Some(OnPath::Shim(path)) => format!("the word `codex` runs {}, which is our shim", path.display()),
        Some(OnPath::Other(path)) => format!(
            "the word `codex` runs {} in scripts, untraced; in your shell an alias decides (`type codex` shows it)",
            path.display()
        ),
        None => "the word `codex` runs nothing in scripts; say codex-traced there".to_owned(),
    };
    Finding::ok("path", found)
}

fn terminal() -> Finding {
    match openpty(None, None) {
        Ok(_) => Finding::ok("terminal", "a terminal for the full-screen interface can be opened"),
        Err(error) => Finding::warning(
            "terminal",
            format!("no terminal can be opened ({error}): the full-screen interface runs on yours"),
            "in a container, mount /dev/pts",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn versions_are_judged_by_the_tested_range() {
        let table = [
            (Ok("codex-cli 0.169.0"), Level::Ok),
            (Ok("codex-cli 0.147.0"), Level::Ok),
            (Ok("codex-cli 0.36.0"), Level::Ok),
            (Ok("codex-cli 0.35.9"), Level::Error),
            (Ok("codex-cli 0.171.0"), Level::Ok),
            (Ok("codex-cli 0.200.0"), Level::Ok),
            (Ok("codex-cli 1.0.0"), Level::Ok),
            (Ok("hello"), Level::Warning),
            (Err("did not tell"), Level::Error),
        ];
        for (output, level) in table {
            assert_eq!(judge(output).level, level, "{output:?}");
        }
    }
}
