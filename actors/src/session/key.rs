//! The session-key grammar of `agent-runtime` §6.1.

use claw_entities::SessionKey;

use crate::error::{Error, Result};
use crate::ports::channel::PeerKind;

/// The agent everybody has.
pub const DEFAULT_AGENT: &str = "main";
/// The account of the bare webhook path.
pub const DEFAULT_ACCOUNT: &str = "default";

const MAX_AGENT_ID: usize = 64;
/// Longest key, in bytes. Platform ids are far shorter; what is longer is not an id.
const MAX_KEY: usize = 512;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Main,
    Global,
    Direct,
    Group,
    Channel,
    Cron,
    Hook,
    Node,
    Subagent,
    /// `/v1/chat/completions` and `/v1/responses`.
    Http,
    /// A platform's native slash command.
    Slash,
    /// A name some client chose.
    Custom,
}

/// Is this a hook's session, as a full key or without the agent before it.
pub fn is_hook(key: &str) -> bool {
    let key = resolve(key, "main");
    key.is_ok_and(|key| parse(key.as_str()).is_some_and(|parsed| parsed.kind == Kind::Hook))
}

/// A key taken apart. Borrows from the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    pub agent_id: &'a str,
    /// Everything after the agent.
    pub rest: &'a str,
    pub kind: Kind,
    pub channel: Option<&'a str>,
    pub account_id: Option<&'a str>,
    /// Peer, group or room, without thread.
    pub peer_id: Option<&'a str>,
    /// Topic or thread.
    pub thread_id: Option<&'a str>,
}

/// How the reset settings see a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatType {
    Direct,
    Group,
    Thread,
}

impl Parsed<'_> {
    /// `thread` before `group` before `direct`.
    pub fn chat_type(&self) -> ChatType {
        if self.thread_id.is_some() {
            return ChatType::Thread;
        }
        match self.kind {
            Kind::Group | Kind::Channel => ChatType::Group,
            Kind::Main
            | Kind::Global
            | Kind::Direct
            | Kind::Cron
            | Kind::Hook
            | Kind::Node
            | Kind::Subagent
            | Kind::Http
            | Kind::Slash
            | Kind::Custom => ChatType::Direct,
        }
    }

    /// More than one person may read along.
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Group | Kind::Channel)
    }
}

/// An agent id as the grammar wants it: lower case, other characters become `-`, nothing becomes `main`.
pub fn agent_id(raw: &str) -> String {
    let mut id = String::with_capacity(raw.len().min(MAX_AGENT_ID));
    for c in raw.trim().chars() {
        if id.len() == MAX_AGENT_ID {
            break;
        }
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-' {
            if id.is_empty() && matches!(c, '_' | '-') {
                continue;
            }
            id.push(c);
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    let id = id.trim_end_matches('-');
    if id.is_empty() {
        DEFAULT_AGENT.to_owned()
    } else {
        id.to_owned()
    }
}

/// The agent's main key.
pub fn main(agent: &str) -> SessionKey {
    format!("agent:{}:main", agent_id(agent)).into()
}

/// `agent:<agent>:<rest>` where `rest` is already in the grammar's spelling.
pub fn under(agent: &str, rest: &str) -> SessionKey {
    format!("agent:{}:{rest}", agent_id(agent)).into()
}

/// The full key for what a client wrote: `main`, a name of its own, or a full key. `default_agent` is used where no
/// agent is named.
///
/// # Errors
/// `Invalid` when it is empty, too long, or holds control characters or blanks.
pub fn resolve(raw: &str, default_agent: &str) -> Result<SessionKey> {
    let raw = raw.trim();
    if raw.is_empty() {
        return Err(Error::invalid("sessionKey must not be empty"));
    }
    if raw.len() > MAX_KEY {
        return Err(Error::invalid("sessionKey is too long"));
    }
    if raw.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Error::invalid(
            "sessionKey must not contain blanks or control characters",
        ));
    }
    let (agent, rest) = match strip_prefix_no_case(raw, "agent:").and_then(|rest| rest.split_once(':')) {
        Some((agent, rest)) => (agent, rest),
        None if strip_prefix_no_case(raw, "agent:").is_some() => {
            return Err(Error::invalid("sessionKey must look like agent:<agent>:<name>"));
        }
        None => (default_agent, raw),
    };
    if rest.is_empty() {
        return Err(Error::invalid("sessionKey must name a session"));
    }
    Ok(under(agent, &lower(rest)))
}

/// The agent a key belongs to.
pub fn agent_of(key: &SessionKey) -> &str {
    parse(key.as_str()).map_or(DEFAULT_AGENT, |parsed| parsed.agent_id)
}

