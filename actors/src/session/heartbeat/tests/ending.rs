//! How a beat ends, step by step: what stays, what leaves, and what a repeat of the end does.

use chrono_tz::Tz;
use claw_entities::system_event as lines;

use super::*;
use crate::conversation::entry::{Body, Compaction};
use crate::conversation::transcript::SessionHead;
use crate::error::{Error, Result};
use crate::ports::message::{AssistantMessage, Message};
use crate::session::budget::Charge;
use crate::session::freshness;
use crate::session::intake::{Beat, ClientMessage};
use crate::session::item::Item;
use crate::session::overheard::Overheard;
use crate::session::turn::{self, Authority, Ending, Turn};

const APART: &str = "agent:main:heartbeat";

/// A beat that has begun, in the hands of the test.
struct Begun {
    authority: Authority,
    turn: Turn,
    head: SessionHead,
}

impl Begun {
    async fn in_session(stage: &Stage, key: &str) -> Self {
        let (services, scope) = (&stage.runtime.services, &stage.scope);
        let (now, key) = (now_ms(), SessionKey::from(key));
        let run = format!("heartbeat:main:{}", claw_entities::new_id());
        let message = ClientMessage {
            source: "heartbeat".to_owned(),
            message: "look".to_owned(),
            background: true,
            heartbeat: Some(Beat {
                ack_max_chars: 300,
                light_context: false,
                apart_from: (key.as_str() == APART).then(|| MAIN.into()),
            }),
            ..ClientMessage::default()
        };
        let payload = serde_json::to_string(&message).expect("encodes");
        let row = intake::own_row(scope, "heartbeat", &run, &key, payload, now);
        let id = row.id.clone().unwrap();
        let tx = services.db.write(scope).await.expect("writes");
        inbox::Entity::insert(row)
            .exec_without_returning(&*tx)
            .await
            .expect("inserts");
        tx.commit().await.expect("commits");
        let authority = Authority {
            scope: scope.clone(),
            key: key.clone(),
            agent_id: "main".to_owned(),
            epoch: stage.runtime.directory.leases().epoch(scope).await.expect("is held"),
            charge: Charge::default(),
        };
        let turn = Turn {
            run_id: run.clone(),
            items: vec![Item::from_client(id.clone(), run.clone(), now, true, message)],
            prompt: Vec::new(),
            overheard: Overheard::default(),
            steered: Vec::new(),
        };
        let settings = services.config.settings(scope).await.expect("reads");
        let rule = freshness::rule(&settings.session, &key, "webchat");
        let user = turn::user_entry(&id, Message::user("look", now), Default::default(), &run);
        let head = turn::begin(services, &authority, &turn, Some(user), (rule, Tz::UTC))
            .await
            .expect("begins");
        Self { authority, turn, head }
    }

    /// Ends it with nothing to report.
    async fn end(&self, stage: &Stage, status: &'static str) -> Result<SessionHead> {
        let ending = Ending {
            forgotten: true,
            handed: Vec::new(),
            ..Ending::without_model(status, "stop", Vec::new())
        };
        let last = turn::entry(Message::Assistant(AssistantMessage::default()), &self.turn.run_id);
        let (services, head) = (&stage.runtime.services, Some(&self.head));
        turn::end(
            services,
            &self.authority,
            &self.turn,
            head,
            vec![last],
            Vec::new(),
            ending,
        )
        .await
    }
}

/// Lines that wait: session and text.
async fn waiting(stage: &Stage) -> Vec<(String, String)> {
    let tx = stage.runtime.services.db.read(&stage.scope).await.expect("reads");
    let rows = lines::Entity::owned_by(&stage.scope).all(&*tx).await.expect("reads");
    rows.into_iter().map(|row| (row.session_key.into(), row.text)).collect()
}

/// System events of the main session, and how many of them were asked for.
async fn counters(stage: &Stage) -> (i64, i64) {
    let history = &stage.runtime.services.conversation;
    let head = history.head(&stage.scope, &MAIN.into()).await.expect("reads");
    head.map(|head| (head.events, head.events_seen)).expect("is there")
}

