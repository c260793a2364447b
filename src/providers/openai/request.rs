//! The request body, borrowed from the history.

use std::borrow::Cow;

use claw_actors::ports::compat::ThinkingFormat;
use claw_actors::ports::message::{AssistantMessage, AssistantPart, FileFormat, Message, Part};
use claw_actors::ports::model::{ModelRequest, SystemBlock, Thinking};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::API;
use super::details;
use super::manners::Manners;
use crate::providers::host::{Host, service_tier};
use crate::providers::{FILE_GONE, IMAGE_GONE, tool_id};

/// Longest tool-call id.
const MAX_ID: usize = 40;
pub(in crate::providers) const NO_OUTPUT: &str = "(no output)";
const RESULTS_SEEN: &str = "I have read the results.";
pub(in crate::providers) const SEE_IMAGES: &str = "(see the image that follows)";

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
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
    reasoning_effort: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_thinking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template_kwargs: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<OllamaOptions>,
}

/// What Ollama takes beside what is compatible.
#[derive(Serialize)]
struct OllamaOptions {
    num_ctx: u64,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> Turn<'a> {
    fn new(role: &'static str, content: Content<'a>) -> Self {
        Self {
            role,
            content: Some(content),
            reasoning_content: None,
            reasoning_details: Vec::new(),
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
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
        // The caller says [`least_effort`] then.
        Thinking::Off | Thinking::Minimal => "minimal",
        Thinking::Low => "low",
        Thinking::Medium | Thinking::Adaptive => "medium",
        Thinking::High => "high",
        Thinking::XHigh => "xhigh",
    }
}

/// The lowest effort that an OpenAI model takes: left out, it thinks as hard as it does by default. `None` for models that
/// take no other, and those that nothing is known of.
pub(in crate::providers) fn least_effort(model: &str) -> Option<&'static str> {
    let model = model.rsplit('/').next().unwrap_or(model);
    let has = |part: &str| model.contains(part);
    if ["-chat", "-pro", "deep-research", "-preview", "o1-mini"]
        .into_iter()
        .any(has)
    {
        return None;
    }
    if ["o1", "o3", "o4"].into_iter().any(|family| model.starts_with(family)) {
        return Some("low");
    }
    let version = model.strip_prefix("gpt-5")?;
    Some(match (version.starts_with('.'), has("codex")) {
        (_, true) if has("codex-mini") => "medium",
        (_, true) => "low",
        (true, false) => "none",
        (false, false) => "minimal",
    })
}

/// Builds the body for the server that the request goes to.
pub(super) fn body(request: &ModelRequest) -> Body<'_> {
    let manners = &Manners::of(request);
    // The one gateway that hands cache breakpoints through to Anthropic's models.
    let marks_cache = manners.is(Host::OpenRouter) && request.model.starts_with("anthropic/");
    let thinks = request.reasoning && request.thinking != Thinking::Off;
    let told = manners.thinking().filter(|_| request.reasoning);
    let effort = |format| {
        if told != Some(format) {
            return None;
        }
        if thinks {
            Some(manners.effort(request.thinking))
        } else {
            manners.least_effort(format, request)
        }
    };
    let switch = |format| (told == Some(format)).then_some(thinks);
    let (max_tokens, max_completion_tokens) = if manners.wants_max_completion_tokens() {
        (None, Some(request.max_tokens))
    } else {
        (Some(request.max_tokens), None)
    };
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    let role = manners.instructs_as(request.reasoning);
    messages.extend(system(&request.system, role, marks_cache));
    conversation(request, manners, &mut messages);
    if marks_cache {
        mark_last_user(&mut messages);
    }
    Body {
        model: &request.model,
        messages,
        stream: true,
        stream_options: manners
            .counts_in_streams()
            .then_some(StreamOptions { include_usage: true }),
        max_tokens,
        max_completion_tokens,
        temperature: request
            .temperature
            .filter(|_| !manners.fixed_temperature(&request.model)),
        tools: request
            .tools
            .iter()
            .map(|tool| Tool {
                kind: "function",
                function: Function {
                    name: &tool.name,
                    description: &tool.description,
                    parameters: manners.schema(&tool.parameters),
                    strict: manners.strict(),
                },
            })
            .collect(),
        store: manners.takes_store().then_some(false),
        service_tier: service_tier(request),
        prompt_cache_key: (manners.is(Host::OpenAi) && !request.cache_key.is_empty()).then_some(&request.cache_key),
        reasoning_effort: effort(ThinkingFormat::OpenAi),
        reasoning: effort(ThinkingFormat::OpenRouter).map(|effort| json!({"effort": effort})),
        thinking: switch(ThinkingFormat::Zai).map(|on| json!({"type": if on { "enabled" } else { "disabled" }})),
        enable_thinking: switch(ThinkingFormat::Qwen),
        chat_template_kwargs: switch(ThinkingFormat::QwenTemplate).map(|on| json!({"enable_thinking": on})),
        options: manners.window().map(|num_ctx| OllamaOptions { num_ctx }),
    }
}

