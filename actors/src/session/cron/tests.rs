mod expiry;

use std::time::{Duration, Instant};

use claw_entities::{Scope, SessionKey, UserOwned, cron_job, cron_run, inbox, new_id, run, session, transcript_entry};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Set};
use serde_json::{Value, json};

use super::outcome::{After, outcome};
use super::settle::{Ended, Told};
use super::{Asked, Started, reconcile, release, round, run_now};
use crate::clock::now_ms;
use crate::config::cron::{Job, store};
use crate::config::document::CronSettings;
use crate::config::identity::Role;
use crate::db::writer::Writer;
use crate::services::Limits;
use crate::session::reconcile::{GIVEN_UP, MOST_TRIES};
use crate::session::system_event;
use crate::supervisor::directory::Directory;
use crate::supervisor::placement::Placement;
use crate::testing::{Runtime, ScriptedModel, Step, start};

const PATIENCE: Duration = Duration::from_secs(120);

async fn runtime() -> Runtime {
    start(
        ScriptedModel::new(|text| Step::Say(format!("re: {text}"))),
        Limits::default(),
        1,
    )
    .await
}

async fn add(runtime: &Runtime, scope: &Scope, job: Value) -> Job {
    let config = &runtime.services.config;
    let limits = runtime.services.limits.cron;
    config.add_cron_job(scope, &job, limits).await.expect("adds")
}

async fn job(runtime: &Runtime, scope: &Scope, id: &str) -> Option<Job> {
    runtime.services.config.cron_job(scope, id).await.expect("reads")
}

async fn runs(runtime: &Runtime, scope: &Scope) -> Vec<cron_run::Model> {
    let tx = runtime.services.db.read(scope).await.expect("reads");
    cron_run::Entity::owned_by(scope)
        .order_by_asc(cron_run::Column::JobId)
        .order_by_asc(cron_run::Column::ScheduledAt)
        .all(&*tx)
        .await
        .expect("reads")
}

