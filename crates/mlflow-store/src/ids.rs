//! Trace and span ids.

use common::printable::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

#[derive(Debug, thiserror::Error)]
#[error("not an id: {0}")]
pub struct BadId(String);

/// An id of some bytes, written as a prefix and lower-case hex digits.
macro_rules! id {
    ($(#[$doc:meta])* $Id:ident, $bytes:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $Id(pub [u8; $bytes]);

        impl $Id {
            /// The first bytes of the SHA-256 over the parts. A length before each part keeps `["a", "bc"]` and
            /// `["ab", "c"]` apart.
            pub fn from_parts(parts: &[&str]) -> $Id {
                let mut hash = Sha256::new();
                for part in parts {
                    hash.update((part.len() as u64).to_be_bytes());
                    hash.update(part.as_bytes());
                }
                $Id(*hash.finalize().first_chunk().expect("a digest has 32 bytes"))
            }
        }

        impl fmt::Display for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, hex(&self.0))
            }
        }

        impl fmt::Debug for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $Id {
            type Err = BadId;

            fn from_str(text: &str) -> Result<$Id, BadId> {
                let bytes = text.strip_prefix($prefix).and_then(from_hex);
                bytes.map($Id).ok_or_else(|| BadId(text.to_owned()))
            }
        }

        impl Serialize for $Id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $Id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$Id, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// 16 bytes; written `tr-` + 32 hex digits, as MLflow 3 does.
    TraceId, 16, "tr-"
);
id!(
    /// 8 bytes; written as 16 hex digits.
    SpanId, 8, ""
);

fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let is_hex = digits.len() == 2 * N && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap_or_default();
    is_hex.then(|| std::array::from_fn(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = TraceId::from_parts(&["a"]);
        assert_eq!(id.to_string().parse::<TraceId>().unwrap(), id);
        let id = SpanId::from_parts(&["a"]);
        assert_eq!(id.to_string().parse::<SpanId>().unwrap(), id);
    }

    #[test]
    fn ids_differ_by_every_part() {
        let ids =
            [["a", "bc"], ["ab", "c"], ["a", "root"], ["b", "root"]].map(|parts| SpanId::from_parts(&parts));
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} twice");
        }
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
