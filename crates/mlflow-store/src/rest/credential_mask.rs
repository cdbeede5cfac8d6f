//! Masks the credentials that a server may send back in its refusals, before these are shortened or parsed.

use crate::target::credentials::credentials_in;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue};
use std::cell::RefCell;

/// In bytes. Shorter secrets would match parts of too many words.
const SHORTEST: usize = 4;

const SHOWN: &str = "…";

/// Longest first, so that no part of a secret shows because a shorter one is within it.
#[derive(Default)]
pub(crate) struct CredentialMask(RefCell<Vec<Vec<u8>>>);

impl CredentialMask {
    pub(crate) fn add(&self, secret: &[u8]) {
        let mut all = self.0.borrow_mut();
        if secret.len() >= SHORTEST && !all.iter().any(|known| known == secret) {
            all.push(secret.to_vec());
            all.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// Adds each header that is marked as sensitive, in every form in which a server can send it back.
    pub(crate) fn add_headers(&self, headers: &HeaderMap) {
        for value in headers.values().filter(|value| value.is_sensitive()).map(HeaderValue::as_bytes) {
            self.add(value);
            if let Some(token) = value.strip_prefix(b"Bearer ") {
                self.add(token);
            }
            let Some(encoded) = value.strip_prefix(b"Basic ") else { continue };
            self.add(encoded);
            let both = STANDARD.decode(encoded).unwrap_or_default();
            if let Some(colon) = both.iter().position(|byte| *byte == b':') {
                self.add(&both[colon + 1..]);
            }
            self.add(&both);
        }
    }

    /// Adds the user and the password of an address, in the forms that a server or a proxy receives.
    pub(crate) fn add_address(&self, address: &str) {
        let Some((user, password)) = credentials_in(address) else { return };
        let both = format!("{user}:{}", password.reveal());
        for secret in [&STANDARD.encode(&both), &both, password.reveal()] {
            self.add(secret.as_bytes());
        }
    }

    /// As `hide`, for text.
    pub(crate) fn hide_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.hide(text.as_bytes().to_vec())).into_owned()
    }

    /// Replaces each secret by `…`.
    pub(crate) fn hide(&self, text: Vec<u8>) -> Vec<u8> {
        self.0.borrow().iter().fold(text, |text, secret| without(&text, secret))
    }
}

fn without(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
        kept.extend_from_slice(&rest[..at]);
        kept.extend_from_slice(SHOWN.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    kept.extend_from_slice(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_hidden_in_every_form_it_is_sent_back_in() {
        let table = [
            ("Bearer tok-123", "you sent Bearer tok-123", "you sent …"),
            ("Bearer tok-123", "no such token: tok-123, tok-123", "no such token: …, …"),
            ("Basic YW5uOnBhc3M=", "Basic YW5uOnBhc3M= | YW5uOnBhc3M=", "… | …"),
            ("Basic YW5uOnBhc3M=", "ann:pass and pass, but ann", "… and …, but ann"),
            ("Bearer abc", "an abc, not Bearer abc", "an abc, not …"),
        ];
        for (header, text, expected) in table {
            let mut value = HeaderValue::from_static(header);
            value.set_sensitive(true);
            let mask = CredentialMask::default();
            mask.add_headers(&[(reqwest::header::AUTHORIZATION, value)].into_iter().collect());
            assert_eq!(String::from_utf8(mask.hide(text.into())).unwrap(), expected, "{header}");
        }
    }

    #[test]
    fn a_proxys_password_is_hidden_too() {
        let mask = CredentialMask::default();
        mask.add_address("http://ann:p%40ss@proxy:3128");
        assert_eq!(mask.hide(b"Basic YW5uOnBAc3M= is ann, p@ss".to_vec()), "Basic … is ann, …".as_bytes());
    }
}
