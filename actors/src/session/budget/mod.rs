//! Spending limits, held before each model call: as much as it may cost at most is put aside of every limit that applies,
//! or of none, and the call is not made. When it has ended, what it used takes the place of that.
//!
//! A user without a limit pays one look into a cache. What a process that died had put aside is given back.

mod estimate;
mod ledger;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, TenantScope, new_id};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};

use self::estimate::{Ask, Used, least_answer, prompt};
use self::ledger::{Share, Shortage, Taken};
use super::model_call::Followed;
use super::turn::Authority;
use crate::Services;
use crate::clock::now_ms;
use crate::config::budgets::{Budget, Kind, Unit};
use crate::config::providers::ResolvedModel;
use crate::conversation::tokens;
use crate::error::{Error, Result};
use crate::ports::message::{AssistantMessage, Usage};
use crate::ports::model::{ErrorClass, ModelError, ModelEvent, ModelProvider, ModelRequest};
use crate::ports::nul;

pub(crate) use ledger::give_back;

/// How long settling is tried again while the database is away. After that the process's end gives back what is held.
const PATIENCE: Duration = Duration::from_secs(3_600);
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Who pays for a turn's calls beside its user and its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Charge {
    /// Agents that began it.
    pub(crate) agents: Vec<String>,
    /// The scheduled job that began it.
    pub(crate) job: Option<String>,
    /// Others read what is said: no amounts.
    #[serde(skip)]
    pub(crate) overheard: bool,
}

impl Charge {
    /// Nobody: what is stored of it can be left out.
    pub(crate) fn is_none(&self) -> bool {
        self.agents.is_empty() && self.job.is_none()
    }

    /// Both.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for agent in &other.agents {
            self.add(agent);
        }
        self.job = self.job.or_else(|| other.job.clone());
        self.overheard |= other.overheard;
        self
    }

    /// Of what this agent begins.
    pub(crate) fn begun_by(&self, agent: &str) -> Self {
        let mut charge = self.clone();
        charge.add(agent);
        charge
    }

    fn add(&mut self, agent: &str) {
        if !self.agents.iter().any(|known| known == agent) {
            self.agents.push(agent.to_owned());
        }
    }
}

/// Who makes a call.
#[derive(Clone, Copy)]
pub(crate) struct Payer<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) agent_id: &'a str,
    pub(crate) charge: &'a Charge,
}

impl<'a> From<&'a Authority> for Payer<'a> {
    fn from(authority: &'a Authority) -> Self {
        Self {
            scope: &authority.scope,
            agent_id: &authority.agent_id,
            charge: &authority.charge,
        }
    }
}

/// One model call within the limits, the `attempt`th in a row for the same answer. A call that they do not allow is a
/// stream of one error, of class `budget`.
pub(crate) async fn stream(
    services: &Services,
    payer: impl Into<Payer<'_>>,
    model: &ResolvedModel,
    adapter: &Arc<dyn ModelProvider>,
    mut request: ModelRequest,
    attempt: u32,
) -> BoxStream<'static, ModelEvent> {
    let payer = payer.into();
    let ask = || Ask {
        now: now_ms(),
        input: prompt(&request),
        most: u64::from(request.max_tokens),
        least: least_answer(request.max_tokens),
        prices: model.priced.then_some(model.prices),
        model: format!("{}/{}", model.provider, model.model),
        free_without_price: false,
        only: None,
    };
    match reserve(services, payer, ask).await {
        Ok(None) => {
            let events = adapter.stream(request).map(nul::strip_event).boxed();
            Followed::new(events, model, attempt).boxed()
        }
        Ok(Some((hold, output))) => {
            request.max_tokens = u32::try_from(output).unwrap_or(u32::MAX).min(request.max_tokens);
            let events = adapter.stream(request).map(nul::strip_event).boxed();
            metered(Followed::new(events, model, attempt).boxed(), hold)
        }
        Err(error) => {
            let refused = ModelEvent::Error(refused(sentence(error)));
            stream::once(async move { refused }).boxed()
        }
    }
}

/// Puts aside what one call beside a conversation may cost that takes `amount` of what its model is priced by: vectors,
/// speech. Models without a known price are not counted in money. `only`: limits in this unit.
///
/// # Errors
/// [`Error::Budget`] with a sentence for the person; [`Error::Storage`].
pub(crate) async fn beside(
    services: &Services,
    payer: Payer<'_>,
    model: &ResolvedModel,
    amount: u64,
    only: Option<Unit>,
) -> Result<Option<Hold>> {
    let ask = || Ask {
        now: now_ms(),
        input: amount,
        most: 0,
        least: 0,
        prices: model.priced.then_some(model.prices),
        model: format!("{}/{}", model.provider, model.model),
        free_without_price: true,
        only,
    };
    Ok(reserve(services, payer, ask).await?.map(|(mut hold, _)| {
        // Nothing says when the provider took it: a call that nobody waits for any more was taken.
        hold.started = true;
        hold
    }))
}

