//! Sessions in OpenTelemetry collectors.

mod attributes;
mod collector;
mod faults;
mod mlflow;
mod phoenix;
mod several;

use crate::LAUNCHER;
use collector::{Collector, tree};
use serde_json::{Value, json};
use std::process::Command;
use support::run::LIMIT;
use support::tmux::Tmux;
use support::{Codex, End, Home, ModelServer, Outcome, Reply, Script, codex, run, wait_for};

const PATCH: &str = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n";

/// A command that succeeds, one that fails, a patch, an answer.
fn a_small_job() -> Script {
    Script::new()
        .reply(
            Reply::new()
                .reasoning("**Plan** list")
                .commentary("I look")
                .call("exec_command", json!({"cmd": "echo hi"}))
                .usage(9000, 4096, 120, 64),
        )
        .reply(
            Reply::new().call("exec_command", json!({"cmd": "echo no >&2; exit 3"})).usage(9300, 9000, 40, 0),
        )
        .reply(Reply::new().custom("apply_patch", PATCH).usage(9500, 9300, 60, 0))
        .reply(Reply::new().answer("done").usage(9700, 9500, 20, 0))
}

/// A home whose launches send to a collector.
struct Sender {
    codex: Codex,
    home: Home,
    model: ModelServer,
    collector: Collector,
}

impl Sender {
    fn new(codex: Codex, script: Script) -> Sender {
        let model = ModelServer::start(script);
        let home = Home::new(&model.url());
        Sender { codex, home, model, collector: Collector::start() }
    }

    fn command(&self) -> Command {
        let mut command = self.home.traced(LAUNCHER, &self.codex.native);
        let uri = self.collector.uri();
        command.envs([
            ("MLFLOW_TRACKING_URI", uri.as_str()),
            ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0"),
            ("CODEX_TRACED_WAIT", "60"),
        ]);
        command
    }

    #[track_caller]
    fn exec(&self, words: &[&str]) -> Outcome {
        run(self.command().arg("exec").args(words)).ended(End::Code(0))
    }
}

#[test]
fn a_turn_is_one_trace_in_the_words_of_the_conventions() {
    let Some(codex) = codex() else { return };
    let sender = Sender::new(codex, a_small_job());
    let outcome = sender.exec(&["--json", "do it"]);
    let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
    let traces = sender.collector.traces();
    let [spans] = &traces.values().collect::<Vec<_>>()[..] else { panic!("{} traces", traces.len()) };
    assert_eq!(
        tree(spans),
        "invoke_agent codex Internal\n  \
           chat gpt-5.5 Client\n  \
           execute_tool exec_command Internal\n  \
           chat gpt-5.5 Client\n  \
           execute_tool exec_command Internal\n  \
           chat gpt-5.5 Client\n  \
           execute_tool apply_patch Internal\n  \
           chat gpt-5.5 Client\n"
    );
    for span in spans.iter() {
        assert_eq!(span.attributes["session.id"], json!(thread), "{}", span.span.name);
        assert_eq!(span.attributes["gen_ai.conversation.id"], json!(thread), "{}", span.span.name);
        assert_eq!(span.attributes["user.id"], json!("tester"), "{}", span.span.name);
        assert_eq!(span.resource["service.name"], json!("codex"));
    }
    // The root comes last: then the trace is whole.
    let root = spans.last().expect("a root");
    assert!(root.parent().is_empty() && root.span.links.is_empty());
    let parsed = |value: &Value| serde_json::from_str::<Value>(value.as_str().expect("text")).expect("JSON");
    assert_eq!(
        parsed(&root.attributes["gen_ai.input.messages"]),
        json!([{"role": "user", "parts": [{"type": "text", "content": "do it"}]}])
    );
    let output = parsed(&root.attributes["gen_ai.output.messages"]);
    assert_eq!(output[0]["parts"], json!([{"type": "text", "content": "done"}]));
    let chats: Vec<_> = spans.iter().filter(|span| span.span.name.starts_with("chat")).collect();
    let tokens = |key: &str| chats.iter().map(|span| span.attributes[key].as_i64().unwrap_or(0)).sum::<i64>();
    assert_eq!((tokens("gen_ai.usage.input_tokens"), tokens("gen_ai.usage.output_tokens")), (37_500, 240));
    assert_eq!(root.attributes["gen_ai.usage.input_tokens"], json!(37_500));
    let failed = spans.iter().find(|span| span.span.status.as_ref().is_some_and(|status| status.code == 2));
    let failed = failed.expect("a tool that failed");
    assert_eq!(failed.attributes["process.exit.code"], json!(3));
    assert_eq!(failed.span.events[0].name, "exception");
    assert_eq!(parsed(&failed.attributes["gen_ai.tool.call.arguments"])["cmd"], json!("echo no >&2; exit 3"));
}

