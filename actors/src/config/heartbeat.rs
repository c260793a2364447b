//! When each agent looks by itself: planned whenever the document changes, in the same commit. What a look is and does
//! is [`crate::session::heartbeat`]'s business.

use claw_entities::{Scope, UserOwned, heartbeat, user};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::Value;

use super::ConfigService;
use super::document::UserSettings;
use crate::crypto::token;
use crate::error::{Error, Result};

impl ConfigService {
    /// The newest `heartbeat` event of the user's agents; null when there was none yet.
    pub async fn last_heartbeat(&self, scope: &Scope) -> Result<Value> {
        let rows = heartbeat::Entity::owned_by(scope)
            .all(&self.db.glance(scope).await?)
            .await?;
        let newest = rows
            .into_iter()
            .map(|row| row.last)
            .max_by_key(|last| last["ts"].as_i64());
        Ok(newest.unwrap_or_default())
    }

    /// Whether the user's agents look by themselves, where they are configured to.
    pub async fn set_heartbeats(&self, scope: &Scope, enabled: bool) -> Result<()> {
        let tx = self.change(scope).await?;
        let changed = user::Entity::update_owned(scope)
            .col_expr(user::Column::Heartbeats, Expr::value(enabled))
            .exec(&*tx)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Error::NotFound { what: "user" });
        }
        self.changed(tx).await
    }
}

/// Brings the plan in line with a document that is being stored. A look whose pause did not change keeps its time.
pub(super) async fn plan(tx: &impl ConnectionTrait, scope: &Scope, doc: &Value, now: i64) -> Result<()> {
    let settings = UserSettings::parse(doc);
    let known = heartbeat::Entity::owned_by(scope).all(tx).await?;
    for beat in &settings.heartbeats {
        let every_ms = i64::try_from(beat.every.as_millis()).unwrap_or(i64::MAX);
        let next = next(scope, &beat.agent_id, every_ms, now);
        match known.iter().find(|row| row.agent_id == beat.agent_id) {
            Some(row) if row.every_ms == every_ms && row.next_beat_at.is_some() => {}
            Some(row) => replan(tx, scope, row, every_ms, Some(next)).await?,
            None => {
                heartbeat::Entity::insert(heartbeat::ActiveModel {
                    tenant_id: Set(scope.tenant().clone()),
                    user_id: Set(scope.user().clone()),
                    agent_id: Set(beat.agent_id.clone()),
                    every_ms: Set(every_ms),
                    next_beat_at: Set(Some(next)),
                    woken: Set(false),
                    waiting_since: Set(None),
                    running_at: Set(None),
                    last_beat_at: Set(None),
                    last: Set(Value::Null),
                    said: Set(None),
                    said_at: Set(None),
                    epoch: Set(1),
                })
                .exec_without_returning(tx)
                .await?;
            }
        }
    }
    let over = |row: &&heartbeat::Model| row.next_beat_at.is_some() && settings.heartbeat(&row.agent_id).is_none();
    for row in known.iter().filter(over) {
        replan(tx, scope, row, row.every_ms, None).await?;
    }
    Ok(())
}

