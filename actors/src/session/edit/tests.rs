//! Edits beside a running turn: what is in order stays in order, what is deleted is gone, what is set stays set.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use claw_entities::{TenantOwned, transcript_entry};
use sea_orm::{PaginatorTrait, QueryOrder};
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::services::Limits;
use crate::session::branches;
use crate::session::tests::{PATIENCE, called, message, send, settled, transcript};
use crate::testing::{Runtime, ScriptedModel, Step, start};

const KEY: &str = "agent:main:side";

/// Says "one " and, when told to, "two" to everything that begins with `slow`; answers the rest at once.
async fn paced() -> (Runtime, Arc<ScriptedModel>, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let model = ScriptedModel::new(move |text| {
        if text.starts_with("slow") {
            Step::SayAfter("one ".to_owned(), gate.clone(), "two".to_owned())
        } else {
            Step::Say(format!("re: {text}"))
        }
    });
    let runtime = start(model.clone(), Limits::default(), 1).await;
    (runtime, model, go)
}

async fn ended(runtime: &Runtime, scope: &Scope, run_id: &str) -> String {
    let ended = runtime
        .directory
        .wait_run(scope, run_id, PATIENCE)
        .await
        .expect("answers");
    ended.expect("ended").status
}

async fn count(runtime: &Runtime, scope: &Scope, key: &SessionKey) -> (u64, u64) {
    let tx = runtime.services.db.read(scope).await.expect("reads");
    let sessions = session::Entity::owned_by(scope)
        .filter(session::Column::Key.eq(key.clone()))
        .count(&*tx)
        .await
        .expect("reads");
    let entries = transcript_entry::Entity::of_tenant(scope.tenant_scope())
        .count(&*tx)
        .await
        .expect("reads");
    (sessions, entries)
}

#[actix::test]
async fn an_injection_stands_between_the_running_turn_and_the_next() {
    let (runtime, model, go) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    send(&runtime, &scope, KEY, "slow").await;
    called(&model, 1).await;
    let stored = accept_injection(&runtime.directory, &scope, &key, "a note".to_owned())
        .await
        .expect("stored");
    send(&runtime, &scope, KEY, "next").await;
    // Nothing stands in the middle of a turn: so far there is only its question.
    assert_eq!(transcript(&runtime, &scope, KEY).await, [(true, "slow".to_owned())]);
    go.notify_one();
    assert_eq!(ended(&runtime, &scope, &stored.run_id).await, "ok");
    assert_eq!(ended(&runtime, &scope, "next").await, "ok");
    let said = transcript(&runtime, &scope, KEY).await;
    let texts: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["slow", "one two", "a note", "next", "re: next"]);
    assert!(!said[2].0, "said in the agent's place");
}

#[actix::test]
async fn an_injection_needs_a_session_of_ones_own() {
    let (runtime, ..) = paced().await;
    let (owner, stranger) = (runtime.owner("acme").await, runtime.owner("other").await);
    let key = SessionKey::from(KEY);
    send(&runtime, &owner, KEY, "hello").await;
    settled(&runtime, &owner).await;
    let refused = accept_injection(&runtime.directory, &stranger, &key, "a note".to_owned()).await;
    assert!(matches!(refused.err(), Some(Error::NotFound { what: "session" })));
    assert_eq!(transcript(&runtime, &owner, KEY).await.len(), 2);
}

#[actix::test]
async fn a_reset_aborts_what_runs_and_starts_an_empty_transcript() {
    let (runtime, model, _go) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    send(&runtime, &scope, KEY, "slow").await;
    called(&model, 1).await;
    send(&runtime, &scope, KEY, "waits").await;
    let before = runtime
        .services
        .conversation
        .head(&scope, &key)
        .await
        .expect("reads")
        .expect("is there");
    let until = Instant::now() + PATIENCE;
    while runtime
        .directory
        .observe_session(&scope, &key)
        .await
        .expect("answers")
        .queued
        == 0
    {
        assert!(Instant::now() < until, "the second message was not queued");
        tokio::task::yield_now().await;
    }
    let edited = runtime
        .directory
        .edit(&scope, &key, Edit::Reset { reason: "reset" })
        .await
        .expect("reset");
    let head = edited.head.expect("a session");
    assert_ne!(head.session_id, before.session_id);
    assert_eq!(ended(&runtime, &scope, "slow").await, "aborted");
    assert_eq!(ended(&runtime, &scope, "waits").await, "aborted");
    assert!(transcript(&runtime, &scope, KEY).await.is_empty());
    send(&runtime, &scope, KEY, "fresh").await;
    assert_eq!(ended(&runtime, &scope, "fresh").await, "ok");
    assert_eq!(transcript(&runtime, &scope, KEY).await.len(), 2);
}

