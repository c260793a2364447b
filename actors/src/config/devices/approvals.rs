//! Commands that wait for a person's word: one row each, decided once, denied by the clock.
//!
//! What was asked never changes after it was stored, so a decision is about exactly that. Callers give the time (epoch
//! milliseconds of the server), a client's clock counts for nothing.

use claw_entities::{Scope, UserOwned, approval, exec_run};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::{Value, json};

use super::{exec_approvals, strings};
use crate::config::{ConfigService, audit};
use crate::error::{Error, Result};
use crate::gateway::exec_policy::Grant;

/// Requests of one user that may be open at the same time.
const MOST_OPEN: u64 = 100;
/// Requests of one user that are over and still known; the oldest go first.
const MOST_ENDED: u64 = 400;
/// How long a row stays after its time, milliseconds: its id cannot be used again before.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// The words a person may say.
pub const DECISIONS: [&str; 3] = ["allow-once", ALWAYS, "deny"];

/// Also from now on, where that can be remembered.
pub const ALWAYS: &str = "allow-always";

/// Why a request ended.
pub mod reason {
    pub const USER: &str = "user";
    pub const TIMEOUT: &str = "timeout";
    pub const NO_ROUTE: &str = "no-approval-route";
    pub const WITHDRAWN: &str = "withdrawn";
}

/// A request to store.
#[derive(Clone, Debug)]
pub struct NewApproval {
    pub id: String,
    pub request: Value,
    /// Devices that alone may see and decide it; empty: every approver of the user.
    pub reviewers: Vec<String>,
    pub created_at: i64,
    pub expires_at: i64,
}

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub struct Decider<'a> {
    pub name: &'a str,
    pub device_id: Option<&'a str>,
    /// Holds `operator.admin`.
    pub admin: bool,
}

/// Field of a stored request that says who asked. Clients cannot set it.
pub(crate) const ASKED_BY: &str = "askedBy";
/// A run of the user's own.
pub(crate) const RUN: &str = "run";

/// Does "always" about this request stand. What a client says of a program on a node is only its word: to put that on
/// an allowlist takes an admin, as `exec.approvals.set` does.
pub(crate) fn may_say_always(request: &Value, admin: bool) -> bool {
    admin || request["host"] != "node" || request[ASKED_BY] == RUN
}

/// How long a decision can be used at least (`agent-runtime` §13.5).
const GRACE_MS: i64 = 15_000;

/// What became of a decision.
#[derive(Clone, Debug)]
pub enum Decided {
    Now(approval::Model),
    /// Somebody was faster, with this.
    Before(approval::Model),
    /// The request does not take this word.
    NotAllowed,
    /// No such request, or its time is over, or it is for other devices.
    Unknown,
}

impl ConfigService {
    /// Stores a request. `Invalid` when its id is taken, `Busy` when too many of the user's are open.
    pub async fn open_approval(&self, scope: &Scope, new: NewApproval) -> Result<approval::Model> {
        self.open_approval_of(scope, new, None).await
    }

