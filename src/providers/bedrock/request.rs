//! The request body of Converse.

use claw_actors::ports::message::{AssistantMessage, AssistantPart, FileFormat, Message, Part};
use claw_actors::ports::model::ModelRequest;
use serde_json::{Value, json};

use super::API;
use crate::providers::anthropic::thinking_of;
use crate::providers::{FILE_GONE, IMAGE_GONE, tool_id};

/// Longest tool-call id.
const MAX_ID: usize = 64;
const NO_OUTPUT: &str = "(no output)";

/// Builds the body. Cache points are for Claude alone, as the original has it.
pub(super) fn body(request: &ModelRequest) -> Value {
    let caches = is_claude(&request.model);
    let point = || json!({"cachePoint": {"type": "default"}});
    let mut system = Vec::new();
    for block in request.system.iter().filter(|block| !block.text.trim().is_empty()) {
        system.push(json!({"text": block.text}));
        if block.cache && caches {
            system.push(point());
        }
    }
    let mut messages = turns(request);
    if caches
        && let Some(last) = messages.iter_mut().rfind(|turn| turn["role"] == "user")
        && let Some(content) = last["content"].as_array_mut()
    {
        content.push(point());
    }
    let mut inference = json!({"maxTokens": request.max_tokens});
    let mut body = json!({"messages": messages});
    if !system.is_empty() {
        body["system"] = Value::Array(system);
    }
    if !request.tools.is_empty() {
        let tools: Vec<Value> = request
            .tools
            .iter()
            .map(|tool| {
                json!({"toolSpec": {"name": tool.name, "description": tool.description,
                    "inputSchema": {"json": tool.parameters}}})
            })
            .collect();
        body["toolConfig"] = json!({"tools": tools});
    }
    let (thinking, output) = if caches {
        thinking_of(request, API)
    } else {
        (None, None)
    };
    if let Some(temperature) = request.temperature.filter(|_| thinking.is_none()) {
        inference["temperature"] = json!(temperature);
    }
    body["inferenceConfig"] = inference;
    if let Some(thinking) = thinking {
        body["additionalModelRequestFields"] = json!({"thinking": thinking});
        if let Some(output) = output {
            body["additionalModelRequestFields"]["output_config"] = output;
        }
    }
    body
}

fn is_claude(model: &str) -> bool {
    model.contains("anthropic.") || model.contains("claude")
}

fn turns(request: &ModelRequest) -> Vec<Value> {
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::with_capacity(request.messages.len());
    // The service refuses calls and results where no tools are offered: there they are said in words.
    let with_tools = !request.tools.is_empty();
    for message in request.messages.iter() {
        let (role, content) = match message.as_ref() {
            Message::User { content, .. } => ("user", parts(content)),
            Message::Assistant(message) => ("assistant", assistant(message, request, with_tools)),
            Message::ToolResult {
                tool_call_id,
                tool_name,
                content,
                is_error,
                ..
            } => {
                let mut content = parts(content);
                if content.is_empty() {
                    content.push(json!({"text": NO_OUTPUT}));
                }
                if with_tools {
                    let status = if *is_error { "error" } else { "success" };
                    let id = tool_id::portable(tool_call_id, MAX_ID);
                    content = vec![json!({"toolResult": {"toolUseId": id, "content": content, "status": status}})];
                } else {
                    content.insert(0, json!({"text": format!("[{tool_name} answered]")}));
                }
                ("user", content)
            }
        };
        if content.is_empty() {
            continue;
        }
        // Roles must alternate, and all results of one batch belong into one message.
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(content),
            Some(_) | None => turns.push((role, content)),
        }
    }
    turns
        .into_iter()
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect()
}

fn parts(content: &[Part]) -> Vec<Value> {
    let mut parts: Vec<Value> = content
        .iter()
        .filter_map(|part| match part {
            // The service refuses empty text.
            Part::Text { text } => (!text.trim().is_empty()).then(|| json!({"text": text})),
            Part::Image {
                data: Some(data),
                mime_type,
                ..
            } => {
                let format = mime_type.rsplit('/').next().unwrap_or_default();
                Some(json!({"image": {"format": format, "source": {"bytes": data}}}))
            }
            Part::Image { data: None, .. } => Some(json!({"text": IMAGE_GONE})),
            Part::File {
                data: Some(data),
                mime_type,
                blob,
                ..
            } if FileFormat::of_mime_type(mime_type) == Some(FileFormat::Pdf) => {
                // Few characters are taken, each name once in a request, and the service warns of names that say
                // something to the model.
                let name = format!("document {}", blob.as_deref().unwrap_or("1"));
                Some(json!({"document": {"format": "pdf", "name": name, "source": {"bytes": data}}}))
            }
            Part::File { .. } => Some(json!({"text": FILE_GONE})),
        })
        .collect();
    // A document alone is refused.
    if parts.iter().any(|part| part.get("document").is_some()) && !parts.iter().any(|part| part.get("text").is_some()) {
        parts.insert(0, json!({"text": "(see the document)"}));
    }
    parts
}

fn assistant(message: &AssistantMessage, request: &ModelRequest, with_tools: bool) -> Vec<Value> {
    let own = message.api == API && message.provider == request.provider && message.model == request.model;
    message
        .content
        .iter()
        .filter_map(|part| match part {
            AssistantPart::Text { text } => (!text.trim().is_empty()).then(|| json!({"text": text})),
            // Signed by this model for this model; to any other it is noise.
            AssistantPart::Thinking {
                thinking,
                thinking_signature: Some(signature),
                redacted,
            } if own && !signature.is_empty() => Some(if *redacted {
                json!({"reasoningContent": {"redactedContent": signature}})
            } else {
                json!({"reasoningContent": {"reasoningText": {"text": thinking, "signature": signature}}})
            }),
            AssistantPart::Thinking { .. } => None,
            AssistantPart::ToolCall(call) if with_tools => {
                let input = if call.arguments.is_object() {
                    call.arguments.clone()
                } else {
                    json!({})
                };
                let id = tool_id::portable(&call.id, MAX_ID);
                Some(json!({"toolUse": {"toolUseId": id, "name": call.name, "input": input}}))
            }
            AssistantPart::ToolCall(call) => Some(json!({"text": format!("[called {}]", call.name)})),
        })
        .collect()
}
