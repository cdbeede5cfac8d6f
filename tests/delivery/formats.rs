//! Files on disk: those of 0.1 are read, and those of a later version stay as they are.
//!
//! `tests/fixtures/0.1` is what the binary of 0.1 left below `$CODEX_HOME/mlflow` after launches that ended well, were
//! killed, could not deliver or could not put their trace. The session is one of the corpus.

use crate::LAUNCHER;
use codex_session::thread::ThreadId;
use codex_traced::claim::launch_record::{self, Destination, Launch, LaunchRecord};
use codex_traced::claim::launches;
use codex_traced::claim::thread_record::{LaunchEntry, ThreadRecord};
use codex_traced::claim::unclaimed::{self, Unclaimed};
use codex_traced::claim::verdict::{Attribution, Claim};
use codex_traced::codex::command_line::SessionRequest;
use codex_traced::codex::interface_log::Logged;
use codex_traced::queue::receipts::Receipts;
use codex_traced::queue::spool::Spool;
use codex_traced::queue::spool::entry::{Entry, Head};
use codex_traced::queue::spool::retry::{EntryTries, Lane};
use codex_traced::redact::Salt;
use codex_traced::settings::launch_context::LaunchContext;
use codex_traced::settings::modes::{Content, Granularity};
use codex_traced::trace::ids::{trace_of_thread, trace_of_turn};
use launch::exit::ChildExit;
use launch::mode::Interface;
use launch::process::Process;
use mlflow_store::sqlite;
use mlflow_store::target::{Experiment, Target};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use support::{End, Home, run};

const RECORDED: &str = "tests/fixtures/0.1";

/// CODEX_HOME of the recording.
const RECORDED_HOME: &str = "/tmp/recorded/home";

const SESSION: &str = "tests/corpus/0.169.0/exec-basic.jsonl";

fn recorded(name: &str) -> PathBuf {
    Path::new(RECORDED).join(name)
}

/// The thread of the recording's session of this number.
fn thread(number: usize) -> ThreadId {
    ThreadId::parse(&format!("01a202ad-9e14-7080-b0ad-{number:012x}")).expect("a UUID")
}

fn here() -> Destination {
    Destination {
        target: Target::Sqlite(format!("{RECORDED_HOME}/mlflow/mlflow.db").into()),
        experiment: Experiment::Name("codex-sessions".into()),
    }
}

fn load(launch: &str) -> Launch {
    launch_record::load(&recorded("launches").join(format!("{launch}.jsonl"))).expect("a record of 0.1")
}

/// A launch of the recording, with its number and time from the file.
fn launch(id: &str, interface: Interface, child: Process) -> Launch {
    let Launch { process, started_at, .. } = load(id);
    let folder = Some("/tmp/recorded/work".to_owned());
    let request = SessionRequest { interface, folder, ..SessionRequest::default() };
    Launch { id: id.into(), child: Some(child), ..Launch::new(process, started_at, here(), request) }
}

fn launches_of_0_1() -> Vec<Launch> {
    let process = |id, born| Process { id, born: Some(born), namespace: Some("pid:[4026531836]".into()) };
    let held = |number| Claim { thread: thread(number), attribution: Attribution::Held };
    let rollout = format!("{RECORDED_HOME}/sessions/rollout-2026-11-22T10-00-00-{}.jsonl", thread(255));
    vec![
        Launch {
            claims: vec![held(9)],
            exit: Some(ChildExit::Code(0)),
            ..launch("18ec565eb70da4f2-6a90", Interface::Lines, process(NOT_PUT.0, NOT_PUT.1))
        },
        Launch {
            claims: vec![held(10)],
            granularity: Granularity::Turn,
            content: Content::Metadata,
            ..launch("18ec565ebe4bc7cf-6aa0", Interface::Lines, process(KILLED.0, KILLED.1))
        },
        Launch {
            logged: vec![
                Logged::Prompt { client_id: "ebfa59b9-0000-7000-8000-000000000001".into() },
                Logged::UntaggedOp,
                Logged::Rollout(rollout.into()),
            ],
            ..launch("18ec565efb2d94b4-6b33", Interface::FullScreen, process(SCREEN.0, SCREEN.1))
        },
    ]
}

/// Child's process of each launch record: id and time of birth.
const NOT_PUT: (u32, u64) = (27281, 1765009);
const KILLED: (u32, u64) = (27298, 1765021);
const SCREEN: (u32, u64) = (27446, 1765123);

fn records_of_0_1() -> BTreeMap<usize, ThreadRecord> {
    let one = |id: &str, at: &str, destination| ThreadRecord {
        launches: vec![LaunchEntry {
            launch_id: id.into(),
            attribution: Attribution::Held,
            started_at: at.parse().expect("a time"),
            exit: Some(ChildExit::Code(0)),
            context: LaunchContext::default(),
        }],
        destination: Some(destination),
        granularity: Some(Granularity::Session),
        ..ThreadRecord::default()
    };
    let away = Destination {
        target: Target::Http("http://127.0.0.1:9".into()),
        experiment: Experiment::Name("team".into()),
    };
    BTreeMap::from([
        (3, one("18ec565a35bfdf1b-59c1", "2026-11-28T22:34:56.862797595Z", here())),
        (4, one("18ec565a3f5238a4-59ca", "2026-11-28T22:34:57.023383716Z", away)),
        (9, one("18ec565eb70da4f2-6a90", "2026-11-28T22:35:16.212024562Z", here())),
    ])
}

