//! A launch that is followed live: a stand-in for Codex, which holds its locks until the test ends it, and session
//! files that grow as the test writes them.

use crate::LAUNCHER;
use codex_traced::queue::receipts::Receipts;
use codex_traced::trace::ids::trace_of_thread;
use mlflow_store::ids::TraceId;
use mlflow_store::sqlite;
use mlflow_store::target::Target;
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use support::processes::is_finisher;
use support::run::{LIMIT, start_with_open_input};
use support::{
    End, HOLD, Home, Oracle, Outcome, Running, Trace, TrackingUri, kill_all, run, wait_for, write_program,
};

/// The thread in the recorded sessions' place, as far as its last digits.
const THREAD: &str = "01a202b6-a73e-7ee3-8243-";

/// Holds each thread that it reads, prints that once the launch has noted it, and ends with code 7 at the
/// end of its input.
const CODEX: &str = r#"
import sys
home, held = os.environ["CODEX_HOME"], []
for line in sys.stdin:
    thread = line.strip()
    held += hold(home, thread)
    if os.environ["NOTES"] == "kept":
        wait_until_noted(home, thread)
    print("holds " + thread, flush=True)
print("done")
sys.exit(7)
"#;

/// A session of the corpus under a thread id of its own.
pub(crate) struct Recording {
    pub(crate) thread: String,
    /// Its id in the corpus.
    recorded: String,
    pub(crate) lines: Vec<String>,
}

impl Recording {
    /// `number` makes the thread's id.
    pub(crate) fn new(path: &str, number: u32) -> Recording {
        let text = fs::read_to_string(Path::new("tests/corpus").join(path)).expect("a file of the corpus");
        let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        let recorded = first["payload"]["id"].as_str().expect("the first line names the thread").to_owned();
        let thread = format!("{THREAD}{number:012x}");
        let lines = text.replace(&recorded, &thread).lines().map(|line| format!("{line}\n")).collect();
        Recording { thread, recorded, lines }
    }

    /// Under its recorded id.
    pub(crate) fn unchanged(path: &str) -> Recording {
        let mut recording = Recording::new(path, 0);
        let recorded = recording.recorded.clone();
        recording.lines.iter_mut().for_each(|line| *line = line.replace(&recording.thread, &recorded));
        Recording { thread: recorded, ..recording }
    }

    /// A fork names the thread that it began with.
    pub(crate) fn rename_each_other(all: &mut [Recording]) {
        let names: Vec<_> = all.iter().map(|one| (one.recorded.clone(), one.thread.clone())).collect();
        let rename = |line: &mut String| {
            names.iter().for_each(|(recorded, thread)| *line = line.replace(recorded, thread));
        };
        all.iter_mut().flat_map(|one| &mut one.lines).for_each(rename);
    }

    pub(crate) fn trace(&self) -> TraceId {
        trace_of_thread(&self.thread)
    }

    pub(crate) fn name(&self) -> String {
        format!("rollout-2026-11-22T10-00-00-{}.jsonl", self.thread)
    }
}

