//! Leases: which replica runs a user, and the epoch that fences its writes.
//!
//! The database decides, by its own clock. One heartbeat row per replica renews all its leases; a lease of a replica
//! whose heartbeat is old may be taken. Every claim raises the epoch, also by the same replica: whatever ran under an
//! older epoch can no longer commit.

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{PlatformTable, Scope, TenantId, UserId, replica, user_lease};
use dashmap::DashMap;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, QueryFilter, QuerySelect, Statement};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::db::{Batch, Db, Transaction, clock, clock_sql};
use crate::error::{Error, Result};
use crate::services::Replica;

type Slot = Arc<Mutex<Option<i64>>>;

/// The leases this process holds. Cheap to clone.
#[derive(Clone)]
pub struct Leases {
    db: Db,
    replica: Arc<Replica>,
    lease: Duration,
    held: Arc<DashMap<(TenantId, UserId), Slot>>,
    /// Cancelled when another process serves under this one's replica id.
    displaced: CancellationToken,
}

/// Boot ids of the processes that are alive, this one among them: their heartbeats are not older than `lease`.
///
/// # Errors
/// When the database is away.
pub(crate) async fn living(tx: &impl ConnectionTrait, own: &Replica, lease: Duration) -> Result<Vec<String>> {
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let fresh = clock(tx).await?.saturating_sub(lease);
    let mut living: Vec<String> = replica::Entity::platform()
        .select_only()
        .column(replica::Column::BootId)
        .filter(replica::Column::HeartbeatAt.gt(fresh))
        .into_tuple()
        .all(tx)
        .await?;
    living.push(own.boot_id.clone());
    Ok(living)
}

/// Why the process may not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "another process ({id}) is using this database: stop it first, or wait {seconds} s after it died. \
         Several replicas need NATS, which this version does not have yet"
    )]
    InUse { id: String, seconds: u64 },
    #[error(transparent)]
    Storage(#[from] Error),
}

impl Leases {
    pub fn new(db: Db, replica: Arc<Replica>, lease: Duration) -> Self {
        Self {
            db,
            replica,
            lease,
            held: Arc::new(DashMap::new()),
            displaced: CancellationToken::new(),
        }
    }

    /// Resolves when another process serves under this one's replica id: this one may claim nothing any more.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// Announces this process. Refuses while another one's heartbeat is fresh; a process of the same replica id on
    /// the same host that is gone does not count.
    pub async fn announce(&self) -> std::result::Result<(), StartError> {
        let lease_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        let tx = self.db.system_write().await.map_err(Error::from)?;
        let now = clock(&*tx).await.map_err(Error::from)?;
        let others = replica::Entity::platform()
            .filter(replica::Column::HeartbeatAt.gt(now - lease_ms))
            .all(&*tx)
            .await
            .map_err(Error::from)?;
        for other in others {
            if other.id != self.replica.id || (other.boot_id != self.replica.boot_id && is_running(&other.boot_id)) {
                return Err(StartError::InUse {
                    id: other.id,
                    seconds: self.lease.as_secs(),
                });
            }
        }
        let backend = tx.get_database_backend();
        tx.execute_raw(statement(
            backend,
            "INSERT INTO replica (id, boot_id, started_at, heartbeat_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET boot_id = excluded.boot_id, started_at = excluded.started_at, \
             heartbeat_at = excluded.heartbeat_at",
            vec![
                self.replica.id.as_str().into(),
                self.replica.boot_id.as_str().into(),
                now.into(),
                now.into(),
            ],
        ))
        .await
        .map_err(Error::from)?;
        tx.commit().await.map_err(Error::from)?;
        Ok(())
    }

