//! `messages.ackReaction`: the sign that a message gets when the agent begins to look at it.

use serde_json::Value;

use super::AgentSettings;
use super::parse::{at, text};

/// What it is where nobody chose one.
const SIGN: &str = "👀";

/// Which messages get the sign, which it is, and whether it goes again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckSettings {
    /// `None`: nobody chose. Empty: none.
    sign: Option<String>,
    scope: AckScope,
    /// `removeAckAfterReply`.
    pub goes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AckScope {
    Off,
    All,
    Direct,
    Groups,
    /// In groups where the agent has to be mentioned, what mentions it.
    #[default]
    Mentions,
}

impl AckSettings {
    /// What `messages` of a document says.
    pub(super) fn parse(doc: &Value) -> Self {
        let scope = text(at(doc, "/messages/ackReactionScope"));
        Self {
            sign: chosen(at(doc, "/messages/ackReaction")),
            scope: match scope.as_deref() {
                Some("off" | "none") => AckScope::Off,
                Some("all") => AckScope::All,
                Some("direct") => AckScope::Direct,
                Some("group-all") => AckScope::Groups,
                Some(_) | None => AckScope::Mentions,
            },
            goes: at(doc, "/messages/removeAckAfterReply").as_bool().unwrap_or(false),
        }
    }

    /// The sign for a message to this agent by an account with these settings. `required`: the agent answers only who
    /// mentions it there.
    pub fn sign(
        &self,
        account: &Value,
        agent: Option<&AgentSettings>,
        (direct, mentioned, required): (bool, bool, bool),
    ) -> Option<String> {
        let wanted = match self.scope {
            AckScope::Off => false,
            AckScope::All => true,
            AckScope::Direct => direct,
            AckScope::Groups => !direct,
            AckScope::Mentions => !direct && mentioned && required,
        };
        if !wanted {
            return None;
        }
        let own = || text(&agent?.identity["emoji"]);
        let sign = chosen(&account["ackReaction"]).or_else(|| self.sign.clone());
        let sign = sign.or_else(own).unwrap_or_else(|| SIGN.to_owned());
        (!sign.is_empty()).then_some(sign)
    }
}

/// An empty text is a choice too.
fn chosen(sign: &Value) -> Option<String> {
    sign.as_str().map(|sign| sign.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Signs in a direct chat, for a mention, for other words in a group, and for a mention where none is needed.
    fn check(messages: Value, account: Value, identity: Value, expected: [Option<&str>; 4]) {
        let settings = AckSettings::parse(&json!({"messages": messages}));
        let agent = AgentSettings {
            identity,
            ..AgentSettings::default()
        };
        let places = [
            (true, false, false),
            (false, true, true),
            (false, false, true),
            (false, true, false),
        ];
        let signs = places.map(|place| settings.sign(&account, Some(&agent), place));
        assert_eq!(signs.each_ref().map(Option::as_deref), expected, "{messages}");
    }

    #[test]
    fn the_sign_is_the_nearest_choice_and_stands_where_the_scope_says() {
        let nothing = || json!({});
        check(nothing(), nothing(), nothing(), [None, Some("👀"), None, None]);
        check(
            nothing(),
            nothing(),
            json!({"emoji": "🦞"}),
            [None, Some("🦞"), None, None],
        );
        let ours = || json!({"ackReaction": "👍", "ackReactionScope": "all"});
        check(ours(), nothing(), json!({"emoji": "🦞"}), [Some("👍"); 4]);
        check(ours(), json!({"ackReaction": "eyes"}), nothing(), [Some("eyes"); 4]);
        check(ours(), json!({"ackReaction": ""}), nothing(), [None; 4]);
        check(
            json!({"ackReaction": " "}),
            nothing(),
            json!({"emoji": "🦞"}),
            [None; 4],
        );
        let scoped = |scope: &str| json!({"ackReactionScope": scope});
        check(scoped("off"), nothing(), nothing(), [None; 4]);
        check(scoped("direct"), nothing(), nothing(), [Some("👀"), None, None, None]);
        check(
            scoped("group-all"),
            nothing(),
            nothing(),
            [None, Some("👀"), Some("👀"), Some("👀")],
        );
        check(
            scoped("something"),
            nothing(),
            nothing(),
            [None, Some("👀"), None, None],
        );
    }
}
