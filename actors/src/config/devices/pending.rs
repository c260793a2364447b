//! What waits until a node comes for it: work for sleeping phones, and calls a node put off; and which calls were sent.

use claw_entities::{Scope, UserOwned, new_id, node_call, node_pending};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};

use crate::config::ConfigService;
use crate::error::Result;

/// Rows of one node in one queue; the oldest give way.
const MOST: usize = 64;
/// How long a sent call is remembered, milliseconds (protocol: five minutes).
const CALL_KEPT_MS: i64 = 5 * 60 * 1000;

/// Asked for with `node.pending.enqueue`.
pub const WORK: &str = "work";
/// Calls that a node in the background put off.
pub const ACTIONS: &str = "action";

/// A row to store.
#[derive(Clone, Debug)]
pub struct NewPending {
    pub node_id: String,
    pub queue: &'static str,
    pub name: String,
    pub high: bool,
    pub params_json: Option<String>,
    /// A second one under the same key is the first one.
    pub key: String,
    pub expires_at: Option<i64>,
}

impl ConfigService {
    /// Stores what a node shall come for. False beside the row: it waited already.
    pub async fn put_pending(&self, scope: &Scope, new: NewPending, now: i64) -> Result<(node_pending::Model, bool)> {
        let tx = self.db.write(scope).await?;
        let waiting = sorted(&*tx, scope, &new.node_id, new.queue, now).await?;
        if let Some(known) = waiting.iter().find(|row| row.idempotency_key == new.key) {
            return Ok((known.clone(), false));
        }
        let mut oldest: Vec<_> = waiting.iter().map(|row| (row.created_at, &row.id)).collect();
        oldest.sort_unstable();
        let surplus = (oldest.len() + 1).saturating_sub(MOST);
        let too_many: Vec<&String> = oldest.into_iter().take(surplus).map(|(_, id)| id).collect();
        node_pending::Entity::delete_owned(scope)
            .filter(node_pending::Column::NodeId.eq(&new.node_id))
            .filter(node_pending::Column::Queue.eq(new.queue))
            .filter(
                Condition::any()
                    .add(node_pending::Column::ExpiresAt.lte(now))
                    .add(node_pending::Column::Id.is_in(too_many)),
            )
            .exec(&*tx)
            .await?;
        let row = node_pending::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            id: new_id(),
            node_id: new.node_id,
            queue: new.queue.to_owned(),
            name: new.name,
            priority: if new.high { "high" } else { "normal" }.to_owned(),
            params_json: new.params_json,
            idempotency_key: new.key,
            created_at: now,
            expires_at: new.expires_at,
        };
        node_pending::Entity::insert(node_pending::ActiveModel::from(row.clone()))
            .exec_without_returning(&*tx)
            .await?;
        tx.commit().await?;
        Ok((row, true))
    }

    /// What waits for the node in this queue, urgent things first, then the oldest.
    pub async fn pending(
        &self,
        scope: &Scope,
        node_id: &str,
        queue: &str,
        now: i64,
    ) -> Result<Vec<node_pending::Model>> {
        let tx = self.db.read(scope).await?;
        let rows = sorted(&*tx, scope, node_id, queue, now).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Hands the node's next work out, at most `most`; it waits no longer. True beside it: there is more.
    pub async fn take_work(
        &self,
        scope: &Scope,
        node_id: &str,
        most: usize,
        now: i64,
    ) -> Result<(Vec<node_pending::Model>, bool)> {
        let tx = self.db.write(scope).await?;
        let mut rows = sorted(&*tx, scope, node_id, WORK, now).await?;
        let more = rows.len() > most;
        rows.truncate(most);
        remove(&*tx, scope, rows.iter().map(|row| row.id.as_str())).await?;
        tx.commit().await?;
        Ok((rows, more))
    }

    /// The node is done with these actions. Gives those that were its own, and how many are left.
    pub async fn ack_actions(
        &self,
        scope: &Scope,
        node_id: &str,
        ids: &[String],
        now: i64,
    ) -> Result<(Vec<String>, usize)> {
        let tx = self.db.write(scope).await?;
        let waiting = sorted(&*tx, scope, node_id, ACTIONS, now).await?;
        let done: Vec<String> = waiting
            .iter()
            .filter(|row| ids.contains(&row.id))
            .map(|row| row.id.clone())
            .collect();
        remove(&*tx, scope, done.iter().map(String::as_str)).await?;
        tx.commit().await?;
        let left = waiting.len() - done.len();
        Ok((done, left))
    }
}

/// Notes that a call is about to be sent (part of a group commit). False: it was sent before under this key.
pub async fn note_call(tx: &impl ConnectionTrait, scope: &Scope, key_hash: &str, now: i64) -> Result<bool> {
    node_call::Entity::delete_owned(scope)
        .filter(node_call::Column::CreatedAt.lte(now - CALL_KEPT_MS))
        .exec(tx)
        .await?;
    let row = node_call::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        key_hash: Set(key_hash.to_owned()),
        created_at: Set(now),
    };
    let inserted = node_call::Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    Ok(inserted == 1)
}

