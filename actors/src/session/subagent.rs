//! Agents that agents begin (`agent-runtime` §12.2). Each is a session of its own whose end is told to the session that
//! began it, once.
//!
//! Row, session and first message are one commit; so are the mark that its end was told and the inbox row that tells
//! it. Whoever dies when, the inbox has the rest.

mod announce;
mod control;
mod put_away;

use std::sync::Arc;

use claw_entities::{Scope, SessionKey, UserOwned, inbox, subagent};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Set, UpdateMany,
};
use serde_json::{Map, Value, json};

use super::choice::{self, Chosen};
use super::cron;
use super::intake::{self, ClientMessage, Relayed};
use super::key;
use super::origin::Origin;
use super::reach::{Chain, Inner, MOST_ROUNDS};
use super::thinking;
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::SubagentSettings;
use crate::conversation::transcript::{self, HeadChanges};
use crate::error::{Error, Result};
use crate::ports::message::Part;
use crate::ports::model::Thinking;
use crate::supervisor::lease::fenced;

pub(crate) use announce::{reconcile, settle};
pub(crate) use control::{dismiss, find, is_stopped, steer, stop, stop_below};
pub(crate) use put_away::put_away;

/// Of the inbox rows.
const SOURCE: &str = "subagent";
/// Deepest tree, and sub-agents of one that are looked at.
const DEEPEST: usize = 5;
const LOOKED_AT: u64 = 500;
/// Sessions of sub-agents that stay, of one that began them.
const MOST_STANDING: u64 = 20;
/// In its session's entry: how long each of its runs may take, milliseconds.
const RUN_TIMEOUT: &str = "runTimeoutMs";
/// `cleanup` of one whose session stays.
pub(crate) const STAYS: &str = "session";

/// What is to be done, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) task: String,
    pub(crate) label: Option<String>,
    pub(crate) agent_id: String,
    /// Its session's, as the next two: they hold for all that it is told.
    pub(crate) model: Option<Chosen>,
    pub(crate) thinking: Option<Thinking>,
    /// Seconds; `None`: as any turn.
    pub(crate) timeout_seconds: Option<u64>,
    /// Its session is deleted when its end was told.
    pub(crate) delete: bool,
    /// Its session stays when its end was told, to be told more.
    pub(crate) stays: bool,
    /// Of its first message.
    pub(crate) attachments: Vec<Part>,
    /// Whatever asks for it has this name, and is asked again after a crash: one is begun for it, however often.
    pub(crate) once: Option<String>,
}

/// The run of a sub-agent's first message.
pub(crate) fn first_run(id: &str) -> String {
    format!("spawn:{id}")
}

/// The sub-agent whose run this is.
pub(crate) fn of_run(run_id: &str) -> Option<&str> {
    let rest = run_id.strip_prefix("spawn:")?;
    Some(rest.split_once(':').map_or(rest, |(id, _)| id))
}

impl Wish {
    /// How long each of its runs may take.
    fn timeout_ms(&self) -> Option<u64> {
        self.timeout_seconds.map(|seconds| seconds.saturating_mul(1000))
    }
}

/// Begins one. Gives its session and its run.
///
/// # Errors
/// `Invalid` says which limit is reached; `Conflict`: the run was stopped meanwhile, and so is what it began.
pub(crate) async fn begin(run: &Arc<Inner>, rules: &SubagentSettings, wish: Wish) -> Result<(SessionKey, String)> {
    if run.depth >= rules.depth {
        return Err(Error::Invalid(format!(
            "sub-agents may be {} deep here, and this one is at depth {}",
            rules.depth, run.depth
        )));
    }
    let origin = origin_of(run).await?;
    let id = wish.once.as_deref().map_or_else(uuid::Uuid::new_v4, named_after);
    let id = id.to_string();
    let child_key = key::under(&wish.agent_id, &format!("subagent:{id}"));
    let run_id = first_run(&id);
    let (depth, now) = (run.depth + 1, now_ms());
    let scope = &run.authority.scope;
    let payload = serde_json::to_string(&first_message(run, &wish, depth, &origin)).map_err(Error::internal)?;
    let opens = wish.once.is_some();
    let facts = facts(run, &wish, depth);
    let row = subagent::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        id: Set(id.clone()),
        parent_key: Set(run.authority.key.clone()),
        child_key: Set(child_key.clone()),
        agent_id: Set(wish.agent_id.clone()),
        label: Set(wish.label),
        task: Set(wish.task),
        depth: Set(i64::from(depth)),
        state: Set("running".to_owned()),
        status: Set(None),
        cleanup: Set(match (wish.stays, wish.delete) {
            (true, _) => STAYS,
            (false, true) => "delete",
            (false, false) => "keep",
        }
        .to_owned()),
        origin: Set(serde_json::to_value(&origin).map_err(Error::internal)?),
        created_at: Set(now),
        ended_at: Set(None),
        closes_at: Set(None),
    };
    let asked = intake::own_row(scope, SOURCE, &run_id, &child_key, payload, now);
    let begun = Begun {
        id,
        child: child_key.clone(),
        facts,
        most: rules.children,
        opens,
        stays: wish.stays,
        now,
        row,
        asked,
    };
    // Goes on when nobody waits for it any more, because the run was stopped: a row that came too late for whoever
    // stops what the run began is stopped here.
    let (run_in, io) = (Arc::clone(run), &run.directory.services().io);
    io.spawn(async move { begun.store(&run_in).await })
        .await
        .map_err(Error::internal)??;
    Ok((child_key, run_id))
}

