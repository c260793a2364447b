//! Moving along the tree of a transcript: another branch is used from now on, or one is copied into a session of its own.

use claw_entities::{Scope, SessionKey, UserOwned, transcript_entry};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, DatabaseTransaction, QueryFilter, QuerySelect, QueryTrait};
use serde_json::{Map, Value, json};

use super::edit::Leaf;
use super::key;
use super::turn::Authority;
use crate::Services;
use crate::clock::now_ms;
use crate::conversation::transcript::{self, BRANCHED_AT, HeadChanges, SessionHead};
use crate::conversation::tree;
use crate::db::Batch;
use crate::error::{Error, Result};
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::fenced;

/// Entries that a copy takes along, counted from its newest. What is older stays where it is.
const MOST_COPIED: usize = 2_000;
/// Ids of one statement: far below the parameter limits of both databases.
const AT_ONCE: usize = 500;

/// Settings that a copy has from its session. Where a chat is, and what it is called, stays with the original.
const TAKEN: [&str; 12] = [
    "thinkingLevel",
    "fastMode",
    "verboseLevel",
    "reasoningLevel",
    "responseUsage",
    "providerOverride",
    "modelOverride",
    "authProfileOverride",
    "authProfileOverrideSource",
    "compactionCount",
    "icon",
    "color",
];

/// Makes the branch in use end elsewhere. What is left behind stays stored, and can be switched to.
///
/// # Errors
/// `NotFound` without a session; `Invalid` for an archived one, and for a place that is none.
pub(crate) async fn turn(services: &Services, authority: &Authority, leaf: &Leaf) -> Result<SessionHead> {
    let (authority_in, leaf) = (authority.clone(), leaf.clone());
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, leaf) = (authority_in.clone(), leaf.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                let mut head = found(tx, scope, &authority.key).await?;
                if head.entry.get("archivedAt").is_some_and(|at| !at.is_null()) {
                    return Err(Error::invalid("not available for archived sessions"));
                }
                head.leaf_id = match leaf {
                    Leaf::Before(entry) => tree::question(tx, scope, &head, &entry).await?.before,
                    Leaf::At(entry) if tree::is_tip(tx, scope, &head, &entry).await? => Some(entry),
                    Leaf::At(entry) => return Err(Error::invalid(format!("branch not found: {entry}"))),
                };
                // The size of the last prompt says nothing of another branch.
                let fields = [
                    (BRANCHED_AT.to_owned(), json!(now_ms())),
                    ("totalTokensFresh".to_owned(), json!(false)),
                ];
                let changes = HeadChanges {
                    merge: Some(fields.into_iter().collect()),
                    ..HeadChanges::default()
                };
                transcript::save_head(&mut batch, scope, &mut head, changes);
                batch.run(tx).await?;
                Ok(head)
            })
        })
        .await
}

async fn found(tx: &DatabaseTransaction, scope: &Scope, key: &SessionKey) -> Result<SessionHead> {
    let head = transcript::head(tx, scope, key).await?;
    head.ok_or(Error::NotFound { what: "session" })
}

/// Makes the session `to` of what stands before the question `entry_id` of `from`, which stays as it is.
///
/// # Errors
/// `NotFound` without a session; `Invalid` for an entry that is no question of the branch in use.
pub(crate) async fn fork(
    directory: &Directory,
    scope: &Scope,
    from: &SessionKey,
    entry_id: &str,
    to: &SessionKey,
) -> Result<SessionHead> {
    let work = |epoch| {
        let (scope_in, from, to, entry_id) = (scope.clone(), from.clone(), to.clone(), entry_id.to_owned());
        directory.services().writer.run(scope, move |tx| {
            let (scope, from, to, entry_id) = (scope_in.clone(), from.clone(), to.clone(), entry_id.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &scope, epoch).await?;
                let source = found(tx, &scope, &from).await?;
                let question = tree::question(tx, &scope, &source, &entry_id).await?;
                let mut copy = transcript::open(tx, &scope, &to, key::agent_of(&to), now_ms()).await?;
                if let Some(leaf) = &question.before {
                    let ids = tree::ids_up_to(tx, &scope, &source.session_id, leaf, MOST_COPIED).await?;
                    for some in ids.chunks(AT_ONCE) {
                        copy_entries(&mut batch, &scope, (&source.session_id, &copy.session_id), some)?;
                    }
                }
                copy.leaf_id = question.before;
                copy.next_seq = source.next_seq;
                let mut fields: Map<String, Value> = TAKEN
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), source.entry.get(*name)?.clone())))
                    .collect();
                fields.insert("parentSessionKey".to_owned(), json!(from));
                fields.insert("createdVia".to_owned(), json!("fork"));
                let changes = HeadChanges {
                    merge: Some(fields),
                    ..HeadChanges::default()
                };
                transcript::save_head(&mut batch, &scope, &mut copy, changes);
                batch.run(tx).await?;
                Ok(copy)
            })
        })
    };
    directory.leases().under(scope, work).await
}

/// Copies entries into another transcript under the ids and positions they have. The database does it: bodies are not
/// read.
fn copy_entries(batch: &mut Batch, scope: &Scope, (from, to): (&str, &str), ids: &[String]) -> Result<()> {
    use transcript_entry::Column;
    let columns = [
        Column::TenantId,
        Column::UserId,
        Column::Seq,
        Column::Id,
        Column::ParentId,
        Column::Kind,
        Column::Body,
        Column::RunId,
        Column::CreatedAt,
    ];
    let rows = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .columns(columns)
        .column_as(Expr::value(to), "to_session")
        .filter(Column::SessionId.eq(from))
        .filter(Column::Id.is_in(ids.iter().map(String::as_str)))
        .into_query();
    let mut insert = Query::insert();
    insert
        .into_table(transcript_entry::Entity)
        .columns(columns.into_iter().chain([Column::SessionId]))
        .select_from(rows)
        .map_err(Error::internal)?;
    batch.add_statement(batch.backend().build(&insert));
    Ok(())
}
