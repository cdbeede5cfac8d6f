//! The part of the workspace's REST API that MLflow's clients use for traces.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::cloud::Purpose;
use super::login::USER;
use super::{Answer, Exchange, Reposts, State};

#[derive(Debug)]
pub(super) struct Experiment {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) lifecycle_stage: &'static str,
    pub(super) tags: BTreeMap<String, String>,
}

impl Experiment {
    fn as_sent(&self) -> Value {
        let tags: Vec<Value> =
            self.tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        json!({"experiment": {
            "experiment_id": self.id, "name": self.path, "lifecycle_stage": self.lifecycle_stage, "tags": tags,
            "artifact_location": format!("dbfs:/databricks/mlflow-tracking/{}", self.id),
        }})
    }
}

fn missing(what: &str) -> Answer {
    Answer::refusal(404, "RESOURCE_DOES_NOT_EXIST", &format!("{what} does not exist."))
}

fn invalid(said: &str) -> Answer {
    Answer::refusal(400, "INVALID_PARAMETER_VALUE", said)
}

impl State {
    pub(super) fn api(&mut self, asked: &Exchange) -> Answer {
        let parts: Vec<&str> = asked.path.split('/').skip(1).collect();
        match (asked.method.as_str(), &parts[..]) {
            ("GET", ["api", "2.0", "preview", "scim", "v2", "Me"]) => {
                Answer::json(&json!({"userName": USER}))
            }
            ("GET", ["api", "2.0", "mlflow", "experiments", "get-by-name"]) => {
                let path = asked.parameter("experiment_name").unwrap_or_default();
                self.tell_experiment(|known| known.path == path)
            }
            ("GET", ["api", "2.0", "mlflow", "experiments", "get"]) => {
                let id = asked.parameter("experiment_id").unwrap_or_default();
                self.tell_experiment(|known| known.id == id)
            }
            ("POST", ["api", "2.0", "mlflow", "experiments", "create"]) => self.create_experiment(asked),
            ("POST", ["api", "3.0", "mlflow", "traces"]) => self.take_trace(asked),
            ("GET", ["api", "3.0", "mlflow", "traces", id]) => match self.traces.get(*id) {
                Some(info) => Answer::json(&json!({"trace": {"trace_info": info}})),
                None => missing("Trace"),
            },
            ("PATCH", ["api", "2.0", "mlflow", "traces", id]) if self.rules.reposts == Reposts::Refused => {
                self.end_trace(id, asked)
            }
            ("PATCH" | "DELETE", ["api", "2.0", "mlflow", "traces", id, "tags"]) => {
                self.change_tag(id, asked)
            }
            ("POST", ["api", "3.0", "mlflow", "traces", id, "assessments"]) => self.assess(id, asked),
            ("GET", ["api", "2.0", "mlflow", "traces", id, "credentials-for-data-upload"]) => {
                self.sign(id, Purpose::Upload)
            }
            ("GET", ["api", "2.0", "mlflow", "traces", id, "credentials-for-data-download"]) => {
                self.sign(id, Purpose::Download)
            }
            (method, _) => Answer::refusal(
                404,
                "ENDPOINT_NOT_FOUND",
                &format!("No API found for '{method} {}'", asked.path),
            ),
        }
    }

    fn tell_experiment(&self, is_meant: impl Fn(&Experiment) -> bool) -> Answer {
        self.experiments
            .iter()
            .find(|known| is_meant(known))
            .map_or_else(|| missing("Node"), |known| Answer::json(&known.as_sent()))
    }

    fn create_experiment(&mut self, asked: &Exchange) -> Answer {
        let body = asked.json();
        let path = body["name"].as_str().unwrap_or_default();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !path.starts_with('/') {
            return invalid(&format!(
                "Got an invalid experiment name '{path}'. An experiment name must be an absolute path within the \
                 Databricks workspace, e.g. '/Users/<some-username>/my-experiment'."
            ));
        }
        if parent != format!("/Users/{USER}") && parent != "/Shared" {
            return missing(&format!("Parent directory {parent}"));
        }
        if self.experiments.iter().any(|known| known.path == path) {
            return Answer::refusal(400, "RESOURCE_ALREADY_EXISTS", "Node already exists.");
        }
        Answer::json(&json!({"experiment_id": self.make_experiment(path)}))
    }

    pub(super) fn make_experiment(&mut self, path: &str) -> String {
        let id = (1000 + self.experiments.len()).to_string();
        self.experiments.push(Experiment {
            id: id.clone(),
            path: path.to_owned(),
            lifecycle_stage: "active",
            tags: BTreeMap::new(),
        });
        id
    }

