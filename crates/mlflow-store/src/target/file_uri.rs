//! A path inside a `file:` URI, which writes some bytes as `%` and two hexadecimal digits.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `file://` and the escaped path.
pub fn file_uri(path: &Path) -> String {
    format!("file://{}", escaped(path))
}

/// The path with all bytes escaped except RFC 3986's unreserved characters and `/`.
pub fn escaped(path: &Path) -> String {
    percent_encode(path.as_os_str().as_bytes(), RESERVED).to_string()
}

/// The decoded path. A `%` without two hexadecimal digits after it stays as it is.
pub(super) fn unescaped(text: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(percent_decode_str(text).collect()))
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
