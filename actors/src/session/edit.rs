//! Changes of a session that are no turns: an operator's words, its settings, starting over, deleting it.
//!
//! Settings change at once. Everything that touches the transcript goes through the session's actor, between turns.

use std::collections::HashSet;
use std::sync::Arc;

use claw_entities::{
    Scope, SessionKey, UserOwned, cron_run, inbox, new_id, outbox, run, session, system_event, transcript_entry,
};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect, QueryTrait};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::events::Emitter;
use super::intake::{ClientMessage, MAX_MESSAGE_BYTES};
use super::item::Item;
use super::key;
use super::overheard;
use super::subagent;
use super::system_event::aside;
use super::turn::{self, Authority, Ending};
use crate::Services;
use crate::clock::now_ms;
use crate::conversation::entry::Body;
use crate::conversation::transcript::{self, HeadChanges, NewEntry, SessionHead};
use crate::db::writer::NewInbox;
use crate::db::{Batch, Transaction};
use crate::error::{Error, Result};
use crate::ports::message::{AssistantMessage, AssistantPart, Message};
use crate::supervisor::directory::{Directory, RunEnded};
use crate::supervisor::lease::fenced;

/// Source of the inbox rows that [`accept_injection`] stores.
pub(crate) const INJECT: &str = "inject";
const DELETED: &str = "the session was deleted";

/// A change that has its turn between runs. What runs and what waits is aborted first.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A new transcript under the same key. `reason` is what watchers are told: `reset` or `new`.
    Reset { reason: &'static str },
    /// The session goes, and with `transcript` everything that was said in it.
    Delete {
        transcript: bool,
        /// Only while this is its transcript.
        expected: Option<String>,
    },
    /// Another entry becomes the newest of the branch in use. Nothing is aborted for it: it is refused while the session
    /// works.
    Turn { leaf: Leaf },
}

/// Where the branch in use is to end.
#[derive(Clone, Debug)]
pub(crate) enum Leaf {
    /// In front of this question, so that it can be asked anew.
    Before(String),
    /// With this entry, the end of another branch.
    At(String),
}

impl Leaf {
    /// What watchers are told.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Before(_) => "rewind",
            Self::At(_) => "branch-switch",
        }
    }
}

impl EditRequest {
    pub(crate) fn new(edit: Edit, reply: oneshot::Sender<Result<Edited>>) -> Self {
        Self {
            edit,
            rows: HashSet::new(),
            reply,
        }
    }
}

impl Edit {
    /// Why runs are aborted for it. `None`: none is.
    pub(crate) const fn stop_reason(&self) -> Option<&'static str> {
        match self {
            Self::Reset { .. } => Some("reset"),
            Self::Delete { .. } => Some("deleted"),
            Self::Turn { .. } => None,
        }
    }
}

/// The session after the change; `None` when there is none (any more, or at all).
#[derive(Clone, Debug)]
pub(crate) struct Edited {
    pub(crate) head: Option<SessionHead>,
    /// There was something to change.
    pub(crate) found: bool,
}

/// An [`Edit`] on its way, and who waits for it.
#[derive(Debug)]
pub(crate) struct EditRequest {
    pub(crate) edit: Edit,
    /// Rows the session looked after when it heard of it.
    pub(crate) rows: HashSet<String>,
    pub(crate) reply: oneshot::Sender<Result<Edited>>,
}

/// Settings of a session. A null field is taken out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    pub(crate) label: Option<Option<String>>,
    pub(crate) fields: Map<String, Value>,
    /// Only while this is its transcript.
    pub(crate) expected: Option<String>,
}

