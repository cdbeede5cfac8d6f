//! The name of a tool of an MCP server, the same for all versions: `mcp__<server>__<tool>`.
//!
//! By this name models call it up to 0.168, in code mode also later, and MLflow's other coding agents do so too. Since
//! 0.169 a model's call has the server in its namespace, and Codex's own records always had the two apart.

use crate::rollout::text::Text;

const PREFIX: &str = "mcp__";

const BETWEEN: &str = "__";

pub(super) fn is_qualified(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// As Codex makes the name: what no tool's name may hold becomes `_`.
pub(super) fn qualified(server: &str, tool: &str) -> Text {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let name: String = format!("{PREFIX}{server}{BETWEEN}{tool}").chars().map(plain).collect();
    name.into()
}

/// The qualified name and the server of a call; None for one of another tool.
pub(super) fn called(name: &str, namespace: Option<&str>) -> Option<(Text, Text)> {
    if let Some(server) = namespace.and_then(|namespace| namespace.strip_prefix(PREFIX)) {
        let server = server.trim_end_matches('_');
        return Some((qualified(server, name), server.into()));
    }
    let (server, _) = name.strip_prefix(PREFIX)?.split_once(BETWEEN)?;
    Some((name.into(), server.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_calls_a_tool_of_a_server_by_one_name() {
        let table = [
            ("add", Some("mcp__tiny"), Some(("mcp__tiny__add", "tiny"))),
            ("add", Some("mcp__tiny__"), Some(("mcp__tiny__add", "tiny"))),
            ("mcp__tiny__add", None, Some(("mcp__tiny__add", "tiny"))),
            ("mcp__tiny__add__all", None, Some(("mcp__tiny__add__all", "tiny"))),
            ("spawn_agent", Some("collaboration"), None),
            ("add", None, None),
            ("mcp__add", None, None),
        ];
        for (name, namespace, parts) in table {
            let parts = parts.map(|(name, server)| (Text::from(name), Text::from(server)));
            assert_eq!(called(name, namespace), parts, "{name} {namespace:?}");
        }
        assert_eq!(qualified("tiny", "add"), "mcp__tiny__add");
        assert_eq!(qualified("my server", "a.b-c"), "mcp__my_server__a_b-c");
    }
}
