//! Wall time of `codex exec` with 200 tool calls on a terminal, plain, traced at the end and traced live, in turns.

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

/// Plain, traced at the end only, and traced live.
const WAYS: [(&str, Option<&str>); 3] = [("plain", None), ("off", Some("off")), ("on", Some("on"))];

pub(crate) fn measure(runs: usize) {
    let codex = support::real::fetch_codex().native;
    println!("{:>4} {:>9} {:>9} {:>9} {:>6}", "run", "plain s", "off s", "on s", "load");
    // The first fills caches.
    once(None, &codex);
    let mut all = [const { Vec::new() }; WAYS.len()];
    for run in 0..runs {
        let load = load();
        // Each way is first, second and last in turn.
        for place in 0..WAYS.len() {
            let way = (run + place) % WAYS.len();
            all[way].push(once(WAYS[way].1, &codex));
        }
        let [plain, off, on] = all.each_ref().map(|times| times[run]);
        println!("{:>4} {plain:>9.2} {off:>9.2} {on:>9.2} {load:>6}", run + 1);
    }
    let medians = all.each_mut().map(|times| median(times));
    for ((name, _), time) in WAYS.iter().zip(medians) {
        println!("{name}: {time:.2} s, {:+.2} %", (time / medians[0] - 1.0) * 100.0);
    }
}

/// In seconds, from the start to the prompt.
fn once(live: Option<&str>, codex: &Path) -> f64 {
    let call = |_| Reply::new().call("exec_command", json!({"cmd": COMMAND})).usage(9000, 4096, 120, 0);
    let script = (0..CALLS).map(call).fold(Script::new(), Script::reply);
    let server = ModelServer::start(script.reply(Reply::new().answer("done").usage(9200, 9000, 5, 0)));
    let home = Home::new(&server.url());
    let mut command = match live {
        Some(live) => {
            let mut command = home.traced(launcher(), codex);
            command.env("CODEX_TRACED_LIVE", live);
            command
        }
        None => home.command(codex),
    };
    command.args(["exec", "--skip-git-repo-check", "do it"]);
    let began = Instant::now();
    Terminal::start(&command).finish().ended(End::Code(0));
    let took = began.elapsed().as_secs_f64();
    wait_for("the tracer to end", LIMIT, || home.processes().is_empty());
    took
}
