//! A run that is killed before any of its writes: the next `mlflow sync` completes it, and the target has every trace
//! exactly once.

use crate::LAUNCHER;
use codex_session::thread::ThreadId;
use codex_traced::claim::launch_record::{Destination, Launch, LaunchRecord, Note};
use codex_traced::claim::verdict::{Attribution, Claim};
use codex_traced::codex::command_line::SessionRequest;
use codex_traced::trace::ids::trace_of_thread;
use jiff::Timestamp;
use launch::process::Process;
use mlflow_store::ids::TraceId;
use mlflow_store::sqlite;
use mlflow_store::target::{Experiment, Target};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::run::LIMIT;
use support::{
    End, Gate, HOLD, Home, ModelServer, Oracle, Recorded, Reply, Script, codex, run, start, wait_for,
    write_program,
};

/// The session that all others are copies of.
const ORIGINAL: &str = "tests/corpus/0.169.0/exec-basic.jsonl";

/// The root, four calls of the model and four of tools.
const SPANS: usize = 9;

/// The calls that change a file or a folder; `?` marks calls that some machines lack.
const WRITES: &str = "openat,write,pwrite64,?pwritev,fsync,fdatasync,ftruncate,?mkdir,mkdirat,?rename,?renameat,\
                      renameat2,?link,linkat,?unlink,unlinkat";

/// Writes the session that it was given, as Codex holds its lock: until its launcher has noted that, or is gone.
const STAND_IN: &str = r#"
import shutil
home, thread = os.environ["CODEX_HOME"], os.environ["THREAD"]
held = hold(home, thread)
folder = home + "/sessions/2026/11/22"
os.makedirs(folder, exist_ok=True)
shutil.copy(os.environ["ROLLOUT"], f"{folder}/rollout-2026-11-22T10-00-00-{thread}.jsonl")
wait_until_noted(home, thread)
"#;

/// A home whose sessions have the same content and different ids.
struct Sessions {
    home: Home,
    rollout: String,
    recorded: String,
    made: usize,
    /// Those that must be in the database.
    traced: BTreeSet<TraceId>,
}

impl Sessions {
    fn new() -> Sessions {
        let path = Path::new(ORIGINAL);
        let rollout = fs::read_to_string(path).expect("a file of the corpus");
        let recorded = Recorded::read(path).thread().to_owned();
        let home = Home::new("http://127.0.0.1:9");
        Sessions { home, rollout, recorded, made: 0, traced: BTreeSet::new() }
    }

    /// The next session's thread and what it wrote.
    fn next(&mut self) -> (ThreadId, String) {
        self.made += 1;
        let thread = format!("01a202b6-a73e-7ee3-8243-{:012x}", self.made);
        let rollout = self.rollout.replace(&self.recorded, &thread);
        (ThreadId::parse(&thread).expect("a UUID"), rollout)
    }

    /// A launch that was killed when Codex had ended: its session, and its notes with the claim.
    fn leave_behind(&mut self) -> TraceId {
        // Before the session, as with a real launch: what was written to it earlier would not be its own.
        let began = Timestamp::now();
        let (thread, rollout) = self.next();
        let folder = self.home.sessions().join("2026/11/22");
        fs::create_dir_all(&folder).expect("make the folder of a day");
        let name = format!("rollout-2026-11-22T10-00-00-{thread}.jsonl");
        fs::write(folder.join(name), rollout).expect("write a session");
        let destination = Destination {
            target: Target::Sqlite(self.home.database()),
            experiment: Experiment::Name("codex-sessions".into()),
        };
        let gone = Process { born: Some(1), ..Process::current() };
        let launch = Launch::new(gone, began, destination, SessionRequest::default());
        let mut notes =
            LaunchRecord::create(&self.home.state().join("launches"), &launch).expect("begin its notes");
        let trace = trace_of_thread(thread.as_str());
        notes.note(&Note::Claim(Claim { thread, attribution: Attribution::Held })).expect("note the claim");
        trace
    }

    fn sync(&self) -> Command {
        let mut command = self.home.traced(LAUNCHER, Path::new("/nowhere"));
        command.args(["mlflow", "sync"]);
        command
    }

