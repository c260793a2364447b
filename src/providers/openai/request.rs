//! The request body, borrowed from the history.

use std::borrow::Cow;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, FileFormat, Message, Part};
use claw_actors::ports::model::{ModelRequest, SystemBlock, Thinking};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::API;
use super::host::{self, Host, ThinkingForm};
use crate::providers::{FILE_GONE, schema, tool_id};

/// Longest tool-call id.
const MAX_ID: usize = 40;
const IMAGE_GONE: &str = "[image no longer available]";
pub(in crate::providers) const NO_OUTPUT: &str = "(no output)";
const RESULTS_SEEN: &str = "I have read the results.";
pub(in crate::providers) const SEE_IMAGES: &str = "(see the image that follows)";

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: Cow<'a, RawValue>,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
}

impl<'a> Turn<'a> {
    fn new(role: &'static str, content: Content<'a>) -> Self {
        Self {
            role,
            content: Some(content),
            reasoning_content: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Pieces(Vec<Piece<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ImageUrl {
        image_url: ImageUrl,
    },
    File {
        file: InlineFile<'a>,
    },
    InputAudio {
        input_audio: Sound<'a>,
    },
}

#[derive(Serialize)]
struct InlineFile<'a> {
    filename: &'a str,
    file_data: String,
}

#[derive(Serialize)]
struct Sound<'a> {
    data: &'a str,
    format: &'static str,
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

#[derive(Clone, Copy, Serialize)]
struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
}

const CACHED: Option<CacheControl> = Some(CacheControl { kind: "ephemeral" });

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CallFunction<'a>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: &'a str,
    arguments: String,
}

/// The level as OpenAI and those who follow it spell it.
pub(in crate::providers) fn effort(level: Thinking) -> &'static str {
    match level {
        // The caller leaves it out then.
        Thinking::Off | Thinking::Minimal => "minimal",
        Thinking::Low => "low",
        Thinking::Medium | Thinking::Adaptive => "medium",
        Thinking::High => "high",
        Thinking::XHigh => "xhigh",
    }
}

/// Builds the body for a server of this kind.
pub(super) fn body(request: &ModelRequest, host: Host) -> Body<'_> {
    // The one gateway that hands cache breakpoints through to Anthropic's models.
    let marks_cache = host == Host::OpenRouter && request.model.starts_with("anthropic/");
    let own = host == Host::OpenAi;
    let thinks = request.reasoning && request.thinking != Thinking::Off;
    let form = host.thinking();
    let (max_tokens, max_completion_tokens) = if host.wants_max_completion_tokens() {
        (None, Some(request.max_tokens))
    } else {
        (Some(request.max_tokens), None)
    };
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    messages.extend(system(&request.system, marks_cache));
    conversation(request, host, &mut messages);
    if marks_cache {
        mark_last_user(&mut messages);
    }
    Body {
        model: &request.model,
        messages,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        max_tokens,
        max_completion_tokens,
        temperature: request
            .temperature
            .filter(|_| !host::fixed_temperature(host, &request.model)),
        tools: request
            .tools
            .iter()
            .map(|tool| Tool {
                kind: "function",
                function: Function {
                    name: &tool.name,
                    description: &tool.description,
                    parameters: match host.refused_keywords() {
                        [] => Cow::Borrowed(tool.parameters.text()),
                        refused => {
                            Cow::Owned(to_raw_value(&schema::without(&tool.parameters, refused)).unwrap_or_default())
                        }
                    },
                },
            })
            .collect(),
        store: own.then_some(false),
        service_tier: request.fast.then_some("priority").or(request.service_tier.as_deref()),
        prompt_cache_key: (own && !request.cache_key.is_empty()).then_some(&request.cache_key),
        reasoning_effort: (thinks && form == ThinkingForm::Effort).then(|| effort(request.thinking)),
        reasoning: (thinks && form == ThinkingForm::Reasoning).then(|| json!({"effort": effort(request.thinking)})),
        thinking: (request.reasoning && form == ThinkingForm::Switch)
            .then(|| json!({"type": if thinks { "enabled" } else { "disabled" }})),
    }
}

