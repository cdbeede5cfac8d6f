//! A mock of a Databricks workspace and of the cloud storage behind it, on 127.0.0.1 only. It records the requests, and
//! refuses what the real ones refuse.

mod api;
mod cloud;
pub mod compare;
mod login;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::listener::Listener;
use crate::wire::read_request;
use api::Experiment;
use cloud::Storage;
pub use cloud::{Cloud, PART};
use login::Tokens;
pub use login::{CLIENT_ID, CLIENT_SECRET, TOKEN, USER};

/// How the mock behaves where workspaces differ.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub cloud: Cloud,
    pub reposts: Reposts,
    /// How many requests an OAuth token is good for.
    pub token_lasts: usize,
    /// The `expires_in` of OAuth tokens, in seconds.
    pub token_expires_in: u64,
    /// How many requests a signed address is good for.
    pub address_lasts: usize,
    /// How many of the first addresses are good for none.
    pub dead_addresses: usize,
    /// The first answer to such a request to the storage is lost on its way: `append`, `blocklist`, …
    pub lost: Option<&'static str>,
    /// Whether the storage takes requests from here at all.
    pub storage: Reachable,
}

/// Whether the storage takes requests from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachable {
    Yes,
    /// As behind a firewall that the workspace is not behind.
    Refused,
}

/// What happens to a trace that is sent again. Which of these Databricks does is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reposts {
    /// As an MLflow server does it.
    Merged,
    /// The new tags are all the tags.
    Replacing,
    /// But the call that once ended a trace still changes it.
    Refused,
    /// And nothing but tags can be changed.
    Final,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            cloud: Cloud::Aws,
            reposts: Reposts::Merged,
            token_lasts: usize::MAX,
            token_expires_in: 3600,
            address_lasts: usize::MAX,
            dead_addresses: 0,
            lost: None,
            storage: Reachable::Yes,
        }
    }
}

/// A request and the status it was answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub status: u16,
}

impl Exchange {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The first query parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn is_to_storage(&self) -> bool {
        self.path.starts_with(cloud::ROOT)
    }

    /// Which of several requests to one file of the storage it is.
    pub fn kind(&self) -> Option<&str> {
        ["comp", "resource", "action"].iter().find_map(|name| self.parameter(name))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A running mock; it stops when dropped.
#[derive(Debug)]
pub struct Databricks {
    host: String,
    state: Arc<Mutex<State>>,
    _listener: Listener,
}

#[derive(Debug)]
struct State {
    host: String,
    rules: Rules,
    tokens: Tokens,
    experiments: Vec<Experiment>,
    /// Trace id to `trace_info`.
    traces: BTreeMap<String, Value>,
    storage: Storage,
    exchanges: Vec<Exchange>,
}

/// What is sent back.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn json(body: &Value) -> Answer {
        Answer::json_of(200, body)
    }

    fn json_of(status: u16, body: &Value) -> Answer {
        let headers = vec![("content-type", "application/json".to_owned())];
        Answer { status, headers, body: body.to_string().into_bytes() }
    }

    fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    /// In Databricks' words.
    fn refusal(status: u16, code: &str, message: &str) -> Answer {
        Answer::json_of(status, &json!({"error_code": code, "message": message}))
    }
}

impl Databricks {
    pub fn start(rules: Rules) -> Databricks {
        let state = |host: String| State {
            host,
            rules,
            tokens: Tokens::default(),
            experiments: Vec::new(),
            traces: BTreeMap::new(),
            storage: Storage::default(),
            exchanges: Vec::new(),
        };
        let mut shared = None;
        let listener = Listener::start(|port| {
            let state = shared.insert(Arc::new(Mutex::new(state(format!("http://127.0.0.1:{port}")))));
            let state = Arc::clone(state);
            move |stream, _| {
                // An error means that the client has left.
                let _ = serve(&stream, &state);
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        let state = shared.expect("the listener has made its server");
        Databricks { host: listener.url(), state, _listener: listener }
    }

    /// What DATABRICKS_HOST is set to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Everything that was asked since the start, or since it was last forgotten.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().exchanges.clone()
    }

    pub fn forget_exchanges(&self) {
        self.state().exchanges.clear();
    }

    /// `method path` of each request, in order; the storage's without the file, signatures nowhere.
    pub fn story(&self) -> Vec<String> {
        let told = |exchange: &Exchange| format!("{} {} {}", exchange.method, exchange.path, exchange.status);
        self.state().exchanges.iter().map(told).collect()
    }

    /// The file of a trace, as the storage has it.
    pub fn file(&self, trace: &str) -> Option<Vec<u8>> {
        self.state().storage.file(trace)
    }

    pub fn trace_info(&self, trace: &str) -> Option<Value> {
        self.state().traces.get(trace).cloned()
    }

    pub fn traces(&self) -> Vec<String> {
        self.state().traces.keys().cloned().collect()
    }

    /// As if it had never come.
    pub fn lose(&self, trace: &str) {
        self.state().traces.remove(trace);
    }

    /// The id of an experiment that was made.
    pub fn experiment(&self, path: &str) -> Option<String> {
        self.state().experiments.iter().find(|known| known.path == path).map(|known| known.id.clone())
    }

    /// As a person makes one in the workspace; the answer is its id.
    pub fn make_experiment(&self, path: &str, tags: &[(&str, &str)]) -> String {
        let mut state = self.state();
        let id = state.make_experiment(path);
        let tags = tags.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        if let Some(made) = state.experiments.last_mut() {
            made.tags.extend(tags);
        }
        id
    }

    pub fn delete_experiment(&self, path: &str) {
        let mut state = self.state();
        let known = state.experiments.iter_mut().find(|known| known.path == path);
        known.expect("an experiment that was made").lifecycle_stage = "deleted";
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// One request per connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let Some(request) = read_request(stream)? else { return Ok(()) };
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut exchange = Exchange {
        method: request.method,
        path: path.to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: request.headers,
        body: request.body,
        status: 0,
    };
    let answer = {
        let mut state = state.lock().unwrap();
        let answer = state.answer(&exchange);
        exchange.status = answer.status;
        let is_lost = state.rules.lost.is_some() && exchange.kind() == state.rules.lost;
        state.exchanges.push(exchange);
        if is_lost {
            state.rules.lost = None;
            return Ok(());
        }
        answer
    };
    let mut head = format!("HTTP/1.1 {} Stand-in\r\nconnection: close\r\n", answer.status);
    head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)
}

impl State {
    fn answer(&mut self, asked: &Exchange) -> Answer {
        if asked.is_to_storage() {
            return match self.rules.storage {
                Reachable::Yes => self.storage.answer(asked),
                Reachable::Refused => cloud::refusal(403, "AuthorizationFailure"),
            };
        }
        if let Some(answer) = self.tokens.answer(asked, &self.host, &self.rules) {
            return answer;
        }
        match self.tokens.check(asked, self.rules.token_lasts) {
            Ok(()) => self.api(asked),
            Err(refusal) => refusal,
        }
    }
}
