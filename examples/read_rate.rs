//! How fast is a large rollout read and built, beside Python's `json.loads` over the same lines, and in how much
//! memory? `cargo run --release --example read_rate [megabytes]`
//!
//! In time of the processor, so that whatever else the machine does says little.

use codex_traced::claim::record::ThreadRecord;
use codex_traced::session::{self, Writer};
use codex_traced::trace::build::{Surroundings, build};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
    let megabytes: u64 = std::env::args().nth(1).map_or(100, |text| text.parse().expect("megabytes"));
    let folder = tempfile::tempdir().expect("a folder");
    let rollout = folder.path().join("rollout.jsonl");
    let bytes = make(&rollout, megabytes << 20);
    let rate = |seconds: f64| bytes as f64 / seconds / 1e6;
    let before = peak();

    let begun = processor();
    let session = session::read(&rollout, Writer::Gone).expect("a rollout");
    let read = processor() - begun;
    let surroundings = Surroundings { rollout: &rollout, user: None };
    let trace = build(&session, &ThreadRecord::default(), surroundings).expect("a trace");
    let both = processor() - begun;
    let after = peak();
    let kept = serde_json::to_vec(&trace).expect("a trace is JSON").len() as u64;

    let mut python: Vec<f64> = (0..3).map(|_| python(&rollout)).collect();
    python.sort_by(f64::total_cmp);
    println!("{bytes} bytes, {} spans, {kept} bytes of trace", trace.spans.len());
    println!("read           {:>6.0} MB/s", rate(read));
    println!("read and build {:>6.0} MB/s", rate(both));
    println!("json.loads     {:>6.0} MB/s (the median of three)", rate(python[1]));
    println!("read and build / json.loads = {:.2}", python[1] / both);
    println!("peak memory {} MiB, of which {} MiB before reading", after >> 20, before >> 20);
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

fn python(rollout: &Path) -> f64 {
    let output = Command::new("python3").args(["-c", PYTHON]).arg(rollout).output().expect("python3");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("seconds")
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
