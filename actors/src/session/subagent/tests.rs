use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::document::UserSettings;
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
        let run = Arc::new(Inner {
            directory: directory.clone(),
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
        });
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
