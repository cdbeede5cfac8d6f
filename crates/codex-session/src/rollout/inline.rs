//! Files inside text, as base64 in `data:` URLs. A short note replaces each: the bytes would fill the trace.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use common::printable::hex;
use sha2::{Digest, Sha256};

/// Some writers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The note for a `data:` URL; None for any other text.
pub fn note_of(url: &str) -> Option<String> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    (kind.len() < 100).then(|| note(kind, data))
}

/// The type and the bytes of a `data:` URL; None for any other text.
pub fn file_of(url: &str) -> Option<(&str, Vec<u8>)> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some((kind, BASE64.decode(data).ok()?))
}

/// The note: type, size and the SHA-256 of the bytes, which identifies the file.
pub fn note(kind: &str, data: &str) -> String {
    let what = if kind.starts_with("image/") { "image " } else { "" };
    match BASE64.decode(data) {
        Ok(bytes) => {
            format!("[{what}{kind}, {} bytes, sha256 {}]", bytes.len(), hex(&Sha256::digest(&bytes)))
        }
        Err(_) => format!("[{what}{kind}, {} characters that are no base64]", data.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_becomes_a_note_that_identifies_the_file() {
        let hi = "sha256 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
        let table = [
            ("data:image/png;base64,aGk=", Some(format!("[image image/png, 2 bytes, {hi}]"))),
            ("data:text/plain;base64,aGk", Some(format!("[text/plain, 2 bytes, {hi}]"))),
            ("data:image/png;base64,a€", Some("[image image/png, 4 characters that are no base64]".into())),
            ("data:,aGk=", None),
            ("https://host/a.png", None),
            ("", None),
        ];
        for (url, note) in table {
            assert_eq!(note_of(url), note, "{url}");
        }
    }
}
