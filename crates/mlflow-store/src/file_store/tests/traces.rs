//! The content of each file, and what an update does not change.

use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_trace_reads_back_unchanged() {
    let store = TestStore::new();
    let delivered = store.export(&trace()).unwrap();
    assert_eq!((delivered.experiment_id.len(), delivered.spans_sent), (18, 3));
    assert_eq!(store.read(), Some(trace()));
}

#[test]
fn every_file_has_the_path_that_mlflow_reads() {
    let store = TestStore::new();
    let experiment = store.export(&trace()).unwrap().experiment_id;
    let mut files = store.files();
    let at = |name: &str| format!("{experiment}/traces/{}/{name}", trace().id);
    assert_eq!(
        files.remove(&at("trace_info.yaml")).unwrap(),
        format!(
            concat!(
                "trace_id: \"{}\"\n",
                "trace_location: {{\"type\": \"MLFLOW_EXPERIMENT\", \"mlflow_experiment\": {{\"experiment_id\": \"{}\"}}}}\n",
                "request_time: \"2026-11-22T09:54:01.125Z\"\nexecution_duration_ms: 29000\nstate: \"OK\"\n",
                "request_preview: \"write a parser\"\nresponse_preview: null\n"
            ),
            trace().id,
            experiment
        )
    );
    let root = store.root().display().to_string().replace(' ', "%20");
    assert_eq!(
        files.remove(&at("tags/mlflow.artifactLocation")).unwrap(),
        format!("file://{root}/{}", at("artifacts"))
    );
    assert_eq!(files.remove(&at("tags/codex.status")).unwrap(), "running");
    assert_eq!(files.remove(&at("request_metadata/source")).unwrap(), "codex_cli");
    let mut left: Vec<String> = files.into_keys().collect();
    left.retain(|name| !name.contains("request_metadata/"));
    let mut expected = vec![
        "0/meta.yaml".to_owned(),
        format!("{experiment}/meta.yaml"),
        at("artifacts/traces.json"),
        at("tags/codex.cli_version"),
        at("tags/mlflow.traceName"),
    ];
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn an_update_is_in_place_and_leaves_no_old_files() {
    let (store, fresh) = (TestStore::new(), TestStore::new());
    let experiment = store.export(&trace()).unwrap().experiment_id;
    let other = fresh.export(&resumed()).unwrap().experiment_id;
    for _ in 0..2 {
        assert_eq!(store.export(&resumed()).unwrap().experiment_id, experiment);
        assert_eq!(store.read(), Some(resumed()));
        let names = |store: &TestStore, id: &str| -> Vec<String> {
            let names = store.files().into_keys();
            names.map(|name| name.replace(id, "ID")).collect()
        };
        assert_eq!(names(&store, &experiment), names(&fresh, &other));
    }
}

#[test]
fn changes_by_users_in_mlflow_survive_an_update() {
    let store = TestStore::new();
    store.export(&trace()).unwrap();
    let folder = store.of_trace();
    let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    fs::create_dir(folder.join("assessments")).unwrap();
    put("assessments/a-1.yaml", "assessment_name: good\n");
    put("tags/reviewed", "yes");
    put("tags/codex.status", "mine");
    put("tags/mlflow.traceName", "The parser");
    fs::remove_file(folder.join("tags/codex.cli_version")).unwrap();
    for _ in 0..2 {
        store.export(&resumed()).unwrap();
        let mut expected = resumed();
        expected.name = "The parser".to_owned();
        expected.tags = [("codex.status", "mine"), ("reviewed", "yes")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        assert_eq!(store.read(), Some(expected));
        let assessment = fs::read_to_string(folder.join("assessments/a-1.yaml")).unwrap();
        assert_eq!(assessment, "assessment_name: good\n");
    }
}

#[test]
fn odd_values_read_back_unchanged_and_odd_keys_in_a_form_that_mlflow_reads() {
    let store = TestStore::new();
    let mut odd = trace();
    let pairs = [
        ("empty", ""),
        ("lines", "a\r\nb\n\n"),
        ("team/red", "x"),
        ("../../etc", "y"),
        ("100%", "z"),
        ("é", "w"),
    ];
    for (key, value) in pairs {
        odd.tags.insert(key.to_owned(), value.to_owned());
        odd.metadata.insert(key.to_owned(), value.to_owned());
    }
    odd.request_preview = Some("\u{7f}\u{85}\u{2028} \"'\\\t😀\n".to_owned());
    for _ in 0..2 {
        store.export(&odd).unwrap();
        let mut expected = odd.clone();
        for pairs in [&mut expected.tags, &mut expected.metadata] {
            for (key, written) in [("../../etc", "_../_../etc"), ("100%", "100_25"), ("é", "_e9")] {
                let value = pairs.remove(key).unwrap();
                pairs.insert(written.to_owned(), value);
            }
        }
        assert_eq!(store.read(), Some(expected));
    }
}

#[test]
fn a_new_store_is_private_and_an_existing_one_keeps_its_permissions() {
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let store = TestStore::new();
    store.export(&trace()).unwrap();
    assert_eq!(mode(&store.root()), 0o700);
    let folder = store.of_trace();
    assert_eq!((mode(&folder), mode(&folder.join("trace_info.yaml"))), (0o700, 0o600));

    let shared = TestStore::new();
    fs::create_dir(shared.root()).unwrap();
    fs::set_permissions(shared.root(), fs::Permissions::from_mode(0o755)).unwrap();
    // The permissions that the umask of this process leaves.
    fs::write(shared.folder.path().join("file"), "").unwrap();
    fs::create_dir(shared.folder.path().join("folder")).unwrap();
    let usual = [mode(&shared.folder.path().join("folder")), mode(&shared.folder.path().join("file"))];
    shared.export(&trace()).unwrap();
    let folder = shared.of_trace();
    assert_eq!(
        [mode(&folder), mode(&folder.join("tags/mlflow.traceName"))],
        [usual[0] & 0o755, usual[1] & 0o644]
    );
    assert_eq!(mode(&shared.root().join(".codex-traced.lock")), usual[1] & 0o644);
}

#[test]
fn a_forgotten_trace_leaves_no_file_and_others_stay() {
    let store = TestStore::new();
    assert!(!forget(&store.root(), trace().id, BUSY).unwrap() && !store.root().exists());
    let other = Trace { id: TraceId([8; 16]), ..trace() };
    store.export(&trace()).unwrap();
    store.export(&other).unwrap();
    fs::write(store.of_trace().join("tags/mine"), "x").unwrap();
    let forgotten = || forget(&store.root(), trace().id, BUSY).unwrap();
    assert_eq!((forgotten(), forgotten()), (true, false));
    let id = trace().id.to_string();
    assert!(!store.files().iter().any(|(path, content)| path.contains(&id) || content.contains(&id)));
    assert!(read(&store.root(), other.id).unwrap().is_some());
}
