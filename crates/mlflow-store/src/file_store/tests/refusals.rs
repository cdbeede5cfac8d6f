//! Refused traces, and the state of the store afterwards.

use super::*;

#[test]
fn reading_creates_nothing() {
    let store = TestStore::new();
    assert_eq!(store.read(), None);
    assert!(!store.root().exists());
}

#[test]
fn a_store_that_another_codex_traced_writes_to_is_a_transient_failure() {
    let store = TestStore::new();
    store.export(&trace()).unwrap();
    let other = fs::File::open(lock::path(&store.root())).unwrap();
    other.lock().unwrap();
    assert_eq!(
        store.refused(&resumed()),
        format!("transient: another codex-traced is writing to the file store: {}", store.root().display())
    );
    assert_eq!(store.read(), Some(trace()));
    std::thread::scope(|scope| {
        let export = scope.spawn(|| store.export(&resumed()));
        drop(other);
        export.join().unwrap().unwrap();
    });
    assert_eq!(store.read(), Some(resumed()));
}

#[test]
fn a_file_at_the_stores_path_is_not_changed() {
    let store = TestStore::new();
    fs::write(store.root(), "notes").unwrap();
    assert_eq!(
        store.refused(&trace()),
        format!("target: write to the file store: Not a directory (os error 20): {}", store.root().display())
    );
    assert_eq!(fs::read_to_string(store.root()).unwrap(), "notes");
}

#[test]
fn spans_that_form_no_tree_never_reach_the_store() {
    let store = TestStore::new();
    let mut bad = trace();
    bad.spans[2].parent = Some(bad.spans[2].id);
    assert_eq!(
        store.refused(&bad),
        format!(
            "trace: spans make no tree: span 0303030303030303 is its own parent: {}",
            store.root().display()
        )
    );
    assert!(!store.root().exists());
}

#[test]
fn a_key_that_is_a_prefix_of_another_is_refused_by_name() {
    let store = TestStore::new();
    let mut bad = trace();
    bad.tags.insert("team".to_owned(), "x".to_owned());
    bad.tags.insert("team/red".to_owned(), "y".to_owned());
    assert_eq!(
        store.refused(&bad),
        format!(
            "trace: the key team/red has no room beside another that begins or goes on with it: {}",
            store.root().display()
        )
    );
    assert_eq!(store.read(), None, "a half-written trace is not visible");
    store.export(&trace()).unwrap();
    let mut expected = trace();
    expected.tags.insert("team".to_owned(), "x".to_owned());
    assert_eq!(store.read().map(|read| read.spans), Some(expected.spans));
}
