//! Which agent and which session a message from a platform belongs to (`agent-runtime` §22, `channels` §2.2). Pure.

use claw_entities::SessionKey;

use super::key::{self, DEFAULT_ACCOUNT, Room};
use crate::config::document::{Binding, DmScope, UserSettings};
use crate::ports::channel::{Inbound, Peer, PeerKind};

/// Whose settings are asked: the person's own, or those of the account's owner they are a guest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Owner,
    Guest,
}

/// A rule's name, and whether a binding falls under it.
type Tier<'a> = (&'static str, &'a dyn Fn(&Binding) -> bool);

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    pub agent_id: String,
    pub session_key: SessionKey,
    /// The rule that decided, for logs and `/status`: `binding.peer`, `default`, ….
    pub matched_by: &'static str,
}

/// Chooses agent and session. A guest never lands in the owner's main session, whatever `dmScope` says: it would show
/// them what the owner talks about.
pub fn route(
    settings: &UserSettings,
    channel: &str,
    account_id: &str,
    inbound: &Inbound,
    standing: Standing,
) -> Routed {
    let (wanted, matched_by) = choose_agent(settings, channel, account_id, inbound);
    let agent_id = existing_agent(settings, wanted);
    let session_key = match inbound.peer.kind {
        PeerKind::Direct => direct_key(settings, &agent_id, channel, account_id, inbound, standing),
        PeerKind::Group | PeerKind::Channel => group_key(&agent_id, channel, account_id, &inbound.peer, matched_by),
    };
    Routed {
        agent_id,
        session_key,
        matched_by,
    }
}

/// The agent used where nothing else is said.
pub fn default_agent(settings: &UserSettings) -> String {
    if settings.default_agent.trim().is_empty() {
        settings
            .agents
            .first()
            .map_or_else(|| key::DEFAULT_AGENT.to_owned(), |agent| key::agent_id(&agent.id))
    } else {
        key::agent_id(&settings.default_agent)
    }
}

/// The person a direct chat is with: the sender, whose id is the peer's on every platform of the original.
fn direct_peer(inbound: &Inbound) -> &str {
    if inbound.sender.id.is_empty() {
        &inbound.peer.id
    } else {
        &inbound.sender.id
    }
}

/// The tiers in order; inside one the first binding in the order of the settings wins.
fn choose_agent<'a>(
    settings: &'a UserSettings,
    channel: &str,
    account_id: &str,
    inbound: &Inbound,
) -> (Option<&'a str>, &'static str) {
    let candidates: Vec<&Binding> = settings
        .bindings
        .iter()
        .filter(|binding| binding.channel.eq_ignore_ascii_case(channel) && account_matches(binding, account_id))
        .filter(|binding| match &binding.team_id {
            None => true,
            Some(team) => inbound.peer.space.as_deref() == Some(team.as_str()),
        })
        .collect();
    let tiers: [Tier<'_>; 6] = [
        ("binding.peer", &|b| peer_matches(b, inbound)),
        ("binding.peer.parent", &|b| parent_matches(b, &inbound.peer)),
        ("binding.peer.wildcard", &|b| wildcard_matches(b, &inbound.peer)),
        (
            if channel.eq_ignore_ascii_case("discord") {
                "binding.guild"
            } else {
                "binding.team"
            },
            &|b| b.peer.is_none() && b.team_id.is_some(),
        ),
        ("binding.account", &|b| {
            is_plain(b) && b.account_id.as_deref() != Some("*")
        }),
        ("binding.channel", &|b| {
            is_plain(b) && b.account_id.as_deref() == Some("*")
        }),
    ];
    for (name, matches) in tiers {
        if let Some(binding) = candidates.iter().find(|binding| matches(binding)) {
            return (Some(&binding.agent_id), name);
        }
    }
    (None, "default")
}

fn is_plain(binding: &Binding) -> bool {
    binding.peer.is_none() && binding.team_id.is_none()
}

fn account_matches(binding: &Binding, account_id: &str) -> bool {
    match binding.account_id.as_deref() {
        None | Some("") => account_id.eq_ignore_ascii_case(DEFAULT_ACCOUNT),
        Some("*") => true,
        Some(wanted) => wanted.eq_ignore_ascii_case(account_id),
    }
}

fn kind_matches(written: &str, kind: PeerKind) -> bool {
    match kind {
        PeerKind::Direct => written.eq_ignore_ascii_case("direct") || written.eq_ignore_ascii_case("dm"),
        PeerKind::Group => written.eq_ignore_ascii_case("group"),
        PeerKind::Channel => written.eq_ignore_ascii_case("channel"),
    }
}

fn peer_matches(binding: &Binding, inbound: &Inbound) -> bool {
    let Some((kind, id)) = &binding.peer else { return false };
    if !kind_matches(kind, inbound.peer.kind) {
        return false;
    }
    let peer = &inbound.peer;
    match (&peer.thread, peer.kind) {
        (_, PeerKind::Direct) => id.eq_ignore_ascii_case(direct_peer(inbound)) || id.eq_ignore_ascii_case(&peer.id),
        (None, _) => id.eq_ignore_ascii_case(&peer.id),
        (Some(thread), _) => {
            let word = if peer.topic { "topic" } else { "thread" };
            id.eq_ignore_ascii_case(thread) || id.eq_ignore_ascii_case(&format!("{}:{word}:{thread}", peer.id))
        }
    }
}

