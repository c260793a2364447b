//! Reading platform JSON without trusting its types: a field that is not what the documentation says counts as absent.
//!
//! One pass over the text: a value of another shape is read past, not read again.

use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

/// Objects and lists inside each other: what a thread's stack holds, whatever hangs on each level.
const DEEPEST: usize = 64;

/// Reads a body whose type has lenient fields.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    if is_deeper(body, DEEPEST) {
        return Err(serde_json::Error::custom("nested too deeply"));
    }
    // As a whole: a part that is read past could hide what is not text.
    let text = std::str::from_utf8(body).map_err(serde_json::Error::custom)?;
    serde_json::from_str(text)
}

/// For `#[serde(deserialize_with)]`: the value, or the type's default when it has another shape (`null` included). A
/// field of a field must be lenient too.
pub(super) fn field<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(deserializer.deserialize_any(Shape(PhantomData))?.unwrap_or_default())
}

/// A list of which only the readable elements are kept.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let elements: Vec<Element<T>> = field(deserializer)?;
    Ok(elements.into_iter().filter_map(|element| element.0).collect())
}

struct Element<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shape(PhantomData)).map(Self)
    }
}

/// Reads a `T`, or gives `None` and has read past what is there.
struct Shape<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Shape<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(present(IntoDeserializer::<E>::into_deserializer(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(present(IntoDeserializer::<E>::into_deserializer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(present(IntoDeserializer::<E>::into_deserializer(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(present(IntoDeserializer::<E>::into_deserializer(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(present(StrDeserializer::<E>::new(value)))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(present(BorrowedStrDeserializer::<E>::new(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let value = present(SeqAccessDeserializer::new(&mut elements));
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let value = present(MapAccessDeserializer::new(&mut entries));
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

fn present<'de, T: Deserialize<'de>>(value: impl Deserializer<'de>) -> Option<T> {
    T::deserialize(Present(value)).ok()
}

/// A value that is there: an `Option` of it is `Some`.
struct Present<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Present<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// Counts brackets outside strings. What is not JSON at all, the parser finds.
fn is_deeper(body: &[u8], most: usize) -> bool {
    // Nearly always there are not even as many brackets.
    if body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= most {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Sample {
        #[serde(deserialize_with = "field")]
        id: i64,
        #[serde(deserialize_with = "field")]
        text: Option<String>,
        #[serde(deserialize_with = "list")]
        numbers: Vec<u8>,
    }

    #[test]
    fn a_wrong_type_is_an_absent_field() {
        let read = |json: &str| read::<Sample>(json.as_bytes()).expect("an object");
        assert_eq!(
            read(r#"{"id":"x","text":5,"numbers":[1,"2",3,900]}"#),
            Sample {
                numbers: vec![1, 3],
                ..Sample::default()
            }
        );
        assert_eq!(read(r#"{"id":null,"text":null,"numbers":{}}"#), Sample::default());
        assert_eq!(
            read(r#"{"id":{"a":[1]},"text":["x",{}],"numbers":[[],{"b":null},"c",2.5,7]}"#),
            Sample {
                numbers: vec![7],
                ..Sample::default()
            }
        );
        let read = read(r#"{"text":"a\u00e9","id":7,"other":{"id":8}}"#);
        assert_eq!((read.id, read.text.as_deref()), (7, Some("a\u{e9}")));
    }

    #[test]
    fn what_is_no_json_is_refused_wherever_it_stands() {
        for broken in [
            r#"{"numbers":[1,}"#,
            r#"{"id":{"a":"#,
            r#"{"text":"\x"}"#,
            r#"{"id":{"a" 1}}"#,
            "7",
        ] {
            assert!(read::<Sample>(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Nested {
        #[serde(deserialize_with = "field")]
        inner: Option<Box<Nested>>,
    }

    #[test]
    fn nesting_ends_before_the_stack_does() {
        let nested = |depth: usize| "{\"inner\":".repeat(depth) + "{}" + &"}".repeat(depth);
        let innermost = |json: &str| {
            let mut level = read::<Nested>(json.as_bytes()).expect("read");
            let mut depth = 0;
            while let Some(inner) = level.inner {
                (level, depth) = (*inner, depth + 1);
            }
            depth
        };
        assert_eq!(innermost(&nested(63)), 63);
        let error = read::<Nested>(nested(100_000).as_bytes()).expect_err("too deep");
        assert!(error.to_string().starts_with("nested too deeply"), "{error}");
        // Brackets in texts do not count.
        let text = format!(r#"{{"inner":"{}\\","x":"[\"["}}"#, "[".repeat(80));
        assert!(!is_deeper(text.as_bytes(), 2), "{text}");
    }
}
