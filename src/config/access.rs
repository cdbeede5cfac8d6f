//! With what a target is reached: MLflow's client variables, credentials among them. Read when a delivery
//! begins; never kept, never printed.

use super::file::ConfigFile;
use super::target::{Target, credentials_in};
use crate::codex::home::CodexHome;
use crate::env::{Variables, World};
use std::fmt;
use std::path::{Path, PathBuf};

const TRACKING_URI: &str = "MLFLOW_TRACKING_URI";

#[derive(Clone, Default)]
pub struct Access {
    pub variables: Variables,
    /// Where `.mlflow/credentials` and `.databrickscfg` are.
    pub home: Option<PathBuf>,
    /// The variables of the configuration file, and the target that they belong to.
    pub file: Option<(Target, Variables)>,
}

impl Access {
    pub fn of(world: &World) -> Access {
        let file = CodexHome::of(world).and_then(|home| {
            let variables = ConfigFile::read(&home.config()).ok()?.variables();
            let base = world.cwd.as_deref().unwrap_or(home.path());
            let target = Target::parse(variables.text(TRACKING_URI)?, base).ok()?;
            Some((target, variables))
        });
        Access { variables: world.variables.clone(), home: world.home.clone(), file }
    }

    /// What the environment says, then what the configuration file says to its own target: credentials of one
    /// server are nothing for another.
    pub fn variables_for(&self, target: &Target) -> Variables {
        match &self.file {
            Some((of, variables)) if of == target => self.variables.or(variables),
            _ => self.variables.clone(),
        }
    }

    /// User and password that stand in the target's own address, where somebody wrote it so.
    pub fn credentials_in_address(&self, target: &Target) -> Option<(String, Secret)> {
        let of_file = self.file.as_ref().map(|(_, variables)| variables);
        [Some(&self.variables), of_file].into_iter().flatten().find_map(|variables| {
            let uri = variables.text(TRACKING_URI)?;
            // Addresses of servers do not depend on a folder.
            let is_meant = Target::parse(uri, Path::new("/")).is_ok_and(|named| named == *target);
            credentials_in(uri).filter(|_| is_meant)
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

/// Text that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// For the one place that needs it in clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(address: &str) -> Target {
        Target::Http(address.to_owned())
    }

    #[test]
    fn variables_of_the_file_are_for_the_files_target_only() {
        let access = Access {
            variables: [("MLFLOW_TRACKING_USERNAME", "of-environment")].into(),
            home: None,
            file: Some((
                http("https://file"),
                [("MLFLOW_TRACKING_USERNAME", "of-file"), ("MLFLOW_TRACKING_TOKEN", "secret")].into(),
            )),
        };
        let told = |target: &Target| {
            let variables = access.variables_for(target);
            let text = |name| variables.text(name).map(str::to_owned);
            (text("MLFLOW_TRACKING_USERNAME"), text("MLFLOW_TRACKING_TOKEN"))
        };
        let of_environment = Some("of-environment".to_owned());
        assert_eq!(told(&http("https://file")), (of_environment.clone(), Some("secret".to_owned())));
        assert_eq!(told(&http("https://other")), (of_environment, None));
    }

    #[test]
    fn the_file_is_read_with_the_target_that_it_names() {
        let home = tempfile::tempdir().unwrap();
        let text = r#"{"environment": {"MLFLOW_TRACKING_URI": "https://ann:pw@file/", "MLFLOW_TRACKING_INSECURE_TLS": true}}"#;
        std::fs::write(home.path().join("mlflow_config.json"), text).unwrap();
        let mut world = World::read();
        world.variables = [("CODEX_HOME", home.path().to_str().unwrap())].into();
        let access = Access::of(&world);
        let variables = access.variables_for(&http("https://file"));
        assert_eq!(variables.text("MLFLOW_TRACKING_INSECURE_TLS"), Some("true"));
        let found = access.credentials_in_address(&http("https://file"));
        assert_eq!(found, Some(("ann".to_owned(), Secret::new("pw"))));
        assert_eq!(access.variables_for(&http("https://x")).text("MLFLOW_TRACKING_INSECURE_TLS"), None);
    }

    #[test]
    fn credentials_in_an_address_are_found_again_for_that_address_only() {
        let access = Access {
            variables: [(TRACKING_URI, "https://ann:p%40ss@host:5000/")].into(),
            home: None,
            file: Some((http("http://other"), [(TRACKING_URI, "http://bob@other")].into())),
        };
        let of = |target: &str| access.credentials_in_address(&http(target));
        assert_eq!(of("https://host:5000"), Some(("ann".to_owned(), Secret::new("p@ss"))));
        assert_eq!(of("http://other"), Some(("bob".to_owned(), Secret::new(""))));
        assert_eq!(of("https://elsewhere"), None);
    }

    #[test]
    fn nothing_of_it_can_be_printed() {
        let access = Access { variables: [("MLFLOW_TRACKING_TOKEN", "hush")].into(), ..Access::default() };
        assert_eq!(format!("{access:?} {:?}", Secret::new("hush")), "Access(…) Secret(…)");
    }
}
