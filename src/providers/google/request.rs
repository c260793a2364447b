//! The request body.

use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part};
use claw_actors::ports::model::{ModelRequest, Thinking};
use serde::Serialize;
use serde_json::{Value, json};

use super::API;
use crate::providers::openai::{NO_OUTPUT, SEE_IMAGES};
use crate::providers::{FILE_GONE, IMAGE_GONE, schema};

/// What Google documents for calls whose signature is not there.
const UNSIGNED: &str = "skip_thought_signature_validator";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    generation_config: Config,
}

#[derive(Serialize)]
struct Instruction<'a> {
    parts: Vec<Piece<'a>>,
}

#[derive(Serialize)]
struct Content<'a> {
    role: &'static str,
    parts: Vec<Piece<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    max_output_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
struct Declaration<'a> {
    name: &'a str,
    description: &'a str,
    /// An object without properties is refused: then there are no parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    name: &'a str,
    args: Value,
}

#[derive(Serialize)]
struct Response<'a> {
    name: &'a str,
    response: Value,
}

fn text(text: &str) -> Piece<'_> {
    Piece {
        text: Some(text),
        ..Piece::default()
    }
}

/// Builds the body.
pub(super) fn body(request: &ModelRequest) -> Body<'_> {
    let system = request.system.iter().map(|block| block.text.as_str());
    let parts: Vec<Piece<'_>> = system.filter(|block| !block.trim().is_empty()).map(text).collect();
    let declarations: Vec<Declaration<'_>> = request
        .tools
        .iter()
        .map(|tool| Declaration {
            name: &tool.name,
            description: &tool.description,
            parameters: Some(schema::gemini(&tool.parameters)).filter(|plain| plain.get("properties").is_some()),
        })
        .collect();
    let tools = Tools {
        function_declarations: declarations,
    };
    Body {
        contents: contents(request),
        system_instruction: (!parts.is_empty()).then_some(Instruction { parts }),
        tools: (!tools.function_declarations.is_empty())
            .then_some(tools)
            .into_iter()
            .collect(),
        generation_config: Config {
            max_output_tokens: request.max_tokens,
            temperature: request.temperature,
            thinking_config: thinking(request),
        },
    }
}

/// Gemini 3 has levels, and cannot be told not to think; older models have a budget in tokens, 0 for none.
fn thinking(request: &ModelRequest) -> Option<ThinkingConfig> {
    if !request.reasoning {
        return None;
    }
    let off = request.thinking == Thinking::Off;
    let (thinking_budget, thinking_level) = if is_third(&request.model) {
        let level = match request.thinking {
            Thinking::Off | Thinking::Minimal | Thinking::Low => Some("low"),
            Thinking::Medium | Thinking::High | Thinking::XHigh => Some("high"),
            Thinking::Adaptive => None,
        };
        (None, level)
    } else {
        let pro = request.model.contains("pro");
        let budget = match request.thinking {
            // The larger models cannot do without.
            Thinking::Off if pro => 128,
            Thinking::Off => 0,
            Thinking::Minimal => 512,
            Thinking::Low => 2_048,
            Thinking::Medium => 8_192,
            Thinking::High | Thinking::XHigh => 24_576,
            // As much as the model sees fit.
            Thinking::Adaptive => -1,
        };
        (Some(budget), None)
    };
    Some(ThinkingConfig {
        include_thoughts: !off,
        thinking_budget,
        thinking_level,
    })
}

fn is_third(model: &str) -> bool {
    model.contains("gemini-3")
}

