//! Where traces go: MLflow's variable names a server or a store, OpenTelemetry's name a collector.

use super::file::ConfigFile;
use super::modes::{ENABLED, parse_switch};
use super::{Setting, Source, access};
use crate::base::paths::CodexHome;
use common::variables::Variables;
use mlflow_store::target::collector::{self, BadCollector, NamedCollector};
use mlflow_store::target::{BadTarget, TRACKING_URI, Target, WORKSPACE};
use std::path::Path;

/// What the choice is made from. `has_consent`: the user switched tracing on. Users export the address of a server or a
/// collector for other programs too, so a session goes there only with consent.
#[derive(Clone, Copy)]
pub(super) struct TargetSources<'a> {
    pub(super) variables: &'a Variables,
    pub(super) file: &'a ConfigFile,
    pub(super) base: &'a Path,
    pub(super) home: &'a CodexHome,
    pub(super) has_consent: bool,
}

/// MLflow's switch: a collector gets traces in addition to the server, instead of replacing it.
const DUAL: &str = "MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT";

/// Where traces go.
pub(super) struct Chosen {
    pub(super) target: Setting<Target>,
    /// A collector that gets them too.
    pub(super) collector: Option<Target>,
    /// Sentences about what cannot be followed.
    pub(super) problems: Vec<String>,
}

