//! The access to targets, from the environment and the configuration file.

use super::file::ConfigFile;
use crate::base::codex_home::CodexHome;
use crate::base::world::World;
use mlflow_store::target::access::Access;
use std::path::Path;

/// Reads the configuration file too; none counts as empty.
pub fn read(world: &World) -> Access {
    let file = CodexHome::from_world(world).map(|home| ConfigFile::read(&home.config()).0);
    with_file(world, &file.unwrap_or_default())
}

pub fn with_file(world: &World, file: &ConfigFile) -> Access {
    let base = world.cwd.as_deref().unwrap_or(Path::new("/"));
    Access::new(&world.variables, &file.variables(), world.home.clone(), base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlflow_store::target::Target;
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
}
