//! From the terminal to MLflow's page of a trace.

use crate::LAUNCHER;
use codex_traced::queue::receipts::{Receipts, StoredReceipt};
use codex_traced::queue::spool::entry::Rank;
use codex_traced::trace::ids::trace_of_thread;
use jiff::Timestamp;
use mlflow_store::ids::TraceId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::Target;
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::many::{Copied, copy};
use support::real::MLFLOW_VERSION;
use support::run::LIMIT;
use support::{End, Home, mlflow, run, start, wait_for, write_program};

/// No session here asks a model for anything.
const NO_MODEL: &str = "http://127.0.0.1:9";

fn ours(home: &Home, words: &[&str]) -> Command {
    let mut command = home.command(LAUNCHER);
    command.arg("mlflow").args(words);
    command
}

/// One session in the local database.
fn imported(home: &Home) -> Copied {
    let copied = copy(Path::new("tests/corpus/0.169.0/exec-basic.jsonl"), &home.sessions(), 1);
    run(&mut ours(home, &["import", "--all"])).ended(End::Code(0));
    copied
}

/// A browser that writes down what it is to show.
fn browser(home: &Home) -> (PathBuf, PathBuf) {
    let (program, shown) = (home.work().join("browser"), home.work().join("shown"));
    let text = format!("#!/bin/sh\necho \"$1\" > '{0}.new' && mv '{0}.new' '{0}'\n", shown.display());
    write_program(&program, text);
    (program, shown)
}

#[test]
fn a_trace_on_a_server_is_opened_where_it_is() {
    let home = Home::new(NO_MODEL);
    let trace = TraceId([7; 16]);
    let target = Target::Http("http://ada:secret@127.0.0.1:5000".into());
    let receipt = Receipt::from_spans(target, "3".into(), Timestamp::UNIX_EPOCH, &[]);
    let kept = StoredReceipt { receipt, rank: Rank { ended_at: Timestamp::UNIX_EPOCH, spans: 1 }, bytes: 1 };
    Receipts::new(home.state().join("receipts")).keep(trace, kept).expect("write a receipt");
    let page = format!("http://127.0.0.1:5000/#/experiments/3/traces?selectedEvaluationId={trace}\n");

    let (program, shown) = browser(&home);
    let ui = |words: &[&str]| {
        let mut command = ours(&home, &[&["ui"], words].concat());
        command.env("BROWSER", &program);
        run(&mut command).ended(End::Code(0))
    };
    let id = trace.to_string();
    assert_eq!(ui(&[&id, "--print"]).stdout, page);
    assert!(!shown.exists());
    // By its session's id, too.
    assert_eq!(ui(&["07070707-0707-0707-0707-070707070707"]).stdout, page);
    wait_for("the browser", LIMIT, || shown.exists());
    assert_eq!(fs::read_to_string(&shown).expect("what it shows"), page);
    let without = run(&mut ours(&home, &["ui", &id])).ended(End::Code(0));
    assert_eq!(without.stdout, page, "no browser, no desktop");
}

#[test]
fn a_local_database_is_served_until_the_user_ends_it() {
    let Some(python) = mlflow(MLFLOW_VERSION) else { return };
    let home = Home::new(NO_MODEL);
    let copied = imported(&home);
    let (program, shown) = browser(&home);
    let tools = python.parent().expect("a folder of programs");
    let path =
        std::env::join_paths([tools, Path::new("/usr/bin"), Path::new("/bin")]).expect("no colon in it");
    let running = start(ours(&home, &["ui"]).env("PATH", path).env("BROWSER", &program));
    wait_for("the browser", Duration::from_secs(300), || shown.exists());
    let page = fs::read_to_string(&shown).expect("what it shows");
    let id = trace_of_thread(&copied.thread).to_string();
    assert!(page.ends_with(&format!("/traces?selectedEvaluationId={id}\n")), "{page}");
    wait_for("the page's address", LIMIT, || running.stdout().contains(&page));
    let host = page.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("an address");
    let mut server = TcpStream::connect(host).expect("the server that was told of");
    write!(server, "GET /api/3.0/mlflow/traces/{id} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("ask it");
    let mut answer = String::new();
    server.read_to_string(&mut answer).expect("its answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&id), "{answer}");

    running.signal(Signal::SIGINT);
    running.finish(LIMIT).ended(End::Signal(Signal::SIGINT as i32));
    assert_eq!(home.processes(), [], "of the server and its workers");
}

#[test]
fn without_mlflow_the_command_that_serves_is_printed() {
    let home = Home::new(NO_MODEL);
    imported(&home);
    let uri = format!("sqlite:///{}", home.database().display());
    let command = format!("mlflow server --backend-store-uri {uri} --host 127.0.0.1 --port 5000");
    let refused = run(ours(&home, &["ui"]).env("PATH", "/nowhere")).ended(End::Code(1));
    assert!(refused.stderr.contains(&command), "{}", refused.stderr);
    let printed = run(&mut ours(&home, &["ui", "--print"])).ended(End::Code(0));
    let lines: Vec<&str> = printed.stdout.lines().collect();
    assert_eq!(lines[0], command);
    assert!(lines[1].starts_with("http://127.0.0.1:5000/#/experiments/1/traces?selected"), "{}", lines[1]);
}

#[test]
fn a_trace_that_is_not_delivered_yet_leads_to_its_future_page() {
    let home = Home::new(NO_MODEL);
    let mut command = ours(&home, &["ui", "--print", "tr-07070707070707070707070707070707"]);
    command.env("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000").env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    let outcome = run(&mut command).ended(End::Code(0));
    assert_eq!(outcome.stdout, "http://127.0.0.1:5000\n");
    assert!(outcome.stderr.contains("is not in http://127.0.0.1:5000 yet"), "{}", outcome.stderr);
    let nonsense = run(&mut ours(&home, &["ui", "nonsense"])).ended(End::Code(1));
    assert!(nonsense.stderr.contains("nonsense is neither a trace id"), "{}", nonsense.stderr);
}
