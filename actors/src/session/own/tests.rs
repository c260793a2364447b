use serde_json::{Value, json};

use super::*;
use crate::config::accounts::{AccountDraft, PairingAsked};
use crate::config::identity::Role;
use crate::config::testing::{self, Server};

/// A tenant with an owner and a member, and the right to write for the owner.
struct Stage {
    server: Server,
    owner: Scope,
    member: Scope,
    epoch: i64,
}

impl Stage {
    /// The owner has a Telegram bot that asks strangers to pair, and is 42 there.
    async fn set() -> Self {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let tenant = owner.tenant_scope().clone();
        let member = testing::user(&server.config, &tenant, "m@acme.test", Role::Member).await;
        let epoch = server.epoch(&owner).await;
        let stage = Self {
            server,
            owner,
            member,
            epoch,
        };
        stage.bot(&stage.owner, "telegram", "default", json!({})).await;
        stage.link(&stage.owner, "telegram", "default", "42").await;
        stage
    }

    fn config(&self) -> &ConfigService {
        &self.server.config
    }

    async fn bot(&self, of: &Scope, channel: &str, account_id: &str, config: Value) {
        let draft = AccountDraft {
            channel: channel.to_owned(),
            account_id: account_id.to_owned(),
            owner: of.user().clone(),
            enabled: true,
            config,
            secrets: Vec::new(),
        };
        let saved = self.config().put_account(of.tenant_scope(), draft, &[]).await;
        saved.expect("saves");
    }

    async fn link(&self, user: &Scope, channel: &str, account_id: &str, sender: &str) {
        let code = self.config().create_link_code(user).await.expect("makes one");
        let here = (&self.owner, self.epoch);
        let linked = self
            .config()
            .redeem_link_code(here, channel, account_id, sender, &code, |_| Ok(()))
            .await;
        assert_eq!(linked.expect("reads").as_ref(), Some(user.user()));
    }

    async fn unlink(&self, user: &Scope, sender: &str) {
        let gone = self.config().remove_link(user, "telegram", "default", sender).await;
        gone.expect("unties");
    }

    /// The owner lets a stranger in.
    async fn let_in(&self, sender: &str) {
        let config = self.config();
        let asked = config
            .ask_pairing(&self.owner, self.epoch, testing::stranger(sender), |_, _| Ok(()))
            .await;
        let PairingAsked::New(request) = asked.expect("asks") else {
            panic!("it asks for the first time")
        };
        config
            .approve_pairing(&self.owner, &request.id)
            .await
            .expect("approves");
    }

    async fn merge(&self, links: Value) {
        let doc = json!({"session": {"identityLinks": links}});
        let stored = self.config().update_document(&self.owner, |_| Ok(doc)).await;
        stored.expect("stores");
    }

    async fn is_own(&self, user: &Scope, rest: &str) -> bool {
        let key = format!("agent:main:{rest}").into();
        let own = is_own(self.config(), user, &key).await.expect("reads");
        let found = Own::find(self.config(), user, &key).await.expect("reads");
        assert_eq!(found.map(|own| own.key().clone()), own.then_some(key));
        own
    }

    /// Which of these are the owner's.
    async fn own<'a>(&self, keys: &[&'a str]) -> Vec<&'a str> {
        let mut own = Vec::new();
        for key in keys {
            if self.is_own(&self.owner, key).await {
                own.push(*key);
            }
        }
        own
    }
}

/// A sender's chat under each `dmScope`.
const CHATS: [&str; 3] = ["direct:42", "telegram:direct:42", "telegram:default:direct:42"];

#[tokio::test]
async fn the_chat_of_a_linked_sender_is_its_users_and_no_other_chat_is() {
    let stage = Stage::set().await;
    stage.bot(&stage.owner, "slack", "default", json!({})).await;
    stage.link(&stage.owner, "slack", "default", "U0ADA").await;
    let own = [
        "main",
        "notes",
        "cron:1",
        "hook:1",
        "telegram:direct:42",
        "telegram:dm:42",
        "telegram:direct:42:thread:7",
        "telegram:default:direct:42",
        "direct:42",
        "slack:direct:u0ada",
        "slack:direct:u0ada:thread:17.5",
    ];
    assert_eq!(stage.own(&own).await, own);
    let others = [
        "telegram:direct:43",
        "telegram:direct:4",
        "telegram:direct:42:43",
        "slack:direct:42",
        "telegram:work:direct:42",
        "direct:43",
        // Rooms are not, whatever they are called.
        "telegram:group:42",
        "telegram:channel:42",
        "telegram:group:42:topic:42",
        "slack:channel:u0ada:thread:17.5",
        "telegram:group:direct:42",
    ];
    assert_eq!(stage.own(&others).await, [""; 0]);
    // Nor are they another user's.
    for chat in CHATS {
        assert!(!stage.is_own(&stage.member, chat).await, "{chat}");
    }
}

#[tokio::test]
async fn a_link_that_goes_takes_the_chat_along() {
    let stage = Stage::set().await;
    assert_eq!(stage.own(&CHATS).await, CHATS);
    stage.unlink(&stage.owner, "42").await;
    assert_eq!(stage.own(&CHATS).await, [""; 0]);
    // The same sender, linked to somebody else: theirs, in sessions of their own.
    stage.link(&stage.member, "telegram", "default", "42").await;
    assert_eq!(stage.own(&CHATS).await, [""; 0]);
    for chat in CHATS {
        assert!(stage.is_own(&stage.member, chat).await, "{chat}");
    }
    stage.unlink(&stage.member, "42").await;
    stage.link(&stage.owner, "telegram", "default", "42").await;
    assert_eq!(stage.own(&CHATS).await, CHATS);
    // The bot goes, and with it what it knew.
    let gone = stage
        .config()
        .delete_account(stage.owner.tenant_scope(), "telegram", "default")
        .await;
    gone.expect("deletes");
    assert_eq!(stage.own(&CHATS).await, [""; 0]);
}

