//! Which key and which model the run calls next when a call failed (`agent-runtime` §11). Switching happens between
//! model calls of one transcript: what tools have done stays done.

mod marks;

use std::sync::Arc;

use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::{End, RunContext, Work, failed, plain_failure};
use crate::clock::now_ms;
use crate::config::providers::{Choice, Effect, Health, ResolvedModel, RunChain, Slot, effect, profile_id};
use crate::conversation::transcript::SessionHead;
use crate::error::{Error, Result};
use crate::ports::model::{ErrorClass, ModelError};
use crate::ports::tool::ToolSpec;
use crate::session::assembly::{Assembly, Place, Sent};
use crate::session::context::check_window;
use crate::session::reply::HoldBack;
use crate::session::skills::Offered;
use crate::session::thinking;
use crate::session::toolbox::Toolbox;

pub(crate) use marks::fallback_of;

/// Pause after a failure that may pass, before another key or model is tried: twice as long each time, up to the longest.
const BREATH: Duration = Duration::from_millis(250);
const LONGEST_BREATH: Duration = Duration::from_millis(1500);
/// Why a candidate was not called.
const TOO_SMALL: &str = "window too small";
const SEALED: &str = "its key cannot be read";

/// Fields of the session's entry.
const PINNED: &str = "authProfileOverride";
const PINNED_BY: &str = "authProfileOverrideSource";
const PINNED_AT: &str = "authProfileOverrideCompactionCount";
/// What a run may call, and how far it has come.
pub(super) struct Failover {
    chain: Vec<Choice>,
    /// The chosen model, where it cannot be called: it is not there any more, or not allowed.
    left_out: Option<String>,
    health: Health,
    /// The choice in use, and its keys that are still to be tried; the first is the one in use.
    at: usize,
    keys: Vec<String>,
    attempts: Vec<Attempt>,
}

/// A candidate that came to nothing.
#[derive(Clone, Debug)]
struct Attempt {
    provider: String,
    model: String,
    reason: String,
    /// When it may be tried again, epoch milliseconds, where that is known.
    until: Option<i64>,
}

impl Attempt {
    fn reference(&self) -> String {
        if self.provider.is_empty() {
            return self.model.clone();
        }
        format!("{}/{}", self.provider, self.model)
    }

    fn words(&self) -> String {
        self.reason.replace('_', " ")
    }
}

/// What becomes of a call that failed.
enum Switch {
    /// It is made again with this model and key.
    To(Box<ResolvedModel>),
    Over(End),
}

/// What a run calls, and what it is made of: all of it changes with the model.
pub(super) struct Call<'a> {
    pub(super) model: &'a mut ResolvedModel,
    pub(super) base: &'a mut Assembly,
    pub(super) sent: &'a mut Sent,
    pub(super) deadline: &'a mut Option<Instant>,
    pub(super) toolbox: &'a mut Toolbox,
    pub(super) specs: &'a mut Arc<Vec<Arc<ToolSpec>>>,
    pub(super) skills: &'a [Offered],
}

impl Work {
    /// Prepares the call that is made instead of one that failed. Gives the run's end where there is none.
    pub(super) async fn switch(
        &mut self,
        context: &mut RunContext,
        failover: &mut Failover,
        error: ModelError,
        call: Call<'_>,
    ) -> Result<Option<End>> {
        context.slot.give_back();
        let next = failover.after(self, context, error).await;
        context.slot.go_on().await;
        let next = match next? {
            Switch::To(next) => *next,
            Switch::Over(end) => return Ok(Some(end)),
        };
        self.hold = HoldBack::default();
        let other = (&next.provider, &next.model) != (&call.model.provider, &call.model.model);
        *call.model = next;
        self.model = Some(call.model.clone());
        if other {
            let place = Place::of(context);
            let (services, settings) = (&self.services, &self.settings);
            // Tools may be allowed for one model and not for another.
            call.toolbox.serve(call.model);
            *call.specs = Arc::new(call.toolbox.specs(settings));
            let tools = (call.specs.as_slice(), call.toolbox.away());
            *call.base = Assembly::new(services, place, settings, call.model, tools, call.skills).await?;
            let sent = self.sent(call.base, call.model).await?;
            match self
                .make_room(context, call.model, call.base, sent, call.deadline)
                .await?
            {
                Ok(sent) => *call.sent = sent,
                Err(end) => return Ok(Some(end)),
            }
        }
        Ok(None)
    }
}

