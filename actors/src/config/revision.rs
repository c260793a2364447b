//! The installation's revision: one number that every configuration write raises and every process polls.

use std::sync::{Arc, Weak};
use std::time::Duration;

use claw_entities::{PlatformTable, platform_state};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter};
use tokio::sync::watch;

use super::ConfigService;
use super::cache::Cache;
use super::master::Holder;
use crate::db::Db;
use crate::error::Result;

const KEY: &str = "revision";
const POLL: Duration = Duration::from_millis(300);

/// Raises the revision within the caller's transaction.
pub(crate) async fn raise(tx: &impl ConnectionTrait) -> Result<()> {
    tx.execute_unprepared(
        "INSERT INTO platform_state (key, value) VALUES ('revision', '1') ON CONFLICT (key) DO UPDATE \
         SET value = CAST(CAST(platform_state.value AS bigint) + 1 AS text)",
    )
    .await?;
    Ok(())
}

async fn current(db: &Db) -> Result<i64> {
    let tx = db.system_read().await?;
    let row = platform_state::Entity::platform()
        .filter(platform_state::Column::Key.eq(KEY))
        .one(&*tx)
        .await?;
    Ok(row.and_then(|row| row.value.parse().ok()).unwrap_or(0))
}

impl ConfigService {
    /// Starts the task that notices changes of other processes (every 300 ms) and gives a receiver that moves
    /// whenever anything changed, here or there. Needs a tokio runtime; the task ends with the last service clone.
    pub fn watch(&self) -> watch::Receiver<u64> {
        tokio::spawn(poll(
            self.db.clone(),
            Arc::downgrade(&self.cache),
            Arc::downgrade(&self.master),
        ));
        self.cache.subscribe()
    }

    /// Moves whenever configuration changed, in this process or (while [`Self::watch`] runs) in another.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.cache.subscribe()
    }
}

async fn poll(db: Db, cache: Weak<Cache>, master: Weak<Holder>) {
    let mut tick = tokio::time::interval(POLL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    let mut failing = false;
    loop {
        tick.tick().await;
        let (Some(cache), Some(master)) = (cache.upgrade(), master.upgrade()) else {
            return;
        };
        match current(&db).await {
            Ok(now) => {
                failing = false;
                if seen != Some(now) {
                    if let Err(error) = master.refresh(&db).await {
                        tracing::error!(%error, "the master key was changed and the new one cannot be read");
                    }
                    cache.forget();
                    seen = Some(now);
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "cannot read the configuration revision; answers may be stale");
                }
                failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    #[tokio::test]
    async fn a_change_of_another_process_is_noticed() {
        let server = testing::start().await;
        let mut changes = server.config.watch();
        changes.changed().await.expect("the first look counts as a change");
        let before = testing::tenant(&server.config, "acme").await;
        assert!(server.config.tenant_by_slug("acme").await.expect("reads").is_some());

        let command = server.another_process();
        command.delete_tenant("acme").await.expect("deletes");
        assert!(
            server
                .config
                .tenant_by_slug("acme")
                .await
                .expect("reads")
                .is_some_and(|cached| cached.id == *before.tenant()),
            "the cached answer stays until the revision is polled"
        );
        loop {
            changes.changed().await.expect("the watcher runs");
            if server.config.tenant_by_slug("acme").await.expect("reads").is_none() {
                break;
            }
        }
    }
}
