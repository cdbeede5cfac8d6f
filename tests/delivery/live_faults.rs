//! The target fails while a launch is followed live: Codex does not notice, and the trace is there once and right in
//! the end.

use crate::live_stage::{
    Exit, Launched, Recording, Stage, assert_alike, assert_same, comparable, responses_in, untroubled,
    wait_until_in,
};
use crate::network_faults::{address, answer};
use mlflow_store::ids::TraceId;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use support::mlflow_server::{get, post};
use support::real::MLFLOW_VERSION;
use support::run::LIMIT;
use support::{Fault, FaultProxy, MlflowServer, Oracle, each_in_parallel, wait_for};

const SESSION: &str = "0.169.0/exec-json-resume-1.jsonl";

/// The ends of the session's first two turns.
const TURNS: [usize; 2] = [23, 33];

/// The local database of a followed launch: the first turn is in it.
struct Local {
    stage: Stage,
    recording: Recording,
}

impl Local {
    fn new() -> Local {
        Local { stage: Stage::new(), recording: Recording::new(SESSION, 1) }
    }

    fn write(&self, from: usize, to: usize) {
        self.stage.write(&self.recording.name(), &self.recording.lines[from..to]);
    }

    #[track_caller]
    fn assert_right(&self, oracle: &Oracle, exit: Exit, row: &str) {
        let Recording { thread, lines, .. } = &self.recording;
        let expected = untroubled(oracle, thread, &[(&self.recording.name(), lines)], exit);
        let store = self.stage.home.database();
        assert_same(oracle, &store, &self.stage, thread, (&expected, exit), row);
        self.stage.assert_receipt_is_true(self.recording.trace());
    }
}

pub(crate) fn lock(database: PathBuf) -> Connection {
    let writer = Connection::open(database).expect("open the database");
    writer.busy_timeout(LIMIT).expect("set the wait");
    writer.execute_batch("BEGIN EXCLUSIVE").expect("lock the database");
    writer
}

pub(crate) fn unlock(writer: &Connection) {
    writer.execute_batch("ROLLBACK").expect("unlock the database");
}

#[test]
fn a_database_that_a_writer_locks_while_live_and_at_the_end_has_the_trace_afterwards() {
    let Some(oracle) = Oracle::newest() else { return };
    let local = Local::new();
    let trace = local.recording.trace();
    let mut launch = local.stage.launch(&local.recording.thread, &[]);
    local.write(0, TURNS[0]);
    local.stage.wait_until_stored(trace, 2);
    let writer = lock(local.stage.home.database());
    local.write(TURNS[0], TURNS[1]);
    local.stage.wait_for_log("database is locked");
    unlock(&writer);
    local.stage.wait_until_stored(trace, 3);
    drop(writer);
    let writer = lock(local.stage.home.database());
    local.write(TURNS[1], local.recording.lines.len());
    launch.close_input();
    wait_for("the trace in the spool", LIMIT, || !local.stage.home.spooled().is_empty());
    unlock(&writer);
    drop(writer);
    assert_eq!(launch.end().stderr, "");
    local.assert_right(&oracle, Exit::Known, "locked");
    assert_eq!(local.stage.log().matches("not brought up to date").count(), 1, "{}", local.stage.log());
}

#[test]
fn a_trace_that_a_user_deletes_while_live_is_there_again() {
    let Some(oracle) = Oracle::newest() else { return };
    for is_last in [false, true] {
        let local = Local::new();
        let trace = local.recording.trace();
        let launch = local.stage.launch(&local.recording.thread, &[]);
        let until = if is_last { local.recording.lines.len() } else { TURNS[0] };
        local.write(0, until);
        local.stage.wait_until_stored(trace, 2);
        let database = Connection::open(local.stage.home.database()).expect("open the database");
        database.busy_timeout(LIMIT).expect("set the wait");
        let delete = "PRAGMA foreign_keys = ON; DELETE FROM trace_info";
        database.execute_batch(delete).expect("delete as MLflow does");
        if !is_last {
            local.write(until, local.recording.lines.len());
            local.stage.wait_until_stored(trace, 3);
        }
        assert_eq!(launch.end().stderr, "");
        local.assert_right(&oracle, Exit::Known, &format!("deleted, last: {is_last}"));
    }
}

