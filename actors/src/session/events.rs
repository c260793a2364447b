//! Events of one run towards the user's connections: `agent` and `chat`, in the order clients rely on.
//!
//! `seq` counts per run over all streams, without holes on this side. Nothing is serialised while nobody listens; a
//! client that joins later sees the gap and refetches, as it must anyway.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::Recipient;
use actix::dev::SendError;
use claw_entities::SessionKey;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::asking::Said;
use super::redact;
use crate::clock::now_ms;
use crate::conversation::history::SessionRow;
use crate::conversation::transcript::{NewEntry, SessionHead};
use crate::conversation::{display, view};
use crate::gateway::listening::Listening;
use crate::gateway::messages::Event;
use crate::ports::message::{Part, Usage};
use crate::ports::tool::ToolOutput;
use crate::supervisor::user::FromRun;

/// Shortest time between two `chat` deltas of a run (OpenClaw: 150 ms).
const CHAT_PACE: Duration = Duration::from_millis(150);

/// Most of a tool's result that is shown, characters.
const MOST_RESULT: usize = 8_000;

/// Events of one run on their way to the user's actor.
const UNDER_WAY: usize = 32;

/// What the `chat` deltas of a run have shown so far, for whoever joins in the middle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<String>>);

impl Shown {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, text: &str) {
        text.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn add(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }
}

/// Of an `agent` event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentPayload<'a, D> {
    run_id: &'a str,
    session_key: &'a SessionKey,
    session_id: &'a str,
    agent_id: &'a str,
    stream: &'static str,
    data: D,
    seq: u64,
    ts: i64,
    is_heartbeat: bool,
}

/// Of a `chat` event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChatPayload<'a> {
    run_id: &'a str,
    session_key: &'a SessionKey,
    agent_id: &'a str,
    seq: u64,
    state: &'static str,
    #[serde(flatten)]
    extra: Value,
}

/// Data of the stream `assistant`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spoken<'a> {
    /// Of this message so far.
    text: &'a str,
    delta: &'a str,
    item_id: String,
}

/// Speaks for one run.
pub(crate) struct Emitter {
    to: Recipient<FromRun>,
    listening: Arc<Listening>,
    /// Of events on their way.
    places: Arc<Semaphore>,
    run_id: String,
    session_key: SessionKey,
    session_id: String,
    agent_id: String,
    seq: u64,
    /// Visible text of the run, and how much of it the last `chat` delta held.
    text: String,
    shown: usize,
    /// The assistant message that is being shown: its number, behind what it was begun, and where its own text begins.
    item: u64,
    base: usize,
    from: usize,
    /// The next delta is the whole text: what was shown before was taken back.
    replaces: bool,
    so_far: Shown,
    last_chat: Option<Instant>,
    /// Nobody asked: an agent looks by itself.
    heartbeat: bool,
    /// Shows nothing: it may turn out that there is nothing to say.
    quiet: bool,
}

impl Emitter {
    pub(crate) fn new(
        to: Recipient<FromRun>,
        listening: Arc<Listening>,
        run_id: &str,
        session_key: &SessionKey,
        agent_id: &str,
    ) -> Self {
        Self {
            to,
            listening,
            places: Arc::new(Semaphore::new(UNDER_WAY)),
            run_id: run_id.to_owned(),
            session_key: session_key.clone(),
            session_id: String::new(),
            agent_id: agent_id.to_owned(),
            seq: 0,
            text: String::new(),
            shown: 0,
            item: 0,
            base: 0,
            from: 0,
            replaces: false,
            so_far: Shown::default(),
            last_chat: None,
            heartbeat: false,
            quiet: false,
        }
    }

    /// The run is an agent's own look: nothing is shown before [`Emitter::speak`].
    pub(crate) fn hush(&mut self) {
        (self.heartbeat, self.quiet) = (true, true);
    }

    /// There is something to say after all.
    pub(crate) fn speak(&mut self) {
        self.quiet = false;
    }

