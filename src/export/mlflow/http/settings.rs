//! How a server is reached: MLflow's client variables as a connection.

use super::client::{Client, Tries};
use crate::config::access::Access;
use crate::config::target::Target;
use crate::export::{ExportError, Patience};
use reqwest::Url;

/// A client for the target, and the address to start from.
pub(super) fn connect<'a>(
    target: &Target,
    url: &str,
    _access: &Access,
    patience: Patience<'a>,
) -> Result<(Client<'a>, Url), ExportError> {
    let bad = || ExportError::Target(format!("{target} is no address of a server"));
    let url = Url::parse(url).ok().filter(|url| !url.cannot_be_a_base()).ok_or_else(bad)?;
    let http = reqwest::Client::builder().tls_certs_only([]);
    Ok((Client::new(http, Tries::default(), patience)?, url))
}
