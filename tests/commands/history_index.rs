//! The index behind `list` and `usage` follows the session files, and heals.

use crate::history::{command, corpus, ids, json, recorded, stdout};
use codex_session::rollout::path::files_below;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::{End, run};

#[test]
fn the_index_follows_new_changed_and_removed_files() {
    let situation = recorded(&["0.165.0"]);
    let before = ids(&situation, &[]);
    let folder = situation.home.sessions().join("2026/11/30");
    fs::create_dir_all(&folder).expect("make a folder");
    let file = folder.join("rollout-2026-11-30T10-00-00-01a22bca-0000-7000-8000-000000000001.jsonl");
    let line = |at: &str, kind: &str, payload: &str| {
        format!("{{\"timestamp\":\"2026-11-30T10:00:{at}Z\",\"type\":\"{kind}\",\"payload\":{payload}}}\n")
    };
    let total = |input: u64| {
        let usage = format!("{{\"input_tokens\":{input},\"output_tokens\":0,\"total_tokens\":{input}}}");
        let info = format!("{{\"total_token_usage\":{usage},\"last_token_usage\":{usage}}}");
        line("05", "event_msg", &format!("{{\"type\":\"token_count\",\"info\":{info}}}"))
    };
    let mut text = line(
        "00",
        "session_meta",
        "{\"id\":\"01a22bca-0000-7000-8000-000000000001\",\"timestamp\":\"2026-11-30T10:00:00Z\",\"cwd\":\"/w\"}",
    );
    text += &line("01", "event_msg", "{\"type\":\"task_started\",\"turn_id\":\"t\"}");
    text += &line("02", "turn_context", "{\"turn_id\":\"t\",\"model\":\"gpt-none\",\"cwd\":\"/w\"}");
    text += &line(
        "03",
        "event_msg",
        "{\"type\":\"user_message\",\"message\":\"ask \\u001b[31m\\u202e sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqr-AAAAAA\"}",
    );
    text += &line(
        "04",
        "response_item",
        "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"well\"}]}",
    );
    fs::write(&file, text.clone() + &total(18_446_744_073_709_551_615)).expect("write a session");
    let listed = json(&situation, &["list", "--json"]);
    let new = &listed["sessions"][0];
    assert_eq!(
        (&new["id"], &new["status"]),
        (&"01a22bca-0000-7000-8000-000000000001".into(), &"lost".into())
    );
    let prompt = new["prompt"].as_str().expect("a prompt");
    assert!(prompt.contains("[redacted:") && !prompt.contains("abcdefghijklm"), "{prompt}");
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(before.len() + 1));
    let shown = stdout(&situation, &["list"], "200");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    assert!(shown.contains('?'), "no price: {shown}");
    // It grows.
    fs::write(
        &file,
        text + &total(100) + &line("06", "event_msg", "{\"type\":\"task_complete\",\"turn_id\":\"t\"}"),
    )
    .expect("write");
    let new = json(&situation, &["list", "--json"])["sessions"][0].clone();
    assert_eq!(
        (&new["status"], &new["input_tokens"], &new["unpriced_tokens"]),
        (&"completed".into(), &100.into(), &100.into())
    );
    // A damaged index is made anew, and a link to a folder adds nothing.
    let index = situation.home.state().join("history.db");
    fs::write(&index, "no database".repeat(10_000)).expect("damage the index");
    symlink(situation.home.sessions(), folder.join("circle")).expect("link");
    assert_eq!(ids(&situation, &[]).len(), before.len() + 1);
    fs::remove_dir_all(&folder).expect("remove the folder");
    assert_eq!(ids(&situation, &[]), before);
    // What cannot be read is named.
    fs::create_dir_all(&folder).expect("make a folder");
    fs::write(file.with_extension("jsonl.zst"), "not compressed").expect("write");
    let outcome = run(&mut situation.command(&["list"]));
    assert_eq!(outcome.end, End::Code(0));
    assert!(
        outcome.stderr.contains("cannot read") && outcome.stderr.contains(".jsonl.zst"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn many_at_once_agree_and_a_home_that_takes_no_file_is_read_all_the_same() {
    let situation = recorded(&["0.165.0", "0.169.0"]);
    let children: Vec<_> = (0..4)
        .map(|_| {
            command(&situation, &["usage", "--json"], "80").stdout(Stdio::piped()).spawn().expect("start")
        })
        .collect();
    let said: Vec<String> = children
        .into_iter()
        .map(|child| String::from_utf8(child.wait_with_output().expect("wait").stdout).expect("text"))
        .collect();
    assert!(said[0].len() > 100 && said.iter().all(|one| *one == said[0]), "{said:?}");
    let state = situation.home.state();
    fs::remove_dir_all(&state).expect("remove the state");
    fs::create_dir_all(&state).expect("make the folder");
    let situation = situation.read_only(state.clone());
    assert_eq!(stdout(&situation, &["usage", "--json"], "80"), said[0]);
    assert_eq!(fs::read_dir(&state).expect("the folder").count(), 0);
}

/// Sub-agents may be written, or copied into the home, before the session that started them.
#[test]
fn sub_agents_join_their_session_in_any_order_of_arrival() {
    let situation = recorded(&[]);
    fs::create_dir_all(situation.home.sessions()).expect("make a folder");
    let name = |number: u8| format!("nested-agents-{number}.jsonl");
    for order in [[1, 2, 3], [3, 2, 1], [2, 1, 3], [2, 3, 1], [3, 1, 2], [1, 3, 2]] {
        for number in order {
            fs::copy(
                corpus().join("0.169.0").join(name(number)),
                situation.home.sessions().join(name(number)),
            )
            .expect("copy a session");
            ids(&situation, &[]);
        }
        let listed = json(&situation, &["list", "--json"]);
        assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1), "{order:?} {listed}");
        assert_eq!(
            (&listed["all"], &listed["sessions"][0]["sub_agents"]),
            (&1.into(), &2.into()),
            "{order:?}"
        );
        let usage = json(&situation, &["usage", "--by", "session", "--json"]);
        assert_eq!(usage["total"]["total_tokens"], listed["sessions"][0]["total_tokens"], "{order:?}");
        for number in [1, 2, 3] {
            fs::remove_file(situation.home.sessions().join(name(number))).expect("remove");
        }
        assert_eq!(ids(&situation, &[]), [""; 0]);
    }
}

