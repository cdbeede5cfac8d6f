//! Codex's shared daemon: two interfaces at once, turns that outlive their interface, and the launcher's variables that
//! stay in it.

use super::{claimed, evidence, file_with, home, shell, standing, thread_with, traced};
use crate::LAUNCHER;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use support::processes::words;
use support::run::LIMIT;
use support::{End, Gate, ModelServer, Reply, Script, codex, run, wait_for};

fn answers(prompts: &[&str]) -> Script {
    let title = || Reply::new().answer("a title");
    let titles = (0..2).fold(Script::new(), |script, _| script.reply_to("Generate a concise", title()));
    prompts.iter().fold(titles, |script, prompt| {
        script.reply_to(prompt, Reply::new().answer(&prompt.replace("prompt", "answer")).usage(100, 0, 1, 0))
    })
}

#[test]
fn two_interfaces_on_one_daemon_keep_their_threads_apart() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(answers(&[
        "mine three prompt",
        "mine two prompt",
        "theirs two prompt",
        "mine one prompt",
        "theirs one prompt",
    ]));
    let home = home(&server);
    let (theirs, mine) = (shell(&home, &codex), shell(&home, &codex));
    theirs.type_line("$P; echo ended $?");
    mine.type_line("$T; echo ended $?");
    for shell in [&theirs, &mine] {
        shell.wait_for("? for shortcuts");
    }
    theirs.submit("theirs one prompt", "theirs one answer");
    mine.submit("mine one prompt", "mine one answer");
    theirs.submit("theirs two prompt", "theirs two answer");
    mine.submit("mine two prompt", "mine two answer");
    theirs.submit("/quit", "ended 0");
    mine.submit("mine three prompt", "mine three answer");
    mine.submit("/quit", "ended 0");
    home.wait_until_delivered();
    let ours = thread_with(&home, "mine three prompt");
    assert_eq!(home.rollouts().len(), 2);
    assert_eq!(
        (traced(&home), claimed(&home)),
        (BTreeSet::from([ours.clone()]), BTreeSet::from([ours.clone()]))
    );
    assert_eq!(evidence(&home, &ours), ["tui_log"]);
}

#[test]
fn a_turn_left_running_is_in_progress_and_then_completed_without_a_new_launch() {
    let Some(codex) = codex() else { return };
    // A window that is closed is a window less: the shell goes with it.
    for closes_the_window in [false, true] {
        let gate = Gate::new();
        let slow = Reply::new().answer("late answer").usage(100, 0, 1, 0).stall_at_start(&gate);
        let server = ModelServer::start(answers(&[]).reply_to("slow prompt", slow));
        let home = home(&server);
        let shell = shell(&home, &codex);
        shell.type_line("$T 'slow prompt'; echo ended $?");
        gate.wait_until_reached(LIMIT);
        shell.wait_for("esc to interrupt");
        match closes_the_window {
            false => shell.submit("/quit", "ended 0"),
            true => shell.close_window(),
        }
        let so_far = || home.database().exists() && home.spooled().is_empty() && !traced(&home).is_empty();
        wait_for("the trace as far as it got", LIMIT, so_far);
        let stands = |state: &str, answer: Option<&str>| {
            [Some(state), Some("slow prompt"), answer].map(|it| it.map(str::to_owned))
        };
        assert_eq!(standing(&home), stands("IN_PROGRESS", Some("running")));
        assert_eq!(home.launches().len(), 1, "the launch's notes wait");
        gate.open();
        home.wait_until_delivered();
        assert_eq!(standing(&home), stands("OK", Some("late answer")));
        wait_for("our processes to end", LIMIT, || {
            !home.processes().iter().any(|id| words(*id).starts_with("codex-traced"))
        });
    }
}

