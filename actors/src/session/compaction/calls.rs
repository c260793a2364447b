//! The model calls of one compaction: part after part of the conversation goes into the summary. All of it is bounded.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::{Job, MOST_CHUNKS, limit, longest, words};
use crate::clock::now_ms;
use crate::config::document::{CompactionMode, Identifiers};
use crate::config::providers::ResolvedModel;
use crate::conversation::entry::Compaction;
use crate::conversation::tokens;
use crate::ports::message::{AssistantMessage, Message, StopReason, Usage};
use crate::ports::model::{ErrorClass, ModelError, ModelEvent, ModelRequest, SystemBlock};
use crate::session::budget;

/// Tries of one call.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a call whose text did not fit is made with half of it.
const HALVINGS: u32 = 2;

/// Why there is no summary.
pub(super) enum Stop {
    Aborted,
    Failed(String),
}

pub(super) struct Written {
    pub(super) summary: String,
    /// There were messages too old to be read.
    pub(super) left_out: bool,
}

/// The calls of one compaction.
pub(super) struct Calls<'a> {
    job: &'a Job<'a>,
    model: &'a ResolvedModel,
    deadline: Instant,
    usage: Usage,
}

impl<'a> Calls<'a> {
    pub(super) fn new(job: &'a Job<'a>, model: &'a ResolvedModel) -> Self {
        Self {
            job,
            model,
            deadline: Instant::now() + job.settings.timeout,
            usage: Usage::default(),
        }
    }

    /// What they have used so far.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Part after part of the conversation goes into the summary. A part that is refused for its size is tried again
    /// with smaller ones.
    pub(super) async fn written(
        &mut self,
        so_far: Option<&Compaction>,
        messages: &[Message],
    ) -> std::result::Result<Written, Stop> {
        let all: u64 = messages.iter().map(tokens::message).sum();
        let mean = all / (messages.len() as u64).max(1);
        let carried = so_far.map_or(0, |so_far| tokens::text(&so_far.summary));
        let mut limit = limit(self.job.settings, self.model, mean)
            .saturating_sub(carried)
            .max(1_000);
        for halving in 0..=HALVINGS {
            match self.in_parts(so_far, messages, limit).await {
                Err(Part::TooLarge) if halving < HALVINGS => limit /= 2,
                Err(Part::TooLarge) => break,
                Err(Part::Stop(stop)) => return Err(stop),
                Ok(written) => return Ok(written),
            }
        }
        Err(Stop::Failed(
            "The conversation does not fit the model that summarises.".to_owned(),
        ))
    }

    async fn in_parts(
        &mut self,
        so_far: Option<&Compaction>,
        messages: &[Message],
        limit: u64,
    ) -> std::result::Result<Written, Part> {
        let chunks = words::chunks(messages, limit, MOST_CHUNKS);
        let mut summary = so_far.map(|so_far| so_far.summary.clone());
        let last = chunks.texts.len().saturating_sub(1);
        for (at, chunk) in chunks.texts.iter().enumerate() {
            let mut written = self.part(summary.as_deref(), chunk, None).await?;
            if at == last && self.job.settings.mode == CompactionMode::Safeguard {
                written = self.checked(summary.as_deref(), chunk, messages, written).await?;
            }
            summary = Some(written);
        }
        Ok(Written {
            summary: summary.unwrap_or_default(),
            left_out: chunks.left_out > 0,
        })
    }

    /// Asks again for a summary that lacks something. The last one counts, whatever it lacks.
    async fn checked(
        &mut self,
        so_far: Option<&str>,
        chunk: &str,
        messages: &[Message],
        mut written: String,
    ) -> std::result::Result<String, Part> {
        let identifiers = match self.job.settings.identifiers {
            Identifiers::Strict => words::identifiers(messages),
            Identifiers::Off | Identifiers::Custom(_) => Vec::new(),
        };
        for _ in 0..self.job.settings.retries {
            let Some(wrong) = words::complaint(&written, &identifiers) else {
                break;
            };
            written = self.part(so_far, chunk, Some(&wrong)).await?;
        }
        Ok(written)
    }

