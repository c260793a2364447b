//! Accepting: a message becomes an inbox row, durably and once, before anybody is told that it was accepted.

use std::collections::HashSet;

use claw_entities::{Scope, SessionKey, UserOwned, inbox, new_id, run};
use sea_orm::{ColumnTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::budget::Charge;
use super::reach::Chain;
use super::routing::{self, Standing};
use super::{key, policy, send_policy};
use crate::config::accounts::ResolvedAccount;
use crate::db::writer::NewInbox;
use crate::error::{Error, Result};
use crate::ports::channel::{Destination, Inbound, Quoted};
use crate::ports::message::Part;
use crate::ports::nul;
use crate::supervisor::directory::Directory;
use crate::supervisor::places::Asker;

/// Longest message text we take from a client, bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Longest idempotency key.
const MAX_KEY_BYTES: usize = 256;

/// A message from a gateway client (`chat.send`, `agent`). Stored as the inbox row's payload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientMessage {
    /// `chat` or `agent`.
    pub source: String,
    pub message: String,
    /// Images as [`Part::Image`] with `blob` set; other files as text parts that name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Part>,
    /// The message of the session that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Quoted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_system_prompt: Option<String>,
    /// Overrides the run timeout, milliseconds; 0 = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// `steer`, `followup`, `collect` or `interrupt`; `None` = the session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_mode: Option<String>,
    /// Device or connection that asks; it may abort the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// The client may decide about commands on nodes (`operator.approvals`).
    #[serde(default)]
    pub approver: bool,
    /// The chat that the answer goes to besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_to: Option<Destination>,
    /// Nobody is there: the turn neither keeps the session fresh nor starts it over (a scheduled event).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
    /// Starts a new transcript, and runs in the lane of scheduled jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Scheduled>,
    /// The agent looks by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Beat>,
    /// No person wrote it but another session of the user's. Never a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed: Option<Relayed>,
    /// A node sent it: words for the agent. Never a command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_node: bool,
    /// Who pays for it beside its user and agent.
    #[serde(default, skip_serializing_if = "Charge::is_none")]
    pub charge: Charge,
    /// What the client runs itself: a turn that calls one of these ends with the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_tools: Vec<ClientTool>,
}

/// What comes from another session of the user's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relayed {
    /// What people see of it.
    pub shown: String,
    /// The chat the answer goes to; `None`: it stays in the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// Others read along where it is answered, and none of them may steer the owner's tools: a guest's rights.
    #[serde(default)]
    pub guest: bool,
    #[serde(default)]
    pub chain: Chain,
    /// The group it came out of: its rules for tools hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Destination>,
}

/// A tool of the client's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientTool {
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// JSON schema of the arguments.
    pub parameters: Value,
}

/// How an agent looks by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    /// Up to so many characters beside the token are nothing to report.
    pub ack_max_chars: usize,
    /// Of the workspace only `HEARTBEAT.md` goes into the prompt.
    #[serde(default)]
    pub light_context: bool,
    /// Begins without what was said before, in a session apart from this one, whose events it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart_from: Option<SessionKey>,
}

/// How a scheduled job runs the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduled {
    /// In a new transcript.
    #[serde(default)]
    pub fresh: bool,
    /// Patterns of tools it may use, within what the user's own policy allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Models that stand in for the chosen one, instead of the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallbacks: Option<Vec<String>>,
    /// Without the workspace's files in the prompt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub light_context: bool,
}

/// What accepting a client's message gave. `run_id` is the idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Stored just now.
    Started { run_id: String, session_key: SessionKey },
    /// The same key was accepted before and its run has not ended.
    InFlight { run_id: String, session_key: SessionKey },
    /// The same key was accepted before and its run has ended (`status` is the run's).
    Ended {
        run_id: String,
        session_key: SessionKey,
        status: String,
    },
}

/// Stores a client's message and wakes its session. `key` may be short (`main`); the answer holds the full one.
pub async fn accept_client(
    directory: &Directory,
    scope: &Scope,
    key: &str,
    idempotency_key: &str,
    message: ClientMessage,
) -> Result<Accepted> {
    if directory.draining() {
        return Err(Error::Busy {
            message: "the service is restarting".to_owned(),
            retry_after: std::time::Duration::from_secs(1),
        });
    }
    if directory.services().config.is_locked(scope) {
        return Err(Error::Forbidden("this user or workspace is not served now".to_owned()));
    }
    if idempotency_key.is_empty() || idempotency_key.len() > MAX_KEY_BYTES {
        return Err(Error::invalid("idempotencyKey must have 1 to 256 bytes"));
    }
    let instructions = message.extra_system_prompt.as_deref().unwrap_or_default();
    if [idempotency_key, &message.message, instructions]
        .into_iter()
        .any(nul::is_in)
    {
        return Err(Error::invalid(
            "message and idempotencyKey must not contain null characters",
        ));
    }
    if message.message.len() > MAX_MESSAGE_BYTES {
        return Err(Error::TooLarge("message is longer than 1 MiB".to_owned()));
    }
    if instructions.len() > MAX_MESSAGE_BYTES {
        return Err(Error::TooLarge("the instructions are longer than 1 MiB".to_owned()));
    }
    if message.message.trim().is_empty() && message.attachments.is_empty() {
        return Err(Error::invalid("message must not be empty"));
    }
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let session_key = key::resolve(key, &routing::default_agent(&settings))?;
    let source = message.source.clone();
    if matches!(source.as_str(), "chat" | "agent") && !send_policy::takes(services, scope, &session_key).await? {
        return Err(Error::invalid(send_policy::BLOCKED));
    }
    let row_id = new_id();
    let row = NewInbox {
        id: row_id.clone(),
        tenant: scope.tenant().clone(),
        user: scope.user().clone(),
        source: source.clone(),
        account_id: scope.user().as_str().to_owned(),
        event_key: idempotency_key.to_owned(),
        session_key: session_key.clone(),
        payload: serde_json::to_string(&message).map_err(Error::internal)?,
        skipped: None,
    };
    let fresh = services.writer.accept(vec![row]).await?;
    let run_id = idempotency_key.to_owned();
    if !fresh.is_empty() {
        directory.wake_for(scope, &session_key, Asker::User, &row_id);
        return Ok(Accepted::Started { run_id, session_key });
    }
    repeated(directory, scope, &source, run_id).await
}

