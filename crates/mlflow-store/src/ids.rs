//! Trace and span ids, derived from thread ids and keys, so that they never change.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// 16 bytes; written `tr-` + 32 hex digits, as MLflow 3 does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// 8 bytes; written as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

#[derive(Debug, thiserror::Error)]
#[error("not an id: {0}")]
pub struct BadId(String);

impl TraceId {
    /// The thread's own UUID, so that the Codex session id gives the trace id.
    /// A thread id that is no UUID is hashed; no known Codex version writes one.
    pub fn of_thread(thread_id: &str) -> TraceId {
        let digits: String = thread_id.chars().filter(|c| *c != '-').collect();
        from_hex(&digits).map_or_else(|| TraceId(first_bytes(&[thread_id])), TraceId)
    }

    /// Id of a continuation: a trace of turns after the target archived the previous trace. `number` counts from 1.
    pub fn of_continuation(thread_id: &str, number: usize) -> TraceId {
        TraceId(first_bytes(&[thread_id, &continuation(number)]))
    }

    /// Id of one turn's trace, where each turn has a trace. `turn` counts from 1.
    pub fn of_turn(thread_id: &str, turn: usize) -> TraceId {
        TraceId(first_bytes(&[thread_id, &format!("turn:{turn}")]))
    }
}

impl SpanId {
    /// From the thread and a key that no later line of the session file changes: the span's kind and index, or the
    /// call id.
    pub fn from_key(thread_id: &str, key: &str) -> SpanId {
        SpanId(first_bytes(&[thread_id, key]))
    }

    /// Id of the root span of a continuation.
    pub fn of_continuation(thread_id: &str, number: usize) -> SpanId {
        SpanId::from_key(thread_id, &continuation(number))
    }
}

fn continuation(number: usize) -> String {
    format!("continued:{number}")
}

/// The first `N` bytes of the SHA-256 over the parts. A length before each part keeps `["a", "bc"]` and
/// `["ab", "c"]` apart.
fn first_bytes<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest[..N]);
    bytes
}

/// Two lower-case hex digits per byte.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tr-{}", to_hex(&self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for TraceId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<TraceId, BadId> {
        text.strip_prefix("tr-").and_then(from_hex).map(TraceId).ok_or_else(|| BadId(text.to_owned()))
    }
}

impl FromStr for SpanId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<SpanId, BadId> {
        from_hex(text).map(SpanId).ok_or_else(|| BadId(text.to_owned()))
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TraceId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for SpanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SpanId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_the_uuid_of_its_thread() {
        let id = TraceId::of_thread("01a202b6-a73e-7ee3-8243-251c871b1d4f");
        assert_eq!(id.to_string(), "tr-01a202b6a73e7ee38243251c871b1d4f");
        assert_eq!(id.to_string().parse::<TraceId>().unwrap(), id);
    }

    #[test]
    fn span_ids_differ_by_thread_and_by_key() {
        let ids = [
            SpanId::from_key("a", "bc"),
            SpanId::from_key("ab", "c"),
            SpanId::from_key("a", "root"),
            SpanId::from_key("b", "root"),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} twice");
        }
        assert_eq!(SpanId::from_key("a", "root"), SpanId::from_key("a", "root"));
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in
            ["", "tr-", "tr-xyz", "01a202b6a73e7ee38243251c871b1d4f", "tr-01a202b6a73e7ee38243251c871b1d4"]
        {
            assert!(text.parse::<TraceId>().is_err(), "{text:?}");
        }
    }
}