#[tokio::test]
async fn a_guests_chat_is_never_the_users() {
    let stage = Stage::set().await;
    let theirs = ["direct:7", "telegram:direct:7", "telegram:default:direct:7"];
    stage.let_in("7").await;
    assert_eq!(stage.own(&theirs).await, [""; 0]);
    for open in [
        json!({"dmPolicy": "open", "allowFrom": ["*"]}),
        json!({"dmPolicy": "allowlist", "allowFrom": ["7", "tg:42"]}),
    ] {
        stage.bot(&stage.owner, "telegram", "default", open).await;
        assert_eq!(stage.own(&theirs).await, [""; 0]);
        assert_eq!(stage.own(&CHATS).await, CHATS, "the user is linked there");
    }
    // Who was let in, and then linked, and then not any more, is a guest again.
    stage.link(&stage.owner, "telegram", "default", "7").await;
    assert_eq!(stage.own(&theirs).await, theirs);
    stage.unlink(&stage.owner, "7").await;
    assert_eq!(stage.own(&theirs).await, [""; 0]);
}

#[tokio::test]
async fn a_second_bot_that_knows_the_sender_as_a_guest_makes_it_a_guests_chat() {
    let stage = Stage::set().await;
    // Strangers are asked to pair: nobody comes that way.
    stage.bot(&stage.owner, "telegram", "work", json!({})).await;
    assert_eq!(stage.own(&CHATS).await, CHATS);
    let open = json!({"dmPolicy": "allowlist", "allowFrom": ["42"]});
    stage.bot(&stage.owner, "telegram", "work", open.clone()).await;
    assert_eq!(stage.own(&CHATS).await, ["telegram:default:direct:42"]);
    stage.link(&stage.owner, "telegram", "work", "42").await;
    assert_eq!(stage.own(&CHATS).await, CHATS);
    // What another user's bot lets in goes to that user. Who is linked there to somebody else is somebody else here.
    stage.bot(&stage.member, "telegram", "theirs", open).await;
    assert_eq!(stage.own(&CHATS).await, CHATS);
    stage.link(&stage.owner, "telegram", "theirs", "50").await;
    assert!(stage.is_own(&stage.owner, "telegram:direct:50").await);
    assert!(!stage.is_own(&stage.member, "telegram:direct:50").await);
    stage.link(&stage.member, "telegram", "theirs", "42").await;
    assert_eq!(stage.own(&CHATS).await, ["telegram:default:direct:42"]);
}

#[tokio::test]
async fn merged_identities_are_the_users_only_when_all_of_them_are() {
    let stage = Stage::set().await;
    let merged = ["direct:ada", "telegram:direct:ada", "telegram:default:direct:ada"];
    assert_eq!(stage.own(&merged).await, [""; 0]);
    let people = json!({"Ada": ["telegram:42", "slack:u0ada"], "Bob": ["telegram:7"]});
    stage.merge(people).await;
    // Who they are on Slack nobody knows.
    assert_eq!(stage.own(&merged).await, merged[1..]);
    stage.bot(&stage.owner, "slack", "default", json!({})).await;
    stage.link(&stage.owner, "slack", "default", "U0ADA").await;
    assert_eq!(stage.own(&merged).await, merged);
    assert!(stage.is_own(&stage.owner, "slack:direct:ada").await);
    // Somebody who was never let in is not the user either.
    stage.merge(json!({"Ada": ["telegram:42", "43"]})).await;
    assert_eq!(stage.own(&merged).await, [""; 0]);
    stage.link(&stage.owner, "telegram", "default", "43").await;
    assert_eq!(stage.own(&merged).await, merged);
    stage.unlink(&stage.owner, "43").await;
    // What was the sender's own key is nobody's now.
    assert_eq!(stage.own(&CHATS).await, [""; 0]);
    assert!(!stage.is_own(&stage.owner, "telegram:direct:bob").await);
    stage.let_in("43").await;
    assert_eq!(stage.own(&merged).await, [""; 0], "a guest is one of them");
    stage.link(&stage.owner, "telegram", "default", "43").await;
    assert_eq!(stage.own(&merged).await, merged);
    stage.unlink(&stage.owner, "43").await;
    assert_eq!(stage.own(&merged).await, [""; 0]);
    stage.link(&stage.member, "telegram", "default", "43").await;
    assert_eq!(stage.own(&merged).await, [""; 0]);
    stage.unlink(&stage.member, "43").await;
    stage.link(&stage.owner, "telegram", "default", "43").await;
    // Somebody whose own id is the name, and whom the bot lets in.
    let named = json!({"dmPolicy": "allowlist", "allowFrom": ["ada"]});
    stage.bot(&stage.owner, "telegram", "default", named).await;
    assert_eq!(stage.own(&merged).await, [""; 0]);
    // A guest merged into the name that is the user's own id.
    stage.bot(&stage.owner, "telegram", "default", json!({})).await;
    assert_eq!(stage.own(&merged).await, merged);
    stage.merge(json!({"42": ["telegram:8"]})).await;
    assert_eq!(stage.own(&CHATS).await, [""; 0]);
    stage.let_in("8").await;
    assert_eq!(stage.own(&CHATS).await, [""; 0]);
}

#[tokio::test]
async fn what_is_told_to_a_session_takes_one_of_the_users() {
    let stage = Stage::set().await;
    let guests = SessionKey::from("agent:main:telegram:direct:7");
    let refused = Own::expect(stage.config(), &stage.owner, &guests).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));
    assert_eq!(Own::main("work").key().as_str(), "agent:work:main");
}
