//! Where MLflow's own pages show what was sent.

use crate::config::access::Access;
use crate::config::target::Target;
use crate::trace::ids::TraceId;
use std::fs;

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
        Target::Databricks { profile } => {
            let host = workspace(profile.as_deref(), access)?;
            let host = host.trim_end_matches('/');
            Some(without_user(&if host.contains("://") {
                host.to_owned()
            } else {
                format!("https://{host}")
            }))
        }
        Target::Sqlite(_) | Target::FileStore(_) => None,
    }
}

fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

/// As the environment has it for a target without a profile, else as the profile does.
fn workspace(profile: Option<&str>, access: &Access) -> Option<String> {
    let of_environment = || access.variables.text("DATABRICKS_HOST").map(str::to_owned);
    let told = access.variables.text("DATABRICKS_CONFIG_PROFILE");
    let of_file = |profile| {
        let file = access.variables.os("DATABRICKS_CONFIG_FILE").map(Into::into);
        let file = file.or_else(|| Some(access.home.as_ref()?.join(".databrickscfg")))?;
        host_in(&fs::read_to_string(file).ok()?, profile)
    };
    match profile {
        Some(profile) => of_file(profile),
        None => of_environment().or_else(|| of_file(told.unwrap_or("DEFAULT"))),
    }
}

fn host_in(text: &str, profile: &str) -> Option<String> {
    let mut section = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = Some(name.trim());
        } else if section == Some(profile)
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "host"
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    #[test]
    fn a_page_is_where_the_trace_is_and_shows_no_password() {
        let trace = TraceId([7; 16]);
        let access =
            |host: &str| Access { variables: Variables::from([("DATABRICKS_HOST", host)]), home: None };
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

    #[test]
    fn a_profile_names_its_workspace() {
        let text = "[DEFAULT]\nhost = https://a\n\n[ work ]\ntoken = x\nhost=https://b\n";
        let of = |profile| host_in(text, profile);
        assert_eq!(
            (of("DEFAULT"), of("work"), of("x")),
            (Some("https://a".into()), Some("https://b".into()), None)
        );
    }
}
