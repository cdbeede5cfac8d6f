//! The tracer and the launcher are killed while a launch is followed live: the trace is there once and right in the
//! end, and Codex does not notice.

use crate::live_stage::{Exit, Launched, Recording, Stage, assert_same, untroubled};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use support::run::LIMIT;
use support::{End, Oracle, each_in_parallel, kill_all, wait_for};

const SESSION: &str = "0.169.0/exec-json-resume-1.jsonl";

/// Lines of the session: a call, its result, the ends of turns, the middle of the last one, all.
const STEPS: [usize; 7] = [14, 17, 23, 33, 43, 51, 57];

/// How many kills: a few for every run of the tests, as many as asked for in the long proofs.
fn rounds(a_few: usize) -> usize {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(a_few)
}

/// In every run of the tests.
const FEW: usize = 8;

/// Who is killed with kill -9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Tracer,
    Launcher,
    /// Codex goes on without them.
    Both,
    /// As in a power cut, Codex too.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The tracer begins.
    Begun,
    /// So many steps are written, and the tracer is about to read the last one.
    Written(usize),
    /// So many steps are in the store.
    Stored(usize),
    /// Codex is asked to end.
    Ending,
}

#[derive(Clone, Copy, Debug)]
struct Kill {
    who: Killed,
    moment: Moment,
    /// So much later; spreads the kills of a long proof over the tracer's work. No result depends on it.
    after: Duration,
    /// A user has the prompt back at once; a job waits.
    is_job: bool,
}

impl Kill {
    fn of_round(round: usize) -> Kill {
        let who = [Killed::Tracer, Killed::Launcher, Killed::Both, Killed::All][round % 4];
        let turn = round / 4;
        let moment = match turn % 7 {
            0 => Moment::Written(2 + turn % 5),
            1 => Moment::Ending,
            2 => Moment::Stored(1 + turn % 6),
            3 => Moment::Begun,
            4 => Moment::Ending,
            5 => Moment::Written(STEPS.len()),
            _ => Moment::Stored(STEPS.len()),
        };
        let longest = if moment == Moment::Ending { 200 } else { 1_200 };
        let after = if round < FEW { 0 } else { (round * 389) % longest };
        Kill { who, moment, after: Duration::from_millis(after as u64), is_job: !round.is_multiple_of(3) }
    }
}

/// What untroubled launches of the session's first lines leave.
struct Expected<'o> {
    oracle: &'o Oracle,
    known: Mutex<BTreeMap<(usize, bool), Value>>,
}

impl Expected<'_> {
    fn of(&self, recording: &Recording, lines: usize, exit: Exit) -> Value {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = recording.name();
        let make = || untroubled(self.oracle, &recording.thread, &[(&name, &recording.lines[..lines])], exit);
        known.entry((lines, exit == Exit::Known)).or_insert_with(make).clone()
    }
}

fn kill_now(who: Killed, launch: &Launched) {
    let tracers = launch.tracers();
    match who {
        Killed::Tracer => {}
        Killed::Launcher | Killed::Both => launch.kill_launcher(),
        Killed::All => launch.kill_all(),
    }
    if matches!(who, Killed::Tracer | Killed::Both) {
        kill_all(tracers);
    }
}

fn check(row: Kill, expected: &Expected) {
    let Kill { who, moment, after, is_job } = row;
    let name = format!("{row:?}");
    let (recording, stage) = (Recording::new(SESSION, 1), Stage::new());
    let mut launch =
        stage.launch(&recording.thread, &[("CODEX_TRACED_WAIT", if is_job { "100" } else { "0" })]);
    let mut written = 0;
    let mut write = |lines: usize| {
        stage.write(&recording.name(), &recording.lines[written..lines]);
        written = lines;
    };
    write(STEPS[0]);
    launch.tracer();
    let steps = match moment {
        Moment::Begun => 1,
        Moment::Written(steps) | Moment::Stored(steps) => steps,
        Moment::Ending => STEPS.len(),
    };
    STEPS[1..steps].iter().for_each(|lines| write(*lines));
    match moment {
        Moment::Stored(steps) => {
            let session = &recording.lines[..STEPS[steps - 1]];
            let calls = session.iter().filter(|line| line.contains("token_usage_record")).count();
            stage.wait_until_stored(recording.trace(), calls);
        }
        Moment::Ending => launch.close_input(),
        Moment::Begun | Moment::Written(_) => {}
    }
    // There is no event between two moments: the long proof spreads its kills over that time. Zero in ordinary runs, and no
    // result depends on it.
    std::thread::sleep(after);
    kill_now(who, &launch);
    let (mut lines, mut exit) = (STEPS[steps - 1], Exit::Unknown);
    if who != Killed::All {
        lines = STEPS[STEPS.len() - 1];
        STEPS[steps..].iter().for_each(|lines| write(*lines));
    }
    let outcome = launch.finish();
    if who == Killed::Tracer {
        exit = Exit::Known;
        assert_eq!((outcome.end, outcome.stderr.as_str()), (End::Code(7), ""), "{name}");
    } else if moment != Moment::Ending {
        assert_eq!(outcome.end, End::Signal(9), "{name}");
    }
    let printed = format!("holds {}\ndone\n", recording.thread);
    assert!(
        outcome.stdout == printed || (who == Killed::All && printed.starts_with(&outcome.stdout)),
        "{name}"
    );
    match who {
        // No other launch is needed.
        Killed::Launcher => stage.home.wait_until_delivered(),
        Killed::Tracer if is_job => {}
        Killed::Tracer | Killed::Both | Killed::All => stage.put_right(&[]),
    }
    let untroubled = expected.of(&recording, lines, exit);
    let store = stage.home.database();
    assert_same(expected.oracle, &store, &stage, &recording.thread, (&untroubled, exit), &name);
    assert!(!stage.log().contains("panic"), "{name}: {}", stage.log());
    println!("{name}");
}

