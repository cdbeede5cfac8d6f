//! What must be in the traces of scenarios that were recorded with Codex 0.169.0 (`examples/record`).

use codex_session::session::family::{self, Family};
use codex_session::session::model::Session;
use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::trace::build::{TraceSource, build_family, rebuild_turns};
use codex_traced::trace::price_book::PriceBook;
use mlflow_store::ids::SpanId;
use mlflow_store::trace::{Span, SpanStatus, Trace};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// One file, or the first to the last of several.
fn sessions(scenario: &str) -> Vec<Session> {
    let read = |path: &Path| session::read(path, Writer::Gone).expect("a file that can be read");
    let path = |tail: String| Path::new("tests/corpus/0.169.0").join(format!("{scenario}{tail}.jsonl"));
    if path(String::new()).exists() {
        return vec![read(&path(String::new()))];
    }
    let paths = (1..).map(|number| path(format!("-{number}"))).take_while(|path| path.exists());
    let all: Vec<Session> = paths.map(|path| read(&path)).collect();
    assert!(all.len() > 1, "no recording of {scenario}");
    all
}

fn alone(scenario: &str) -> Family {
    let mut all = sessions(scenario);
    assert_eq!(all.len(), 1, "{scenario}");
    all.remove(0).into()
}

fn trace(family: &Family) -> Trace {
    let surroundings =
        TraceSource { rollout: Path::new("rollout.jsonl"), user: None, prices: PriceBook::built_in() };
    build_family(family, &ThreadRecord::default(), surroundings).expect("a trace")
}

/// The tree by names and statuses, each level deeper by two spaces.
fn tree(trace: &Trace) -> Vec<String> {
    let parents: HashMap<SpanId, &Span> = trace.spans.iter().map(|span| (span.id, span)).collect();
    let depth = |span: &Span| std::iter::successors(span.parent, |id| parents[id].parent).count();
    let status = |span: &Span| match &span.status {
        SpanStatus::Ok => String::new(),
        SpanStatus::Unset => " UNSET".into(),
        SpanStatus::Error { message } => format!(" ERROR {}", message.lines().next().unwrap_or_default()),
    };
    let line = |span: &Span| format!("{}{}{}", "  ".repeat(depth(span)), span.name, status(span));
    trace.spans.iter().map(line).collect()
}

fn span<'a>(trace: &'a Trace, name: &str) -> &'a Span {
    trace
        .spans
        .iter()
        .find(|span| span.name == name)
        .unwrap_or_else(|| panic!("no {name}: {:#?}", tree(trace)))
}

fn tokens(trace: &Trace) -> Value {
    let usage: Value = serde_json::from_str(&trace.metadata["mlflow.trace.tokenUsage"]).expect("JSON");
    json!([usage["input_tokens"], usage["output_tokens"]])
}

fn reconciled(trace: &Trace) -> Option<bool> {
    trace.spans[0].attributes["codex.tokens_reconciled"].as_bool()
}

#[test]
fn calls_of_one_response_have_an_end_each() {
    let trace = trace(&alone("parallel-calls"));
    let mut names = tree(&trace);
    // Which of them begins first is a matter of microseconds.
    names[2..5].sort();
    let expected = [
        "codex_cli_session",
        "  llm_call_1",
        "  tool_exec_command",
        "  tool_exec_command",
        "  tool_exec_command ERROR exit code 2",
        "  llm_call_2",
    ];
    assert_eq!(names, expected);
    let that_printed = |text: &str| {
        let mut tools = trace.spans.iter().filter(|span| span.outputs["result"] == text);
        tools.next().unwrap_or_else(|| panic!("nothing printed {text:?}"))
    };
    let (slow, quick) = (that_printed("one\n"), that_printed("a work folder\n"));
    // Whether they overlapped is unknown: Codex notes a command's start up to 0.2 s late (0.169).
    let called = span(&trace, "llm_call_1").ended_at;
    assert!(called < quick.ended_at && quick.ended_at < slow.ended_at, "{called} {quick:?} {slow:?}");
    let calls = &span(&trace, "llm_call_1").outputs["choices"][0]["message"]["tool_calls"];
    assert_eq!(calls.as_array().map(<[_]>::len), Some(3));
    let shown = &span(&trace, "llm_call_2").inputs["messages"];
    assert!(shown.as_array().expect("messages").iter().all(|message| message["role"] == "tool"), "{shown}");
}

