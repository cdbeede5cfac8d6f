//! The workspace of a server that traces go to.

use super::file::ConfigFile;
use common::variables::Variables;
use mlflow_store::target::{TRACKING_URI, Target, WORKSPACE};
use std::path::Path;

/// The workspace that the settings name for a server. The environment and the file each name one for their own
/// server. An environment without a server names one for every server.
pub fn named_for(target: &Target, variables: &Variables, file: &ConfigFile, base: &Path) -> Option<String> {
    let Target::Http(_) = target else { return None };
    let is_meant = |uri: &str| Target::parse(uri, base).is_ok_and(|named| named.has_address_of(target));
    let name = |text: &str| Some(text.trim().to_owned()).filter(|name| !name.is_empty());
    let of_environment = || {
        let is_for_it = variables.text(TRACKING_URI).is_none_or(is_meant);
        variables.text(WORKSPACE).filter(|_| is_for_it).and_then(name)
    };
    let of_file =
        || name(&file.text(WORKSPACE).filter(|_| file.text(TRACKING_URI).is_some_and(|uri| is_meant(&uri)))?);
    of_environment().or_else(of_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::codex_home::CodexHome;
    use crate::base::world::World;
    use crate::settings::Settings;

    fn decide(variables: &[(&str, &str)], file: &str) -> Settings {
        let world = World { variables: Variables::from([("CODEX_HOME", "/home")]), ..World::default() };
        let home = CodexHome::from_world(&world).unwrap();
        let file = ConfigFile::parse(file.as_bytes()).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Settings::decide(&variables, &file, Path::new("/here"), &home)
    }

    fn local() -> Target {
        Target::Sqlite("/home/mlflow/mlflow.db".into())
    }

    #[test]
    fn a_server_gets_the_workspace_that_is_named_for_it() {
        let server = "http://host:5000";
        let file = |workspace: &str| {
            format!(
                r#"{{"environment": {{"MLFLOW_CODEX_TRACING_ENABLED": true, "MLFLOW_TRACKING_URI": "{server}/",
                "MLFLOW_WORKSPACE": {workspace}}}}}"#
            )
        };
        let (uri, named) = ("MLFLOW_TRACKING_URI", "MLFLOW_WORKSPACE");
        let of = |url: &str, workspace: Option<&str>| {
            Target::Http(url.into()).with_workspace(workspace.map(str::to_owned))
        };
        let table = [
            ([("", ""), ("", "")], file("null"), of(server, None)),
            ([("", ""), ("", "")], file(r#""team-f""#), of(server, Some("team-f"))),
            ([(named, " team-e "), ("", "")], file(r#""team-f""#), of(server, Some("team-e"))),
            ([(named, " "), ("", "")], file(r#""team-f""#), of(server, Some("team-f"))),
            ([(uri, server), ("", "")], file(r#""team-f""#), of(server, Some("team-f"))),
            ([(uri, "http://other"), ("", "")], file(r#""team-f""#), of("http://other", None)),
            (
                [(uri, "http://other"), (named, "team-e")],
                file(r#""team-f""#),
                of("http://other", Some("team-e")),
            ),
            ([(uri, "databricks"), (named, "team-e")], file("null"), Target::Databricks { profile: None }),
            ([(named, "team-e"), ("", "")], "{}".to_owned(), local()),
        ];
        for (variables, file, target) in table {
            let settings = decide(&variables, &file);
            assert_eq!((settings.target.value, settings.problems.len()), (target, 0), "{variables:?} {file}");
        }
        let settings = decide(&[(named, "a\nb")], &file("null"));
        assert_eq!((settings.target.value, settings.problems.len()), (local(), 1));
    }
}
