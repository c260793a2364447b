//! The ladder, the windows, and whose they are.

use super::super::super::identity::Role;
use super::super::super::testing;
use super::super::crud::tests::draft;
use super::*;

fn slot(key: &str) -> Slot {
    Slot {
        provider: "openai".to_owned(),
        model: "gpt".to_owned(),
        key: key.to_owned(),
    }
}

fn fails(row: key_health::Model, class: ErrorClass, model: &str, at: i64) -> key_health::Model {
    let failure = Failure {
        class,
        model,
        retry_after: None,
        at,
    };
    after_failure(row, failure, &Cooldowns::default())
}

fn fresh() -> key_health::Model {
    key_health::Model {
        tenant_id: "acme".into(),
        user_id: "ann".into(),
        provider: "openai".to_owned(),
        key_name: "a".to_owned(),
        last_used_at: 0,
        last_failed_at: 0,
        probed_at: 0,
        errors: 0,
        refusals: 0,
        cooldown_until: 0,
        cooldown_reason: String::new(),
        cooldown_model: None,
        disabled_until: 0,
        disabled_reason: String::new(),
    }
}

const NOW: i64 = 1_800_000_000_000;
const MIN: i64 = 60_000;

#[test]
fn rests_grow_by_the_ladder_and_an_open_one_stays() {
    let mut row = fresh();
    let mut at = NOW;
    for minutes in [1, 5, 25, 60, 60] {
        row = fails(row, ErrorClass::RateLimit, "gpt", at);
        assert_eq!(row.cooldown_until, at + minutes * MIN);
        let again = fails(row.clone(), ErrorClass::RateLimit, "gpt", at + 1_000);
        assert_eq!((again.cooldown_until, again.errors), (row.cooldown_until, row.errors));
        at = row.cooldown_until + 1;
    }
    // A day without a failure, and it begins anew.
    let later = fails(row, ErrorClass::RateLimit, "gpt", at + 25 * 60 * MIN);
    assert_eq!(later.cooldown_until, at + 25 * 60 * MIN + MIN);
}

#[test]
fn want_of_credit_and_revoked_keys_disable_for_hours() {
    let mut row = fresh();
    let mut at = NOW;
    // The last one comes more than a day after the one before it.
    for hours in [5, 10, 20, 24, 5] {
        row = fails(row, ErrorClass::Billing, "gpt", at);
        assert_eq!(row.disabled_until, at + hours * 60 * MIN);
        at = row.disabled_until + 1;
    }
    let revoked = fails(fresh(), ErrorClass::AuthPermanent, "gpt", NOW);
    assert_eq!(revoked.disabled_until, NOW + 5 * 60 * MIN);
    assert_eq!(
        (revoked.cooldown_until, revoked.disabled_reason.as_str()),
        (0, "auth_permanent")
    );
}

#[test]
fn a_provider_that_asks_for_more_time_gets_it_up_to_an_hour() {
    for (asked, minutes) in [(30, 1), (600, 10), (86_400, 60)] {
        let failure = Failure {
            class: ErrorClass::RateLimit,
            model: "gpt",
            retry_after: Some(Duration::from_secs(asked)),
            at: NOW,
        };
        let row = after_failure(fresh(), failure, &Cooldowns::default());
        assert_eq!(row.cooldown_until, NOW + minutes * MIN, "{asked}");
    }
}

#[test]
fn a_request_that_is_at_fault_touches_no_key() {
    let row = fresh();
    for class in [
        ErrorClass::Format,
        ErrorClass::ModelNotFound,
        ErrorClass::SessionExpired,
        ErrorClass::ContextOverflow,
        ErrorClass::Refusal,
        ErrorClass::Unknown,
    ] {
        assert_eq!(fails(row.clone(), class, "gpt", NOW), row, "{class:?}");
    }
}

#[test]
fn a_provider_that_is_busy_or_out_of_reach_leaves_its_keys_alone() {
    let row = fails(fresh(), ErrorClass::RateLimit, "gpt", NOW);
    for class in [ErrorClass::Overloaded, ErrorClass::Timeout, ErrorClass::Network] {
        assert_eq!(fails(fresh(), class, "gpt", NOW), fresh(), "{class:?}");
        assert_eq!(fails(row.clone(), class, "gpt", NOW + 1), row, "{class:?}");
    }
}

