//! Writing a transcript: open, append, reset. Everything here happens inside the caller's transaction, or goes into its
//! batch, so a run's entries, outbox rows and inbox rows become durable together.

use std::sync::Arc;

use claw_entities::{Scope, SessionKey, UserOwned, new_id, session, transcript_entry};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QuerySelect, UpdateMany,
};
use serde_json::{Map, Value, json};

use super::entry::{Body, Entry};
use crate::db::{Batch, Rows, Transaction};
use crate::error::{Error, Result};

/// Rows per insert statement: far below the parameter limits of both databases.
const ROWS_PER_INSERT: usize = 500;

/// Field of a session's entry: when its leaf was moved by hand the last time, epoch milliseconds. Without it the
/// transcript is one branch.
pub const BRANCHED_AT: &str = "branchedAt";

/// What a reset keeps of `entry`: one list for `/new`, `sessions.reset` and a stale session. A deny rule must never
/// get lost at four in the morning, and where a room is does not change with its transcript.
const KEPT: [&str; 36] = [
    "thinkingLevel",
    "fastMode",
    "verboseLevel",
    "reasoningLevel",
    "ttsAuto",
    "responseUsage",
    "providerOverride",
    "modelOverride",
    "authProfileOverride",
    "authProfileOverrideSource",
    "authProfileOverrideCompactionCount",
    "sendPolicy",
    "groupActivation",
    "origin",
    "deliveryContext",
    "lastChannel",
    "lastTo",
    "lastAccountId",
    "lastThreadId",
    "chatType",
    "label",
    "displayName",
    "channel",
    "groupId",
    "subject",
    "groupChannel",
    "space",
    "spawnedBy",
    "spawnDepth",
    "subagentRole",
    "subagentControlScope",
    "forkedFromParent",
    "icon",
    "color",
    "category",
    "pinnedAt",
];

/// A session's row as a run works with it: where the transcript stands, and the session's own settings.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionHead {
    pub key: SessionKey,
    /// The transcript (a UUID).
    pub session_id: String,
    pub agent_id: String,
    pub label: Option<String>,
    /// Levels, overrides and counters under their wire names.
    pub entry: Value,
    /// Where replies go; null for web chat.
    pub destination: Value,
    /// Newest entry of the branch in use.
    pub leaf_id: Option<String>,
    pub next_seq: i64,
    pub created_at: i64,
    /// Last inbound turn, epoch milliseconds.
    pub updated_at: i64,
    /// System events the session was ever sent, and how many of them a turn has asked for.
    pub events: i64,
    pub events_seen: i64,
}

impl SessionHead {
    /// May system events wait. Also before the first turn: they may be older than the session.
    pub fn has_events(&self) -> bool {
        self.events > self.events_seen || self.leaf_id.is_none()
    }
}

/// An entry about to be appended.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Unique within the transcript: a user entry takes its inbox id, so that it cannot be written twice. `None`
    /// makes one.
    pub id: Option<String>,
    pub body: Body,
    pub run_id: Option<String>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

impl NewEntry {
    /// The entry as it stands in the transcript once it was appended at `seq`. `None` without an id of its own.
    pub fn placed(&self, seq: i64) -> Option<Entry> {
        Some(Entry {
            id: self.id.clone()?,
            parent_id: None,
            seq,
            body: self.body.clone(),
            run_id: self.run_id.clone(),
            created_at: self.created_at,
        })
    }
}

/// What [`save_head`] and [`change_head`] write of a session's own. `None` leaves a column alone.
#[derive(Clone, Debug, Default)]
pub struct HeadChanges {
    /// A turn of a person; heartbeats, cron and notices leave it out so that the session can go stale.
    pub touched_at: Option<i64>,
    pub entry: Option<Value>,
    /// Fields that go into `entry`, whatever else was changed there meanwhile; a null takes one out.
    pub merge: Option<Map<String, Value>>,
    pub label: Option<Option<String>>,
    pub destination: Option<Value>,
    /// System events asked for, of those the head knew of.
    pub events_seen: Option<i64>,
}