/// Forgets what waits for a node that is removed.
pub(super) async fn delete(tx: &impl ConnectionTrait, scope: &Scope, node_id: &str) -> Result<()> {
    node_pending::Entity::delete_owned(scope)
        .filter(node_pending::Column::NodeId.eq(node_id))
        .exec(tx)
        .await?;
    Ok(())
}

async fn remove<'a>(tx: &impl ConnectionTrait, scope: &Scope, ids: impl Iterator<Item = &'a str>) -> Result<()> {
    node_pending::Entity::delete_owned(scope)
        .filter(node_pending::Column::Id.is_in(ids))
        .exec(tx)
        .await?;
    Ok(())
}

async fn sorted(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    node_id: &str,
    queue: &str,
    now: i64,
) -> Result<Vec<node_pending::Model>> {
    let mut rows = node_pending::Entity::owned_by(scope)
        .filter(node_pending::Column::NodeId.eq(node_id))
        .filter(node_pending::Column::Queue.eq(queue))
        .filter(
            Condition::any()
                .add(node_pending::Column::ExpiresAt.is_null())
                .add(node_pending::Column::ExpiresAt.gt(now)),
        )
        .order_by_asc(node_pending::Column::CreatedAt)
        .order_by_asc(node_pending::Column::Id)
        .all(tx)
        .await?;
    rows.sort_by_key(|row| row.priority != "high");
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::identity::Role;
    use crate::config::testing;

    fn new(name: &str, queue: &'static str, high: bool, expires_at: Option<i64>) -> NewPending {
        NewPending {
            node_id: "n1".to_owned(),
            queue,
            name: name.to_owned(),
            high,
            params_json: None,
            key: name.to_owned(),
            expires_at,
        }
    }

    fn names(rows: &[node_pending::Model]) -> Vec<&str> {
        rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[tokio::test]
    async fn work_is_handed_out_once_urgent_first() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let config = &server.config;
        for (at, (name, high, until)) in [
            ("a", false, None),
            ("b", true, None),
            ("c", false, Some(50)),
            ("d", false, Some(500)),
        ]
        .into_iter()
        .enumerate()
        {
            let at = i64::try_from(at).expect("small");
            let put = config.put_pending(&owner, new(name, WORK, high, until), at).await;
            assert!(put.expect("stores").1, "{name} is new");
        }
        let again = config
            .put_pending(&owner, new("a", WORK, true, None), 9)
            .await
            .expect("stores");
        assert_eq!((again.1, again.0.priority.as_str()), (false, "normal"));
        let (taken, more) = config.take_work(&owner, "n1", 2, 100).await.expect("takes");
        assert_eq!((names(&taken), more), (vec!["b", "a"], true));
        let (taken, more) = config.take_work(&owner, "n1", 2, 100).await.expect("takes");
        assert_eq!((names(&taken), more), (vec!["d"], false), "c is too old");
        assert!(
            config
                .take_work(&owner, "n1", 2, 100)
                .await
                .expect("takes")
                .0
                .is_empty()
        );
    }

    #[tokio::test]
    async fn actions_stay_until_their_own_node_is_done_with_them() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let config = &server.config;
        let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        for at in 0..70 {
            let put = config
                .put_pending(&owner, new(&format!("x{at}"), ACTIONS, false, None), at)
                .await;
            put.expect("stores");
        }
        let rows = config.pending(&owner, "n1", ACTIONS, 100).await.expect("lists");
        assert_eq!((rows.len(), rows[0].name.as_str()), (MOST, "x6"));
        let ids = vec![rows[0].id.clone(), "made-up".to_owned()];
        let ack = async |scope: &Scope, node: &str| config.ack_actions(scope, node, &ids, 100).await.expect("acks");
        assert_eq!(ack(&member, "n1").await, (Vec::new(), 0));
        assert_eq!(ack(&owner, "n2").await, (Vec::new(), 0));
        assert_eq!(ack(&owner, "n1").await, (vec![rows[0].id.clone()], MOST - 1));
        assert!(
            config
                .pending(&member, "n1", ACTIONS, 100)
                .await
                .expect("lists")
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_call_is_sent_once_in_five_minutes() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let member = testing::user(&server.config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        for (scope, at, fresh) in [
            (&owner, 1, true),
            (&owner, 2, false),
            (&member, 2, true),
            (&owner, CALL_KEPT_MS, false),
            (&owner, CALL_KEPT_MS + 1, true),
        ] {
            let tx = server.db.write(scope).await.expect("begins");
            assert_eq!(note_call(&*tx, scope, "k", at).await.expect("notes"), fresh, "{at}");
            tx.commit().await.expect("commits");
        }
    }
}
