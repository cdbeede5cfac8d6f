//! Sessions whose writer no observer saw: launches that died before they learned it, and files in other places.

use super::{claimed, evidence, thread_of, traced};
use crate::LAUNCHER;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use support::run::LIMIT;
use support::{Codex, End, Gate, Home, ModelServer, Reply, Script, codex, older_codex, run, start};

/// A launch that is killed when it has noted its child and no claim, and Codex's own end after that. Its notes are
/// put back as they were at that moment, for such a moment lasts some milliseconds.
fn killed_early(home: &Home, codex: &Codex, gate: &Gate, words: &[&str]) -> String {
    let mut command = home.traced(LAUNCHER, &codex.native);
    // A tracer would finish the launch by itself.
    command.env("CODEX_TRACED_LIVE", "off");
    let launch = start(command.args(["exec", "--json"]).args(words));
    gate.wait_until_reached(LIMIT);
    launch.signal(Signal::SIGKILL);
    gate.open();
    let outcome = launch.finish(LIMIT).ended(End::Signal(9));
    home.wait_until_ended();
    let folder = home.state().join("launches");
    for entry in fs::read_dir(&folder).expect("read").flatten() {
        let notes = fs::read_to_string(entry.path()).expect("read the notes");
        let early: Vec<&str> = notes.lines().filter(|line| !line.starts_with("{\"claim\"")).collect();
        fs::write(entry.path(), early.join("\n") + "\n").expect("write the notes");
    }
    thread_of(&outcome)
}

fn sync(home: &Home) {
    run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "sync"])).ended(End::Code(0));
}

fn status(home: &Home) -> Value {
    let outcome = run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "status", "--json"]));
    serde_json::from_str(&outcome.ended(End::Code(0)).stdout).expect("status prints JSON")
}

/// Left out, visibly, where a mount of its own is not permitted. Codex from 0.130 on does not run without `/proc`.
#[test]
fn without_proc_the_only_session_of_a_launch_is_its_own_and_two_are_in_status() {
    let Some(codex) = older_codex("0.98.0") else { return };
    let hidden = "mount -t tmpfs none /proc && exec \"$@\"";
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "sh", "-c", hidden, "sh", "true"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "left out: without_proc… needs a mount of its own");
        return;
    }
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("one")));
    let home = Home::new(&server.url());
    let launch = |words: &[&str]| {
        let mut command = home.traced("unshare", &codex.native);
        command.args(["--mount", "sh", "-c", hidden, "sh", LAUNCHER, "exec", "--json"]).args(words);
        command
    };
    let only = thread_of(&run(&mut launch(&["alone"])).ended(End::Code(0)));
    assert_eq!(
        (traced(&home), evidence(&home, &only)),
        (BTreeSet::from([only.clone()]), vec!["only".to_owned()])
    );

    let gate = Gate::new();
    server.play(Script::new().reply_to("beside", Reply::new().answer("two").stall_at_start(&gate)));
    server.play(Script::new().reply(Reply::new().answer("three")));
    let running = start(&mut launch(&["beside another"]));
    gate.wait_until_reached(LIMIT);
    let other =
        thread_of(&run(home.command(&codex.native).args(["exec", "--json", "another"])).ended(End::Code(0)));
    gate.open();
    let ours = thread_of(&running.finish(LIMIT).ended(End::Code(0)));
    assert_eq!(traced(&home), BTreeSet::from([only]), "nothing is guessed");
    let told = status(&home)["unclaimed"].clone();
    let told: BTreeSet<&str> =
        told.as_array().expect("a list").iter().filter_map(|one| one["thread_id"].as_str()).collect();
    assert_eq!(told, BTreeSet::from([ours.as_str(), other.as_str()]));
}

