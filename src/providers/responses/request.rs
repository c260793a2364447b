//! The request body, borrowed from the history. Nothing is stored there: the whole conversation goes along.

use std::borrow::Cow;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, FileFormat, Message, Part};
use claw_actors::ports::model::{CacheRetention, ModelRequest, Thinking};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::providers::host::{Host, service_tier};
use crate::providers::openai::{NO_OUTPUT, SEE_IMAGES, effort, least_effort};
use crate::providers::{FILE_GONE, IMAGE_GONE, tool_id};

/// Longest id of a call or an item.
const MAX_ID: usize = 64;
/// Least `max_output_tokens` that the API takes.
const LEAST_TOKENS: u32 = 16;

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    instructions: String,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    max_output_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    prompt_cache_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_retention: Option<&'static str>,
}

#[derive(Serialize)]
struct Reasoning {
    effort: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    description: &'a str,
    parameters: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Message {
        role: &'static str,
        content: Vec<Piece<'a>>,
    },
    Call {
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Cow<'a, str>>,
        call_id: Cow<'a, str>,
        name: &'a str,
        arguments: String,
    },
    Result {
        #[serde(rename = "type")]
        kind: &'static str,
        call_id: Cow<'a, str>,
        output: Cow<'a, str>,
    },
    /// A reasoning item, as it came.
    Reasoning(Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    InputText { text: Cow<'a, str> },
    InputImage { image_url: String, detail: &'static str },
    InputFile { filename: &'a str, file_data: String },
    OutputText { text: &'a str, annotations: [(); 0] },
}

/// Builds the body.
pub(super) fn body<'a>(request: &'a ModelRequest, api: &str) -> Body<'a> {
    let texts = request.system.iter().map(|block| block.text.as_str());
    let texts: Vec<&str> = texts.filter(|text| !text.trim().is_empty()).collect();
    let (thinks, compat) = (request.reasoning, &request.compat);
    Body {
        model: &request.model,
        instructions: texts.join("\n\n"),
        input: input(request, api),
        tools: request
            .tools
            .iter()
            .map(|tool| Tool {
                kind: "function",
                name: &tool.name,
                description: &tool.description,
                parameters: tool.parameters.text(),
                strict: (compat.strict_mode != Some(false)).then_some(false),
            })
            .collect(),
        stream: true,
        store: (compat.store != Some(false)).then_some(false),
        service_tier: service_tier(request),
        max_output_tokens: request.max_tokens.max(LEAST_TOKENS),
        // Models that think refuse one.
        temperature: request.temperature.filter(|_| !thinks),
        reasoning: reasoning(request),
        include: if thinks {
            vec!["reasoning.encrypted_content"]
        } else {
            Vec::new()
        },
        prompt_cache_key: &request.cache_key,
        prompt_cache_retention: (request.cache == CacheRetention::Long && keeps_for_a_day(request)).then_some("24h"),
    }
}

/// Does the server keep a prompt for a day for this model. It refuses the field for all others.
fn keeps_for_a_day(request: &ModelRequest) -> bool {
    let is_of = |family: &str| {
        let rest = request.model.strip_prefix(family);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-20"))
    };
    let by_version = ["gpt-5.1", "gpt-5.2", "gpt-5.3", "gpt-5.4", "gpt-5.5"]
        .iter()
        .any(|version| request.model.starts_with(version));
    let known = by_version || ["gpt-5", "gpt-5-codex", "gpt-4.1"].into_iter().any(is_of);
    known && Host::of(&request.endpoint.base_url) == Host::OpenAi
}

/// How hard the model is to think. One that is not to think does so as little as it can.
fn reasoning(request: &ModelRequest) -> Option<Reasoning> {
    if !request.reasoning {
        return None;
    }
    if request.thinking == Thinking::Off {
        let effort = least_effort(&request.model)?;
        return Some(Reasoning { effort, summary: None });
    }
    Some(Reasoning {
        effort: effort(request.thinking),
        summary: Some("auto"),
    })
}

fn input<'a>(request: &'a ModelRequest, api: &str) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(request.messages.len());
    let mut images: Vec<Piece<'a>> = Vec::new();
    for message in request.messages.iter() {
        match message.as_ref() {
            Message::ToolResult {
                tool_call_id, content, ..
            } => {
                let output = result(content, &mut images);
                items.push(Item::Result {
                    kind: "function_call_output",
                    call_id: call_id(tool_call_id),
                    output,
                });
            }
            Message::User { content, .. } => {
                push_images(&mut images, &mut items);
                let content: Vec<Piece<'a>> = content.iter().map(piece).collect();
                if !content.is_empty() {
                    items.push(Item::Message { role: "user", content });
                }
            }
            Message::Assistant(message) => {
                push_images(&mut images, &mut items);
                assistant(message, request, api, &mut items);
            }
        }
    }
    push_images(&mut images, &mut items);
    items
}

/// A result holds text: its images follow in a message of the user.
fn push_images<'a>(images: &mut Vec<Piece<'a>>, items: &mut Vec<Item<'a>>) {
    if images.is_empty() {
        return;
    }
    let mut content = vec![Piece::InputText {
        text: Cow::Borrowed("Images of the tool results above:"),
    }];
    content.append(images);
    items.push(Item::Message { role: "user", content });
}

