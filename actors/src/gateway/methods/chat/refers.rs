//! What a message refers to: the branch that its writer saw, and the message that it answers.

use claw_entities::SessionKey;
use serde_json::{Value, json};

use super::SendParams;
use crate::conversation::display;
use crate::conversation::history::OneMessage;
use crate::gateway::methods::filled;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::ports::channel::Quoted;
use crate::session::{envelope, key, record};

/// Refuses what was written for another branch than the one in use. A message that is sent again was let in before.
pub(super) async fn same_branch(call: &Call, key: &SessionKey, params: &SendParams) -> Result<(), WireError> {
    let Some(expected) = &params.expected_leaf_entry_id else {
        return Ok(());
    };
    if let Some(entry) = expected {
        filled("chat.send", "expectedLeafEntryId", entry)?;
    }
    if params.queue_mode.as_deref() == Some("steer") {
        return Ok(());
    }
    let (services, scope) = (&call.state.services, call.scope());
    let head = services.conversation.head(scope, key).await?;
    let transcript = params.session_id.as_deref();
    let same = transcript.is_none_or(|id| head.as_ref().is_some_and(|head| head.session_id == id));
    let stands = match (&head, expected) {
        (None, expected) => expected.is_none(),
        (Some(head), expected) if head.leaf_id == *expected => true,
        // Whoever says which transcript it was may have missed what was said in it since.
        (Some(head), Some(entry)) if transcript.is_some() => {
            services.conversation.on_branch(scope, head, entry).await?
        }
        (Some(_), _) => false,
    };
    if (same && stands) || record::is_known(services, scope, &params.idempotency_key).await? {
        return Ok(());
    }
    let refused = WireError::invalid("active branch changed; review and retry");
    Err(refused.details(json!({"reason": "active-leaf-changed"})))
}

/// The message that is answered. One that is not there is passed over, as in the original.
pub(super) async fn quoted(call: &Call, key: &SessionKey, id: Option<&str>) -> Result<Option<Quoted>, WireError> {
    let Some(id) = id else {
        return Ok(None);
    };
    filled("chat.send", "replyToId", id)?;
    let services = &call.state.services;
    let found = services
        .conversation
        .message(call.scope(), key, id, envelope::QUOTE, usize::MAX)
        .await?;
    let OneMessage::Found(message) = found else {
        return Ok(None);
    };
    let sender = match message["role"].as_str() {
        Some("assistant") => {
            let settings = services.config.settings(call.scope()).await?;
            let agent = settings.agent(key::agent_of(key));
            let name = agent.and_then(|agent| {
                let name = agent.identity.get("name").and_then(Value::as_str);
                name.or(agent.name.as_deref())
            });
            name.unwrap_or("Assistant").to_owned()
        }
        Some("user") => "User".to_owned(),
        Some(_) | None => return Ok(None),
    };
    Ok(display::text(&message).map(|text| Quoted {
        message_id: id.to_owned(),
        sender,
        text,
    }))
}
