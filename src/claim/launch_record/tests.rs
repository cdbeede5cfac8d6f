//! What a launch records, and what is found of it when it died.

use super::*;
use crate::base::later_version::LaterVersion;
use crate::claim::launches::{all_but, later_versions, left_behind, sweep, under_way};
use crate::claim::verdict::Attribution;
use crate::codex::remote::RemoteAddress;
use codex_session::thread::ThreadId;

fn launch(process: Process) -> Launch {
    let destination =
        Destination { target: Target::Sqlite("/x.db".into()), experiment: Experiment::Name("e".into()) };
    Launch::new(process, "2026-11-22T10:00:00Z".parse().unwrap(), destination, SessionRequest::default())
}

fn gone() -> Process {
    Process { born: Some(1), ..Process::current() }
}

fn elsewhere() -> Process {
    Process { namespace: Some("pid:[1]".into()), ..Process::current() }
}

#[test]
fn a_launch_that_died_is_found_with_all_it_had_learned() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = launch(gone());
    let mut record = LaunchRecord::create(folder.path(), &launch).unwrap();
    let thread = ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap();
    launch.claims.push(Claim { thread, attribution: Attribution::Held });
    record.note(&Note::Claim(launch.claims[0].clone())).unwrap();
    record.note(&Note::Exit(ChildExit::Signal(9))).unwrap();
    launch.exit = Some(ChildExit::Signal(9));
    let path = folder.path().join(format!("{}.jsonl", launch.id));
    assert_eq!(left_behind(folder.path()), [(path, launch)]);
}

#[test]
fn a_launch_that_lives_or_whose_codex_lives_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _lives = LaunchRecord::create(folder.path(), &launch(Process::current())).unwrap();
    let orphaned = Launch { id: "orphaned".into(), ..launch(gone()) };
    let mut orphaned = LaunchRecord::create(folder.path(), &orphaned).unwrap();
    let other = Launch { id: "other".into(), ..launch(elsewhere()) };
    let _other = LaunchRecord::create(folder.path(), &other).unwrap();
    orphaned.note(&Note::Child(Process::current())).unwrap();
    assert_eq!(left_behind(folder.path()), []);
    assert_eq!(under_way(folder.path()).len(), 3);
}

#[test]
fn a_record_begun_at_the_end_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = launch(gone());
    launch.child = Some(gone());
    launch.exit = Some(ChildExit::Code(3));
    launch.logged.push(Logged::Prompt { client_id: "a".into() });
    launch.blind = Some("no /proc".into());
    let record = LaunchRecord::create(folder.path(), &launch).unwrap();
    assert_eq!(load(record.path()), Some(launch));
}

#[test]
fn a_launch_of_another_container_is_over_only_after_a_day_without_news() {
    let launch = launch(elsewhere());
    assert!(!launch.is_over(Duration::ZERO));
    assert!(launch.is_over(FORGOTTEN + Duration::from_secs(1)));
}

#[test]
fn what_is_learned_after_a_launch_died_is_added_to_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(gone());
    drop(LaunchRecord::create(folder.path(), &launch).unwrap());
    let logged = [Logged::Prompt { client_id: "a".into() }, Logged::Prompt { client_id: "b".into() }];
    add_logged(&path_of(folder.path(), &launch.id), &logged).unwrap();
    assert_eq!(left_behind(folder.path())[0].1.logged, logged);
}

#[test]
fn an_old_empty_record_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, begun) = (path_of(folder.path(), "empty"), path_of(folder.path(), "begun"));
    fs::write(&empty, "").unwrap();
    fs::write(&begun, "of a later version").unwrap();
    sweep(folder.path());
    assert!(empty.exists());
    for path in [&empty, &begun] {
        File::options().write(true).open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    sweep(folder.path());
    assert_eq!((empty.exists(), begun.exists()), (false, true));
}

