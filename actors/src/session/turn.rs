//! The durable steps of a turn. Each is one transaction, fenced by the lease's epoch, committed with its group.
//!
//! Invariant: the final assistant entry, the outbox rows, the end of the run and inbox → done are one commit.

mod inside;
mod intent;

use std::sync::Arc;

use chrono_tz::Tz;
use claw_entities::{Scope, SessionKey, UserOwned, inbox, new_id, outbox, run};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) use self::inside::{Inside, answer_inside};
pub(crate) use self::intent::intend;
use super::branches;
use super::budget::Charge;
use super::freshness;
use super::heartbeat;
use super::intake::Beat;
use super::item::{Item, Options};
use super::overheard::{self, Overheard};
use super::{key, system_event};
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::ResetRule;
use crate::conversation::entry::{Body, Compaction, MessageBody};
use crate::conversation::transcript::{self, HeadChanges, NewEntry, SessionHead};
use crate::db::{Batch, Transaction};
use crate::error::{Error, Result};
use crate::ports::channel::{Choice, Destination, FileAbout, Rendered};
use crate::ports::message::{Message, Part, ToolCall, Usage};
use crate::supervisor::lease::fenced;

/// One turn: what it answers, under which run.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) run_id: String,
    /// In order; settings come from the last.
    pub(crate) items: Vec<Item>,
    /// The joined prompt. Unused when the user entry is stored already.
    pub(crate) prompt: Vec<Part>,
    /// Goes in front of the prompt.
    pub(crate) overheard: Overheard,
    /// Messages that came while it went on, and that it answers as well.
    pub(crate) steered: Vec<Item>,
}

impl Turn {
    /// The item whose settings rule the turn.
    pub(crate) fn last(&self) -> &Item {
        self.items.last().expect("a turn answers at least one message")
    }

    /// Does an agent look by itself: then the turn is that alone.
    pub(crate) fn beat(&self) -> Option<&Beat> {
        match self.items.as_slice() {
            [only] => only.options.heartbeat.as_ref(),
            _ => None,
        }
    }

    /// Does it read the lines that wait for the session's user. In a chat only who is alone with the agent hears them.
    fn hears_events(&self, session: &SessionKey) -> bool {
        match key::parse(session.as_str()).map(|parsed| parsed.kind) {
            Some(key::Kind::Direct) => self.items.iter().all(|item| item.audience().is_private()),
            Some(key::Kind::Group | key::Kind::Channel) => false,
            Some(_) | None => true,
        }
    }

    /// Who pays for it beside its user and agent.
    pub(crate) fn charge(&self) -> Charge {
        let overheard = !self.last().audience().is_private();
        let begun = self.items.iter().map(|item| &item.options.charge);
        begun.fold(
            Charge {
                overheard,
                ..Charge::default()
            },
            Charge::and,
        )
    }

    /// User entry of an earlier attempt.
    pub(crate) fn entry_id(&self) -> Option<&str> {
        self.items.iter().find_map(|item| item.entry_id.as_deref())
    }

    pub(crate) fn inbox_ids(&self) -> Vec<String> {
        self.answered()
            .flat_map(|item| item.inbox_ids.iter().cloned())
            .collect()
    }

    /// Runs of other client messages that this one answers along with its own.
    pub(crate) fn merged(&self) -> impl Iterator<Item = &String> {
        self.answered()
            .flat_map(Item::run_ids)
            .filter(|run_id| **run_id != self.run_id)
    }

    pub(crate) fn answered(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().chain(&self.steered)
    }
}

/// Whose turn it is, and the right to write.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    pub(crate) scope: Scope,
    pub(crate) key: SessionKey,
    pub(crate) agent_id: String,
    pub(crate) epoch: i64,
    /// Who pays besides.
    pub(crate) charge: Charge,
}

