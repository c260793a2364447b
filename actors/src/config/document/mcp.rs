//! `mcp.servers`: servers elsewhere whose tools the user's agents may use (`agent-runtime` §15), in OpenClaw's shape.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::glob::glob;
use super::memory::memories;
use super::parse::{at, number, text, texts};

/// Servers of one user; those beyond, by name, are left out (`agent-runtime` §15).
pub const MOST_SERVERS: usize = 20;
/// Characters of a server's part of a tool's name (`agent-runtime` §15).
const LONGEST_PREFIX: usize = 30;
/// What `transport` and `type` call the one way we speak.
const TRANSPORTS: [&str; 3] = ["streamable-http", "http", "streamable_http"];

/// All servers of a user, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpSettings {
    pub servers: Vec<Arc<McpServer>>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// Its key in the configuration.
    pub name: String,
    /// What its tools' names begin with, before `__`: no other server of the user has the same, in any case of letters.
    pub prefix: String,
    pub enabled: bool,
    pub url: String,
    /// Names of the headers it is sent. Their values are sealed.
    pub headers: Vec<String>,
    /// `connectionTimeoutMs`: for connecting, with what both sides say first.
    pub connecting: Duration,
    /// `requestTimeoutMs`: for one call.
    pub calling: Duration,
    /// `toolFilter`: patterns of names as the server spells them.
    pub include: Option<Vec<String>>,
    pub exclude: Vec<String>,
    /// Patterns of tools that guests may use too; nobody but the owner uses the others.
    pub guests: Vec<String>,
    /// `readOnly`: patterns of tools that change nothing, as the owner says. What a server says of itself is no proof.
    pub read_only: Vec<String>,
}

impl McpSettings {
    pub(super) fn parse(doc: &Value) -> Self {
        let entries = at(doc, "/mcp/servers").as_object();
        let mut taken = HashSet::new();
        let mut entries: Vec<_> = entries.into_iter().flatten().collect();
        entries.sort_by_key(|(name, _)| *name);
        let servers = entries.into_iter().take(MOST_SERVERS).filter_map(|(name, entry)| {
            let prefix = unlike(&mut taken, prefix(name));
            McpServer::parse(name, prefix, entry).map(Arc::new)
        });
        Self {
            servers: servers.collect(),
        }
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<&Arc<McpServer>> {
        self.servers.iter().find(|server| server.name == name)
    }
}

impl McpServer {
    /// `None` for what is no server here: one without an address, or of another transport.
    fn parse(name: &str, prefix: String, entry: &Value) -> Option<Self> {
        let spoken = |key: &str| text(at(entry, key)).is_none_or(|how| is_transport(&how));
        let url = text(at(entry, "/url")).filter(|_| spoken("/transport") && spoken("/type"))?;
        let millis = |pointer: &str, usual: u64, most: u64| {
            Duration::from_millis(number(at(entry, pointer)).unwrap_or(usual).clamp(100, most))
        };
        let headers = at(entry, "/headers").as_object();
        Some(Self {
            name: name.to_owned(),
            prefix,
            enabled: at(entry, "/enabled").as_bool() != Some(false),
            url,
            headers: headers.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            connecting: millis("/connectionTimeoutMs", 30_000, 120_000),
            calling: millis("/requestTimeoutMs", 60_000, 600_000),
            include: texts(at(entry, "/toolFilter/include")).filter(|patterns| !patterns.is_empty()),
            exclude: texts(at(entry, "/toolFilter/exclude")).unwrap_or_default(),
            guests: texts(at(entry, "/guests")).unwrap_or_default(),
            read_only: texts(at(entry, "/readOnly")).unwrap_or_default(),
        })
    }

    /// Does the filter let this tool through, under the name the server gives it.
    pub fn lets_through(&self, tool: &str) -> bool {
        let listed = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, tool));
        self.include.as_deref().is_none_or(listed) && !listed(&self.exclude)
    }

    /// May guests use this tool.
    pub fn is_for_guests(&self, tool: &str) -> bool {
        self.guests.iter().any(|pattern| glob(pattern, tool))
    }

    /// Does the owner say that this tool changes nothing.
    pub fn only_reads(&self, tool: &str) -> bool {
        self.read_only.iter().any(|pattern| glob(pattern, tool))
    }

    /// Where in the document a header's marker stands.
    pub fn pointer(&self, header: &str) -> String {
        let escaped = |part: &str| part.replace('~', "~0").replace('/', "~1");
        format!("/mcp/servers/{}/headers/{}", escaped(&self.name), escaped(header))
    }
}

