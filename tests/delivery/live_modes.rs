//! `CODEX_TRACED_LIVE`, and targets that take whole traces only: what the store has in mid-turn, after a turn, and in
//! the end.

use crate::live_faults::{lock, unlock};
use crate::live_stage::{Exit, Launched, Recording, Stage, assert_same, responses_in, untroubled};
use serde_json::Value;
use std::collections::BTreeSet;
use support::databricks::{Databricks, Rules, TOKEN};
use support::real::MLFLOW_OLDEST_SERVER;
use support::run::LIMIT;
use support::{MlflowServer, Oracle, Trace, assert_facts, wait_for};

const SESSION: &str = "0.169.0/exec-json-resume-1.jsonl";

/// The middle of the first turn, its end, the middle and the end of the second turn, the end.
const STEPS: [usize; 5] = [17, 23, 31, 33, 57];

/// Responses of the model until then.
const RESPONSES: [usize; 5] = [1, 2, 3, 3, 5];

/// A launch under a mode, beside one that is followed with every change and shows when an update would have come.
struct Beside {
    recording: Recording,
    stage: Stage,
    control: Stage,
}

impl Beside {
    fn new() -> Beside {
        Beside { recording: Recording::new(SESSION, 1), stage: Stage::new(), control: Stage::new() }
    }

    fn launch(&self, variables: &[(&str, &str)]) -> (Launched<'_>, Launched<'_>) {
        let launch = self.stage.launch(&self.recording.thread, variables);
        (launch, self.control.launch(&self.recording.thread, &[]))
    }

    /// Both sessions grow up to this step, and the control's store has it.
    #[track_caller]
    fn grow_to(&self, step: usize) {
        let from = if step == 0 { 0 } else { STEPS[step - 1] };
        for stage in [&self.stage, &self.control] {
            stage.write(&self.recording.name(), &self.recording.lines[from..STEPS[step]]);
        }
        self.control.wait_until_stored(self.recording.trace(), RESPONSES[step]);
    }
}

#[test]
fn with_live_off_nothing_is_there_before_the_end_and_no_tracer_runs() {
    let Some(oracle) = Oracle::newest() else { return };
    let beside = Beside::new();
    let (launch, control) = beside.launch(&[("CODEX_TRACED_LIVE", "off")]);
    (0..STEPS.len()).for_each(|step| beside.grow_to(step));
    assert_eq!((launch.tracers(), beside.stage.home.database().exists()), (vec![], false));
    assert_eq!([launch.end().stderr, control.end().stderr], ["", ""]);
    let Beside { recording, stage, control } = &beside;
    let of_control =
        untroubled(&oracle, &recording.thread, &[(&recording.name(), &recording.lines)], Exit::Known);
    for (name, stage) in [("off", stage), ("on", control)] {
        let store = stage.home.database();
        assert_same(&oracle, &store, stage, &recording.thread, (&of_control, Exit::Known), name);
    }
}

#[test]
fn with_live_turn_the_store_has_whole_turns_only() {
    let Some(oracle) = Oracle::newest() else { return };
    let beside = Beside::new();
    let (launch, control) = beside.launch(&[("CODEX_TRACED_LIVE", "turn")]);
    let responses = || responses_in(&beside.stage.home.database(), beside.recording.trace());
    beside.grow_to(0);
    launch.tracer();
    assert_eq!(responses(), None, "in the first turn");
    beside.grow_to(1);
    beside.stage.wait_until_stored(beside.recording.trace(), 2);
    let seen = oracle.trace(&beside.stage.home.database());
    assert_facts(&seen, "trace OK request=\"first prompt\" spans=5");
    beside.grow_to(2);
    assert_eq!(responses(), Some(2), "in the second turn");
    let writer = lock(beside.stage.home.database());
    beside.grow_to(3);
    beside.stage.wait_for_log("database is locked");
    unlock(&writer);
    // Without the end of another turn.
    beside.stage.wait_until_stored(beside.recording.trace(), 3);
    beside.grow_to(4);
    assert_eq!([launch.end().stderr, control.end().stderr], ["", ""]);
    let Beside { recording, stage, .. } = &beside;
    let expected =
        untroubled(&oracle, &recording.thread, &[(&recording.name(), &recording.lines)], Exit::Known);
    let store = stage.home.database();
    assert_same(&oracle, &store, stage, &recording.thread, (&expected, Exit::Known), "turn");
}

/// So many responses, and the trace's state.
fn seen(trace: &Trace) -> (usize, &str) {
    let responses = trace.spans.iter().filter(|span| span.name.starts_with("llm_call_")).count();
    (responses, &trace.state)
}