/// Waits until `count` runs are on record as ended.
async fn ended(runtime: &Runtime, scope: &Scope, count: usize) -> Vec<cron_run::Model> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = runs(runtime, scope).await;
        if found.len() >= count && found.iter().all(|run| run.ended_at.is_some()) {
            return found;
        }
        assert!(Instant::now() < until, "not ended: {found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lines the user said to the model in a session, in order.
async fn asked(runtime: &Runtime, scope: &Scope, key: &str) -> Vec<String> {
    let history = &runtime.services.conversation;
    let Some(head) = history.head(scope, &SessionKey::from(key)).await.expect("reads") else {
        return Vec::new();
    };
    let branch = history.branch(scope, &head, u64::MAX).await.expect("reads");
    let bodies = branch.entries.iter().map(|entry| entry.body.encode().expect("encodes"));
    bodies
        .map(|body| serde_json::from_str::<Value>(&body).expect("is JSON"))
        .filter(|body| body["message"]["role"] == "user")
        .map(|body| {
            body["message"]["content"][0]["text"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[actix::test]
async fn a_due_job_runs_once_and_its_end_is_on_record() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let due = now_ms() + 3_600_000;
    let once = add(
        &runtime,
        &scope,
        json!({"name": "once", "atMs": due, "message": "hello", "delivery": {"mode": "none"}}),
    )
    .await;
    round(&runtime.directory, due - 1).await.expect("looks");
    assert!(runs(&runtime, &scope).await.is_empty(), "it is not due yet");
    for _ in 0..3 {
        round(&runtime.directory, due).await.expect("looks");
    }
    let found = ended(&runtime, &scope, 1).await;
    let [run] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (run.scheduled_at, run.status.as_deref(), run.manual),
        (due, Some("ok"), false)
    );
    assert_eq!(run.session_key.as_str(), format!("agent:main:cron:{}", once.id));
    let said = asked(&runtime, &scope, run.session_key.as_str()).await;
    assert!(
        said.len() == 1 && said[0].starts_with(&format!("[cron:{} once] hello\nCurrent time: ", once.id)),
        "{said:?}"
    );
    assert!(
        run.summary
            .as_deref()
            .is_some_and(|text| text.starts_with("re: [cron:")),
        "{run:?}"
    );
    assert!(
        job(&runtime, &scope, &once.id).await.is_none(),
        "one-shots are removed after a success"
    );
}

#[actix::test]
async fn schedulers_at_the_same_time_claim_each_firing_once() {
    const JOBS: usize = 40;
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    for number in 0..JOBS {
        let job =
            json!({"name": format!("j{number}"), "everyMs": 60_000, "text": "tick", "wakeMode": "next-heartbeat"});
        add(&runtime, &scope, job).await;
    }
    // Other processes on the same database: tree and writer of their own.
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut services = runtime.services.clone();
        let handle = services.io.clone();
        let _inside = handle.enter();
        services.writer = Writer::start(services.db.clone()).expect("a thread");
        let leases = runtime.directory.leases().clone();
        others.push(Directory::new(services, Placement::start(1), leases));
    }
    let due = now_ms() + 60_000;
    let looks = others.iter().chain([&runtime.directory]).map(|directory| async {
        for _ in 0..3 {
            round(directory, due).await.expect("looks");
        }
    });
    futures::future::join_all(looks).await;
    let found = ended(&runtime, &scope, JOBS).await;
    assert_eq!(found.len(), JOBS, "each fires once");
    let tx = runtime.services.db.read(&scope).await.expect("reads");
    let rows = inbox::Entity::owned_by(&scope)
        .filter(inbox::Column::Source.eq("cron"))
        .all(&*tx)
        .await
        .expect("reads");
    assert_eq!(rows.len(), JOBS);
}

#[actix::test]
async fn what_was_missed_is_made_up_for_once_and_not_all_together() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    for number in 0..8 {
        let job =
            json!({"name": format!("j{number}"), "everyMs": 60_000, "text": "tick", "wakeMode": "next-heartbeat"});
        add(&runtime, &scope, job).await;
    }
    // The process was away for an hour.
    let now = now_ms() + 3_600_000;
    round(&runtime.directory, now).await.expect("looks");
    assert_eq!(ended(&runtime, &scope, 5).await.len(), 5);
    for (wait, count) in [(4_999, 5), (5_000, 6), (15_000, 8), (15_001, 8)] {
        round(&runtime.directory, now + wait).await.expect("looks");
        assert_eq!(ended(&runtime, &scope, count).await.len(), count, "after {wait} ms");
    }
}

/// A firing whose run has failed while its inbox row goes on. Gives its time and the run's id.
async fn left_open(runtime: &Runtime, scope: &Scope, job: &str) -> (i64, String) {
    let at = now_ms();
    let run_id = format!("cron:{}:{at}", job);
    let tx = runtime.services.db.write(scope).await.expect("writes");
    let (tenant, user) = (scope.tenant().clone(), scope.user().clone());
    cron_run::Entity::insert(cron_run::ActiveModel {
        tenant_id: Set(tenant.clone()),
        user_id: Set(user.clone()),
        job_id: Set(job.to_owned()),
        scheduled_at: Set(at),
        job_name: Set("n".to_owned()),
        agent_id: Set("main".to_owned()),
        session_key: Set("agent:main:x".into()),
        manual: Set(false),
        started_at: Set(at),
        ended_at: Set(None),
        status: Set(None),
        error: Set(None),
        summary: Set(None),
        delivery: Set("not-requested".to_owned()),
        delivery_error: Set(None),
        session_id: Set(None),
        provider: Set(None),
        model: Set(None),
        usage: Set(Value::Null),
        next_run_at: Set(None),
        expires_at: Set(None),
    })
    .exec_without_returning(&*tx)
    .await
    .expect("inserts");
    let row = |state: &str| inbox::ActiveModel {
        tenant_id: Set(tenant.clone()),
        id: Set(new_id()),
        user_id: Set(user.clone()),
        source: Set("cron".to_owned()),
        account_id: Set(user.as_str().to_owned()),
        event_key: Set(run_id.clone()),
        session_key: Set("agent:main:x".into()),
        payload: Set("{}".to_owned()),
        state: Set(state.to_owned()),
        attempts: Set(1),
        run_id: Set(Some(run_id.clone())),
        entry_id: Set(None),
        reason: Set(None),
        received_at: Set(at),
        updated_at: Set(at),
    };
    inbox::Entity::insert(row("running"))
        .exec_without_returning(&*tx)
        .await
        .expect("inserts");
    run::Entity::insert(run::ActiveModel {
        tenant_id: Set(tenant.clone()),
        user_id: Set(user.clone()),
        id: Set(run_id.clone()),
        session_key: Set("agent:main:x".into()),
        session_id: Set("s".to_owned()),
        status: Set("error".to_owned()),
        epoch: Set(1),
        started_at: Set(at),
        ended_at: Set(Some(at + 7)),
        stop_reason: Set(None),
        error_class: Set(Some("rate_limit".to_owned())),
        error_message: Set(Some("too fast".to_owned())),
        provider: Set(None),
        model: Set(None),
        usage: Set(Value::Null),
        result: Set(Value::Null),
    })
    .exec_without_returning(&*tx)
    .await
    .expect("inserts");
    cron_job::Entity::update_owned(scope)
        .col_expr(cron_job::Column::RunningAt, Expr::value(at))
        .filter(cron_job::Column::Id.eq(job))
        .exec(&*tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
    (at, run_id)
}

/// The firing's inbox row is settled.
async fn settle_row(runtime: &Runtime, scope: &Scope, run_id: &str) {
    let tx = runtime.services.db.write(scope).await.expect("writes");
    inbox::Entity::update_owned(scope)
        .col_expr(inbox::Column::State, Expr::value("done"))
        .filter(inbox::Column::EventKey.eq(run_id))
        .exec(&*tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
}

#[actix::test]
async fn a_lost_hint_is_found_among_the_open_runs() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let every = add(
        &runtime,
        &scope,
        json!({"name": "n", "everyMs": 60_000, "message": "m"}),
    )
    .await;
    let (at, run_id) = left_open(&runtime, &scope, &every.id).await;
    assert_eq!(reconcile(&runtime.directory).await.expect("looks"), 0, "it goes on");
    settle_row(&runtime, &scope, &run_id).await;
    assert_eq!(reconcile(&runtime.directory).await.expect("looks"), 1);
    assert_eq!(reconcile(&runtime.directory).await.expect("looks"), 0, "once");
    let found = runs(&runtime, &scope).await;
    assert_eq!(
        (found[0].status.as_deref(), found[0].error.as_deref(), found[0].ended_at),
        (Some("error"), Some("too fast"), Some(at + 7))
    );
    let after = job(&runtime, &scope, &every.id).await.expect("is there");
    assert_eq!((after.running_at, after.state.consecutive_errors), (None, 1));
    assert_eq!(after.state.last_error_reason.as_deref(), Some("rate_limit"));
}

#[actix::test]
async fn a_job_has_one_run_at_a_time_and_a_person_may_ask_for_one() {
    let hung = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = hung.owner("acme").await;
    let every = add(
        &hung,
        &scope,
        json!({"name": "n", "everyMs": 60_000, "message": "m", "enabled": false}),
    )
    .await;
    let ask = async |asked| {
        run_now(&hung.directory, &scope, &every.id, asked, None)
            .await
            .expect("asks")
    };
    assert_eq!(ask(Asked::IfEnabled).await, Started::Not("disabled"));
    assert_eq!(ask(Asked::Due).await, Started::Not("not-due"));
    assert!(matches!(ask(Asked::Force).await, Started::Run(_)));
    assert_eq!(ask(Asked::Force).await, Started::Not("already-running"));
    assert!(
        run_now(&hung.directory, &scope, "no-such", Asked::Force, None)
            .await
            .is_err()
    );
    // Due again while it runs: nothing happens.
    let config = &hung.services.config;
    let limits = hung.services.limits.cron;
    config
        .update_cron_job(&scope, &every.id, &json!({"enabled": true}), None, limits)
        .await
        .expect("updates");
    round(&hung.directory, now_ms() + 120_000).await.expect("looks");
    assert_eq!(runs(&hung, &scope).await.len(), 1);
}

#[actix::test]
async fn who_may_not_run_anything_waits_and_misses_nothing() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let every = add(
        &runtime,
        &scope,
        json!({"name": "n", "everyMs": 60_000, "message": "m"}),
    )
    .await;
    let due = every.next_run_at.expect("is planned");
    let config = &runtime.services.config;
    let second = config
        .create_user(scope.tenant_scope(), "second@acme.test", Role::Member, None)
        .await
        .expect("creates")
        .scope;
    add(
        &runtime,
        &second,
        json!({"name": "n", "everyMs": 60_000, "message": "m"}),
    )
    .await;
    config
        .put_document(&scope, json!({"cron": {"enabled": false}}), None)
        .await
        .expect("stores");
    round(&runtime.directory, due).await.expect("looks");
    config.update_document(&scope, |_| Ok(json!({}))).await.expect("stores");
    config
        .suspend_tenant(scope.tenant_scope(), true)
        .await
        .expect("suspends");
    config
        .set_disabled(scope.tenant_scope(), second.user(), true)
        .await
        .expect("disables");
    round(&runtime.directory, due + 60_000).await.expect("looks");
    assert!(runs(&runtime, &scope).await.is_empty());
    // Held once, it is not looked at each second.
    let held = |scope: &Scope| {
        let (db, scope) = (runtime.services.db.clone(), scope.clone());
        async move {
            let rows = cron_job::Entity::owned_by(&scope)
                .all(&*db.read(&scope).await.expect("begins"))
                .await
                .expect("reads");
            rows.iter().map(|row| row.held).collect::<Vec<_>>()
        }
    };
    assert_eq!((held(&scope).await, held(&second).await), (vec![true], vec![true]));
    config
        .suspend_tenant(scope.tenant_scope(), false)
        .await
        .expect("lets go");
    round(&runtime.directory, due + 60_000).await.expect("looks");
    assert_eq!(ended(&runtime, &scope, 1).await.len(), 1);
    assert!(runs(&runtime, &second).await.is_empty());
    assert_eq!(held(&second).await, [true]);
    assert_eq!(release(&runtime.directory).await.expect("looks"), 0);
    config
        .set_disabled(scope.tenant_scope(), second.user(), false)
        .await
        .expect("lets in");
    round(&runtime.directory, due + 60_000).await.expect("looks");
    assert_eq!(ended(&runtime, &second, 1).await.len(), 1);
    // Held by a claim that the end of the lock-out missed.
    let tx = runtime.services.db.write(&second).await.expect("begins");
    cron_job::Entity::update_owned(&second)
        .col_expr(cron_job::Column::Held, Expr::value(true))
        .exec(&*tx)
        .await
        .expect("holds");
    tx.commit().await.expect("commits");
    assert_eq!(release(&runtime.directory).await.expect("looks"), 1);
    assert_eq!(held(&second).await, [false]);
}

#[actix::test]
async fn an_event_waits_for_the_next_turn_or_makes_one() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let due = now_ms() + 3_600_000;
    for (name, mode) in [("later", "next-heartbeat"), ("again", "next-heartbeat")] {
        add(
            &runtime,
            &scope,
            json!({"name": name, "atMs": due, "text": "drink\nwater", "wakeMode": mode}),
        )
        .await;
    }
    round(&runtime.directory, due).await.expect("looks");
    ended(&runtime, &scope, 2).await;
    assert!(
        asked(&runtime, &scope, "agent:main:main").await.is_empty(),
        "nobody is asked yet"
    );
    add(
        &runtime,
        &scope,
        json!({"name": "now", "atMs": due, "text": "stand up"}),
    )
    .await;
    round(&runtime.directory, due).await.expect("looks");
    ended(&runtime, &scope, 3).await;
    let said = asked(&runtime, &scope, "agent:main:main").await;
    assert_eq!(said.len(), 1, "{said:?}");
    let lines: Vec<&str> = said[0].lines().collect();
    assert!(
        lines[0].starts_with("System: [") && lines[0].ends_with("] drink water"),
        "{lines:?}"
    );
    assert!(lines[1].is_empty(), "the same line is there once: {lines:?}");
    assert!(
        lines[2].starts_with("System: [") && lines[2].ends_with("] stand up"),
        "{lines:?}"
    );
}

