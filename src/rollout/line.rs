//! One line of a rollout: `{"timestamp", "ordinal", "type", "payload"}`, written since Codex 0.35; before, the
//! payload alone.

use super::bare;
use super::encoding;
use super::envelope::Envelope;
use super::escapes;
use super::event::Event;
use super::response_item::ResponseItem;
use super::settings::ModeSettings;
use super::text::Text;
use super::usage::Usage;
use super::value::Value;
use jiff::Timestamp;
use memchr::memchr2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Debug, PartialEq)]
pub struct RolloutLine {
    pub timestamp: Option<Timestamp>,
    /// Its place in the thread, from 0 (0.150 and later); a fork or a rewind continues where its base ends.
    pub ordinal: Option<u64>,
    pub container: Container,
    pub item: RolloutItem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Envelope,
    /// Up to 0.2x; has no time.
    Bare,
}

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

/// The line is not a JSON object that any version writes.
#[derive(Debug, PartialEq)]
pub struct MalformedLine;

/// The `type` inside a payload.
#[derive(Deserialize)]
pub(super) struct TypeTag<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
}

impl RolloutLine {
    /// An unpaired surrogate in a text is replaced: it must not lose the line.
    pub fn parse(line: &[u8]) -> Result<RolloutLine, MalformedLine> {
        let line = encoding::without_mark(line);
        let parsed = RolloutLine::parse_exact(line);
        if matches!(parsed, Ok(RolloutLine { item: RolloutItem::Unknown { .. }, .. }) | Err(_))
            && let Ok(text) = std::str::from_utf8(line)
            && let Some(mended) = escapes::mended(text)
        {
            return RolloutLine::parse_exact(mended.as_bytes()).or(parsed);
        }
        parsed
    }

    fn parse_exact(line: &[u8]) -> Result<RolloutLine, MalformedLine> {
        if let Some(envelope) = Envelope::framing(line) {
            let item = RolloutItem::parse(&envelope.kind, envelope.payload);
            // Otherwise nothing has checked that the payload is JSON.
            if item.is_parsed() {
                return Ok(RolloutLine::from_envelope(&envelope, item));
            }
        }
        if let Some(envelope) = Envelope::around(line)? {
            let item = RolloutItem::parse(&envelope.kind, envelope.payload);
            return Ok(RolloutLine::from_envelope(&envelope, item));
        }
        let item = bare::parse(line).ok_or(MalformedLine)?;
        Ok(RolloutLine { timestamp: None, ordinal: None, container: Container::Bare, item })
    }

    fn from_envelope(envelope: &Envelope, item: RolloutItem) -> RolloutLine {
        let Envelope { timestamp, ordinal, .. } = *envelope;
        RolloutLine { timestamp, ordinal, container: Container::Envelope, item }
    }
}

impl RolloutItem {
    /// Whether the whole payload was parsed, which proves that it is JSON.
    fn is_parsed(&self) -> bool {
        !matches!(
            self,
            RolloutItem::Unknown { .. }
                | RolloutItem::Bookkeeping
                | RolloutItem::ResponseItem(ResponseItem::Bookkeeping)
                | RolloutItem::Event(Event::Bookkeeping)
        )
    }

    fn parse(kind: &str, payload: &str) -> RolloutItem {
        let unknown = |kind: &str| RolloutItem::Unknown { kind: kind.to_owned() };
        match kind {
            "session_meta" => {
                read(payload).map_or_else(|| unknown(kind), |meta| RolloutItem::SessionMeta(Box::new(meta)))
            }
            "turn_context" => read(payload).map_or_else(|| unknown(kind), RolloutItem::TurnContext),
            "token_usage_record" => {
                read(payload).map_or_else(|| unknown(kind), RolloutItem::TokenUsageRecord)
            }
            "compacted" => read(payload).map_or_else(|| unknown(kind), RolloutItem::Compacted),
            "world_state" | "inter_agent_communication_metadata" | "retained_context" => {
                RolloutItem::Bookkeeping
            }
            "response_item" => RolloutItem::from_response(payload),
            "event_msg" => match Event::parse(payload) {
                Ok(event) => RolloutItem::Event(event),
                Err(inner) => unknown(&format!("event_msg/{inner}")),
            },
            other => unknown(other),
        }
    }

    pub(super) fn from_response(payload: &str) -> RolloutItem {
        match ResponseItem::parse(payload) {
            Ok(item) => RolloutItem::ResponseItem(item),
            Err(inner) => RolloutItem::Unknown { kind: format!("response_item/{inner}") },
        }
    }
}

