//! Everything that goes wrong between us and a server: Codex's bytes and end stay the same, and the trace is at the
//! server once or in the spool once.

use crate::LAUNCHER;
use codex_traced::queue::spool::Spool;
use codex_traced::queue::spool::entry::Entry;
use codex_traced::queue::spool::list::EntryState;
use codex_traced::queue::spool::retry::MOST_ALONE;
use codex_traced::redact::Redacted;
use common::json::value::Map;
use jiff::Timestamp;
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{Span, SpanStatus, SpanType, Trace, TraceState};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use support::mlflow_server::post;
use support::real::MLFLOW_VERSION;
use support::{
    Codex, Dislike, End, Fault, FaultProxy, Home, MlflowServer, ModelServer, Oracle, Outcome, PickyServer,
    Reply, Script, codex, each_in_parallel, run, start,
};

const INFO: &str = "/api/3.0/mlflow/traces";
const SPANS: &str = "/v1/traces";

/// Where a trace is after a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Server,
    Waiting,
    SetAside,
}

struct Network {
    codex: Codex,
    home: Home,
    model: ModelServer,
    /// What plain Codex prints.
    plain: Outcome,
    launches: usize,
    /// Seconds for a request, and for a launch.
    limits: [&'static str; 2],
}

/// For a server that does not answer.
const SHORT: [&str; 2] = ["5", "20"];

/// For a server that answers, on a busy machine.
const LONG: [&str; 2] = ["30", "90"];

impl Network {
    fn new(codex: Codex) -> Network {
        let model = ModelServer::start(Script::new());
        let home = Home::new(&model.url());
        let mut network = Network {
            codex,
            home,
            model,
            plain: Outcome { stdout: String::new(), stderr: String::new(), end: End::Code(0) },
            launches: 0,
            limits: SHORT,
        };
        let plain = network.home.command(&network.codex.native);
        network.plain = network.observe(plain).0;
        network
    }

    fn observe(&self, mut command: Command) -> (Outcome, Vec<String>) {
        let script = Script::new()
            .reply(Reply::new().call("exec_command", json!({"cmd": "echo hi; exit 3"})).usage(100, 0, 10, 0))
            .reply(Reply::new().answer("done").usage(120, 0, 10, 0));
        self.model.play(script);
        let outcome = run(command.args(["exec", "do it"])).ended(End::Code(0));
        let ours = |line: &&str| line.starts_with("codex-traced: ");
        let (ours, theirs): (Vec<&str>, Vec<&str>) = outcome.stderr.lines().partition(ours);
        let theirs = Outcome { stderr: theirs.join("\n"), ..outcome.clone() };
        (theirs.normalised(), ours.into_iter().map(str::to_owned).collect())
    }

    fn traced(&self, uri: &str) -> Command {
        let mut command = self.home.traced(LAUNCHER, &self.codex.native);
        command.envs([
            ("MLFLOW_TRACKING_URI", uri),
            ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", self.limits[0]),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
            ("CODEX_TRACED_WAIT", self.limits[1]),
            // A slow launch would start a tracer, which works at a low priority.
            ("CODEX_TRACED_LIVE", "off"),
        ]);
        command
    }

    /// One launch; where its trace is then, and what the launcher printed.
    #[track_caller]
    fn launch(&mut self, uri: &str) -> (Place, String) {
        let before = self.counts();
        let (printed, ours) = self.observe(self.traced(uri));
        assert_eq!(printed, self.plain, "Codex's bytes");
        self.launches += 1;
        let after = self.counts();
        let place = match (after.0 - before.0, after.1 - before.1) {
            (0, 0) => Place::Server,
            (1, 0) => Place::Waiting,
            (0, 1) => Place::SetAside,
            other => panic!("one launch put {other:?} into the spool"),
        };
        (place, ours.join(" | "))
    }

    /// Entries that wait, and those that are set aside.
    fn counts(&self) -> (usize, usize) {
        let count = |folder: &str| {
            let entries = fs::read_dir(self.home.state().join(folder)).into_iter().flatten().flatten();
            let is_entry = |name: &str| name.ends_with(".json") && name.contains("-tr-");
            entries.filter(|entry| is_entry(&entry.file_name().to_string_lossy())).count()
        };
        (count("spool"), count("spool/set_aside"))
    }

    #[track_caller]
    fn sync(&self, uri: &str, words: &[&str]) {
        let mut command = self.traced(uri);
        command.env_remove("MLFLOW_HTTP_REQUEST_TIMEOUT");
        let synced = run(command.args(["mlflow", "sync"]).args(words));
        assert_eq!(self.counts(), (0, 0), "{}{}", synced.stdout, synced.stderr);
        assert_eq!(synced.end, End::Code(0), "{}{}", synced.stdout, synced.stderr);
    }