#[actix::test]
async fn at_most_twenty_events_wait() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let main = SessionKey::from("agent:main:main");
    for number in 0..25 {
        system_event::add(&runtime.services, &scope, &main, &format!("e{number}"))
            .await
            .expect("adds");
    }
    let tx = runtime.services.db.read(&scope).await.expect("reads");
    let rows = claw_entities::system_event::Entity::owned_by(&scope)
        .order_by_asc(claw_entities::system_event::Column::Id)
        .all(&*tx)
        .await
        .expect("reads");
    drop(tx);
    assert_eq!(
        (rows.len(), rows[0].text.as_str(), rows[19].text.as_str()),
        (20, "e5", "e24")
    );
    let chat = SessionKey::from("agent:main:telegram:direct:7");
    assert!(system_event::add(&runtime.services, &scope, &chat, "x").await.is_err());
}

#[actix::test]
async fn an_isolated_run_starts_over_and_old_ones_are_forgotten() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let every = add(
        &runtime,
        &scope,
        json!({"name": "n", "everyMs": 60_000, "message": "m"}),
    )
    .await;
    let key = format!("agent:main:cron:{}", every.id);
    let mut sessions = Vec::new();
    for count in 1..=2 {
        // The stored time is what the run is claimed by; waiting for it would take minutes.
        let due = job(&runtime, &scope, &every.id)
            .await
            .expect("is there")
            .next_run_at
            .expect("is planned");
        round(&runtime.directory, due).await.expect("looks");
        sessions = ended(&runtime, &scope, count).await;
        assert_eq!(
            asked(&runtime, &scope, &key).await.len(),
            1,
            "one question per transcript"
        );
    }
    assert_ne!(sessions[0].session_id, sessions[1].session_id);
}

