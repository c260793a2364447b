//! May the agent run a command on a node: by itself, after a person said so, or not at all (`agent-runtime` §13).
//!
//! Pure. The user's file (`exec.approvals.*`) and what the node says of itself are both asked; the stricter one rules.
//! Where the user's file says nothing, a command that is not on the allowlist needs a person's word.

use claw_entities::new_id;
use serde_json::{Value, json};

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

/// What rules one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    security: Security,
    ask: Ask,
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
    pub(crate) fn of(file: &Value, agent_id: &str) -> Self {
        let places = [&file["agents"][agent_id], &file["agents"]["*"], &file["defaults"]];
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
            allowlist,
        }
    }

    /// With what the node answered to `system.run.prepare` as its `execPolicy`. A node that says nothing decides when
    /// the command comes.
    pub(crate) fn and_nodes(mut self, node: &Value) -> Self {
        if let Some(security) = Security::read(&node["security"]) {
            self.security = self.security.min(security);
        }
        if let Some(ask) = Ask::read(&node["ask"]) {
            self.ask = self.ask.max(ask);
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
    pub(crate) fn needs_path(&self) -> bool {
        self.security == Security::Allowlist && self.ask != Ask::Always
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
        self.needs_path() && program.is_some_and(storable)
    }
}

/// Longest path that is compared, bytes, and patterns of one list: a node says what the path is, and comparing takes as
/// long as the two multiplied.
const LONGEST_PATH: usize = 1024;
const MOST_PATTERNS: usize = 1000;

fn patterns(place: &Value) -> Vec<String> {
    let entries = place["allowlist"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pattern = |entry: &Value| entry["pattern"].as_str().or(entry.as_str()).map(str::to_owned);
    // A bare name could be anybody's program of that name.
    entries
        .iter()
        .filter_map(pattern)
        .filter(|pattern| pattern.contains(['/', '\\']) && pattern.len() <= LONGEST_PATH)
        .take(MOST_PATTERNS)
        .collect()
}

/// The file with one more entry on the agent's allowlist.
pub(crate) fn remember(mut file: Value, agent_id: &str, path: &str, command: &str, now: i64) -> Value {
    let entry = json!({
        "id": new_id(), "pattern": path, "lastUsedAt": now, "lastUsedCommand": command, "lastResolvedPath": path,
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
        && !list.iter().any(|known| known["pattern"] == path)
    {
        list.push(entry);
    }
    file
}

/// Programs whose arguments are programs: a word about them says nothing about what will run.
const WRAPPERS: [&str; 75] = [
    "ash",
    "awk",
    "bash",
    "bun",
    "bunx",
    "busybox",
    "chroot",
    "cmd",
    "command",
    "cscript",
    "csh",
    "dash",
    "deno",
    "doas",
    "docker",
    "env",
    "eval",
    "exec",
    "expect",
    "find",
    "fish",
    "flock",
    "gawk",
    "genv",
    "gtimeout",
    "gxargs",
    "ionice",
    "ksh",
    "lua",
    "make",
    "mawk",
    "mksh",
    "mshta",
    "nawk",
    "nice",
    "node",
    "nodejs",
    "nohup",
    "npm",
    "npx",
    "nsenter",
    "osascript",
    "parallel",
    "perl",
    "php",
    "pkexec",
    "podman",
    "powershell",
    "pwsh",
    "pypy",
    "python",
    "rbash",
    "ruby",
    "rundll32",
    "script",
    "setsid",
    "sh",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "tclsh",
    "tcsh",
    "time",
    "timeout",
    "tmux",
    "unshare",
    "uv",
    "watch",
    "wscript",
    "wsl",
    "xargs",
    "zsh",
];

/// Can a path stand on an allowlist: absolute, without detours, wildcards or the means to run something else.
fn storable(path: &str) -> bool {
    let slashed = path.replace('\\', "/");
    let mut parts = slashed.split('/');
    let root = parts.next().unwrap_or_default();
    let absolute = slashed.contains('/') && (root.is_empty() || (root.len() == 2 && root.ends_with(':')));
    let straight = parts.all(|part| !matches!(part, "" | "." | ".."));
    let name = slashed.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    // `python3.12` is python.
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-');
    let short = path.len() <= LONGEST_PATH;
    short && absolute && straight && !path.contains(['*', '?', '[']) && !WRAPPERS.contains(&name)
}

/// `*` and `?` stay within a folder, `**` does not; case does not matter.
fn matches(pattern: &str, path: &str) -> bool {
    if path.len() > LONGEST_PATH {
        return false;
    }
    let fold = |text: &str| -> Vec<char> { text.replace('\\', "/").to_lowercase().chars().collect() };
    glob(&fold(pattern), &fold(path))
}

fn glob(pattern: &[char], path: &[char]) -> bool {
    // Which prefixes of the path the pattern read so far can stand for.
    let mut reach = vec![false; path.len() + 1];
    reach[0] = true;
    let mut at = 0;
    while let Some(letter) = pattern.get(at) {
        let deep = *letter == '*' && pattern.get(at + 1) == Some(&'*');
        at += if deep { 2 } else { 1 };
        let mut next = vec![false; path.len() + 1];
        for (end, seen) in path.iter().enumerate() {
            match letter {
                '*' => {
                    next[end] = next[end] || reach[end];
                    next[end + 1] = next[end] && (deep || *seen != '/');
                }
                '?' => next[end + 1] = reach[end] && *seen != '/',
                letter => next[end + 1] = reach[end] && letter == seen,
            }
        }
        if *letter == '*' {
            let last = path.len();
            next[last] = next[last] || reach[last];
        }
        reach = next;
    }
    reach.last() == Some(&true)
}

/// Variables that change how a program speaks, not what it does: a word about the program covers them.
pub(crate) fn is_harmless(name: &str) -> bool {
    ["LANG", "LANGUAGE", "TERM", "TZ", "NO_COLOR", "COLUMNS", "LINES"].contains(&name) || name.starts_with("LC_")
}

/// Variables that would change which program runs, or what it runs first.
pub(crate) fn is_protected(name: &str) -> bool {
    const NAMES: [&str; 40] = [
        "BASHOPTS",
        "BASH_ENV",
        "BROWSER",
        "CDPATH",
        "DOTNET_STARTUP_HOOKS",
        "EDITOR",
        "ENV",
        "GCONV_PATH",
        "HOME",
        "IFS",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "LESSCLOSE",
        "LESSOPEN",
        "LUA_INIT",
        "MANPAGER",
        "NODE_OPTIONS",
        "NODE_PATH",
        "OPENSSL_CONF",
        "PAGER",
        "PATH",
        "PERL5DB",
        "PERL5LIB",
        "PERL5OPT",
        "PERLLIB",
        "PHPRC",
        "PROMPT_COMMAND",
        "PS4",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "RUBYLIB",
        "RUBYOPT",
        "RUSTC_WRAPPER",
        "SHELLOPTS",
        "VISUAL",
        "XDG_CONFIG_HOME",
        "ZDOTDIR",
        "_JAVA_OPTIONS",
    ];
    let name = name.to_ascii_uppercase();
    NAMES.contains(&name.as_str())
        || ["LD_", "DYLD_", "BASH_FUNC_", "GIT_"]
            .iter()
            .any(|start| name.starts_with(start))
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
    fn only_variables_that_change_nothing_are_harmless() {
        for (name, harmless) in [
            ("LANG", true),
            ("LC_ALL", true),
            ("LESSOPEN", false),
            ("FOO", false),
            ("lang", false),
        ] {
            assert_eq!(is_harmless(name), harmless, "{name}");
        }
        assert!(is_protected("lessopen") && is_protected("GIT_SSH_COMMAND") && !is_protected("FOO"));
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
            let both = free.clone().and_nodes(&node);
            assert_eq!((both.security(), both.ask()), (security, ask), "{node}");
        }
        let strict = policy("deny", "always").and_nodes(&json!({"security": "full", "ask": "off"}));
        assert_eq!((strict.security(), strict.ask()), ("deny", "always"));
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
        let file = remember(json!({"version": 1}), "main", "/usr/bin/curl", "curl x", 7);
        assert_eq!(Policy::of(&file, "main").verdict(Some("/usr/bin/curl")), Verdict::Run);
        assert_eq!(Policy::of(&file, "other").verdict(Some("/usr/bin/curl")), Verdict::Ask);
        let again = remember(file.clone(), "main", "/usr/bin/curl", "curl y", 8);
        assert_eq!(again, file);
    }

    #[test]
    fn globs() {
        for (pattern, path, expected) in [
            ("/usr/bin/*", "/usr/bin/git", true),
            ("/usr/*", "/usr/bin/git", false),
            ("/usr/**", "/usr/bin/git", true),
            ("/usr/**/git", "/usr/a/b/git", true),
            ("/usr/bin/g?t", "/usr/bin/git", true),
            ("/usr/bin?git", "/usr/bin/git", false),
            ("/usr/bin/git", "/usr/bin/gitk", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn variables_that_change_the_program() {
        for name in [
            "PATH",
            "path",
            "LD_PRELOAD",
            "DYLD_INSERT_LIBRARIES",
            "NODE_OPTIONS",
            "GIT_SSH_COMMAND",
        ] {
            assert!(is_protected(name), "{name}");
        }
        assert!(!is_protected("LANG"));
    }
}
