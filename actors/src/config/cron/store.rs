//! Jobs are added, changed and removed.

use chrono_tz::Tz;
use claw_entities::{Scope, TenantOwned, TenantScope, UserId, UserOwned, cron_job, cron_run, user};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    Set,
};
use serde_json::{Value, json};

use super::CronLimits;
use super::draft::{self, Facts};
use super::job::{Definition, Job, State};
use super::schedule::Schedule;
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::error::{Error, Result};

/// Log entries kept of one job, and of all together that are gone.
pub(crate) const LOG_KEPT: u64 = 2000;
/// Log entries of such jobs deleted in one go.
const TRIMMED_AT_ONCE: u64 = 500;
const GONE: Error = Error::NotFound { what: "cron job" };
const CHANGED: &str = "cron job changed since last load; re-run cron.get and retry";
/// How often a change is tried again when a run of the job came in between.
const TRIES: usize = 5;

impl ConfigService {
    /// The user's jobs, oldest first.
    pub async fn cron_jobs(&self, scope: &Scope) -> Result<Vec<Job>> {
        let view = self.db.glance(scope).await?;
        let rows = cron_job::Entity::owned_by(scope)
            .order_by_asc(cron_job::Column::CreatedAt)
            .order_by_asc(cron_job::Column::Id)
            .all(&view)
            .await?;
        rows.into_iter().map(read).collect()
    }

    /// One job.
    pub async fn cron_job(&self, scope: &Scope, id: &str) -> Result<Option<Job>> {
        find(&self.db.glance(scope).await?, scope, id).await
    }

    /// Adds a job. A job with the `declarationKey` of another one takes its place. `Invalid` says what is wrong.
    pub async fn add_cron_job(&self, scope: &Scope, given: &Value, limits: CronLimits) -> Result<Job> {
        self.insert_cron_job(scope, uuid::Uuid::new_v4().to_string(), given, limits)
            .await
    }

    /// Adds a job under the id it had elsewhere. False when there is one of this id already, which stays as it is.
    pub async fn restore_cron_job(&self, scope: &Scope, id: &str, given: &Value, limits: CronLimits) -> Result<bool> {
        if self.cron_job(scope, id).await?.is_some() {
            return Ok(false);
        }
        self.insert_cron_job(scope, id.to_owned(), given, limits).await?;
        Ok(true)
    }

