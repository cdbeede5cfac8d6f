//! SQLite databases in the hands of others: a running server, another process, a read-only disk, odd names.

use crate::LAUNCHER;
use common::json::value::Map;
use common::json::value::Value;
use jiff::Timestamp;
use mlflow_store::exporter::Exporter;
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::sqlite::SqliteExporter;
use mlflow_store::target::Experiment;
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::real::{MLFLOW_OLDEST, MLFLOW_VERSION};
use support::run::LIMIT;
use support::{
    Codex, End, Home, MlflowServer, ModelServer, Oracle, Reply, Script, TrackingUri, Verb, codex, run, start,
    wait_for,
};

const BUSY: Duration = Duration::from_secs(20);
/// A client of MLflow's starts in 2 s, and on a machine that does much else in a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// The number of spans of a trace.
const SPANS: u8 = 30;

/// A trace of this number.
fn trace(number: u8) -> Trace {
    let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).expect("a time");
    let span = |index: u8| Span {
        id: SpanId([number, index, 1, 1, 1, 1, 1, 1]),
        parent: (index > 0).then_some(SpanId([number, 0, 1, 1, 1, 1, 1, 1])),
        name: format!("span_{index}"),
        span_type: if index == 0 { SpanType::Agent } else { SpanType::Llm },
        status: SpanStatus::Ok,
        started_at: at(index.into()),
        ended_at: at(300),
        inputs: json!({"prompt": "x".repeat(100)}).into(),
        outputs: Value::Null,
        attributes: Map::new(),
        events: Vec::new(),
    };
    Trace {
        id: TraceId([number; 16]),
        name: format!("trace_{number}"),
        state: TraceState::Ok,
        started_at: at(0),
        ended_at: at(300),
        request_preview: Some("hi".to_owned()),
        response_preview: None,
        context: Default::default(),
        metadata: [("source".to_owned(), "codex_cli".to_owned())].into(),
        tags: [].into(),
        spans: (0..SPANS).map(span).collect(),
    }
}

fn export(database: &Path, trace: &Trace) {
    let experiment = Experiment::Name("codex-sessions".to_owned());
    let mut exporter = SqliteExporter::open(database, experiment, BUSY).expect("open the database");
    exporter.export(trace, None).expect("export a trace");
}

#[test]
fn a_server_and_a_launch_that_write_at_the_same_time_lose_nothing() {
    let (Some(server), Some(oracle)) = (MlflowServer::of(MLFLOW_VERSION), Oracle::newest()) else {
        return;
    };
    let database = server.database();
    export(&database, &trace(1));
    let first = trace(1).id.to_string();
    let names: Vec<String> = (0..5).map(|number| format!("good_{number}")).collect();
    let mut verbs: Vec<Verb> = names
        .iter()
        .flat_map(|name| [Verb::Feedback { trace: &first, name, value: json!(true) }, Verb::Sample])
        .collect();
    verbs.push(Verb::Traces);
    std::thread::scope(|scope| {
        // The client and its process fail if the server reports that the database is locked.
        let people = scope.spawn(|| oracle.ask(&server, &verbs));
        let begun = || {
            let connection = Connection::open(&database).expect("open the database");
            let count =
                connection.query_row("SELECT count(*) FROM assessments", [], |row| row.get::<_, i64>(0));
            people.is_finished() || count.is_ok_and(|count| count > 0)
        };
        wait_for("people to add something", PATIENCE, begun);
        let mut beside = 0;
        for number in 2..=10 {
            export(&database, &trace(number));
            beside += usize::from(!people.is_finished());
        }
        assert!(beside > 0, "we wrote while the server did");
        for number in 1..=20 {
            export(&database, &trace(number));
        }
        people.join().expect("the client goes through");
    });

    let log = server.log();
    assert!(!log.contains("locked"), "{log}");
    let traces = oracle.traces(&server);
    assert_eq!(traces.len(), 25);
    let ours = traces.iter().filter(|trace| trace.experiment.as_deref() == Some("codex-sessions"));
    assert!(ours.clone().all(|trace| trace.spans.len() == usize::from(SPANS)));
    assert_eq!(ours.count(), 20);
    let first = traces.iter().find(|trace| trace.trace_id == first).expect("the first trace");
    assert_eq!(first.assessments.len(), 5);
}

