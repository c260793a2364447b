//! The Conversation service on a real database file.

use claw_entities::{Scope, SessionKey, TenantId, UserId, transcript_entry};
use claw_migration::{Migrator, MigratorTrait};
use sea_orm::{ActiveValue::Set, EntityTrait};
use serde_json::json;

use super::entry::{Body, Compaction};
use super::history::{Delta, PageQuery};
use super::transcript::{self, HeadChanges, NewEntry, SessionHead};
use super::{ConversationService, branch};
use crate::crypto::Secret;
use crate::db::{Batch, Db, DbSettings, template};
use crate::error::Error;
use crate::ports::message::{AssistantMessage, AssistantPart, Message};

struct Fixture {
    _directory: tempfile::TempDir,
    db: Db,
    service: ConversationService,
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let settings = DbSettings {
        url: Secret::new(template::on_sqlite(&path, async |db| Migrator::up(db, None).await).await),
        max_connections: 2,
        acquire_timeout: std::time::Duration::from_secs(10),
    };
    let db = Db::open(&settings).await.unwrap();
    Fixture {
        _directory: directory,
        service: ConversationService::new(db.clone()),
        db,
    }
}

fn scope(user: &str) -> Scope {
    Scope::vouch(TenantId::from("t1"), UserId::from(user))
}

fn key() -> SessionKey {
    SessionKey::from("agent:main:main")
}

fn new(id: Option<&str>, body: impl Into<Body>) -> NewEntry {
    NewEntry {
        id: id.map(str::to_owned),
        body: body.into(),
        run_id: Some("run".to_owned()),
        created_at: 1,
    }
}

fn says(text: &str) -> Message {
    Message::Assistant(AssistantMessage {
        content: vec![AssistantPart::Text { text: text.to_owned() }],
        ..AssistantMessage::default()
    })
}

fn texts(branch: &branch::Branch) -> Vec<&str> {
    branch.entries.iter().map(|entry| entry.id.as_str()).collect()
}

impl Fixture {
    async fn open(&self, scope: &Scope) -> SessionHead {
        let tx = self.db.write(scope).await.unwrap();
        let head = transcript::open(&*tx, scope, &key(), "main", 1_000).await.unwrap();
        tx.commit().await.unwrap();
        head
    }

    async fn append(&self, scope: &Scope, head: &mut SessionHead, entries: Vec<NewEntry>) -> Vec<String> {
        let tx = self.db.write(scope).await.unwrap();
        let mut batch = Batch::new(&tx);
        let appended = transcript::append(&mut batch, scope, head, entries).unwrap();
        transcript::save_head(&mut batch, scope, head, HeadChanges::default());
        assert!(batch.run(&tx).await.unwrap() > 0);
        tx.commit().await.unwrap();
        appended.iter().map(|entry| entry.id.clone()).collect()
    }
}