/// The room a thread belongs to.
fn parent_matches(binding: &Binding, peer: &Peer) -> bool {
    peer.thread.is_some()
        && binding
            .peer
            .as_ref()
            .is_some_and(|(kind, id)| kind_matches(kind, peer.kind) && id.eq_ignore_ascii_case(&peer.id))
}

fn wildcard_matches(binding: &Binding, peer: &Peer) -> bool {
    binding
        .peer
        .as_ref()
        .is_some_and(|(kind, id)| id == "*" && kind_matches(kind, peer.kind))
}

/// A binding to an agent that is gone falls back to the default one.
fn existing_agent(settings: &UserSettings, wanted: Option<&str>) -> String {
    match wanted.map(key::agent_id) {
        Some(wanted)
            if settings.agents.is_empty() || settings.agents.iter().any(|agent| key::agent_id(&agent.id) == wanted) =>
        {
            wanted
        }
        Some(_) | None => default_agent(settings),
    }
}

fn direct_key(
    settings: &UserSettings,
    agent_id: &str,
    channel: &str,
    account_id: &str,
    inbound: &Inbound,
    standing: Standing,
) -> SessionKey {
    let scope = match (settings.session.dm_scope, standing) {
        (DmScope::Main, Standing::Guest) => DmScope::PerChannelPeer,
        (scope, Standing::Owner | Standing::Guest) => scope,
    };
    let channel = key::part(channel);
    let peer = canonical_peer(settings, &channel, direct_peer(inbound));
    let mut rest = match scope {
        DmScope::Main => "main".to_owned(),
        DmScope::PerPeer => format!("direct:{peer}"),
        DmScope::PerChannelPeer => format!("{channel}:direct:{peer}"),
        DmScope::PerAccountChannelPeer => format!("{channel}:{}:direct:{peer}", key::part(account_id)),
    };
    if let Some(thread) = &inbound.peer.thread {
        rest.push_str(":thread:");
        key::push_part(&mut rest, thread, false);
    }
    key::under(agent_id, &rest)
}

/// The canonical name of an identity link, else the peer's own id.
fn canonical_peer(settings: &UserSettings, channel: &str, peer: &str) -> String {
    let peer = key::part(peer);
    let links = &settings.session.identity_links;
    if links.is_empty() {
        return peer;
    }
    links
        .get(&format!("{channel}:{peer}"))
        .or_else(|| links.get(&peer))
        .map_or(peer, |canonical| key::part(canonical))
}

