//! Which traces a server still has: a search for many by their ids, then a look at each that the search did
//! not find.

use super::answer::{Purpose, error_code};
use super::server::ServerApi;
use super::settings;
use crate::config::access::Access;
use crate::config::target::Target;
use crate::export::lost::{self, Lost, SentTrace, TraceIndex};
use crate::export::{ExportError, Patience};
use crate::trace::ids::TraceId;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

/// Measured: a search for 100 takes 0.1 s (MLflow 3.18) to 0.5 s (3.2), a look at one trace 0.025 s.
const AT_ONCE: usize = 100;

pub fn lost(
    target: &Target,
    url: &str,
    sent: &[SentTrace],
    access: &Access,
    patience: Patience,
) -> Result<Lost, ExportError> {
    let (client, url) = settings::connect(target, url, access, patience)?;
    lost::find(sent, &mut Asked(Server::new(client, target.to_string(), url)))
}

struct ServerTraces<'a>(ServerApi<'a>);

impl TraceIndex for Asked<'_> {
    fn present(&mut self, sent: &[SentTrace]) -> Result<HashSet<TraceId>, ExportError> {
        let mut present = HashSet::new();
        for some in sent.chunks(AT_ONCE) {
            present.extend(self.search(some)?);
            // A trace may have moved to another experiment; or MLflow refused the search because one is gone.
            for one in some {
                if !present.contains(&one.trace) && self.has(one.trace)? {
                    present.insert(one.trace);
                }
            }
        }
        Ok(present)
    }

    fn made(&mut self, experiment_id: &str) -> Result<Option<Timestamp>, ExportError> {
        let path = ["api", "2.0", "mlflow", "experiments", "get"];
        let answer = self.0.get(&path, &[("experiment_id", experiment_id)])?;
        if !answer.status.is_success() {
            // A server with users answers 403 for a missing experiment.
            let is_gone = answer.status.as_u16() == 403 || error_code(&answer).is_some();
            return if is_gone { Ok(None) } else { Err(self.0.refused(Purpose::Look, &answer)) };
        }
        Ok(made(&self.0.json(&answer)?))
    }
}

impl Asked<'_> {
    fn search(&self, sent: &[SentTrace]) -> Result<Vec<TraceId>, ExportError> {
        let experiments: BTreeSet<&str> = sent.iter().map(|one| one.experiment_id.as_str()).collect();
        let location =
            |id: &&str| json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id}});
        let ids: Vec<String> = sent.iter().map(|one| format!("'{}'", one.trace)).collect();
        let body = json!({
            "locations": experiments.iter().map(location).collect::<Vec<_>>(),
            "max_results": sent.len(),
            "filter": format!("request_id IN ({})", ids.join(", ")),
        });
        let path = ["api", "3.0", "mlflow", "traces", "search"];
        let answer = self.0.send_json(Method::POST, &path, &body)?;
        if !answer.status.is_success() {
            // MLflow itself refuses the search; then the caller looks at each trace.
            return match error_code(&answer) {
                Some(_) => Ok(Vec::new()),
                None => Err(self.0.refused(Purpose::Look, &answer)),
            };
        }
        let found = self.0.json(&answer)?;
        let traces = found["traces"].as_array().into_iter().flatten();
        Ok(traces.filter_map(|trace| trace["trace_id"].as_str()?.parse().ok()).collect())
    }

    fn has(&self, trace: TraceId) -> Result<bool, ExportError> {
        let answer = self.0.get(&["api", "3.0", "mlflow", "traces", &trace.to_string()], &[])?;
        match answer.status.as_u16() {
            200 => Ok(true),
            // As for an experiment. A 404 without a code is from a proxy, whose server may be down.
            403 => Ok(false),
            404 if error_code(&answer).is_some() => Ok(false),
            _ => Err(self.0.refused(Purpose::Look, &answer)),
        }
    }
}

/// When the experiment was created; None if it is deleted, 1970 if MLflow has no time for it.
pub fn made(answer: &Value) -> Option<Timestamp> {
    let experiment = &answer["experiment"];
    let is_deleted = experiment["lifecycle_stage"].as_str() == Some("deleted");
    let millisecond = experiment["creation_time"].as_i64().unwrap_or_default();
    Timestamp::from_millisecond(millisecond).ok().filter(|_| !is_deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_experiment_is_missing_and_one_without_a_time_is_old() {
        let of = |stage: &str, time: Value| {
            made(
                &json!({"experiment": {"experiment_id": "1", "lifecycle_stage": stage, "creation_time": time}}),
            )
        };
        let at = Timestamp::from_millisecond(1_795_888_902_927).unwrap();
        assert_eq!(of("active", json!(1_795_888_902_927_i64)), Some(at));
        assert_eq!(of("active", Value::Null), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(of("deleted", json!(1_795_888_902_927_i64)), None);
    }
}
