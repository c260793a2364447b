//! May the agent run a command on a node: by itself, after a person said so, or not at all (`agent-runtime` §13).
//!
//! Pure. The user's file (`exec.approvals.*`), the configuration (`tools.exec`) and what the node says of itself are asked;
//! the strictest rules.
//! Where the user's file says nothing, a command that is not on the allowlist needs a person's word.

mod programs;

use claw_entities::new_id;
use serde_json::{Value, json};

use programs::{LONGEST_PATH, matches, storable};
pub(crate) use programs::{is_harmless, is_protected};

use crate::config::document::UserSettings;

/// How far commands may go. The smaller is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Security {
    Deny,
    Allowlist,
    Full,
}

/// When a person is asked. The larger is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    Off,
    OnMiss,
    Always,
}

impl Security {
    /// A word this server does not know allows nothing.
    fn read(word: &Value) -> Option<Self> {
        match word.as_str() {
            None => None,
            Some("full") => Some(Self::Full),
            Some("allowlist") => Some(Self::Allowlist),
            Some(_) => Some(Self::Deny),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allowlist => "allowlist",
            Self::Full => "full",
        }
    }
}

impl Ask {
    /// A word this server does not know asks always.
    fn read(word: &Value) -> Option<Self> {
        match word.as_str() {
            None => None,
            Some("off") => Some(Self::Off),
            Some("on-miss") => Some(Self::OnMiss),
            Some(_) => Some(Self::Always),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::OnMiss => "on-miss",
            Self::Always => "always",
        }
    }
}

/// The entry of the file that rules every agent.
pub(crate) const EVERY_AGENT: &str = "*";

/// What rules one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    security: Security,
    ask: Ask,
    /// How far commands may go when a person was asked and nobody decided in time.
    fallback: Security,
    /// Globs over resolved paths of programs.
    allowlist: Vec<String>,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Run,
    /// A person decides.
    Ask,
    /// Nobody may; the text says why.
    Refuse(&'static str),
}

impl Policy {
    /// The user's own rules for an agent: its entry, else the one of all agents (`*`), else the defaults.
    fn of(file: &Value, agent_id: &str) -> Self {
        let places = [
            &file["agents"][agent_id],
            &file["agents"][EVERY_AGENT],
            &file["defaults"],
        ];
        let allowlist = places[..2].iter().flat_map(|place| patterns(place)).collect();
        Self {
            security: places
                .iter()
                .find_map(|place| Security::read(&place["security"]))
                .unwrap_or(Security::Allowlist),
            ask: places
                .iter()
                .find_map(|place| Ask::read(&place["ask"]))
                .unwrap_or(Ask::OnMiss),
            fallback: places
                .iter()
                .find_map(|place| Security::read(&place["askFallback"]))
                .unwrap_or(Security::Deny),
            allowlist,
        }
    }

    /// The user's own rules: the file, and what the configuration says of commands (`tools.exec`, for all agents and for
    /// this one). The stricter rules.
    pub(crate) fn of_user(file: &Value, settings: &UserSettings, agent_id: &str) -> Self {
        let own = settings.agents.iter().find(|agent| agent.id == agent_id);
        let own = own.map_or(&Value::Null, |agent| &agent.exec);
        Self::of(file, agent_id).within(&settings.tools.exec).within(own)
    }

    /// The stricter of both: with what the configuration says, or what the node answered to `system.run.prepare` as its `execPolicy`, or put into its plan as `policySnapshot`.
    /// A node that says nothing decides when the command comes.
    pub(crate) fn within(mut self, node: &Value) -> Self {
        if let Some(security) = Security::read(&node["security"]) {
            self.security = self.security.min(security);
        }
        if let Some(ask) = Ask::read(&node["ask"]) {
            self.ask = self.ask.max(ask);
        }
        if let Some(fallback) = Security::read(&node["askFallback"]) {
            self.fallback = self.fallback.min(fallback);
        }
        self
    }

