//! `POST /v1/chat/completions` (`agent-runtime` §21.1).

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::session::asking::{answer_of, usage_of};
use claw_actors::session::intake::ClientMessage;
use claw_actors::supervisor::directory::RunEnded;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::content::{AtMost, Attached, Content, small};
use super::error::V1Error;
use super::sse::{self, Events, Voice};
use super::{admitted, ask, now, target};
use crate::http::state::AppState;

/// Messages of one request.
const MOST: usize = 2048;
/// Longest `tool_choice` as JSON, bytes.
pub(super) const LONGEST_CHOICE: usize = 4 * 1024;

/// What of OpenAI's request counts here. The rest is accepted and ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChatRequest {
    /// `openclaw`, or `openclaw/<agentId>`.
    model: Option<String>,
    /// The last one of role `user` or `tool` is what is asked; those before it are context; `system` and `developer`
    /// ones instruct.
    #[schema(value_type = Vec<Object>)]
    messages: AtMost<ChatMessage, MOST>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    /// Requests of one user share a session; without it each has its own.
    #[serde(default)]
    user: Option<String>,
    /// Only 1.
    #[serde(default)]
    n: Option<u64>,
    /// `none` or `auto`: a client's tools are for `/v1/responses`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChatMessage {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    name: Option<String>,
}

/// What is asked, and under which instructions.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) message: String,
    pub(super) system: Option<String>,
}

/// One entry of a conversation that a client sends along.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) speaker: String,
    pub(super) text: String,
}

/// The conversation as one message: what was said before, and what is to be answered. As the original spells it.
pub(super) fn rendered(lines: &[Line]) -> Option<String> {
    let at = lines.iter().rposition(|line| line.speaker != "Assistant")?;
    let (before, asked) = (lines.get(..at)?, lines.get(at)?);
    if before.is_empty() {
        return Some(asked.text.clone());
    }
    let said = |line: &Line| format!("{}: {}", line.speaker, line.text);
    Some(format!(
        "[Chat messages since your last reply - for context]\n{}\n\n[Current message - respond to this]\n{}",
        before.iter().map(said).collect::<Vec<_>>().join("\n"),
        said(asked)
    ))
}

/// Who says what in an OpenAI role; `None` for roles that say nothing.
pub(super) fn speaker(role: &str, name: Option<&str>) -> Option<String> {
    match role {
        "user" => Some("User".to_owned()),
        "assistant" => Some("Assistant".to_owned()),
        "tool" | "function" => Some(match name.map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => format!("Tool:{name}"),
            None => "Tool".to_owned(),
        }),
        _ => None,
    }
}

fn prompt(messages: &[ChatMessage]) -> Result<Prompt, V1Error> {
    let (mut system, mut lines) = (Vec::new(), Vec::new());
    let asked = asked_at(messages);
    for (at, message) in messages.iter().enumerate() {
        let text = message.content.as_ref().map(Content::text).unwrap_or_default();
        if matches!(message.role.as_str(), "system" | "developer") {
            system.extend((!text.is_empty()).then_some(text));
            continue;
        }
        let Some(speaker) = speaker(&message.role, message.name.as_deref()) else {
            return Err(V1Error::param("messages", "a message has an unknown role"));
        };
        let pictures = message
            .content
            .as_ref()
            .is_some_and(|content| !content.parts().is_empty());
        // A picture alone is a message too.
        if !text.is_empty() || (Some(at) == asked && pictures) {
            lines.push(Line { speaker, text });
        }
    }
    let message = rendered(&lines).ok_or_else(|| V1Error::param("messages", "there is no message of a user"))?;
    Ok(Prompt {
        message,
        system: (!system.is_empty()).then(|| system.join("\n\n")),
    })
}

/// Which message is asked.
fn asked_at(messages: &[ChatMessage]) -> Option<usize> {
    messages
        .iter()
        .rposition(|message| matches!(message.role.as_str(), "user" | "tool" | "function"))
}

/// Parts of the message that is asked: what came with an earlier one was seen then.
fn asked(messages: &[ChatMessage]) -> &[super::content::ContentPart] {
    let last = asked_at(messages).and_then(|at| messages.get(at));
    last.and_then(|message| message.content.as_ref())
        .map_or(&[], Content::parts)
}

#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "createChatCompletion", tag = "programs",
    request_body = ChatRequest,
    responses((status = 200, description = "The answer; with `stream`, events of `chat.completion.chunk`",
        content((Object = "application/json"), (String = "text/event-stream")))))]
