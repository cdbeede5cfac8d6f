//! `session_meta`: the identity of a thread, and whether the user or another thread started it.

use common::json::text::Text;
use common::json::value::Value;
use serde::Deserialize;

/// Identifies a thread; the first one of a file identifies the file's thread.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct SessionMeta {
    pub id: String,
    /// The root thread; sub-agents share it (0.144 and later).
    pub session_id: Option<String>,
    pub parent_thread_id: Option<String>,
    pub forked_from_id: Option<String>,
    /// In a bare file this is local time despite its `Z`.
    pub timestamp: Option<String>,
    pub cwd: Option<String>,
    pub originator: Option<String>,
    pub cli_version: Option<String>,
    pub model_provider: Option<String>,
    pub git: Option<Git>,
    /// Of a sub-agent: the lines before are its parent's, copied (0.150 and later).
    pub subagent_history_start_ordinal: Option<u64>,
    /// A word (`exec`, `cli`, `vscode`), or an object for a thread that another one started.
    pub source: Option<Value>,
    /// `/root/tests/fast` (0.130 and later, where agents have paths).
    pub agent_path: Option<String>,
    pub agent_nickname: Option<String>,
    pub history_base: Option<HistoryBase>,
    /// The model's instructions (0.98 and later). Since gpt-6.1 a message repeats them.
    pub base_instructions: Option<Instructions>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Instructions {
    pub text: Text,
}

/// What a fork or a rewind takes from another file instead of copying it (0.150 and later).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct HistoryBase {
    /// The file's own id: the thread's, or for a rewound one the part of its name after `_`.
    pub thread_id: String,
    pub end_ordinal_exclusive: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Git {
    pub commit_hash: Option<String>,
    pub branch: Option<String>,
    pub repository_url: Option<String>,
}

impl SessionMeta {
    /// The thread that started this one. Before 0.144 only the `source` of a sub-agent names it.
    pub fn parent(&self) -> Option<&str> {
        let in_source = || self.spawn()?.get("parent_thread_id")?.as_str();
        self.parent_thread_id.as_deref().or_else(in_source).filter(|parent| *parent != self.id)
    }

    /// What it was started as: `review`, or a sub-agent's name; None for a thread that a person started.
    pub fn started_as(&self) -> Option<&str> {
        let kind = self.source.as_ref().and_then(|source| source.get("subagent"));
        let other = || kind?.as_str().or_else(|| kind?.get("other")?.as_str());
        let path = || self.agent_path.as_deref().or_else(|| self.spawn()?.get("agent_path")?.as_str());
        let of_path = || path()?.rsplit('/').find(|name| !name.is_empty());
        let nickname =
            || self.agent_nickname.as_deref().or_else(|| self.spawn()?.get("agent_nickname")?.as_str());
        other().or_else(of_path).or_else(nickname).or_else(|| self.parent().map(|_| "agent"))
    }

    fn spawn(&self) -> Option<&Value> {
        self.source.as_ref()?.get("subagent")?.get("thread_spawn")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_a_thread_is_read_in_every_versions_form() {
        let table = [
            ("{}", None, None),
            (r#"{"source":"exec"}"#, None, None),
            (r#"{"source":null,"parent_thread_id":"p"}"#, Some("p"), Some("agent")),
            (r#"{"source":{"subagent":"review"},"parent_thread_id":"p"}"#, Some("p"), Some("review")),
            (r#"{"source":{"subagent":{"other":"guardian"}}}"#, None, Some("guardian")),
            (
                r#"{"source":{"subagent":{"thread_spawn":{"parent_thread_id":"p"}}}}"#,
                Some("p"),
                Some("agent"),
            ),
            (
                r#"{"source":{"subagent":{"thread_spawn":{"parent_thread_id":"p","agent_nickname":"Gibbs","agent_path":null}}}}"#,
                Some("p"),
                Some("Gibbs"),
            ),
            (
                r#"{"parent_thread_id":"p","agent_path":"/root/outer/inner","agent_nickname":"Gibbs"}"#,
                Some("p"),
                Some("inner"),
            ),
            // No thread is its own parent.
            (r#"{"parent_thread_id":"t"}"#, None, None),
        ];
        for (fields, parent, name) in table {
            let mut payload: serde_json::Value = serde_json::from_str(fields).unwrap();
            payload["id"] = "t".into();
            let meta: SessionMeta = serde_json::from_value(payload).unwrap();
            assert_eq!((meta.parent(), meta.started_as()), (parent, name), "{fields}");
        }
    }
}
