//! The access to a target: variables of MLflow's client and of OpenTelemetry's exporters, credentials among them. Read
//! when a delivery begins; never written to disk, never printed.

use super::credentials::Credential;
use super::credentials::credentials_in;
use super::{TRACKING_URI, Target, collector};
use crate::databricks;
use common::variables::Variables;
use std::fmt;
use std::path::{Path, PathBuf};

/// Variables with credentials or trust for one server. They must not reach another server.
const OF_ONE_SERVER: [&str; 17] = [
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_WORKSPACE",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];

/// Variables that name a file. They are relative to the launch's working folder, not to that of a later delivery.
const PATHS: [&str; 13] = [
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "DATABRICKS_CONFIG_FILE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];

#[derive(Clone, Default)]
pub struct Access {
    pub variables: Variables,
    /// The server and the collector that the environment names.
    pub named: Vec<Target>,
    /// The user's home, with `.mlflow/credentials` and `.databrickscfg`.
    pub home: Option<PathBuf>,
    /// The variables of the configuration file, and the targets that they apply to.
    pub file: Option<(Vec<Target>, Variables)>,
    /// Further targets, each with its own variables.
    pub further: Vec<(Target, Variables)>,
}

impl Access {
    /// `base` is the folder of relative paths. `file` holds the variables of the configuration file, `further` those of
    /// each further target.
    pub fn new(
        environment: &Variables,
        file: &Variables,
        further: &[Variables],
        home: Option<PathBuf>,
        base: &Path,
    ) -> Access {
        let absolute = |variables: &Variables| variables.with_paths_from(base, &PATHS);
        let of_file = targets_in(file, base);
        let file = (!of_file.is_empty()).then(|| (of_file, absolute(file)));
        let further = further.iter().filter_map(|own| {
            let target = Target::parse(own.text(TRACKING_URI)?, base).ok()?;
            Some((target, absolute(own)))
        });
        let named = targets_in(environment, base);
        Access { variables: absolute(environment), named, home, file, further: further.collect() }
    }

    /// Variables of the environment, then those of the configuration file for its own targets. The spool may hold
    /// traces for several servers, so credentials of the environment apply only to the targets that it names, else to
    /// the file's, and never to a further one that the environment does not name.
    pub fn variables_for(&self, target: &Target) -> Variables {
        if let Some(of_further) = self.of_further(target) {
            let others = self.variables.without(&OF_ONE_SERVER);
            // A variable wins over a profile.
            let has_own_workspace = matches!(target, Target::Databricks { profile: Some(_) })
                || of_further.text("DATABRICKS_HOST").is_some();
            let others =
                if has_own_workspace { others.without(&databricks::login_variables()) } else { others };
            return of_further.clone().or(&others);
        }
        let of_file = self.file.as_ref().map_or(&[][..], |(of, _)| of);
        // A collector's variables say nothing of a server, and the other way round.
        let is_alike = |one: &&Target| one.is_append_only() == target.is_append_only();
        let meant = if self.named.iter().any(|one| is_alike(&one)) { &self.named[..] } else { of_file };
        let own = match !meant.iter().any(|one| is_alike(&one)) || has(meant, target) {
            true => self.variables.clone(),
            false => self.variables.without(&OF_ONE_SERVER),
        };
        match &self.file {
            Some((of, variables)) if has(of, target) => own.or(variables),
            _ => own,
        }
    }

    /// Whether the target is only a further one: then what is meant for the first target is not for it.
    pub fn is_further(&self, target: &Target) -> bool {
        self.of_further(target).is_some()
    }

    /// The variables of a target that is only a further one.
    fn of_further(&self, target: &Target) -> Option<&Variables> {
        let is_named =
            has(&self.named, target) || self.file.as_ref().is_some_and(|(of_file, _)| has(of_file, target));
        let further = self.further.iter().find(|(of, _)| of.has_address_of(target));
        further.filter(|_| !is_named).map(|(_, variables)| variables)
    }

    /// User and password from an address in the environment or the file, if it is the target's.
    pub fn credentials_in_address(&self, target: &Target) -> Option<(String, Credential)> {
        let of_file = self.file.as_ref().map(|(_, variables)| variables);
        let addresses = |variables: &Variables| {
            let uri = variables.text(TRACKING_URI).map(str::to_owned);
            let endpoint = collector::endpoint_in(variables).map(|(_, address)| format!("otlp+{address}"));
            [uri, endpoint]
        };
        let of_further = self.further.iter().map(|(_, variables)| variables);
        let all = std::iter::once(&self.variables).chain(of_file).chain(of_further);
        let all: Vec<String> = all.flat_map(addresses).flatten().collect();
        all.into_iter().find_map(|uri| {
            // A server's address does not depend on the base folder.
            let is_meant =
                Target::parse(&uri, Path::new("/")).is_ok_and(|named| named.has_address_of(target));
            credentials_in(&uri).filter(|_| is_meant)
        })
    }
}

fn has(all: &[Target], target: &Target) -> bool {
    all.iter().any(|named| named.has_address_of(target))
}

/// The server and the collector that the variables name.
fn targets_in(variables: &Variables, base: &Path) -> Vec<Target> {
    let server = variables.text(TRACKING_URI).and_then(|uri| Target::parse(uri, base).ok());
    let collector = collector::named_in(variables).and_then(Result::ok).map(|named| named.target);
    server.into_iter().chain(collector).collect()
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
            file: Some((
                vec![http("https://file")],
                [("MLFLOW_TRACKING_USERNAME", "of-file"), ("MLFLOW_TRACKING_TOKEN", "secret")].into(),
            )),
            further: vec![(http("https://further"), [("MLFLOW_TRACKING_TOKEN", "its own")].into())],
            ..Access::default()
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
        assert_eq!(login(&http("https://further")), (None, Some("its own".to_owned())));
        let elsewhere = Access { named: vec![http("https://named")], ..access.clone() };
        let username = |target: &str| {
            let variables = elsewhere.variables_for(&http(target));
            variables.text("MLFLOW_TRACKING_USERNAME").map(str::to_owned)
        };
        assert_eq!(username("https://named"), of_environment);
        assert_eq!(username("https://file"), Some("of-file".to_owned()));
        assert_eq!(username("https://other"), None);
        let unnamed = Access { file: None, ..access };
        let is_sent = |to: &str| unnamed.variables_for(&http(to)).text("MLFLOW_TRACKING_USERNAME").is_some();
        assert!(is_sent("https://any") && !is_sent("https://further"));
    }

    #[test]
    fn a_collectors_variables_and_a_servers_do_not_depend_on_each_other() {
        let collector = |host: &str| Target::parse(&format!("otlp+http://{host}"), Path::new("/")).unwrap();
        let access = Access {
            variables: [("MLFLOW_TRACKING_TOKEN", "m"), ("OTEL_EXPORTER_OTLP_HEADERS", "k=v")].into(),
            named: vec![collector("named")],
            file: Some((vec![http("https://file")], Variables::default())),
            further: vec![(collector("further"), Variables::default())],
            ..Access::default()
        };
        let has = |target: &Target, name: &str| access.variables_for(target).text(name).is_some();
        assert!(has(&http("https://file"), "MLFLOW_TRACKING_TOKEN"));
        assert!(!has(&http("https://other"), "MLFLOW_TRACKING_TOKEN"));
        assert!(has(&collector("named"), "OTEL_EXPORTER_OTLP_HEADERS"));
        assert!(!has(&collector("further"), "OTEL_EXPORTER_OTLP_HEADERS"));
        let is_further = |target: &Target| access.is_further(target);
        assert!(is_further(&collector("further")) && !is_further(&collector("named")));
    }

    #[test]
    fn a_further_workspace_is_not_that_of_the_environment() {
        let of = |profile: Option<&str>| Target::Databricks { profile: profile.map(str::to_owned) };
        let access = Access {
            variables: [("DATABRICKS_HOST", "https://first"), ("DATABRICKS_CONFIG_FILE", "/c")].into(),
            named: vec![of(None)],
            further: vec![(of(Some("team")), Variables::default())],
            ..Access::default()
        };
        let text = |target: &Target, name: &str| access.variables_for(target).text(name).map(str::to_owned);
        assert_eq!(text(&of(None), "DATABRICKS_HOST").as_deref(), Some("https://first"));
        assert_eq!(text(&of(Some("team")), "DATABRICKS_HOST"), None);
        assert_eq!(text(&of(Some("team")), "DATABRICKS_CONFIG_FILE").as_deref(), Some("/c"));
    }

    #[test]
    fn credentials_in_an_address_apply_to_that_address_only() {
        let access = Access {
            variables: [(TRACKING_URI, "https://ann:p%40ss@host:5000/")].into(),
            file: Some((vec![http("http://other")], [(TRACKING_URI, "http://bob@other")].into())),
            ..Access::default()
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
