//! What stands around a line's payload, and where the payload lies: `{"timestamp", "ordinal", "type", "payload"}`.

use super::line::{BadLine, if_it_fits};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::str;

/// The payload comes no later in a line that Codex wrote.
const LONGEST_HEAD: usize = 256;

/// What may stand behind it is no longer.
const LONGEST_TAIL: usize = 512;

const PAYLOAD: &str = "\"payload\":";

/// Behind the payload of a response item (0.169): `{"history_sequence", "sampled_through_sequence", …}`.
const METADATA: &str = ",\"metadata\":";

#[derive(Debug, PartialEq)]
pub(super) struct Envelope<'a> {
    pub(super) timestamp: Option<Timestamp>,
    pub(super) ordinal: Option<u64>,
    pub(super) kind: Cow<'a, str>,
    pub(super) payload: &'a str,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "if_it_fits")]
    timestamp: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "if_it_fits")]
    ordinal: Option<u64>,
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl Envelope<'_> {
    /// Ok(None) for JSON that is no envelope.
    pub(super) fn around(line: &[u8]) -> Result<Option<Envelope<'_>>, BadLine> {
        let fields: Fields = serde_json::from_slice(line).map_err(|_| BadLine)?;
        let (Some(kind), Some(payload)) = (fields.r#type, fields.payload) else { return Ok(None) };
        Ok(Some(Envelope {
            timestamp: fields.timestamp.and_then(|text| text.parse().ok()),
            ordinal: fields.ordinal,
            kind,
            payload: payload.get(),
        }))
    }

    /// The same for a line in the order in which Codex writes it, without a look at the payload: most of a file is
    /// payload, and whoever reads it sees whether it is JSON. Where it is, `around` says the same.
    pub(super) fn framing(line: &[u8]) -> Option<Envelope<'_>> {
        let line = str::from_utf8(line).ok()?;
        let head = &line[..line.floor_char_boundary(LONGEST_HEAD)];
        let (head, rest) = line.split_at(head.find(PAYLOAD)? + PAYLOAD.len());
        let near_end = rest.ceil_char_boundary(rest.len().saturating_sub(LONGEST_TAIL));
        let (payload, tail) = match rest[near_end..].rfind(METADATA) {
            Some(at) => rest.split_at(near_end + at),
            None => rest.split_at(rest.rfind('}')?),
        };
        // Whole JSON of its own, so that what was found is a name of the envelope's, and not within another value.
        let (before, after) = (format!("{head}null}}"), format!("{{\"payload\":null{tail}"));
        let fields: Fields = serde_json::from_str(&before).ok()?;
        let others: Fields = serde_json::from_str(&after).ok()?;
        let is_told_before =
            others.timestamp.is_none() && others.ordinal.is_none() && others.r#type.is_none();
        Some(Envelope {
            timestamp: fields.timestamp.and_then(|text| text.parse().ok()),
            ordinal: fields.ordinal,
            kind: Cow::Owned(fields.r#type?.into_owned()),
            payload: Some(payload).filter(|payload| is_told_before && *payload != "null")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_what_the_whole_line_says_or_nothing() {
        let framed = [
            r#"{"timestamp":"2026-11-22T10:04:49.277Z","ordinal":10,"type":"t","payload":{"a":[1,{"payload":2}]}}"#,
            r#"{"type":"t","payload":7}"#,
            "{\"type\":\"t\",\"payload\":{} } \r",
            r#"{"type":"\u0074","payload":[]}"#,
            r#"{"ordinal":"x","timestamp":7,"type":"t","payload":{}}"#,
            r#"{"type":"t","payload":{"metadata":1},"metadata":{"a":{},"b":2}}"#,
        ];
        for line in framed {
            let frame = Envelope::framing(line.as_bytes())
                .map(|frame| Envelope { payload: frame.payload.trim(), ..frame });
            assert_eq!(Ok(frame), Envelope::around(line.as_bytes()), "{line}");
        }
        let others = [
            r#"{"payload":{},"type":"t"}"#,
            r#"{"other":{"payload":1},"type":"t","payload":2}"#,
            r#"{"type":"t","other":"\"payload\":"}"#,
            r#"{"type":"t","type":"t","payload":{}}"#,
            r#"{"type":7,"payload":{}}"#,
            r#"{"type":"t","payload":null}"#,
            r#"{"type":"t","payload":{},"metadata":{},"ordinal":2}"#,
            r#"{"type":"t","payload":{"a":1,"metadata":2}}"#,
            "{\"type\":\"t\",\"payload\":{",
        ];
        for line in others {
            assert_eq!(Envelope::framing(line.as_bytes()), None, "{line}");
        }
        // Not JSON, as whoever reads the payload will see.
        let odd = r#"{"type":"t","payload":{},"payload":{}}"#;
        assert_eq!(Envelope::framing(odd.as_bytes()).unwrap().payload, r#"{},"payload":{}"#);
    }
}
