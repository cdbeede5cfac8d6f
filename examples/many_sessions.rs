//! What a home with many old sessions costs a launch, and what watching costs while an interface stands open.
//!
//! ```sh
//! cargo run --release --example many_sessions -- 100000
//! ```
//!
//! Prints times; nothing is asserted, for a figure depends on the machine.

use nix::sys::signal::{Signal, kill};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::run::LIMIT;
use support::{End, Home, ModelServer, Script, Terminal, Tmux, wait_for};

/// How often each figure is taken; the middle one counts.
const TIMES: usize = 11;

fn main() {
    let sessions: usize =
        std::env::args().nth(1).map_or(100_000, |word| word.parse().expect("how many sessions"));
    let codex = support::real::fetch_codex();
    let here = std::env::current_exe().expect("a running program has a path");
    let launcher =
        here.parent().and_then(Path::parent).expect("examples/ of a target folder").join("codex-traced");
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    home.face("gpt-6.1-sol", &server.url());
    let exec = |program: &Path| {
        let mut times: Vec<Duration> = (0..TIMES)
            .map(|_| {
                let began = Instant::now();
                Terminal::start(home.traced(program, &codex.native).args(["exec", "go"]))
                    .finish()
                    .ended(End::Code(0));
                let took = began.elapsed();
                wait_for("the finisher to end", LIMIT, || home.processes().is_empty());
                took
            })
            .collect();
        times.sort();
        times[TIMES / 2]
    };
    for old in [0, sessions] {
        fill(&home, old);
        let (plain, traced) = (exec(&codex.native), exec(&launcher));
        let finished = finish(&home, &launcher, &codex.native);
        println!(
            "{old:>7} old sessions: codex exec {:.0} ms, codex-traced exec {:.0} ms (prompt back), its finisher done {:.0} ms later",
            millis(plain),
            millis(traced),
            millis(finished)
        );
    }
    for option in ["", "--no-daemon"] {
        idle(&home, &launcher, &codex.native, option);
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Old sessions over the days of two years, each of a kilobyte.
fn fill(home: &Home, count: usize) {
    let text = format!("{{\"type\":\"session_meta\",\"payload\":{{\"id\":\"x\"}}}}\n{}\n", "x".repeat(1000));
    for number in 0..count {
        let (day, month, year) = (number % 28 + 1, number / 28 % 12 + 1, 2024 + number % 2);
        let folder = home.sessions().join(format!("{year}/{month:02}/{day:02}"));
        fs::create_dir_all(&folder).expect("make a folder");
        let thread = format!("01900000-0000-7000-8000-{number:012x}");
        fs::write(folder.join(format!("rollout-{year}-{month:02}-{day:02}T10-00-00-{thread}.jsonl")), &text)
            .expect("write a session");
    }
}

/// How long after the prompt the finisher is done.
fn finish(home: &Home, launcher: &Path, codex: &Path) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            Terminal::start(home.traced(launcher, codex).args(["exec", "go"])).finish().ended(End::Code(0));
            let began = Instant::now();
            wait_for("the finisher to end", LIMIT, || home.processes().is_empty());
            began.elapsed()
        })
        .collect();
    times.sort();
    times[TIMES / 2]
}

/// The processor time of our processes while an interface waits for its person.
fn idle(home: &Home, launcher: &Path, codex: &Path, option: &str) {
    const WATCHED: Duration = Duration::from_secs(30);
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (launcher, codex) = (text(launcher), text(codex));
    let shell = Tmux::start(home, &[("CODEX_TRACED_CODEX_BIN", &codex), ("T", &launcher)]);
    shell.type_line(&format!("$T {option}; echo ended $?"));
    shell.wait_for("? for shortcuts");
    let ours = || -> Vec<PathBuf> {
        let ids = home.processes().into_iter().map(|id| PathBuf::from(format!("/proc/{id}")));
        ids.filter(|process| {
            fs::read_link(process.join("exe")).is_ok_and(|file| file == Path::new(&launcher))
        })
        .collect()
    };
    let used = || -> u64 { ours().iter().map(|process| ticks(process)).sum() };
    // At first it is looked more often (src/claim/open_files.rs).
    for (what, watched) in [("its first ten seconds", Duration::from_secs(10)), ("later", WATCHED)] {
        let (before, began) = (used(), Instant::now());
        sleep(watched);
        let ticks = used() - before;
        let share = ticks as f64 / 100.0 / began.elapsed().as_secs_f64() * 100.0;
        println!(
            "an idle interface {option:<12} {what}: {ticks} ticks of 10 ms in {} s: {share:.2} % of a core",
            watched.as_secs()
        );
    }
    shell.submit("/quit", "ended 0");
    if let Some(daemon) = home.daemon() {
        let _ = kill(daemon, Signal::SIGTERM);
    }
}

/// User and system time, in clock ticks.
fn ticks(process: &Path) -> u64 {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}
