//! From a line that is in the session file to its span, as MLflow's own client reads it: the real interface in tmux.

use crate::figures::{at_share, median, worst};
use crate::stage::{launcher, load};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::run::LIMIT;
use support::{
    End, Home, MlflowServer, ModelServer, Oracle, Reply, Script, Tmux, TrackingUri, run, wait_for,
};

pub(crate) const TARGETS: [&str; 3] = ["sqlite", "3.17.2", "3.18.0"];

/// Between two looks at the session file, in which a line's time is noted.
const LOOK: Duration = Duration::from_millis(2);

/// Between two reads of MLflow's client, in seconds.
const PAUSE: &str = "0.02";

/// How long the commands of a prompt take, in seconds.
const COMMANDS: [&str; 8] = ["0.1", "2.3", "0.7", "3.6", "0.2", "1.5", "0.4", "2.9"];

/// What a line means for the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// The turn of this number begins.
    Prompt(usize),
    /// A tool call, by its id.
    Call(String),
    Output(String),
    /// A call that Codex itself notes, with its output, as in code mode.
    Item(String),
    /// The response of this number, with its tokens.
    Response(usize),
    TurnEnd(usize),
}

impl Event {
    fn kind(&self) -> &'static str {
        match self {
            Event::Prompt(_) => "prompt: the turn is there",
            Event::Call(_) => "tool call: its span is there",
            Event::Output(_) => "output: the span has it",
            Event::Item(_) => "command in code mode: its span",
            Event::Response(_) => "response: llm_call",
            Event::TurnEnd(_) => "turn end: its status",
        }
    }

    /// Whether the trace shows it, in the form that the client printed.
    fn is_in(&self, seen: &Value) -> bool {
        let spans = seen["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        let any = |holds: &dyn Fn(&Value) -> bool| spans.iter().any(holds);
        let turn = |span: &Value, number: usize| {
            // The only turn has no span of its own.
            let name = span["name"].as_str().unwrap_or_default();
            name == format!("turn_{number}") || (number == 1 && name == "codex_cli_session")
        };
        match self {
            Event::Prompt(number) => any(&|span| turn(span, *number)),
            Event::Call(id) | Event::Item(id) => any(&|span| span["call"] == **id),
            Event::Output(id) => any(&|span| span["call"] == **id && span["is_running"] == false),
            Event::Response(number) => {
                let name = format!("llm_call_{number}");
                any(&|span| span["name"] == *name && span["has_tokens"] == true)
            }
            Event::TurnEnd(number) => any(&|span| turn(span, *number) && span["status"] == "OK"),
        }
    }
}

/// The events of the lines of a session, which come in order.
#[derive(Default)]
struct Counts {
    prompts: usize,
    responses: usize,
    ends: usize,
}