fn piece(part: &Part) -> Piece<'_> {
    match part {
        Part::Text { text } => Piece::InputText {
            text: Cow::Borrowed(text),
        },
        Part::Image {
            data: Some(data),
            mime_type,
            ..
        } => Piece::InputImage {
            image_url: format!("data:{mime_type};base64,{data}"),
            detail: "auto",
        },
        Part::Image { data: None, .. } => Piece::InputText {
            text: Cow::Borrowed(IMAGE_GONE),
        },
        Part::File {
            data: Some(data),
            mime_type,
            name,
            ..
        } if FileFormat::of_mime_type(mime_type) == Some(FileFormat::Pdf) => Piece::InputFile {
            filename: name,
            file_data: format!("data:{mime_type};base64,{data}"),
        },
        Part::File { .. } => Piece::InputText {
            text: Cow::Borrowed(FILE_GONE),
        },
    }
}

fn result<'a>(content: &'a [Part], images: &mut Vec<Piece<'a>>) -> Cow<'a, str> {
    let mut texts: Vec<&str> = Vec::new();
    let before = images.len();
    for part in content {
        match part {
            Part::Text { text } => texts.push(text),
            Part::Image { data: Some(_), .. } | Part::File { data: Some(_), .. } => images.push(piece(part)),
            Part::Image { data: None, .. } => texts.push(IMAGE_GONE),
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

/// The part of our id that the API knows the call by.
fn call_id(id: &str) -> Cow<'_, str> {
    tool_id::portable(id.split('|').next().unwrap_or_default(), MAX_ID)
}

fn assistant<'a>(message: &'a AssistantMessage, request: &ModelRequest, api: &str, items: &mut Vec<Item<'a>>) {
    let own = message.api == api && message.provider == request.provider && message.model == request.model;
    // A thought is wanted back beside the calls it led to, and with them alone.
    let with_thoughts = own && message.tool_calls().next().is_some();
    let mut thought = false;
    for part in &message.content {
        match part {
            AssistantPart::Thinking {
                thinking_signature: Some(item),
                ..
            } if with_thoughts => {
                let item = serde_json::from_str::<Value>(item).ok().filter(Value::is_object);
                thought |= item.is_some();
                items.extend(item.map(Item::Reasoning));
            }
            AssistantPart::Thinking { .. } => {}
            AssistantPart::Text { text } if text.trim().is_empty() => {}
            AssistantPart::Text { text } => items.push(Item::Message {
                role: "assistant",
                content: vec![Piece::OutputText { text, annotations: [] }],
            }),
            AssistantPart::ToolCall(call) => items.push(Item::Call {
                kind: "function_call",
                // The item's id names its thought, which must stand before it then.
                id: call
                    .id
                    .split_once('|')
                    .map(|(_, item)| item)
                    .filter(|item| thought && item.starts_with("fc"))
                    .map(|item| tool_id::portable(item, MAX_ID)),
                call_id: call_id(&call.id),
                name: &call.name,
                arguments: if call.arguments.is_object() {
                    call.arguments.to_string()
                } else {
                    "{}".to_owned()
                },
            }),
        }
    }
}
