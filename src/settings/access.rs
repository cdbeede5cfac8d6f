//! The access to targets, from the environment and the configuration file: MLflow's client variables, and the workspace.

use super::file::ConfigFile;
use crate::base::paths::CodexHome;
use crate::base::world::World;
use common::variables::Variables;
use mlflow_store::target::access::Access;
use mlflow_store::target::{TRACKING_URI, Target, WORKSPACE};
use std::path::Path;

/// Reads the configuration file too; none counts as empty.
pub fn read(world: &World) -> Access {
    let file = CodexHome::from_world(world).map(|home| ConfigFile::read(&home.config()).0);
    with_file(world, &file.unwrap_or_default())
}

pub fn with_file(world: &World, file: &ConfigFile) -> Access {
    let base = world.cwd.as_deref().unwrap_or(Path::new("/"));
    Access::new(&world.variables, &file.variables(), &file.targets(), world.home.clone(), base)
}

/// The workspace that the settings name for a server. The environment and the file each name one for their own
/// server. An environment without a server names one for every server.
pub fn workspace_for(
    target: &Target,
    variables: &Variables,
    file: &ConfigFile,
    base: &Path,
) -> Option<String> {
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
    use crate::settings::Settings;
    use mlflow_store::target::credentials::Credential;

    #[test]
    fn a_relative_path_starts_at_the_launchs_working_folder() {
        let mut world = World::read();
        world.cwd = Some("/started/here".into());
        world.variables =
            [("CODEX_HOME", "/none"), ("SSL_CERT_FILE", "./ca.pem"), ("CURL_CA_BUNDLE", "/abs")].into();
        let variables = read(&world).variables;
        assert_eq!(variables.text("SSL_CERT_FILE"), Some("/started/here/./ca.pem"));
        assert_eq!(variables.text("CURL_CA_BUNDLE"), Some("/abs"));
    }

    #[test]
    fn the_file_is_read_with_the_target_that_it_names() {
        let home = tempfile::tempdir().unwrap();
        let text = r#"{"environment": {"MLFLOW_TRACKING_URI": "https://ann:pw@file/", "MLFLOW_TRACKING_INSECURE_TLS": true}}"#;
        std::fs::write(home.path().join("mlflow_config.json"), text).unwrap();
        let mut world = World::read();
        world.variables = [("CODEX_HOME", home.path().to_str().unwrap())].into();
        let access = read(&world);
        let variables = access.variables_for(&Target::Http("https://file".into()));
        assert_eq!(variables.text("MLFLOW_TRACKING_INSECURE_TLS"), Some("true"));
        let found = access.credentials_in_address(&Target::Http("https://file".into()));
        assert_eq!(found, Some(("ann".to_owned(), Credential::new("pw"))));
        assert_eq!(
            access.variables_for(&Target::Http("https://x".into())).text("MLFLOW_TRACKING_INSECURE_TLS"),
            None
        );
    }

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
