//! The name of a tool of an MCP server, the same for all versions: `mcp__<server>__<tool>`.
//!
//! Models use this name up to 0.168, in code mode also later, and other coding agents use it in their traces. Since
//! 0.169 a model's call has the server in its namespace. Codex's own records always have the two apart.

use common::json::text::Text;

const PREFIX: &str = "mcp__";

const BETWEEN: &str = "__";

pub(super) fn is_qualified(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// As Codex forms the name: characters that a tool's name must not hold become `_`.
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
    fn a_tool_of_a_server_has_one_name_in_all_versions() {
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