    pub(crate) fn set_session_id(&mut self, session_id: &str) {
        session_id.clone_into(&mut self.session_id);
    }

    /// Visible text so far of the run.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What was shown, also while the run goes on.
    pub(crate) fn so_far(&self) -> Shown {
        self.so_far.clone()
    }

    /// Does anybody listen at all.
    pub(crate) fn heard(&self) -> bool {
        self.listening.heard()
    }

    async fn send(&self, event: Event) {
        self.send_with(event, None).await;
    }

    async fn send_with(&self, event: Event, said: Option<Said>) {
        // Never closed; the user's actor may be gone, and the run is on record all the same.
        let Ok(place) = self.places.clone().acquire_owned().await else {
            return;
        };
        let event = Arc::new(event);
        if let Err(SendError::Full(message)) = self.to.try_send(FromRun { event, said, place }) {
            let _ = self.to.send(message).await;
        }
    }

    async fn agent(&mut self, stream: &'static str, data: impl Serialize) {
        self.seq += 1;
        if !self.heard() {
            return;
        }
        let event = self.of_agent(stream, data);
        if event.tool_stream && self.listening.followed() {
            // The same, for whoever follows the session.
            let followed = Event {
                name: "session.tool",
                tool_stream: false,
                ..event.clone()
            };
            self.send(followed).await;
        }
        self.send(event).await;
    }

    /// The `agent` event of the number that was given last.
    fn of_agent(&self, stream: &'static str, data: impl Serialize) -> Event {
        let payload = AgentPayload {
            run_id: &self.run_id,
            session_key: &self.session_key,
            session_id: &self.session_id,
            agent_id: &self.agent_id,
            stream,
            data,
            seq: self.seq,
            ts: now_ms(),
            is_heartbeat: self.heartbeat,
        };
        let mut event = Event::new("agent", &payload).for_session(self.session_key.as_str());
        event.tool_stream = stream == "tool";
        // Each holds its message's whole text so far.
        event.droppable = stream == "assistant";
        event
    }