/// Until nothing more has room.
fn fill(path: &Path) {
    let mut filler = File::create(path).expect("a file on the small disk");
    while filler.write(&[0; 512]).is_ok_and(|count| count > 0) {}
}

/// The launcher where its own folder is a small disk, of which a copy is left.
#[test]
fn a_disk_that_is_full_while_live_costs_liveness_only() {
    let Some(oracle) = Oracle::newest() else { return };
    for is_freed in [true, false] {
        let local = Local::new();
        let (state, trace) = (local.stage.home.state(), local.recording.trace());
        fs::create_dir(&state).expect("make the state folder");
        let traced = local.stage.traced(&["exec", "do it"]);
        let mut command = local.stage.home.command("unshare");
        command.envs(traced.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let script = "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\" || exit 99
             \"$@\"; code=$?; cp -a \"$0\" \"$0.left\"; exit $code";
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(&state);
        command.arg(traced.get_program()).args(traced.get_args());
        let launch = local.stage.launch_as(&mut command, &local.recording.thread);
        // The disk as the tracer sees it.
        let inside = PathBuf::from(format!("/proc/{}/root{}", launch.tracer(), state.display()));
        // SQLite would follow the link to the root folder of this process.
        let copy = local.stage.home.root().join("copy.db");
        let wait_until_stored = |responses: usize| {
            wait_for("the turn on the small disk", LIMIT, || {
                let copied = fs::copy(inside.join("mlflow.db"), &copy).is_ok();
                copied && responses_in(&copy, trace).is_some_and(|count| count >= responses)
            });
        };
        local.write(0, TURNS[0]);
        wait_until_stored(2);
        fill(&inside.join("filler"));
        local.write(TURNS[0], TURNS[1]);
        if is_freed {
            fs::remove_file(inside.join("filler")).expect("free the disk");
            wait_until_stored(3);
        }
        local.write(TURNS[1], local.recording.lines.len());
        let outcome = launch.end();
        assert_eq!(outcome.stderr.is_empty(), is_freed, "{}", outcome.stderr);
        fs::remove_dir(&state).expect("nothing was written beside the small disk");
        fs::rename(local.stage.home.codex().join("mlflow.left"), &state).expect("look at what was on it");
        if !is_freed {
            fs::remove_file(state.join("filler")).expect("free the disk");
            local.stage.put_right(&[]);
        }
        // A full disk may not have taken the note of Codex's exit.
        let exit = if is_freed { Exit::Known } else { Exit::Unknown };
        local.assert_right(&oracle, exit, &format!("disk full, freed: {is_freed}"));
    }
}

/// What happens between launch and server, after the first turn.
#[derive(Clone, Debug)]
enum Trouble {
    Passing(Fault),
    /// Beyond the end of the launch.
    Lasting(Fault),
    /// A user deletes the trace.
    Deleted,
}

/// A launch that is followed live into a server, through a proxy.
struct Remote {
    proxy: FaultProxy,
    stage: Stage,
    recording: Recording,
}

impl Remote {
    /// `number` makes the thread's id.
    fn new(server: &MlflowServer, number: u32) -> Remote {
        let proxy = FaultProxy::before(address(server.port()));
        Remote { proxy, stage: Stage::new(), recording: Recording::new(SESSION, number) }
    }

    fn launch(&self, wait: &str, live: &str) -> Launched<'_> {
        let mut command = self.stage.traced(&["exec", "do it"]);
        command.envs(variables(&self.proxy.url())).env("CODEX_TRACED_WAIT", wait);
        self.stage.launch_as(command.env("CODEX_TRACED_LIVE", live), &self.recording.thread)
    }

    fn write(&self, from: usize, to: usize) {
        self.stage.write(&self.recording.name(), &self.recording.lines[from..to]);
    }

    fn trace(&self, oracle: &Oracle, server: &MlflowServer) -> Value {
        let trace = oracle.trace_of(server, &self.recording.trace().to_string());
        comparable(&trace, &self.stage.home, &self.recording.thread, Exit::Known)
    }
}