impl Failover {
    /// Chooses what is called first. `Err` when there is nothing to call.
    pub(super) async fn begin(
        work: &Work,
        context: &mut RunContext,
        wanted: Option<&str>,
    ) -> Result<std::result::Result<(Self, ResolvedModel), End>> {
        let config = &work.services.config;
        let scheduled = context.turn.last().options.scheduled.as_ref();
        let only = scheduled.and_then(|scheduled| scheduled.fallbacks.as_deref());
        let found = config.run_chain(&context.scope, &context.agent_id, wanted, only).await;
        let RunChain { mut choices, left_out } = match found {
            Ok(chain) => chain,
            Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
            Err(error) => return Ok(Err(failed(plain_failure(ErrorClass::ModelNotFound, error.to_string())))),
        };
        if let Some(first) = choices.first_mut().filter(|_| left_out.is_none()) {
            lock(first, &work.head);
        }
        let attempts = left_out.iter().map(|name| {
            let (provider, model) = name.split_once('/').unwrap_or(("", name.as_str()));
            Attempt {
                provider: provider.to_owned(),
                model: model.to_owned(),
                reason: ErrorClass::ModelNotFound.reason().to_owned(),
                until: None,
            }
        });
        let mut failover = Self {
            attempts: attempts.collect(),
            chain: choices,
            left_out,
            health: Health::default(),
            at: 0,
            keys: Vec::new(),
        };
        if failover.has_alternatives() {
            failover.health = config.key_health(&context.scope).await?;
        }
        let mut model = failover.enter(work, context, 0).await?;
        if model.is_none() {
            model = failover.enter_soonest(work, context).await?;
        }
        match model {
            Some(model) => Ok(Ok((failover, model))),
            None => {
                let sealed = failover.attempts.iter().all(|attempt| attempt.reason == SEALED);
                let class = if sealed {
                    ErrorClass::Auth
                } else {
                    ErrorClass::RateLimit
                };
                Ok(Err(failed(plain_failure(class, failover.sentence()))))
            }
        }
    }

    /// Is there nothing else to call now.
    pub(super) fn is_last(&self) -> bool {
        let now = now_ms();
        let rests = |choice: &Choice| {
            self.health
                .in_order(choice, None, now)
                .iter()
                .all(|(_, until)| until.is_some())
        };
        self.keys.len() <= 1 && self.chain.iter().skip(self.at + 1).all(rests)
    }

    /// Is there more than one key of one model.
    fn has_alternatives(&self) -> bool {
        self.chain.len() > 1 || self.chain.first().is_some_and(|choice| choice.keys.len() > 1)
    }

