//! The experiment that receives a trace: found by name or id, created by name. MLflow takes spans for a
//! deleted one and shows nothing, so a deleted one is refused here.

use super::answer::Answer;
use super::api::{ApiRequest, Rest, Subject};
use crate::exporter::Result;
use crate::target::Experiment;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

const GET: [&str; 5] = ["api", "2.0", "mlflow", "experiments", "get"];
const GET_BY_NAME: [&str; 5] = ["api", "2.0", "mlflow", "experiments", "get-by-name"];
const CREATE: [&str; 5] = ["api", "2.0", "mlflow", "experiments", "create"];

/// The experiment's id. By name: created if missing. By id: must exist.
pub(crate) fn find_or_create<R: Rest>(rest: &R, wanted: &Experiment) -> Result<String> {
    let name = match wanted {
        Experiment::Id(id) => return by_id(rest, id),
        Experiment::Name(name) => rest.full_name(name)?,
    };
    let body = json!({"name": name});
    let mut creations = 0;
    loop {
        if let Some(id) = by_name(rest, &name)? {
            return Ok(id);
        }
        let created = rest.call(&ApiRequest::with_body(Method::POST, &CREATE, &body))?;
        let refused = || rest.refused(Subject::NewExperiment(&name), &created);
        if created.status.is_success() {
            return created.json()["experiment_id"].as_str().map(str::to_owned).ok_or_else(refused);
        }
        creations += 1;
        if !rest.is_taken(&created) {
            return Err(refused());
        }
        if creations == R::CREATIONS {
            let there = if R::LOOKS_LAST { by_name(rest, &name)? } else { None };
            return there.ok_or_else(refused);
        }
    }
}

/// By name: None if it is missing. By id: must exist.
pub(crate) fn find(rest: &impl Rest, wanted: &Experiment) -> Result<Option<String>> {
    match wanted {
        Experiment::Id(id) => by_id(rest, id).map(Some),
        Experiment::Name(name) => by_name(rest, &rest.full_name(name)?),
    }
}

fn by_name(rest: &impl Rest, name: &str) -> Result<Option<String>> {
    let answer = rest.call(&ApiRequest::get(&GET_BY_NAME, &[("experiment_name", name)]))?;
    let subject = Subject::ExperimentName(name);
    if rest.is_missing(subject, &answer) {
        return Ok(None);
    }
    active(rest, &answer, subject, name).map(Some)
}

/// The id itself, if the experiment exists and can take traces.
pub(crate) fn by_id(rest: &impl Rest, id: &str) -> Result<String> {
    let answer = rest.call(&ApiRequest::get(&GET, &[("experiment_id", id)]))?;
    let subject = Subject::ExperimentId(id);
    if rest.is_missing(subject, &answer) {
        return Err(rest.no_experiment(id));
    }
    active(rest, &answer, subject, id)
}

/// When the experiment was created; None if it is missing or deleted.
pub(crate) fn created_at(rest: &impl Rest, id: &str) -> Result<Option<Timestamp>> {
    let answer = rest.call(&ApiRequest::get(&GET, &[("experiment_id", id)]))?;
    let subject = Subject::FormerExperiment(id);
    if rest.is_missing(subject, &answer) {
        return Ok(None);
    }
    experiment_in(rest, &answer, subject).map(|experiment| time_of_creation(&experiment))
}

/// None if it is deleted, 1970 if MLflow has no time for it.
fn time_of_creation(experiment: &Value) -> Option<Timestamp> {
    let millisecond = experiment["creation_time"].as_i64().unwrap_or_default();
    Timestamp::from_millisecond(millisecond).ok().filter(|_| !is_deleted(experiment))
}

fn is_deleted(experiment: &Value) -> bool {
    experiment["lifecycle_stage"].as_str() == Some("deleted")
}

fn experiment_in<R: Rest>(rest: &R, answer: &Answer, subject: Subject) -> Result<Value> {
    let mut body = answer.json();
    match answer.status.is_success() && !(R::CHECKS_BODIES && body.is_null()) {
        true => Ok(body["experiment"].take()),
        false => Err(rest.refused(subject, answer)),
    }
}

fn active(rest: &impl Rest, answer: &Answer, subject: Subject, called: &str) -> Result<String> {
    let experiment = experiment_in(rest, answer, subject)?;
    let id = experiment["experiment_id"].as_str().ok_or_else(|| rest.refused(subject, answer))?;
    if is_deleted(&experiment) {
        return Err(rest.deleted_experiment(called, &experiment));
    }
    rest.check_experiment(&experiment)?;
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::ExportError;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;
    use std::cell::RefCell;

    #[test]
    fn a_deleted_experiment_is_missing_and_one_without_a_time_is_old() {
        let time_of = |stage: &str, time: Value| {
            time_of_creation(&json!({"experiment_id": "1", "lifecycle_stage": stage, "creation_time": time}))
        };
        let at = Timestamp::from_millisecond(1_795_888_902_927).unwrap();
        assert_eq!(time_of("active", json!(1_795_888_902_927_i64)), Some(at));
        assert_eq!(time_of("active", Value::Null), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(time_of("deleted", json!(1_795_888_902_927_i64)), None);
    }

    /// A target where another client creates the experiment before each creation. It shows at this look.
    struct RacedTarget<const CREATIONS: usize, const LOOKS_LAST: bool> {
        shows_at: usize,
        requests: RefCell<String>,
    }

    impl<const CREATIONS: usize, const LOOKS_LAST: bool> Rest for RacedTarget<CREATIONS, LOOKS_LAST> {
        const CREATIONS: usize = CREATIONS;
        const LOOKS_LAST: bool = LOOKS_LAST;
        const CHECKS_BODIES: bool = true;

        fn call(&self, request: &ApiRequest) -> Result<Answer, ExportError> {
            let mut requests = self.requests.borrow_mut();
            requests.push_str(if request.body.is_some() { "create " } else { "look " });
            let is_shown = request.body.is_none() && requests.matches("look").count() == self.shows_at;
            let status = if is_shown { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let body = br#"{"experiment": {"experiment_id": "7"}}"#.to_vec();
            Ok(Answer { status, headers: HeaderMap::new(), body })
        }

        fn refused(&self, subject: Subject, _: &Answer) -> ExportError {
            ExportError::Experiment(format!("{subject:?}"))
        }

        fn is_missing(&self, _: Subject, answer: &Answer) -> bool {
            !answer.status.is_success()
        }

        fn is_taken(&self, _: &Answer) -> bool {
            true
        }

        fn no_experiment(&self, id: &str) -> ExportError {
            ExportError::Experiment(id.to_owned())
        }

        fn deleted_experiment(&self, called: &str, _: &Value) -> ExportError {
            ExportError::Experiment(called.to_owned())
        }
    }

    #[test]
    fn a_lost_race_to_create_an_experiment_is_followed_by_a_look() {
        fn requests<const CREATIONS: usize, const LAST: bool>(shows_at: usize) -> (Option<String>, String) {
            let target = RacedTarget::<CREATIONS, LAST> { shows_at, requests: RefCell::default() };
            let found = find_or_create(&target, &Experiment::Name("e".to_owned())).ok();
            (found, target.requests.into_inner().trim_end().to_owned())
        }
        let found = || Some("7".to_owned());
        assert_eq!(requests::<3, false>(2), (found(), "look create look".to_owned()));
        assert_eq!(requests::<3, false>(9), (None, "look create look create look create".to_owned()));
        assert_eq!(requests::<1, true>(2), (found(), "look create look".to_owned()));
        assert_eq!(requests::<1, true>(9), (None, "look create look".to_owned()));
    }
}
