//! What a collector may answer, and what a network may do on the way to it.

use super::Sender;
use super::collector::Collector;
use crate::LAUNCHER;
use std::fs;
use std::net::SocketAddr;
use support::{Codex, End, Fault, FaultProxy, Home, ModelServer, Script, codex, each_in_parallel, run};

/// Where a trace is after a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Collector,
    Waiting,
    SetAside,
}

fn place_of(home: &Home) -> Place {
    let count = |folder: &str| {
        let entries = fs::read_dir(home.state().join(folder)).into_iter().flatten().flatten();
        let is_entry = |name: &str| name.ends_with(".json") && name.contains("-tr-");
        entries.filter(|entry| is_entry(&entry.file_name().to_string_lossy())).count()
    };
    match (count("spool"), count("spool/set_aside")) {
        (0, 0) => Place::Collector,
        (1, 0) => Place::Waiting,
        (0, 1) => Place::SetAside,
        other => panic!("one launch put {other:?} into the spool"),
    }
}

#[test]
fn only_what_the_specification_names_is_sent_again() {
    use Place::{Collector as There, SetAside, Waiting};
    let Some(codex) = codex() else { return };
    // Statuses of the first answers, how many requests the launch makes, and where the trace is then.
    let table: Vec<(&[u16], usize, Place)> = vec![
        (&[], 1, There),
        (&[429], 2, There),
        (&[502], 2, There),
        (&[503], 2, There),
        (&[504], 2, There),
        (&[503, 503], 2, Waiting),
        (&[500], 1, Waiting),
        (&[408], 1, Waiting),
        (&[400], 1, SetAside),
        (&[413], 1, There),
        (&[422], 1, SetAside),
        (&[401], 1, Waiting),
        (&[404], 1, Waiting),
    ];
    each_in_parallel(table, |(statuses, requests, expected)| {
        let sender = Sender::new(codex.clone(), Script::new());
        statuses.iter().for_each(|status| sender.collector.answer(*status, b"no".to_vec()));
        let mut command = sender.command();
        // A tracer would send too.
        command.env("CODEX_TRACED_LIVE", "off").env("CODEX_TRACED_NOTICE", "always");
        let said = run(command.args(["exec", "hi"])).ended(End::Code(0)).stderr;
        // A request that is too large is sent in halves.
        let requests = if statuses == [413] { 3 } else { requests };
        assert_eq!(sender.collector.requests().len(), requests, "{statuses:?}: {said}");
        assert_eq!(place_of(&sender.home), expected, "{statuses:?}: {said}");
        let retry: &[&str] = if expected == SetAside { &["--retry"] } else { &[] };
        run(sender.command().args(["mlflow", "sync"]).args(retry)).ended(End::Code(0));
        assert_eq!(place_of(&sender.home), There, "{statuses:?}");
        assert_eq!(sender.collector.traces().len(), 1, "{statuses:?}");
    });
}

#[test]
fn rejected_spans_are_set_aside_with_the_collectors_reason_and_not_sent_again() {
    let Some(codex) = codex() else { return };
    let sender = Sender::new(codex, Script::new());
    sender.collector.reject(1, "the span is too old");
    let mut command = sender.command();
    command.env("CODEX_TRACED_LIVE", "off").env("CODEX_TRACED_NOTICE", "always");
    let said = run(command.args(["exec", "hi"])).ended(End::Code(0)).stderr;
    assert!(said.contains("rejected 1 of its spans: the span is too old"), "{said}");
    assert_eq!(place_of(&sender.home), Place::SetAside);
    run(sender.command().args(["mlflow", "sync"]));
    assert_eq!(sender.collector.requests().len(), 1);
}

fn launch_through(proxy: &FaultProxy, codex: &Codex) -> (Home, ModelServer, String) {
    let model = ModelServer::start(Script::new());
    let home = Home::new(&model.url());
    let plain = run(home.command(&codex.native).args(["exec", "hi"])).ended(End::Code(0)).normalised();
    let mut command = home.traced(LAUNCHER, &codex.native);
    let uri = format!("otlp+{}", proxy.url());
    command.envs([
        ("MLFLOW_TRACKING_URI", uri.as_str()),
        ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5"),
        ("CODEX_TRACED_WAIT", "60"),
        ("CODEX_TRACED_LIVE", "off"),
    ]);
    let traced = run(command.args(["exec", "hi"])).ended(End::Code(0));
    assert_eq!(traced.clone().normalised().stdout, plain.stdout, "Codex's bytes");
    (home, model, uri)
}

#[test]
fn under_every_network_fault_the_trace_is_in_one_place() {
    use Place::{Collector as There, Waiting};
    let Some(codex) = codex() else { return };
    let answer = |status, headers: &[(&'static str, &'static str)], body| Fault::Answer {
        status,
        headers: headers.to_vec(),
        body,
    };
    // The fault, whether it happens once, where the trace is after the launch, and how often its spans came in the end.
    let table = vec![
        (Fault::Hang, false, Waiting, 1),
        (Fault::ResetInBody, false, Waiting, 1),
        (Fault::ResetInBody, true, There, 1),
        (answer(200, &[("content-type", "text/html")], "<html>"), false, Waiting, 1),
        (answer(301, &[("location", "http://127.0.0.1:9/")], ""), false, Waiting, 1),
        // The collector has the spans, and only its answer is lost: they come again with the same ids.
        (Fault::LoseAnswer, true, There, 2),
    ];
    each_in_parallel(table, |(fault, is_once, expected, times)| {
        let collector = Collector::start();
        let port = collector.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let proxy = FaultProxy::before(SocketAddr::from(([127, 0, 0, 1], port)));
        match is_once {
            true => proxy.fail_once("", fault.clone()),
            false => proxy.fail("", fault.clone()),
        }
        let (home, _model, uri) = launch_through(&proxy, &codex);
        assert_eq!(place_of(&home), expected, "{fault:?}");
        proxy.heal();
        let mut sync = home.traced(LAUNCHER, &codex.native);
        sync.envs([("MLFLOW_TRACKING_URI", uri.as_str()), ("MLFLOW_CODEX_TRACING_ENABLED", "true")]);
        run(sync.args(["mlflow", "sync"])).ended(End::Code(0));
        assert_eq!((place_of(&home), collector.counts()), (There, (2 * times, 2)), "{fault:?}");
    });
}