    /// Waits for the killed run's processes, then delivers what it left. The database has the trace `must` and all
    /// earlier ones; no work is left.
    #[track_caller]
    fn assert_put_right(&mut self, must: Option<TraceId>, at: &str) {
        self.home.wait_until_ended();
        run(&mut self.sync()).ended(End::Code(0));
        self.traced.extend(must);
        for folder in ["launches", "spool", "spool/set_aside"] {
            let left = notes_and_entries(&self.home.state().join(folder));
            assert!(left.is_empty(), "{at}: {left:?}");
        }
        if !self.home.database().exists() {
            assert!(self.traced.is_empty(), "{at}: no database");
            return;
        }
        let connection = Connection::open(self.home.database()).expect("open the database");
        let query = "SELECT request_id FROM trace_info";
        let mut statement = connection.prepare(query).expect("MLflow's table");
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("the traces");
        let ids: Vec<TraceId> = rows.map(|id| id.expect("text").parse().expect("an id")).collect();
        let all: BTreeSet<TraceId> = ids.iter().copied().collect();
        assert_eq!(all.len(), ids.len(), "{at}: a trace is there twice");
        let log = fs::read_to_string(self.home.state().join("codex_tracing.log")).unwrap_or_default();
        let lost: Vec<&TraceId> = self.traced.difference(&all).collect();
        assert!(lost.is_empty(), "{at}: lost {lost:?}: {log}");
        self.traced = all;
        if let Some(trace) = must {
            let read = sqlite::read(&self.home.database(), trace).expect("readable").expect("there");
            assert_eq!(read.spans.len(), SPANS, "{at}: {read:#?}");
        }
    }

    /// MLflow reads the same traces.
    #[track_caller]
    fn assert_mlflow_agrees(&self, oracle: &Oracle) {
        let traces = oracle.traces(&self.home.database());
        let ids: BTreeSet<String> = traces.iter().map(|trace| trace.trace_id.clone()).collect();
        assert_eq!(ids, self.traced.iter().map(TraceId::to_string).collect());
        assert_eq!(traces.len(), ids.len());
        for trace in traces {
            assert_eq!((trace.state.as_str(), trace.spans.len()), ("OK", SPANS), "{}", trace.trace_id);
        }
    }
}

/// Entries and launch records, without locks and incomplete files: no process reads those, and a sweep removes them
/// after an hour.
fn notes_and_entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_empty = fs::metadata(path).is_ok_and(|file| file.len() == 0);
        (name.ends_with(".json") || name.ends_with(".jsonl")) && !name.starts_with('.') && !is_empty
    };
    entries.filter(is_one).collect()
}

/// The command under strace, which watches its first process only.
fn under_strace(command: &Command, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-y", "-s", "0"]).args(options).arg(command.get_program()).args(command.get_args());
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(command.get_current_dir().expect("a command of a home"));
    strace
}

/// Each call of a whole run that changes one of our files: its name, and which of that name it is.
fn steps(command: &Command, home: &Home) -> Vec<(String, usize)> {
    let log = home.root().join("strace.log");
    let options = ["-e", &format!("trace={WRITES}"), "-o", log.to_str().expect("a path of text")];
    run(&mut under_strace(command, &options)).ended(End::Code(0));
    let log = fs::read_to_string(log).expect("strace's log (install it: apt-get install strace)");
    let ours = home.state().display().to_string();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in log.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        if rest.contains(&ours) && (name != "openat" || rest.contains("O_CREAT")) {
            steps.push((name.to_owned(), *count));
        }
    }
    steps
}

/// Without most of what SQLite writes, which SQLite itself has proved: every so many-th of its pages is enough here.
fn thinned(mut steps: Vec<(String, usize)>, every: usize) -> Vec<(String, usize)> {
    steps.retain(|(name, count)| name != "pwrite64" || count % every == 0);
    steps
}

/// Killed just before this call.
fn killed_at(command: &Command, (name, count): &(String, usize)) -> Command {
    under_strace(command, &["-o", "/dev/null", "-e", &format!("inject={name}:signal=KILL:when={count}")])
}

