//! Compaction (`agent-runtime` §8.7): a model writes a summary, and an entry with it stands for what came before.
//! Nothing is deleted: older entries stay stored, and people still read them.
//!
//! What calls a model here is a plain future; the entry is one transaction in [`turn::compact`]. Before it nothing has
//! changed, so a summary that fails, is aborted or dies with the process leaves the conversation as it was.

mod calls;
pub(crate) mod manual;
mod words;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::calls::{Calls, Stop};
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

/// An entry to be stored, and what it cost.
#[derive(Debug)]
pub(crate) struct Summarised {
    pub(crate) body: Compaction,
    pub(crate) usage: Usage,
    pub(crate) provider: String,
    pub(crate) model: String,
    /// Estimated tokens of the conversation afterwards.
    pub(crate) tokens_after: u64,
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

/// Reads the conversation and decides what goes. `None` when there is nothing before what stays.
pub(crate) async fn plan(job: &Job<'_>) -> Result<Option<Plan>> {
    let model = summariser(job).await?;
    let readable = limit(job.settings, &model, 0) * MOST_CHUNKS as u64;
    let kept = job.settings.keep_recent.saturating_mul(2);
    let scope = &job.authority.scope;
    let conversation = &job.services.conversation;
    let branch = conversation
        .whole(scope, job.head, readable.saturating_add(kept))
        .await?;
    let Some(place) = place(job, &branch) else {
        return Ok(None);
    };
    let config = &job.services.config;
    let files = config.bootstrap_files(scope, &job.authority.agent_id).await?;
    Ok(Some(Plan {
        model,
        branch,
        place,
        rules: words::rules(&files, &job.settings.sections),
    }))
}

impl Plan {
    /// Writes the summary. Stores nothing.
    pub(crate) async fn summarise(self, job: &Job<'_>) -> Outcome {
        let Self {
            model, branch, place, ..
        } = &self;
        let (so_far, messages) = to_summarise(&branch.entries, place.at);
        let question = place.turn.and_then(|turn| branch.entries.get(turn)?.body.message());
        let mut calls = Calls::new(job, model);
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
            usage: calls.usage(),
            provider: model.provider.clone(),
            model: model.model.clone(),
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

fn place(job: &Job<'_>, branch: &Branch) -> Option<cut::Cut> {
    let entries = &branch.entries;
    let all: u64 = entries.iter().map(|entry| cut::cost(entry)).sum();
    let window = job.model.context_window;
    // A small window has no room for the usual tail.
    let usual = job.settings.keep_recent.min(window / 6);
    let (tokens, least) = match job.extent {
        Extent::Usual => (usual, usual / 4),
        Extent::Refused { before } => (usual.min(all / 2) >> before, 1),
        Extent::Asked => (usual.min(all / 2), 1),
    };
    let turns = match (job.settings.mode, job.extent) {
        (CompactionMode::Safeguard, Extent::Usual) => job.settings.keep_turns,
        (CompactionMode::Safeguard, Extent::Refused { .. } | Extent::Asked) | (CompactionMode::Default, _) => 0,
    };
    let keep = cut::Keep {
        tokens: tokens.max(1),
        most: tokens.saturating_mul(3) / 2,
        turns,
    };
    let place = cut::cut(entries, keep)?;
    let goes: u64 = entries.iter().take(place.at).map(|entry| cut::cost(entry)).sum();
    let says_something = !to_summarise(entries, place.at).1.is_empty();
    (goes >= least && says_something).then_some(place)
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
