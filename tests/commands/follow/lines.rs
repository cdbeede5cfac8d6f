//! Through a pipe: one line for each span, when it has ended.

use super::{NO_MODEL, release, show, until, written};
use crate::LAUNCHER;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use support::run::LIMIT;
use support::{End, Home, ModelServer, Reply, Running, Script, codex, run, start, wait_for};

/// Names of the spans, and what the last line has after the session's id.
fn names(text: &str) -> Vec<String> {
    let name = |line: &str| line.split("  ").nth(1).unwrap_or_default().to_owned();
    text.lines().map(name).collect()
}

#[track_caller]
fn wait_for_line(running: &Running, name: &str) {
    wait_for(name, LIMIT, || names(&running.stdout()).iter().any(|line| line == name));
}

#[test]
fn a_run_of_exec_is_followed_span_by_span_to_its_end() {
    let Some(codex) = codex() else { return };
    let call = json!({"cmd": until("go"), "yield_time_ms": 30_000});
    let server = ModelServer::start(
        Script::new()
            .reply(Reply::new().call("exec_command", call).usage(100, 0, 10, 0))
            .reply(Reply::new().answer("all done").usage(200, 0, 20, 0)),
    );
    let home = Home::new(&server.url());
    let codex = start(home.traced(LAUNCHER, &codex.native).args(["exec", "do it"]));
    wait_for("the tool call", LIMIT, || codex.stderr().contains("until [ -e go ]"));
    let following = start(&mut show(&home, &["--follow"]));
    wait_for_line(&following, "llm_call_1");
    assert_eq!(names(&following.stdout()), ["llm_call_1"], "the tool call runs");
    release(&home, "go");
    codex.finish(LIMIT).ended(End::Code(0));
    let said = following.finish(LIMIT).ended(End::Code(0));
    println!("{}", said.stdout);
    let thread = home.claimed().pop().expect("a claimed thread");
    assert_eq!(names(&said.stdout), ["llm_call_1", "tool_exec_command", "llm_call_2", "turn_1", &thread]);
    let last = said.stdout.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("{thread}  completed · 300 in, 30 out · ")), "{last}");
    assert_eq!((said.stdout.contains('\x1b'), said.stderr.as_str()), (false, ""));
}

#[test]
fn a_file_that_grows_gives_each_span_once_and_those_of_the_whole_file() {
    let home = Home::new(NO_MODEL);
    let written = written(&home, "exec-json-resume-1.jsonl");
    let whole = fs::read_to_string(&written.path).expect("a session file");
    fs::write(&written.path, "").expect("empty it");
    let following = start(&mut show(&home, &["--follow", &written.thread]));
    let mut file = File::options().append(true).open(&written.path).expect("open it");
    let mut turns = 0;
    for line in whole.split_inclusive('\n') {
        file.write_all(line.as_bytes()).expect("let it grow");
        if line.contains(r#""type":"task_complete""#) {
            turns += 1;
            wait_for_line(&following, &format!("turn_{turns}"));
        }
    }
    assert_eq!(turns, 4);
    drop(written.lock);
    let live = following.finish(LIMIT).ended(End::Code(0)).stdout;
    let path = written.path.display().to_string();
    let over = run(&mut show(&home, &["--follow", &path])).ended(End::Code(0)).stdout;
    assert_eq!(live, over);
    assert!(names(&live).last() == Some(&written.thread) && live.lines().count() > 8, "{live}");
}

#[test]
fn a_sub_agent_that_begins_later_is_a_part_of_the_session() {
    let home = Home::new(NO_MODEL);
    let place = |name: &str| {
        let text = fs::read_to_string(Path::new("tests/corpus/0.169.0").join(name)).expect("a session");
        let first: serde_json::Value =
            serde_json::from_str(text.lines().next().unwrap_or_default()).expect("JSON");
        let (thread, made) = (first["payload"]["id"].as_str(), first["payload"]["timestamp"].as_str());
        let (thread, made) = (thread.expect("an id").to_owned(), made.expect("a time").to_owned());
        let day = home.sessions().join(made[..10].replace('-', "/"));
        fs::create_dir_all(&day).expect("make the day's folder");
        (thread.clone(), day.join(format!("rollout-{}-{thread}.jsonl", made[..19].replace(':', "-"))), text)
    };
    let files: Vec<_> = (1..=3).map(|number| place(&format!("nested-agents-{number}.jsonl"))).collect();
    let is_root = |text: &str| !text.lines().next().unwrap_or_default().contains("parent_thread_id");
    let root = files.iter().find(|(_, _, text)| is_root(text)).expect("a root thread");
    let locks = home.codex().join("thread-writer-locks");
    fs::create_dir_all(&locks).expect("make the folder of locks");
    let lock = File::create(locks.join(format!("{}.lock", root.0))).expect("make a lock");
    lock.lock().expect("lock it");
    fs::write(&root.1, &root.2).expect("write the root");
    let following = start(&mut show(&home, &["--follow", &root.0]));
    wait_for_line(&following, "turn_1");
    for (_, path, text) in files.iter().filter(|file| file.0 != root.0) {
        fs::write(path, text).expect("write a sub-agent");
    }
    let inner = "  subagent_outer › subagent_inner › llm_call_1  ";
    wait_for("the inner sub-agent", LIMIT, || following.stdout().contains(inner));
    drop(lock);
    let said = following.finish(LIMIT).ended(End::Code(0));
    let last = said.stdout.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("{}  completed", root.0)), "{}", said.stdout);
}

#[test]
fn it_ends_with_the_reader_of_its_pipe_though_nothing_is_written() {
    let home = Home::new(NO_MODEL);
    let written = written(&home, "exec-basic.jsonl");
    let mut command = home.command("bash");
    command.args(["-c", "\"$0\" mlflow show --follow | head -n 1; echo ${PIPESTATUS[0]}", LAUNCHER]);
    let said = run(&mut command).ended(End::Code(0));
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("llm_call_1") && lines[1] == "0", "{}", said.stdout);
    assert_eq!(said.stderr, "");
    drop(written.lock);
}
