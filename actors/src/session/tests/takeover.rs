//! A process that lost its user in the middle of a turn: what it still wants to store is refused, and the one that took over
//! answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::db::writer::Writer;
use crate::services::Replica;
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::{Leases, boot_id};
use crate::supervisor::placement::Placement;

#[actix::test]
async fn who_lost_the_lease_stores_nothing_and_the_next_process_answers() {
    let go = Arc::new(Notify::new());
    let (gate, asked) = (go.clone(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let model = ScriptedModel::new(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            Step::SayAfter("stale ".to_owned(), gate.clone(), "words".to_owned())
        } else {
            Step::Say("fresh words".to_owned())
        }
    });
    let runtime = start(model, Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let key = "agent:main:main";
    send(&runtime, &scope, key, "talk").await;
    let until = Instant::now() + PATIENCE;
    while asked.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < until, "the run did not start");
        tokio::task::yield_now().await;
    }

    // Another process takes the user over while the first one's model still writes.
    let leases = runtime.directory.leases();
    leases.leave().await.expect("leaves");
    let mut services = runtime.services.clone();
    {
        let handle = services.io.clone();
        let _inside = handle.enter();
        services.writer = Writer::start(services.db.clone()).expect("a thread");
    }
    services.replica = Arc::new(Replica {
        id: "next".to_owned(),
        boot_id: boot_id(),
        version: "0.0.0".to_owned(),
    });
    let taken = Leases::new(services.db.clone(), services.replica.clone(), services.limits.lease);
    taken.announce().await.expect("the first one is gone");
    let next = Directory::new(services, Placement::start(1), taken);
    next.wake(&scope, &SessionKey::from(key));
    let ended = next.wait_run(&scope, "talk", PATIENCE).await.expect("answers");
    assert_eq!(ended.expect("ended").status, "ok");
    let both = [(true, "talk".to_owned()), (false, "fresh words".to_owned())];
    assert_eq!(transcript(&runtime, &scope, key).await, both);

    // The first one finishes its answer, and has nobody to tell.
    let chunks = Arc::clone(&go);
    chunks.notify_one();
    let until = Instant::now() + PATIENCE;
    let idle = async || {
        let seen = runtime.directory.observe_session(&scope, &SessionKey::from(key)).await;
        seen.expect("answers").running.is_none()
    };
    while !idle().await {
        assert!(Instant::now() < until, "the stale run goes on");
        tokio::task::yield_now().await;
    }
    assert_eq!(transcript(&runtime, &scope, key).await, both);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