impl TargetSources<'_> {
    /// As in MLflow 3.17 and 3.18, a collector replaces the server, or gets traces too. One of the environment does not
    /// replace a server that only the file names: most programs on a machine share the variables of collectors.
    pub(super) fn choose(self) -> Chosen {
        let mut problems = Vec::new();
        let is_dual = self.is_dual();
        let collector = self.collector(is_dual, &mut problems);
        if let Some(target) = collector.clone().filter(|_| !is_dual) {
            return Chosen { target, collector: None, problems };
        }
        let target = self.server(&mut problems).unwrap_or_else(|| self.local());
        let target = self.with_workspace(target, &mut problems);
        Chosen { target, collector: collector.map(|collector| collector.value), problems }
    }

    fn is_dual(self) -> bool {
        let text = self.variables.text(DUAL).map(str::to_owned).or_else(|| self.file.text(DUAL));
        text.and_then(|word| parse_switch(&word)) == Some(true)
    }

    fn local(self) -> Setting<Target> {
        Setting { value: Target::Sqlite(self.home.state().join("mlflow.db")), source: Source::Default }
    }

    fn collector(self, is_dual: bool, problems: &mut Vec<String>) -> Option<Setting<Target>> {
        let has_server = |variables: &Variables| variables.text(TRACKING_URI).is_some();
        let of_file = self.file.variables();
        let in_environment = collector::named_in(self.variables)
            .filter(|_| self.has_consent && (is_dual || has_server(self.variables) || !has_server(&of_file)));
        let in_file = || collector::named_in(&of_file).filter(|_| is_dual || !has_server(self.variables));
        let source = |named: NamedCollector| Setting {
            value: named.target,
            source: Source::Environment(named.variable),
        };
        let of_file = |named: NamedCollector| Setting { value: named.target, source: Source::File };
        let found =
            in_environment.map(|named| named.map(source)).or_else(|| Some(in_file()?.map(of_file)))?;
        found.map_err(|bad: BadCollector| problems.push(bad.to_string())).ok()
    }

    fn server(self, problems: &mut Vec<String>) -> Option<Setting<Target>> {
        let in_environment = self.variables.text(TRACKING_URI);
        let in_environment = in_environment.map(|uri| (uri.to_owned(), Source::Environment(TRACKING_URI)));
        let (uri, source) = in_environment.or_else(|| Some((self.file.text(TRACKING_URI)?, Source::File)))?;
        match Target::parse(&uri, self.base) {
            Ok(target) if target.is_remote() && source != Source::File && !self.has_consent => {
                problems.push(format!(
                    "{TRACKING_URI} names {target}, but tracing to it is not switched on: the trace stays on this machine\n  \
                     hint: set {ENABLED}=true to send it there"
                ));
                None
            }
            Ok(value) => Some(Setting { value, source }),
            Err(BadTarget(uri)) => {
                problems.push(format!("{}, so the trace stays local", BadTarget(uri)));
                None
            }
        }
    }

    fn with_workspace(self, target: Setting<Target>, problems: &mut Vec<String>) -> Setting<Target> {
        match access::workspace_for(&target.value, self.variables, self.file, self.base) {
            Some(name) if name.chars().any(char::is_control) => {
                problems.push(format!(
                    "{WORKSPACE} holds characters that no workspace has, so the trace stays local\n  \
                     hint: set it to the workspace's name"
                ));
                self.local()
            }
            workspace => Setting { value: target.value.with_workspace(workspace), ..target },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;
    use crate::settings::Settings;

    fn settings(variables: &[(&str, &str)], file: &[(&str, &str)]) -> Settings {
        let world = World { variables: Variables::from([("CODEX_HOME", "/home")]), ..World::default() };
        let home = CodexHome::from_world(&world).unwrap();
        let mut configured = ConfigFile::default();
        file.iter().for_each(|(name, value)| configured.set(name, Some(value)));
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Settings::decide(&variables, &configured, Path::new("/here"), &home)
    }

    fn decided(variables: &[(&str, &str)], file: &[(&str, &str)]) -> (String, Source, usize) {
        let settings = settings(variables, file);
        (settings.target.value.to_string(), settings.target.source, settings.problems.len())
    }

    #[test]
    fn with_mlflows_dual_export_a_collector_gets_traces_too() {
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let further = |variables: &[(&str, &str)], file: &[(&str, &str)]| {
            let further = settings(variables, file).further.into_iter();
            further.map(|one| one.target.to_string()).collect::<Vec<_>>()
        };
        let there = ["otlp+http://collector:4318/v1/traces"];
        let (on, server) = ((ENABLED, "true"), (TRACKING_URI, "http://mlflow:5000"));
        assert_eq!(further(&[collector, (DUAL, "true"), on], &[]), there);
        assert_eq!(further(&[collector, (DUAL, "true")], &[on, server]), there);
        assert_eq!(further(&[], &[on, server, collector, (DUAL, "true")]), there);
        assert_eq!(further(&[collector, (DUAL, "true")], &[]), [""; 0], "without consent");
        assert_eq!(further(&[collector, on], &[]), [""; 0]);
    }

    #[test]
    fn a_collector_replaces_the_server_where_the_user_switched_tracing_on() {
        const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let (on, server) = ((ENABLED, "true"), (TRACKING_URI, "http://mlflow:5000"));
        let collector = (COLLECTOR, "http://collector:4318");
        let local = "sqlite:////home/mlflow/mlflow.db";
        let (there, at) = ("otlp+http://collector:4318/v1/traces", "http://mlflow:5000");
        let environment = Source::Environment;
        type Variables<'a> = &'a [(&'a str, &'a str)];
        let table: &[(Variables, Variables, &str, Source, usize)] = &[
            // Other programs' collector.
            (&[collector], &[], local, Source::Default, 0),
            (&[collector, on], &[], there, environment(COLLECTOR), 0),
            (&[collector], &[on], there, environment(COLLECTOR), 0),
            // MLflow's meaning: the collector, instead of the server.
            (&[collector, server, on], &[], there, environment(COLLECTOR), 0),
            (&[collector], &[on, server], at, Source::File, 0),
            (&[], &[on, server, collector], there, Source::File, 0),
            (&[server], &[on, collector], at, environment(TRACKING_URI), 0),
            (&[(COLLECTOR, "http://collector:4317"), on], &[], local, Source::Default, 1),
            (&[(TRACKING_URI, "otlp+http://collector:4318"), on], &[], there, environment(TRACKING_URI), 0),
            (&[(TRACKING_URI, "otlp+http://collector:4318")], &[], local, Source::Default, 1),
            (&[collector, server, on, (DUAL, "true")], &[], at, environment(TRACKING_URI), 0),
        ];
        for (variables, file, target, source, problems) in table {
            let expected = ((*target).to_owned(), *source, *problems);
            assert_eq!(decided(variables, file), expected, "{variables:?} {file:?}");
        }
    }
}
