//! How the Responses API says an answer: as an object, and as events.

use claw_actors::ports::message::ToolCall;
use claw_actors::session::asking::{handed_of, usage_of};
use claw_actors::supervisor::directory::RunEnded;
use serde_json::{Value, json};

use crate::http::v1::error::V1Error;
use crate::http::v1::sse::{Events, Voice};

/// How the Responses API says it.
pub(super) struct Response {
    pub(super) id: String,
    /// Id of the message among its output.
    pub(super) item: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) sequence: u64,
    /// What was said; `None` before the first word.
    pub(super) text: Option<String>,
}

impl Response {
    fn object(&self, status: &str, output: &[Value], usage: &Value, error: &Value) -> Value {
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "model": self.model,
            "output": output, "usage": usage, "error": error, "incomplete_details": null, "instructions": null,
            "metadata": {}, "parallel_tool_calls": false, "temperature": null, "tool_choice": "auto", "tools": [],
            "top_p": null,
        })
    }

    fn part(text: &str) -> Value {
        json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    }

    fn message(&self, status: &str, content: &[Value]) -> Value {
        json!({"type": "message", "id": self.item, "role": "assistant", "status": status, "content": content})
    }

    fn call(&self, at: usize, call: &ToolCall) -> Value {
        // What did not parse is handed on as it is.
        let unparsed = call.arguments.as_str().map(str::to_owned);
        let arguments = unparsed.unwrap_or_else(|| call.arguments.to_string());
        json!({
            "type": "function_call", "id": format!("fc_{}_{at}", self.id), "call_id": call.id, "name": call.name,
            "arguments": arguments, "status": "completed",
        })
    }

    /// The whole response.
    pub(super) fn completed(&self, ended: &RunEnded) -> Value {
        let said = self
            .text
            .iter()
            .map(|text| self.message("completed", &[Self::part(text)]));
        let calls = handed_of(ended);
        let calls = calls.iter().enumerate().map(|(at, call)| self.call(at, call));
        let mut output: Vec<Value> = said.chain(calls).collect();
        if output.is_empty() {
            output.push(self.message("completed", &[Self::part("")]));
        }
        self.object("completed", &output, &used(ended), &Value::Null)
    }

    fn send(&mut self, name: &str, mut payload: Value, out: &mut Events) {
        payload["type"] = json!(name);
        payload["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        out.event(name, &payload);
    }

    /// Where in the message its text stands.
    fn place(&self) -> Value {
        json!({"item_id": self.item, "output_index": 0, "content_index": 0})
    }

    fn open_message(&mut self, out: &mut Events) {
        let item = self.message("in_progress", &[]);
        self.send(
            "response.output_item.added",
            json!({"output_index": 0, "item": item}),
            out,
        );
        let mut part = self.place();
        part["part"] = Self::part("");
        self.send("response.content_part.added", part, out);
    }

    fn close_message(&mut self, text: &str, out: &mut Events) {
        let mut done = self.place();
        done["text"] = json!(text);
        done["logprobs"] = json!([]);
        self.send("response.output_text.done", done, out);
        let mut part = self.place();
        part["part"] = Self::part(text);
        self.send("response.content_part.done", part, out);
        let item = self.message("completed", &[Self::part(text)]);
        self.send(
            "response.output_item.done",
            json!({"output_index": 0, "item": item}),
            out,
        );
    }
}

fn used(ended: &RunEnded) -> Value {
    let usage = usage_of(ended);
    json!({
        "input_tokens": usage.prompt_tokens(), "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens() + usage.output,
    })
}

impl Voice for Response {
    fn open(&mut self, out: &mut Events) {
        for name in ["response.created", "response.in_progress"] {
            let response = self.object("in_progress", &[], &Value::Null, &Value::Null);
            self.send(name, json!({"response": response}), out);
        }
    }

    fn text(&mut self, text: &str, out: &mut Events) {
        if self.text.is_none() {
            self.open_message(out);
        }
        self.text.get_or_insert_default().push_str(text);
        let mut delta = self.place();
        delta["delta"] = json!(text);
        delta["logprobs"] = json!([]);
        self.send("response.output_text.delta", delta, out);
    }

    fn ended(&mut self, ended: &RunEnded, out: &mut Events) {
        let calls = handed_of(ended);
        if self.text.is_none() && calls.is_empty() {
            self.open_message(out);
            self.text = Some(String::new());
        }
        if let Some(text) = self.text.clone() {
            self.close_message(&text, out);
        }
        let first = usize::from(self.text.is_some());
        for (at, call) in calls.iter().enumerate() {
            let item = self.call(at, call);
            let index = first + at;
            let mut begun = item.clone();
            begun["arguments"] = json!("");
            begun["status"] = json!("in_progress");
            self.send(
                "response.output_item.added",
                json!({"output_index": index, "item": begun}),
                out,
            );
            let place = json!({"item_id": item["id"], "output_index": index});
            let mut delta = place.clone();
            delta["delta"] = item["arguments"].clone();
            self.send("response.function_call_arguments.delta", delta, out);
            let mut done = place;
            done["arguments"] = item["arguments"].clone();
            done["name"] = item["name"].clone();
            self.send("response.function_call_arguments.done", done, out);
            self.send(
                "response.output_item.done",
                json!({"output_index": index, "item": item}),
                out,
            );
        }
        let response = self.completed(ended);
        self.send("response.completed", json!({"response": response}), out);
    }

    fn failed(&mut self, error: &V1Error, out: &mut Events) {
        let detail = error.detail();
        let error = json!({"code": "server_error", "message": detail.message});
        let response = self.object("failed", &[], &Value::Null, &error);
        self.send("response.failed", json!({"response": response}), out);
    }
}
