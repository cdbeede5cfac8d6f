//! The access to a target: MLflow's client variables, credentials among them. Read when a delivery begins; never
//! written to disk, never printed.

use super::credentials::Credential;
use super::credentials::credentials_in;
use super::{TRACKING_URI, Target};
use common::variables::Variables;
use std::fmt;
use std::path::{Path, PathBuf};

/// Variables with credentials or trust for one server. They must not reach another server.
const OF_ONE_SERVER: [&str; 9] = [
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_WORKSPACE",
];

/// Variables that name a file. They are relative to the launch's working folder, not to that of a later delivery.
const PATHS: [&str; 7] = [
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "DATABRICKS_CONFIG_FILE",
];

#[derive(Clone, Default)]
pub struct Access {
    pub variables: Variables,
    /// The target that the environment names.
    pub named: Option<Target>,
    /// The user's home, with `.mlflow/credentials` and `.databrickscfg`.
    pub home: Option<PathBuf>,
    /// The variables of the configuration file, and the target that they apply to.
    pub file: Option<(Target, Variables)>,
}

impl Access {
    /// `base` is the folder of relative paths. `file` holds the variables of the configuration file.
    pub fn new(environment: &Variables, file: &Variables, home: Option<PathBuf>, base: &Path) -> Access {
        let target_of = |variables: &Variables| {
            variables.text(TRACKING_URI).and_then(|uri| Target::parse(uri, base).ok())
        };
        let absolute = |variables: &Variables| variables.with_paths_from(base, &PATHS);
        let named = target_of(environment);
        let file = target_of(file).map(|target| (target, absolute(file)));
        Access { variables: absolute(environment), named, home, file }
    }

    /// Variables of the environment, then those of the configuration file for its own target. The spool may hold
    /// traces for several servers, so credentials of the environment apply only to the target that it names, else to
    /// the file's.
    pub fn variables_for(&self, target: &Target) -> Variables {
        let meant = self.named.as_ref().or(self.file.as_ref().map(|(of, _)| of));
        let own = match meant {
            Some(meant) if !meant.has_address_of(target) => self.variables.without(&OF_ONE_SERVER),
            _ => self.variables.clone(),
        };
        match &self.file {
            Some((of, variables)) if of.has_address_of(target) => own.or(variables),
            _ => own,
        }
    }

    /// User and password from the tracking URI in the environment or the file, if it has the target's address.
    pub fn credentials_in_address(&self, target: &Target) -> Option<(String, Credential)> {
        let of_file = self.file.as_ref().map(|(_, variables)| variables);
        [Some(&self.variables), of_file].into_iter().flatten().find_map(|variables| {
            let uri = variables.text(TRACKING_URI)?;
            // A server's address does not depend on the base folder.
            let is_meant = Target::parse(uri, Path::new("/")).is_ok_and(|named| named.has_address_of(target));
            credentials_in(uri).filter(|_| is_meant)
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(address: &str) -> Target {
        Target::Http(address.into())
    }

    #[test]
    fn variables_of_the_file_apply_to_its_target_only() {
        let access = Access {
            variables: [("MLFLOW_TRACKING_USERNAME", "of-environment")].into(),
            named: None,
            home: None,
            file: Some((
                http("https://file"),
                [("MLFLOW_TRACKING_USERNAME", "of-file"), ("MLFLOW_TRACKING_TOKEN", "secret")].into(),
            )),
        };
        let login = |target: &Target| {
            let variables = access.variables_for(target);
            let text = |name| variables.text(name).map(str::to_owned);
            (text("MLFLOW_TRACKING_USERNAME"), text("MLFLOW_TRACKING_TOKEN"))
        };
        let of_environment = Some("of-environment".to_owned());
        assert_eq!(login(&http("https://file")), (of_environment.clone(), Some("secret".to_owned())));
        let team = http("https://file").with_workspace(Some("team".to_owned()));
        assert_eq!(login(&team), login(&http("https://file")));
        assert_eq!(login(&http("https://other")), (None, None));
        let elsewhere = Access { named: Some(http("https://named")), ..access.clone() };
        let username = |target: &str| {
            let variables = elsewhere.variables_for(&http(target));
            variables.text("MLFLOW_TRACKING_USERNAME").map(str::to_owned)
        };
        assert_eq!(username("https://named"), of_environment);
        assert_eq!(username("https://file"), Some("of-file".to_owned()));
        assert_eq!(username("https://other"), None);
        let unnamed = Access { file: None, ..access };
        assert!(unnamed.variables_for(&http("https://any")).text("MLFLOW_TRACKING_USERNAME").is_some());
    }

    #[test]
    fn credentials_in_an_address_apply_to_that_address_only() {
        let access = Access {
            variables: [(TRACKING_URI, "https://ann:p%40ss@host:5000/")].into(),
            named: None,
            home: None,
            file: Some((http("http://other"), [(TRACKING_URI, "http://bob@other")].into())),
        };
        let of = |target: &str| access.credentials_in_address(&http(target));
        assert_eq!(of("https://host:5000"), Some(("ann".to_owned(), Credential::new("p@ss"))));
        assert_eq!(of("http://other"), Some(("bob".to_owned(), Credential::new(""))));
        assert_eq!(of("https://elsewhere"), None);
    }

    #[test]
    fn access_and_secrets_print_no_content() {
        let access = Access { variables: [("MLFLOW_TRACKING_TOKEN", "hush")].into(), ..Access::default() };
        assert_eq!(format!("{access:?} {:?}", Credential::new("hush")), "Access(…) Credential(…)");
    }
}
