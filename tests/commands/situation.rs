//! A machine in a known state, and what the commands print there, without what differs from run to run.

use crate::LAUNCHER;
use codex_traced::queue::spool::Spool;
use codex_traced::queue::spool::entry::Entry;
use codex_traced::redact::Redacted;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{Trace, TraceState};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{End, Home, Outcome, run, write_program};

/// Nothing listens there.
pub(crate) const NOBODY: &str = "http://127.0.0.1:9";

/// Must never be seen.
pub(crate) const SECRET: &str = "planted-secret";

pub(crate) struct Situation {
    pub(crate) home: Home,
    variables: Vec<(&'static str, String)>,
    read_only: Option<PathBuf>,
}

impl Situation {
    /// Codex 0.169.0 is there, and was never run.
    pub(crate) fn fresh() -> Situation {
        Situation::of(Home::new(NOBODY))
    }

    pub(crate) fn of(home: Home) -> Situation {
        let situation = Situation { home, variables: Vec::new(), read_only: None };
        situation.codex_of_version("0.169.0");
        situation
    }

    /// A program that knows its version and nothing else.
    pub(crate) fn codex_of_version(&self, version: &str) {
        let text = format!("#!/bin/sh\n[ \"$*\" = --version ] && echo codex-cli {version}\n");
        write_program(&self.codex(), text);
    }

    fn codex(&self) -> PathBuf {
        self.home.root().join("codex-cli")
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Situation {
        self.variables.push((name, value.into()));
        self
    }

    /// As a file system is that was mounted so.
    pub(crate) fn read_only(mut self, folder: PathBuf) -> Situation {
        self.read_only = Some(folder);
        self
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home.codex().join("mlflow_config.json")
    }

    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.config(), text).expect("write the configuration");
    }

    pub(crate) fn config_json(&self) -> Value {
        let text = fs::read_to_string(self.config()).expect("a configuration file");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// One trace waits for a server that is not there, and one was set aside.
    pub(crate) fn with_waiting_traces(self) -> Situation {
        let spool = Spool::new(self.home.state().join("spool"));
        let put = |id: u8| {
            let entry = Entry {
                target: Target::Http(NOBODY.into()),
                experiment: Experiment::Name("codex-sessions".into()),
                trace: Redacted::with_built_in_rules(trace(TraceId([id; 16]))),
            };
            spool.put(&entry, Timestamp::UNIX_EPOCH).expect("put a trace")
        };
        let aside = put(0x22);
        put(0x11);
        spool.quarantine(&aside, "the server took 400 for an answer").expect("set a trace aside");
        self
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.read_only {
            None => self.home.traced(LAUNCHER, &self.codex()),
            Some(folder) => self.read_only_command(folder),
        };
        command.arg("mlflow").args(words).env("COLUMNS", "80");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Permissions do not stop root: then a mount of its own makes the folder read-only.
    fn read_only_command(&self, folder: &Path) -> Command {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).expect("chmod");
        if fs::metadata(folder).expect("metadata").uid() != 0 {
            return self.home.traced(LAUNCHER, &self.codex());
        }
        let mut command = self.home.traced("unshare", &self.codex());
        let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(folder).arg(LAUNCHER);
        command
    }

    #[track_caller]
    pub(crate) fn say(&self, words: &[&str]) -> Outcome {
        let outcome = run(&mut self.command(words));
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains(SECRET), "{said}");
        assert!(!said.contains('\u{1b}'), "colours, and no terminal: {said}");
        // What went wrong is one line, however long, as notices are.
        for line in outcome.stdout.lines() {
            let longest = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
            // An address or a path stays whole.
            assert!(
                line.chars().count() <= 80 || longest > 40 || words.contains(&"--json"),
                "too wide: {line}"
            );
        }
        outcome
    }

    /// The command line, its output and its exit code.
    #[track_caller]
    pub(crate) fn transcript(&self, words: &[&str]) -> String {
        let Outcome { stdout, stderr, end } = self.say(words);
        let End::Code(code) = end else { panic!("ended by {end:?}") };
        let typed = words.join(" ");
        self.normalised(&format!("$ codex-traced mlflow {typed}\n{stdout}{stderr}[ends with {code}]\n"))
    }

    /// Paths and ports are of this run, so where lines break is, too: what goes on in a further line is joined.
    pub(crate) fn normalised(&self, said: &str) -> String {
        let root = self.home.root().display().to_string();
        let mut text = joined(&said.replace(&root, "<root>"));
        for (from, to) in [
            (r"127\.0\.0\.1:(?:[1-9]\d\d+)", "127.0.0.1:<port>"),
            (r"\d+ [MG]B free", "<room> free"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d", "<time>"),
            (r"\d{8}T\d{6}Z(?:-\d)?", "<time>"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<session>"),
            (r"tr-01[0-9a-f]{30}", "tr-<session>"),
            (r"clock is \d+ minutes", "clock is <many> minutes"),
            (r"the word `codex` runs .*", "the word `codex` <as on this machine>"),
        ] {
            text = regex::Regex::new(from).expect("a pattern").replace_all(&text, to).into_owned();
        }
        text
    }
}

/// Lines that are set in go on with the one before, unless they begin something.
fn joined(said: &str) -> String {
    let mut text = String::new();
    for line in said.lines() {
        let rest = line.trim_start();
        let begins = ["- ", "→ ", "Check ", "codex-traced mlflow show tr-", "http", "tr-"]
            .iter()
            .any(|begin| rest.starts_with(begin));
        match line.len() - rest.len() >= 17 && !begins {
            true => text.push(' '),
            false if text.is_empty() => {}
            false => text.push('\n'),
        }
        text.push_str(if text.ends_with(' ') { rest } else { line });
    }
    text + "\n"
}

fn trace(id: TraceId) -> Trace {
    Trace {
        id,
        name: "codex_cli_session".into(),
        state: TraceState::Ok,
        started_at: Timestamp::UNIX_EPOCH,
        ended_at: Timestamp::UNIX_EPOCH,
        request_preview: None,
        response_preview: None,
        context: Default::default(),
        metadata: [].into(),
        tags: [].into(),
        spans: Vec::new(),
    }
}