/// A row for something that comes due by itself: a scheduled job, a heartbeat. Its key keeps it from coming twice.
pub(crate) fn own_row(
    scope: &Scope,
    source: &str,
    key: &str,
    session: &SessionKey,
    payload: String,
    now: i64,
) -> inbox::ActiveModel {
    inbox::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        id: Set(new_id()),
        user_id: Set(scope.user().clone()),
        source: Set(source.to_owned()),
        account_id: Set(scope.user().as_str().to_owned()),
        event_key: Set(key.to_owned()),
        session_key: Set(session.clone()),
        payload: Set(payload),
        state: Set("pending".to_owned()),
        attempts: Set(0),
        run_id: Set(None),
        entry_id: Set(None),
        reason: Set(None),
        received_at: Set(now),
        updated_at: Set(now),
    }
}

/// What became of the first message under this key.
async fn repeated(directory: &Directory, scope: &Scope, source: &str, run_id: String) -> Result<Accepted> {
    let tx = directory.services().db.read(scope).await?;
    let row = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::Source.eq(source))
        .filter(inbox::Column::AccountId.eq(scope.user().as_str()))
        .filter(inbox::Column::EventKey.eq(run_id.as_str()))
        .one(&*tx)
        .await?
        .ok_or(Error::NotFound { what: "run" })?;
    if matches!(row.state.as_str(), "pending" | "running") {
        directory.wake(scope, &row.session_key);
        return Ok(Accepted::InFlight {
            run_id,
            session_key: row.session_key,
        });
    }
    let ran = row.run_id.unwrap_or_else(|| run_id.clone());
    let run = run::Entity::owned_by(scope)
        .filter(run::Column::Id.eq(ran))
        .one(&*tx)
        .await?;
    let status = run.map_or_else(|| "ok".to_owned(), |run| run.status);
    Ok(Accepted::Ended {
        run_id,
        session_key: row.session_key,
        status,
    })
}

/// Stores verified webhook messages and wakes their sessions. Resolves after the commit; a repeat is no error.
/// Gives how many were new.
pub async fn accept_inbound(directory: &Directory, account: &ResolvedAccount, messages: Vec<Inbound>) -> Result<usize> {
    if messages.is_empty() {
        return Ok(0);
    }
    let services = directory.services();
    let tenant = &account.account.tenant;
    if services.config.locked().holds_tenant(tenant) {
        // Suspended just now. What is not acknowledged, the platform brings again.
        return Err(Error::Fenced);
    }
    let mut rows = Vec::with_capacity(messages.len());
    let mut wakes = Vec::with_capacity(messages.len());
    for inbound in messages {
        // A linked person's direct messages go to their own sessions; groups belong to the account's owner.
        let (inbound, payload) = nul::strip_stored(inbound).map_err(Error::internal)?;
        let speaker = policy::speaker(account, &inbound);
        let user = speaker.session_user(account, inbound.peer.kind);
        let standing = if speaker.is(user) {
            Standing::Owner
        } else {
            Standing::Guest
        };
        let scope = Scope::vouch(tenant.clone(), user.clone());
        let settings = services.config.settings(&scope).await?;
        let routed = routing::route(
            &settings,
            &account.account.channel,
            &account.account.account_id,
            &inbound,
            standing,
        );
        // Nobody can tell when they come back, and an old question is not answered out of the blue then.
        let turned_away = services.config.is_still_locked(&scope).await?
            || services.config.is_still_locked(&account.owner_scope()).await?;
        let skipped = if turned_away {
            Some("the user is disabled")
        } else {
            policy::refused_at_once(account, user, &inbound)
        };
        rows.push(NewInbox {
            id: new_id(),
            tenant: tenant.clone(),
            user: user.clone(),
            source: account.account.channel.clone(),
            account_id: account.account.account_id.clone(),
            event_key: inbound.event_key.clone(),
            session_key: routed.session_key.clone(),
            payload,
            skipped,
        });
        let asker = match standing {
            Standing::Owner => Asker::User,
            Standing::Guest => Asker::Guest,
        };
        wakes.push(skipped.is_none().then_some((scope, routed.session_key, asker)));
    }
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let fresh = services.writer.accept(rows).await?;
    let mut woken = HashSet::new();
    for (id, wake) in ids.iter().zip(&wakes) {
        if let Some((scope, key, asker)) = wake
            && fresh.contains(id)
            && woken.insert((scope.user(), key))
        {
            directory.wake_for(scope, key, *asker, id);
        }
    }
    Ok(fresh.len())
}
