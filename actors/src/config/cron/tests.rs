use chrono_tz::Tz;
use claw_entities::Scope;
use serde_json::{Value, json};

use super::draft::{self, Facts};
use super::job::{Payload, firing_of, run_id};
use super::schedule::{Schedule, read_time};
use super::{CronLimits, Definition};
use crate::Error;
use crate::config::document::UserSettings;
use crate::config::identity::Role;
use crate::config::testing;

const NOW: i64 = 1_767_268_800_000;

fn with<T>(read: impl FnOnce(&Facts<'_>) -> T) -> T {
    let settings =
        UserSettings::parse(&json!({"agents": {"list": [{"id": "main", "default": true}, {"id": "night"}]}}));
    read(&Facts {
        settings: &settings,
        zone: Tz::Europe__Vienna,
        now: NOW,
        shortest: 60_000,
        ahead: 0,
        by_model: false,
    })
}

fn read(job: &Value) -> Result<Definition, String> {
    with(|facts| draft::read(job, facts))
}

fn good(job: &Value) -> Value {
    json!(read(job).unwrap_or_else(|error| panic!("{job}: {error}")))
}

#[test]
fn what_the_command_line_sends_is_kept_as_it_is() {
    let job = json!({"name": "probe", "enabled": true, "schedule": {"kind": "every", "everyMs": 3_600_000},
        "sessionTarget": "isolated", "wakeMode": "now", "payload": {"kind": "agentTurn", "message": "say hi"},
        "delivery": {"mode": "none", "channel": "last"}, "brandNew": 1});
    assert_eq!(
        good(&job),
        json!({"name": "probe", "schedule": {"kind": "every", "everyMs": 3_600_000, "anchorMs": NOW},
            "sessionTarget": "isolated", "wakeMode": "now",
            "payload": {"kind": "agentTurn", "message": "say hi", "toolsAllow": ["*"]},
            "delivery": {"mode": "none", "channel": "last"}})
    );
}

#[test]
fn older_and_flat_spellings_are_understood() {
    for (job, pointer, expected) in [
        (
            json!({"atMs": NOW + 5}),
            "/schedule/at",
            json!("2026-01-01T12:00:00.005Z"),
        ),
        (
            json!({"at": "2026-01-02T03:04:05"}),
            "/schedule/at",
            json!("2026-01-02T03:04:05.000Z"),
        ),
        (json!({"schedule": {"at": NOW}}), "/schedule/kind", json!("at")),
        (json!({"everyMs": 60_000}), "/schedule/anchorMs", json!(NOW)),
        (json!({"expr": " 0  9 * * * "}), "/schedule/expr", json!("0 9 * * *")),
        (json!({"expr": "0 9 * * *"}), "/schedule/tz", json!("Europe/Vienna")),
        (json!({"expr": "0 9 * * *", "tz": "UTC"}), "/schedule/tz", json!("UTC")),
        (json!({"atMs": NOW}), "/deleteAfterRun", json!(true)),
        (
            json!({"atMs": NOW, "deleteAfterRun": false}),
            "/deleteAfterRun",
            json!(false),
        ),
        (json!({"everyMs": 60_000}), "/delivery/mode", json!("announce")),
        (
            json!({"everyMs": 60_000, "sessionTarget": "current"}),
            "/sessionTarget",
            json!("isolated"),
        ),
        (
            json!({"everyMs": 60_000, "sessionTarget": "current", "sessionKey": "agent:main:Work"}),
            "/sessionTarget",
            json!("session:agent:main:work"),
        ),
        (
            json!({"everyMs": 60_000, "payload": {"kind": "agentturn", "message": "x", "deliver": true,
                "channel": "Telegram", "to": 42, "bestEffortDeliver": true}}),
            "/delivery",
            json!({"mode": "announce", "channel": "telegram", "to": "42", "bestEffort": true}),
        ),
    ] {
        let mut full = json!({"name": "n", "message": "m"});
        for (name, value) in job.as_object().unwrap() {
            full[name] = value.clone();
        }
        assert_eq!(good(&full).pointer(pointer), Some(&expected), "{job}");
    }
    let event = good(&json!({"name": "n", "everyMs": 60_000, "text": "tea"}));
    assert_eq!(event["payload"], json!({"kind": "systemEvent", "text": "tea"}));
    assert_eq!((&event["sessionTarget"], event.get("delivery")), (&json!("main"), None));
}

#[test]
fn what_makes_no_sense_or_is_not_done_here_is_refused() {
    for (change, complaint) in [
        (json!({"name": ""}), "required property 'name'"),
        (json!({"name": "x".repeat(201)}), "200 characters"),
        (json!({"schedule": null}), "required property 'schedule'"),
        (json!({"payload": null}), "required property 'payload'"),
        (
            json!({"payload": {"kind": "agentTurn", "message": " "}}),
            "must not be empty",
        ),
        (
            json!({"payload": {"kind": "agentTurn", "message": "x", "timeoutSeconds": -1}}),
            "timeoutSeconds",
        ),
        (
            json!({"payload": {"kind": "agentTurn", "message": "x".repeat(200_000)}}),
            "larger than",
        ),
        (
            json!({"payload": {"kind": "agentTurn", "message": "x", "fallbacks": [" "]}}),
            "fallbacks are names of models",
        ),
        (
            json!({"payload": {"kind": "agentTurn", "message": "x", "fallbacks": vec!["m"; 11]}}),
            "10 at most",
        ),
        (
            json!({"payload": {"kind": "agentTurn", "message": "x", "lightContext": "yes"}}),
            "invalid type",
        ),
        (json!({"payload": {"kind": "command", "argv": ["rm"]}}), "not available"),
        (json!({"payload": {"kind": "made-up"}}), "unknown variant"),
        (
            json!({"schedule": {"kind": "on-exit", "command": "x"}}),
            "not available",
        ),
        (json!({"schedule": {"kind": "every", "everyMs": 59_999}}), "too often"),
        (
            json!({"schedule": {"kind": "every", "everyMs": "soon"}}),
            "invalid type",
        ),
        (json!({"schedule": {"kind": "at", "at": "2025-01-01"}}), "in the past"),
        (json!({"sessionTarget": "main"}), "main cron jobs require"),
        (
            json!({"payload": {"kind": "systemEvent", "text": "x"}}),
            "require payload.kind=\"agentTurn\"",
        ),
        (
            json!({"payload": {"kind": "systemEvent", "text": "x"}, "sessionTarget": "main", "delivery": {"mode": "announce"}}),
            "only supported for",
        ),
        (json!({"sessionTarget": "elsewhere"}), "sessionTarget must be"),
        (json!({"sessionTarget": "session:agent:night:x"}), "another agent"),
        (json!({"agentId": "nobody"}), "unknown agent id"),
        (
            json!({"delivery": {"mode": "webhook", "to": "ftp://example.com"}}),
            "must be a web address",
        ),
        (
            json!({"failureAlert": {"mode": "webhook", "to": "example.com"}}),
            "failureAlert.to must be a web address",
        ),
        (
            json!({"failureAlert": {"mode": "none"}}),
            "failureAlert.mode must be announce or webhook",
        ),
        (
            json!({"delivery": {"mode": "none", "failureDestination": {"mode": "webhook"}}}),
            "delivery.failureDestination.to must be a web address",
        ),
        (
            json!({"delivery": {"mode": "none", "completionDestination": {"mode": "webhook"}}}),
            "completionDestination is not available",
        ),
        (
            json!({"delivery": {"mode": "announce", "to": "42"}}),
            "needs delivery.channel",
        ),
        (json!({"failureAlert": true}), "failureAlert must be"),
        (json!({"failureAlert": {"after": 0}}), "at least 1"),
        (json!({"trigger": {"script": "x"}}), "trigger is not available"),
        (json!({"wakeMode": "never"}), "unknown variant"),
    ] {
        let mut job = json!({"name": "n", "schedule": {"kind": "every", "everyMs": 60_000}, "sessionTarget": "isolated",
            "payload": {"kind": "agentTurn", "message": "m"}});
        for (name, value) in change.as_object().unwrap() {
            job[name] = value.clone();
        }
        let error = read(&job).err().unwrap_or_else(|| panic!("{change} was taken"));
        assert!(error.contains(complaint), "{change}: {error}");
    }
    for nonsense in [json!([]), json!(null), json!("x")] {
        assert!(read(&nonsense).is_err());
    }
}

#[test]
fn a_patch_changes_what_it_names() {
    let job = read(&json!({"name": "n", "everyMs": 60_000, "message": "m", "model": "a/b",
        "delivery": {"mode": "announce", "channel": "telegram", "to": "42"}}))
    .unwrap();
    let change = |patch: Value| with(|facts| draft::change(&job, &patch, facts));
    let changed =
        change(json!({"name": "other", "payload": {"kind": "agentTurn", "model": null}, "delivery": {"to": "43"}}));
    let changed = json!(changed.unwrap());
    assert_eq!(changed["name"], "other");
    assert_eq!(
        changed["payload"],
        json!({"kind": "agentTurn", "message": "m", "toolsAllow": ["*"]})
    );
    assert_eq!(
        changed["delivery"],
        json!({"mode": "announce", "channel": "telegram", "to": "43"})
    );
    assert_eq!(changed["schedule"], json!(job.schedule));
    assert_eq!(change(json!({})).unwrap(), job);
    assert_eq!(
        change(json!({"enabled": false, "state": {"lastError": "x"}})).unwrap(),
        job
    );
    let moved = change(json!({"schedule": {"kind": "cron", "expr": "0 9 * * *"}})).unwrap();
    assert!(matches!(moved.schedule, Schedule::Cron { .. }));
    let event = json!({"payload": {"kind": "systemEvent", "text": "t"}, "delivery": null});
    let event = change(event).unwrap();
    assert_eq!(event.session_target, "main");
    assert!(matches!(event.payload, Payload::SystemEvent { .. }));
    assert!(change(json!({"schedule": {"kind": "every", "everyMs": 1}})).is_err());
    assert!(change(json!({"name": null})).is_err());
    assert!(change(json!(7)).is_err());
    // A one-shot whose time is past can still be renamed, but not given another past time.
    let once = read(&json!({"name": "n", "atMs": NOW, "message": "m"})).unwrap();
    let later = |patch: Value| {
        with(|facts| {
            let facts = Facts {
                now: NOW + 3_600_000,
                ..*facts
            };
            draft::change(&once, &patch, &facts)
        })
    };
    assert_eq!(later(json!({"name": "m"})).unwrap().name, "m");
    assert!(later(json!({"schedule": {"kind": "at", "at": NOW}})).is_err());
}

/// What a page made a model say leads nowhere outside, however it is spelled; what a person chose stays.
#[test]
fn a_model_makes_no_job_that_leads_outside_or_trusts_strangers() {
    let by_model = |draft: &dyn Fn(&Facts<'_>) -> Result<Definition, String>| {
        with(|facts| {
            draft(&Facts {
                by_model: true,
                ..*facts
            })
        })
    };
    let outside = json!({"mode": "webhook", "to": "https://example.com/in"});
    let add = |extra: Value| {
        let mut job = json!({"name": "n", "everyMs": 60_000, "message": "m"});
        for (name, value) in extra.as_object().unwrap() {
            job[name] = value.clone();
        }
        job
    };
    for job in [
        add(json!({"delivery": outside})),
        add(json!({"job": {"delivery": outside}})),
        add(json!({"delivery": {"mode": "none", "failureDestination": outside}})),
        add(json!({"failureAlert": outside})),
        add(json!({"delivery": {"mode": "announce", "channel": "slack", "to": "https://example.com/in"}})),
        add(json!({"allowUnsafeExternalContent": true})),
    ] {
        assert!(read(&job).is_ok(), "a person may: {job}");
        let refused = by_model(&|facts| draft::read(&job, facts));
        assert!(refused.is_err_and(|why| why.contains("only the user")), "{job}");
    }
    let theirs = read(&add(json!({"delivery": outside, "allowUnsafeExternalContent": true}))).unwrap();
    let change = |patch: Value| by_model(&|facts| draft::change(&theirs, &patch, facts));
    assert!(change(json!({"name": "other"})).is_ok());
    assert!(change(json!({"payload": {"message": "other"}})).is_err());
    assert!(change(json!({"delivery": {"to": "https://example.org/in"}})).is_err());
    assert!(change(json!({"job": {"failureAlert": {"mode": "webhook", "to": "https://example.org/in"}}})).is_err());
    assert!(change(json!({"payload": {"allowUnsafeExternalContent": false}})).is_ok());
}

#[test]
fn a_jobs_own_models_and_context_are_kept() {
    let job = json!({"name": "n", "everyMs": 60_000, "message": "m", "model": "a/b", "fallbacks": ["a/c"],
        "lightContext": true, "allowUnsafeExternalContent": false,
        "delivery": {"mode": "none", "failureDestination": {"mode": "announce", "channel": "Telegram", "to": 7}},
        "failureAlert": {"after": 3, "mode": "webhook", "to": "https://example.com/in"}});
    let kept = good(&job);
    assert_eq!(
        kept["payload"],
        json!({"kind": "agentTurn", "message": "m", "model": "a/b", "fallbacks": ["a/c"], "lightContext": true,
            "allowUnsafeExternalContent": false, "toolsAllow": ["*"]})
    );
    assert_eq!(
        kept["delivery"]["failureDestination"],
        json!({"mode": "announce", "channel": "telegram", "to": "7"})
    );
    assert_eq!(
        kept["failureAlert"],
        json!({"after": 3, "mode": "webhook", "to": "https://example.com/in"})
    );
}

#[test]
fn a_run_id_names_job_and_time() {
    assert_eq!(firing_of(&run_id("a:b", 7)), Some(("a:b", 7)));
    for none in ["cron:x", "cron:x:y", "chat:x:1", ""] {
        assert_eq!(firing_of(none), None, "{none}");
    }
}

const LIMITS: CronLimits = CronLimits {
    jobs: 3,
    interval_ms: 60_000,
    ahead_ms: 0,
    by_model: false,
};

async fn add(server: &testing::Server, scope: &Scope, name: &str) -> Result<super::Job, Error> {
    let job = json!({"name": name, "everyMs": 60_000, "message": "m"});
    server.config.add_cron_job(scope, &job, LIMITS).await
}

#[tokio::test]
async fn jobs_are_one_users_and_not_too_many() {
    let server = testing::start().await;
    let owner = testing::owner(&server.config).await;
    let member = testing::user(&server.config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
    let config = &server.config;
    let job = add(&server, &owner, "one").await.unwrap();
    assert_eq!(job.next_run_at, Some(job.created_at + 60_000));
    let theirs = json!({"name": "taken over"});
    assert!(config.cron_job(&member, &job.id).await.unwrap().is_none());
    assert!(matches!(
        config.update_cron_job(&member, &job.id, &theirs, None, LIMITS).await,
        Err(Error::NotFound { .. })
    ));
    assert!(config.remove_cron_job(&member, &job.id).await.unwrap().is_none());
    assert!(config.cron_jobs(&member).await.unwrap().is_empty());
    // At the same time: the limit holds all the same.
    let (two, three, four) = tokio::join!(
        add(&server, &owner, "two"),
        add(&server, &owner, "three"),
        add(&server, &owner, "four")
    );
    let refused: Vec<_> = [two, three, four].into_iter().filter_map(Result::err).collect();
    assert!(
        matches!(&refused[..], [Error::Invalid(why)] if why.contains("limit is 3")),
        "{refused:?}"
    );
    assert!(add(&server, &member, "five").await.is_ok());
    assert!(config.remove_cron_job(&owner, &job.id).await.unwrap().is_some());
    assert!(add(&server, &owner, "six").await.is_ok());
}

#[tokio::test]
async fn a_change_is_refused_to_who_has_not_seen_the_last_one() {
    let server = testing::start().await;
    let owner = testing::owner(&server.config).await;
    let config = &server.config;
    let job = add(&server, &owner, "one").await.unwrap();
    let seen = job.revision();
    let patch = json!({"enabled": false});
    let off = config
        .update_cron_job(&owner, &job.id, &patch, Some(&seen), LIMITS)
        .await
        .unwrap();
    assert_eq!((off.enabled, off.next_run_at, off.epoch), (false, None, 2));
    let late = config
        .update_cron_job(&owner, &job.id, &json!({"name": "x"}), Some(&seen), LIMITS)
        .await;
    assert!(matches!(late, Err(Error::Invalid(_))), "{late:?}");
    let on = config
        .update_cron_job(&owner, &job.id, &json!({"enabled": true}), None, LIMITS)
        .await
        .unwrap();
    assert!(on.next_run_at.is_some() && on.revision() == seen);
}

#[tokio::test]
async fn a_declared_job_is_there_once() {
    let server = testing::start().await;
    let owner = testing::owner(&server.config).await;
    let declare = async |every: i64| {
        let job = json!({"name": "n", "declarationKey": "k", "schedule": {"everyMs": every}, "message": "m"});
        server.config.add_cron_job(&owner, &job, LIMITS).await.unwrap()
    };
    let first = declare(60_000).await;
    let same = declare(60_000).await;
    assert_eq!(
        (&same.id, same.epoch, same.next_run_at),
        (&first.id, 1, first.next_run_at)
    );
    let slower = declare(120_000).await;
    assert_eq!((&slower.id, slower.epoch), (&first.id, 2));
    assert_eq!(server.config.cron_jobs(&owner).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_zone_is_the_configurations_or_the_profiles() {
    let server = testing::start().await;
    let owner = testing::owner(&server.config).await;
    let config = &server.config;
    let zone = async || {
        let job = json!({"name": "n", "expr": "0 9 * * *", "message": "m"});
        let job = config.add_cron_job(&owner, &job, LIMITS).await.unwrap();
        let Schedule::Cron { tz, .. } = job.definition.schedule else {
            panic!("a cron schedule");
        };
        tz.unwrap()
    };
    assert_eq!(zone().await, "UTC");
    config.set_profile(&owner, None, Some("Asia/Tokyo")).await.unwrap();
    assert_eq!(zone().await, "Asia/Tokyo");
    let doc = json!({"agents": {"defaults": {"userTimezone": "Europe/Paris"}}});
    config.put_document(&owner, doc, None).await.unwrap();
    assert_eq!(zone().await, "Europe/Paris");
    assert_eq!(read_time("2026-01-01T12:00:00Z"), Some(NOW));
}
