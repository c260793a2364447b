use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::document::UserSettings;
use crate::ports::channel::{Destination, Peer, PeerKind};
use crate::services::Limits;
use crate::session::budget::Charge;
use crate::session::turn::Authority;
use crate::testing::{Runtime, ScriptedModel, Step, start};

#[test]
fn runs_name_their_sub_agent() {
    assert_eq!(of_run(&first_run("a-b")), Some("a-b"));
    assert_eq!(of_run("spawn:a-b:steer-1"), Some("a-b"));
    assert_eq!(of_run("announce:a-b"), None);
}

/// Begins one for a run of the main session that `cancel` stops.
async fn begun(runtime: &Runtime, scope: &Scope, cancel: &CancellationToken) -> Result<(SessionKey, String)> {
    begun_for(runtime, scope, cancel, None).await
}

/// The same for what is asked again under the same name.
async fn begun_for(
    runtime: &Runtime,
    scope: &Scope,
    cancel: &CancellationToken,
    once: Option<&str>,
) -> Result<(SessionKey, String)> {
    let directory = &runtime.directory;
    let settings = UserSettings::default();
    let work = |epoch| async move {
        let run = Arc::new(run_of(runtime, scope, epoch, cancel));
        let wish = Wish {
            task: "dig".to_owned(),
            agent_id: "main".to_owned(),
            once: once.map(str::to_owned),
            ..Wish::default()
        };
        begin(&run, settings.subagents("main"), wish).await
    };
    directory.leases().under(scope, work).await
}

/// A run of the main session, nobody but its user reads along.
fn run_of(runtime: &Runtime, scope: &Scope, epoch: i64, cancel: &CancellationToken) -> Inner {
    Inner {
        directory: runtime.directory.clone(),
        authority: Authority {
            scope: scope.clone(),
            key: key::main("main"),
            agent_id: "main".to_owned(),
            epoch,
            charge: Charge::default(),
        },
        run_id: "run".to_owned(),
        owner: true,
        alone: true,
        answering: None,
        place: None,
        group: None,
        chain: Chain::default(),
        depth: 0,
        beginning: tokio::sync::Mutex::default(),
        cancel: cancel.clone(),
    }
}

/// States of all sub-agents, and open inbox rows.
async fn states(runtime: &Runtime, scope: &Scope) -> (Vec<String>, u64) {
    let view = runtime.services.db.read(scope).await.expect("reads");
    let rows = subagent::Entity::owned_by(scope).all(&*view).await.expect("reads");
    let open = inbox::Entity::owned_by(scope).filter(inbox::is_open());
    let open = open.count(&*view).await.expect("reads");
    (rows.into_iter().map(|row| row.state).collect(), open)
}

/// The stop looked for what the session had begun before the row was there.
#[actix::test]
async fn one_begun_while_its_session_is_stopped_does_not_survive_the_stop() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let cancel = CancellationToken::new();
    begun(&runtime, &scope, &cancel).await.expect("begins");
    assert_eq!(states(&runtime, &scope).await, (vec!["running".to_owned()], 1));
    stop_below(&runtime.directory, &scope, &key::main("main"))
        .await
        .expect("stops");
    cancel.cancel();
    let refused = begun(&runtime, &scope, &cancel).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(
        states(&runtime, &scope).await,
        (vec!["killed".to_owned(), "killed".to_owned()], 0)
    );
}

/// A command is carried out again when its answer was not stored.
#[actix::test]
async fn one_that_is_asked_for_again_after_a_crash_is_begun_once() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let cancel = CancellationToken::new();
    let first = begun_for(&runtime, &scope, &cancel, Some("row-1"))
        .await
        .expect("begins");
    let again = begun_for(&runtime, &scope, &cancel, Some("row-1"))
        .await
        .expect("begins");
    assert_eq!(first, again);
    assert_eq!(states(&runtime, &scope).await.0.len(), 1);
    let other = begun_for(&runtime, &scope, &cancel, Some("row-2"))
        .await
        .expect("begins");
    assert_ne!(first, other);
    assert_eq!(states(&runtime, &scope).await.0.len(), 2);
}

fn chat(id: &str) -> Destination {
    Destination {
        channel: "telegram".to_owned(),
        account_id: "default".to_owned(),
        peer: Peer {
            kind: PeerKind::Direct,
            id: id.to_owned(),
            thread: None,
            topic: false,
            title: None,
            space: None,
        },
        recipient: None,
        reply_to: None,
    }
}

async fn rows_of(runtime: &Runtime, scope: &Scope) -> Vec<subagent::Model> {
    let view = runtime.services.db.read(scope).await.expect("reads");
    let rows = subagent::Entity::owned_by(scope).order_by_asc(subagent::Column::CreatedAt);
    rows.all(&*view).await.expect("reads")
}

#[actix::test]
async fn one_that_is_told_more_answers_to_who_told_it_and_to_nobody_who_reads_along() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let cancel = CancellationToken::new();
    begun(&runtime, &scope, &cancel).await.expect("begins");
    let row = rows_of(&runtime, &scope).await.remove(0);
    let told = |run: Inner| {
        let row = row.clone();
        async move { steer(&run, &row, "more", 5).await }
    };
    let run = |spawns: u32| {
        let mut run = run_of(&runtime, &scope, 1, &cancel);
        run.chain.spawns = spawns;
        run.place = Some(chat("700"));
        run
    };
    let mut group = run(0);
    group.alone = false;
    for refused in [told(group).await, told(run(MOST_ROUNDS)).await] {
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    told(run(5)).await.expect("hears");
    let row = rows_of(&runtime, &scope).await.remove(0);
    let origin: Origin = serde_json::from_value(row.origin).expect("is one");
    assert_eq!(origin.destination, Some(chat("700")));
    assert_eq!((origin.chain.spawns, origin.guest), (6, false));
}

#[actix::test]
async fn a_session_that_stays_goes_when_the_one_that_began_it_is_put_away() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let cancel = CancellationToken::new();
    for _ in 0..2 {
        begun(&runtime, &scope, &cancel).await.expect("begins");
    }
    let [first, second] = rows_of(&runtime, &scope).await.try_into().expect("two of them");
    let tx = runtime.services.db.write(&scope).await.expect("begins");
    for (id, cleanup, parent, due) in [
        (&first.id, "keep", &first.parent_key, Some(1_i64)),
        (&second.id, STAYS, &first.child_key, None),
    ] {
        subagent::Entity::update_owned(&scope)
            .col_expr(subagent::Column::State, Expr::value("announced"))
            .col_expr(subagent::Column::Cleanup, Expr::value(cleanup))
            .col_expr(subagent::Column::ParentKey, Expr::value(parent.as_str()))
            .col_expr(subagent::Column::ClosesAt, Expr::value(due))
            .filter(subagent::Column::Id.eq(id.as_str()))
            .exec(&*tx)
            .await
            .expect("changes");
    }
    tx.commit().await.expect("commits");
    assert_eq!(put_away(&runtime.directory).await.expect("looks"), 1);
    let left = rows_of(&runtime, &scope).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].closes_at.is_some(), "it is next");
}
