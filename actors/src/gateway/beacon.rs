//! What a connected program says of itself (`system-event`): a name, how long nobody touched it, why it speaks.
//!
//! Words for people. Role, scopes and device come from the connection's own record and cannot be said.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::now_ms;

/// Longest text, bytes.
const LONGEST: usize = 512;
const MOST_TAGS: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Beacon {
    pub text: String,
    /// Whom it is about: a connection of the same user. Without a match, the one that speaks.
    pub device_id: Option<String>,
    pub instance_id: Option<String>,
    host: Option<String>,
    mode: Option<String>,
    version: Option<String>,
    platform: Option<String>,
    device_family: Option<String>,
    model_identifier: Option<String>,
    last_input_seconds: Option<u64>,
    reason: Option<String>,
    tags: Option<Vec<String>>,
    /// When it was said, epoch milliseconds.
    #[serde(skip, default = "now_ms")]
    at: i64,
}

impl Beacon {
    fn texts(&self) -> [(&'static str, Option<&str>); 8] {
        [
            ("text", Some(&self.text)),
            ("host", self.host.as_deref()),
            ("mode", self.mode.as_deref()),
            ("version", self.version.as_deref()),
            ("platform", self.platform.as_deref()),
            ("deviceFamily", self.device_family.as_deref()),
            ("modelIdentifier", self.model_identifier.as_deref()),
            ("reason", self.reason.as_deref()),
        ]
    }

    /// The field that is longer than presence has room for, if one is.
    pub fn too_long(&self) -> Option<&'static str> {
        let mut texts = self.texts().into_iter();
        let long = texts.find(|(_, text)| text.is_some_and(|text| text.len() > LONGEST));
        let tags = self.tags.as_deref().unwrap_or_default();
        let many = tags.len() > MOST_TAGS || tags.iter().any(|tag| tag.len() > LONGEST);
        long.map(|(name, _)| name).or(many.then_some("tags"))
    }

    /// Shows it in a presence entry.
    pub fn put_onto(&self, entry: &mut Value) {
        for (name, text) in self.texts() {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                entry[name] = json!(text);
            }
        }
        if let Some(seconds) = self.last_input_seconds {
            entry["lastInputSeconds"] = json!(seconds);
        }
        if let Some(tags) = &self.tags {
            entry["tags"] = json!(tags);
        }
        entry["ts"] = json!(self.at);
    }
}
