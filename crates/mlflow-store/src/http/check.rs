//! Checks that a server answers and has the experiment; changes nothing. Only a trace shows whether the user
//! may write there.

use super::settings::connect;
use crate::exporter::{Checked, ExportError, Remote};
use crate::rest::answer::date;
use crate::rest::experiments;
use crate::target::Experiment;
use reqwest::header::DATE;

pub fn check(remote: Remote, url: &str, wanted: &Experiment) -> Result<Checked, ExportError> {
    let server = connect(remote, url)?;
    let answer = server.ask_version()?;
    let version = server.version_in(&answer)?.map(|version| format!("MLflow {version}"));
    let experiment_id = experiments::find(&server, wanted)?;
    Ok(Checked { version, experiment_id, clock: date(&answer.headers, DATE) })
}