/// A home, and the sessions that its Codex writes.
pub(crate) struct Stage {
    pub(crate) home: Home,
    codex: PathBuf,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let home = Home::new("http://127.0.0.1:9");
        let codex = home.root().join("codex.py");
        write_program(&codex, [HOLD, CODEX].concat());
        fs::create_dir_all(home.sessions().join("2026/11/22")).expect("make the session's folder");
        Stage { home, codex }
    }

    pub(crate) fn traced(&self, words: &[&str]) -> Command {
        let mut command = self.home.traced(LAUNCHER, &self.codex);
        command.args(words).env("NOTES", "kept").env("CODEX_TRACED_WAIT", "110");
        command
    }

    /// The session file of this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.sessions().join("2026/11/22").join(name)
    }

    /// Appends lines as Codex does.
    pub(crate) fn write(&self, name: &str, lines: &[String]) {
        let file = File::options().append(true).create(true).open(self.file(name));
        file.and_then(|mut file| file.write_all(lines.concat().as_bytes())).expect("write to the session");
    }

    /// As `write`, in the folder of the day on which the session began.
    pub(crate) fn write_on_its_day(&self, recording: &Recording, lines: &[String]) {
        let first: Value = serde_json::from_str(&recording.lines[0]).expect("JSON");
        let made = first["payload"]["timestamp"].as_str().expect("a time");
        let folder = self.home.sessions().join(made[..10].replace('-', "/"));
        fs::create_dir_all(&folder).expect("make the day's folder");
        let time = made[..19].replace(':', "-");
        let file = folder.join(format!("rollout-{time}-{}.jsonl", recording.thread));
        let file = File::options().append(true).create(true).open(file);
        file.and_then(|mut file| file.write_all(lines.concat().as_bytes())).expect("write to the session");
    }

    /// A launch that holds this thread.
    pub(crate) fn launch(&self, thread: &str, variables: &[(&str, &str)]) -> Launched<'_> {
        self.launch_as(self.traced(&["exec", "do it"]).envs(variables.iter().copied()), thread)
    }

    pub(crate) fn launch_as(&self, command: &mut Command, thread: &str) -> Launched<'_> {
        let (running, stdin) = start_with_open_input(command);
        let mut launched = Launched { home: &self.home, running, stdin: Some(stdin), held: Vec::new() };
        launched.hold(thread);
        launched
    }

    /// Waits until no process of this home is left, then delivers what waits. The spool and the launch records are
    /// empty then.
    #[track_caller]
    pub(crate) fn put_right(&self, variables: &[(&str, &str)]) {
        self.home.wait_until_ended();
        run(self.traced(&["mlflow", "sync"]).envs(variables.iter().copied())).ended(End::Code(0));
        assert_eq!((self.home.launches(), self.home.spooled()), (vec![], vec![]), "{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.state().join("codex_tracing.log")).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for(&format!("{text:?} in the log"), LIMIT, || self.log().contains(text));
    }

    /// Until the local database has so many of the model's responses.
    #[track_caller]
    pub(crate) fn wait_until_stored(&self, trace: TraceId, responses: usize) {
        wait_until_in(&self.home.database(), trace, responses);
    }

    /// The receipt lists what the local database has.
    #[track_caller]
    pub(crate) fn assert_receipt_is_true(&self, trace: TraceId) {
        let target = Target::Sqlite(self.home.database());
        let kept = Receipts::new(self.home.state().join("receipts")).get(trace, &target).expect("a receipt");
        let stored = sqlite::read(&self.home.database(), trace).expect("readable").expect("a trace");
        let stored: BTreeSet<_> = stored.spans.iter().map(|span| span.id).collect();
        assert_eq!(kept.receipt.spans.keys().copied().collect::<BTreeSet<_>>(), stored);
    }
}

/// Until MLflow's database has so many of the model's responses.
#[track_caller]
pub(crate) fn wait_until_in(database: &Path, trace: TraceId, responses: usize) {
    wait_for(&format!("{responses} responses in the store"), LIMIT, || {
        responses_in(database, trace).is_some_and(|count| count >= responses)
    });
}

/// None without the trace.
pub(crate) fn responses_in(database: &Path, trace: TraceId) -> Option<usize> {
    let stored = sqlite::read(database, trace).ok()??;
    Some(stored.spans.iter().filter(|span| span.name.starts_with("llm_call_")).count())
}

/// A launch that runs.
pub(crate) struct Launched<'h> {
    home: &'h Home,
    pub(crate) running: Running,
    /// None once Codex was asked to end.
    stdin: Option<ChildStdin>,
    held: Vec<String>,
}

impl Launched<'_> {
    /// Codex opens a thread.
    #[track_caller]
    pub(crate) fn hold(&mut self, thread: &str) {
        let stdin = self.stdin.as_mut().expect("codex was not asked to end");
        writeln!(stdin, "{thread}").expect("codex reads");
        self.held.push(thread.to_owned());
        let held = self.printed();
        wait_for("codex to hold the thread", LIMIT, || self.running.stdout() == held);
    }

    fn printed(&self) -> String {
        self.held.iter().map(|thread| format!("holds {thread}\n")).collect()
    }

    pub(crate) fn tracers(&self) -> Vec<Pid> {
        self.home.processes().into_iter().filter(|id| is_finisher(*id)).collect()
    }

    #[track_caller]
    pub(crate) fn tracer(&self) -> Pid {
        let mut tracers = Vec::new();
        wait_for("the tracer", LIMIT, || {
            tracers = self.tracers();
            !tracers.is_empty()
        });
        assert_eq!(tracers.len(), 1, "one tracer");
        tracers[0]
    }

    /// Kills the tracer, and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill_tracer(&self) {
        kill_all([self.tracer()]);
    }

    pub(crate) fn kill_launcher(&self) {
        kill_all([self.running.pid()]);
    }

    /// As a power cut does.
    pub(crate) fn kill_all(&self) {
        kill_all(self.home.processes());
    }

    /// Asks Codex to end.
    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Codex ends, and the launcher as Codex. The outcome's stderr is the launcher's.
    #[track_caller]
    pub(crate) fn end(self) -> Outcome {
        let printed = self.printed() + "done\n";
        let outcome = self.finish().ended(End::Code(7));
        assert_eq!(outcome.stdout, printed, "Codex's bytes");
        outcome
    }

    /// As `end`, for a launcher that may have been killed: any end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Outcome {
        self.close_input();
        self.running.finish(LIMIT)
    }
}

