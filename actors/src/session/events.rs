//! Events of one run towards the user's connections: `agent` and `chat`, in the order clients rely on.
//!
//! `seq` counts per run over all streams, without holes on this side. Nothing is serialised while nobody listens; a
//! client that joins later sees the gap and refetches, as it must anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::Recipient;
use actix::dev::SendError;
use claw_entities::SessionKey;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::clock::now_ms;
use crate::gateway::messages::Event;
use crate::ports::message::Usage;
use crate::supervisor::user::FromRun;

/// Shortest time between two `chat` deltas of a run (OpenClaw: 150 ms).
const CHAT_PACE: Duration = Duration::from_millis(150);

/// Events of one run on their way to the user's actor.
const UNDER_WAY: usize = 32;

/// Speaks for one run.
pub(crate) struct Emitter {
    to: Recipient<FromRun>,
    /// Connections of the user that are there now.
    listeners: Arc<AtomicUsize>,
    /// Of events on their way.
    places: Arc<Semaphore>,
    run_id: String,
    session_key: SessionKey,
    session_id: String,
    agent_id: String,
    seq: u64,
    /// Visible text of the current assistant message, and how much of it the last `chat` delta held.
    text: String,
    shown: usize,
    last_chat: Option<Instant>,
}

impl Emitter {
    pub(crate) fn new(
        to: Recipient<FromRun>,
        listeners: Arc<AtomicUsize>,
        run_id: &str,
        session_key: &SessionKey,
        agent_id: &str,
    ) -> Self {
        Self {
            to,
            listeners,
            places: Arc::new(Semaphore::new(UNDER_WAY)),
            run_id: run_id.to_owned(),
            session_key: session_key.clone(),
            session_id: String::new(),
            agent_id: agent_id.to_owned(),
            seq: 0,
            text: String::new(),
            shown: 0,
            last_chat: None,
        }
    }

    pub(crate) fn set_session_id(&mut self, session_id: &str) {
        session_id.clone_into(&mut self.session_id);
    }