/// Where the end of what this run begins is told, and with whose rights.
///
/// # Errors
/// `Invalid` when too many have followed each other without a person.
async fn origin_of(run: &Inner) -> Result<Origin> {
    if run.chain.spawns >= MOST_ROUNDS {
        return Err(Error::Invalid(format!(
            "{MOST_ROUNDS} sub-agents have followed each other since a person said something; ask the user first"
        )));
    }
    let of_job = match &run.place {
        Some(_) => None,
        None => {
            let (scope, agent_id) = (&run.authority.scope, &run.authority.agent_id);
            cron::place_of(&run.directory, scope, agent_id, &run.run_id).await?
        }
    };
    Ok(Origin {
        room: run.group.clone(),
        unsaid: of_job.is_some(),
        destination: run.place.clone().or(of_job),
        guest: !run.alone,
        chain: Chain {
            spawns: run.chain.spawns + 1,
            ..run.chain
        },
        charge: run.authority.charge.begun_by(&run.authority.agent_id),
    })
}

/// An id that is the same for the same name.
fn named_after(name: &str) -> uuid::Uuid {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Row, session and first message of one that is being begun.
struct Begun {
    id: String,
    child: SessionKey,
    /// Of its session's entry.
    facts: Map<String, Value>,
    /// So many of one session may run.
    most: u64,
    /// Nothing may have been said yet in the session that begins it, and its end is told there: it is made. A turn has one,
    /// which stays away when it is deleted meanwhile.
    opens: bool,
    stays: bool,
    /// Epoch milliseconds.
    now: i64,
    row: subagent::ActiveModel,
    asked: inbox::ActiveModel,
}

impl Begun {
    async fn store(self, run: &Inner) -> Result<()> {
        let Self { id, child, .. } = &self;
        let id_in = id.clone();
        let (authority, child_in, facts, most, now) = (
            run.authority.clone(),
            child.clone(),
            self.facts.clone(),
            self.most,
            self.now,
        );
        let (opens, stays) = (self.opens, self.stays);
        let (row, asked) = (self.row.clone(), self.asked.clone());
        let scope = &run.authority.scope;
        let services = run.directory.services();
        services
            .writer
            .run(scope, move |tx| {
                let (authority, child) = (authority.clone(), child_in.clone());
                let (id, row, asked, facts) = (id_in.clone(), row.clone(), asked.clone(), facts.clone());
                Box::pin(async move {
                    let scope = &authority.scope;
                    let mut batch = fenced(tx, scope, authority.epoch).await?;
                    let same = subagent::Entity::owned_by(scope).filter(subagent::Column::Id.eq(id));
                    if same.count(tx).await? > 0 {
                        return Ok(());
                    }
                    let running = subagent::Entity::owned_by(scope)
                        .filter(subagent::Column::ParentKey.eq(authority.key.clone()))
                        .filter(subagent::is_running())
                        .count(tx)
                        .await?;
                    if running >= most {
                        return Err(Error::Invalid(format!(
                            "{running} sub-agents of this session are running already, the limit is {most}: wait for \
                             one to end"
                        )));
                    }
                    let standing = if stays {
                        subagent::Entity::owned_by(scope)
                            .filter(subagent::Column::ParentKey.eq(authority.key.clone()))
                            .filter(subagent::Column::Cleanup.eq(STAYS))
                            .filter(subagent::Column::State.is_in(["running", "announced"]))
                            .filter(subagent::Column::ClosesAt.is_null())
                            .count(tx)
                            .await?
                    } else {
                        0
                    };
                    if standing >= MOST_STANDING {
                        return Err(Error::Invalid(format!(
                            "{standing} sub-agents of this session have sessions that stay, which is the limit: end one \
                             with subagents kill"
                        )));
                    }
                    if opens {
                        transcript::open(tx, scope, &authority.key, &authority.agent_id, now).await?;
                    }
                    let mut head = transcript::open(tx, scope, &child, key::agent_of(&child), now).await?;
                    let changes = HeadChanges {
                        merge: Some(facts),
                        ..HeadChanges::default()
                    };
                    transcript::change_head(&mut batch, scope, &mut head, changes);
                    batch.add(&subagent::Entity::insert(row));
                    batch.add(&inbox::Entity::insert(asked));
                    batch.run(tx).await?;
                    Ok(())
                })
            })
            .await?;
        if !run.cancel.is_cancelled() {
            run.directory.wake(scope, child);
            return Ok(());
        }
        let begun = subagent::Entity::owned_by(scope)
            .filter(subagent::Column::Id.eq(id.as_str()))
            .all(&services.db.glance(scope).await?)
            .await?;
        stop(&run.directory, scope, begun).await?;
        Err(Error::Conflict("this session was stopped".to_owned()))
    }
}

/// What its session's row says of it from the first moment.
fn facts(run: &Inner, wish: &Wish, depth: u32) -> Map<String, Value> {
    let mut facts = Map::from_iter([
        ("spawnedBy".to_owned(), json!(run.authority.key)),
        ("spawnDepth".to_owned(), json!(depth)),
        (RUN_TIMEOUT.to_owned(), json!(wish.timeout_ms())),
        (thinking::LEVEL.to_owned(), json!(wish.thinking.map(Thinking::name))),
    ]);
    facts.extend(choice::fields(wish.model.as_ref()));
    facts.retain(|_, value| !value.is_null());
    facts
}

/// What it is told of itself with each message.
fn duty(parent: &SessionKey) -> String {
    format!(
        "You are a sub-agent of session {parent}. Do the task you were given and nothing else. Answer with the result, \
         complete and to the point: whoever reads it sees nothing else of your work."
    )
}

fn first_message(run: &Inner, wish: &Wish, depth: u32, origin: &Origin) -> ClientMessage {
    ClientMessage {
        source: SOURCE.to_owned(),
        attachments: wish.attachments.clone(),
        message: format!(
            "[Sub-agent, depth {depth}] You were begun by another session to do one task. Your final answer is handed \
             back to it by itself; do not poll, and do not ask the user.\n\n[Task] {}",
            wish.task
        ),
        extra_system_prompt: Some(duty(&run.authority.key)),
        timeout_ms: wish.timeout_ms(),
        queue_mode: Some("followup".to_owned()),
        relayed: Some(Relayed {
            shown: wish.task.clone(),
            destination: None,
            // What others wrote may have led to it: it reaches no more than they do.
            guest: !run.alone,
            chain: origin.chain,
            room: origin.room.clone(),
        }),
        charge: origin.charge.clone(),
        ..ClientMessage::default()
    }
}

/// For the end of a session's life: sub-agents whose sessions were to stay, its own and itself, have nobody left who tells
/// them more.
pub(crate) fn let_go(scope: &Scope, session: &SessionKey) -> UpdateMany<subagent::Entity> {
    let theirs = Condition::any()
        .add(subagent::Column::ChildKey.eq(session.clone()))
        .add(subagent::Column::ParentKey.eq(session.clone()));
    subagent::Entity::update_owned(scope)
        .col_expr(subagent::Column::ClosesAt, Expr::value(now_ms()))
        .filter(theirs)
        .filter(subagent::Column::Cleanup.eq(STAYS))
        .filter(subagent::Column::State.eq("announced"))
}

/// Has it ended, and may it be told more: its session stays.
pub(crate) fn stands(row: &subagent::Model) -> bool {
    row.cleanup == STAYS && row.state == "announced" && row.closes_at.is_none()
}

/// Will the end of a sub-agent still be told to this session.
pub(crate) async fn is_awaited(services: &Services, scope: &Scope, session: &SessionKey) -> Result<bool> {
    let view = services.db.read(scope).await?;
    let running = subagent::Entity::owned_by(scope)
        .filter(subagent::Column::ParentKey.eq(session.clone()))
        .filter(subagent::is_running())
        .count(&*view)
        .await?;
    if running > 0 {
        return Ok(true);
    }
    let told = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::SessionKey.eq(session.clone()))
        .filter(inbox::Column::Source.eq(SOURCE))
        .filter(inbox::Column::State.eq("pending"))
        .filter(inbox::is_open())
        .count(&*view)
        .await?;
    Ok(told > 0)
}

/// Sub-agents below a session, its own before theirs, each generation newest first.
pub(crate) async fn below(services: &Services, scope: &Scope, session: &SessionKey) -> Result<Vec<subagent::Model>> {
    let view = services.db.glance(scope).await?;
    let (mut found, mut above) = (Vec::new(), vec![session.clone()]);
    for _ in 0..DEEPEST {
        let rows = subagent::Entity::owned_by(scope)
            .filter(subagent::Column::ParentKey.is_in(above))
            .order_by_desc(subagent::Column::CreatedAt)
            .limit(LOOKED_AT)
            .all(&view)
            .await?;
        if rows.is_empty() {
            break;
        }
        above = rows.iter().map(|row| row.child_key.clone()).collect();
        found.extend(rows);
    }
    Ok(found)
}

/// Does anything run that the session began, or that was begun by what it began.
pub(crate) async fn runs_below(services: &Services, scope: &Scope, session: &SessionKey) -> Result<bool> {
    let rows = below(services, scope, session).await?;
    Ok(rows.iter().any(|row| row.state == "running"))
}

#[cfg(test)]
mod tests;
