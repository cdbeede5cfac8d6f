//! A client of a Codex that serves other programs: `app-server` and `mcp-server`, one JSON message a line.

use std::io::Write;
use std::process::{ChildStdin, Command};
use std::sync::LazyLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use regex::Regex;
use serde_json::{Value, json};

use crate::normalise::Normaliser;
use crate::run::{LIMIT, Outcome, Running, start_with_open_input, wait_for};

/// How long the client waits between SIGTERM and SIGKILL. `openai-codex` 0.163 waits for 2 s, in which a Codex on a busy
/// machine does not end.
const SDKS_PATIENCE: Duration = Duration::from_secs(30);

/// A server and the client's end of its streams.
#[derive(Debug)]
pub struct JsonRpc {
    server: Running,
    stdin: ChildStdin,
    /// How many lines were read.
    read: usize,
    requests: u64,
    /// Fields of each message: MCP names the version of the protocol.
    envelope: Value,
}

impl JsonRpc {
    /// Starts an `app-server` and says hello. `command` has its arguments.
    #[track_caller]
    pub fn app_server(command: &mut Command) -> JsonRpc {
        let mut client = JsonRpc::start(command, json!({}));
        let info = json!({"name": "test_client", "title": "A test", "version": "1"});
        client.request("initialize", json!({"clientInfo": info}));
        client.send(json!({"method": "initialized"}));
        client
    }

    /// As `app_server`, for the Model Context Protocol.
    #[track_caller]
    pub fn mcp_server(command: &mut Command) -> JsonRpc {
        let mut client = JsonRpc::start(command, json!({"jsonrpc": "2.0"}));
        let info = json!({"name": "test_client", "version": "1"});
        let hello = json!({"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": info});
        client.request("initialize", hello);
        client.send(json!({"method": "notifications/initialized"}));
        client
    }

    fn start(command: &mut Command, envelope: Value) -> JsonRpc {
        let (server, stdin) = start_with_open_input(command);
        JsonRpc { server, stdin, read: 0, requests: 0, envelope }
    }

    pub fn pid(&self) -> Pid {
        self.server.pid()
    }

    fn send(&mut self, message: Value) {
        let mut whole = self.envelope.clone();
        let fields = message.as_object().expect("a message is an object").clone();
        whole.as_object_mut().expect("an envelope is an object").extend(fields);
        self.stdin.write_all(format!("{whole}\n").as_bytes()).expect("the server reads");
    }

    /// Sends a request and waits for its result.
    #[track_caller]
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(json!({"id": id, "method": method, "params": params}));
        let answer =
            self.wait_until(method, |message| message["id"] == id && message.get("method").is_none());
        answer.get("result").unwrap_or_else(|| panic!("{method}: {answer}")).clone()
    }

    /// Waits for a notification, and returns what it has.
    #[track_caller]
    pub fn wait_for(&mut self, method: &str) -> Value {
        self.wait_until(method, |message| message["method"] == method)["params"].clone()
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        wait_for(what, LIMIT, || {
            let stdout = self.server.stdout();
            // The last line may be incomplete.
            let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
            for line in whole.lines().skip(self.read) {
                self.read += 1;
                let message: Value = serde_json::from_str(line).expect("a message is JSON");
                if is_it(&message) {
                    found = Some(message);
                    return true;
                }
            }
            false
        });
        found.expect("waited for")
    }

    /// Begins a thread of `app-server`; its id.
    #[track_caller]
    pub fn thread(&mut self) -> String {
        let begun = self.request("thread/start", json!({}));
        begun["thread"]["id"].as_str().expect("a thread has an id").to_owned()
    }

    /// Begins a turn; its id.
    #[track_caller]
    pub fn begin_turn(&mut self, thread: &str, prompt: &str) -> String {
        let input = json!([{"type": "text", "text": prompt}]);
        let begun = self.request("turn/start", json!({"threadId": thread, "input": input}));
        begun["turn"]["id"].as_str().expect("a turn has an id").to_owned()
    }

    /// A turn from its prompt to its end; its status.
    #[track_caller]
    pub fn turn(&mut self, thread: &str, prompt: &str) -> String {
        self.begin_turn(thread, prompt);
        let ended = self.wait_for("turn/completed");
        ended["turn"]["status"].as_str().expect("a turn has a status").to_owned()
    }

    /// Closes stdin and waits for the end.
    #[track_caller]
    pub fn end(self) -> Outcome {
        drop(self.stdin);
        self.server.finish(LIMIT)
    }

    /// As OpenAI's Python SDK closes its Codex: the end of stdin, SIGTERM at once, and SIGKILL two seconds later.
    #[track_caller]
    pub fn close(self) -> Outcome {
        drop(self.stdin);
        self.server.signal(Signal::SIGTERM);
        self.server.finish_or_kill(SDKS_PATIENCE)
    }

    /// SIGKILL, with the streams open.
    #[track_caller]
    pub fn kill(self) -> Outcome {
        self.server.signal(Signal::SIGKILL);
        self.server.finish(LIMIT)
    }
}

/// What Codex (0.171) sends of a command's output while the command runs: in pieces, or not at all when the command ends
/// first. The whole output follows with the command's end.
const OUTPUT_SO_FAR: &str = r#"{"method":"item/commandExecution/outputDelta","#;

/// Streams of a server without what differs between two runs: ids and times, also those that are numbers, the number
/// that Codex gives to a command that it runs, and the command's output so far.
pub fn normalised_messages(outcome: &Outcome) -> Outcome {
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
        let time = r#"(?P<time>"\w*(?:At|AtMs|Ms)":)\d+"#;
        let process = r#"(?P<process>"processId":)"\d+""#;
        Regex::new(&format!("{time}|{process}")).expect("the pattern is well formed")
    });
    let mut normaliser = Normaliser::default();
    let mut normalise = |text: &str| normaliser.normalise(&NUMBERS.replace_all(text, "${time}${process}<n>"));
    let messages = outcome.stdout.split_inclusive('\n').filter(|line| !line.starts_with(OUTPUT_SO_FAR));
    let messages: String = messages.collect();
    Outcome { stdout: normalise(&messages), stderr: normalise(&outcome.stderr), end: outcome.end }
}

/// Fails where no run of plain Codex gives these messages, with the lines of the last one that differ. Codex's own order
/// of messages is another one at times, in less than one of 300 runs (0.171): so plain Codex has several runs.
pub fn assert_messages_of_plain(traced: &Outcome, plain: impl IntoIterator<Item = Outcome>) {
    let traced = normalised_messages(traced);
    let mut differences = "no run of plain Codex".to_owned();
    for plain in plain.into_iter().map(|outcome| normalised_messages(&outcome)) {
        if plain == traced {
            return;
        }
        let lines = |one: &Outcome| -> Vec<String> {
            let Outcome { stdout, stderr, end } = one;
            let all = stdout.lines().chain(stderr.lines()).map(str::to_owned);
            all.chain([format!("{end:?}")]).collect()
        };
        let [plain, traced] = [lines(&plain), lines(&traced)];
        let pairs = plain.iter().zip(&traced).enumerate().filter(|(_, (plain, traced))| plain != traced);
        let shown = pairs
            .take(6)
            .map(|(at, (plain, traced))| format!("{at}: plain  {plain}\n{at}: traced {traced}\n"));
        differences = format!("{} and {} lines\n{}", plain.len(), traced.len(), shown.collect::<String>());
    }
    panic!("plain Codex gives other messages: {differences}");
}
