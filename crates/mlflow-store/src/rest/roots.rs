//! The trusted certificate authorities: those that MLflow's client, curl and OpenSSL would use, else the
//! system's.

use crate::exporter::ExportError;
use common::variables::Variables;
use reqwest::{Certificate, ClientBuilder};
use std::fs;
use std::path::Path;

/// Only the first that is set counts; each names a file or a folder of files.
const BUNDLES: [&str; 3] = ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
/// OpenSSL's; both count.
const OPENSSL: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Trusts the authorities that the variables name, or the system's if they name none.
pub fn set(http: ClientBuilder, variables: &Variables) -> Result<ClientBuilder, ExportError> {
    let named = |name: &&&'static str| variables.text(name).is_some();
    let first: Vec<&str> = BUNDLES.iter().find(named).copied().into_iter().collect();
    let names = if first.is_empty() { OPENSSL.iter().filter(named).copied().collect() } else { first };
    let mut all = Vec::new();
    for name in &names {
        let value = variables.text(name).unwrap_or_default();
        let paths: Vec<&str> = if *name == OPENSSL[1] { value.split(':').collect() } else { vec![value] };
        for path in paths {
            all.extend(certificates(name, path)?);
        }
    }
    match &names[..] {
        [] => Ok(http),
        _ if all.is_empty() => Err(ExportError::Target(format!(
            "there is no certificate where {} says (name a file in PEM form)",
            names.join(" and ")
        ))),
        _ => Ok(http.tls_certs_only(all)),
    }
}

fn certificates(name: &str, path: &str) -> Result<Vec<Certificate>, ExportError> {
    if !Path::new(path).is_dir() {
        return Ok(Certificate::from_pem_bundle(&read(name, path)?).unwrap_or_default());
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(name, path, &error))?;
    // A folder holds other things, too: hashed links, revocation lists.
    let bundles = entries
        .flatten()
        .filter_map(|entry| Certificate::from_pem_bundle(&fs::read(entry.path()).ok()?).ok());
    Ok(bundles.flatten().collect())
}

/// The content of the file that a variable names.
pub fn read(name: &str, path: &str) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|error| unreadable(name, path, &error))
}

fn unreadable(name: &str, path: &str, error: &std::io::Error) -> ExportError {
    ExportError::Target(format!("cannot read {path}: {error} ({name} names it)"))
}