    async fn insert_cron_job(&self, scope: &Scope, id: String, given: &Value, limits: CronLimits) -> Result<Job> {
        let now = now_ms();
        let mut definition = self
            .with_facts(scope, now, limits, |facts| draft::read(given, facts))
            .await?;
        let enabled = given.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        if let Some(key) = &definition.declaration_key {
            let known = self.cron_jobs(scope).await?;
            let same = |job: &&Job| job.definition.declaration_key.as_ref() == Some(key);
            if let Some(job) = known.iter().find(same) {
                // The same interval said again goes on counting from where it did.
                if let (
                    Schedule::Every { every_ms, anchor_ms },
                    Schedule::Every {
                        every_ms: known,
                        anchor_ms: anchor,
                    },
                ) = (&mut definition.schedule, &job.definition.schedule)
                    && *every_ms == *known
                    && given["schedule"]["anchorMs"].is_null()
                {
                    *anchor_ms = *anchor;
                }
                let (job, changed) = replaced(job.clone(), definition, enabled, now)?;
                if changed && !self.write(scope, &job).await? {
                    return Err(Error::Conflict(CHANGED.to_owned()));
                }
                return self.cron_job(scope, &job.id).await?.ok_or(GONE);
            }
        }
        let next = if enabled {
            definition.schedule.first(&id, now).map_err(Error::Invalid)?
        } else {
            None
        };
        let row = cron_job::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            id: Set(id.clone()),
            definition: Set(json!(definition)),
            enabled: Set(enabled),
            next_run_at: Set(next),
            running_at: Set(None),
            state: Set(json!({})),
            epoch: Set(1),
            held: Set(false),
            created_at: Set(now),
            updated_at: Set(now),
        };
        let tx = self.db.write(scope).await?;
        lock(&*tx, scope).await?;
        let there = cron_job::Entity::owned_by(scope).count(&*tx).await?;
        if there >= limits.jobs as u64 {
            return Err(Error::Invalid(format!(
                "there are {there} cron jobs already, the limit is {}: remove one first",
                limits.jobs
            )));
        }
        cron_job::Entity::insert(row).exec_without_returning(&*tx).await?;
        tx.commit().await?;
        self.cron_job(scope, &id).await?.ok_or(GONE)
    }

    /// Changes a job by the patch of `cron.update`. `expected` is the revision the caller knows.
    pub async fn update_cron_job(
        &self,
        scope: &Scope,
        id: &str,
        patch: &Value,
        expected: Option<&str>,
        limits: CronLimits,
    ) -> Result<Job> {
        for _ in 0..TRIES {
            let job = self.cron_job(scope, id).await?.ok_or(GONE)?;
            if expected.is_some_and(|expected| expected != job.revision()) {
                return Err(Error::invalid(CHANGED));
            }
            let now = now_ms();
            let definition = self
                .with_facts(scope, now, limits, |facts| draft::change(&job.definition, patch, facts))
                .await?;
            let enabled = patch.get("enabled").and_then(Value::as_bool).unwrap_or(job.enabled);
            let (job, changed) = replaced(job, definition, enabled, now)?;
            if !changed || self.write(scope, &job).await? {
                return self.cron_job(scope, id).await?.ok_or(GONE);
            }
        }
        Err(Error::Conflict(CHANGED.to_owned()))
    }

    /// Removes a job; its log stays. False when there is none. A run that goes on ends as it would have.
    pub async fn remove_cron_job(&self, scope: &Scope, id: &str) -> Result<Option<Job>> {
        let Some(job) = self.cron_job(scope, id).await? else {
            return Ok(None);
        };
        let tx = self.db.write(scope).await?;
        let done = cron_job::Entity::delete_owned(scope)
            .filter(cron_job::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        trim_log(&*tx, scope).await?;
        tx.commit().await?;
        Ok((done.rows_affected == 1).then_some(job))
    }

    async fn with_facts<T>(
        &self,
        scope: &Scope,
        now: i64,
        limits: CronLimits,
        read: impl FnOnce(&Facts<'_>) -> std::result::Result<T, String>,
    ) -> Result<T> {
        let settings = self.settings(scope).await?;
        let zone = self.cron_zone(scope).await?;
        read(&Facts {
            settings: &settings,
            zone,
            now,
            shortest: limits.interval_ms,
            ahead: limits.ahead_ms,
            by_model: limits.by_model,
        })
        .map_err(Error::Invalid)
    }

    /// The user's zone; UTC while there is none.
    pub(crate) async fn cron_zone(&self, scope: &Scope) -> Result<Tz> {
        Ok(self.settings(scope).await?.zone())
    }

    /// Writes a job that was read under `job.epoch`. False when somebody else changed it meanwhile.
    async fn write(&self, scope: &Scope, job: &Job) -> Result<bool> {
        let tx = self.db.write(scope).await?;
        let done = cron_job::Entity::update_owned(scope)
            .col_expr(cron_job::Column::Definition, Expr::value(json!(job.definition)))
            .col_expr(cron_job::Column::Enabled, Expr::value(job.enabled))
            .col_expr(cron_job::Column::NextRunAt, Expr::value(job.next_run_at))
            .col_expr(cron_job::Column::State, Expr::value(json!(job.state)))
            .col_expr(cron_job::Column::UpdatedAt, Expr::value(job.updated_at))
            .col_expr(cron_job::Column::Epoch, Expr::value(job.epoch + 1))
            .filter(cron_job::Column::Id.eq(job.id.as_str()))
            .filter(cron_job::Column::Epoch.eq(job.epoch))
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected == 1)
    }
}

