//! Tracing that is broken costs the trace at most: Codex's bytes and end stay the same, and what can be kept is kept.

use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use support::{Codex, End, Home, ModelServer, Oracle, Reply, Script, codex, run};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");

struct Broken {
    codex: Codex,
    home: Home,
    server: ModelServer,
}

impl Broken {
    fn new() -> Option<Broken> {
        let codex = codex()?;
        let server = ModelServer::start(Script::new());
        let home = Home::new(&server.url());
        Some(Broken { codex, home, server })
    }

    /// Plain first, then traced: the same but for ids, times, and what we say at the end, which is returned.
    /// `harm` is a command that Codex itself runs.
    #[track_caller]
    fn assert_codex_unharmed(&self, harm: &str) -> String {
        let traced = self.home.traced(LAUNCHER, &self.codex.native);
        self.assert_unharmed_by(traced, harm)
    }

    #[track_caller]
    fn assert_unharmed_by(&self, mut traced: Command, harm: &str) -> String {
        let mut plain = self.home.command(&self.codex.native);
        let observe = |command: &mut Command| {
            let script = Script::new()
                .reply(Reply::new().call("exec_command", json!({"cmd": harm})))
                .reply(Reply::new().answer("done"));
            self.server.play(script);
            run(command.args(["exec", "do it"])).ended(End::Code(0))
        };
        let (plain, mut traced) = (observe(&mut plain), observe(&mut traced));
        let begins = traced.stderr.find("codex-traced: ").unwrap_or(traced.stderr.len());
        let said = traced.stderr.split_off(begins);
        assert_eq!(plain.normalised(), traced.normalised());
        assert!(traced.stdout.contains("done"));
        said
    }

    fn waiting(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.home.state().join("spool")).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.state().join("codex_tracing.log")).unwrap_or_default()
    }

    fn traces(&self) -> i64 {
        let database = self.home.database();
        if !database.exists() {
            return 0;
        }
        let connection = Connection::open(database).expect("open the database");
        connection
            .query_row("SELECT count(*) FROM trace_info", [], |row| row.get(0))
            .expect("count the traces")
    }
}

#[test]
fn a_state_folder_that_cannot_be_written_costs_the_trace_only() {
    let Some(broken) = Broken::new() else { return };
    let state = broken.home.state();
    fs::create_dir(&state).expect("make the state folder");
    let command = broken.home.traced_where_read_only(&state, LAUNCHER, &broken.codex.native);
    let said = broken.assert_unharmed_by(command, "true");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("codex-traced: no trace of this session yet: cannot write to "), "{said}");
    assert_eq!(fs::read_dir(&state).expect("read").count(), 0, "nothing was written");
}

#[test]
fn a_locked_database_leaves_the_trace_in_the_spool_and_the_next_launch_delivers_it() {
    let Some(broken) = Broken::new() else { return };
    assert_eq!(broken.assert_codex_unharmed("true"), "");
    assert_eq!((broken.traces(), broken.waiting().len()), (1, 0));

    let blocker = Connection::open(broken.home.database()).expect("open the database");
    blocker.execute_batch("BEGIN EXCLUSIVE").expect("lock the database");
    let said = broken.assert_codex_unharmed("true");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("codex-traced: trace kept on disk (1 waiting): database is locked: "), "{said}");
    assert_eq!(broken.waiting().len(), 1);
    assert!(broken.log().contains("stays in the spool: database is locked"), "{}", broken.log());
    blocker.execute_batch("ROLLBACK").expect("unlock the database");
    drop(blocker);

    broken.assert_codex_unharmed("true");
    assert_eq!((broken.traces(), broken.waiting().len()), (3, 0));
}

#[test]
fn a_database_that_is_none_is_left_alone_and_the_trace_waits() {
    let Some(broken) = Broken::new() else { return };
    fs::create_dir(broken.home.state()).expect("make the state folder");
    fs::write(
        broken.home.database(),
        "somebody's notes, longer than a header of SQLite would be: ".repeat(9),
    )
    .expect("write");
    let before = fs::read(broken.home.database()).expect("read");
    broken.assert_codex_unharmed("true");
    assert_eq!(fs::read(broken.home.database()).expect("read"), before);
    assert_eq!(broken.waiting().len(), 1);
    assert!(broken.log().contains("not a SQLite database: "), "{}", broken.log());
}

#[test]
fn a_rollout_that_is_deleted_before_the_end_leaves_a_sentence_in_the_log() {
    let Some(broken) = Broken::new() else { return };
    let delete = format!("find {} -name 'rollout-*' -delete", broken.home.sessions().display());
    broken.assert_codex_unharmed(&delete);
    assert_eq!((broken.traces(), broken.waiting().len()), (0, 0));
    assert!(broken.log().contains("left no rollout"), "{}", broken.log());
}

#[test]
fn a_sessions_folder_that_is_gone_is_no_news() {
    let Some(broken) = Broken::new() else { return };
    // Codex refuses to run `rm -rf`.
    let delete = format!("find {} -delete", broken.home.sessions().display());
    broken.assert_codex_unharmed(&delete);
    assert!(!broken.home.sessions().exists());
    assert_eq!((broken.traces(), broken.waiting().len(), broken.log().as_str()), (0, 0, ""));
}

#[test]
fn what_waits_is_delivered_by_sync_and_readable_by_mlflow() {
    let (Some(broken), Some(oracle)) = (Broken::new(), Oracle::newest()) else { return };
    fs::create_dir(broken.home.state()).expect("make the state folder");
    fs::write(broken.home.database(), "no database".repeat(99)).expect("write");
    broken.assert_codex_unharmed("true");
    fs::remove_file(broken.home.database()).expect("remove");
    let sync =
        run(broken.home.traced(LAUNCHER, &broken.codex.native).args(["mlflow", "sync"])).ended(End::Code(0));
    assert_eq!(sync.stdout, "1 delivered, 0 waiting\n");
    assert_eq!(oracle.trace(&broken.home.database()).response_preview.as_deref(), Some("done"));
}
