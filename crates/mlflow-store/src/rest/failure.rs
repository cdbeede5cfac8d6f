//! Why a request got no answer, and what the user can do about a failed TLS handshake.

use super::answer::plain;
use crate::exporter::ExportError;
use std::error::Error;

/// The longest part of an error that is shown, in characters.
const LONGEST_TEXT: usize = 200;

/// Why there was no answer. The outer error is for causes that no further try removes.
pub(super) fn no_answer(url: &str, error: &reqwest::Error) -> Result<String, ExportError> {
    let reason = format!("no answer from {}: {}", plain(url, LONGEST_TEXT), causes(error));
    match tls_error(error) {
        None => Ok(reason),
        Some(tls) => match tls_advice(tls) {
            None => Ok(reason),
            Some(advice) => Err(ExportError::Target(format!("{reason} ({advice})"))),
        },
    }
}

/// Why no connection can be tried.
pub(super) fn cannot_connect(error: &reqwest::Error) -> ExportError {
    match tls_error(error) {
        // rustls-platform-verifier's only complaint about a system without certificates.
        Some(rustls::Error::General(_)) => ExportError::Target(
            "no server can be trusted: this system has no certificate authorities (install ca-certificates, or name a \
             file of them in SSL_CERT_FILE)"
                .to_owned(),
        ),
        _ => ExportError::Target(format!("cannot deliver: {}", causes(error))),
    }
}

/// Advice for a failed handshake; None if another try may succeed.
fn tls_advice(error: &rustls::Error) -> Option<&'static str> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};
    const TRUST: &str =
        "name the certificate authority's file in MLFLOW_TRACKING_SERVER_CERT_PATH if it is your own";
    match error {
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            Some("use the name that the certificate is for")
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            Some("the server needs a new certificate")
        }
        Tls::InvalidCertificate(_) => Some(TRUST),
        Tls::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::AccessDenied,
        ) => Some("name a client certificate that the server knows in MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        Tls::InvalidMessage(_) => Some("the server does not speak TLS there: use http:// if that is meant"),
        Tls::PeerIncompatible(_) => Some("the server speaks no TLS of this century: 1.2 or 1.3 is needed"),
        _ => None,
    }
}

/// The TLS library's error, if TLS failed.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut at: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = at {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // The source of an I/O error skips the error that it holds.
        let held = cause.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        at = match held {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    None
}

/// The error's causes, without the address that reqwest puts into its own text.
fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut at = error.source();
    while let Some(cause) = at {
        let text = plain(&cause.to_string(), LONGEST_TEXT);
        // Some layers repeat their cause.
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
        at = cause.source();
    }
    if texts.is_empty() { plain(&error.to_string(), LONGEST_TEXT) } else { texts.join(": ") }
}