#[test]
fn mlflow_opens_a_database_of_any_name() {
    let (Some(oldest), Some(newest)) = (Oracle::of(MLFLOW_OLDEST), Oracle::newest()) else { return };
    for oracle in [&oldest, &newest] {
        let folder = tempfile::tempdir().expect("make a folder");
        let database = folder.path().join("é a#b%20 100%.db");
        export(&database, &trace(1));
        assert_eq!(oracle.trace(&database).spans.len(), usize::from(SPANS));
    }
}

/// A launch whose trace goes to this URI, from the folder that Codex works in.
fn traced_to(home: &Home, codex: &Codex, uri: &str, words: &[&str]) -> String {
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.env("MLFLOW_TRACKING_URI", uri).args(words);
    run(&mut command).ended(End::Code(0)).stdout
}

/// A report is broken into lines for a terminal.
fn in_one_line(report: &str) -> String {
    report.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn a_priced_answer() -> Script {
    Script::new().reply(Reply::new().answer("done").usage(900, 400, 12, 6))
}

#[test]
fn costs_that_mlflows_upgrade_leaves_empty_are_filled_by_each_of_our_commands() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(a_priced_answer());
    let home = Home::new(&server.url());
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "do it"])).ended(End::Code(0));
    // MLflow upgrades the file when it opens it.
    oracle.trace(&home.database());
    let facts = || -> (i64, Vec<String>) {
        let connection = Connection::open(home.database()).expect("open the database");
        let sql = "SELECT coalesce(model_name, '-') || ' ' || coalesce(model_provider, '-') || ' '
                     || (total_cost > 0 AND abs(input_cost + output_cost - total_cost) < 1e-9)
                   FROM spans WHERE type = 'LLM'";
        let mut statement = connection.prepare(sql).expect("an upgraded database");
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).expect("spans");
        let rows = rows.map(|row| row.expect("a span").unwrap_or_else(|| "nothing".to_owned())).collect();
        let filled = "SELECT count(*) FROM spans WHERE model_name IS NOT NULL";
        (connection.query_row(filled, [], |row| row.get(0)).expect("a count"), rows)
    };
    let (filled, found) = facts();
    assert_eq!(
        (filled, found.len()),
        (0, 1),
        "MLflow's upgrade fills them now: is there still a need for ours?"
    );

    let empty = || {
        let connection = Connection::open(home.database()).expect("open the database");
        let sql = "UPDATE spans SET model_name = NULL, model_provider = NULL, input_cost = NULL, output_cost = NULL,
                     total_cost = NULL;
                   UPDATE trace_info SET db_payload_generation = 0";
        connection.execute_batch(sql).expect("empty the columns");
    };
    let command = |words: &[&str]| run(home.traced(LAUNCHER, &codex.native).args(words));
    let expected = vec![format!("{} 1", found_model(&home))];
    let sync = command(&["mlflow", "sync"]).ended(End::Code(0)).stdout;
    let said = "filled the model and cost of 2 spans, which MLflow's upgrade left empty";
    assert!(sync.starts_with(said), "{sync}");
    assert_eq!(facts().1, expected);
    let again = command(&["mlflow", "sync"]).ended(End::Code(0)).stdout;
    assert_eq!(again, "0 delivered, 0 waiting\n");

    empty();
    let doctor = in_one_line(&command(&["mlflow", "doctor"]).stdout);
    assert!(doctor.contains("filled the model and cost of 2 spans"), "{doctor}");
    assert_eq!(facts().1, expected);

    empty();
    server.play(a_priced_answer());
    command(&["exec", "do more"]).ended(End::Code(0));
    assert_eq!(facts().1, [expected.clone(), expected].concat());
}

