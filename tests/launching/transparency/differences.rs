//! The closed list of allowed differences, as `docs/differences.md` has it; a test of each fails when it is gone.

use nix::libc;
use std::fs;
use std::process::Command;
use support::processes;
use support::run::LIMIT;
use support::{End, wait_for};

use super::child::{ALWAYS, LOG, OWN_TERMINAL};
use super::twice::{Place, Stage, Who, assert_same, differing, send, wait_until};

struct Difference {
    what: &'static str,
    why: &'static str,
    /// File and function.
    test: [&'static str; 2],
}

const HERE: &str = "tests/launching/transparency/differences.rs";

const ALLOWED: [Difference; 12] = [
    Difference {
        what: "A first argument `mlflow` is ours. For the prompt \"mlflow\" type `codex-traced -- mlflow`.",
        why: "our commands need a word",
        test: [HERE, "the_word_mlflow_is_ours"],
    },
    Difference {
        what: "Codex and its tools find `CODEX_TRACED_DEPTH` in their environment; the full-screen interface, the \
               daemon that it starts and their tools also `CODEX_TUI_RECORD_SESSION` and \
               `CODEX_TUI_SESSION_LOG_PATH`, unless you set them. The daemon keeps them for its life; later \
               sessions and tools are as they would be.",
        why: "the one ends a loop of launchers, the others tell which sessions are yours",
        test: [HERE, "codex_finds_variables_of_ours"],
    },
    Difference {
        what: "Codex is the child of a process `codex-traced` and has another process id; the signals that you send \
               to `codex-traced` come from there, and titles and lists show its name (tmux's window names). A \
               process `codex-witness` in the same group shows which signals are meant for all of it. In the \
               millisecond before it starts, such a signal may reach Codex twice. On macOS it is named \
               `codex-traced` too: a signal by name reaches both.",
        why: "a process must remain when Codex has ended",
        test: [HERE, "codex_is_a_child_of_ours"],
    },
    Difference {
        what: "Stopped by SIGSTOP, SIGTTIN or SIGTTOU sent to it alone, codex-traced leaves Codex running. So it \
               does when killed by SIGKILL, but the full-screen interface ends then, its terminal stays raw, and a \
               Codex server (`app-server`) is killed with it. When Codex alone is stopped and continued, \
               codex-traced stops with it and needs a SIGCONT of its own.",
        why: "these it cannot see",
        test: [HERE, "what_cannot_be_caught_reaches_one_of_the_two"],
    },
    Difference {
        what: "As a container's first process codex-traced passes on signals that plain Codex would not feel there, \
               and ends with 128 and the signal's number.",
        why: "the kernel spares process 1, and Codex has another number",
        test: [HERE, "as_a_containers_first_process_codex_can_be_killed"],
    },
    Difference {
        what: "In the full-screen interface Codex is on a terminal of its own, with another name (`tty`), in a \
               session and a group of its own, led by one more `codex-traced`; what it left running in the \
               background has no terminal any more when it has ended.",
        why: "a relay can put your terminal right on every way out, and stop and go on as Codex does",
        test: [HERE, "full_screen_codex_has_a_terminal_of_its_own"],
    },
    Difference {
        what: "What you type while the interface ends or stops shows only when the shell reads it, and the key of \
               the very instant in which Codex puts the terminal right may be lost; a line typed ahead before the \
               interface starts may show twice.",
        why: "the terminal stays raw until Codex has ended; a key that is on its way to Codex's terminal cannot be \
              called back",
        test: ["tests/launching/pty.rs", "what_is_typed_once_the_modes_are_right_is_for_the_next_reader"],
    },
    Difference {
        what: "When the interface has ended, your terminal's modes are those from before it; when it was killed \
               while it had the screen, a fixed sequence also leaves the alternate screen, the mouse, focus, paste \
               and keyboard modes.",
        why: "plain Codex leaves a terminal that cannot be used",
        test: [HERE, "a_killed_interface_leaves_a_terminal_that_can_be_used"],
    },
    Difference {
        what: "The command ends some milliseconds later than Codex, and without a terminal up to \
               `CODEX_TRACED_WAIT` later when the place where traces go does not answer. After a Codex server it \
               waits for nothing, or in CI for a second at most. A process `codex-traced` in a session of its own \
               follows a Codex that runs for more than two seconds, and may remain for a while.",
        why: "the trace is delivered first where nothing may be left running; elsewhere you need not wait for it",
        test: ["tests/delivery/finishing.rs", "a_job_waits_for_so_long_and_leaves_the_rest_with_one_line"],
    },
    Difference {
        what: "On a terminal a line and a hint on stderr may follow Codex's: when a trace could not be delivered, \
               or a setting could not be followed. Without a terminal it is one line, only when a trace was left \
               behind. Where a line may follow, stderr is open until codex-traced ends, and so is a pipe that \
               `2>&1` shares with it.",
        why: "you would not know otherwise",
        test: ["tests/delivery/finishing.rs", "a_job_leaves_what_a_silent_server_does_not_take"],
    },
    Difference {
        what: "Where `codex` is npm's launcher of a known text (Codex 0.100 to 0.171), codex-traced starts the \
               native program itself, with all that the launcher gives it. No Node.js runs, and none is needed. \
               Each signal reaches Codex once. A Codex that a signal kills ends by that signal, where launchers \
               before 0.166 end with 0. After `exec` no Node.js puts the terminal right. `CODEX_TRACED_DIRECT=0` \
               starts the launcher.",
        why: "Codex starts 30 to 130 ms sooner",
        test: [
            "tests/launching/transparency/direct_start.rs",
            "codex_needs_no_node_where_the_launchers_text_is_known",
        ],
    },
    Difference {
        what: "The folder `$CODEX_HOME/mlflow/`.",
        why: "our files",
        test: [HERE, "our_files_are_in_a_folder_of_codexs_home"],
    },
];

#[test]
fn the_document_has_the_closed_list_word_for_word() {
    let document = fs::read_to_string("docs/differences.md").expect("the document");
    let mut table = "| difference | reason | test |\n|---|---|---|\n".to_owned();
    for Difference { what, why, test: [file, test] } in ALLOWED {
        table.push_str(&format!("| {what} | {why} | [`{test}`](../{file}) |\n"));
    }
    assert!(ALLOWED.len() <= 12);
    assert!(document.contains(&format!("\n\n{table}\n")), "the table should be\n{table}");
}

#[test]
fn each_difference_names_a_test_that_is_there() {
    for Difference { what, test: [file, test], .. } in ALLOWED {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("#[test]\nfn {test}() {{")), "{what}: no test {test} in {file}");
    }
}

