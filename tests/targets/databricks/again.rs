//! A session that was taken up again: the same trace, brought up to date, with all that people added to it.

use super::made::{Delivery, EXPERIMENT, id, spans, trace};
use jiff::Timestamp;
use mlflow_store::ids::SpanId;
use mlflow_store::receipt::Receipt;
use mlflow_store::target::{Experiment, Target};
use mlflow_store::trace::{Trace, TraceState};
use serde_json::{Value, json};
use support::databricks::{Reposts, Rules, TOKEN};
use support::{Databricks, Oracle, Verb};

/// Another turn: a span more, other totals, one tag changed, one gone, one new.
fn later() -> Trace {
    let mut trace = trace();
    let mut more = trace.spans[1].clone();
    (more.id, more.name) = (SpanId([4; 8]), "llm_call_2".to_owned());
    trace.spans.push(more);
    trace.state = TraceState::Error;
    trace.response_preview = Some("more".to_owned());
    trace.metadata.insert("mlflow.trace.tokenUsage".to_owned(), r#"{"total_tokens": 24}"#.to_owned());
    trace.tags = [("codex.cli_version", "0.170.0"), ("codex.new", "1")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    trace
}

fn earlier() -> Trace {
    let mut trace = trace();
    trace.tags.insert("codex.old".to_owned(), "1".to_owned());
    trace
}

/// As a person would, by MLflow's own client.
fn people_add(oracle: &Oracle, databricks: &Databricks) {
    let trace = id(&trace());
    let changes = [
        Verb::Tag { trace: &trace, key: "team", value: "red" },
        Verb::Rename { trace: &trace, name: "mine" },
        Verb::Feedback { trace: &trace, name: "good", value: json!(true) },
    ];
    oracle.ask_store("databricks", &variables(databricks), &changes);
}

fn variables(databricks: &Databricks) -> [(&str, &str); 2] {
    [("DATABRICKS_HOST", databricks.host()), ("DATABRICKS_TOKEN", TOKEN)]
}

fn tags(databricks: &Databricks) -> Value {
    let mut tags = databricks.trace_info(&id(&trace())).expect("the trace is there")["tags"].clone();
    let tags_only = tags.as_object_mut().expect("tags");
    tags_only.shift_remove("mlflow.artifactLocation");
    tags
}

#[test]
fn a_resumed_session_is_the_same_trace_and_what_people_added_stays() {
    let Some(oracle) = Oracle::newest() else { return };
    for reposts in [Reposts::Merged, Reposts::Replacing] {
        let databricks = Databricks::start(Rules { reposts, ..Rules::default() });
        let first = Delivery::to(&databricks).of(&earlier()).expect("delivered");
        people_add(&oracle, &databricks);
        // The setting has changed since: the trace stays where it is.
        let experiment = Experiment::Name("/Shared/another".into());
        let second =
            Delivery { experiment, ..Delivery::to(&databricks) }.of(&later()).expect("delivered again");

        assert_eq!((second.experiment_id, spans(&databricks, &later())), (first.experiment_id, 4));
        assert_eq!(databricks.experiment("/Shared/another"), None);
        let info = databricks.trace_info(&id(&trace())).expect("the trace is there");
        assert_eq!((&info["state"], &info["response_preview"]), (&json!("ERROR"), &json!("more")));
        assert_eq!(info["trace_metadata"]["mlflow.trace.tokenUsage"], r#"{"total_tokens": 24}"#);
        assert_eq!(info["assessments"][0]["assessment_name"], "good", "{reposts:?}");
        assert_eq!(
            tags(&databricks),
            json!({"codex.cli_version": "0.170.0", "codex.new": "1", "mlflow.traceName": "mine", "team": "red"}),
            "{reposts:?}"
        );
    }
}

#[test]
fn where_a_trace_is_taken_only_once_the_rest_still_follows_as_far_as_it_can() {
    let Some(oracle) = Oracle::newest() else { return };
    for (reposts, tokens, state) in
        [(Reposts::Refused, "{\"total_tokens\": 24}", "ERROR"), (Reposts::Final, "12}", "OK")]
    {
        let databricks = Databricks::start(Rules { reposts, ..Rules::default() });
        Delivery::to(&databricks).of(&earlier()).expect("delivered");
        people_add(&oracle, &databricks);
        Delivery::to(&databricks).of(&later()).expect("delivered again");
        assert_eq!(spans(&databricks, &later()), 4);
        let info = databricks.trace_info(&id(&trace())).expect("the trace is there");
        let told = info["trace_metadata"]["mlflow.trace.tokenUsage"].as_str().expect("tokens");
        assert!(told.ends_with(tokens) && info["state"] == state, "{reposts:?}: {told}");
        assert_eq!(
            tags(&databricks),
            json!({"codex.cli_version": "0.170.0", "codex.new": "1", "mlflow.traceName": "mine", "team": "red"})
        );
    }
}

#[test]
fn a_trace_that_people_deleted_comes_back_to_the_experiment_of_its_receipt() {
    let databricks = Databricks::start(Rules::default());
    let experiment_id = databricks.make_experiment("/Shared/first", &[]);
    let target = Target::Databricks { profile: None };
    let receipt = Receipt::from_spans(target, experiment_id.clone(), Timestamp::UNIX_EPOCH, &trace().spans);
    let delivery = Delivery { before: Some(&receipt), ..Delivery::to(&databricks) };
    assert_eq!(delivery.of(&trace()).expect("delivered").experiment_id, experiment_id);
    assert_eq!(databricks.experiment(EXPERIMENT), None);
}