#[actix::test]
async fn an_end_that_is_stored_already_is_not_stored_again() {
    let stage = Stage::set().await;
    stage.say("k1", "hello").await;
    let before = stage.said(MAIN).await;
    let beat = Begun::in_session(&stage, MAIN).await;
    let ended = beat.end(&stage, "ok").await.expect("ends");
    assert_eq!(stage.said(MAIN).await, before);
    // The connection broke after the commit: it is tried again with what was known before.
    let again = beat.end(&stage, "ok").await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    assert_eq!(stage.said(MAIN).await, before);
    let history = &stage.runtime.services.conversation;
    let stored = history.head(&stage.scope, &MAIN.into()).await.expect("reads");
    assert_eq!(stored.map(|head| head.leaf_id), Some(ended.leaf_id));
}

#[actix::test]
async fn a_beat_that_summarised_keeps_the_summary() {
    let stage = Stage::set().await;
    stage.say("k1", "hello").await;
    let mut beat = Begun::in_session(&stage, MAIN).await;
    let body = Compaction {
        summary: "THE-SUMMARY".to_owned(),
        first_kept_entry_id: beat.head.leaf_id.clone().expect("the question"),
        tokens_before: 9,
        details: None,
    };
    let services = &stage.runtime.services;
    beat.head = turn::compact(services, &beat.authority, &beat.head, body, &beat.turn.run_id, None)
        .await
        .expect("stores");
    let head = beat.end(&stage, "ok").await.expect("ends");
    let branch = services
        .conversation
        .branch(&stage.scope, &head, u64::MAX)
        .await
        .expect("reads");
    let summaries = branch
        .entries
        .iter()
        .filter(|entry| matches!(entry.body, Body::Compaction(_)));
    assert_eq!((summaries.count(), branch.entries.len()), (1, 3));
}

#[actix::test]
async fn a_beat_that_acted_remembers_it() {
    let stage = Stage::set().await;
    let beat = Begun::in_session(&stage, MAIN).await;
    turn::intend(
        &stage.runtime.services,
        &beat.authority,
        &beat.turn.run_id,
        "call_1",
        "nodes",
    )
    .await
    .expect("stores");
    beat.end(&stage, "ok").await.expect("ends");
    assert_eq!(stage.said(MAIN).await.len(), 2);
}

#[actix::test]
async fn lines_that_a_beat_apart_did_not_deal_with_come_back() {
    let stage = Stage::with(json!({"every": "30m", "isolatedSession": true})).await;
    stage.add("the post came").await;
    let beat = Begun::in_session(&stage, APART).await;
    assert_eq!(counters(&stage).await, (1, 1), "main has asked for it");
    assert!(stage.said(APART).await[0].contains("the post came"));
    beat.end(&stage, "error").await.expect("ends");
    let kept = [(MAIN.to_owned(), "the post came".to_owned())];
    assert_eq!((waiting(&stage).await, counters(&stage).await), (kept.to_vec(), (2, 1)));
    // Nor are they lost when nobody wrote the end.
    Begun::in_session(&stage, APART).await;
    let beat = Begun::in_session(&stage, APART).await;
    let said = stage.said(APART).await;
    assert!(
        said.len() == 1 && said[0].matches("the post came").count() == 1,
        "{said:?}"
    );
    beat.end(&stage, "ok").await.expect("ends");
    assert_eq!((waiting(&stage).await, counters(&stage).await), (Vec::new(), (2, 2)));
}

#[actix::test]
async fn events_wake_a_beat_apart_once() {
    let stage = Stage::with(json!({"every": "30m", "isolatedSession": true})).await;
    stage.add("the post came").await;
    assert_eq!(stage.beat().await["status"], "ok-token");
    assert_eq!(stage.beat().await["reason"], "empty-heartbeat-file");
    assert_eq!(stage.calls(), 1);
}
