//! The oracle, proved on a trace that MLflow made itself, with the newest and the oldest MLflow that are tested.

use serde_json::json;
use support::real::{MLFLOW_OLDEST, MLFLOW_VERSION};
use support::{Oracle, Verb, assert_facts};

#[test]
fn the_newest_mlflow_reads_a_trace_of_its_own_and_what_people_add_to_it() {
    if let Some(oracle) = Oracle::of(MLFLOW_VERSION) {
        make_change_and_read(&oracle);
    }
}

#[test]
fn the_oldest_mlflow_reads_a_trace_of_its_own_and_what_people_add_to_it() {
    if let Some(oracle) = Oracle::of(MLFLOW_OLDEST) {
        make_change_and_read(&oracle);
    }
}

fn make_change_and_read(oracle: &Oracle) {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let database = folder.path().join("mlflow.db");
    let made = oracle.ask(&database, &[Verb::Sample]);
    let id = made[0].as_str().expect("the sample's id");
    let changes = [
        Verb::Feedback { trace: id, name: "good", value: json!(true) },
        Verb::Expectation { trace: id, name: "answer", value: json!("done") },
        Verb::Tag { trace: id, key: "team", value: "red" },
        Verb::Rename { trace: id, name: "mine" },
    ];
    let traces = oracle.traces_after(&database, &changes);

    let [trace] = &traces[..] else { panic!("expected one trace: {traces:#?}") };
    assert_eq!(trace.trace_id, id);
    assert_facts(
        trace,
        r#"
        trace OK name=mine experiment=samples in=10 out=2 tags.team=red spans=3
        agent AGENT OK inputs.prompt=hi outputs.status=completed
          llm LLM OK in=10 cached=4 out=2
          tool TOOL ERROR inputs.cmd="exit 3" exit_code=3
        "#,
    );
    let mut names: Vec<_> = trace.assessments.iter().map(|added| added["assessment_name"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["answer", "good"]);
    assert_eq!(oracle.trace(&database), *trace, "a second process reads the same");
}
