//! Many Codexes at once in one directory and one home: some traced, some not.

use super::{Busy, LAUNCHER, claimed, evidence, home, rounds, shell, thread_of, traced};
use std::collections::BTreeSet;
use support::run::LIMIT;
use support::{End, Home, ModelServer, Reply, Running, Script, codex, run, start};

/// No session of any home.
const NOBODYS: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn eight_at_once_keep_their_sessions_apart() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let _busy = Busy::cores(2);
    let (mut wrong, mut missed, mut expected) = (0, 0, BTreeSet::new());
    let rounds = rounds(2);
    for round in 1..=rounds {
        let plain = |words: &[&str]| start(home.command(&codex.native).args(words));
        let traced = |words: &[&str]| start(home.traced(LAUNCHER, &codex.native).args(words));
        let older = thread_of(&plain(&["exec", "--json", "an older one"]).finish(LIMIT).ended(End::Code(0)));
        let ours: Vec<Running> = (0..3).map(|_| traced(&["exec", "--json", "ours"])).collect();
        let others: Vec<Running> = (0..3).map(|_| plain(&["exec", "--json", "not ours"])).collect();
        let failing = traced(&["exec", "--json", "resume", NOBODYS, "go on"]);
        let resumed = traced(&["exec", "--json", "resume", &older, "go on"]);
        let threads = |all: Vec<Running>| -> BTreeSet<String> {
            all.into_iter().map(|one| thread_of(&one.finish(LIMIT).ended(End::Code(0)))).collect()
        };
        expected.extend(threads(ours));
        assert_eq!(threads(others).len(), 3);
        failing.finish(LIMIT).ended(End::Code(1));
        assert_eq!(thread_of(&resumed.finish(LIMIT).ended(End::Code(0))), older);
        expected.insert(older);
        let claimed = claimed(&home);
        (wrong, missed) = (claimed.difference(&expected).count(), expected.difference(&claimed).count());
        println!(
            "round {round}: {} claimed, {wrong} wrong, {missed} missed, all rounds together",
            claimed.len()
        );
    }
    assert_eq!((wrong, missed, expected.len()), (0, 0, rounds * 4));
    assert_eq!(traced(&home), expected);
    for thread in &expected {
        assert_eq!(evidence(&home, thread), ["held"]);
    }
}

#[test]
fn a_launch_that_writes_nothing_claims_nothing_of_a_neighbours() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = home(&server);
    let shell = shell(&home, &codex);
    for round in 1..=rounds(1) {
        let plain = || start(home.command(&codex.native).args(["exec", "--json", "not ours"]));
        let ephemeral =
            start(home.traced(LAUNCHER, &codex.native).args(["exec", "--ephemeral", "keep nothing"]));
        let neighbour = plain();
        ephemeral.finish(LIMIT).ended(End::Code(0));
        neighbour.finish(LIMIT).ended(End::Code(0));

        shell.type_line("clear; $T; echo ended $?");
        let neighbour = plain();
        shell.wait_for("? for shortcuts");
        neighbour.finish(LIMIT).ended(End::Code(0));
        // And one that begins and ends while the interface is open.
        plain().finish(LIMIT).ended(End::Code(0));
        shell.submit("/quit", "ended 0");
        assert_eq!(home.rollouts().len(), round * 3);
        println!("round {round}: {} claimed of {} sessions", home.claimed().len(), home.rollouts().len());
        assert_eq!(home.claimed(), [""; 0]);
    }
    assert!(!home.database().exists() && !home.state().join("unclaimed.json").exists());
}

#[test]
fn a_session_that_was_opened_and_left_is_not_touched() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("an old answer")));
    let home = home(&server);
    let old = thread_of(&run(home.command(&codex.native).args(["exec", "--json", "an old prompt"])));
    let before = std::fs::read(home.rollout()).expect("read the session");
    let shell = shell(&home, &codex);
    // In Codex's own process, which holds the lock of the thread, and in the daemon, which keeps it.
    for option in ["--no-daemon", ""] {
        shell.type_line(&format!("clear; $T {option} resume {old}; echo ended $?"));
        shell.wait_until("the old thread", |screen| {
            screen.contains("an old answer") && screen.contains("? for shortcuts")
        });
        shell.submit("/quit", "ended 0");
        shell.type_line("clear");
        shell.wait_until("a clear screen", |screen| screen == "bash$");
    }
    support::wait_for("the launches' notes to go", LIMIT, || home.launches().is_empty());
    assert_eq!(std::fs::read(home.rollout()).expect("read the session"), before);
    assert_eq!(home.claimed(), [""; 0]);
    assert!(!home.database().exists());
}
