//! What a launch takes over from the program that started it, as it was at the launch's start.

use super::caller::caller;
use super::ci_job;
use super::file::ConfigFile;
use super::sampling::{RATIO, Sampling};
use super::tags::tags;
use common::variables::Variables;
use mlflow_store::trace::SpanContext;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaunchContext {
    /// The span that started Codex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<SpanContext>,
    /// The user's tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Facts of the CI job: addresses and names, which a trace of metadata only leaves out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub job: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Sampling::is_all")]
    pub sampling: Sampling,
}

impl LaunchContext {
    /// With sentences about what cannot be followed.
    pub(super) fn read(variables: &Variables, file: &ConfigFile) -> (LaunchContext, Vec<String>) {
        let (tags, mut problems) = tags(variables, file);
        let ratio = variables.text(RATIO).map(str::to_owned).or_else(|| file.text(RATIO));
        let sampling = ratio.map_or_else(Sampling::default, |text| {
            Sampling::parse(&text).unwrap_or_else(|| {
                problems.push(format!(
                    "{RATIO} is \"{text}\", so every session is traced\n  hint: set it to a number from 0 to 1"
                ));
                Sampling::default()
            })
        });
        (LaunchContext { caller: caller(variables), tags, job: ci_job::facts(variables), sampling }, problems)
    }

    pub fn is_empty(&self) -> bool {
        *self == LaunchContext::default()
    }
}