#[test]
fn the_word_mlflow_is_ours() {
    let stage = Stage::new();
    let [plain, traced] =
        stage.observe(Place::Pipes, "codex mlflow 'say Codex got it; exit 3'; exit $?", |_| {});
    assert_eq!(plain["stdout"], "Codex got it\n");
    assert!(!traced["stdout"].contains("Codex got it"), "{traced:?}");
    let seen = stage.observe(Place::Pipes, "codex -- mlflow 'say Codex got it; exit 3'; exit $?", |_| {});
    assert_same("after --", &seen, &[]);
}

#[test]
fn codex_finds_variables_of_ours() {
    let stage = Stage::new();
    let ours = |words: &str| {
        let [plain, traced] = stage.observe(Place::Pipes, &format!("codex {words}see; exit $?"), |_| {});
        let names = |seen: &super::twice::Observation| seen["variables in order"].clone();
        names(&traced).strip_prefix(&names(&plain)).expect("ours come last").trim().to_owned()
    };
    assert_eq!(ours("exec "), "CODEX_TRACED_DEPTH");
    assert_eq!(ours(""), "CODEX_TRACED_DEPTH CODEX_TUI_RECORD_SESSION CODEX_TUI_SESSION_LOG_PATH");
}

#[test]
fn codex_is_a_child_of_ours() {
    let stage = Stage::new();
    let seen = stage.observe(Place::Pipes, "exec codex exec see", |_| {});
    assert_same("process", &seen, &[&ALWAYS[..], &["itself"]].concat());
    let act = stage.begin(Who::Traced, Place::Pipes, "exec codex exec 'ready a; until b'");
    wait_until(&stage.at("a"));
    let words = |id: &nix::unistd::Pid| processes::words(*id);
    // The witness is called when Codex runs already.
    wait_for("launcher, Codex and witness", LIMIT, || {
        let all: Vec<String> = stage.home.processes().iter().map(words).collect();
        let shown = |name: &str| all.iter().filter(|words| words.split(' ').next() == Some(name)).count();
        (all.len(), shown("codex"), shown("codex-witness")) == (3, 2, 1)
    });
    fs::write(stage.at("b"), "").expect("tell the probe");
    stage.end(act);
}

/// In a group of its own whose parent is in another one: elsewhere the kernel discards the stops of terminals.
fn as_a_job(steps: &str) -> String {
    let becomes = format!("os.setpgid(0, 0), os.execvp('codex', ['codex', 'exec', '{steps}'])");
    let ends = "sys.exit(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]))";
    format!("exec python3 -c \"import os, sys; job = os.fork(); job or ({becomes}); {ends}\"")
}