fn system<'a>(blocks: &'a [SystemBlock], role: &'static str, marks_cache: bool) -> Option<Turn<'a>> {
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
        return Some(Turn::new(role, Content::Text(text)));
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
    Some(Turn::new(role, Content::Pieces(pieces)))
}

fn conversation<'a>(request: &'a ModelRequest, manners: &Manners<'a>, turns: &mut Vec<Turn<'a>>) {
    let call_id = |id: &'a str| {
        if manners.wants_ids_of_nine() {
            tool_id::nine(id)
        } else {
            tool_id::portable(id, MAX_ID)
        }
    };
    let mut images: Vec<Piece<'a>> = Vec::new();
    for message in request.messages.iter() {
        match message.as_ref() {
            Message::ToolResult {
                tool_call_id,
                tool_name,
                content,
                ..
            } => {
                let result = tool_text(content, &mut images);
                turns.push(Turn {
                    tool_call_id: Some(call_id(tool_call_id)),
                    name: manners.wants_names_of_results().then_some(tool_name.as_str()),
                    ..Turn::new("tool", Content::Text(result))
                });
            }
            Message::User { content, .. } => {
                if manners.wants_answer_to_results() && turns.last().is_some_and(|turn| turn.role == "tool") {
                    turns.push(Turn::new("assistant", Content::Text(Cow::Borrowed(RESULTS_SEEN))));
                }
                push_images(&mut images, turns);
                turns.extend(user(content));
            }
            Message::Assistant(message) => {
                push_images(&mut images, turns);
                let own = message.api == API && message.provider == request.provider && message.model == request.model;
                let thoughts = Thoughts {
                    content: manners.wants_reasoning_back(),
                    details: (manners.wants_details_back() && own).then_some(request.model.as_str()),
                    words: manners.wants_thoughts_as_words() && own,
                };
                turns.extend(assistant(message, &thoughts, call_id));
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

/// In which way what was thought goes back.
struct Thoughts<'a> {
    /// As `reasoning_content` of messages with calls, which is then refused where it is missing.
    content: bool,
    /// As `reasoning_details`, to this model.
    details: Option<&'a str>,
    /// As words before the answer.
    words: bool,
}

fn assistant<'a>(
    message: &'a AssistantMessage,
    thoughts: &Thoughts<'_>,
    call_id: impl Fn(&'a str) -> Cow<'a, str>,
) -> Option<Turn<'a>> {
    let mut texts: Vec<&str> = Vec::new();
    let mut reasoning = String::new();
    let mut reasoning_details = Vec::new();
    let mut tool_calls = Vec::new();
    for part in &message.content {
        match part {
            AssistantPart::Text { text } => texts.push(text),
            AssistantPart::Thinking {
                thinking,
                thinking_signature,
                ..
            } => {
                if thoughts.content && message.api == API {
                    reasoning.push_str(thinking);
                }
                if let (Some(model), Some(signature)) = (thoughts.details, thinking_signature) {
                    reasoning_details.extend(details::of_signature(signature, model));
                }
                if thoughts.words && !thinking.trim().is_empty() {
                    texts.extend([thinking.as_str(), "\n\n"]);
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
        reasoning_content: (thoughts.content && !tool_calls.is_empty()).then_some(reasoning),
        reasoning_details,
        tool_calls,
        tool_call_id: None,
        name: None,
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
