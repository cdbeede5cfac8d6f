//! The real Codex by npm's launcher, a Node script: codex-traced starts Codex itself, or by the launcher. With an older
//! Node, Codex is then a grandchild of codex-traced; a newer Node replaces itself by Codex.

use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::processes;
use support::run::LIMIT;
use support::{
    Codex, End, Gate, Home, ModelServer, Reply, Script, codex, node_that_replaces_itself, run, start,
    wait_for,
};

use crate::LAUNCHER;

/// What runs between codex-traced and Codex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Node,
    Nothing,
}

/// The value of `CODEX_TRACED_DIRECT`, and whether codex-traced then starts Codex itself.
const WAYS: [(&str, bool); 2] = [("", true), ("0", false)];

/// The folder of a Node, first on PATH.
pub(super) fn nodes() -> Vec<(PathBuf, Between)> {
    let newer = node_that_replaces_itself();
    let own = which::which("node").expect("node");
    let replaces = Command::new(&own).args(["-p", "typeof process.execve"]).output().expect("run node");
    let between = if replaces.stdout.starts_with(b"function") { Between::Nothing } else { Between::Node };
    if between == Between::Nothing {
        eprintln!("left out: Codex as a grandchild needs a Node.js before 22.15");
    }
    let folder = own.parent().expect("a folder").to_owned();
    newer.into_iter().map(|folder| (folder, Between::Nothing)).chain([(folder, between)]).collect()
}

#[test]
fn npms_launcher_does_the_same_and_its_sessions_are_claimed() {
    let Some(codex) = codex() else { return };
    for (node, between) in nodes() {
        for (direct, is_direct) in WAYS {
            assert_the_same(&codex, &node, between, direct, is_direct);
        }
    }
}

fn assert_the_same(codex: &Codex, node: &Path, between: Between, direct: &str, is_direct: bool) {
    let case = format!("{}, CODEX_TRACED_DIRECT={direct}", node.display());
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let usual = home.environment().swap_remove(0).1;
    let path = format!("{}:{}", node.display(), usual.display());
    let commands = || {
        let [mut plain, mut traced] = [home.command(&codex.launcher), home.traced(LAUNCHER, &codex.launcher)];
        for command in [&mut plain, &mut traced] {
            command.env("PATH", &path).args(["exec", "--json", "do it"]);
        }
        traced.env("CODEX_TRACED_DIRECT", direct);
        [(plain, false), (traced, is_direct)]
    };
    let [plain, traced] = commands().map(|(mut command, _)| {
        server.play(Script::new().reply(Reply::new().answer("done")));
        run(&mut command).ended(End::Code(0))
    });
    assert_eq!(plain.normalised(), traced.normalised(), "{case}");
    assert_eq!(home.claimed().len(), 1, "{case}");

    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let [plain, traced] = commands().map(|(mut command, is_direct)| {
            let never = Gate::new();
            server.play(Script::new().reply(Reply::new().stall_at_start(&never)));
            let running = start(&mut command);
            never.wait_until_reached(LIMIT);
            assert_eq!(runs_node(&home), between == Between::Node && !is_direct, "{case}");
            running.signal(signal);
            let outcome = running.finish(LIMIT);
            wait_for("all to be gone", LIMIT, || home.processes().is_empty());
            outcome
        });
        assert_eq!(plain.normalised(), traced.normalised(), "{case}, {signal}");
    }
    assert_eq!(home.claimed().len(), 4, "{case}");
}

fn runs_node(home: &Home) -> bool {
    let programs = home.processes().into_iter().filter_map(processes::program);
    programs.into_iter().any(|file| file.ends_with("node"))
}
