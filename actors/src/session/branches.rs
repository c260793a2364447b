//! Moving along the tree of a transcript: another branch is used from now on, or one is copied into a session of its own.

use claw_entities::{Scope, SessionKey, UserOwned, new_id, transcript_entry};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect, QueryTrait};
use serde_json::{Map, Value, json};

use super::budget::Charge;
use super::edit::Leaf;
use super::key::{self, Kind};
use super::turn::{Authority, Ending, close_run, open_run};
use crate::Services;
use crate::clock::now_ms;
use crate::conversation::entry::Entry;
use crate::conversation::transcript::{self, BRANCHED_AT, HeadChanges, NewEntry, SessionHead};
use crate::conversation::{branch, tree};
use crate::db::{Batch, Transaction};
use crate::error::{Error, Result};
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::fenced;

/// Entries that a copy takes along, counted from its newest. What is older stays where it is.
const MOST_COPIED: usize = 2_000;
/// Ids of one statement: far below the parameter limits of both databases.
const AT_ONCE: usize = 500;

/// Settings that a copy has from its session. Where a chat is, and what it is called, stays with the original.
const TAKEN: [&str; 13] = [
    "sendPolicy",
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

async fn found(tx: &Transaction, scope: &Scope, key: &SessionKey) -> Result<SessionHead> {
    let head = transcript::head_to_move(tx, scope, key).await?;
    head.ok_or(Error::NotFound { what: "session" })
}

/// The question of an earlier attempt, to be asked once more: it stands on a branch that was left since.
pub(super) async fn left_behind(
    tx: &Transaction,
    scope: &Scope,
    head: &SessionHead,
    entry_id: &str,
) -> Result<Option<NewEntry>> {
    if head.entry.get(BRANCHED_AT).is_none_or(Value::is_null) || branch::holds(tx, scope, head, entry_id).await? {
        return Ok(None);
    }
    let row = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .filter(transcript_entry::Column::Id.eq(entry_id))
        .one(tx)
        .await?;
    Ok(row.and_then(Entry::from_row).map(|entry| NewEntry {
        id: Some(new_id()),
        body: entry.body,
        run_id: entry.run_id,
        created_at: entry.created_at,
    }))
}

/// Makes the session `to` of what stands before the question `entry_id` of `from`, which stays as it is.
///
/// # Errors
/// `NotFound` without a session; `Invalid` for an entry that is no question of the branch in use, and for a session that
/// is not the owner's own: what was said there was said under rules that a copy would not have.
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
                if !is_own(&from) || source.entry.get("spawnedBy").is_some_and(|by| !by.is_null()) {
                    return Err(Error::invalid(
                        "only the owner's own chats can be forked, not those of guests, groups, jobs and sub-agents",
                    ));
                }
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
                record_arrival(&mut batch, &scope, &to, ("fork", &copy.session_id), epoch);
                batch.run(tx).await?;
                Ok(copy)
            })
        })
    };
    directory.leases().under(scope, work).await
}

/// Puts on record that a session has this transcript, where no turn made it (`how`): after a reset nothing else tells
/// whose it was.
pub(crate) fn record_arrival(
    batch: &mut Batch,
    scope: &Scope,
    key: &SessionKey,
    (how, session_id): (&str, &str),
    epoch: i64,
) {
    let authority = Authority {
        scope: scope.clone(),
        key: key.clone(),
        agent_id: key::agent_of(key).to_owned(),
        epoch,
        charge: Charge::default(),
    };
    let run_id = format!("{how}-{session_id}");
    open_run(batch, &authority, &run_id, session_id, now_ms());
    let ending = Ending::without_model("ok", "stop", Vec::new());
    close_run(batch, scope, &run_id, &ending);
}

/// Is it a chat that the owner has with an agent, and nobody else.
fn is_own(key: &SessionKey) -> bool {
    key::parse(key.as_str()).is_some_and(|parsed| match parsed.kind {
        Kind::Main | Kind::Global | Kind::Node | Kind::Http | Kind::Custom => true,
        Kind::Direct | Kind::Group | Kind::Channel | Kind::Cron | Kind::Hook | Kind::Subagent | Kind::Slash => false,
    })
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
