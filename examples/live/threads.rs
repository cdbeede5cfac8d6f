//! Many threads on one launch, over simulated days: on each of them every thread is written to once, and then none
//! for longer than a thread stays in memory.

use crate::processes::{self, Role};
use crate::stage::{Plan, Stage, load};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::run::LIMIT;
use support::{Terminal, wait_for};

/// Longer than an idle thread stays in memory (src/tracer/launch_follower.rs).
const NIGHT: Duration = Duration::from_secs(75);

const PACE: Duration = Duration::from_millis(100);

pub(crate) fn measure(threads: usize, days: usize) {
    let stage = Stage::new(threads, 300 << 10).with_lines();
    let day = PACE * u32::try_from(threads).expect("a number of threads");
    let plan =
        Plan { pause: PACE, bursts: 7, lives: Duration::from_secs(24 * 3600), rests: Some((threads, NIGHT)) };
    println!(
        "{threads} threads; a day: each is written to once, within {} s; then a night of {} s",
        day.as_secs(),
        NIGHT.as_secs()
    );
    let terminal = Terminal::start(&stage.traced(plan));
    wait_for("a tracer", LIMIT, || processes::tracer(&stage.home).is_some());
    println!(
        "{:>6} {:<8} {:>12} {:>12} {:>11} {:>11} {:>12} {:>12} {:>8} {:>6}",
        "s",
        "",
        "launcher KiB",
        "descriptors",
        "tracer RSS",
        "tracer PSS",
        "tracer peak",
        "descriptors",
        "CPU s",
        "load"
    );
    let began = Instant::now();
    let show = |when: String| {
        let all = processes::ours(&stage.home);
        let launcher = all.iter().filter(|process| process.role == Role::Launcher);
        let (rss, open) =
            launcher.fold((0, 0), |(rss, open), it| (rss.max(it.rss()), open.max(it.descriptors())));
        let Some(tracer) = all.iter().find(|process| process.role == Role::Tracer) else { return };
        println!(
            "{:>6.0} {when:<8} {rss:>12} {open:>12} {:>11} {:>11} {:>12} {:>12} {:>8.1} {:>6}",
            began.elapsed().as_secs_f64(),
            tracer.rss(),
            tracer.pss(),
            tracer.peak(),
            tracer.descriptors(),
            tracer.cpu(),
            load(),
        );
    };
    for number in 1..=days {
        for part in 1..=4 {
            sleep(day / 4);
            show(format!("day {number}.{part}"));
        }
        sleep(NIGHT - Duration::from_secs(3));
        show(format!("night {number}"));
        sleep(Duration::from_secs(3));
    }
    stage.end_all();
    drop(terminal);
}