/// As on a full disk: the readers must not wait for a writer that is gone.
#[test]
fn an_index_that_cannot_be_written_is_made_in_memory() {
    let situation = recorded(&[]);
    let text = fs::read_to_string(corpus().join("0.169.0/exec-basic.jsonl")).expect("a session");
    for number in 0..400 {
        let thread = format!("01a202ad-9e14-7080-b0ad-{number:012}");
        let file = situation.home.sessions().join(format!("rollout-2026-11-22T09-54-22-{thread}.jsonl"));
        fs::create_dir_all(situation.home.sessions()).expect("make a folder");
        fs::write(file, text.replace("01a202ad-9e14-7080-b0ad-408167e4fb5e", &thread))
            .expect("write a session");
    }
    let mut limited = situation.command(&["list", "--json", "--limit", "0"]);
    let program = limited.get_program().to_owned();
    let words: Vec<_> = limited.get_args().map(ToOwned::to_owned).collect();
    let variables: Vec<_> =
        limited.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    limited = Command::new("sh");
    // A write beyond the limit fails instead of a signal.
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\""])
        .arg(program)
        .args(words)
        .env_clear();
    limited.envs(variables.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let outcome = run(&mut limited);
    assert_eq!(outcome.end, End::Code(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("for this command only"), "{}", outcome.stderr);
    let listed: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(400));
}

#[test]
fn what_could_not_be_read_is_named_until_it_can() {
    let situation = recorded(&["0.165.0"]);
    let before = ids(&situation, &[]);
    let damaged = situation
        .home
        .sessions()
        .join("rollout-2026-11-22T09-54-22-01a202ad-9e14-7080-b0ad-408167e4fb5e.jsonl.zst");
    fs::write(&damaged, "not compressed").expect("write");
    for words in [["list"], ["usage"], ["list"]] {
        let outcome = run(&mut situation.command(&words));
        assert_eq!(outcome.end, End::Code(0));
        assert!(
            outcome.stderr.contains("the compressed file is damaged or incomplete"),
            "{}",
            outcome.stderr
        );
    }
    fs::remove_file(&damaged).expect("remove");
    fs::copy(corpus().join("0.169.0/exec-basic.jsonl"), damaged.with_extension("")).expect("copy a session");
    let outcome = run(&mut situation.command(&["list", "--json"]));
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    assert_eq!(ids(&situation, &[]).len(), before.len() + 1);
    // A name that is no text.
    let name =
        [&b"rollout-2026-11-22T09-54-22-01a202ad-9e14-7080-b0ad-408167e4fb5e\xff"[..], b".jsonl"].concat();
    fs::rename(damaged.with_extension(""), situation.home.sessions().join(OsStr::from_bytes(&name)))
        .expect("rename");
    assert_eq!(ids(&situation, &[]).len(), before.len() + 1);
    // Damage that only a question meets.
    let index = situation.home.state().join("history.db");
    let mut bytes = fs::read(&index).expect("the index");
    let pages = bytes.len() / 4096;
    for page in 1..pages {
        let mut damaged = bytes.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xff);
        fs::write(&index, damaged).expect("damage a page");
        assert_eq!(ids(&situation, &[]).len(), before.len() + 1, "page {page} of {pages}");
        stdout(&situation, &["usage"], "80");
        bytes = fs::read(&index).expect("the index");
        if bytes.len() < (page + 2) * 4096 {
            break;
        }
    }
}

