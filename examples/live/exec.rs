//! Wall time of `codex exec` with 200 tool calls on a terminal, plain and traced, in turns.

use crate::figures::median;
use crate::stage::{launcher, load};
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use support::run::LIMIT;
use support::{End, Home, ModelServer, Reply, Script, Terminal, wait_for};

const CALLS: usize = 200;

/// 200 of them make a turn of half a minute.
const COMMAND: &str = "seq 1 100; sleep 0.1";

pub(crate) fn measure(runs: usize) {
    let codex = support::real::fetch_codex().native;
    println!("{:>4} {:>9} {:>9} {:>12} {:>6}", "run", "plain s", "traced s", "difference %", "load");
    // The first fills caches.
    once(None, &codex);
    let (mut all_plain, mut all_traced) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let load = load();
        let both = |plain_first: bool| {
            if plain_first {
                let plain = once(None, &codex);
                (plain, once(Some(&launcher()), &codex))
            } else {
                let traced = once(Some(&launcher()), &codex);
                (once(None, &codex), traced)
            }
        };
        let (plain, traced) = both(run % 2 == 1);
        println!("{run:>4} {plain:>9.2} {traced:>9.2} {:>12.2} {load:>6}", (traced / plain - 1.0) * 100.0);
        all_plain.push(plain);
        all_traced.push(traced);
    }
    let (plain, traced) = (median(&mut all_plain), median(&mut all_traced));
    println!("medians: {plain:.2} s, {traced:.2} s: {:+.2} %", (traced / plain - 1.0) * 100.0);
}

/// In seconds, from the start to the prompt.
fn once(launcher: Option<&Path>, codex: &Path) -> f64 {
    let call = |_| Reply::new().call("exec_command", json!({"cmd": COMMAND})).usage(9000, 4096, 120, 0);
    let script = (0..CALLS).map(call).fold(Script::new(), Script::reply);
    let server = ModelServer::start(script.reply(Reply::new().answer("done").usage(9200, 9000, 5, 0)));
    let home = Home::new(&server.url());
    let mut command = match launcher {
        Some(launcher) => home.traced(launcher, codex),
        None => home.command(codex),
    };
    command.args(["exec", "--skip-git-repo-check", "do it"]);
    let began = Instant::now();
    Terminal::start(&command).finish().ended(End::Code(0));
    let took = began.elapsed().as_secs_f64();
    wait_for("the tracer to end", LIMIT, || home.processes().is_empty());
    took
}
