//! Memory of the tracer beside that of the session, and bytes written for each update, as the session grows.

use crate::processes::{self, Process};
use crate::stage::{Plan, Stage, load};
use codex_session::session::Tail;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Front, Terminal, wait_for};

/// In megabytes.
pub(crate) const SIZES: [usize; 5] = [1, 3, 10, 30, 100];

const PATIENCE: Duration = Duration::from_secs(300);

/// How many updates are measured after the first one, and for how long at most.
const UPDATES: u64 = 20;
const WATCHED: Duration = Duration::from_secs(150);

/// Holds the session of a file as the tracer does, and prints its memory.
pub(crate) fn hold(file: &Path) {
    let mut tail = Tail::new(file);
    tail.read().expect("read the session");
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a figure of the kernel");
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    println!("{} {}", figure("VmRSS:"), figure("RssAnon:"));
    drop(tail);
}

/// What the target got so far.
enum Target {
    Sqlite { database: Connection, version: i64, commits: u64 },
    Server { front: Front, bytes: Arc<AtomicU64>, requests: Arc<AtomicUsize> },
}

impl Target {
    /// Updates so far: commits of others, or requests with spans.
    fn updates(&mut self) -> u64 {
        match self {
            Target::Sqlite { database, version, commits } => {
                let now = database.query_row("PRAGMA data_version", [], |row| row.get(0)).unwrap_or(*version);
                *commits += u64::from(now != *version);
                *version = now;
                *commits
            }
            Target::Server { requests, .. } => requests.load(Ordering::Relaxed) as u64,
        }
    }

    fn bytes(&self, tracer: &Process) -> u64 {
        match self {
            Target::Sqlite { .. } => tracer.written(),
            Target::Server { bytes, .. } => bytes.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn measure(target: &str, sizes: &[usize]) {
    println!(
        "{:>5} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>7} {:>12} {:>10} {:>6} {:>5}",
        "MB",
        "first s",
        "hold anon",
        "anon",
        "above",
        "RSS",
        "PSS",
        "peak",
        "database",
        "updates",
        "bytes/update",
        "lines/upd",
        "CPU %",
        "load"
    );
    for megabytes in sizes {
        grow(target, *megabytes);
    }
}

fn grow(target: &str, megabytes: usize) {
    let stage = Stage::new(1, megabytes << 20).with_lines();
    let held = held(&stage.file());
    let load = load();
    // Every second a call with all its lines.
    let plan = Plan { pause: Duration::from_secs(1), bursts: 7, lives: PATIENCE * 3, rests: None };
    let mut command = stage.traced(plan);
    let front = (target == "server").then(counting_server);
    if let Some((front, ..)) = &front {
        command.env("MLFLOW_TRACKING_URI", front.uri()).env("MLFLOW_CODEX_TRACING_ENABLED", "true");
    }
    let began = Instant::now();
    let terminal = Terminal::start(&command);
    let database = stage.home.database();
    let mut target = match front {
        Some((front, bytes, requests)) => Target::Server { front, bytes, requests },
        None => {
            let open = || Connection::open_with_flags(&database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
            wait_for("the database", PATIENCE, || database.exists() && has_trace(&database));
            Target::Sqlite { database: open().expect("open the database"), version: 0, commits: 0 }
        }
    };
    wait_for("the first update", PATIENCE, || target.updates() > 0);
    let first = began.elapsed().as_secs_f64();
    let tracer = processes::tracer(&stage.home).expect("a tracer");
    // The first may be many requests; what it needed is over when the next ones come one by one.
    await_a_pause(&mut target);
    let from = target.updates() + 2;
    wait_for("the second update", PATIENCE, || target.updates() >= from);
    await_a_pause(&mut target);
    let (updates, bytes, cpu, from) = (target.updates(), target.bytes(&tracer), tracer.cpu(), Instant::now());
    while target.updates() < updates + UPDATES && from.elapsed() < WATCHED {
        sleep(Duration::from_millis(2));
        if let Target::Server { front, .. } = &target {
            front.forget();
        }
    }
    let (seconds, count) = (from.elapsed().as_secs_f64(), (target.updates() - updates).max(1));
    let bytes = (target.bytes(&tracer) - bytes) / count;
    let cpu = (tracer.cpu() - cpu) / seconds * 100.0;
    // What the last update needed is free again.
    sleep(Duration::from_millis(300));
    let size = fs::metadata(&database).map_or(0, |file| file.len() >> 20);
    println!(
        "{megabytes:>5} {first:>8.1} {held:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {size:>9} {count:>7} {bytes:>12} {:>10.1} {cpu:>6.1} {load:>5}",
        tracer.anonymous(),
        tracer.anonymous() as i64 - held as i64,
        tracer.rss(),
        tracer.pss(),
        tracer.peak(),
        seconds * 7.0 / count as f64,
    );
    stage.end_all();
    drop(terminal);
}

/// Until nothing has come for half a second.
fn await_a_pause(target: &mut Target) {
    let (mut known, mut since) = (target.updates(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        sleep(Duration::from_millis(2));
        if target.updates() != known {
            (known, since) = (target.updates(), Instant::now());
        }
    }
}

fn has_trace(database: &Path) -> bool {
    let count = Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|database| database.query_row("SELECT count(*) FROM spans", [], |row| row.get(0)));
    count.is_ok_and(|count: i64| count > 0)
}

/// KiB of memory that no file backs, of a process that only holds the session.
fn held(file: &Path) -> u64 {
    let mut hold = Command::new(std::env::current_exe().expect("this program"));
    let output = hold.arg("hold").arg(file).output().expect("run this program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("two figures")
}

/// Answers as MLflow 3.18 does, keeps the information of the trace and no spans, and counts the bytes of all requests.
fn counting_server() -> (Front, Arc<AtomicU64>, Arc<AtomicUsize>) {
    let (bytes, requests) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
    let (sum, count, kept) = (Arc::clone(&bytes), Arc::clone(&requests), Mutex::new(None));
    let front = Front::answering(9, move |request| {
        sum.fetch_add(request.body.len() as u64, Ordering::Relaxed);
        let path = request.target.split('?').next().unwrap_or_default();
        let mut kept = kept.lock().expect("no panic");
        let (status, body) = match (&*request.method, path) {
            ("GET", "/version") => (200, "3.18.0".to_owned()),
            ("GET", path) if path.contains("/experiments/get") => {
                let experiment = json!({"experiment_id": "1", "lifecycle_stage": "active"});
                (200, json!({"experiment": experiment}).to_string())
            }
            ("GET", path) if path.contains("/traces/") && kept.is_some() => {
                (200, kept.clone().unwrap_or_default())
            }
            ("GET", _) => {
                (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}).to_string())
            }
            (_, "/v1/traces") => {
                count.fetch_add(1, Ordering::Relaxed);
                (200, String::new())
            }
            _ => {
                let mut info: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                if info["trace"]["trace_info"].is_object() {
                    info["trace"]["trace_info"]["tags"]["mlflow.trace.spansLocation"] =
                        "TRACKING_STORE".into();
                    *kept = Some(info.to_string());
                }
                (200, info.to_string())
            }
        };
        let head =
            format!("HTTP/1.1 {status} Scripted\r\nconnection: close\r\ncontent-type: application/json\r\n");
        Some(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    });
    (front, bytes, requests)
}