#[actix::test]
async fn a_deletion_takes_rows_transcripts_and_what_waits() {
    let (runtime, model, _go) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    let (other, main) = (runtime.owner("other").await, SessionKey::from(KEY));
    send(&runtime, &other, KEY, "theirs").await;
    assert_eq!(ended(&runtime, &other, "theirs").await, "ok");
    // Two transcripts: the one before the reset goes too.
    send(&runtime, &scope, KEY, "old").await;
    assert_eq!(ended(&runtime, &scope, "old").await, "ok");
    runtime
        .directory
        .edit(&scope, &key, Edit::Reset { reason: "new" })
        .await
        .expect("reset");
    send(&runtime, &scope, KEY, "slow").await;
    // The reset made a note of the first conversation, which the model named.
    called(&model, 4).await;
    for text in ["waits 1", "waits 2"] {
        send(&runtime, &scope, KEY, text).await;
    }
    let injected = accept_injection(&runtime.directory, &scope, &key, "a note".to_owned())
        .await
        .expect("stored");
    assert!(count(&runtime, &scope, &key).await.1 >= 3);
    let edit = Edit::Delete {
        transcript: true,
        expected: None,
    };
    let edited = runtime
        .directory
        .edit(&scope, &key, edit.clone())
        .await
        .expect("deleted");
    assert!(edited.found && edited.head.is_none());
    for run_id in ["slow", "waits 1", "waits 2", injected.run_id.as_str()] {
        assert_eq!(ended(&runtime, &scope, run_id).await, "aborted", "{run_id}");
    }
    settled(&runtime, &scope).await;
    assert_eq!(count(&runtime, &scope, &key).await, (0, 0));
    assert_eq!(model.calls.load(Ordering::Relaxed), 4, "nothing of what waited has run");
    let again = runtime.directory.edit(&scope, &key, edit).await.expect("answers");
    assert!(!again.found);
    // Another tenant's session under the same key is another one.
    assert_eq!(count(&runtime, &other, &main).await, (1, 2));
    // The key is free for a new one.
    send(&runtime, &scope, KEY, "fresh").await;
    assert_eq!(ended(&runtime, &scope, "fresh").await, "ok");
    assert_eq!(count(&runtime, &scope, &key).await, (1, 2));
}

#[actix::test]
async fn a_deletion_meant_for_another_transcript_is_refused() {
    let (runtime, ..) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    send(&runtime, &scope, KEY, "hello").await;
    settled(&runtime, &scope).await;
    let edit = Edit::Delete {
        transcript: true,
        expected: Some("long gone".to_owned()),
    };
    let refused = runtime.directory.edit(&scope, &key, edit).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(count(&runtime, &scope, &key).await, (1, 2));
    send(&runtime, &scope, KEY, "more").await;
    assert_eq!(ended(&runtime, &scope, "more").await, "ok");
}

#[actix::test]
async fn what_is_set_during_a_turn_outlives_its_end() {
    let (runtime, model, go) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    send(&runtime, &scope, KEY, "slow").await;
    called(&model, 1).await;
    let change = Patch {
        label: Some(Some("work".to_owned())),
        fields: Map::from_iter([("groupActivation".to_owned(), json!("always"))]),
        expected: None,
    };
    patch(&runtime.directory, &scope, &key, change.clone())
        .await
        .expect("set");
    go.notify_one();
    assert_eq!(ended(&runtime, &scope, "slow").await, "ok");
    let head = runtime
        .services
        .conversation
        .head(&scope, &key)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(head.label.as_deref(), Some("work"));
    assert_eq!(head.entry["groupActivation"], "always");
    assert_eq!(head.entry["status"], "done");
    // A label is one session's, and null gives it up.
    let other = SessionKey::from("agent:main:other");
    let taken = patch(&runtime.directory, &scope, &other, change.clone()).await;
    assert_eq!(taken.expect_err("taken").to_string(), "label already in use: work");
    let clear = Patch {
        label: Some(None),
        fields: Map::from_iter([("groupActivation".to_owned(), Value::Null)]),
        expected: None,
    };
    let head = patch(&runtime.directory, &scope, &key, clear).await.expect("cleared");
    assert!(head.label.is_none() && head.entry.get("groupActivation").is_none());
    patch(&runtime.directory, &scope, &other, change)
        .await
        .expect("free again");
}

/// The question as a crash leaves it: stored, its row under a run, and nobody awake who knows of it.
async fn cut_off(runtime: &Runtime, scope: &Scope, key: &SessionKey, text: &'static str) -> String {
    let id = new_id();
    let row = NewInbox {
        id: id.clone(),
        tenant: scope.tenant().clone(),
        user: scope.user().clone(),
        source: "chat".to_owned(),
        account_id: scope.user().as_str().to_owned(),
        event_key: text.to_owned(),
        session_key: key.clone(),
        payload: serde_json::to_string(&message(text)).expect("JSON"),
        skipped: None,
    };
    runtime.services.writer.accept(vec![row]).await.expect("stored");
    let (scope_in, key_in, id_in) = (scope.clone(), key.clone(), id.clone());
    let begun = runtime.services.writer.run(scope, move |tx| {
        let (scope, key, id) = (scope_in.clone(), key_in.clone(), id_in.clone());
        Box::pin(async move {
            let mut batch = Batch::new(tx);
            let mut head = crate::conversation::transcript::open_to_move(tx, &scope, &key, "main", now_ms()).await?;
            let entry = turn::user_entry(&id, Message::user(text, now_ms()), Default::default(), text);
            crate::conversation::transcript::append(&mut batch, &scope, &mut head, vec![entry])?;
            crate::conversation::transcript::save_head(&mut batch, &scope, &mut head, HeadChanges::default());
            let claimed = inbox::Entity::update_owned(&scope)
                .col_expr(inbox::Column::State, Expr::value("running"))
                .col_expr(inbox::Column::Attempts, Expr::value(1))
                .col_expr(inbox::Column::RunId, Expr::value(text))
                .col_expr(inbox::Column::EntryId, Expr::value(id.clone()))
                .filter(inbox::Column::Id.eq(id));
            batch.add(&claimed);
            batch.run(tx).await?;
            Ok(())
        })
    });
    begun.await.expect("begun");
    id
}

