//! A path inside a `file:` URI, which writes some bytes as `%` and two hexadecimal digits, and inside a `sqlite:`
//! URI, as SQLAlchemy reads it for MLflow.
//!
//! The usual form of a `sqlite:` URI holds the path unescaped: three slashes and a relative path, or four and an
//! absolute one. After a question mark come options for Python's `sqlite3.connect`. A path with a question mark has no
//! such form and is written as SQLite's own kind of URI, with escapes.
//!
//! SQLAlchemy up to 2.0 decodes no escape in the path; 2.1 decodes all of them, before SQLite does. So a path with a
//! question mark, or with a percent sign before two digits, has no URI that all MLflow versions read alike.

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

/// The option that marks the path as SQLite's own kind of URI.
const AS_URI: &str = "uri=true";

/// Options of Python's `sqlite3.connect` that do not change which file is opened.
const HARMLESS: [&str; 4] = ["timeout", "check_same_thread", "isolation_level", "detect_types"];

/// A URI by which MLflow opens this file.
pub(super) fn sqlite_uri(path: &Path) -> String {
    match path.to_str().filter(|text| !text.contains('?')) {
        Some(text) => format!("sqlite:///{text}"),
        None => format!("sqlite:///file:{}?{AS_URI}", escaped(path)),
    }
}

/// The path in the text after `sqlite:///`; None where it is no writable file.
pub(super) fn sqlite_path(rest: &str) -> Option<PathBuf> {
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    let options: Vec<(&str, &str)> = options
        .split('&')
        .filter(|option| !option.is_empty())
        .map(|option| option.split_once('=').unwrap_or((option, "")))
        .collect();
    let is_plain = options.iter().all(|(name, _)| *name != "uri");
    match is_plain {
        true if path.is_empty() || path == ":memory:" => None,
        true => Some(path.into()),
        false => path_in_sqlites_uri(path, &options),
    }
}

/// Reads `file:/path`, `file:///path` and `file://localhost/path`. Ignores a fragment.
fn path_in_sqlites_uri(uri: &str, options: &[(&str, &str)]) -> Option<PathBuf> {
    let is_known = options.iter().all(|option| match option {
        ("uri", value) => ["true", "1", "yes", "on", "t", "y"].contains(&value.to_ascii_lowercase().as_str()),
        ("mode", mode) => ["rw", "rwc"].contains(mode),
        (name, _) => HARMLESS.contains(name),
    });
    let path = uri.strip_prefix("file:").filter(|_| is_known)?;
    let path = path.split('#').next().unwrap_or_default();
    let path = match path.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => path,
    };
    (!path.is_empty() && path != ":memory:").then(|| unescaped(path))
}

/// For a file without a URI that all MLflow versions read alike: a working folder for MLflow, and a URI that is
/// relative to it.
pub(super) fn only_within(path: &Path) -> Option<(PathBuf, String)> {
    let means_the_same = |text: &&str| !text.contains('?') && unescaped(text) == Path::new(text);
    if path.to_str().as_ref().is_some_and(means_the_same) {
        return None;
    }
    let name = path.file_name()?.to_str().filter(means_the_same)?;
    Some((path.parent()?.to_owned(), format!("sqlite:///{name}")))
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

    #[test]
    fn an_ambiguous_path_is_opened_from_its_folder() {
        let table = [
            ("/a/x.db", None),
            ("/a b#c/100% é/x.db", None),
            ("/a?b/x.db", Some("/a?b")),
            ("/a%20b/x.db", Some("/a%20b")),
            ("/a/x?.db", None),
        ];
        for (path, folder) in table {
            let expected = folder.map(|folder| (folder.into(), "sqlite:///x.db".to_owned()));
            assert_eq!(only_within(Path::new(path)), expected, "{path}");
        }
    }
}