    /// Visible text so far of the current assistant message.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn heard(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    async fn send(&self, event: Event) {
        // Never closed; the user's actor may be gone, and the run is on record all the same.
        let Ok(place) = self.places.clone().acquire_owned().await else {
            return;
        };
        let event = Arc::new(event);
        if let Err(SendError::Full(message)) = self.to.try_send(FromRun { event, place }) {
            let _ = self.to.send(message).await;
        }
    }

    async fn agent(&mut self, stream: &'static str, data: Value) {
        self.seq += 1;
        if !self.heard() {
            return;
        }
        let mut event = Event::new(
            "agent",
            &json!({
                "runId": self.run_id, "sessionKey": self.session_key, "sessionId": self.session_id,
                "agentId": self.agent_id, "stream": stream, "data": data, "seq": self.seq, "ts": now_ms(),
                "isHeartbeat": false,
            }),
        )
        .for_session(self.session_key.as_str());
        event.tool_stream = stream == "tool";
        self.send(event).await;
    }

    async fn chat(&mut self, state: &'static str, extra: Value, droppable: bool) {
        if !self.heard() {
            return;
        }
        let mut payload = json!({
            "runId": self.run_id, "sessionKey": self.session_key, "agentId": self.agent_id, "seq": self.seq,
            "state": state,
        });
        if let (Value::Object(payload), Value::Object(extra)) = (&mut payload, extra) {
            payload.extend(extra);
        }
        let event = Event::new("chat", &payload).for_session(self.session_key.as_str());
        self.send(if droppable { event.droppable() } else { event }).await;
    }

    /// The run was admitted.
    pub(crate) async fn start(&mut self) {
        self.agent("lifecycle", json!({"phase": "start", "startedAt": now_ms()}))
            .await;
    }

    /// What the run is busy with before the first word (`preparing_context`, `starting_model`).
    pub(crate) async fn phase(&mut self, phase: &'static str) {
        self.agent("run_status", json!({"phase": phase})).await;
        self.chat("status", json!({"phase": phase}), true).await;
    }

    pub(crate) async fn model(&mut self, provider: &str, model: &str) {
        self.agent(
            "lifecycle",
            json!({"phase": "model", "provider": provider, "model": model}),
        )
        .await;
    }

    /// The visible text of the current assistant message so far, which begins after the first `base` bytes of the
    /// run's. What it adds is sent; it never takes back.
    pub(crate) async fn show(&mut self, base: usize, text: &str) {
        let gap = if base > 0 { "\n\n" } else { "" };
        let held = self.text.len() - base;
        if held == 0 {
            self.delta(&format!("{gap}{text}")).await;
        } else if let Some(added) = text.get(held - gap.len()..) {
            let added = added.to_owned();
            self.delta(&added).await;
        }
    }

    /// More visible text of the current assistant message.
    async fn delta(&mut self, delta: &str) {
        if delta.is_empty() {
            return;
        }
        self.text.push_str(delta);
        if self.heard() {
            self.agent("assistant", json!({"text": self.text, "delta": delta}))
                .await;
        } else {
            self.seq += 1;
        }
        if self.last_chat.is_none_or(|last| last.elapsed() >= CHAT_PACE) {
            self.flush().await;
        }
    }

    /// Sends what the pace has held back.
    pub(crate) async fn flush(&mut self) {
        if self.shown == self.text.len() {
            return;
        }
        let added = self.text[self.shown..].to_owned();
        self.shown = self.text.len();
        self.last_chat = Some(Instant::now());
        self.chat(
            "delta",
            json!({"deltaText": added, "message": message(&self.text)}),
            true,
        )
        .await;
    }

    /// A tool starts. Text above it is complete by then.
    pub(crate) async fn tool_start(&mut self, call_id: &str, name: &str, arguments: &Value) {
        self.flush().await;
        self.agent(
            "tool",
            json!({"phase": "start", "name": name, "toolCallId": call_id, "args": arguments}),
        )
        .await;
    }

    /// A tool is done. Its result is left out: results are for the transcript.
    pub(crate) async fn tool_result(&mut self, call_id: &str, name: &str, is_error: bool) {
        self.agent(
            "tool",
            json!({"phase": "result", "name": name, "toolCallId": call_id, "isError": is_error}),
        )
        .await;
    }

    /// The run ended with an answer; silent when `text` is `None`.
    pub(crate) async fn finished(&mut self, text: Option<&str>, stop_reason: &str, usage: &Usage) {
        self.flush().await;
        self.agent(
            "usage",
            json!({"inputTokens": usage.prompt_tokens(), "outputTokens": usage.output}),
        )
        .await;
        self.agent(
            "lifecycle",
            json!({"phase": "end", "endedAt": now_ms(), "stopReason": stop_reason, "aborted": false}),
        )
        .await;
        let mut extra = json!({"stopReason": stop_reason});
        if let Some(text) = text {
            extra["message"] = message(text);
        }
        self.seq += 1;
        self.chat("final", extra, false).await;
    }

    /// The run was aborted: the `chat` event first, then the lifecycle; no final follows.
    pub(crate) async fn aborted(&mut self, stop_reason: &str) {
        self.seq += 1;
        let mut extra = json!({"stopReason": stop_reason});
        if !self.text.is_empty() {
            extra["message"] = message(&self.text);
        }
        self.chat("aborted", extra, false).await;
        self.agent(
            "lifecycle",
            json!({"phase": "end", "endedAt": now_ms(), "stopReason": stop_reason, "aborted": true}),
        )
        .await;
    }

    /// The run failed. `error` is safe for the person.
    pub(crate) async fn failed(&mut self, error: &str, kind: &str) {
        self.flush().await;
        self.agent(
            "lifecycle",
            json!({"phase": "error", "error": error, "endedAt": now_ms()}),
        )
        .await;
        self.seq += 1;
        self.chat("error", json!({"errorMessage": error, "errorKind": kind}), false)
            .await;
    }

    /// Another run's message is answered within this one: its own run ends empty.
    pub(crate) async fn merged(&self, run_id: &str) {
        if self.heard() {
            let payload = json!({
                "runId": run_id, "sessionKey": self.session_key, "agentId": self.agent_id, "seq": 1,
                "state": "final", "stopReason": "merged",
            });
            self.send(Event::new("chat", &payload).for_session(self.session_key.as_str()))
                .await;
        }
    }

    /// A command's answer, which is a whole run by itself.
    pub(crate) async fn answered(&mut self, text: &str) {
        self.start().await;
        self.delta(text).await;
        self.finished(Some(text), "command", &Usage::default()).await;
    }

    /// The session's row changed.
    pub(crate) async fn session_changed(&self, reason: &'static str) {
        if self.heard() {
            let event = Event::new(
                "sessions.changed",
                &json!({"sessionKey": self.session_key, "agentId": self.agent_id, "reason": reason, "ts": now_ms()}),
            );
            self.send(event.droppable()).await;
        }
    }
}

fn message(text: &str) -> Value {
    json!({"role": "assistant", "content": [{"type": "text", "text": text}], "timestamp": now_ms()})
}
