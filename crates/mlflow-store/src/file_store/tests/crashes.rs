//! Crashes between any two changes: the store stays readable, and the next delivery completes the trace.

use super::*;
use crate::tests;

/// Crashes after this number of changes. None if the write needed fewer.
fn die_after(changes: usize, store: &TestStore, trace: &Trace) -> Option<()> {
    let mut files = Files::open(&store.root()).unwrap();
    files.changes_left = changes;
    let experiment = Experiment::Name("codex-sessions".to_owned());
    let written = trace::write(&mut files, files::StoreLock::NoneHere, trace, &experiment);
    match written {
        Err(FileStoreError::File(error)) => {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
            Some(())
        }
        other => {
            other.unwrap();
            None
        }
    }
}

/// Crashes once before each change of the write of `dying`, and returns the number of changes.
fn die_everywhere(before: &[Trace], dying: &Trace, check: impl Fn(&TestStore)) -> usize {
    for changes in 0.. {
        let store = TestStore::new();
        fs::create_dir(store.root()).unwrap();
        for trace in before {
            store.export(trace).unwrap();
        }
        if die_after(changes, &store, dying).is_none() {
            return changes;
        }
        check(&store);
    }
    unreachable!("a trace has an end")
}

#[test]
fn a_new_trace_appears_complete_or_not_at_all() {
    let deaths = die_everywhere(&[], &trace(), |store| {
        assert_eq!(store.read(), None);
        store.export(&trace()).unwrap();
        assert_eq!(store.read(), Some(trace()));
    });
    assert!(deaths > 15, "only {deaths} changes");
}

#[test]
fn an_update_that_crashed_is_completed_by_the_next() {
    let deaths = die_everywhere(&[trace()], &resumed(), |store| {
        let read = store.read().unwrap();
        assert!(read.spans == trace().spans || read.spans == resumed().spans);
        assert_eq!((read.state, read.name), (trace().state, trace().name));
        store.export(&resumed()).unwrap();
        assert_eq!(store.read(), Some(resumed()));
    });
    assert!(deaths > 5, "only {deaths} changes");
}

#[test]
fn tags_written_before_a_crash_are_still_updated_after_it() {
    let mut later = resumed();
    later.tags.insert("codex.status".to_owned(), "failed".to_owned());
    later.tags.remove("codex.cli_version");
    die_everywhere(&[trace()], &resumed(), |store| {
        store.export(&later).unwrap();
        assert_eq!(store.read(), Some(later.clone()));
    });
}

#[test]
fn a_tag_that_a_user_sets_after_a_crash_stays() {
    die_everywhere(&[trace()], &resumed(), |store| {
        fs::write(store.of_trace().join("tags/codex.status"), "mine").unwrap();
        store.export(&resumed()).unwrap();
        assert_eq!(store.read().unwrap().tags["codex.status"], "mine");
    });
}

#[test]
fn half_written_files_are_swept_by_the_next_writer() {
    let store = TestStore::new();
    store.export(&tests::trace()).unwrap();
    let left = store.of_trace().join(".tmp-left");
    fs::write(&left, "{").unwrap();
    store.export(&tests::trace()).unwrap();
    assert!(!left.exists());
}
