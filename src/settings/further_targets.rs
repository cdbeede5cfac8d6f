//! Targets that get traces in addition to the first one: `targets` in the configuration file.

use super::file::ConfigFile;
use super::modes::{CONTENT, Content, LIVE, Live};
use common::variables::Variables;
use mlflow_store::target::{
    DEFAULT_EXPERIMENT, EXPERIMENT_ID, EXPERIMENT_NAME, Experiment, TRACKING_URI, Target, WORKSPACE,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A further target, and how much of a session it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FurtherTarget {
    pub target: Target,
    pub experiment: Experiment,
    #[serde(default)]
    pub content: Content,
    /// None where it depends on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// What the targets of a launch or of the settings are: the first one, and those that get traces too.
#[derive(Clone, Copy, Debug)]
pub struct TargetRoles<'a> {
    pub first: &'a Target,
    pub further: &'a [FurtherTarget],
}

impl TargetRoles<'_> {
    /// Whether the target is only a further one. Its receipts do not say where a thread was first sent.
    pub fn is_further(&self, target: &Target) -> bool {
        target != self.first && self.further.iter().any(|one| one.target == *target)
    }

    /// The restriction that an entry of `targets` names for this target, also where it is the first one.
    pub fn content_for(&self, target: &Target) -> Content {
        let named = self.further.iter().filter(|one| one.target == *target).map(|one| one.content);
        named.max().unwrap_or_default()
    }
}

/// Keys of an entry beside its `environment`, each with the variable that has the same meaning.
pub(crate) const KEYS: [(&str, &str); 6] = [
    ("tracking_uri", TRACKING_URI),
    ("experiment_name", EXPERIMENT_NAME),
    ("experiment_id", EXPERIMENT_ID),
    ("workspace", WORKSPACE),
    ("content", CONTENT),
    ("live", LIVE),
];

/// Those of the file, each once; and sentences about what cannot be followed. The first target may be among them: then
/// the entry restricts its content.
pub(super) fn further_targets(file: &ConfigFile, base: &Path) -> (Vec<FurtherTarget>, Vec<String>) {
    let (mut further, mut problems) = (Vec::<FurtherTarget>::new(), Vec::new());
    for variables in file.targets() {
        match further_target(&variables, base, &mut problems) {
            Ok(one) if further.iter().any(|known| known.target == one.target) => {}
            Ok(one) => further.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    (further, problems)
}

fn further_target(
    variables: &Variables,
    base: &Path,
    problems: &mut Vec<String>,
) -> Result<FurtherTarget, String> {
    let text = |name: &str| variables.text(name).map(str::trim);
    let bad =
        |what: String| format!("one of the \"targets\" in the configuration file gets no traces: {what}");
    let uri = text(TRACKING_URI).ok_or_else(|| bad("it has no \"tracking_uri\"".to_owned()))?;
    let target = Target::parse(uri, base).map_err(|error| bad(error.to_string()))?;
    let workspace = text(WORKSPACE).filter(|_| matches!(target, Target::Http(_))).map(str::to_owned);
    let name = text(EXPERIMENT_NAME).map(|name| Experiment::Name(name.to_owned()));
    let id = || text(EXPERIMENT_ID).map(|id| Experiment::Id(id.to_owned()));
    let experiment = name.or_else(id).unwrap_or_else(|| Experiment::Name(DEFAULT_EXPERIMENT.to_owned()));
    let mut unknown = |key: &str, word: &str, so: &str| {
        problems.push(format!("the \"{key}\" of a target in the configuration file is \"{word}\": {so}"));
    };
    // The author of an unknown word wanted a restriction.
    let content = text(CONTENT).map_or(Content::Full, |word| {
        Content::parse(word).unwrap_or_else(|| {
            unknown("content", word, "full and metadata are known, so it counts as metadata");
            Content::Metadata
        })
    });
    let live = text(LIVE).and_then(|word| {
        let live = Live::parse(word);
        if live.is_none() {
            unknown("live", word, "on, turn and off are known, so it does not count");
        }
        live
    });
    Ok(FurtherTarget { target: target.with_workspace(workspace), experiment, content, live })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_target_has_its_own_experiment_content_and_liveness() {
        let file = r#"{"targets": [
            {"tracking_uri": "otlp+http://c:4318", "content": "metadata", "live": "off"},
            {"tracking_uri": "http://m:5000", "experiment_name": "team", "workspace": "w"},
            {"tracking_uri": "http://n:5000", "content": ["metadata"], "live": "soon"},
            {"tracking_uri": "otlp+http://c:4318/v1/traces"},
            {"tracking_uri": "ftp://x"},
            {"content": "full"},
            7
        ]}"#;
        let file = ConfigFile::parse(file.as_bytes()).unwrap();
        let (further, problems) = further_targets(&file, Path::new("/here"));
        let shown: Vec<String> = further
            .iter()
            .map(|one| format!("{} {:?} {} {:?}", one.target, one.experiment, one.content.as_str(), one.live))
            .collect();
        assert_eq!(
            shown,
            [
                "otlp+http://c:4318/v1/traces Name(\"codex-sessions\") metadata Some(Off)",
                "http://m:5000 (workspace w) Name(\"team\") full None",
                "http://n:5000 Name(\"codex-sessions\") metadata None",
            ]
        );
        assert_eq!(problems.len(), 5, "{problems:?}");
        let first = &further[1].target;
        let roles = TargetRoles { first, further: &further };
        let is_further: Vec<bool> = further.iter().map(|one| roles.is_further(&one.target)).collect();
        assert_eq!(is_further, [true, false, true]);
        assert_eq!(
            (roles.content_for(first), roles.content_for(&further[0].target)),
            (Content::Full, Content::Metadata)
        );
    }
}
