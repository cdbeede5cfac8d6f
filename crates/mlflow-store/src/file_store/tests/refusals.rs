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
    let other = fs::File::open(files::lock_path(&store.root())).unwrap();
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

#[test]
fn a_question_creates_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("mlruns");
    let name = |name: &str| Experiment::Name(name.into());
    let id = |id: &str| Experiment::Id(id.into());
    let new = Ok(Readiness { version: None, experiment_id: None, clock: None });
    assert_eq!((readiness(&root, &name("e")), readiness(&root, &id("0"))), (new.clone(), new));
    assert!(readiness(&root, &id("7")).unwrap_err().to_string().starts_with("experiment 7 does not exist"));
    assert!(!root.exists());

    let text = "experiment_id: '5'\nname: mine\nlifecycle_stage: active\n";
    fs::create_dir_all(root.join("5")).unwrap();
    fs::write(root.join("5/meta.yaml"), text).unwrap();
    let found = |wanted| readiness(&root, &wanted).map(|store| store.experiment_id);
    assert_eq!(found(name("mine")), Ok(Some("5".into())));
    assert_eq!((found(id("5")), found(name("new"))), (Ok(Some("5".into())), Ok(None)));
    fs::write(root.join("5/meta.yaml"), text.replace("active", "deleted")).unwrap();
    assert!(matches!(found(name("mine")), Err(ExportError::Experiment(_))));
}