fn system(blocks: &[SystemBlock], marks_cache: bool) -> Option<Turn<'_>> {
    let blocks: Vec<&SystemBlock> = blocks.iter().filter(|block| !block.text.trim().is_empty()).collect();
    if blocks.is_empty() {
        return None;
    }
    if !marks_cache {
        let text = match blocks.as_slice() {
            [only] => Cow::Borrowed(only.text.as_str()),
            several => Cow::Owned(
                several
                    .iter()
                    .map(|block| block.text.as_str())
                    .collect::<Vec<_>>()
                    .join("\n\n"),
            ),
        };
        return Some(Turn::new("system", Content::Text(text)));
    }
    let breakpoint = blocks.iter().rposition(|block| block.cache);
    let pieces = blocks
        .iter()
        .enumerate()
        .map(|(at, block)| Piece::Text {
            text: &block.text,
            cache_control: CACHED.filter(|_| breakpoint == Some(at)),
        })
        .collect();
    Some(Turn::new("system", Content::Pieces(pieces)))
}

fn conversation<'a>(request: &'a ModelRequest, host: Host, turns: &mut Vec<Turn<'a>>) {
    // Everything after it belongs to the tool loop that is going on.
    let last_user = request
        .messages
        .iter()
        .rposition(|message| matches!(**message, Message::User { .. }));
    let call_id = |id: &'a str| match host {
        Host::Mistral => tool_id::nine(id),
        Host::OpenAi
        | Host::Azure
        | Host::OpenRouter
        | Host::DeepSeek
        | Host::Moonshot
        | Host::Xai
        | Host::Zai
        | Host::Other => tool_id::portable(id, MAX_ID),
    };
    let mut images: Vec<Piece<'a>> = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        match message.as_ref() {
            Message::ToolResult {
                tool_call_id, content, ..
            } => {
                let result = tool_text(content, &mut images);
                turns.push(Turn {
                    tool_call_id: Some(call_id(tool_call_id)),
                    ..Turn::new("tool", Content::Text(result))
                });
            }
            Message::User { content, .. } => {
                if host.wants_answer_to_results() && turns.last().is_some_and(|turn| turn.role == "tool") {
                    turns.push(Turn::new("assistant", Content::Text(Cow::Borrowed(RESULTS_SEEN))));
                }
                push_images(&mut images, turns);
                turns.extend(user(content));
            }
            Message::Assistant(message) => {
                push_images(&mut images, turns);
                let in_loop = last_user.is_none_or(|last| at > last);
                turns.extend(assistant(message, host.wants_reasoning_back() && in_loop, call_id));
            }
        }
    }
    push_images(&mut images, turns);
}

/// Tool results hold text only: their images follow in a message of the user.
fn push_images<'a>(images: &mut Vec<Piece<'a>>, turns: &mut Vec<Turn<'a>>) {
    if images.is_empty() {
        return;
    }
    let mut pieces = vec![Piece::Text {
        text: "Images of the tool results above:",
        cache_control: None,
    }];
    pieces.append(images);
    turns.push(Turn::new("user", Content::Pieces(pieces)));
}

fn tool_text<'a>(content: &'a [Part], images: &mut Vec<Piece<'a>>) -> Cow<'a, str> {
    let before = images.len();
    let mut texts: Vec<&str> = Vec::new();
    for part in content {
        match part {
            Part::Text { text } => texts.push(text),
            Part::Image {
                data: Some(data),
                mime_type,
                ..
            } => images.push(image(mime_type, data)),
            Part::Image { data: None, .. } => texts.push(IMAGE_GONE),
            Part::File { data: Some(_), .. } => images.push(file(part)),
            Part::File { data: None, .. } => texts.push(FILE_GONE),
        }
    }
    match texts.as_slice() {
        [] if images.len() > before => Cow::Borrowed(SEE_IMAGES),
        [] | [""] => Cow::Borrowed(NO_OUTPUT),
        [only] => Cow::Borrowed(only),
        several => Cow::Owned(several.join("\n")),
    }
}

