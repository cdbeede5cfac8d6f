//! An item that Codex completed, parsed by its type: in one pass where the type comes first, as Codex writes it.

use super::event::Item;
use super::line::{read, type_tag};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

impl Item {
    pub(super) fn parse(item: &str) -> Item {
        let kind = type_tag(item).map_or_else(|| "?".into(), |tag| tag.r#type);
        Item::from_kind(&kind, TolerantFields(item))
            .unwrap_or_else(|| Item::Unknown { kind: kind.into_owned() })
    }

    /// None for an unknown kind, or an unknown shape of a known one.
    fn from_kind(kind: &str, fields: impl ItemFields) -> Option<Item> {
        match kind {
            "UserMessage" => fields.read().map(Item::UserMessage),
            "CommandExecution" => fields.read().map(Item::CommandExecution),
            "FileChange" => fields.read().map(Item::FileChange),
            "McpToolCall" => fields.read().map(Item::McpToolCall),
            "WebSearch" => fields.read().map(Item::WebSearch),
            "ImageView" => fields.read().map(Item::ImageView),
            "ImageGeneration" => fields.read().map(Item::ImageGeneration),
            "CollabAgentToolCall" => fields.read().map(Item::CollabAgentToolCall),
            "SubAgentActivity" => fields.read().map(Item::SubAgentActivity),
            "ContextCompaction" => fields.read().map(|IgnoredAny| Item::ContextCompaction),
            "EnteredReviewMode" => fields.read().map(Item::EnteredReviewMode),
            "ExitedReviewMode" => fields.read().map(|IgnoredAny| Item::ExitedReviewMode),
            "AgentMessage" | "Reasoning" | "Plan" | "HookPrompt" => {
                fields.read().map(|IgnoredAny| Item::Echo)
            }
            _ => None,
        }
    }
}

/// The fields of an item, parsed as what its type names.
trait ItemFields {
    fn read<T: DeserializeOwned>(self) -> Option<T>;
}

/// The whole item; a field of an odd type counts as absent.
struct TolerantFields<'a>(&'a str);

impl ItemFields for TolerantFields<'_> {
    fn read<T: DeserializeOwned>(self) -> Option<T> {
        read(self.0)
    }
}

/// The fields after the type.
struct FieldsAfterType<A>(A);

impl<'de, A: MapAccess<'de>> ItemFields for FieldsAfterType<A> {
    fn read<T: DeserializeOwned>(self) -> Option<T> {
        T::deserialize(MapAccessDeserializer::new(self.0)).ok()
    }
}

/// An item whose first field is its type, as Codex writes it.
pub(super) struct TypeFirst(pub(super) Item);

impl<'de> Deserialize<'de> for TypeFirst {
    fn deserialize<D: Deserializer<'de>>(item: D) -> Result<TypeFirst, D::Error> {
        item.deserialize_map(TypeFirstVisitor).map(TypeFirst)
    }
}

struct TypeFirstVisitor;

impl<'de> Visitor<'de> for TypeFirstVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an item whose first field is its type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Item, A::Error> {
        let other = || A::Error::custom("another item");
        match fields.next_entry()? {
            Some(("type", kind)) => Item::from_kind(kind, FieldsAfterType(fields)).ok_or_else(other),
            _ => Err(other()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_item_is_read_alike_in_one_pass_and_in_two() {
        let known = [
            r#"{"type":"CommandExecution","id":"c","command":["ls"],"exit_code":3,"more":[{}]}"#,
            r#"{"type":"ContextCompaction","id":"c","more":{"a":1}}"#,
            r#"{"type":"Plan","text":"x"}"#,
        ];
        for item in known {
            let TypeFirst(read) = serde_json::from_str(item).unwrap();
            assert_eq!(read, Item::parse(item), "{item}");
        }
        let others = [
            r#"{"id":"c","type":"ContextCompaction"}"#,
            r#"{"type":"CommandExecution","id":"c","exit_code":"three"}"#,
            r#"{"type":"Surprise"}"#,
            r#"{"type":7}"#,
            "{}",
            "[]",
        ];
        for item in others {
            assert!(serde_json::from_str::<TypeFirst>(item).is_err(), "{item}");
        }
        assert_eq!(Item::parse(others[0]), Item::ContextCompaction);
    }

    #[test]
    fn the_first_field_of_every_corpus_item_is_its_type() {
        let mut items = 0;
        for file in fs::read_dir("tests/corpus/0.169.0").unwrap() {
            for line in fs::read_to_string(file.unwrap().path()).unwrap_or_default().lines() {
                let Some((_, rest)) = line.split_once(r#","item":{"#) else { continue };
                assert!(rest.starts_with(r#""type":""#), "{line}");
                items += 1;
            }
        }
        assert!(items > 500, "only {items}");
    }
}
