//! The names that others read: MLflow's own, OpenTelemetry's for generative AI, and how traces are cut into turns.

use crate::LAUNCHER;
use codex_traced::trace::ids::{trace_of_thread, trace_of_turn};
use mlflow_store::sqlite;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use support::real::{CODEX_VERSION, MLFLOW_BEFORE, MLFLOW_VERSION};
use support::{
    Codex, End, Home, ModelServer, Oracle, Reply, Script, Trace, Verb, assert_facts, codex, mlflow, run,
};

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
        trace OK mlflow.trace.session={thread} mlflow.trace.user=tester in=18300 cached=13096 out=160 tags.codex.cli_version={CODEX_VERSION}
        codex_cli_session AGENT OK gen_ai.operation.name=invoke_agent gen_ai.agent.name=codex gen_ai.agent.id={thread} gen_ai.agent.version={CODEX_VERSION} gen_ai.conversation.id={thread} gen_ai.provider.name=stand_in gen_ai.usage.input_tokens=18300 gen_ai.usage.output_tokens=160
          llm_call_1 LLM OK mlflow.llm.model=gpt-5.5 mlflow.llm.provider=stand_in mlflow.llm.cost=… mlflow.chat.tokenUsage=… codex.time_to_first_token_ms=… gen_ai.response.time_to_first_chunk=0.… gen_ai.operation.name=chat gen_ai.provider.name=stand_in gen_ai.conversation.id={thread} gen_ai.request.model=gpt-5.5 gen_ai.response.model=gpt-5.5 gen_ai.response.id=resp_… gen_ai.response.finish_reasons="[\"tool_call\"]" gen_ai.usage.input_tokens=9000 gen_ai.usage.output_tokens=120 gen_ai.usage.cache_read.input_tokens=4096 gen_ai.usage.cache_creation.input_tokens=0 gen_ai.usage.reasoning.output_tokens=64
          tool_exec_command TOOL OK gen_ai.operation.name=execute_tool gen_ai.tool.name=exec_command gen_ai.tool.call.id=call_… gen_ai.tool.type=function gen_ai.conversation.id={thread}
          llm_call_2 LLM OK mlflow.llm.model=gpt-5.5 gen_ai.response.finish_reasons="[\"stop\"]" codex.time_to_first_token_ms=- gen_ai.response.time_to_first_chunk=-
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
        let id = trace_of_turn(&thread, number).to_string();
        (id, Some("codex_cli_turn".to_owned()), Value::from(thread.clone()))
    };
    assert_eq!(told, [turn(1), turn(2)]);
    assert_facts(
        &turns[0],
        r#"
        trace OK request="do it" response=done in=18300 out=160
        codex_cli_turn AGENT OK inputs.prompt="do it" outputs.response=done codex.turn=1 codex.attribution=held process.exit.code=0
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
        codex_cli_turn AGENT OK inputs.prompt="and more" codex.turn=2
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

const PATCH: &str = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n";

/// Three turns: a command, a patch, and words alone.
fn three_turns(codex: &Codex, home: &Home, server: &ModelServer) -> String {
    let turns = [
        ("list the files", Reply::new().call("exec_command", json!({"cmd": "ls"})), "**one** file"),
        ("add a greeting", Reply::new().custom("apply_patch", PATCH), "added"),
    ];
    let mut thread: Option<String> = None;
    for (prompt, call, answer) in turns {
        let reply = Reply::new().answer(answer).usage(200, 0, 20, 0);
        server.play(Script::new().reply(call.usage(100, 0, 10, 0)).reply(reply));
        let before: Vec<&str> = thread.iter().flat_map(|thread| ["resume", thread]).collect();
        thread = Some(traced_exec(home, codex, &[], &[&before[..], &[prompt]].concat()));
    }
    let thread = thread.expect("a thread");
    server.play(Script::new().reply(Reply::new().answer("you are welcome").usage(300, 0, 30, 0)));
    traced_exec(home, codex, &[], &["resume", &thread, "thanks"]);
    thread
}

#[test]
fn judges_are_given_a_session_and_each_of_its_turns_as_text_with_its_tools() {
    let (Some(codex), Some(before), Some(newest)) =
        (codex(), Oracle::of(MLFLOW_BEFORE), Oracle::of(MLFLOW_VERSION))
    else {
        return;
    };
    let server = ModelServer::start(Script::new());
    let home = Home::new(&server.url());
    let thread = three_turns(&codex, &home, &server);
    // The same session again into the same database, a trace for each turn.
    let other = Home::new(&server.url());
    let mut command = other.traced(LAUNCHER, &codex.native);
    command.env("MLFLOW_TRACKING_URI", format!("sqlite:///{}", home.database().display()));
    command.env("CODEX_TRACED_GRANULARITY", "turn").args(["mlflow", "import"]).arg(home.rollout());
    run(&mut command).ended(End::Code(0));

    let session = trace_of_thread(&thread).to_string();
    let turns = [1, 2, 3].map(|turn| trace_of_turn(&thread, turn).to_string());
    let traces = [&*session, &*turns[0], &*turns[1], &*turns[2]];
    let user = |text: &str| json!({"role": "user", "content": text});
    let assistant = |text: &str| json!({"role": "assistant", "content": text});
    let conversation = json!([
        user("list the files"),
        assistant("**one** file"),
        user("add a greeting"),
        assistant("added"),
        user("thanks"),
    ]);
    // The older one first: each upgrades the database that it opens.
    for (oracle, name) in [(before, "tool_"), (newest, "")] {
        let evaluate = Verb::Evaluate { traces: &traces };
        let answers = oracle.ask(&home.database(), &[evaluate]);
        println!("{:#}", answers[0]);
        let given = answers[0].as_array().expect("an answer for each trace");
        let told: Vec<_> = given.iter().map(|one| (&one["request"], &one["response"])).collect();
        // Of several messages MLflow gives judges the whole conversation.
        let request = told[0].0.as_str().expect("text");
        assert_eq!(serde_json::from_str::<Value>(request).expect("a conversation"), conversation);
        assert_eq!(told[0].1, "you are welcome");
        assert_eq!(told[1], (&json!("list the files"), &json!("**one** file")));
        assert_eq!(told[2], (&json!("add a greeting"), &json!("added")));
        assert_eq!(told[3], (&json!("thanks"), &json!("you are welcome")));

        let command = json!({"name": format!("{name}exec_command"), "arguments": {"cmd": "ls"},
                             "outputs": {"result": "README.md\n", "exit_code": 0}, "exception": null});
        assert_eq!([&given[0]["tools"][0], &given[1]["tools"][0]], [&command; 2]);
        let patch = &given[2]["tools"][0];
        assert_eq!((&patch["name"], patch), (&json!(format!("{name}apply_patch")), &given[0]["tools"][1]));
        assert_eq!(patch["arguments"], json!({"input": {"text": PATCH}}));
        assert!(
            patch["outputs"]["result"]["text"].as_str().is_some_and(|text| text.contains("\nA hello.txt"))
        );
        let tools = [0, 1, 2, 3].map(|at| given[at]["tools"].as_array().map(Vec::len));
        assert_eq!(tools, [Some(2), Some(1), Some(1), Some(0)]);

        let inputs = json!({"prompt": "list the files", "messages": conversation});
        let outputs = json!({"response": "you are welcome", "status": "completed",
                             "choices": [{"message": assistant("you are welcome")}]});
        assert_eq!((&given[0]["inputs"], &given[0]["outputs"]), (&inputs, &outputs));
    }
}

#[test]
fn small_images_are_shown_to_those_who_ask_and_never_among_figures() {
    let server = ModelServer::start(Script::new());
    let rollout = std::path::absolute("tests/corpus/0.169.0/image-55.jsonl").expect("a path");
    let content = |variables: &[(&str, &str)]| {
        let home = Home::new(&server.url());
        let mut command = home.traced(LAUNCHER, LAUNCHER.as_ref());
        run(command.envs(variables.iter().copied()).args(["mlflow", "import"]).arg(&rollout))
            .ended(End::Code(0));
        let trace = trace_of_thread("01a202b7-2552-7eb2-81d1-cc77b45584e9");
        let trace = sqlite::read(&home.database(), trace).expect("readable").expect("there");
        let messages =
            &trace.spans.iter().find(|span| span.name == "llm_call_1").expect("a call").inputs["messages"];
        let texts: Vec<Value> = messages
            .as_array()
            .into_iter()
            .flatten()
            .map(|message| serde_json::to_value(&message["content"]).expect("JSON"))
            .filter(|content| content.to_string().contains("image/png"))
            .collect();
        (texts, [trace.request_preview, trace.response_preview])
    };
    let (texts, [request, _]) = content(&[]);
    assert!(matches!(&texts[..], [Value::String(text)] if text.contains("[image image/png, ")), "{texts:?}");
    assert!(request.is_some_and(|request| request.starts_with("what is this\n[local_image ")));

    let (shown, _) = content(&[("CODEX_TRACED_IMAGES", "true")]);
    assert_eq!(shown[0][0], json!({"type": "text", "text": texts[0]}));
    assert_eq!(shown[0][1]["type"], "image_url");
    let url = shown[0][1]["image_url"]["url"].as_str().expect("a URL");
    assert!(url.starts_with("data:image/png;base64,iVBORw0KGgo"), "{url}");
    assert!(fs::read_to_string(&rollout).expect("the session").contains(url), "the image is whole");

    let figures = content(&[("CODEX_TRACED_IMAGES", "true"), ("CODEX_TRACED_CONTENT", "metadata")]);
    assert_eq!(figures, (Vec::new(), [None, Some("completed".to_owned())]));
}
