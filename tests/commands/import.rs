//! Sessions made without us, brought in: each once, whole, and in any number of runs.

use crate::LAUNCHER;
use codex_traced::queue::spool::Spool;
use codex_traced::trace::ids::trace_of_thread;
use mlflow_store::sqlite;
use mlflow_store::trace::{Trace, TraceState};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use support::many::{Copied, copy, many};
use support::run::LIMIT;
use support::{End, Home, ModelServer, Oracle, Outcome, Reply, Script, codex, run, start, wait_for};

mod files;
mod known;
mod lost;

/// No session here asks a model for anything.
const NO_MODEL: &str = "http://127.0.0.1:9";

fn original(name: &str) -> PathBuf {
    PathBuf::from(format!("tests/corpus/0.169.0/{name}.jsonl"))
}

fn originals() -> Vec<PathBuf> {
    ["exec-basic", "codemode", "err-429", "sig-INT", "tui-daemon", "exec-json-resume-1"]
        .map(original)
        .to_vec()
}

/// `codex-traced mlflow …` in the home.
fn ours(home: &Home, words: &[&str]) -> Command {
    let mut command = home.command(LAUNCHER);
    command.env("USER", "tester").arg("mlflow").args(words);
    command
}

#[track_caller]
fn import(home: &Home, words: &[&str]) -> Outcome {
    run(ours(home, &[&["import"], words].concat()).env("CODEX_TRACED_NOTICE", "never"))
}

/// The line with the counts.
fn summary(outcome: &Outcome) -> &str {
    let is_summary = |line: &&str| ["failed", "waiting", "unknown"].iter().any(|end| line.ends_with(end));
    outcome.stdout.lines().find(is_summary).unwrap_or_else(|| panic!("no summary: {outcome:?}"))
}

#[track_caller]
fn assert_imported(home: &Home, words: &[&str], expected: &str) {
    let outcome = import(home, words);
    assert_eq!((summary(&outcome), outcome.end), (expected, End::Code(0)), "{outcome:?}");
}

fn stored(home: &Home, thread: &str) -> Option<Trace> {
    sqlite::read(&home.database(), trace_of_thread(thread)).expect("a database that can be read")
}

fn spooled(home: &Home) -> usize {
    Spool::new(home.state().join("spool")).paths().len()
}

fn root(trace: &Trace, key: &str) -> Option<String> {
    trace.spans[0].attributes.get(key)?.as_str().map(str::to_owned)
}

#[test]
fn every_session_becomes_a_trace_once() {
    let home = Home::new(NO_MODEL);
    let copies = many(&originals(), &home.sessions(), 60);
    assert_imported(&home, &["--all"], "60 new, 0 updated, 0 unchanged, 0 failed");
    for Copied { thread, path } in &copies {
        let trace = stored(&home, thread).unwrap_or_else(|| panic!("no trace of {thread}"));
        assert_eq!(trace.metadata["session_file"], path.to_str().expect("UTF-8"));
        assert_eq!(root(&trace, "codex.attribution").as_deref(), Some("import"));
    }
    assert_imported(&home, &["--all"], "0 new, 0 updated, 60 unchanged, 0 failed");
    assert_imported(&home, &[&copies[0].thread], "0 new, 0 updated, 1 unchanged, 0 failed");
}

#[test]
fn mlflow_shows_an_imported_session_as_it_shows_any_other() {
    let Some(oracle) = Oracle::newest() else { return };
    let home = Home::new(NO_MODEL);
    let copied = copy(&original("exec-basic"), &home.work(), 1);
    assert_imported(
        &home,
        &[copied.path.to_str().expect("UTF-8")],
        "1 new, 0 updated, 0 unchanged, 0 failed",
    );
    let trace = oracle.trace(&home.database());
    assert_eq!(trace.trace_id, trace_of_thread(&copied.thread).to_string());
    assert_eq!(trace.metadata["session"], Value::from(copied.thread));
}