impl From<session::Model> for SessionHead {
    fn from(row: session::Model) -> Self {
        Self {
            key: row.key,
            session_id: row.session_id,
            agent_id: row.agent_id,
            label: row.label,
            entry: row.entry,
            destination: row.destination,
            leaf_id: row.leaf_id,
            next_seq: row.next_seq,
            created_at: row.created_at,
            updated_at: row.updated_at,
            events: row.events,
            events_seen: row.events_seen,
        }
    }
}

fn new_session_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The session's head, if it exists.
pub async fn head(rows: &impl Rows, scope: &Scope, key: &SessionKey) -> Result<Option<SessionHead>> {
    let row = session::Entity::owned_by(scope).filter(session::Column::Key.eq(key.clone()));
    Ok(rows.row(row).await?.map(SessionHead::from))
}

/// As [`head`], for a transaction that goes on from where the transcript stands: nobody else moves it before the
/// commit. It comes after the lease's row (`fenced`) and before all others of the transaction.
pub async fn head_to_move(tx: &Transaction, scope: &Scope, key: &SessionKey) -> Result<Option<SessionHead>> {
    let row = session::Entity::owned_by(scope)
        .filter(session::Column::Key.eq(key.clone()))
        .lock_exclusive();
    Ok(tx.row(row).await?.map(SessionHead::from))
}

/// Keeps the row of a head that was read in an earlier transaction, as [`head_to_move`] does. SQLite has one writer.
///
/// # Errors
/// `Conflict` when the same transcript stands elsewhere by now.
pub async fn hold(tx: &Transaction, scope: &Scope, head: &SessionHead) -> Result<()> {
    if tx.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    match head_to_move(tx, scope, &head.key).await? {
        Some(now) if now.session_id == head.session_id && now.leaf_id != head.leaf_id => {
            Err(Error::Conflict("the transcript was moved by somebody else".to_owned()))
        }
        // What is appended to a transcript that was left moves nothing, see `save_head`.
        Some(_) | None => Ok(()),
    }
}

/// Loads the session, making it on first use. Two callers at once get the same one.
pub async fn open(tx: &impl Rows, scope: &Scope, key: &SessionKey, agent_id: &str, now: i64) -> Result<SessionHead> {
    if let Some(found) = head(tx, scope, key).await? {
        return Ok(found);
    }
    let row = session::Model {
        tenant_id: scope.tenant().clone(),
        user_id: scope.user().clone(),
        key: key.clone(),
        session_id: new_session_id(),
        agent_id: agent_id.to_owned(),
        label: None,
        entry: Value::Object(Map::new()),
        destination: Value::Null,
        leaf_id: None,
        next_seq: 1,
        created_at: now,
        updated_at: now,
        events: 0,
        events_seen: 0,
    };
    session::Entity::insert(session::ActiveModel::from(row).reset_all())
        .on_conflict_do_nothing()
        .exec_without_returning(tx)
        .await?;
    head(tx, scope, key)
        .await?
        .ok_or_else(|| Error::internal("a session vanished while it was being made"))
}

/// As [`open`], for a transaction that goes on from where the transcript stands, see [`head_to_move`].
pub async fn open_to_move(
    tx: &Transaction,
    scope: &Scope,
    key: &SessionKey,
    agent_id: &str,
    now: i64,
) -> Result<SessionHead> {
    if let Some(found) = head_to_move(tx, scope, key).await? {
        return Ok(found);
    }
    open(tx, scope, key, agent_id, now).await?;
    head_to_move(tx, scope, key)
        .await?
        .ok_or_else(|| Error::internal("a session vanished while it was being made"))
}

