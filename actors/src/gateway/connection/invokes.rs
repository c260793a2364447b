//! Calls of nodes, as a connection sees them: the node's at the other end, and those this connection made itself.

use std::time::Duration;

use actix::{ActorFutureExt, ActorStreamExt, AsyncContext, Context, WrapFuture, WrapStream};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::NodeConnection;
use super::live::Live;
use crate::gateway::hello::direct;
use crate::gateway::messages::{Invoke, InvokeAnswer};
use crate::gateway::node_streams::{Given, LARGEST_PIECE, Progress};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::parse_params;

/// Longest time a node may take for one call.
const LONGEST_INVOKE: Duration = Duration::from_secs(3600);

/// A call that the node has not answered.
pub(super) struct Pending {
    node_id: String,
    /// Of the next piece of progress; earlier ones are repeats.
    next_seq: u64,
    /// Pieces of input that were sent.
    inputs: u64,
    progress: Option<mpsc::Sender<Progress>>,
    reply: oneshot::Sender<InvokeAnswer>,
}

impl Live {
    /// The node's answer, if the call is this node's and open.
    pub(super) fn invoke_result(&mut self, method: &str, params: Option<&RawValue>) -> Result<Value, WireError> {
        let result: InvokeResultParams = parse_params(method, params)?;
        let known = self
            .invokes
            .get(&result.id)
            .is_some_and(|pending| pending.node_id == result.node_id);
        let Some(pending) = known.then(|| self.invokes.remove(&result.id)).flatten() else {
            return Ok(json!({"ok": true, "ignored": true}));
        };
        let _ = pending.reply.send(result.into_answer());
        Ok(json!({"ok": true}))
    }

    /// The node is not this user's any more, or has to come again: whoever called it hears why.
    pub(super) fn pairing_changed(&mut self) {
        for (_, pending) in self.invokes.drain() {
            let _ = pending.reply.send(InvokeAnswer::PairingChanged);
        }
    }

    /// News of the node's about an open call, in rising order.
    pub(super) fn invoke_progress(&mut self, method: &str, params: Option<&RawValue>) -> Result<Value, WireError> {
        let progress: ProgressParams = parse_params(method, params)?;
        if progress.chunk.chars().count() > LARGEST_PIECE {
            return Err(too_large(method, "chunk", "characters"));
        }
        let pending = self.invokes.get_mut(&progress.invoke_id);
        let pending = pending.filter(|pending| pending.node_id == progress.node_id && progress.seq >= pending.next_seq);
        let Some(pending) = pending else {
            return Ok(json!({"ok": true, "ignored": true}));
        };
        pending.next_seq = progress.seq.saturating_add(1);
        let piece = Progress {
            invoke_id: progress.invoke_id,
            seq: progress.seq,
            chunk: progress.chunk,
        };
        if pending.progress.as_ref().is_some_and(|to| to.try_send(piece).is_err()) {
            metrics::counter!("claw_node_progress_dropped_total").increment(1);
        }
        Ok(json!({"ok": true}))
    }

    /// The caller ends a call of this connection.
    pub(super) fn cancel_own(&self, method: &str, params: Option<&RawValue>) -> Result<Value, WireError> {
        let call: OwnCallParams = parse_params(method, params)?;
        if self.open_calls.cancel(&call.node_id, &call.idempotency_key) {
            return Ok(json!({"ok": true}));
        }
        Ok(json!({"ok": true, "ignored": true}))
    }

    /// The caller has input for a call of this connection.
    pub(super) fn feed_own(&self, method: &str, params: Option<&RawValue>) -> Result<Value, WireError> {
        let input: InputParams = parse_params(method, params)?;
        let text = input
            .payload_json
            .or_else(|| input.payload.map(|payload| payload.to_string()))
            .unwrap_or_else(|| "null".to_owned());
        if text.len() > LARGEST_PIECE {
            return Err(too_large(method, "payloadJSON", "bytes"));
        }
        if serde_json::from_str::<IgnoredAny>(&text).is_err() {
            return Err(WireError::invalid(format!(
                "invalid {method} params: at /payloadJSON: must be JSON"
            )));
        }
        match self
            .open_calls
            .give(&input.call.node_id, &input.call.idempotency_key, text)
        {
            Given::Taken => Ok(json!({"ok": true})),
            Given::NoCall => Ok(json!({"ok": true, "ignored": true})),
            Given::Full => Err(WireError::unavailable("the node is behind").retry_after(Duration::from_millis(200))),
        }
    }
}