#[test]
fn of_several_files_of_a_thread_the_largest_counts_whichever_is_named() {
    let home = Home::new(NO_MODEL);
    let whole = copy(&original("exec-json-resume-1"), &home.sessions(), 1);
    let text = fs::read_to_string(&whole.path).expect("the copy");
    let part: String = text.lines().take(20).flat_map(|line| [line, "\n"]).collect();
    let kept = home.work().join("kept.jsonl");
    fs::write(&kept, &part).expect("write a copy");
    let archived = home.codex().join("archived_sessions");
    fs::create_dir(&archived).expect("make the archive");
    let name = whole.path.file_name().expect("a name").to_str().expect("UTF-8");
    fs::write(archived.join(name), &part).expect("write an archived twin");

    assert_imported(&home, &[kept.to_str().expect("UTF-8")], "1 new, 0 updated, 0 unchanged, 0 failed");
    let trace = stored(&home, &whole.thread).expect("a trace");
    assert_eq!(trace.metadata["session_file"], whole.path.to_str().expect("UTF-8"));
    assert_imported(&home, &["--all"], "0 new, 0 updated, 1 unchanged, 0 failed");

    // Codex's own file is gone, and what is left holds less: what was sent stays.
    fs::remove_file(&whole.path).expect("remove the file");
    assert_imported(&home, &["--all"], "0 new, 0 updated, 1 unchanged, 0 failed");
    assert_eq!(stored(&home, &whole.thread).expect("a trace").spans.len(), trace.spans.len());
}

#[test]
fn two_files_whose_first_lines_say_one_id_are_two_sessions_under_the_ids_of_their_names() {
    let home = Home::new(NO_MODEL);
    let first = copy(&original("exec-json-resume-1"), &home.sessions(), 1);
    let second = copy(&original("exec-basic"), &home.sessions(), 2);
    let text = fs::read_to_string(&second.path).expect("the copy");
    fs::write(&second.path, text.replace(&second.thread, &first.thread)).expect("keep the first one's id");
    for copied in [&first, &second] {
        let shown = run(ours(&home, &["show"]).arg(&copied.path)).ended(End::Code(0));
        let id = trace_of_thread(&copied.thread).to_string();
        assert!(shown.stdout.contains(&id), "{id}: {}", shown.stdout);
    }
    assert_imported(&home, &["--all"], "2 new, 0 updated, 0 unchanged, 0 failed");
    for Copied { thread, path } in [&first, &second] {
        let trace = stored(&home, thread).unwrap_or_else(|| panic!("no trace of {thread}"));
        assert_eq!(trace.metadata["session_file"], path.to_str().expect("UTF-8"));
        assert_eq!(trace.metadata["session"], *thread);
    }
    assert_imported(&home, &["--all"], "0 new, 0 updated, 2 unchanged, 0 failed");
}

#[test]
fn a_session_that_went_on_is_updated_and_a_compressed_one_is_the_same() {
    let home = Home::new(NO_MODEL);
    let copied = copy(&original("exec-json-resume-1"), &home.sessions(), 1);
    let text = fs::read_to_string(&copied.path).expect("the copy");
    let part: String = text.lines().take(20).flat_map(|line| [line, "\n"]).collect();
    fs::write(&copied.path, part).expect("shorten it");
    assert_imported(&home, &["--all"], "1 new, 0 updated, 0 unchanged, 0 failed");
    fs::write(&copied.path, &text).expect("let it go on");
    assert_imported(&home, &["--since", "2000-01-01"], "0 new, 1 updated, 0 unchanged, 0 failed");
    let before = stored(&home, &copied.thread).expect("a trace");

    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let compressed = copied.path.with_extension("jsonl.zst");
    fs::write(&compressed, ruzstd::encoding::compress_to_vec(text.as_bytes(), level)).expect("compress it");
    fs::remove_file(&copied.path).expect("remove the file");
    assert_imported(&home, &["--all"], "0 new, 1 updated, 0 unchanged, 0 failed");
    let after = stored(&home, &copied.thread).expect("a trace");
    assert_eq!(after.metadata["session_file"], compressed.to_str().expect("UTF-8"));
    assert_eq!(after.spans, before.spans);
}

