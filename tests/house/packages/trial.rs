//! A launch by an installed program: a real Codex answers one prompt, and MLflow reads the trace.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{Codex, End, Home, ModelServer, Oracle, Reply, Script, codex, run};

/// None when tests are to stay offline.
pub(crate) struct Trial {
    server: ModelServer,
    pub(crate) home: Home,
    pub(crate) codex: Codex,
    oracle: Oracle,
}

impl Trial {
    pub(crate) fn new() -> Option<Trial> {
        let (codex, oracle) = (codex()?, Oracle::newest()?);
        let server = ModelServer::start(Script::new());
        let home = Home::new(&server.url());
        Some(Trial { server, home, codex, oracle })
    }

    /// `make` gives a command that runs the installed program in this trial's home. In the second launch a process of its own
    /// finishes the trace.
    #[track_caller]
    pub(crate) fn assert_traces(&self, make: impl Fn() -> Command) {
        self.assert_traced(make());
        let mut detached = make();
        detached.env("CODEX_TRACED_WAIT", "0");
        self.assert_traced(detached);
        let log = fs::read_to_string(self.home.state().join("codex_tracing.log")).unwrap_or_default();
        assert_eq!(log, "");
    }

    /// One launch, which delivers its trace itself.
    #[track_caller]
    pub(crate) fn assert_traced(&self, mut command: Command) {
        let before = self.home.claimed().len();
        self.server.play(Script::new().reply(Reply::new().answer("done").usage(9_000, 4_096, 120, 64)));
        // An empty place has no git, which Codex would ask about its folder.
        command.args(["exec", "--skip-git-repo-check", "say done"]);
        let outcome = run(&mut command).ended(End::Code(0));
        assert_eq!(outcome.stdout, "done\n", "{}", outcome.stderr);
        self.home.wait_until_delivered();
        let traces = self.oracle.traces(&self.home.database());
        assert_eq!(traces.len(), before + 1);
        for trace in traces {
            let spans: Vec<&str> = trace.spans.iter().map(|span| span.name.as_str()).collect();
            assert_eq!(spans, ["codex_cli_session", "llm_call_1"]);
            assert_eq!(trace.token_usage.expect("tokens")["total_tokens"], 9_120);
        }
        self.server.assert_script_used_up_exactly();
    }
}

/// All files and links below, without those that Python writes when it reads a module.
pub(crate) fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(folder, &mut found);
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("the kind of an entry"));
        match kind.is_dir() {
            true if entry.file_name() != "__pycache__" => collect(&path, found),
            true => {}
            false => drop(found.insert(path.to_string_lossy().into_owned())),
        }
    }
}
