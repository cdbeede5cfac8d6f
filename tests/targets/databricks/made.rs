//! A small trace, and its way to a workspace.

use common::json::value::Map;
use common::json::value::Value;
use common::variables::Variables;
use jiff::Timestamp;
use mlflow_store::exporter;
use mlflow_store::exporter::{Delivered, ExportError, Patience};
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::receipt::Receipt;
use mlflow_store::target::access::Access;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{Span, SpanEvent, SpanStatus, SpanType, Trace, TraceState};
use serde_json::json;
use std::time::{Duration, Instant};
use support::Databricks;
use support::databricks::TOKEN;

pub(crate) const EXPERIMENT: &str = "/Shared/codex";

/// Long enough for a busy machine; far less than the pauses between tries add up to.
const LIMIT: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_341_285 + second).expect("a time of 2026")
}

fn object(value: serde_json::Value) -> Map {
    Value::from(value).as_object().cloned().expect("an object")
}

fn span(number: u8, parent: Option<u8>, name: &str, span_type: SpanType) -> Span {
    Span {
        id: SpanId([number; 8]),
        parent: parent.map(|parent| SpanId([parent; 8])),
        name: name.to_owned(),
        span_type,
        status: SpanStatus::Ok,
        started_at: at(i64::from(number)),
        ended_at: at(20 - i64::from(number)),
        inputs: json!({"prompt": "grüß dich"}).into(),
        outputs: json!({"response": "done"}).into(),
        attributes: Map::new(),
        events: Vec::new(),
    }
}

/// A session of one turn: an answer and a tool that failed.
pub(crate) fn trace() -> Trace {
    let tokens = json!({"input_tokens": 10, "output_tokens": 2, "total_tokens": 12});
    let cost = json!({"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75});
    let mut call = span(2, Some(1), "llm_call_1", SpanType::Llm);
    call.attributes = object(json!({
        "mlflow.chat.tokenUsage": tokens, "mlflow.llm.cost": cost, "mlflow.llm.model": "gpt-5.5", "input_tokens": 10,
    }));
    let mut tool = span(3, Some(1), "tool_exec_command", SpanType::Tool);
    tool.status = SpanStatus::Error { message: "exit code 3".to_owned() };
    tool.events = vec![SpanEvent {
        name: "exception".to_owned(),
        at: at(17),
        attributes: object(json!({"exception.type": "ToolError", "exception.message": "exit code 3"})),
    }];
    let metadata = [
        ("mlflow.trace_schema.version", "3"),
        ("mlflow.trace.session", "thread"),
        ("mlflow.source.name", "codex"),
        ("mlflow.source.type", "LOCAL"),
        ("mlflow.trace.tokenUsage", &tokens.to_string()),
        ("mlflow.trace.cost", &cost.to_string()),
    ];
    let texts = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Trace {
        id: TraceId([0xab; 16]),
        name: "codex_cli_session".to_owned(),
        state: TraceState::Ok,
        started_at: at(1),
        ended_at: at(19),
        request_preview: Some("grüß dich".to_owned()),
        response_preview: Some("done".to_owned()),
        context: Default::default(),
        metadata: metadata.map(texts).into(),
        tags: [texts(("codex.cli_version", "0.169.0"))].into(),
        spans: vec![span(1, None, "codex_cli_session", SpanType::Agent), call, tool],
    }
}

/// The same, with a file of three parts.
pub(crate) fn large_trace() -> Trace {
    let mut trace = trace();
    trace.spans[2].outputs = json!({"result": "x".repeat(support::databricks::PART * 2 + 1000)}).into();
    trace
}

pub(crate) fn id(trace: &Trace) -> String {
    trace.id.to_string()
}

/// A delivery: its target, credentials and settings.
pub(crate) struct Delivery<'a> {
    pub(crate) profile: Option<&'a str>,
    pub(crate) access: Access,
    pub(crate) experiment: Experiment,
    pub(crate) before: Option<&'a Receipt>,
}

impl Delivery<'_> {
    /// With these variables and no file.
    pub(crate) fn with<const N: usize>(variables: [(&str, &str); N]) -> Delivery<'static> {
        Delivery {
            profile: None,
            access: Access { variables: Variables::from(variables), ..Access::default() },
            experiment: Experiment::Name(EXPERIMENT.to_owned()),
            before: None,
        }
    }

    /// By the workspace's personal access token.
    pub(crate) fn to(databricks: &Databricks) -> Delivery<'static> {
        Delivery::with([("DATABRICKS_HOST", databricks.host()), ("DATABRICKS_TOKEN", TOKEN)])
    }

    pub(crate) fn of(&self, trace: &Trace) -> Result<Delivered, ExportError> {
        let target = Target::Databricks { profile: self.profile.map(str::to_owned) };
        let patience = Patience {
            until: Some(Instant::now() + LIMIT),
            is_asked_to_end: &|| false,
            retrying: &|_, _| {},
        };
        exporter(&target, &self.experiment, &self.access, patience)?.export(trace, self.before)
    }
}

/// What the trace's file holds now.
pub(crate) fn file(databricks: &Databricks, trace: &Trace) -> Value {
    let bytes = databricks.file(&id(trace)).expect("the file is there");
    serde_json::from_slice(&bytes).expect("the file is JSON")
}

/// How many spans that file has, which proves that it is whole.
pub(crate) fn spans(databricks: &Databricks, trace: &Trace) -> usize {
    file(databricks, trace)["spans"].as_array().expect("a list of spans").len()
}

/// Nothing that grants anything is in this text.
#[track_caller]
pub(crate) fn assert_no_secret(text: &str) {
    for secret in
        [TOKEN, support::databricks::CLIENT_SECRET, "granted-token", "Signature", "Bearer", "Basic "]
    {
        assert!(!text.contains(secret), "{secret:?} is in {text:?}");
    }
}
