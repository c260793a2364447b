//! What a transcript is made of: entries of the kinds of OpenClaw's JSONL v3, and how one becomes a row.

use std::sync::Arc;

use claw_entities::transcript_entry;
use sea_orm::{DbErr, FromQueryResult, QueryResult, QuerySelect, Select, SelectModel, Selector};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::message::{AssistantPart, Message, Part};

/// One entry of the tree. Never changed once written.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub id: String,
    /// `None` at the root.
    pub parent_id: Option<String>,
    /// Position in the order of writing, from 1; a parent's is always smaller.
    pub seq: i64,
    pub body: Body,
    pub run_id: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// An entry's own fields, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Message(MessageBody),
    Compaction(Compaction),
    BranchSummary(BranchSummary),
    CustomMessage(CustomMessage),
    Custom(Custom),
    ModelChange(ModelChange),
    ThinkingLevelChange(ThinkingLevelChange),
    Label(Label),
    SessionInfo(SessionInfo),
}

/// A message as the model sees it, and what people see where that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageBody {
    /// Shared by everything that is sent again and again.
    #[serde(with = "shared")]
    pub message: Arc<Message>,
    /// What the person typed, when the model's text also carries an envelope or pending group talk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// The client's key of the request that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Why what it brings was not understood, for whoever sent it: said below the reply, whichever attempt gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
}

/// A shared message is written as the message.
mod shared {
    use std::sync::Arc;

    use serde::{Deserializer, Serialize as _, Serializer};

    use super::Message;

    pub(super) fn serialize<S: Serializer>(message: &Arc<Message>, serializer: S) -> Result<S::Ok, S::Error> {
        message.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Message>, D::Error> {
        Message::deserialize(deserializer).map(Arc::new)
    }
}

/// Stands for everything before `first_kept_entry_id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compaction {
    pub summary: String,
    pub first_kept_entry_id: String,
    #[serde(default)]
    pub tokens_before: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BranchSummary {
    pub from_id: String,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// Something the product, not a person, tells the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomMessage {
    pub custom_type: String,
    pub content: Vec<Part>,
    /// Shown to people too.
    #[serde(default)]
    pub display: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// State that rides along; the model never sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Custom {
    pub custom_type: String,
    #[serde(default)]
    pub data: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelChange {
    pub provider: String,
    pub model_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThinkingLevelChange {
    pub thinking_level: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Label {
    pub target_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    pub name: String,
}

impl Compaction {
    /// What stands beside the summary and is no part of it: the next summary is not made from it.
    pub fn rules(&self) -> Option<&str> {
        self.details.as_ref()?.get("rules")?.as_str()
    }
}

impl From<Message> for Body {
    fn from(message: Message) -> Self {
        Self::Message(MessageBody {
            message: Arc::new(message),
            display: None,
            idempotency_key: None,
            missed: Vec::new(),
        })
    }
}

fn assistant_bytes(part: &AssistantPart) -> usize {
    match part {
        AssistantPart::Text { text } => text.len(),
        AssistantPart::Thinking { thinking, .. } => thinking.len(),
        AssistantPart::ToolCall(call) => call.name.len() + json_bytes(&call.arguments),
    }
}

fn json_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + json_bytes(value)).sum(),
    }
}

impl Body {
    /// The kind's wire name, as in JSONL and in the column `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Compaction(_) => "compaction",
            Self::BranchSummary(_) => "branch_summary",
            Self::CustomMessage(_) => "custom_message",
            Self::Custom(_) => "custom",
            Self::ModelChange(_) => "model_change",
            Self::ThinkingLevelChange(_) => "thinking_level_change",
            Self::Label(_) => "label",
            Self::SessionInfo(_) => "session_info",
        }
    }

    /// Bytes of what the model is told by it, without what JSON puts around that. Pictures and files lie elsewhere.
    pub fn bytes(&self) -> u64 {
        let parts = |content: &[Part]| content.iter().filter_map(Part::text).map(str::len).sum::<usize>();
        let bytes = match self {
            Self::Message(body) => match body.message.as_ref() {
                Message::User { content, .. } | Message::ToolResult { content, .. } => parts(content),
                Message::Assistant(message) => message.content.iter().map(assistant_bytes).sum(),
            },
            Self::Compaction(body) => body.summary.len(),
            Self::BranchSummary(body) => body.summary.len(),
            Self::CustomMessage(body) => parts(&body.content),
            Self::Custom(_)
            | Self::ModelChange(_)
            | Self::ThinkingLevelChange(_)
            | Self::Label(_)
            | Self::SessionInfo(_) => 0,
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The text of the column `body`.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Message(body) => serde_json::to_string(body),
            Self::Compaction(body) => serde_json::to_string(body),
            Self::BranchSummary(body) => serde_json::to_string(body),
            Self::CustomMessage(body) => serde_json::to_string(body),
            Self::Custom(body) => serde_json::to_string(body),
            Self::ModelChange(body) => serde_json::to_string(body),
            Self::ThinkingLevelChange(body) => serde_json::to_string(body),
            Self::Label(body) => serde_json::to_string(body),
            Self::SessionInfo(body) => serde_json::to_string(body),
        }
    }

    /// Reads the columns back. `None` for a kind or a body this version cannot read.
    pub fn decode(kind: &str, body: &str) -> Option<Self> {
        fn read<T: DeserializeOwned>(body: &str, wrap: fn(T) -> Body) -> Option<Body> {
            serde_json::from_str(body).ok().map(wrap)
        }
        match kind {
            "message" => read(body, Self::Message),
            "compaction" => read(body, Self::Compaction),
            "branch_summary" => read(body, Self::BranchSummary),
            "custom_message" => read(body, Self::CustomMessage),
            "custom" => read(body, Self::Custom),
            "model_change" => read(body, Self::ModelChange),
            "thinking_level_change" => read(body, Self::ThinkingLevelChange),
            "label" => read(body, Self::Label),
            "session_info" => read(body, Self::SessionInfo),
            _ => None,
        }
    }

    /// The compaction, where the entry is one.
    pub fn compaction(&self) -> Option<&Compaction> {
        match self {
            Self::Compaction(body) => Some(body),
            Self::Message(_)
            | Self::BranchSummary(_)
            | Self::CustomMessage(_)
            | Self::Custom(_)
            | Self::ModelChange(_)
            | Self::ThinkingLevelChange(_)
            | Self::Label(_)
            | Self::SessionInfo(_) => None,
        }
    }

    /// The message, where the entry is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(body) => Some(&body.message),
            Self::Compaction(_)
            | Self::BranchSummary(_)
            | Self::CustomMessage(_)
            | Self::Custom(_)
            | Self::ModelChange(_)
            | Self::ThinkingLevelChange(_)
            | Self::Label(_)
            | Self::SessionInfo(_) => None,
        }
    }
}

