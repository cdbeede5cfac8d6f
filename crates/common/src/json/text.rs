//! Immutable text that clones share: a session and its trace hold a tool's output once.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Cheap to clone and immutable: redaction replaces the whole text.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Word(&'static str),
    Shared(Arc<str>),
}

impl Text {
    /// A static text; allocates nothing.
    pub const fn word(word: &'static str) -> Text {
        Text(Repr::Word(word))
    }

    /// Whether it is a static text, which is in the program's source.
    pub const fn is_word(&self) -> bool {
        matches!(self.0, Repr::Word(_))
    }

    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Word(word) => word,
            Repr::Shared(text) => text,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::word("")
    }
}

macro_rules! shared {
    ($($of:ty),*) => {
        $(impl From<$of> for Text {
            fn from(text: $of) -> Text {
                Text(Repr::Shared(text.into()))
            }
        })*
    };
}

shared!(&str, String);

impl From<&Text> for Text {
    fn from(text: &Text) -> Text {
        text.clone()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.as_str().to_owned()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        // Clones are equal without a look at their bytes.
        std::ptr::eq(self.as_str(), other.as_str()) || **self == **other
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

/// Equals the hash of `str`, as `Borrow<str>` requires.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn static_and_shared_texts_of_one_content_are_equal() {
        let (word, shared) = (Text::word("exec"), Text::from(String::from("exec")));
        assert_eq!(word, shared);
        assert_eq!((word.to_string(), format!("{shared:?}")), ("exec".into(), "\"exec\"".into()));
        assert_eq!(HashMap::from([(word, 1)]).get("exec"), Some(&1));
        assert_eq!(serde_json::from_str::<Text>(&serde_json::to_string(&shared).unwrap()).unwrap(), shared);
    }

    #[test]
    fn a_clone_shares_its_text() {
        let text = Text::from("printed");
        assert_eq!(text.clone().as_ptr(), text.as_ptr());
    }
}