/// Appends entries after the leaf, each the child of the one before, and moves the head (in memory; see
/// [`save_head`]). Gives them as they will be stored. The batch ends in `Conflict` when an id is in the transcript
/// already, or another writer took the position.
pub fn append(
    batch: &mut Batch,
    scope: &Scope,
    head: &mut SessionHead,
    entries: Vec<NewEntry>,
) -> Result<Vec<Arc<Entry>>> {
    let mut appended = Vec::with_capacity(entries.len());
    let mut rows = Vec::with_capacity(entries.len());
    let mut leaf = head.leaf_id.clone();
    let mut seq = head.next_seq;
    for entry in entries {
        let id = entry.id.unwrap_or_else(new_id);
        let entry = Entry {
            parent_id: leaf.replace(id.clone()),
            id,
            seq,
            body: entry.body,
            run_id: entry.run_id,
            created_at: entry.created_at,
        };
        rows.push(transcript_entry::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            session_id: Set(head.session_id.clone()),
            seq: Set(seq),
            id: Set(entry.id.clone()),
            parent_id: Set(entry.parent_id.clone()),
            kind: Set(entry.body.kind().to_owned()),
            body: Set(entry.body.encode().map_err(Error::internal)?),
            run_id: Set(entry.run_id.clone()),
            created_at: Set(entry.created_at),
        });
        seq += 1;
        appended.push(Arc::new(entry));
    }
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(ROWS_PER_INSERT));
        batch.add(&transcript_entry::Entity::insert_many(rows));
        rows = rest;
    }
    head.leaf_id = leaf;
    head.next_seq = seq;
    Ok(appended)
}

/// Is this entry in the transcript already: a re-run asks before it writes the user entry.
pub async fn contains(tx: &impl ConnectionTrait, scope: &Scope, session_id: &str, entry_id: &str) -> Result<bool> {
    let found: Option<i64> = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::Seq)
        .filter(transcript_entry::Column::SessionId.eq(session_id))
        .filter(transcript_entry::Column::Id.eq(entry_id))
        .into_tuple()
        .one(tx)
        .await?;
    Ok(found.is_some())
}

/// Writes the head's position and `changes` to the session's row, for who moved it ([`head_to_move`]). Writes nothing
/// when the session was reset or deleted meanwhile: what was appended belongs to the old transcript.
pub fn save_head(batch: &mut Batch, scope: &Scope, head: &mut SessionHead, changes: HeadChanges) {
    let update = of_head(scope, head)
        .col_expr(session::Column::LeafId, Expr::value(head.leaf_id.clone()))
        .col_expr(session::Column::NextSeq, Expr::value(head.next_seq));
    batch.add(&changed(update, batch.backend(), head, changes));
}

/// Writes `changes` alone, of which there is at least one: the transcript stands where it stands, also when somebody
/// moves it at the same time. Writes nothing when the session was reset or deleted meanwhile.
pub fn change_head(batch: &mut Batch, scope: &Scope, head: &mut SessionHead, changes: HeadChanges) {
    let update = of_head(scope, head);
    batch.add(&changed(update, batch.backend(), head, changes));
}

fn of_head(scope: &Scope, head: &SessionHead) -> UpdateMany<session::Entity> {
    session::Entity::update_owned(scope)
        .filter(session::Column::Key.eq(head.key.clone()))
        .filter(session::Column::SessionId.eq(head.session_id.clone()))
}

/// `update` with `changes`, which the head takes over.
fn changed(
    mut update: UpdateMany<session::Entity>,
    backend: DbBackend,
    head: &mut SessionHead,
    changes: HeadChanges,
) -> UpdateMany<session::Entity> {
    if let Some(at) = changes.touched_at {
        update = update.col_expr(session::Column::UpdatedAt, Expr::value(at));
        head.updated_at = at;
    }
    if let Some(entry) = changes.entry {
        update = update.col_expr(session::Column::Entry, Expr::value(entry.clone()));
        head.entry = entry;
    }
    if let Some(fields) = changes.merge {
        let whole = merge(&head.entry, &fields);
        let value = if head.entry.is_object() {
            merged(backend, Value::Object(fields))
        } else {
            Expr::value(whole.clone())
        };
        update = update.col_expr(session::Column::Entry, value);
        head.entry = whole;
    }
    if let Some(label) = changes.label {
        update = update.col_expr(session::Column::Label, Expr::value(label.clone()));
        head.label = label;
    }
    if let Some(destination) = changes.destination {
        update = update.col_expr(session::Column::Destination, Expr::value(destination.clone()));
        head.destination = destination;
    }
    if let Some(seen) = changes.events_seen {
        update = update.col_expr(session::Column::EventsSeen, Expr::value(seen));
        head.events_seen = seen;
    }
    update
}