#[test]
fn a_resumed_sessions_turn_is_a_new_trace_linked_to_the_one_before() {
    let Some(codex) = codex() else { return };
    let sender = Sender::new(codex, a_small_job());
    let outcome = sender.exec(&["--json", "do it"]);
    let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
    let first = sender.collector.spans();
    sender.model.play(Script::new().reply(Reply::new().answer("more").usage(10_000, 9_700, 7, 0)));
    sender.exec(&["resume", &thread, "and more"]);
    let traces = sender.collector.traces();
    assert_eq!(traces.len(), 2);
    let all = sender.collector.spans();
    let (before, after) = (first.last().expect("a root"), all.last().expect("a root"));
    assert_eq!(all.len(), first.len() + 2, "nothing of the first turn came again");
    assert_ne!(before.span.trace_id, after.span.trace_id);
    assert_eq!(before.attributes["session.id"], after.attributes["session.id"]);
    let links: Vec<_> =
        after.span.links.iter().map(|link| (link.trace_id.clone(), link.span_id.clone())).collect();
    assert_eq!(links, [(before.span.trace_id.clone(), before.span.span_id.clone())]);
    // Also a session that was sent before sends nothing again.
    let requests = sender.collector.requests().len();
    run(sender.command().args(["mlflow", "import", "--all"])).ended(End::Code(0));
    assert_eq!(sender.collector.requests().len(), requests);
}

#[test]
fn a_turn_arrives_when_it_ends_and_not_again_at_codexs_end() {
    let Some(codex) = codex() else { return };
    let title = || Reply::new().answer("a title");
    let script = Script::new()
        .reply_to("Generate a concise", title())
        .reply_to("Generate a concise", title())
        .reply_to("second prompt", Reply::new().answer("second answer").usage(200, 0, 2, 0))
        .reply_to("first prompt", Reply::new().answer("first answer").usage(100, 0, 1, 0));
    let sender = Sender::new(codex, script);
    sender.home.face("gpt-6.1-sol", &sender.model.url());
    let native = sender.codex.native.to_str().expect("UTF-8");
    let uri = sender.collector.uri();
    let shell = Tmux::start(
        &sender.home,
        &[
            ("CODEX_TRACED_CODEX_BIN", native),
            ("USER", "tester"),
            ("MLFLOW_TRACKING_URI", &uri),
            ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
            ("T", LAUNCHER),
        ],
    );
    shell.type_line("$T 'first prompt'; echo ended $?");
    shell.wait_for("first answer");
    wait_for("the first turn", LIMIT, || sender.collector.traces().len() == 1);
    shell.ask("second prompt", "second answer");
    wait_for("the second turn", LIMIT, || sender.collector.traces().len() == 2);
    shell.submit("/quit", "ended 0");
    wait_for("the launch's end", LIMIT, || {
        sender.home.launches().is_empty() && sender.home.spooled().is_empty()
    });
    assert_eq!(sender.collector.traces().len(), 2);
    assert_eq!(sender.collector.spans().len(), 4, "two roots and two responses, each once");
}

#[test]
fn the_variables_of_opentelemetry_name_the_collector_and_its_resource() {
    let Some(codex) = codex() else { return };
    let sender = Sender::new(codex, Script::new());
    let launch = |variables: &[(&str, &str)]| {
        let mut command = sender.command();
        command.env_remove("MLFLOW_TRACKING_URI").envs(variables.iter().copied());
        run(command.args(["exec", "hi"])).ended(End::Code(0))
    };
    let url = sender.collector.url();
    launch(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,x-team=t"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_SERVICE_NAME", "codex-ci"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ]);
    let asked = &sender.collector.requests()[0];
    assert_eq!(asked.path, "/v1/traces");
    let header = |name: &str| asked.headers.get(name).map(String::as_str);
    assert_eq!(
        (header("x-key"), header("x-team"), header("content-encoding")),
        (Some("a b"), Some("t"), None)
    );
    let resource = &sender.collector.spans()[0].resource;
    assert_eq!(resource["service.name"], json!("codex-ci"));
    assert_eq!(resource["deployment.environment.name"], json!("test"));
    assert!(resource.contains_key("host.name"));

    // Without consent the collector of other programs gets nothing.
    let before = sender.collector.requests().len();
    launch(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("MLFLOW_CODEX_TRACING_ENABLED", "")]);
    sender.home.wait_until_delivered();
    assert_eq!(sender.collector.requests().len(), before);
    assert!(sender.home.database().exists());
    // gRPC is refused in words, and the trace stays local.
    let said = launch(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
        ("CODEX_TRACED_NOTICE", "always"),
    ]);
    assert!(said.stderr.contains("names a collector for gRPC"), "{}", said.stderr);
}

