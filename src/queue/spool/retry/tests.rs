//! Pauses add up, end, and survive in their files.

use super::super::Spool;
use super::super::tests::{entry, failed, remote};
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_server_is_left_alone_for_longer_after_each_failure() {
    let seconds = |failures, asked: Option<u64>, jitter| {
        pause(&remote(), failures, asked.map(Duration::from_secs), jitter).as_secs()
    };
    let table = [
        (1, None, 1.0, 30),
        (1, None, 0.0, 15),
        (2, None, 1.0, 60),
        (4, None, 0.5, 180),
        (8, None, 1.0, 3600),
        (u32::MAX, None, 1.0, 3600),
        (u32::MAX, None, 0.0, 1800),
        (1, Some(10), 1.0, 30),
        (1, Some(120), 1.0, 120),
        (1, Some(7200), 1.0, 7200),
        (1, Some(u64::MAX), 1.0, DAY),
        (1, None, 7.0, 30),
    ];
    for (failures, asked, jitter, expected) in table {
        assert_eq!(seconds(failures, asked, jitter), expected, "{failures} {asked:?} {jitter}");
    }
    assert_eq!(pause(&Lane::Local, 9, Some(Duration::from_secs(9)), 1.0), Duration::ZERO);
}

#[test]
fn failures_add_up_and_the_last_reason_is_kept() {
    let first = Pause::after(None, failed(remote(), "a", at(1000)));
    let second = Pause::after(Some(&first), failed(remote(), "b", at(2000)));
    let expected = Pause { failures: 2, since: at(2000), until: at(2060), reason: "b".into() };
    assert_eq!(second, expected);
}

#[test]
fn a_wrong_clock_blocks_no_target_forever() {
    let pause = |until| Pause { failures: 1, since: at(1000), until: at(until), reason: String::new() };
    let day = DAY as i64;
    let table = [
        (pause(1030), 1000, true),
        (pause(1030), 1029, true),
        (pause(1030), 1030, false),
        (pause(1000), 1000, false),
        // The clock went back to before the failure.
        (pause(1030), 999, false),
        // The clock was far ahead when the end was written.
        (pause(1000 + 400 * day), 999 + day, true),
        (pause(1000 + 400 * day), 1000 + day, false),
    ];
    for (pause, now, expected) in table {
        assert_eq!(pause.lasts(at(now)), expected, "{pause:?} at {now}");
    }
    let end = Pause::after(None, failed(remote(), "", Timestamp::MAX));
    assert!(!end.lasts(Timestamp::MAX));
}

fn after(before: Option<&EntryTries>, against: Against, now: i64) -> EntryTries {
    EntryTries::after(before, against, failed(remote(), &format!("at {now}"), at(now)))
}

#[test]
fn tries_add_up_and_only_the_traces_own_failures_pause_it() {
    let first = after(None, Against::Target, 10);
    let pause = |failures, since, until| Pause {
        failures,
        since: at(since),
        until: at(until),
        reason: format!("at {since}"),
    };
    assert_eq!(first, EntryTries { pause: pause(1, 10, 10), own: 0, alone: 0, open: false });
    let second = after(Some(&first), Against::Trace, 20);
    assert_eq!(second, EntryTries { pause: pause(2, 20, 50), own: 1, alone: 0, open: true });
    let third = after(Some(&EntryTries { alone: 1, ..second }), Against::Trace, 60);
    assert_eq!(third, EntryTries { pause: pause(3, 60, 120), own: 2, alone: 1, open: true });
    assert!(!third.are_enough());
    assert!(EntryTries { alone: MOST_ALONE, ..third }.are_enough());
}

#[test]
fn tries_exist_as_long_as_their_entry() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"));
    let tries = after(None, Against::Trace, 20);
    for gone in [
        |path: &Path| Spool::remove(path).unwrap(),
        |path: &Path| Spool::remove_all([&path.to_owned()]).unwrap(),
        |path: &Path| fs::remove_file(path).unwrap(),
    ] {
        let path = spool.put(&entry("n"), at(1)).unwrap();
        assert_eq!(EntryTries::load(&path), None);
        tries.write(&path).unwrap();
        spool.sweep();
        assert_eq!((EntryTries::load(&path), spool.paths().len()), (Some(tries.clone()), 1));
        gone(&path);
        spool.sweep();
        assert_eq!(EntryTries::load(&path), None);
    }
    let path = spool.put(&entry("n"), at(1)).unwrap();
    tries.write(&path).unwrap();
    let aside = spool.quarantine(&path, "refused").unwrap();
    // An entry that comes back from quarantine starts without tries.
    assert_eq!(EntryTries::load(&spool.bring_back(&aside).unwrap()), None);
}

#[test]
fn an_unreadable_file_counts_as_no_try() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"));
    let path = spool.put(&entry("n"), at(1)).unwrap();
    for text in ["", "{", "{\"version\":2,\"tries\":{}}"] {
        fs::write(path.with_extension(TRIES), text).unwrap();
        assert_eq!(EntryTries::load(&path), None);
    }
}

#[test]
fn a_pause_is_kept_until_its_target_took_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rests");
    let one = Target::Http("http://a".into());
    // Another workspace is another target.
    let other = one.clone().with_workspace(Some("team".to_owned()));
    let pause = Pause {
        failures: 1,
        since: Timestamp::UNIX_EPOCH,
        until: Timestamp::UNIX_EPOCH,
        reason: "away".into(),
    };
    let mut backoff = Backoff::load(path.clone());
    backoff.set(&one, Some(pause.clone())).unwrap();
    backoff.set(&other, Some(pause.clone())).unwrap();
    backoff.set(&one, None).unwrap();
    let mut again = Backoff::load(path.clone());
    assert_eq!((again.get(&one), again.get(&other)), (None, Some(&pause)));
    again.set(&other, None).unwrap();
    assert!(!path.exists());
}

#[test]
fn an_unreadable_file_pauses_no_target() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rests");
    for text in ["", "{", "{\"version\":2,\"targets\":[]}"] {
        fs::write(&path, text).unwrap();
        assert_eq!(Backoff::load(path.clone()).targets, []);
    }
}