    /// One summary of one part. One that was cut for its length is asked for once more.
    async fn part(
        &mut self,
        so_far: Option<&str>,
        chunk: &str,
        wrong: Option<&str>,
    ) -> std::result::Result<String, Part> {
        let mut asked = words::Asked {
            settings: self.job.settings,
            so_far,
            chunk,
            instructions: self.job.instructions,
            wrong,
        };
        if let Some(whole) = self.answer(&words::prompt(&asked)).await? {
            return Ok(whole);
        }
        let shorter = words::too_long(wrong, self.longest());
        asked.wrong = Some(&shorter);
        let whole = self.answer(&words::prompt(&asked)).await?;
        whole.ok_or_else(|| failed("The summary was too long."))
    }

    /// What the model says to this. `None` when it was cut for its length.
    async fn answer(&mut self, prompt: &str) -> std::result::Result<Option<String>, Part> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.call(prompt, tries).await? {
                Ok(message) => {
                    self.count(&message);
                    let text = message.text().trim().to_owned();
                    // More than fits: what was cut off is missing from the summary.
                    if message.usage.prompt_tokens() > self.model.full_window {
                        return Err(Part::TooLarge);
                    }
                    if message.stop_reason == StopReason::Length {
                        return Ok(None);
                    }
                    if text.is_empty() {
                        return Err(failed("The model gave no summary."));
                    }
                    return Ok(Some(text));
                }
                Err(error) => error,
            };
            tracing::warn!(
                tenant.id = %self.job.authority.scope.tenant(), model.provider = %self.model.provider,
                model.name = %self.model.model, error.class = error.class.name(), status = error.status,
                attempt = tries, "summary failed"
            );
            if error.class == ErrorClass::ContextOverflow {
                return Err(Part::TooLarge);
            }
            let wait = error.retry_after.unwrap_or(FIRST_WAIT * 2_u32.pow(tries - 1));
            if !error.class.transient() || tries >= TRIES || wait > LONGEST_WAIT {
                return Err(failed(&error.message));
            }
            self.unless_stopped(tokio::time::sleep(wait)).await?;
        }
    }

    /// The outer error ends the compaction, the inner one is the provider's.
    async fn call(
        &self,
        prompt: &str,
        attempt: u32,
    ) -> std::result::Result<std::result::Result<AssistantMessage, ModelError>, Part> {
        let Some(adapter) = self.job.services.ports.model(&self.model.api) else {
            return Err(failed("The provider of the model that summarises is not available."));
        };
        let system = Arc::new(vec![SystemBlock {
            text: words::SYSTEM.to_owned(),
            cache: false,
        }]);
        let question = Arc::new(Message::user(prompt, now_ms()));
        let request = ModelRequest {
            max_tokens: self.longest(),
            cache_key: format!("{}-summary", self.job.head.session_id),
            ..self.model.request(system, Arc::new(vec![question]))
        };
        let (services, payer) = (self.job.services, self.job.authority);
        let mut events = budget::stream(services, payer, self.model, adapter, request, attempt).await;
        let answer = async move {
            while let Some(event) = events.next().await {
                match event {
                    ModelEvent::Done(message) => return Ok(message),
                    ModelEvent::Error(error) => return Err(error),
                    ModelEvent::Start
                    | ModelEvent::TextDelta(_)
                    | ModelEvent::ThinkingDelta(_)
                    | ModelEvent::ToolCallStart { .. }
                    | ModelEvent::ToolCallDelta(_) => {}
                }
            }
            Err(ModelError {
                class: ErrorClass::Network,
                message: "The model's answer ended in the middle.".to_owned(),
                detail: String::new(),
                status: None,
                retry_after: None,
                partial: AssistantMessage::default(),
            })
        };
        self.unless_stopped(answer).await
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> std::result::Result<T, Part> {
        tokio::select! {
            biased;
            () = self.job.cancel.cancelled() => Err(Part::Stop(Stop::Aborted)),
            done = tokio::time::timeout_at(self.deadline, work) => done.map_err(|_| {
                failed(&format!("It took longer than {} s.", self.job.settings.timeout.as_secs()))
            }),
        }
    }

    /// Tokens of one summary.
    fn longest(&self) -> u32 {
        self.model.max_tokens.min(longest(self.job.model.context_window))
    }

    fn count(&mut self, message: &AssistantMessage) {
        self.usage.add(&message.usage, self.model.prices);
    }
}

/// Why a part was not summarised.
enum Part {
    TooLarge,
    Stop(Stop),
}

fn failed(why: &str) -> Part {
    Part::Stop(Stop::Failed(why.to_owned()))
}
