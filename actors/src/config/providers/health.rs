//! How keys have fared: which of them rest, for how long, and which is tried first (`agent-runtime` §11.1, §11.2).
//!
//! Kept per user: what one person's requests run into says nothing about another's, and nobody can lock out a colleague.

use std::collections::HashMap;
use std::time::Duration;

use claw_entities::{Scope, UserOwned, key_health};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::super::ConfigService;
use super::super::document::Cooldowns;
use super::crud::StoredProvider;
use super::{Choice, KeyView, ProviderView, Rest};
use crate::clock::now_ms;
use crate::error::Result;
use crate::ports::model::ErrorClass;

const MINUTE: Duration = Duration::from_secs(60);
/// Longest rest of a key that may pass by itself.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// A first choice that rests is tried when it is back within this time, and not more often than that.
const PROBE_MARGIN: Duration = Duration::from_secs(120);
const PROBE_PAUSE: Duration = Duration::from_secs(30);
/// Gateways that choose among providers themselves: one failure says nothing about the next call.
const ROUTERS: [&str; 2] = ["openrouter", "kilocode"];

/// What a failure means for the key it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: the request, not the key, was at fault.
    None,
    /// Nothing that lasts: the provider was busy or out of reach, and may be there again in a moment.
    Passes,
    /// It rests for a while, for this model or for all.
    Rests { model_only: bool },
    /// Its account is at fault: it is left alone for hours.
    Disabled,
}

/// What a failure of this class means for the key. Malformed requests touch none: whoever may write to a bot could
/// send them.
pub(crate) const fn effect(class: ErrorClass) -> Effect {
    match class {
        ErrorClass::RateLimit => Effect::Rests { model_only: true },
        ErrorClass::Overloaded | ErrorClass::Timeout | ErrorClass::Network => Effect::Passes,
        ErrorClass::Auth => Effect::Rests { model_only: false },
        ErrorClass::Billing | ErrorClass::AuthPermanent => Effect::Disabled,
        ErrorClass::Format
        | ErrorClass::ModelNotFound
        | ErrorClass::SessionExpired
        | ErrorClass::ContextOverflow
        | ErrorClass::Refusal
        | ErrorClass::Budget
        | ErrorClass::Unknown => Effect::None,
    }
}

/// One key of one model, as a call uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) provider: String,
    pub(crate) model: String,
    /// Empty without a key.
    pub(crate) key: String,
}

/// A failure on record.
#[derive(Clone, Copy, Debug)]
struct Failure<'a> {
    class: ErrorClass,
    model: &'a str,
    /// How long the provider asks to wait.
    retry_after: Option<Duration>,
    at: i64,
}

/// How a user's keys have fared, as read at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(HashMap<(String, String), key_health::Model>);

impl Health {
    fn row(&self, provider: &str, key: &str) -> Option<&key_health::Model> {
        self.0.get(&(provider.to_owned(), key.to_owned()))
    }

    /// Until when the key is not to be used for the model, and why. `None`: it may be used.
    pub(crate) fn rests(&self, provider: &str, key: &str, model: &str, now: i64) -> Option<(i64, &str)> {
        let row = self.row(provider, key)?;
        let cools = row.cooldown_model.as_deref().is_none_or(|cooled| cooled == model);
        let cooldown = (row.cooldown_until, row.cooldown_reason.as_str());
        let disabled = (row.disabled_until, row.disabled_reason.as_str());
        let windows = [Some(disabled), cools.then_some(cooldown)];
        let open = windows.into_iter().flatten().filter(|(until, _)| *until > now);
        open.max_by_key(|(until, _)| *until)
    }

    /// The keys of a choice in the order they are tried, each with the time until which it rests. The pinned one comes
    /// first; then, unless a person ordered them, the one that was used least recently; what rests comes last, the one
    /// that is back soonest first. Never empty.
    pub(crate) fn in_order(&self, choice: &Choice, pinned: Option<&str>, now: i64) -> Vec<(String, Option<i64>)> {
        let provider = choice.provider.as_str();
        let mut keys: Vec<(String, Option<i64>)> = choice
            .keys
            .iter()
            .map(|key| {
                let rests = self.rests(provider, key, choice.model(), now);
                (key.clone(), rests.map(|(until, _)| until))
            })
            .collect();
        let used = |key: &str| self.row(provider, key).map_or(0, |row| row.last_used_at);
        if !choice.ordered {
            keys.sort_by_key(|(key, _)| used(key));
        }
        // Sorting keeps the order of what is equal.
        keys.sort_by_key(|(key, _)| pinned != Some(key));
        keys.sort_by_key(|(_, until)| until.unwrap_or(0));
        keys
    }

    /// When the first of a provider's keys may be used for the model again, if none may now.
    pub(super) fn all_rest(&self, provider: &StoredProvider, model: &str, now: i64) -> Option<Rest> {
        let names = provider.keys.iter().map(|(name, _)| name.as_str());
        let without = provider.keys.is_empty().then_some("");
        let rests: Option<Vec<_>> = names
            .chain(without)
            .map(|name| self.rests(&provider.id, name, model, now))
            .collect();
        let (until, reason) = rests?.into_iter().min_by_key(|(until, _)| *until)?;
        Some(Rest {
            until,
            reason: reason.to_owned(),
        })
    }