pub(crate) async fn create(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, V1Error> {
    let (caller, place, input) = admitted::<ChatRequest>(&request, payload, &state).await?;
    if input.n.is_some_and(|count| count != 1) {
        return Err(V1Error::param("n", "n must be 1"));
    }
    let choice = small(input.tool_choice.as_deref(), "tool_choice", LONGEST_CHOICE)?;
    if choice.is_some_and(|choice| !matches!(choice.as_str(), Some("none" | "auto"))) {
        return Err(V1Error::param(
            "tool_choice",
            "the tools of a client are for /v1/responses",
        ));
    }
    let settings = state.services.config.settings(caller.scope()).await?;
    let target = target::of(
        &request,
        &settings,
        "openai",
        input.model.as_deref(),
        input.user.as_deref(),
    )?;
    let messages = &input.messages.0;
    let Prompt { message, mut system } = prompt(messages)?;
    let attached = Attached::read(&state.egress, asked(messages)).await?;
    if !attached.files.is_empty() {
        let all: Vec<&str> = system.iter().chain(&attached.files).map(String::as_str).collect();
        system = Some(all.join("\n\n"));
    }
    let message = ClientMessage {
        message,
        attachments: attached.store(&state, caller.scope(), &target).await?,
        extra_system_prompt: system,
        model: target.model,
        ..ClientMessage::default()
    };
    let mut answer = ask(&request, &state, &caller, "chatcmpl-", &target.session_key, message).await?;
    let voice = Chat {
        id: answer.run_id.clone(),
        created: now(),
        model: input.model.unwrap_or_else(|| "openclaw".to_owned()),
        usage: input.stream_options.is_some_and(|options| options.include_usage),
    };
    if input.stream == Some(true) {
        return sse::answer(answer, place, voice).await;
    }
    let ended = answer.whole().await?;
    if let Some(error) = sse::refused(&ended) {
        return Err(error);
    }
    Ok(HttpResponse::Ok().json(voice.whole(&ended)))
}

/// How Chat Completions says it.
struct Chat {
    id: String,
    created: i64,
    model: String,
    /// A last chunk with what it used.
    usage: bool,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    usage: Value,
}

impl Chat {
    fn chunk(&self, choices: Vec<Value>, usage: Value) -> Chunk<'_> {
        Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        }
    }

    fn delta(&self, delta: &Value, finish: Option<&str>) -> Chunk<'_> {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        self.chunk(vec![choice], Value::Null)
    }

    fn whole(&self, ended: &RunEnded) -> Value {
        let message = json!({"role": "assistant", "content": answer_of(ended), "refusal": null});
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish(ended)}],
            "usage": used(ended),
        })
    }
}

fn finish(ended: &RunEnded) -> &'static str {
    if ended.stop_reason.as_deref() == Some("length") {
        "length"
    } else {
        "stop"
    }
}

fn used(ended: &RunEnded) -> Value {
    let usage = usage_of(ended);
    json!({
        "prompt_tokens": usage.prompt_tokens(), "completion_tokens": usage.output,
        "total_tokens": usage.prompt_tokens() + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
    })
}

impl Voice for Chat {
    fn open(&mut self, out: &mut Events) {
        out.data(&self.delta(&json!({"role": "assistant", "content": ""}), None));
    }

    fn text(&mut self, text: &str, out: &mut Events) {
        out.data(&self.delta(&json!({"content": text}), None));
    }

    fn ended(&mut self, ended: &RunEnded, out: &mut Events) {
        out.data(&self.delta(&json!({}), Some(finish(ended))));
        if self.usage {
            out.data(&self.chunk(Vec::new(), used(ended)));
        }
    }

    fn failed(&mut self, error: &V1Error, out: &mut Events) {
        out.data(&json!({"error": error.detail()}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &Value) -> Result<(String, Option<String>), String> {
        let messages: Vec<ChatMessage> = serde_json::from_value(messages.clone()).expect("messages");
        let prompt = prompt(&messages).map_err(|error| error.to_string())?;
        Ok((prompt.message, prompt.system))
    }

    #[test]
    fn a_conversation_becomes_one_message() {
        let alone = check(&json!([{"role": "developer", "content": "be brief"}, {"role": "user", "content": " hi "}]));
        assert_eq!(alone, Ok(("hi".to_owned(), Some("be brief".to_owned()))));
        let (text, _) = check(&json!([
            {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
            {"role": "tool", "name": "t", "content": [{"type": "text", "text": "three"}]},
            {"role": "assistant", "content": "cut off"},
        ]))
        .expect("a prompt");
        assert_eq!(
            text,
            "[Chat messages since your last reply - for context]\nUser: one\nAssistant: two\n\n\
             [Current message - respond to this]\nTool:t: three"
        );
    }

    #[test]
    fn an_earlier_image_does_not_go_along_with_a_later_result() {
        let count = |messages: Value| {
            let messages: Vec<ChatMessage> = serde_json::from_value(messages).expect("messages");
            asked(&messages).len()
        };
        let image = json!({"role": "user", "content": [{"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]});
        assert_eq!(count(json!([image])), 2);
        assert_eq!(count(json!([image, {"role": "assistant", "content": "hm"}])), 2);
        let result = json!({"role": "tool", "tool_call_id": "c", "content": "sunny"});
        assert_eq!(count(json!([image, {"role": "assistant", "content": ""}, result])), 0);
        assert_eq!(count(json!([image, {"role": "user", "content": "and now?"}])), 0);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        assert!(check(&json!([])).is_err());
        assert!(check(&json!([{"role": "assistant", "content": "hi"}])).is_err());
        assert!(check(&json!([{"role": "user", "content": "  "}])).is_err());
        assert!(check(&json!([{"role": "judge", "content": "hi"}])).is_err());
    }
}