/// Changes settings of the session, making it if there is none.
///
/// # Errors
/// `Invalid` for a label that another session of the user has; `Conflict` for another transcript than the expected.
pub(crate) async fn patch(directory: &Directory, scope: &Scope, key: &SessionKey, patch: Patch) -> Result<SessionHead> {
    let services = directory.services();
    let patch = Arc::new(patch);
    let work = |epoch| {
        let (scope_in, key) = (scope.clone(), key.clone());
        services.writer.run(scope, move |tx| {
            let (scope, key, patch) = (scope_in.clone(), key.clone(), patch.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &scope, epoch).await?;
                let mut head = transcript::open(tx, &scope, &key, key::agent_of(&key), now_ms()).await?;
                expect(&head, patch.expected.as_deref())?;
                if let Some(Some(label)) = &patch.label {
                    label_is_free(tx, &scope, &key, label).await?;
                }
                let changes = HeadChanges {
                    merge: Some(patch.fields.clone()),
                    label: patch.label.clone(),
                    ..HeadChanges::default()
                };
                transcript::change_head(&mut batch, &scope, &mut head, changes);
                batch.run(tx).await?;
                Ok(head)
            })
        })
    };
    directory.leases().under(scope, work).await
}

fn expect(head: &SessionHead, expected: Option<&str>) -> Result<()> {
    if expected.is_none_or(|expected| expected == head.session_id) {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "Session \"{}\" changed meanwhile. Refresh and retry.",
        head.key
    )))
}

async fn label_is_free(tx: &Transaction, scope: &Scope, key: &SessionKey, label: &str) -> Result<()> {
    let taken: Option<String> = session::Entity::owned_by(scope)
        .select_only()
        .column(session::Column::SessionId)
        .filter(session::Column::Label.eq(label))
        .filter(session::Column::Key.ne(key.clone()))
        .into_tuple()
        .one(tx)
        .await?;
    match taken {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("label already in use: {label}"))),
    }
}

/// An injection that is stored and will stand in the transcript.
pub(crate) struct Injection {
    /// Of the entry.
    pub(crate) message_id: String,
    /// Its run, which ends when it stands there.
    pub(crate) run_id: String,
}

/// Stores an operator's words for the session's transcript and wakes the session.
///
/// # Errors
/// `NotFound` when there is no such session.
pub(crate) async fn accept_injection(
    directory: &Directory,
    scope: &Scope,
    key: &SessionKey,
    message: String,
) -> Result<Injection> {
    if directory.draining() {
        return Err(Error::Busy {
            message: "the service is restarting".to_owned(),
            retry_after: std::time::Duration::from_secs(1),
        });
    }
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(Error::TooLarge("message is longer than 1 MiB".to_owned()));
    }
    let services = directory.services();
    if services.conversation.head(scope, key).await?.is_none() {
        return Err(Error::NotFound { what: "session" });
    }
    let message_id = new_id();
    let run_id = format!("inject-{message_id}");
    let payload = ClientMessage {
        source: INJECT.to_owned(),
        message,
        ..ClientMessage::default()
    };
    let row = NewInbox {
        id: message_id.clone(),
        tenant: scope.tenant().clone(),
        user: scope.user().clone(),
        source: INJECT.to_owned(),
        account_id: scope.user().as_str().to_owned(),
        event_key: run_id.clone(),
        session_key: key.clone(),
        payload: serde_json::to_string(&payload).map_err(Error::internal)?,
        skipped: None,
    };
    services.writer.accept(vec![row]).await?;
    directory.wake(scope, key);
    Ok(Injection { message_id, run_id })
}

