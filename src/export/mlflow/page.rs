//! Where MLflow's own pages show what was sent.

use super::databricks;
use crate::config::access::Access;
use crate::config::target::Target;
use crate::trace::ids::TraceId;

/// The address of a trace's page; None where no server is known that shows it.
pub fn of_trace(target: &Target, experiment_id: &str, trace: TraceId, access: &Access) -> Option<String> {
    let experiment = of_experiment(target, experiment_id, access)?;
    Some(format!("{experiment}?selectedEvaluationId={trace}"))
}

/// The address of an experiment's list of traces.
pub fn of_experiment(target: &Target, experiment_id: &str, access: &Access) -> Option<String> {
    let base = base_of(target, access)?;
    // A workspace keeps its experiments below a name of its own.
    let way = if matches!(target, Target::Databricks { .. }) { "ml" } else { "#" };
    Some(format!("{base}/{way}/experiments/{experiment_id}/traces"))
}

/// Where the server's pages begin, without the user and password that its address may hold: a browser asks for
/// them, and this is shown.
pub fn base_of(target: &Target, access: &Access) -> Option<String> {
    match target {
        Target::Http(url) => Some(without_user(url)),
        Target::Databricks { profile } => databricks::host(profile.as_deref(), access),
        Target::Sqlite(_) | Target::FileStore(_) => None,
    }
}

fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    #[test]
    fn a_page_is_where_the_trace_is_and_shows_no_password() {
        let trace = TraceId([7; 16]);
        let access = |host: &str| Access {
            variables: Variables::from([("DATABRICKS_HOST", host), ("DATABRICKS_TOKEN", "x")]),
            ..Access::default()
        };
        let page = |target: Target, host: &str| of_trace(&target, "3", trace, &access(host));
        let shown = "experiments/3/traces?selectedEvaluationId=tr-07070707070707070707070707070707";
        let databricks = || Target::Databricks { profile: None };
        let table = [
            (Target::Http("http://host:5000".into()), "", Some(format!("http://host:5000/#/{shown}"))),
            (
                Target::Http("https://ada:p@ss@host/base".into()),
                "",
                Some(format!("https://host/base/#/{shown}")),
            ),
            (databricks(), "https://w.example/", Some(format!("https://w.example/ml/{shown}"))),
            (databricks(), "w.example", Some(format!("https://w.example/ml/{shown}"))),
            (databricks(), "", None),
            (Target::Sqlite("/x.db".into()), "", None),
        ];
        for (target, host, expected) in table {
            assert_eq!(page(target, host), expected);
        }
    }
}