/// Does the secret at this pointer, which stood at `from` in `before`, belong to a server that `after` has at another
/// origin: what was meant for the one is not sent to the other.
pub(super) fn is_moved((before, from): (&Value, &str), (after, pointer): (&Value, &str)) -> bool {
    if pointer.ends_with("/memorySearch/remote/apiKey") {
        let known = embedders(before, from);
        return embedders(after, pointer).iter().any(|address| !known.contains(address));
    }
    let server = pointer
        .strip_prefix("/mcp/servers/")
        .and_then(|rest| rest.split('/').next())
        .map(|name| format!("/mcp/servers/{name}/url"));
    let speech = pointer
        .strip_prefix("/messages/tts/")
        .and_then(|rest| rest.strip_suffix("/apiKey"))
        .map(|name| format!("/messages/tts/{name}/baseUrl"));
    server.or(speech).is_some_and(|place| {
        let url = |doc: &Value| text(at(doc, &place)).map(|url| origin(&url));
        url(before) != url(after)
    })
}

/// Where the key at this pointer is sent, `None` for its provider's own address. An agent that has no key or no address
/// of its own takes the defaults'.
fn embedders(doc: &Value, key_at: &str) -> Vec<Option<String>> {
    let (usual, own) = memories(doc);
    let all = std::iter::once(usual).chain(own.into_iter().map(|(_, settings)| settings));
    all.filter(|settings| settings.key_at.as_deref() == Some(key_at))
        .map(|settings| settings.base_url.as_deref().map(origin))
        .collect()
}

/// Scheme, host and port as written, in small letters.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    format!("{scheme}://{authority}").to_ascii_lowercase()
}

/// Is this how we speak with servers.
pub fn is_transport(name: &str) -> bool {
    TRANSPORTS.contains(&name.trim())
}

/// A server's name as tools carry it: letters, digits, `-` and single `_`, a letter first, so that the first `__` of a
/// tool's name is where the server's part ends.
fn prefix(name: &str) -> String {
    let mut prefix = String::with_capacity(LONGEST_PREFIX);
    for char in name.trim().chars() {
        let char = if char.is_ascii_alphanumeric() || char == '_' {
            char
        } else {
            '-'
        };
        if !(char == '_' && prefix.ends_with('_')) {
            prefix.push(char);
        }
    }
    if !prefix.starts_with(|first: char| first.is_ascii_alphabetic()) {
        prefix.insert_str(0, "mcp-");
    }
    prefix.truncate(LONGEST_PREFIX);
    prefix.trim_end_matches('_').to_owned()
}