    fn take_trace(&mut self, asked: &Exchange) -> Answer {
        if asked.header("content-type") != Some("application/json") {
            return Answer::refusal(400, "MALFORMED_REQUEST", "not JSON");
        }
        let body = asked.json();
        let mut info = body["trace"]["trace_info"].clone();
        if let Some(said) = fault_of(&info) {
            return Answer::refusal(400, "MALFORMED_REQUEST", said);
        }
        let location = &info["trace_location"]["mlflow_experiment"]["experiment_id"];
        let experiment = location.as_str().unwrap_or_default().to_owned();
        match self.experiments.iter().find(|known| known.id == experiment) {
            None => return missing(&format!("Experiment {experiment}")),
            Some(known) if known.lifecycle_stage != "active" => {
                return invalid(&format!("The experiment {experiment} must be in the 'active' state."));
            }
            Some(_) => {}
        }
        let id = info["trace_id"].as_str().unwrap_or_default().to_owned();
        let artifacts = format!("dbfs:/databricks/mlflow-tracking/{experiment}/{id}/artifacts");
        info["tags"]["mlflow.artifactLocation"] = json!(artifacts);
        if let Some(there) = self.traces.get(&id) {
            let keys: &[&str] = match self.rules.reposts {
                Reposts::Merged => &["tags", "trace_metadata"],
                Reposts::Replacing => &["trace_metadata"],
                Reposts::Refused | Reposts::Final => {
                    return Answer::refusal(400, "RESOURCE_ALREADY_EXISTS", &format!("Trace {id} exists."));
                }
            };
            for key in keys {
                let mut merged = object(&there[*key]);
                merged.extend(object(&info[*key]));
                info[*key] = Value::Object(merged);
            }
            info["assessments"] = there["assessments"].clone();
        }
        self.traces.insert(id, info.clone());
        Answer::json(&json!({"trace": {"trace_info": info}}))
    }

    /// As version 2 of the API ends a trace.
    fn end_trace(&mut self, id: &str, asked: &Exchange) -> Answer {
        let Some(info) = self.traces.get_mut(id) else { return missing("Trace") };
        let body = asked.json();
        for (from, to) in [("request_metadata", "trace_metadata"), ("tags", "tags")] {
            for pair in body[from].as_array().into_iter().flatten() {
                let (Some(key), Some(_)) = (pair["key"].as_str(), pair["value"].as_str()) else {
                    return invalid("a pair has a key and a value");
                };
                info[to][key] = pair["value"].clone();
            }
        }
        info["state"] = body["status"].clone();
        Answer::json(&json!({}))
    }

    fn change_tag(&mut self, id: &str, asked: &Exchange) -> Answer {
        let body = asked.json();
        let (Some(info), Some(key)) = (self.traces.get_mut(id), body["key"].as_str()) else {
            return missing("Trace");
        };
        let mut tags = object(&info["tags"]);
        if asked.method == "PATCH" {
            tags.insert(key.to_owned(), body["value"].clone());
        } else if tags.shift_remove(key).is_none() {
            return missing("Tag");
        }
        info["tags"] = Value::Object(tags);
        Answer::json(&json!({}))
    }

    fn assess(&mut self, id: &str, asked: &Exchange) -> Answer {
        let Some(info) = self.traces.get_mut(id) else { return missing("Trace") };
        let mut assessment = asked.json()["assessment"].clone();
        let mut all = info["assessments"].as_array().cloned().unwrap_or_default();
        assessment["assessment_id"] = json!(format!("a-{}", all.len() + 1));
        all.push(assessment.clone());
        info["assessments"] = json!(all);
        Answer::json(&json!({"assessment": assessment}))
    }

    fn sign(&mut self, id: &str, purpose: Purpose) -> Answer {
        if !self.traces.contains_key(id) {
            return missing("Trace");
        }
        let lasts = match self.rules.dead_addresses {
            0 => self.rules.address_lasts,
            dead => {
                self.rules.dead_addresses = dead - 1;
                0
            }
        };
        let signed = self.storage.sign(self.rules.cloud, &self.host, id, purpose, lasts);
        Answer::json(&json!({"credential_info": signed}))
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// What MLflow's protobuf message would not hold.
fn fault_of(info: &Value) -> Option<&'static str> {
    let text = |key: &str| info[key].as_str();
    let is_id = |id: &str| {
        id.strip_prefix("tr-")
            .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let are_texts = |key: &str| info[key].as_object().is_some_and(|map| map.values().all(Value::is_string));
    let is_time = |text: &str| text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z');
    let is_duration = |text: &str| {
        text.strip_suffix('s').is_some_and(|seconds| seconds.parse::<f64>().is_ok_and(|s| s >= 0.0))
    };
    if !text("trace_id").is_some_and(is_id) {
        Some("trace_id is no id")
    } else if info["trace_location"]["type"] != "MLFLOW_EXPERIMENT" {
        Some("trace_location is no experiment")
    } else if !are_texts("trace_metadata") || !are_texts("tags") {
        Some("trace_metadata and tags are maps of strings")
    } else if !text("request_time").is_some_and(is_time) {
        Some("request_time is no time")
    } else if !text("execution_duration").is_some_and(is_duration) {
        Some("execution_duration is no duration")
    } else if !["OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED"].map(Some).contains(&text("state")) {
        Some("state is none")
    } else {
        None
    }
}