#[test]
fn what_is_no_session_of_its_own_is_left_out_and_what_cannot_be_read_is_reported() {
    let home = Home::new(NO_MODEL);
    copy(&original("subagent-v1-1"), &home.sessions(), 1);
    copy(&original("subagent-v1-2"), &home.sessions(), 2);
    let empty = copy(&original("exec-basic"), &home.sessions(), 3);
    let text = fs::read_to_string(&empty.path).expect("the copy");
    fs::write(&empty.path, text.lines().next().expect("a line")).expect("shorten it");
    assert_imported(&home, &["--all"], "1 new, 0 updated, 0 unchanged, 0 failed");

    let broken = copy(&original("exec-basic"), &home.sessions(), 4).path;
    fs::rename(&broken, broken.with_extension("jsonl.zst")).expect("rename it");
    let outcome = import(&home, &["--all"]).ended(End::Code(1));
    assert_eq!(summary(&outcome), "0 new, 0 updated, 1 unchanged, 1 failed");
    for line in ["left out: 1 of sub-agents", "left out: 1 without a prompt", "4.jsonl.zst: "] {
        assert!(outcome.stdout.contains(line), "{line}: {}", outcome.stdout);
    }
}

#[test]
fn a_dry_run_reports_and_writes_nothing() {
    let home = Home::new(NO_MODEL);
    let copied = copy(&original("exec-basic"), &home.sessions(), 1);
    let outcome = import(&home, &["--all", "--dry-run"]).ended(End::Code(0));
    assert_eq!(summary(&outcome), "would be 1 new, 0 updated, 0 unchanged, 0 failed");
    assert!(outcome.stdout.contains(&trace_of_thread(&copied.thread).to_string()), "{}", outcome.stdout);
    for folder in ["spool", "receipts", "threads", "mlflow.db"] {
        assert!(!home.state().join(folder).exists(), "{folder}");
    }
}

#[test]
fn only_sessions_that_went_on_since_then_are_meant() {
    let home = Home::new(NO_MODEL);
    let copies = many(&originals()[..1], &home.sessions(), 2);
    let at = |time: &str| SystemTime::from(time.parse::<jiff::Timestamp>().expect("a time"));
    let touch = |path: &Path, time: &str| {
        let file = File::options().append(true).open(path).expect("open the copy");
        file.set_modified(at(time)).expect("set the time");
    };
    // Its lines are of November 22.
    touch(&copies[0].path, "2026-11-20T00:00:00Z");
    touch(&copies[1].path, "2026-11-26T00:00:00Z");
    assert_imported(&home, &["--since", "2026-11-24"], "0 new, 0 updated, 0 unchanged, 0 failed");
    assert_imported(&home, &["--since", "2026-11-21"], "1 new, 0 updated, 0 unchanged, 0 failed");
    assert!(stored(&home, &copies[1].thread).is_some());

    touch(&copies[0].path, "2026-11-27T00:00:00Z");
    let latest = run(&mut ours(&home, &["trace-latest"])).ended(End::Code(0));
    assert_eq!(summary(&latest), "1 new, 0 updated, 0 unchanged, 0 failed");
    assert!(stored(&home, &copies[0].thread).is_some());
}