    /// The threads that Codex wrote here with tracing, as the server's ids.
    fn traces(&self) -> Vec<String> {
        self.home.claimed().iter().map(|id| format!("tr-{}", id.replace('-', ""))).collect()
    }
}

pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn answer(status: u16) -> Fault {
    Fault::Answer { status, headers: vec![], body: "" }
}

fn answer_with(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Fault {
    Fault::Answer { status, headers: headers.to_vec(), body }
}

/// For how many requests.
#[derive(Clone, Copy, Debug)]
enum Times {
    All,
    Once,
}

#[test]
fn under_every_network_fault_codex_is_unchanged_and_the_trace_is_in_one_place() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let Some(mut server) = MlflowServer::of(MLFLOW_VERSION) else { return };
    let proxy = FaultProxy::before(address(server.port()));
    let uri = proxy.url();
    let mut network = Network::new(codex.clone());
    network.limits = LONG;
    // The first spans cost a server more than those below.
    assert_eq!(network.launch(&server.uri()).0, Place::Server);
    network.limits = SHORT;

    use Place::{Server, SetAside, Waiting};
    use Times::{All, Once};
    let html = answer_with(200, &[("content-type", "text/html")], "<html>Log in</html>");
    // A server whose clock is far ahead of the client's.
    let ahead = answer_with(
        429,
        &[("date", "Mon, 23 Nov 2099 10:00:00 GMT"), ("retry-after", "Mon, 23 Nov 2099 10:00:01 GMT")],
        "",
    );
    let table: Vec<(&str, &str, Fault, Times, Place)> = vec![
        ("hangs after accepting", "", Fault::Hang, All, Waiting),
        ("one byte a second", "", Fault::Trickle, All, Waiting),
        ("reset in the body", SPANS, Fault::ResetInBody, All, Waiting),
        ("reset in the body, once", SPANS, Fault::ResetInBody, Once, Server),
        ("301", "", answer_with(301, &[("location", "http://127.0.0.1:9/")], ""), All, Waiting),
        ("401", "", answer(401), All, Waiting),
        ("403", "", answer(403), All, Waiting),
        ("404 for everything", "", answer(404), All, Waiting),
        ("413 for everything", SPANS, answer(413), All, SetAside),
        ("413, once", SPANS, answer(413), Once, Server),
        ("429 with Retry-After: 60", "", answer_with(429, &[("retry-after", "60")], ""), All, Waiting),
        ("429 with Retry-After: 1, once", "", answer_with(429, &[("retry-after", "1")], ""), Once, Server),
        ("429 from a clock decades ahead, once", "", ahead, Once, Server),
        ("429 without Retry-After", "", answer(429), All, Waiting),
        ("500", "", answer(500), All, Waiting),
        ("503", "", answer(503), All, Waiting),
        ("HTML with 200", "", html, All, Waiting),
        ("the answer to the spans is lost, once", SPANS, Fault::LoseAnswer, Once, Server),
        ("the answer to the info is lost, once", INFO, Fault::LoseAnswer, Once, Server),
        ("every answer to the info is lost", INFO, Fault::LoseAnswer, All, Waiting),
    ];
    let threads = each_in_parallel(table, |(name, path, fault, times, expected)| {
        let proxy = FaultProxy::before(address(server.port()));
        let mut network = Network::new(codex.clone());
        match times {
            All => proxy.fail(path, fault),
            Once => proxy.fail_once(path, fault),
        }
        network.limits = if expected == Waiting { SHORT } else { LONG };
        let (place, said) = network.launch(&proxy.url());
        println!("{name:40} {place:?}  {said}");
        assert_eq!(place, expected, "{name}: {said}");
        assert_eq!(said.is_empty(), place == Server, "{name}: {said}");
        proxy.heal();
        network.sync(&proxy.url(), if expected == SetAside { &["--retry"] } else { &[] });
        network.traces()
    });

    let (place, said) = network.launch("http://127.0.0.1:1");
    println!("{:40} {place:?}  {said}", "refused");
    assert_eq!(place, Waiting);
    let (place, said) = network.launch("http://no-such-host.invalid:5000");
    println!("{:40} {place:?}  {said}", "name not found");
    assert_eq!(place, Waiting);
    let (place, said) = network.launch(&server.uri().replace("http:", "https:"));
    println!("{:40} {place:?}  {said}", "TLS fails");
    assert_eq!(place, Waiting);
    let nowhere = 3;
    assert_eq!(network.counts(), (nowhere, 0));
    for entry in fs::read_dir(network.home.state().join("spool")).expect("the spool").flatten() {
        if entry.path().extension().is_some_and(|end| end == "json") {
            fs::remove_file(entry.path()).expect("remove what goes nowhere");
        }
    }

    // In the middle: the spans are there, the information is not.
    proxy.fail(INFO, Fault::Hang);
    let (place, said) = network.launch(&uri);
    println!("{:40} {place:?}  {said}", "killed -9 in mid-batch");
    assert_eq!(place, Waiting);
    server = server.killed_and_started_again();
    proxy.aim_at(address(server.port()));
    proxy.heal();
    network.sync(&uri, &[]);

    let traces = oracle.traces(server.uri().as_str());
    let experiment = traces.first().expect("a trace").experiment_id.clone();
    let body = json!({"experiment_id": experiment}).to_string();
    assert!(post(server.port(), "/api/2.0/mlflow/experiments/delete", &[], &body).contains("200 OK"));
    let (place, said) = network.launch(&uri);
    println!("{:40} {place:?}  {said}", "experiment deleted");
    assert_eq!(place, Waiting);
    assert!(post(server.port(), "/api/2.0/mlflow/experiments/restore", &[], &body).contains("200 OK"));
    network.sync(&uri, &[]);

    let traces = oracle.traces(server.uri().as_str());
    let mut ids: Vec<String> = traces.iter().map(|trace| trace.trace_id.clone()).collect();
    ids.sort();
    let own = network.traces();
    assert_eq!(own.len(), network.launches);
    let expected: Vec<String> = threads.into_iter().flatten().chain(own).collect();
    assert!(ids.iter().all(|id| expected.contains(id)), "a trace of no launch");
    assert_eq!(ids.len(), expected.len() - nowhere, "each trace once");
    for trace in &traces {
        let total = trace.token_usage.as_ref().and_then(|usage| usage["total_tokens"].as_i64());
        assert_eq!(
            (trace.spans.len(), trace.state.as_str(), total),
            (4, "OK", Some(240)),
            "{}",
            trace.trace_id
        );
    }
}

/// What one session left for its server, without what its launch and Codex do for it.
fn left_by_a_session(number: u32, uri: &str) -> Entry {
    let mut id = [0x5a; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).expect("a time");
    let root = Span {
        id: SpanId([1; 8]),
        parent: None,
        name: "codex_cli_session".to_owned(),
        span_type: SpanType::Agent,
        status: SpanStatus::Ok,
        started_at: at(0),
        ended_at: at(1),
        inputs: json!({"prompt": "hi"}).into(),
        outputs: json!({"response": "done", "status": "completed"}).into(),
        attributes: Map::new(),
        events: Vec::new(),
    };
    let trace = Trace {
        id: TraceId(id),
        name: root.name.clone(),
        state: TraceState::Ok,
        started_at: at(0),
        ended_at: at(1),
        request_preview: Some("hi".to_owned()),
        response_preview: Some("done".to_owned()),
        context: Default::default(),
        metadata: [].into(),
        tags: [].into(),
        spans: vec![root],
    };
    let experiment = Experiment::Name("codex-sessions".to_owned());
    Entry { target: Target::Http(uri.into()), experiment, trace: Redacted::with_built_in_rules(trace) }
}

/// The same numbers each time, spread as if at random.
fn scattered(number: u32) -> u32 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9);
    mixed ^= mixed >> 16;
    mixed = mixed.wrapping_mul(0x85eb_ca6b);
    mixed ^ (mixed >> 13)
}

