//! Codex's full-screen interface, traced: whose session it was, and what became of it.

use crate::LAUNCHER;
use std::fs;
use std::time::Duration;
use support::processes::is_finisher;
use support::run::LIMIT;
use support::tmux::Tmux;
use support::{
    Codex, Gate, Home, ModelServer, Oracle, Reply, Script, assert_facts, codex, kill_all, run, wait_for,
};

/// A turn here takes part of a second.
const TURN: Duration = LIMIT;

/// bash in tmux, with the launcher at hand as `$T` and plain codex as `$P`.
fn shell<'a>(home: &'a Home, codex: &Codex) -> Tmux<'a> {
    let native = codex.native.to_str().expect("UTF-8");
    Tmux::start(
        home,
        &[("CODEX_TRACED_CODEX_BIN", native), ("USER", "tester"), ("T", LAUNCHER), ("P", native)],
    )
}

#[track_caller]
fn quit(shell: &Tmux, what_follows: &str) {
    shell.submit("/quit", what_follows);
}

/// With a model that Codex has no newer one to praise for: that would be a question before the first prompt.
fn home(server: &ModelServer) -> Home {
    let home = Home::new(&server.url());
    home.face("gpt-6.1-sol", &server.url());
    home
}

fn three_answers() -> Script {
    titles()
        .reply_to("third prompt", Reply::new().answer("third answer").usage(300, 0, 3, 0))
        .reply_to("second prompt", Reply::new().answer("second answer").usage(200, 0, 2, 0))
        .reply_to("first prompt", Reply::new().answer("first answer").usage(100, 0, 1, 0))
}

/// At each prompt the daemon asks the model for a title too, at about the same time.
fn titles() -> Script {
    let title = || Reply::new().answer("a title");
    (0..3).fold(Script::new(), |script, _| script.reply_to("Generate a concise", title()))
}

/// Code mode, as the model in the configuration works: a command that succeeds, and one that fails.
fn three_turns_with_tools() -> Script {
    let runs = |command: &str| {
        let call = format!("const {{output}} = await tools.exec_command({{cmd: {command:?}}}); text(output)");
        Reply::new().custom("exec", &call)
    };
    titles()
        .reply_to("second prompt", runs("echo no; exit 3").usage(190, 0, 9, 0))
        .reply_to("first prompt", runs("echo hi").usage(90, 0, 9, 0))
        .then(three_answers())
}

/// A user stops Codex, lists the jobs and resumes it; returns what the shell shows at the end.
fn a_visit_with_a_stop(home: &Home, codex: &Codex, program: &str) -> Vec<String> {
    let shell = shell(home, codex);
    shell.type_line(&format!("stty -g > before; {program}"));
    shell.wait_for("? for shortcuts");
    wait_for("the daemon that the interface starts", TURN, || home.daemon().is_some());
    shell.submit("first prompt", "first answer");
    shell.submit("second prompt", "second answer");
    shell.press("C-z");
    shell.wait_until("the shell", |screen| screen.ends_with("bash$"));
    shell.type_line("clear; jobs");
    shell.wait_until("a stopped job", |screen| {
        screen.starts_with("[1]+  Stopped ") && screen.ends_with("bash$")
    });
    shell.type_line("fg");
    shell.wait_for("? for shortcuts");
    shell.resize(90, 30);
    shell.submit("third prompt", "third answer");
    quit(&shell, "codex resume");
    // What is typed before the shell is back may be lost, as docs/differences.md has it.
    shell.wait_until("the shell", |screen| screen.ends_with("bash$"));
    shell.type_line(
        "code=$?; clear; echo ended $code; stty -g > after; cmp before after && echo the same modes",
    );
    shell.wait_until("the end and the modes", |screen| {
        screen.starts_with("ended") && screen.ends_with("bash$")
    });
    shell.screen().lines().map(str::to_owned).collect()
}

#[test]
fn a_session_in_the_shared_daemon_is_one_trace_with_all_its_turns() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let [plain, traced] = ["$P", "$T"].map(|program| {
        let server = ModelServer::start(three_turns_with_tools());
        let home = home(&server);
        let told = a_visit_with_a_stop(&home, &codex, program);
        (home, told)
    });
    assert_eq!(plain.1, ["ended 0", "the same modes", "bash$"]);
    assert_eq!(plain.1, traced.1);

    let home = traced.0;
    home.wait_until_delivered();
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace OK request="first prompt" response="third answer" in=880 out=24 mlflow.trace.user=tester
        codex_cli_session AGENT OK codex.attribution=tui_log process.exit.code=0 codex.turns=3
          turn_1 AGENT OK inputs.prompt="first prompt" outputs.response="first answer"
            llm_call_1 LLM OK in=90 out=9
            tool_exec TOOL OK
              tool_exec_command TOOL OK inputs.cmd="echo hi" outputs.result="hi\n" exit_code=0
            llm_call_2 LLM OK in=100 out=1
          turn_2 AGENT OK inputs.prompt="second prompt" outputs.response="second answer"
            llm_call_3 LLM OK in=190 out=9
            tool_exec TOOL OK
              tool_exec_command TOOL ERROR inputs.cmd="echo no; exit 3" outputs.result="no\n" exit_code=3 message="exit code 3"
            llm_call_4 LLM OK in=200 out=2
          turn_3 AGENT OK inputs.prompt="third prompt" outputs.response="third answer"
            llm_call_5 LLM OK in=300 out=3
        "#,
    );
}

