//! The envelope of a line, and the payload in it: `{"timestamp", "ordinal", "type", "payload"}`.

use super::payload::if_it_fits;
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

/// The line is not a JSON object that any version writes.
#[derive(Debug, PartialEq)]
pub struct MalformedLine;

#[derive(Debug, PartialEq)]
pub(super) struct Envelope<'a> {
    pub(super) timestamp: Option<Timestamp>,
    pub(super) ordinal: Option<u64>,
    pub(super) kind: Cow<'a, str>,
    pub(super) payload: &'a str,
}

#[derive(Deserialize)]
struct EnvelopeFields<'a> {
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
    pub(super) fn around(line: &[u8]) -> Result<Option<Envelope<'_>>, MalformedLine> {
        let fields: EnvelopeFields = serde_json::from_slice(line).map_err(|_| MalformedLine)?;
        let (Some(kind), Some(payload)) = (fields.r#type, fields.payload) else { return Ok(None) };
        Ok(Some(Envelope {
            timestamp: fields.timestamp.and_then(|text| text.parse().ok()),
            ordinal: fields.ordinal,
            kind,
            payload: payload.get(),
        }))
    }

    /// Fast path for a line exactly in Codex's format: does not parse the payload, which is most of a file.
    ///
    /// The caller parses the payload and finds out whether it is JSON. If it is, `around` gives the same envelope.
    pub(super) fn framing(line: &[u8]) -> Option<Envelope<'_>> {
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
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn framing_gives_what_full_parsing_gives_or_nothing() {
        let framed = [
            r#"{"timestamp":"2026-11-22T10:04:49.277Z","ordinal":10,"type":"t","payload":{"a":[1,{"payload":2}]}}"#,
            r#"{"timestamp":"soon","type":"t","payload":7}"#,
            r#"{"timestamp":"","type":"é","payload": [] }"#,
            r#"{"timestamp":"","type":"response_item","payload":{"metadata":1},"metadata":{"a":{},"b":2}}"#,
        ];
        for line in framed {
            let frame = Envelope::framing(line.as_bytes());
            let frame = frame.map(|frame| Envelope { payload: frame.payload.trim(), ..frame });
            assert_eq!(Ok(frame), Envelope::around(line.as_bytes()), "{line}");
        }
        let others = [
            r#"{"type":"t","payload":{}}"#,
            r#"{"timestamp":7,"type":"t","payload":{}}"#,
            r#"{"timestamp":"\u0041","type":"t","payload":{}}"#,
            "{\"timestamp\":\"a\nb\",\"type\":\"t\",\"payload\":{}}",
            r#"{"timestamp":"","ordinal":01,"type":"t","payload":{}}"#,
            r#"{"timestamp":"","ordinal":-1,"type":"t","payload":{}}"#,
            r#"{"timestamp":"","type":7,"payload":{}}"#,
            r#"{"timestamp":"","type":"t","payload":null}"#,
            r#"{"timestamp":"","type":"t","payload":{"#,
        ];
        for line in others {
            assert_eq!(Envelope::framing(line.as_bytes()), None, "{line}");
        }
        // Not JSON, as parsing the payload shows.
        let odd = [
            (r#"{"timestamp":"","type":"t","payload":{},"payload":{}}"#, r#"{},"payload":{}"#),
            (
                r#"{"timestamp":"","type":"response_item","payload":{"a":1,"metadata":2}}"#,
                r#"{"a":1,"metadata":2}"#,
            ),
            (
                r#"{"timestamp":"","type":"t","payload":{},"metadata":{},"ordinal":2}"#,
                r#"{},"metadata":{},"ordinal":2"#,
            ),
        ];
        for (line, payload) in odd {
            assert_eq!(
                Envelope::framing(line.as_bytes()).map(|frame| frame.payload),
                Some(payload),
                "{line}"
            );
        }
    }

    #[test]
    fn a_plain_time_is_parsed_as_the_library_parses_it() {
        let odd =
            ["2026-11-22T10:04:49.277+", "2026-02-30T00:00:00.000Z", "2026-01-01T24:00:00.000Z", "soon"];
        for text in ["2026-11-22T10:04:49.277Z", "0001-01-01T00:00:00.000Z", "9999-12-30T21:59:59.999Z"] {
            assert_eq!(plain_time(text), text.parse().ok(), "{text}");
            assert!(plain_time(text).is_some(), "{text}");
        }
        assert_eq!(odd.map(plain_time), [None; 4]);
        // A leap second is left to the library.
        assert_eq!(plain_time("2026-12-31T23:59:60.000Z"), None);
    }

    #[test]
    fn framing_reads_nearly_all_of_the_corpus_as_full_parsing_does() {
        let (mut framed, mut others) = (0, 0);
        for version in fs::read_dir("../../tests/corpus").unwrap() {
            for file in fs::read_dir(version.unwrap().path()).unwrap() {
                for line in fs::read(file.unwrap().path()).unwrap().split(|byte| *byte == b'\n') {
                    match Envelope::framing(line) {
                        Some(frame) => {
                            assert_eq!(Ok(Some(frame)), Envelope::around(line));
                            framed += 1;
                        }
                        None if Envelope::around(line).is_ok_and(|around| around.is_some()) => others += 1,
                        None => {}
                    }
                }
            }
        }
        assert!(framed > 3_000 && others * 50 < framed, "{others} beside {framed}");
    }
}
