//! Reading platform JSON without trusting its types: a field that is not what the documentation says counts as absent.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// For `#[serde(deserialize_with)]`: the value, or the type's default when it has another shape (`null` included).
pub(super) fn field<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(T::deserialize(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// A list of which only the readable elements are kept.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Value::Array(values) = Value::deserialize(deserializer)? else {
        return Ok(Vec::new());
    };
    Ok(values
        .into_iter()
        .filter_map(|value| T::deserialize(value).ok())
        .collect())
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
        let read = |json: &str| serde_json::from_str::<Sample>(json).expect("an object");
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
}
