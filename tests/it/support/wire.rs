//! The wire formats of four families of model providers, as a fake provider speaks them: answers written, requests read.

use serde_json::{Value, json};

/// How a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Anthropic,
    Chat,
    Responses,
    Google,
}

pub(crate) const FAMILIES: [Family; 4] = [Family::Anthropic, Family::Chat, Family::Responses, Family::Google];

impl Family {
    /// As a configuration names it.
    pub(crate) fn api(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-messages",
            Self::Chat => "openai-completions",
            Self::Responses => "openai-responses",
            Self::Google => "google-generative-ai",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Google => "google",
        }
    }

    /// The family whose name begins a path.
    pub(crate) fn of(name: &str) -> Option<Self> {
        FAMILIES.into_iter().find(|family| family.name() == name)
    }
}

/// A tool call of an answer. Its arguments come in these pieces.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
}

impl Called {
    pub(crate) fn new(id: &str, name: &str, arguments: &Value) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: vec![arguments.to_string()],
        }
    }

    /// The same, a character at a time.
    pub(crate) fn in_letters(mut self) -> Self {
        let letters = self.arguments.concat();
        self.arguments = letters.chars().map(String::from).collect();
        self
    }
}

/// An answer of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) text: Vec<String>,
    pub(crate) calls: Vec<Called>,
    /// Why it ended, in the family's words; `None`: as it usually says.
    pub(crate) stop: Option<String>,
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
}

impl Answer {
    pub(crate) fn says(text: &str) -> Self {
        Self {
            text: text.split_inclusive(' ').map(str::to_owned).collect(),
            prompt_tokens: 12,
            ..Self::default()
        }
    }

    pub(crate) fn calls(calls: Vec<Called>) -> Self {
        Self {
            calls,
            prompt_tokens: 12,
            ..Self::default()
        }
    }

    /// The answer's events, one after the other, the end included.
    pub(crate) fn events(&self, family: Family) -> Vec<String> {
        match family {
            Family::Anthropic => self.anthropic(),
            Family::Chat => self.chat(),
            Family::Responses => self.responses(),
            Family::Google => self.google(),
        }
    }

