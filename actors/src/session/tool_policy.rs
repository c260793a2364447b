//! Which tools a run may use (`agent-runtime` §12.3). Every stage can only take away, so an agent's own rules
//! never widen what holds for all.

use claw_entities::{Scope, SessionKey};
use serde::Deserialize;

use super::item::Item;
use super::key::{self, Kind};
use super::prompt::Audience;
use super::turn::Authority;
use crate::Services;
use crate::config::document::{ToolRules, UserSettings, glob};
use crate::config::providers::ResolvedModel;
use crate::conversation::transcript::SessionHead;
use crate::error::Result;
use crate::ports::channel::{Destination, PeerKind};
use crate::ports::tool::ToolSpec;

/// Tools of the configuration's groups, also of tools this build does not have: a file may name them.
const GROUPS: &[(&str, &[&str])] = &[
    ("runtime", &["exec", "process"]),
    ("fs", &["read", "write", "edit", "apply_patch"]),
    ("web", &["web_search", "web_fetch"]),
    (
        "memory",
        &["memory_search", "memory_get", "memory_read", "memory_write"],
    ),
    (
        "sessions",
        &[
            "sessions_list",
            "sessions_history",
            "sessions_send",
            "sessions_spawn",
            "sessions_yield",
            "subagents",
            "session_status",
        ],
    ),
    ("ui", &["browser", "canvas"]),
    ("messaging", &["message"]),
    ("automation", &["cron", "gateway"]),
    ("nodes", &["nodes"]),
    ("agents", &["agents_list"]),
    ("media", &["image", "image_generate", "pdf", "tts"]),
];

/// All tools of MCP servers, as OpenClaw calls them. They are in its profiles but the smallest.
const SERVERS: &str = "bundle-mcp";

const CODING: &[&str] = &[
    "group:fs",
    "group:runtime",
    "group:web",
    "group:memory",
    "group:sessions",
    "cron",
    "image",
    "image_generate",
    "pdf",
    SERVERS,
];
const MESSAGING: &[&str] = &[
    "group:messaging",
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "session_status",
    SERVERS,
];
const MINIMAL: &[&str] = &["session_status"];

const SEARCH: &str = "web_search";
const FETCH: &str = "web_fetch";

/// What no sub-agent has, and what those have not that begin none of their own.
const NOT_FOR_SUBAGENTS: &[&str] = &[
    "gateway",
    "agents_list",
    "session_status",
    "cron",
    "memory_search",
    "memory_get",
    "memory_read",
    "memory_write",
    "sessions_send",
];
const NOT_FOR_LEAVES: &[&str] = &["subagents", "sessions_list", "sessions_history", "sessions_spawn"];

/// Where a sub-agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    /// 1: begun by a session that is no sub-agent.
    pub(crate) own: u32,
    pub(crate) deepest: u32,
}

/// Who wants to use a tool.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) agent_id: String,
    pub(crate) provider: String,
    pub(crate) model: String,
    /// False: the model takes no tools at all.
    pub(crate) takes_tools: bool,
    pub(crate) audience: Audience,
    /// Of a sub-agent.
    pub(crate) depth: Option<Depth>,
    /// Patterns that narrow the user's policy for this run.
    pub(crate) only: Option<Vec<String>>,
    /// Groups whose rules hold as well, each with who speaks in it as the recipient.
    pub(crate) groups: Vec<Destination>,
}

impl Caller {
    /// In the groups these were said in.
    pub(crate) fn within<'a>(mut self, items: impl IntoIterator<Item = &'a Item>) -> Self {
        for group in items.into_iter().filter_map(Item::group) {
            if !self.groups.contains(group) {
                self.groups.push(group.clone());
            }
        }
        self
    }

    /// In the group whose session it is, if it is one's, as nobody in particular there.
    pub(crate) fn within_session(mut self, head: Option<&SessionHead>) -> Self {
        let stored = head.and_then(|head| Destination::deserialize(&head.destination).ok());
        let group = stored.filter(|to| to.peer.kind != PeerKind::Direct);
        self.groups
            .extend(group.map(|to| Destination { recipient: None, ..to }));
        self
    }

    /// A program in the user's own name, in one of their sessions: no model is involved.
    pub(crate) fn program(session: &SessionKey, head: Option<&SessionHead>, settings: &UserSettings) -> Self {
        Self {
            agent_id: key::agent_of(session).to_owned(),
            provider: String::new(),
            model: String::new(),
            takes_tools: true,
            audience: Audience::Owner,
            depth: depth_of(session, head, settings),
            only: None,
            groups: Vec::new(),
        }
    }

    /// A turn of this session. `head` is `None` before its first.
    pub(crate) fn of(
        authority: &Authority,
        head: Option<&SessionHead>,
        settings: &UserSettings,
        model: &ResolvedModel,
        audience: Audience,
    ) -> Self {
        Self {
            agent_id: authority.agent_id.clone(),
            provider: model.provider.clone(),
            model: model.model.clone(),
            takes_tools: model.compat.tools != Some(false),
            audience,
            depth: depth_of(&authority.key, head, settings),
            only: None,
            groups: Vec::new(),
        }
    }
}

