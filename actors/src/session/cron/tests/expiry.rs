//! Transcripts of jobs' own sessions that have been over for long enough.

use super::*;
use crate::conversation::transcript::{self, HeadChanges};
use crate::db::Batch;
use crate::session::cron::expire;

/// Entries of the run's transcript, and sessions under its key.
async fn left(runtime: &Runtime, scope: &Scope, run: &cron_run::Model) -> (u64, u64) {
    let tx = runtime.services.db.read(scope).await.expect("reads");
    let entries = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(run.session_id.clone()))
        .count(&*tx)
        .await
        .expect("counts");
    let sessions = session::Entity::owned_by(scope)
        .filter(session::Column::Key.eq(run.session_key.clone()))
        .count(&*tx)
        .await
        .expect("counts");
    (entries, sessions)
}

#[actix::test]
async fn a_transcript_that_somebody_goes_on_in_at_this_moment_stays() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let every = json!({"name": "every", "everyMs": 3_600_000, "message": "m", "delivery": {"mode": "none"}});
    let id = add(&runtime, &scope, every).await.id;
    round(&runtime.directory, now_ms() + 3_601_000).await.expect("looks");
    let found = ended(&runtime, &scope, 1).await;
    let run = found.iter().find(|run| run.job_id == id).expect("ran");
    let over = run.expires_at.expect("expires");
    // As a turn that has its session's row and is not committed yet.
    let tx = runtime.services.db.write(&scope).await.expect("begins");
    let head = transcript::head_to_move(&tx, &scope, &run.session_key)
        .await
        .expect("reads");
    let mut head = head.expect("is there");
    let mut batch = Batch::new(&tx);
    let touched = HeadChanges {
        touched_at: Some(over),
        ..HeadChanges::default()
    };
    transcript::save_head(&mut batch, &scope, &mut head, touched);
    batch.run(&tx).await.expect("writes");
    let directory = runtime.directory.clone();
    let mut expiring = Box::pin(async move { expire(&directory, over).await });
    // It gets as far as it gets without the turn's end.
    let early = tokio::time::timeout(Duration::from_millis(500), &mut expiring).await;
    assert!(early.is_err(), "it did not wait for the turn");
    tx.commit().await.expect("commits");
    expiring.await.expect("looks");
    assert_eq!(left(&runtime, &scope, run).await, (2, 1));
}

#[actix::test]
async fn old_transcripts_of_isolated_runs_go_and_those_of_others_stay() {
    const DAY: i64 = 24 * 3_600_000;
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let due = now_ms() + 3_600_000;
    let none = json!({"mode": "none"});
    let once = json!({"name": "once", "atMs": due, "message": "m", "delivery": none});
    let every = json!({"name": "every", "everyMs": 3_600_000, "message": "m", "delivery": none});
    let named =
        json!({"name": "named", "atMs": due, "message": "m", "sessionTarget": "session:notes", "delivery": none});
    let mut ids = Vec::new();
    for job in [once, every, named] {
        ids.push(add(&runtime, &scope, job).await.id);
    }
    round(&runtime.directory, due + 1000).await.expect("looks");
    let found = ended(&runtime, &scope, 3).await;
    let of = |id: &str| found.iter().find(|run| run.job_id == id).expect("ran");
    let (once, every, named) = (of(&ids[0]), of(&ids[1]), of(&ids[2]));
    let over = once.ended_at.max(every.ended_at).expect("ended") + DAY;
    assert_eq!(once.expires_at, once.ended_at.map(|at| at + DAY));
    assert_eq!(named.expires_at, None, "a named session is the user's");
    assert!(!expire(&runtime.directory, over - DAY).await.expect("looks"));
    assert_eq!(left(&runtime, &scope, once).await, (2, 1), "it is young");

    assert!(!expire(&runtime.directory, over).await.expect("looks"));
    assert_eq!(
        left(&runtime, &scope, once).await,
        (0, 0),
        "the job is gone, and so is its session"
    );
    assert_eq!(
        left(&runtime, &scope, every).await,
        (0, 1),
        "the job runs again in its session"
    );
    assert_eq!(left(&runtime, &scope, named).await, (2, 1));
    let now = runs(&runtime, &scope).await;
    assert_eq!(now.len(), 3, "the log stays");
    let still: Vec<&str> = now
        .iter()
        .filter(|run| run.session_id.is_some())
        .map(|run| run.job_id.as_str())
        .collect();
    assert_eq!(still, [named.job_id.as_str()]);
    assert!(now.iter().all(|run| run.expires_at.is_none()));

    // The job goes on, and whoever keeps transcripts for good keeps them.
    let config = &runtime.services.config;
    config
        .update_document(&scope, |_| Ok(json!({"cron": {"sessionRetention": false}})))
        .await
        .expect("stores");
    let Started::Run(_) = run_now(&runtime.directory, &scope, &ids[1], Asked::Force, None)
        .await
        .expect("runs")
    else {
        panic!("it does not run")
    };
    let again = ended(&runtime, &scope, 4).await;
    let again = again
        .iter()
        .find(|run| run.job_id == ids[1] && run.manual)
        .expect("ran");
    assert_eq!(again.expires_at, None);
    assert_eq!(left(&runtime, &scope, again).await, (2, 1));
}
