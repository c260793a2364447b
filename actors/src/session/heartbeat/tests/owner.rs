//! The owner among the many who write to their bot.

use claw_entities::session;
use sea_orm::ActiveValue::Set;

use super::*;
use crate::config::accounts::AccountDraft;
use crate::config::cron::job::Target;
use crate::session::cron::announce;
use crate::session::heartbeat::session_of;

/// A chat of the bot whose last words are of this sender, at this time.
async fn chat(stage: &Stage, key: &str, sender: &str, at: i64) {
    let destination = json!({"channel": "telegram", "accountId": "default", "recipient": sender,
        "peer": {"kind": "direct", "id": sender}});
    let tx = stage.runtime.services.db.write(&stage.scope).await.expect("writes");
    session::Entity::insert(session::ActiveModel {
        tenant_id: Set(stage.scope.tenant().clone()),
        user_id: Set(stage.scope.user().clone()),
        key: Set(key.into()),
        session_id: Set(claw_entities::new_id()),
        agent_id: Set("main".to_owned()),
        label: Set(None),
        entry: Set(json!({})),
        destination: Set(destination),
        leaf_id: Set(None),
        next_seq: Set(1),
        created_at: Set(at),
        updated_at: Set(at),
        events: Set(0),
        events_seen: Set(0),
    })
    .exec_without_returning(&*tx)
    .await
    .expect("inserts");
    tx.commit().await.expect("commits");
}

/// A bot on which the owner is the sender 1.
async fn linked() -> Stage {
    let stage = Stage::set().await;
    let (config, tenant) = (&stage.runtime.services.config, stage.scope.tenant_scope());
    let draft = AccountDraft {
        channel: "telegram".to_owned(),
        account_id: "default".to_owned(),
        owner: stage.scope.user().clone(),
        enabled: true,
        config: json!({}),
        secrets: Vec::new(),
    };
    config.put_account(tenant, draft, &[]).await.expect("saves");
    let code = config.create_link_code(&stage.scope).await.expect("makes one");
    let epoch = stage
        .runtime
        .directory
        .leases()
        .epoch(&stage.scope)
        .await
        .expect("claims");
    let user = config
        .redeem_link_code((&stage.scope, epoch), "telegram", "default", "1", &code, |_| Ok(()))
        .await
        .expect("reads");
    assert_eq!(user.as_ref(), Some(stage.scope.user()));
    stage
}

#[actix::test]
async fn many_guests_do_not_hide_the_owners_chat() {
    let stage = linked().await;
    chat(&stage, "agent:main:telegram:direct:1", "1", 1).await;
    for guest in 100..160 {
        chat(
            &stage,
            &format!("agent:main:telegram:direct:{guest}"),
            &guest.to_string(),
            guest,
        )
        .await;
    }
    let last = Target {
        channel: Some("last".to_owned()),
        to: None,
        account_id: None,
        thread_id: None,
    };
    let found = announce::find(&stage.runtime.directory, &stage.scope, "main", &last).await;
    let (_, destination) = found.expect("looks").expect("is found");
    assert_eq!(destination.peer.id, "1");
}

#[actix::test]
async fn guests_are_no_sign_of_the_owners_life() {
    let stage = linked().await;
    let later = now_ms() + 8 * 24 * 3_600_000;
    chat(&stage, "agent:main:telegram:direct:2", "2", later).await;
    chat(&stage, "agent:main:telegram:group:-3", "2", later).await;
    stage.round(later + EVERY_MS).await;
    assert_eq!(stage.row().await.last["reason"], "inactive");
    assert!(stage.begun().await.is_empty());
    chat(&stage, "agent:main:telegram:direct:1", "1", later).await;
    stage.round(later + 3 * EVERY_MS).await;
    assert_eq!(stage.begun().await.len(), 1, "the owner wrote");
}

#[actix::test]
async fn a_beat_never_belongs_to_a_session_others_read() {
    let stage = linked().await;
    let own = "agent:main:telegram:direct:1";
    for (named, session) in [
        ("main", MAIN),
        ("notes", "agent:main:notes"),
        (own, own),
        ("agent:main:telegram:direct:2", MAIN),
        ("agent:main:slack:channel:c", MAIN),
        ("agent:other:main", MAIN),
    ] {
        let doc = json!({"agents": {"defaults": {"heartbeat": {"every": "1h", "session": named}}}});
        let settings = UserSettings::parse(&doc);
        let beats = session_of(&stage.runtime.services.config, &stage.scope, &settings.heartbeats[0]).await;
        assert_eq!(beats.expect("reads").key().as_str(), session, "{named}");
    }
}

#[actix::test]
async fn a_beat_in_the_owners_own_chat_hears_its_events_while_it_is_theirs() {
    let stage = linked().await;
    let own = SessionKey::from("agent:main:telegram:direct:1");
    let heartbeat = json!({"every": "30m", "prompt": "look around", "session": own});
    stage
        .configure(json!({"agents": {"defaults": {"heartbeat": heartbeat}}}))
        .await;
    let services = &stage.runtime.services;
    system_event::add(services, &stage.scope, &own, "the kettle boils")
        .await
        .expect("is theirs");
    stage.beat().await;
    let asked = stage.words.asked();
    assert!(asked[0].contains("the kettle boils"), "{asked:?}");
    assert!(stage.said(own.as_str()).await.concat().contains("the kettle boils"));
    // The sender is a stranger from now on: nothing is left in their chat, and beats go where the user is alone.
    system_event::add(services, &stage.scope, &own, "the cat is out")
        .await
        .expect("is theirs");
    let unlinked = services
        .config
        .remove_link(&stage.scope, "telegram", "default", "1")
        .await;
    unlinked.expect("unties");
    assert!(system_event::add(services, &stage.scope, &own, "late").await.is_err());
    stage.beat().await;
    let asked = stage.words.asked();
    assert_eq!(asked.len(), 2);
    assert!(!asked[1].contains("the cat is out"), "{asked:?}");
    assert_eq!(stage.said(own.as_str()).await.len(), 2, "the first beat and its answer");
}
