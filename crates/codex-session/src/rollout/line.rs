//! One line of a rollout: `{"timestamp", "ordinal", "type", "payload"}`, written since Codex 0.35; before, the
//! payload alone.

use super::envelope::{Envelope, MalformedLine};
use super::rollout_item::RolloutItem;
use super::{bare, reader};
use common::json::escapes;
use jiff::Timestamp;

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

impl RolloutLine {
    /// An unpaired surrogate in a text is replaced: it must not lose the line.
    pub fn parse(line: &[u8]) -> Result<RolloutLine, MalformedLine> {
        let line = reader::without_mark(line);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::rollout_item::TokenUsageRecord;
    use crate::rollout::rollout_item::TurnContext;
    use crate::rollout::session_meta::SessionMeta;
    use crate::rollout::usage::{Count, Usage};

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

    #[test]
    fn an_unpaired_surrogate_does_not_lose_its_line() {
        let line = r#"{"timestamp":"2026-11-22T10:04:14Z","type":"event_msg","payload":{"type":"user_message","message":"a\ud83db"}}"#;
        let whole = line.replace(r"\ud83d", "\u{fffd}");
        assert_eq!(RolloutLine::parse(line.as_bytes()), RolloutLine::parse(whole.as_bytes()));
        assert!(matches!(RolloutLine::parse(line.as_bytes()).unwrap().item, RolloutItem::Event(_)));
    }
}
