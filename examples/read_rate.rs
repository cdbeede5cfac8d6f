//! How fast is a large rollout read and built, compared with Python's `json.loads` over the same lines, and in how much
//! memory? `cargo run --release --example read_rate [megabytes]`
//!
//! In time of the processor, on which other work of the machine has little effect.

use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use launch::memory::{LARGE_PAGES, use_large_pages};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// An odd number, for a median. Other work of the machine only adds, so the best figure is the most exact one.
const ROUNDS: usize = 11;

const ORIGINAL: &str = "tests/corpus/0.169.0/scale-61.jsonl";

/// Parses every line and keeps none; prints the seconds it took.
const PYTHON: &str = "
import json, sys, time
lines = open(sys.argv[1], 'rb').read().split(b'\\n')[:-1]
begun = time.process_time()
for line in lines: json.loads(line)
print(time.process_time() - begun)
";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [once, rollout] if once == "--once" => measure(Path::new(rollout)),
        [] => compare(100),
        [megabytes] => compare(megabytes.parse().expect("megabytes")),
        _ => panic!("read_rate [megabytes]"),
    }
}

/// In turns, each in a process of its own, as a session is read at the end of a launch.
fn compare(megabytes: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let rollout = folder.path().join("rollout.jsonl");
    let bytes = make(&rollout, megabytes << 20);
    let (mut read, mut both, mut python, mut rest) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    for _ in 0..ROUNDS {
        let mut ours = Command::new(std::env::current_exe().expect("this program"));
        // As a finisher is started.
        let ours = said(ours.arg("--once").arg(&rollout).envs([LARGE_PAGES]));
        let (figures, memory) = ours.split_once('\n').expect("two lines");
        let (first, second) = figures.split_once(' ').expect("two figures");
        read.push(seconds(first));
        both.push(seconds(second));
        memory.clone_into(&mut rest);
        python.push(seconds(&said(Command::new("python3").args(["-c", PYTHON]).arg(&rollout))));
    }
    for all in [&mut read, &mut both, &mut python] {
        all.sort_by(f64::total_cmp);
    }
    println!("{bytes} bytes, {ROUNDS} times in turns   best   median");
    let rate = |all: &[f64]| [0, ROUNDS / 2].map(|place| bytes as f64 / all[place] / 1e6);
    for (what, all) in [("read", &read), ("read and build", &both), ("json.loads", &python)] {
        let [best, median] = rate(all);
        println!("{what:<33} {best:>6.0}   {median:>6.0} MB/s");
    }
    let [best, median] = [0, ROUNDS / 2].map(|place| python[place] / both[place]);
    println!("{:<33} {best:>6.2}   {median:>6.2}", "read and build / json.loads");
    println!("{rest}");
}

fn measure(rollout: &Path) {
    use_large_pages();
    let before = peak();
    let begun = processor();
    let session = session::read(rollout, Writer::Gone).expect("a rollout");
    let read = processor() - begun;
    let surroundings = TraceSource { rollout, user: None, prices: PriceBook::built_in() };
    let trace = build_family(&session.into(), &ThreadRecord::default(), surroundings).expect("a trace");
    println!("{read} {}", processor() - begun);
    let after = peak();
    let kept = serde_json::to_vec(&trace).expect("a trace is JSON").len();
    println!("{} spans, {kept} bytes of trace", trace.spans.len());
    println!("peak memory {} MiB, of which {} MiB before reading", after >> 20, before >> 20);
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn seconds(text: &str) -> f64 {
    text.parse().expect("seconds")
}

/// The original's turn again and again, each call under a name of its own.
fn make(rollout: &Path, bytes: u64) -> u64 {
    let original = fs::read_to_string(ORIGINAL).expect("a file of the corpus");
    let (meta, turn) = original.split_once('\n').expect("lines");
    let mut file = BufWriter::new(File::create(rollout).expect("a file"));
    writeln!(file, "{meta}").expect("space");
    let mut written = meta.len() as u64 + 1;
    for n in 0.. {
        if written >= bytes {
            break;
        }
        let again =
            turn.replace(":\"call_", &format!(":\"call_{n}_")).replace(":\"exec-", &format!(":\"exec-{n}-"));
        file.write_all(again.as_bytes()).expect("space");
        written += again.len() as u64;
    }
    file.flush().expect("space");
    written
}

/// What this process has had of the processor, in seconds.
fn processor() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("an account");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("kB") << 10
}