    /// Is there something of the key to forget after a success.
    pub(crate) fn is_marked(&self, slot: &Slot) -> bool {
        self.row(&slot.provider, &slot.key).is_some_and(|row| {
            let cooled = row.errors > 0 || row.cooldown_until > 0;
            row.refusals > 0 || row.disabled_until > 0 || (cooled && is_of(row, &slot.model, now_ms()))
        })
    }

    /// Notes a key's new state, as it was stored.
    pub(crate) fn note(&mut self, row: key_health::Model) {
        self.0.insert((row.provider.clone(), row.key_name.clone()), row);
    }

    /// How a key stands, for people.
    pub(crate) fn view(&self, provider: &str, key: &str, now: i64) -> KeyView {
        let row = self.row(provider, key);
        let cooled = row.and_then(|row| row.cooldown_model.as_deref());
        let whole = self.rests(provider, key, cooled.unwrap_or_default(), now);
        let disabled = row.is_some_and(|row| whole.is_some_and(|(until, _)| row.disabled_until == until));
        KeyView {
            name: key.to_owned(),
            last_used_at: row.map(|row| row.last_used_at).filter(|at| *at > 0),
            rests_until: whole.map(|(until, _)| until),
            reason: whole.map(|(_, reason)| reason.to_owned()),
            model: cooled.filter(|_| whole.is_some() && !disabled).map(str::to_owned),
        }
    }
}