impl Entry {
    /// `None` when the row cannot be read by this version.
    pub fn from_row(row: transcript_entry::Model) -> Option<Self> {
        Columns {
            seq: row.seq,
            id: row.id,
            parent_id: row.parent_id,
            kind: row.kind,
            body: row.body,
            run_id: row.run_id,
            created_at: row.created_at,
        }
        .entry()
    }
}

/// The columns an entry is made of. Of a long conversation hundreds of rows are read at once: what all of them have in
/// common is not read with each.
pub(crate) struct Columns {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) parent_id: Option<String>,
    kind: String,
    body: String,
    run_id: Option<String>,
    created_at: i64,
}

impl Columns {
    /// Has the query give these columns alone, in the order that [`FromQueryResult`] reads them.
    pub(crate) fn of(query: Select<transcript_entry::Entity>) -> Selector<SelectModel<Self>> {
        query
            .select_only()
            .columns([
                transcript_entry::Column::Seq,
                transcript_entry::Column::Id,
                transcript_entry::Column::ParentId,
                transcript_entry::Column::Kind,
                transcript_entry::Column::Body,
                transcript_entry::Column::RunId,
                transcript_entry::Column::CreatedAt,
            ])
            .into_model()
    }

    /// `None` when the row cannot be read by this version.
    pub(crate) fn entry(self) -> Option<Entry> {
        let body = Body::decode(&self.kind, &self.body)?;
        Some(Entry {
            id: self.id,
            parent_id: self.parent_id,
            seq: self.seq,
            body,
            run_id: self.run_id,
            created_at: self.created_at,
        })
    }
}

/// By position, which is found faster than by name.
impl FromQueryResult for Columns {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        Ok(Self {
            seq: row.try_get_by_index(0)?,
            id: row.try_get_by_index(1)?,
            parent_id: row.try_get_by_index(2)?,
            kind: row.try_get_by_index(3)?,
            body: row.try_get_by_index(4)?,
            run_id: row.try_get_by_index(5)?,
            created_at: row.try_get_by_index(6)?,
        })
    }
}