#[test]
fn a_prompt_on_the_command_line_and_a_resumed_session_count_too() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(three_answers());
    let home = home(&server);
    let shell = shell(&home, &codex);
    shell.type_line("$T 'first prompt'; echo ended $?");
    shell.wait_for("first answer");
    quit(&shell, "ended 0");
    home.wait_until_delivered();
    let before = oracle.trace(&home.database());

    shell.type_line(&format!(
        "clear; $T resume {}; echo again $?",
        before.metadata["session"].as_str().expect("an id")
    ));
    shell.wait_for("? for shortcuts");
    shell.submit("second prompt", "second answer");
    quit(&shell, "again 0");
    home.wait_until_delivered();

    let trace = oracle.trace(&home.database());
    assert_eq!(trace.trace_id, before.trace_id);
    assert_facts(&trace, r#"trace OK request="first prompt" response="second answer" in=300 out=3"#);
}

#[test]
fn without_the_daemon_the_session_is_claimed_as_well() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(three_answers());
    let home = home(&server);
    let shell = shell(&home, &codex);
    shell.type_line("$T --no-daemon 'first prompt'; echo ended $?");
    shell.wait_for("first answer");
    quit(&shell, "ended 0");
    assert!(home.daemon().is_none());
    home.wait_until_delivered();
    assert_facts(
        &oracle.trace(&home.database()),
        r#"trace OK request="first prompt" response="first answer""#,
    );
}

#[test]
fn a_neighbour_on_the_same_daemon_keeps_its_session() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(three_answers());
    let home = home(&server);
    let (plain, traced) = (shell(&home, &codex), shell(&home, &codex));
    plain.type_line("$P 'first prompt'; echo ended $?");
    plain.wait_for("first answer");
    traced.type_line("$T 'second prompt'; echo ended $?");
    traced.wait_for("second answer");
    plain.submit("third prompt", "third answer");
    for shell in [&traced, &plain] {
        quit(shell, "ended 0");
    }
    home.wait_until_delivered();
    assert_eq!((home.rollouts().len(), home.records().len()), (2, 1));
}

#[test]
fn an_interface_closed_without_a_prompt_leaves_no_trace() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(three_answers());
    let home = home(&server);
    let shell = shell(&home, &codex);
    shell.type_line("$T; echo ended $?");
    shell.wait_for("? for shortcuts");
    quit(&shell, "ended 0");
    wait_for("the launch's notes to go", TURN, || home.launches().is_empty());
    assert!(!home.database().exists());
    assert_eq!(home.records().len(), 0);
}

#[test]
fn a_turn_whose_finisher_is_killed_is_completed_by_the_next_launch() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let gate = Gate::new();
    let slow = Reply::new().answer("late answer").usage(100, 0, 1, 0).stall_at_start(&gate);
    let server = ModelServer::start(three_answers().reply_to("slow prompt", slow));
    let home = home(&server);
    let shell = shell(&home, &codex);
    shell.type_line("$T 'slow prompt'; echo ended $?");
    gate.wait_until_reached(TURN);
    quit(&shell, "ended 0");
    let so_far = || home.database().exists() && home.spooled().is_empty() && !super::traced(&home).is_empty();
    wait_for("the trace as far as it got", TURN, so_far);
    assert_facts(&oracle.trace(&home.database()), r#"trace IN_PROGRESS request="slow prompt""#);
    assert_eq!(home.launches().len(), 1, "the launch's notes wait");
    let finisher = home.processes().into_iter().find(|id| is_finisher(*id)).expect("it waits for the turn");
    kill_all([finisher]);

    gate.open();
    let ended = || fs::read_to_string(home.rollout()).expect("read the rollout").contains("task_complete");
    wait_for("the turn's end", TURN, ended);
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "--no-such-option"]));
    home.wait_until_delivered();
    assert_facts(
        &oracle.trace(&home.database()),
        r#"trace OK request="slow prompt" response="late answer" in=100"#,
    );
    assert_eq!(home.launches(), [""; 0]);
}