#[test]
fn sync_killed_before_any_of_its_writes_delivers_every_trace_once() {
    let Some(oracle) = Oracle::newest() else { return };
    let mut sessions = Sessions::new();
    sessions.leave_behind();
    run(&mut sessions.sync()).ended(End::Code(0));
    let trace = sessions.leave_behind();
    let steps = thinned(steps(&sessions.sync(), &sessions.home), 4);
    sessions.assert_put_right(Some(trace), "not killed");
    for step in &steps {
        let trace = sessions.leave_behind();
        run(&mut killed_at(&sessions.sync(), step)).ended(End::Signal(9));
        sessions.assert_put_right(Some(trace), &format!("{step:?}"));
    }
    println!("mlflow sync: killed at each of {} steps: {}", steps.len(), summary(&steps));
    let names: BTreeSet<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.is_superset(&["openat", "write", "fsync", "unlink"].into()), "{names:?}");
    sessions.assert_mlflow_agrees(&oracle);
}

#[test]
fn the_first_sync_killed_before_any_of_its_writes_makes_the_database_all_the_same() {
    let Some(oracle) = Oracle::newest() else { return };
    let mut sessions = Sessions::new();
    let trace = sessions.leave_behind();
    let steps = thinned(steps(&sessions.sync(), &sessions.home), 12);
    sessions.assert_put_right(Some(trace), "not killed");
    println!("the first mlflow sync: killed at each of {} steps: {}", steps.len(), summary(&steps));
    for step in &steps {
        fs::remove_dir_all(sessions.home.state()).expect("remove all that is ours");
        sessions.traced.clear();
        let trace = sessions.leave_behind();
        run(&mut killed_at(&sessions.sync(), step)).ended(End::Signal(9));
        sessions.assert_put_right(Some(trace), &format!("{step:?}"));
    }
    sessions.assert_mlflow_agrees(&oracle);
}

#[test]
fn a_launch_killed_before_any_of_its_writes_loses_no_session_that_it_had_claimed() {
    let Some(oracle) = Oracle::newest() else { return };
    let mut sessions = Sessions::new();
    let codex = sessions.home.root().join("codex-stand-in");
    stand_in(&codex);
    let launch = |sessions: &mut Sessions| {
        let (thread, rollout) = sessions.next();
        let file = sessions.home.root().join("rollout.jsonl");
        fs::write(&file, rollout).expect("write a session");
        let mut command = sessions.home.traced(LAUNCHER, &codex);
        command.args(["exec", "do it"]).env("THREAD", thread.as_str()).env("ROLLOUT", file);
        (command, trace_of_thread(thread.as_str()))
    };
    run(&mut launch(&mut sessions).0).ended(End::Code(0));
    let (command, trace) = launch(&mut sessions);
    let steps = thinned(steps(&command, &sessions.home), 16);
    sessions.assert_put_right(Some(trace), "not killed");
    let (mut claimed, mut not_reached) = (0, 0);
    for step in &steps {
        let (command, trace) = launch(&mut sessions);
        let outcome = run(&mut killed_at(&command, step));
        // How often a launch looks around depends on how long it lasts: the last calls of a kind may not come.
        if outcome.end == End::Code(0) {
            not_reached += 1;
            sessions.assert_put_right(Some(trace), &format!("{step:?} did not come"));
            continue;
        }
        outcome.ended(End::Signal(9));
        // Until the claim is noted, the evidence is lost with the launch. A missing launch record was either not begun,
        // or its work is done.
        let is_claimed = match &notes_and_entries(&sessions.home.state().join("launches"))[..] {
            [] => claimed > 0,
            notes => {
                notes.iter().any(|note| fs::read_to_string(note).is_ok_and(|text| text.contains("\"claim\"")))
            }
        };
        claimed += usize::from(is_claimed);
        sessions.assert_put_right(is_claimed.then_some(trace), &format!("{step:?}"));
    }
    println!(
        "a launch: killed at each of {} steps, {claimed} of them after the claim: {}",
        steps.len(),
        summary(&steps)
    );
    assert!(claimed > 0 && claimed < steps.len(), "{claimed} of {}", steps.len());
    assert!(not_reached * 4 < steps.len(), "{not_reached} of {} steps did not come", steps.len());
    sessions.assert_mlflow_agrees(&oracle);
}