    /// Renews the heartbeat three times per lease until `stop`. Losing the row (another boot of the same id took
    /// over) drops every held lease, for good.
    pub async fn beat(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.lease / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match self.beat_once().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!(
                        replica.id = %self.replica.id,
                        "another process serves under this replica id: give each process a cluster.replica_id of its own"
                    );
                    self.displaced.cancel();
                    self.held.clear();
                    return;
                }
                Err(error) => tracing::warn!(error = ?error, "heartbeat failed"),
            }
        }
    }

    async fn beat_once(&self) -> Result<bool> {
        let tx = self.db.system_write().await?;
        let backend = tx.get_database_backend();
        let done = tx
            .execute_raw(statement(
                backend,
                &format!(
                    "UPDATE replica SET heartbeat_at = {} WHERE id = ? AND boot_id = ?",
                    clock_sql(backend)
                ),
                vec![self.replica.id.as_str().into(), self.replica.boot_id.as_str().into()],
            ))
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives the heartbeat up, so that a successor need not wait.
    pub async fn leave(&self) -> Result<()> {
        let tx = self.db.system_write().await?;
        replica::Entity::platform_delete()
            .filter(replica::Column::Id.eq(self.replica.id.clone()))
            .filter(replica::Column::BootId.eq(self.replica.boot_id.clone()))
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The epoch under which this process may write for the user; claims the lease when it is not held.
    /// [`Error::Fenced`] while another live replica holds it.
    pub async fn epoch(&self, scope: &Scope) -> Result<i64> {
        let slot = self.slot(scope);
        let mut held = slot.lock().await;
        if let Some(epoch) = *held {
            return Ok(epoch);
        }
        let epoch = self.claim(scope).await?;
        *held = Some(epoch);
        Ok(epoch)
    }

    /// Runs `work` under the user's epoch. When it was fenced, the next use claims a fresh one.
    pub async fn under<T, F>(&self, scope: &Scope, work: impl FnOnce(i64) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let epoch = self.epoch(scope).await?;
        let done = work(epoch).await;
        if matches!(done, Err(Error::Fenced)) {
            self.lost(scope, epoch).await;
        }
        done
    }

    /// A write under `epoch` was fenced: the next use claims a fresh one. Nothing happens when that was done already,
    /// or the runs under the fresh epoch would be fenced in their turn.
    async fn lost(&self, scope: &Scope, epoch: i64) {
        let slot = self.slot(scope);
        let mut held = slot.lock().await;
        if *held == Some(epoch) {
            *held = None;
        }
    }

    fn slot(&self, scope: &Scope) -> Slot {
        self.held
            .entry((scope.tenant().clone(), scope.user().clone()))
            .or_default()
            .clone()
    }

    /// Only the process whose heartbeat it is claims under a replica id: of two with one id the other is another boot.
    async fn claim(&self, scope: &Scope) -> Result<i64> {
        let lease_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        let tx = self.db.system_write().await?;
        let backend = tx.get_database_backend();
        let now = clock_sql(backend);
        let row = tx
            .query_one_raw(statement(
                backend,
                &format!(
                    "INSERT INTO user_lease (tenant_id, user_id, owner, epoch, claimed_at) \
                     SELECT ?, ?, ?, 1, {now} WHERE EXISTS (SELECT 1 FROM replica WHERE id = ? AND boot_id = ?) \
                     ON CONFLICT (tenant_id, user_id) DO UPDATE SET \
                     owner = excluded.owner, epoch = user_lease.epoch + 1, claimed_at = excluded.claimed_at \
                     WHERE user_lease.owner = excluded.owner OR NOT EXISTS (SELECT 1 FROM replica \
                     WHERE replica.id = user_lease.owner AND replica.heartbeat_at > {now} - {lease_ms}) \
                     RETURNING epoch"
                ),
                vec![
                    scope.tenant().as_str().into(),
                    scope.user().as_str().into(),
                    self.replica.id.as_str().into(),
                    self.replica.id.as_str().into(),
                    self.replica.boot_id.as_str().into(),
                ],
            ))
            .await?;
        let Some(row) = row else { return Err(Error::Fenced) };
        let epoch = row.try_get_by_index(0)?;
        tx.commit().await?;
        Ok(epoch)
    }
}

/// A batch that fails with [`Error::Fenced`] unless `epoch` is still the user's. On SQLite the check goes with the
/// batch; on PostgreSQL the lease's row stays locked against a takeover until the commit.
pub async fn fenced(tx: &Transaction, scope: &Scope, epoch: i64) -> Result<Batch> {
    use claw_entities::UserOwned;
    use sea_orm::QuerySelect;
    let mut batch = Batch::new(tx);
    if tx.get_database_backend() != DbBackend::Postgres {
        // A trigger raises what `Error` knows, see the migration.
        batch.add_statement(Statement::from_sql_and_values(
            tx.get_database_backend(),
            "INSERT INTO fence (tenant_id, user_id, epoch) VALUES (?, ?, ?)",
            [
                scope.tenant().as_str().into(),
                scope.user().as_str().into(),
                epoch.into(),
            ],
        ));
        return Ok(batch);
    }
    let held: Option<i64> = user_lease::Entity::owned_by(scope)
        .filter(user_lease::Column::Epoch.eq(epoch))
        .lock_shared()
        .select_only()
        .column(user_lease::Column::Epoch)
        .into_tuple()
        .one(tx)
        .await?;
    if held.is_some() { Ok(batch) } else { Err(Error::Fenced) }
}

/// A statement written with `?`, numbered for the backend.
pub(crate) fn statement(backend: DbBackend, sql: &str, values: Vec<sea_orm::Value>) -> Statement {
    if backend != DbBackend::Postgres {
        return Statement::from_sql_and_values(backend, sql, values);
    }
    let mut numbered = String::with_capacity(sql.len() + values.len());
    let mut number = 0;
    for character in sql.chars() {
        if character == '?' {
            number += 1;
            numbered.push('$');
            numbered.push_str(&number.to_string());
        } else {
            numbered.push(character);
        }
    }
    Statement::from_sql_and_values(backend, numbered, values)
}

/// This process, as `<host>:<pid>:<random>`: names the boot, and lets a successor on the same host see that it died.
pub fn boot_id() -> String {
    format!("{}:{}:{}", host(), std::process::id(), uuid::Uuid::new_v4())
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Is the process that made this boot id still there. Processes of other hosts are taken to be.
fn is_running(boot_id: &str) -> bool {
    let mut parts = boot_id.split(':');
    let (Some(its_host), Some(pid)) = (parts.next(), parts.next()) else {
        return true;
    };
    if its_host != host() || its_host.is_empty() {
        return true;
    }
    if pid == std::process::id().to_string() {
        return false;
    }
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "clawcentral")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing;

    fn leases(db: &Db, id: &str) -> Leases {
        let replica = Replica {
            id: id.to_owned(),
            boot_id: boot_id(),
            version: "0".to_owned(),
        };
        Leases::new(db.clone(), Arc::new(replica), Duration::from_secs(15))
    }

    async fn may_write(db: &Db, scope: &Scope, epoch: i64) -> bool {
        let tx = db.write(scope).await.expect("begins");
        match fenced(&tx, scope, epoch).await {
            Ok(batch) => match batch.run(&tx).await.map_err(Error::from) {
                Ok(touched) => touched == 0,
                Err(Error::Fenced) => false,
                Err(error) => panic!("{error:?}"),
            },
            Err(_) => false,
        }
    }

    #[tokio::test]
    async fn a_live_replica_is_neither_doubled_nor_robbed() {
        let server = testing::start().await;
        let user = testing::owner(&server.config).await;
        let (first, second) = (leases(&server.db, "one"), leases(&server.db, "two"));
        first.announce().await.expect("nobody else is there");
        assert!(matches!(second.announce().await, Err(StartError::InUse { .. })));
        assert_eq!(first.epoch(&user).await.expect("claims"), 1);
        assert_eq!(first.epoch(&user).await.expect("holds"), 1);
        assert!(matches!(second.epoch(&user).await, Err(Error::Fenced)));
        assert!(may_write(&server.db, &user, 1).await);

        first.leave().await.expect("leaves");
        second.announce().await.expect("the first is gone");
        assert_eq!(second.epoch(&user).await.expect("takes over"), 2);
        assert!(!may_write(&server.db, &user, 1).await, "the old owner still writes");
        assert!(may_write(&server.db, &user, 2).await);
    }

    #[tokio::test]
    async fn who_is_fenced_drops_its_own_epoch_only() {
        let server = testing::start().await;
        let user = testing::owner(&server.config).await;
        let leases = leases(&server.db, "one");
        leases.announce().await.expect("nobody else is there");
        assert_eq!(leases.epoch(&user).await.expect("claims"), 1);
        leases.lost(&user, 1).await;
        assert_eq!(leases.epoch(&user).await.expect("claims again"), 2);
        // The second of two that were fenced under the first epoch.
        leases.lost(&user, 1).await;
        assert_eq!(leases.epoch(&user).await.expect("holds"), 2);
    }

    #[tokio::test]
    async fn of_two_processes_with_one_id_the_first_claims_nothing_any_more() {
        let server = testing::start().await;
        let user = testing::owner(&server.config).await;
        let (first, second) = (leases(&server.db, "local"), leases(&server.db, "local"));
        first.announce().await.expect("nobody else is there");
        assert_eq!(first.epoch(&user).await.expect("claims"), 1);
        // Its boot is taken for one that died.
        second.announce().await.expect("takes the name");
        assert_eq!(second.epoch(&user).await.expect("takes over"), 2);
        first.lost(&user, 1).await;
        assert!(matches!(first.epoch(&user).await, Err(Error::Fenced)));
        assert!(may_write(&server.db, &user, 2).await, "its epoch was raised");
        // The heartbeat ends, and whoever serves hears why.
        first.clone().beat(CancellationToken::new()).await;
        first.displaced().await;
        assert!(second.beat_once().await.expect("beats"));
    }
}
