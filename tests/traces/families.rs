//! Sub-agents, reviews, rewinds and forks of a real Codex, as MLflow's own client reads them.

use crate::LAUNCHER;
use codex_traced::trace::ids::trace_of_thread;
use serde_json::json;
use std::fs;
use support::scenarios::{self, CODE_MODE};
use support::tmux::Tmux;
use support::{Codex, End, Home, ModelServer, Oracle, Reply, Script, assert_facts, codex, run};

fn traced_exec(home: &Home, codex: &Codex, arguments: &[&str]) -> String {
    let mut command = home.traced(LAUNCHER, &codex.native);
    let outcome = run(command.args(["exec", "--json"]).args(arguments)).ended(End::Code(0));
    outcome.json_lines()[0]["thread_id"].as_str().expect("a thread's id").to_owned()
}

#[test]
fn agents_are_under_the_calls_that_started_them_at_any_depth() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(scenarios::nested_agents());
    let home = Home::new(&server.url());
    home.face(CODE_MODE, &server.url());
    let thread = traced_exec(&home, &codex, &["do it with agents"]);
    server.assert_script_used_up_exactly();

    let trace = oracle.trace(&home.database());
    assert_eq!(trace.trace_id, trace_of_thread(&thread).to_string());
    assert_eq!(home.claimed(), [thread], "an agent has no record of its own");
    assert_facts(
        &trace,
        r#"
        trace OK request="do it with agents" response="all done" in=1570 out=124 spans=17
        codex_cli_session AGENT OK codex.sub_agents=2 codex.tokens_reconciled=true gen_ai.usage.input_tokens=1570
          llm_call_1 LLM OK in=100 out=17
          tool_spawn_agent TOOL OK inputs.task_name=outer
            subagent_outer AGENT OK inputs.prompt="do the outer part" outputs.response="outer is done" codex.agent_path=/root/outer
              llm_call_1 LLM OK in=200 out=14
              tool_spawn_agent TOOL OK inputs.task_name=inner
                subagent_inner AGENT OK inputs.prompt="do the inner part" outputs.response="inner is done" codex.agent_path=/root/outer/inner
                  llm_call_1 LLM OK in=300 out=12
                  tool_exec TOOL OK
                    tool_exec_command TOOL OK exit_code=0 outputs.result="from within\n"
                  llm_call_2 LLM OK in=310 out=13
              llm_call_2 LLM OK in=210 out=15
              tool_wait_agent TOOL OK
              llm_call_3 LLM OK in=220 out=16
          llm_call_2 LLM OK in=110 out=18
          tool_wait_agent TOOL OK
          llm_call_3 LLM OK in=120 out=19
        "#,
    );
    let usage = |span: &support::Span| span.attributes.get("mlflow.chat.tokenUsage").cloned();
    let responses = trace.spans.iter().filter(|span| span.kind == "LLM" && usage(span).is_some());
    assert_eq!(responses.count(), 8);
    // As a server derives it: the sum of all below.
    let of_all = usage(trace.span("codex_cli_session")).expect("the tokens of the session");
    assert_eq!((&of_all["input_tokens"], &of_all["output_tokens"]), (&json!(1570), &json!(124)));
}

#[test]
fn an_agent_of_the_first_kind_is_part_of_its_parents_trace_too() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let server = ModelServer::start(scenarios::one_agent());
    let home = Home::new(&server.url());
    traced_exec(&home, &codex, &["start an agent"]);
    let trace = oracle.trace(&home.database());
    let agent = trace.spans.iter().find(|span| span.name.starts_with("subagent_")).expect("the agent's span");
    assert_eq!(agent.parent.as_deref(), Some("tool_spawn_agent"));
    let task = json!({"prompt": "CHILD do it", "messages": [{"role": "user", "content": "CHILD do it"}]});
    assert_eq!(agent.inputs, task);
    // How far it got before Codex ended is a race; what it used is counted once.
    let total = trace.token_usage.expect("tokens");
    assert_eq!(total["input_tokens"], json!(server.reported().input));
}