#[test]
fn a_file_store_gets_the_whole_trace_when_a_turn_ends() {
    let Some(oracle) = Oracle::newest() else { return };
    let beside = Beside::new();
    let uri = format!("file://{}", beside.stage.home.root().join("mlruns").display());
    let (launch, control) = beside.launch(&[("MLFLOW_TRACKING_URI", &uri)]);
    let read = || oracle.traces(uri.as_str());
    let wait_for_responses = |count: usize| {
        wait_for(
            "the turn in the file store",
            LIMIT,
            || matches!(&read()[..], [trace] if seen(trace) == (count, "OK")),
        );
    };
    beside.grow_to(0);
    launch.tracer();
    assert!(read().is_empty(), "in the first turn");
    beside.grow_to(1);
    wait_for_responses(2);
    beside.grow_to(2);
    assert_eq!(seen(&read()[0]), (2, "OK"), "in the second turn");
    beside.grow_to(3);
    wait_for_responses(3);
    beside.grow_to(4);
    assert_eq!([launch.end().stderr, control.end().stderr], ["", ""]);
    let [trace] = &read()[..] else { panic!("one trace") };
    assert_eq!(seen(trace), (5, "OK"));
    assert_eq!(trace.span("codex_cli_session").attributes["process.exit.code"], 7);
}

#[test]
fn databricks_gets_the_whole_trace_when_a_turn_ends() {
    let Some(oracle) = Oracle::newest() else { return };
    let (beside, databricks) = (Beside::new(), Databricks::start(Rules::default()));
    let robot = [("DATABRICKS_HOST", databricks.host()), ("DATABRICKS_TOKEN", TOKEN)];
    let target = [("MLFLOW_TRACKING_URI", "databricks"), ("MLFLOW_CODEX_TRACING_ENABLED", "true")];
    let (launch, control) = beside.launch(&[target, robot].concat());
    let id = beside.recording.trace().to_string();
    // An update that was cut off is sent again: it counts once.
    let uploads = || {
        let exchanges = databricks.exchanges();
        let puts = exchanges.iter().filter(|exchange| exchange.is_to_storage() && exchange.method == "PUT");
        puts.map(|exchange| &exchange.body).collect::<BTreeSet<_>>().len()
    };
    let text = || String::from_utf8(databricks.file(&id).unwrap_or_default()).expect("UTF-8");
    beside.grow_to(0);
    launch.tracer();
    assert_eq!((databricks.traces(), uploads()), (vec![], 0), "in the first turn");
    beside.grow_to(1);
    wait_for("the first turn", LIMIT, || text().contains("llm_call_2"));
    beside.grow_to(2);
    assert!(!text().contains("llm_call_3"), "in the second turn");
    beside.grow_to(3);
    wait_for("the second turn", LIMIT, || text().contains("llm_call_3"));
    assert_eq!(uploads(), 2, "one upload for each turn: {:#?}", databricks.story());
    beside.grow_to(4);
    assert_eq!([launch.end().stderr, control.end().stderr], ["", ""]);
    assert_eq!(databricks.traces(), std::slice::from_ref(&id));
    let answers = oracle.ask_store("databricks", &robot, &[support::Verb::Trace { trace: &id }]);
    let trace: Trace = serde_json::from_value(answers[0].clone()).expect("a trace");
    assert_eq!(seen(&trace), (5, "OK"));
    assert_eq!(trace.span("codex_cli_session").attributes["process.exit.code"], Value::from(7));
}

#[test]
fn an_old_server_has_nothing_before_the_end() {
    let (Some(oracle), Some(server)) = (Oracle::newest(), MlflowServer::of(MLFLOW_OLDEST_SERVER)) else {
        return;
    };
    let beside = Beside::new();
    let uri = server.uri();
    let target = [("MLFLOW_TRACKING_URI", uri.as_str()), ("MLFLOW_CODEX_TRACING_ENABLED", "true")];
    let (launch, control) = beside.launch(&target);
    (0..STEPS.len()).for_each(|step| beside.grow_to(step));
    launch.tracer();
    assert!(oracle.traces(&server).is_empty());
    assert_eq!([launch.end().stderr, control.end().stderr], ["", ""]);
    let trace = oracle.trace(&server);
    assert_eq!(seen(&trace), (5, "OK"));
    // On a busy machine the server may answer late, which is no refusal.
    let log = beside.stage.log();
    let refused =
        |line: &str| line.contains("not brought up to date") && !line.contains("in the time there was");
    assert!(!log.lines().any(refused), "{log}");
}