pub(super) fn type_tag(payload: &str) -> Option<TypeTag<'_>> {
    match first_type(payload) {
        Some(kind) => Some(TypeTag { r#type: Cow::Borrowed(kind) }),
        None => serde_json::from_str(payload).ok(),
    }
}

/// Codex writes the type first, so the rest need not be parsed.
fn first_type(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(r#"{"type":""#)?;
    let end = memchr2(b'"', b'\\', rest.as_bytes())?;
    rest[end..].starts_with('"').then(|| &rest[..end])
}

/// None when a required field of `T` is missing. A field of an odd type counts as absent: a later version's change
/// to one field must not lose the whole line.
pub(super) fn read<T: DeserializeOwned>(payload: &str) -> Option<T> {
    serde_json::from_str(payload).ok().or_else(|| {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).ok()?;
        let fitting = fields.into_iter().filter(|(name, value)| fits::<T>(name, value)).collect();
        T::deserialize(serde_json::Value::Object(fitting)).ok()
    })
}

/// Whether `T` accepts this field: parsing it alone may fail for missing fields only.
fn fits<T: DeserializeOwned>(name: &str, value: &serde_json::Value) -> bool {
    let alone = serde_json::Map::from_iter([(name.to_owned(), value.clone())]);
    T::deserialize(serde_json::Value::Object(alone))
        .map_or_else(|error| error.to_string().starts_with("missing field"), |_| true)
}

/// None for a field of an odd type, in types that borrow from the line: `read` cannot parse those.
pub(super) fn if_it_fits<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    let raw = <&RawValue>::deserialize(field)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::usage::Count;

    fn item(line: &str) -> Result<RolloutItem, MalformedLine> {
        RolloutLine::parse(line.as_bytes()).map(|line| line.item)
    }

    #[test]
    fn a_malformed_line_is_bad_and_an_unknown_one_is_kept_by_kind() {
        for bad in ["", "{", "[]", "{}", r#"{"payload":{}}"#, r#"{"type":3,"payload":{}}"#, r#"{"id":"x"}"#] {
            assert_eq!(item(bad), Err(MalformedLine), "{bad}");
        }
        let kinds = [
            (r#"{"type":"surprise","payload":{}}"#, "surprise"),
            (r#"{"type":"surprise"}"#, "response_item/surprise"),
            (r#"{"type":"response_item","payload":{"type":"surprise"}}"#, "response_item/surprise"),
            (r#"{"type":"event_msg","payload":{"type":"surprise"}}"#, "event_msg/surprise"),
            (r#"{"type":"event_msg","payload":7}"#, "event_msg/?"),
            (r#"{"type":"session_meta","payload":{"id":7}}"#, "session_meta"),
        ];
        for (line, kind) in kinds {
            assert_eq!(item(line), Ok(RolloutItem::Unknown { kind: kind.into() }), "{line}");
        }
    }

    #[test]
    fn codexs_own_bookkeeping_is_known() {
        let lines = [
            r#"{"type":"world_state","payload":{"full":true,"state":{}}}"#,
            // An answer to `request_user_input`, kept for the next compaction (0.171); the tool's output has it too.
            r#"{"type":"retained_context","payload":{"type":"verified_answer","call_id":"c","questions":[]}}"#,
        ];
        for line in lines {
            assert_eq!(item(line), Ok(RolloutItem::Bookkeeping), "{line}");
        }
    }

    #[test]
    fn a_field_of_an_odd_type_does_not_lose_its_line() {
        let meta = SessionMeta { id: "t".into(), cwd: Some("/w".into()), ..SessionMeta::default() };
        let odd = Count(None);
        let usage =
            Usage { input_tokens: 30.into(), output_tokens: odd, total_tokens: odd, ..Usage::default() };
        let record = TokenUsageRecord { response_id: None, usage, thread_token_usage: None };
        let table = [
            (
                r#"{"timestamp":7,"type":"session_meta","payload":{"id":"t","cwd":"/w","git":3,"originator":[]}}"#,
                RolloutItem::SessionMeta(Box::new(meta)),
            ),
            (
                r#"{"type":"turn_context","payload":{"model":"m","effort":{"level":"high"}}}"#,
                RolloutItem::TurnContext(TurnContext { model: Some("m".into()), ..TurnContext::default() }),
            ),
            (
                r#"{"type":"token_usage_record","payload":{"response_id":7,"thread_token_usage":"many",
                    "usage":{"input_tokens":30,"output_tokens":-1,"total_tokens":null}}}"#,
                RolloutItem::TokenUsageRecord(record),
            ),
        ];
        for (line, read) in table {
            assert_eq!(item(line), Ok(read), "{line}");
        }
    }

    #[test]
    fn a_usage_record_is_read_with_its_totals() {
        let line = r#"{"timestamp":"2026-11-22T10:04:49.277Z","ordinal":10,"type":"token_usage_record",
            "payload":{"response_id":"resp_1","usage":{"input_tokens":30,"output_tokens":1,"total_tokens":31}}}"#;
        let [input_tokens, output_tokens, total_tokens] = [30, 1, 31].map(Count::from);
        let usage = Usage { input_tokens, output_tokens, total_tokens, ..Usage::default() };
        assert_eq!(
            RolloutLine::parse(line.as_bytes()),
            Ok(RolloutLine {
                timestamp: Some("2026-11-22T10:04:49.277Z".parse().unwrap()),
                ordinal: Some(10),
                container: Container::Envelope,
                item: RolloutItem::TokenUsageRecord(TokenUsageRecord {
                    response_id: Some("resp_1".into()),
                    usage,
                    thread_token_usage: None
                }),
            })
        );
    }
}
