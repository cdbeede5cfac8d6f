//! What a server already has of a trace.

use super::answer::Purpose;
use super::client::Answer;
use super::server::ServerApi;
use crate::export::ExportError;
use crate::export::mlflow::keys;
use crate::export::mlflow::tags::{self, Record};
use crate::trace::ids::TraceId;
use serde_json::Value;
use std::collections::BTreeMap;

/// A trace's information in a server's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredTrace {
    pub(super) experiment_id: String,
    pub(super) tags: BTreeMap<String, String>,
    /// The record of the tags that the last update wrote.
    pub(super) written: Record,
    metadata: BTreeMap<String, String>,
    assessments: Vec<Value>,
}

impl StoredTrace {
    /// None if there is no such trace.
    pub(super) fn look(server: &ServerApi, trace: TraceId) -> Result<Option<StoredTrace>, ExportError> {
        let answer = server.get(&["api", "3.0", "mlflow", "traces", &trace.to_string()], &[])?;
        match answer.status.as_u16() {
            // A server with users answers 403 for a missing trace, except to its administrators.
            403 | 404 => Ok(None),
            200 => StoredTrace::read(server, &answer).map(Some),
            _ => Err(server.refused(Purpose::Find, &answer)),
        }
    }

    /// As `look`, with one try. None also without a successful answer.
    pub(super) fn glance(server: &ServerApi, trace: TraceId) -> Option<StoredTrace> {
        let answer = server.get_once(&["api", "3.0", "mlflow", "traces", &trace.to_string()], &[]).ok()??;
        StoredTrace::read(server, &answer).ok()
    }

    /// From the answer to a look, or to the information that was sent.
    pub(super) fn read(server: &ServerApi, answer: &Answer) -> Result<StoredTrace, ExportError> {
        let body = serde_json::from_slice(&answer.body).ok();
        body.and_then(|body| StoredTrace::from_json(&body))
            .ok_or_else(|| server.refused(Purpose::Find, answer))
    }

    fn from_json(body: &Value) -> Option<StoredTrace> {
        let info = &body["trace"]["trace_info"];
        let metadata = texts(&info["trace_metadata"]);
        Some(StoredTrace {
            experiment_id: info["trace_location"]["mlflow_experiment"]["experiment_id"].as_str()?.to_owned(),
            tags: texts(&info["tags"]),
            written: tags::record(|key| metadata.get(key).map(String::as_str)),
            metadata,
            assessments: info["assessments"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// Adds to the information what the trace has there and the update leaves alone. MLflow before 3.14
    /// replaces all with the update, and fails if the update omits something.
    pub(super) fn complete(&self, body: &mut Value, removed: &[String]) {
        let info = &mut body["trace"]["trace_info"];
        let kept = |key: &&String| !removed.contains(key) && *key != keys::ARTIFACT_LOCATION;
        for (of, there) in [("tags", &self.tags), ("trace_metadata", &self.metadata)] {
            let Some(ours) = info[of].as_object_mut() else { continue };
            for (key, value) in there.iter().filter(|(key, _)| kept(key)) {
                ours.entry(key).or_insert_with(|| Value::from(value.as_str()));
            }
        }
        if !self.assessments.is_empty() {
            info["assessments"] = self.assessments.clone().into();
        }
    }

    /// Whether the trace has this metadata there.
    pub(super) fn has_metadata(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    /// Whether the trace has a cost there, sent by codex-traced or computed by the server.
    pub(super) fn has_cost(&self) -> bool {
        self.metadata.contains_key(keys::COST)
    }

    /// Whether the server has archived the spans: it takes no more of them (MLflow 3.18 and later).
    pub(super) fn is_archived(&self) -> bool {
        self.tags.get(keys::SPANS_LOCATION).is_some_and(|location| location == keys::IN_ARCHIVE)
    }

    /// Whether the server keeps the spans itself; if not, it wants them as an artifact.
    pub(super) fn is_in_tracking_store(&self) -> bool {
        self.tags.get(keys::SPANS_LOCATION).is_some_and(|location| location == keys::IN_TRACKING_STORE)
    }
}

fn texts(object: &Value) -> BTreeMap<String, String> {
    let pairs = object.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stored_trace_has_its_experiment_its_tags_and_the_record() {
        let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "3"}});
        let body = |metadata: Value, tags: Value| json!({"trace": {"trace_info": {"trace_location": location, "trace_metadata": metadata, "tags": tags}}});
        for key in [tags::RECORD, tags::FORMER_RECORD] {
            let stored = StoredTrace::from_json(&body(
                json!({key: "{\"a\": \"1\"}"}),
                json!({"a": "x", "mlflow.trace.spansLocation": "TRACKING_STORE"}),
            ))
            .unwrap();
            assert_eq!((stored.experiment_id.as_str(), stored.written["a"].as_str()), ("3", "1"));
            assert!(stored.is_in_tracking_store());
        }
        // A trace of another program, or an older server's shorter answer.
        let bare = StoredTrace::from_json(&body(Value::Null, Value::Null)).unwrap();
        assert!(bare.tags.is_empty() && bare.written.is_empty() && !bare.is_in_tracking_store());
        assert_eq!(StoredTrace::from_json(&json!({"trace": {}})), None);
        assert_eq!(StoredTrace::from_json(&json!([1])), None);
    }

    #[test]
    fn an_update_that_replaces_all_keeps_what_users_added() {
        let there = json!({"trace": {"trace_info": {
            "trace_location": {"mlflow_experiment": {"experiment_id": "3"}},
            "tags": {"team": "red", "old": "1", "codex.cli_version": "1", "mlflow.artifactLocation": "x"},
            "trace_metadata": {"session": "a", "theirs": "b"},
            "assessments": [{"assessment_id": "a-1"}],
        }}});
        let mut body = json!({"trace": {"trace_info": {
            "tags": {"codex.cli_version": "2"},
            "trace_metadata": {"session": "c"},
        }}});
        StoredTrace::from_json(&there).unwrap().complete(&mut body, &["old".to_owned()]);
        let whole = json!({"trace": {"trace_info": {
            "tags": {"codex.cli_version": "2", "team": "red"},
            "trace_metadata": {"session": "c", "theirs": "b"},
            "assessments": [{"assessment_id": "a-1"}],
        }}});
        assert_eq!(body, whole);
    }
}
