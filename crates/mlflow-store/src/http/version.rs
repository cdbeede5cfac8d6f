//! The version of a server, and what follows from it.

use std::fmt;

/// Major and minor; no patch release has changed what an exporter needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerVersion(u32, u32);

/// The first in which a client chooses the trace's id: in older ones, a trace that is sent twice is there
/// twice.
pub(super) const OLDEST: ServerVersion = ServerVersion(3, 2);

/// The newest that the tests run.
const NEWEST_TESTED: ServerVersion = ServerVersion(3, 18);

/// The first that adds an update to what it has. Older ones replace what they have.
pub(super) const FIRST_TO_ADD: ServerVersion = ServerVersion(3, 14);

impl ServerVersion {
    /// As MLflow writes it: `3.17.2`, `3.6.0rc1`, `3.18.0.dev0`. None for anything else.
    pub(super) fn parse(text: &str) -> Option<ServerVersion> {
        let mut parts = text.trim().split('.');
        let mut number = || parts.next()?.parse().ok();
        let version = ServerVersion(number()?, number()?);
        let patch = parts.next()?;
        let is_short = text.len() <= 30;
        (is_short && patch.starts_with(|c: char| c.is_ascii_digit())).then_some(version)
    }
}

/// The newest tested version, if the version of a check (`MLflow 3.19`) is newer.
pub fn newest_tried_before(checked: &str) -> Option<String> {
    let (major, minor) = checked.strip_prefix("MLflow ")?.split_once('.')?;
    let version = ServerVersion(major.parse().ok()?, minor.parse().ok()?);
    (version > NEWEST_TESTED).then(|| NEWEST_TESTED.to_string())
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_mlflow_writes_them() {
        let table = [
            ("3.17.2", Some(ServerVersion(3, 17))),
            ("3.6.0rc1\n", Some(ServerVersion(3, 6))),
            ("3.18.0.dev0", Some(ServerVersion(3, 18))),
            ("2.22.2", Some(ServerVersion(2, 22))),
            ("3.2", None),
            ("", None),
            ("<html>", None),
            ("1.2.x", None),
            ("4294967296.1.0", None),
        ];
        for (text, version) in table {
            assert_eq!(ServerVersion::parse(text), version, "{text}");
        }
        let table = [("MLflow 3.18", None), ("MLflow 3.19", Some("3.18")), ("MLflow 4.0", Some("3.18"))];
        for (checked, newest) in table.into_iter().chain([("MLflow x.y", None), ("", None)]) {
            assert_eq!(newest_tried_before(checked).as_deref(), newest, "{checked}");
        }
        assert!(
            ServerVersion(3, 1) < OLDEST && ServerVersion(2, 22) < OLDEST && ServerVersion(3, 17) > OLDEST
        );
    }
}