    /// As [`ConfigService::open_approval`], with the command that goes on by itself when it is decided: both are stored,
    /// or neither is.
    pub async fn open_approval_of(
        &self,
        scope: &Scope,
        new: NewApproval,
        command: Option<exec_run::ActiveModel>,
    ) -> Result<approval::Model> {
        let taken = || Error::invalid("approval id already pending");
        let tx = self.db.write(scope).await?;
        approval::Entity::delete_owned(scope)
            .filter(approval::Column::ExpiresAt.lte(new.created_at - KEPT_MS))
            .exec(&*tx)
            .await?;
        forget_surplus(&*tx, scope, new.created_at).await?;
        if find(&*tx, scope, &new.id).await?.is_some() {
            return Err(taken());
        }
        if open(scope, new.created_at).count(&*tx).await? >= MOST_OPEN {
            return Err(Error::Busy {
                message: "too many approvals are open".to_owned(),
                retry_after: std::time::Duration::from_secs(10),
            });
        }
        let reviewers = if new.reviewers.is_empty() {
            Value::Null
        } else {
            json!(new.reviewers)
        };
        let row = approval::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            id: new.id,
            request: new.request,
            reviewers,
            created_at: new.created_at,
            expires_at: new.expires_at,
            decision: None,
            reason: None,
            resolved_by: None,
            resolved_at: None,
            consumed_at: None,
        };
        let inserted = approval::Entity::insert(approval::ActiveModel::from(row.clone()))
            .exec_without_returning(&*tx)
            .await;
        inserted.map_err(|error| {
            let error = Error::from(error);
            if matches!(error, Error::Conflict(_)) {
                taken()
            } else {
                error
            }
        })?;
        if let Some(command) = command {
            exec_run::Entity::insert(command).exec_without_returning(&*tx).await?;
        }
        tx.commit().await?;
        Ok(row)
    }

    /// One request, open or not.
    pub async fn approval(&self, scope: &Scope, id: &str) -> Result<Option<approval::Model>> {
        let tx = self.db.read(scope).await?;
        let row = find(&*tx, scope, id).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Requests that this device may decide now, oldest first.
    pub async fn open_approvals(
        &self,
        scope: &Scope,
        device_id: Option<&str>,
        now: i64,
    ) -> Result<Vec<approval::Model>> {
        let tx = self.db.read(scope).await?;
        let rows = open(scope, now)
            .order_by_asc(approval::Column::CreatedAt)
            .order_by_asc(approval::Column::Id)
            .all(&*tx)
            .await?;
        tx.commit().await?;
        Ok(rows.into_iter().filter(|row| may_review(row, device_id)).collect())
    }

    /// Decides a request. The first word stands for good. "Always" about a program on a node puts it on the agent's
    /// allowlist, in the same transaction: `TooLarge` when that has no room, and then nothing is decided. Where it
    /// cannot be remembered it is `allow-once`.
    pub async fn decide_approval(
        &self,
        scope: &Scope,
        id: &str,
        decision: &str,
        by: Decider<'_>,
        now: i64,
    ) -> Result<Decided> {
        let settings = self.settings(scope).await?;
        let tx = self.db.write(scope).await?;
        let Some(row) = find(&*tx, scope, id).await?.filter(|row| may_review(row, by.device_id)) else {
            return Ok(Decided::Unknown);
        };
        if row.resolved_at.is_some() {
            return Ok(if row.decision.is_some() {
                Decided::Before(row)
            } else {
                Decided::Unknown
            });
        }
        if !strings(&row.request["allowedDecisions"])
            .iter()
            .any(|word| word == decision)
        {
            return Ok(Decided::NotAllowed);
        }
        let remembered = decision == ALWAYS && may_say_always(&row.request, by.admin);
        let grant = Grant::of(&row.request).filter(|grant| remembered && settings.has_agent(grant.agent_id));
        // Whoever asked about a command elsewhere remembers the word.
        let decision = if decision == ALWAYS && grant.is_none() && row.request["host"] == "node" {
            "allow-once"
        } else {
            decision
        };
        let done = open_update(scope, id)
            .filter(approval::Column::ExpiresAt.gt(now))
            .col_expr(approval::Column::Decision, Expr::value(decision))
            .col_expr(approval::Column::Reason, Expr::value(reason::USER))
            .col_expr(approval::Column::ResolvedBy, Expr::value(by.name))
            .col_expr(approval::Column::ResolvedAt, Expr::value(now))
            // A yes at the last moment still has to reach whoever waits for it.
            .col_expr(
                approval::Column::ExpiresAt,
                Expr::value(row.expires_at.max(now + GRACE_MS)),
            )
            .exec(&*tx)
            .await?;
        // The row as it is now: ours, or that of whoever was faster.
        let decided = find(&*tx, scope, id).await?;
        if done.rows_affected == 0 {
            return Ok(match decided.filter(|row| row.decision.is_some()) {
                Some(row) => Decided::Before(row),
                None => Decided::Unknown,
            });
        }
        let (tenant, actor) = (scope.tenant_scope(), self.actor_or(scope));
        audit::append(&*tx, tenant, actor, "exec.approval", id, json!({"decision": decision})).await?;
        if let Some(grant) = grant {
            exec_approvals::allow(&*tx, scope, &grant).await?;
            let what = json!({"program": grant.program, "agent": grant.agent_id});
            audit::append(&*tx, tenant, actor, "exec_approvals.allow", id, what).await?;
        }
        tx.commit().await?;
        Ok(decided.map_or(Decided::Unknown, Decided::Now))
    }

    /// Ends a request that nobody decided. Does nothing to one that is decided.
    pub async fn end_approval(&self, scope: &Scope, id: &str, reason: &str, now: i64) -> Result<()> {
        let tx = self.db.write(scope).await?;
        open_update(scope, id)
            .col_expr(approval::Column::Reason, Expr::value(reason))
            .col_expr(approval::Column::ResolvedAt, Expr::value(now))
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the one use of an `allow-once`. False when it is gone, or its time is over.
    pub async fn use_approval(&self, scope: &Scope, id: &str, now: i64) -> Result<bool> {
        let tx = self.db.write(scope).await?;
        let done = approval::Entity::update_owned(scope)
            .filter(approval::Column::Id.eq(id))
            .filter(approval::Column::Decision.eq("allow-once"))
            .filter(approval::Column::ConsumedAt.is_null())
            .filter(approval::Column::ExpiresAt.gt(now))
            .col_expr(approval::Column::ConsumedAt, Expr::value(now))
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected == 1)
    }
}