/// With `REFUSED_SESSIONS=500 REFUSED_LAUNCHES=10` at its full size.
#[test]
fn a_server_that_always_refuses_one_trace_in_ten_keeps_no_other_waiting() {
    let Some(codex) = codex() else { return };
    let asked = |name: &str, usual: u32| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
    };
    let (sessions, launches) = (asked("REFUSED_SESSIONS", 80), asked("REFUSED_LAUNCHES", 4));
    /// In seconds; and what a machine that does much else may need beyond it.
    const WAIT: u64 = 12;
    const SLACK: Duration = Duration::from_secs(60);
    let server = PickyServer::start();
    let uri = server.url();
    let mut network = Network::new(codex);
    let spool = Spool::new(network.home.state().join("spool"));
    let (mut others, mut refused) = (BTreeSet::new(), BTreeMap::new());
    let mut numbers = 0..;
    let mut put = |is_liked: bool| {
        let number = numbers.next().expect("numbers do not end");
        let entry = left_by_a_session(number, &uri);
        let id = entry.trace.id.to_string();
        if !is_liked && scattered(number).is_multiple_of(10) {
            let how = match refused.len() % 4 {
                0 => Dislike::Answers(500),
                1 => Dislike::Hangs,
                2 => Dislike::Answers(400),
                _ => Dislike::Answers(413),
            };
            server.dislike(&id, how);
            refused.insert(id, how);
        } else {
            others.insert(id);
        }
        spool.put(&entry, Timestamp::now()).expect("put an entry");
        (others.clone(), refused.clone())
    };
    let patient = |network: &Network| {
        let mut command = network.traced(&uri);
        command.env("CODEX_TRACED_WAIT", WAIT.to_string());
        command
    };
    for launch in 1..=launches {
        let (mut expected, mut disliked) = Default::default();
        for _ in 0..sessions / launches {
            (expected, disliked) = put(false);
        }
        let begun = Instant::now();
        let (printed, said) = network.observe(patient(&network));
        let took = begun.elapsed();
        assert_eq!(printed, network.plain, "Codex's bytes");
        network.launches += 1;
        expected.extend(network.traces());
        let taken = server.taken();
        println!(
            "launch {launch}: {} arrived, {} refused so far, {:?} in the spool and set aside, {took:.1?}  {said:?}",
            taken.len(),
            disliked.len(),
            network.counts()
        );
        assert_eq!(taken, expected, "every other trace arrives in its launch");
        assert!(took < Duration::from_secs(WAIT) + SLACK, "{took:?}");
    }
    // Each brings one more, as launches do, so that it shows who is at fault.
    let mut disliked = BTreeMap::new();
    for sync in 1..=MOST_ALONE {
        (_, disliked) = put(true);
        let begun = Instant::now();
        let mut command = patient(&network);
        command.env("MLFLOW_HTTP_REQUEST_TIMEOUT", "2");
        let synced = start(command.args(["mlflow", "sync"])).finish(Duration::from_secs(500));
        let first = synced.stdout.lines().next().unwrap_or_default().to_owned();
        println!("sync {sync}: {first}, {:.1?}", begun.elapsed());
    }
    let listed = spool.list();
    let aside: BTreeMap<String, String> = listed
        .iter()
        .map(|one| match &one.state {
            EntryState::Quarantined(reason) => (one.trace.to_string(), reason.clone()),
            other => panic!("{} is not set aside: {other:?}", one.trace),
        })
        .collect();
    assert!(aside.keys().eq(disliked.keys()), "{aside:?}\n{disliked:?}");
    for (trace, how) in &disliked {
        let why = match how {
            Dislike::Answers(status) => status.to_string(),
            Dislike::Hangs => "no answer from ".to_owned(),
        };
        assert!(aside[trace].contains(&why), "{trace} {how:?}: {}", aside[trace]);
    }
    println!("{} set aside, such as:", aside.len());
    aside.values().collect::<BTreeSet<_>>().iter().for_each(|reason| println!("  {reason}"));
    let listing = run(network.traced(&uri).args(["mlflow", "sync", "--list"])).ended(End::Code(0));
    assert!(aside.values().all(|reason| listing.stdout.contains(reason.as_str())), "{}", listing.stdout);
}

