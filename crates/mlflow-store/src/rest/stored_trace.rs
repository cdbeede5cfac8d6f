//! What a target already has of a trace, and the requests that change it.

use super::answer::Answer;
use super::api::{ApiRequest, Rest, Subject};
use crate::exporter::Result;
use crate::ids::TraceId;
use crate::tags::{self, Record, TagUpdate};
use crate::trace::Trace;
use crate::{mlflow_keys, trace_info};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A trace's information in an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredTrace {
    pub experiment_id: String,
    tags: BTreeMap<String, String>,
    /// The record of the tags that the last update wrote.
    written: Record,
    metadata: BTreeMap<String, String>,
    assessments: Vec<Value>,
}

impl StoredTrace {
    /// None if there is no such trace.
    pub(crate) fn look(rest: &impl Rest, trace: TraceId) -> Result<Option<StoredTrace>> {
        let path = ["api", "3.0", "mlflow", "traces", &trace.to_string()];
        let answer = rest.call(&ApiRequest::get(&path, &[]))?;
        match rest.is_missing(Subject::StoredTrace, &answer) {
            true => Ok(None),
            false => StoredTrace::read(rest, &answer).map(Some),
        }
    }

    /// From the answer to a look, or to the information that was sent.
    pub(crate) fn read<R: Rest>(rest: &R, answer: &Answer) -> Result<StoredTrace> {
        let stored = StoredTrace::from_json(&answer.json());
        match answer.status.is_success() && !(R::CHECKS_BODIES && stored.experiment_id.is_empty()) {
            true => Ok(stored),
            false => Err(rest.refused(Subject::StoredTrace, answer)),
        }
    }

