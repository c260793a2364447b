//! The gate, case by case.

use std::collections::{BTreeMap, HashSet};

use claw_entities::TenantId;
use serde_json::json;

use super::*;
use crate::config::accounts::{AccessPolicy, ReactionNotices};
use crate::ports::channel::{Account, Mention, Peer, Sender};

fn account(policy: AccessPolicy) -> ResolvedAccount {
    ResolvedAccount {
        account: Account {
            tenant: TenantId::from("t"),
            channel: "telegram".to_owned(),
            account_id: "default".to_owned(),
            config: Value::Null,
            identity: json!({"id": 900, "username": "bot"}),
            secrets: BTreeMap::new(),
        },
        enabled: true,
        owner: UserId::from("owner"),
        links: HashMap::from([
            ("1".to_owned(), UserId::from("owner")),
            ("2".to_owned(), UserId::from("colleague")),
        ]),
        approved: HashSet::from(["5".to_owned()]),
        policy,
        notices: ReactionNotices::at_first_sight("telegram", &Value::Null),
        status: "connected".to_owned(),
    }
}

fn message(kind: PeerKind, sender: &str, text: &str) -> Inbound {
    Inbound {
        event_key: "e".to_owned(),
        peer: Peer {
            kind,
            id: if kind == PeerKind::Direct {
                sender.to_owned()
            } else {
                "-100".to_owned()
            },
            thread: None,
            topic: false,
            title: None,
            space: None,
        },
        sender: Sender {
            id: sender.to_owned(),
            name: "Ada".to_owned(),
            username: Some("ada".to_owned()),
            is_bot: false,
        },
        text: text.to_owned(),
        message_id: "m".to_owned(),
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

fn list(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn groups(id: &str, require_mention: bool) -> HashMap<String, GroupRule> {
    HashMap::from([(
        id.to_owned(),
        GroupRule {
            require_mention,
            enabled: true,
            allow_from: None,
            ..GroupRule::default()
        },
    )])
}

/// The gate as intake leads to it: a linked person's direct messages come to their own session.
fn decide(
    account: &ResolvedAccount,
    mentions: &MentionPatterns,
    activation: Option<Activation>,
    inbound: &Inbound,
) -> Verdict {
    let speaker = speaker(account, inbound);
    gate(
        account,
        speaker.session_user(account, inbound.peer.kind),
        mentions,
        Before {
            activation,
            takes_part: false,
        },
        inbound,
    )
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Run { owner: true, .. } => "owner",
        Verdict::Run { owner: false, .. } => "guest",
        Verdict::AskPairing => "pair",
        Verdict::Context => "context",
        Verdict::Skip(_) => "skip",
    }
}

#[test]
fn direct_messages() {
    let policy = |dm, ids: &[&str]| AccessPolicy {
        dm,
        allow_from: list(ids),
        ..AccessPolicy::default()
    };
    for (dm, ids, sender, expected) in [
        (DmPolicy::Pairing, &[][..], "1", "owner"),
        (DmPolicy::Pairing, &[], "2", "owner"), // a colleague, in their own session
        (DmPolicy::Pairing, &[], "5", "guest"),
        (DmPolicy::Pairing, &[], "6", "pair"),
        (DmPolicy::Pairing, &["6"], "6", "guest"),
        (DmPolicy::Allowlist, &["telegram:6", "tg:7"], "6", "guest"),
        (DmPolicy::Allowlist, &["telegram:6", "tg:7"], "7", "guest"),
        (DmPolicy::Allowlist, &["slack:6"], "6", "skip"),
        (DmPolicy::Allowlist, &["ada", "@ada", "Ada"], "6", "skip"), // names prove nothing
        (DmPolicy::Allowlist, &[], "5", "skip"),                     // approvals widen pairing only
        (DmPolicy::Open, &["*"], "6", "guest"),
        (DmPolicy::Open, &[], "6", "skip"),
        (DmPolicy::Open, &[], "5", "skip"),
        (DmPolicy::Disabled, &["*"], "6", "skip"),
        (DmPolicy::Disabled, &[], "1", "owner"), // the policy rules guests
    ] {
        let verdict = decide(
            &account(policy(dm, ids)),
            &MentionPatterns::default(),
            None,
            &message(PeerKind::Direct, sender, "hi"),
        );
        assert_eq!(word(&verdict), expected, "{dm:?} {ids:?} {sender}");
    }
}

#[test]
fn a_missing_policy_is_closed_for_groups() {
    let verdict = decide(
        &account(AccessPolicy::default()),
        &MentionPatterns::default(),
        None,
        &message(PeerKind::Group, "6", "hi"),
    );
    assert_eq!(verdict, Verdict::Skip("this group is not on the list"));
}

#[test]
fn groups_pass_policy_then_list_then_sender_then_mention() {
    struct Case {
        name: &'static str,
        policy: AccessPolicy,
        sender: &'static str,
        mentioned: bool,
        activation: Option<Activation>,
        expected: &'static str,
    }
    let listed = |allow: Option<&[&str]>, require_mention| AccessPolicy {
        groups: groups("-100", require_mention),
        group_allow_from: allow.map(list),
        ..AccessPolicy::default()
    };
    let case = |name, policy, sender, mentioned, expected| Case {
        name,
        policy,
        sender,
        mentioned,
        activation: None,
        expected,
    };
    let cases = [
        case(
            "listed sender, mentioned",
            listed(Some(&["6"]), true),
            "6",
            true,
            "guest",
        ),
        case(
            "listed sender, not mentioned",
            listed(Some(&["6"]), true),
            "6",
            false,
            "context",
        ),
        case(
            "listed sender, no mention needed",
            listed(Some(&["6"]), false),
            "6",
            false,
            "guest",
        ),
        case("unlisted sender", listed(Some(&["6"]), false), "7", true, "skip"),
        case(
            "approved for direct messages only",
            listed(Some(&[]), false),
            "5",
            true,
            "skip",
        ),
        case("no list at all", listed(None, false), "6", true, "skip"),
        case("the owner needs no list", listed(None, true), "1", true, "owner"),
        case(
            "a colleague is a guest here",
            listed(Some(&["2"]), true),
            "2",
            true,
            "guest",
        ),
        case(
            "open policy skips the lists but not the mention",
            AccessPolicy {
                group: GroupPolicy::Open,
                ..AccessPolicy::default()
            },
            "7",
            false,
            "context",
        ),
        case(
            "disabled policy",
            AccessPolicy {
                group: GroupPolicy::Disabled,
                ..listed(Some(&["*"]), false)
            },
            "6",
            true,
            "skip",
        ),
        case(
            "the star entry",
            AccessPolicy {
                groups: groups("*", false),
                allow_from: list(&["6"]),
                ..AccessPolicy::default()
            },
            "6",
            false,
            "guest",
        ),
        Case {
            activation: Some(Activation::Mention),
            ..case("activation mention", listed(Some(&["6"]), false), "6", false, "context")
        },
        Case {
            activation: Some(Activation::Always),
            ..case("activation always", listed(Some(&["6"]), true), "6", false, "guest")
        },
    ];
    for case in cases {
        let mut inbound = message(PeerKind::Group, case.sender, "hi");
        inbound.mention.native = case.mentioned;
        let verdict = decide(
            &account(case.policy),
            &MentionPatterns::default(),
            case.activation,
            &inbound,
        );
        assert_eq!(word(&verdict), case.expected, "{}", case.name);
    }
}

#[test]
fn echoes_bots_and_disabled_accounts_are_left() {
    let open = || AccessPolicy {
        dm: DmPolicy::Open,
        allow_from: list(&["*"]),
        ..AccessPolicy::default()
    };
    let mentions = MentionPatterns::default();
    let echo = message(PeerKind::Direct, "900", "hi");
    assert_eq!(
        decide(&account(open()), &mentions, None, &echo),
        Verdict::Skip("own message")
    );

    let mut bot = message(PeerKind::Direct, "6", "hi");
    bot.sender.is_bot = true;
    assert_eq!(
        decide(&account(open()), &mentions, None, &bot),
        Verdict::Skip("sent by a bot")
    );
    let allowed = AccessPolicy {
        allow_bots: true,
        ..open()
    };
    assert_eq!(word(&decide(&account(allowed), &mentions, None, &bot)), "guest");

    let mut disabled = account(open());
    disabled.enabled = false;
    assert_eq!(
        word(&decide(
            &disabled,
            &mentions,
            None,
            &message(PeerKind::Direct, "1", "hi")
        )),
        "skip"
    );
}

#[test]
fn an_agent_is_addressed_by_name_emoji_or_pattern() {
    let agent = |patterns: &[&str], identity: Value| AgentSettings {
        mention_patterns: list(patterns),
        identity,
        ..AgentSettings::default()
    };
    let named = MentionPatterns::of(&agent(&[], json!({"name": "Claw", "emoji": "🦞"})));
    for (text, hit) in [
        ("claw, hello", true),
        ("hey @Claw!", true),
        ("🦞 please", true),
        ("clawing away", false),
        ("the claws", false),
        ("hello", false),
    ] {
        assert_eq!(named.matches(text), hit, "{text}");
    }
    let patterned = MentionPatterns::of(&agent(&[r"\bbotty\b", "("], json!({"name": "Claw"})));
    assert!(patterned.matches("Botty?") && !patterned.matches("claw"));
    assert!(!MentionPatterns::of(&AgentSettings::default()).matches("anything"));
}

#[test]
fn who_linked_later_is_a_guest_in_the_owners_session() {
    let mut account = account(AccessPolicy::default());
    account.approved.insert("2".to_owned());
    let owner = account.owner.clone();
    let verdict = gate(
        &account,
        &owner,
        &MentionPatterns::default(),
        Before::default(),
        &message(PeerKind::Direct, "2", "hi"),
    );
    assert_eq!(word(&verdict), "guest");
}

#[test]
fn two_bots_stop_each_other() {
    let mut guard = BotGuard::default();
    assert!((0..20).all(|n| guard.admit("b", n)));
    assert!(!guard.admit("b", 100));
    assert!(guard.admit("c", 100));
    assert!(!guard.admit("b", 30_000));
    assert!(guard.admit("b", 61_000));
}
