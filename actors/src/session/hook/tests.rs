use claw_entities::{UserOwned, run};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};

use super::*;
use crate::services::Limits;
use crate::session::reconcile::MOST_TRIES;
use crate::testing::{Runtime, ScriptedModel, Step, start};

async fn rows(runtime: &Runtime, scope: &Scope) -> Vec<hook_run::Model> {
    let view = runtime.services.db.read(scope).await.expect("reads");
    let rows = hook_run::Entity::owned_by(scope).order_by_asc(hook_run::Column::Id);
    rows.all(&*view).await.expect("reads")
}

/// A run that a hook began, ended, and not settled.
async fn unsettled(runtime: &Runtime, scope: &Scope, id: &str) {
    let hook = AgentHook {
        name: "post".to_owned(),
        message: "hello".to_owned(),
        ..AgentHook::default()
    };
    agent(&runtime.directory, scope, id, hook).await.expect("accepted");
    crate::session::tests::settled(runtime, scope).await;
    while rows(runtime, scope)
        .await
        .iter()
        .any(|row| row.id == id && row.ended_at.is_none())
    {
        reconcile(&runtime.directory).await.expect("looks");
    }
    let tx = runtime.services.db.write(scope).await.expect("begins");
    hook_run::Entity::update_owned(scope)
        .col_expr(hook_run::Column::EndedAt, Expr::value(None::<i64>))
        .col_expr(hook_run::Column::Status, Expr::value(None::<String>))
        .filter(hook_run::Column::Id.eq(id))
        .exec(&*tx)
        .await
        .expect("writes");
    tx.commit().await.expect("commits");
}

#[actix::test]
async fn what_can_never_be_settled_stands_in_nobodys_way_and_is_given_up() {
    let runtime = start(
        ScriptedModel::new(|text| Step::Say(format!("re: {text}"))),
        Limits::default(),
        1,
    )
    .await;
    let scope = runtime.owner("acme").await;
    unsettled(&runtime, &scope, "hook:broken").await;
    let tx = runtime.services.db.write(&scope).await.expect("begins");
    run::Entity::update_owned(&scope)
        .col_expr(run::Column::Result, Expr::value("{"))
        .filter(run::Column::Id.eq("hook:broken"))
        .exec(&*tx)
        .await
        .expect("writes");
    tx.commit().await.expect("commits");
    reconcile(&runtime.directory).await.expect("looks");
    let found = rows(&runtime, &scope).await;
    assert_eq!(found[0].ended_at, None);
    unsettled(&runtime, &scope, "hook:whole").await;
    for _ in 1..MOST_TRIES {
        reconcile(&runtime.directory).await.expect("looks");
    }
    let found = rows(&runtime, &scope).await;
    let [broken, whole] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (broken.status.as_deref(), broken.delivery.as_str()),
        (Some("error"), "not-delivered")
    );
    assert_eq!(whole.status.as_deref(), Some("ok"));
    assert_eq!(reconcile(&runtime.directory).await.expect("looks"), 0, "it is over");
}

#[actix::test]
async fn a_count_goes_when_its_run_was_settled_as_it_ended() {
    use claw_entities::unsettled as counts;
    use sea_orm::PaginatorTrait;
    let runtime = start(
        ScriptedModel::new(|text| Step::Say(format!("re: {text}"))),
        Limits::default(),
        1,
    )
    .await;
    let scope = runtime.owner("acme").await;
    unsettled(&runtime, &scope, "hook:whole").await;
    let left = counts::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        run_id: Set("hook:settled".to_owned()),
        tries: Set(1),
    };
    let tx = runtime.services.db.write(&scope).await.expect("begins");
    counts::Entity::insert(left)
        .exec_without_returning(&*tx)
        .await
        .expect("writes");
    tx.commit().await.expect("commits");
    reconcile(&runtime.directory).await.expect("looks");
    let view = runtime.services.db.read(&scope).await.expect("reads");
    let found = counts::Entity::owned_by(&scope).count(&*view).await.expect("reads");
    assert_eq!(found, 0);
}