/// Does the newest rest of a key concern this model.
fn is_of(row: &key_health::Model, model: &str, now: i64) -> bool {
    row.cooldown_until <= now || row.cooldown_model.as_deref().is_none_or(|cooled| cooled == model)
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The state after a failure. A rest that goes on is not made longer by further failures.
fn after_failure(mut row: key_health::Model, failure: Failure<'_>, cooldowns: &Cooldowns) -> key_health::Model {
    let now = failure.at;
    if row.last_failed_at > 0 && now.saturating_sub(row.last_failed_at) > ms(cooldowns.window) {
        (row.errors, row.refusals) = (0, 0);
    }
    match effect(failure.class) {
        Effect::None | Effect::Passes => return row,
        Effect::Disabled => {
            if row.disabled_until <= now {
                row.refusals = row.refusals.saturating_add(1);
                row.disabled_until = now.saturating_add(ms(disabled_for(&row, cooldowns)));
            }
            failure.class.name().clone_into(&mut row.disabled_reason);
        }
        Effect::Rests { model_only } => {
            let goes_on = row.cooldown_until > now;
            if !goes_on {
                row.errors = row.errors.saturating_add(1);
                let asked = failure.retry_after.unwrap_or_default().min(LONGEST_REST);
                row.cooldown_until = now.saturating_add(ms(rest_after(row.errors).max(asked)));
                row.cooldown_model = model_only.then(|| failure.model.to_owned());
            } else if !model_only || row.cooldown_model.as_deref() != Some(failure.model) {
                // Two models, or the key as a whole.
                row.cooldown_model = None;
            }
            failure.class.name().clone_into(&mut row.cooldown_reason);
        }
    }
    row.last_failed_at = now;
    row
}

/// 1, 5, 25, then 60 minutes.
fn rest_after(errors: i32) -> Duration {
    let power = u32::try_from(errors.saturating_sub(1)).unwrap_or(0).min(3);
    (MINUTE * 5_u32.pow(power)).min(LONGEST_REST)
}

fn disabled_for(row: &key_health::Model, cooldowns: &Cooldowns) -> Duration {
    let first = cooldowns.billing_by_provider.get(&row.provider);
    let first = *first.unwrap_or(&cooldowns.billing);
    let power = u32::try_from(row.refusals.saturating_sub(1)).unwrap_or(0).min(10);
    first.saturating_mul(2_u32.pow(power)).min(cooldowns.billing_max)
}

fn untouched(scope: &Scope, slot: &Slot) -> key_health::Model {
    key_health::Model {
        tenant_id: scope.tenant().clone(),
        user_id: scope.user().clone(),
        provider: slot.provider.clone(),
        key_name: slot.key.clone(),
        last_used_at: 0,
        last_failed_at: 0,
        probed_at: 0,
        errors: 0,
        refusals: 0,
        cooldown_until: 0,
        cooldown_reason: String::new(),
        cooldown_model: None,
        disabled_until: 0,
        disabled_reason: String::new(),
    }
}

impl ConfigService {
    /// How all keys have fared for this user.
    pub(crate) async fn key_health(&self, scope: &Scope) -> Result<Health> {
        let glance = self.db.glance(scope).await?;
        let rows = key_health::Entity::owned_by(scope).all(&glance).await?;
        let mut health = Health::default();
        rows.into_iter().for_each(|row| health.note(row));
        Ok(health)
    }

    /// How the keys of these providers stand for this user, by provider.
    pub async fn key_views(&self, scope: &Scope, providers: &[ProviderView]) -> Result<Vec<Vec<KeyView>>> {
        let (health, now) = (self.key_health(scope).await?, now_ms());
        let of = |view: &ProviderView| view.keys.iter().map(|key| health.view(&view.id, key, now)).collect();
        Ok(providers.iter().map(of).collect())
    }

    /// Puts a failure on record. Gives the key's state then; `None` when the failure says nothing about the key, or nothing
    /// that lasts.
    pub(crate) async fn key_failed(
        &self,
        scope: &Scope,
        slot: &Slot,
        class: ErrorClass,
        retry_after: Option<Duration>,
    ) -> Result<Option<key_health::Model>> {
        let lasts = !matches!(effect(class), Effect::None | Effect::Passes);
        if !lasts || ROUTERS.contains(&slot.provider.as_str()) {
            return Ok(None);
        }
        let cooldowns = self.settings(scope).await?.models.cooldowns.clone();
        let changed = self.change_key(scope, slot, move |row, model, at| {
            let failure = Failure {
                class,
                model,
                retry_after,
                at,
            };
            after_failure(row, failure, &cooldowns)
        });
        changed.await.map(Some)
    }

    /// The key works: what was held against it is forgotten. `taken`: a session takes it for its own.
    pub(crate) async fn key_worked(&self, scope: &Scope, slot: &Slot, taken: bool) -> Result<()> {
        let changed = self.change_key(scope, slot, move |mut row, model, at| {
            if taken {
                row.last_used_at = at;
            }
            if is_of(&row, model, at) {
                (row.errors, row.cooldown_until, row.cooldown_model) = (0, 0, None);
                row.cooldown_reason.clear();
            }
            (row.refusals, row.disabled_until) = (0, 0);
            row.disabled_reason.clear();
            row
        });
        changed.await.map(drop)
    }

    async fn change_key(
        &self,
        scope: &Scope,
        slot: &Slot,
        change: impl Fn(key_health::Model, &str, i64) -> key_health::Model + Send + Sync + 'static,
    ) -> Result<key_health::Model> {
        let (scope_in, slot) = (scope.clone(), slot.clone());
        let change = std::sync::Arc::new(change);
        self.writer
            .run(scope, move |tx| {
                let (scope, slot, change) = (scope_in.clone(), slot.clone(), change.clone());
                Box::pin(async move {
                    let known = find(tx, &scope, &slot).await?;
                    let row = change(known.unwrap_or_else(|| untouched(&scope, &slot)), &slot.model, now_ms());
                    store(tx, row.clone()).await?;
                    Ok(row)
                })
            })
            .await
    }

    /// May a first choice that rests until `until` be tried all the same: it is back soon, and nobody tried lately. Who
    /// is told so has the only right to.
    pub(crate) async fn may_probe(&self, scope: &Scope, slot: &Slot, until: i64) -> Result<bool> {
        let now = now_ms();
        if until.saturating_sub(now) > ms(PROBE_MARGIN) {
            return Ok(false);
        }
        let (scope_in, slot) = (scope.clone(), slot.clone());
        let before = now.saturating_sub(ms(PROBE_PAUSE));
        let claimed = self.writer.run(scope, move |tx| {
            let claim = key_health::Entity::update_owned(&scope_in)
                .col_expr(key_health::Column::ProbedAt, Expr::value(now))
                .filter(key_health::Column::Provider.eq(slot.provider.as_str()))
                .filter(key_health::Column::KeyName.eq(slot.key.as_str()))
                .filter(key_health::Column::ProbedAt.lte(before))
                .filter(key_health::Column::LastFailedAt.lte(before));
            Box::pin(async move { Ok(claim.exec(tx).await?.rows_affected) })
        });
        Ok(claimed.await? > 0)
    }
}

async fn find(tx: &impl ConnectionTrait, scope: &Scope, slot: &Slot) -> Result<Option<key_health::Model>> {
    let row = key_health::Entity::owned_by(scope)
        .filter(key_health::Column::Provider.eq(slot.provider.as_str()))
        .filter(key_health::Column::KeyName.eq(slot.key.as_str()))
        .one(tx)
        .await?;
    Ok(row)
}

async fn store(tx: &impl ConnectionTrait, row: key_health::Model) -> Result<()> {
    use key_health::Column;
    key_health::Entity::insert(key_health::ActiveModel::from(row).reset_all())
        .on_conflict(
            OnConflict::columns([Column::TenantId, Column::UserId, Column::Provider, Column::KeyName])
                .update_columns([
                    Column::LastUsedAt,
                    Column::LastFailedAt,
                    Column::ProbedAt,
                    Column::Errors,
                    Column::Refusals,
                    Column::CooldownUntil,
                    Column::CooldownReason,
                    Column::CooldownModel,
                    Column::DisabledUntil,
                    Column::DisabledReason,
                ])
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
