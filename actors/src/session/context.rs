//! What one model call is sent (`agent-runtime` §8): history that fits, the turn, and the guard for small windows.
//! Pure; reading the history is `conversation/branch.rs`.

pub mod cut;
pub mod prune;

use std::borrow::Borrow;
use std::sync::Arc;

use crate::conversation::entry::{Body, Compaction, Entry};
use crate::conversation::repair::{Target, repair};
use crate::conversation::tokens;
use crate::error::{Error, Result};
use crate::ports::message::Message;
use crate::ports::model::SystemBlock;
use crate::ports::tool::ToolSpec;

/// Below this many tokens a model is refused.
pub const SMALLEST_WINDOW: u64 = 16_000;
/// Below this many tokens a warning is logged.
pub const TIGHT_WINDOW: u64 = 32_000;

/// How much room a model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Roomy,
    /// Long conversations will not go well.
    Tight,
}

/// Refuses a model whose window is too small to work in.
///
/// # Errors
/// `Invalid` with a sentence for the person.
pub fn check_window(model: &str, window: u64) -> Result<Window> {
    if window < SMALLEST_WINDOW {
        return Err(Error::invalid(format!(
            "The model {model} has a context window of {window} tokens; at least {SMALLEST_WINDOW} are needed. \
             Choose another model."
        )));
    }
    Ok(if window < TIGHT_WINDOW {
        Window::Tight
    } else {
        Window::Roomy
    })
}

/// Tokens of system prompt and tools, estimated.
pub fn fixed(system: &[SystemBlock], tools: &[Arc<ToolSpec>]) -> u64 {
    let blocks: u64 = system.iter().map(|block| tokens::text(&block.text)).sum();
    blocks + tools.iter().map(|spec| tool(spec)).sum::<u64>()
}

/// Tokens of one tool, estimated.
pub fn tool(tool: &ToolSpec) -> u64 {
    tokens::text(&tool.name) + tokens::text(&tool.description) + tool.parameters.tokens()
}

/// Tokens that history and turn may take together: the window without what is [`fixed`] and without the answer, less
/// the margin of the estimate. Never below an eighth of the window.
pub fn budget(window: u64, max_output: u32, fixed: u64) -> u64 {
    // An answer rarely needs more than half of a window, whatever the catalog says.
    let answer = u64::from(max_output).min(window / 2);
    let left = window.saturating_sub(answer).saturating_sub(tokens::with_margin(fixed));
    (left - left / 6).max(window / 8)
}

/// The messages of a call: the last compaction's summary, what came after it as far as `budget` tokens reach, and
/// `turn` (`None` when the turn's user entry is in `entries` already). The newest turn is always whole. Repaired for
/// `target`.
pub fn assemble(
    entries: &[impl Borrow<Entry>],
    turn: Option<Message>,
    target: Target<'_>,
    budget: u64,
) -> Vec<Arc<Message>> {
    assemble_with(entries, turn, target, budget, |_| {})
}

/// [`assemble`], after `shorten` had its way with the history.
pub fn assemble_with(
    entries: &[impl Borrow<Entry>],
    turn: Option<Message>,
    target: Target<'_>,
    budget: u64,
    shorten: impl FnOnce(&mut [Arc<Message>]),
) -> Vec<Arc<Message>> {
    let (summary, mut history) = messages(entries);
    let turn = turn.map(Arc::new);
    shorten(&mut history);
    let mut left = budget;
    for extra in summary.iter().chain(turn.iter()) {
        left = left.saturating_sub(tokens::message(extra));
    }
    let start = first_that_fits(&history, left, turn.is_some());
    let mut assembled = Vec::with_capacity(history.len() - start + 2);
    assembled.extend(summary);
    assembled.extend(history.drain(start..));
    assembled.extend(turn);
    repair(assembled, target)
}

/// What is to be summarised when the context is cut at index `at`: the summary so far, and the messages after it.
pub fn to_summarise<E: Borrow<Entry>>(entries: &[E], at: usize) -> (Option<&Compaction>, Vec<Message>) {
    // It may stand behind the cut: what it kept word for word came before it.
    let so_far = entries.iter().rev().find_map(|entry| entry.borrow().body.compaction());
    let history = messages(entries.get(..at).unwrap_or_default()).1;
    (so_far, history.into_iter().map(Arc::unwrap_or_clone).collect())
}

/// Entries as messages, with the summary of the newest compaction apart. What it stands for is left out.
fn messages(entries: &[impl Borrow<Entry>]) -> (Option<Arc<Message>>, Vec<Arc<Message>>) {
    let entries = || entries.iter().map(Borrow::borrow);
    let compaction = entries()
        .rev()
        .find_map(|entry| Some((&entry.id, &entry.body.compaction()?.first_kept_entry_id)));
    let mut skipping = compaction.is_some_and(|(_, first_kept)| entries().any(|entry| entry.id == *first_kept));
    let mut summary = None;
    let mut history = Vec::new();
    for entry in entries() {
        let Some((compaction_id, first_kept)) = compaction else {
            history.extend(message(entry));
            continue;
        };
        skipping = skipping && entry.id != *first_kept;
        if entry.id == *compaction_id {
            summary = message(entry);
        } else if !skipping && entry.body.compaction().is_none() {
            history.extend(message(entry));
        }
    }
    (summary, history)
}

fn message(entry: &Entry) -> Option<Arc<Message>> {
    let at = entry.created_at;
    let made = match &entry.body {
        Body::Message(body) => return Some(body.message.clone()),
        Body::Compaction(body) => {
            let rules = body.rules().map(|rules| format!("\n\n{rules}")).unwrap_or_default();
            Message::user(
                format!("[Summary of the conversation so far]\n{}{rules}", body.summary),
                at,
            )
        }
        Body::BranchSummary(body) => Message::user(
            format!(
                "[Summary of a part of the conversation that was left]\n{}",
                body.summary
            ),
            at,
        ),
        Body::CustomMessage(body) => Message::User {
            content: body.content.clone(),
            timestamp: at,
        },
        Body::Custom(_)
        | Body::ModelChange(_)
        | Body::ThinkingLevelChange(_)
        | Body::Label(_)
        | Body::SessionInfo(_) => return None,
    };
    Some(Arc::new(made))
}

/// Where to start so that the rest fits: at a user's message, so that no answer stands without its question. Without
/// a separate turn the last user message and what follows it stay, whatever their size.
fn first_that_fits(history: &[Arc<Message>], budget: u64, has_turn: bool) -> usize {
    let mut used = 0;
    let mut start = history.len();
    for (index, message) in history.iter().enumerate().rev() {
        used += tokens::message(message);
        if used > budget {
            break;
        }
        start = index;
    }
    if start == 0 {
        return 0;
    }
    let is_user = |message: &Arc<Message>| matches!(**message, Message::User { .. });
    match history[start..].iter().position(is_user) {
        Some(ahead) => start + ahead,
        None if has_turn => history.len(),
        None => history
            .iter()
            .rposition(is_user)
            .unwrap_or(start.min(history.len().saturating_sub(1))),
    }
}

#[cfg(test)]
mod tests;
