use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use claw_entities::{Scope, SessionKey, UserOwned, heartbeat, inbox, outbox, run};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};

use super::{beat_of, reconcile, round, run_id, wake};
use crate::clock::now_ms;
use crate::config::document::UserSettings;
use crate::db::writer::Writer;
use crate::services::Limits;
use crate::session::reconcile::{GIVEN_UP, MOST_TRIES};
use crate::session::{intake, system_event};
use crate::supervisor::directory::Directory;
use crate::supervisor::placement::Placement;
use crate::testing::{Runtime, ScriptedModel, Step, start};

mod ending;
mod owner;

const PATIENCE: Duration = Duration::from_secs(120);
const EVERY_MS: i64 = 1_800_000;
const MAIN: &str = "agent:main:main";

/// What the model answers, exchanged by the test, and what it was asked.
#[derive(Clone, Default)]
struct Words {
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Words {
    fn answer(&self, text: &str) {
        text.clone_into(&mut self.answer.lock().expect("unpoisoned"));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("unpoisoned").clone()
    }
}

struct Stage {
    runtime: Runtime,
    scope: Scope,
    words: Words,
    model: Arc<ScriptedModel>,
}

impl Stage {
    /// An owner whose agent looks every half an hour, with a question of their own.
    async fn set() -> Self {
        Self::with(json!({"every": "30m", "prompt": "look around"})).await
    }

    async fn with(heartbeat: Value) -> Self {
        let words = Words::default();
        words.answer("HEARTBEAT_OK");
        let script = words.clone();
        let model = ScriptedModel::new(move |text| {
            script.asked.lock().expect("unpoisoned").push(text.to_owned());
            let answer = script.answer.lock().expect("unpoisoned").clone();
            match answer.as_str() {
                "" => Step::Hang,
                text => Step::Say(text.to_owned()),
            }
        });
        let runtime = start(model.clone(), Limits::default(), 1).await;
        let scope = runtime.owner("acme").await;
        let stage = Self {
            runtime,
            scope,
            words,
            model,
        };
        stage
            .configure(json!({"agents": {"defaults": {"heartbeat": heartbeat}}}))
            .await;
        stage
    }

    async fn configure(&self, doc: Value) {
        let config = &self.runtime.services.config;
        config.update_document(&self.scope, |_| Ok(doc)).await.expect("stores");
    }

    /// When a person last used the session.
    async fn used(&self, key: &str) -> i64 {
        let head = self.runtime.services.conversation.head(&self.scope, &key.into()).await;
        head.expect("reads").expect("a session").updated_at
    }

    async fn row(&self) -> heartbeat::Model {
        let tx = self.runtime.services.db.read(&self.scope).await.expect("reads");
        heartbeat::Entity::owned_by(&self.scope)
            .one(&*tx)
            .await
            .expect("reads")
            .expect("is planned")
    }

    /// Beats that were begun: their keys.
    async fn begun(&self) -> Vec<String> {
        let tx = self.runtime.services.db.read(&self.scope).await.expect("reads");
        inbox::Entity::owned_by(&self.scope)
            .filter(inbox::Column::Source.eq("heartbeat"))
            .order_by_asc(inbox::Column::Id)
            .all(&*tx)
            .await
            .expect("reads")
            .into_iter()
            .map(|row| row.event_key)
            .collect()
    }

    async fn round(&self, now: i64) -> i64 {
        round(&self.runtime.directory, now).await.expect("looks")
    }