#[test]
fn a_busy_model_does_not_stop_its_siblings_but_a_bad_key_does() {
    let mut health = Health::default();
    let row = fails(fresh(), ErrorClass::RateLimit, "gpt", NOW);
    health.note(row.clone());
    assert_eq!(
        health.rests("openai", "a", "gpt", NOW + 1),
        Some((NOW + MIN, "rate_limit"))
    );
    assert_eq!(health.rests("openai", "a", "mini", NOW + 1), None);
    assert_eq!(health.rests("openai", "a", "gpt", NOW + MIN), None);
    health.note(fails(row.clone(), ErrorClass::RateLimit, "mini", NOW + 1));
    assert!(health.rests("openai", "a", "mini", NOW + 2).is_some());
    health.note(fails(row, ErrorClass::Auth, "gpt", NOW + 1));
    assert_eq!(health.rests("openai", "a", "mini", NOW + 2), Some((NOW + MIN, "auth")));
}

#[tokio::test]
async fn what_is_kept_survives_and_is_nobody_elses() {
    let server = testing::start().await;
    let config = &server.config;
    let owner = testing::owner(config).await;
    let mut three = draft("openai", &["gpt"]);
    three.api_key = Some("sk-0".into());
    three.config["apiKeys"] = serde_json::json!({"a": "sk-a", "b": "sk-b"});
    config.put_provider(owner.tenant_scope(), three).await.expect("saves");
    let order = async |pinned: Option<&str>| {
        let chain = config.model_chain(&owner, "main", None).await.expect("a chain");
        let health = server.another_process().key_health(&owner).await.expect("reads");
        let keys = health.in_order(&chain[0], pinned, now_ms());
        keys.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(order(None).await, ["default", "a", "b"]);
    config.key_worked(&owner, &slot("default"), true).await.expect("stores");
    assert_eq!(order(None).await, ["a", "b", "default"], "the least recently used");
    assert_eq!(order(Some("default")).await, ["default", "a", "b"]);
    config
        .key_failed(&owner, &slot("a"), ErrorClass::Billing, None)
        .await
        .expect("stores");
    config
        .key_failed(&owner, &slot("b"), ErrorClass::RateLimit, None)
        .await
        .expect("stores");
    assert_eq!(order(Some("a")).await, ["default", "b", "a"], "back soonest first");
    let key = config.resolve_model(&owner, "main", None).await.expect("resolves").key;
    assert_eq!(key, "default");

    // Nobody tries again right after a failure, and then one alone.
    let until = now_ms() + MIN;
    assert!(!config.may_probe(&owner, &slot("b"), until).await.expect("asks"));
    config.key_worked(&owner, &slot("b"), false).await.expect("stores");
    let mut old = untouched(&owner, &slot("b"));
    (old.last_failed_at, old.cooldown_until) = (now_ms() - MIN, until);
    let tx = server.db.write(&owner).await.expect("begins");
    store(&*tx, old).await.expect("stores");
    tx.commit().await.expect("commits");
    assert!(
        !config
            .may_probe(&owner, &slot("b"), until + 2 * MIN)
            .await
            .expect("asks")
    );
    assert!(config.may_probe(&owner, &slot("b"), until).await.expect("asks"));
    assert!(!config.may_probe(&owner, &slot("b"), until).await.expect("asks"));

    let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    assert!(config.key_health(&member).await.expect("reads").0.is_empty());
    // Another value for a key, and it begins anew.
    let tenant = owner.tenant_scope();
    config
        .put_provider_key(tenant, "openai", "a", &"sk-new".into())
        .await
        .expect("saves");
    assert_eq!(order(Some("a")).await[0], "a");
    // A router is never put to rest.
    let router = Slot {
        provider: "openrouter".to_owned(),
        ..slot("default")
    };
    let kept = config.key_failed(&owner, &router, ErrorClass::RateLimit, None).await;
    assert_eq!(kept.expect("asks"), None);
}
