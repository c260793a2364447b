//! Commands that wait for a person's word, told in the chats that the user chose (`approvals.exec`), and what became of
//! them. A chat may answer with `/approve` as far as whoever writes there may.

use claw_entities::{Scope, UserOwned, approval, outbox};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};
use serde_json::Value;

use super::cron::announce;
use super::nodes::notice;
use super::sending::{self, Wish};
use crate::config::cron::job::Target;
use crate::config::devices::approvals::ALWAYS;
use crate::config::document::MOST_APPROVAL_TARGETS;
use crate::error::{Error, Result};
use crate::gateway::approvals::short_id;
use crate::ports::channel::{Destination, PeerKind};
use crate::supervisor::directory::Directory;

/// Tells the chats of a request; `told` is one that knows already. `node` is where the command is to run, `unanswered`:
/// without a word it runs. Gives how many chats were told.
///
/// # Errors
/// When the settings cannot be read. A chat that cannot be told stops no other.
pub(crate) async fn asked(
    directory: &Directory,
    scope: &Scope,
    row: &approval::Model,
    (node, unanswered): (&str, bool),
    told: Option<&Destination>,
) -> Result<usize> {
    let settings = directory.services().config.settings(scope).await?;
    let (rules, request) = (&settings.approvals, &row.request);
    let (agent, session) = (request["agentId"].as_str(), request["sessionKey"].as_str());
    // Some are for certain devices and nobody else.
    if !rules.wants(agent, session) || !row.reviewers.is_null() {
        return Ok(0);
    }
    let agent_id = agent.unwrap_or(&settings.default_agent).to_owned();
    let own = rules.in_session.then(|| chat_of(request)).flatten();
    let mut known: Vec<String> = told.map(Destination::conversation).into_iter().collect();
    let mut count = 0;
    for target in own.iter().chain(&rules.targets).take(MOST_APPROVAL_TARGETS) {
        let destination = match announce::find(directory, scope, &agent_id, target).await {
            Ok(Ok((_, destination))) => destination,
            Ok(Err(_)) => {
                tracing::warn!(tenant.id = %scope.tenant(), "a chat that approvals are told in is not the user's");
                continue;
            }
            Err(error) => {
                tracing::warn!(error = ?error, tenant.id = %scope.tenant(), "a chat of approvals was not found");
                continue;
            }
        };
        if known.contains(&destination.conversation()) {
            continue;
        }
        known.push(destination.conversation());
        let wish = Wish {
            target: target.clone(),
            agent_id: agent_id.clone(),
            reply_to: None,
            text: notice::text(node, row, unanswered),
            file: None,
            run_id: run_id(&row.id, known.len()),
            choices: notice::choices(row),
            below: None,
        };
        count += usize::from(put(directory, scope, wish).await);
    }
    Ok(count)
}

/// Stores one message; says whether it is stored. The user may have moved to another process and back meanwhile.
async fn put(directory: &Directory, scope: &Scope, wish: Wish) -> bool {
    let mut stored = sending::put(directory, scope, wish.clone()).await;
    if matches!(stored, Err(Error::Fenced)) {
        stored = sending::put(directory, scope, wish).await;
    }
    match stored {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(error = ?error, tenant.id = %scope.tenant(), "a chat was not told of an approval");
            false
        }
    }
}

/// Tells the chats that were asked what became of it. Meanwhile nobody waits.
pub(crate) fn ended(directory: &Directory, scope: &Scope, row: &approval::Model) {
    let (told_in, scope, row) = (directory.clone(), scope.clone(), row.clone());
    directory.services().io.spawn(async move {
        if let Err(error) = tell(&told_in, &scope, &row).await {
            tracing::warn!(error = ?error, tenant.id = %scope.tenant(), "the end of an approval was not told");
        }
    });
}