fn variables(uri: &str) -> [(&'static str, &str); 5] {
    [
        ("MLFLOW_TRACKING_URI", uri),
        ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "5"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
    ]
}

#[test]
fn a_server_in_any_trouble_while_live_has_the_trace_once_and_right() {
    let (Some(oracle), Some(server)) = (Oracle::newest(), MlflowServer::of(MLFLOW_VERSION)) else { return };
    let plain = Remote::new(&server, 1);
    let launch = plain.launch("90", "off");
    plain.write(0, plain.recording.lines.len());
    assert_eq!(launch.end().stderr, "");
    let expected = plain.trace(&oracle, &server);
    use Trouble::{Deleted, Lasting, Passing};
    let table = [
        Passing(Fault::Hang),
        Passing(Fault::ResetInBody),
        Passing(answer(500)),
        Passing(answer(429)),
        Passing(answer(401)),
        Passing(Fault::LoseAnswer),
        Deleted,
        Lasting(Fault::Hang),
        Lasting(answer(500)),
    ];
    each_in_parallel((2..).zip(table).collect(), |(number, trouble)| {
        let remote = Remote::new(&server, number);
        let Remote { proxy, stage, recording } = &remote;
        let is_passing = !matches!(trouble, Lasting(_));
        let launch = remote.launch(if is_passing { "90" } else { "3" }, "on");
        remote.write(0, TURNS[0]);
        wait_until_in(&server.database(), recording.trace(), 2);
        let before = proxy.seen().len();
        match &trouble {
            Passing(fault) | Lasting(fault) => proxy.fail("", fault.clone()),
            Deleted => {
                // The information follows the spans: a server that gets it alone takes whole traces only.
                wait_for("the trace's information", LIMIT, || {
                    has_info(&server.database(), recording.trace())
                });
                delete(&server, recording);
            }
        }
        remote.write(TURNS[0], TURNS[1]);
        wait_for("a request", LIMIT, || proxy.seen().len() > before);
        if is_passing {
            proxy.heal();
        }
        remote.write(TURNS[1], recording.lines.len());
        if is_passing {
            wait_until_in(&server.database(), recording.trace(), 5);
        }
        let outcome = launch.end();
        assert_eq!(outcome.stderr.is_empty(), is_passing, "{trouble:?}: {}", outcome.stderr);
        if !is_passing {
            assert_eq!(stage.home.spooled().len(), 1, "{trouble:?}");
            proxy.heal();
            stage.put_right(&variables(&proxy.url()));
        }
        let name = format!("{trouble:?}");
        assert_alike(&expected, &remote.trace(&oracle, &server), &name);
        assert_eq!((stage.home.launches(), stage.home.spooled()), (vec![], vec![]), "{name}");
        println!("{name}: {} requests", proxy.seen().len());
    });

    let remote = Remote::new(&server, 20);
    let (trace, lines) = (remote.recording.trace(), remote.recording.lines.len());
    let launch = remote.launch("90", "on");
    remote.write(0, TURNS[0]);
    wait_until_in(&server.database(), trace, 2);
    remote.write(TURNS[0], TURNS[1]);
    let server = server.killed_and_started_again();
    remote.proxy.aim_at(address(server.port()));
    remote.write(TURNS[1], lines);
    wait_until_in(&server.database(), trace, 5);
    assert_eq!(launch.end().stderr, "");
    assert_alike(&expected, &remote.trace(&oracle, &server), "killed and started again");
}

fn has_info(database: &Path, trace: TraceId) -> bool {
    let stored = mlflow_store::sqlite::read(database, trace).ok().flatten();
    stored.is_some_and(|trace| trace.metadata.contains_key("session_file"))
}

/// As a user does on MLflow's page.
fn delete(server: &MlflowServer, recording: &Recording) {
    let id = recording.trace().to_string();
    let info = get(server.port(), &format!("/api/3.0/mlflow/traces/{id}")).expect("the trace");
    let (_, rest) = info.split_once("\"experiment_id\"").expect("its experiment");
    let experiment: String =
        rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let body = json!({"experiment_id": experiment, "request_ids": [id]}).to_string();
    let answer = post(server.port(), "/api/2.0/mlflow/traces/delete-traces", &[], &body);
    assert!(answer.contains("\"traces_deleted\": 1"), "{answer}");
}