#[test]
fn a_review_is_the_session_that_did_it() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let findings = Reply::new().answer(&scenarios::findings().to_string()).usage(700, 0, 21, 0);
    let server = ModelServer::start(Script::new().reply(findings));
    let home = Home::new(&server.url());
    fs::write(home.work().join("README.md"), "changed\n").expect("change a file");
    run(home.traced(LAUNCHER, &codex.native).args(["review", "--uncommitted"])).ended(End::Code(0));
    server.assert_script_used_up_exactly();
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace OK request="[review current changes]" response="all good" in=700 out=21 spans=3
        codex_cli_session AGENT OK outputs.response="all good"
          review AGENT OK codex.parent_thread_id=… inputs.prompt="Review the current code changes…"
            llm_call_1 LLM OK in=700 out=21
        "#,
    );
}

#[test]
fn a_fork_of_a_fork_is_a_session_of_its_own_with_its_own_tokens() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let answer = |text: &str, input| Reply::new().answer(text).usage(input, 0, 1, 0);
    let server = ModelServer::start(
        Script::new().reply(answer("first", 100)).reply(answer("second", 200)).reply(answer("third", 300)),
    );
    let home = Home::new(&server.url());
    let first = traced_exec(&home, &codex, &["one"]);
    let second = traced_exec(&home, &codex, &["fork", &first, "two"]);
    let third = traced_exec(&home, &codex, &["fork", &second, "three"]);
    let traces = oracle.traces(&home.database());
    let told: Vec<_> = traces
        .iter()
        .map(|trace| {
            let tokens = trace.token_usage.as_ref().expect("tokens")["input_tokens"].clone();
            let root = trace.span("codex_cli_session");
            (trace.trace_id.clone(), tokens, root.attributes["codex.tokens_reconciled"].clone())
        })
        .collect();
    let id = |thread: &str| trace_of_thread(thread).to_string();
    let expected = [(&first, 100), (&second, 200), (&third, 300)];
    assert_eq!(told, expected.map(|(thread, tokens)| (id(thread), json!(tokens), json!(true))));
}

#[test]
fn a_rewound_session_is_one_trace_of_all_that_was_done() {
    let (Some(codex), Some(oracle)) = (codex(), Oracle::newest()) else { return };
    let answer = |text: &str, input| Reply::new().answer(text).usage(input, 0, 1, 0);
    let script = scenarios::titles(3)
        .reply_to("third prompt", answer("third answer", 300))
        .reply_to("second prompt", answer("second answer", 200))
        .reply_to("first prompt", answer("first answer", 100));
    let server = ModelServer::start(script);
    let home = Home::new(&server.url());
    home.face(CODE_MODE, &server.url());
    let native = codex.native.to_str().expect("UTF-8");
    let shell =
        Tmux::start(&home, &[("CODEX_TRACED_CODEX_BIN", native), ("USER", "tester"), ("T", LAUNCHER)]);
    shell.type_line("$T; echo ended $?");
    shell.wait_for("? for shortcuts");
    scenarios::rewind(&shell);
    shell.submit("/quit", "ended 0");
    home.wait_until_delivered();
    assert_eq!(home.rollouts().len(), 2, "a rewind begins a new file");
    assert_facts(
        &oracle.trace(&home.database()),
        r#"
        trace OK request="first prompt" response="third answer" in=600 out=3
        codex_cli_session AGENT OK codex.turns=3 codex.tokens_reconciled=true
          turn_1 AGENT OK outputs.response="first answer" codex.taken_back=-
            llm_call_1 LLM OK in=100
          turn_2 AGENT OK outputs.response="second answer" codex.taken_back=true
            llm_call_2 LLM OK in=200
          turn_3 AGENT OK outputs.response="third answer" codex.taken_back=-
            llm_call_3 LLM OK in=300
        "#,
    );
}
