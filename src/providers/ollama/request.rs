//! The request body, borrowed from the history.

use std::borrow::Cow;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, Message, Part};
use claw_actors::ports::model::{ModelRequest, Thinking};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::providers::openai::NO_OUTPUT;
use crate::providers::{FILE_GONE, IMAGE_GONE};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Value>,
    options: Options,
}

#[derive(Serialize)]
struct Options {
    /// Tokens that are held; what is longer is cut without a word.
    num_ctx: u64,
    /// Tokens of the answer.
    num_predict: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
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
    parameters: &'a RawValue,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    /// Base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
}

impl<'a> Turn<'a> {
    fn new(role: &'static str, content: Cow<'a, str>) -> Self {
        Self {
            role,
            content,
            images: Vec::new(),
            tool_calls: Vec::new(),
            tool_name: None,
        }
    }
}

#[derive(Serialize)]
struct Call<'a> {
    function: CallFunction<'a>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: &'a str,
    arguments: Value,
}

/// Builds the body.
pub(super) fn body(request: &ModelRequest) -> Body<'_> {
    let texts = request.system.iter().map(|block| block.text.as_str());
    let texts: Vec<&str> = texts.filter(|text| !text.trim().is_empty()).collect();
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    if !texts.is_empty() {
        messages.push(Turn::new("system", joined(&texts, "\n\n")));
    }
    messages.extend(request.messages.iter().filter_map(|message| turn(message)));
    Body {
        model: &request.model,
        messages,
        stream: true,
        tools: request
            .tools
            .iter()
            .map(|tool| Tool {
                kind: "function",
                function: Function {
                    name: &tool.name,
                    description: &tool.description,
                    parameters: tool.parameters.text(),
                },
            })
            .collect(),
        think: request.reasoning.then(|| think(request)),
        options: Options {
            num_ctx: request.context_window,
            num_predict: request.max_tokens,
            temperature: request.temperature,
        },
    }
}

/// On or off; the one family that knows levels cannot be switched off.
fn think(request: &ModelRequest) -> Value {
    if !request.model.starts_with("gpt-oss") {
        return json!(request.thinking != Thinking::Off);
    }
    json!(match request.thinking {
        Thinking::Off | Thinking::Minimal | Thinking::Low => "low",
        Thinking::Medium | Thinking::Adaptive => "medium",
        Thinking::High | Thinking::XHigh => "high",
    })
}

fn turn(message: &Message) -> Option<Turn<'_>> {
    match message {
        Message::User { content, .. } => (!content.is_empty()).then(|| with_parts("user", content)),
        Message::ToolResult { tool_name, content, .. } => {
            let mut turn = with_parts("tool", content);
            turn.tool_name = Some(tool_name);
            if turn.content.is_empty() && turn.images.is_empty() {
                turn.content = Cow::Borrowed(NO_OUTPUT);
            }
            Some(turn)
        }
        Message::Assistant(message) => assistant(message),
    }
}

fn with_parts<'a>(role: &'static str, parts: &'a [Part]) -> Turn<'a> {
    let mut texts: Vec<&str> = Vec::new();
    let mut images: Vec<&str> = Vec::new();
    for part in parts {
        match part {
            Part::Text { text } => texts.push(text),
            Part::Image { data: Some(data), .. } => images.push(data),
            Part::Image { data: None, .. } => texts.push(IMAGE_GONE),
            Part::File { .. } => texts.push(FILE_GONE),
        }
    }
    Turn {
        images,
        ..Turn::new(role, joined(&texts, "\n"))
    }
}

fn joined<'a>(texts: &[&'a str], between: &str) -> Cow<'a, str> {
    match texts {
        [only] => Cow::Borrowed(only),
        several => Cow::Owned(several.join(between)),
    }
}

fn assistant(message: &AssistantMessage) -> Option<Turn<'_>> {
    let mut texts: Vec<&str> = Vec::new();
    let mut tool_calls = Vec::new();
    for part in &message.content {
        match part {
            AssistantPart::Text { text } => texts.push(text),
            // Wanted back by nobody.
            AssistantPart::Thinking { .. } => {}
            AssistantPart::ToolCall(call) => tool_calls.push(Call {
                function: CallFunction {
                    name: &call.name,
                    arguments: if call.arguments.is_object() {
                        call.arguments.clone()
                    } else {
                        json!({})
                    },
                },
            }),
        }
    }
    let content = joined(&texts, "");
    (!content.is_empty() || !tool_calls.is_empty()).then(|| Turn {
        tool_calls,
        ..Turn::new("assistant", content)
    })
}