/// `None`: nothing limits the call. Else what is put aside, and the tokens its answer may have. `ask` is made where there is
/// a limit at all.
async fn reserve(services: &Services, payer: Payer<'_>, ask: impl FnOnce() -> Ask) -> Result<Option<(Hold, u64)>> {
    let tenant = payer.scope.tenant_scope();
    let budgets = services.config.budgets(tenant).await?;
    if budgets.is_empty() {
        return Ok(None);
    }
    let mut agents: Vec<&str> = payer.charge.agents.iter().map(String::as_str).collect();
    agents.push(payer.agent_id);
    let mut limits = budgets.of_call(payer.scope.user(), &agents, payer.charge.job.as_deref());
    if limits.is_empty() {
        return Ok(None);
    }
    let ask = ask();
    limits.retain(|limit| ask.only.is_none_or(|only| limit.unit == only));
    if ask.prices.is_none() {
        if let Some(in_money) = limits.iter().find(|limit| limit.unit == Unit::Money)
            && !ask.free_without_price
        {
            return Err(Error::Budget(words::unpriced(in_money, &ask.model)));
        }
        limits.retain(|limit| limit.unit != Unit::Money);
    }
    if limits.is_empty() {
        return Ok(None);
    }
    let hold = Hold {
        services: services.clone(),
        tenant: tenant.clone(),
        call: new_id(),
        shares: limits.iter().map(|limit| Share::of(limit)).collect(),
        prices: ask.prices.unwrap_or_default(),
        input: ask.input,
        seen: 0,
        started: false,
        used: None,
        settled: false,
    };
    // A task of its own: what it put aside when nobody waits any more is dropped with its result, and so given back.
    let taking = services.io.spawn(held(hold, payer.scope.clone(), limits, ask));
    match taking.await.map_err(Error::internal)?? {
        Holding::Free => Ok(None),
        Holding::Held(hold, output) => Ok(Some((*hold, output))),
        Holding::Short(shortage) => {
            metrics::counter!("claw_budget_refusals_total", "unit" => shortage.budget.unit.name()).increment(1);
            tracing::info!(
                tenant.id = %tenant.tenant(), user.id = %payer.scope.user(), budget.id = %shortage.budget.id,
                "a model call was refused by a spending limit"
            );
            let job = job_name(services, payer.scope, &shortage.budget).await;
            Err(Error::Budget(words::refusal(
                &shortage,
                job.as_deref(),
                payer.charge.overheard,
            )))
        }
    }
}

/// What came of putting something aside.
enum Holding {
    /// The limits are gone.
    Free,
    /// With the tokens that the answer may have.
    Held(Box<Hold>, u64),
    Short(Box<Shortage>),
}

/// Puts aside for the hold. Whatever becomes of that, nothing stays behind once the hold is dropped.
async fn held(mut hold: Hold, scope: Scope, limits: Vec<Arc<Budget>>, ask: Ask) -> Result<Holding> {
    match ledger::take(&hold.services, &scope, &hold.call, limits, &ask).await {
        Ok(Taken::Held { shares, output }) => {
            if shares.is_empty() {
                hold.settled = true;
                return Ok(Holding::Free);
            }
            Ok(Holding::Held(Box::new(hold), output))
        }
        Ok(Taken::Short(shortage)) => {
            hold.settled = true;
            Ok(Holding::Short(shortage))
        }
        Err(error) => {
            // A commit whose answer was lost may have been one.
            hold.settled = !matches!(error, Error::Storage(_));
            Err(error)
        }
    }
}

/// What a person calls the job whose limit this is.
async fn job_name(services: &Services, scope: &Scope, budget: &Budget) -> Option<String> {
    if budget.kind != Kind::Cron {
        return None;
    }
    // A limit of a job is its owner's, and so is the call.
    let job = services.config.cron_job(scope, &budget.target).await.ok()??;
    Some(job.definition.name)
}

/// What one call has put aside. Dropped before it is settled, it is settled by what was seen of the answer.
pub(crate) struct Hold {
    services: Services,
    tenant: TenantScope,
    call: String,
    shares: Arc<[Share]>,
    prices: [f64; 4],
    /// Estimated tokens of the prompt, and of what was seen of the answer.
    input: u64,
    seen: u64,
    /// The provider took the prompt.
    started: bool,
    /// What it used, once that is known.
    used: Option<Used>,
    /// Nothing is left to be done.
    settled: bool,
}

