//! The text that replaces a secret: `[redacted:<rule>:<hash>]`.

use super::salt::Salt;
use common::printable::hex;
use sha2::{Digest, Sha256};

/// Prefix of every placeholder.
pub(super) const PREFIX: &str = "[redacted:";

/// Hex digits of the hash in a placeholder: enough to distinguish the secrets of a trace, too few to verify guesses
/// for an attacker who has the salt.
const HASH_DIGITS: usize = 8;

pub(super) fn placeholder(rule: &str, salt: &Salt, secret: &[u8]) -> String {
    format!("{PREFIX}{rule}:{}]", hash(salt, secret))
}

/// Hashes the secret without white space and escapes of it: line breaks may be written in several ways.
fn hash(salt: &Salt, secret: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(salt.bytes());
    let mut rest = secret.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                while rest.next_if_eq(&b'\\').is_some() {}
                rest.next_if(|next| b"nrt".contains(next));
            }
            byte if byte.is_ascii_whitespace() => {}
            byte => hash.update([byte]),
        }
    }
    hex(&hash.finalize()[..HASH_DIGITS / 2])
}