/// How a turn ends, for the record.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// `ok`, `error`, `aborted` or `interrupted`.
    pub(crate) status: &'static str,
    pub(crate) stop_reason: String,
    pub(crate) error_class: Option<&'static str>,
    pub(crate) error_message: Option<String>,
    pub(crate) provider: String,
    pub(crate) model: String,
    /// Summed over the run's model calls.
    pub(crate) usage: Usage,
    /// Size of the last prompt.
    pub(crate) context_tokens: u64,
    /// Texts of the answer, for `agent`'s second response.
    pub(crate) payloads: Vec<String>,
    /// Files of the answer, for whoever tells it elsewhere.
    pub(crate) files: Vec<FileAbout>,
    /// What the inbox rows become: `done`, or `dead` with the reason.
    pub(crate) inbox_state: &'static str,
    pub(crate) reason: Option<String>,
    /// Nothing came of it: the turn leaves the transcript again, so that it does not fill the context.
    pub(crate) forgotten: bool,
    /// Further changes of the session's entry.
    pub(crate) entry: Map<String, Value>,
    /// Calls of the client's tools that it ends with.
    pub(crate) handed: Vec<ToolCall>,
}

impl Ending {
    /// `{payloads:[{text, mediaUrl}], meta:{…}}`, as the second answer of `agent` gives it.
    pub(crate) fn result(&self) -> Value {
        let payloads: Vec<Value> = self
            .payloads
            .iter()
            .map(|text| json!({"text": text, "mediaUrl": Value::Null}))
            .collect();
        let mut result = json!({
            "payloads": payloads,
            "meta": {"agentMeta": {"provider": self.provider, "model": self.model, "usage": self.usage},
                     "stopReason": self.stop_reason, "aborted": self.status == "aborted"},
        });
        if !self.files.is_empty() {
            result["files"] = json!(self.files);
        }
        if !self.handed.is_empty() {
            result["meta"]["pendingToolCalls"] = json!(self.handed);
        }
        result
    }

    /// Of a run that called no model.
    pub(crate) fn without_model(status: &'static str, stop_reason: &str, payloads: Vec<String>) -> Self {
        Self {
            status,
            stop_reason: stop_reason.to_owned(),
            error_class: None,
            error_message: None,
            provider: String::new(),
            model: String::new(),
            usage: Usage::default(),
            context_tokens: 0,
            payloads,
            inbox_state: "done",
            reason: None,
            forgotten: false,
            entry: Map::new(),
            files: Vec::new(),
            handed: Vec::new(),
        }
    }
}

/// A piece for the outbox.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) destination: Destination,
    pub(crate) rendered: Rendered,
    /// Outbox id of the preview this takes the place of.
    pub(crate) replaces: Option<String>,
    /// Not sent before this time, epoch milliseconds.
    pub(crate) due_at: i64,
    /// The file that goes out with it.
    pub(crate) media: Option<FileAbout>,
    /// Buttons below it; an empty list takes away those of what it replaces.
    pub(crate) choices: Option<Vec<Choice>>,
}

impl Piece {
    /// A file without a word.
    pub(crate) fn file(kind: &'static str, destination: &Destination, file: FileAbout) -> Self {
        let nothing = Rendered {
            text: String::new(),
            plain: String::new(),
        };
        Self {
            media: Some(file),
            ..Self::new(kind, destination, nothing)
        }
    }

    pub(crate) fn new(kind: &'static str, destination: &Destination, rendered: Rendered) -> Self {
        Self {
            id: new_id(),
            kind,
            destination: destination.clone(),
            rendered,
            replaces: None,
            due_at: 0,
            media: None,
            choices: None,
        }
    }
}

/// The entry of a model's or tool's message.
pub(crate) fn entry(message: Message, run_id: &str) -> NewEntry {
    NewEntry {
        id: Some(new_id()),
        created_at: message.timestamp(),
        body: message.into(),
        run_id: Some(run_id.to_owned()),
    }
}

/// What people see of a message where that differs, and why what it brings was not understood.
pub(crate) type Said = (Option<String>, Vec<String>);

/// The entry of what a person said. Its id is the inbox row's, so that it cannot be written twice; a retry has another.
pub(crate) fn user_entry(id: &str, message: Message, (display, missed): Said, run_id: &str) -> NewEntry {
    NewEntry {
        id: Some(id.to_owned()),
        created_at: message.timestamp(),
        body: Body::Message(MessageBody {
            message: Arc::new(message),
            display,
            idempotency_key: Some(run_id.to_owned()),
            missed,
        }),
        run_id: Some(run_id.to_owned()),
    }
}

