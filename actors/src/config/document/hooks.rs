//! `hooks` (`agent-runtime` §19.1): what programs elsewhere may start here, and what their own payloads become. Their
//! tokens are no part of the document: they are stored hashed, see [`crate::config::hooks`].

use serde_json::Value;

use super::parse::{at, number, text, texts};

/// Largest body, bytes: the default, and what nobody may go beyond.
const BODY: usize = 256 * 1024;
/// Messages that a conversation leaves behind, and the most of them.
const KEPT: u64 = 15;
const MOST_KEPT: u64 = 100;
const LARGEST_BODY: usize = 2 * 1024 * 1024;

/// Section `hooks`.
#[derive(Clone, Debug, PartialEq)]
pub struct HookSettings {
    pub enabled: bool,
    pub max_body_bytes: usize,
    /// The session of agent hooks that name none; each has its own when absent.
    pub default_session_key: Option<String>,
    /// May a request name its session.
    pub allow_request_session_key: bool,
    /// Beginnings that such a name must have; absent: any.
    pub allowed_session_key_prefixes: Option<Vec<String>>,
    /// Absent or `*`: any; empty: none.
    pub allowed_agent_ids: Option<Vec<String>>,
    pub mappings: Vec<Mapping>,
    /// `internal.entries.session-memory`: messages that a conversation leaves behind as a note; absent: it leaves none.
    pub session_memory: Option<u64>,
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            max_body_bytes: BODY,
            default_session_key: None,
            allow_request_session_key: false,
            allowed_session_key_prefixes: None,
            allowed_agent_ids: None,
            mappings: Vec::new(),
            session_memory: Some(KEPT),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookAction {
    Wake,
    #[default]
    Agent,
}

/// One of `hooks.mappings`: what a payload of somebody else's form becomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    pub id: Option<String>,
    /// `match.path`: what stands behind `/hooks/`.
    pub path: Option<String>,
    /// `match.source`: the payload's `source`.
    pub source: Option<String>,
    pub action: HookAction,
    /// `next-heartbeat` instead of now.
    pub later: bool,
    pub name: Option<String>,
    pub agent_id: Option<String>,
    pub session_key: Option<String>,
    pub message_template: Option<String>,
    pub text_template: Option<String>,
    pub deliver: Option<bool>,
    pub channel: Option<String>,
    pub to: Option<String>,
    pub model: Option<String>,
    pub thinking: Option<String>,
    pub timeout_seconds: Option<u64>,
    /// The payload is not wrapped as somebody else's words.
    pub allow_unsafe_external_content: bool,
}

impl HookSettings {
    pub(super) fn parse(section: &Value) -> Self {
        let usual = Self::default();
        let mappings = at(section, "/mappings").as_array();
        Self {
            enabled: at(section, "/enabled").as_bool().unwrap_or(usual.enabled),
            max_body_bytes: number(at(section, "/maxBodyBytes"))
                .and_then(|bytes| usize::try_from(bytes).ok())
                .filter(|bytes| *bytes > 0)
                .map_or(usual.max_body_bytes, |bytes| bytes.min(LARGEST_BODY)),
            default_session_key: text(at(section, "/defaultSessionKey")),
            allow_request_session_key: at(section, "/allowRequestSessionKey").as_bool().unwrap_or(false),
            allowed_session_key_prefixes: texts(at(section, "/allowedSessionKeyPrefixes")),
            allowed_agent_ids: texts(at(section, "/allowedAgentIds")),
            mappings: mappings.into_iter().flatten().map(Mapping::parse).collect(),
            session_memory: session_memory(at(section, "/internal")),
        }
    }

    /// May a hook run this agent.
    pub fn allows_agent(&self, agent: &str) -> bool {
        let list = self.allowed_agent_ids.as_ref();
        list.is_none_or(|list| list.iter().any(|allowed| allowed == "*" || allowed == agent))
    }

    /// Is a mapping of this name reached at `/hooks/<path>`.
    pub fn leads_to(&self, path: &str, name: &str) -> bool {
        let path = path.trim_matches('/');
        self.mappings.iter().any(|mapping| {
            let there = mapping.path.as_deref().map(|own| own.trim_matches('/'));
            there == Some(path) && mapping.is_called(name)
        })
    }

