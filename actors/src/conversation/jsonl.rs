//! A transcript as OpenClaw writes it: JSON lines, version 3 (`agent-runtime` §7.1). The first line is the session, each
//! other one an entry. Reading is lenient: what is not understood is left out and counted, and its children hang on what
//! it hung on.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};
use claw_entities::transcript_entry;
use serde_json::{Map, Value, json};

use super::entry::Body;
use crate::error::{Error, Result};

/// The version that is written and read.
pub const VERSION: u64 = 3;
/// Entries of one file.
const MOST: usize = 200_000;
/// Values of one line: each takes many times its length in memory.
const LINE_VALUES: usize = 200_000;
/// Values of a file that a stranger may have made.
const FILE_VALUES: usize = 2_000_000;
/// Longest line, bytes: the files of a message stand in its line.
const LONGEST_LINE: usize = 24 * 1024 * 1024;
/// Longest id, bytes.
const LONGEST_ID: usize = 128;

/// What a file holds.
#[derive(Debug)]
pub struct Parsed {
    /// The session's id in the file.
    pub id: Option<String>,
    /// In the order of the file: a parent stands before its children.
    pub entries: Vec<ParsedEntry>,
    /// The newest entry of the branch in use.
    pub leaf: Option<String>,
    /// Lines that were left out.
    pub skipped: usize,
}