/// Whoever claims or settles on the old epoch finds that it was changed, and looks again.
async fn replan(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    row: &heartbeat::Model,
    every_ms: i64,
    next: Option<i64>,
) -> Result<()> {
    heartbeat::Entity::update_owned(scope)
        .col_expr(heartbeat::Column::EveryMs, Expr::value(every_ms))
        .col_expr(heartbeat::Column::NextBeatAt, Expr::value(next))
        .col_expr(heartbeat::Column::WaitingSince, Expr::value(None::<i64>))
        .col_expr(heartbeat::Column::Woken, Expr::value(false))
        .col_expr(heartbeat::Column::Epoch, Expr::col(heartbeat::Column::Epoch).add(1))
        .filter(heartbeat::Column::AgentId.eq(row.agent_id.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

/// The first time after `now` on the agent's own grid of `every_ms`: always the same, and not everybody's at once.
/// Epoch milliseconds.
pub(crate) fn next(scope: &Scope, agent: &str, every_ms: i64, now: i64) -> i64 {
    let every = Ord::max(every_ms, 1);
    let hash = token::hash(&format!("{}/{agent}", scope.user()));
    let number = hash.get(..12).and_then(|digits| i64::from_str_radix(digits, 16).ok());
    let offset = number.unwrap_or(0) % every;
    let rounds = now.saturating_sub(offset).div_euclid(every).saturating_add(1);
    rounds.saturating_mul(every).saturating_add(offset)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn the_grid_is_ones_own_and_does_not_drift() {
        let scope = |user: &str| Scope::vouch("t".into(), user.into());
        let every = 1_800_000;
        let first = next(&scope("a"), "main", every, 1_000_000_000);
        assert!(first > 1_000_000_000 && first <= 1_000_000_000 + every);
        assert_eq!(next(&scope("a"), "main", every, first - 1), first);
        assert_eq!(next(&scope("a"), "main", every, first), first + every);
        assert_eq!(
            next(&scope("a"), "main", every, first + 10 * every + 7),
            first + 11 * every
        );
        let minutes: std::collections::HashSet<i64> = (0..100)
            .map(|user| next(&scope(&user.to_string()), "main", every, 0) / 60_000)
            .collect();
        assert!(minutes.len() > 20, "not all users at once: {minutes:?}");
        assert_eq!(next(&scope("a"), "main", i64::MAX, i64::MAX - 1), i64::MAX);
    }

    #[tokio::test]
    async fn the_plan_follows_the_document() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let plan = async || {
            let tx = server.db.read(&owner).await.expect("reads");
            let mut rows = heartbeat::Entity::owned_by(&owner).all(&*tx).await.expect("reads");
            rows.sort_by(|one, other| one.agent_id.cmp(&other.agent_id));
            rows.into_iter()
                .map(|row| (row.agent_id, row.every_ms, row.next_beat_at))
                .collect::<Vec<_>>()
        };
        let set = async |doc: Value| {
            config.update_document(&owner, |_| Ok(doc)).await.expect("stores");
        };
        set(json!({"agents": {"defaults": {"model": "a/b"}}})).await;
        assert!(plan().await.is_empty(), "off by default");
        let half = json!({"agents": {"defaults": {"heartbeat": {"every": "30m"}}}});
        set(half.clone()).await;
        let planned = plan().await;
        let [(agent, 1_800_000, Some(first))] = &planned[..] else {
            panic!("{planned:?}")
        };
        assert_eq!(agent, "main");
        set(json!({"agents": {"defaults": {"heartbeat": {"every": "30m", "target": "last"}}}})).await;
        assert_eq!(plan().await[0].2, Some(*first), "something else changed");
        set(json!({"agents": {"defaults": {"heartbeat": {"every": "1h"}}}})).await;
        assert_eq!(plan().await[0].1, 3_600_000);
        set(json!({"agents": {"entries": {"b": {"heartbeat": {"every": "2h"}}, "main": {}}}})).await;
        let planned = plan().await;
        assert_eq!((planned[0].1, planned[0].2.is_some()), (7_200_000, true), "{planned:?}");
        assert_eq!((planned[1].0.as_str(), planned[1].2), ("main", None), "it is off");
        set(half).await;
        assert!(plan().await[1].2.is_some(), "and on again");
    }

    #[tokio::test]
    async fn a_person_switches_theirs_off() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let on = async || {
            let user = config.user(owner.tenant_scope(), owner.user()).await.expect("reads");
            user.heartbeats
        };
        assert!(on().await);
        config.set_heartbeats(&owner, false).await.expect("stores");
        assert!(!on().await);
        config.set_heartbeats(&owner, true).await.expect("stores");
        assert!(on().await);
        assert_eq!(config.last_heartbeat(&owner).await.expect("reads"), Value::Null);
    }
}