/// What the caller's groups say now.
///
/// # Errors
/// When an account cannot be read.
pub(crate) async fn of_groups(services: &Services, scope: &Scope, caller: &Caller) -> Result<Vec<ToolRules>> {
    let mut rules = Vec::new();
    for group in &caller.groups {
        let account = services
            .config
            .account(scope.tenant(), &group.channel, &group.account_id)
            .await?;
        let sender = group.recipient.as_deref().unwrap_or_default();
        match account {
            Some(account) => {
                let peer = &group.peer;
                let said = account.policy.group_tools(&peer.id, peer.thread.as_deref(), sender);
                rules.extend(said.cloned());
            }
            // Nobody can say any more what holds there.
            None => rules.push(nothing()),
        }
    }
    Ok(rules)
}

/// Rules that leave no tool.
pub(crate) fn nothing() -> ToolRules {
    ToolRules {
        deny: vec!["*".to_owned()],
        ..ToolRules::default()
    }
}

/// Where a sub-agent's session stands; `None` for any other.
fn depth_of(session: &SessionKey, head: Option<&SessionHead>, settings: &UserSettings) -> Option<Depth> {
    is_subagent(session).then(|| Depth {
        own: depth(session, head),
        deepest: settings.subagents(key::agent_of(session)).depth,
    })
}

/// Is it the session of a sub-agent.
pub(crate) fn is_subagent(session: &SessionKey) -> bool {
    key::parse(session.as_str()).is_some_and(|parsed| parsed.kind == Kind::Subagent)
}

/// How deep a session stands, also before it has a row of its own.
pub(crate) fn depth(session: &SessionKey, head: Option<&SessionHead>) -> u32 {
    let least = u32::from(is_subagent(session));
    head.map_or(0, spawn_depth).max(least)
}

/// How deep a session stands below one that is no sub-agent.
pub(crate) fn spawn_depth(head: &SessionHead) -> u32 {
    let depth = head.entry.get("spawnDepth").and_then(serde_json::Value::as_u64);
    depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or(0)
}

/// May the caller use the tool. `known` says whether there is any tool of a name that fits a pattern: an allow list that
/// names nothing known is ignored, so that a typo does not take everything away. `groups`: the rules of [`of_groups`].
pub(crate) fn allows(
    settings: &UserSettings,
    caller: &Caller,
    groups: &[ToolRules],
    spec: &ToolSpec,
    known: impl Fn(&dyn Fn(&str) -> bool) -> bool,
) -> bool {
    let name = spec.name.as_str();
    if !caller.takes_tools || (spec.owner_only && !caller.audience.speaks_with_owner()) {
        return false;
    }
    // Without a service there is nothing to search with.
    if name == SEARCH && settings.tools.search.chosen().is_none() {
        return false;
    }
    if name == FETCH && !settings.tools.fetch.enabled {
        return false;
    }
    let listed = |list: &[String]| list.iter().any(|pattern| fits(pattern, name));
    let admitted = |list: &[String]| {
        let any = |tool: &str| list.iter().any(|pattern| fits(pattern, tool));
        // What names servers is meant, also while they are away.
        !(known(&any) || list.iter().any(|pattern| names_servers(pattern))) || listed(list)
    };
    let passes = |rules: &ToolRules| {
        !listed(&rules.deny)
            && rules.allow.as_deref().is_none_or(admitted)
            && profile(rules)
                .is_none_or(|tools| tools.iter().any(|pattern| fits(pattern, name)) || listed(&rules.also_allow))
    };
    let stages = || stages(settings, caller).chain(groups);
    // Somebody in a group, and nobody said what they may reach. The owner's own words there have the owner's tools.
    let exposed = matches!(caller.audience, Audience::Group { owner: false })
        && !stages().any(|rules| rules.allow.is_some() || profile_is_named(rules));
    let fits_exposed =
        || MESSAGING.iter().any(|pattern| fits(pattern, name)) || stages().any(|rules| listed(&rules.also_allow));
    stages().all(passes)
        && (!exposed || fits_exposed())
        && caller.only.as_deref().is_none_or(listed)
        && caller
            .depth
            .is_none_or(|depth| of_subagent(settings, depth, name, &listed))
}

