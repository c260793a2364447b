//! The request body, borrowed from the history: nothing large is copied before it is serialised.

use std::borrow::Cow;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, FileFormat, Message, Part};
use claw_actors::ports::model::{CacheRetention, ModelRequest, Thinking};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::API;
use crate::providers::host::Host;
use crate::providers::{FILE_GONE, IMAGE_GONE, tool_id};

/// Longest tool-call id.
const MAX_ID: usize = 64;
const NO_OUTPUT: &str = "(no output)";

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Block<'a> {
    #[serde(flatten)]
    kind: BlockKind<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockKind<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        title: &'a str,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Cow<'a, Value>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
struct Source<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    media_type: &'a str,
    data: &'a str,
}

#[derive(Clone, Copy, Serialize)]
struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

/// The mark of a place up to which the prompt is kept.
fn kept(request: &ModelRequest) -> Option<CacheControl> {
    let ttl = match request.cache {
        CacheRetention::None => return None,
        CacheRetention::Short => None,
        CacheRetention::Long => Some("1h"),
    };
    Some(CacheControl { kind: "ephemeral", ttl })
}

impl<'a> From<BlockKind<'a>> for Block<'a> {
    fn from(kind: BlockKind<'a>) -> Self {
        Self {
            kind,
            cache_control: None,
        }
    }
}

fn text(text: &str) -> Block<'_> {
    BlockKind::Text {
        text: Cow::Borrowed(text),
    }
    .into()
}

/// Builds the body. Breakpoints for the prompt cache: the system prompt (or the tools, when it has none), and the end
/// of the conversation.
pub(super) fn body(request: &ModelRequest) -> Body<'_> {
    let mut system: Vec<Block<'_>> = Vec::with_capacity(request.system.len());
    let mut breakpoint = None;
    for block in request.system.iter() {
        if block.text.trim().is_empty() {
            continue;
        }
        system.push(text(&block.text));
        if block.cache {
            breakpoint = Some(system.len() - 1);
        }
    }
    let mut tools: Vec<Tool<'_>> = request
        .tools
        .iter()
        .map(|tool| Tool {
            name: &tool.name,
            description: &tool.description,
            input_schema: tool.parameters.text(),
            cache_control: None,
        })
        .collect();
    match breakpoint {
        Some(at) => system[at].cache_control = kept(request),
        None => {
            if let Some(last) = tools.last_mut() {
                last.cache_control = kept(request);
            }
        }
    }
    let (thinking, output_config) = thinking_of(request, API);
    // Others that speak its language have no tiers.
    let at_home = is_at_home(request);
    Body {
        model: &request.model,
        max_tokens: request.max_tokens,
        stream: true,
        // Not together with thinking, and the newest take none at all.
        temperature: request
            .temperature
            .filter(|_| thinking.is_none() && version(&request.model).is_none_or(|version| version < (4, 7))),
        system,
        tools,
        messages: turns(request),
        thinking,
        output_config,
        // Those there are; it refuses others.
        service_tier: request
            .service_tier
            .as_deref()
            .filter(|tier| at_home && matches!(*tier, "auto" | "standard_only")),
    }
}

/// Is it Anthropic's own server.
pub(super) fn is_at_home(request: &ModelRequest) -> bool {
    request.provider == "anthropic" || Host::of(&request.endpoint.base_url) == Host::Anthropic
}

impl Body<'_> {
    /// It thinks within a budget and has tools: only when it is asked does such a model think between their calls. One that
    /// thinks as it sees fit does so by itself.
    pub(super) fn thinks_between_tools(&self) -> bool {
        let budget = self
            .thinking
            .as_ref()
            .is_some_and(|thinking| thinking["type"] == "enabled");
        budget && !self.tools.is_empty()
    }
}

/// Least budget that the API takes, in tokens; as much is left for the answer.
const LEAST_BUDGET: u32 = 1_024;

/// The version in the name of a Claude, wherever it is served: `claude-opus-4-7`, `anthropic.claude-sonnet-4-20250514-v1:0`
/// (4.0), `claude-3-5-haiku`; one without a version is the newest. `None`: another model.
fn version(model: &str) -> Option<(u32, u32)> {
    let (_, name) = model.split_once("claude")?;
    let mut parts = name.split(|char: char| !char.is_ascii_alphanumeric());
    // A date has more digits.
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
    Some(match parts.by_ref().find_map(number) {
        Some(major) => (major, parts.next().and_then(number).unwrap_or(0)),
        None => (u32::MAX, 0),
    })
}

