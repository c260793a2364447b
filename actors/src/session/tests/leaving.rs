//! Who leaves: a process that stops begins nothing, and actors that nobody needs any more are let go.

use sea_orm::EntityTrait;

use super::*;
use crate::session::intake::own_row;

#[actix::test]
async fn a_process_that_stops_begins_nothing_for_who_was_asleep() {
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let model = ScriptedModel::new(move |text| {
        if text == "hold" {
            Step::SayAfter("one ".to_owned(), gate.clone(), "two".to_owned())
        } else {
            Step::Say(format!("re: {text}"))
        }
    });
    let runtime = start(model.clone(), Limits::default(), 1).await;
    let (busy, asleep) = (runtime.owner("acme").await, runtime.owner("other").await);
    let key = SessionKey::from("agent:main:main");
    send(&runtime, &busy, key.as_str(), "hold").await;
    called(&model, 1).await;
    let directory = runtime.directory.clone();
    let drained = runtime
        .services
        .io
        .spawn(async move { directory.drain(PATIENCE).await });
    let until = Instant::now() + PATIENCE;
    while !runtime.directory.draining() {
        assert!(Instant::now() < until, "it does not stop");
        tokio::task::yield_now().await;
    }
    // It was accepted just before.
    let payload = serde_json::to_string(&message("late")).expect("serialises");
    let row = own_row(&asleep, "chat", "late", &key, payload, now_ms());
    let tx = runtime.services.db.write(&asleep).await.expect("writes");
    inbox::Entity::insert(row)
        .exec_without_returning(&*tx)
        .await
        .expect("inserts");
    tx.commit().await.expect("commits");
    runtime.directory.wake(&asleep, &key);
    let ended = runtime
        .directory
        .wait_run(&asleep, "late", Duration::from_millis(500))
        .await;
    assert!(ended.expect("answers").is_none(), "a turn was begun");
    let view = runtime.services.db.read(&asleep).await.expect("reads");
    let row = inbox::Entity::owned_by(&asleep).one(&*view).await.expect("reads");
    assert_eq!(row.map(|row| row.state).as_deref(), Some("pending"));
    go.notify_one();
    drained.await.expect("stops");
}

/// Whoever gave up waiting for a run kept the user's actor, and the tenant's, for ever.
#[actix::test]
async fn who_gave_up_waiting_for_a_run_keeps_nobody_awake() {
    let limits = Limits {
        user_idle: Duration::from_millis(20),
        ..Limits::default()
    };
    let runtime = start(ScriptedModel::new(|_| Step::Hang), limits, 1).await;
    let scope = runtime.owner("acme").await;
    let directory = &runtime.directory;
    let ended = directory.wait_run(&scope, "none", Duration::from_millis(1)).await;
    assert!(ended.expect("answers").is_none());
    let until = Instant::now() + PATIENCE;
    while directory.awake() > 0 {
        assert!(Instant::now() < until, "somebody is still awake");
        tokio::task::yield_now().await;
    }
}
