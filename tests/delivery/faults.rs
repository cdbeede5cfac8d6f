//! Tracing that is broken costs the trace at most: Codex's bytes and end stay the same, and what can be kept is kept.

use crate::LAUNCHER;
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Codex, End, Home, ModelServer, Oracle, Reply, Script, codex, run};

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

    /// Plain first, then traced: the same but for ids, times, and the launcher's own lines at the end, which it returns.
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

/// The launcher where its own folder is a file system of this many KiB. What is left there is copied out.
fn on_a_small_disk(home: &Home, codex: &Path, kibibytes: usize) -> Command {
    let state = home.state();
    fs::create_dir(&state).expect("make the state folder");
    let mut command = home.traced("unshare", codex);
    let script = format!(
        "mount -t tmpfs -o size={kibibytes}k,mode=700 tmpfs \"$0\" || exit 99
         \"$@\"; code=$?; cp -a \"$0\" \"$0.left\"; exit $code"
    );
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]).arg(script).arg(state).arg(LAUNCHER);
    command
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_disk_that_is_full_costs_nothing_but_time() {
    let Some(broken) = Broken::new() else { return };
    // Enough for notes and records, too little for a trace.
    let command = on_a_small_disk(&broken.home, &broken.codex.native, 28);
    broken.assert_unharmed_by(command, "seq 5000");
    let (state, left) = (broken.home.state(), broken.home.codex().join("mlflow.left"));
    fs::remove_dir(&state).expect("nothing was written beside the small disk");
    fs::rename(left, &state).expect("look at what was on it");
    let log = broken.log();
    assert!(
        log.contains("cannot keep the trace: cannot write to") && log.contains("the disk is full"),
        "{log}"
    );
    assert_eq!(names_in(&state.join("spool")), [""; 0], "no torn entry is left");
    assert_eq!(names_in(&state.join("launches")).len(), 1, "its notes stay");

    let sync =
        run(broken.home.traced(LAUNCHER, &broken.codex.native).args(["mlflow", "sync"])).ended(End::Code(0));
    assert_eq!(sync.stdout, "1 delivered, 0 waiting\n");
    assert_eq!((broken.traces(), names_in(&state.join("launches"))), (1, vec![]));
}

#[test]
fn a_spool_that_cannot_be_written_leaves_the_launchs_notes_for_later() {
    let Some(broken) = Broken::new() else { return };
    let spool = broken.home.state().join("spool");
    fs::create_dir_all(&spool).expect("make the spool");
    let command = broken.home.traced_where_read_only(&spool, LAUNCHER, &broken.codex.native);
    broken.assert_unharmed_by(command, "true");
    assert!(broken.log().contains("cannot keep the trace: cannot write to"), "{}", broken.log());
    assert_eq!(names_in(&broken.home.state().join("launches")).len(), 1);
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o700)).expect("chmod");
    broken.assert_codex_unharmed("true");
    assert_eq!((broken.traces(), broken.waiting().len()), (2, 0));
    assert_eq!(names_in(&broken.home.state().join("launches")), [""; 0]);
}

#[test]
fn an_unreadable_entry_delays_no_other_and_is_removed_by_hand() {
    let Some(broken) = Broken::new() else { return };
    let spool = broken.home.state().join("spool");
    fs::create_dir_all(&spool).expect("make the spool");
    let torn = spool.join("01700000000000000001-tr-01a202b6a73e7ee38243251c871b1d4f.json");
    let later = spool.join("01700000000000000002-tr-01a202b6a73e7ee38243251c871b1d4e.json");
    fs::write(&torn, "{\"version\":2,\"head\":{\"tar").expect("write");
    fs::write(&later, "{\"version\":4}\nwhatever\n").expect("write");
    broken.assert_codex_unharmed("true");
    assert_eq!((broken.traces(), broken.waiting()), (1, vec![later.clone()]));
    let log = broken.log();
    assert!(log.contains("is set aside: not a whole spool entry: ") && log.contains("of version 4"), "{log}");

    let sync = |words: &[&str]| {
        run(broken.home.traced(LAUNCHER, &broken.codex.native).args(["mlflow", "sync"]).args(words))
    };
    let tried = sync(&["--retry"]).ended(End::Code(1));
    assert!(
        tried.stdout.starts_with("1 brought back\n0 delivered, 1 waiting, 1 set aside\n"),
        "{}",
        tried.stdout
    );
    assert!(tried.stderr.contains("codex-traced: 1 still waiting\n  hint: "), "{}", tried.stderr);
    let listed = sync(&["--list"]).ended(End::Code(0)).stdout;
    let ids: Vec<&str> =
        listed.lines().skip(1).filter_map(|line| line.split_once("  tr-").map(|(id, _)| id)).collect();
    assert_eq!(ids.len(), 2, "{listed}");
    assert!(listed.contains("set aside") && listed.contains("an entry of version 4"), "{listed}");
    let unknown = sync(&["--drop", "nothing"]).ended(End::Code(1));
    assert!(
        unknown.stderr.contains("nothing in the spool is called nothing\n  hint: "),
        "{}",
        unknown.stderr
    );
    for id in ids {
        let dropped = sync(&["--drop", id]).ended(End::Code(0)).stdout;
        assert!(
            dropped.starts_with(&format!("removed {id} (tr-01a202b6a73e7ee38243251c871b1d4")),
            "{dropped}"
        );
    }
    assert_eq!(sync(&["--list"]).ended(End::Code(0)).stdout, "nothing waits\n");
    assert_eq!(sync(&[]).ended(End::Code(0)).stdout, "0 delivered, 0 waiting\n");
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
    fs::write(broken.home.database(), "a user's notes, longer than a header of SQLite would be: ".repeat(9))
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