fn open(manual: bool) -> cron_run::Model {
    cron_run::Model {
        tenant_id: "t".into(),
        user_id: "u".into(),
        job_id: "j".to_owned(),
        scheduled_at: 1000,
        job_name: "n".to_owned(),
        agent_id: "main".to_owned(),
        session_key: "agent:main:cron:j".into(),
        manual,
        started_at: 1000,
        ended_at: None,
        status: None,
        error: None,
        summary: None,
        delivery: "not-requested".to_owned(),
        delivery_error: None,
        session_id: None,
        provider: None,
        model: None,
        usage: Value::Null,
        next_run_at: None,
        expires_at: None,
    }
}

fn stored(schedule: Value, errors: i64, delete: bool) -> Job {
    let definition = json!({"name": "n", "schedule": schedule, "sessionTarget": "isolated", "wakeMode": "now",
        "payload": {"kind": "agentTurn", "message": "m"}, "deleteAfterRun": delete,
        "delivery": {"mode": "announce", "channel": "telegram", "to": "1"}});
    Job {
        id: "j".to_owned(),
        definition: serde_json::from_value(definition).expect("a definition"),
        enabled: true,
        next_run_at: None,
        running_at: Some(1000),
        state: serde_json::from_value(json!({"consecutiveErrors": errors})).expect("a state"),
        epoch: 1,
        created_at: 0,
        updated_at: 0,
    }
}

