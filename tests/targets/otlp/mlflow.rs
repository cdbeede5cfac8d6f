//! MLflow's server as a collector: `/v1/traces` without MLflow's own requests.

use super::{LAUNCHER, a_small_job};
use serde_json::json;
use support::real::MLFLOW_VERSION;
use support::{End, Home, MlflowServer, ModelServer, Oracle, codex, run};

#[test]
fn mlflows_client_reads_a_turn_that_its_server_got_as_otlp() {
    let (Some(codex), Some(server), Some(oracle)) =
        (codex(), MlflowServer::shared(MLFLOW_VERSION), Oracle::newest())
    else {
        return;
    };
    let model = ModelServer::start(a_small_job());
    let home = Home::new(&model.url());
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.envs([
        ("MLFLOW_TRACKING_URI", format!("otlp+{}", server.uri()).as_str()),
        ("MLFLOW_CODEX_TRACING_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-mlflow-experiment-id=0"),
        ("CODEX_TRACED_WAIT", "60"),
    ]);
    let outcome = run(command.args(["exec", "--json", "do it"])).ended(End::Code(0));
    let thread = outcome.json_lines()[0]["thread_id"].clone();
    let mut traces = oracle.traces(&*server);
    traces.retain(|trace| trace.spans.iter().any(|span| span.attributes.get("session.id") == Some(&thread)));
    let [trace] = &traces[..] else { panic!("{} traces of {thread}", traces.len()) };
    let mut spans: Vec<_> = trace.spans.iter().collect();
    spans.sort_by_key(|span| span.start_ns);
    let shown: Vec<_> = spans
        .iter()
        .map(|span| {
            format!(
                "{} {} {} in {}",
                span.name,
                span.kind,
                span.status,
                span.parent.as_deref().unwrap_or("-")
            )
        })
        .collect();
    let model = |status| format!("chat gpt-5.5 CHAT_MODEL {status} in invoke_agent codex");
    let tool = |name, status| format!("execute_tool {name} TOOL {status} in invoke_agent codex");
    assert_eq!(
        shown,
        [
            "invoke_agent codex AGENT OK in -".to_owned(),
            model("OK"),
            tool("exec_command", "OK"),
            model("OK"),
            tool("exec_command", "ERROR"),
            model("OK"),
            tool("apply_patch", "OK"),
            model("OK"),
        ]
    );
    assert_eq!(spans[2].inputs["cmd"], json!("echo hi"));
    assert_eq!(trace.metadata["mlflow.trace.session"], thread);
    let tokens = trace.token_usage.as_ref().expect("tokens");
    assert_eq!(tokens["total_tokens"], json!(37_740));
}
