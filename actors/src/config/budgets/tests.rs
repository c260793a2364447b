use claw_entities::{Scope, TenantScope};

use super::super::identity::Role;
use super::super::testing;
use super::*;
use crate::config::ConfigService;

fn draft(kind: Kind, amount: i64) -> BudgetDraft {
    BudgetDraft {
        kind,
        user: None,
        target: None,
        unit: Unit::Tokens,
        amount,
        period: Period::Month,
        time_zone: None,
    }
}

fn setter(scope: &Scope, admin: bool) -> Setter {
    Setter {
        user: Some(scope.user().clone()),
        admin,
    }
}

async fn outcome(config: &ConfigService, tenant: &TenantScope, by: &Setter, draft: BudgetDraft) -> Result<String, u16> {
    let made = config.create_budget(tenant, by, draft).await;
    made.map(|budget| budget.id).map_err(|error| error.code().http_status())
}

#[tokio::test]
async fn who_may_set_what() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let tenant = owner.tenant_scope().clone();
    let member = testing::user(config, &tenant, "m@acme.test", Role::Member).await;
    let (boss, own) = (setter(&owner, true), setter(&member, false));
    let of = |user: &Scope, draft: BudgetDraft| BudgetDraft {
        user: Some(user.user().clone()),
        ..draft
    };
    let agent = |target: &str| BudgetDraft {
        target: Some(target.to_owned()),
        ..draft(Kind::Agent, 5)
    };
    let the_tenants = outcome(config, &tenant, &boss, draft(Kind::Tenant, 10))
        .await
        .expect("an admin may");
    assert_eq!(outcome(config, &tenant, &own, draft(Kind::Tenant, 10)).await, Err(403));
    assert_eq!(outcome(config, &tenant, &boss, draft(Kind::Tenant, 20)).await, Err(409));
    let from_above = outcome(config, &tenant, &boss, of(&member, draft(Kind::User, 10)))
        .await
        .expect("an admin may");
    let from_themselves = outcome(config, &tenant, &own, draft(Kind::User, 3))
        .await
        .expect("everybody may");
    assert_eq!(
        outcome(config, &tenant, &own, of(&owner, draft(Kind::User, 3))).await,
        Err(403)
    );
    outcome(config, &tenant, &own, agent("main"))
        .await
        .expect("there is such an agent");
    assert_eq!(outcome(config, &tenant, &own, agent("nobody")).await, Err(404));
    assert_eq!(outcome(config, &tenant, &own, agent("")).await, Err(400));
    assert_eq!(
        outcome(config, &tenant, &boss, of(&member, agent("main"))).await,
        Err(403)
    );
    let of_a_job = BudgetDraft {
        kind: Kind::Cron,
        ..agent("no-such-job")
    };
    assert_eq!(outcome(config, &tenant, &own, of_a_job).await, Err(404));
    for amount in [0, -1, i64::MIN, i64::MAX] {
        assert_eq!(
            outcome(config, &tenant, &boss, draft(Kind::User, amount)).await,
            Err(400),
            "{amount}"
        );
    }
    let nowhere = BudgetDraft {
        time_zone: Some("Europe/Atlantis".to_owned()),
        ..draft(Kind::User, 1)
    };
    assert_eq!(outcome(config, &tenant, &boss, nowhere).await, Err(400));
    let nobody = BudgetDraft {
        user: Some("nobody".to_owned().into()),
        ..draft(Kind::User, 1)
    };
    assert_eq!(outcome(config, &tenant, &boss, nobody).await, Err(404));

    let seen = async |by: &Setter| {
        let views = config.list_budgets(&tenant, by).await.expect("lists");
        views.into_iter().map(|view| view.budget.id).collect::<Vec<_>>()
    };
    assert_eq!(
        seen(&boss).await,
        [the_tenants.clone(), from_above.clone(), from_themselves.clone()]
    );
    assert_eq!(seen(&own).await.len(), 4, "with the agent's");
    let change = BudgetChange {
        amount: Some(1_000),
        enabled: None,
    };
    let changed = async |by: &Setter, id: &str| {
        let changed = config.change_budget(&tenant, by, id, change).await;
        changed
            .map(|view| view.budget.amount)
            .map_err(|error| error.code().http_status())
    };
    assert_eq!(changed(&own, &the_tenants).await, Err(403));
    assert_eq!(changed(&own, &from_above).await, Err(403));
    assert_eq!(changed(&own, &from_themselves).await, Ok(1_000));
    assert_eq!(changed(&boss, &from_above).await, Ok(1_000));
    let refused = config
        .delete_budget(&tenant, &own, &from_above)
        .await
        .expect_err("is above them");
    assert_eq!(refused.code().http_status(), 403);

    // Another tenant's limits are not there.
    let others = testing::tenant(config, "other").await;
    let stranger = testing::user(config, &others, "o@other.test", Role::Owner).await;
    let stranger = setter(&stranger, true);
    let elsewhere = config.change_budget(&others, &stranger, &the_tenants, change).await;
    assert_eq!(elsewhere.expect_err("is not theirs").code().http_status(), 404);
    let elsewhere = config.delete_budget(&others, &stranger, &the_tenants).await;
    assert_eq!(elsewhere.expect_err("is not theirs").code().http_status(), 404);
    assert!(config.list_budgets(&others, &stranger).await.expect("lists").is_empty());

    config
        .delete_budget(&tenant, &boss, &from_themselves)
        .await
        .expect("an admin may");
    let actions: Vec<String> = config
        .list_audit(&tenant, None, 100)
        .await
        .expect("lists")
        .into_iter()
        .map(|line| line.action)
        .filter(|action| action.starts_with("budget."))
        .collect();
    assert_eq!(actions.len(), 7, "{actions:?}");
}

