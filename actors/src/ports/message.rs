//! Transcript messages, as stored, exported (OpenClaw JSONL v3) and sent to model adapters.

mod tagged;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of a conversation. `timestamp` is epoch milliseconds everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    remote = "Self",
    tag = "role",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Message {
    /// What a person (or another agent) said.
    User { content: Vec<Part>, timestamp: i64 },
    /// What the model said.
    Assistant(AssistantMessage),
    /// What a tool answered to one call.
    ToolResult {
        tool_call_id: String,
        tool_name: String,
        content: Vec<Part>,
        /// Kept for the UI, never sent to a model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<Value>,
        #[serde(default)]
        is_error: bool,
        timestamp: i64,
    },
}

impl Message {
    /// A user message of plain text.
    pub fn user(text: impl Into<String>, timestamp: i64) -> Self {
        Self::User {
            content: vec![Part::Text { text: text.into() }],
            timestamp,
        }
    }

    /// When the message was made, epoch milliseconds.
    pub fn timestamp(&self) -> i64 {
        match self {
            Self::User { timestamp, .. } | Self::ToolResult { timestamp, .. } => *timestamp,
            Self::Assistant(message) => message.timestamp,
        }
    }
}

/// One piece of a user message or a tool result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    remote = "Self",
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Part {
    /// Plain text.
    Text { text: String },
    /// An image: inline base64 (`data`) towards a model, a stored blob (`blob`) in the database.
    Image {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        blob: Option<String>,
        mime_type: String,
    },
    /// A document or a recording ([`FileFormat`]), kept like an image.
    File {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        blob: Option<String>,
        mime_type: String,
        #[serde(default)]
        name: String,
        /// Bytes.
        #[serde(default)]
        size: u64,
    },
}

impl Part {
    /// What stands in its place where nothing but text can; its own text where it has one.
    pub fn words(&self) -> Cow<'_, str> {
        match self {
            Self::Text { text } => Cow::Borrowed(text),
            Self::Image { .. } => Cow::Borrowed("(an image)"),
            Self::File { name, .. } => Cow::Owned(format!("(a file: {name})")),
        }
    }

    /// Its text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } => Some(text),
            Self::Image { .. } | Self::File { .. } => None,
        }
    }
}

/// The files that some models read as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Pdf,
    Wav,
    Mp3,
    Ogg,
}

impl FileFormat {
    /// By the first bytes; what somebody says of them counts for nothing.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'%', b'P', b'D', b'F', b'-', ..] => Some(Self::Pdf),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            // The beginning of a frame of MPEG audio, layer 3.
            [0xff, second, ..] if second & 0xe6 == 0xe2 => Some(Self::Mp3),
            _ => None,
        }
    }

    pub fn of_mime_type(mime_type: &str) -> Option<Self> {
        [Self::Pdf, Self::Wav, Self::Mp3, Self::Ogg]
            .into_iter()
            .find(|kind| kind.mime_type() == mime_type)
    }

    pub const fn mime_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Ogg => "audio/ogg",
        }
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pdf => "PDF",
            Self::Wav => "WAV",
            Self::Mp3 => "MP3",
            Self::Ogg => "Ogg",
        }
    }
}

/// A model's message. `content` keeps the order in which the model produced it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AssistantMessage {
    pub content: Vec<AssistantPart>,
    /// Wire family, e.g. `anthropic-messages`.
    pub api: String,
    pub provider: String,
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    pub usage: Usage,
    pub stop_reason: StopReason,
    /// Safe for users; set with [`StopReason::Error`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Files it showed, and lines about those that could not be. For people: no model is sent them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Part>,
    pub timestamp: i64,
}

impl AssistantMessage {
    /// All text parts joined.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in &self.content {
            if let AssistantPart::Text { text: piece } = part {
                text.push_str(piece);
            }
        }
        text
    }

    /// The tool calls in the order the model made them.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.content.iter().filter_map(|part| match part {
            AssistantPart::ToolCall(call) => Some(call),
            AssistantPart::Text { .. } | AssistantPart::Thinking { .. } => None,
        })
    }
}

/// One piece of a model's message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    remote = "Self",
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum AssistantPart {
    /// Text for the person.
    Text { text: String },
    /// Reasoning. A signature must be replayed unchanged to the same model.
    Thinking {
        thinking: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thinking_signature: Option<String>,
        #[serde(default)]
        redacted: bool,
    },
    /// A request to run a tool.
    ToolCall(ToolCall),
}

/// A request to run a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// Parsed arguments; `{}` when the model sent none. A [`Value::String`] holds what did not parse as JSON:
    /// the loop answers such a call with an error result.
    pub arguments: Value,
}

/// Tokens and cost of one model call. `input` excludes cached tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub total_tokens: u64,
    pub cost: Cost,
}

impl Usage {
    /// Size of the prompt of this call: what fills the context window.
    pub fn prompt_tokens(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
    }

    /// Adds a call of a model with these prices (USD per million tokens: input, output, cache read, cache write).
    pub fn add(&mut self, call: &Self, prices: [f64; 4]) {
        self.input = self.input.saturating_add(call.input);
        self.output = self.output.saturating_add(call.output);
        self.cache_read = self.cache_read.saturating_add(call.cache_read);
        self.cache_write = self.cache_write.saturating_add(call.cache_write);
        self.total_tokens = self.prompt_tokens().saturating_add(self.output);
        let [input, output, cache_read, cache_write] = prices;
        #[expect(clippy::cast_precision_loss, reason = "token counts stay far below 2^52")]
        let price = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
        self.cost.input += price(call.input, input);
        self.cost.output += price(call.output, output);
        self.cost.cache_read += price(call.cache_read, cache_read);
        self.cost.cache_write += price(call.cache_write, cache_write);
        self.cost.sum_up();
    }

    /// Adds what was counted and priced already.
    pub fn merge(&mut self, other: &Self) {
        self.add(other, [0.0; 4]);
        self.cost.input += other.cost.input;
        self.cost.output += other.cost.output;
        self.cost.cache_read += other.cost.cache_read;
        self.cost.cache_write += other.cost.cache_write;
        self.cost.sum_up();
    }
}

/// USD, by price column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cost {
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_write: f64,
    pub total: f64,
}

impl Cost {
    fn sum_up(&mut self) {
        self.total = self.input + self.output + self.cache_read + self.cache_write;
    }
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    #[default]
    Stop,
    Length,
    ToolUse,
    Error,
    Aborted,
}