#[test]
fn a_session_that_codex_still_writes_is_imported_as_far_as_it_goes() {
    let home = Home::new(NO_MODEL);
    let copied = copy(&original("sig-KILL"), &home.sessions(), 1);
    let locks = home.codex().join("thread-writer-locks");
    fs::create_dir(&locks).expect("make the folder of locks");
    let lock = File::create(locks.join(format!("{}.lock", copied.thread))).expect("make a lock");
    lock.lock().expect("hold it as Codex does");
    assert_imported(&home, &["--all"], "1 new, 0 updated, 0 unchanged, 0 failed");
    assert_eq!(stored(&home, &copied.thread).expect("a trace").state, TraceState::InProgress);
    drop(lock);
    // What another test starts at this moment holds a copy of the lock until its exec.
    wait_for("the lock to be free", LIMIT, || {
        let said = run(&mut ours(&home, &["import", "--all"])).ended(End::Code(0));
        let said = summary(&said).to_owned();
        assert!(said.starts_with("0 new, ") && said.ends_with(", 0 failed"), "{said}");
        said == "0 new, 1 updated, 0 unchanged, 0 failed"
    });
    assert_eq!(stored(&home, &copied.thread).expect("a trace").state, TraceState::Error);
}

#[test]
fn what_a_launch_knows_of_a_session_stays() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
    let home = Home::new(&server.url());
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "do it"])).ended(End::Code(0));
    assert_imported(&home, &["--all"], "0 new, 0 updated, 1 unchanged, 0 failed");
    fs::remove_dir_all(home.state().join("receipts")).expect("forget what was sent");
    assert_imported(&home, &["--all"], "1 new, 0 updated, 0 unchanged, 0 failed");
    let path = home.rollout();
    let thread = path.file_stem().and_then(|name| name.to_str()).expect("a name");
    let trace = stored(&home, &thread[thread.len() - 36..]).expect("a trace");
    assert_eq!(root(&trace, "codex.attribution").as_deref(), Some("held"));
    assert_eq!(trace.spans[0].attributes.get("process.exit.code").unwrap(), &json!(0));
}

#[test]
fn where_the_target_is_away_the_sessions_wait_and_the_last_line_reports_it() {
    let home = Home::new(NO_MODEL);
    many(&originals(), &home.sessions(), 3);
    let nowhere = home.work().join("file");
    fs::write(&nowhere, "").expect("write a file");
    let uri = format!("sqlite:///{}/x.db", nowhere.display());
    for _ in 0..2 {
        let outcome =
            run(ours(&home, &["import", "--all"]).env("MLFLOW_TRACKING_URI", &uri)).ended(End::Code(1));
        assert_eq!(summary(&outcome), "0 new, 0 updated, 0 unchanged, 0 failed, 3 waiting");
        assert_eq!(spooled(&home), 3);
    }
}

#[test]
fn where_no_trace_can_wait_either_the_session_has_failed() {
    let home = Home::new(NO_MODEL);
    many(&originals(), &home.sessions(), 1);
    fs::create_dir_all(home.state()).expect("make a folder");
    fs::write(home.state().join("spool"), "").expect("write a file");
    let outcome = import(&home, &["--all"]).ended(End::Code(1));
    assert!(outcome.stdout.contains("0 new, 0 updated, 0 unchanged, 1 failed"), "{outcome:?}");
    assert!(outcome.stdout.contains("cannot write to"), "{outcome:?}");
}

#[test]
fn a_server_that_is_only_in_the_environment_gets_no_old_sessions() {
    let home = Home::new(NO_MODEL);
    let copied = copy(&original("exec-basic"), &home.sessions(), 1);
    let outcome =
        run(ours(&home, &["import", "--all"]).env("MLFLOW_TRACKING_URI", NO_MODEL)).ended(End::Code(0));
    assert!(outcome.stderr.contains("tracing to it is not switched on"), "{}", outcome.stderr);
    assert!(stored(&home, &copied.thread).is_some());
}