    pub(crate) fn security(&self) -> &'static str {
        self.security.name()
    }

    pub(crate) fn ask(&self) -> &'static str {
        self.ask.name()
    }

    /// Does the verdict depend on where the program is.
    pub(crate) fn asks_the_list(&self) -> bool {
        self.security == Security::Allowlist && self.ask != Ask::Always
    }

    /// Has anybody to know where the program is: for the verdict, or for what happens without a person's word.
    pub(crate) fn needs_path(&self) -> bool {
        self.asks_the_list() || self.security.min(self.fallback) == Security::Allowlist
    }

    /// May the command run although a person was asked and nobody decided in time (`askFallback`). It opens nothing that
    /// the policy itself keeps closed: an allowlist stays one. `harmless`: no variable changes what the program does.
    pub(crate) fn runs_unanswered(&self, program: Option<&str>, harmless: bool) -> bool {
        match self.security.min(self.fallback) {
            Security::Deny => false,
            Security::Allowlist => harmless && program.is_some_and(|path| self.lists(path)),
            Security::Full => true,
        }
    }

    /// `program`: the resolved path, where it is known.
    pub(crate) fn verdict(&self, program: Option<&str>) -> Verdict {
        let listed = program.is_some_and(|path| self.lists(path));
        match (self.security, self.ask) {
            (Security::Deny, _) => Verdict::Refuse("the exec policy denies commands"),
            (_, Ask::Always) => Verdict::Ask,
            (Security::Full, Ask::Off | Ask::OnMiss) => Verdict::Run,
            (Security::Allowlist, Ask::Off | Ask::OnMiss) if listed => Verdict::Run,
            (Security::Allowlist, Ask::OnMiss) => Verdict::Ask,
            (Security::Allowlist, Ask::Off) => {
                Verdict::Refuse("the command is not on the allowlist, and the exec policy asks nobody")
            }
        }
    }

    fn lists(&self, path: &str) -> bool {
        storable(path) && self.allowlist.iter().any(|pattern| matches(pattern, path))
    }

    /// May "always" be answered: only where a path can be stored and would be asked for.
    pub(crate) fn can_remember(&self, program: Option<&str>) -> bool {
        self.asks_the_list() && program.is_some_and(storable)
    }
}

/// What the file's `defaults` come to, as `exec.approvals.get` shows it.
pub(crate) fn resolved_defaults(file: &Value) -> Value {
    let policy = Policy::of(&json!({"defaults": file["defaults"]}), "");
    json!({
        "security": policy.security.name(), "ask": policy.ask.name(), "askFallback": policy.fallback.name(),
        "autoAllowSkills": file["defaults"]["autoAllowSkills"] == true,
    })
}

/// What "always" was said about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant<'a> {
    pub(crate) agent_id: &'a str,
    /// Resolved path, as this server learned it from the node.
    pub(crate) program: &'a str,
    pub(crate) command: &'a str,
}

impl<'a> Grant<'a> {
    /// Of a stored request. `None`: it is not about one agent's program on a node.
    pub(crate) fn of(request: &'a Value) -> Option<Self> {
        if request["host"] != "node" {
            return None;
        }
        Some(Self {
            agent_id: request["agentId"]
                .as_str()
                .filter(|id| !id.is_empty() && *id != EVERY_AGENT)?,
            program: request["resolvedPath"].as_str().filter(|path| storable(path))?,
            command: request["command"].as_str().unwrap_or_default(),
        })
    }
}

/// Patterns of one list.
const MOST_PATTERNS: usize = 1000;