/// An entry as a file holds it.
#[derive(Debug)]
pub struct ParsedEntry {
    pub id: String,
    pub parent_id: Option<String>,
    pub body: Body,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// The first line. `leafId` is ours: others take the last entry.
pub fn header(session_id: &str, leaf: Option<&str>, created_at: i64) -> String {
    json!({
        "type": "session", "version": VERSION, "id": session_id, "timestamp": iso(created_at), "cwd": "/", "leafId": leaf,
    })
    .to_string()
}

/// An entry's line. `None` for a row whose body is no object.
pub fn line(row: &transcript_entry::Model) -> Option<String> {
    let mut line = Map::new();
    line.insert("type".to_owned(), json!(row.kind));
    line.insert("id".to_owned(), json!(row.id));
    line.insert("parentId".to_owned(), json!(row.parent_id));
    line.insert("timestamp".to_owned(), json!(iso(row.created_at)));
    let Ok(Value::Object(body)) = serde_json::from_str(&row.body) else {
        return None;
    };
    line.extend(body);
    Some(Value::Object(line).to_string())
}

fn iso(at: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(at)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads a file.
///
/// # Errors
/// `Invalid` when it does not begin with a session of version 3, `TooLarge` when it has too many lines or values.
pub fn parse(text: &str) -> Result<Parsed> {
    parse_at_most(text, FILE_VALUES)
}

/// As [`parse`], of a file that may hold so many values. They are counted before anything is made of them.
///
/// # Errors
/// As of [`parse`].
pub fn parse_at_most(text: &str, most: usize) -> Result<Parsed> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut reader = Reader {
        left: most,
        ..Reader::default()
    };
    let first = lines.next().unwrap_or_default();
    reader.weigh(first)?;
    let head: Option<Value> = serde_json::from_str(first).ok();
    let head = head.filter(|head| head["type"] == "session");
    let head = head.ok_or_else(|| Error::invalid("the first line is not a session of OpenClaw's transcript format"))?;
    // Files from before versions have none.
    let version = head["version"].as_u64().unwrap_or(1);
    if version != VERSION {
        return Err(Error::invalid(format!(
            "the transcript has version {version}; version {VERSION} is read here"
        )));
    }
    for line in lines {
        reader.line(line)?;
    }
    let wanted = head["leafId"].as_str().and_then(|leaf| reader.standing(leaf));
    let leaf = wanted.or_else(|| reader.entries.last().map(|entry| entry.id.clone()));
    Ok(Parsed {
        id: head["id"].as_str().map(str::to_owned),
        leaf,
        entries: reader.entries,
        skipped: reader.skipped,
    })
}

#[derive(Default)]
struct Reader {
    entries: Vec<ParsedEntry>,
    ids: HashSet<String>,
    /// What stands for an entry that was left out: the one it hung on.
    instead: HashMap<String, Option<String>>,
    skipped: usize,
    /// Values that may still come.
    left: usize,
}

impl Reader {
    /// Refuses a line that would take more memory than a conversation has use for.
    fn weigh(&mut self, line: &str) -> Result<()> {
        if line.len() > LONGEST_LINE {
            return Err(Error::TooLarge(format!(
                "a line of the transcript is longer than {} MiB",
                LONGEST_LINE >> 20
            )));
        }
        let values = values(line);
        if values > LINE_VALUES {
            return Err(Error::TooLarge(format!(
                "a line of the transcript has more than {LINE_VALUES} JSON values"
            )));
        }
        self.left = self.left.checked_sub(values).ok_or_else(|| {
            Error::TooLarge("the transcript has too many JSON values; import it with the command line".to_owned())
        })?;
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<()> {
        if self.entries.len() + self.skipped >= MOST {
            return Err(Error::TooLarge(format!("the transcript has more than {MOST} entries")));
        }
        self.weigh(line)?;
        let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(line) else {
            self.skipped += 1;
            return Ok(());
        };
        let text =
            |fields: &Map<String, Value>, name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let parent_id = text(&fields, "parentId").and_then(|parent| self.standing(&parent));
        let id = text(&fields, "id").filter(|id| is_id(id));
        let Some(id) = id.filter(|id| !self.ids.contains(id)) else {
            self.skipped += 1;
            return Ok(());
        };
        let created_at = text(&fields, "timestamp")
            .and_then(|at| DateTime::parse_from_rfc3339(&at).ok())
            .map_or(0, |at| at.timestamp_millis());
        let kind = text(&fields, "type").unwrap_or_default();
        if kind == "compaction"
            && let Some(kept) = text(&fields, "firstKeptEntryId").and_then(|kept| self.standing(&kept))
        {
            fields.insert("firstKeptEntryId".to_owned(), json!(kept));
        }
        let body = normal(&kind, created_at, fields)
            .and_then(|fields| Body::decode(&kind, &Value::Object(fields).to_string()));
        match body {
            Some(body) => {
                self.ids.insert(id.clone());
                self.entries.push(ParsedEntry {
                    id,
                    parent_id,
                    body,
                    created_at,
                });
            }
            None => {
                self.skipped += 1;
                self.instead.insert(id, parent_id);
            }
        }
        Ok(())
    }

    /// The entry that stands where this one stood. `None`: there is none, so a child of it is a root.
    fn standing(&self, id: &str) -> Option<String> {
        // One that was left out may have had the id first.
        if self.ids.contains(id) {
            return Some(id.to_owned());
        }
        self.instead.get(id).cloned().flatten()
    }
}

/// About how many values a line of JSON holds: what separates and opens them, outside of strings.
fn values(line: &str) -> usize {
    let (mut count, mut inside, mut escaped) = (0, false, false);
    for byte in line.bytes() {
        if escaped {
            escaped = false;
        } else if inside {
            inside = byte != b'"';
            escaped = byte == b'\\';
        } else {
            inside = byte == b'"';
            count += usize::from(matches!(byte, b',' | b':' | b'{' | b'['));
        }
    }
    count
}

fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The entry's own fields in our spelling.
fn normal(kind: &str, at: i64, mut fields: Map<String, Value>) -> Option<Map<String, Value>> {
    for name in ["type", "id", "parentId", "timestamp"] {
        fields.remove(name);
    }
    match kind {
        "message" => {
            let message = fields.get_mut("message")?.as_object_mut()?;
            let assistant = message.get("role")?.as_str()? == "assistant";
            let content = message.entry("content").or_insert_with(|| json!([]));
            parts(content, assistant);
            if !message.get("timestamp").is_some_and(Value::is_i64) {
                message.insert("timestamp".to_owned(), json!(at));
            }
            if assistant && message.get("stopReason").is_some_and(|reason| !known_reason(reason)) {
                message.insert("stopReason".to_owned(), json!("stop"));
            }
        }
        "custom_message" => parts(fields.get_mut("content")?, false),
        _ => {}
    }
    Some(fields)
}

fn known_reason(reason: &Value) -> bool {
    ["stop", "length", "toolUse", "error", "aborted"]
        .iter()
        .any(|known| reason == known)
}

/// Content as a list of our parts: a plain string is one text, older spellings of calls and images are read, and what is
/// of no known kind is left out.
fn parts(content: &mut Value, assistant: bool) {
    if let Value::String(text) = content {
        *content = json!([{"type": "text", "text": text}]);
        return;
    }
    let Value::Array(list) = content else {
        *content = json!([]);
        return;
    };
    list.retain_mut(|part| {
        let kind = part["type"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "text" => part["text"].is_string(),
            "thinking" if assistant => part["thinking"].is_string(),
            "file" if !assistant => part["mimeType"].is_string(),
            "image" if !assistant => image(part),
            "toolCall" | "tool_use" | "toolUse" | "functionCall" if assistant => call(part),
            _ => false,
        }
    });
}

fn image(part: &mut Value) -> bool {
    if let (Some(data), Some(kind)) = (part["source"]["data"].as_str(), part["source"]["media_type"].as_str()) {
        *part = json!({"type": "image", "data": data, "mimeType": kind});
    }
    part["mimeType"].is_string()
}

/// A call without input was never finished (§7.4).
fn call(part: &mut Value) -> bool {
    let input = ["arguments", "input", "args", "partialJson"]
        .iter()
        .map(|name| part[*name].clone())
        .find(|input| !input.is_null());
    let (Some(name), Some(input)) = (part["name"].as_str(), input) else {
        return false;
    };
    let Some(id) = part["id"].as_str() else { return false };
    *part = json!({"type": "toolCall", "id": id, "name": name, "arguments": input});
    true
}

#[cfg(test)]
mod tests;
