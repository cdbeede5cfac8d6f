//! The addresses of MLflow's own pages.

use crate::databricks;
use crate::ids::TraceId;
use crate::target::Target;
use crate::target::access::Access;
use crate::target::credentials::without_credentials;
use crate::target::uri::escaped;
use std::path::Path;

/// The address of a trace's page; None if no known server shows it.
pub fn trace_page(target: &Target, experiment_id: &str, trace: TraceId, access: &Access) -> Option<String> {
    let base = base(target, access)?;
    // Databricks has its pages of experiments below `ml`.
    let way = if matches!(target, Target::Databricks { .. }) { "ml" } else { "#" };
    let workspace = workspace_parameter(target, "&");
    Some(format!("{base}/{way}/experiments/{experiment_id}/traces?selectedEvaluationId={trace}{workspace}"))
}

/// The address of a server's first page.
pub fn server_page(target: &Target, access: &Access) -> Option<String> {
    Some(base(target, access)? + &workspace_parameter(target, "/#/?"))
}

/// The parameter that selects a workspace, as MLflow's client writes it, with the text before it; without it, a page
/// shows the last one used.
fn workspace_parameter(target: &Target, before: &str) -> String {
    let parameter = |workspace| format!("{before}workspace={}", escaped(Path::new(workspace)));
    target.workspace().map(parameter).unwrap_or_default()
}

/// The root of the server's pages, without the user and password that its address may hold: a browser asks
/// for them, and commands print this address.
fn base(target: &Target, access: &Access) -> Option<String> {
    match target {
        Target::Http(http) => Some(without_credentials(&http.url)),
        Target::Databricks { profile } => databricks::host(profile.as_deref(), access),
        Target::Sqlite(_) | Target::FileStore(_) | Target::Otlp(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::variables::Variables;

    #[test]
    fn a_page_is_where_the_trace_is_and_shows_no_password() {
        let trace = TraceId([7; 16]);
        let access = |host: &str| Access {
            variables: Variables::from([("DATABRICKS_HOST", host), ("DATABRICKS_TOKEN", "x")]),
            ..Access::default()
        };
        let page = |target: Target, host: &str| trace_page(&target, "3", trace, &access(host));
        let shown = "experiments/3/traces?selectedEvaluationId=tr-07070707070707070707070707070707";
        let databricks = || Target::Databricks { profile: None };
        let table = [
            (Target::Http("http://host:5000".into()), "", Some(format!("http://host:5000/#/{shown}"))),
            (
                Target::Http("https://ada:p@ss@host/base".into()),
                "",
                Some(format!("https://host/base/#/{shown}")),
            ),
            (
                Target::Http("http://host".into()).with_workspace(Some("team-a".to_owned())),
                "",
                Some(format!("http://host/#/{shown}&workspace=team-a")),
            ),
            (databricks(), "https://w.example/", Some(format!("https://w.example/ml/{shown}"))),
            (databricks(), "w.example", Some(format!("https://w.example/ml/{shown}"))),
            (databricks(), "", None),
            (Target::Sqlite("/x.db".into()), "", None),
        ];
        for (target, host, expected) in table {
            assert_eq!(page(target, host), expected);
        }
        let team = |name: &str| Target::Http("http://host".into()).with_workspace(Some(name.to_owned()));
        let server = |target: Target| server_page(&target, &access(""));
        assert_eq!(server(Target::Http("http://host".into())), Some("http://host".to_owned()));
        assert_eq!(server(team("a&b c")), Some("http://host/#/?workspace=a%26b%20c".to_owned()));
    }
}