/// The job with what was chosen anew, and whether that changes anything.
fn replaced(mut job: Job, definition: Definition, enabled: bool, now: i64) -> Result<(Job, bool)> {
    if job.definition == definition && job.enabled == enabled {
        return Ok((job, false));
    }
    let rescheduled = job.definition.schedule != definition.schedule || job.enabled != enabled;
    job.definition = definition;
    job.enabled = enabled;
    job.updated_at = now;
    if rescheduled {
        job.state = State {
            schedule_activated_at_ms: Some(now),
            consecutive_errors: 0,
            schedule_error_count: 0,
            ..job.state
        };
        let schedule = &job.definition.schedule;
        let spent = schedule.is_once()
            && job.state.last_run_status.as_deref() == Some("ok")
            && job.state.last_scheduled_at == schedule.first(&job.id, now).map_err(Error::Invalid)?;
        job.next_run_at = if enabled && !spent {
            schedule.first(&job.id, now).map_err(Error::Invalid)?
        } else {
            None
        };
    }
    Ok((job, true))
}

/// Deletes the oldest log entries of jobs that are gone, beyond what is kept of them together, a bounded number at a
/// time. What still has a transcript to delete stays until that is done.
pub(crate) async fn trim_log(tx: &impl ConnectionTrait, scope: &Scope) -> Result<()> {
    let gone = || {
        cron_run::Entity::owned_by(scope)
            .select_only()
            .column(cron_run::Column::EndedAt)
            .filter(is_of_no_job())
    };
    let at = async |rows: Select<cron_run::Entity>, place: u64| -> Result<Option<i64>> {
        let found: Option<Option<i64>> = rows.offset(place).limit(1).into_tuple().one(tx).await?;
        Ok(found.flatten())
    };
    let Some(newest) = at(gone().order_by_desc(cron_run::Column::EndedAt), LOG_KEPT).await? else {
        return Ok(());
    };
    let some = at(gone().order_by_asc(cron_run::Column::EndedAt), TRIMMED_AT_ONCE).await?;
    cron_run::Entity::delete_owned(scope)
        .filter(is_of_no_job())
        .filter(cron_run::Column::EndedAt.lte(some.map_or(newest, |some| some.min(newest))))
        .exec(tx)
        .await?;
    Ok(())
}

fn is_of_no_job() -> Condition {
    Condition::all()
        .add(cron_run::Column::EndedAt.is_not_null())
        .add(cron_run::Column::ExpiresAt.is_null())
        .add(Expr::cust(
            "NOT EXISTS (SELECT 1 FROM cron_job WHERE cron_job.tenant_id = cron_run.tenant_id \
             AND cron_job.user_id = cron_run.user_id AND cron_job.id = cron_run.job_id)",
        ))
}

/// Makes additions of one user wait for each other, so that the limit holds. SQLite has one writer anyway.
async fn lock(tx: &impl ConnectionTrait, scope: &Scope) -> Result<()> {
    user::Entity::update_owned(scope)
        .col_expr(user::Column::TimeZone, Expr::col(user::Column::TimeZone))
        .exec(tx)
        .await?;
    Ok(())
}

/// Lets jobs that came due during a lock-out go on: of one user, or of the whole tenant.
pub(in crate::config) async fn release_jobs(
    tx: &impl ConnectionTrait,
    tenant: &TenantScope,
    user: Option<&UserId>,
) -> Result<()> {
    let mut release = cron_job::Entity::update_of_tenant(tenant)
        .col_expr(cron_job::Column::Held, Expr::value(false))
        .filter(cron_job::Column::Held.eq(true));
    if let Some(user) = user {
        release = release.filter(cron_job::Column::UserId.eq(user.clone()));
    }
    release.exec(tx).await?;
    Ok(())
}

pub(crate) async fn find(tx: &impl ConnectionTrait, scope: &Scope, id: &str) -> Result<Option<Job>> {
    let row = cron_job::Entity::owned_by(scope)
        .filter(cron_job::Column::Id.eq(id))
        .one(tx)
        .await?;
    row.map(read).transpose()
}

fn read(row: cron_job::Model) -> Result<Job> {
    Job::try_from(row).map_err(Error::internal)
}