/// The model and the provider, as the content of the response's span names them.
fn found_model(home: &Home) -> String {
    let connection = Connection::open(home.database()).expect("open the database");
    let of = |key: &str| format!("json_extract(json_extract(content, '$.attributes.\"{key}\"'), '$')");
    let sql = format!(
        "SELECT {} || ' ' || {} FROM spans WHERE type = 'LLM'",
        of("mlflow.llm.model"),
        of("mlflow.llm.provider")
    );
    connection.query_row(&sql, [], |row| row.get(0)).expect("a response")
}

#[test]
fn an_empty_database_file_is_filled() {
    let (Some(codex), Some(oldest)) = (codex(), Oracle::of(MLFLOW_OLDEST)) else { return };
    let server = ModelServer::start(a_priced_answer());
    let home = Home::new(&server.url());
    fs::create_dir_all(home.database().parent().expect("a folder")).expect("make a folder");
    fs::write(home.database(), "").expect("write nothing");
    let doctor = in_one_line(&run(home.traced(LAUNCHER, &codex.native).args(["mlflow", "doctor"])).stdout);
    assert!(doctor.contains("to be made with the first trace"), "{doctor}");
    run(home.traced(LAUNCHER, &codex.native).args(["exec", "do it"])).ended(End::Code(0));
    assert_eq!(oldest.trace(&home.database()).request_preview.as_deref(), Some("do it"));
}

#[test]
fn a_path_with_a_question_mark_is_opened_as_documented() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(a_priced_answer());
    let home = Home::new(&server.url());
    let folder = home.work().join("100%25 odd?#");
    fs::create_dir(&folder).expect("make a folder");
    let uri = "sqlite:///file:100%2525%20odd%3F%23/x.db?uri=true";
    traced_to(&home, &codex, uri, &["exec", "do it"]);
    assert!(folder.join("x.db").exists(), "the file that MLflow means");

    let command = traced_to(&home, &codex, uri, &["mlflow", "ui", "--print"]);
    let cd = format!("cd '{}' && mlflow server --backend-store-uri sqlite:///x.db ", folder.display());
    assert!(command.starts_with(&cd), "{command}");
    for report in ["status", "doctor"] {
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.env("MLFLOW_TRACKING_URI", uri).args(["mlflow", report]);
        let said = in_one_line(&run(&mut command).stdout);
        assert!(said.contains("MLflows differ in how they read such a path") && said.contains(&cd), "{said}");
    }
    let status = traced_to(&home, &codex, uri, &["mlflow", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let shown = status["tracking_uri"].as_str().expect("a URI").to_owned();

    // MLflow's client opens it from the folder with any SQLAlchemy, and by the URI with the SQLAlchemy of the tests.
    let code = "import sys, mlflow; client = mlflow.MlflowClient(sys.argv[1])\n\
                ids = [e.experiment_id for e in client.search_experiments()]\n\
                print(len(client.search_traces(ids)))";
    for uri in ["sqlite:///x.db", &shown] {
        let counted = run(oracle.python().args(["-c", code, uri]).current_dir(&folder)).ended(End::Code(0));
        assert_eq!(counted.stdout.lines().last(), Some("1"), "{uri}");
    }
}

/// A run of Codex whose trace could not be delivered at first.
struct Waiting {
    codex: Codex,
    home: Home,
    _server: ModelServer,
}

impl Waiting {
    /// `harm` gets the folder for the database before the run. Traces go to `uri`.
    fn after(uri: &str, harm: impl FnOnce(&Path)) -> Option<Waiting> {
        Waiting::of(uri, harm, |home, codex| home.traced(LAUNCHER, &codex.native))
    }

    fn of(
        uri: &str,
        harm: impl FnOnce(&Path),
        launcher: impl FnOnce(&Home, &Codex) -> Command,
    ) -> Option<Waiting> {
        let codex = codex()?;
        let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
        let home = Home::new(&server.url());
        fs::create_dir(home.work().join("db")).expect("make a folder");
        harm(&home.work().join("db"));
        let mut command = launcher(&home, &codex);
        command.env("MLFLOW_TRACKING_URI", uri).args(["exec", "--skip-git-repo-check", "do it"]);
        run(&mut command).ended(End::Code(0));
        let waiting = Waiting { codex, home, _server: server };
        assert_eq!(waiting.entries(), 1, "{}", waiting.log());
        Some(waiting)
    }

    fn database(&self) -> PathBuf {
        self.home.work().join("db/x.db")
    }

    fn entries(&self) -> usize {
        let entries = fs::read_dir(self.home.state().join("spool")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "json")).count()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.state().join("codex_tracing.log")).unwrap_or_default()
    }

    /// Runs from another folder, without a target in the settings.
    fn sync(&self) -> Command {
        let mut command = self.home.traced(LAUNCHER, &self.codex.native);
        command.current_dir(self.home.root()).args(["mlflow", "sync"]);
        command
    }

    #[track_caller]
    fn assert_delivered(&self) {
        let sync = run(&mut self.sync()).ended(End::Code(0));
        assert_eq!((sync.stdout.as_str(), self.entries()), ("1 delivered, 0 waiting\n", 0));
        self.assert_there();
    }

    #[track_caller]
    fn assert_there(&self) {
        let connection = Connection::open(self.database()).expect("open the database");
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(count("SELECT count(*) FROM trace_info"), Ok(1));
    }
}