/// Appends an injection, in one commit with the end of its row and run. A session that is gone takes it along.
pub(crate) async fn inject(
    services: &Services,
    authority: &Authority,
    item: &Item,
    mut emitter: Emitter,
) -> Result<RunEnded> {
    let now = now_ms();
    let entry = NewEntry {
        id: item.inbox_ids.first().cloned(),
        // As the original marks what no model said.
        body: Body::from(Message::Assistant(AssistantMessage {
            content: vec![AssistantPart::Text {
                text: item.text.clone(),
            }],
            api: "openai-responses".to_owned(),
            provider: "openclaw".to_owned(),
            model: "gateway-injected".to_owned(),
            timestamp: now,
            ..AssistantMessage::default()
        })),
        run_id: None,
        created_at: now,
    };
    let run_id = item.run_id.clone().unwrap_or_default();
    let (authority_in, entry_in) = (authority.clone(), Arc::new(entry.clone()));
    let (ids, run_in) = (item.inbox_ids.clone(), run_id.clone());
    let head = services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, entry) = (authority_in.clone(), entry_in.clone());
            let (ids, run_id) = (ids.clone(), run_in.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                let Some(mut head) = transcript::head_to_move(tx, scope, &authority.key).await? else {
                    turn::finish_inbox(&mut batch, scope, ids, "skipped", &run_id, Some(DELETED));
                    batch.run(tx).await?;
                    return Ok(None);
                };
                let stored = transcript::append(&mut batch, scope, &mut head, vec![(*entry).clone()])?;
                transcript::save_head(&mut batch, scope, &mut head, HeadChanges::default());
                turn::open_run(&mut batch, &authority, &run_id, &head.session_id, now);
                turn::close_run(
                    &mut batch,
                    scope,
                    &run_id,
                    &Ending::without_model("ok", "stop", Vec::new()),
                );
                turn::finish_inbox(&mut batch, scope, ids, "done", &run_id, None);
                batch.run(tx).await?;
                Ok(Some((head, stored)))
            })
        })
        .await?;
    if let Some((head, stored)) = &head {
        services.conversation.wrote(&authority.scope, head, stored);
        emitter.injected(head, &entry, head.next_seq - 1).await;
    }
    Ok(RunEnded {
        run_id,
        status: if head.is_some() { "ok" } else { "aborted" }.to_owned(),
        started_at: now,
        ended_at: now,
        error: None,
        error_class: None,
        stop_reason: Some("stop".to_owned()),
        result: Value::Null,
    })
}

/// Rows of a session that is deleted, as its actor knows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// Settled by somebody else right now, who also tells their clients.
    pub(crate) known: HashSet<String>,
    /// Settled lately: they lose their words.
    pub(crate) lately: HashSet<String>,
}

/// What a deletion found.
pub(crate) struct Erased {
    pub(crate) found: bool,
    /// Runs of messages that nobody looked after and that will not run now.
    pub(crate) runs: Vec<String>,
}

/// Deletes the session: its row, what waits for it, and with `transcript` what was said. What its runs cost stays on
/// record, without their words.
pub(crate) async fn erase(
    services: &Services,
    authority: &Authority,
    rows: Rows,
    (transcript, expected): (bool, Option<String>),
) -> Result<Erased> {
    let authority_in = authority.clone();
    let rows = Arc::new(rows);
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, rows, expected) = (authority_in.clone(), rows.clone(), expected.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                let head = transcript::head_to_move(tx, scope, &authority.key).await?;
                if let Some(head) = &head {
                    expect(head, expected.as_deref())?;
                }
                let runs = drop_open(tx, &mut batch, &authority, &rows).await?;
                if transcript {
                    forget_words(&mut batch, &authority, head.as_ref());
                }
                let places = [authority.key.clone(), aside(&authority.key)];
                let untold = system_event::Column::SessionKey.is_in(places);
                batch.add(&subagent::let_go(scope, &authority.key));
                batch.add(&system_event::Entity::delete_owned(scope).filter(untold));
                batch.add(&session::Entity::delete_owned(scope).filter(session::Column::Key.eq(authority.key.clone())));
                batch.run(tx).await?;
                Ok(Erased {
                    found: head.is_some(),
                    runs,
                })
            })
        })
        .await
}