#[test]
fn after_a_refused_delivery_the_list_shows_tries_time_and_reason() {
    let Some(codex) = codex() else { return };
    let server = PickyServer::start();
    let uri = server.url();
    let network = Network::new(codex);
    let spool = Spool::new(network.home.state().join("spool"));
    let [refused, other] = [1, 2].map(|number| left_by_a_session(number, &uri));
    server.dislike(&refused.trace.id.to_string(), Dislike::Answers(500));
    spool.put(&refused, Timestamp::now()).expect("put an entry");
    spool.put(&other, Timestamp::now()).expect("put an entry");
    run(network.traced(&uri).args(["mlflow", "sync"])).ended(End::Code(1));
    assert_eq!(server.taken(), [other.trace.id.to_string()].into());
    let listed = run(network.traced(&uri).args(["mlflow", "sync", "--list"])).ended(End::Code(0)).stdout;
    println!("{listed}");
    let lines: Vec<&str> = listed.lines().collect();
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (heading, row) = (cells(lines[0]), cells(lines[1]));
    let of = |name: &str| row[heading.iter().position(|cell| cell == name).expect("a column")].as_str();
    assert_eq!(of("TRIES"), "1");
    assert!(of("LAST TRY").ends_with(" ago") && of("NEXT TRY").starts_with("in "), "{listed}");
    assert!(lines[2].contains("answered 500 ") && lines[2].contains("I do not like it"), "{listed}");
    assert_eq!(lines.len(), 3, "{listed}");
}
