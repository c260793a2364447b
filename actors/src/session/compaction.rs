//! Compaction (`agent-runtime` §8.7): a model writes a summary, and an entry with it stands for what came before.
//! Nothing is deleted: older entries stay stored, and people still read them.
//!
//! What calls a model here is a plain future; the entry is one transaction in [`super::turn::compact`]. Before it nothing has
//! changed, so a summary that fails, is aborted or dies with the process leaves the conversation as it was.

mod calls;
pub(crate) mod manual;
mod words;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::calls::{Calls, Stop};
use super::assembly::Assembly;
use super::context::{cut, to_summarise};
use super::turn::Authority;
use crate::Services;
use crate::config::document::{CompactionMode, CompactionSettings};
use crate::config::providers::ResolvedModel;
use crate::conversation::branch::Branch;
use crate::conversation::entry::Compaction;
use crate::conversation::tokens;
use crate::conversation::transcript::SessionHead;
use crate::error::{Error, Result};
use crate::ports::message::{Message, Usage};

/// Compactions one run makes at most.
pub(crate) const PER_RUN: u32 = 3;
/// Calls of one compaction that read a part of the conversation; what is older still is left out.
const MOST_CHUNKS: usize = 8;
/// Tokens of a call beside the conversation.
const OVERHEAD: u64 = 4_096;
/// Longest summary, tokens.
const LONGEST_SUMMARY: u32 = 8_192;

/// What is to be compacted, and by whom.
pub(crate) struct Job<'a> {
    pub(crate) services: &'a Services,
    pub(crate) authority: &'a Authority,
    pub(crate) settings: &'a CompactionSettings,
    pub(crate) head: &'a SessionHead,
    /// The session's model; another one may be configured for summaries.
    pub(crate) model: &'a ResolvedModel,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) extent: Extent,
    /// What goes to the session's model beside the conversation.
    pub(crate) base: &'a Assembly,
    /// What the person who asked for it wants minded.
    pub(crate) instructions: Option<&'a str>,
}

/// How much of the conversation is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// As settings say, and only where it is worth a call.
    Usual,
    /// The provider refused the prompt: the more often, the less is kept.
    Refused { before: u32 },
    /// A person asked for it: about half, however short the conversation is.
    Asked,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A summary that is not stored yet.
    Summarised(Box<Summarised>),
    Aborted,
    /// The sentence is for people.
    Failed(String),
}

/// An entry to be stored.
#[derive(Debug)]
pub(crate) struct Summarised {
    pub(crate) body: Compaction,
    /// Estimated tokens of the conversation afterwards.
    pub(crate) tokens_after: u64,
}

/// What it cost, whatever came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) usage: Usage,
    pub(crate) provider: String,
    pub(crate) model: String,
}

/// Tokens of the window that stay free: of a small window not more than half.
pub(crate) fn reserve(settings: &CompactionSettings, window: u64) -> u64 {
    settings.reserve.min(window / 2)
}

/// A conversation that is about to be summarised, and where it is cut.
pub(crate) struct Plan {
    /// The model that summarises.
    model: ResolvedModel,
    branch: Branch,
    place: cut::Cut,
    rules: Option<String>,
}

/// Reads the conversation and decides what goes. `None` when there is nothing before what stays, or when a summary would
/// leave as little room as there is.
pub(crate) async fn plan(job: &Job<'_>) -> Result<Option<Plan>> {
    let rules = words::rules(job.base.workspace(), &job.settings.sections);
    let room = Room::of(job, rules.as_deref());
    if usual(job.settings, &room, job.extent).is_none() {
        return Ok(None);
    }
    let model = summariser(job).await?;
    let readable = limit(job.settings, &model, 0) * MOST_CHUNKS as u64;
    let kept = job.settings.keep_recent.saturating_mul(2);
    let scope = &job.authority.scope;
    let conversation = &job.services.conversation;
    let branch = conversation
        .whole(scope, job.head, readable.saturating_add(kept))
        .await?;
    let Some(place) = place(job, &room, &branch) else {
        return Ok(None);
    };
    Ok(Some(Plan {
        model,
        branch,
        place,
        rules,
    }))
}

impl Plan {
    /// Writes the summary. Stores nothing.
    pub(crate) async fn summarise(self, job: &Job<'_>) -> (Outcome, Spent) {
        let mut calls = Calls::new(job, &self.model);
        let outcome = self.told_by(&mut calls, job).await;
        let spent = Spent {
            usage: calls.usage(),
            provider: self.model.provider.clone(),
            model: self.model.model.clone(),
        };
        (outcome, spent)
    }

    async fn told_by(&self, calls: &mut Calls<'_>, job: &Job<'_>) -> Outcome {
        let Self { branch, place, .. } = self;
        let (so_far, messages) = to_summarise(&branch.entries, place.at);
        let question = place.turn.and_then(|turn| branch.entries.get(turn)?.body.message());
        let written = match calls.written(so_far, &messages).await {
            Ok(written) => written,
            Err(Stop::Aborted) => return Outcome::Aborted,
            Err(Stop::Failed(why)) => return Outcome::Failed(why),
        };
        let left_out = written.left_out || !branch.complete;
        let summary = words::completed(written.summary, &messages, job.settings, question, left_out);
        let mut details = files_touched(so_far, &messages);
        if let Some(rules) = &self.rules {
            details["rules"] = json!(rules);
        }
        let stay = || branch.entries.iter().skip(place.at);
        let body = Compaction {
            first_kept_entry_id: stay().next().map(|entry| entry.id.clone()).unwrap_or_default(),
            tokens_before: fresh_tokens(job.head).unwrap_or(branch.tokens),
            details: Some(details),
            summary,
        };
        let kept: u64 = stay().map(|entry| cut::cost(entry)).sum();
        Outcome::Summarised(Box::new(Summarised {
            tokens_after: kept + tokens::text(&body.summary) + body.rules().map_or(0, tokens::text),
            body,
        }))
    }
}

