//! Reading platform JSON without trusting its types: a field that is not what the documentation says counts as absent.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Objects and lists inside each other. Each level of a lenient type reads its part anew, so the parser's own limit
/// does not hold.
const DEEPEST: usize = 64;

/// Reads a body whose type has lenient fields.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    if is_deeper(body, DEEPEST) {
        return Err(serde_json::Error::custom("nested too deeply"));
    }
    serde_json::from_slice(body)
}

/// For `#[serde(deserialize_with)]`: the value, or the type's default when it has another shape (`null` included).
/// Not inside `#[serde(flatten)]`, which has no text to read again.
pub(super) fn field<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(part(<&RawValue>::deserialize(deserializer)?).unwrap_or_default())
}

/// A list of which only the readable elements are kept.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let elements: Vec<&RawValue> = part(<&RawValue>::deserialize(deserializer)?).unwrap_or_default();
    Ok(elements.into_iter().filter_map(part).collect())
}

fn part<'de, T: Deserialize<'de>>(raw: &'de RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// Counts brackets outside strings. What is not JSON at all, the parser finds.
fn is_deeper(body: &[u8], most: usize) -> bool {
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
        assert_eq!(read(r#"{"id":7,"text":"a"}"#).id, 7);
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
