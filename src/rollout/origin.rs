//! Who started a thread: a person, or another thread.

use super::line::SessionMeta;
use super::value::Value;

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
