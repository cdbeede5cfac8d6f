//! `watch` traces other sessions while they go on, each time one of their turns ends.

use crate::LAUNCHER;
use codex_session::thread::ThreadId;
use codex_traced::trace::ids::trace_of_thread;
use mlflow_store::sqlite;
use mlflow_store::trace::{SpanType, Trace, TraceState};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use support::many::copy;
use support::run::LIMIT;
use support::tmux::Tmux;
use support::{
    Codex, End, Gate, Home, ModelServer, Oracle, Reply, Running, Script, assert_facts, codex, run, start,
    wait_for,
};

/// No session here asks a model for anything.
const NO_MODEL: &str = "http://127.0.0.1:9";

fn ours(home: &Home) -> Command {
    let mut command = home.command(LAUNCHER);
    command.env("USER", "tester").args(["mlflow", "watch"]);
    command
}

/// A watch that is at work.
#[track_caller]
fn watch(home: &Home) -> Running {
    let running = start(&mut ours(home));
    wait_for("the watch to begin", LIMIT, || running.stdout().contains("watching "));
    running
}

#[track_caller]
fn end(watch: Running) -> String {
    watch.signal(Signal::SIGINT);
    let outcome = watch.finish(LIMIT);
    assert_eq!((outcome.end, outcome.stderr.as_str()), (End::Signal(Signal::SIGINT as i32), ""));
    outcome.stdout
}

fn stored(home: &Home, thread: &str) -> Option<Trace> {
    sqlite::read(&home.database(), trace_of_thread(thread)).ok().flatten()
}

fn turns(home: &Home, thread: &str) -> Option<u64> {
    stored(home, thread)?.spans[0].attributes["codex.turns"].as_u64()
}

/// With a model that Codex has no newer one to praise for: that would be a question before the first prompt.
fn home(server: &ModelServer) -> Home {
    let home = Home::new(&server.url());
    home.face("gpt-6.1-sol", &server.url());
    home
}

fn answers() -> Script {
    Script::new()
        .reply_to("Generate a concise", Reply::new().answer("a title"))
        .reply_to("second prompt", Reply::new().answer("second answer").usage(200, 0, 2, 0))
        .reply_to("first prompt", Reply::new().answer("first answer").usage(100, 0, 1, 0))
}

/// bash in tmux, with the launcher at hand as `$T` and plain codex as `$P`.
fn shell<'a>(home: &'a Home, codex: &Codex) -> Tmux<'a> {
    let native = codex.native.to_str().expect("UTF-8");
    Tmux::start(
        home,
        &[("CODEX_TRACED_CODEX_BIN", native), ("USER", "tester"), ("T", LAUNCHER), ("P", native)],
    )
}

#[test]
fn a_plain_codex_is_traced_when_its_turn_ends_and_while_it_is_open() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(answers());
    let home = home(&server);
    let watch = watch(&home);
    let shell = shell(&home, &codex);
    shell.type_line("$P 'first prompt'; echo ended $?");
    shell.wait_for("first answer");
    wait_for("the first turn's trace", LIMIT, || watch.stdout().matches("tr-").count() == 1);
    let facts = |facts: &str| assert_facts(&oracle.trace(&home.database()), facts);
    facts(r#"trace OK request="first prompt" response="first answer" in=100 out=1"#);
    shell.submit("second prompt", "second answer");
    wait_for("the second turn's trace", LIMIT, || watch.stdout().matches("tr-").count() == 2);
    assert!(!shell.screen().contains("ended"), "codex is open");
    facts(
        r#"
        trace OK request="first prompt" response="second answer" in=300 out=3
        codex_cli_session AGENT OK codex.attribution=import codex.turns=2
          turn_1 AGENT OK outputs.response="first answer"
            llm_call_1 LLM OK in=100 out=1
          turn_2 AGENT OK outputs.response="second answer"
            llm_call_2 LLM OK in=200 out=2
        "#,
    );
    let said = end(watch);
    let id = oracle.trace(&home.database()).trace_id;
    let lines: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(lines, [format!("{id}  first prompt"), format!("{id}  first prompt")]);
    shell.submit("/quit", "ended 0");
}

