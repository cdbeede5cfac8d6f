//! A prompt that Codex's daemon writes when the interface that sent it is gone already.

use crate::LAUNCHER;
use codex_traced::claim::launch_record::{Destination, Launch, LaunchRecord};
use codex_traced::codex::command_line::SessionRequest;
use codex_traced::codex::interface_log::Logged;
use jiff::Timestamp;
use launch::exit::ChildExit;
use launch::process::Process;
use mlflow_store::target::{Experiment, Target};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use support::run::LIMIT;
use support::{End, Home, Recorded, start, wait_for};

/// A session that Codex's daemon wrote for an interface.
const ORIGINAL: &str = "tests/corpus/0.169.0/daemon-inflight-3.jsonl";

const CLIENT_ID: &str = "\"client_id\":\"";

#[test]
fn the_finisher_waits_for_it() {
    let home = Home::new("http://127.0.0.1:9");
    let whole = fs::read_to_string(ORIGINAL).expect("a file of the corpus");
    let thread = Recorded::read(Path::new(ORIGINAL)).thread().to_owned();
    let (up_to_it, from_it_on) = whole.split_once(CLIENT_ID).expect("a prompt that an interface sent");
    let client_id = from_it_on.split('"').next().expect("its id").to_owned();
    let (before, late) = whole.split_at(up_to_it.rfind('\n').expect("lines") + 1);

    let target = Target::Sqlite(home.database());
    let destination = Destination { target, experiment: Experiment::Name("codex-sessions".into()) };
    let gone = Process { born: Some(1), ..Process::current() };
    let launch = Launch {
        logged: vec![Logged::Prompt { client_id }],
        exit: Some(ChildExit::Code(0)),
        ..Launch::new(gone, Timestamp::now(), destination, SessionRequest::default())
    };
    LaunchRecord::create(&home.state().join("launches"), &launch).expect("write its notes");
    let folder = home.sessions().join("2026/11/22");
    fs::create_dir_all(&folder).expect("make the folder of a day");
    let rollout = folder.join(format!("rollout-2026-11-22T10-08-00-{thread}.jsonl"));
    fs::write(&rollout, before).expect("write the session's beginning");

    let finisher = start(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "finish", &launch.id]));
    let begun = Instant::now();
    wait_for("a moment to pass", LIMIT, || begun.elapsed() > Duration::from_millis(500));
    let mut session = File::options().append(true).open(&rollout).expect("open the session");
    session.write_all(late.as_bytes()).expect("write its rest");
    finisher.finish(LIMIT).ended(End::Code(0));
    assert_eq!((home.launches().len(), home.claimed()), (0, vec![thread]));
    assert!(home.database().exists() && home.spooled().is_empty());
}