fn over(status: &'static str, class: Option<&str>) -> Ended {
    Ended {
        status,
        error: (status == "error").then(|| "why".to_owned()),
        class: class.map(str::to_owned),
        text: None,
        files: Vec::new(),
        started_at: 1000,
        ended_at: 2000,
        session_id: None,
        provider: None,
        model: None,
        usage: Value::Null,
    }
}

/// The job after a run that ended at `now`.
fn after(job: Job, manual: bool, ended: Ended, now: i64) -> After {
    outcome(
        &open(manual),
        Some(job),
        ended,
        &Told::default(),
        &CronSettings::default(),
        now,
    )
    .1
}

fn kept(after: After) -> Job {
    let After::Keep(job) = after else {
        panic!("not kept: {after:?}");
    };
    job
}

#[test]
fn failures_in_a_row_make_the_pauses_longer_and_a_success_ends_that() {
    let now = 10_000_000;
    let every = json!({"kind": "every", "everyMs": 60_000, "anchorMs": 0});
    for (before, pause) in [
        (0, 30_000),
        (1, 60_000),
        (2, 300_000),
        (3, 900_000),
        (4, 3_600_000),
        (90, 3_600_000),
    ] {
        let job = kept(after(
            stored(every.clone(), before, false),
            false,
            over("error", None),
            now,
        ));
        let natural = 10_020_000;
        assert_eq!(job.next_run_at, Some((now + pause).max(natural)), "{before}");
        assert_eq!(
            (job.state.consecutive_errors, job.enabled, job.running_at),
            (before + 1, true, None)
        );
    }
    let job = kept(after(stored(every, 4, false), false, over("ok", None), now));
    assert_eq!((job.next_run_at, job.state.consecutive_errors), (Some(10_020_000), 0));
}