/// Counts the attempt, opens the run, and stores the user entry unless an earlier attempt did. A session that is
/// stale by its rule gets a new transcript first.
pub(crate) async fn begin(
    services: &Services,
    authority: &Authority,
    turn: &Turn,
    user: Option<NewEntry>,
    (rule, zone): (ResetRule, Tz),
) -> Result<SessionHead> {
    let (authority_in, turn_in) = (authority.clone(), Arc::new(turn.clone()));
    let (head, stored) = services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, turn, user) = (authority_in.clone(), turn_in.clone(), user.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                let now = now_ms();
                let mut head = transcript::open_to_move(tx, scope, &authority.key, &authority.agent_id, now).await?;
                let options = &turn.last().options;
                let over = match &options.scheduled {
                    Some(scheduled) if scheduled.fresh => head.leaf_id.is_some(),
                    Some(_) | None => !options.background && freshness::is_stale(rule, zone, head.updated_at, now),
                };
                if turn.entry_id().is_none() && over {
                    head = transcript::reset(tx, scope, &authority.key, now).await?;
                }
                if turn.entry_id().is_none() && turn.beat().is_some_and(|beat| beat.apart_from.is_some()) {
                    heartbeat::start_over(tx, scope, &mut head).await?;
                }
                let stopped = !over && wants_word_of_abort(&head, options);
                let (mut others, mut asked) = (0, None);
                let mut stored = Vec::new();
                let entry_id = match (turn.entry_id(), user) {
                    (Some(earlier), _) => {
                        if let Some(again) = branches::left_behind(tx, scope, &head, earlier).await? {
                            others += 1;
                            stored = transcript::append(&mut batch, scope, &mut head, vec![again])?;
                        }
                        earlier.to_owned()
                    }
                    (None, Some(mut entry)) => {
                        if let Some(base) = turn.beat().and_then(|beat| beat.apart_from.as_ref()) {
                            system_event::borrow(tx, scope, base, zone, &mut entry).await?;
                        } else if head.has_events() && turn.hears_events(&authority.key) {
                            system_event::drain(tx, scope, &authority.key, zone, &mut entry).await?;
                            asked = Some(head.events);
                        }
                        if stopped {
                            system_event::note_before(STOPPED.to_owned(), &mut entry);
                        }
                        others += 1;
                        stored = transcript::append(&mut batch, scope, &mut head, vec![entry])?;
                        stored.first().map(|entry| entry.id.clone()).unwrap_or_default()
                    }
                    (None, None) => String::new(),
                };
                open_run(&mut batch, &authority, &turn.run_id, &head.session_id, now);
                let archived = head.entry.get("archivedAt").is_some_and(|at| !at.is_null());
                let changes = HeadChanges {
                    touched_at: (!turn.last().options.background).then_some(now),
                    // Who writes to a session again wants to see it again.
                    merge: (archived || stopped).then(|| {
                        let archived = archived.then(|| ("archivedAt".to_owned(), Value::Null));
                        let stopped = stopped.then(|| ("abortedLastRun".to_owned(), json!(false)));
                        archived.into_iter().chain(stopped).collect()
                    }),
                    events_seen: asked.filter(|asked| *asked > head.events_seen),
                    ..HeadChanges::default()
                };
                transcript::save_head(&mut batch, scope, &mut head, changes);
                others += 2;
                let claim = inbox::Entity::update_owned(scope)
                    .col_expr(inbox::Column::State, Expr::value("running"))
                    .col_expr(inbox::Column::Attempts, Expr::col(inbox::Column::Attempts).add(1))
                    .col_expr(inbox::Column::RunId, Expr::value(turn.run_id.as_str()))
                    .col_expr(inbox::Column::UpdatedAt, Expr::value(now))
                    .filter(inbox::Column::Id.is_in(turn.inbox_ids()))
                    .filter(inbox::is_open());
                // A turn that goes on after a crash has its rows' entries on record, each its own.
                batch.add(&match turn.entry_id() {
                    Some(_) => claim,
                    None => claim.col_expr(
                        inbox::Column::EntryId,
                        Expr::value((!entry_id.is_empty()).then_some(entry_id)),
                    ),
                });
                if batch.run(tx).await? <= others {
                    return Err(Error::Conflict("the message was answered already".to_owned()));
                }
                let mut batch = Batch::new(tx);
                if turn.overheard.settle(&mut batch, scope, &authority.key, &turn.run_id) {
                    batch.run(tx).await?;
                }
                Ok((head, stored))
            })
        })
        .await?;
    services.conversation.wrote(&authority.scope, &head, &stored);
    Ok(head)
}