#[test]
fn what_cannot_be_caught_reaches_one_of_the_two() {
    let stage = Stage::new();
    let seen = || support::probe::parse(&fs::read_to_string(stage.at("seen")).expect("the probe told"));
    // Codex goes on where it would have stopped.
    for stop in [libc::SIGSTOP, libc::SIGTTIN, libc::SIGTTOU] {
        let script = as_a_job("see; ready a; until b; ready c; exit 3");
        let act = stage.begin(Who::Traced, Place::Pipes, &script);
        stage.wait_until_attended("a");
        let launcher: i32 = seen()["group"].parse().expect("a group");
        send(launcher, stop);
        fs::write(stage.at("b"), "").expect("tell the probe");
        wait_until(&stage.at("c"));
        wait_for("the launcher to stand still", LIMIT, || state(launcher) == 'T');
        send(launcher, libc::SIGCONT);
        assert_eq!(stage.end(act)["end"], "Code(3)");
    }
    let act = stage.begin(Who::Traced, Place::Pipes, "exec codex exec 'ready a; until b; ready c'");
    stage.wait_until_attended("a");
    send(act.id().as_raw(), libc::SIGKILL);
    fs::write(stage.at("b"), "").expect("tell the probe");
    wait_until(&stage.at("c"));
    assert_eq!(stage.end(act)["end"], "Signal(9)");
    // A server, as its client would see it end without us.
    let act =
        stage.begin(Who::Traced, Place::Pipes, "exec codex app-server 'see; ready a; until b; ready d'");
    stage.wait_until_attended("a");
    let codex: i32 = seen()["itself"].parse().expect("an id");
    send(act.id().as_raw(), libc::SIGKILL);
    wait_for("the server to be killed", LIMIT, || ['Z', '-'].contains(&state(codex)));
    assert_eq!((stage.end(act)["end"].as_str(), stage.at("d").exists()), ("Signal(9)", false));
    // And the other way round.
    let act = stage.begin(Who::Traced, Place::Pipes, "exec codex exec 'see; ready a; until b; exit 3'");
    stage.wait_until_attended("a");
    let codex: i32 = seen()["itself"].parse().expect("an id");
    send(codex, libc::SIGSTOP);
    wait_for("the launcher to stop with Codex", LIMIT, || state(act.id().as_raw()) == 'T');
    send(codex, libc::SIGCONT);
    fs::write(stage.at("b"), "").expect("tell the probe");
    wait_for("Codex to end", LIMIT, || state(codex) == 'Z');
    assert_eq!(state(act.id().as_raw()), 'T');
    send(act.id().as_raw(), libc::SIGCONT);
    assert_eq!(stage.end(act)["end"], "Code(3)");
}

fn state(id: i32) -> char {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('-')
}

#[test]
fn as_a_containers_first_process_codex_can_be_killed() {
    if !Command::new("unshare").args(["-pf", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!(
            "left out: as_a_containers_first_process_codex_can_be_killed needs a namespace of processes"
        );
        return;
    }
    let stage = Stage::new();
    let script = "unshare -pf --mount-proc codex exec 'die 15; exit 3'; echo $?";
    let [plain, traced] = stage.observe(Place::Pipes, script, |_| {});
    assert_eq!((&*plain["stdout"], &*traced["stdout"]), ("3\n", "143\n"));
}

#[test]
fn full_screen_codex_has_a_terminal_of_its_own() {
    let stage = Stage::new();
    // The shell stays: at its end all processes on its terminal lose it.
    let script = "codex 'see; leave; exit 3'; touch ended; until [ -e out ]; do sleep 0.01; done; exit 3";
    let seen = stage.observe(Place::Terminal, script, |_| {
        wait_until(&stage.at("ended"));
        let left: i32 = fs::read_to_string(stage.at("left")).expect("it told").parse().expect("an id");
        let stat = fs::read_to_string(format!("/proc/{left}/stat")).expect("it lives");
        let terminal =
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(4)).expect("a terminal");
        fs::write(stage.at("out"), if terminal == "0" { "none" } else { "one" }).expect("tell");
        send(left, libc::SIGKILL);
    });
    let allowed = [&ALWAYS[..], &LOG, &OWN_TERMINAL, &["file out"]].concat();
    assert_same("full-screen", &seen, &allowed);
    assert_eq!(seen[1]["file out"], "none");
}

#[test]
fn a_killed_interface_leaves_a_terminal_that_can_be_used() {
    let stage = Stage::new();
    let seen = stage.observe(Place::Terminal, "exec codex 'raw; say drawn; die 9'", |_| {});
    let names: Vec<String> = differing(&seen).into_iter().collect();
    assert_eq!(names, ["modes are put back", "shown"]);
    assert_eq!(seen[0]["end"], format!("{:?}", End::Signal(9)));
    assert_eq!(seen[1]["modes are put back"], "true");
    assert!(seen[1]["shown"].starts_with(&seen[0]["shown"]) && seen[1]["shown"].contains("\x1b[?1049l"));
}

#[test]
fn our_files_are_in_a_folder_of_codexs_home() {
    let stage = Stage::new();
    let there = [Who::Plain, Who::Traced].map(|who| {
        stage.end(stage.begin(who, Place::Pipes, "codex exec 'exit 0'; exit 0"));
        stage.home.state().exists()
    });
    assert_eq!(there, [false, true]);
}