/// The rules that count, from all agents' to the agent's own.
fn stages<'a>(settings: &'a UserSettings, caller: &'a Caller) -> impl Iterator<Item = &'a ToolRules> {
    let all = &settings.tools.set;
    let own = settings.agent(&caller.agent_id).map(|agent| &agent.tools);
    let stages = [
        Some(&all.rules),
        all.of_model(&caller.provider, &caller.model),
        own.map(|set| &set.rules),
        own.and_then(|set| set.of_model(&caller.provider, &caller.model)),
    ];
    stages.into_iter().flatten()
}

/// Is every tool of the server with this prefix denied: then nobody has to connect to it.
pub(crate) fn denies_all(settings: &UserSettings, caller: &Caller, prefix: &str) -> bool {
    // What fits both of two names that no tool has does not look at the tool's part.
    let any = [format!("{prefix}__\u{1}"), format!("{prefix}__\u{2}")];
    stages(settings, caller)
        .flat_map(|rules| &rules.deny)
        .any(|pattern| any.iter().all(|name| fits(pattern, name)))
}

/// Does the pattern mean tools of servers, whether or not any are there now.
fn names_servers(pattern: &str) -> bool {
    let pattern = pattern.trim().to_ascii_lowercase();
    pattern.contains("__") || [SERVERS, "group:mcp", "group:plugins"].contains(&pattern.as_str())
}

/// Does the pattern fit one of these tools, or mean tools of servers.
pub(crate) fn means_any(pattern: &str, tools: &[&str]) -> bool {
    names_servers(pattern) || tools.iter().any(|tool| fits(pattern, tool))
}

fn of_subagent(settings: &UserSettings, depth: Depth, name: &str, listed: &dyn Fn(&[String]) -> bool) -> bool {
    let rules = &settings.tools.subagents;
    if listed(&rules.deny) {
        return false;
    }
    let allowed = rules.allow.as_deref().is_some_and(listed) || listed(&rules.also_allow);
    let kept_away = NOT_FOR_SUBAGENTS.contains(&name) || (depth.own >= depth.deepest && NOT_FOR_LEAVES.contains(&name));
    if kept_away {
        // Beginning more is a matter of depth, whatever a list says.
        return allowed && name != "sessions_spawn";
    }
    allowed || rules.allow.is_none()
}

/// Name of the profile that holds for an agent: its own, which can only take away, or the user's.
pub(crate) fn profile_of(settings: &UserSettings, agent_id: &str) -> String {
    let own = settings
        .agent(agent_id)
        .and_then(|agent| agent.tools.rules.profile.clone());
    own.or_else(|| settings.tools.set.rules.profile.clone())
        .unwrap_or_else(|| "full".to_owned())
}

fn profile_is_named(rules: &ToolRules) -> bool {
    rules.profile.as_deref() == Some("full") || profile(rules).is_some()
}

/// Tools of a profile; `None`: all.
fn profile(rules: &ToolRules) -> Option<&'static [&'static str]> {
    match rules.profile.as_deref()? {
        "minimal" => Some(MINIMAL),
        "coding" => Some(CODING),
        "messaging" => Some(MESSAGING),
        _ => None,
    }
}