#[test]
fn words_that_lead_nowhere_are_reported_with_a_hint() {
    let home = Home::new(NO_MODEL);
    fs::write(home.work().join("notes.jsonl"), "{\"text\":\"hi\"}\n").expect("write a file");
    let table = [
        (&["--all"][..], "No session files found in"),
        (&["nonsense"], "nonsense is neither a file, a folder nor a session id"),
        (&["01a202b6-a73e-7ee3-8243-251c871b1d4f"], "there is no session file of 01a202b6"),
        (&["notes.jsonl"], "notes.jsonl is no session file of Codex"),
        (&["--since", "yesterday"], "yesterday is no time (accepted: 7d, 12h"),
    ];
    for (words, why) in table {
        let outcome = import(&home, words).ended(End::Code(1));
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
        assert!(
            ["hint: ", "accepted: "].iter().any(|help| outcome.stderr.contains(help)),
            "{}",
            outcome.stderr
        );
    }
    let usage = import(&home, &[]).ended(End::Code(2));
    assert!(usage.stderr.contains("--all"), "{}", usage.stderr);
}

#[test]
fn an_import_that_was_stopped_goes_on_where_it_was() {
    let home = Home::new(NO_MODEL);
    let all = many(&originals(), &home.sessions(), 200);
    // Makes the database.
    assert_imported(&home, &[&all[0].thread], "1 new, 0 updated, 0 unchanged, 0 failed");
    let other = Connection::open(home.database()).expect("open the database");
    other.execute_batch("BEGIN EXCLUSIVE").expect("keep it busy");
    // The import makes it again when it delivers the first batch.
    let lock = home.state().join("spool/.lock");
    fs::remove_file(&lock).expect("the lock of deliveries");
    let running = start(&mut ours(&home, &["import", "--all"]));
    wait_for("the import to wait for the database", LIMIT, || lock.exists());
    running.signal(Signal::SIGINT);
    other.execute_batch("ROLLBACK").expect("let it go");
    let stopped = running.finish(LIMIT);
    assert_eq!(stopped.end, End::Signal(Signal::SIGINT as i32), "{stopped:?}");
    let told = |word: &str| -> usize {
        let is_told = |line: &&str| line.split([' ', ',']).any(|other| other == word);
        let line = stopped.stdout.lines().find(is_told).unwrap_or_else(|| panic!("{stopped:?}"));
        let words: Vec<&str> = line.split([' ', ',']).collect();
        words.windows(2).find(|pair| pair[1] == word).expect("a number before it")[0]
            .parse()
            .expect("a number")
    };
    let (new, left) = (told("new"), told("not"));
    assert!(new > 0 && left > 0 && new + left == 199, "{}", stopped.stdout);
    assert_eq!(spooled(&home), 0, "what was begun has arrived");

    let expected = format!("{left} new, 0 updated, {} unchanged, 0 failed", new + 1);
    assert_imported(&home, &["--all"], &expected);
}

/// `cargo test --release --test commands import:: -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_thousand_sessions() {
    let home = Home::new(NO_MODEL);
    let every: Vec<PathBuf> = fs::read_dir("tests/corpus/0.169.0")
        .expect("the corpus")
        .map(|entry| entry.expect("a file").path())
        .collect();
    let own = |path: &&PathBuf| !fs::read_to_string(path).expect("a file").contains("\"parent_thread_id\"");
    let own: Vec<PathBuf> = every.iter().filter(own).cloned().collect();
    let copies = many(&own, &home.sessions(), 1_000);
    let bytes: u64 = copies.iter().map(|copied| fs::metadata(&copied.path).expect("a copy").len()).sum();
    println!("1000 sessions, {} KiB", bytes >> 10);
    for run_of in ["first", "second"] {
        let begun = std::time::Instant::now();
        let outcome = start(&mut ours(&home, &["import", "--all"])).finish(Duration::from_secs(600));
        println!("{run_of}: {:.2} s\n{}{}", begun.elapsed().as_secs_f64(), outcome.stderr, outcome.stdout);
        assert_eq!(outcome.end, End::Code(0));
    }
}
