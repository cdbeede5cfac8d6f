//! Which experiment takes the trace, and which cannot.

use super::made::{Delivery, id, trace};
use mlflow_store::exporter::{Delivered, ExportError};
use mlflow_store::target::Experiment;
use support::Databricks;
use support::databricks::{Rules, USER};

fn deliver(databricks: &Databricks, experiment: Experiment) -> Result<Delivered, ExportError> {
    Delivery { experiment, ..Delivery::to(databricks) }.of(&trace())
}

#[track_caller]
fn refused(databricks: &Databricks, experiment: Experiment) -> String {
    let Err(ExportError::Experiment(reason)) = deliver(databricks, experiment) else { panic!("another end") };
    assert_eq!(databricks.traces(), [""; 0], "{reason}");
    reason
}

#[test]
fn a_path_is_made_when_it_is_missing_and_found_when_it_is_there() {
    let databricks = Databricks::start(Rules::default());
    let path = format!("/Users/{USER}/codex");
    let made = deliver(&databricks, Experiment::Name(path.clone())).expect("delivered");
    assert_eq!(databricks.experiment(&path), Some(made.experiment_id.clone()));
    let found = Delivery { experiment: Experiment::Name(path), ..Delivery::to(&databricks) };
    assert_eq!(found.of(&trace()).expect("delivered").experiment_id, made.experiment_id);
    let stored = databricks.trace_info(&id(&trace())).expect("the trace is there");
    assert_eq!(stored["trace_location"]["mlflow_experiment"]["experiment_id"], made.experiment_id.as_str());
}

#[test]
fn a_bare_name_is_an_experiment_in_its_owners_folder() {
    let databricks = Databricks::start(Rules::default());
    let delivered = deliver(&databricks, Experiment::Name("codex-sessions".into())).expect("delivered");
    let path = format!("/Users/{USER}/codex-sessions");
    assert_eq!(databricks.experiment(&path), Some(delivered.experiment_id));
}

#[test]
fn an_id_must_be_there() {
    let databricks = Databricks::start(Rules::default());
    let reason = refused(&databricks, Experiment::Id("99".into()));
    assert!(reason.starts_with("experiment 99 does not exist in this workspace"), "{reason}");
    let made = databricks.make_experiment("/Shared/there", &[]);
    let delivered = deliver(&databricks, Experiment::Id(made.clone())).expect("delivered");
    assert_eq!(delivered.experiment_id, made);
}

#[test]
fn a_deleted_experiment_takes_nothing() {
    let databricks = Databricks::start(Rules::default());
    let id = databricks.make_experiment("/Shared/gone", &[]);
    databricks.delete_experiment("/Shared/gone");
    for experiment in [Experiment::Id(id), Experiment::Name("/Shared/gone".into())] {
        let reason = refused(&databricks, experiment);
        assert_eq!(reason, "experiment /Shared/gone was deleted in MLflow (restore it, or choose another)");
    }
}

#[test]
fn a_missing_folder_is_named_in_the_error() {
    let databricks = Databricks::start(Rules::default());
    let reason = refused(&databricks, Experiment::Name("/Users/nobody/codex".into()));
    assert!(
        reason.contains("Parent directory /Users/nobody does not exist. (set MLFLOW_EXPERIMENT_NAME"),
        "{reason}"
    );
}

#[test]
fn an_experiment_whose_traces_are_in_unity_catalog_is_refused_with_a_hint() {
    let databricks = Databricks::start(Rules::default());
    let tag = ("mlflow.experiment.databricksTraceDestinationPath", "main.traces");
    databricks.make_experiment("/Shared/tables", &[tag]);
    let reason = refused(&databricks, Experiment::Name("/Shared/tables".into()));
    assert!(
        reason.contains("in Unity Catalog (main.traces), where codex-traced cannot deliver yet (choose an"),
        "{reason}"
    );
}