fn contents(request: &ModelRequest) -> Vec<Content<'_>> {
    let mut contents: Vec<Content<'_>> = Vec::with_capacity(request.messages.len());
    let mut images: Vec<Piece<'_>> = Vec::new();
    let mut in_results = false;
    for message in request.messages.iter() {
        match message.as_ref() {
            Message::ToolResult {
                tool_name,
                content,
                is_error,
                ..
            } => {
                let result = result(tool_name, content, *is_error, &mut images);
                // The results of one batch belong into one content.
                match contents.last_mut().filter(|_| in_results) {
                    Some(last) => last.parts.push(result),
                    None => contents.push(Content {
                        role: "user",
                        parts: vec![result],
                    }),
                }
                in_results = true;
                continue;
            }
            Message::User { content, .. } => {
                push_images(&mut images, &mut contents);
                let parts: Vec<Piece<'_>> = content.iter().map(piece).collect();
                if !parts.is_empty() {
                    contents.push(Content { role: "user", parts });
                }
            }
            Message::Assistant(message) => {
                push_images(&mut images, &mut contents);
                let parts = assistant(message, request);
                if !parts.is_empty() {
                    contents.push(Content { role: "model", parts });
                }
            }
        }
        in_results = false;
    }
    push_images(&mut images, &mut contents);
    contents
}

/// A result holds text: its images follow in a content of their own.
fn push_images<'a>(images: &mut Vec<Piece<'a>>, contents: &mut Vec<Content<'a>>) {
    if images.is_empty() {
        return;
    }
    let mut parts = vec![text("Images of the tool results above:")];
    parts.append(images);
    contents.push(Content { role: "user", parts });
}

fn piece(part: &Part) -> Piece<'_> {
    match part {
        Part::Text { text: piece } => text(piece),
        Part::Image {
            data: Some(data),
            mime_type,
            ..
        } => Piece {
            inline_data: Some(Blob { mime_type, data }),
            ..Piece::default()
        },
        Part::Image { data: None, .. } => text(IMAGE_GONE),
        Part::File {
            data: Some(data),
            mime_type,
            ..
        } => Piece {
            inline_data: Some(Blob {
                // As Gemini spells it.
                mime_type: if mime_type == "audio/mpeg" {
                    "audio/mp3"
                } else {
                    mime_type
                },
                data,
            }),
            ..Piece::default()
        },
        Part::File { data: None, .. } => text(FILE_GONE),
    }
}

fn result<'a>(name: &'a str, content: &'a [Part], is_error: bool, images: &mut Vec<Piece<'a>>) -> Piece<'a> {
    let before = images.len();
    let mut texts: Vec<&str> = Vec::new();
    for part in content {
        match part {
            Part::Text { text } => texts.push(text),
            Part::Image { data: Some(_), .. } | Part::File { data: Some(_), .. } => images.push(piece(part)),
            Part::Image { data: None, .. } => texts.push(IMAGE_GONE),
            Part::File { data: None, .. } => texts.push(FILE_GONE),
        }
    }
    let output = match texts.as_slice() {
        [] if images.len() > before => SEE_IMAGES.to_owned(),
        [] | [""] => NO_OUTPUT.to_owned(),
        several => several.join("\n"),
    };
    let field = if is_error { "error" } else { "output" };
    Piece {
        function_response: Some(Response {
            name,
            response: json!({ field: output }),
        }),
        ..Piece::default()
    }
}

/// What the model said. The signature of a call stands in the empty thought before it (see the stream's side).
fn assistant<'a>(message: &'a AssistantMessage, request: &ModelRequest) -> Vec<Piece<'a>> {
    let own = message.api == API && message.provider == request.provider && message.model == request.model;
    let mut parts = Vec::new();
    let (mut signature, mut signed) = (None, false);
    for part in &message.content {
        match part {
            AssistantPart::Thinking { thinking_signature, .. } => {
                signature = thinking_signature.as_deref().filter(|_| own)
            }
            AssistantPart::Text { text: piece } => {
                if !piece.trim().is_empty() {
                    parts.push(Piece {
                        thought_signature: signature.take(),
                        ..text(piece)
                    });
                }
            }
            AssistantPart::ToolCall(call) => parts.push(Piece {
                function_call: Some(Call {
                    name: &call.name,
                    args: if call.arguments.is_object() {
                        call.arguments.clone()
                    } else {
                        json!({})
                    },
                }),
                thought_signature: {
                    // Gemini 3 wants the first call of a turn signed.
                    let stands_in = (is_third(&request.model) && !signed).then_some(UNSIGNED);
                    signed = true;
                    signature.take().or(stands_in)
                },
                ..Piece::default()
            }),
        }
    }
    parts
}
