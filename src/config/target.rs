//! Where traces go: MLflow's grammar of tracking URIs, and the experiment there.

use super::file_uri::{file_uri, unescaped};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Paths are absolute: a target means the same file wherever it is read again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Sqlite(PathBuf),
    FileStore(PathBuf),
    Http(String),
    Databricks { profile: Option<String> },
}

/// MLflow takes an experiment by name (made when missing) or by id (must exist).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    Name(String),
    Id(String),
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "not a tracking URI: {0} (accepted: http://…, https://…, databricks, databricks://PROFILE, sqlite:///PATH, file:///PATH, or a path)"
)]
pub struct BadTarget(pub String);

impl Target {
    /// Reads a tracking URI as MLflow does, relative paths from `base`. One difference:
    /// `file://./relative` is the relative path it looks like, where MLflow takes it as `/relative`.
    pub fn parse(uri: &str, base: &Path) -> Result<Target, BadTarget> {
        let bad = || BadTarget(uri.to_owned());
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if scheme.len() > 1 && !scheme.contains('/') => (scheme, rest),
            _ if uri.trim().is_empty() => return Err(bad()),
            _ if uri == "databricks" => return Ok(Target::Databricks { profile: None }),
            // Escapes count in a bare path too.
            _ => return Ok(Target::FileStore(absolute(base, unescaped(uri)))),
        };
        match scheme {
            "http" | "https" if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Target::Http(uri.trim_end_matches('/').to_owned()))
            }
            "databricks" => {
                let profile =
                    rest.strip_prefix("//").filter(|profile| !profile.is_empty()).ok_or_else(bad)?;
                Ok(Target::Databricks { profile: Some(profile.to_owned()) })
            }
            // Three slashes and a relative path, four and an absolute one, as SQLAlchemy has it. It knows no
            // escapes, and what follows a question mark tells Python how to open the file.
            "sqlite" => {
                let path = rest.strip_prefix("///").ok_or_else(bad)?;
                let (path, options) = path.split_once('?').unwrap_or((path, ""));
                let is_file = !path.is_empty() && path != ":memory:";
                // With this option, the path is SQLite's own kind of URI.
                let is_plain = !options.split('&').any(|option| option.starts_with("uri="));
                match is_file && is_plain {
                    true => Ok(Target::Sqlite(absolute(base, path.into()))),
                    false => Err(bad()),
                }
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

    /// On another machine, or behind something that may pass on to one.
    pub fn is_remote(&self) -> bool {
        match self {
            Target::Sqlite(_) | Target::FileStore(_) => false,
            Target::Http(_) | Target::Databricks { .. } => true,
        }
    }
}

/// With `.` and `..` kept as they are written, but for a leading `./`.
fn absolute(base: &Path, path: PathBuf) -> PathBuf {
    base.join(path.strip_prefix("./").unwrap_or(&path))
}

/// As MLflow's own commands take it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Sqlite(path) => write!(f, "sqlite:///{}", path.display()),
            Target::FileStore(path) => f.write_str(&file_uri(path)),
            Target::Http(url) => f.write_str(url),
            Target::Databricks { profile: None } => f.write_str("databricks"),
            Target::Databricks { profile: Some(profile) } => write!(f, "databricks://{profile}"),
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
        let table = [
            ("sqlite:///x.db", sqlite("/here/x.db")),
            ("sqlite:////abs/x.db", sqlite("/abs/x.db")),
            ("sqlite:///./a/x.db", sqlite("/here/a/x.db")),
            ("sqlite:///a b#c%20.db", sqlite("/here/a b#c%20.db")),
            ("sqlite:///x.db?timeout=60&check_same_thread=false", sqlite("/here/x.db")),
            ("sqlite:///file:x.db?mode=ro&uri=true", None),
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
            ("http://localhost:5000/", Some(Target::Http("http://localhost:5000".into()))),
            ("http://", None),
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
    fn a_target_reads_back_as_it_is_written() {
        for uri in [
            "sqlite:////abs/x.db",
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