/// What the model reads before the first thing that is said after a stop.
const STOPPED: &str = "[Your last answer was stopped by the user before it was done.]\n";

/// Is the model to be told that it was stopped: a person writes, and nothing ran since.
fn wants_word_of_abort(head: &SessionHead, options: &Options) -> bool {
    let stopped = head.entry.get("abortedLastRun").and_then(Value::as_bool) == Some(true);
    let by_clock = options.background || options.scheduled.is_some() || options.heartbeat.is_some();
    stopped && !by_clock && !options.relayed
}

/// What goes into one commit with entries in the middle of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// Inbox rows that the run answers from here on, each with the entry that carries it.
    pub(crate) claims: Vec<(String, String)>,
    /// Parts of the reply that stand in these entries.
    pub(crate) pieces: Vec<Piece>,
    /// Parts went out while the text was written: from here on they are on record.
    pub(crate) recorded: bool,
}

impl Beside {
    /// Takes the rows upon the run. They are open, or somebody else had them.
    async fn claim(&self, tx: &Transaction, scope: &Scope, run_id: &str) -> Result<()> {
        let mut batch = Batch::new(tx);
        for (inbox_id, entry_id) in &self.claims {
            let claim = inbox::Entity::update_owned(scope)
                .col_expr(inbox::Column::State, Expr::value("running"))
                .col_expr(inbox::Column::Attempts, Expr::col(inbox::Column::Attempts).add(1))
                .col_expr(inbox::Column::RunId, Expr::value(run_id))
                .col_expr(inbox::Column::EntryId, Expr::value(entry_id.as_str()))
                .col_expr(inbox::Column::UpdatedAt, Expr::value(now_ms()))
                .filter(inbox::Column::Id.eq(inbox_id.as_str()))
                .filter(inbox::is_open());
            batch.add(&claim);
        }
        if batch.run(tx).await? < self.claims.len() as u64 {
            return Err(Error::Conflict("the message was answered already".to_owned()));
        }
        Ok(())
    }

    fn add_to(&self, batch: &mut Batch, authority: &Authority, run_id: &str) -> Result<()> {
        let scope = &authority.scope;
        insert_pieces(batch, authority, Some(run_id), &self.pieces)?;
        if self.recorded {
            let said = outbox::Entity::update_owned(scope)
                .col_expr(outbox::Column::Kind, Expr::value(SAID))
                .filter(outbox::Column::RunId.eq(run_id))
                .filter(outbox::Column::Kind.eq(BLOCK));
            batch.add(&said);
        }
        Ok(())
    }
}

/// Kinds of outbox rows: a part of a reply whose text is not in the transcript yet, one whose text is, and one that only
/// says what the agent does.
pub(crate) const BLOCK: &str = "block";
pub(crate) const SAID: &str = "said";
pub(crate) const TOLD: &str = "tool";

/// Stores what a model call and its tools gave, and what people said meanwhile, in the middle of a run.
pub(crate) async fn append(
    services: &Services,
    authority: &Authority,
    run_id: &str,
    head: &SessionHead,
    entries: Vec<NewEntry>,
    beside: Beside,
) -> Result<SessionHead> {
    let (authority_in, head_in, run_in) = (authority.clone(), head.clone(), run_id.to_owned());
    let (head, stored) = services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, mut head, entries) = (authority_in.clone(), head_in.clone(), entries.clone());
            let (beside, run_id) = (beside.clone(), run_in.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                transcript::hold(tx, &authority.scope, &head).await?;
                let stored = transcript::append(&mut batch, &authority.scope, &mut head, entries)?;
                transcript::save_head(&mut batch, &authority.scope, &mut head, HeadChanges::default());
                beside.add_to(&mut batch, &authority, &run_id)?;
                batch.run(tx).await?;
                beside.claim(tx, &authority.scope, &run_id).await?;
                Ok((head, stored))
            })
        })
        .await?;
    services.conversation.wrote(&authority.scope, &head, &stored);
    Ok(head)
}