#[tokio::test]
async fn a_limit_holds_for_whom_it_was_set() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let tenant = owner.tenant_scope().clone();
    let member = testing::user(config, &tenant, "m@acme.test", Role::Member).await;
    assert!(config.budgets(&tenant).await.expect("reads").is_empty());
    let (boss, own) = (setter(&owner, true), setter(&member, false));
    let everybody = outcome(config, &tenant, &boss, draft(Kind::Tenant, 10))
        .await
        .expect("is made");
    let agent = BudgetDraft {
        target: Some("main".to_owned()),
        ..draft(Kind::Agent, 10)
    };
    let agent = outcome(config, &tenant, &own, agent).await.expect("is made");
    let holds = async |user: &Scope, agents: &[&str]| {
        let budgets = config.budgets(&tenant).await.expect("reads");
        let found = budgets.of_call(user.user(), agents, None).into_iter();
        found.map(|budget| budget.id.clone()).collect::<Vec<_>>()
    };
    let alone = [everybody];
    assert_eq!(holds(&owner, &["main"]).await, alone);
    assert_eq!(holds(&member, &["other"]).await, alone);
    assert_eq!(holds(&member, &["other", "main"]).await.len(), 2);
    let off = BudgetChange {
        enabled: Some(false),
        ..BudgetChange::default()
    };
    config.change_budget(&tenant, &own, &agent, off).await.expect("changes");
    assert_eq!(holds(&member, &["main"]).await, alone);
}

#[test]
fn amounts_are_whole_tokens_and_millionths_of_a_dollar() {
    for (unit, written, amount) in [
        (Unit::Tokens, 1.0, Some(1)),
        (Unit::Tokens, 1e15, Some(1_000_000_000_000_000)),
        (Unit::Tokens, 1.5, None),
        (Unit::Tokens, 0.0, None),
        (Unit::Tokens, -3.0, None),
        (Unit::Tokens, 2e15, None),
        (Unit::Tokens, f64::NAN, None),
        (Unit::Tokens, f64::INFINITY, None),
        (Unit::Money, 5.0, Some(5_000_000)),
        (Unit::Money, 0.1, Some(100_000)),
        (Unit::Money, 19.99, Some(19_990_000)),
        (Unit::Money, 0.000_001, Some(1)),
        (Unit::Money, 0.000_000_5, None),
        (Unit::Money, 1e9, Some(1_000_000_000_000_000)),
        (Unit::Money, 1e10, None),
    ] {
        assert_eq!(unit.read(written).ok(), amount, "{unit:?} {written}");
        if let Some(amount) = amount {
            assert!(
                (unit.written(amount) - written).abs() < 1e-9 * written,
                "{unit:?} {written}"
            );
        }
    }
}
