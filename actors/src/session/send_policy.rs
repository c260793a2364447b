//! Whether something may be said to a session's chat (`agent-runtime` §6.6): the session's own word, else the settings'.

use claw_entities::{Scope, SessionKey};
use serde_json::Value;

use super::commands::Switch;
use super::key::{self, Room};
use crate::config::document::{SendPolicy, SendTarget};
use crate::error::Result;
use crate::ports::channel::{Destination, PeerKind};
use crate::services::Services;

/// Why something was not sent; the original's words.
pub(crate) const BLOCKED: &str = "send blocked by session policy";

/// May it be said there. `entry` is the session's; without a destination the key says where.
pub(crate) fn allows(policy: &SendPolicy, key: &SessionKey, entry: &Value, to: Option<&Destination>) -> bool {
    if let Some(own) = Switch::Send.stored(entry) {
        return own == "allow";
    }
    let parsed = key::parse(key.as_str());
    let kind = parsed.map(|parsed| parsed.kind);
    policy.allows(SendTarget {
        key: key.as_str(),
        rest: parsed.map_or(key.as_str(), |parsed| parsed.rest),
        channel: to
            .map(|to| to.channel.as_str())
            .or_else(|| parsed.and_then(|parsed| parsed.channel)),
        chat_type: match (to.map(|to| to.peer.kind), kind) {
            (Some(PeerKind::Group), _) | (None, Some(key::Kind::Group)) => "group",
            (Some(PeerKind::Channel), _) | (None, Some(key::Kind::Channel)) => "channel",
            (Some(PeerKind::Direct) | None, _) => "direct",
        },
    })
}

/// May a client write to this session.
pub(crate) async fn takes(services: &Services, scope: &Scope, key: &SessionKey) -> Result<bool> {
    let settings = services.config.settings(scope).await?;
    let head = services.conversation.head(scope, key).await?;
    let entry = head.map(|head| head.entry).unwrap_or_default();
    Ok(allows(&settings.session.send_policy, key, &entry, None))
}

/// May the agent write to this chat from elsewhere: as the chat's own session says.
pub(crate) async fn reaches(services: &Services, scope: &Scope, agent: &str, to: &Destination) -> Result<bool> {
    let room = Room {
        channel: &to.channel,
        kind: to.peer.kind,
        id: &to.peer.id,
        thread: to.peer.thread.as_deref(),
        topic: to.peer.topic,
    };
    let key = key::room_key(agent, &room);
    let settings = services.config.settings(scope).await?;
    let head = services.conversation.head(scope, &key).await?;
    let entry = head.map(|head| head.entry).unwrap_or_default();
    Ok(allows(&settings.session.send_policy, &key, &entry, Some(to)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::document::UserSettings;

    #[test]
    fn the_sessions_own_word_comes_first() {
        let settings = UserSettings::parse(&json!({"session": {"sendPolicy": {
            "rules": [{"action": "deny", "match": {"channel": "slack", "chatType": "channel"}}]}}}));
        let policy = &settings.session.send_policy;
        for (key, entry, allowed) in [
            ("agent:main:slack:channel:c1", json!({}), false),
            ("agent:main:slack:channel:c1", json!({"sendPolicy": "allow"}), true),
            ("agent:main:slack:direct:u1", json!({}), true),
            ("agent:main:main", json!({"sendPolicy": "deny"}), false),
            ("agent:main:main", json!({"sendPolicy": null}), true),
        ] {
            assert_eq!(
                allows(policy, &SessionKey::from(key), &entry, None),
                allowed,
                "{key} {entry}"
            );
        }
    }
}