/// Does the tool belong to this name, pattern or group; case does not matter.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim();
    if pattern.eq_ignore_ascii_case(SERVERS) {
        return fits("group:mcp", name);
    }
    let Some(group) = pattern
        .get(..6)
        .filter(|start| start.eq_ignore_ascii_case("group:"))
        .and_then(|_| pattern.get(6..))
    else {
        return glob(&pattern.to_ascii_lowercase(), &name.to_ascii_lowercase());
    };
    let group = group.to_ascii_lowercase();
    match group.as_str() {
        // What servers and programs of others bring is named `<server>__<tool>`.
        "openclaw" => !name.contains("__"),
        "plugins" | "mcp" => name.contains("__"),
        _ => GROUPS
            .iter()
            .any(|(known, tools)| *known == group && tools.contains(&name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ports::tool::Effect;

    const ALL: [&str; 9] = [
        "read",
        "web_fetch",
        "message",
        "cron",
        "sessions_list",
        "sessions_spawn",
        "sessions_send",
        "session_status",
        "nodes",
    ];

    fn spec(name: &str) -> ToolSpec {
        ToolSpec {
            name: name.to_owned(),
            description: String::new(),
            summary: String::new(),
            parameters: Value::Null.into(),
            effect: Effect::ReadOnly,
            owner_only: matches!(name, "cron" | "nodes" | "message"),
            timeout: std::time::Duration::from_secs(1),
        }
    }

    fn owner() -> Caller {
        Caller {
            agent_id: "main".to_owned(),
            provider: "openai".to_owned(),
            model: "gpt".to_owned(),
            takes_tools: true,
            audience: Audience::Owner,
            depth: None,
            only: None,
            groups: Vec::new(),
        }
    }

    fn allowed(doc: &Value, caller: &Caller) -> Vec<&'static str> {
        allowed_in(doc, caller, &[])
    }

    fn allowed_in(doc: &Value, caller: &Caller, groups: &[ToolRules]) -> Vec<&'static str> {
        let settings = UserSettings::parse(doc);
        let known = |any: &dyn Fn(&str) -> bool| ALL.iter().any(|name| any(name));
        let names = ALL.into_iter();
        names
            .filter(|name| allows(&settings, caller, groups, &spec(name), known))
            .collect()
    }

    #[test]
    fn names_patterns_and_groups() {
        for (pattern, name, does) in [
            ("*", "web_fetch", true),
            ("web_*", "web_fetch", true),
            ("*_fetch", "WEB_FETCH", true),
            ("web", "web_fetch", false),
            ("group:web", "web_fetch", true),
            (" Group:Sessions", "subagents", true),
            ("group:web", "read", false),
            ("group:nothing", "read", false),
            ("group:openclaw", "read", true),
            ("group:openclaw", "files__read", false),
            ("group:mcp", "files__read", true),
            ("Bundle-MCP", "files__read", true),
            ("bundle-mcp", "read", false),
            ("files__*", "files__read", true),
            ("*Fetch*", "web_fetch", true),
            ("FILES__*_write", "files__all_Write", true),
            ("files__*_write", "files__read", false),
        ] {
            assert_eq!(fits(pattern, name), does, "{pattern} {name}");
        }
    }

    #[test]
    fn every_stage_only_takes_away() {
        assert_eq!(allowed(&json!({}), &owner()), ALL);
        let without = Caller {
            takes_tools: false,
            ..owner()
        };
        assert!(allowed(&json!({}), &without).is_empty(), "the model takes none");
        let tools = |rules: Value| json!({"tools": rules});
        assert_eq!(
            allowed(
                &tools(json!({"web": {"fetch": {"enabled": false}}, "allow": ["group:web", "read"]})),
                &owner()
            ),
            ["read"]
        );
        assert_eq!(
            allowed(&tools(json!({"profile": "minimal"})), &owner()),
            ["session_status"]
        );
        assert_eq!(
            allowed(
                &tools(json!({"profile": "minimal", "alsoAllow": ["group:web"]})),
                &owner()
            ),
            ["web_fetch", "session_status"]
        );
        assert_eq!(
            allowed(
                &tools(json!({"profile": "messaging", "deny": ["sessions_*"]})),
                &owner()
            ),
            ["message", "session_status"]
        );
        assert_eq!(
            allowed(&tools(json!({"profile": "full", "allow": ["read"]})), &owner()),
            ["read"]
        );
        assert_eq!(
            allowed(&tools(json!({"allow": ["raed"]})), &owner()),
            ALL,
            "a typo takes nothing away"
        );
        assert_eq!(
            allowed(&tools(json!({"allow": ["raed"], "deny": ["*"]})), &owner()),
            [""; 0]
        );
        let by = json!({"byProvider": {"openai": {"allow": ["read", "cron"]}, "openai/gpt": {"allow": ["cron"]}}});
        assert_eq!(
            allowed(&tools(by.clone()), &owner()),
            ["cron"],
            "the model's rules take the provider's place"
        );
        let other = Caller {
            model: "o9".to_owned(),
            ..owner()
        };
        assert_eq!(allowed(&tools(by), &other), ["read", "cron"]);
        let agents = json!({
            "tools": {"deny": ["cron"]},
            "agents": {"list": [{"id": "main", "tools": {"allow": ["cron", "read", "nodes"],
                "byProvider": {"openai": {"deny": ["nodes"]}}}}]},
        });
        assert_eq!(allowed(&agents, &owner()), ["read"], "an agent never has more than all");
        let narrowed = Caller {
            only: Some(vec!["group:web".to_owned()]),
            ..owner()
        };
        assert_eq!(allowed(&json!({}), &narrowed), ["web_fetch"]);
    }

    #[test]
    fn a_groups_rules_are_one_more_stage_and_groups_have_less_by_themselves() {
        let group = |owner| Caller {
            audience: Audience::Group { owner },
            ..self::owner()
        };
        let usual = ["sessions_list", "sessions_send", "session_status"];
        assert_eq!(allowed(&json!({}), &group(false)), usual);
        let full = json!({"tools": {"profile": "full"}});
        let rules = |rules: Value| [ToolRules::parse(&rules)];
        assert_eq!(
            allowed_in(
                &full,
                &group(false),
                &rules(json!({"deny": ["sessions_*", "group:fs"]}))
            ),
            ["web_fetch", "session_status"]
        );
        assert_eq!(
            allowed_in(&json!({}), &group(false), &rules(json!({"allow": ["read", "cron"]}))),
            ["read"],
            "the owner's tools stay the owner's"
        );
        assert_eq!(
            allowed_in(&json!({}), &group(false), &rules(json!({"alsoAllow": ["read"]}))),
            ["read", "sessions_list", "sessions_send", "session_status"]
        );
        assert_eq!(allowed(&json!({}), &group(true)), ALL);
        assert_eq!(allowed_in(&full, &group(true), &[nothing()]), [""; 0]);
    }

    #[test]
    fn a_list_that_names_servers_counts_while_they_are_away() {
        for only in ["docs__search", "docs__*", "bundle-mcp", "group:mcp"] {
            let rules = json!({"tools": {"allow": [only]}});
            assert_eq!(allowed(&rules, &owner()), [""; 0], "{only}");
        }
    }

    #[test]
    fn servers_are_in_all_profiles_but_the_smallest_and_a_whole_one_can_be_denied() {
        let may = |rules: Value, name: &str| {
            let settings = UserSettings::parse(&json!({"tools": rules}));
            let tool = spec(name);
            allows(&settings, &owner(), &[], &tool, |any| any(name))
        };
        for (profile, has) in [
            ("minimal", false),
            ("messaging", true),
            ("coding", true),
            ("full", true),
        ] {
            assert_eq!(may(json!({"profile": profile}), "docs__search"), has, "{profile}");
        }
        let denies = |pattern: &str| {
            let settings = UserSettings::parse(&json!({"tools": {"deny": [pattern]}}));
            denies_all(&settings, &owner(), "docs")
        };
        for all in ["docs__*", "DOCS__*", "bundle-mcp", "group:mcp", "*", "docs*"] {
            assert!(denies(all), "{all}");
        }
        for some in ["docs__search", "docs__s*", "*search", "other__*", "group:web"] {
            assert!(!denies(some), "{some}");
        }
    }

    #[test]
    fn guests_have_no_tool_of_the_owners_whatever_is_allowed() {
        let guest = Caller {
            audience: Audience::Guest,
            ..owner()
        };
        let open = json!({"tools": {"profile": "full", "allow": ["*"], "alsoAllow": ["*"]}});
        let found = allowed(&open, &guest);
        assert!(
            !found.iter().any(|name| ["cron", "nodes", "message"].contains(name)),
            "{found:?}"
        );
    }

    #[test]
    fn sub_agents_have_less_and_leaves_least() {
        let at = |own, deepest| Caller {
            depth: Some(Depth { own, deepest }),
            ..owner()
        };
        assert_eq!(
            allowed(&json!({}), &at(1, 1)),
            ["read", "web_fetch", "message", "nodes"]
        );
        let between = allowed(&json!({}), &at(1, 2));
        assert!(
            between.contains(&"sessions_spawn") && !between.contains(&"sessions_send"),
            "{between:?}"
        );
        let refined = json!({"tools": {"subagents": {"tools": {"allow": ["read", "cron", "sessions_spawn"], "deny": ["message"]}}}});
        assert_eq!(
            allowed(&refined, &at(1, 1)),
            ["read", "cron"],
            "depth is no matter of lists"
        );
    }
}
