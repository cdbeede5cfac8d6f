//! Everything that goes wrong between us and a server: Codex's bytes and end stay the same, and the trace is at the
//! server once or in the spool once.

use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use support::mlflow_server::post;
use support::real::MLFLOW_VERSION;
use support::{
    Codex, End, Fault, FaultProxy, Home, MlflowServer, ModelServer, Oracle, Outcome, Reply, Script, codex,
    run,
};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");
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
}

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
            // Long enough for a server on a busy machine.
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", "5"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
            ("CODEX_TRACED_WAIT", "20"),
        ]);
        command
    }

    /// One launch; where its trace is then, and what was said.
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

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn answer(status: u16) -> Fault {
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
fn whatever_a_network_does_codex_is_unchanged_and_the_trace_is_in_one_place() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let Some(mut server) = MlflowServer::of(MLFLOW_VERSION) else { return };
    let proxy = FaultProxy::before(address(server.port()));
    let uri = proxy.url();
    let mut network = Network::new(codex);
    // The first spans cost a server more than those below.
    assert_eq!(network.launch(&server.uri()).0, Place::Server);

    use Place::{Server, SetAside, Waiting};
    use Times::{All, Once};
    let html = answer_with(200, &[("content-type", "text/html")], "<html>Log in</html>");
    // A server whose clock is an hour ahead of ours.
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
    for (name, path, fault, times, expected) in table {
        match times {
            All => proxy.fail(path, fault),
            Once => proxy.fail_once(path, fault),
        }
        let (place, said) = network.launch(&uri);
        println!("{name:40} {place:?}  {said}");
        assert_eq!(place, expected, "{name}: {said}");
        assert_eq!(said.is_empty(), place == Server, "{name}: {said}");
        proxy.heal();
        network.sync(&uri, if expected == SetAside { &["--retry"] } else { &[] });
    }

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
    let expected = network.traces();
    assert_eq!(expected.len(), network.launches);
    assert!(ids.iter().all(|id| expected.contains(id)), "no trace that nobody made");
    assert_eq!(ids.len(), network.launches - nowhere, "each trace once");
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