#[tokio::test]
async fn a_session_is_made_once_and_remembers_where_it_stands() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    assert_eq!((head.next_seq, head.leaf_id.as_deref()), (1, None));
    assert!(head.destination.is_null());
    assert_eq!(fixture.open(&ada).await, head);

    let ids = fixture
        .append(
            &ada,
            &mut head,
            vec![new(Some("inbox-1"), Message::user("hi", 1)), new(None, says("hello"))],
        )
        .await;
    assert_eq!(ids[0], "inbox-1");
    let again = fixture.open(&ada).await;
    assert_eq!(again, head);
    assert_eq!((again.next_seq, again.leaf_id.as_ref()), (3, Some(&ids[1])));

    let read = fixture.service.branch(&ada, &head, 10_000).await.unwrap();
    assert_eq!(texts(&read), ["inbox-1", ids[1].as_str()]);
    assert_eq!(read.entries[1].parent_id.as_deref(), Some("inbox-1"));
    assert!(read.complete && read.skipped == 0);
    let tx = fixture.db.read(&ada).await.unwrap();
    assert!(
        transcript::contains(&*tx, &ada, &head.session_id, "inbox-1")
            .await
            .unwrap()
    );
    assert!(
        !transcript::contains(&*tx, &ada, &head.session_id, "inbox-2")
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_user_entry_cannot_be_written_twice() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    fixture
        .append(&ada, &mut head, vec![new(Some("inbox-1"), Message::user("hi", 1))])
        .await;
    let tx = fixture.db.write(&ada).await.unwrap();
    let mut batch = Batch::new(&tx);
    let again = vec![new(Some("inbox-1"), Message::user("hi", 1))];
    transcript::append(&mut batch, &ada, &mut head, again).unwrap();
    let error = Error::from(batch.run(&tx).await.unwrap_err());
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn people_see_their_own_sessions_only() {
    let fixture = fixture().await;
    let (ada, bob) = (scope("ada"), scope("bob"));
    let mut head = fixture.open(&ada).await;
    fixture
        .append(&ada, &mut head, vec![new(None, Message::user("private", 1))])
        .await;
    assert!(fixture.service.session(&bob, &key()).await.unwrap().is_none());
    assert_eq!(fixture.service.list_sessions(&bob, 10, 0).await.unwrap().1, 0);
    assert!(
        fixture
            .service
            .history(&bob, &key(), 10)
            .await
            .unwrap()
            .messages
            .is_empty()
    );
    assert!(
        fixture
            .service
            .branch(&bob, &head, 1_000)
            .await
            .unwrap()
            .entries
            .is_empty()
    );
    let (rows, total) = fixture.service.list_sessions(&ada, 10, 0).await.unwrap();
    assert_eq!((rows.len(), total), (1, 1));
    assert_eq!(rows[0].agent_id, "main");
}

#[tokio::test]
async fn a_reset_starts_a_new_transcript_and_fences_the_old_one() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    fixture
        .append(&ada, &mut head, vec![new(None, Message::user("old", 1))])
        .await;
    let tx = fixture.db.write(&ada).await.unwrap();
    let changes = HeadChanges {
        touched_at: Some(2_000),
        entry: Some(json!({"sendPolicy": "deny", "inputTokens": 5})),
        destination: Some(json!({"channel": "telegram"})),
        ..HeadChanges::default()
    };
    let mut batch = Batch::new(&tx);
    transcript::save_head(&mut batch, &ada, &mut head, changes);
    assert_eq!(batch.run(&tx).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(fixture.open(&ada).await, head);

    let tx = fixture.db.write(&ada).await.unwrap();
    let fresh = transcript::reset(&tx, &ada, &key(), 3_000).await.unwrap();
    tx.commit().await.unwrap();
    assert_ne!(fresh.session_id, head.session_id);
    assert!(uuid::Uuid::parse_str(&fresh.session_id).is_ok());
    assert_eq!(fresh.entry["sendPolicy"], json!("deny"));
    assert_eq!(fresh.entry["inputTokens"], json!(0));
    assert_eq!(fresh.destination, json!({"channel": "telegram"}));
    assert_eq!(fixture.open(&ada).await, fresh);
    assert!(
        fixture
            .service
            .history(&ada, &key(), 10)
            .await
            .unwrap()
            .messages
            .is_empty()
    );

    // A run that still holds the old head does not move the new transcript.
    let tx = fixture.db.write(&ada).await.unwrap();
    let mut batch = Batch::new(&tx);
    transcript::save_head(&mut batch, &ada, &mut head, HeadChanges::default());
    assert_eq!(batch.run(&tx).await.unwrap(), 0);
    let missing = transcript::reset(&tx, &ada, &SessionKey::from("agent:main:none"), 1).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_branch_is_read_no_further_than_its_budget() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    let entries = (0..1_200)
        .map(|n| new(Some(&format!("e{n}")), Message::user("x".repeat(396), 1)))
        .collect();
    fixture.append(&ada, &mut head, entries).await;
    // 103 tokens each
    let read = fixture.service.branch(&ada, &head, 1_030).await.unwrap();
    assert_eq!(read.entries.len(), 10);
    assert_eq!(read.entries.last().unwrap().id, "e1199");
    assert!(!read.complete);
    assert_eq!(read.tokens, 1_030);
    let all = fixture.service.branch(&ada, &head, u64::MAX).await.unwrap();
    assert_eq!(all.entries.len(), 1_200);
    assert!(all.complete && all.entries.is_sorted_by_key(|entry| entry.seq));
    // The newest entry is sent even when it alone is too large.
    assert_eq!(fixture.service.branch(&ada, &head, 1).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_branch_ends_where_the_last_compaction_says() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    let mut entries: Vec<NewEntry> = (0..10)
        .map(|n| new(Some(&format!("e{n}")), Message::user("x", 1)))
        .collect();
    entries.push(new(
        Some("c"),
        Body::Compaction(Compaction {
            summary: "so far".to_owned(),
            first_kept_entry_id: "e8".to_owned(),
            tokens_before: 1,
            details: None,
        }),
    ));
    entries.extend((10..14).map(|n| new(Some(&format!("e{n}")), Message::user("x".repeat(400), 1))));
    fixture.append(&ada, &mut head, entries).await;
    head.entry = json!({"compactionCount": 1});
    let read = fixture.service.branch(&ada, &head, 100_000).await.unwrap();
    assert_eq!(texts(&read), ["e8", "e9", "c", "e10", "e11", "e12", "e13"]);
    assert!(read.complete);
    // The summary is in even when the budget ends before it.
    let read = fixture.service.branch(&ada, &head, 210).await.unwrap();
    assert_eq!(texts(&read), ["c", "e12", "e13"]);
}

/// However many summaries of other branches were written since, and however many entries lie between.
#[tokio::test]
async fn the_summary_of_the_branch_in_use_is_found_behind_those_of_others() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    let summary = |id: &str| {
        let body = Body::Compaction(Compaction {
            summary: id.to_owned(),
            first_kept_entry_id: "e0".to_owned(),
            tokens_before: 1,
            details: None,
        });
        new(Some(id), body)
    };
    let says = |id: String| new(Some(&id), Message::user("x".repeat(400), 1));
    let entries = vec![says("e0".to_owned()), summary("own"), says("e1".to_owned())];
    fixture.append(&ada, &mut head, entries).await;
    let fork = head.leaf_id.clone();
    let others = (0..40).flat_map(|n| [says(format!("o{n}")), summary(&format!("c{n}"))]);
    fixture.append(&ada, &mut head, others.collect()).await;
    head.leaf_id = fork;
    let entries = (2..90).map(|n| says(format!("e{n}"))).collect();
    fixture.append(&ada, &mut head, entries).await;
    head.entry = json!({"compactionCount": 41, "branchedAt": 1});
    let read = fixture.service.branch(&ada, &head, 210).await.unwrap();
    assert_eq!(texts(&read), ["own", "e88", "e89"]);
    // The other branch has its own.
    let tx = fixture.db.read(&ada).await.unwrap();
    assert!(branch::holds(&*tx, &ada, &head, "own").await.unwrap());
    assert!(!branch::holds(&*tx, &ada, &head, "c39").await.unwrap());
    assert!(!branch::holds(&*tx, &ada, &head, "none").await.unwrap());
}

#[tokio::test]
async fn unreadable_rows_are_passed_over_and_orphans_become_roots() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    fixture
        .append(&ada, &mut head, vec![new(Some("a"), Message::user("a", 1))])
        .await;
    let row = |seq: i64, id: &str, parent: &str, kind: &str, body: &str| transcript_entry::ActiveModel {
        tenant_id: Set(ada.tenant().clone()),
        user_id: Set(ada.user().clone()),
        session_id: Set(head.session_id.clone()),
        seq: Set(seq),
        id: Set(id.to_owned()),
        parent_id: Set(Some(parent.to_owned())),
        kind: Set(kind.to_owned()),
        body: Set(body.to_owned()),
        run_id: Set(None),
        created_at: Set(1),
    };
    let good = new(None, Message::user("x", 1)).body.encode().unwrap();
    let tx = fixture.db.write(&ada).await.unwrap();
    let rows = [
        row(2, "broken", "a", "message", "{not json"),
        row(3, "unknown", "broken", "hologram", "{}"),
        row(4, "b", "unknown", "message", &good),
        row(5, "other", "a", "message", &good),
        row(6, "orphan", "nowhere", "message", &good),
        row(7, "leaf", "orphan", "message", &good),
    ];
    transcript_entry::Entity::insert_many(rows)
        .exec_without_returning(&*tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    head.next_seq = 8;

    head.leaf_id = Some("b".to_owned());
    let read = fixture.service.branch(&ada, &head, 10_000).await.unwrap();
    assert_eq!((texts(&read), read.skipped), (vec!["a", "b"], 2));
    head.leaf_id = Some("leaf".to_owned());
    let read = fixture.service.branch(&ada, &head, 10_000).await.unwrap();
    assert_eq!((texts(&read), read.skipped), (vec!["orphan", "leaf"], 0));
    head.leaf_id = Some("other".to_owned());
    let read = fixture.service.branch(&ada, &head, 10_000).await.unwrap();
    assert_eq!(texts(&read), ["a", "other"]);
}

#[tokio::test]
async fn history_gives_the_newest_messages_and_says_if_there_are_more() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    let mut entries = Vec::new();
    for n in 0..100 {
        entries.push(new(None, Message::user(format!("q{n}"), n)));
        entries.push(new(None, says(&format!("r{n}"))));
    }
    entries.push(new(None, says("NO_REPLY")));
    fixture.append(&ada, &mut head, entries).await;

    let page = fixture.service.history(&ada, &key(), 4).await.unwrap();
    let shown: Vec<_> = page.messages.iter().map(|message| message["content"].clone()).collect();
    assert_eq!(shown[0], json!("q98"));
    assert_eq!(shown[3], json!([{"type": "text", "text": "r99"}]));
    assert!(page.has_more);
    assert_eq!(page.session_id, head.session_id);
    let all = fixture.service.history(&ada, &key(), 5_000).await.unwrap();
    assert_eq!((all.messages.len(), all.total, all.has_more), (200, 200, false));
}