impl Hold {
    /// Puts what was used in its place.
    async fn settle_by(&mut self, used: Used) {
        // Dropped while it waits, the hold is settled by this. Twice is once.
        self.used = Some(used);
        if let Err(error) = ledger::settle(&self.services, &self.tenant, &self.call, &self.shares, used).await {
            tracing::warn!(tenant.id = %self.tenant.tenant(), error = ?error, "a budget was not settled, it is tried again");
            self.settle_later(used);
        }
        self.settled = true;
    }

    /// The end of a call beside a conversation. One that nobody heard the end of may have been made: it counts as estimated.
    /// What the provider refused costs nothing.
    pub(crate) async fn answered(mut self, outcome: std::result::Result<Usage, &ModelError>) {
        let used = match outcome {
            Ok(usage) if counted(&usage) => Used::of(&usage, self.prices),
            Ok(_) => self.estimated(),
            Err(error) if matches!(error.class, ErrorClass::Timeout | ErrorClass::Network) => self.estimated(),
            Err(_) => Used::default(),
        };
        self.settle_by(used).await;
    }

    /// What the provider counted, else what can be told from outside. Of an answer that broke off it had counted the prompt
    /// at most: what came of it is estimated.
    async fn ended(&mut self, message: &AssistantMessage, whole: bool) {
        let reported = message.usage;
        if whole && counted(&reported) {
            return self.settle_by(Used::of(&reported, self.prices)).await;
        }
        self.started |= whole || counted(&reported);
        self.seen = self.seen.max(tokens::answer(message)).max(reported.output);
        let used = if reported.prompt_tokens() > 0 {
            let usage = Usage {
                output: self.seen,
                ..reported
            };
            Used::of(&usage, self.prices)
        } else {
            self.estimated()
        };
        self.settle_by(used).await;
    }

    fn saw(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::Start => self.started = true,
            ModelEvent::TextDelta(piece) | ModelEvent::ThinkingDelta(piece) | ModelEvent::ToolCallDelta(piece) => {
                self.started = true;
                self.seen += tokens::text(piece);
            }
            ModelEvent::ToolCallStart { name, .. } => {
                self.started = true;
                self.seen += tokens::text(name);
            }
            ModelEvent::Done(_) | ModelEvent::Error(_) => {}
        }
    }

    /// A call that was cut off, or of a provider that counts nothing.
    fn estimated(&self) -> Used {
        let usage = Usage {
            input: if self.started { self.input } else { 0 },
            output: self.seen,
            ..Usage::default()
        };
        Used::of(&usage, self.prices)
    }

    fn settle_later(&self, used: Used) {
        let (services, tenant, call) = (self.services.clone(), self.tenant.clone(), self.call.clone());
        let shares = Arc::clone(&self.shares);
        self.services.io.spawn(async move {
            let give_up = tokio::time::Instant::now() + PATIENCE;
            let mut pause = SETTLE_AGAIN;
            while let Err(error) = ledger::settle(&services, &tenant, &call, &shares, used).await {
                if tokio::time::Instant::now() > give_up {
                    tracing::error!(tenant.id = %tenant.tenant(), error = ?error, "a budget was not settled");
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.settled {
            self.settle_later(self.used.unwrap_or_else(|| self.estimated()));
        }
    }
}

/// Did the provider count anything.
fn counted(usage: &Usage) -> bool {
    usage.prompt_tokens().saturating_add(usage.output) > 0
}

/// The call's events; it is settled before its last one is told.
fn metered(events: BoxStream<'static, ModelEvent>, hold: Hold) -> BoxStream<'static, ModelEvent> {
    stream::unfold((events, hold), |(mut events, mut hold)| async move {
        let event = events.next().await?;
        match &event {
            ModelEvent::Done(message) => hold.ended(message, true).await,
            ModelEvent::Error(error) => hold.ended(&error.partial, false).await,
            ModelEvent::Start
            | ModelEvent::TextDelta(_)
            | ModelEvent::ThinkingDelta(_)
            | ModelEvent::ToolCallStart { .. }
            | ModelEvent::ToolCallDelta(_) => hold.saw(&event),
        }
        Some((event, (events, hold)))
    })
    .boxed()
}

/// Why a call was not made, for the person.
pub(crate) fn sentence(error: Error) -> String {
    if let Error::Budget(sentence) = error {
        return sentence;
    }
    tracing::warn!(error = ?error, "spending limits could not be read, so a model call was not made");
    "The spending limits cannot be checked right now, so I did not ask the model; please try again.".to_owned()
}

/// A call that was not made, as a model's failure.
pub(crate) fn refused(message: String) -> ModelError {
    ModelError {
        class: ErrorClass::Budget,
        message,
        detail: String::new(),
        status: None,
        retry_after: None,
        partial: AssistantMessage::default(),
    }
}