#[test]
fn a_session_belongs_to_the_repository_that_its_folder_is_in_now() {
    let situation = recorded(&[]);
    let deep = situation.home.work().join("deep/er");
    fs::create_dir_all(&deep).expect("make a folder");
    let text = fs::read_to_string(corpus().join("0.169.0/exec-basic.jsonl")).expect("a session");
    let text = text.replace("/srv/recordings/x/corpus/0.169.0/exec-basic/work", &deep.display().to_string());
    fs::create_dir_all(situation.home.sessions()).expect("make a folder");
    fs::write(situation.home.sessions().join("a.jsonl"), text).expect("write a session");
    let project = || json(&situation, &["list", "--json"])["sessions"][0]["project"].clone();
    assert_eq!(project(), situation.home.work().display().to_string());
    fs::create_dir(situation.home.work().join("deep/.git")).expect("make a repository");
    assert_eq!(project(), situation.home.work().join("deep").display().to_string());
}

/// What happens to files of sessions, in an order that no test author chose: after each step the index is what a new one
/// would be.
#[test]
fn an_index_made_in_steps_is_that_made_at_once() {
    let situation = recorded(&[]);
    let (sessions, archive) = (situation.home.sessions(), situation.home.codex().join("archived_sessions"));
    fs::create_dir_all(&archive).expect("make a folder");
    let mut recordings: Vec<PathBuf> = ["0.36.0", "0.98.0", "0.169.0"]
        .iter()
        .flat_map(|version| fs::read_dir(corpus().join(version)).expect("the corpus").flatten())
        .map(|file| file.path())
        .collect();
    recordings.sort();
    let mut chance: usize = 5;
    let mut next = |below: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    for step in 0..40 {
        let day = sessions.join(format!("2026/11/{}", 20 + next(3)));
        fs::create_dir_all(&day).expect("make a folder");
        let mut files: Vec<PathBuf> = [&archive, &sessions]
            .into_iter()
            .flat_map(|folder| files_below([folder.clone()]))
            .map(|entry| entry.path())
            .collect();
        files.sort();
        match (next(8), files.len()) {
            (0..=3, _) | (_, 0) => {
                let from = &recordings[next(recordings.len())];
                let text = fs::read(from).expect("a recording");
                let length = if next(2) == 0 { text.len() } else { next(text.len()) };
                fs::write(day.join(from.file_name().expect("a name")), &text[..length]).expect("write");
            }
            (4, many) => fs::remove_file(&files[next(many)]).expect("remove"),
            (5, many) => {
                let file = &files[next(many)];
                fs::rename(file, archive.join(file.file_name().expect("a name"))).expect("archive");
            }
            (6, many) => {
                let file = &files[next(many)];
                fs::copy(file, day.join(format!("{step}-{}", file.file_name().expect("a name").display())))
                    .expect("copy");
            }
            (_, many) => {
                let file = fs::File::options().write(true).open(&files[next(many)]).expect("open");
                let length = usize::try_from(file.metadata().expect("metadata").len()).expect("a length");
                file.set_len(next(length + 1) as u64).expect("cut");
            }
        }
        let answers = || {
            let list = json(&situation, &["list", "--json", "--limit", "0"]);
            (list, json(&situation, &["usage", "--by", "session,subagent", "--json"]))
        };
        let in_steps = answers();
        let (index, kept) =
            (situation.home.state().join("history.db"), situation.home.state().join("kept.db"));
        fs::rename(&index, &kept).expect("put the index aside");
        assert_eq!(answers(), in_steps, "step {step}");
        fs::rename(&kept, &index).expect("take the index back");
    }
}
