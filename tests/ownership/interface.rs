//! Several threads in one launch, and threads within threads: each root is a trace, no other is.

use super::{claimed, evidence, home, shell, thread_of, thread_with, traced};
use crate::LAUNCHER;
use serde_json::json;
use std::collections::BTreeSet;
use support::run::LIMIT;
use support::{End, Home, Item, ModelServer, Reply, Script, Tmux, codex, run, wait_for};

/// At each prompt the daemon asks the model for a title too.
/// Each answer twice: Codex repeats a request whose connection broke.
fn answers(prompts: &[&str]) -> Script {
    prompts.iter().fold(Script::new(), |script, prompt| {
        let answer = Reply::new().answer(&prompt.replace("prompt", "answer")).usage(100, 0, 1, 0);
        script
            .reply_to("Generate a concise", Reply::new().answer("a title"))
            .reply_to(prompt, answer.clone())
            .reply_to(prompt, answer)
    })
}

/// In a git repository Codex asks whether to give the thread a folder of its own.
fn in_this_folder(shell: &Tmux, command: &str, question: &str) {
    shell.submit(command, question);
    shell.press("Enter");
    shell.wait_until("the next conversation", |screen| {
        !screen.contains(question) && screen.contains("? for shortcuts")
    });
}

#[test]
fn new_resumed_and_forked_threads_of_one_launch_are_a_trace_each() {
    let Some(codex) = codex() else { return };
    // The last first: a later request repeats what came before.
    let prompts =
        ["sixth prompt", "fifth prompt", "fourth prompt", "third prompt", "second prompt", "older prompt"];
    let server = ModelServer::start(answers(&prompts));
    let home = home(&server);
    let shell = shell(&home, &codex);
    shell.type_line("$P 'older prompt'; echo ended $?");
    shell.wait_for("older answer");
    shell.submit("/quit", "ended 0");
    let older = thread_with(&home, "older prompt");

    shell.type_line("clear; $T 'second prompt'; echo ended $?");
    shell.wait_for("second answer");
    shell.ask("third prompt", "third answer");
    in_this_folder(&shell, "/new", "Where should the new conversation run?");
    shell.ask("fourth prompt", "fourth answer");
    shell.submit("/resume", "Type to search");
    shell.type_text("older");
    shell.wait_until("one session found", |screen| {
        screen.contains("1 / 1") || screen.contains("older prompt")
    });
    shell.press("Enter");
    shell.wait_for("older answer");
    shell.ask("fifth prompt", "fifth answer");
    in_this_folder(&shell, "/fork", "Where should the forked conversation run?");
    shell.submit("sixth prompt", "sixth answer");
    shell.submit("/quit", "ended 0");
    home.wait_until_delivered();

    let [first, new, forked] =
        ["second prompt", "fourth prompt", "sixth prompt"].map(|text| thread_with(&home, text));
    assert_eq!(thread_with(&home, "third prompt"), first);
    let expected = BTreeSet::from([older, first, new, forked]);
    assert_eq!(expected.len(), 4);
    assert_eq!(traced(&home), expected);
    for thread in &expected {
        assert_eq!(evidence(&home, thread), ["tui_log"]);
    }
}

#[test]
fn a_forked_exec_is_a_trace_of_its_own() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let traced_exec = |words: &[&str]| {
        thread_of(
            &run(home.traced(LAUNCHER, &codex.native).args(["exec", "--json"]).args(words))
                .ended(End::Code(0)),
        )
    };
    let first = traced_exec(&["go"]);
    let fork = traced_exec(&["fork", &first, "go on"]);
    assert_eq!(traced(&home), BTreeSet::from([first, fork]));
}

/// The model's replies in the thread of this agent (0.169: each request names its agent).
fn agent(script: Script, path: &str, replies: Vec<Reply>) -> Script {
    replies
        .into_iter()
        .fold(script, |script, reply| script.reply_to(&format!("\\\"agent_name\\\":\\\"{path}\\\""), reply))
}

fn spawn(name: &str) -> Reply {
    let task = json!({"task_name": name, "message": format!("the task of {name}"), "fork_turns": "none"});
    Reply::new().item(Item::call("spawn_agent", task).namespace("collaboration"))
}

fn wait() -> Reply {
    Reply::new().item(Item::call("wait_agent", json!({"timeout_ms": 60_000})).namespace("collaboration"))
}

#[test]
fn sub_agents_of_every_generation_have_no_trace_of_their_own() {
    let Some(codex) = codex() else { return };
    let done = |text: &str| Reply::new().answer(text);
    let script = agent(Script::new(), "/root/child/grandchild", vec![done("grandchild done")]);
    let script = agent(script, "/root/child", vec![spawn("grandchild"), wait(), done("child done")]);
    let script = agent(script, "/root", vec![spawn("child"), wait(), done("all done")]);
    let server = ModelServer::start(script);
    let home = home(&server);
    let outcome =
        run(home.traced(LAUNCHER, &codex.native).args(["exec", "--json", "go"])).ended(End::Code(0));
    let root = thread_of(&outcome);
    assert_eq!(home.rollouts().len(), 3, "{}", outcome.stdout);
    assert_eq!((traced(&home), claimed(&home)), (BTreeSet::from([root.clone()]), BTreeSet::from([root])));
}

#[test]
fn a_review_is_a_trace_by_command_and_by_hand() {
    let Some(codex) = codex() else { return };
    let review = r#"{"findings":[],"overall_correctness":"patch is correct","overall_explanation":"fine","overall_confidence_score":0.9}"#;
    let script = (0..2).fold(answers(&[]), |script, _| script.reply(Reply::new().answer(review)));
    let server = ModelServer::start(script);
    let home = home(&server);
    std::fs::write(home.work().join("README.md"), "changed\n").expect("change a file");
    run(home.traced(LAUNCHER, &codex.native).args(["review", "--uncommitted"])).ended(End::Code(0));
    let by_command = traced(&home);
    assert_eq!(by_command.len(), 1);

    let shell = shell(&home, &codex);
    shell.type_line("clear; $T; echo ended $?");
    shell.wait_for("? for shortcuts");
    shell.submit("/review", "Select a review preset");
    shell.press("Down");
    shell.press("Enter");
    let reviewed = || home.rollouts().iter().filter(holds_review).count() == 2;
    wait_for("the review's end", LIMIT, reviewed);
    shell.submit("/quit", "ended 0");
    wait_for("the second trace", LIMIT, || home.launches().is_empty() && traced(&home).len() == 2);
    let mut threads = traced(&home);
    threads.retain(|thread| !by_command.contains(thread));
    let by_hand = threads.pop_first().expect("two traces");
    // The interface's log holds no id of a `/review`.
    assert_eq!(evidence(&home, &by_hand), ["only"]);
}

fn holds_review(path: &&std::path::PathBuf) -> bool {
    std::fs::read_to_string(path)
        .is_ok_and(|text| text.contains("ExitedReviewMode") && text.contains("task_complete"))
}