const RELATIVE: &str = "sqlite:///db/x.db";

/// A database as we make it, with no trace.
fn plant(folder: &Path) -> Connection {
    let database = folder.join("x.db");
    let experiment = Experiment::Name("codex-sessions".to_owned());
    SqliteExporter::open(&database, experiment, BUSY).expect("make a database");
    Connection::open(database).expect("open the database")
}

#[test]
fn a_relative_path_is_where_it_was_when_codex_ran() {
    let harm = |folder: &Path| fs::write(folder.join("x.db"), "notes ".repeat(200)).expect("write");
    let Some(waiting) = Waiting::after(RELATIVE, harm) else { return };
    assert!(waiting.log().contains("not a SQLite database: "), "{}", waiting.log());
    fs::remove_file(waiting.database()).expect("remove");
    waiting.assert_delivered();
}

#[test]
fn a_schema_of_a_version_to_come_keeps_the_trace_until_it_is_known() {
    let harm = |folder: &Path| {
        let sql = "ALTER TABLE trace_tags RENAME TO kept;
                   CREATE TABLE trace_tags (request_id TEXT, key TEXT, value TEXT, who TEXT NOT NULL)";
        plant(folder).execute_batch(sql).expect("change the schema");
    };
    let Some(waiting) = Waiting::after(RELATIVE, harm) else { return };
    let said = "column trace_tags.who is new and must be filled (update codex-traced)";
    assert!(waiting.log().contains(said), "{}", waiting.log());
    let sync = run(&mut waiting.sync()).ended(End::Code(1));
    assert!(sync.stdout.starts_with("0 delivered, 1 waiting\n") && sync.stdout.contains(said), "{sync:?}");
    let repair = "DROP TABLE trace_tags; ALTER TABLE kept RENAME TO trace_tags";
    let database = Connection::open(waiting.database()).expect("open the database");
    database.execute_batch(repair).expect("repair the schema");
    drop(database);
    waiting.assert_delivered();
}

