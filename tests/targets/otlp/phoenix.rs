//! A real Phoenix, read back by its own client.

use super::a_small_job;
use crate::LAUNCHER;
use serde_json::Value;
use support::run::LIMIT;
use support::{End, Home, ModelServer, Phoenix, Reply, Script, codex, run, wait_for};

/// Children of `parent` in the order of their starts, each with its own below it.
fn tree(spans: &[Value], parent: &Value, depth: usize) -> String {
    let mut children: Vec<&Value> = spans.iter().filter(|span| span["parent_id"] == *parent).collect();
    children.sort_by_key(|span| span["start_time"].to_string());
    let line = |span: &&Value| {
        let words = ["span_kind", "name", "status_code"].map(|key| span[key].as_str().unwrap_or_default());
        let below = tree(spans, &span["context"]["span_id"], depth + 1);
        format!("{}{}\n{below}", "  ".repeat(depth), words.join(" "))
    };
    children.iter().map(line).collect()
}

/// As what starts Codex may trace itself.
const CALLER: &str = include_str!("caller.py");

const PROJECT: &str = "a-project";

fn toward(phoenix: &Phoenix) -> [(&'static str, String); 5] {
    [
        ("MLFLOW_TRACKING_URI", format!("otlp+{}", phoenix.url())),
        ("MLFLOW_CODEX_TRACING_ENABLED", "true".to_owned()),
        ("MLFLOW_EXPERIMENT_NAME", PROJECT.to_owned()),
        ("CODEX_TRACED_OTLP_DIALECT", "openinference".to_owned()),
        ("CODEX_TRACED_WAIT", "120".to_owned()),
    ]
}

/// Phoenix answers before it has stored what it was sent.
fn spans(phoenix: &Phoenix, count: usize) -> Vec<Value> {
    wait_for("the spans in Phoenix", LIMIT, || phoenix.spans(PROJECT).len() >= count);
    let spans = phoenix.spans(PROJECT);
    assert_eq!(spans.len(), count);
    spans
}

/// Below a caller's span, and as a trace of its own.
#[test]
fn phoenix_shows_the_tree_the_chat_tokens_and_costs() {
    let (Some(codex), Some(phoenix)) = (codex(), Phoenix::start()) else { return };
    let model = ModelServer::start(a_small_job());
    let home = Home::new(&model.url());
    let mut command = home.traced(LAUNCHER, &codex.native);
    run(command.envs(toward(&phoenix)).args(["exec", "do it"])).ended(End::Code(0));
    let own = spans(&phoenix, 8);
    let shown = "AGENT invoke_agent codex OK\n  \
          LLM chat gpt-5.5 OK\n  \
          TOOL execute_tool exec_command OK\n  \
          LLM chat gpt-5.5 OK\n  \
          TOOL execute_tool exec_command ERROR\n  \
          LLM chat gpt-5.5 OK\n  \
          TOOL execute_tool apply_patch OK\n  \
          LLM chat gpt-5.5 OK\n";
    assert_eq!(tree(&own, &Value::Null, 0), shown);
    let sum = |key: &str| own.iter().filter_map(|span| span["attributes"][key].as_f64()).sum::<f64>();
    assert!((sum("llm.token_count.prompt") - 37_500.0).abs() < 0.5);
    assert!((sum("llm.token_count.total") - 37_740.0).abs() < 0.5);
    assert!(sum("llm.cost.total") > 0.0);
    let root = own.iter().find(|span| span["parent_id"].is_null()).expect("a root");
    let of_root = |key: &str| root["attributes"][key].as_str();
    assert_eq!((of_root("input.value"), of_root("output.value")), (Some("do it"), Some("done")));
    let responses = own.iter().filter(|span| span["span_kind"] == "LLM");
    let last = responses.max_by_key(|span| span["start_time"].to_string()).expect("a response");
    assert_eq!(last["attributes"]["llm.output_messages.0.message.content"], "done");

    model.play(Script::new().reply(Reply::new().answer("more").usage(10, 0, 7, 0)));
    let launch = home.traced(LAUNCHER, &codex.native);
    let mut caller = phoenix.command();
    caller.current_dir(home.work()).args(["-c", CALLER, &phoenix.url(), PROJECT, LAUNCHER, "exec", "go on"]);
    caller.envs(launch.get_envs().filter_map(|(name, value)| Some((name, value?)))).envs(toward(&phoenix));
    run(&mut caller).ended(End::Code(0));
    let all = spans(&phoenix, 11);
    let job = all.iter().find(|span| span["name"] == "a nightly job").expect("the caller's span");
    let of_job: Vec<Value> = all
        .iter()
        .filter(|span| span["context"]["trace_id"] == job["context"]["trace_id"])
        .cloned()
        .collect();
    let shown = "UNKNOWN a nightly job UNSET\n  AGENT invoke_agent codex OK\n    LLM chat gpt-5.5 OK\n";
    assert_eq!(tree(&of_job, &Value::Null, 0), shown, "one tree");
}
