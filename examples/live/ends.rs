//! How soon the prompt is back after Codex's end, and how soon stdout ends, where a tracer runs.

use crate::figures::{best, median, millis, worst};
use crate::processes;
use crate::stage::{Plan, Stage, load};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::run::LIMIT;
use support::{Terminal, wait_for};

/// A launch that has lived so long has a tracer.
const LIVES: Duration = Duration::from_millis(3500);

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos()
}

fn since(then: u128) -> f64 {
    millis(Duration::from_nanos(now().saturating_sub(then) as u64))
}

fn plan(lives: Duration) -> Plan {
    Plan { pause: Duration::from_millis(200), bursts: 7, lives, rests: None }
}

fn print(what: &str, mut times: Vec<f64>) {
    let (all, load) = (&mut times, load());
    let figures = [best(all), median(all), worst(all)];
    println!(
        "{what:<44} {:>3} {:>8.1} {:>8.1} {:>8.1} {load:>6}",
        all.len(),
        figures[0],
        figures[1],
        figures[2]
    );
}

fn head() {
    println!(
        "{:<44} {:>3} {:>8} {:>8} {:>8} {:>6}",
        "ms from Codex's end", "n", "best", "median", "worst", "load"
    );
}

pub(crate) fn prompt(runs: usize) {
    head();
    for (what, words) in [("exec", &["exec", "do it"][..]), ("full-screen", &[])] {
        for is_traced in [false, true] {
            let times = (0..runs).map(|_| until_prompt(words, is_traced)).collect();
            print(&format!("{what}, {}", if is_traced { "traced" } else { "plain" }), times);
        }
    }
}

fn until_prompt(words: &[&str], is_traced: bool) -> f64 {
    let stage = Stage::new(1, 1 << 20).with_lines();
    let lives = if is_traced { LIVES } else { Duration::from_millis(300) };
    let mut command = if is_traced { stage.traced(plan(lives)) } else { stage.plain(plan(lives)) };
    let terminal = Terminal::start(command.args(words));
    if is_traced {
        wait_for("a tracer", LIMIT, || processes::tracer(&stage.home).is_some());
    }
    // It stays to be waited for by the terminal.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(terminal.pid()), flags).expect("wait for a child");
    let took = since(stage.ended_at());
    terminal.finish();
    wait_for("the tracer to end", LIMIT, || stage.home.processes().is_empty());
    took
}

pub(crate) fn stdout(runs: usize) {
    head();
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port of 127.0.0.1");
    let refusing = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port of 127.0.0.1");
    let uri = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("its address"));
    let (hangs, refuses) = (uri(&silent), uri(&refusing));
    drop(refusing);
    let plain: Vec<_> = (0..runs).map(|_| until_closed(None).0).collect();
    print("stdout, plain", plain);
    for (what, uri) in
        [("SQLite", ""), ("a server that hangs", &*hangs), ("a server that refuses", &*refuses)]
    {
        let (closed, ended) = (0..runs).map(|_| until_closed(Some(uri))).unzip();
        print(&format!("stdout, {what}"), closed);
        print("  the launcher's end (CODEX_TRACED_WAIT=1)", ended);
    }
}

/// A job's stdout, and the launcher's end.
fn until_closed(uri: Option<&str>) -> (f64, f64) {
    let stage = Stage::new(1, 1 << 20).with_lines();
    let lives = if uri.is_some() { LIVES } else { Duration::from_millis(300) };
    let mut command = if uri.is_some() { stage.traced(plan(lives)) } else { stage.plain(plan(lives)) };
    command.args(["exec", "do it"]).env("CODEX_TRACED_WAIT", "1");
    if let Some(uri) = uri.filter(|uri| !uri.is_empty()) {
        command.env("MLFLOW_TRACKING_URI", uri).env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the launcher");
    let mut all = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut all).expect("read stdout");
    let closed = now();
    child.wait().expect("wait for a child");
    let (ended, at) = (now(), stage.ended_at());
    stage.end_all();
    let after = |time: u128| millis(Duration::from_nanos(time.saturating_sub(at) as u64));
    (after(closed), after(ended))
}
