//! Reads and edits a tracking store with MLflow's own Python client, which shows what a user will see.
//!
//! Importing MLflow takes seconds, so one process per version and test program imports it, and each call is a fork of it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::mlflow_server::MlflowServer;
use crate::real::{MLFLOW_VERSION, mlflow};

/// To import MLflow alone takes 2 s, and on a machine that does much else a minute.
const LIMIT: Duration = Duration::from_secs(240);

/// MLflow of one version.
#[derive(Debug)]
pub struct Oracle {
    python: PathBuf,
    /// MLflow's HOME and working directory, so that it neither reads nor leaves anything elsewhere.
    home: TempDir,
}

/// What MLflow can open: a SQLite file by its path, a server, any URI as text.
pub trait TrackingUri {
    fn tracking_uri(&self) -> String;
}

impl TrackingUri for Path {
    #[track_caller]
    fn tracking_uri(&self) -> String {
        assert!(self.is_absolute(), "a SQLite URI needs an absolute path: {}", self.display());
        format!("sqlite:///{}", self.display())
    }
}

impl TrackingUri for PathBuf {
    #[track_caller]
    fn tracking_uri(&self) -> String {
        self.as_path().tracking_uri()
    }
}

impl TrackingUri for MlflowServer {
    fn tracking_uri(&self) -> String {
        self.uri()
    }
}

impl TrackingUri for str {
    fn tracking_uri(&self) -> String {
        self.to_owned()
    }
}

/// What can be asked of MLflow.
#[derive(Clone, Debug)]
pub enum Verb<'a> {
    /// MLflow makes or upgrades the store.
    Open,
    Traces,
    Feedback {
        trace: &'a str,
        name: &'a str,
        value: Value,
    },
    Expectation {
        trace: &'a str,
        name: &'a str,
        value: Value,
    },
    Tag {
        trace: &'a str,
        key: &'a str,
        value: &'a str,
    },
    Rename {
        trace: &'a str,
        name: &'a str,
    },
    /// MLflow itself makes a small trace; the answer is its id.
    Sample,
    /// One trace by its id, for stores that cannot be searched.
    Trace {
        trace: &'a str,
    },
    /// MLflow evaluates these traces with a scorer that only looks; the answer is what it was given of each, with
    /// the request, the response and the tools that judges are given.
    Evaluate {
        traces: &'a [&'a str],
    },
    /// MLflow itself logs this trace, span by span, as a program would; the answer is the id it gave.
    Log {
        experiment: &'a str,
        trace: &'a Value,
    },
}

impl Verb<'_> {
    fn as_sent(&self) -> Value {
        match self {
            Verb::Open => json!({"verb": "open"}),
            Verb::Traces => json!({"verb": "traces"}),
            Verb::Feedback { trace, name, value } => {
                json!({"verb": "feedback", "trace_id": trace, "name": name, "value": value})
            }
            Verb::Expectation { trace, name, value } => {
                json!({"verb": "expectation", "trace_id": trace, "name": name, "value": value})
            }
            Verb::Tag { trace, key, value } => {
                json!({"verb": "tag", "trace_id": trace, "key": key, "value": value})
            }
            Verb::Rename { trace, name } => json!({"verb": "rename", "trace_id": trace, "name": name}),
            Verb::Sample => json!({"verb": "sample"}),
            Verb::Trace { trace } => json!({"verb": "trace", "trace_id": trace}),
            Verb::Evaluate { traces } => json!({"verb": "evaluate", "traces": traces}),
            Verb::Log { experiment, trace } => {
                json!({"verb": "log", "experiment": experiment, "trace": trace})
            }
        }
    }
}

/// A trace as MLflow's client gives it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Trace {
    pub trace_id: String,
    pub name: Option<String>,
    pub experiment_id: String,
    pub experiment: Option<String>,
    /// OK, ERROR, IN_PROGRESS or STATE_UNSPECIFIED.
    pub state: String,
    pub request_time_ms: i64,
    pub duration_ms: Option<i64>,
    pub request_preview: Option<String>,
    pub response_preview: Option<String>,
    pub tags: Map<String, Value>,
    pub metadata: Map<String, Value>,
    /// input_tokens, output_tokens, total_tokens and, from 3.17, the cached ones.
    pub token_usage: Option<Map<String, Value>>,
    pub assessments: Vec<Value>,
    pub spans: Vec<Span>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Span {
    pub span_id: String,
    pub parent_id: Option<String>,
    /// The parent's name.
    pub parent: Option<String>,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// OK, ERROR or UNSET.
    pub status: String,
    pub message: Option<String>,
    pub start_ns: i64,
    pub end_ns: Option<i64>,
    pub inputs: Value,
    pub outputs: Value,
    pub attributes: Map<String, Value>,
    pub events: Vec<Value>,
}

impl Trace {
    /// The only span of this name.
    #[track_caller]
    pub fn span(&self, name: &str) -> &Span {
        let named: Vec<_> = self.spans.iter().filter(|span| span.name == name).collect();
        match named[..] {
            [only] => only,
            _ => panic!("{} spans are called {name}:\n{}", named.len(), crate::facts::rendered(self)),
        }
    }
}

impl Oracle {
    /// The newest MLflow that is tested; None when tests are to stay offline.
    pub fn newest() -> Option<Oracle> {
        Oracle::of(MLFLOW_VERSION)
    }

    pub fn of(version: &str) -> Option<Oracle> {
        let home = tempfile::Builder::new().prefix("codex-traced-mlflow-").tempdir().expect("make a folder");
        Some(Oracle { python: mlflow(version)?, home })
    }

