//! A job on GitHub: its files, the variables that a runner sets, and the steps of our actions.

use super::project;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use support::{Codex, End, Home, ModelServer, Outcome, Reply, Script, codex, run};

/// A job on a runner: its files, and what its steps handed on.
pub(super) struct Job {
    pub(super) server: ModelServer,
    pub(super) home: Home,
    pub(super) codex: Codex,
    /// Of the job, from `env:` in its workflow.
    pub(super) variables: BTreeMap<String, String>,
}

impl Job {
    pub(super) fn new() -> Option<Job> {
        let codex = codex()?;
        let server = ModelServer::start(Script::new());
        let home = Home::new(&server.url());
        for folder in ["runner", "installed"] {
            fs::create_dir(home.root().join(folder)).expect("make a folder of the runner");
        }
        symlink(&codex.native, home.root().join("installed/codex")).expect("install Codex");
        let job = Job { server, home, codex, variables: BTreeMap::new() };
        job.archive();
        Some(job)
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.home.root().join(path)
    }

    pub(super) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.at(file)).unwrap_or_default()
    }

    /// As scripts/release makes it, around the program of the tests.
    fn archive(&self) {
        let folder = self.at("codex-traced-0.0.0-test");
        fs::create_dir_all(folder.join("shims")).expect("make the archive's folder");
        symlink(env!("CARGO_BIN_EXE_codex-traced"), folder.join("codex-traced")).expect("link the program");
        support::copy_program(&project().join("shims/codex"), &folder.join("shims/codex"));
        let mut tar = Command::new("tar");
        tar.args(["-czf", "archive.tar.gz", "codex-traced-0.0.0-test"]).current_dir(self.home.root());
        run(&mut tar).ended(End::Code(0));
    }

    /// A step's shell, with what the steps before it handed on.
    pub(super) fn step(&self, script: &str) -> Command {
        let mut command = self.home.command("sh");
        let added = self.read("runner/path");
        let usual = [self.at("installed"), "/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()];
        let folders = added.lines().rev().map(PathBuf::from).chain(usual);
        command.env("PATH", std::env::join_paths(folders).expect("no folder has a colon"));
        command.envs(&self.variables);
        command.envs(self.read("runner/environment").lines().filter_map(|line| line.split_once('=')));
        for (name, file) in [
            ("GITHUB_PATH", "path"),
            ("GITHUB_ENV", "environment"),
            ("GITHUB_STEP_SUMMARY", "summary.md"),
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_EVENT_PATH", "event.json"),
        ] {
            command.env(name, self.at("runner").join(file));
        }
        command.env("CI", "true").env("GITHUB_ACTIONS", "true").env("RUNNER_TEMP", self.at("runner"));
        command.args(["-e", "-c", script]);
        command
    }

    /// A step of one of our actions: its command, as the action's file gives it.
    fn action(&self, file: &str, inputs: &[(&str, &str)]) -> Outcome {
        let file = project().join(file);
        let text = fs::read_to_string(&file).expect("read an action");
        let commands: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("run: ")).collect();
        let [script] = commands[..] else { panic!("expected one command: {commands:?}") };
        let mut command = self.step(script);
        for (name, _) in inputs {
            assert!(text.contains(&format!("\n        {name}: ${{{{ ")), "{} has no {name}", file.display());
        }
        command.env("GITHUB_ACTION_PATH", file.parent().expect("a folder")).envs(inputs.iter().copied());
        run(&mut command)
    }

    pub(super) fn install(&self, more: &[(&str, &str)]) -> Outcome {
        let archive = self.at("archive.tar.gz").display().to_string();
        let inputs = [&[("ARCHIVE", archive.as_str()), ("WAIT", "100")], more].concat();
        self.action("action.yml", &inputs)
    }

    pub(super) fn report(&self, more: &[(&str, &str)]) -> Outcome {
        self.action(".github/actions/report/action.yml", more).ended(End::Code(0))
    }

    /// A script of the user's, written for plain Codex.
    pub(super) fn user_step(&self, answer: &str) -> Outcome {
        self.server.play(Script::new().reply(Reply::new().answer(answer).usage(9_000, 4_096, 120, 64)));
        run(&mut self.step("codex exec 'say done'")).ended(End::Code(0))
    }
}