#[actix::test]
async fn nothing_is_moved_before_a_cut_off_turn_has_gone_on() {
    let (runtime, model, go) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    let question = cut_off(&runtime, &scope, &key, "slow").await;
    let back = Edit::Turn {
        leaf: Leaf::Before(question),
    };
    let refused = runtime.directory.edit(&scope, &key, back.clone()).await;
    assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
    called(&model, 1).await;
    go.notify_one();
    assert_eq!(ended(&runtime, &scope, "slow").await, "ok");
    let both = [(true, "slow".to_owned()), (false, "one two".to_owned())];
    assert_eq!(transcript(&runtime, &scope, KEY).await, both);
    // Answered: now it may be asked anew.
    let until = Instant::now() + PATIENCE;
    let head = loop {
        match runtime.directory.edit(&scope, &key, back.clone()).await {
            Ok(edited) => break edited.head.expect("a session"),
            Err(Error::Busy { .. }) => assert!(Instant::now() < until, "it stays busy"),
            Err(error) => panic!("not moved: {error:?}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(head.leaf_id, None);
}

/// Ids of the user's transcript entries, all transcripts, in order.
async fn entry_ids(runtime: &Runtime, scope: &Scope) -> Vec<String> {
    let tx = runtime.services.db.read(scope).await.expect("reads");
    let ids = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::Id)
        .order_by_asc(transcript_entry::Column::Seq)
        .into_tuple()
        .all(&*tx)
        .await;
    ids.expect("reads")
}

#[actix::test]
async fn a_copy_goes_with_its_words_and_leaves_those_of_the_original() {
    let (runtime, ..) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    for text in ["one", "two"] {
        send(&runtime, &scope, KEY, text).await;
        assert_eq!(ended(&runtime, &scope, text).await, "ok");
    }
    let before = entry_ids(&runtime, &scope).await;
    let copy = SessionKey::from("agent:main:dashboard:copy");
    branches::fork(&runtime.directory, &scope, &key, &before[2], &copy)
        .await
        .expect("copied");
    assert_eq!(entry_ids(&runtime, &scope).await.len(), 6);
    runtime
        .directory
        .edit(&scope, &copy, Edit::Reset { reason: "new" })
        .await
        .expect("reset");
    let edit = Edit::Delete {
        transcript: true,
        expected: None,
    };
    runtime.directory.edit(&scope, &copy, edit).await.expect("deleted");
    assert_eq!(entry_ids(&runtime, &scope).await, before);
    let tx = runtime.services.db.read(&scope).await.expect("reads");
    let blank = inbox::Entity::owned_by(&scope)
        .filter(inbox::Column::Payload.eq("{}"))
        .count(&*tx)
        .await
        .expect("reads");
    assert_eq!(blank, 0, "the original's messages keep their words");
}

#[actix::test]
async fn only_the_owners_own_chats_are_copied_with_their_rules() {
    let (runtime, ..) = paced().await;
    let (scope, key) = (runtime.owner("acme").await, SessionKey::from(KEY));
    let set = async |key: &SessionKey, name: &str, value: Value| {
        let change = Patch {
            fields: Map::from_iter([(name.to_owned(), value)]),
            ..Patch::default()
        };
        patch(&runtime.directory, &scope, key, change).await.expect("set");
    };
    send(&runtime, &scope, KEY, "one").await;
    assert_eq!(ended(&runtime, &scope, "one").await, "ok");
    set(&key, "sendPolicy", json!("deny")).await;
    let question = entry_ids(&runtime, &scope).await[0].clone();
    let copy = SessionKey::from("agent:main:dashboard:copy");
    let head = branches::fork(&runtime.directory, &scope, &key, &question, &copy)
        .await
        .expect("copied");
    assert_eq!(head.entry["sendPolicy"], "deny");
    set(&key, "spawnedBy", json!("agent:main:main")).await;
    let others = [
        KEY,
        "agent:main:telegram:direct:42",
        "agent:main:telegram:group:42",
        "agent:main:subagent:42",
        "agent:main:hook:42",
    ];
    for from in others {
        let from = SessionKey::from(from);
        set(&from, "icon", json!("x")).await;
        let to = SessionKey::from("agent:main:dashboard:none");
        let refused = branches::fork(&runtime.directory, &scope, &from, &question, &to).await;
        let why = refused.expect_err("refused").to_string();
        assert!(why.contains("owner's own chats"), "{from}: {why}");
    }
}
