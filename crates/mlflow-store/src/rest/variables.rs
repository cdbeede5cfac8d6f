//! Values of the variables that MLflow's client reads.

use super::client::RequestPolicy;
use crate::exporter::ExportError;
use common::variables::Variables;
use reqwest::header::HeaderValue;
use std::time::Duration;

/// The longest time that a variable may set: the sum with a time of the clock must not overflow.
const LONGEST_SECONDS: f64 = 24.0 * 3600.0;

/// Timeout and retries, for every target over a network.
pub fn request_policy(variables: &Variables) -> Result<RequestPolicy, ExportError> {
    let seconds = |name: &str, default: Duration| match variables.text(name) {
        None => Ok(default),
        Some(text) => match text.trim().parse::<f64>() {
            Ok(seconds) if (0.0..=LONGEST_SECONDS).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Err(ExportError::Target(format!(
                "{name} is no number of seconds (set it to one, or unset it)"
            ))),
        },
    };
    let usual = RequestPolicy::default();
    let retries = match variables.text("MLFLOW_HTTP_REQUEST_MAX_RETRIES") {
        None => usual.retries,
        Some(text) => text.trim().parse().map_err(|_| {
            ExportError::Target(
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES is no number (set it to one, or unset it)".to_owned(),
            )
        })?,
    };
    Ok(RequestPolicy {
        timeout: seconds("MLFLOW_HTTP_REQUEST_TIMEOUT", usual.timeout)?,
        retries,
        backoff: seconds("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", usual.backoff)?,
        jitter: seconds("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", usual.jitter)?,
    })
}

/// Whether a variable is on, as MLflow reads it.
pub fn is_on(name: &str, variables: &Variables) -> Result<bool, ExportError> {
    match variables.text(name).map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => {
            Err(ExportError::Target(format!("{name} is neither true nor false (set it to one of them)")))
        }
    }
}

/// The value of a header. It may be a secret, so a bad one is not shown.
pub fn header(name: &str, value: &str) -> Result<HeaderValue, ExportError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        ExportError::Target(format!("{name} holds characters that cannot be sent (set it anew)"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_policy_is_as_the_variables_set_it() {
        let variables = [
            ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0.5"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0"),
        ];
        let expected = RequestPolicy {
            timeout: Duration::from_secs(30),
            retries: 0,
            backoff: Duration::from_millis(500),
            jitter: Duration::ZERO,
        };
        assert_eq!(request_policy(&Variables::from(variables)), Ok(expected));
        assert_eq!(request_policy(&Variables::default()), Ok(RequestPolicy::default()));
    }
}
