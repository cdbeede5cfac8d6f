//! One line of a rollout: `{"timestamp", "ordinal", "type", "payload"}`, written since Codex 0.35.
//!
//! Up to 0.2x a line is bare: the response item alone, without an envelope, a time or a turn. The first line is then the
//! session's: `{"id", "timestamp", "instructions", "git"}`. `{"record_type": "state"}` lines surround each request.

use super::fields::if_it_fits;
use super::reader;
use super::rollout_item::RolloutItem;
use super::session_meta::{Git, SessionMeta};
use common::json::escapes;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use memchr::memchr2;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;
use std::str;
use std::sync::LazyLock;

/// What follows a payload is no longer than this, in bytes.
const LONGEST_TAIL: usize = 512;

/// Follows the payload of a response item (0.169): `{"history_sequence", "sampled_through_sequence", …}`.
const METADATA: &str = ",\"metadata\":";

static FIND_METADATA: LazyLock<Finder> = LazyLock::new(|| Finder::new(METADATA));

#[derive(Debug, PartialEq)]
pub struct RolloutLine {
    pub timestamp: Option<Timestamp>,
    /// Its place in the thread, from 0 (0.150 and later); a fork or a rewind continues where its base ends.
    pub ordinal: Option<u64>,
    /// Without an envelope (up to 0.2x); has no time.
    pub is_bare: bool,
    pub item: RolloutItem,
}

impl RolloutLine {
    /// None for a line that is not a JSON object that any version writes. An unpaired surrogate in a text is replaced:
    /// it must not lose the line.
    pub fn parse(line: &[u8]) -> Option<RolloutLine> {
        let line = reader::without_mark(line);
        let parsed = RolloutLine::parse_exact(line);
        if matches!(parsed, None | Some(RolloutLine { item: RolloutItem::Unknown { .. }, .. }))
            && let Ok(text) = str::from_utf8(line)
            && let Some(mended) = escapes::mended(text)
        {
            return RolloutLine::parse_exact(mended.as_bytes()).or(parsed);
        }
        parsed
    }

    fn parse_exact(line: &[u8]) -> Option<RolloutLine> {
        if let Some(envelope) = Envelope::framing(line) {
            let line = envelope.parse();
            // Otherwise nothing has checked that the payload is JSON.
            if line.item.is_parsed() {
                return Some(line);
            }
        }
        let fields: LineFields = serde_json::from_slice(line).ok()?;
        match fields.envelope() {
            Some(envelope) => Some(envelope.parse()),
            None => Some(RolloutLine {
                timestamp: None,
                ordinal: None,
                is_bare: true,
                item: fields.bare_item(line)?,
            }),
        }
    }
}

/// The fields of a line with an envelope, and those of a bare one.
#[derive(Deserialize)]
struct LineFields<'a> {
    #[serde(borrow, default, deserialize_with = "if_it_fits")]
    timestamp: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "if_it_fits")]
    ordinal: Option<u64>,
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    record_type: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "if_it_fits")]
    id: Option<String>,
    #[serde(default, deserialize_with = "if_it_fits")]
    git: Option<Git>,
}

impl<'a> LineFields<'a> {
    fn envelope(&self) -> Option<Envelope<'a>> {
        Some(Envelope {
            payload: self.payload?.get(),
            kind: self.r#type.clone()?,
            timestamp: self.timestamp.as_ref().and_then(|text| text.parse().ok()),
            ordinal: self.ordinal,
        })
    }

    /// None for a line of no kind that a bare file has.
    fn bare_item(self, line: &[u8]) -> Option<RolloutItem> {
        if self.r#type.is_some() {
            return Some(RolloutItem::from_response(str::from_utf8(line).ok()?));
        }
        if self.record_type.is_some() {
            return Some(RolloutItem::StateRecord);
        }
        let (id, timestamp) = (self.id?, Some(self.timestamp?.into_owned()));
        let meta = SessionMeta { id, timestamp, git: self.git, ..SessionMeta::default() };
        Some(RolloutItem::SessionMeta(Box::new(meta)))
    }
}

#[derive(Debug, PartialEq)]
struct Envelope<'a> {
    timestamp: Option<Timestamp>,
    ordinal: Option<u64>,
    kind: Cow<'a, str>,
    payload: &'a str,
}

impl Envelope<'_> {
    fn parse(self) -> RolloutLine {
        let item = RolloutItem::parse(&self.kind, self.payload);
        RolloutLine { timestamp: self.timestamp, ordinal: self.ordinal, is_bare: false, item }
    }

    /// Fast path for a line exactly in Codex's format: does not parse the payload, which is most of a file.
    ///
    /// The caller parses the payload and finds out whether it is JSON. If it is, `LineFields` gives the same envelope.
    fn framing(line: &[u8]) -> Option<Envelope<'_>> {
        let rest = str::from_utf8(line).ok()?.strip_prefix("{\"timestamp\":\"")?;
        let (timestamp, rest) = plain(rest)?;
        let (ordinal, rest) = match rest.strip_prefix(",\"ordinal\":") {
            Some(rest) => {
                let (digits, rest) = rest.split_at(rest.find(',')?);
                (Some(serde_json::from_str(digits).ok()?), rest)
            }
            None => (None, rest),
        };
        let (kind, rest) = plain(rest.strip_prefix(",\"type\":\"")?)?;
        let rest = rest.strip_prefix(",\"payload\":")?.strip_suffix('}')?;
        let payload = if kind == "response_item" { without_metadata(rest) } else { rest };
        Some(Envelope {
            timestamp: plain_time(timestamp).or_else(|| timestamp.parse().ok()),
            ordinal,
            kind: Cow::Borrowed(kind),
            payload: Some(payload).filter(|payload| *payload != "null")?,
        })
    }
}

/// Splits at the end of a string. None where the string has escapes or control characters.
fn plain(text: &str) -> Option<(&str, &str)> {
    let end = memchr2(b'"', b'\\', text.as_bytes())?;
    let (string, rest) = (&text[..end], text[end..].strip_prefix('"')?);
    (!string.bytes().any(|byte| byte.is_ascii_control())).then_some((string, rest))
}

/// Parses `2026-11-22T10:04:49.277Z`, Codex's format, faster than a general parser.
fn plain_time(text: &str) -> Option<Timestamp> {
    let bytes: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let shape = bytes.map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    if shape != *b"0000-00-00T00:00:00.000Z" {
        return None;
    }
    let number =
        |digits: Range<usize>| bytes[digits].iter().fold(0, |all, byte| all * 10 + i16::from(byte - b'0'));
    let small = |at: usize| i8::try_from(number(at..at + 2)).ok();
    let date = Date::new(number(0..4), small(5)?, small(8)?).ok()?;
    let time = Time::new(small(11)?, small(14)?, small(17)?, i32::from(number(20..23)) * 1_000_000).ok()?;
    Offset::UTC.to_timestamp(date.to_datetime(time)).ok()
}

/// The payload without the metadata after it, if that metadata is JSON.
fn without_metadata(rest: &str) -> &str {
    let near_end = rest.len().saturating_sub(LONGEST_TAIL);
    let last = FIND_METADATA.find_iter(&rest.as_bytes()[near_end..]).last();
    let Some(at) = last.map(|at| near_end + at) else { return rest };
    match serde_json::from_str(&rest[at + METADATA.len()..]) {
        Ok(IgnoredAny) => &rest[..at],
        Err(_) => rest,
    }
}

#[cfg(test)]
mod tests;
