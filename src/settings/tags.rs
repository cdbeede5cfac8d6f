//! The user's tags of traces: `team=payments,pr=123`.

use super::file::ConfigFile;
use common::variables::Variables;
use std::collections::BTreeMap;

const TAGS: &str = "CODEX_TRACED_TAGS";

/// MLflow keeps such tags for itself.
const RESERVED: &str = "mlflow.";

/// Of keys and values, in characters: the width of MLflow's columns.
const LONGEST_KEY: usize = 250;
const LONGEST_VALUE: usize = 4096;

/// Those of the configuration file, replaced by those of the environment; and a sentence for each that is left out.
pub(super) fn tags(variables: &Variables, file: &ConfigFile) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut tags, mut problems) = (BTreeMap::new(), Vec::new());
    let of_environment = variables.text(TAGS).unwrap_or_default().split(',').map(str::trim);
    let of_environment =
        of_environment.filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(value.trim().to_owned())),
            None => (pair.to_owned(), None),
        });
    for (key, value) in file.tags().into_iter().chain(of_environment) {
        match value.filter(|value| is_tag(&key, value)) {
            Some(value) => _ = tags.insert(key, value),
            None => problems.push(format!(
                "the tag \"{key}\" is left out\n  hint: write tags as \"key=value,key=value\" in {TAGS}, or as texts of \"tags\" in the \
                 configuration file; a key does not begin with \"{RESERVED}\""
            )),
        }
    }
    (tags, problems)
}

fn is_tag(key: &str, value: &str) -> bool {
    let is_line = |text: &str| !text.chars().any(char::is_control);
    !key.is_empty()
        && !key.starts_with(RESERVED)
        && is_line(key)
        && is_line(value)
        && key.chars().count() <= LONGEST_KEY
        && value.chars().count() <= LONGEST_VALUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_the_environment_come_before_those_of_the_file() {
        let file = r#"{"tags": {"team": "of-file", "floor": 3, "bad": [1], "mlflow.user": "x"}}"#;
        let file = ConfigFile::parse(file.as_bytes()).unwrap();
        let variables = [(TAGS, " team = payments ,pr=12=3,,nothing, =x")].into();
        let (tags, problems) = tags(&variables, &file);
        let expected = [("floor", "3"), ("pr", "12=3"), ("team", "payments")];
        assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let named: Vec<&str> = problems.iter().filter_map(|problem| problem.split('"').nth(1)).collect();
        assert_eq!(named, ["bad", "mlflow.user", "nothing", ""]);
    }
}