#[test]
fn a_turn_whose_daemon_is_killed_is_marked_as_lost() {
    let Some(codex) = codex() else { return };
    let gate = Gate::new();
    let server = ModelServer::start(answers(&[]).reply_to("slow prompt", Reply::new().stall_at_start(&gate)));
    let home = home(&server);
    let shell = shell(&home, &codex);
    shell.type_line("$T 'slow prompt'; echo ended $?");
    gate.wait_until_reached(LIMIT);
    shell.wait_for("esc to interrupt");
    shell.submit("/quit", "ended 0");
    wait_for("the trace as far as it got", LIMIT, || home.database().exists() && home.spooled().is_empty());
    let daemon = home.daemon().expect("it runs the turn");
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).expect("kill the daemon");
    home.wait_until_delivered();
    let trace =
        run(home.traced(LAUNCHER, &codex.native).args(["mlflow", "show", "--json"])).ended(End::Code(0));
    let trace: Value = serde_json::from_str(&trace.stdout).expect("JSON");
    assert_eq!(trace["spans"][0]["outputs"]["status"], "lost");
}

/// docs/differences.md has a row for each.
const KNOWN: [&str; 3] = ["CODEX_TRACED_DEPTH", "CODEX_TUI_RECORD_SESSION", "CODEX_TUI_SESSION_LOG_PATH"];

#[test]
fn the_daemon_keeps_only_three_harmless_variables_of_the_launcher() {
    let Some(codex) = codex() else { return };
    let runs = |file: &str| {
        let call = format!("await tools.exec_command({{cmd: \"env -0 > {file}\"}}); text('ran')");
        Reply::new().custom("exec", &call)
    };
    let [plain, traced] = ["$P", "$T"].map(|program| {
        let tools =
            Script::new().reply_to("clean prompt", runs("tool")).reply_to("first prompt", runs("first"));
        // A request for a title holds the prompt too, so its answers come first.
        let script = answers(&[]).then(tools).then(answers(&["clean prompt", "first prompt"]));
        let server = ModelServer::start(script);
        let home = home(&server);
        // The one that starts the daemon, then a plain one in a shell of its own.
        for (program, prompt) in [(program, "first"), ("$P", "clean")] {
            let shell = shell(&home, &codex);
            shell.type_line(&format!("{program} '{prompt} prompt'; echo ended $?"));
            shell.wait_for(&format!("{prompt} answer"));
            shell.submit("/quit", "ended 0");
        }
        let daemon = home.daemon().expect("the first interface started it");
        let read = |path: &str| fs::read(path).expect("read");
        let held = fs::read_dir(format!("/proc/{daemon}/fd")).expect("read").flatten();
        let held =
            held.filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok());
        let tool = fs::read(home.work().join("tool")).expect("the tool ran");
        let rollout = fs::read_to_string(file_with(&home, "clean prompt")).expect("read");
        let meta: Value = serde_json::from_str(rollout.lines().next().expect("a line")).expect("JSON");
        Stay {
            daemon: names(&read(&format!("/proc/{daemon}/environ"))),
            tool: names(&tool),
            descriptors: held
                .filter(|file| ["mlflow", "pts/", "ptmx"].iter().any(|part| file.contains(part)))
                .collect(),
            later: ["originator", "source", "thread_source", "cli_version"]
                .map(|key| meta["payload"][key].clone()),
            later_is_traced: home.claimed().contains(&thread_with(&home, "clean prompt")),
        }
    });
    let known = BTreeSet::from(KNOWN.map(str::to_owned));
    let more = |of: fn(&Stay) -> &BTreeSet<String>| -> BTreeSet<String> {
        of(&traced).difference(of(&plain)).cloned().collect()
    };
    assert_eq!(more(|stay| &stay.daemon), known, "the daemon's own environment");
    assert_eq!(more(|stay| &stay.tool), known, "a later tool's environment");
    assert_eq!(traced.descriptors, [""; 0]);
    assert_eq!((&traced.later, traced.later_is_traced), (&plain.later, false));
}

/// What the first interface left to those after it.
struct Stay {
    daemon: BTreeSet<String>,
    tool: BTreeSet<String>,
    descriptors: Vec<String>,
    /// What a later plain session shows of its environment.
    later: [Value; 4],
    later_is_traced: bool,
}

fn names(variables: &[u8]) -> BTreeSet<String> {
    let all = variables.split(|byte| *byte == 0).filter_map(|one| one.split(|byte| *byte == b'=').next());
    all.filter(|name| !name.is_empty()).map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}