#[tokio::test]
async fn history_never_exceeds_its_size() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    // 100 messages of about 96 kB
    let parts = |n: usize| Message::User {
        content: (0..8)
            .map(|_| crate::ports::message::Part::Text {
                text: format!("{n}{}", "x".repeat(11_999)),
            })
            .collect(),
        timestamp: 1,
    };
    let entries = (0..100).map(|n| new(None, parts(n))).collect();
    fixture.append(&ada, &mut head, entries).await;
    let page = fixture.service.history(&ada, &key(), 1_000).await.unwrap();
    let bytes: usize = page.messages.iter().map(|message| message.to_string().len()).sum();
    assert!(
        bytes <= 6 * 1024 * 1024 && page.has_more && page.messages.len() > 50,
        "{bytes}"
    );
}

/// A run works with the row as it was when it began; what was set meanwhile stays.
#[tokio::test]
async fn merged_fields_leave_alone_what_others_set() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut old = fixture.open(&ada).await;
    let save = async |head: &mut SessionHead, merge: serde_json::Value| {
        let changes = HeadChanges {
            merge: merge.as_object().cloned(),
            ..HeadChanges::default()
        };
        let tx = fixture.db.write(&ada).await.unwrap();
        let mut batch = Batch::new(&tx);
        transcript::save_head(&mut batch, &ada, head, changes);
        assert_eq!(batch.run(&tx).await.unwrap(), 1);
        tx.commit().await.unwrap();
    };
    let mut now = old.clone();
    save(&mut now, json!({"queueMode": "steer", "icon": "x", "inputTokens": 1})).await;
    save(&mut old, json!({"inputTokens": 5, "icon": null})).await;
    let stored = fixture.open(&ada).await.entry;
    assert_eq!(stored, json!({"queueMode": "steer", "inputTokens": 5}));
    assert_eq!(old.entry, json!({"inputTokens": 5}), "the run knows its own");
}

