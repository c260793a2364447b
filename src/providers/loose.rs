//! Values that servers spell in more ways than their documents say.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A text, or whatever stands in its place: null and absence are empty, numbers are spelled out, a list of parts is the
/// text of its text parts, an object is its JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_str<E>(self, value: &str) -> Result<Text, E> {
        Ok(Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Text, E> {
        Ok(Text(value))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Text, A::Error> {
        let parts = Vec::<Value>::deserialize(SeqAccessDeserializer::new(list))?;
        let mut text = String::new();
        for part in &parts {
            if let Some(piece) = part.as_str().or_else(|| part.get("text").and_then(Value::as_str)) {
                text.push_str(piece);
            }
        }
        Ok(Text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(|value| Text(value.to_string()))
    }
}

/// A count; anything that is none is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) Option<u64>);

impl Count {
    pub(super) fn or_zero(self) -> u64 {
        self.0.unwrap_or(0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let whole = text.split('.').next().unwrap_or_default();
        Ok(Self(whole.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (json, expected) in [
            (r#""a\nb""#, "a\nb"),
            ("null", ""),
            ("12", "12"),
            ("true", "true"),
            (r#"[{"type":"text","text":"a"},{"type":"thinking"},"b"]"#, "ab"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(serde_json::from_str::<Text>(json).unwrap().0, expected, "{json}");
        }
    }

    #[test]
    fn counts() {
        for (json, expected) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            (r#""7""#, Some(7)),
            ("-1", None),
            ("null", None),
            ("{}", None),
        ] {
            assert_eq!(serde_json::from_str::<Count>(json).unwrap().0, expected, "{json}");
        }
    }
}
