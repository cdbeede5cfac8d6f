//! Paths and links of a database, and SQLite's files next to it.

use super::*;
use crate::tests::resumed;
use common::disk::file_system::FileSystem;
use std::os::unix::fs::symlink;

/// All files in the database's folder.
fn beside(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn export_to(path: &Path, trace: &Trace) -> Delivered {
    let experiment = Experiment::Name("codex-sessions".to_owned());
    SqliteExporter::open(path, experiment, BUSY).unwrap().export(trace, None).unwrap()
}

#[test]
fn a_database_may_have_an_odd_name() {
    for name in ["a b.db", "what?mode=ro", "a#b.db", "100%.db", "%20.db", "file:x.db", "-", "é😀", ":memory:"]
    {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        for trace in [trace(), resumed()] {
            export_to(&path, &trace);
            assert_eq!(read(&path, trace.id).unwrap(), Some(trace), "{name}");
        }
        assert_eq!(beside(folder.path()), [name]);
    }
}

#[test]
fn a_link_is_followed_and_stays_a_link() {
    let store = TestDatabase::with(SCHEMA);
    let link = store.folder.path().join("link.db");
    symlink("mlflow.db", &link).unwrap();
    export_to(&link, &trace());
    assert_eq!(store.read(), trace());
    assert!(link.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_dangling_link_gets_its_database_at_its_target() {
    let store = TestDatabase::new();
    let link = store.folder.path().join("link.db");
    symlink("mlflow.db", &link).unwrap();
    export_to(&link, &trace());
    assert_eq!(store.read(), trace());
    assert!(link.symlink_metadata().unwrap().is_symlink());
}

/// Writes the empty file that SQLite leaves of a database that was never written.
fn empty(path: &Path) {
    std::fs::write(path, "").unwrap();
}

#[test]
fn an_empty_file_becomes_a_database_in_place() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let store = TestDatabase::new();
    empty(&store.path());
    std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = store.folder.path().join("link.db");
    symlink("mlflow.db", &link).unwrap();
    let before = store.path().metadata().unwrap();
    assert_eq!(read(&link, trace().id).unwrap(), None);
    assert_eq!(forget(&link, trace().id, BUSY), Ok(false));
    assert_eq!(store.path().metadata().unwrap().len(), 0, "reading writes nothing");
    export_to(&link, &trace());
    assert_eq!(store.read(), trace());
    let after = store.path().metadata().unwrap();
    assert_eq!((after.ino(), after.mode(), after.uid()), (before.ino(), before.mode(), before.uid()));
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(store.rows("SELECT experiment_id, name FROM experiments"), ["0|Default", "1|codex-sessions"]);
    assert_eq!(beside(store.folder.path()), ["link.db", "mlflow.db"]);
}

#[test]
fn one_of_eight_writers_creates_the_tables_in_an_empty_file() {
    let store = TestDatabase::new();
    empty(&store.path());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = store.path();
            scope.spawn(move || {
                let mut trace = trace();
                trace.id = TraceId([number + 1; 16]);
                export_to(&path, &trace);
            });
        }
    });
    assert_eq!(store.rows("SELECT count(*) FROM trace_info"), ["8"]);
}

#[test]
fn an_empty_file_that_another_program_fills_is_waited_for() {
    let store = TestDatabase::new();
    empty(&store.path());
    let other = store.sql();
    other.execute_batch("BEGIN IMMEDIATE; CREATE TABLE theirs (x)").unwrap();
    let error = store.refused(&trace());
    assert_eq!(error, format!("transient: database is locked: {}", store.path().display()));
    std::thread::scope(|scope| {
        let export = scope.spawn(|| store.export(&trace()));
        // MLflow creates its tables in steps; `experiments` is one of the first.
        other.execute_batch(&format!("COMMIT; BEGIN; {} COMMIT", SCHEMA)).unwrap();
        export.join().unwrap().unwrap();
    });
    assert_eq!(store.rows("SELECT name FROM sqlite_master WHERE name = 'theirs'"), ["theirs"]);
    assert_eq!(store.read(), trace());
}

#[test]
fn no_log_file_is_left_next_to_a_database_in_write_ahead_mode() {
    let store = TestDatabase::with(SCHEMA);
    store.run("PRAGMA journal_mode = WAL");
    assert_eq!(beside(store.folder.path()), ["mlflow.db"]);
    store.export(&trace()).unwrap();
    assert_eq!(beside(store.folder.path()), ["mlflow.db"]);
    assert_eq!(store.read(), trace());
    assert_eq!(beside(store.folder.path()), ["mlflow.db"]);
    assert_eq!(store.rows("PRAGMA journal_mode"), ["wal"], "the mode is not changed");
}

#[test]
fn a_log_that_another_process_uses_stays() {
    let store = TestDatabase::with(SCHEMA);
    store.run("PRAGMA journal_mode = WAL");
    let other = store.sql();
    other.execute_batch("INSERT INTO experiments (experiment_id, name) VALUES (77, 'theirs')").unwrap();
    let logs = beside(store.folder.path());
    assert_eq!(logs, ["mlflow.db", "mlflow.db-shm", "mlflow.db-wal"]);
    store.export(&trace()).unwrap();
    assert_eq!((store.read(), beside(store.folder.path())), (trace(), logs));
    let count = |sql: &str| other.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM trace_info"), 1);
    assert_eq!(count("SELECT count(*) FROM experiments WHERE experiment_id = 77"), 1);
}

#[test]
fn on_a_network_a_log_is_never_shared() {
    let store = TestDatabase::with(SCHEMA);
    store.run("PRAGMA journal_mode = WAL");
    let count = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM experiments", [], |row| row.get::<_, i64>(0))
    };
    let ours = open(&store.path(), FileSystem::Network, Duration::ZERO).unwrap();
    ours.execute_batch("INSERT INTO experiments (name) VALUES ('ours')").unwrap();
    assert_eq!(beside(store.folder.path()), ["mlflow.db", "mlflow.db-wal"], "no shared memory");
    let other = store.sql();
    other.busy_timeout(Duration::ZERO).unwrap();
    assert_eq!(count(&other).unwrap_err().sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    drop(ours);
    assert_eq!(count(&other), Ok(1));

    // Busy as long as the other connection is open.
    let ours = open(&store.path(), FileSystem::Network, Duration::ZERO).unwrap();
    assert_eq!(count(&ours).unwrap_err().sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    drop((ours, other));
    assert_eq!(beside(store.folder.path()), ["mlflow.db"]);
}

#[test]
fn on_a_network_a_database_without_a_log_is_shared_as_usual() {
    let store = TestDatabase::with(SCHEMA);
    let [first, second] = [(); 2].map(|()| open(&store.path(), FileSystem::Network, BUSY).unwrap());
    for (connection, name) in [(&first, "first"), (&second, "second"), (&first, "again")] {
        connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; INSERT INTO experiments (name) VALUES ('{name}'); COMMIT"
            ))
            .unwrap();
    }
    assert_eq!(store.rows("SELECT count(*) FROM experiments"), ["3"]);
}