impl Counts {
    fn event(&mut self, line: &str) -> Option<Event> {
        let line: Value = serde_json::from_str(line).ok()?;
        let payload = &line["payload"];
        let id = |value: &Value| value.as_str().map(str::to_owned);
        let next = |count: &mut usize| {
            *count += 1;
            *count
        };
        match (line["type"].as_str()?, payload["type"].as_str().unwrap_or_default()) {
            ("response_item", "function_call" | "custom_tool_call") => {
                Some(Event::Call(id(&payload["call_id"])?))
            }
            ("response_item", "function_call_output" | "custom_tool_call_output") => {
                Some(Event::Output(id(&payload["call_id"])?))
            }
            ("token_usage_record", _) => Some(Event::Response(next(&mut self.responses))),
            ("event_msg", "task_complete") => Some(Event::TurnEnd(next(&mut self.ends))),
            ("event_msg", "item_completed") => match payload["item"]["type"].as_str()? {
                "UserMessage" => Some(Event::Prompt(next(&mut self.prompts))),
                "CommandExecution" => Some(Event::Item(id(&payload["item"]["id"])?)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Notes when each line of a session file of a home is there, until it is stopped.
struct LineWatch {
    lines: Arc<Mutex<Vec<(u128, String)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LineWatch {
    /// `known`: files of earlier sessions.
    fn start(home: &Home) -> LineWatch {
        let known = home.rollouts();
        let sessions = home.sessions();
        let (lines, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (lines, stop) = (Arc::clone(&lines), Arc::clone(&stop));
            move || {
                let (mut file, mut rest, mut offset) = (None, Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    sleep(LOOK);
                    if file.is_none() {
                        file = rollouts(&sessions).into_iter().find(|file| !known.contains(file));
                    }
                    let Some(mut open) = file.as_ref().and_then(|file| File::open(file).ok()) else {
                        continue;
                    };
                    let at = now();
                    let _ = open.seek(SeekFrom::Start(offset));
                    offset += open.read_to_end(&mut rest).unwrap_or(0) as u64;
                    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = rest.drain(..=end).collect();
                        let line = String::from_utf8_lossy(&line).into_owned();
                        lines.lock().expect("no panic").push((at, line));
                    }
                }
            }
        });
        LineWatch { lines, stop, thread: Some(thread) }
    }

    fn stop(mut self) -> Vec<(u128, String)> {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
        std::mem::take(&mut self.lines.lock().expect("no panic"))
    }
}

fn rollouts(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let below = entries.map(|entry| entry.path());
    let files = below.flat_map(|path| if path.is_dir() { rollouts(&path) } else { vec![path] });
    files.filter(|file| file.extension().is_some_and(|it| it == "jsonl")).collect()
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos()
}

/// MLflow's client in a process of its own, and what it prints.
struct Client {
    child: Child,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Client {
    fn start(oracle: &Oracle, uri: &str) -> Client {
        let mut python = oracle.python();
        python.args(["-W", "ignore", "-c", include_str!("client.py"), uri, PAUSE]);
        let mut child =
            python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start MLflow's client");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let ready = lines.next().expect("a line").expect("a line");
        assert_eq!(ready, "ready", "the client is connected");
        let seen = Arc::<Mutex<Vec<Value>>>::default();
        thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                for line in lines.map_while(Result::ok) {
                    let line = serde_json::from_str(&line).expect("a line of JSON");
                    seen.lock().expect("no panic").push(line);
                }
            }
        });
        Client { child, seen }
    }

    fn shows(&self, event: &Event) -> bool {
        self.seen.lock().expect("no panic").last().is_some_and(|seen| event.is_in(seen))
    }

    fn stop(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        std::mem::take(&mut self.seen.lock().expect("no panic"))
    }
}

pub(crate) fn measure(target: &str, rounds: usize) {
    let version = if target == "sqlite" { support::real::MLFLOW_VERSION } else { target };
    let (Some(codex), Some(oracle)) = (support::codex(), Oracle::of(version)) else { return };
    let server = (target != "sqlite").then(|| MlflowServer::of(version).expect("a server"));
    let (mut times, mut unseen): (BTreeMap<_, Vec<f64>>, Vec<String>) = Default::default();
    let before = load();
    for _ in 0..rounds {
        let model = ModelServer::start(Script::new());
        let home = Home::new(&model.url());
        home.face("gpt-6.1-sol", &model.url());
        let mut variables = Vec::new();
        if let Some(server) = &server {
            variables.push(("MLFLOW_TRACKING_URI", server.uri()));
            variables.push(("MLFLOW_CODEX_TRACING_ENABLED", "true".to_owned()));
        }
        let program = |file: &std::path::Path| file.to_str().expect("UTF-8").to_owned();
        variables.push(("CODEX_TRACED_CODEX_BIN", program(&codex.native)));
        variables.push(("USER", "tester".to_owned()));
        variables.push(("T", program(&launcher())));
        let uri = match &server {
            Some(server) => server.uri(),
            None => home.database().tracking_uri(),
        };
        warm_up(&home, &model, &codex.native, &variables);
        let client = Client::start(&oracle, &uri);
        let lines = LineWatch::start(&home);
        let last = drive(&home, &model, &variables, &client);
        let (lines, seen) = (lines.stop(), client.stop());
        assert!(last, "the client has seen the end of the last turn");
        let mut counts = Counts::default();
        for (at, line) in lines {
            let Some(event) = counts.event(&line) else { continue };
            let first = seen.iter().find(|seen| event.is_in(seen));
            match first.and_then(|seen| seen["at"].as_u64()) {
                Some(read) => {
                    let late = (u128::from(read).saturating_sub(at)) as f64 / 1e9;
                    times.entry(event.kind()).or_default().push(late);
                    if late > 1.5 {
                        println!("  {late:.2} s: {event:?}");
                    }
                }
                None => unseen.push(format!("{event:?}")),
            }
        }
        let reads = |of: &str| seen.iter().filter_map(|seen| seen[of].as_u64()).collect::<Vec<_>>();
        let took = reads("at").into_iter().zip(reads("began")).map(|(at, began)| (at - began) as f64 / 1e9);
        times.entry("(a read of the client takes)").or_default().extend(took);
    }
    println!("{target}, read by MLflow {version}; load {before} before, {} after", load());
    println!("{:<34} {:>5} {:>7} {:>7} {:>7}", "s from the line", "count", "p50", "p90", "worst");
    let mut all: Vec<f64> = Vec::new();
    for (kind, times) in &mut times {
        if !kind.starts_with('(') {
            all.extend(times.iter());
        }
        print(kind, times);
    }
    print("all", &mut all);
    if !unseen.is_empty() {
        println!("without a span: {}: {}", unseen.len(), unseen.join(", "));
    }
}

fn print(kind: &str, times: &mut [f64]) {
    let (p50, p90, last) = (median(times), at_share(times, 0.9), worst(times));
    println!("{kind:<34} {:>5} {p50:>7.2} {p90:>7.2} {last:>7.2}", times.len());
}

/// A short session: the store and its experiment are there, and Codex has its own files.
fn warm_up(home: &Home, model: &ModelServer, codex: &std::path::Path, variables: &[(&str, String)]) {
    model.play(Script::new().reply(Reply::new().answer("warm").usage(100, 0, 1, 0)));
    let mut command = home.traced(launcher(), codex);
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    run(command.args(["exec", "--skip-git-repo-check", "warm up"]).env("CODEX_TRACED_WAIT", "60"))
        .ended(End::Code(0));
}

/// Three prompts with tools. Whether the client saw the last turn's end.
fn drive(home: &Home, model: &ModelServer, variables: &[(&str, String)], client: &Client) -> bool {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
    let shell = Tmux::start(home, &variables);
    for _ in 0..3 {
        model.play(Script::new().reply_to("Generate a concise", Reply::new().answer("a title")));
    }
    shell.type_line("$T; echo ended $?");
    shell.wait_for("? for shortcuts");
    for name in ["first", "second", "third"] {
        let calls = COMMANDS.iter().map(|time| {
            let command = format!("sleep {time}; seq 1 20; echo {name}");
            let call = format!(
                "const {{output}} = await tools.exec_command({{cmd: {command:?}, yield_time_ms: 20000}}); text(output)"
            );
            Reply::new().reasoning("**Look**").custom("exec", &call).usage(9000, 4096, 120, 64)
        });
        let script = calls.fold(Script::new(), Script::reply);
        let answer = format!("{name} answer");
        model.play(script.reply(Reply::new().answer(&answer).usage(9200, 9000, 5, 0)));
        shell.ask(&format!("{name} prompt"), &answer);
    }
    let until = Instant::now() + Duration::from_secs(20);
    while !client.shows(&Event::TurnEnd(3)) && Instant::now() < until {
        sleep(LOOK);
    }
    let is_seen = client.shows(&Event::TurnEnd(3));
    shell.submit("/quit", "ended 0");
    if let Some(daemon) = home.daemon() {
        let _ = nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGTERM);
    }
    wait_for("our processes to end", LIMIT, || crate::processes::ours(home).is_empty());
    is_seen
}