#[test]
fn forty_deliveries_at_once_deliver_each_trace_once_and_none_fails() {
    let mut sessions = Sessions::new();
    let traces: Vec<TraceId> = (0..40).map(|_| sessions.leave_behind()).collect();
    let running: Vec<_> = traces.iter().map(|_| start(&mut sessions.sync())).collect();
    for one in running {
        one.finish(LIMIT).ended(End::Code(0));
    }
    sessions.traced.extend(traces);
    sessions.assert_put_right(None, "forty at once");
    assert_eq!(sessions.traced.len(), 40);
}

#[test]
fn forty_launches_that_end_at_once_leave_no_trace_behind() {
    let mut sessions = Sessions::new();
    let codex = sessions.home.root().join("codex-stand-in");
    stand_in(&codex);
    let (running, traces): (Vec<_>, Vec<_>) = (0..40)
        .map(|number| {
            let (thread, rollout) = sessions.next();
            let file = sessions.home.root().join(format!("rollout-{number}.jsonl"));
            fs::write(&file, rollout).expect("write a session");
            let mut command = sessions.home.traced(LAUNCHER, &codex);
            command.args(["exec", "do it"]).env("THREAD", thread.as_str()).env("ROLLOUT", file);
            (start(&mut command), trace_of_thread(thread.as_str()))
        })
        .unzip();
    for one in running {
        let outcome = one.finish(LIMIT).ended(End::Code(0));
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    }
    sessions.traced.extend(traces);
    sessions.assert_put_right(None, "forty at once");
    assert_eq!(sessions.traced.len(), 40);
}

#[test]
fn the_first_launch_on_a_machine_killed_after_codex_made_its_home_loses_no_session() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done").stall_at_start(&gate)));
    let home = Home::new(&server.url());
    // No CODEX_HOME is set, and `~/.codex` has yet to be made.
    let own = home.user().join(".codex");
    let ours = || {
        let mut command = home.traced(LAUNCHER, &codex.native);
        // A tracer, which a slow launch starts, would complete the trace by itself.
        command.env_remove("CODEX_HOME").env("CODEX_TRACED_LIVE", "off");
        command
    };
    let provider = format!(
        "model_providers.stand_in={{name=\"stand_in\",base_url=\"{}\",env_key=\"STAND_IN_KEY\",wire_api=\"responses\"}}",
        server.url()
    );
    let mut command = ours();
    command.args(["exec", "--json", "-m", "gpt-5.5", "-c", "model_provider=\"stand_in\"", "-c", &provider]);
    let launch = start(command.arg("do it"));
    gate.wait_until_reached(LIMIT);
    wait_for("the notes of the launch", LIMIT, || {
        !notes_and_entries(&own.join("mlflow/launches")).is_empty()
    });
    launch.signal(nix::sys::signal::Signal::SIGKILL);
    gate.open();
    // Its streams close when Codex has ended too.
    let outcome = launch.finish(LIMIT).ended(End::Signal(9));
    let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread").to_owned();
    // It closes the lock of its session after its streams, and a launch is finished only then.
    let (mut trace, database) = (None, own.join("mlflow/mlflow.db"));
    wait_for("the trace", LIMIT, || {
        run(ours().args(["mlflow", "sync"])).ended(End::Code(0));
        trace = sqlite::read(&database, trace_of_thread(&thread)).expect("readable");
        trace.is_some()
    });
    assert_eq!(trace.expect("it was waited for").request_preview.as_deref(), Some("do it"));
}

/// In the place of Codex.
fn stand_in(path: &Path) {
    write_program(path, [HOLD, STAND_IN].concat());
}

fn summary(steps: &[(String, usize)]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    steps.iter().for_each(|(name, _)| *counts.entry(name).or_default() += 1);
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}
