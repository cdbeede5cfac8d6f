//! A line of Codex up to 0.2x: the response item alone, without an envelope, a time or a turn.
//!
//! The first line is the session's: `{"id", "timestamp", "instructions", "git"}`. `{"record_type": "state"}` lines
//! surround each request.

use super::payload::if_it_fits;
use super::rollout_item::RolloutItem;
use super::session_meta::{Git, SessionMeta};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct BareLine<'a> {
    record_type: Option<IgnoredAny>,
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "if_it_fits")]
    id: Option<String>,
    #[serde(default, deserialize_with = "if_it_fits")]
    timestamp: Option<String>,
    #[serde(default, deserialize_with = "if_it_fits")]
    git: Option<Git>,
}

/// None for a line that is no JSON object of these kinds.
pub(super) fn parse(line: &[u8]) -> Option<RolloutItem> {
    let bare: BareLine = serde_json::from_slice(line).ok()?;
    if bare.r#type.is_some() {
        let line: Option<&RawValue> = serde_json::from_slice(line).ok();
        return line.map(|line| RolloutItem::from_response(line.get()));
    }
    if bare.record_type.is_some() {
        return Some(RolloutItem::StateRecord);
    }
    let (id, timestamp) = (bare.id?, Some(bare.timestamp?));
    let meta = SessionMeta { id, timestamp, git: bare.git, ..SessionMeta::default() };
    Some(RolloutItem::SessionMeta(Box::new(meta)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::content::ContentText;
    use crate::rollout::envelope::MalformedLine;
    use crate::rollout::line::{Container, RolloutLine};
    use crate::rollout::response_item::{MessageItem, ResponseItem};

    #[test]
    fn the_fields_of_a_bare_line_give_its_kind() {
        let item = |line: &str| RolloutLine::parse(line.as_bytes()).map(|line| (line.container, line.item));
        let bare = |item| Ok((Container::Bare, item));
        let meta = SessionMeta {
            id: "t".into(),
            timestamp: Some("2025-09-01T10:00:00.000Z".into()),
            git: Some(Git { branch: Some("main".into()), ..Git::default() }),
            ..SessionMeta::default()
        };
        let message = MessageItem { role: "user".into(), content: ContentText("go".into()), phase: None };
        let table = [
            (
                r#"{"id":"t","timestamp":"2025-09-01T10:00:00.000Z","instructions":null,"git":{"branch":"main"}}"#,
                bare(RolloutItem::SessionMeta(Box::new(meta))),
            ),
            (r#"{"record_type":"state"}"#, bare(RolloutItem::StateRecord)),
            (
                r#"{"type":"message","id":null,"role":"user","content":"go"}"#,
                bare(RolloutItem::ResponseItem(ResponseItem::Message(message))),
            ),
            (r#"{"id":"t"}"#, Err(MalformedLine)),
        ];
        for (line, read) in table {
            assert_eq!(item(line), read, "{line}");
        }
    }
}