/// May this device see the request and decide it.
pub fn may_review(row: &approval::Model, device_id: Option<&str>) -> bool {
    row.reviewers.is_null() || device_id.is_some_and(|id| strings(&row.reviewers).iter().any(|reviewer| reviewer == id))
}

fn open(scope: &Scope, now: i64) -> sea_orm::Select<approval::Entity> {
    approval::Entity::owned_by(scope)
        .filter(approval::Column::ResolvedAt.is_null())
        .filter(approval::Column::ExpiresAt.gt(now))
}

fn open_update(scope: &Scope, id: &str) -> sea_orm::UpdateMany<approval::Entity> {
    approval::Entity::update_owned(scope)
        .filter(approval::Column::Id.eq(id))
        .filter(approval::Column::ResolvedAt.is_null())
}

/// Lets the oldest requests that are over go, as far as there are too many. A word that was given and not used goes with
/// its request: the command does not run then.
async fn forget_surplus(tx: &impl ConnectionTrait, scope: &Scope, now: i64) -> Result<()> {
    let over = || {
        Condition::any()
            .add(approval::Column::ResolvedAt.is_not_null())
            .add(approval::Column::ExpiresAt.lte(now))
    };
    let first_to_go: Option<i64> = approval::Entity::owned_by(scope)
        .select_only()
        .column(approval::Column::CreatedAt)
        .filter(over())
        .order_by_desc(approval::Column::CreatedAt)
        .offset(MOST_ENDED)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    if let Some(created_at) = first_to_go {
        approval::Entity::delete_owned(scope)
            .filter(over())
            .filter(approval::Column::CreatedAt.lte(created_at))
            .exec(tx)
            .await?;
    }
    Ok(())
}

