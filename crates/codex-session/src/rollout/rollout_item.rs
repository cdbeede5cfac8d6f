//! What a line of a rollout holds, by the type in its envelope.

use super::event::Event;
use super::payload::read;
use super::response_item::ResponseItem;
use super::session_meta::SessionMeta;
use super::settings::ModeSettings;
use super::usage::Usage;
use common::json::text::Text;
use serde::Deserialize;

#[derive(Debug, PartialEq)]
pub enum RolloutItem {
    SessionMeta(Box<SessionMeta>),
    TurnContext(TurnContext),
    ResponseItem(ResponseItem),
    Event(Event),
    TokenUsageRecord(TokenUsageRecord),
    Compacted(Compacted),
    /// A bare file's mark around each request to the model.
    StateRecord,
    /// Codex's own bookkeeping; nothing that happened in the session.
    Bookkeeping,
    /// A kind, or a shape of a known kind, that no known version writes.
    Unknown {
        kind: String,
    },
}

#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct TurnContext {
    /// 0.104 and later. Without one, Codex wrote the context once per request, not once per turn.
    pub turn_id: Option<String>,
    pub cwd: Option<String>,
    pub model: Option<Text>,
    pub effort: Option<Text>,
    pub service_tier: Option<Text>,
    pub collaboration_mode: Option<ModeSettings>,
}

/// One per completed model response (0.155 and later).
#[derive(Debug, PartialEq, Deserialize)]
pub struct TokenUsageRecord {
    pub response_id: Option<Text>,
    pub usage: Usage,
    pub thread_token_usage: Option<Usage>,
}

/// The history so far became a summary.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Compacted {
    /// The summary that the model gets; empty where the provider keeps it encrypted.
    pub message: Option<String>,
}

impl RolloutItem {
    /// Whether the whole payload was parsed, which proves that it is JSON.
    pub(super) fn is_parsed(&self) -> bool {
        !matches!(
            self,
            RolloutItem::Unknown { .. }
                | RolloutItem::Bookkeeping
                | RolloutItem::ResponseItem(ResponseItem::Bookkeeping)
                | RolloutItem::Event(Event::Bookkeeping)
        )
    }

    pub(super) fn parse(kind: &str, payload: &str) -> RolloutItem {
        let item = match kind {
            "session_meta" => read(payload).map(|meta| RolloutItem::SessionMeta(Box::new(meta))),
            "turn_context" => read(payload).map(RolloutItem::TurnContext),
            "token_usage_record" => read(payload).map(RolloutItem::TokenUsageRecord),
            "compacted" => read(payload).map(RolloutItem::Compacted),
            "world_state" | "inter_agent_communication_metadata" | "retained_context" => {
                Some(RolloutItem::Bookkeeping)
            }
            "response_item" => return RolloutItem::from_response(payload),
            "event_msg" => match Event::parse(payload) {
                Ok(event) => Some(RolloutItem::Event(event)),
                Err(inner) => return RolloutItem::Unknown { kind: format!("event_msg/{inner}") },
            },
            _ => None,
        };
        item.unwrap_or_else(|| RolloutItem::Unknown { kind: kind.to_owned() })
    }

    pub(super) fn from_response(payload: &str) -> RolloutItem {
        match ResponseItem::parse(payload) {
            Ok(item) => RolloutItem::ResponseItem(item),
            Err(inner) => RolloutItem::Unknown { kind: format!("response_item/{inner}") },
        }
    }
}