/// Size of the last prompt, where it is known and nothing was compacted since.
pub(crate) fn fresh_tokens(head: &SessionHead) -> Option<u64> {
    let fresh = head.entry.get("totalTokensFresh").and_then(Value::as_bool);
    let total = head.entry.get("totalTokens").and_then(Value::as_u64)?;
    (fresh != Some(false) && total > 0).then_some(total)
}

/// The configured model, or the session's where that one is not there.
async fn summariser(job: &Job<'_>) -> Result<ResolvedModel> {
    let Some(wanted) = job.settings.model.as_deref() else {
        return Ok(job.model.clone());
    };
    let config = &job.services.config;
    match config
        .resolve_model(&job.authority.scope, &job.authority.agent_id, Some(wanted))
        .await
    {
        Ok(model) => Ok(model),
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => Err(error),
        Err(error) => {
            tracing::warn!(tenant.id = %job.authority.scope.tenant(), error = ?error, "no such model for summaries");
            Ok(job.model.clone())
        }
    }
}

/// Room for what stays word for word, in tokens.
#[derive(Clone, Copy, Debug)]
struct Room {
    window: u64,
    /// Beside the longest summary and the rules, of what is sent at all.
    sent: u64,
    /// Beside them and what is always sent, until the next prompt would be summarised again.
    calm: u64,
}

impl Room {
    fn of(job: &Job<'_>, rules: Option<&str>) -> Self {
        let window = job.model.context_window;
        let summary = u64::from(longest(window)) + rules.map_or(0, tokens::text);
        let free = window - reserve(job.settings, window);
        Self {
            window,
            sent: job.base.budget().saturating_sub(summary),
            calm: free.saturating_sub(job.base.fixed()).saturating_sub(summary),
        }
    }
}

/// Tokens that stay as settings and room say. `None` when that is too little to be worth a call.
fn usual(settings: &CompactionSettings, room: &Room, extent: Extent) -> Option<u64> {
    // A small window has no room for the usual tail.
    let wanted = settings.keep_recent.min(room.window / 6);
    let usual = wanted.min(room.sent);
    match extent {
        Extent::Usual => (room.calm >= wanted / 4).then_some(usual.min(room.calm)),
        Extent::Refused { .. } | Extent::Asked => Some(usual),
    }
}

fn place(job: &Job<'_>, room: &Room, branch: &Branch) -> Option<cut::Cut> {
    let entries = &branch.entries;
    let all: u64 = entries.iter().map(|entry| cut::cost(entry)).sum();
    let usual = usual(job.settings, room, job.extent)?;
    let (tokens, least) = match job.extent {
        Extent::Usual => (usual, usual / 4),
        Extent::Refused { before } => (usual.min(all / 2) >> before, 1),
        Extent::Asked => (usual.min(all / 2), 1),
    };
    let turns = match (job.settings.mode, job.extent) {
        (CompactionMode::Safeguard, Extent::Usual) => job.settings.keep_turns,
        (CompactionMode::Safeguard, Extent::Refused { .. } | Extent::Asked) | (CompactionMode::Default, _) => 0,
    };
    let most = (tokens.saturating_mul(3) / 2).min(room.sent);
    let keep = cut::Keep {
        tokens: tokens.max(1),
        most: if job.extent == Extent::Usual {
            most.min(room.calm)
        } else {
            most
        },
        turns,
    };
    let place = cut::cut(entries, keep)?;
    let goes: u64 = entries.iter().take(place.at).map(|entry| cut::cost(entry)).sum();
    let says_something = !to_summarise(entries, place.at).1.is_empty();
    (goes >= least && says_something).then_some(place)
}

/// Tokens of the longest summary: of a small window a small part.
fn longest(window: u64) -> u32 {
    u32::try_from(window / 8)
        .unwrap_or(LONGEST_SUMMARY)
        .min(LONGEST_SUMMARY)
}

/// Tokens of conversation one call of the summarising model reads.
fn limit(settings: &CompactionSettings, model: &ResolvedModel, mean: u64) -> u64 {
    let window = model.context_window;
    let share = match settings.mode {
        CompactionMode::Default => settings.share,
        // Large messages leave less room for an estimate's error.
        CompactionMode::Safeguard if mean > window / 10 => 15,
        CompactionMode::Safeguard => settings.share.min(40),
    };
    (window * share / 100).saturating_sub(OVERHEAD).max(1_000)
}

/// Files that were read and changed, as the original's summaries list them: with those of the summary so far.
fn files_touched(so_far: Option<&Compaction>, messages: &[Message]) -> Value {
    let before = |name: &str| -> Vec<String> {
        let list = so_far.and_then(|so_far| so_far.details.as_ref()?.get(name)?.as_array().cloned());
        let texts = list.into_iter().flatten();
        texts.filter_map(|path| path.as_str().map(str::to_owned)).collect()
    };
    let (mut read, mut modified) = (before("readFiles"), before("modifiedFiles"));
    for message in messages {
        let Message::Assistant(message) = message else { continue };
        for call in message.tool_calls() {
            let Some(path) = call.arguments.get("path").and_then(Value::as_str) else {
                continue;
            };
            match call.name.as_str() {
                "read" => read.push(path.to_owned()),
                "write" | "edit" => modified.push(path.to_owned()),
                _ => {}
            }
        }
    }
    for list in [&mut read, &mut modified] {
        list.sort_unstable();
        list.dedup();
    }
    read.retain(|path| modified.binary_search(path).is_err());
    json!({"readFiles": read, "modifiedFiles": modified})
}

#[cfg(test)]
mod tests;
