//! Where traces go: a target, read from MLflow's grammar of tracking URIs or from a collector's address, and an
//! experiment.

pub mod access;
pub mod collector;
pub mod credentials;
#[cfg(test)]
mod tests;
pub mod uri;

use self::credentials::{shown, without_credentials};
use self::uri::{file_uri, only_within, sqlite_path, sqlite_uri, unescaped};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

pub const TRACKING_URI: &str = "MLFLOW_TRACKING_URI";
pub const EXPERIMENT_NAME: &str = "MLFLOW_EXPERIMENT_NAME";
pub const EXPERIMENT_ID: &str = "MLFLOW_EXPERIMENT_ID";
pub const WORKSPACE: &str = "MLFLOW_WORKSPACE";

/// Before the address of a collector.
const OTLP: &str = "otlp+";

/// The path of a collector's traces where its address has none, as the OTLP specification has it.
pub const OTLP_PATH: &str = "/v1/traces";

pub const DEFAULT_EXPERIMENT: &str = "codex-sessions";

/// Paths are absolute, so that a stored target names the same file from every working folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Sqlite(PathBuf),
    FileStore(PathBuf),
    Http(HttpTarget),
    Databricks {
        profile: Option<String>,
    },
    /// An OpenTelemetry collector: the whole address of its traces, without user or password.
    Otlp(String),
}

/// A server's address and workspace. Two workspaces of a server are two targets: each has its own readers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "StoredHttp", into = "StoredHttp")]
pub struct HttpTarget {
    /// Never holds a user or password.
    pub url: String,
    /// None where no workspace is named.
    pub workspace: Option<String>,
}

/// Without a workspace it is stored as the address alone, as before workspaces existed.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a server is an address, or an object with url and workspace")]
enum StoredHttp {
    Address(String),
    Workspace { url: String, workspace: String },
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
    "not a tracking URI: {0} (accepted: http://…, https://…, otlp+http://…, otlp+https://…, databricks, \
     databricks://PROFILE, sqlite:///PATH, file:///PATH, or a path)"
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
            "http" | "https" => Ok(Target::Http(server_address(uri).ok_or_else(bad)?.as_str().into())),
            "otlp+http" | "otlp+https" => {
                let address = server_address(&uri[OTLP.len()..]).ok_or_else(bad)?;
                let has_path = address.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
                Ok(Target::Otlp(if has_path { address } else { address + OTLP_PATH }))
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
            Target::FileStore(_) | Target::Http(_) | Target::Databricks { .. } | Target::Otlp(_) => None,
        }
    }

    /// Sets the workspace of a server; no effect on other targets.
    pub fn with_workspace(self, workspace: Option<String>) -> Target {
        match self {
            Target::Http(http) => Target::Http(HttpTarget { workspace, ..http }),
            other => other,
        }
    }

    pub fn workspace(&self) -> Option<&str> {
        match self {
            Target::Http(http) => http.workspace.as_deref(),
            _ => None,
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
            Target::Otlp(url) => format!("{OTLP}{url}"),
        }
    }

    /// Whether traces may leave the machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Target::Sqlite(_) | Target::FileStore(_) => false,
            Target::Http(_) | Target::Databricks { .. } | Target::Otlp(_) => true,
        }
    }

    /// Whether the target keeps each span once and takes no update of it. Its traces are those of turns that have
    /// ended: a session's one trace would grow.
    pub fn is_append_only(&self) -> bool {
        matches!(self, Target::Otlp(_))
    }
}

/// A server's address without user, password and the slash at its end. None where requests cannot be made from it.
fn server_address(uri: &str) -> Option<String> {
    let address = without_credentials(uri);
    let host = address.split_once("://").map_or("", |(_, rest)| rest);
    // The client appends request paths to the address: a query or a fragment would precede them.
    let is_plain = !address.contains(['?', '#', '\\']) && !address.contains(char::is_whitespace);
    // A non-numeric port may be a part of an unescaped password.
    let authority = host.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').filter(|_| !authority.ends_with(']'));
    let is_plain = is_plain && port.is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let is_address = is_plain && !host.is_empty() && !host.starts_with(['/', ':']);
    is_address.then(|| address.trim_end_matches('/').to_owned())
}

impl From<&str> for HttpTarget {
    fn from(url: &str) -> HttpTarget {
        HttpTarget { url: url.to_owned(), workspace: None }
    }
}

impl From<StoredHttp> for HttpTarget {
    fn from(stored: StoredHttp) -> HttpTarget {
        match stored {
            StoredHttp::Address(url) => HttpTarget { url, workspace: None },
            StoredHttp::Workspace { url, workspace } => HttpTarget { url, workspace: Some(workspace) },
        }
    }
}

impl From<HttpTarget> for StoredHttp {
    fn from(HttpTarget { url, workspace }: HttpTarget) -> StoredHttp {
        match workspace {
            None => StoredHttp::Address(url),
            Some(workspace) => StoredHttp::Workspace { url, workspace },
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