fn too_large(method: &str, field: &str, what: &str) -> WireError {
    WireError::invalid(format!(
        "invalid {method} params: at /{field}: must NOT have more than {LARGEST_PIECE} {what}"
    ))
}

/// A call that this connection made.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnCallParams {
    node_id: String,
    idempotency_key: String,
}

#[derive(Deserialize)]
struct InputParams {
    #[serde(flatten)]
    call: OwnCallParams,
    payload: Option<Value>,
    #[serde(rename = "payloadJSON")]
    payload_json: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProgressParams {
    invoke_id: String,
    node_id: String,
    seq: u64,
    chunk: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvokeResultParams {
    id: String,
    node_id: String,
    ok: bool,
    payload: Option<Value>,
    #[serde(rename = "payloadJSON")]
    payload_json: Option<String>,
    error: Option<InvokeErrorParams>,
}

#[derive(Deserialize)]
struct InvokeErrorParams {
    code: Option<String>,
    message: Option<String>,
}

impl InvokeResultParams {
    fn into_answer(self) -> InvokeAnswer {
        if self.ok {
            let payload_json = self
                .payload_json
                .or_else(|| self.payload.map(|payload| payload.to_string()));
            return InvokeAnswer::Ok { payload_json };
        }
        let error = self.error.unwrap_or(InvokeErrorParams {
            code: None,
            message: None,
        });
        InvokeAnswer::Failed {
            code: error.code,
            message: error.message.unwrap_or_else(|| "node command failed".to_owned()),
        }
    }
}

impl NodeConnection {
    /// Calls the node at the other end.
    pub(super) fn invoke(&mut self, invoke: Invoke, ctx: &mut Context<Self>) {
        let Some(live) = self.live() else {
            return;
        };
        let timeout = invoke.timeout.min(LONGEST_INVOKE);
        let mut payload = json!({
            "id": invoke.id, "nodeId": invoke.node_id, "command": invoke.command,
            "paramsJSON": invoke.params_json.unwrap_or_else(|| "{}".to_owned()),
            "timeoutMs": u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        });
        if !invoke.idempotency_key.is_empty() {
            payload["idempotencyKey"] = json!(invoke.idempotency_key);
        }
        let pending = Pending {
            node_id: invoke.node_id,
            next_seq: 0,
            inputs: 0,
            progress: invoke.streams.progress,
            reply: invoke.reply,
        };
        live.invokes.insert(invoke.id.clone(), pending);
        self.write(direct("node.invoke.request", &payload), ctx);
        let id = invoke.id.clone();
        ctx.run_later(timeout, move |this, ctx| {
            if let Some(reply) = this.cancel_invoke(&id, ctx) {
                let _ = reply.send(InvokeAnswer::TimedOut);
            }
        });
        if let Some(input) = invoke.streams.input {
            let id = invoke.id.clone();
            // A slow node slows who feeds it, and keeps its socket.
            let pieces = futures::stream::unfold((input, self.outbox.room()), |(mut input, room)| async move {
                let piece = input.recv().await?;
                room.free().await;
                Some((piece, (input, room)))
            });
            ctx.spawn(
                pieces
                    .into_actor(self)
                    .map(move |text, this: &mut Self, ctx| this.feed(&id, &text, ctx))
                    .finish(),
            );
        }
        // The end of a call that was answered comes this way too, and finds nothing to cancel.
        let (id, abandoned) = (invoke.id, invoke.abandoned);
        ctx.spawn(abandoned.cancelled_owned().into_actor(self).map(move |(), this, ctx| {
            this.cancel_invoke(&id, ctx);
        }));
    }

    /// Hands the node a piece of input for an open call.
    fn feed(&mut self, id: &str, text: &str, ctx: &mut Context<Self>) {
        let Some(pending) = self.live().and_then(|live| live.invokes.get_mut(id)) else {
            return;
        };
        let payload = json!({"id": id, "nodeId": pending.node_id, "seq": pending.inputs, "payloadJSON": text});
        pending.inputs += 1;
        self.write(direct("node.invoke.input", &payload), ctx);
    }

    /// Tells the node to stop a call nobody waits for. `None`: it is over already.
    fn cancel_invoke(&mut self, id: &str, ctx: &mut Context<Self>) -> Option<oneshot::Sender<InvokeAnswer>> {
        let pending = self.live()?.invokes.remove(id)?;
        let cancel = json!({"invokeId": id, "nodeId": pending.node_id});
        self.write(direct("node.invoke.cancel", &cancel), ctx);
        Some(pending.reply)
    }
}
