//! `send`, `poll` and `message.action`: what clients do in chats of the user's channels without asking an agent.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::agents::known_agent;
use super::filled;
use crate::config::cron::job::Target;
use crate::crypto::token;
use crate::error::Error;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::WRITE;
use crate::ports::channel::{FileAbout, FileKind, Poll, Sign};
use crate::session::blobs::{self, Unstored, Whose};
use crate::session::reach::message::about;
use crate::session::sending::{self, Act, LONGEST_POLL, OPTIONS, Sent, Wish};

/// Largest file, bytes: what is sent is kept.
const LARGEST: usize = 16 * 1024 * 1024;

pub(super) fn register(methods: &mut Methods) {
    methods.add("send", Access::Scope(WRITE), send);
    methods.add("poll", Access::Scope(WRITE), poll).hidden();
    methods.add("message.action", Access::Scope(WRITE), action);
}

/// Where something is to happen.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Place {
    to: String,
    channel: Option<String>,
    account_id: Option<String>,
    thread_id: Option<String>,
    agent_id: Option<String>,
}

impl Place {
    /// The target, and in which agent's name.
    async fn read(self, method: &str, call: &Call) -> Result<(String, Target), WireError> {
        filled(method, "to", self.to.trim())?;
        let text = |given: Option<String>| given.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let Some(channel) = text(self.channel) else {
            return Err(WireError::invalid(format!(
                "invalid {method} params: must have required property 'channel'"
            )));
        };
        let agent = match text(self.agent_id) {
            Some(agent) => agent,
            None => {
                let settings = call.state.services.config.settings(call.scope()).await?;
                settings.default_agent.clone()
            }
        };
        known_agent(call, &agent).await?;
        let target = Target {
            channel: Some(channel.to_lowercase()),
            to: Some(self.to.trim().to_owned()),
            account_id: text(self.account_id),
            thread_id: text(self.thread_id).map(Value::String),
        };
        Ok((agent, target))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendParams {
    #[serde(default)]
    message: String,
    media_url: Option<String>,
    #[serde(default)]
    media_urls: Vec<String>,
    buffer: Option<String>,
    filename: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    as_voice: bool,
    reply_to_id: Option<String>,
    idempotency_key: String,
    #[serde(flatten)]
    place: Place,
}

async fn send(call: Call, params: SendParams) -> Result<Value, WireError> {
    filled("send", "idempotencyKey", &params.idempotency_key)?;
    if params.media_url.is_some() || !params.media_urls.is_empty() {
        return Err(WireError::invalid(
            "invalid send params: at /mediaUrl: this server fetches nothing for a client; give the bytes as buffer",
        ));
    }
    if params.message.trim().is_empty() && params.buffer.is_none() {
        return Err(WireError::invalid("send requires text or media"));
    }
    let (agent_id, target) = params.place.read("send", &call).await?;
    let run_id = format!("send:{}", token::hash(&params.idempotency_key));
    let file = match &params.buffer {
        None => None,
        Some(buffer) => {
            // Bytes are kept only for a chat there is.
            sending::reaches(&call.state.directory, call.scope(), (&agent_id, &target)).await?;
            if let Some(sent) = sending::again(&call.state.directory, call.scope(), &run_id).await? {
                return Ok(view(&sent, &params.idempotency_key));
            }
            let name = params.filename.as_deref().unwrap_or("file");
            let (mut about, bytes) = read(&call, buffer, name, params.content_type.as_deref())?;
            if params.as_voice && about.kind == FileKind::Audio {
                about.kind = FileKind::Voice;
            }
            Some((about, Arc::new(bytes)))
        }
    };
    let wish = Wish {
        target,
        agent_id,
        reply_to: params.reply_to_id,
        text: params.message,
        file,
        run_id,
        choices: Vec::new(),
        below: None,
    };
    let sent = sending::send(&call.state.directory, call.scope(), wish).await?;
    Ok(view(&sent, &params.idempotency_key))
}

/// The file that was given. It is stored with its message.
fn read(call: &Call, buffer: &str, name: &str, kind: Option<&str>) -> Result<(FileAbout, Unstored), WireError> {
    // A data URL says what it is.
    let bytes = buffer
        .trim()
        .rsplit_once(";base64,")
        .map_or(buffer.trim(), |(_, data)| data);
    if bytes.len() / 4 * 3 > LARGEST + 3 {
        return Err(Error::TooLarge(format!("a file has at most {LARGEST} bytes")).into());
    }
    let bytes = STANDARD
        .decode(bytes)
        .ok()
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| WireError::invalid("invalid send params: at /buffer: must be base64"))?;
    // What an image is its bytes say.
    let declared = kind.filter(|kind| !kind.starts_with("image/") || *kind == "image/svg+xml");
    let kind = blobs::image_type(&bytes)
        .or(declared)
        .unwrap_or("application/octet-stream")
        .to_owned();
    let bytes = Unstored::new(&call.state.services, call.scope(), Whose::Owner, &kind, bytes);
    Ok((about(bytes.id.clone(), name, &kind), bytes))
}

/// As the original answers. The key names the run.
fn view(sent: &Sent, key: &str) -> Value {
    let to = &sent.destination;
    json!({
        "runId": key, "messageId": sent.message_id, "channel": to.channel, "chatId": to.peer.id,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PollParams {
    question: String,
    options: Vec<String>,
    max_selections: Option<usize>,
    duration_seconds: Option<u64>,
    duration_hours: Option<u64>,
    #[serde(default)]
    silent: bool,
    is_anonymous: Option<bool>,
    idempotency_key: String,
    #[serde(flatten)]
    place: Place,
}

async fn poll(call: Call, params: PollParams) -> Result<Value, WireError> {
    filled("poll", "idempotencyKey", &params.idempotency_key)?;
    filled("poll", "question", params.question.trim())?;
    let wrong = |at: &str, what: &str| WireError::invalid(format!("invalid poll params: at /{at}: {what}"));
    if !OPTIONS.contains(&params.options.len()) || params.options.iter().any(|option| option.trim().is_empty()) {
        return Err(wrong("options", "must have 2 to 12 items, none of them empty"));
    }
    // What polls are, they have: one answer, or any number of them.
    if params
        .max_selections
        .is_some_and(|most| most != 1 && most != params.options.len())
    {
        return Err(wrong("maxSelections", "must be 1 or the number of options"));
    }
    let seconds = params
        .duration_seconds
        .or(params.duration_hours.map(|hours| hours.saturating_mul(3600)));
    if seconds.is_some_and(|seconds| seconds == 0 || seconds > LONGEST_POLL) {
        return Err(wrong("durationSeconds", "must be 1 to 604800"));
    }
    let (agent, target) = params.place.read("poll", &call).await?;
    let wanted = Poll {
        question: params.question,
        options: params.options,
        several: params.max_selections.is_some_and(|most| most > 1),
        open: seconds.map(Duration::from_secs),
        anonymous: params.is_anonymous.unwrap_or(true),
        silent: params.silent,
    };
    let (directory, scope) = (&call.state.directory, call.scope());
    let key = params.idempotency_key;
    let asking = async {
        let sent = sending::poll(directory, scope, (&agent, &target), &wanted).await?;
        Ok(view(&sent, &key))
    };
    once(&call, "poll", &key, asking).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActionParams {
    channel: String,
    action: String,
    #[serde(default)]
    params: Map<String, Value>,
    account_id: Option<String>,
    agent_id: Option<String>,
    idempotency_key: String,
}

/// `react`, `edit` and `delete`; the message is `params.messageId` in the chat `params.to`.
async fn action(call: Call, params: ActionParams) -> Result<Value, WireError> {
    let method = "message.action";
    filled(method, "idempotencyKey", &params.idempotency_key)?;
    filled(method, "channel", &params.channel)?;
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| match params.params.get(*name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        found.unwrap_or_default()
    };
    let removes = params.params.get("remove").is_some_and(|remove| *remove == true);
    let act = match params.action.as_str() {
        "react" => {
            let emoji = text(&["emoji"]);
            if emoji.is_empty() && !removes {
                return Err(WireError::invalid("react requires emoji"));
            }
            Act::React(Sign { emoji, remove: removes })
        }
        "edit" => {
            let words = text(&["message", "text"]);
            if words.trim().is_empty() {
                return Err(WireError::invalid("edit requires message"));
            }
            Act::Edit(words)
        }
        "delete" => Act::Delete,
        other => {
            return Err(WireError::invalid(format!(
                "Channel {} does not support action {other}.",
                params.channel
            )));
        }
    };
    let message_id = text(&["messageId", "message_id"]);
    let place = Place {
        to: text(&["to", "target", "chatId"]),
        channel: Some(params.channel.clone()),
        account_id: params.account_id.clone(),
        thread_id: None,
        agent_id: params.agent_id.clone(),
    };
    let (agent, target) = place.read(method, &call).await?;
    let (directory, scope) = (&call.state.directory, call.scope());
    let acting = async {
        let done = sending::act(directory, scope, (&agent, &target), &message_id, &act).await?;
        Ok(json!({"ok": true, "messageId": done.message_id, "channel": done.destination.channel}))
    };
    once(&call, method, &params.idempotency_key, acting).await
}

/// What acts on a platform at once is done once for each key, and its outcome kept for a while; one that was refused may
/// be tried again.
async fn once(
    call: &Call,
    method: &str,
    key: &str,
    work: impl Future<Output = Result<Value, Error>>,
) -> Result<Value, WireError> {
    let scope = call.scope();
    let owner = (scope.tenant().clone(), scope.user().clone());
    // Users' keys are their own.
    let key = token::hash(&format!("{method}\0{}\0{}\0{key}", scope.tenant(), scope.user()));
    let kept = async {
        match work.await {
            Ok(done) => Ok(Ok(done)),
            // It may have happened.
            Err(error @ Error::Timeout(_)) => Ok(Err(WireError::from(error))),
            Err(error) => Err(WireError::from(error)),
        }
    };
    call.state
        .directory
        .node_results()
        .once(owner, format!("act:{key}"), Box::pin(kept))
        .await
}