    /// Lets the next planned beat happen, as if it were its time, and waits until it is on record. Gives its event.
    async fn beat(&self) -> Value {
        let before = self.row().await;
        let due = before.next_beat_at.expect("is planned");
        self.round(due).await;
        let until = Instant::now() + PATIENCE;
        loop {
            let row = self.row().await;
            if row.running_at.is_none() && row.epoch > before.epoch && row.last != before.last {
                return row.last;
            }
            assert!(Instant::now() < until, "no end: {row:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Texts in the branch in use of a session.
    async fn said(&self, key: &str) -> Vec<String> {
        let history = &self.runtime.services.conversation;
        let Some(head) = history.head(&self.scope, &SessionKey::from(key)).await.expect("reads") else {
            return Vec::new();
        };
        let branch = history.branch(&self.scope, &head, u64::MAX).await.expect("reads");
        let bodies = branch.entries.iter().map(|entry| entry.body.encode().expect("encodes"));
        bodies.collect()
    }

    async fn add(&self, text: &str) {
        system_event::add(&self.runtime.services, &self.scope, &MAIN.into(), text)
            .await
            .expect("adds");
    }

    /// The user says something and is answered.
    async fn say(&self, key: &str, text: &str) {
        let directory = &self.runtime.directory;
        let message = crate::session::tests::message(text);
        intake::accept_client(directory, &self.scope, MAIN, key, message)
            .await
            .expect("is accepted");
        let ended = directory.wait_run(&self.scope, key, PATIENCE).await.expect("answers");
        assert_eq!(ended.expect("ends").status, "ok");
    }

    fn calls(&self) -> usize {
        self.model.calls.load(Ordering::Relaxed)
    }
}

#[test]
fn a_run_names_its_beat() {
    assert_eq!(beat_of(&run_id("a-b", 7)), Some(("a-b", 7)));
    for other in ["heartbeat:a", "heartbeat:a:x", "cron:a:7", ""] {
        assert_eq!(beat_of(other), None, "{other}");
    }
}

#[actix::test]
async fn a_beat_is_asked_once_and_leaves_nothing_behind_when_all_is_well() {
    let stage = Stage::set().await;
    stage.say("k1", "hello").await;
    let before = stage.said(MAIN).await;
    let used = stage.used(MAIN).await;
    let due = stage.row().await.next_beat_at.expect("is planned");
    assert!(due <= now_ms() + EVERY_MS);
    stage.round(due - 1).await;
    assert!(stage.begun().await.is_empty(), "it is not due yet");
    let event = stage.beat().await;
    assert_eq!(
        (&event["status"], event.get("reason")),
        (&json!("ok-token"), None),
        "{event}"
    );
    assert!(event["durationMs"].is_i64() && event["ts"].is_i64(), "{event}");
    for _ in 0..3 {
        stage.round(due).await;
    }
    assert_eq!(stage.begun().await, [run_id("main", due)]);
    assert_eq!(stage.row().await.next_beat_at, Some(due + EVERY_MS));
    let asked = stage.words.asked();
    assert!(
        asked[1].starts_with("look around\n\n") && asked[1].contains("\nCurrent time: "),
        "{asked:?}"
    );
    assert_eq!(stage.said(MAIN).await, before, "the beat is not in the context");
    assert_eq!(stage.used(MAIN).await, used, "a beat keeps no session from going stale");
    stage.say("k2", "and now?").await;
    assert_eq!(
        stage.said(MAIN).await.len(),
        before.len() + 2,
        "the conversation goes on"
    );
}

#[actix::test]
async fn processes_at_the_same_time_begin_each_beat_once() {
    let stage = Stage::set().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut services = stage.runtime.services.clone();
        let handle = services.io.clone();
        let _inside = handle.enter();
        services.writer = Writer::start(services.db.clone()).expect("a thread");
        let leases = stage.runtime.directory.leases().clone();
        others.push(Directory::new(services, Placement::start(1), leases));
    }
    let due = stage.row().await.next_beat_at.expect("is planned");
    let looks = others.iter().chain([&stage.runtime.directory]).map(|directory| async {
        for _ in 0..3 {
            round(directory, due).await.expect("looks");
        }
    });
    futures::future::join_all(looks).await;
    assert_eq!(stage.begun().await, [run_id("main", due)]);
}

#[actix::test]
async fn what_is_found_stands_in_the_session_and_is_not_said_twice_a_day() {
    let stage = Stage::set().await;
    stage.words.answer("the plants are dry");
    let event = stage.beat().await;
    assert_eq!(
        (&event["status"], &event["reason"], &event["preview"]),
        (&json!("skipped"), &json!("target-none"), &json!("the plants are dry"))
    );
    assert_eq!(stage.said(MAIN).await.len(), 2);
    let event = stage.beat().await;
    assert_eq!(
        (&event["status"], &event["reason"]),
        (&json!("skipped"), &json!("duplicate"))
    );
    assert_eq!(stage.said(MAIN).await.len(), 2, "it stands there once");
    // A day later it may be said again.
    let tx = stage.runtime.services.db.write(&stage.scope).await.expect("writes");
    heartbeat::Entity::update_owned(&stage.scope)
        .col_expr(heartbeat::Column::SaidAt, Expr::value(now_ms() - 24 * 3_600_000 - 1))
        .exec(&*tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
    assert_eq!(stage.beat().await["reason"], "target-none");
    assert_eq!(stage.said(MAIN).await.len(), 4);
    let tx = stage.runtime.services.db.read(&stage.scope).await.expect("reads");
    let sent = outbox::Entity::owned_by(&stage.scope)
        .count(&*tx)
        .await
        .expect("counts");
    assert_eq!(sent, 0, "nowhere to send it");
}

#[actix::test]
async fn events_come_with_the_beat_and_are_remembered() {
    let stage = Stage::with(json!({"every": "30m"})).await;
    // Our own empty file asks for nothing.
    let event = stage.beat().await;
    assert_eq!(
        (&event["status"], &event["reason"]),
        (&json!("skipped"), &json!("empty-heartbeat-file"))
    );
    assert_eq!(stage.calls(), 0);
    stage.add("the post came").await;
    assert_eq!(
        stage.beat().await["status"],
        "ok-token",
        "now there is something to look at"
    );
    let said = stage.said(MAIN).await;
    assert!(said.len() == 2 && said[0].contains("the post came"), "{said:?}");
    assert_eq!(stage.beat().await["reason"], "empty-heartbeat-file");
    let config = &stage.runtime.services.config;
    config
        .put_workspace_file(&stage.scope, "main", "HEARTBEAT.md", "- water the plants", None)
        .await
        .expect("writes");
    assert_eq!(stage.beat().await["status"], "ok-token");
    assert_eq!(stage.calls(), 2);
}

#[actix::test]
async fn a_line_waits_for_the_next_turn_and_costs_others_nothing() {
    let stage = Stage::set().await;
    let counters = async || {
        let history = &stage.runtime.services.conversation;
        let head = history.head(&stage.scope, &MAIN.into()).await.expect("reads");
        head.map(|head| (head.events, head.events_seen))
    };
    stage.add("one").await;
    assert_eq!(counters().await, Some((1, 0)), "also before the first turn");
    stage.say("k1", "hello").await;
    assert_eq!(counters().await, Some((1, 1)));
    stage.say("k2", "again").await;
    for line in ["two", "three", "three"] {
        stage.add(line).await;
    }
    assert_eq!(counters().await, Some((3, 1)));
    stage.say("k3", "and?").await;
    assert_eq!(counters().await, Some((3, 3)));
    let asked = stage.words.asked();
    assert!(
        asked[0].contains("] one\n") && !asked[1].contains("System:"),
        "{asked:?}"
    );
    assert!(
        asked[2].contains("] two\n") && asked[2].contains("] three\n"),
        "{asked:?}"
    );
}

#[actix::test]
async fn a_busy_session_is_tried_again_soon() {
    let stage = Stage::set().await;
    stage.words.answer("");
    let directory = &stage.runtime.directory;
    let message = crate::session::tests::message("think long");
    intake::accept_client(directory, &stage.scope, MAIN, "k1", message)
        .await
        .expect("is accepted");
    let due = stage.row().await.next_beat_at.expect("is planned");
    for (now, next) in [
        (due, due + 1000),
        (due + 1000, due + 2000),
        (due + 60_000, due + 90_000),
    ] {
        stage.round(now).await;
        let row = stage.row().await;
        assert_eq!(
            (row.next_beat_at, row.waiting_since, row.running_at),
            (Some(next), Some(due), None),
            "at {now}"
        );
    }
    assert!(stage.begun().await.is_empty() && stage.row().await.last.is_null());
}

#[actix::test]
async fn whoever_is_away_costs_nothing() {
    let stage = Stage::set().await;
    let week = 7 * 24 * 3_600_000;
    stage.round(now_ms() + week - 1000).await;
    assert_eq!(stage.begun().await.len(), 1, "not quite a week");
    let until = Instant::now() + PATIENCE;
    while stage.row().await.running_at.is_some() {
        assert!(Instant::now() < until, "the beat does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let calls = stage.calls();
    stage.round(now_ms() + week + EVERY_MS).await;
    let row = stage.row().await;
    assert_eq!(
        (&row.last["status"], &row.last["reason"]),
        (&json!("skipped"), &json!("inactive"))
    );
    assert_eq!((stage.calls(), stage.begun().await.len()), (calls, 1));
}

#[actix::test]
async fn switched_off_is_off_and_quiet_hours_are_quiet() {
    let stage = Stage::set().await;
    let config = &stage.runtime.services.config;
    config.set_heartbeats(&stage.scope, false).await.expect("stores");
    let due = stage.row().await.next_beat_at.expect("is planned");
    stage.round(due).await;
    let row = stage.row().await;
    assert_eq!((row.next_beat_at, row.last), (Some(due + EVERY_MS), Value::Null));
    assert!(
        !wake(&stage.runtime.directory, &stage.scope, &MAIN.into(), "x")
            .await
            .expect("answers")
    );
    config.set_heartbeats(&stage.scope, true).await.expect("stores");
    let never = json!({"every": "30m", "prompt": "p", "activeHours": {"start": "08:00", "end": "08:00"}});
    stage
        .configure(json!({"agents": {"defaults": {"heartbeat": never}}}))
        .await;
    assert_eq!(stage.beat().await["reason"], "quiet-hours");
    assert_eq!(stage.calls(), 0);
    // Nowhere to say it is a reason of its own.
    let nowhere = json!({"every": "30m", "prompt": "p", "target": "last"});
    stage
        .configure(json!({"agents": {"defaults": {"heartbeat": nowhere}}}))
        .await;
    assert_eq!(stage.beat().await["reason"], "no-target");
    let heard = wake(&stage.runtime.directory, &stage.scope, &MAIN.into(), "x").await;
    assert!(!heard.expect("answers"), "an event is not left out with the beat");
    stage.configure(json!({})).await;
    assert_eq!(stage.row().await.next_beat_at, None, "no heartbeat any more");
}

#[actix::test]
async fn an_event_that_does_not_wait_wakes_the_agent_once() {
    let quiet = json!({"every": "30m", "activeHours": {"start": "08:00", "end": "08:00"}});
    let stage = Stage::with(quiet).await;
    let planned = stage.row().await.next_beat_at.expect("is planned");
    for text in ["the bell rang", "and again"] {
        let woken = wake(&stage.runtime.directory, &stage.scope, &MAIN.into(), text).await;
        assert!(woken.expect("answers"), "the agent looks by itself");
    }
    let row = stage.row().await;
    let soon = row.next_beat_at.expect("is planned");
    assert!(row.woken && soon < planned && soon <= now_ms() + 250, "{row:?}");
    assert_eq!(stage.beat().await["status"], "ok-token");
    let asked = stage.words.asked();
    assert_eq!(asked.len(), 1, "both at once");
    assert!(
        asked[0].contains("the bell rang") && asked[0].contains("and again"),
        "{asked:?}"
    );
    let row = stage.row().await;
    assert!(!row.woken && row.next_beat_at > Some(now_ms()), "{row:?}");
    let other = SessionKey::from("agent:main:notes");
    assert!(
        !wake(&stage.runtime.directory, &stage.scope, &other, "x")
            .await
            .expect("answers")
    );
}

#[actix::test]
async fn a_beat_apart_begins_anew_each_time() {
    let stage = Stage::with(json!({"every": "30m", "prompt": "look", "isolatedSession": true})).await;
    let apart = "agent:main:heartbeat";
    stage.say("k1", "hello").await;
    stage.add("the post came").await;
    stage.words.answer("one");
    stage.beat().await;
    let said = stage.said(apart).await;
    assert!(said.len() == 2 && said[0].contains("the post came"), "{said:?}");
    stage.words.answer("two");
    stage.beat().await;
    let said = stage.said(apart).await;
    assert!(said.len() == 2 && said[1].contains("two"), "{said:?}");
    assert_eq!(stage.said(MAIN).await.len(), 2, "main has its own");
}

#[actix::test]
async fn a_lost_hint_is_found_among_the_running_beats() {
    let stage = Stage::set().await;
    let at = now_ms();
    let tx = stage.runtime.services.db.write(&stage.scope).await.expect("writes");
    heartbeat::Entity::update_owned(&stage.scope)
        .col_expr(heartbeat::Column::RunningAt, Expr::value(at))
        .exec(&*tx)
        .await
        .expect("updates");
    let row = intake::own_row(
        &stage.scope,
        "heartbeat",
        &run_id("main", at),
        &MAIN.into(),
        "{}".to_owned(),
        at,
    );
    inbox::Entity::insert(row)
        .exec_without_returning(&*tx)
        .await
        .expect("inserts");
    tx.commit().await.expect("commits");
    assert_eq!(
        reconcile(&stage.runtime.directory).await.expect("looks"),
        0,
        "it goes on"
    );
    let tx = stage.runtime.services.db.write(&stage.scope).await.expect("writes");
    inbox::Entity::update_owned(&stage.scope)
        .col_expr(inbox::Column::State, Expr::value("skipped"))
        .col_expr(inbox::Column::Reason, Expr::value("aborted before it started"))
        .exec(&*tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
    assert_eq!(reconcile(&stage.runtime.directory).await.expect("looks"), 1);
    let row = stage.row().await;
    assert_eq!((row.running_at, &row.last["status"]), (None, &json!("skipped")));
    assert_eq!(row.last["reason"], "aborted before it started");
    assert_eq!(reconcile(&stage.runtime.directory).await.expect("looks"), 0);
}

#[actix::test]
async fn a_beat_whose_end_can_never_be_stored_is_given_up() {
    let stage = Stage::set().await;
    let due = stage.row().await.next_beat_at.expect("is planned");
    stage.beat().await;
    // It is open again, and nobody can read its record.
    let tx = stage.runtime.services.db.write(&stage.scope).await.expect("writes");
    heartbeat::Entity::update_owned(&stage.scope)
        .col_expr(heartbeat::Column::RunningAt, Expr::value(due))
        .exec(&*tx)
        .await
        .expect("updates");
    let broken = run::Entity::update_owned(&stage.scope)
        .col_expr(run::Column::Result, Expr::value("{"))
        .filter(run::Column::Id.eq(run_id("main", due)))
        .exec(&*tx)
        .await
        .expect("updates");
    assert_eq!(broken.rows_affected, 1);
    tx.commit().await.expect("commits");
    for _ in 1..MOST_TRIES {
        reconcile(&stage.runtime.directory).await.expect("looks");
    }
    assert_eq!(stage.row().await.running_at, Some(due));
    reconcile(&stage.runtime.directory).await.expect("looks");
    let row = stage.row().await;
    assert_eq!((row.running_at, &row.last["reason"]), (None, &json!(GIVEN_UP)));
    assert_eq!(reconcile(&stage.runtime.directory).await.expect("looks"), 0);
}