#[test]
fn a_tool_of_an_mcp_server_fails_by_its_own_word_or_by_the_protocols() {
    let trace = trace(&alone("mcp-failure"));
    let expected = [
        "codex_cli_session",
        "  llm_call_1",
        "  tool_mcp__sums__add",
        "  llm_call_2",
        "  tool_mcp__sums__refuse ERROR not on a Sunday",
        "  llm_call_3",
        "  tool_mcp__sums__break ERROR tool call error: tool call failed for `sums/break`",
        "  llm_call_4",
    ];
    assert_eq!(tree(&trace), expected);
    let add = span(&trace, "tool_mcp__sums__add");
    assert_eq!(add.inputs, json!({"a": 2, "b": 3}));
    for (key, value) in [
        ("mcp_server", "sums"),
        ("mcp.server", "sums"),
        ("tool_name", "mcp__sums__add"),
        ("gen_ai.tool.name", "mcp__sums__add"),
    ] {
        assert_eq!(add.attributes[key], value, "{key}");
    }
    let asked = &span(&trace, "llm_call_1").outputs["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(asked["function"]["name"], "mcp__sums__add");
    assert_eq!(add.outputs["mcp_result"]["structuredContent"], json!({"sum": 5}));
    let broke = span(&trace, "tool_mcp__sums__break");
    let said = broke.events[0].attributes["exception.message"].as_str().expect("a message");
    assert!(said.contains("-32603: the tool broke"), "{said}");
}

#[test]
fn an_image_is_a_note_by_which_it_can_be_known() {
    let trace = trace(&alone("image-input"));
    // As `sha256sum` of the file prints it.
    let note = "[image image/png, 69 bytes, sha256 3220fc7838ccdab0a3a21b5d8498275c7abe6930abbb059e9fdb4939bba8c2fd]";
    let messages = span(&trace, "llm_call_1").inputs["messages"].to_string();
    assert!(messages.contains(note), "{messages}");
    assert_eq!(span(&trace, "tool_view_image").outputs["result"], note);
    let whole = serde_json::to_string(&trace).expect("JSON");
    assert!(!whole.contains("base64,"), "no image is in the trace");
}

#[test]
fn two_compactions_in_a_row_are_two_spans_and_their_responses_count() {
    let trace = trace(&alone("two-compactions"));
    let expected = [
        "codex_cli_session",
        "  llm_call_1",
        "  tool_exec_command",
        "  llm_call_2",
        "  compaction",
        "  llm_call_3",
        "  tool_exec_command",
        "  llm_call_4",
        "  compaction",
        "  llm_call_5",
    ];
    let mut names = tree(&trace);
    // A compaction covers the response that wrote its summary, so either may come first.
    names.sort();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    assert_eq!((tokens(&trace), reconciled(&trace)), (json!([841_200, 106]), Some(true)));
    let compactions = trace.spans.iter().filter(|span| span.name == "compaction");
    let before =
        compactions.map(|span| span.attributes["codex.context_tokens_before"].as_u64().expect("a size"));
    assert!(before.into_iter().all(|tokens| tokens > 200_000));
}

#[test]
fn agents_are_nested_as_deep_as_they_went() {
    let mut all = sessions("nested-agents");
    let root = all.remove(0);
    let family = Family::gather(root.clone(), |_| all.clone());
    let trace = trace(&family);
    let expected = [
        "codex_cli_session",
        "  llm_call_1",
        "  tool_spawn_agent",
        "    subagent_outer",
        "      llm_call_1",
        "      tool_spawn_agent",
        "        subagent_inner",
        "          llm_call_1",
        "          tool_exec",
        "            tool_exec_command",
        "          llm_call_2",
        "      llm_call_2",
        "      tool_wait_agent",
        "      llm_call_3",
        "  llm_call_2",
        "  tool_wait_agent",
        "  llm_call_3",
    ];
    assert_eq!(tree(&trace), expected);
    assert_eq!((tokens(&trace), reconciled(&trace)), (json!([1570, 124]), Some(true)));
    let shorter = self::trace(&root.into());
    let ids: BTreeSet<SpanId> = trace.spans.iter().map(|span| span.id).collect();
    assert!(shorter.spans.iter().all(|span| ids.contains(&span.id)), "agents change no id");
}

#[test]
fn a_fork_of_a_fork_counts_only_what_it_did_itself() {
    let told: Vec<Value> = sessions("fork-of-a-fork")
        .into_iter()
        .map(|session| {
            let trace = trace(&session.into());
            let from = trace.spans[0].attributes.get("codex.forked_from_id").is_some();
            assert_eq!(tree(&trace), ["codex_cli_session", "  llm_call_1"]);
            json!([trace.request_preview, tokens(&trace)[0], reconciled(&trace), from])
        })
        .collect();
    let expected = [
        json!(["one", 100, true, false]),
        json!(["two", 200, true, true]),
        json!(["three", 300, true, true]),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_was_rewound_stays_and_is_marked() {
    let parts = sessions("rewind");
    let before = trace(&parts[0].clone().into());
    let whole: Family = family::join(parts).expect("a session").into();
    let trace = trace(&whole);
    let expected = [
        "codex_cli_session",
        "  turn_1",
        "    llm_call_1",
        "  turn_2",
        "    llm_call_2",
        "  turn_3",
        "    llm_call_3",
    ];
    assert_eq!(tree(&trace), expected);
    let is_taken_back = |name| span(&trace, name).attributes.get("codex.taken_back").is_some();
    assert_eq!(["turn_1", "turn_2", "turn_3"].map(is_taken_back), [false, true, false]);
    assert_eq!(trace.response_preview.as_deref(), Some("third answer"));
    // Codex's own count goes back to 100 + 300; what was rewound was paid for.
    assert_eq!((tokens(&trace), reconciled(&trace)), (json!([600, 6]), Some(true)));
    let ids: BTreeSet<SpanId> = trace.spans.iter().map(|span| span.id).collect();
    assert_eq!(before.id, trace.id);
    assert!(before.spans.iter().all(|span| ids.contains(&span.id)), "a rewind changes no id");
}

#[test]
fn each_response_names_the_model_that_gave_it() {
    let trace = trace(&alone("model-switch"));
    let model = |name| span(&trace, name).attributes["mlflow.llm.model"].clone();
    assert_eq!((model("llm_call_1"), model("llm_call_2")), ("gpt-5.5".into(), "gpt-5.4".into()));
}

#[test]
fn a_stream_that_drops_twice_leaves_what_came_of_it() {
    let trace = trace(&alone("dropped-twice"));
    let broke = |number| format!("  llm_call_{number} ERROR the stream broke off, and codex asked again");
    let expected = ["codex_cli_session".into(), broke(1), broke(2), "  llm_call_3".into()];
    assert_eq!(tree(&trace), expected);
    let said = |name| span(&trace, name).outputs["response"].clone();
    assert_eq!(
        ["llm_call_1", "llm_call_2", "llm_call_3"].map(said),
        [json!("half"), json!("half again"), json!("whole")]
    );
    let counted = |name| span(&trace, name).attributes.contains_key("mlflow.chat.tokenUsage");
    assert_eq!(["llm_call_1", "llm_call_2", "llm_call_3"].map(counted), [false, false, true]);
    assert_eq!(reconciled(&trace), Some(true));
}

#[test]
fn a_plan_is_the_answer_of_a_turn_in_plan_mode() {
    let trace = trace(&alone("plan-mode"));
    assert_eq!(tree(&trace), ["codex_cli_session", "  llm_call_1"]);
    let root = &trace.spans[0];
    assert_eq!(root.attributes["codex.mode"], "plan");
    assert_eq!(root.inputs["prompt"], "plan the parser");
    assert!(
        root.outputs["response"].as_str().expect("an answer").contains("# Plan\n- read\n- write"),
        "{root:?}"
    );
}

fn turns_of(family: &Family) -> Vec<Trace> {
    let source =
        TraceSource { rollout: Path::new("rollout.jsonl"), user: None, prices: PriceBook::built_in() };
    rebuild_turns(family, None, &ThreadRecord::default(), source)
        .into_iter()
        .map(|built| built.trace)
        .collect()
}

#[test]
fn turns_of_their_own_hold_together_what_the_session_holds() {
    let whole: Family = family::join(sessions("rewind")).expect("a session").into();
    let turns = turns_of(&whole);
    let told: Vec<_> = turns.iter().map(|turn| (tree(turn), tokens(turn))).collect();
    let turn = |number: usize, input: u64| {
        let names = vec!["codex_cli_turn".to_owned(), format!("  llm_call_{number}")];
        (names, json!([input, number]))
    };
    assert_eq!(told, [turn(1, 100), turn(2, 200), turn(3, 300)]);
    let ids: BTreeSet<_> = turns.iter().map(|turn| turn.id).collect();
    assert_eq!(ids.len(), 3);
    assert!(
        turns.iter().all(|turn| turn.metadata["mlflow.trace.session"] == whole.members[0].session.meta.id)
    );

    let mut all = sessions("nested-agents");
    let family = Family::gather(all.remove(0), |_| all.clone());
    let turns = turns_of(&family);
    assert_eq!(turns.len(), 1);
    assert_eq!((turns[0].spans.len(), tokens(&turns[0])), (17, json!([1570, 124])));
}