    /// What is called after a call that failed, if anything.
    async fn after(&mut self, work: &Work, context: &mut RunContext, error: ModelError) -> Result<Switch> {
        if context.cancel.token.is_cancelled() {
            return Ok(Switch::Over(End::Aborted));
        }
        // What a person has read is not said again by another model.
        let was_shown = context.emitter.text().len() > work.base;
        if !self.has_alternatives() || was_shown || never_switches(error.class) {
            return Ok(Switch::Over(failed(error)));
        }
        let Some(slot) = self.slot() else {
            return Ok(Switch::Over(failed(error)));
        };
        let config = &work.services.config;
        let noted = config
            .key_failed(&context.scope, &slot, error.class, error.retry_after)
            .await;
        match noted {
            Ok(Some(row)) => self.health.note(row),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = ?error, "how a key fared could not be stored"),
        }
        let rests = self.health.rests(&slot.provider, &slot.key, &slot.model, now_ms());
        self.attempts.push(Attempt {
            until: rests.map(|(until, _)| until),
            provider: slot.provider.clone(),
            model: slot.model.clone(),
            reason: error.class.reason().to_owned(),
        });
        self.keys.remove(0);
        let next_key = effect(error.class) != Effect::None && !self.keys.is_empty();
        let mut model = None;
        if next_key {
            model = self.open(work, context).await?;
        }
        if model.is_none() {
            model = self.enter(work, context, self.at + 1).await?;
        }
        if model.is_some() && effect(error.class) == Effect::Passes {
            tokio::select! {
                biased;
                () = context.cancel.token.cancelled() => return Ok(Switch::Over(End::Aborted)),
                () = tokio::time::sleep(breath(self.attempts.len())) => {}
            }
        }
        let from = format!("{}/{}", slot.provider, slot.model);
        let to = model
            .as_ref()
            .map(|model| format!("{}/{}", model.provider, model.model));
        if to.as_ref() != Some(&from) {
            let position = self.attempts.len();
            context
                .emitter
                .fallback_step(&from, to.as_deref(), error.class.reason(), position)
                .await;
        }
        Ok(match model {
            Some(model) => {
                tracing::info!(
                    tenant.id = %context.scope.tenant(), run.id = %context.turn.run_id,
                    model.provider = %model.provider, model.name = %model.model, "another key or model is tried"
                );
                if to.as_ref() != Some(&from) {
                    context.emitter.model(&model.provider, &model.model).await;
                }
                Switch::To(Box::new(model))
            }
            None => Switch::Over(failed(self.combined(error))),
        })
    }

    /// Goes to the first candidate from `at` on that may be called now.
    async fn enter(&mut self, work: &Work, context: &RunContext, at: usize) -> Result<Option<ResolvedModel>> {
        for at in at..self.chain.len() {
            let Some(choice) = self.chain.get(at) else { break };
            let pinned = pinned(choice, &work.head);
            let keys = self.health.in_order(choice, pinned.as_deref(), now_ms());
            let free = keys.iter().filter(|(_, until)| until.is_none()).count();
            let mut names: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
            if free > 0 {
                names.truncate(free);
            } else if !self.may_try(work, context, choice, &keys, at).await? {
                let until = keys.iter().filter_map(|(_, until)| *until).min();
                let skipped = keys
                    .first()
                    .and_then(|(key, _)| self.health.rests(&choice.provider, key, choice.model(), now_ms()));
                let attempt = Attempt {
                    provider: choice.provider.clone(),
                    model: choice.model().to_owned(),
                    reason: skipped.map_or("cooldown", |(_, reason)| reason).to_owned(),
                    until,
                };
                self.attempts.push(attempt);
                continue;
            } else {
                names.truncate(1);
            }
            (self.at, self.keys) = (at, names);
            let Some(model) = self.open(work, context).await? else {
                continue;
            };
            if at > 0 && check_window(&model.model, model.context_window).is_err() {
                self.attempts.push(Attempt {
                    provider: model.provider,
                    model: model.model,
                    reason: TOO_SMALL.to_owned(),
                    until: None,
                });
                continue;
            }
            return Ok(Some(model));
        }
        Ok(None)
    }

    /// Where everything rests: what is back soonest is called all the same.
    async fn enter_soonest(&mut self, work: &Work, context: &RunContext) -> Result<Option<ResolvedModel>> {
        let now = now_ms();
        let resting = self.chain.iter().enumerate().filter_map(|(at, choice)| {
            let keys = self.health.in_order(choice, pinned(choice, &work.head).as_deref(), now);
            let (key, until) = keys.into_iter().next()?;
            Some((until?, at, key))
        });
        let mut resting: Vec<(i64, usize, String)> = resting.collect();
        resting.sort();
        for (_, at, key) in resting {
            (self.at, self.keys) = (at, vec![key]);
            let Some(model) = self.open(work, context).await? else {
                continue;
            };
            if at == 0 || check_window(&model.model, model.context_window).is_ok() {
                return Ok(Some(model));
            }
        }
        Ok(None)
    }

    /// May a candidate be called although all its keys rest: where nothing else could answer, and the first choice when
    /// it is nearly back.
    async fn may_try(
        &self,
        work: &Work,
        context: &RunContext,
        choice: &Choice,
        keys: &[(String, Option<i64>)],
        at: usize,
    ) -> Result<bool> {
        if self.chain.len() == 1 {
            return Ok(true);
        }
        let Some((key, Some(until))) = keys.first().filter(|_| at == 0) else {
            return Ok(false);
        };
        let slot = Slot {
            provider: choice.provider.clone(),
            model: choice.model().to_owned(),
            key: key.clone(),
        };
        work.services.config.may_probe(&context.scope, &slot, *until).await
    }

    /// Opens the first key that is left and can be read. The others are out.
    async fn open(&mut self, work: &Work, context: &RunContext) -> Result<Option<ResolvedModel>> {
        while let (Some(choice), Some(key)) = (self.chain.get(self.at), self.keys.first()) {
            let config = &work.services.config;
            let opened = config
                .open_model(&context.scope, &context.agent_id, choice, key)
                .await?;
            if let Some(mut model) = opened {
                let said = context.turn.last().options.thinking.as_deref();
                thinking::apply(&mut model, said, &work.head.entry);
                if work.is_fast(context, &model) {
                    model.hurry();
                }
                return Ok(Some(model));
            }
            self.attempts.push(Attempt {
                provider: choice.provider.clone(),
                model: choice.model().to_owned(),
                reason: SEALED.to_owned(),
                until: None,
            });
            self.keys.remove(0);
        }
        Ok(None)
    }

    /// The key and model in use.
    fn slot(&self) -> Option<Slot> {
        let choice = self.chain.get(self.at)?;
        Some(Slot {
            provider: choice.provider.clone(),
            model: choice.model().to_owned(),
            key: self.keys.first()?.clone(),
        })
    }

    /// One error for all attempts, of the last one's class.
    fn combined(&self, last: ModelError) -> ModelError {
        let first = self.attempts.first().map(Attempt::reference);
        if self.attempts.iter().all(|attempt| Some(attempt.reference()) == first) && self.chain.len() == 1 {
            // All keys of the only model: its own words are the best there are.
            return last;
        }
        ModelError {
            message: self.sentence(),
            ..last
        }
    }

    /// What was tried, why it failed, and when to try again.
    fn sentence(&self) -> String {
        let mut tried: Vec<String> = Vec::new();
        for attempt in &self.attempts {
            let words = format!("{}: {}", attempt.reference(), attempt.words());
            if !tried.contains(&words) {
                tried.push(words);
            }
        }
        let soonest = self.attempts.iter().filter_map(|attempt| attempt.until).min();
        let again = match soonest.map(|until| until.saturating_sub(now_ms())) {
            Some(wait) => format!(" Please try again in {}.", span(wait)),
            None => " Please try again in a moment.".to_owned(),
        };
        format!("No AI model could answer ({}).{again}", tried.join("; "))
    }

    /// Does the session take another key of several for its own.
    fn takes_key(&self, head: &SessionHead, slot: &Slot) -> bool {
        let choice = self.chain.get(self.at);
        let several = choice.is_some_and(|choice| choice.keys.len() > 1 && !choice.ordered);
        several && choice.and_then(|choice| pinned(choice, head)).as_ref() != Some(&slot.key)
    }

    /// Forgets what was held against the key that answered. A failure to store that costs nothing but a rest.
    pub(super) async fn worked(&self, work: &Work, context: &RunContext) {
        let Some(slot) = self.slot() else { return };
        let taken = self.takes_key(&work.head, &slot);
        if taken || self.health.is_marked(&slot) {
            let stored = work.services.config.key_worked(&context.scope, &slot, taken).await;
            if let Err(error) = stored {
                tracing::warn!(error = ?error, "how a key fared could not be stored");
            }
        }
    }
}

