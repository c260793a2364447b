//! One conversation's lane: what it does when sending goes wrong.

use futures::future::BoxFuture;

use super::*;
use crate::crypto::Secret;
use crate::ports::channel::{MediaFile, Peer, PeerKind};
use crate::ports::web::Poster;
use crate::services::Limits;
use crate::session::budget::Charge;
use crate::session::turn::{self, Authority, Piece};
use crate::testing::{Runtime, ScriptedModel, Step, start};

/// Panics at the first post and takes the others.
#[derive(Default)]
struct Stumbles {
    posts: AtomicUsize,
}

impl Poster for Stumbles {
    fn post<'a>(
        &'a self,
        _address: &'a str,
        _token: Option<&'a Secret>,
        _key: &'a str,
        _body: String,
    ) -> BoxFuture<'a, std::result::Result<(), DeliverError>> {
        Box::pin(async {
            assert!(self.posts.fetch_add(1, Ordering::SeqCst) > 0, "a test asked for it");
            Ok(())
        })
    }

    fn fetch<'a>(
        &'a self,
        _address: &'a str,
        _max_bytes: usize,
    ) -> BoxFuture<'a, std::result::Result<MediaFile, String>> {
        Box::pin(async { Err("there is nothing".to_owned()) })
    }
}

fn address() -> Destination {
    Destination {
        channel: WEBHOOK.to_owned(),
        account_id: String::new(),
        peer: Peer {
            kind: PeerKind::Direct,
            id: "https://example.org/in".to_owned(),
            thread: None,
            topic: false,
            title: None,
            space: None,
        },
        recipient: None,
        reply_to: None,
    }
}

/// Puts these texts into the outbox. Gives the epoch they were written under.
async fn put(runtime: &Runtime, scope: &Scope, texts: &[&str]) -> i64 {
    let epoch = runtime.directory.leases().epoch(scope).await.expect("claims");
    let authority = Authority {
        scope: scope.clone(),
        key: "agent:main:main".into(),
        agent_id: "main".to_owned(),
        epoch,
        charge: Charge::default(),
    };
    let piece = |text: &&str| {
        let rendered = Rendered {
            text: (*text).to_owned(),
            plain: String::new(),
        };
        Piece::new("final", &address(), rendered)
    };
    let pieces = texts.iter().map(piece).collect();
    turn::post(&runtime.services, &authority, "run", pieces)
        .await
        .expect("stores");
    epoch
}

async fn rows(runtime: &Runtime, scope: &Scope) -> Vec<outbox::Model> {
    let view = runtime.services.db.read(scope).await.expect("reads");
    outbox::Entity::owned_by(scope)
        .order_by_asc(outbox::Column::Id)
        .all(&*view)
        .await
        .expect("reads")
}

#[actix::test]
async fn a_panic_while_something_is_sent_does_not_end_its_conversation() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let ports = runtime.services.ports.clone();
    let services = Services {
        ports: ports.with_poster(Arc::new(Stumbles::default())),
        ..runtime.services.clone()
    };
    let directory = &runtime.directory;
    let delivery = Delivery::new(services, directory.leases().clone(), directory.lanes().clone());
    put(&runtime, &scope, &["one", "two"]).await;
    delivery.kick(&scope, &address().conversation());
    delivery.idle().await;
    let states: Vec<String> = rows(&runtime, &scope).await.into_iter().map(|row| row.state).collect();
    assert_eq!(states, ["failed", "sent"]);
}

#[actix::test]
async fn a_row_that_somebody_else_took_is_not_sent() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let epoch = put(&runtime, &scope, &["one"]).await;
    let delivery = runtime.directory.delivery();
    let read = rows(&runtime, &scope).await.remove(0);
    delivery.claim(&scope, epoch, &read).await.expect("is free");
    let taken = delivery.claim(&scope, epoch, &read).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    let read = rows(&runtime, &scope).await.remove(0);
    let sent = Settled::Sent("1".to_owned());
    delivery.settle(&scope, epoch, &read, sent).await.expect("stores");
    let settled = delivery.claim(&scope, epoch, &read).await;
    assert!(matches!(settled, Err(Error::Conflict(_))), "{settled:?}");
}

#[test]
fn after_some_quick_tries_there_are_some_minutes_of_others() {
    let pauses: Vec<Duration> = (0..SENDS - 1).map(backoff).collect();
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[1] < Duration::from_secs(1), "{pauses:?}");
    let all: Duration = pauses.iter().sum();
    assert!((5..10).contains(&(all.as_secs() / 60)), "{all:?}");
}

#[test]
fn a_time_that_no_wait_reaches_has_come() {
    assert_eq!(left_until(0), None);
    assert!(left_until(now_ms() + 60_000).is_some());
    // The clock went back by a day since.
    assert_eq!(left_until(now_ms() + 24 * 3_600_000), None);
}