/// The name, or with `-2`, `-3` … where one like it is taken.
fn unlike(taken: &mut HashSet<String>, name: String) -> String {
    let mut candidate = name.clone();
    for number in 2.. {
        if taken.insert(candidate.to_ascii_lowercase()) {
            break;
        }
        let tail = format!("-{number}");
        let room = LONGEST_PREFIX.saturating_sub(tail.len());
        candidate = format!("{}{tail}", name.chars().take(room).collect::<String>());
    }
    candidate
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn servers(servers: &Value) -> Vec<Arc<McpServer>> {
        McpSettings::parse(&json!({"mcp": {"servers": servers}})).servers
    }

    #[test]
    fn what_is_not_said_is_the_default_and_limits_hold() {
        let found = servers(&json!({
            "docs": {"url": " https://docs.example/mcp ", "headers": {"Authorization": "x", "a/b~": "y"},
                "connectionTimeoutMs": 1, "requestTimeoutMs": 9_999_999, "toolFilter": {"include": [], "exclude": ["rm*"]}},
            "local": {"command": "npx"},
            "old": {"url": "https://old.example/", "transport": "sse"},
            "off": {"url": "https://off.example/", "enabled": false, "type": "http"},
        }));
        let names: Vec<_> = found
            .iter()
            .map(|server| (server.name.as_str(), server.enabled))
            .collect();
        assert_eq!(names, [("docs", true), ("off", false)]);
        let docs = &found[0];
        assert_eq!(docs.url, "https://docs.example/mcp");
        assert_eq!(
            (docs.connecting, docs.calling),
            (Duration::from_millis(100), Duration::from_secs(600))
        );
        assert_eq!(docs.include, None, "an empty list chooses nothing, so it is no choice");
        assert_eq!(docs.pointer("a/b~"), "/mcp/servers/docs/headers/a~1b~0");
        assert_eq!(found[1].calling, Duration::from_secs(60));
        let many: serde_json::Map<_, _> = (0..40)
            .map(|number| (format!("s{number:02}"), json!({"url": "https://x.example/"})))
            .collect();
        assert_eq!(servers(&Value::Object(many)).len(), MOST_SERVERS);
    }

    #[test]
    fn prefixes_are_safe_and_no_two_are_alike() {
        for (name, expected) in [
            ("docs", "docs"),
            ("my server!", "my-server-"),
            ("a__b", "a_b"),
            ("a___", "a"),
            ("1password", "mcp-1password"),
            ("__proto__", "mcp-_proto"),
            ("日本", "mcp---"),
            ("", "mcp-"),
            (&"x".repeat(80), &"x".repeat(30)),
        ] {
            assert_eq!(prefix(name), expected, "{name}");
        }
        let url = json!({"url": "https://x.example/"});
        let found = servers(&json!({"Docs": url, "docs": url, "do cs": url, "do-cs": url}));
        let mut prefixes: Vec<_> = found.iter().map(|server| server.prefix.to_lowercase()).collect();
        prefixes.sort();
        assert_eq!(prefixes, ["do-cs", "do-cs-2", "docs", "docs-2"]);
        let long = "y".repeat(40);
        let found = servers(&json!({&long: url, format!("{long}z"): url}));
        assert_eq!(found[1].prefix, format!("{}-2", "y".repeat(28)));
    }

    #[test]
    fn keys_stay_with_the_address_they_were_given_for() {
        let speech = |url: Option<&str>| json!({"messages": {"tts": {"openai": {"apiKey": "x", "baseUrl": url}}}});
        let at = "/messages/tts/openai/apiKey";
        let moved = |before: &Value, after: &Value, at: &str| is_moved((before, at), (after, at));
        assert!(moved(&speech(None), &speech(Some("https://evil.example/v1")), at));
        assert!(!moved(
            &speech(Some("https://a.example/v1")),
            &speech(Some("https://A.example/v2")),
            at
        ));
        assert!(!moved(&speech(None), &speech(None), at));
        let search = |usual: Option<&str>, own: Option<&str>| {
            json!({"agents": {"defaults": {"memorySearch": {"remote": {"apiKey": "x", "baseUrl": usual}}},
                "list": [{"id": "a", "memorySearch": {"remote": {"baseUrl": own}}}]}})
        };
        let at = "/agents/defaults/memorySearch/remote/apiKey";
        let before = search(Some("https://a.example"), None);
        assert!(!moved(&before, &search(Some("https://a.example/v1"), None), at));
        assert!(moved(&before, &search(Some("https://evil.example"), None), at));
        assert!(moved(&before, &search(None, None), at));
        assert!(
            moved(
                &before,
                &search(Some("https://a.example"), Some("https://evil.example")),
                at
            ),
            "an agent takes the defaults' key to an address of its own"
        );
        let listed = |ids: &[(&str, &str)]| {
            let entry = |(id, url): &(&str, &str)| json!({"id": id, "memorySearch": {"remote": {"apiKey": "x", "baseUrl": url}}});
            json!({"agents": {"list": ids.iter().map(entry).collect::<Vec<_>>()}})
        };
        let (a, b) = (("a", "https://a.example"), ("b", "https://b.example"));
        let at = |index: usize| format!("/agents/list/{index}/memorySearch/remote/apiKey");
        let (before, after) = (listed(&[a, b]), listed(&[b, a]));
        assert!(
            !is_moved((&before, at(0).as_str()), (&after, at(1).as_str())),
            "the entry has another place"
        );
        assert!(is_moved((&before, at(0).as_str()), (&after, at(0).as_str())));
    }

    #[test]
    fn filters_choose_by_the_servers_own_names() {
        let server = &servers(
            &json!({"s": {"url": "https://x.example/", "guests": ["get_*"], "readOnly": ["*_list"],
            "toolFilter": {"include": ["get_*", "*_list", "exact", "a*b*c"], "exclude": ["get_secret*"]}}}),
        )[0];
        for (tool, through) in [
            ("get_page", true),
            ("get_secret_key", false),
            ("users_list", true),
            ("users_list_all", false),
            ("exact", true),
            ("exactly", false),
            ("a-b-c", true),
            ("a-c", false),
            ("Get_page", false),
        ] {
            assert_eq!(server.lets_through(tool), through, "{tool}");
        }
        assert!(server.is_for_guests("get_page") && !server.is_for_guests("exact"));
        assert!(server.only_reads("users_list") && !server.only_reads("get_page"));
    }
}