/// Ends the run: final entry, outbox rows, run record, inbox rows, counters. Without a `head` (closing what a crash
/// cut off) the session's row is read in the same transaction. Gives the head as it stands then.
pub(crate) async fn end(
    services: &Services,
    authority: &Authority,
    turn: &Turn,
    head: Option<&SessionHead>,
    entries: Vec<NewEntry>,
    pieces: Vec<Piece>,
    ending: Ending,
) -> Result<SessionHead> {
    let (authority_in, head_in, turn_in) = (authority.clone(), head.cloned(), Arc::new(turn.clone()));
    let (entries, pieces, ending) = (Arc::new(entries), Arc::new(pieces), Arc::new(ending));
    let (head, stored) = services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, head, turn) = (authority_in.clone(), head_in.clone(), turn_in.clone());
            let (entries, pieces, ending) = (entries.clone(), pieces.clone(), ending.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                let mut head = match head {
                    Some(head) => {
                        transcript::hold(tx, scope, &head).await?;
                        head
                    }
                    None => transcript::open_to_move(tx, scope, &authority.key, &authority.agent_id, now_ms()).await?,
                };
                let taken_back =
                    ending.forgotten && heartbeat::take_back(tx, &mut batch, scope, &mut head, &turn).await?;
                let stored = if taken_back {
                    Vec::new()
                } else {
                    transcript::append(&mut batch, scope, &mut head, entries.to_vec())?
                };
                if let Some(base) = turn.beat().and_then(|beat| beat.apart_from.as_ref()) {
                    system_event::give_back(tx, scope, base, ending.status != "ok").await?;
                }
                insert_pieces(&mut batch, &authority, Some(&turn.run_id), &pieces)?;
                close_run(&mut batch, scope, &turn.run_id, &ending);
                for run_id in turn.merged() {
                    open_run(&mut batch, &authority, run_id, &head.session_id, now_ms());
                    close_run(&mut batch, scope, run_id, &ending);
                }
                finish_inbox(
                    &mut batch,
                    scope,
                    turn.inbox_ids(),
                    ending.inbox_state,
                    &turn.run_id,
                    ending.reason.as_deref(),
                );
                let last = turn.last();
                let destination = last.destination.as_ref().filter(|_| !last.options.delivered);
                let changes = HeadChanges {
                    touched_at: None,
                    merge: Some(counted(&head.entry, &turn.run_id, &ending)),
                    destination: destination
                        .map(serde_json::to_value)
                        .transpose()
                        .map_err(Error::internal)?,
                    ..HeadChanges::default()
                };
                transcript::save_head(&mut batch, scope, &mut head, changes);
                batch.run(tx).await?;
                Ok((head, stored))
            })
        })
        .await?;
    services.conversation.wrote(&authority.scope, &head, &stored);
    Ok(head)
}

