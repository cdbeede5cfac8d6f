//! Checks that a server answers and has the experiment; changes nothing. Only a trace shows whether the user
//! may write there.

use super::server::ServerApi;
use super::settings;
use crate::exporter::{Checked, ExportError, Patience};
use crate::rest::answer::date;
use crate::rest::experiments;
use crate::target::access::Access;
use crate::target::{Experiment, Target};
use reqwest::header::DATE;

pub fn check(
    target: &Target,
    url: &str,
    wanted: &Experiment,
    access: &Access,
    patience: Patience,
) -> Result<Checked, ExportError> {
    let (client, url) = settings::connect(target, url, access, patience)?;
    let server = ServerApi::new(client, target.to_string(), url);
    let answer = server.ask_version()?;
    let version = server.version_in(&answer)?.map(|version| format!("MLflow {version}"));
    let experiment_id = experiments::find(&server, wanted)?;
    Ok(Checked { version, experiment_id, clock: date(&answer.headers, DATE) })
}
