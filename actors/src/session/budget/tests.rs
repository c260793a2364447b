//! The counters over a real database: put aside, settled once, given back.

use std::sync::Arc;

use claw_entities::{Scope, TenantOwned, budget_hold, budget_use};
use futures::FutureExt;
use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter};

use super::estimate::{Ask, Used};
use super::ledger::{self, Share, Taken};
use super::*;
use crate::config::budgets::{BudgetChange, BudgetDraft, Kind, Period, Setter};
use crate::ports::message::{AssistantPart, Usage};
use crate::services::Limits;
use crate::testing::{Runtime, ScriptedModel, Step, start};

/// Of each call: its prompt, and the longest answer.
const INPUT: u64 = 100;
const MOST: u64 = 2_000;

async fn limited(kinds: &[(Kind, i64)]) -> (Runtime, Scope) {
    let model = ScriptedModel::new(|text| Step::Say(format!("re: {text}")));
    let runtime = start(model, Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    for (kind, amount) in kinds {
        let draft = BudgetDraft {
            kind: *kind,
            user: (*kind != Kind::Tenant).then(|| scope.user().clone()),
            target: (*kind == Kind::Agent).then(|| "main".to_owned()),
            unit: Unit::Tokens,
            amount: *amount,
            period: Period::Total,
            time_zone: None,
        };
        let config = &runtime.services.config;
        let by = Setter::operator();
        let made = config.create_budget(scope.tenant_scope(), &by, draft).await;
        made.expect("is set");
    }
    (runtime, scope)
}

fn ask() -> Ask {
    Ask {
        now: now_ms(),
        input: INPUT,
        most: MOST,
        least: 1_024,
        prices: Some([0.0; 4]),
        model: "test/scripted".to_owned(),
        free_without_price: false,
        only: None,
    }
}

async fn take(runtime: &Runtime, scope: &Scope, call: &str) -> Taken {
    let services = &runtime.services;
    let budgets = services.config.budgets(scope.tenant_scope()).await.expect("reads");
    let limits = budgets.of_call(scope.user(), &["main"], None);
    ledger::take(services, scope, call, limits, &ask()).await.expect("asks")
}

fn used(tokens: u64) -> Used {
    let usage = Usage {
        output: tokens,
        ..Usage::default()
    };
    Used::of(&usage, [0.0; 4])
}

/// All counters: what is spent and what is held of each, the smaller first.
async fn counters(runtime: &Runtime, scope: &Scope) -> Vec<(i64, i64)> {
    let view = runtime.services.db.glance(scope).await.expect("reads");
    let rows = budget_use::Entity::of_tenant(scope.tenant_scope())
        .all(&view)
        .await
        .expect("reads");
    let mut found: Vec<_> = rows.iter().map(|row| (row.spent, row.reserved)).collect();
    found.sort_unstable();
    found
}

async fn holds(runtime: &Runtime, scope: &Scope) -> u64 {
    let view = runtime.services.db.glance(scope).await.expect("reads");
    let held = budget_hold::Entity::of_tenant(scope.tenant_scope()).filter(budget_hold::Column::Amount.gt(0));
    held.count(&view).await.expect("counts")
}

fn shares(taken: Taken) -> (Arc<[Share]>, u64) {
    match taken {
        Taken::Held { shares, output } => (Arc::from(shares), output),
        Taken::Short(shortage) => panic!("refused: {shortage:?}"),
    }
}

#[actix::test]
async fn all_limits_or_none() {
    let (runtime, scope) = limited(&[(Kind::Tenant, 10_000), (Kind::User, 2_100), (Kind::Agent, 5_000)]).await;
    let (first, output) = shares(take(&runtime, &scope, "one").await);
    assert_eq!((first.len(), output), (3, MOST));
    assert_eq!(counters(&runtime, &scope).await, [(0, 2_100); 3]);
    let Taken::Short(shortage) = take(&runtime, &scope, "two").await else {
        panic!("the user's limit is held")
    };
    assert_eq!(
        (shortage.budget.kind, shortage.spent, shortage.reserved),
        (Kind::User, 0, 2_100)
    );
    assert_eq!(counters(&runtime, &scope).await, [(0, 2_100); 3], "of none");
    let tenant = scope.tenant_scope();
    for _ in 0..2 {
        let settled = ledger::settle(&runtime.services, tenant, "one", &first, used(70)).await;
        settled.expect("settles");
    }
    assert_eq!(counters(&runtime, &scope).await, [(70, 0); 3], "once");
    assert_eq!(holds(&runtime, &scope).await, 0);
}

#[actix::test]
async fn near_the_limit_answers_are_shorter_until_none_fits() {
    let (runtime, scope) = limited(&[(Kind::User, 4_500)]).await;
    let mut outputs = Vec::new();
    for call in 0..5 {
        match take(&runtime, &scope, &call.to_string()).await {
            Taken::Held { output, .. } => outputs.push(output),
            Taken::Short(_) => break,
        }
    }
    // 2400 are left after the first, which is enough; then 300, which is not.
    assert_eq!(outputs, [MOST, MOST]);
    let (runtime, scope) = limited(&[(Kind::User, 4_000)]).await;
    let mut outputs = Vec::new();
    for call in 0..5 {
        match take(&runtime, &scope, &call.to_string()).await {
            Taken::Held { output, .. } => outputs.push(output),
            Taken::Short(_) => break,
        }
    }
    // Of the 1900 that are left the second may have half of 1800, but no answer is shorter than 1024.
    assert_eq!(outputs, [MOST, 1_024]);
}

#[actix::test]
async fn two_hundred_at_once_do_not_take_more_than_there_is() {
    let (runtime, scope) = limited(&[(Kind::Tenant, 2_100)]).await;
    let calls: Vec<String> = (0..200).map(|call| call.to_string()).collect();
    let asked = calls.iter().map(|call| take(&runtime, &scope, call));
    let taken = futures::future::join_all(asked).await;
    let held = taken.iter().filter(|taken| matches!(taken, Taken::Held { .. })).count();
    assert_eq!(held, 1);
    assert_eq!(counters(&runtime, &scope).await, [(0, 2_100)]);
}

#[actix::test]
async fn what_a_process_that_is_gone_held_is_given_back_and_still_settled_once() {
    let (runtime, scope) = limited(&[(Kind::User, 2_100)]).await;
    let (held, _) = shares(take(&runtime, &scope, "lost").await);
    let lease = runtime.services.limits.lease;
    let services = &runtime.services;
    assert_eq!(ledger::give_back(services, lease).await.expect("looks"), 0, "it lives");
    let mut other = services.clone();
    other.replica = Arc::new(crate::services::Replica {
        id: "other".to_owned(),
        boot_id: "another-boot".to_owned(),
        version: "0.0.0".to_owned(),
    });
    // Its heartbeat is fresh.
    assert_eq!(ledger::give_back(&other, lease).await.expect("looks"), 0);
    runtime.directory.leases().leave().await.expect("leaves");
    assert_eq!(ledger::give_back(&other, lease).await.expect("looks"), 1);
    assert_eq!(ledger::give_back(&other, lease).await.expect("looks"), 0, "once");
    let prompt = i64::try_from(INPUT).expect("small");
    assert_eq!(
        counters(&runtime, &scope).await,
        [(prompt, 0)],
        "the provider has its prompt"
    );
    // It was only away, and what it used was used.
    for _ in 0..2 {
        let settled = ledger::settle(services, scope.tenant_scope(), "lost", &held, used(70)).await;
        settled.expect("settles");
    }
    assert_eq!(counters(&runtime, &scope).await, [(70, 0)]);
}

async fn hold(runtime: &Runtime, scope: &Scope) -> Hold {
    let charge = Charge::default();
    let held = reserve(&runtime.services, payer(scope, &charge), ask).await;
    held.expect("asks").expect("is limited").0
}

fn payer<'a>(scope: &'a Scope, charge: &'a Charge) -> Payer<'a> {
    Payer {
        scope,
        agent_id: "main",
        charge,
    }
}

/// Waits until the one counter says that nothing is held and so much is spent.
async fn becomes(runtime: &Runtime, scope: &Scope, spent: i64) {
    let mut found = Vec::new();
    for _ in 0..2_000 {
        found = counters(runtime, scope).await;
        if found == [(spent, 0)] && holds(runtime, scope).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{found:?}, not {spent}");
}

fn failure(class: ErrorClass, partial: AssistantMessage) -> ModelError {
    ModelError {
        class,
        message: String::new(),
        detail: String::new(),
        status: None,
        retry_after: None,
        partial,
    }
}

fn output(tokens: u64) -> Usage {
    Usage {
        output: tokens,
        ..Usage::default()
    }
}

#[actix::test]
async fn a_call_that_is_dropped_while_it_is_settled_is_settled_by_what_it_used() {
    let (runtime, scope) = limited(&[(Kind::User, 10_000)]).await;
    let settling = hold(&runtime, &scope).await.answered(Ok(output(70)));
    assert!(settling.now_or_never().is_none(), "it waits for the database");
    becomes(&runtime, &scope, 70).await;
    // As it is when the future is dropped before the database heard of it.
    let mut cut = hold(&runtime, &scope).await;
    cut.started = true;
    cut.used = Some(used(30));
    drop(cut);
    becomes(&runtime, &scope, 100).await;
    let mut begun = hold(&runtime, &scope).await;
    begun.started = true;
    drop(begun);
    becomes(&runtime, &scope, 200).await;
}

#[actix::test]
async fn what_nobody_waits_for_any_more_is_given_back() {
    let (runtime, scope) = limited(&[(Kind::User, 100_000)]).await;
    let charge = Charge::default();
    // Once without, so that the limits are known and the next one is asked for at once.
    drop(hold(&runtime, &scope).await);
    becomes(&runtime, &scope, 0).await;
    for _ in 0..20 {
        let asking = reserve(&runtime.services, payer(&scope, &charge), ask);
        assert!(asking.now_or_never().is_none(), "it waits for the database");
    }
    // Behind all of them.
    let last = hold(&runtime, &scope).await.answered(Ok(output(7)));
    last.await;
    becomes(&runtime, &scope, 7).await;
}

#[actix::test]
async fn an_answer_that_breaks_off_counts_what_came_of_it() {
    let (runtime, scope) = limited(&[(Kind::User, 100_000)]).await;
    let broken = |input, said: &str| {
        let partial = AssistantMessage {
            content: vec![AssistantPart::Text { text: said.to_owned() }],
            usage: Usage {
                input,
                output: u64::from(input > 0),
                ..Usage::default()
            },
            ..AssistantMessage::default()
        };
        let events = [
            ModelEvent::Start,
            ModelEvent::TextDelta("a".repeat(400)),
            ModelEvent::Error(failure(ErrorClass::Network, partial)),
        ];
        stream::iter(events).boxed()
    };
    // The provider had counted the prompt and the first token. More is in the message than was told.
    let events = metered(broken(40, &"a".repeat(800)), hold(&runtime, &scope).await);
    assert_eq!(events.count().await, 3);
    becomes(&runtime, &scope, 240).await;
    // It had counted nothing.
    let events = metered(broken(0, ""), hold(&runtime, &scope).await);
    assert_eq!(events.count().await, 3);
    becomes(&runtime, &scope, 240 + i64::try_from(INPUT).expect("small") + 100).await;
    // Refused before it began.
    let refused = ModelEvent::Error(failure(ErrorClass::Auth, AssistantMessage::default()));
    let events = metered(stream::iter([refused]).boxed(), hold(&runtime, &scope).await);
    assert_eq!(events.count().await, 1);
    becomes(&runtime, &scope, 440).await;
}

#[actix::test]
async fn arguments_of_a_tool_call_count_when_the_answer_breaks_off() {
    let (runtime, scope) = limited(&[(Kind::User, 100_000)]).await;
    let events = || {
        [
            ModelEvent::Start,
            ModelEvent::ToolCallStart {
                id: "call".to_owned(),
                name: "tool".to_owned(),
            },
            ModelEvent::ToolCallDelta("a".repeat(4_000)),
        ]
    };
    let broken = ModelEvent::Error(failure(ErrorClass::Network, AssistantMessage::default()));
    let told = stream::iter(events().into_iter().chain([broken])).boxed();
    assert_eq!(metered(told, hold(&runtime, &scope).await).count().await, 4);
    let spent = i64::try_from(INPUT + tokens::text("tool") + 1_000).expect("small");
    becomes(&runtime, &scope, spent).await;
    // Stopped by a person, likewise.
    let told = stream::iter(events()).chain(stream::pending()).boxed();
    let mut stopped = metered(told, hold(&runtime, &scope).await);
    for _ in events() {
        stopped.next().await;
    }
    drop(stopped);
    becomes(&runtime, &scope, 2 * spent).await;
}

#[actix::test]
async fn a_call_beside_a_turn_whose_answer_never_came_counts_as_estimated() {
    let (runtime, scope) = limited(&[(Kind::User, 100_000)]).await;
    let mut sum = 0;
    for (class, spent) in [
        (ErrorClass::Timeout, 100),
        (ErrorClass::Network, 100),
        (ErrorClass::RateLimit, 0),
        (ErrorClass::Auth, 0),
    ] {
        let mut hold = hold(&runtime, &scope).await;
        hold.started = true;
        hold.answered(Err(&failure(class, AssistantMessage::default()))).await;
        sum += spent;
        becomes(&runtime, &scope, sum).await;
    }
}

#[actix::test]
async fn a_limit_that_another_process_changed_or_took_away_is_the_one_that_holds() {
    let (runtime, scope) = limited(&[(Kind::User, 10_000)]).await;
    let services = &runtime.services;
    let tenant = scope.tenant_scope();
    let budgets = services.config.budgets(tenant).await.expect("reads");
    let stale = budgets.of_call(scope.user(), &["main"], None);
    let id = stale.first().expect("a limit").id.clone();
    let change = BudgetChange {
        amount: Some(50),
        enabled: None,
    };
    let by = Setter::operator();
    let changed = services.config.change_budget(tenant, &by, &id, change).await;
    changed.expect("changes");
    let taken = ledger::take(services, &scope, "low", stale.clone(), &ask()).await;
    assert!(matches!(taken, Ok(Taken::Short(shortage)) if shortage.budget.amount == 50));
    services.config.delete_budget(tenant, &by, &id).await.expect("deletes");
    let taken = ledger::take(services, &scope, "none", stale, &ask()).await;
    let (shares, output) = shares(taken.expect("asks"));
    assert_eq!((shares.len(), output), (0, MOST));
    assert!(counters(&runtime, &scope).await.is_empty(), "no counter comes back");
}