/// Settles what waits for the session. Gives the runs whose clients hear of it from nobody else.
async fn drop_open(tx: &Transaction, batch: &mut Batch, authority: &Authority, theirs: &Rows) -> Result<Vec<String>> {
    let scope = &authority.scope;
    let rows = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::SessionKey.eq(authority.key.clone()))
        .filter(inbox::is_open())
        .all(tx)
        .await?;
    let ending = Ending::without_model("aborted", "deleted", Vec::new());
    let (mut ids, mut runs) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        // A client waits under the key it gave; a run that was begun is on record besides.
        let client = row.account_id == scope.user().as_str();
        let waits = client.then(|| row.event_key.clone());
        if let Some(run_id) = &row.run_id {
            turn::close_run(batch, scope, run_id, &ending);
        }
        if let Some(run_id) = waits.as_ref().filter(|waits| row.run_id.as_ref() != Some(*waits)) {
            turn::open_run(batch, authority, run_id, "", row.received_at);
            turn::close_run(batch, scope, run_id, &ending);
        }
        if !theirs.known.contains(&row.id) {
            runs.extend(waits);
        }
        ids.push(row.id);
    }
    turn::finish_inbox(batch, scope, ids.clone(), "skipped", "", Some(DELETED));
    ids.extend(theirs.known.union(&theirs.lately).cloned());
    let unsaid = inbox::Entity::update_owned(scope)
        .col_expr(inbox::Column::Payload, Expr::value("{}"))
        .filter(inbox::Column::Id.is_in(ids));
    batch.add(&unsaid);
    let overheard = overheard::over(scope, &authority.key, "skipped")
        .col_expr(inbox::Column::Reason, Expr::value(DELETED))
        .col_expr(inbox::Column::Payload, Expr::value("{}"));
    batch.add(&overheard);
    Ok(runs)
}

/// Takes the words out of everything that belongs to the session: all its transcripts, the messages that were
/// answered in them, replies that have arrived, and results of runs.
fn forget_words(batch: &mut Batch, authority: &Authority, head: Option<&SessionHead>) {
    let scope = &authority.scope;
    let current = head.map(|head| head.session_id.clone()).unwrap_or_default();
    let earlier = run::Entity::owned_by(scope)
        .select_only()
        .column(run::Column::SessionId)
        .filter(run::Column::SessionKey.eq(authority.key.clone()))
        .into_query();
    let theirs = transcript_entry::Column::SessionId
        .in_subquery(earlier)
        .or(transcript_entry::Column::SessionId.eq(current));
    let entries = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::Id)
        .filter(theirs.clone())
        .into_query();
    batch.add(
        &inbox::Entity::update_owned(scope)
            .col_expr(inbox::Column::Payload, Expr::value("{}"))
            .filter(inbox::Column::Id.in_subquery(entries))
            // A copy has its entries under the ids of the original, whose messages stay.
            .filter(inbox::Column::SessionKey.eq(authority.key.clone()))
            .filter(inbox::Column::State.is_in(["done", "skipped"])),
    );
    batch.add(&transcript_entry::Entity::delete_owned(scope).filter(theirs));
    batch.add(
        &cron_run::Entity::update_owned(scope)
            .col_expr(cron_run::Column::Summary, Expr::value(None::<String>))
            .col_expr(cron_run::Column::Error, Expr::value(None::<String>))
            .filter(cron_run::Column::SessionKey.eq(authority.key.clone())),
    );
    let runs = run::Entity::owned_by(scope)
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::SessionKey.eq(authority.key.clone()))
        .into_query();
    batch.add(
        &outbox::Entity::update_owned(scope)
            .col_expr(outbox::Column::Text, Expr::value(""))
            .col_expr(outbox::Column::Plain, Expr::value(""))
            .filter(outbox::Column::RunId.in_subquery(runs))
            .filter(outbox::Column::State.eq("sent")),
    );
    batch.add(
        &run::Entity::update_owned(scope)
            .col_expr(run::Column::Result, Expr::value(Value::Null))
            .col_expr(run::Column::ErrorMessage, Expr::value(None::<String>))
            .filter(run::Column::SessionKey.eq(authority.key.clone())),
    );
}

#[cfg(test)]
mod tests;