#[test]
fn while_a_turn_runs_its_trace_is_in_progress() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let call = Reply::new().call("exec_command", json!({"cmd": "echo hi"}));
    let script = Script::new().reply(call).reply(Reply::new().answer("done").stall_at_start(&gate));
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    let watch = watch(&home);
    let plain = start(home.command(&codex.native).args(["exec", "first prompt"]));
    gate.wait_until_reached(LIMIT);
    let trace = || {
        let thread = ThreadId::from_rollout_name(home.rollouts().first()?)?;
        stored(&home, thread.as_str())
    };
    let shown = || {
        let trace = trace()?;
        let calls = trace.spans.iter().filter(|span| span.span_type == SpanType::Tool).count();
        Some((trace.state, calls, trace.request_preview?))
    };
    let wanted = |state, calls| Some((state, calls, "first prompt".to_owned()));
    wait_for("the turn that runs", LIMIT, || shown() == wanted(TraceState::InProgress, 1));
    assert_eq!(watch.stdout().matches("tr-").count(), 0, "no turn has ended");
    gate.open();
    plain.finish(LIMIT).ended(End::Code(0));
    wait_for("the turn's end", LIMIT, || watch.stdout().matches("tr-").count() == 1);
    assert_eq!(shown(), wanted(TraceState::Ok, 1));
    end(watch);
}

#[test]
fn a_session_of_a_launch_is_left_to_it() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(answers());
    let home = home(&server);
    let watch = watch(&home);
    let shell = shell(&home, &codex);
    shell.type_line("$T --no-daemon 'first prompt'; echo ended $?");
    shell.wait_for("first answer");
    let log = home.state().join("codex_tracing.log");
    wait_for("the watch to look at it", LIMIT, || {
        fs::read_to_string(&log).unwrap_or_default().contains("the launch that claims thread")
    });
    shell.submit("/quit", "ended 0");
    home.wait_until_delivered();
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace OK request="first prompt" response="first answer"
        codex_cli_session AGENT OK codex.attribution=tui_log process.exit.code=0
          llm_call_1 LLM OK in=100 out=1
        "#,
    );
    assert_eq!(end(watch).matches("tr-").count(), 0);
}

/// The lines of a session, each turn's end and all before it apart.
fn pieces(path: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a session file");
    let is_end = |line: &str| line.contains(r#""type":"task_complete""#);
    let mut pieces = vec![String::new()];
    for line in text.split_inclusive('\n') {
        pieces.last_mut().expect("there is one").push_str(line);
        if is_end(line) {
            pieces.push(String::new());
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[test]
fn each_turn_of_a_file_that_grows_is_one_update_and_old_files_are_left_alone() {
    let home = Home::new(NO_MODEL);
    let original = PathBuf::from("tests/corpus/0.169.0/exec-json-resume-1.jsonl");
    let old = copy(&original, &home.sessions(), 1);
    let grows = copy(&original, &home.sessions(), 2);
    let pieces = pieces(&grows.path);
    assert_eq!(pieces.len(), 4, "its turns");
    // In a folder of a day that begins while we watch.
    let path = home.sessions().join("2026/12/01").join(grows.path.file_name().expect("a name"));
    fs::remove_file(&grows.path).expect("remove the copy");
    let watch = watch(&home);
    fs::create_dir_all(path.parent().expect("a folder")).expect("make the day's folder");
    for (number, piece) in (1..).zip(&pieces) {
        let (begun, rest) = piece.split_at(piece.len() / 2);
        for part in [begun, rest] {
            let mut file = File::options().append(true).create(true).open(&path).expect("open the file");
            file.write_all(part.as_bytes()).expect("let it grow");
        }
        wait_for("the turn's trace", LIMIT, || turns(&home, &grows.thread) == Some(number));
        wait_for("its line", LIMIT, || watch.stdout().lines().count() as u64 == 1 + number);
    }
    assert_eq!(stored(&home, &old.thread), None);
    end(watch);
}

#[test]
fn there_is_one_watch_for_a_home_and_none_while_tracing_is_off() {
    let home = Home::new(NO_MODEL);
    let first = watch(&home);
    let second = run(&mut ours(&home)).ended(End::Code(1));
    assert!(second.stderr.contains("another watch is at work"), "{}", second.stderr);
    end(first);
    end(watch(&home));
    let off = run(ours(&home).env("MLFLOW_CODEX_TRACING_ENABLED", "false")).ended(End::Code(1));
    assert!(off.stderr.contains("tracing is switched off"), "{}", off.stderr);
}

#[test]
fn what_cannot_be_delivered_is_reported_and_kept() {
    let home = Home::new(NO_MODEL);
    let blocked = home.work().join("file");
    fs::write(&blocked, "").expect("write a file");
    let running =
        start(ours(&home).env("MLFLOW_TRACKING_URI", format!("sqlite:///{}/x.db", blocked.display())));
    wait_for("the watch to begin", LIMIT, || running.stdout().contains("watching "));
    copy(&PathBuf::from("tests/corpus/0.169.0/exec-basic.jsonl"), &home.sessions(), 1);
    wait_for("the failure", LIMIT, || running.stderr().contains("trace kept on disk (1 waiting)"));
    running.signal(Signal::SIGINT);
    running.finish(LIMIT).ended(End::Signal(Signal::SIGINT as i32));
}