/// With `ROUNDS=56` each of the four is killed at 14 moments.
#[test]
fn the_trace_is_right_and_there_once_when_launcher_tracer_or_all_are_killed() {
    let Some(oracle) = Oracle::newest() else { return };
    let expected = Expected { oracle: &oracle, known: Mutex::default() };
    each_in_parallel((0..rounds(FEW)).collect(), |round| check(Kill::of_round(round), &expected));
}

/// Takes half a minute, so only the long proofs do it.
#[test]
fn a_tracer_that_was_killed_is_followed_by_another_while_codex_works() {
    let Some(oracle) = Oracle::newest() else { return };
    if rounds(0) == 0 {
        println!("only with ROUNDS");
        return;
    }
    let (recording, stage) = (Recording::new(SESSION, 1), Stage::new());
    let launch = stage.launch(&recording.thread, &[]);
    stage.write(&recording.name(), &recording.lines[..STEPS[2]]);
    let first = launch.tracer();
    launch.kill_tracer();
    wait_for("another tracer", LIMIT, || launch.tracers().iter().any(|id| *id != first));
    stage.write(&recording.name(), &recording.lines[STEPS[2]..]);
    stage.wait_until_stored(recording.trace(), 5);
    assert_eq!(launch.end().stderr, "");
    let expected =
        untroubled(&oracle, &recording.thread, &[(&recording.name(), &recording.lines)], Exit::Known);
    let store = stage.home.database();
    assert_same(&oracle, &store, &stage, &recording.thread, (&expected, Exit::Known), "another tracer");
}

/// As a prompt whose session Codex's daemon writes, and which the launcher has not read any more.
#[test]
fn what_the_interface_logged_when_its_launcher_was_killed_is_traced_at_codexs_end() {
    let Some(oracle) = Oracle::newest() else { return };
    let stage = Stage::new();
    let (held, logged) = (Recording::new(SESSION, 1), Recording::new("0.169.0/tui-daemon.jsonl", 2));
    let launch = stage.launch_as(&mut stage.traced(&["do it"]), &held.thread);
    stage.write(&held.name(), &held.lines);
    launch.tracer();
    launch.kill_launcher();
    let launches = stage.home.launches();
    let id = launches.iter().find_map(|name| name.strip_suffix(".jsonl")).expect("a launch record");
    let line: Value = logged
        .lines
        .iter()
        .find(|line| line.contains("\"client_id\""))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .expect("a prompt");
    let client_id = line["payload"]["item"]["client_id"].as_str().expect("an id");
    let op = json!({"UserTurn": {"client_user_message_id": client_id}});
    let line = json!({"ts": Timestamp::now(), "dir": "from_tui", "kind": "op", "payload": op});
    let log = stage.home.state().join("launches").join(format!("{id}.tui-log"));
    fs::write(&log, format!("{line}\n")).expect("write the interface's log");
    stage.write(&logged.name(), &logged.lines);
    assert_eq!(launch.finish().end, End::Signal(9));
    stage.home.wait_until_delivered();
    let traces = oracle.traces(&stage.home.database());
    let ids: BTreeSet<String> = traces.into_iter().map(|trace| trace.trace_id).collect();
    assert_eq!(ids, [held.trace(), logged.trace()].map(|id| id.to_string()).into());
    assert!(!log.exists(), "it has prompts in clear");
}