#[test]
fn a_record_is_completed_after_an_incomplete_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut launch = launch(gone());
    let mut record = LaunchRecord::create(folder.path(), &launch).unwrap();
    record.file.write_all(b"{\"claim\": {\"thr").unwrap();
    record.is_torn = true;
    let thread = ThreadId::parse("01a202b6-a73e-7ee3-8243-251c871b1d4f").unwrap();
    launch.claims.push(Claim { thread, attribution: Attribution::Held });
    launch.exit = Some(ChildExit::Code(0));
    launch.blind = Some("no /proc".into());
    for _ in 0..2 {
        record.complete(&launch).unwrap();
        assert_eq!(load(record.path()), Some(launch.clone()));
    }
}

#[test]
fn a_record_with_an_incomplete_last_line_keeps_the_lines_before() {
    let launch = serde_json::to_string(&Note::Launch {
        version: VERSION,
        id: "a".into(),
        process: gone(),
        started_at: Timestamp::UNIX_EPOCH,
        destination: launch(gone()).destination,
        request: SessionRequest::default(),
    });
    let launch = launch.unwrap();
    let read = read(&format!("{launch}\n{{\"exit\":{{\"code\":0}}}}\n{{\"cla")).unwrap();
    assert_eq!((read.id.as_str(), read.exit), ("a", Some(ChildExit::Code(0))));
}

#[test]
fn a_launch_that_died_may_have_missed_sessions_unless_the_interfaces_log_has_them() {
    let table = [
        (Interface::Lines, Some(0), false, Coverage::Complete),
        (Interface::Lines, None, false, Coverage::Partial),
        (Interface::FullScreen, None, false, Coverage::Complete),
        (Interface::Lines, Some(0), true, Coverage::Partial),
        (Interface::FullScreen, Some(0), true, Coverage::Partial),
    ];
    for (interface, code, blind, coverage) in table {
        let request = SessionRequest { interface, ..SessionRequest::default() };
        let blind = blind.then(|| "no /proc".to_owned());
        let launch = Launch { request, exit: code.map(ChildExit::Code), blind, ..launch(gone()) };
        assert_eq!(launch.coverage(), coverage, "{interface:?} {code:?}");
    }
}

#[test]
fn an_exec_on_an_app_server_has_a_session_that_nothing_sees_when_it_succeeded() {
    let table = [
        (Interface::Lines, Some(0), Coverage::Partial),
        (Interface::Lines, Some(1), Coverage::Complete),
        (Interface::Lines, None, Coverage::Complete),
        (Interface::FullScreen, Some(0), Coverage::Complete),
    ];
    for (interface, code, coverage) in table {
        let mut launch = launch(gone());
        launch.request = SessionRequest {
            interface,
            remote: Some(RemoteAddress::ControlSocket.into()),
            ..SessionRequest::default()
        };
        launch.exit = code.map(ChildExit::Code);
        assert_eq!(launch.coverage(), coverage, "{interface:?} {code:?}");
    }
}

#[test]
fn a_record_without_what_was_asked_is_read() {
    let line = format!(
        r#"{{"launch":{{"id":"a","process":{},"started_at":"2026-11-22T10:00:00Z","destination":{}}}}}"#,
        serde_json::to_string(&gone()).unwrap(),
        serde_json::to_string(&launch(gone()).destination).unwrap(),
    );
    assert_eq!(read(&line), Some(Launch { id: "a".into(), ..launch(gone()) }));
}

#[test]
fn a_record_of_a_later_version_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let record = LaunchRecord::create(folder.path(), &launch(gone())).unwrap();
    let known = fs::read_to_string(record.path()).unwrap();
    assert_eq!(later_versions(folder.path()), []);
    let (later, other) = (path_of(folder.path(), "later"), "{\"launch\":{\"version\":2,\"of\":\"x\"}}\n");
    for text in [known.replacen("\"version\":1", "\"version\":2", 1), other.to_owned()] {
        fs::write(&later, &text).unwrap();
        sweep(folder.path());
        assert_eq!((load(&later), all_but(folder.path(), "").len()), (None, 1));
        assert_eq!(later_versions(folder.path()), [LaterVersion::check(&later, 2, VERSION).unwrap()]);
        assert_eq!(fs::read_to_string(&later).unwrap(), text);
    }
}
