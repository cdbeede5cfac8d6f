//! A server as a target: its address and its workspace.

use serde::{Deserialize, Serialize};

/// Two workspaces of a server are two targets: each has its own readers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct HttpTarget {
    /// Never holds a user or password.
    pub url: String,
    /// None where no workspace is named.
    pub workspace: Option<String>,
}

impl HttpTarget {
    pub fn new(url: impl Into<String>) -> HttpTarget {
        HttpTarget { url: url.into(), workspace: None }
    }

    pub fn with_workspace(self, workspace: Option<String>) -> HttpTarget {
        HttpTarget { workspace, ..self }
    }
}

impl From<&str> for HttpTarget {
    fn from(url: &str) -> HttpTarget {
        HttpTarget::new(url)
    }
}

/// As files keep it. Without a workspace it is the address alone, as before workspaces were noted.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Address(String),
    Workspace { url: String, workspace: String },
}

impl From<Written> for HttpTarget {
    fn from(written: Written) -> HttpTarget {
        match written {
            Written::Address(url) => HttpTarget { url, workspace: None },
            Written::Workspace { url, workspace } => HttpTarget { url, workspace: Some(workspace) },
        }
    }
}

impl From<HttpTarget> for Written {
    fn from(HttpTarget { url, workspace }: HttpTarget) -> Written {
        match workspace {
            None => Written::Address(url),
            Some(workspace) => Written::Workspace { url, workspace },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::target::Target;

    #[test]
    fn a_target_is_written_with_its_workspace_and_as_an_address_without_one() {
        let table = [
            (None, r#"{"http":"http://host:5000"}"#, "http://host:5000"),
            (
                Some("team-a"),
                r#"{"http":{"url":"http://host:5000","workspace":"team-a"}}"#,
                "http://host:5000 (workspace team-a)",
            ),
        ];
        for (workspace, written, shown) in table {
            let http = HttpTarget::new("http://host:5000").with_workspace(workspace.map(str::to_owned));
            let target = Target::Http(http);
            assert_eq!(serde_json::to_string(&target).unwrap(), written);
            assert_eq!(serde_json::from_str::<Target>(written).unwrap(), target);
            assert_eq!((target.to_string().as_str(), target.uri().as_str()), (shown, "http://host:5000"));
        }
    }
}