#[test]
fn a_read_only_folder_or_file_keeps_the_trace_until_it_can_be_written() {
    for place in ["db", "db/x.db"] {
        let harm = |folder: &Path| drop(plant(folder));
        let launcher = |home: &Home, codex: &Codex| {
            home.traced_where_read_only(&home.work().join(place), LAUNCHER, &codex.native)
        };
        let Some(waiting) = Waiting::of(RELATIVE, harm, launcher) else { return };
        let log = waiting.log();
        assert!(log.contains("database may not be written: ") || log.contains("cannot be opened: "), "{log}");
        use std::os::unix::fs::PermissionsExt;
        for (path, mode) in [(waiting.home.work().join("db"), 0o700), (waiting.database(), 0o600)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        waiting.assert_delivered();
    }
}

#[test]
fn a_lock_of_another_process_is_waited_for() {
    let mut blocker = None;
    let harm = |folder: &Path| {
        let connection = plant(folder);
        connection.execute_batch("BEGIN IMMEDIATE").expect("lock the database");
        blocker = Some(connection);
    };
    // For longer than a person waits, it is locked: the trace stays.
    let Some(waiting) = Waiting::after(RELATIVE, harm) else { return };
    assert!(waiting.log().contains("database is locked: "), "{}", waiting.log());

    let sync = start(&mut waiting.sync());
    if cfg!(target_os = "linux") {
        let sleeps = || {
            let place = fs::read_to_string(format!("/proc/{}/wchan", sync.pid())).unwrap_or_default();
            place.contains("nanosleep")
        };
        wait_for("sync to wait for the lock", LIMIT, sleeps);
    }
    blocker.expect("a lock").execute_batch("ROLLBACK").expect("unlock the database");
    let sync = sync.finish(LIMIT).ended(End::Code(0));
    assert_eq!(sync.stdout, "1 delivered, 0 waiting\n");
    waiting.assert_there();
}

#[test]
fn the_journal_mode_that_mlflow_chose_stays_and_no_log_is_left() {
    let Some(codex) = codex() else { return };
    let server = ModelServer::start(Script::new().reply(Reply::new().answer("done")));
    let home = Home::new(&server.url());
    let folder = home.work().join("db");
    fs::create_dir(&folder).expect("make a folder");
    // As `mlflow migrate-filestore` leaves its databases.
    plant(&folder).execute_batch("PRAGMA journal_mode = WAL").expect("choose the mode");
    let traced = |words: &[&str]| {
        let mut command = home.traced(LAUNCHER, &codex.native);
        command.env("MLFLOW_TRACKING_URI", RELATIVE).args(words);
        run(&mut command).ended(End::Code(0)).stdout
    };
    traced(&["exec", "do it"]);
    let shown = traced(&["mlflow", "show"]);
    assert!(shown.contains("codex_cli_session"), "{shown}");
    let names: Vec<_> =
        fs::read_dir(&folder).expect("read").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["x.db"]);
    let connection = Connection::open(folder.join("x.db")).expect("open the database");
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("the mode");
    assert_eq!(mode, "wal");
}

/// What an MLflow server's own scheduler does with traces that are older than it keeps them in its database.
const ARCHIVE: &str = r#"
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
uri, folder = sys.argv[1:]
store = SqlAlchemyStore(uri, f"file://{folder}/artifacts")
store._get_archive_traces_now_millis = lambda: 4_000_000_000_000
print("archived", store.archive_traces(resolved_trace_archival_location=f"file://{folder}/archive", broader_retention="1d"))
"#;

#[track_caller]
fn archive(oracle: &Oracle, database: &Path, expected: usize) {
    let folder = database.parent().expect("a database is in a folder");
    let uri = format!("sqlite:///{}", database.display());
    let said = run(oracle.python().args(["-c", ARCHIVE, &uri]).arg(folder)).ended(End::Code(0));
    assert_eq!(said.stdout.lines().last(), Some(format!("archived {expected}").as_str()));
}