#[test]
fn the_only_session_of_a_launch_that_died_is_its_own_and_one_of_two_is_unclaimed() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("one").stall_at_start(&gate)));
    let home = Home::new(&server.url());
    let only = killed_early(&home, &codex, &gate, &["alone"]);
    sync(&home);
    assert_eq!(
        (traced(&home), evidence(&home, &only)),
        (BTreeSet::from([only.clone()]), vec!["only".to_owned()])
    );

    let gate = Gate::new();
    server.play(Script::new().reply(Reply::new().answer("two").stall_at_start(&gate)));
    let ours = killed_early(&home, &codex, &gate, &["beside another"]);
    let other =
        thread_of(&run(home.command(&codex.native).args(["exec", "--json", "another"])).ended(End::Code(0)));
    sync(&home);
    assert_eq!(claimed(&home), BTreeSet::from([only.clone()]), "nothing is guessed");
    assert_eq!(home.launches(), [""; 0], "and nothing waits");
    let told = status(&home)["unclaimed"].clone();
    let threads: BTreeSet<&str> =
        told.as_array().expect("a list").iter().filter_map(|one| one["thread_id"].as_str()).collect();
    assert_eq!(threads, BTreeSet::from([ours.as_str(), other.as_str()]));
    let why = "nobody saw who wrote it, and 2 sessions may be this launch's";
    assert_eq!(told[0]["reason"], why);
    let log = fs::read_to_string(home.state().join("codex_tracing.log")).expect("the log");
    assert!(log.contains(&format!("thread {ours} is left unclaimed")) && log.contains(why), "{log}");

    run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "import", &ours])).ended(End::Code(0));
    assert_eq!(status(&home)["unclaimed"].as_array().expect("a list").len(), 1);
}

#[test]
fn a_thread_that_the_command_line_named_is_claimed_among_several() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let older =
        thread_of(&run(home.command(&codex.native).args(["exec", "--json", "older"])).ended(End::Code(0)));
    let gate = Gate::new();
    server.play(Script::new().reply(Reply::new().answer("more").stall_at_start(&gate)));
    assert_eq!(killed_early(&home, &codex, &gate, &["resume", &older, "go on"]), older);
    run(home.command(&codex.native).args(["exec", "another"])).ended(End::Code(0));
    sync(&home);
    assert_eq!(
        (traced(&home), evidence(&home, &older)),
        (BTreeSet::from([older.clone()]), vec!["named".to_owned()])
    );
}

#[test]
fn a_home_behind_a_link_is_the_home() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let link = home.root().join("link");
    std::os::unix::fs::symlink(home.codex(), &link).expect("link");
    let mut command = home.traced(LAUNCHER, &codex.native);
    let outcome = run(command.env("CODEX_HOME", &link).args(["exec", "--json", "go"])).ended(End::Code(0));
    assert_eq!(traced(&home), BTreeSet::from([thread_of(&outcome)]));
}

#[test]
fn in_a_copied_home_a_session_goes_on_in_the_first_one_and_is_traced_there() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let (first, copy) = (Home::new(&server.url()), Home::new(&server.url()));
    let thread =
        thread_of(&run(first.command(&codex.native).args(["exec", "--json", "go"])).ended(End::Code(0)));
    run(copy.command("cp").arg("-a").arg(first.codex().join(".")).arg(copy.codex())).ended(End::Code(0));
    let copied = fs::read(copy.rollout()).expect("read");
    let mut command = copy.traced(LAUNCHER, &codex.native);
    run(command.args(["exec", "--json", "resume", &thread, "go on"])).ended(End::Code(0));
    // Codex's index holds absolute paths.
    assert_eq!(fs::read(copy.rollout()).expect("read"), copied, "the copy is as it was");
    assert!(fs::read_to_string(first.rollout()).expect("read").contains("go on"));
    assert_eq!(traced(&copy), BTreeSet::from([thread]));
    let connection = rusqlite::Connection::open(copy.database()).expect("open");
    let query = "SELECT value FROM trace_request_metadata WHERE key = 'session_file'";
    let file: String = connection.query_row(query, [], |row| row.get(0)).expect("the trace names its file");
    assert_eq!(Path::new(&file), first.rollout());
}

#[test]
fn archived_and_compressed_sessions_are_the_same_sessions() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("one").stall_at_start(&gate)));
    let home = Home::new(&server.url());
    let thread = killed_early(&home, &codex, &gate, &["go"]);
    run(home.command(&codex.native).args(["archive", &thread])).ended(End::Code(0));
    assert_eq!(home.rollouts().len(), 0, "it lies in archived_sessions");
    sync(&home);
    assert_eq!(traced(&home), BTreeSet::from([thread]));
}