/// `entry` with `fields` over it; a null takes one out.
fn merge(entry: &Value, fields: &Map<String, Value>) -> Value {
    let mut merged = entry.as_object().cloned().unwrap_or_default();
    for (name, value) in fields {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    Value::Object(merged)
}

/// [`merge`] done by the database, with the stored fields. PostgreSQL keeps a null, which reads as absent.
pub(crate) fn merged(backend: DbBackend, fields: Value) -> SimpleExpr {
    if backend == DbBackend::Postgres {
        Expr::cust_with_values("entry || $1", [fields])
    } else {
        Expr::cust_with_values("json_patch(entry, ?)", [fields])
    }
}

/// Starts a new transcript under the same key. The old one stays stored.
///
/// # Errors
/// `NotFound` when there is no such session.
pub async fn reset(tx: &Transaction, scope: &Scope, key: &SessionKey, now: i64) -> Result<SessionHead> {
    let head = head_to_move(tx, scope, key).await?;
    let mut head = head.ok_or(Error::NotFound { what: "session" })?;
    let old = std::mem::replace(&mut head.session_id, new_session_id());
    head.entry = carry_over(&head.entry);
    head.leaf_id = None;
    head.next_seq = 1;
    head.updated_at = now;
    let updated = session::Entity::update_owned(scope)
        .filter(session::Column::Key.eq(key.clone()))
        .filter(session::Column::SessionId.eq(old))
        .col_expr(session::Column::SessionId, Expr::value(head.session_id.clone()))
        .col_expr(session::Column::Entry, Expr::value(head.entry.clone()))
        .col_expr(session::Column::LeafId, Expr::value(None::<String>))
        .col_expr(session::Column::NextSeq, Expr::value(head.next_seq))
        .col_expr(session::Column::UpdatedAt, Expr::value(now))
        .exec(tx)
        .await?;
    if updated.rows_affected == 1 {
        Ok(head)
    } else {
        Err(Error::Conflict("the session was reset by somebody else".to_owned()))
    }
}

/// The part of a session's settings that outlives its transcript, with fresh counters.
fn carry_over(entry: &Value) -> Value {
    let mut kept = Map::new();
    for name in KEPT {
        if let Some(value) = entry.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    for counter in ["inputTokens", "outputTokens", "totalTokens", "compactionCount"] {
        kept.insert(counter.to_owned(), json!(0));
    }
    kept.insert("totalTokensFresh".to_owned(), Value::Bool(true));
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_keeps_rules_and_levels_but_no_counters() {
        let before = json!({
            "thinkingLevel": "high", "sendPolicy": "deny", "groupActivation": "always", "modelOverride": "m",
            "lastTo": "42", "queueMode": "interrupt", "elevatedLevel": "on", "inputTokens": 900,
            "compactionCount": 3, "skillsSnapshot": {"a": 1}, "abortedLastRun": true,
        });
        let after = carry_over(&before);
        for kept in [
            "thinkingLevel",
            "sendPolicy",
            "groupActivation",
            "modelOverride",
            "lastTo",
        ] {
            assert_eq!(after[kept], before[kept], "{kept}");
        }
        for lost in ["queueMode", "elevatedLevel", "skillsSnapshot", "abortedLastRun"] {
            assert!(after.get(lost).is_none(), "{lost}");
        }
        assert_eq!(
            (&after["inputTokens"], &after["compactionCount"]),
            (&json!(0), &json!(0))
        );
        assert_eq!(after["totalTokensFresh"], json!(true));
    }
}
