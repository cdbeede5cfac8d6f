//! A path inside a `file:` URI, which writes some bytes as `%` and two hexadecimal digits.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `file://` and the escaped path.
pub fn file_uri(path: &Path) -> String {
    format!("file://{}", escaped(path))
}

/// The path with all bytes escaped except RFC 3986's unreserved characters and `/`.
pub(crate) fn escaped(path: &Path) -> String {
    let mut uri = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

/// The decoded path. A `%` without two hexadecimal digits after it stays as it is.
pub(super) fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.first_chunk().filter(|_| *first == b'%').copied().and_then(byte_of);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

fn byte_of(digits: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(digits[0])? * 16 + digit(digits[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_its_uri() {
        for (path, uri) in [
            ("/home/a/.codex/mlflow", "file:///home/a/.codex/mlflow"),
            ("/tmp/é 100%#?", "file:///tmp/%C3%A9%20100%25%23%3F"),
        ] {
            assert_eq!(file_uri(Path::new(path)), uri);
            assert_eq!(unescaped(&uri["file://".len()..]), Path::new(path));
        }
    }

    #[test]
    fn a_percent_sign_without_two_digits_stays() {
        for (text, path) in [("100%", "100%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%+1", "%+1")] {
            assert_eq!(unescaped(text), Path::new(path), "{text}");
        }
    }
}