/// How a launch's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Known,
    /// The launcher was killed before Codex ended.
    Unknown,
}

/// A trace as MLflow's client reads it, without what differs from home to home and from thread to thread.
pub(crate) fn comparable(trace: &Trace, home: &Home, thread: &str, exit: Exit) -> Value {
    let mut spans: Vec<_> = trace.spans.iter().collect();
    spans.sort_by_cached_key(|span| (span.start_ns, span.name.clone(), span.inputs.to_string()));
    let span = |span: &&support::Span| {
        let mut attributes = span.attributes.clone();
        attributes.remove("codex.launch_id");
        if exit == Exit::Unknown {
            attributes.retain(|name, _| !name.starts_with("process.exit."));
        }
        json!({
            "name": span.name, "parent": span.parent, "kind": span.kind, "status": span.status,
            "message": span.message, "start": span.start_ns, "end": span.end_ns, "inputs": span.inputs,
            "outputs": span.outputs, "attributes": attributes, "events": span.events,
        })
    };
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let mut metadata = trace.metadata.clone();
    // The size counts the exit's attributes.
    metadata.retain(|name, _| exit == Exit::Known || !name.starts_with("mlflow.trace.size"));
    let mut tags = trace.tags.clone();
    tags.remove("mlflow.artifactLocation");
    let whole = json!({
        "name": trace.name, "experiment": trace.experiment, "state": trace.state,
        "start": trace.request_time_ms, "duration": trace.duration_ms, "request": trace.request_preview,
        "response": trace.response_preview, "tags": tags, "metadata": metadata, "tokens": trace.token_usage,
        "assessments": trace.assessments, "spans": spans,
    });
    let root = home.root().to_str().expect("UTF-8");
    let text = whole.to_string().replace(root, "ROOT").replace(thread, "THREAD");
    let text = text.replace(&thread.replace('-', ""), "THREAD");
    serde_json::from_str(&text).expect("it was JSON")
}

/// The trace that a launch leaves that nothing disturbs, and that no tracer follows: of these session files, in this
/// order.
#[track_caller]
pub(crate) fn untroubled(oracle: &Oracle, thread: &str, files: &[(&str, &[String])], exit: Exit) -> Value {
    let stage = Stage::new();
    let launch = stage.launch(thread, &[("CODEX_TRACED_LIVE", "off")]);
    files.iter().for_each(|(name, lines)| stage.write(name, lines));
    assert_eq!(launch.end().stderr, "");
    let trace = oracle.trace_of(&stage.home.database(), &trace_of_thread(thread).to_string());
    comparable(&trace, &stage.home, thread, exit)
}

/// The store has the trace once, and it is the one that an untroubled launch leaves.
#[track_caller]
pub(crate) fn assert_same(
    oracle: &Oracle,
    store: &(impl TrackingUri + ?Sized),
    stage: &Stage,
    thread: &str,
    (expected, exit): (&Value, Exit),
    row: &str,
) {
    let trace = oracle.trace_of(store, &trace_of_thread(thread).to_string());
    assert_alike(expected, &comparable(&trace, &stage.home, thread, exit), row);
    assert_eq!((stage.home.launches(), stage.home.spooled()), (vec![], vec![]), "{row}: nothing waits");
}

#[track_caller]
pub(crate) fn assert_alike(expected: &Value, found: &Value, row: &str) {
    if found != expected {
        let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON");
        let (expected, found) = (pretty(expected), pretty(found));
        panic!("{row}: the trace differs (- untroubled, + found):\n{}", difference(&expected, &found));
    }
}

fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let missing = expected.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}\n"));
    let added = found.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}\n"));
    let lines: String = missing.chain(added).collect();
    if lines.is_empty() { format!("- {expected:#?}\n+ {found:#?}") } else { lines }
}