async fn find(tx: &impl ConnectionTrait, scope: &Scope, id: &str) -> Result<Option<approval::Model>> {
    Ok(approval::Entity::owned_by(scope)
        .filter(approval::Column::Id.eq(id))
        .one(tx)
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::identity::Role;
    use crate::config::testing::{self, Server};

    const LATER: i64 = 1_000;

    async fn start() -> (Server, Scope) {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        (server, owner)
    }

    fn new(id: &str) -> NewApproval {
        NewApproval {
            id: id.to_owned(),
            request: json!({"command": "echo hi", "allowedDecisions": DECISIONS}),
            reviewers: Vec::new(),
            created_at: 0,
            expires_at: LATER,
        }
    }

    fn by(device_id: Option<&str>) -> Decider<'_> {
        Decider {
            name: "cli",
            device_id,
            admin: true,
        }
    }

    async fn decide(config: &ConfigService, scope: &Scope, id: &str, word: &str, now: i64) -> Decided {
        let decided = config.decide_approval(scope, id, word, by(None), now).await;
        decided.expect("the database answers")
    }

    #[tokio::test]
    async fn the_first_word_stands() {
        let (server, owner) = start().await;
        let config = &server.config;
        config.open_approval(&owner, new("a")).await.expect("opens");
        let other = server.another_process();
        let (one, two) = tokio::join!(
            decide(config, &owner, "a", "allow-once", 1),
            decide(&other, &owner, "a", "deny", 1)
        );
        let winners = [&one, &two].iter().filter(|one| matches!(one, Decided::Now(_))).count();
        assert_eq!(winners, 1, "{one:?} {two:?}");
        let row = config.approval(&owner, "a").await.expect("reads").expect("is there");
        let (Decided::Now(won), Decided::Before(seen)) = (match one {
            Decided::Now(_) => (one, two),
            Decided::Before(_) | Decided::NotAllowed | Decided::Unknown => (two, one),
        }) else {
            panic!("one decides, the other hears of it");
        };
        assert_eq!(
            (won.decision.clone(), seen.decision),
            (row.decision.clone(), won.decision)
        );
        assert!(matches!(
            decide(config, &owner, "a", "deny", 2).await,
            Decided::Before(_)
        ));
        assert_eq!(config.approval(&owner, "a").await.expect("reads"), Some(row));
    }

    #[tokio::test]
    async fn nothing_is_allowed_from_its_last_moment_on() {
        let (server, owner) = start().await;
        let config = &server.config;
        config.open_approval(&owner, new("a")).await.expect("opens");
        assert_eq!(
            config
                .open_approvals(&owner, None, LATER - 1)
                .await
                .expect("lists")
                .len(),
            1
        );
        assert_eq!(
            config.open_approvals(&owner, None, LATER).await.expect("lists").len(),
            0
        );
        assert!(matches!(
            decide(config, &owner, "a", "allow-once", LATER).await,
            Decided::Unknown
        ));
        config
            .end_approval(&owner, "a", reason::TIMEOUT, LATER)
            .await
            .expect("ends");
        assert!(matches!(
            decide(config, &owner, "a", "allow-once", 1).await,
            Decided::Unknown
        ));
        let row = config.approval(&owner, "a").await.expect("reads").expect("is there");
        assert_eq!((row.decision, row.reason.as_deref()), (None, Some("timeout")));
        // An allowed one that was not used in time is worth nothing either.
        config.open_approval(&owner, new("b")).await.expect("opens");
        assert!(matches!(
            decide(config, &owner, "b", "allow-once", 1).await,
            Decided::Now(_)
        ));
        assert!(!config.use_approval(&owner, "b", 1 + GRACE_MS).await.expect("asks"));
        // A yes at the last moment still reaches whoever waits for it.
        config.open_approval(&owner, new("c")).await.expect("opens");
        assert!(matches!(
            decide(config, &owner, "c", "allow-once", LATER - 1).await,
            Decided::Now(_)
        ));
        assert!(config.use_approval(&owner, "c", LATER + 1_000).await.expect("asks"));
    }

    #[tokio::test]
    async fn allow_once_is_used_once() {
        let (server, owner) = start().await;
        let config = &server.config;
        config.open_approval(&owner, new("a")).await.expect("opens");
        assert!(!config.use_approval(&owner, "a", 1).await.expect("asks"), "not decided");
        decide(config, &owner, "a", "allow-once", 1).await;
        let other = server.another_process();
        let (one, two) = tokio::join!(config.use_approval(&owner, "a", 2), other.use_approval(&owner, "a", 2));
        assert!(one.expect("asks") ^ two.expect("asks"));
    }

    #[tokio::test]
    async fn an_id_is_unique_for_its_user_and_nobody_elses_business() {
        let (server, owner) = start().await;
        let config = &server.config;
        let colleague = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        let beta = testing::tenant(config, "beta").await;
        let stranger = testing::user(config, &beta, "b@beta.test", Role::Owner).await;
        config.open_approval(&owner, new("a")).await.expect("opens");
        let twice = config.open_approval(&owner, new("a")).await.expect_err("is taken");
        assert_eq!(twice.to_string(), "approval id already pending");
        for other in [&colleague, &stranger] {
            assert_eq!(config.approval(other, "a").await.expect("reads"), None);
            assert!(matches!(decide(config, other, "a", "deny", 1).await, Decided::Unknown));
            config
                .end_approval(other, "a", reason::TIMEOUT, 1)
                .await
                .expect("does nothing");
            config.open_approval(other, new("a")).await.expect("their own");
        }
        assert!(matches!(decide(config, &owner, "a", "deny", 1).await, Decided::Now(_)));
    }

    #[tokio::test]
    async fn reviewers_and_allowed_words_are_kept_to() {
        let (server, owner) = start().await;
        let config = &server.config;
        let mut narrow = new("a");
        narrow.reviewers = vec!["phone".to_owned()];
        narrow.request["allowedDecisions"] = json!(["allow-once", "deny"]);
        config.open_approval(&owner, narrow).await.expect("opens");
        for device in [None, Some("laptop")] {
            assert!(
                config
                    .open_approvals(&owner, device, 1)
                    .await
                    .expect("lists")
                    .is_empty()
            );
            let decided = config.decide_approval(&owner, "a", "deny", by(device), 1).await;
            assert!(matches!(decided.expect("answers"), Decided::Unknown));
        }
        let always = config
            .decide_approval(&owner, "a", "allow-always", by(Some("phone")), 1)
            .await;
        assert!(matches!(always.expect("answers"), Decided::NotAllowed));
        let once = config
            .decide_approval(&owner, "a", "allow-once", by(Some("phone")), 1)
            .await;
        assert!(matches!(once.expect("answers"), Decided::Now(_)));
    }

    #[tokio::test]
    async fn no_more_than_a_hundred_wait() {
        let (server, owner) = start().await;
        let config = &server.config;
        for at in 0..MOST_OPEN {
            config.open_approval(&owner, new(&at.to_string())).await.expect("opens");
        }
        let more = config.open_approval(&owner, new("more")).await;
        assert!(matches!(more, Err(Error::Busy { .. })));
        let mut late = new("late");
        (late.created_at, late.expires_at) = (LATER, 2 * LATER);
        config.open_approval(&owner, late).await.expect("the others are over");
    }

    #[tokio::test]
    async fn what_is_over_is_bounded_and_what_is_open_stays() {
        let (server, owner) = start().await;
        let config = &server.config;
        let colleague = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        config.open_approval(&colleague, new("theirs")).await.expect("opens");
        decide(config, &colleague, "theirs", "deny", 1).await;
        let mut long = new("open");
        long.expires_at = i64::MAX;
        config.open_approval(&owner, long).await.expect("opens");
        let most = i64::try_from(MOST_ENDED).expect("a small number");
        for at in 1..=most + 3 {
            // Long lived ones that were decided at once are over, too.
            let mut row = new(&at.to_string());
            (row.created_at, row.expires_at) = (at, KEPT_MS);
            config.open_approval(&owner, row).await.expect("opens");
            decide(config, &owner, &at.to_string(), "deny", at).await;
        }
        config.open_approval(&owner, new("last")).await.expect("opens");
        let known = async |id: &str| config.approval(&owner, id).await.expect("reads").is_some();
        for (id, expected) in [("1", false), ("3", false), ("4", true), ("open", true), ("last", true)] {
            assert_eq!(known(id).await, expected, "{id}");
        }
        let theirs = config.approval(&colleague, "theirs").await.expect("reads");
        assert!(theirs.is_some(), "another user's are counted apart");
    }

    #[tokio::test]
    async fn always_is_remembered_with_the_decision_and_for_its_owner_alone() {
        let (server, owner) = start().await;
        let config = &server.config;
        let colleague = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        let about = |id: &str, program: &str| {
            let mut row = new(id);
            row.request["host"] = json!("node");
            row.request["agentId"] = json!("main");
            row.request["resolvedPath"] = json!(program);
            row
        };
        for (id, program) in [
            ("a", "/usr/bin/a"),
            ("b", "/usr/bin/b"),
            ("c", "/usr/bin/c"),
            ("sh", "/bin/sh"),
        ] {
            config.open_approval(&owner, about(id, program)).await.expect("opens");
        }
        config.open_approval(&owner, new("elsewhere")).await.expect("opens");
        config
            .open_approval(&colleague, about("a", "/usr/bin/z"))
            .await
            .expect("opens");
        let other = server.another_process();
        // Two people at the same moment, and no file yet: neither word is lost.
        let (one, two) = tokio::join!(
            decide(config, &owner, "a", ALWAYS, 1),
            decide(&other, &owner, "b", ALWAYS, 1)
        );
        assert!(matches!((one, two), (Decided::Now(_), Decided::Now(_))));
        for (id, word) in [
            ("c", "allow-once"),
            ("sh", ALWAYS),
            ("elsewhere", ALWAYS),
            ("a", ALWAYS),
        ] {
            decide(config, &owner, id, word, 2).await;
        }
        let file = config.exec_approvals(&owner).await.expect("reads")["file"].take();
        let mut listed: Vec<&str> = file["agents"]["main"]["allowlist"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|entry| entry["pattern"].as_str())
            .collect();
        listed.sort_unstable();
        assert_eq!(listed, ["/usr/bin/a", "/usr/bin/b"], "{file}");
        assert_eq!(file["agents"]["main"]["allowlist"][0]["source"], "allow-always");
        let theirs = config.exec_approvals(&colleague).await.expect("reads");
        assert_eq!(theirs["exists"], false);
    }

    #[tokio::test]
    async fn who_invents_a_plan_and_says_always_allows_it_once() {
        let (server, owner) = start().await;
        let config = &server.config;
        for (id, asked_by, agent, admin, word) in [
            ("client", Value::Null, "main", false, "allow-once"),
            ("everybody", Value::Null, "*", true, "allow-once"),
            ("nobody", json!(RUN), "made-up", true, "allow-once"),
            ("admin", Value::Null, "main", true, ALWAYS),
            ("run", json!(RUN), "main", false, ALWAYS),
        ] {
            let mut row = new(id);
            row.request["host"] = json!("node");
            row.request["agentId"] = json!(agent);
            row.request["resolvedPath"] = json!(format!("/usr/bin/{id}"));
            row.request[ASKED_BY] = asked_by;
            config.open_approval(&owner, row).await.expect("opens");
            let by = Decider { admin, ..by(None) };
            let decided = config
                .decide_approval(&owner, id, ALWAYS, by, 1)
                .await
                .expect("decides");
            let Decided::Now(row) = decided else {
                panic!("{id}: {decided:?}");
            };
            assert_eq!(row.decision.as_deref(), Some(word), "{id}");
        }
        let file = config.exec_approvals(&owner).await.expect("reads")["file"].take();
        let agents = file["agents"].as_object().expect("agents");
        let patterns: Vec<_> = agents["main"]["allowlist"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|entry| entry["pattern"].as_str())
            .collect();
        assert_eq!(
            (agents.len(), patterns),
            (1, vec!["/usr/bin/admin", "/usr/bin/run"]),
            "{file}"
        );
    }

    #[tokio::test]
    async fn a_word_that_cannot_be_remembered_is_not_said() {
        let (server, owner) = start().await;
        let config = &server.config;
        let full = json!({"version": 1, "defaults": {"note": "x".repeat(256 * 1024 - 100)}});
        config.put_exec_approvals(&owner, full, None).await.expect("fits");
        let mut row = new("a");
        row.request["host"] = json!("node");
        row.request["agentId"] = json!("main");
        row.request["resolvedPath"] = json!("/usr/bin/a");
        config.open_approval(&owner, row).await.expect("opens");
        let refused = config.decide_approval(&owner, "a", ALWAYS, by(None), 1).await;
        assert!(matches!(refused, Err(Error::TooLarge(_))));
        assert!(matches!(
            decide(config, &owner, "a", "allow-once", 2).await,
            Decided::Now(_)
        ));
    }
}
