//! `node.event`: what nodes report by themselves. Statistics, words for an agent, commands that ran, notifications.
//!
//! A node is a device of its user, so what it says is said for that user: in sessions nobody else reads along in, and
//! only so often.

use std::fmt::Write;
use std::time::Instant;

use claw_entities::{SessionKey, TenantId, UserId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::chat::{self, AttachmentParams};
use super::deliver::DeliverParams;
use super::{filled, session_key};
use crate::clock::now_ms;
use crate::crypto::token;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::session::intake::{self, ClientMessage};
use crate::session::{own, wake};

/// Longest text kept of a node's statistics, bytes.
const LARGEST_STATS: usize = 4096;
/// Longest text for an agent, characters.
const LONGEST_WORDS: usize = 20_000;
/// The same words within this time are an echo, milliseconds.
const ECHO_MS: i64 = 1500;

pub(super) fn register(methods: &mut Methods) {
    methods.add("node.event", Access::Node, event);
}

#[derive(Deserialize)]
struct EventParams {
    event: String,
    payload: Option<Value>,
    #[serde(rename = "payloadJSON")]
    payload_json: Option<String>,
}

impl EventParams {
    /// What the event says, if it is what it should be.
    fn payload<P: DeserializeOwned>(&self) -> Option<P> {
        let text = self.payload_json.as_deref();
        let said = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        serde_json::from_value(said.or_else(|| self.payload.clone())?).ok()
    }
}

/// What became of an event, and why.
enum Done {
    Handled(Option<&'static str>),
    Ignored(&'static str),
}

/// What is no event of the kind it says it is.
const INVALID: Done = Done::Ignored("invalid");

async fn event(call: Call, params: EventParams) -> Result<Value, WireError> {
    filled("node.event", "event", &params.event)?;
    let done = match params.event.as_str() {
        "node.host.stats" => stats(&call, &params),
        "voice.transcript" => transcript(&call, &params).await?,
        "agent.request" => request(&call, &params).await?,
        "exec.started" | "exec.finished" | "exec.denied" => executed(&call, &params).await?,
        "notifications.changed" => notified(&call, &params).await?,
        // Real nodes report more than this server has a use for; that is no error.
        _ => return Ok(json!({"ok": true, "event": params.event, "handled": false})),
    };
    let (handled, reason) = match done {
        Done::Handled(reason) => (true, reason),
        Done::Ignored(reason) => (false, Some(reason)),
    };
    let mut answer = json!({"ok": true, "event": params.event, "handled": handled});
    if let Some(reason) = reason {
        answer["reason"] = json!(reason);
    }
    Ok(answer)
}

fn stats(call: &Call, params: &EventParams) -> Done {
    let small = params
        .payload_json
        .as_ref()
        .is_none_or(|text| text.len() <= LARGEST_STATS);
    let stats = params.payload::<Value>().filter(|stats| stats.is_object() && small);
    let Some(mut stats) = stats else {
        return INVALID;
    };
    stats["updatedAtMs"] = json!(now_ms());
    if stats.to_string().len() <= LARGEST_STATS {
        let scope = call.scope();
        let key = (scope.tenant().clone(), scope.user().clone(), node_id(call));
        call.state.host_stats.insert(key, stats);
    }
    Done::Handled(Some("updated"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transcript {
    text: String,
    session_key: Option<String>,
    event_id: Option<String>,
}

/// What somebody said to the node is said to the agent.
async fn transcript(call: &Call, params: &EventParams) -> Result<Done, WireError> {
    let Some(said) = params.payload::<Transcript>() else {
        return Ok(INVALID);
    };
    let words = said.text.trim();
    if words.is_empty() || words.chars().count() > LONGEST_WORDS {
        return Ok(INVALID);
    }
    let Some(session) = session(call, said.session_key.as_deref(), "main").await? else {
        return Ok(Done::Ignored("session"));
    };
    let fingerprint = token::hash(&format!("{session}\u{1f}{words}"));
    if said.event_id.is_none() && echoes(call, &fingerprint) {
        return Ok(Done::Ignored("duplicate"));
    }
    admit(call, "ask")?;
    let message = ClientMessage {
        message: words.to_owned(),
        thinking: Some("low".to_owned()),
        ..by_node(call)
    };
    let once = said.event_id.map(|id| format!("voice {id}"));
    let asked = ask(call, &session, once, message).await;
    if asked.is_err() {
        // It was not said: when it comes again it is no echo.
        call.state.heard.remove(&heard_as(call));
    }
    asked
}

/// Were these words heard from the node a moment ago.
fn echoes(call: &Call, fingerprint: &str) -> bool {
    let heard = call
        .state
        .heard
        .insert(heard_as(call), (fingerprint.to_owned(), now_ms()));
    heard.is_some_and(|(before, at)| before == fingerprint && now_ms() - at < ECHO_MS)
}

fn heard_as(call: &Call) -> (TenantId, UserId, String) {
    let scope = call.scope();
    (scope.tenant().clone(), scope.user().clone(), node_id(call))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    message: String,
    session_key: Option<String>,
    thinking: Option<String>,
    timeout_seconds: Option<u64>,
    idempotency_key: Option<String>,
    #[serde(default)]
    attachments: Vec<AttachmentParams>,
    #[serde(flatten)]
    deliver: DeliverParams,
}

/// The node asks the agent, in a session of its own unless it names one.
async fn request(call: &Call, params: &EventParams) -> Result<Done, WireError> {
    let Some(request) = params.payload::<Request>() else {
        return Ok(INVALID);
    };
    let words = request.message.trim();
    if words.is_empty() || words.chars().count() > LONGEST_WORDS {
        return Ok(INVALID);
    }
    let own = format!("node-{}", node_id(call));
    let Some(session) = session(call, request.session_key.as_deref(), &own).await? else {
        return Ok(Done::Ignored("session"));
    };
    admit(call, "ask")?;
    let message = ClientMessage {
        message: words.to_owned(),
        deliver_to: request.deliver.read(call, session.as_str()).await?,
        attachments: chat::store(call, request.attachments).await?,
        thinking: request.thinking,
        timeout_ms: request.timeout_seconds.map(|seconds| seconds.saturating_mul(1000)),
        ..by_node(call)
    };
    let once = request.idempotency_key.map(|key| format!("request {key}"));
    ask(call, &session, once, message).await
}

fn by_node(call: &Call) -> ClientMessage {
    ClientMessage {
        source: "agent".to_owned(),
        by_node: true,
        requester: Some(node_id(call)),
        ..ClientMessage::default()
    }
}

/// So much a minute, of each kind.
fn admit(call: &Call, kind: &str) -> Result<(), WireError> {
    let scope = call.scope();
    let key = format!(
        "{}|{}|{}|node.event {kind}",
        scope.tenant(),
        scope.user(),
        node_id(call)
    );
    call.state.throttle.admit(key, "node.event", Instant::now())
}

/// Starts a run, once for what is to be once.
async fn ask(
    call: &Call,
    session: &SessionKey,
    once: Option<String>,
    message: ClientMessage,
) -> Result<Done, WireError> {
    let (scope, node) = (call.scope(), node_id(call));
    let run_id = match once {
        Some(once) => format!("node:{}", token::hash(&format!("{node}\u{1f}{once}"))),
        None => format!("node:{}", uuid::Uuid::new_v4()),
    };
    intake::accept_client(&call.state.directory, scope, session.as_str(), &run_id, message).await?;
    Ok(Done::Handled(None))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Executed {
    session_key: Option<String>,
    run_id: Option<String>,
    #[serde(default)]
    command: String,
    exit_code: Option<i64>,
    #[serde(default)]
    timed_out: bool,
    #[serde(default)]
    output: String,
    reason: Option<String>,
    #[serde(default)]
    suppress_notify_on_exit: bool,
}

/// A command on the node began, ended or was refused: a line for the session's next turn.
async fn executed(call: &Call, params: &EventParams) -> Result<Done, WireError> {
    let Some(ran) = params.payload::<Executed>() else {
        return Ok(INVALID);
    };
    let nothing_to_tell = ran.output.trim().is_empty() && ran.exit_code == Some(0) && !ran.timed_out;
    if ran.suppress_notify_on_exit || (params.event == "exec.finished" && nothing_to_tell) {
        return Ok(Done::Ignored("quiet"));
    }
    let mut about = format!("node={}", node_id(call));
    if let Some(run_id) = &ran.run_id {
        let _ = write!(about, " id={run_id}");
    }
    let line = match (params.event.as_str(), ran.exit_code, &ran.reason) {
        ("exec.started", ..) => format!("Exec started ({about}): {}", ran.command),
        ("exec.denied", _, Some(reason)) => format!("Exec denied ({about}, {reason}): {}", ran.command),
        ("exec.denied", ..) => format!("Exec denied ({about}): {}", ran.command),
        (_, _, _) if ran.timed_out => format!("Exec finished ({about}, timeout)\n{}", ran.output),
        (_, Some(code), _) => format!("Exec finished ({about}, code {code})\n{}", ran.output),
        (_, None, _) => format!("Exec finished ({about})\n{}", ran.output),
    };
    tell(call, ran.session_key.as_deref(), line.trim()).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notified {
    change: String,
    #[serde(default)]
    key: String,
    package_name: Option<String>,
    title: Option<String>,
    text: Option<String>,
    session_key: Option<String>,
}

/// A notification came or went on the node: a line for the session's next turn.
async fn notified(call: &Call, params: &EventParams) -> Result<Done, WireError> {
    let Some(notified) = params.payload::<Notified>() else {
        return Ok(INVALID);
    };
    if !["posted", "removed"].contains(&notified.change.as_str()) || notified.key.is_empty() {
        return Ok(INVALID);
    }
    let mut line = format!(
        "Notification {} (node={} key={}",
        notified.change,
        node_id(call),
        notified.key
    );
    if let Some(package) = &notified.package_name {
        let _ = write!(line, " package={package}");
    }
    line.push(')');
    let said = [&notified.title, &notified.text].into_iter().flatten();
    let said: Vec<&str> = said.map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    if notified.change == "posted" && !said.is_empty() {
        let _ = write!(line, ": {}", said.join(" - "));
    }
    tell(call, notified.session_key.as_deref(), &line).await
}

async fn tell(call: &Call, named: Option<&str>, line: &str) -> Result<Done, WireError> {
    let Some(session) = session(call, named, "main").await? else {
        return Ok(Done::Ignored("session"));
    };
    admit(call, "tell")?;
    wake::tell(&call.state.directory, call.scope(), &session, line, false).await?;
    Ok(Done::Handled(Some("queued")))
}

/// The named session or the node's usual one; `None` where others read along.
async fn session(call: &Call, named: Option<&str>, usual: &str) -> Result<Option<SessionKey>, WireError> {
    let named = named.map(str::trim).filter(|named| !named.is_empty());
    let session = session_key(call, named.unwrap_or(usual)).await?;
    let own = own::is_own(&call.state.services.config, call.scope(), &session).await?;
    Ok(own.then_some(session))
}

fn node_id(call: &Call) -> String {
    call.connection.device_id.clone().unwrap_or_default()
}
