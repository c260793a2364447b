//! Commands on nodes that go on behind the turn that asked for them (`agent-runtime` §13): they wait for a person's
//! word, or they run. Their end is told to their session, once.
//!
//! The approval's row alone says what was decided. The row here says what is to run then, and who has it run: it is
//! claimed before the node hears of it, so nothing runs twice, and it goes in the commit that tells the end, so a crash
//! in between is told as one.

mod performing;
mod settling;
mod words;

use std::collections::BTreeMap;

use claw_entities::{Scope, SessionKey, UserOwned, approval, exec_run};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::origin::Origin;
use super::skills;
use crate::Services;
use crate::clock::now_ms;
use crate::config::skills::SkillKeys;
use crate::error::{Error, Result};
use crate::gateway::approvals;
use crate::gateway::exec_policy::{Policy, is_harmless, is_protected};
use crate::gateway::protocol::WireError;
use crate::gateway::system_run::{Plan, rendered, visible};
use crate::supervisor::directory::Directory;

pub(crate) use performing::{NODE_TIME, RUN, Run, perform};
pub(crate) use settling::{reconcile, settle, watch};

/// Commands of one session that run behind its turns.
const MOST_RUNNING: u64 = 16;

/// Why something was not done, for the model.
pub(crate) type Refusal = String;
/// What a node answered.
pub(crate) type Answer = std::result::Result<Value, WireError>;

/// What runs, and on which node, as its row keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) agent_id: String,
    pub(crate) node_id: String,
    /// The node's name, for people and models.
    pub(crate) node: String,
    /// The node's plan, as it gave it.
    pub(crate) plan: Value,
    /// As the agent gave it. What is stored for the skill is added when it is needed.
    pub(crate) env: BTreeMap<String, String>,
    /// The skill it is for.
    pub(crate) skill: Option<String>,
    /// The node's own policy, as it answered to the question for a plan.
    pub(crate) nodes_policy: Value,
    /// `security` and `ask` of the call: only stricter.
    #[serde(default)]
    pub(crate) asked: Value,
    /// Resolved path of the program, where somebody had to know.
    pub(crate) program: Option<String>,
    /// What the command itself may take.
    pub(crate) timeout_ms: u64,
}

/// The variables of a command.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    pub(crate) all: BTreeMap<String, String>,
    /// What is stored for its skill.
    pub(crate) keys: Option<SkillKeys>,
}

impl Variables {
    /// Does none of them change what a program does.
    pub(crate) fn harmless(&self) -> bool {
        self.all.keys().all(|name| is_harmless(name))
    }

    /// Takes what is stored for the skill out of a text.
    pub(crate) fn hide(&self, text: String) -> String {
        self.keys.as_ref().map_or_else(|| text.clone(), |keys| keys.hide(&text))
    }