/// Group keys hold no account. A second bot in the same room gets a session of its own, spelled as the original does
/// for WhatsApp, unless a binding already gave it an agent of its own.
fn group_key(agent_id: &str, channel: &str, account_id: &str, peer: &Peer, matched_by: &str) -> SessionKey {
    let room = Room {
        channel,
        kind: peer.kind,
        id: &peer.id,
        thread: peer.thread.as_deref(),
        topic: peer.topic,
    };
    let key = key::room_key(agent_id, &room);
    let shares_agent = matched_by == "default" || matched_by == "binding.channel";
    if shares_agent && !account_id.eq_ignore_ascii_case(DEFAULT_ACCOUNT) {
        let suffix = format!(":thread:{}-account-{}", key::part(channel), key::part(account_id));
        return format!("{key}{suffix}").into();
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::AgentSettings;
    use crate::ports::channel::{Mention, Sender};

    fn inbound(kind: PeerKind, id: &str, thread: Option<&str>) -> Inbound {
        Inbound {
            event_key: "e".to_owned(),
            peer: Peer {
                kind,
                id: id.to_owned(),
                thread: thread.map(str::to_owned),
                topic: thread.is_some(),
                title: None,
                space: Some("T1".to_owned()),
            },
            sender: Sender {
                id: "U42".to_owned(),
                name: "Ada".to_owned(),
                username: None,
                is_bot: false,
            },
            text: "hi".to_owned(),
            message_id: "1".to_owned(),
            mention: Mention::default(),
            reply_to: None,
            answer_below: None,
            attachments: Vec::new(),
            sent_at: 0,
            edited: false,
            command: false,
            album: None,
            reaction: None,
        }
    }

    fn settings(scope: DmScope) -> UserSettings {
        let mut settings = UserSettings::default();
        settings.session.dm_scope = scope;
        settings
    }

    #[test]
    fn direct_keys_follow_the_scope() {
        let message = inbound(PeerKind::Direct, "D9", None);
        for (scope, standing, key) in [
            (DmScope::Main, Standing::Owner, "agent:main:main"),
            (DmScope::Main, Standing::Guest, "agent:main:slack:direct:u42"),
            (DmScope::PerPeer, Standing::Guest, "agent:main:direct:u42"),
            (DmScope::PerChannelPeer, Standing::Owner, "agent:main:slack:direct:u42"),
            (
                DmScope::PerAccountChannelPeer,
                Standing::Guest,
                "agent:main:slack:work:direct:u42",
            ),
        ] {
            let routed = route(&settings(scope), "slack", "work", &message, standing);
            assert_eq!(routed.session_key.as_str(), key, "{scope:?} {standing:?}");
            assert_eq!(routed.matched_by, "default");
        }
    }

    #[test]
    fn linked_identities_share_a_session_but_not_a_group() {
        let mut settings = settings(DmScope::PerPeer);
        settings
            .session
            .identity_links
            .insert("slack:u42".to_owned(), "Ada".to_owned());
        let direct = route(
            &settings,
            "slack",
            "default",
            &inbound(PeerKind::Direct, "D9", None),
            Standing::Owner,
        );
        assert_eq!(direct.session_key.as_str(), "agent:main:direct:ada");
        let other = route(
            &settings,
            "telegram",
            "default",
            &inbound(PeerKind::Direct, "D9", None),
            Standing::Owner,
        );
        assert_eq!(other.session_key.as_str(), "agent:main:direct:u42");
        let group = route(
            &settings,
            "slack",
            "default",
            &inbound(PeerKind::Channel, "U42", None),
            Standing::Owner,
        );
        assert_eq!(group.session_key.as_str(), "agent:main:slack:channel:u42");
    }

    #[test]
    fn rooms_and_topics_and_second_bots() {
        let settings = UserSettings::default();
        for (channel, account, kind, id, thread, key) in [
            (
                "telegram",
                "default",
                PeerKind::Group,
                "-100",
                None,
                "agent:main:telegram:group:-100",
            ),
            (
                "telegram",
                "default",
                PeerKind::Group,
                "-100",
                Some("7"),
                "agent:main:telegram:group:-100:topic:7",
            ),
            (
                "matrix",
                "default",
                PeerKind::Channel,
                "!Ab:s",
                None,
                "agent:main:matrix:channel:!Ab:s",
            ),
            (
                "telegram",
                "work",
                PeerKind::Group,
                "-100",
                None,
                "agent:main:telegram:group:-100:thread:telegram-account-work",
            ),
        ] {
            let routed = route(&settings, channel, account, &inbound(kind, id, thread), Standing::Guest);
            assert_eq!(routed.session_key.as_str(), key);
        }
    }

    fn binding(agent: &str, account: Option<&str>, peer: Option<(&str, &str)>, team: Option<&str>) -> Binding {
        Binding {
            agent_id: agent.to_owned(),
            channel: "slack".to_owned(),
            account_id: account.map(str::to_owned),
            peer: peer.map(|(kind, id)| (kind.to_owned(), id.to_owned())),
            team_id: team.map(str::to_owned),
        }
    }

    #[test]
    fn the_most_specific_binding_wins() {
        let all = [
            binding("channel", Some("*"), None, None),
            binding("account", None, None, None),
            binding("team", Some("*"), None, Some("T1")),
            binding("wild", Some("*"), Some(("channel", "*")), None),
            binding("parent", Some("*"), Some(("channel", "C1")), None),
            binding("peer", Some("*"), Some(("channel", "7")), None),
            binding("elsewhere", Some("other"), Some(("channel", "7")), None),
            binding("foreign", Some("*"), Some(("channel", "7")), Some("T2")),
        ];
        let expected = [
            ("channel", "binding.channel"),
            ("account", "binding.account"),
            ("team", "binding.team"),
            ("wild", "binding.peer.wildcard"),
            ("parent", "binding.peer.parent"),
            ("peer", "binding.peer"),
            ("peer", "binding.peer"),
            ("peer", "binding.peer"),
        ];
        let message = inbound(PeerKind::Channel, "C1", Some("7"));
        for (count, (agent, matched_by)) in expected.into_iter().enumerate() {
            let settings = UserSettings {
                bindings: all[..=count].to_vec(),
                ..UserSettings::default()
            };
            let routed = route(&settings, "slack", "default", &message, Standing::Guest);
            assert_eq!(
                (routed.agent_id.as_str(), routed.matched_by),
                (agent, matched_by),
                "{count}"
            );
        }
        // No account in a binding means the default account only.
        let settings = UserSettings {
            bindings: vec![binding("account", None, None, None)],
            ..UserSettings::default()
        };
        assert_eq!(
            route(&settings, "slack", "work", &message, Standing::Guest).matched_by,
            "default"
        );
    }

    #[test]
    fn a_binding_to_a_deleted_agent_falls_back() {
        let settings = UserSettings {
            agents: vec![AgentSettings {
                id: "Home".to_owned(),
                ..AgentSettings::default()
            }],
            bindings: vec![binding("gone", Some("*"), None, None)],
            ..UserSettings::default()
        };
        let routed = route(
            &settings,
            "slack",
            "default",
            &inbound(PeerKind::Direct, "D", None),
            Standing::Guest,
        );
        assert_eq!(routed.agent_id, "home");
    }
}
