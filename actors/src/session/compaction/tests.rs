//! What a compaction stores, and under which right.

use claw_entities::{SessionKey, TenantOwned, transcript_entry};
use sea_orm::PaginatorTrait;
use serde_json::json;

use super::*;
use crate::conversation::entry::Body;
use crate::services::Limits;
use crate::session::budget::Charge;
use crate::session::tests::{send, settled};
use crate::session::turn;
use crate::testing::{Runtime, ScriptedModel, Step, start};

const KEY: &str = "agent:main:long";

/// A session with four turns.
async fn talked() -> (Runtime, Authority, SessionHead) {
    let model = ScriptedModel::new(|text| Step::Say(format!("re: {text}")));
    let runtime = start(model, Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    for turn in 0..4 {
        send(&runtime, &scope, KEY, &format!("question {turn}")).await;
        settled(&runtime, &scope).await;
    }
    let key = SessionKey::from(KEY);
    let head = runtime
        .services
        .conversation
        .head(&scope, &key)
        .await
        .expect("reads")
        .expect("is there");
    let epoch = runtime.directory.leases().epoch(&scope).await.expect("is held");
    let authority = Authority {
        scope,
        key,
        agent_id: "main".to_owned(),
        epoch,
        charge: Charge::default(),
    };
    (runtime, authority, head)
}

async fn ids(runtime: &Runtime, authority: &Authority, head: &SessionHead) -> Vec<String> {
    let branch = runtime
        .services
        .conversation
        .branch(&authority.scope, head, 100_000)
        .await
        .expect("reads");
    branch.entries.iter().map(|entry| entry.id.clone()).collect()
}

fn body(first_kept: &str) -> Compaction {
    Compaction {
        summary: "so far".to_owned(),
        first_kept_entry_id: first_kept.to_owned(),
        tokens_before: 9,
        details: None,
    }
}

#[actix::test]
async fn an_older_epoch_stores_nothing() {
    let (runtime, authority, head) = talked().await;
    let before = ids(&runtime, &authority, &head).await;
    let older = Authority {
        epoch: authority.epoch - 1,
        ..authority.clone()
    };
    let refused = turn::compact(&runtime.services, &older, &head, body(&before[4]), "", None).await;
    assert!(matches!(refused, Err(Error::Fenced)), "{refused:?}");
    let tx = runtime.services.db.read(&authority.scope).await.expect("reads");
    let rows = transcript_entry::Entity::of_tenant(authority.scope.tenant_scope())
        .count(&*tx)
        .await;
    assert_eq!(rows.expect("reads"), 8);
    drop(tx);
    assert_eq!(ids(&runtime, &authority, &head).await, before);
}

#[actix::test]
async fn what_is_read_afterwards_is_the_summary_and_what_stayed() {
    let (runtime, authority, head) = talked().await;
    let before = ids(&runtime, &authority, &head).await;
    let services = &runtime.services;
    let head = turn::compact(services, &authority, &head, body(&before[4]), "run", None)
        .await
        .expect("stores");
    let entry = &head.entry;
    assert_eq!(
        (&entry["compactionCount"], &entry["totalTokensFresh"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(fresh_tokens(&head), None);
    // What was kept of the branch before does not come back.
    let read = ids(&runtime, &authority, &head).await;
    assert_eq!(read[..4], before[4..]);
    assert_eq!((read.len(), Some(&read[4])), (5, head.leaf_id.as_ref()));
    let stored = services
        .conversation
        .head(&authority.scope, &authority.key)
        .await
        .expect("reads");
    assert_eq!(stored.as_ref(), Some(&head));
    // A turn that follows is read on, and the next compaction replaces this one.
    send(&runtime, &authority.scope, KEY, "later").await;
    settled(&runtime, &authority.scope).await;
    let head = services
        .conversation
        .head(&authority.scope, &authority.key)
        .await
        .expect("reads")
        .expect("is there");
    let read = ids(&runtime, &authority, &head).await;
    assert_eq!(read.len(), 7);
    let head = turn::compact(services, &authority, &head, body(&read[2]), "run", None)
        .await
        .expect("stores");
    assert_eq!(head.entry["compactionCount"], 2);
    let branch = services
        .conversation
        .branch(&authority.scope, &head, 100_000)
        .await
        .expect("reads");
    let last = branch.entries.last().expect("the newest");
    assert!(matches!(last.body, Body::Compaction(_)));
    assert_eq!(branch.entries.first().map(|entry| &entry.id), Some(&read[2]));
    // The summary that is replaced stands between what stayed and is sent no more.
    let (so_far, messages) = to_summarise(&branch.entries, branch.entries.len());
    assert_eq!(so_far.map(|so_far| so_far.tokens_before), Some(9));
    assert_eq!(messages.len(), 4);
}

#[test]
fn what_stays_fits_beside_what_is_always_sent() {
    let settings = CompactionSettings::default();
    let room = |window, sent, calm| Room { window, sent, calm };
    let refused = Extent::Refused { before: 0 };
    // A large window has room for the usual tail, a small one for a sixth.
    assert_eq!(
        usual(&settings, &room(128_000, 90_000, 90_000), Extent::Usual),
        Some(20_000)
    );
    assert_eq!(
        usual(&settings, &room(24_000, 9_000, 9_000), Extent::Usual),
        Some(4_000)
    );
    // No more stays than is sent, nor so much that the next prompt is summarised again.
    assert_eq!(
        usual(&settings, &room(24_000, 2_000, 9_000), Extent::Usual),
        Some(2_000)
    );
    assert_eq!(
        usual(&settings, &room(24_000, 9_000, 1_000), Extent::Usual),
        Some(1_000)
    );
    // Where even that is no room it is not tried, unless the provider refused the prompt or a person asked.
    assert_eq!(usual(&settings, &room(24_000, 9_000, 999), Extent::Usual), None);
    for extent in [refused, Extent::Asked] {
        assert_eq!(usual(&settings, &room(24_000, 2_000, 0), extent), Some(2_000));
    }
}