fn image<'a>(mime_type: &str, data: &str) -> Piece<'a> {
    Piece::ImageUrl {
        image_url: ImageUrl {
            url: format!("data:{mime_type};base64,{data}"),
        },
    }
}

fn words(text: &str) -> Piece<'_> {
    Piece::Text {
        text,
        cache_control: None,
    }
}

/// A file as it is; a note where there is none of a kind that is taken.
fn file(part: &Part) -> Piece<'_> {
    let Part::File {
        data: Some(data),
        mime_type,
        name,
        ..
    } = part
    else {
        return words(FILE_GONE);
    };
    let sound = |format| Piece::InputAudio {
        input_audio: Sound { data, format },
    };
    match FileFormat::of_mime_type(mime_type) {
        Some(FileFormat::Pdf) => Piece::File {
            file: InlineFile {
                filename: name,
                file_data: format!("data:{mime_type};base64,{data}"),
            },
        },
        Some(FileFormat::Wav) => sound("wav"),
        Some(FileFormat::Mp3) => sound("mp3"),
        Some(FileFormat::Ogg) | None => words(FILE_GONE),
    }
}

fn user(content: &[Part]) -> Option<Turn<'_>> {
    let content = match content {
        [] => return None,
        [Part::Text { text }] => Content::Text(Cow::Borrowed(text)),
        parts => Content::Pieces(
            parts
                .iter()
                .map(|part| match part {
                    Part::Text { text } => words(text),
                    Part::Image {
                        data: Some(data),
                        mime_type,
                        ..
                    } => image(mime_type, data),
                    Part::Image { data: None, .. } => words(IMAGE_GONE),
                    Part::File { .. } => file(part),
                })
                .collect(),
        ),
    };
    Some(Turn::new("user", content))
}

fn assistant<'a>(
    message: &'a AssistantMessage,
    with_reasoning: bool,
    call_id: impl Fn(&'a str) -> Cow<'a, str>,
) -> Option<Turn<'a>> {
    let mut texts: Vec<&str> = Vec::new();
    let mut reasoning = String::new();
    let mut tool_calls = Vec::new();
    for part in &message.content {
        match part {
            AssistantPart::Text { text } => texts.push(text),
            AssistantPart::Thinking { thinking, .. } => {
                if with_reasoning && message.api == API {
                    reasoning.push_str(thinking);
                }
            }
            AssistantPart::ToolCall(call) => tool_calls.push(Call {
                id: call_id(&call.id),
                kind: "function",
                function: CallFunction {
                    name: &call.name,
                    // What did not parse when it came would not parse there either.
                    arguments: if call.arguments.is_object() {
                        call.arguments.to_string()
                    } else {
                        "{}".to_owned()
                    },
                },
            }),
        }
    }
    let text = match texts.as_slice() {
        [only] => Cow::Borrowed(*only),
        several => Cow::Owned(several.concat()),
    };
    if text.is_empty() && tool_calls.is_empty() {
        return None;
    }
    Some(Turn {
        role: "assistant",
        content: (!text.is_empty()).then_some(Content::Text(text)),
        reasoning_content: (!reasoning.is_empty() && !tool_calls.is_empty()).then_some(reasoning),
        tool_calls,
        tool_call_id: None,
    })
}

fn mark_last_user(turns: &mut [Turn<'_>]) {
    let Some(content) = turns
        .iter_mut()
        .rfind(|turn| turn.role == "user")
        .and_then(|turn| turn.content.as_mut())
    else {
        return;
    };
    if let Content::Text(Cow::Borrowed(text)) = content {
        *content = Content::Pieces(vec![Piece::Text {
            text,
            cache_control: None,
        }]);
    }
    if let Content::Pieces(pieces) = content {
        for piece in pieces.iter_mut().rev() {
            if let Piece::Text { cache_control, .. } = piece {
                *cache_control = CACHED;
                break;
            }
        }
    }
}