#[test]
fn with_metadata_only_no_byte_of_a_text_leaves() {
    let Some(codex) = codex() else { return };
    let sender = Sender::new(codex, a_small_job());
    let mut command = sender.command();
    command.env("CODEX_TRACED_CONTENT", "metadata").env("OTEL_EXPORTER_OTLP_COMPRESSION", "none");
    run(command.args(["exec", "a prompt to keep"])).ended(End::Code(0));
    let spans = sender.collector.spans();
    assert_eq!(spans.len(), 8);
    let work = sender.home.work().display().to_string();
    for asked in sender.collector.requests() {
        for secret in ["a prompt to keep", "done", "echo", "I look", "hello.txt", "tester", &work] {
            let is_there = asked.body.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
            assert!(!is_there, "{secret} left");
        }
    }
    let root = spans.last().expect("a root");
    assert_eq!(root.attributes["codex.content"], json!("metadata"));
    assert_eq!(root.attributes["gen_ai.usage.input_tokens"], json!(37_500));
    assert!(!root.resource.contains_key("host.name"));
}

#[test]
fn a_collector_is_in_every_command_that_names_targets() {
    let Some(codex) = codex() else { return };
    let sender = Sender::new(codex, Script::new());
    let uri = sender.collector.uri();
    let shown = format!("{uri}/v1/traces");
    let said = |words: &[&str]| {
        let mut command = sender.command();
        command.env_remove("MLFLOW_TRACKING_URI").env_remove("MLFLOW_CODEX_TRACING_ENABLED");
        run(command.arg("mlflow").args(words))
    };
    let enabled = said(&["enable", "-u", &uri]).ended(End::Code(0)).stdout;
    assert!(enabled.contains(&uri) && !enabled.contains("experiment"), "{enabled}");
    sender.exec(&["hi"]);
    let status = said(&["status"]).ended(End::Code(0)).stdout;
    assert!(status.contains(&shown) && status.contains("a collector"), "{status}");
    assert!(!status.contains("experiment"), "{status}");
    let doctor = said(&["doctor"]).stdout;
    assert!(doctor.contains(&format!("{shown} answers")), "{doctor}");
    let ui = said(&["ui"]);
    assert_eq!(ui.end, End::Code(1));
    assert!(ui.stderr.contains("is a collector"), "{}", ui.stderr);
    sender.collector.answer(401, b"no key".to_vec());
    let refused = said(&["enable", "-u", &uri]);
    assert!(refused.stderr.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{}", refused.stderr);
}

#[test]
fn a_launch_is_a_part_of_its_callers_trace_with_tags_and_the_facts_of_its_job() {
    let Some(codex) = codex() else { return };
    let sender = Sender::new(codex, a_small_job());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let exec = |words: &[&str], parent: &str| {
        let mut command = sender.command();
        command.envs([
            ("TRACEPARENT", format!("00-{trace}-{parent}-01").as_str()),
            ("TRACESTATE", "vendor=1"),
            ("CODEX_TRACED_TAGS", "team=payments,pr=123"),
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_URL", "https://gitlab.example/p/7"),
        ]);
        run(command.arg("exec").args(words)).ended(End::Code(0))
    };
    let outcome = exec(&["--json", "do it"], "00f067aa0ba902b7");
    let thread = outcome.json_lines()[0]["thread_id"].as_str().expect("a thread id").to_owned();
    let traces = sender.collector.traces();
    assert_eq!(traces.keys().collect::<Vec<_>>(), [trace]);
    let spans = &traces[trace];
    let root = spans.last().expect("a root");
    assert_eq!((root.parent().as_str(), root.span.trace_state.as_str()), ("00f067aa0ba902b7", "vendor=1"));
    for span in spans {
        assert_eq!(span.resource["team"], json!("payments"));
        assert_eq!(span.resource["pr"], json!("123"));
        assert_eq!(span.resource["cicd.pipeline.run.url.full"], json!("https://gitlab.example/p/7"));
    }
    // The next turn has its own caller; its link leads into the caller's trace of the turn before.
    sender.model.play(Script::new().reply(Reply::new().answer("more").usage(10_000, 9_700, 7, 0)));
    exec(&["resume", &thread, "and more"], "00f067aa0ba902b8");
    let all = sender.collector.spans();
    let next = all.last().expect("a root");
    assert_eq!(next.parent(), "00f067aa0ba902b8");
    let links: Vec<_> = next.span.links.iter().map(|link| link.span_id.clone()).collect();
    assert_eq!(links, std::slice::from_ref(&root.span.span_id));
    assert_eq!(next.span.links[0].trace_id, root.span.trace_id);
}