    /// As [`Variables::hide`], of all texts in it.
    pub(crate) fn hide_in(&self, value: &mut Value) {
        let Some(keys) = &self.keys else { return };
        match value {
            Value::String(text) => *text = keys.hide(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.hide_in(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl Work {
    /// The plan, as far as this server reads it. `None`: it is none.
    pub(crate) fn parsed(&self) -> Option<Plan> {
        Plan::deserialize(&self.plan).ok().filter(|plan| !plan.argv.is_empty())
    }

    /// The command as people read it.
    pub(crate) fn command(&self) -> String {
        let plan = self.parsed();
        plan.map(|plan| visible(&rendered(&plan.argv))).unwrap_or_default()
    }

    /// What rules the command now.
    pub(crate) async fn policy(&self, services: &Services, scope: &Scope) -> Result<Policy> {
        let file = services.config.exec_approvals(scope).await?;
        let settings = services.config.settings(scope).await?;
        Ok(Policy::of_user(&file["file"], &settings, &self.agent_id)
            .within(&self.nodes_policy)
            .within(&self.plan["policySnapshot"])
            .within(&stricter(&self.asked)))
    }

    /// All variables of the command, as they are now.
    pub(crate) async fn variables(
        &self,
        directory: &Directory,
        scope: &Scope,
    ) -> std::result::Result<Variables, Refusal> {
        let mut variables = Variables {
            all: self.env.clone(),
            keys: None,
        };
        if let Some(skill) = &self.skill {
            let (_, keys) = skills::keys_of(directory, scope, &self.agent_id, skill).await?;
            let stored = keys.env.iter();
            variables
                .all
                .extend(stored.map(|(name, value)| (name.clone(), value.expose().to_owned())));
            variables.keys = Some(keys);
        }
        variables.all.retain(|name, _| !is_protected(name));
        Ok(variables)
    }

    /// A row for it.
    pub(crate) fn row(
        &self,
        scope: &Scope,
        id: &str,
        (session, run_id): (&SessionKey, &str),
        origin: &Origin,
    ) -> Result<exec_run::ActiveModel> {
        Ok(exec_run::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            id: Set(id.to_owned()),
            session_key: Set(session.clone()),
            run_id: Set(run_id.to_owned()),
            state: Set(exec_run::WAITING.to_owned()),
            work: Set(serde_json::to_value(self).map_err(Error::internal)?),
            origin: Set(serde_json::to_value(origin).map_err(Error::internal)?),
            boot_id: Set(None),
            created_at: Set(now_ms()),
        })
    }
}

/// What a call asked for, as far as it is heard: it says nothing about silence.
fn stricter(asked: &Value) -> Value {
    json!({"security": asked["security"], "ask": asked["ask"]})
}

/// What the model is told of a command that runs behind the turn.
pub(crate) fn running(id: &str, work: &Work) -> Value {
    json!({
        "status": "running", "runId": id, "host": "node", "node": work.node, "nodeId": work.node_id,
        "command": work.command(),
        "note": "The command goes on in the background. Do not wait for it and do not run it again: what comes of it is \
                 told here by itself, as a System line.",
    })
}

/// Begins a command behind a turn, and gives where its end comes out while somebody waits for it.
///
/// # Errors
/// `Invalid` when too many of the session's run.
pub(crate) async fn begin(
    directory: &Directory,
    scope: &Scope,
    mut row: exec_run::ActiveModel,
) -> Result<oneshot::Receiver<Answer>> {
    let services = directory.services();
    row.state = Set(exec_run::RUNNING.to_owned());
    row.boot_id = Set(Some(services.replica.boot_id.clone()));
    let model = exec_run::Model::try_from(row.clone()).map_err(Error::internal)?;
    let (handoff, end) = oneshot::channel();
    let (directory_in, scope_in) = (directory.clone(), scope.clone());
    // Goes on when nobody waits for it any more: what is on record runs, or is told.
    let begun = services.io.spawn(async move {
        put(directory_in.services(), &scope_in, (&model.session_key, row)).await?;
        settling::has_run(&directory_in, &scope_in, model, handoff)
    });
    begun.await.map_err(Error::internal)??;
    Ok(end)
}

/// Stores one that runs, if not too many of its session do.
async fn put(services: &Services, scope: &Scope, (session, row): (&SessionKey, exec_run::ActiveModel)) -> Result<()> {
    let (scope_in, session) = (scope.clone(), session.clone());
    services
        .writer
        .run(scope, move |tx| {
            let (scope, row, session) = (scope_in.clone(), row.clone(), session.clone());
            Box::pin(async move {
                let there = exec_run::Entity::owned_by(&scope)
                    .filter(exec_run::Column::SessionKey.eq(session))
                    .filter(exec_run::Column::BootId.is_not_null())
                    .count(tx)
                    .await?;
                if there >= MOST_RUNNING {
                    return Err(Error::Invalid(format!(
                        "{there} commands of this session run in the background already: wait for one to end"
                    )));
                }
                exec_run::Entity::insert(row).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await
}

/// What the model is told of a command that waits for a person's word.
pub(crate) fn pending(row: &approval::Model, work: &Work) -> Value {
    json!({
        "status": "approval-pending", "approvalId": row.id, "approvalSlug": approvals::short_id(&row.id),
        "expiresAtMs": row.expires_at, "expiresInSeconds": (row.expires_at - row.created_at).max(0) / 1000,
        "host": "node", "node": work.node, "nodeId": work.node_id, "command": row.request["command"],
        "note": "A person was asked and has not decided yet. Do not wait for it and do not ask again: end your turn. \
                 What comes of it is told here by itself, as a System line. If it is denied, do not try the same in \
                 other words.",
    })
}

/// Does any command of the session wait or run.
pub(crate) async fn goes_on(services: &Services, scope: &Scope, session: &SessionKey) -> Result<bool> {
    let count = exec_run::Entity::owned_by(scope)
        .filter(exec_run::Column::SessionKey.eq(session.clone()))
        .count(&services.db.glance(scope).await?)
        .await?;
    Ok(count > 0)
}

/// Which commands are meant.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// All of a session.
    Session(SessionKey),
    /// Those that wait for a word a turn asked for.
    AskedBy(String),
    /// This one.
    One(String),
}

/// Takes back what waits for a word, and stops what runs. `heard`: the session reads of it with its next turn. Gives how
/// many there were.
///
/// # Errors
/// When the database is away.
pub(crate) async fn stop(directory: &Directory, scope: &Scope, which: &Which, heard: bool) -> Result<usize> {
    let services = directory.services();
    let (meant, states) = match which {
        Which::Session(key) => (
            exec_run::Column::SessionKey.eq(key.clone()),
            vec![exec_run::WAITING, exec_run::RUNNING],
        ),
        Which::One(id) => (
            exec_run::Column::Id.eq(id.as_str()),
            vec![exec_run::WAITING, exec_run::RUNNING],
        ),
        Which::AskedBy(run_id) => (exec_run::Column::RunId.eq(run_id.as_str()), vec![exec_run::WAITING]),
    };
    let state = if heard { exec_run::STOPPING } else { exec_run::DROPPED };
    let (scope_in, meant_in) = (scope.clone(), meant.clone());
    let ids: Vec<String> = services
        .writer
        .run(scope, move |tx| {
            let (scope, meant, states) = (scope_in.clone(), meant_in.clone(), states.clone());
            Box::pin(async move {
                let rows = exec_run::Entity::owned_by(&scope)
                    .filter(meant)
                    .filter(exec_run::Column::State.is_in(states.clone()))
                    .all(tx)
                    .await?;
                let ids: Vec<String> = rows.into_iter().map(|row| row.id).collect();
                if !ids.is_empty() {
                    exec_run::Entity::update_owned(&scope)
                        .col_expr(exec_run::Column::State, Expr::value(state))
                        .filter(exec_run::Column::Id.is_in(ids.clone()))
                        .filter(exec_run::Column::State.is_in(states))
                        .exec(tx)
                        .await?;
                }
                Ok(ids)
            })
        })
        .await?;
    for id in &ids {
        // Does nothing to one that is decided.
        approvals::withdraw(directory, scope, id).await?;
        settle(directory, scope, id).await?;
    }
    Ok(ids.len())
}

/// As [`stop`], in a task of its own.
pub(crate) fn stop_soon(directory: &Directory, scope: &Scope, which: Which, heard: bool) {
    let (directory_in, scope) = (directory.clone(), scope.clone());
    directory.services().io.spawn(async move {
        if let Err(error) = stop(&directory_in, &scope, &which, heard).await {
            // What waits ends by the clock.
            tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "commands on nodes were not stopped");
        }
    });
}

/// A failed call in words. The model decides what to do about it.
pub(crate) fn told(who: &str, error: &WireError) -> Refusal {
    let code = error.details.as_ref().and_then(|details| details["code"].as_str());
    match code {
        Some(code) => format!("{who}: {} ({code})", error.message),
        None => format!("{who}: {}", error.message),
    }
}

/// A failure of this server's own.
pub(crate) fn gateway(error: Error) -> Refusal {
    told("the gateway", &error.into())
}