/// What one more run changes in the session's entry. `totalTokens` is the size of the last prompt, not a sum.
fn counted(entry: &Value, run_id: &str, ending: &Ending) -> Map<String, Value> {
    let usage = &ending.usage;
    let mut changed = Map::new();
    for (name, more) in [
        ("inputTokens", usage.input),
        ("outputTokens", usage.output),
        ("cacheRead", usage.cache_read),
        ("cacheWrite", usage.cache_write),
    ] {
        let before = entry.get(name).and_then(Value::as_u64).unwrap_or(0);
        changed.insert(name.to_owned(), json!(before + more));
    }
    let cost = entry.get("costUsd").and_then(Value::as_f64).unwrap_or(0.0);
    changed.insert("costUsd".to_owned(), json!(cost + usage.cost.total));
    if ending.context_tokens > 0 {
        changed.insert("totalTokens".to_owned(), json!(ending.context_tokens));
        changed.insert("totalTokensFresh".to_owned(), json!(true));
    }
    if !ending.model.is_empty() {
        changed.insert("modelProvider".to_owned(), json!(ending.provider));
        changed.insert("model".to_owned(), json!(ending.model));
    }
    let status = match (ending.status, ending.stop_reason.as_str()) {
        ("ok", _) => "done",
        ("aborted", _) => "killed",
        (_, "timeout") => "timeout",
        _ => "failed",
    };
    changed.insert("status".to_owned(), json!(status));
    changed.insert("abortedLastRun".to_owned(), json!(ending.status == "aborted"));
    changed.insert("lastRunId".to_owned(), json!(run_id));
    changed.insert("endedAt".to_owned(), json!(now_ms()));
    changed.extend(ending.entry.clone());
    changed
}

/// Rows that need no turn (a command, a refused, dropped or overheard message), the end of the runs that clients wait
/// for, and notices for the outbox.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    pub(crate) inbox_ids: Vec<String>,
    pub(crate) state: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) runs: Option<(Vec<String>, Ending)>,
    pub(crate) pieces: Vec<Piece>,
}

impl Settling {
    pub(crate) fn add_to(self, batch: &mut Batch, authority: &Authority) -> Result<()> {
        let scope = &authority.scope;
        let mut answered_by = String::new();
        if let Some((runs, ending)) = self.runs {
            for run_id in &runs {
                open_run(batch, authority, run_id, "", now_ms());
                close_run(batch, scope, run_id, &ending);
            }
            answered_by = runs.into_iter().next().unwrap_or_default();
        }
        insert_pieces(batch, authority, None, &self.pieces)?;
        finish_inbox(
            batch,
            scope,
            self.inbox_ids,
            self.state,
            &answered_by,
            self.reason.as_deref(),
        );
        Ok(())
    }
}

/// Settles rows on their own.
pub(crate) async fn settle(services: &Services, authority: &Authority, settling: Settling) -> Result<()> {
    let authority_in = authority.clone();
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, settling) = (authority_in.clone(), settling.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                settling.add_to(&mut batch, &authority)?;
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await
}

/// What is stored of a compaction that was asked for beside its entry: its cost as a run of its own, and the row of the
/// command.
#[derive(Clone, Debug)]
pub(crate) struct AskedFor {
    pub(crate) run: Option<(String, Ending)>,
    pub(crate) command: Option<Settling>,
}

impl AskedFor {
    fn add_to(self, batch: &mut Batch, authority: &Authority, session_id: &str) -> Result<()> {
        if let Some((run_id, ending)) = &self.run {
            open_run(batch, authority, run_id, session_id, now_ms());
            close_run(batch, &authority.scope, run_id, ending);
        }
        match self.command {
            Some(command) => command.add_to(batch, authority),
            None => Ok(()),
        }
    }
}

/// Stores what is left of a compaction that came to nothing.
pub(crate) async fn not_compacted(
    services: &Services,
    authority: &Authority,
    session_id: &str,
    asked: AskedFor,
) -> Result<()> {
    let (authority_in, session_id) = (authority.clone(), session_id.to_owned());
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, session_id, asked) = (authority_in.clone(), session_id.clone(), asked.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                asked.add_to(&mut batch, &authority, &session_id)?;
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await
}

