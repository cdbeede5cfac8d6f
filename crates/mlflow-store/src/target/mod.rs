//! Where traces go: a target, read from MLflow's grammar of tracking URIs, and an experiment.

pub mod access;
pub mod address;
pub mod file_uri;
pub mod http_target;
pub mod secret;
mod sqlite_uri;

use self::address::{shown, without_credentials};
use self::file_uri::{file_uri, unescaped};
use self::http_target::HttpTarget;
use self::sqlite_uri::{only_within, sqlite_path, sqlite_uri};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

pub const TRACKING_URI: &str = "MLFLOW_TRACKING_URI";
pub const EXPERIMENT_NAME: &str = "MLFLOW_EXPERIMENT_NAME";
pub const EXPERIMENT_ID: &str = "MLFLOW_EXPERIMENT_ID";
pub const WORKSPACE: &str = "MLFLOW_WORKSPACE";

pub const DEFAULT_EXPERIMENT: &str = "codex-sessions";

/// Paths are absolute, so that a stored target names the same file from every working folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Sqlite(PathBuf),
    FileStore(PathBuf),
    Http(HttpTarget),
    Databricks { profile: Option<String> },
}

/// MLflow finds an experiment by name (created when missing) or by id (must exist).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    Name(String),
    Id(String),
}

/// Holds the address as the user wrote it, without user and password.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "not a tracking URI: {0} (accepted: http://…, https://…, databricks, databricks://PROFILE, sqlite:///PATH, file:///PATH, or a path)"
)]
pub struct BadTarget(pub String);

impl Target {
    /// Reads a tracking URI as MLflow does, with paths relative to `base`. One difference: `file://./relative` is a
    /// relative path here, but `/relative` in MLflow.
    pub fn parse(uri: &str, base: &Path) -> Result<Target, BadTarget> {
        let bad = || BadTarget(shown(uri));
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if scheme.len() > 1 && !scheme.contains('/') => (scheme, rest),
            _ if uri.trim().is_empty() => return Err(bad()),
            _ if uri == "databricks" => return Ok(Target::Databricks { profile: None }),
            // MLflow decodes escapes in a bare path too.
            _ => return Ok(Target::FileStore(absolute(base, unescaped(uri)))),
        };
        match scheme {
            "http" | "https" => {
                let address = without_credentials(uri);
                let host = address.split_once("://").map_or("", |(_, rest)| rest);
                // The client appends request paths to the address: a query or a fragment would precede them.
                let is_plain = !address.contains(['?', '#', '\\']) && !address.contains(char::is_whitespace);
                // A non-numeric port may be a part of an unescaped password.
                let authority = host.split('/').next().unwrap_or_default();
                let port = authority.rsplit_once(':').filter(|_| !authority.ends_with(']'));
                let is_plain =
                    is_plain && port.is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
                match is_plain && !host.is_empty() && !host.starts_with(['/', ':']) {
                    true => Ok(Target::Http(HttpTarget::new(address.trim_end_matches('/')))),
                    false => Err(bad()),
                }
            }
            "databricks" => {
                let is_profile = |profile: &&str| !profile.is_empty() && !profile.contains('@');
                let profile = rest.strip_prefix("//").filter(is_profile).ok_or_else(bad)?;
                Ok(Target::Databricks { profile: Some(profile.to_owned()) })
            }
            "sqlite" => {
                let path = rest.strip_prefix("///").and_then(sqlite_path).ok_or_else(bad)?;
                Ok(Target::Sqlite(absolute(base, path)))
            }
            "file" => {
                let path = rest.split(['?', '#']).next().unwrap_or_default();
                let path = path.strip_prefix("//").unwrap_or(path);
                let path =
                    path.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(path);
                match path.is_empty() {
                    true => Err(bad()),
                    false => Ok(Target::FileStore(absolute(base, unescaped(path)))),
                }
            }
            _ => Err(bad()),
        }
    }

    /// For a database without a URI that all MLflow versions read alike: a working folder for MLflow, and a URI that
    /// is relative to it.
    pub fn only_within(&self) -> Option<(PathBuf, String)> {
        match self {
            Target::Sqlite(path) => only_within(path),
            Target::FileStore(_) | Target::Http(_) | Target::Databricks { .. } => None,
        }
    }

    /// Sets the workspace of a server; no effect on other targets.
    pub fn with_workspace(self, workspace: Option<String>) -> Target {
        match self {
            Target::Http(http) => Target::Http(http.with_workspace(workspace)),
            other => other,
        }
    }

    pub fn workspace(&self) -> Option<&str> {
        match self {
            Target::Http(http) => http.workspace.as_deref(),
            Target::Sqlite(_) | Target::FileStore(_) | Target::Databricks { .. } => None,
        }
    }

    /// Whether both have the same address. Credentials do not depend on the workspace.
    pub fn has_address_of(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Http(one), Target::Http(other)) => one.url == other.url,
            _ => self == other,
        }
    }

    /// The URI for MLflow's own commands, without the workspace.
    pub fn uri(&self) -> String {
        match self {
            Target::Sqlite(path) => sqlite_uri(path),
            Target::FileStore(path) => file_uri(path),
            Target::Http(http) => http.url.clone(),
            Target::Databricks { profile: None } => "databricks".to_owned(),
            Target::Databricks { profile: Some(profile) } => format!("databricks://{profile}"),
        }
    }

    /// Whether traces may leave the machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Target::Sqlite(_) | Target::FileStore(_) => false,
            Target::Http(_) | Target::Databricks { .. } => true,
        }
    }
}

