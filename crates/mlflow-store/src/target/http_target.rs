//! A server as a target: its address and its workspace.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// Two workspaces of a server are two targets: each has its own readers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// Without a workspace it is stored as the address alone, as before workspaces existed.
impl Serialize for HttpTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.workspace {
            None => serializer.serialize_str(&self.url),
            Some(workspace) => json!({ "url": self.url, "workspace": workspace }).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HttpTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HttpTarget, D::Error> {
        let stored = Value::deserialize(deserializer)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let target = match &stored {
            Value::String(url) => Some(HttpTarget::new(url)),
            stored => text(&stored["url"])
                .zip(text(&stored["workspace"]))
                .map(|(url, workspace)| HttpTarget { url, workspace: Some(workspace) }),
        };
        target.ok_or_else(|| D::Error::custom("a server is an address, or an object with url and workspace"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

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
