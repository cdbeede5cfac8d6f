//! CPU of launcher, monitor, signal probe and tracer while Codex waits, and while it writes.

use crate::processes::{self, Role};
use crate::stage::{Plan, Stage, launcher, load};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::run::LIMIT;
use support::{Home, ModelServer, Reply, Script, Terminal, Tmux, wait_for};

/// A new launch is looked at more often than an old one (src/claim/open_files.rs).
const SETTLE: Duration = Duration::from_secs(10);

/// The real interface with Codex's daemon, after one prompt.
pub(crate) fn idle(time: Duration) {
    let codex = support::real::fetch_codex();
    let title = Script::new().reply_to("Generate a concise", Reply::new().answer("a title"));
    let server = ModelServer::start(title.reply(Reply::new().answer("the answer").usage(100, 0, 1, 0)));
    let home = Home::new(&server.url());
    home.face("gpt-6.1-sol", &server.url());
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (codex, program) = (text(&codex.native), text(&launcher()));
    let shell =
        Tmux::start(&home, &[("CODEX_TRACED_CODEX_BIN", &codex), ("USER", "tester"), ("T", &program)]);
    shell.type_line("$T 'a prompt'; echo ended $?");
    shell.wait_for("the answer");
    wait_for("a tracer", LIMIT, || processes::tracer(&home).is_some());
    sleep(SETTLE);
    watch("an idle interface", &home, time);
    shell.submit("/quit", "ended 0");
    if let Some(daemon) = home.daemon() {
        let _ = nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGTERM);
    }
}

/// A stand-in on a terminal, as the interface.
pub(crate) fn busy(time: Duration) {
    let stage = Stage::new(1, 1 << 20).with_lines();
    let pause = Duration::from_millis(100);
    let plan = Plan { pause, bursts: 1, lives: time + 3 * SETTLE, rests: None };
    let terminal = Terminal::start(&stage.traced(plan));
    wait_for("a tracer", LIMIT, || processes::tracer(&stage.home).is_some());
    sleep(SETTLE);
    watch("a line every 100 ms", &stage.home, time);
    if let Some(tracer) = processes::tracer(&stage.home) {
        println!("the tracer: {} KiB resident, {} KiB at most", tracer.rss(), tracer.peak());
    }
    stage.end_all();
    drop(terminal);
}

fn watch(what: &str, home: &Home, time: Duration) {
    println!("{what}, {} s:", time.as_secs());
    println!(
        "{:>8} {:>10} {:>10} {:>10} {:>10} {:>6}",
        "s", "launcher %", "probe %", "tracer %", "all %", "load"
    );
    let (begun, before) = (Instant::now(), processes::cpu(home));
    let step = time / 5;
    for _ in 0..5 {
        sleep(step);
        let (now, seconds) = (processes::cpu(home), begun.elapsed().as_secs_f64());
        let share = |role: Role| {
            let used = now.get(&role).unwrap_or(&0.0) - before.get(&role).unwrap_or(&0.0);
            used / seconds * 100.0
        };
        let [launcher, probe, tracer] = [Role::Launcher, Role::Probe, Role::Tracer].map(share);
        let all = launcher + probe + tracer;
        let load = load();
        println!("{seconds:>8.0} {launcher:>10.2} {probe:>10.2} {tracer:>10.2} {all:>10.2} {load:>6}");
    }
}