/// Stores a compaction: from here on its summary stands for what came before. Gives the head as it stands then.
pub(crate) async fn compact(
    services: &Services,
    authority: &Authority,
    head: &SessionHead,
    body: Compaction,
    run_id: &str,
    asked: Option<AskedFor>,
) -> Result<SessionHead> {
    let entry = NewEntry {
        id: Some(new_id()),
        body: Body::Compaction(body),
        run_id: (!run_id.is_empty()).then(|| run_id.to_owned()),
        created_at: now_ms(),
    };
    let (authority_in, head_in) = (authority.clone(), head.clone());
    let (entry, asked) = (Arc::new(entry), Arc::new(asked));
    let (head, stored) = services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, mut head) = (authority_in.clone(), head_in.clone());
            let (entry, asked) = (entry.clone(), asked.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                transcript::hold(tx, scope, &head).await?;
                let stored = transcript::append(&mut batch, scope, &mut head, vec![(*entry).clone()])?;
                let before = head.entry.get("compactionCount").and_then(Value::as_u64).unwrap_or(0);
                let mut merge = Map::new();
                merge.insert("compactionCount".to_owned(), json!(before + 1));
                // What the next prompt takes is known when it was sent.
                merge.insert("totalTokensFresh".to_owned(), json!(false));
                merge.insert(COMPACTION_FAILED.to_owned(), Value::Null);
                let changes = HeadChanges {
                    merge: Some(merge),
                    ..HeadChanges::default()
                };
                transcript::save_head(&mut batch, scope, &mut head, changes);
                if let Some(asked) = &*asked {
                    asked.clone().add_to(&mut batch, &authority, &head.session_id)?;
                }
                batch.run(tx).await?;
                Ok((head, stored))
            })
        })
        .await?;
    services.conversation.wrote(&authority.scope, &head, &stored);
    Ok(head)
}

/// Field of the session's entry: when a compaction by itself failed last, epoch milliseconds.
pub(crate) const COMPACTION_FAILED: &str = "compactionFailedAt";
/// In the session's entry: the compaction count at which the model was last asked for notes, and when, epoch milliseconds.
pub(crate) const NOTES_KEPT: &str = "memoryFlushCompactionCount";
pub(crate) const NOTES_KEPT_AT: &str = "memoryFlushAt";
/// When that failed last, epoch milliseconds.
pub(crate) const NOTES_FAILED: &str = "memoryFlushFailedAt";

/// Gives the session a new transcript under the same key.
pub(crate) async fn reset(services: &Services, authority: &Authority) -> Result<SessionHead> {
    let authority_in = authority.clone();
    services
        .writer
        .run(&authority.scope, move |tx| {
            let authority = authority_in.clone();
            Box::pin(async move {
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                batch.add(&overheard::over(&authority.scope, &authority.key, "done"));
                batch.run(tx).await?;
                let now = now_ms();
                transcript::open(tx, &authority.scope, &authority.key, &authority.agent_id, now).await?;
                transcript::reset(tx, &authority.scope, &authority.key, now).await
            })
        })
        .await
}

/// Changes settings of the session: a `null` clears one.
pub(crate) async fn patch_entry(services: &Services, authority: &Authority, patch: Map<String, Value>) -> Result<()> {
    let authority_in = authority.clone();
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, patch) = (authority_in.clone(), patch.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                let mut head = transcript::open(tx, scope, &authority.key, &authority.agent_id, now_ms()).await?;
                let changes = HeadChanges {
                    merge: Some(patch),
                    ..HeadChanges::default()
                };
                transcript::change_head(&mut batch, scope, &mut head, changes);
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await
}

/// Stores outbox rows ahead of the end (a streaming preview, what a tool sends).
pub(crate) async fn post(services: &Services, authority: &Authority, run_id: &str, pieces: Vec<Piece>) -> Result<()> {
    let (authority_in, run_id) = (authority.clone(), run_id.to_owned());
    services
        .writer
        .run(&authority.scope, move |tx| {
            let (authority, run_id, pieces) = (authority_in.clone(), run_id.clone(), pieces.clone());
            Box::pin(async move {
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                insert_pieces(&mut batch, &authority, Some(&run_id), &pieces)?;
                batch.run(tx).await?;
                Ok(())
            })
        })
        .await
}

