//! A new database, and the experiment of a trace.

use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_new_database_is_private_and_has_the_experiments_that_mlflow_expects() {
    let store = TestDatabase::new();
    let path = store.folder.path().join("a/b/mlflow.db");
    SqliteExporter::open(&path, Experiment::Name("codex-sessions".to_owned()), BUSY)
        .unwrap()
        .export(&trace(), None)
        .unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode(&path), mode(path.parent().unwrap())], [0o600, 0o700]);
    assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o700);
    let left: Vec<_> =
        path.parent().unwrap().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mlflow.db"]);
    let connection = Connection::open(&path).unwrap();
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("PRAGMA journal_mode"), "delete");
    assert_eq!(one("SELECT version_num FROM alembic_version"), "a1b2c3d4e5f6");
    assert_eq!(
        one("SELECT group_concat(experiment_id || name || lifecycle_stage) FROM experiments"),
        "0Defaultactive,1codex-sessionsactive"
    );
    let artifacts = format!("file://{}/artifacts/1", path.parent().unwrap().display());
    assert_eq!(one("SELECT artifact_location FROM experiments WHERE experiment_id = 1"), artifacts);
    assert_eq!(
        one("SELECT value FROM trace_tags WHERE key = 'mlflow.artifactLocation'"),
        format!("{artifacts}/traces/{}/artifacts", trace().id)
    );
}

#[test]
fn eight_launches_that_create_the_database_at_once_all_store_their_trace() {
    let store = TestDatabase::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let mut trace = trace();
                trace.id = TraceId([number; 16]);
                assert_eq!(store.export(&trace).unwrap().experiment_id, "1");
            });
        }
    });
    assert_eq!(store.rows("SELECT count(*) FROM trace_info"), ["8"]);
    assert_eq!(store.rows("SELECT name FROM experiments"), ["Default", "codex-sessions"]);
    assert_eq!(store.rows("PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn an_experiment_is_found_by_name_or_id_and_created_only_by_name() {
    for (version, schema) in SCHEMAS {
        let store = TestDatabase::with(schema);
        store.run(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, artifact_location)
                     VALUES (5, 'old', 'deleted', 'x'), (7, 'there', 'active', 's3://bucket/7/')",
        );
        let by_id = |id: &str| Experiment::Id(id.to_owned());
        let by_name = |name: &str| Experiment::Name(name.to_owned());
        let path = store.path();
        for (experiment, expected) in [
            (by_id("9"), format!("experiment: experiment 9 does not exist: {}", path.display())),
            (by_id("seven"), format!("experiment: experiment seven does not exist: {}", path.display())),
            (
                by_name("old"),
                format!(
                    "experiment: experiment old was deleted in MLflow (restore it, or choose another): {}",
                    path.display()
                ),
            ),
        ] {
            assert_eq!(message(store.export_to(experiment, &trace()).unwrap_err()), expected, "{version}");
        }
        assert_eq!(store.rows("SELECT count(*) FROM trace_info"), ["0"]);
        assert_eq!(store.export_to(by_id("7"), &trace()).unwrap().experiment_id, "7");
        // The trace stays in its experiment.
        assert_eq!(store.export_to(by_name("new"), &trace()).unwrap().experiment_id, "7");
        assert_eq!(store.rows("SELECT count(*) FROM experiments"), ["2"]);
        assert_eq!(
            store.rows("SELECT value FROM trace_tags WHERE key = 'mlflow.artifactLocation'"),
            [format!("s3://bucket/7/traces/{}/artifacts", trace().id)]
        );
    }
}

#[test]
fn reading_creates_nothing() {
    let store = TestDatabase::new();
    assert_eq!(read(&store.path(), trace().id).unwrap(), None);
    assert_eq!(store.folder.path().read_dir().unwrap().count(), 0);
}