/// Three turns of one session, of which a target archives what it has after the first and after the second.
fn goes_on_past_two_archives(codex: &Codex, oracle: &Oracle, uri: Option<&str>, database: &Path) {
    let model = ModelServer::start(Script::new());
    let home = Home::new(&model.url());
    let database = if uri.is_some() { database.to_owned() } else { home.database() };
    let launch = |words: &[&str], answer: &str| {
        model.play(Script::new().reply(Reply::new().answer(answer).usage(100, 0, 10, 0)));
        let mut command = home.traced(LAUNCHER, &codex.native);
        if let Some(uri) = uri {
            command.envs([("MLFLOW_TRACKING_URI", uri), ("MLFLOW_CODEX_TRACING_ENABLED", "true")]);
        }
        let outcome = run(command.args(words)).ended(End::Code(0));
        assert_eq!(home.spooled(), [""; 0], "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("codex-traced: "), "{}", outcome.stderr);
    };
    launch(&["exec", "first"], "one");
    let thread = home.claimed().pop().expect("a session");
    let resume = |prompt: &str, answer: &str| launch(&["exec", "resume", &thread, prompt], answer);
    archive(oracle, &database, 1);
    resume("second", "two");
    // As long as it is not archived, it grows.
    resume("third", "three");
    archive(oracle, &database, 1);
    resume("fourth", "four");
    // Nothing new: nothing to send.
    let again =
        run(home.traced(LAUNCHER, &codex.native).args(["mlflow", "import", "--all"])).ended(End::Code(0));
    assert!(again.stdout.contains("1 unchanged"), "{}", again.stdout);

    let store = uri.map_or_else(|| database.tracking_uri(), str::to_owned);
    let mut traces = oracle.traces(store.as_str());
    traces.sort_by_key(|trace| trace.request_time_ms);
    let found: Vec<_> = traces
        .iter()
        .map(|trace| {
            let names: Vec<&str> = trace.spans.iter().map(|span| span.name.as_str()).collect();
            let preview = |text: &Option<String>| text.clone().unwrap_or_default();
            (preview(&trace.request_preview), preview(&trace.response_preview), names.join(" "))
        })
        .collect();
    let row = |prompt: &str, answer: &str, spans: &str| (prompt.into(), answer.into(), spans.into());
    let expected: [(String, String, String); 3] = [
        row("first", "one", "codex_cli_session llm_call_1"),
        row("second", "three", "codex_cli_session turn_2 llm_call_2 turn_3 llm_call_3"),
        row("fourth", "four", "codex_cli_session turn_4 llm_call_4"),
    ];
    assert_eq!(found, expected);
    let of = |key: &str| -> Vec<Option<&str>> {
        traces.iter().map(|trace| trace.metadata.get(key).and_then(|value| value.as_str())).collect()
    };
    let session = Some(thread.as_str());
    assert_eq!(of("mlflow.trace.session"), [session; 3]);
    let ids: Vec<&str> = traces.iter().map(|trace| trace.trace_id.as_str()).collect();
    assert_eq!(ids[0], format!("tr-{}", thread.replace('-', "")));
    assert_eq!(of("codex.continues"), [None, Some(ids[0]), Some(ids[1])]);
    let tokens = traces.iter().map(|trace| trace.token_usage.as_ref()?["total_tokens"].as_i64());
    assert_eq!(tokens.collect::<Vec<_>>(), [Some(110), Some(220), Some(110)]);
}

#[test]
fn the_later_turns_of_a_session_whose_trace_a_database_has_archived_are_a_trace_of_their_own() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    goes_on_past_two_archives(&codex, &oracle, None, Path::new(""));
}

#[test]
fn the_later_turns_of_a_session_whose_trace_a_server_has_archived_are_a_trace_of_their_own() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let Some(server) = MlflowServer::of(MLFLOW_VERSION) else { return };
    goes_on_past_two_archives(&codex, &oracle, Some(&server.uri()), &server.database());
}