    /// Empty where the body has no such field.
    pub(crate) fn from_json(body: &Value) -> StoredTrace {
        let info = &body["trace"]["trace_info"];
        let metadata = texts(&info["trace_metadata"]);
        let experiment_id = info["trace_location"]["mlflow_experiment"]["experiment_id"].as_str();
        StoredTrace {
            experiment_id: experiment_id.unwrap_or_default().to_owned(),
            tags: texts(&info["tags"]),
            written: tags::record(|key| metadata.get(key).map(String::as_str)),
            metadata,
            assessments: info["assessments"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// The update that gives the stored trace the tags of this one.
    pub(crate) fn update(&self, trace: &Trace) -> TagUpdate {
        TagUpdate::plan(&self.tags, &self.written, &trace_info::tags(trace))
    }

    /// The tags that `now` lacks though the update does not remove them.
    pub(crate) fn tags_lost<'s>(
        &'s self,
        now: &'s StoredTrace,
        update: &'s TagUpdate,
    ) -> impl Iterator<Item = (&'s String, &'s String)> {
        let is_lost = |key: &String| !now.tags.contains_key(key) && !update.remove.contains(key);
        self.tags.iter().filter(move |(key, _)| is_lost(key))
    }

    /// Where the target keeps the trace's artifacts; empty if unknown.
    pub(crate) fn artifact_location(&self) -> &str {
        self.tags.get(mlflow_keys::ARTIFACT_LOCATION).map_or("", String::as_str)
    }

    /// Adds to the information what the trace has there and the update leaves alone. MLflow before 3.14
    /// replaces all with the update, and fails if the update omits something.
    pub(crate) fn complete(&self, body: &mut Value, removed: &[String]) {
        let info = &mut body["trace"]["trace_info"];
        let kept = |key: &&String| !removed.contains(key) && *key != mlflow_keys::ARTIFACT_LOCATION;
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

    /// Whether codex-traced sent the trace's information. If not, the target made the trace from spans alone.
    pub(crate) fn has_our_info(&self) -> bool {
        self.has_metadata(tags::RECORD) || self.has_metadata(tags::FORMER_RECORD)
    }

    /// Whether the trace has this metadata there.
    pub(crate) fn has_metadata(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    /// Whether the server has archived the spans: it takes no more of them (MLflow 3.18 and later).
    pub(crate) fn is_archived(&self) -> bool {
        self.has_spans_in(mlflow_keys::IN_ARCHIVE)
    }

    /// Whether the server keeps the spans itself; if not, it wants them as an artifact.
    pub(crate) fn is_in_tracking_store(&self) -> bool {
        self.has_spans_in(mlflow_keys::IN_TRACKING_STORE)
    }

    fn has_spans_in(&self, place: &str) -> bool {
        self.tags.get(mlflow_keys::SPANS_LOCATION).is_some_and(|location| location == place)
    }
}

/// Sends the information about a trace, as `trace_info::body` makes it.
pub(crate) fn send_info(rest: &impl Rest, body: &Value) -> Result<Answer> {
    rest.call(&ApiRequest::with_body(Method::POST, &["api", "3.0", "mlflow", "traces"], body))
}

/// Ends the trace at this time, in milliseconds since 1970, by the older call (API 2.0) that still changes
/// everything but the previews. The target computes the duration as the difference from the start.
pub(crate) fn end(rest: &impl Rest, trace: &Trace, at: i64, update: &TagUpdate) -> Result<Answer> {
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| json!({"key": key, "value": value})).collect::<Vec<_>>()
    };
    let id = trace.id.to_string();
    let body = json!({
        "request_id": id,
        "timestamp_ms": at,
        "status": trace.state.as_str(),
        "request_metadata": pairs(&trace_info::metadata(trace, &update.record)),
        "tags": pairs(&update.write),
    });
    rest.call(&ApiRequest::with_body(Method::PATCH, &["api", "2.0", "mlflow", "traces", &id], &body))
}

pub(crate) fn set_tag(rest: &impl Rest, trace: TraceId, key: &str, value: &str) -> Result<()> {
    let answer = change_tag(rest, Method::PATCH, trace, &json!({"key": key, "value": value}))?;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(rest.refused(Subject::Tag, &answer)),
    }
}

pub(crate) fn remove_tags(rest: &impl Rest, trace: TraceId, keys: &[String]) -> Result<()> {
    for key in keys {
        let answer = change_tag(rest, Method::DELETE, trace, &json!({"key": key}))?;
        // Another client may have removed the tag already.
        if !answer.status.is_success() && !rest.is_missing(Subject::Tag, &answer) {
            return Err(rest.refused(Subject::Tag, &answer));
        }
    }
    Ok(())
}

fn change_tag(rest: &impl Rest, method: Method, trace: TraceId, body: &Value) -> Result<Answer> {
    let path = ["api", "2.0", "mlflow", "traces", &trace.to_string(), "tags"];
    rest.call(&ApiRequest::with_body(method, &path, body))
}

fn texts(object: &Value) -> BTreeMap<String, String> {
    let pairs = object.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_trace_has_its_experiment_its_tags_and_the_record() {
        let location = json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "3"}});
        let body = |metadata: Value, tags: Value| json!({"trace": {"trace_info": {"trace_location": location, "trace_metadata": metadata, "tags": tags}}});
        for key in [tags::RECORD, tags::FORMER_RECORD] {
            let stored = StoredTrace::from_json(&body(
                json!({key: "{\"a\": \"1\"}"}),
                json!({"a": "x", "mlflow.trace.spansLocation": "TRACKING_STORE"}),
            ));
            assert_eq!((stored.experiment_id.as_str(), stored.written["a"].as_str()), ("3", "1"));
            assert!(stored.is_in_tracking_store());
        }
        // A trace of another program, or an older server's shorter answer.
        let bare = StoredTrace::from_json(&body(Value::Null, Value::Null));
        assert!(bare.tags.is_empty() && bare.written.is_empty() && !bare.is_in_tracking_store());
        assert_eq!(StoredTrace::from_json(&json!({"trace": {}})), StoredTrace::default());
        assert_eq!(StoredTrace::from_json(&json!([1])), StoredTrace::default());
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
        StoredTrace::from_json(&there).complete(&mut body, &["old".to_owned()]);
        let whole = json!({"trace": {"trace_info": {
            "tags": {"codex.cli_version": "2", "team": "red"},
            "trace_metadata": {"session": "c", "theirs": "b"},
            "assessments": [{"assessment_id": "a-1"}],
        }}});
        assert_eq!(body, whole);
    }
}