/// Takes a key apart. `None` when it does not start with `agent:<agent>:`.
pub fn parse(key: &str) -> Option<Parsed<'_>> {
    let (agent_id, rest) = key.strip_prefix("agent:")?.split_once(':')?;
    if agent_id.is_empty() || rest.is_empty() {
        return None;
    }
    let mut parsed = Parsed {
        agent_id,
        rest,
        kind: Kind::Custom,
        channel: None,
        account_id: None,
        peer_id: None,
        thread_id: None,
    };
    let (base, thread) = split_thread(rest);
    parsed.thread_id = thread;
    let mut words = base.splitn(4, ':');
    let (first, second, third) = (words.next().unwrap_or(""), words.next(), words.next());
    let after = |count: usize| base.splitn(count + 1, ':').nth(count);
    match (first, second, third) {
        ("main", None, _) => parsed.kind = Kind::Main,
        ("global", None, _) => parsed.kind = Kind::Global,
        ("cron", Some(_), _) => parsed.kind = Kind::Cron,
        ("hook", Some(_), _) => parsed.kind = Kind::Hook,
        ("subagent", Some(_), _) => parsed.kind = Kind::Subagent,
        ("direct" | "dm", Some(_), _) => {
            parsed.kind = Kind::Direct;
            parsed.peer_id = after(1);
        }
        (name, None, _) if name.starts_with("node-") => parsed.kind = Kind::Node,
        (name, Some(_), _) if name.starts_with("openai") || name.starts_with("openresponses") => {
            parsed.kind = Kind::Http;
        }
        (channel, Some("slash"), Some(_)) => {
            parsed.kind = Kind::Slash;
            parsed.channel = Some(channel);
            parsed.peer_id = after(2);
        }
        (channel, Some(kind @ ("direct" | "dm" | "group" | "channel")), Some(_)) => {
            parsed.kind = room(kind);
            parsed.channel = Some(channel);
            parsed.peer_id = after(2);
        }
        (channel, Some(account), Some("direct" | "dm")) => {
            parsed.peer_id = after(3);
            if parsed.peer_id.is_some() {
                parsed.kind = Kind::Direct;
                parsed.channel = Some(channel);
                parsed.account_id = Some(account);
            }
        }
        _ => {}
    }
    Some(parsed)
}

/// Everything a room's key is made of.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    pub channel: &'a str,
    pub kind: PeerKind,
    pub id: &'a str,
    pub thread: Option<&'a str>,
    /// Telegram calls its threads topics.
    pub topic: bool,
}

/// The key of a group or room, `agent:<agent>:<channel>:<kind>:<id>[:topic|thread:<id>]`.
pub fn room_key(agent: &str, room: &Room<'_>) -> SessionKey {
    let kind = spelling(room.kind);
    let keeps_case = keeps_case(room.channel, kind);
    let mut rest = format!("{}:{kind}:", part(room.channel));
    push_part(&mut rest, room.id, keeps_case);
    if let Some(thread) = room.thread {
        let word = if room.topic && room.kind != PeerKind::Direct {
            ":topic:"
        } else {
            ":thread:"
        };
        rest.push_str(word);
        push_part(&mut rest, thread, keeps_case);
    }
    under(agent, &rest)
}

/// One part of a key: lower case, no blanks, bounded.
pub(super) fn part(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    push_part(&mut text, raw, false);
    text
}

pub(super) fn push_part(key: &mut String, raw: &str, keeps_case: bool) {
    const MAX_PART: usize = 160;
    let start = key.len();
    for c in raw.trim().chars() {
        if key.len() - start >= MAX_PART {
            break;
        }
        if c.is_control() || c.is_whitespace() {
            key.push('-');
        } else if keeps_case {
            key.push(c);
        } else {
            key.extend(c.to_lowercase());
        }
    }
}

fn spelling(kind: PeerKind) -> &'static str {
    match kind {
        PeerKind::Direct => "direct",
        PeerKind::Group => "group",
        PeerKind::Channel => "channel",
    }
}

fn room(word: &str) -> Kind {
    match word {
        "group" => Kind::Group,
        "channel" => Kind::Channel,
        _ => Kind::Direct,
    }
}

/// Signal's group ids and Matrix's room ids differ by case, and so does what follows them.
fn keeps_case(channel: &str, kind: &str) -> bool {
    (channel.eq_ignore_ascii_case("signal") && kind.eq_ignore_ascii_case("group"))
        || (channel.eq_ignore_ascii_case("matrix")
            && (kind.eq_ignore_ascii_case("channel") || kind.eq_ignore_ascii_case("group")))
}

/// The part after the agent, lower-cased where the grammar says so.
fn lower(rest: &str) -> String {
    let mut words = rest.splitn(3, ':');
    if let (Some(channel), Some(kind), Some(tail)) = (words.next(), words.next(), words.next())
        && keeps_case(channel, kind)
    {
        return format!("{}:{}:{tail}", channel.to_lowercase(), kind.to_lowercase());
    }
    rest.to_lowercase()
}

/// Cuts `:topic:<id>` or `:thread:<id>` off. The first of them starts the suffix.
fn split_thread(rest: &str) -> (&str, Option<&str>) {
    let topic = rest.find(":topic:").map(|at| (at, ":topic:".len()));
    let thread = rest.find(":thread:").map(|at| (at, ":thread:".len()));
    let first = match (topic, thread) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (found, None) | (None, found) => found,
    };
    match first {
        Some((at, length)) if at > 0 && at + length < rest.len() => (&rest[..at], Some(&rest[at + length..])),
        Some(_) | None => (rest, None),
    }
}