/// Who changes settings read the row a moment ago: somebody else may have moved the leaf since.
#[tokio::test]
async fn a_change_of_settings_leaves_the_leaf_where_others_put_it() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut old = fixture.open(&ada).await;
    let mut now = old.clone();
    fixture
        .append(&ada, &mut now, vec![new(Some("a"), Message::user("a", 1))])
        .await;
    let changes = HeadChanges {
        merge: json!({"icon": "x"}).as_object().cloned(),
        label: Some(Some("work".to_owned())),
        ..HeadChanges::default()
    };
    let tx = fixture.db.write(&ada).await.unwrap();
    let mut batch = Batch::new(&tx);
    transcript::change_head(&mut batch, &ada, &mut old, changes);
    assert_eq!(batch.run(&tx).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let stored = fixture.open(&ada).await;
    assert_eq!((stored.leaf_id.as_deref(), stored.next_seq), (Some("a"), 2));
    assert_eq!(
        (stored.label.as_deref(), &stored.entry["icon"]),
        (Some("work"), &json!("x"))
    );
}

/// PostgreSQL only: SQLite has one writer.
#[tokio::test]
async fn who_moves_the_leaf_waits_for_who_moves_it() {
    const WAITING: &str = "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                           WHERE NOT l.granted AND a.datname = current_database()";
    let server = crate::config::testing::start().await;
    let db = &server.db;
    if db.backend() == sea_orm::DbBackend::Sqlite {
        return;
    }
    let ada = crate::config::testing::owner(&server.config).await;
    let tx = db.write(&ada).await.unwrap();
    let made = transcript::open_to_move(&tx, &ada, &key(), "main", 1).await.unwrap();
    tx.commit().await.unwrap();

    let first = db.write(&ada).await.unwrap();
    let head = transcript::head_to_move(&first, &ada, &key()).await.unwrap();
    let mut head = head.unwrap();
    let second = async {
        let tx = db.write(&ada).await.unwrap();
        let seen = transcript::head_to_move(&tx, &ada, &key()).await.unwrap().unwrap();
        // A run that read the row before the other one moved it.
        let stale = transcript::hold(&tx, &ada, &made).await;
        tx.commit().await.unwrap();
        (seen, stale)
    };
    let moves = async {
        loop {
            let look = db.system_read().await.unwrap();
            let waiting = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, WAITING);
            if sea_orm::ConnectionTrait::query_one_raw(&*look, waiting)
                .await
                .unwrap()
                .is_some()
            {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut batch = Batch::new(&first);
        transcript::append(&mut batch, &ada, &mut head, vec![new(Some("a"), Message::user("a", 1))]).unwrap();
        transcript::save_head(&mut batch, &ada, &mut head, HeadChanges::default());
        batch.run(&first).await.unwrap();
        first.commit().await.unwrap();
    };
    let ((seen, stale), ()) = tokio::join!(second, moves);
    assert_eq!((seen.leaf_id.as_deref(), seen.next_seq), (Some("a"), 2));
    assert!(matches!(stale, Err(Error::Conflict(_))), "{stale:?}");
}

/// Pages by offset follow the branch in use, also where an abandoned one lies between.
#[tokio::test]
async fn pages_pass_over_an_abandoned_branch() {
    let fixture = fixture().await;
    let ada = scope("ada");
    let mut head = fixture.open(&ada).await;
    let ids = ["a", "b"];
    let entries = ids.iter().map(|id| new(Some(id), Message::user(*id, 1))).collect();
    fixture.append(&ada, &mut head, entries).await;
    let fork = head.leaf_id.clone();
    fixture
        .append(&ada, &mut head, vec![new(Some("lost"), Message::user("lost", 1))])
        .await;
    head.leaf_id = fork;
    let entries = ["c", "d", "e"]
        .iter()
        .map(|id| new(Some(id), Message::user(*id, 1)))
        .collect();
    fixture.append(&ada, &mut head, entries).await;
    let page = async |limit, offset| {
        let query = PageQuery {
            limit,
            offset,
            ..PageQuery::default()
        };
        let page = fixture.service.page(&ada, &key(), &query).await.unwrap();
        let texts: Vec<String> = page
            .messages
            .iter()
            .map(|message| message["content"].as_str().unwrap().to_owned())
            .collect();
        (texts.join(""), page.next_offset)
    };
    assert_eq!(page(2, 0).await, ("de".to_owned(), Some(2)));
    assert_eq!(page(2, 2).await, ("bc".to_owned(), Some(5)));
    assert_eq!(page(2, 5).await, ("a".to_owned(), None));
    assert_eq!(page(2, 3).await, ("ab".to_owned(), None));
    assert_eq!(page(2, 99).await, (String::new(), None));
    let at = |delta: Delta| match delta {
        Delta::Reset => None,
        Delta::Since { messages, .. } => Some(messages.into_iter().map(|(id, ..)| id).collect::<Vec<_>>().join("")),
    };
    let since = async |after| {
        at(fixture
            .service
            .since(&ada, &key(), &head.session_id, after)
            .await
            .unwrap())
    };
    assert_eq!(since(6).await.as_deref(), Some(""));
    assert_eq!(since(4).await.as_deref(), Some("de"));
    assert_eq!(since(0).await.as_deref(), Some("abcde"));
    assert_eq!(since(3).await, None, "a reader of the abandoned branch starts over");
    assert_eq!(since(7).await, None);
}