fn patterns(place: &Value) -> Vec<String> {
    let entries = place["allowlist"].as_array().map(Vec::as_slice).unwrap_or_default();
    // An entry for some arguments only would let the program run with any here: it matches nothing.
    let whole = |entry: &&Value| entry["argPattern"].is_null();
    let pattern = |entry: &Value| entry["pattern"].as_str().or(entry.as_str()).map(str::to_owned);
    // A bare name could be anybody's program of that name.
    entries
        .iter()
        .filter(whole)
        .filter_map(pattern)
        .filter(|pattern| pattern.contains(['/', '\\']) && pattern.len() <= LONGEST_PATH)
        .take(MOST_PATTERNS)
        .collect()
}

/// The file with one more entry on the agent's allowlist.
pub(crate) fn remember(mut file: Value, grant: &Grant<'_>, now: i64) -> Value {
    let Grant {
        agent_id,
        program: path,
        command,
    } = *grant;
    let entry = json!({
        "id": new_id(), "pattern": path, "source": "allow-always", "lastUsedAt": now, "lastUsedCommand": command,
        "lastResolvedPath": path,
    });
    if !file["agents"].is_object() {
        file["agents"] = json!({});
    }
    if !file["agents"][agent_id].is_object() {
        file["agents"][agent_id] = json!({});
    }
    let list = &mut file["agents"][agent_id]["allowlist"];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list
            .iter()
            .any(|known| known["pattern"] == path && known["argPattern"].is_null())
    {
        list.push(entry);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(security: &str, ask: &str) -> Policy {
        let allowlist = json!([{"pattern": "/usr/bin/git"}, {"pattern": "/opt/tools/*"}, {"pattern": "ls"}]);
        let file = json!({"version": 1, "defaults": {"security": security, "ask": ask},
            "agents": {"main": {"allowlist": allowlist}}});
        Policy::of(&file, "main")
    }

    #[test]
    fn a_path_longer_than_any_is_compared_with_nothing() {
        let endless = format!("/opt/tools/{}", "a".repeat(LONGEST_PATH));
        assert!(!matches("/opt/**", &endless) && !storable(&endless));
        let file = json!({"defaults": {"allowlist": [{"pattern": format!("/{}", "*?".repeat(LONGEST_PATH))}]}});
        assert_eq!(patterns(&file["defaults"]), Vec::<String>::new());
    }

    #[test]
    fn an_entry_for_some_arguments_allows_nothing_here() {
        let allowlist = json!([{"pattern": "/usr/bin/git", "argPattern": "^status$"}, {"pattern": "/usr/bin/curl"}]);
        let policy = Policy::of(&json!({"agents": {"main": {"allowlist": allowlist}}}), "main");
        assert_eq!(policy.verdict(Some("/usr/bin/git")), Verdict::Ask);
        assert_eq!(policy.verdict(Some("/usr/bin/curl")), Verdict::Run);
    }

    #[test]
    fn what_a_policy_makes_of_a_command() {
        let (git, other) = (Some("/usr/bin/git"), Some("/usr/bin/curl"));
        let refused = |verdict| matches!(verdict, Verdict::Refuse(_));
        for ask in ["off", "on-miss", "always"] {
            assert!(refused(policy("deny", ask).verdict(git)), "{ask}");
            assert!(refused(policy("brand-new", ask).verdict(git)), "{ask}");
        }
        for (security, ask, program, expected) in [
            ("allowlist", "on-miss", git, Verdict::Run),
            ("allowlist", "on-miss", Some("/USR/bin/Git"), Verdict::Run),
            ("allowlist", "on-miss", Some("/opt/tools/a"), Verdict::Run),
            ("allowlist", "on-miss", Some("/opt/tools/deep/a"), Verdict::Ask),
            ("allowlist", "on-miss", Some("/opt/tools/../../bin/rm"), Verdict::Ask),
            ("allowlist", "on-miss", Some("/opt/tools/bash"), Verdict::Ask),
            ("allowlist", "on-miss", Some("/bin/ls"), Verdict::Ask),
            ("allowlist", "on-miss", Some("ls"), Verdict::Ask),
            ("allowlist", "on-miss", other, Verdict::Ask),
            ("allowlist", "on-miss", None, Verdict::Ask),
            ("allowlist", "always", git, Verdict::Ask),
            ("allowlist", "brand-new", git, Verdict::Ask),
            ("allowlist", "off", git, Verdict::Run),
            ("full", "off", None, Verdict::Run),
            ("full", "on-miss", other, Verdict::Run),
            ("full", "always", git, Verdict::Ask),
        ] {
            assert_eq!(
                policy(security, ask).verdict(program),
                expected,
                "{security} {ask} {program:?}"
            );
        }
        assert!(refused(policy("allowlist", "off").verdict(other)));
    }

    #[test]
    fn nothing_said_means_a_person_is_asked() {
        for file in [
            json!({}),
            json!({"version": 1, "defaults": {}, "agents": {}}),
            Value::Null,
        ] {
            let policy = Policy::of(&file, "main");
            assert_eq!((policy.security(), policy.ask()), ("allowlist", "on-miss"));
            assert_eq!(policy.verdict(Some("/usr/bin/git")), Verdict::Ask);
        }
    }

    #[test]
    fn the_nearer_entry_wins_and_the_stricter_side() {
        let file = json!({"defaults": {"security": "full", "ask": "off"},
            "agents": {"*": {"ask": "always"}, "work": {"security": "deny"}}});
        assert_eq!(Policy::of(&file, "main").ask(), "always");
        assert_eq!(Policy::of(&file, "work").security(), "deny");
        let free = policy("full", "off");
        for (node, security, ask) in [
            (Value::Null, "full", "off"),
            (json!({"security": "full", "ask": "off"}), "full", "off"),
            (
                json!({"security": "allowlist", "ask": "on-miss"}),
                "allowlist",
                "on-miss",
            ),
            (json!({"security": "deny"}), "deny", "off"),
        ] {
            let both = free.clone().within(&node);
            assert_eq!((both.security(), both.ask()), (security, ask), "{node}");
        }
        let strict = policy("deny", "always").within(&json!({"security": "full", "ask": "off"}));
        assert_eq!((strict.security(), strict.ask()), ("deny", "always"));
    }

    #[test]
    fn the_configuration_takes_away_and_gives_nothing() {
        let settings = UserSettings::parse(&json!({
            "tools": {"exec": {"security": "allowlist", "ask": "on-miss"}},
            "agents": {"list": [{"id": "main"}, {"id": "work", "tools": {"exec": {"security": "deny"}}}]},
        }));
        let file = json!({"defaults": {"security": "full", "ask": "off"}});
        for (agent, security) in [("main", "allowlist"), ("other", "allowlist"), ("work", "deny")] {
            let policy = Policy::of_user(&file, &settings, agent);
            assert_eq!((policy.security(), policy.ask()), (security, "on-miss"), "{agent}");
        }
        let open = UserSettings::parse(&json!({"tools": {"exec": {"security": "full", "ask": "off"}}}));
        let strict = Policy::of_user(
            &json!({"defaults": {"security": "deny", "ask": "always"}}),
            &open,
            "main",
        );
        assert_eq!((strict.security(), strict.ask()), ("deny", "always"));
        let unsaid = Policy::of_user(&json!({}), &UserSettings::parse(&json!({})), "main");
        assert_eq!((unsaid.security(), unsaid.ask()), ("allowlist", "on-miss"));
    }

    #[test]
    fn always_is_remembered_where_it_means_one_program() {
        let policy = policy("allowlist", "on-miss");
        for (path, can) in [
            (Some("/usr/bin/curl"), true),
            (Some("C:\\Tools\\curl.exe"), true),
            (Some("/bin/sh"), false),
            (Some("/usr/bin/python3.12"), false),
            (Some("/usr/bin/env"), false),
            (Some("curl"), false),
            (Some("/usr/*/curl"), false),
            (None, false),
        ] {
            assert_eq!(policy.can_remember(path), can, "{path:?}");
        }
        let grant = |command| Grant {
            agent_id: "main",
            program: "/usr/bin/curl",
            command,
        };
        let file = remember(json!({"version": 1}), &grant("curl x"), 7);
        assert_eq!(Policy::of(&file, "main").verdict(Some("/usr/bin/curl")), Verdict::Run);
        assert_eq!(Policy::of(&file, "other").verdict(Some("/usr/bin/curl")), Verdict::Ask);
        let again = remember(file.clone(), &grant("curl y"), 8);
        assert_eq!(again, file);
    }

    #[test]
    fn a_word_is_about_a_program_on_a_node_and_an_agent() {
        let request = json!({"host": "node", "agentId": "main", "resolvedPath": "/usr/bin/curl", "command": "curl x"});
        assert_eq!(Grant::of(&request).map(|grant| grant.program), Some("/usr/bin/curl"));
        for (field, value) in [
            ("host", json!("gateway")),
            ("host", Value::Null),
            ("agentId", Value::Null),
            ("agentId", json!("")),
            ("agentId", json!("*")),
            ("resolvedPath", Value::Null),
            ("resolvedPath", json!("curl")),
            ("resolvedPath", json!("/usr/bin/*")),
            ("resolvedPath", json!("/bin/sh")),
        ] {
            let mut other = request.clone();
            other[field] = value.clone();
            assert_eq!(Grant::of(&other), None, "{field} {value}");
        }
    }

    #[test]
    fn silence_denies_unless_the_file_says_otherwise() {
        let file = |security: &str, fallback: Value| {
            json!({"version": 1, "defaults": {"security": security, "ask": "always", "askFallback": fallback},
                "agents": {"*": {"allowlist": [{"pattern": "/usr/bin/git"}]}, "strict": {"askFallback": "deny"}}})
        };
        let (git, other) = (Some("/usr/bin/git"), Some("/usr/bin/curl"));
        for (security, fallback, program, expected) in [
            ("full", Value::Null, git, false),
            ("full", json!("deny"), git, false),
            ("full", json!("brand-new"), git, false),
            ("full", json!("allowlist"), git, true),
            ("full", json!("allowlist"), other, false),
            ("full", json!("allowlist"), None, false),
            ("full", json!("full"), other, true),
            ("allowlist", json!("full"), git, true),
            ("allowlist", json!("full"), other, false),
            ("deny", json!("full"), git, false),
        ] {
            let file = file(security, fallback.clone());
            let runs = |agent: &str| Policy::of(&file, agent).runs_unanswered(program, true);
            assert_eq!(runs("main"), expected, "{security} {fallback} {program:?}");
            assert!(!runs("strict"), "an agent's own word goes before the defaults");
        }
        let listed = Policy::of(&file("full", json!("allowlist")), "main");
        assert!(listed.needs_path() && !listed.asks_the_list());
        assert!(
            !listed.runs_unanswered(git, false),
            "an allowlist knows programs, not variables"
        );
        // The node's own policy is kept to as well.
        let node = json!({"security": "allowlist", "ask": "off"});
        let both = Policy::of(&file("full", json!("full")), "main").within(&node);
        assert!(!both.runs_unanswered(other, true) && both.runs_unanswered(git, true));
        let strict = both.within(&json!({"askFallback": "deny"}));
        assert!(!strict.runs_unanswered(git, true));
    }

    #[test]
    fn defaults_are_shown_as_they_come_out() {
        let usual = json!({"security": "allowlist", "ask": "on-miss", "askFallback": "deny", "autoAllowSkills": false});
        assert_eq!(resolved_defaults(&json!({"version": 1})), usual);
        let set = json!({"security": "full", "ask": "off", "askFallback": "allowlist", "autoAllowSkills": true});
        let file = json!({"defaults": set, "agents": {"*": {"security": "deny"}}});
        assert_eq!(resolved_defaults(&file), set);
    }
}