#[test]
fn a_cron_expression_does_not_fire_again_within_two_seconds() {
    let each_second = json!({"kind": "cron", "expr": "* * * * * *", "tz": "UTC", "staggerMs": 0});
    let job = kept(after(
        stored(each_second, 0, false),
        false,
        over("ok", None),
        10_000_000,
    ));
    assert_eq!(job.next_run_at, Some(10_003_000));
}

#[test]
fn a_one_shot_is_over_after_a_success_and_tried_again_only_when_that_may_help() {
    let now = 10_000_000;
    let at = json!({"kind": "at", "at": "1970-01-01T00:00:01Z"});
    assert!(matches!(
        after(stored(at.clone(), 0, true), false, over("ok", None), now),
        After::Delete(_)
    ));
    let off = kept(after(stored(at.clone(), 0, false), false, over("ok", None), now));
    assert_eq!((off.enabled, off.next_run_at), (false, None));
    for (before, pause) in [(0, 30_000), (1, 60_000), (2, 300_000)] {
        let job = kept(after(
            stored(at.clone(), before, true),
            false,
            over("error", Some("overloaded")),
            now,
        ));
        assert_eq!((job.enabled, job.next_run_at), (true, Some(now + pause)), "{before}");
    }
    for (before, class) in [(3, "overloaded"), (0, "auth"), (0, "interrupted")] {
        let job = kept(after(
            stored(at.clone(), before, true),
            false,
            over("error", Some(class)),
            now,
        ));
        assert_eq!((job.enabled, job.next_run_at), (false, None), "{before} {class}");
    }
    // Somebody asked for it before its time: it still has its time.
    let mut waiting = stored(at, 0, true);
    waiting.next_run_at = Some(now + 5);
    assert_eq!(
        kept(after(waiting, true, over("ok", None), now)).next_run_at,
        Some(now + 5)
    );
}

#[test]
fn an_answer_that_cannot_go_where_it_should_is_a_failure_unless_that_was_allowed() {
    let told = Told {
        answer: Some(Err("no such chat".to_owned())),
        ..Told::default()
    };
    let every = json!({"kind": "every", "everyMs": 60_000, "anchorMs": 0});
    let check = |job: Job| {
        outcome(
            &open(false),
            Some(job),
            over("ok", None),
            &told,
            &CronSettings::default(),
            5000,
        )
        .0
    };
    let record = check(stored(every.clone(), 0, false));
    assert_eq!((record.ended.status, record.delivery), ("error", "not-delivered"));
    let mut lenient = stored(every.clone(), 0, false);
    if let Some(delivery) = &mut lenient.definition.delivery {
        delivery.best_effort = Some(true);
    }
    assert_eq!(check(lenient).ended.status, "ok");
    let mut last = stored(every, 0, false);
    if let Some(delivery) = &mut last.definition.delivery {
        delivery.target.channel = Some("last".to_owned());
    }
    let record = check(last);
    assert_eq!((record.ended.status, record.delivery), ("ok", "not-delivered"));
}