/// How hard to think: newer models take a level, the others a budget that lies below `max_tokens`.
/// The same for Claude behind another API, whose thoughts are that API's.
pub(in crate::providers) fn thinking_of(request: &ModelRequest, api: &str) -> (Option<Value>, Option<Value>) {
    if !request.reasoning || request.thinking == Thinking::Off || in_foreign_loop(request, api) {
        return (None, None);
    }
    if version(&request.model).is_some_and(|version| version >= (4, 6)) {
        let effort = match request.thinking {
            Thinking::Off | Thinking::Adaptive => None,
            Thinking::Minimal | Thinking::Low => Some("low"),
            Thinking::Medium => Some("medium"),
            Thinking::High => Some("high"),
            Thinking::XHigh => Some("max"),
        };
        let config = effort.map(|effort| json!({"effort": effort}));
        return (Some(json!({"type": "adaptive"})), config);
    }
    let wanted = match request.thinking {
        Thinking::Off | Thinking::Minimal => LEAST_BUDGET,
        Thinking::Low => 2_048,
        Thinking::Medium | Thinking::Adaptive => 8_192,
        Thinking::High => 16_384,
        Thinking::XHigh => 32_768,
    };
    let budget = wanted.min(request.max_tokens.saturating_sub(LEAST_BUDGET));
    let enabled = json!({"type": "enabled", "budget_tokens": budget});
    ((budget >= LEAST_BUDGET).then_some(enabled), None)
}

/// Is a tool loop going on that this model did not begin: its first turn has no thought of this model's, which the API
/// asks for when it is to think.
fn in_foreign_loop(request: &ModelRequest, api: &str) -> bool {
    let since = request
        .messages
        .iter()
        .rposition(|message| matches!(**message, Message::User { .. }));
    let loop_of = request.messages.iter().skip(since.map_or(0, |at| at + 1));
    loop_of.into_iter().any(|message| match message.as_ref() {
        Message::Assistant(message) => {
            let signed = |part: &AssistantPart| {
                matches!(part, AssistantPart::Thinking { thinking_signature: Some(signature), .. } if !signature.is_empty())
            };
            !is_own(message, request, api) || !message.content.iter().any(signed)
        }
        Message::User { .. } | Message::ToolResult { .. } => false,
    })
}

fn is_own(message: &AssistantMessage, request: &ModelRequest, api: &str) -> bool {
    message.api == api && message.provider == request.provider && message.model == request.model
}

fn turns(request: &ModelRequest) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::with_capacity(request.messages.len());
    for message in request.messages.iter() {
        let (role, content) = match message.as_ref() {
            Message::User { content, .. } => ("user", parts(content)),
            Message::Assistant(message) => ("assistant", assistant(message, request)),
            Message::ToolResult {
                tool_call_id,
                content,
                is_error,
                ..
            } => {
                let mut content = parts(content);
                if content.is_empty() {
                    content.push(text(NO_OUTPUT));
                }
                let result = BlockKind::ToolResult {
                    tool_use_id: tool_id::portable(tool_call_id, MAX_ID),
                    content,
                    is_error: *is_error,
                };
                ("user", vec![result.into()])
            }
        };
        if content.is_empty() {
            continue;
        }
        // Roles must alternate, and all results of one batch belong into one message.
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.content.extend(content),
            Some(_) | None => turns.push(Turn { role, content }),
        }
    }
    if let Some(block) = turns
        .iter_mut()
        .rfind(|turn| turn.role == "user")
        .and_then(|turn| turn.content.last_mut())
    {
        block.cache_control = kept(request);
    }
    turns
}

fn parts(content: &[Part]) -> Vec<Block<'_>> {
    content
        .iter()
        .filter_map(|part| match part {
            // The API refuses text without a visible character.
            Part::Text { text: piece } => (!piece.trim().is_empty()).then(|| text(piece)),
            Part::Image {
                data: Some(data),
                mime_type,
                ..
            } => Some(
                BlockKind::Image {
                    source: Source {
                        kind: "base64",
                        media_type: mime_type,
                        data,
                    },
                }
                .into(),
            ),
            Part::Image { data: None, .. } => Some(text(IMAGE_GONE)),
            Part::File {
                data: Some(data),
                mime_type,
                name,
                ..
            } if FileFormat::of_mime_type(mime_type) == Some(FileFormat::Pdf) => Some(
                BlockKind::Document {
                    source: Source {
                        kind: "base64",
                        media_type: mime_type,
                        data,
                    },
                    title: name,
                }
                .into(),
            ),
            Part::File { .. } => Some(text(FILE_GONE)),
        })
        .collect()
}

fn assistant<'a>(message: &'a AssistantMessage, request: &ModelRequest) -> Vec<Block<'a>> {
    let own = is_own(message, request, API);
    message
        .content
        .iter()
        .filter_map(|part| match part {
            AssistantPart::Text { text: piece } => (!piece.trim().is_empty()).then(|| text(piece)),
            // Signed by this model for this model; to any other it is noise.
            AssistantPart::Thinking {
                thinking,
                thinking_signature: Some(signature),
                redacted,
            } if own && !signature.is_empty() => Some(
                if *redacted {
                    BlockKind::RedactedThinking { data: signature }
                } else {
                    BlockKind::Thinking { thinking, signature }
                }
                .into(),
            ),
            AssistantPart::Thinking { .. } => None,
            AssistantPart::ToolCall(call) => Some(
                BlockKind::ToolUse {
                    id: tool_id::portable(&call.id, MAX_ID),
                    name: &call.name,
                    input: if call.arguments.is_object() {
                        Cow::Borrowed(&call.arguments)
                    } else {
                        Cow::Owned(Value::Object(serde_json::Map::new()))
                    },
                }
                .into(),
            ),
        })
        .collect()
}
