//! A certificate authority of a test's own: for servers on this machine, and for their clients.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// The clients that a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    Anybody,
    /// With a certificate of the same authority.
    Known,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new([]).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.self_signed(&key).expect("sign a certificate");
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// Writes what a client is to trust.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.certificate.pem()).expect("write a certificate");
    }

    /// Writes a client's certificate and key into one file.
    pub fn write_client(&self, path: &Path) {
        let (certificate, key) = self.signed(&[], ExtendedKeyUsagePurpose::ClientAuth);
        std::fs::write(path, format!("{}{}", certificate.pem(), key.serialize_pem()))
            .expect("write a client's certificate");
    }

    /// The TLS configuration of a server of this name.
    pub fn server(&self, name: &str, clients: Clients) -> Arc<ServerConfig> {
        let (certificate, key) = self.signed(&[name.to_owned()], ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("ring knows the usual versions");
        let builder = match clients {
            Clients::Anybody => builder.with_no_client_auth(),
            Clients::Known => {
                let mut roots = RootCertStore::empty();
                roots.add(self.certificate.der().clone()).expect("a certificate of our own");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("one root"))
            }
        };
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(builder.with_single_cert(chain, key).expect("a certificate with its own key"))
    }

    fn signed(&self, names: &[String], purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params =
            CertificateParams::new(names.to_vec()).expect("a name that a certificate can be for");
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("sign a certificate");
        (certificate, key)
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}
