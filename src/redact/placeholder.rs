//! Placeholders of secrets, and the salt of their hashes: 32 random bytes in a file. It makes hashes differ between
//! installations.

use common::disk;
use common::printable::hex;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

const LENGTH: usize = 32;

/// Prefix of every placeholder.
pub(super) const PREFIX: &str = "[redacted:";

/// Hex digits of the hash in a placeholder: enough to distinguish the secrets of a trace, too few to verify guesses
/// for an attacker who has the salt.
const HASH_DIGITS: usize = 8;

/// Never leaves the machine: with the salt, an attacker could verify guesses of short passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; LENGTH]);

impl Salt {
    pub fn new(bytes: [u8; LENGTH]) -> Salt {
        Salt(bytes)
    }

    /// For texts that leave no file.
    pub fn random() -> io::Result<Salt> {
        let mut fresh = [0; LENGTH];
        File::open("/dev/urandom")?.read_exact(&mut fresh)?;
        Ok(Salt(fresh))
    }

    /// Reads the file, or creates it with mode 0600. Processes that create it at the same time get the same salt.
    pub fn load_or_create(path: &Path) -> io::Result<Salt> {
        if let Some(salt) = read(path)? {
            return Ok(salt);
        }
        let Salt(fresh) = Salt::random()?;
        let mut temporary = disk::aside(path.parent().unwrap_or(Path::new(".")))?;
        temporary.write_all(&fresh)?;
        disk::sync(temporary.as_file())?;
        match temporary.persist_noclobber(path) {
            Ok(_) => Ok(Salt(fresh)),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => match read(path)? {
                Some(salt) => Ok(salt),
                // The file was damaged. A new salt only gives the same secrets other hashes.
                None => {
                    disk::write_private(path, &fresh)?;
                    Ok(Salt(fresh))
                }
            },
            Err(error) => Err(error.error),
        }
    }

    /// The text that replaces a secret: `[redacted:<rule>:<hash>]`. Hashes the secret without white space and escapes of
    /// it: line breaks may be written in several ways.
    pub(super) fn placeholder(&self, rule: &str, secret: &[u8]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.0);
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
        format!("{PREFIX}{rule}:{}]", hex(&hash.finalize()[..HASH_DIGITS / 2]))
    }
}

/// None when the file is missing or not 32 bytes long.
fn read(path: &Path) -> io::Result<Option<Salt>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.try_into().ok().map(Salt)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_salt_is_created_once_for_its_owner_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow/salt");
        let salt = Salt::load_or_create(&path).unwrap();
        assert!(Salt::load_or_create(&path).unwrap() == salt && salt.0 != [0; LENGTH]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        let other = Salt::load_or_create(&path).unwrap();
        assert!(other != salt && Salt::load_or_create(&path).unwrap() == other);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