    async fn chat(&mut self, state: &'static str, extra: Value, droppable: bool) {
        if !self.heard() || self.quiet {
            return;
        }
        let payload = ChatPayload {
            run_id: &self.run_id,
            session_key: &self.session_key,
            agent_id: &self.agent_id,
            seq: self.seq,
            state,
            extra,
        };
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

    /// A model failed for good: the next one is tried, or there is none.
    pub(crate) async fn fallback_step(&mut self, from: &str, to: Option<&str>, reason: &str, position: usize) {
        let outcome = if to.is_some() {
            "next_fallback"
        } else {
            "chain_exhausted"
        };
        let mut data = json!({
            "phase": "fallback_step", "fallbackStepType": "fallback_step", "fallbackStepFromModel": from,
            "fallbackStepFromFailureReason": reason, "fallbackStepChainPosition": position,
            "fallbackStepFinalOutcome": outcome,
        });
        if let Some(to) = to {
            data["fallbackStepToModel"] = json!(to);
        }
        self.agent("lifecycle", data).await;
    }

    /// Another model than the chosen one answers (`fallback`), or the chosen one again (`fallback_cleared`).
    pub(crate) async fn fallback(&mut self, data: Value) {
        self.agent("lifecycle", data).await;
    }

    /// The visible text of the current assistant message so far, which begins after the first `base` bytes of the
    /// run's. What it adds is sent; it never takes back.
    pub(crate) async fn show(&mut self, base: usize, text: &str) {
        let gap = if base > 0 { "\n\n" } else { "" };
        let held = self.text.len() - base;
        if text.is_empty() {
            return;
        }
        if held == 0 {
            // A message that is begun anew takes the place of what was taken back.
            if self.item == 0 || base != self.base {
                self.item += 1;
                self.base = base;
            }
            self.from = base + gap.len();
            self.delta(gap, text).await;
        } else if let Some(added) = text.get(held - gap.len()..) {
            self.delta("", added).await;
        }
    }

    /// More visible text of the current assistant message; `gap` parts it from what stands above.
    async fn delta(&mut self, gap: &str, delta: &str) {
        if delta.is_empty() {
            return;
        }
        let at = self.text.len();
        self.text.push_str(gap);
        self.text.push_str(delta);
        if self.quiet {
            return;
        }
        self.seq += 1;
        if self.heard() {
            let said = Said {
                run_id: self.run_id.clone(),
                at,
                delta: self.text[at..].to_owned(),
            };
            let data = Spoken {
                text: self.text.get(self.from..).unwrap_or_default(),
                delta,
                item_id: format!("{}:{}", self.run_id, self.item),
            };
            self.send_with(self.of_agent("assistant", data), Some(said)).await;
        }
        if self.last_chat.is_none_or(|last| last.elapsed() >= CHAT_PACE) {
            self.flush().await;
        }
    }

    /// Sends what the pace has held back.
    pub(crate) async fn flush(&mut self) {
        if self.quiet || self.shown == self.text.len() {
            return;
        }
        if std::mem::take(&mut self.replaces) {
            self.shown = 0;
            self.so_far.set("");
            let whole = json!({"deltaText": self.text, "replace": true, "message": message(&self.text)});
            return self.send_delta(whole).await;
        }
        let added = &self.text[self.shown..];
        let delta = json!({"deltaText": added, "message": message(&self.text)});
        self.send_delta(delta).await;
    }

    async fn send_delta(&mut self, delta: Value) {
        self.so_far.add(&self.text[self.shown..]);
        self.shown = self.text.len();
        self.last_chat = Some(Instant::now());
        self.chat("delta", delta, true).await;
    }

    /// Takes back what was shown after the first `base` bytes: the call that said it is made again.
    pub(crate) fn restart(&mut self, base: usize) {
        if base < self.text.len() {
            self.text.truncate(base);
            self.replaces = self.replaces || self.shown > base;
            self.shown = self.shown.min(base);
            self.so_far.set(&self.text);
        }
    }

    /// The conversation is being summarised.
    pub(crate) async fn compacting(&mut self) {
        self.flush().await;
        self.agent("compaction", json!({"phase": "start"})).await;
    }

    /// That has come to its end, with a summary or without. `will_retry`: the call that did not fit is made again.
    pub(crate) async fn compacted(&mut self, will_retry: bool, completed: bool) {
        self.agent(
            "compaction",
            json!({"phase": "end", "willRetry": will_retry, "completed": completed}),
        )
        .await;
    }

    /// A compaction that somebody asked for begins (`completed` is `None`) or ends.
    pub(crate) async fn operation(&self, id: &str, completed: Option<bool>) {
        if self.listening.followed() {
            let mut payload = json!({
                "operationId": id, "operation": "compact", "phase": "start", "sessionKey": self.session_key,
                "agentId": self.agent_id, "ts": now_ms(),
            });
            if let Some(completed) = completed {
                payload["phase"] = json!("end");
                payload["completed"] = json!(completed);
            }
            let event = Event::new("session.operation", &payload).for_session(self.session_key.as_str());
            self.send(event).await;
        }
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

    /// A tool goes on. What it gave so far is left out.
    pub(crate) async fn tool_update(&mut self, call_id: &str, name: &str) {
        self.agent("tool", json!({"phase": "update", "name": name, "toolCallId": call_id}))
            .await;
    }

    /// A tool is done. The beginning of what it gave is shown, whatever the chat is told (verbose).
    pub(crate) async fn tool_result(&mut self, call_id: &str, name: &str, output: &ToolOutput) {
        let mut data = json!({"phase": "result", "name": name, "toolCallId": call_id, "isError": output.is_error});
        if self.heard() {
            data["result"] = json!({"content": result(&output.content)});
        }
        self.agent("tool", data).await;
    }

    /// The run ended with an answer; silent when `text` is `None`.
    pub(crate) async fn finished(&mut self, text: Option<&str>, files: &[Part], stop_reason: &str, usage: &Usage) {
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
        if text.is_some() || !files.is_empty() {
            extra["message"] = message(text.unwrap_or_default());
            let said: Vec<Value> = text
                .map(|text| json!({"type": "text", "text": text}))
                .into_iter()
                .collect();
            let shown = said.into_iter().chain(display::attachments(files));
            extra["message"]["content"] = shown.collect();
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

    /// Another message will not be answered: its own run ends before it began.
    pub(crate) async fn dropped(&self, run_id: &str, stop_reason: &str) {
        if self.heard() {
            let payload = json!({
                "runId": run_id, "sessionKey": self.session_key, "agentId": self.agent_id, "seq": 1,
                "state": "aborted", "stopReason": stop_reason,
            });
            self.send(Event::new("chat", &payload).for_session(self.session_key.as_str()))
                .await;
        }
    }

    /// A command's answer, which is a whole run by itself.
    pub(crate) async fn answered(&mut self, text: &str) {
        self.start().await;
        self.show(0, text).await;
        self.finished(Some(text), &[], "command", &Usage::default()).await;
    }

    /// An answer beside the conversation: an event of its own, and an end without a message.
    pub(crate) async fn aside(&mut self, question: &str, text: &str, failed: bool) {
        self.start().await;
        self.seq += 1;
        if self.heard() {
            let mut payload = json!({
                "kind": "btw", "runId": self.run_id, "sessionKey": self.session_key, "seq": self.seq,
                "question": question, "text": text, "ts": now_ms(),
            });
            if failed {
                payload["isError"] = json!(true);
            }
            self.send(Event::new("chat.side_result", &payload).for_session(self.session_key.as_str()))
                .await;
        }
        self.finished(None, &[], "command", &Usage::default()).await;
    }

    /// The session's row changed; `running` says whether it works on something now.
    pub(crate) async fn session_changed(&self, reason: &str, head: Option<&SessionHead>, running: bool) {
        if self.listening.followed() {
            let row = head.map(SessionRow::from);
            let event = session_changed(&self.session_key, &self.agent_id, reason, row.as_ref(), Some(running));
            self.send(event).await;
        }
    }

    /// An entry stands in the transcript at `seq`. What people do not see is not told, and neither are tool results.
    pub(crate) async fn appended(&self, head: &SessionHead, entry: &NewEntry, seq: i64) {
        if !self.listening.followed() || self.quiet {
            return;
        }
        if let Some(event) = session_message(head, entry, seq) {
            self.send(event).await;
        }
    }

    /// An operator put a message into the transcript: a run of its own, without a beginning.
    pub(crate) async fn injected(&mut self, head: &SessionHead, entry: &NewEntry, seq: i64) {
        if let Some((mut shown, _)) = entry.placed(seq).as_ref().and_then(display::entry) {
            if let Some(fields) = shown.as_object_mut() {
                fields.remove("__openclaw");
            }
            self.chat("final", json!({"message": shown}), false).await;
        }
        self.appended(head, entry, seq).await;
        self.session_changed("inject", Some(head), false).await;
    }
}

/// The user's groups of sessions, or which session is in which, changed.
pub(crate) fn groups_changed() -> Event {
    Event::new("sessions.changed", &json!({"reason": "groups", "ts": now_ms()})).droppable()
}

/// `sessions.changed`. Lists are refetched after a gap, so it may be left out for a slow reader.
pub(crate) fn session_changed(
    key: &SessionKey,
    agent_id: &str,
    reason: &str,
    row: Option<&SessionRow>,
    running: Option<bool>,
) -> Event {
    let mut payload = json!({"sessionKey": key, "agentId": agent_id, "reason": reason, "ts": now_ms()});
    if let Some(row) = row {
        let mut session = view::session(row);
        if let Some(running) = running {
            session["hasActiveRun"] = json!(running);
            if running {
                session["status"] = json!("running");
            }
        }
        // The original repeats the row's fields beside it; clients read either.
        if let (Some(all), Some(fields)) = (payload.as_object_mut(), session.as_object()) {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "key") {
                all.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        payload["session"] = session;
    }
    Event::new("sessions.changed", &payload).droppable()
}

/// `session.message`, for those who follow the session.
fn session_message(head: &SessionHead, entry: &NewEntry, seq: i64) -> Option<Event> {
    let placed = entry.placed(seq)?;
    let (shown, _) = display::entry(&placed)?;
    if !(shown["role"] == "user" || shown["role"] == "assistant") {
        return None;
    }
    let payload = json!({
        "sessionKey": head.key, "agentId": head.agent_id, "sessionId": head.session_id, "updatedAt": head.updated_at,
        "message": shown, "messageId": placed.id, "messageSeq": seq, "session": view::session(&SessionRow::from(head)),
    });
    Some(Event::new("session.message", &payload).for_session(head.key.as_str()))
}

/// The beginning of a tool's texts, without credentials.
fn result(content: &[Part]) -> Vec<Value> {
    let mut left = MOST_RESULT;
    let mut shown = Vec::new();
    for text in content.iter().filter_map(Part::text) {
        // More than is shown: a credential that is cut would not look like one.
        let looked_at: String = text.chars().take(2 * MOST_RESULT).collect();
        let text: String = redact::credentials(&looked_at).chars().take(left).collect();
        left -= text.chars().count();
        shown.push(json!({"type": "text", "text": text}));
        if left == 0 {
            break;
        }
    }
    shown
}

fn message(text: &str) -> Value {
    json!({"role": "assistant", "content": [{"type": "text", "text": text}], "timestamp": now_ms()})
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Context, Handler};
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn results_are_cut_and_hold_no_credentials() {
        let part = |text: &str| Part::Text { text: text.to_owned() };
        let key = "sk-abcdefghijklmnop1234";
        let long = format!("{} {key}", "é".repeat(MOST_RESULT - 10));
        let shown = result(&[part(&format!("found {key}")), part(&long), part("never seen")]);
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0], json!({"type": "text", "text": "found [redacted]"}));
        let texts: usize = shown
            .iter()
            .filter_map(|part| part["text"].as_str())
            .map(|text| text.chars().count())
            .sum();
        assert_eq!(texts, MOST_RESULT);
        assert!(!json!(shown).to_string().contains("sk-"));
    }

    struct User(mpsc::UnboundedSender<Arc<Event>>);

    impl Actor for User {
        type Context = Context<Self>;
    }

    impl Handler<FromRun> for User {
        type Result = ();
        fn handle(&mut self, message: FromRun, _: &mut Self::Context) {
            self.0.send(message.event).expect("the test listens");
        }
    }

    #[actix::test]
    async fn what_a_later_event_says_again_may_be_left_out() {
        let (tx, mut told) = mpsc::unbounded_channel();
        let listening = Arc::new(Listening::default());
        listening.set_heard(1);
        let key = SessionKey::from("agent:main:main");
        let mut emitter = Emitter::new(User(tx).start().recipient(), listening, "r1", &key, "main");
        emitter.start().await;
        emitter.show(0, "words").await;
        emitter.tool_start("c1", "clock", &json!({})).await;
        drop(emitter);
        let mut droppable = Vec::new();
        while let Some(event) = told.recv().await {
            let payload: Value = serde_json::from_str(event.payload.get()).expect("JSON");
            let what = payload["stream"].as_str().or(payload["state"].as_str());
            droppable.push((what.unwrap_or_default().to_owned(), event.droppable));
        }
        let expected = [
            ("lifecycle", false),
            ("assistant", true),
            ("delta", true),
            ("tool", false),
        ];
        assert_eq!(droppable, expected.map(|(what, drops)| (what.to_owned(), drops)));
    }
}