fn strip_prefix_no_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_ids_are_normalised() {
        for (raw, id) in [
            ("main", "main"),
            ("", "main"),
            ("  ", "main"),
            ("Work Bot", "work-bot"),
            ("--x", "x"),
            ("a/b//c", "a-b-c"),
            ("Ünï", "n"),
            ("...", "main"),
            ("a_b-1", "a_b-1"),
        ] {
            assert_eq!(agent_id(raw), id, "{raw:?}");
        }
        assert_eq!(agent_id(&"x".repeat(100)).len(), MAX_AGENT_ID);
    }

    #[test]
    fn clients_may_write_short_keys() {
        for (raw, key) in [
            ("main", "agent:main:main"),
            ("MAIN", "agent:main:main"),
            ("probe-17", "agent:main:probe-17"),
            ("global", "agent:main:global"),
            ("agent:Work:main", "agent:work:main"),
            ("agent:main:Telegram:direct:42", "agent:main:telegram:direct:42"),
            (
                "Agent:main:matrix:channel:!AbC:s.org",
                "agent:main:matrix:channel:!AbC:s.org",
            ),
            (
                "agent:main:signal:group:AbC=:thread:X",
                "agent:main:signal:group:AbC=:thread:X",
            ),
        ] {
            assert_eq!(resolve(raw, "main").unwrap().as_str(), key, "{raw:?}");
        }
        assert_eq!(resolve("main", "work").unwrap().as_str(), "agent:work:main");
        for bad in ["", " ", "agent:main", "agent:main:", "a b", "a\nb"] {
            assert!(resolve(bad, "main").is_err(), "{bad:?}");
        }
        assert!(resolve(&"x".repeat(600), "main").is_err());
    }

    type Facts<'a> = (Kind, Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>);

    #[test]
    fn keys_come_apart() {
        let cases: [(&str, Facts<'_>); 16] = [
            ("agent:main:main", (Kind::Main, None, None, None, None)),
            ("agent:main:global", (Kind::Global, None, None, None, None)),
            ("agent:a:direct:42", (Kind::Direct, None, None, Some("42"), None)),
            ("agent:a:dm:42", (Kind::Direct, None, None, Some("42"), None)),
            (
                "agent:a:telegram:direct:42",
                (Kind::Direct, Some("telegram"), None, Some("42"), None),
            ),
            (
                "agent:a:telegram:dm:42",
                (Kind::Direct, Some("telegram"), None, Some("42"), None),
            ),
            (
                "agent:a:telegram:work:direct:42",
                (Kind::Direct, Some("telegram"), Some("work"), Some("42"), None),
            ),
            (
                "agent:a:matrix:direct:@u:s.org",
                (Kind::Direct, Some("matrix"), None, Some("@u:s.org"), None),
            ),
            (
                "agent:a:telegram:group:-100:topic:7",
                (Kind::Group, Some("telegram"), None, Some("-100"), Some("7")),
            ),
            (
                "agent:a:slack:channel:c1:thread:17.5",
                (Kind::Channel, Some("slack"), None, Some("c1"), Some("17.5")),
            ),
            ("agent:a:cron:job1:run:u", (Kind::Cron, None, None, None, None)),
            ("agent:a:hook:u", (Kind::Hook, None, None, None, None)),
            ("agent:a:node-abc", (Kind::Node, None, None, None, None)),
            (
                "agent:a:subagent:u:subagent:v",
                (Kind::Subagent, None, None, None, None),
            ),
            ("agent:a:openai-user:bob", (Kind::Http, None, None, None, None)),
            ("agent:a:my-notes", (Kind::Custom, None, None, None, None)),
        ];
        for (key, facts) in cases {
            let parsed = parse(key).unwrap();
            assert_eq!(
                (
                    parsed.kind,
                    parsed.channel,
                    parsed.account_id,
                    parsed.peer_id,
                    parsed.thread_id
                ),
                facts,
                "{key}"
            );
        }
        for bad in ["main", "agent:main", "agent::main", "telegram:direct:42"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert_eq!(
            parse("agent:a:slack:channel:c:thread:1").unwrap().chat_type(),
            ChatType::Thread
        );
        assert_eq!(parse("agent:a:slack:channel:c").unwrap().chat_type(), ChatType::Group);
        assert_eq!(parse("agent:a:main").unwrap().chat_type(), ChatType::Direct);
    }

    #[test]
    fn room_keys_follow_the_platforms() {
        let room = Room {
            channel: "Telegram",
            kind: PeerKind::Group,
            id: "-100AB",
            thread: Some("7"),
            topic: true,
        };
        assert_eq!(
            room_key("main", &room).as_str(),
            "agent:main:telegram:group:-100ab:topic:7"
        );
        let matrix = Room {
            channel: "matrix",
            kind: PeerKind::Channel,
            id: "!AbC:s.org",
            thread: Some("$EvT"),
            topic: false,
        };
        assert_eq!(
            room_key("main", &matrix).as_str(),
            "agent:main:matrix:channel:!AbC:s.org:thread:$EvT"
        );
    }
}