/// Classes that another key or model does not help with, or must not be asked to.
const fn never_switches(class: ErrorClass) -> bool {
    match class {
        // Compaction's business.
        ErrorClass::ContextOverflow
        // Nobody shops around for a model that says yes.
        | ErrorClass::Refusal
        // Holds for every model.
        | ErrorClass::Budget => true,
        ErrorClass::RateLimit
        | ErrorClass::Overloaded
        | ErrorClass::Billing
        | ErrorClass::Auth
        | ErrorClass::AuthPermanent
        | ErrorClass::Timeout
        | ErrorClass::Network
        | ErrorClass::Format
        | ErrorClass::ModelNotFound
        | ErrorClass::SessionExpired
        | ErrorClass::Unknown => false,
    }
}

/// How long to pause after so many attempts.
fn breath(attempts: usize) -> Duration {
    let power = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(8);
    (BREATH * 2_u32.pow(power)).min(LONGEST_BREATH)
}

fn compactions(head: &SessionHead) -> u64 {
    head.entry.get("compactionCount").and_then(Value::as_u64).unwrap_or(0)
}

/// The key that the session has for its own, so that the provider's cache is hit again. A compaction frees it.
fn pinned(choice: &Choice, head: &SessionHead) -> Option<String> {
    let profile = head.entry.get(PINNED).and_then(Value::as_str)?;
    let name = profile.strip_prefix(choice.provider.as_str())?.strip_prefix(':')?;
    let since = head.entry.get(PINNED_AT).and_then(Value::as_u64).unwrap_or(0);
    (since == compactions(head)).then(|| name.to_owned())
}

/// A key that a person chose with the model is the only one that is used for it.
fn lock(choice: &mut Choice, head: &SessionHead) {
    if head.entry.get(PINNED_BY).and_then(Value::as_str) != Some("user") {
        return;
    }
    let profile = head.entry.get(PINNED).and_then(Value::as_str).unwrap_or_default();
    let locked = choice
        .keys
        .iter()
        .find(|key| profile_id(&choice.provider, key) == profile);
    if let Some(locked) = locked.cloned() {
        (choice.keys, choice.ordered) = (vec![locked], true);
    }
}

/// A time to wait, in words; milliseconds in.
fn span(wait: i64) -> String {
    let seconds = wait.max(1_000).saturating_add(999) / 1_000;
    match seconds {
        1 => "1 second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        91..=5_400 => format!("{} minutes", seconds.saturating_add(59) / 60),
        _ => format!("{} hours", seconds.saturating_add(3_599) / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<u128> = (1..6).map(|attempts| breath(attempts).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 1500, 1500]);
        assert_eq!(breath(1000), LONGEST_BREATH);
    }

    #[test]
    fn spans() {
        for (ms, words) in [
            (-5, "1 second"),
            (1_500, "2 seconds"),
            (90_000, "90 seconds"),
            (91_000, "2 minutes"),
            (3_600_000, "60 minutes"),
            (18_000_000, "5 hours"),
        ] {
            assert_eq!(span(ms), words, "{ms}");
        }
    }
}