fn unclaimed_of_0_1() -> Vec<Unclaimed> {
    let one = |number| Unclaimed {
        thread: thread(number),
        launch_id: "18ec565a027fc929-596b".into(),
        launched_at: "2026-11-28T22:34:56.002959657Z".parse().expect("a time"),
        of: 2,
    };
    vec![one(1), one(2)]
}

#[test]
fn launch_records_of_0_1_and_of_now_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for expected in launches_of_0_1() {
        assert_eq!(load(&expected.id), expected);
        // A launch of a Codex server has a field that 0.1 ignores.
        for is_server in [false, true] {
            let mut launch = expected.clone();
            launch.request.is_server = is_server;
            let record = LaunchRecord::create(folder.path(), &launch).expect("write");
            let text = fs::read_to_string(record.path()).expect("read");
            assert!(text.starts_with("{\"launch\":{\"version\":1,\"id\":"), "{text}");
            assert_eq!(text.contains("\"is_server\":true"), is_server, "{text}");
            assert_eq!(launch_record::load(record.path()), Some(launch));
            record.remove().expect("remove");
        }
    }
    assert_eq!(launches::later_versions(&recorded("launches")), []);
}

#[test]
fn thread_records_of_0_1_and_of_now_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (number, expected) in records_of_0_1() {
        let of_0_1 = ThreadRecord::load(&recorded("threads"), &thread(number)).expect("a record of 0.1");
        assert_eq!(of_0_1, expected);
        let written = ThreadRecord::update(folder.path(), &thread(number), |record| *record = of_0_1.clone());
        assert_eq!(written.expect("write"), expected);
        let text = fs::read_to_string(folder.path().join(format!("{}.json", thread(number)))).expect("read");
        assert!(text.starts_with("{\"version\":1,\"launches\":["), "{text}");
        assert_eq!(ThreadRecord::load(folder.path(), &thread(number)).expect("read"), expected);
    }
}

#[test]
fn unclaimed_sessions_of_0_1_and_of_now_are_read_from_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("unclaimed.json");
    fs::copy(recorded("unclaimed.json"), &file).expect("copy");
    let mut expected = unclaimed_of_0_1();
    assert_eq!(unclaimed::all(&file).as_ref(), Ok(&expected));
    let new = Unclaimed { thread: thread(3), ..expected[0].clone() };
    unclaimed::add(&file, vec![new.clone()]).expect("write");
    expected.push(new);
    assert_eq!(unclaimed::all(&file), Ok(expected.clone()));
    // 0.1 writes no version: its elements and those of now may be in one file.
    let mixed = fs::read_to_string(&file).expect("read").replacen("\"version\":1,", "", 1);
    fs::write(&file, mixed).expect("write");
    assert_eq!(unclaimed::all(&file), Ok(expected));
}

#[test]
fn the_spool_and_the_receipts_of_0_1_are_read() {
    let spool = Spool::new(recorded("spool"));
    let [waiting] = &spool.paths()[..] else { panic!("one entry waits") };
    let trace = trace_of_thread(thread(5).as_str());
    let target = Target::Http("http://127.0.0.1:5999".into());
    let head = Head::load(waiting).expect("a head of 0.1");
    assert_eq!((&head.target, head.trace, head.rank.spans), (&target, trace, 9));
    let entry = Entry::load(waiting).expect("an entry of 0.1");
    assert_eq!(
        (entry.head(), entry.trace.request_preview.as_deref()),
        (head, Some("please list files and edit"))
    );
    let tries = EntryTries::load(waiting).expect("tries of 0.1");
    assert_eq!((tries.pause.failures, tries.own, tries.alone, tries.open), (2, 2, 0, true));
    let backoff = spool.backoff(&Lane::from_target(&target));
    let pause = backoff.get(&Target::Http("http://127.0.0.1:9".into())).expect("a pause of 0.1");
    assert_eq!(pause.failures, 2);
    let [quarantined] = &spool.quarantined()[..] else { panic!("one entry is in quarantine") };
    let why = Spool::reason(quarantined);
    assert_eq!(why.as_deref(), Some("not a whole spool entry: its end is missing"));

    let receipts = Receipts::new(recorded("receipts"));
    for (number, target) in [(3, here().target), (8, Target::FileStore("/tmp/recorded/mlruns".into()))] {
        let kept = receipts.get(trace_of_thread(thread(number).as_str()), &target).expect("a receipt of 0.1");
        assert_eq!((kept.receipt.spans.len(), kept.rank.spans, kept.receipt.archived), (9, 9, false));
    }
    assert_eq!(receipts.later_versions(), []);
}