    /// The answer as a server sends it that does not stream.
    pub(crate) fn whole(&self, family: Family) -> String {
        let text = self.text.concat();
        let whole = match family {
            Family::Anthropic => json!({"id": "msg_1", "type": "message", "role": "assistant",
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
                "usage": {"input_tokens": self.prompt_tokens, "output_tokens": 3}}),
            Family::Chat => json!({"id": "c1", "object": "chat.completion",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": 3}}),
            Family::Responses => json!({"id": "resp_1", "status": "completed",
                "output": [{"type": "message", "id": "m1", "content": [{"type": "output_text", "text": text}]}],
                "usage": {"input_tokens": self.prompt_tokens, "output_tokens": 3}}),
            Family::Google => {
                json!([{"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": self.prompt_tokens, "candidatesTokenCount": 3}}])
            }
        };
        whole.to_string()
    }

    fn anthropic(&self) -> Vec<String> {
        let mut events = vec![named(&json!({"type": "message_start",
            "message": {"id": "msg_1", "usage": {"input_tokens": self.prompt_tokens, "output_tokens": 1}}}))];
        let mut index = 0;
        let mut block = |start: Value, deltas: Vec<Value>| {
            events.push(named(
                &json!({"type": "content_block_start", "index": index, "content_block": start}),
            ));
            let deltas = deltas.into_iter();
            events.extend(
                deltas.map(|delta| named(&json!({"type": "content_block_delta", "index": index, "delta": delta}))),
            );
            events.push(named(&json!({"type": "content_block_stop", "index": index})));
            index += 1;
        };
        if !self.text.is_empty() {
            let deltas = self.text.iter().map(|text| json!({"type": "text_delta", "text": text}));
            block(json!({"type": "text", "text": ""}), deltas.collect());
        }
        for call in &self.calls {
            let deltas = call.arguments.iter();
            let deltas = deltas.map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
            let start = json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}});
            block(start, deltas.collect());
        }
        let usual = if self.calls.is_empty() { "end_turn" } else { "tool_use" };
        let stop = self.stop.as_deref().unwrap_or(usual);
        events.push(named(
            &json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 3}}),
        ));
        events.push(named(&json!({"type": "message_stop"})));
        events
    }

    fn chat(&self) -> Vec<String> {
        let chunk = |delta: Value, finish: Option<&str>| {
            data(
                &json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}),
            )
        };
        let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
        events.extend(self.text.iter().map(|text| chunk(json!({"content": text}), None)));
        for (index, call) in self.calls.iter().enumerate() {
            let start = json!({"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}});
            events.push(chunk(json!({"tool_calls": [start]}), None));
            for piece in &call.arguments {
                let more = json!({"index": index, "function": {"arguments": piece}});
                events.push(chunk(json!({"tool_calls": [more]}), None));
            }
        }
        let usual = if self.calls.is_empty() { "stop" } else { "tool_calls" };
        events.push(chunk(json!({}), Some(self.stop.as_deref().unwrap_or(usual))));
        events.push(data(&json!({"id": "c1", "choices": [],
            "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": 3, "total_tokens": self.prompt_tokens + 3}})));
        events.push("data: [DONE]\n\n".to_owned());
        events
    }

    fn responses(&self) -> Vec<String> {
        let mut events = vec![data(
            &json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}),
        )];
        let mut index = 0;
        if !self.text.is_empty() {
            let item = json!({"id": "m1", "type": "message", "role": "assistant", "content": []});
            events.push(data(
                &json!({"type": "response.output_item.added", "output_index": index, "item": item}),
            ));
            events.extend(self.text.iter().map(|text| {
                data(&json!({"type": "response.output_text.delta", "item_id": "m1", "output_index": index, "delta": text}))
            }));
            let whole = json!({"id": "m1", "type": "message", "content": [{"type": "output_text", "text": self.text.concat()}]});
            events.push(data(
                &json!({"type": "response.output_item.done", "output_index": index, "item": whole}),
            ));
            index += 1;
        }
        for call in &self.calls {
            let item = |arguments: &str| json!({"id": format!("fc_{index}"), "type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments});
            events.push(data(
                &json!({"type": "response.output_item.added", "output_index": index, "item": item("")}),
            ));
            events.extend(call.arguments.iter().map(|piece| {
                data(&json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": piece}))
            }));
            events.push(data(
                &json!({"type": "response.output_item.done", "output_index": index, "item": item(&call.arguments.concat())}),
            ));
            index += 1;
        }
        let status = self.stop.as_deref().unwrap_or("completed");
        events.push(data(
            &json!({"type": "response.completed", "response": {"id": "resp_1", "status": status,
            "usage": {"input_tokens": self.prompt_tokens, "output_tokens": 3}}}),
        ));
        events
    }

    fn google(&self) -> Vec<String> {
        let chunk = |parts: Value| {
            data(
                &json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": parts}}], "responseId": "g1"}),
            )
        };
        let mut events: Vec<String> = self.text.iter().map(|text| chunk(json!([{"text": text}]))).collect();
        for call in &self.calls {
            // Calls come whole; what is no JSON comes as the text it is.
            let text = call.arguments.concat();
            let arguments = serde_json::from_str(&text).unwrap_or(Value::String(text));
            events.push(chunk(
                json!([{"functionCall": {"id": call.id, "name": call.name, "args": arguments}}]),
            ));
        }
        let stop = self.stop.as_deref().unwrap_or("STOP");
        events.push(data(
            &json!({"candidates": [{"index": 0, "content": {"role": "model"}, "finishReason": stop}],
            "usageMetadata": {"promptTokenCount": self.prompt_tokens, "candidatesTokenCount": 3}, "responseId": "g1"}),
        ));
        events
    }
}

/// An error in a stream that began well.
pub(crate) fn error_event(family: Family, kind: &str, message: &str, code: u16) -> String {
    match family {
        Family::Anthropic => named(&json!({"type": "error", "error": {"type": kind, "message": message}})),
        Family::Chat | Family::Google => data(&json!({"error": {"type": kind, "message": message, "code": code}})),
        Family::Responses => data(&json!({"type": "error", "code": kind, "message": message})),
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn named(value: &Value) -> String {
    format!(
        "event: {}\ndata: {value}\n\n",
        value["type"].as_str().unwrap_or_default()
    )
}

/// A part of a conversation as a request has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    User(String),
    Model(String),
    Call(String),
    Result(String),
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a message says: one text, or parts that have texts.
fn words(content: &Value) -> String {
    match content.as_array() {
        Some(parts) => parts
            .iter()
            .map(|part| text(&part["text"]))
            .collect::<Vec<_>>()
            .join(" "),
        None => text(content),
    }
}

/// The conversation of a request, in order. Of the system prompt nothing.
pub(crate) fn conversation(family: Family, body: &Value) -> Vec<Said> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut said = Vec::new();
    match family {
        Family::Anthropic => {
            for message in list(&body["messages"]) {
                let user = message["role"] == "user";
                for block in list(&message["content"]) {
                    said.push(match block["type"].as_str() {
                        Some("tool_use") => Said::Call(text(&block["id"])),
                        Some("tool_result") => Said::Result(text(&block["tool_use_id"])),
                        _ if user => Said::User(text(&block["text"])),
                        _ => Said::Model(text(&block["text"])),
                    });
                }
            }
        }
        Family::Chat => {
            for message in list(&body["messages"]) {
                let words = words(&message["content"]);
                match message["role"].as_str() {
                    Some("user") => said.push(Said::User(words)),
                    Some("tool") => said.push(Said::Result(text(&message["tool_call_id"]))),
                    Some("assistant") => {
                        if !words.is_empty() {
                            said.push(Said::Model(words));
                        }
                        let calls = list(&message["tool_calls"]);
                        said.extend(calls.iter().map(|call| Said::Call(text(&call["id"]))));
                    }
                    _ => {}
                }
            }
        }
        Family::Responses => {
            for item in list(&body["input"]) {
                let words = words(&item["content"]);
                match (item["type"].as_str(), item["role"].as_str()) {
                    (Some("function_call"), _) => said.push(Said::Call(text(&item["call_id"]))),
                    (Some("function_call_output"), _) => said.push(Said::Result(text(&item["call_id"]))),
                    (_, Some("user")) => said.push(Said::User(words)),
                    (_, Some("assistant")) => said.push(Said::Model(words)),
                    _ => {}
                }
            }
        }
        Family::Google => {
            for content in list(&body["contents"]) {
                let user = content["role"] == "user";
                for part in list(&content["parts"]) {
                    // Its ids are optional: pairs are told by their order.
                    if part["functionCall"].is_object() {
                        said.push(Said::Call(text(&part["functionCall"]["name"])));
                    } else if part["functionResponse"].is_object() {
                        said.push(Said::Result(text(&part["functionResponse"]["name"])));
                    } else if user {
                        said.push(Said::User(text(&part["text"])));
                    } else {
                        said.push(Said::Model(text(&part["text"])));
                    }
                }
            }
        }
    }
    said
}

/// The newest words of a person, and how many tool results came after them.
pub(crate) fn asked(family: Family, body: &Value) -> (String, usize) {
    let mut results = 0;
    for one in conversation(family, body).into_iter().rev() {
        match one {
            Said::User(text) => return (text, results),
            Said::Result(_) => results += 1,
            Said::Model(_) | Said::Call(_) => {}
        }
    }
    (String::new(), results)
}

/// Is it a request to summarise a conversation.
pub(crate) fn is_summary(body: &Value) -> bool {
    body.to_string().contains("You summarise a conversation")
}
