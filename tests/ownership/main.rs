//! Every session that a launch wrote, and no other: with the real Codex, in every mode, in a crowd.

mod crowd;
mod daemon;
mod interface;
mod late_prompt;
mod older;
mod remote;
mod servers;
mod tui;
mod unseen;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use support::{Codex, Home, ModelServer, Outcome, Tmux};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");

/// How many rounds: a few for every run of the tests, as many as asked for in the long proofs.
fn rounds(a_few: usize) -> usize {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(a_few)
}

/// The thread of `exec --json`.
#[track_caller]
fn thread_of(outcome: &Outcome) -> String {
    outcome.json_lines()[0]["thread_id"].as_str().expect("the first line names the thread").to_owned()
}

fn claimed(home: &Home) -> BTreeSet<String> {
    home.claimed().into_iter().collect()
}

/// What is recorded of a thread: by what evidence each launch claimed it.
fn evidence(home: &Home, thread: &str) -> Vec<String> {
    let place = home.claimed().iter().position(|claimed| claimed == thread).expect("it is claimed");
    let record: &Value = &home.records()[place];
    let launches = record["launches"].as_array().expect("a list");
    launches.iter().map(|launch| launch["attribution"].as_str().expect("text").to_owned()).collect()
}

/// Traces by the threads that they are named after.
fn traced(home: &Home) -> BTreeSet<String> {
    let connection = rusqlite::Connection::open(home.database()).expect("open the database");
    let query = "SELECT value FROM trace_request_metadata WHERE key = 'session'";
    let mut statement = connection.prepare(query).expect("MLflow's table");
    let rows = statement.query_map([], |row| row.get(0)).expect("the traces");
    let threads: Vec<String> = rows.map(|thread| thread.expect("text")).collect();
    let set: BTreeSet<String> = threads.iter().cloned().collect();
    assert_eq!(set.len(), threads.len(), "a thread has two traces");
    set
}

/// Of the only trace: its state, prompt and answer.
fn standing(home: &Home) -> [Option<String>; 3] {
    let connection = rusqlite::Connection::open(home.database()).expect("open the database");
    let query = "SELECT status, request_preview, response_preview FROM trace_info";
    let row = |row: &rusqlite::Row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    connection.query_row(query, [], row).expect("one trace")
}

/// With a model that Codex has no newer one to praise for: that would be a question before the first prompt.
fn home(server: &ModelServer) -> Home {
    let home = Home::new(&server.url());
    home.face("gpt-6.1-sol", &server.url());
    home
}

/// bash in tmux, with the launcher at hand as `$T` and plain codex as `$P`.
fn shell<'a>(home: &'a Home, codex: &Codex) -> Tmux<'a> {
    let native = codex.native.to_str().expect("UTF-8");
    let variables = [("CODEX_TRACED_CODEX_BIN", native), ("USER", "tester"), ("T", LAUNCHER), ("P", native)];
    Tmux::start(home, &variables)
}

/// The only session file that holds this text.
#[track_caller]
fn file_with(home: &Home, text: &str) -> PathBuf {
    let mut found = home.rollouts();
    found.retain(|path| std::fs::read_to_string(path).is_ok_and(|held| held.contains(text)));
    match &found[..] {
        [only] => only.clone(),
        several => panic!("{text:?} stands in {several:?}"),
    }
}

#[track_caller]
fn thread_with(home: &Home, text: &str) -> String {
    thread_of_file(&file_with(home, text))
}

fn thread_of_file(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a rollout's name is text");
    stem[stem.len() - 36..].to_owned()
}

/// Both cores are busy with something else as long as this lives.
struct Busy(Vec<Child>);

impl Busy {
    fn cores(count: usize) -> Busy {
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("start sh");
        Busy((0..count).map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
