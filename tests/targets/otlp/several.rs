//! Several targets at once.

use super::collector::Collector;
use crate::LAUNCHER;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use support::run::LIMIT;
use support::tmux::Tmux;
use support::{
    Codex, End, Fault, FaultProxy, Gate, Home, ModelServer, Reply, Script, codex, each_in_parallel, run,
    start, wait_for,
};

fn config(home: &Home) -> PathBuf {
    home.codex().join("mlflow_config.json")
}

/// The first target and the further ones, in the configuration file.
fn configure(home: &Home, first: &str, further: &Value) {
    let file = json!({
        "environment": {"MLFLOW_CODEX_TRACING_ENABLED": "true", "MLFLOW_TRACKING_URI": first},
        "targets": further,
    });
    fs::write(config(home), file.to_string()).expect("a configuration");
}

fn traced(home: &Home, codex: &Codex) -> Command {
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.envs([
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
        ("CODEX_TRACED_WAIT", "60"),
    ]);
    command
}

fn before(collector: &Collector) -> FaultProxy {
    let port = collector.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    FaultProxy::before(SocketAddr::from(([127, 0, 0, 1], port)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Hangs,
    Refuses,
    TakesAll,
}

#[test]
fn a_target_that_hangs_or_refuses_holds_up_no_other() {
    use Behaviour::{Hangs, Refuses, TakesAll};
    let Some(codex) = codex() else { return };
    // What the first target does, and what further ones do.
    let table = vec![[Hangs, Refuses, TakesAll], [Refuses, TakesAll, Hangs], [TakesAll, Hangs, Refuses]];
    each_in_parallel(table, |behaviours| {
        let collectors: Vec<Collector> = behaviours.iter().map(|_| Collector::start()).collect();
        let proxies: Vec<FaultProxy> = collectors.iter().map(before).collect();
        let gate = Gate::new();
        let refusal = || Fault::Answer { status: 503, headers: Vec::new(), body: "not now" };
        for (behaviour, proxy) in behaviours.iter().zip(&proxies) {
            match behaviour {
                Hangs => {
                    proxy.hold(&gate);
                    proxy.fail("", refusal());
                }
                Refuses => proxy.fail("", refusal()),
                TakesAll => {}
            }
        }
        let uris: Vec<String> = proxies.iter().map(|proxy| format!("otlp+{}", proxy.url())).collect();
        let model = ModelServer::start(Script::new());
        let home = Home::new(&model.url());
        let plain = run(home.command(&codex.native).args(["exec", "hi"])).ended(End::Code(0)).normalised();
        configure(&home, &uris[0], &json!([{"tracking_uri": uris[1]}, {"tracking_uri": uris[2]}]));
        let mut launch = start(traced(&home, &codex).env("CODEX_TRACED_LIVE", "off").args(["exec", "hi"]));
        let collector_that = |wanted| behaviours.iter().position(|it| *it == wanted).expect("one of three");
        let healthy = &collectors[collector_that(TakesAll)];
        wait_for("the healthy collector's trace", LIMIT, || healthy.traces().len() == 1);
        gate.wait_until_reached(LIMIT);
        assert!(launch.is_running(), "{behaviours:?}: the launch waits for the one that hangs");
        gate.open();
        let traced_run = launch.finish(LIMIT).ended(End::Code(0));
        assert_eq!(traced_run.normalised().stdout, plain.stdout, "Codex's bytes");
        let counts = || collectors.iter().map(Collector::counts).collect::<Vec<_>>();
        let expected: Vec<_> = behaviours.map(|it| if it == TakesAll { (2, 2) } else { (0, 0) }).into();
        assert_eq!(counts(), expected, "{behaviours:?}");
        assert_eq!(home.spooled().len(), 2, "{behaviours:?}");
        proxies.iter().for_each(FaultProxy::heal);
        let listed = run(traced(&home, &codex).args(["mlflow", "sync", "--list"])).ended(End::Code(0)).stdout;
        for one in [Hangs, Refuses] {
            assert!(listed.contains(&uris[collector_that(one)]), "{listed}");
        }
        run(traced(&home, &codex).args(["mlflow", "sync"])).ended(End::Code(0));
        assert_eq!(counts(), [(2, 2); 3], "{behaviours:?}");
        assert!(home.spooled().is_empty());
        // An import brings the session of the plain Codex to all of them, and nothing else.
        run(traced(&home, &codex).args(["mlflow", "import", "--all"])).ended(End::Code(0));
        assert_eq!(counts(), [(4, 4); 3], "{behaviours:?}");
    });
}

#[test]
fn a_target_with_metadata_gets_no_byte_of_a_text_that_another_gets() {
    let Some(codex) = codex() else { return };
    let (full, bare) = (Collector::start(), Collector::start());
    let model = ModelServer::start(super::a_small_job());
    let home = Home::new(&model.url());
    configure(&home, &full.uri(), &json!([{"tracking_uri": bare.uri(), "content": "metadata"}]));
    let mut command = traced(&home, &codex);
    command.env("OTEL_EXPORTER_OTLP_COMPRESSION", "none").env("USER", "tester");
    run(command.args(["exec", "a prompt to keep"])).ended(End::Code(0));
    assert_eq!((full.counts(), bare.counts()), ((8, 8), (8, 8)));
    let holds = |collector: &Collector, text: &str| {
        let is_in = |body: &[u8]| body.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        collector.requests().iter().any(|asked| is_in(&asked.body))
    };
    let work = home.work().display().to_string();
    for text in ["a prompt to keep", "done", "echo", "I look", "hello.txt", "tester", &work] {
        assert!(holds(&full, text), "{text} is not in the first target");
        assert!(!holds(&bare, text), "{text} left");
    }
    // What the session may show is the most that any target gets.
    let mut command = traced(&home, &codex);
    command.env("OTEL_EXPORTER_OTLP_COMPRESSION", "none").env("CODEX_TRACED_CONTENT", "metadata");
    run(command.args(["exec", "another prompt"])).ended(End::Code(0));
    assert!(!holds(&full, "another prompt") && !holds(&bare, "another prompt"));
}

#[test]
fn a_further_target_follows_a_session_while_codex_works() {
    let Some(codex) = codex() else { return };
    let title = || Reply::new().answer("a title");
    let script = Script::new()
        .reply_to("Generate a concise", title())
        .reply_to("Generate a concise", title())
        .reply_to("second prompt", Reply::new().answer("second answer").usage(200, 0, 2, 0))
        .reply_to("first prompt", Reply::new().answer("first answer").usage(100, 0, 1, 0));
    let model = ModelServer::start(script);
    let home = Home::new(&model.url());
    home.face("gpt-6.1-sol", &model.url());
    let (prompt, late) = (Collector::start(), Collector::start());
    let database = format!("sqlite:///{}", home.database().display());
    configure(
        &home,
        &database,
        &json!([{"tracking_uri": prompt.uri()}, {"tracking_uri": late.uri(), "live": "off"}]),
    );
    let native = codex.native.to_str().expect("UTF-8");
    let shell = Tmux::start(&home, &[("CODEX_TRACED_CODEX_BIN", native), ("T", LAUNCHER)]);
    shell.type_line("$T 'first prompt'; echo ended $?");
    shell.wait_for("first answer");
    wait_for("the first turn", LIMIT, || prompt.traces().len() == 1);
    shell.ask("second prompt", "second answer");
    wait_for("the second turn", LIMIT, || prompt.traces().len() == 2);
    assert_eq!(late.counts(), (0, 0));
    shell.submit("/quit", "ended 0");
    wait_for("the launch's end", LIMIT, || home.launches().is_empty() && home.spooled().is_empty());
    assert_eq!((prompt.counts(), late.counts()), ((4, 4), (4, 4)), "two roots and two responses, each once");
}

#[test]
fn further_targets_are_added_and_removed_by_a_command_and_every_report_names_them() {
    let Some(codex) = codex() else { return };
    let model = ModelServer::start(Script::new());
    let home = Home::new(&model.url());
    let further = Collector::start();
    let uri = further.uri();
    let said = |words: &[&str]| run(traced(&home, &codex).arg("mlflow").args(words));
    said(&["enable"]).ended(End::Code(0));
    let added =
        said(&["enable", "--add", &uri, "--content", "metadata", "--live", "off"]).ended(End::Code(0));
    assert!(added.stdout.contains(&uri) && added.stdout.contains("metadata"), "{}", added.stdout);
    let file =
        || -> Value { serde_json::from_slice(&fs::read(config(&home)).expect("the file")).expect("JSON") };
    assert_eq!(file()["targets"], json!([{"tracking_uri": uri, "content": "metadata", "live": "off"}]));
    // Another word for the same address changes the entry.
    said(&["enable", "--add", &format!("{uri}/v1/traces"), "--no-check"]).ended(End::Code(0));
    let kept = json!([{"tracking_uri": format!("{uri}/v1/traces"), "content": "metadata", "live": "off"}]);
    assert_eq!(file()["targets"], kept);
    said(&["enable", "--add", &format!("{uri}/v1/traces"), "--content", "full", "--live", "turn"])
        .ended(End::Code(0));

    let summary = home.root().join("summary.json");
    let mut launch = traced(&home, &codex);
    run(launch.env("CODEX_TRACED_SUMMARY", &summary).args(["exec", "hi"])).ended(End::Code(0));
    let summary: Value = serde_json::from_slice(&fs::read(summary).expect("a summary")).expect("JSON");
    let rows = summary["threads"].as_array().expect("a list");
    let row = |row: &Value| {
        let target = row["target"].as_str().expect("a target").split(':').next().map(str::to_owned);
        (target, row["delivery"].clone(), row["is_further_target"].clone())
    };
    assert_eq!(
        rows.iter().map(row).collect::<Vec<_>>(),
        [
            (Some("sqlite".to_owned()), json!("delivered"), json!(false)),
            (Some("otlp+http".to_owned()), json!("delivered"), json!(true)),
        ]
    );

    further.answer(503, Vec::new());
    let status = said(&["status", "--json"]).ended(End::Code(0)).stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let reported = &status["further_targets"][0];
    assert_eq!(reported["tracking_uri"], json!(format!("{uri}/v1/traces")));
    assert_eq!((&reported["content"], &reported["live"]), (&json!("full"), &json!("turn")));
    assert_eq!(reported["target"]["reachable"], json!(false));
    let text = said(&["status"]).ended(End::Code(0)).stdout;
    assert!(text.contains("Further target\n") && text.contains(&uri), "{text}");
    let doctor = said(&["doctor"]).stdout;
    assert!(doctor.contains(&format!("{uri}/v1/traces answers")), "{doctor}");

    let wrong = said(&["enable", "--remove", "otlp+http://elsewhere:4318"]);
    assert_eq!(wrong.end, End::Code(2));
    assert!(wrong.stderr.contains("is no further target"), "{}", wrong.stderr);
    said(&["enable", "--remove", &uri]).ended(End::Code(0));
    assert_eq!(file().get("targets"), None);
    let refused = said(&["enable", "--add", &format!("sqlite:///{}", home.database().display())]);
    assert_eq!(refused.end, End::Code(2));
    assert!(refused.stderr.contains("it is the first target"), "{}", refused.stderr);
}

#[test]
fn a_further_target_gives_no_consent_for_a_collector_of_other_programs() {
    let Some(codex) = codex() else { return };
    let model = ModelServer::start(Script::new());
    let home = Home::new(&model.url());
    let collector = Collector::start();
    let with_variable = |command: &mut Command| {
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "none");
    };
    let mut add = traced(&home, &codex);
    with_variable(&mut add);
    add.args(["mlflow", "enable", "--add", &collector.uri(), "--content", "metadata"]);
    let page = run(&mut add).ended(End::Code(0)).stdout;
    assert!(page.contains("first target  sqlite:"), "{page}");
    let mut launch = traced(&home, &codex);
    with_variable(&mut launch);
    run(launch.args(["exec", "a prompt to keep"])).ended(End::Code(0));
    assert_eq!(collector.counts(), (2, 2));
    let prompt = b"a prompt to keep";
    let is_in = |body: &[u8]| body.windows(prompt.len()).any(|bytes| bytes == prompt);
    assert!(!collector.requests().iter().any(|asked| is_in(&asked.body)), "the prompt left");
    assert!(home.database().exists());
}

/// What an import reports is about all targets, and a further one never becomes the first.
#[test]
fn an_import_waits_for_no_further_target_twice_and_says_what_waits() {
    let Some(codex) = codex() else { return };
    let model = ModelServer::start(Script::new());
    let home = Home::new(&model.url());
    run(home.command(&codex.native).args(["exec", "hi"])).ended(End::Code(0));
    let further = Collector::start();
    let proxy = before(&further);
    proxy.fail("", Fault::Answer { status: 503, headers: Vec::new(), body: "not now" });
    let database = format!("sqlite:///{}", home.database().display());
    let uri = format!("otlp+{}", proxy.url());
    configure(&home, &database, &json!([{"tracking_uri": uri, "content": "metadata"}]));
    let import = |code| run(traced(&home, &codex).args(["mlflow", "import", "--all"])).ended(End::Code(code));
    let said = import(1);
    assert!(
        said.stdout.contains("waiting") || said.stderr.contains("waiting"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    proxy.heal();
    import(0);
    assert_eq!(further.counts(), (2, 2));
    assert!(import(0).stdout.contains("1 unchanged"));
    let status = run(traced(&home, &codex).args(["mlflow", "show"])).ended(End::Code(0)).stdout;
    assert!(status.contains("mlflow.db"), "{status}");
}