/// Keeps `.` and `..` except a leading `./`.
fn absolute(base: &Path, path: PathBuf) -> PathBuf {
    base.join(path.strip_prefix("./").unwrap_or(&path))
}

/// For people: the URI, and the workspace if there is one.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())?;
        match self.workspace() {
            Some(workspace) => write!(f, " (workspace {workspace})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_read_as_mlflow_reads_them() {
        let sqlite = |path: &str| Some(Target::Sqlite(path.into()));
        let store = |path: &str| Some(Target::FileStore(path.into()));
        let http = |url: &str| Some(Target::Http(HttpTarget::new(url)));
        let table = [
            ("sqlite:///x.db", sqlite("/here/x.db")),
            ("sqlite:////abs/x.db", sqlite("/abs/x.db")),
            ("sqlite:///./a/x.db", sqlite("/here/a/x.db")),
            ("sqlite:///a b#c%20.db", sqlite("/here/a b#c%20.db")),
            ("sqlite:///x.db?timeout=60&check_same_thread=false", sqlite("/here/x.db")),
            ("sqlite:///file:x.db?mode=ro&uri=true", None),
            ("sqlite:///file:x.db?vfs=unix-none&uri=true", None),
            ("sqlite:///x.db?uri=true", None),
            ("sqlite:///file:?uri=true", None),
            ("sqlite:///file::memory:?uri=true", None),
            ("sqlite:///file:x.db?uri=true", sqlite("/here/x.db")),
            ("sqlite:///file:/a%3Fb%23c%25?timeout=9&uri=true&mode=rwc", sqlite("/a?b#c%")),
            ("sqlite:///file:///a#b?uri=1", sqlite("/a")),
            ("sqlite:///file://localhost/a?uri=True", sqlite("/a")),
            ("sqlite:///file:x.db", sqlite("/here/file:x.db")),
            ("sqlite://x.db", None),
            ("sqlite:///", None),
            ("sqlite:///:memory:", None),
            ("file:///abs", store("/abs")),
            ("file://./mlruns", store("/here/mlruns")),
            ("file:relative", store("/here/relative")),
            ("file:///a%20b%23c?d#e", store("/a b#c")),
            ("file://localhost/abs", store("/abs")),
            ("file://", None),
            ("./my%20runs", store("/here/my runs")),
            ("./mlruns", store("/here/mlruns")),
            ("mlruns", store("/here/mlruns")),
            ("/abs/mlruns", store("/abs/mlruns")),
            ("http://localhost:5000/", http("http://localhost:5000")),
            ("http://", None),
            ("https://ann:p@ss:w@host/mlflow/", http("https://host/mlflow")),
            ("http://host/a@b", http("http://host/a@b")),
            ("http://host?x=1", None),
            ("http://host/#x", None),
            ("http://ann:secret@", None),
            ("http:host", None),
            ("http://:5000", None),
            ("databricks", Some(Target::Databricks { profile: None })),
            ("databricks://work", Some(Target::Databricks { profile: Some("work".into()) })),
            ("databricks://", None),
            ("postgresql://host/db", None),
            ("", None),
            ("  ", None),
        ];
        for (uri, target) in table {
            assert_eq!(Target::parse(uri, Path::new("/here")).ok(), target, "{uri}");
        }
    }

    #[test]
    fn no_target_and_no_error_holds_a_password() {
        let table = [
            ("http://ann:secret@host:5000/x", Ok("http://host:5000/x")),
            ("https://ann:secret@host?x", Err("https://…@host?…")),
            ("http://host/?token=secret", Err("http://host/?…")),
            ("postgresql://ann:secret@host/db", Err("postgresql://…@host/db")),
            ("http://ann:x/secret@host", Err("http://…@host")),
            ("http://ann:x#secret@host", Err("http://…@host")),
            ("http://ann:x secret@host", Ok("http://host")),
            ("http://[::1]:5000", Ok("http://[::1]:5000")),
            ("http://[::1]", Ok("http://[::1]")),
            ("http:ann:secret@host", Err("…@host")),
            ("databricks://token:secret@host", Err("databricks://…@host")),
        ];
        for (uri, shown) in table {
            let parsed = Target::parse(uri, Path::new("/")).map(|target| target.to_string());
            assert!(!format!("{parsed:?}").contains("secret"), "{uri}: {parsed:?}");
            match shown {
                Ok(address) => assert_eq!(parsed, Ok(address.to_owned())),
                Err(part) => {
                    let shown = parsed.unwrap_or_else(|bad| bad.to_string());
                    assert!(shown.contains(part), "{uri}: {shown}");
                }
            }
        }
    }

    #[test]
    fn a_target_reads_back_as_it_is_written() {
        for uri in [
            "sqlite:////abs/x.db",
            "sqlite:////a#b/100%/é x.db",
            "sqlite:///file:/a%3Fb%23%25/%C3%A9.db?uri=true",
            "sqlite:///file:/not-utf-8-%FF.db?uri=true",
            "file:///abs",
            "file:///a%20b%23",
            "https://host:5000",
            "databricks",
            "databricks://work",
        ] {
            assert_eq!(
                Target::parse(uri, Path::new("/")).map(|target| target.to_string()),
                Ok(uri.to_owned())
            );
        }
    }
}
