//! What a run and those around it take from its parts: failures in its words, the session's row, the pieces of a reply.

use std::time::Duration;

use claw_entities::Scope;

use super::blocks::{below, doubt};
use super::{End, YIELD};
use crate::Services;
use crate::config::document::UserSettings;
use crate::conversation::transcript::SessionHead;
use crate::ports::message::{AssistantMessage, AssistantPart, Message};
use crate::ports::model::{ErrorClass, ModelError};
use crate::ports::tool::SessionSnapshot;
use crate::session::compaction;
use crate::session::item::Options;
use crate::session::preview::Outlet;
use crate::session::turn::Piece;
use crate::supervisor::directory::Directory;

/// Did the agent end its turn to wait for what it began.
pub(super) fn waits_for_children(results: &[Message]) -> bool {
    results.iter().any(|result| match result {
        Message::ToolResult {
            tool_name, is_error, ..
        } => tool_name == YIELD && !is_error,
        Message::User { .. } | Message::Assistant(_) => false,
    })
}

pub(super) fn failed(error: ModelError) -> End {
    End::Failed(Box::new(error))
}

pub(super) fn text_parts(text: &str) -> Vec<AssistantPart> {
    if text.is_empty() {
        return Vec::new();
    }
    vec![AssistantPart::Text { text: text.to_owned() }]
}

pub(super) fn plain_failure(class: ErrorClass, message: String) -> ModelError {
    ModelError {
        class,
        detail: String::new(),
        message,
        status: None,
        retry_after: None,
        partial: AssistantMessage::default(),
    }
}

/// `timeoutMs` of the request, else the agent's, else the process's; `None` = no limit.
pub(super) fn run_timeout(options: &Options, settings: &UserSettings, services: &Services) -> Option<Duration> {
    match (options.timeout_ms, settings.run_timeout) {
        (Some(0), _) | (None, Some(None)) => None,
        (Some(millis), _) => Some(Duration::from_millis(millis)),
        (None, Some(Some(limit))) => Some(limit),
        (None, None) => Some(services.limits.run_timeout),
    }
}

/// The session's own model.
pub(crate) fn override_of(head: &SessionHead) -> Option<&str> {
    head.entry
        .get("modelOverride")
        .and_then(serde_json::Value::as_str)
        .filter(|model| !model.is_empty())
}

/// The facts of a session that stand in its row.
pub(crate) fn snapshot(head: &SessionHead) -> SessionSnapshot {
    let count = |name: &str| head.entry.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    SessionSnapshot {
        session_key: head.key.as_str().to_owned(),
        session_id: head.session_id.clone(),
        context_tokens: compaction::fresh_tokens(head),
        input_tokens: count("inputTokens"),
        output_tokens: count("outputTokens"),
        cost_usd: head
            .entry
            .get("costUsd")
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(0.0),
        compactions: u32::try_from(count("compactionCount")).unwrap_or(u32::MAX),
        ..SessionSnapshot::default()
    }
}

/// Cuts a reply into outbox pieces. An earlier reply that may be missing is mentioned once.
pub(crate) fn pieces(
    directory: &Directory,
    scope: &Scope,
    outlet: Option<&Outlet>,
    reply: Option<&str>,
    replaces: Option<String>,
) -> Vec<Piece> {
    let (Some(outlet), Some(reply)) = (outlet, reply) else {
        return Vec::new();
    };
    let mut reply = vec![reply.to_owned()];
    if let Some(doubt) = doubt(directory, scope, outlet) {
        below(&mut reply, doubt);
    }
    let mut pieces: Vec<Piece> = outlet
        .render(&reply.concat())
        .into_iter()
        .map(|rendered| Piece::new("final", &outlet.destination, rendered))
        .collect();
    if let Some(first) = pieces.first_mut() {
        first.replaces = replaces;
    }
    pieces
}