async fn tell(directory: &Directory, scope: &Scope, row: &approval::Model) -> Result<()> {
    let services = directory.services();
    let asked: Vec<String> = (0..=MOST_APPROVAL_TARGETS + 1).map(|at| run_id(&row.id, at)).collect();
    let rows = outbox::Entity::owned_by(scope)
        .filter(outbox::Column::RunId.is_in(asked.clone()))
        .order_by_asc(outbox::Column::Id)
        .all(&services.db.glance(scope).await?)
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let settings = services.config.settings(scope).await?;
    let agent_id = row.request["agentId"].as_str().unwrap_or(&settings.default_agent);
    for asked in asked {
        let mut pieces = rows.iter().filter(|row| row.run_id.as_deref() == Some(asked.as_str()));
        let Some(first) = pieces.clone().next() else { continue };
        let buttons = pieces.find(|row| row.choices.is_some());
        // The chat where the agent was asked hears the rest from the agent.
        if buttons.is_none() && asked == own_chat(&row.id) {
            continue;
        }
        let Ok(destination) = serde_json::from_value::<Destination>(first.destination.clone()) else {
            continue;
        };
        let wish = Wish {
            target: target_of(&destination),
            agent_id: agent_id.to_owned(),
            reply_to: None,
            text: outcome(row),
            file: None,
            // Whoever tells it, and however often: it is said once.
            run_id: format!("{asked}:over"),
            choices: Vec::new(),
            below: buttons.cloned(),
        };
        put(directory, scope, wish).await;
    }
    Ok(())
}

/// The run id of the question in the chat where the agent was asked.
pub(super) fn own_chat(id: &str) -> String {
    run_id(id, 0)
}

fn run_id(id: &str, at: usize) -> String {
    format!("approval:{id}:{at}")
}

/// The chat of the session that asks, as the request names it.
fn chat_of(request: &Value) -> Option<Target> {
    let text = |name: &str| {
        request[name]
            .as_str()
            .map(str::to_owned)
            .filter(|text| !text.is_empty())
    };
    Some(Target {
        channel: Some(text("turnSourceChannel")?.to_lowercase()),
        to: Some(text("turnSourceTo")?),
        account_id: text("turnSourceAccountId"),
        thread_id: Some(request["turnSourceThreadId"].clone()).filter(|id| !id.is_null()),
    })
}

fn target_of(destination: &Destination) -> Target {
    let kind = match destination.peer.kind {
        PeerKind::Direct => "user",
        PeerKind::Group => "group",
        PeerKind::Channel => "channel",
    };
    Target {
        channel: Some(destination.channel.clone()),
        to: Some(format!("{kind}:{}", destination.peer.id)),
        account_id: Some(destination.account_id.clone()),
        thread_id: destination.peer.thread.clone().map(Value::String),
    }
}

/// What became of it, in one line.
fn outcome(row: &approval::Model) -> String {
    let id = short_id(&row.id);
    let by = row.resolved_by.as_deref().unwrap_or("somebody");
    match row.decision.as_deref() {
        Some("allow-once") => format!("The command of question {id} was allowed once, by {by}."),
        Some(ALWAYS) => format!("The command of question {id} was allowed from now on, by {by}."),
        Some(_) => format!("The command of question {id} was denied, by {by}."),
        None => format!("Question {id} is over: nobody decided it."),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_outcome_says_what_and_by_whom() {
        let row = |decision: Option<&str>| approval::Model {
            tenant_id: "t".into(),
            user_id: "u".into(),
            id: "0123456789abcdef".to_owned(),
            request: json!({}),
            reviewers: Value::Null,
            created_at: 0,
            expires_at: 100,
            decision: decision.map(str::to_owned),
            reason: None,
            resolved_by: Some("telegram".to_owned()),
            resolved_at: None,
            consumed_at: None,
        };
        for (decision, said) in [
            (Some("allow-once"), "allowed once, by telegram"),
            (Some("allow-always"), "allowed from now on, by telegram"),
            (Some("deny"), "denied, by telegram"),
            (None, "nobody decided it"),
        ] {
            let text = outcome(&row(decision));
            assert!(
                text.contains(said) && text.contains("01234567") && !text.contains("89abcdef"),
                "{text}"
            );
        }
    }
}
