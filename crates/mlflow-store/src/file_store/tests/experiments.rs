//! A new store, and the experiment of a trace.

use super::*;

fn by_id(id: &str) -> Experiment {
    Experiment::Id(id.to_owned())
}

fn by_name(name: &str) -> Experiment {
    Experiment::Name(name.to_owned())
}

/// Writes an experiment as MLflow does.
fn plant(folder: &Path, name: &str, stage: &str) {
    fs::create_dir_all(folder).unwrap();
    let id = folder.file_name().unwrap().to_str().unwrap();
    let meta = format!(
        "artifact_location: file://{}\ncreation_time: 1\nexperiment_id: '{id}'\nlast_update_time: 1\n\
         lifecycle_stage: {stage}\nname: {name}\n",
        folder.display()
    );
    fs::write(folder.join("meta.yaml"), meta).unwrap();
}

#[test]
fn a_new_store_has_the_files_that_mlflow_creates() {
    let store = TestStore::new();
    let id = store.export(&trace()).unwrap().experiment_id;
    let root = store.root();
    let mut names: Vec<String> =
        fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".codex-traced.lock", ".trash", "0", &id]);
    let meta = |id: &str| fs::read_to_string(root.join(id).join("meta.yaml")).unwrap();
    let uri = root.display().to_string().replace(' ', "%20");
    for (id, name) in [("0", "Default"), (&id, "codex-sessions")] {
        assert_eq!(yaml::text(&meta(id), "name").as_deref(), Some(name));
        assert_eq!(yaml::text(&meta(id), "experiment_id").as_deref(), Some(id));
        assert_eq!(yaml::text(&meta(id), "artifact_location"), Some(format!("file://{uri}/{id}")));
        assert_eq!(yaml::text(&meta(id), "lifecycle_stage").as_deref(), Some("active"));
    }
    assert_eq!(fs::read_dir(store.folder.path()).unwrap().count(), 1, "no temporary folder is left");
}

#[test]
fn an_empty_folder_becomes_a_store() {
    let store = TestStore::new();
    fs::create_dir(store.root()).unwrap();
    store.export(&trace()).unwrap();
    assert_eq!(store.export_to(by_id("0"), &trace()).map(|_| store.read()), Ok(Some(trace())));
    assert!(store.root().join("0/meta.yaml").is_file());
}

#[test]
fn eight_launches_that_create_the_store_at_once_all_store_their_trace() {
    let store = TestStore::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let mut trace = trace();
                trace.id = TraceId([number; 16]);
                store.export(&trace).unwrap();
                assert_eq!(read(&store.root(), trace.id).unwrap(), Some(trace));
            });
        }
    });
    assert_eq!(experiment::all(&store.root()).unwrap().len(), 2, "Default and one other");
    let infos = store.files().into_keys().filter(|name| name.ends_with("trace_info.yaml"));
    assert_eq!(infos.count(), 8);
    assert_eq!(fs::read_dir(store.folder.path()).unwrap().count(), 1);
}

#[test]
fn an_experiment_is_found_by_name_or_id_and_created_only_by_name() {
    let store = TestStore::new();
    let root = store.root();
    plant(&root.join("0"), "Default", "active");
    plant(&root.join("7"), "'there: yes'", "active");
    plant(&root.join("8"), "gone", "deleted");
    plant(&root.join(".trash/5"), "old", "deleted");
    fs::create_dir_all(root.join("models/of/people")).unwrap();
    fs::create_dir(root.join("666")).unwrap();
    let at = root.display();
    for (experiment, expected) in [
        (by_id("9"), format!("experiment: experiment 9 does not exist: {at}")),
        (by_id("../7"), format!("experiment: experiment ../7 does not exist: {at}")),
        (by_id("models"), format!("experiment: experiment models does not exist: {at}")),
        (
            by_id("666"),
            format!(
                "experiment: experiment 666 has no meta.yaml that can be read (repair it, or choose another experiment): {at}"
            ),
        ),
        (
            by_id("5"),
            format!("experiment: experiment old was deleted in MLflow (restore it, or choose another): {at}"),
        ),
        (
            by_name("old"),
            format!("experiment: experiment old was deleted in MLflow (restore it, or choose another): {at}"),
        ),
        (
            by_name("gone"),
            format!(
                "experiment: experiment gone was deleted in MLflow (restore it, or choose another): {at}"
            ),
        ),
    ] {
        assert_eq!(message(store.export_to(experiment, &trace()).unwrap_err()), expected);
    }
    assert_eq!(store.read(), None);
    assert_eq!(store.export_to(by_name("there: yes"), &trace()).unwrap().experiment_id, "7");
    // The trace stays in its experiment.
    assert_eq!(store.export_to(by_name("new"), &trace()).unwrap().experiment_id, "7");
    assert_eq!(experiment::all(&root).unwrap().len(), 5);

    fs::rename(root.join("7"), root.join(".trash/7")).unwrap();
    assert_eq!(
        message(store.export_to(by_name("new"), &trace()).unwrap_err()),
        format!(
            "experiment: experiment there: yes was deleted in MLflow (restore it, or choose another): {at}"
        )
    );
}

#[test]
fn an_experiment_with_an_odd_name_is_created_once() {
    for name in ["it's \"so\"", "a\nb", "yes", "12", "\u{7f}é😀", "/Users/a@b.c/codex", " #: -"] {
        let store = TestStore::new();
        let first = store.export_to(by_name(name), &trace()).unwrap();
        fs::remove_dir_all(store.of_trace()).unwrap();
        assert_eq!(store.export_to(by_name(name), &trace()), Ok(first), "{name:?}");
    }
}

#[test]
fn a_dangling_link_gets_its_store_at_its_target() {
    let store = TestStore::new();
    std::os::unix::fs::symlink("elsewhere", store.root()).unwrap();
    store.export(&trace()).unwrap();
    assert_eq!(store.read(), Some(trace()));
    assert!(store.root().symlink_metadata().unwrap().is_symlink());
    assert_eq!(read(&store.folder.path().join("elsewhere"), trace().id).unwrap(), Some(trace()));
}
