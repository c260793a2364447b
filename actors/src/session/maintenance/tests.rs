use sea_orm::sea_query::Expr;
use serde_json::{Value, json};

use super::*;
use crate::services::Limits;
use crate::session::intake::{self, ClientMessage};
use crate::session::tests::{PATIENCE, transcript};
use crate::testing::{Runtime, ScriptedModel, Step, start};

const DAY: i64 = 86_400_000;

async fn runtime() -> (Runtime, Scope) {
    let model = ScriptedModel::new(|text| {
        if text == "hang" {
            Step::Hang
        } else {
            Step::Say(format!("re: {text}"))
        }
    });
    let runtime = start(model, Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    (runtime, scope)
}

async fn configure(runtime: &Runtime, scope: &Scope, maintenance: Value) {
    let doc = json!({"session": {"maintenance": maintenance}});
    let config = &runtime.services.config;
    config.put_document(scope, doc, None).await.expect("stores");
}

async fn send(runtime: &Runtime, scope: &Scope, key: &str, text: &str) {
    let message = ClientMessage {
        source: "chat".to_owned(),
        message: text.to_owned(),
        ..ClientMessage::default()
    };
    intake::accept_client(&runtime.directory, scope, key, &format!("{key} {text}"), message)
        .await
        .expect("accepted");
}

async fn ask(runtime: &Runtime, scope: &Scope, key: &str, text: &str) {
    send(runtime, scope, key, text).await;
    let ended = runtime
        .directory
        .wait_run(scope, &format!("{key} {text}"), PATIENCE)
        .await;
    assert_eq!(ended.expect("answers").expect("ended").status, "ok");
}

/// The session was used this many days ago.
async fn age(runtime: &Runtime, scope: &Scope, key: &str, days: i64) {
    let tx = runtime.services.db.write(scope).await.expect("writes");
    session::Entity::update_owned(scope)
        .col_expr(session::Column::UpdatedAt, Expr::value(now_ms() - days * DAY))
        .filter(session::Column::Key.eq(key))
        .exec(&*tx)
        .await
        .expect("writes");
    tx.commit().await.expect("commits");
}

async fn exists(runtime: &Runtime, scope: &Scope, key: &str) -> bool {
    let head = runtime.services.conversation.head(scope, &SessionKey::from(key)).await;
    head.expect("reads").is_some()
}

#[actix::test]
async fn old_sessions_go_and_main_and_busy_ones_stay() {
    let (runtime, scope) = runtime().await;
    let keys = ["agent:main:main", "agent:main:old", "agent:main:new", "agent:main:busy"];
    for key in keys {
        ask(&runtime, &scope, key, "hello").await;
    }
    send(&runtime, &scope, "agent:main:busy", "hang").await;
    for key in ["agent:main:main", "agent:main:old", "agent:main:busy"] {
        age(&runtime, &scope, key, 40).await;
    }
    let tended = tend(&runtime.directory, &scope).await.expect("looks");
    assert_eq!(tended.sessions, 2, "counted only");
    assert!(exists(&runtime, &scope, "agent:main:old").await);
    configure(&runtime, &scope, json!({"mode": "enforce"})).await;
    let tended = tend(&runtime.directory, &scope).await.expect("deletes");
    assert_eq!(tended.sessions, 1);
    for key in keys {
        assert_eq!(exists(&runtime, &scope, key).await, key != "agent:main:old", "{key}");
    }
    // Whoever comes back starts over.
    ask(&runtime, &scope, "agent:main:old", "again").await;
    let said = transcript(&runtime, &scope, "agent:main:old").await;
    assert_eq!(said.len(), 2);
}

#[actix::test]
async fn of_too_many_the_oldest_go_and_what_a_reset_left_goes_too() {
    let (runtime, scope) = runtime().await;
    for at in 0..4 {
        let key = format!("agent:main:s{at}");
        ask(&runtime, &scope, &key, "hello").await;
        age(&runtime, &scope, &key, 9 - at).await;
    }
    // The last session starts over; what was said before is three days old.
    ask(&runtime, &scope, "agent:main:s3", "/new and more").await;
    let tx = runtime.services.db.write(&scope).await.expect("writes");
    transcript_entry::Entity::update_owned(&scope)
        .col_expr(transcript_entry::Column::CreatedAt, Expr::value(now_ms() - 3 * DAY))
        .exec(&*tx)
        .await
        .expect("writes");
    tx.commit().await.expect("commits");
    configure(
        &runtime,
        &scope,
        json!({"mode": "enforce", "maxEntries": 2, "resetArchiveRetention": "2d"}),
    )
    .await;
    let tended = tend(&runtime.directory, &scope).await.expect("deletes");
    assert_eq!(tended.sessions, 2);
    for at in 0..4 {
        assert_eq!(
            exists(&runtime, &scope, &format!("agent:main:s{at}")).await,
            at >= 2,
            "{at}"
        );
    }
    let tx = runtime.services.db.read(&scope).await.expect("reads");
    let entries = transcript_entry::Entity::owned_by(&scope)
        .count(&*tx)
        .await
        .expect("reads");
    assert_eq!(entries, 4, "those of the two current transcripts");
}