#[actix::test]
async fn a_job_that_cannot_be_read_holds_up_nobody() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let broken = add(
        &runtime,
        &scope,
        json!({"name": "broken", "everyMs": 60_000, "message": "m"}),
    )
    .await;
    let sound = add(
        &runtime,
        &scope,
        json!({"name": "sound", "everyMs": 60_000, "message": "m"}),
    )
    .await;
    let tx = runtime.services.db.write(&scope).await.expect("writes");
    cron_job::Entity::update_owned(&scope)
        .col_expr(cron_job::Column::Definition, Expr::value(json!({"name": 7})))
        .filter(cron_job::Column::Id.eq(broken.id.as_str()))
        .exec(&*tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
    let due = now_ms() + 60_000;
    round(&runtime.directory, due).await.expect("looks");
    assert_eq!(
        round(&runtime.directory, due).await.expect("looks"),
        1000,
        "nothing is due any more"
    );
    let found = ended(&runtime, &scope, 1).await;
    assert_eq!((found.len(), &found[0].job_id), (1, &sound.id));
}

#[actix::test]
async fn the_log_of_jobs_that_are_gone_has_an_end() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let kept = i64::try_from(store::LOG_KEPT).expect("fits");
    let rows: Vec<cron_run::ActiveModel> = (0..kept + 700)
        .map(|number| {
            let row = cron_run::Model {
                tenant_id: scope.tenant().clone(),
                user_id: scope.user().clone(),
                job_id: format!("gone{number}"),
                ended_at: Some(number),
                ..open(false)
            };
            sea_orm::ActiveModelTrait::reset_all(cron_run::ActiveModel::from(row))
        })
        .collect();
    let tx = runtime.services.db.write(&scope).await.expect("writes");
    for some in rows.chunks(500) {
        cron_run::Entity::insert_many(some.to_vec())
            .exec_without_returning(&*tx)
            .await
            .expect("inserts");
    }
    tx.commit().await.expect("commits");
    let trim = async || {
        let tx = runtime.services.db.write(&scope).await.expect("writes");
        store::trim_log(&*tx, &scope).await.expect("trims");
        tx.commit().await.expect("commits");
        let mut left: Vec<i64> = runs(&runtime, &scope)
            .await
            .iter()
            .filter_map(|run| run.ended_at)
            .collect();
        left.sort_unstable();
        (left.len(), left[0])
    };
    let all = rows.len();
    assert_eq!(trim().await, (all - 501, 501), "a bounded number at a time, the oldest");
    assert_eq!(trim().await, (all - 700, 700));
    assert_eq!(trim().await, (all - 700, 700), "what is kept");
}

#[actix::test]
async fn a_firing_whose_end_can_never_be_stored_is_given_up_and_frees_its_job() {
    let runtime = runtime().await;
    let scope = runtime.owner("acme").await;
    let every = add(
        &runtime,
        &scope,
        json!({"name": "n", "everyMs": 60_000, "message": "m"}),
    )
    .await;
    let (_, run_id) = left_open(&runtime, &scope, &every.id).await;
    settle_row(&runtime, &scope, &run_id).await;
    // Nobody can read this record.
    let tx = runtime.services.db.write(&scope).await.expect("writes");
    run::Entity::update_owned(&scope)
        .col_expr(run::Column::Result, Expr::value("{"))
        .filter(run::Column::Id.eq(run_id.as_str()))
        .exec(&*tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
    for _ in 1..MOST_TRIES {
        reconcile(&runtime.directory).await.expect("looks");
    }
    assert_eq!(runs(&runtime, &scope).await[0].ended_at, None);
    reconcile(&runtime.directory).await.expect("looks");
    let found = runs(&runtime, &scope).await;
    assert_eq!(
        (found[0].status.as_deref(), found[0].error.as_deref()),
        (Some("error"), Some(GIVEN_UP))
    );
    let after = job(&runtime, &scope, &every.id).await.expect("is there");
    assert_eq!(after.running_at, None, "the job goes on");
    assert_eq!(reconcile(&runtime.directory).await.expect("looks"), 0, "it is over");
}
