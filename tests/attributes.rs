//! The names that others read: MLflow's own, OpenTelemetry's for generative AI, and how traces are cut into turns.

use codex_traced::trace::ids::TraceId;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use support::real::MLFLOW_VERSION;
use support::{
    Codex, End, Home, ModelServer, Oracle, Reply, Script, Trace, assert_facts, codex, mlflow, run,
};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_codex-traced");

fn traced_exec(home: &Home, codex: &Codex, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut command = home.traced(LAUNCHER, &codex.native);
    command.envs(variables.iter().copied()).args(["exec", "--json"]).args(arguments);
    let outcome = run(&mut command).ended(End::Code(0));
    outcome.json_lines()[0]["thread_id"].as_str().expect("a thread's id").to_owned()
}

/// What OpenTelemetry's Python package knows, which comes with MLflow.
fn registry() -> Option<BTreeSet<String>> {
    let script = "from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, mcp_attributes\n\
                  for module in (gen_ai_attributes, mcp_attributes):\n\
                  \x20   for name, value in vars(module).items():\n\
                  \x20       if name.isupper() and isinstance(value, str): print(value)";
    let outcome = run(Command::new(mlflow(MLFLOW_VERSION)?).args(["-c", script])).ended(End::Code(0));
    Some(outcome.stdout.lines().map(str::to_owned).collect())
}

fn a_job() -> Script {
    let look = Reply::new().reasoning("**Plan** list").call("exec_command", json!({"cmd": "ls"}));
    Script::new()
        .reply(look.usage(9000, 4096, 120, 64))
        .reply(Reply::new().web_search("weather").answer("done").usage(9300, 9000, 40, 0))
}

#[test]
fn mlflow_and_opentelemetry_find_what_they_look_for_side_by_side() {
    let (Some(codex), Some(oracle), Some(registry)) = (codex(), Oracle::newest(), registry()) else { return };
    let server = ModelServer::start(a_job());
    let home = Home::new(&server.url());
    let thread = traced_exec(&home, &codex, &[], &["do it"]);
    let trace = oracle.trace(&home.database());
    let facts = format!(
        r#"
        trace OK mlflow.trace.session={thread} mlflow.trace.user=tester in=18300 cached=13096 out=160 tags.codex.cli_version=0.171.0
        codex_cli_session AGENT OK gen_ai.operation.name=invoke_agent gen_ai.agent.name=codex gen_ai.agent.id={thread} gen_ai.agent.version=0.171.0 gen_ai.conversation.id={thread} gen_ai.provider.name=stand_in gen_ai.usage.input_tokens=18300 gen_ai.usage.output_tokens=160
          llm_call_1 LLM OK mlflow.llm.model=gpt-5.5 mlflow.llm.provider=stand_in mlflow.llm.cost=… mlflow.chat.tokenUsage=… codex.time_to_first_token_ms=… gen_ai.operation.name=chat gen_ai.provider.name=stand_in gen_ai.conversation.id={thread} gen_ai.request.model=gpt-5.5 gen_ai.response.model=gpt-5.5 gen_ai.response.id=resp_… gen_ai.response.finish_reasons="[\"tool_call\"]" gen_ai.usage.input_tokens=9000 gen_ai.usage.output_tokens=120 gen_ai.usage.cache_read.input_tokens=4096 gen_ai.usage.cache_creation.input_tokens=0 gen_ai.usage.reasoning.output_tokens=64
          tool_exec_command TOOL OK gen_ai.operation.name=execute_tool gen_ai.tool.name=exec_command gen_ai.tool.call.id=call_… gen_ai.tool.type=function gen_ai.conversation.id={thread}
          llm_call_2 LLM OK mlflow.llm.model=gpt-5.5 gen_ai.response.finish_reasons="[\"stop\"]" codex.time_to_first_token_ms=-
          tool_web_search TOOL OK gen_ai.tool.name=web_search gen_ai.tool.type=extension
        "#
    );
    assert_facts(&trace, &facts);
    let keys = trace.spans.iter().flat_map(|span| span.attributes.keys());
    let unknown: BTreeSet<_> = keys
        .filter(|key| (key.starts_with("gen_ai.") || key.starts_with("mcp.")) && !registry.contains(*key))
        .collect();
    assert!(registry.len() > 40 && unknown.is_empty(), "OpenTelemetry has no such names: {unknown:?}");
}

fn tokens(trace: &Trace) -> [u64; 2] {
    let usage = trace.token_usage.as_ref().expect("tokens");
    ["input_tokens", "output_tokens"].map(|key| usage[key].as_u64().expect("a count"))
}

#[test]
fn a_session_cut_into_turns_is_the_session_in_several_traces() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(a_job());
    let home = Home::new(&server.url());
    let thread = traced_exec(&home, &codex, &[("CODEX_TRACED_GRANULARITY", "turn")], &["do it"]);
    server.play(Script::new().reply(Reply::new().answer("more").usage(10_000, 9_700, 7, 0)));
    // The session keeps what it began with.
    traced_exec(&home, &codex, &[], &["resume", &thread, "and more"]);

    let turns = oracle.traces(&home.database());
    let told: Vec<_> = turns
        .iter()
        .map(|turn| (turn.trace_id.clone(), turn.name.clone(), turn.metadata["mlflow.trace.session"].clone()))
        .collect();
    let turn = |number: usize| {
        let id = TraceId::of_turn(&thread, number).to_string();
        (id, Some(format!("turn_{number}")), Value::from(thread.clone()))
    };
    assert_eq!(told, [turn(1), turn(2)]);
    assert_facts(
        &turns[0],
        r#"
        trace OK request="do it" response=done in=18300 out=160
        turn_1 AGENT OK inputs.prompt="do it" outputs.response=done codex.turn=1 codex.attribution=held process.exit.code=0
          llm_call_1 LLM OK in=9000
          tool_exec_command TOOL OK
          llm_call_2 LLM OK in=9300
          tool_web_search TOOL OK
        "#,
    );
    assert_facts(
        &turns[1],
        r#"
        trace OK request="and more" response=more in=10000 out=7
        turn_2 AGENT OK inputs.prompt="and more" codex.turn=2
          llm_call_3 LLM OK in=10000 cached=9700
        "#,
    );

    // The same session as one trace, elsewhere.
    let other = Home::new(&server.url());
    let copy = other.work().join(home.rollout().file_name().expect("a name"));
    fs::copy(home.rollout(), &copy).expect("copy the session");
    run(other.traced(LAUNCHER, &codex.native).args(["mlflow", "import"]).arg(&copy)).ended(End::Code(0));
    let whole = oracle.trace(&other.database());
    let sum = turns.iter().map(tokens).fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
    assert_eq!(tokens(&whole), sum);
    let below = |trace: &Trace| trace.spans.iter().filter(|span| span.kind != "AGENT").count();
    assert_eq!(below(&whole), turns.iter().map(below).sum::<usize>());
    assert_eq!(whole.metadata["mlflow.trace.session"], thread);
}