#[test]
fn the_salt_of_0_1_is_kept() {
    let salt = recorded("salt");
    let before = fs::read(&salt).expect("read");
    Salt::load_or_create(&salt).expect("a salt of 0.1");
    assert_eq!((fs::read(&salt).expect("read"), before.len()), (before.clone(), 32));
}

/// A home with the recording's launches and records, and the session that its killed launch wrote.
fn home_of_0_1() -> Home {
    let home = Home::new("http://127.0.0.1:9");
    for folder in ["launches", "threads"] {
        let to = home.state().join(folder);
        fs::create_dir_all(&to).expect("make a folder");
        for entry in fs::read_dir(recorded(folder)).expect("the recording").flatten() {
            let text = fs::read_to_string(entry.path()).expect("read");
            let moved = text.replace(RECORDED_HOME, home.codex().to_str().expect("a path of text"));
            let path = to.join(entry.file_name());
            fs::write(&path, moved).expect("write");
            // In a container the processes cannot be seen, and the age of the record decides.
            File::options()
                .write(true)
                .open(&path)
                .expect("open")
                .set_modified(std::time::UNIX_EPOCH)
                .expect("set");
        }
    }
    let session = fs::read_to_string(SESSION).expect("a file of the corpus");
    let session = session.replace("01a202ad-9e14-7080-b0ad-408167e4fb5e", thread(10).as_str());
    let folder = home.sessions().join("2026/11/22");
    fs::create_dir_all(&folder).expect("make the folder of a day");
    let file = folder.join(format!("rollout-2026-11-22T10-00-00-{}.jsonl", thread(10)));
    fs::write(&file, session).expect("write a session");
    // The launch wrote it after its begin.
    let after = std::time::SystemTime::from(load("18ec565ebe4bc7cf-6aa0").started_at)
        + std::time::Duration::from_secs(1);
    File::options().write(true).open(file).expect("open").set_modified(after).expect("set");
    home
}

#[test]
fn a_launch_of_0_1_that_was_killed_is_finished() {
    let home = home_of_0_1();
    let sync = run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "sync"])).ended(End::Code(0));
    assert_eq!(sync.stdout, "1 delivered, 0 waiting\n");
    assert!(home.launches().is_empty(), "{:?}", home.launches());
    let trace = sqlite::read(&home.database(), trace_of_turn(thread(10).as_str(), 1)).expect("readable");
    let trace = trace.expect("the trace of its turn");
    // Its content mode was metadata.
    assert_eq!(trace.request_preview, None);
    let record = ThreadRecord::load(&home.state().join("threads"), &thread(10)).expect("its record");
    assert_eq!((record.content, record.granularity), (Content::Metadata, Some(Granularity::Turn)));
}

#[test]
fn files_of_a_later_version_stay_as_they_are_and_are_reported() {
    let home = Home::new("http://127.0.0.1:9");
    let trace = trace_of_thread(thread(9).as_str());
    let files = [
        ("launches/later.jsonl".to_owned(), "{\"launch\":{\"version\":2,\"claims\":[]}}\n"),
        (format!("threads/{}.json", thread(9)), "{\"version\":2,\"wrote\":[]}"),
        ("unclaimed.json".to_owned(), "{\"version\":2,\"sessions\":[]}"),
        (format!("receipts/{trace}.json"), "{\"version\":3,\"taken\":[]}"),
    ];
    let paths = files.map(|(name, text)| {
        let path = home.state().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        fs::write(&path, text).expect("write");
        (path, text)
    });
    let mlflow = |words: &[&str], code| {
        run(home.traced(LAUNCHER, Path::new("/nowhere")).arg("mlflow").args(words)).ended(End::Code(code))
    };
    let sentence = |path: &Path| {
        format!(
            "{} has version 2, which a later codex-traced wrote; it stays as it is (update codex-traced to use it)",
            path.display()
        )
    };
    let sync = mlflow(&["sync"], 0).stdout;
    let expected = format!("not finished here: {}\n0 delivered, 0 waiting\n", sentence(&paths[0].0));
    assert_eq!(sync, expected);
    let log = fs::read_to_string(home.state().join("codex_tracing.log")).unwrap_or_default();
    assert!(log.contains(&sentence(&paths[0].0)), "{log}");
    let doctor =
        run(home.traced(LAUNCHER, Path::new("/nowhere")).args(["mlflow", "doctor", "--json"])).stdout;
    let expected = format!("4 files of a later codex-traced cannot be used: {}", sentence(&paths[0].0));
    assert!(doctor.contains(&expected), "{doctor}");
    let forget = mlflow(&["forget", thread(9).as_str()], 1).stderr;
    assert!(forget.contains(&sentence(&paths[1].0)), "{forget}");
    mlflow(&["status"], 0);
    for (path, text) in paths {
        assert_eq!(fs::read_to_string(&path).expect("it is there"), text, "{}", path.display());
    }
}
