//! Checks that a server answers and has the experiment; changes nothing. Only a trace shows whether the user
//! may write there.

use super::server::ServerApi;
use super::settings;
use crate::config::access::Access;
use crate::config::target::{Experiment, Target};
use crate::export::mlflow::rest::experiments;
use crate::export::{Checked, ExportError, Patience};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap};

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
    Ok(Checked { version, experiment_id, clock: clock(&answer.headers) })
}

/// The server's clock, from a header in the date format of mail.
fn clock(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    rfc2822::parse(text).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn a_servers_clock_is_read_as_servers_write_it() {
        let at = |text: &'static str| clock(&HeaderMap::from_iter([(DATE, HeaderValue::from_static(text))]));
        assert_eq!(at("Sun, 22 Nov 2026 09:54:45 GMT"), Some("2026-11-22T09:54:45Z".parse().unwrap()));
        assert_eq!((at("yesterday"), clock(&HeaderMap::new())), (None, None));
    }
}
