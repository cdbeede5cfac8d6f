//! What a live trace costs and how soon it is there. Prints tables; nothing is asserted, for a figure depends on the
//! machine: run it on a quiet one.
//!
//! `cargo run --example live -- WHAT [WORDS]`
//!
//! | words | what they measure |
//! |---|---|
//! | `latency [sqlite\|3.17.2\|3.18.0] [ROUNDS]` | from a line in the session file to its span, read by MLflow's client |
//! | `exec [RUNS]` | wall time of `exec` with 200 tool calls, plain, traced at the end, and traced live |
//! | `idle [SECONDS]` | CPU of our processes beside an idle interface |
//! | `lines [SECONDS]` | the same, while a line comes every 100 ms |
//! | `growth [sqlite\|server] [MEGABYTES…]` | memory of the tracer, and bytes for each update, as a session grows |
//! | `hold FILE` | memory of a process that only holds the session in this file |
//! | `threads [COUNT] [DAYS]` | memory and descriptors with many threads on one launch |
//! | `prompt [RUNS]` | from Codex's end to the launcher's, on a terminal |
//! | `stdout [RUNS]` | from Codex's end to the end of stdout, on a pipe |
//!
//! `LIVE_LAUNCHER=FILE` measures another build than the release build, or the debug build where there is none.

mod ends;
mod exec;
mod figures;
mod growth;
mod latency;
mod lines;
mod processes;
mod stage;
mod threads;

use std::time::Duration;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: Option<&&str>, usual: usize| -> usize {
        word.map_or(usual, |word| word.parse().unwrap_or_else(|_| panic!("not a number: {word}")))
    };
    let seconds = |word, usual| Duration::from_secs(number(word, usual) as u64);
    if let ["hold", file] = words[..] {
        return growth::hold(file.as_ref());
    }
    println!("{}", stage::circumstances());
    match &words[..] {
        ["latency"] => latency::TARGETS.into_iter().for_each(|target| latency::measure(target, 1)),
        ["latency", target, rest @ ..] => latency::measure(target, number(rest.first(), 1)),
        ["exec", rest @ ..] => exec::measure(number(rest.first(), 3)),
        ["idle", rest @ ..] => lines::idle(seconds(rest.first(), 600)),
        ["lines", rest @ ..] => lines::busy(seconds(rest.first(), 600)),
        ["growth", target, rest @ ..] => {
            let sizes: Vec<usize> = rest.iter().map(|word| number(Some(word), 1)).collect();
            growth::measure(target, if sizes.is_empty() { &growth::SIZES } else { &sizes });
        }
        ["threads", rest @ ..] => threads::measure(number(rest.first(), 500), number(rest.get(1), 4)),
        ["prompt", rest @ ..] => ends::prompt(number(rest.first(), 20)),
        ["stdout", rest @ ..] => ends::stdout(number(rest.first(), 20)),
        _ => panic!("see the head of examples/live/main.rs for the words"),
    }
}