pub(super) fn open_run(batch: &mut Batch, authority: &Authority, run_id: &str, session_id: &str, now: i64) {
    let row = run::ActiveModel {
        tenant_id: Set(authority.scope.tenant().clone()),
        user_id: Set(authority.scope.user().clone()),
        id: Set(run_id.to_owned()),
        session_key: Set(authority.key.clone()),
        session_id: Set(session_id.to_owned()),
        status: Set("running".to_owned()),
        epoch: Set(authority.epoch),
        started_at: Set(now),
        ended_at: Set(None),
        stop_reason: Set(None),
        error_class: Set(None),
        error_message: Set(None),
        provider: Set(None),
        model: Set(None),
        usage: Set(Value::Null),
        result: Set(Value::Null),
    };
    batch.add(
        &run::Entity::insert(row).on_conflict(
            OnConflict::columns([run::Column::TenantId, run::Column::UserId, run::Column::Id])
                .update_columns([run::Column::Status, run::Column::Epoch, run::Column::SessionId])
                .to_owned(),
        ),
    );
}

pub(super) fn close_run(batch: &mut Batch, scope: &Scope, run_id: &str, ending: &Ending) {
    let update = run::Entity::update_owned(scope)
        .col_expr(run::Column::Status, Expr::value(ending.status))
        .col_expr(run::Column::EndedAt, Expr::value(now_ms()))
        .col_expr(run::Column::StopReason, Expr::value(ending.stop_reason.as_str()))
        .col_expr(
            run::Column::ErrorClass,
            Expr::value(ending.error_class.map(str::to_owned)),
        )
        .col_expr(run::Column::ErrorMessage, Expr::value(ending.error_message.clone()))
        .col_expr(run::Column::Provider, Expr::value(ending.provider.as_str()))
        .col_expr(run::Column::Model, Expr::value(ending.model.as_str()))
        .col_expr(run::Column::Usage, Expr::value(json!(ending.usage)))
        .col_expr(run::Column::Result, Expr::value(ending.result()))
        .filter(run::Column::Id.eq(run_id));
    batch.add(&update);
}

pub(super) fn finish_inbox(
    batch: &mut Batch,
    scope: &Scope,
    ids: Vec<String>,
    state: &'static str,
    run_id: &str,
    reason: Option<&str>,
) {
    let mut update = inbox::Entity::update_owned(scope)
        .col_expr(inbox::Column::State, Expr::value(state))
        .col_expr(inbox::Column::Reason, Expr::value(reason.map(str::to_owned)))
        .col_expr(inbox::Column::UpdatedAt, Expr::value(now_ms()));
    if !run_id.is_empty() {
        update = update.col_expr(inbox::Column::RunId, Expr::value(run_id));
    }
    let update = update
        .filter(inbox::Column::Id.is_in(ids))
        .filter(inbox::is_unsettled());
    batch.add(&update);
}

fn as_json<T: Serialize>(value: Option<&T>) -> Result<Option<String>> {
    value.map(serde_json::to_string).transpose().map_err(Error::internal)
}

/// Puts pieces of a reply into the outbox.
pub(crate) fn insert_pieces(
    batch: &mut Batch,
    authority: &Authority,
    run_id: Option<&str>,
    pieces: &[Piece],
) -> Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    let now = now_ms();
    let mut rows = Vec::with_capacity(pieces.len());
    for piece in pieces {
        rows.push(outbox::ActiveModel {
            tenant_id: Set(authority.scope.tenant().clone()),
            id: Set(piece.id.clone()),
            user_id: Set(authority.scope.user().clone()),
            conversation: Set(piece.destination.conversation()),
            session_key: Set(Some(authority.key.clone())),
            run_id: Set(run_id.map(str::to_owned)),
            kind: Set(piece.kind.to_owned()),
            destination: Set(serde_json::to_value(&piece.destination).map_err(Error::internal)?),
            text: Set(piece.rendered.text.clone()),
            plain: Set(piece.rendered.plain.clone()),
            replaces: Set(piece.replaces.clone()),
            media: Set(as_json(piece.media.as_ref())?),
            choices: Set(as_json(piece.choices.as_ref())?),
            state: Set("pending".to_owned()),
            message_id: Set(None),
            attempts: Set(0),
            next_attempt_at: Set(piece.due_at),
            error: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
        });
    }
    // A piece whose commit was in doubt comes again: it is there once.
    let once = OnConflict::columns([outbox::Column::TenantId, outbox::Column::Id])
        .do_nothing()
        .to_owned();
    batch.add(&outbox::Entity::insert_many(rows).on_conflict(once));
    Ok(())
}