    /// The first mapping for what came in at `/hooks/<path>`.
    pub fn mapping(&self, path: &str, payload: &Value) -> Option<&Mapping> {
        let path = path.trim_matches('/');
        self.mappings.iter().find(|mapping| {
            let named = mapping
                .path
                .as_ref()
                .is_none_or(|wanted| wanted.trim_matches('/') == path);
            let from = mapping.source.as_deref();
            let from = from.is_none_or(|wanted| payload["source"].as_str() == Some(wanted));
            // One that matches nothing in particular is reached by its id.
            let particular = mapping.path.is_some() || mapping.source.is_some() || mapping.id.as_deref() == Some(path);
            particular && named && from
        })
    }
}

/// `internal`, of which one entry means something here.
fn session_memory(internal: &Value) -> Option<u64> {
    let entry = at(internal, "/entries/session-memory");
    let off = at(internal, "/enabled") == false || at(entry, "/enabled") == false;
    let kept = number(at(entry, "/messages")).filter(|count| *count > 0);
    (!off).then(|| kept.unwrap_or(KEPT).min(MOST_KEPT))
}

impl Mapping {
    fn parse(entry: &Value) -> Self {
        let field = |name: &str| text(&entry[name]);
        Self {
            id: field("id"),
            path: text(at(entry, "/match/path")),
            source: text(at(entry, "/match/source")),
            action: if entry["action"] == "wake" {
                HookAction::Wake
            } else {
                HookAction::Agent
            },
            later: entry["wakeMode"] == "next-heartbeat",
            name: field("name"),
            agent_id: field("agentId"),
            session_key: field("sessionKey"),
            message_template: field("messageTemplate"),
            text_template: field("textTemplate"),
            deliver: entry["deliver"].as_bool(),
            channel: field("channel"),
            to: field("to"),
            model: field("model"),
            thinking: field("thinking"),
            timeout_seconds: number(&entry["timeoutSeconds"]),
            allow_unsafe_external_content: entry["allowUnsafeExternalContent"] == true,
        }
    }

    /// Is this its id or its path, as a token for it alone says.
    pub fn is_called(&self, name: &str) -> bool {
        let plain = |own: &Option<String>| own.as_deref().is_some_and(|own| own.trim_matches('/') == name);
        plain(&self.id) || plain(&self.path)
    }

    /// What its own token is made for, and what people call it.
    pub fn key(&self) -> Option<&str> {
        self.id.as_deref().or(self.path.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conversation_leaves_a_note_unless_that_is_switched_off() {
        let of = |internal: Value| HookSettings::parse(&json!({"internal": internal})).session_memory;
        assert_eq!(HookSettings::parse(&json!({})).session_memory, Some(15));
        assert_eq!(of(json!({"entries": {"session-memory": {"messages": 3}}})), Some(3));
        assert_eq!(
            of(json!({"entries": {"session-memory": {"messages": 5_000}}})),
            Some(100)
        );
        assert_eq!(of(json!({"entries": {"session-memory": {"enabled": false}}})), None);
        assert_eq!(of(json!({"enabled": false})), None);
    }

    #[test]
    fn a_mapping_is_found_by_path_source_or_id() {
        let settings = HookSettings::parse(&json!({"mappings": [
            {"id": "gh", "match": {"path": "/github", "source": "github"}, "action": "wake"},
            {"match": {"path": "github"}},
            {"id": "alone"},
        ]}));
        let found = |path: &str, payload: &Value| {
            let found = settings.mapping(path, payload);
            found.map(|mapping| settings.mappings.iter().position(|one| one == mapping).unwrap())
        };
        assert_eq!(found("github", &json!({"source": "github"})), Some(0));
        assert_eq!(found("github", &json!({})), Some(1));
        assert_eq!(found("alone", &json!({})), Some(2));
        assert_eq!(found("other", &json!({"source": "x"})), None);
        assert!(settings.leads_to("github", "gh") && settings.leads_to("github", "github"));
        assert!(!settings.leads_to("other", "gh") && !settings.leads_to("github", "alone"));
    }

    #[test]
    fn nonsense_is_the_default() {
        assert_eq!(HookSettings::parse(&json!(null)), HookSettings::default());
        let settings = HookSettings::parse(&json!({"enabled": "yes", "maxBodyBytes": 1e12, "mappings": {}}));
        assert!(settings.enabled && settings.max_body_bytes <= LARGEST_BODY && settings.mappings.is_empty());
        assert!(settings.allows_agent("any"));
        assert!(!HookSettings::parse(&json!({"allowedAgentIds": []})).allows_agent("any"));
    }
}