    /// Every trace of a store, oldest first. MLflow upgrades an older SQLite file when it opens it.
    #[track_caller]
    pub fn traces(&self, store: &(impl TrackingUri + ?Sized)) -> Vec<Trace> {
        self.traces_after(store, &[])
    }

    /// As `traces`, after some changes, in one process.
    #[track_caller]
    pub fn traces_after(&self, store: &(impl TrackingUri + ?Sized), changes: &[Verb]) -> Vec<Trace> {
        let answers = self.ask(store, &[changes, &[Verb::Traces]].concat());
        let traces = answers.last().cloned().unwrap_or_default();
        serde_json::from_value(traces).expect("oracle.py writes traces of this shape")
    }

    /// The only trace of a store.
    #[track_caller]
    pub fn trace(&self, store: &(impl TrackingUri + ?Sized)) -> Trace {
        let mut traces = self.traces(store);
        match (traces.pop(), &traces[..]) {
            (Some(only), []) => only,
            (last, others) => panic!("expected one trace: {others:#?} {last:#?}"),
        }
    }

    /// The only trace with this id.
    #[track_caller]
    pub fn trace_of(&self, store: &(impl TrackingUri + ?Sized), id: &str) -> Trace {
        let mut traces = self.traces(store);
        let all: Vec<String> = traces.iter().map(|trace| trace.trace_id.clone()).collect();
        traces.retain(|trace| trace.trace_id == id);
        match (traces.pop(), &traces[..]) {
            (Some(only), []) => only,
            _ => panic!("expected {id} once among {all:?}"),
        }
    }

    /// One answer per verb: traces for `Traces`, an id for `Sample`, else null.
    #[track_caller]
    pub fn ask(&self, store: &(impl TrackingUri + ?Sized), verbs: &[Verb]) -> Vec<Value> {
        self.ask_store(&store.tracking_uri(), &[], verbs)
    }

    /// As `ask`, with the variables that the store needs.
    #[track_caller]
    pub fn ask_store(&self, uri: &str, variables: &[(&str, &str)], verbs: &[Verb]) -> Vec<Value> {
        let verbs: Vec<_> = verbs.iter().map(Verb::as_sent).collect();
        let variables: Map<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let request =
            json!({"uri": uri, "home": self.home.path(), "variables": variables, "verbs": verbs}).to_string();
        let reply = LoadedMlflow::of(self).ask(&request).unwrap_or_else(|error| panic!("{error}: {request}"));
        match serde_json::from_str(&reply) {
            Ok(Reply { answers: Some(answers), .. }) => answers,
            Ok(Reply { failure, output, .. }) => panic!("{}{output}", failure.unwrap_or_default()),
            Err(error) => panic!("{error}: {reply}"),
        }
    }

    /// Python with this MLflow, silent towards the world: for what the verbs do not cover.
    pub fn python(&self) -> Command {
        let mut python = Command::new(&self.python);
        python.current_dir(self.home.path()).env_clear().envs([
            ("HOME", self.home.path().as_os_str()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin".as_ref()),
            ("LANG", "C.UTF-8".as_ref()),
            ("TZ", "UTC".as_ref()),
            ("MLFLOW_DISABLE_TELEMETRY", "true".as_ref()),
            ("DO_NOT_TRACK", "true".as_ref()),
            // From 3.14 on, MLflow opens a folder of files only when asked to.
            ("MLFLOW_ALLOW_FILE_STORE", "true".as_ref()),
            // What a verb writes is there when its process ends.
            ("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false".as_ref()),
            ("HTTPS_PROXY", "http://127.0.0.1:9".as_ref()),
            ("NO_PROXY", "127.0.0.1,localhost".as_ref()),
            // As MLflow asks for it in a folder without a repository.
            ("GIT_PYTHON_REFRESH", "quiet".as_ref()),
        ]);
        python
    }
}

/// What `oracle.py` replies.
#[derive(Deserialize)]
struct Reply {
    answers: Option<Vec<Value>>,
    failure: Option<String>,
    /// Of MLflow, stdout and stderr.
    output: String,
}

/// A process of `oracle.py`, which has imported MLflow. It ends with the test program, whose end closes its stdin.
struct LoadedMlflow {
    socket: PathBuf,
    _process: Child,
}

impl LoadedMlflow {
    /// The one of this MLflow; the first call of a test program starts it.
    fn of(oracle: &Oracle) -> Arc<LoadedMlflow> {
        static LOADED: Mutex<BTreeMap<PathBuf, Arc<LoadedMlflow>>> = Mutex::new(BTreeMap::new());
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || Arc::new(LoadedMlflow::start(oracle.python()));
        Arc::clone(loaded.entry(oracle.python.clone()).or_insert_with(start))
    }

    fn start(mut python: Command) -> LoadedMlflow {
        // MLflow 3.18.0 as `fetch_python` installs it warns of its own parts.
        python.args(["-W", "ignore", "-c", include_str!("oracle.py")]);
        let mut process = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start Python");
        let mut socket = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("stdout is a pipe"));
        stdout.read_line(&mut socket).expect("read what oracle.py prints");
        assert!(socket.ends_with('\n'), "oracle.py did not start: {python:?}");
        LoadedMlflow { socket: socket.trim_end().into(), _process: process }
    }

    fn ask(&self, request: &str) -> io::Result<String> {
        let mut connection = UnixStream::connect(&self.socket)?;
        connection.set_read_timeout(Some(LIMIT))?;
        connection.write_all(request.as_bytes())?;
        connection.shutdown(Shutdown::Write)?;
        let mut reply = String::new();
        connection.read_to_string(&mut reply)?;
        Ok(reply)
    }
}
