//! Group commit: durable writes of many tenants share one transaction.
//!
//! Single commits fall with the disk's mood, groups do not. Whatever waits when the previous commit returns (up to
//! `GROUP` jobs) goes into the next one; waiting for more would only keep the disk and the clients idle in turn. When
//! anything in a group fails, the group is rolled back and its jobs run again one by one, so one bad row hurts nobody
//! else. A job that PostgreSQL chose to break a deadlock is run again too.
//!
//! SQLite's groups are committed by a thread of their own, on a connection that needs no other thread (`direct`). There a
//! job that fails is undone alone. A job that reads is done after the others, over the driver's connection.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use claw_entities::{SessionKey, TenantId, TenantScope, UserId};
use futures::FutureExt;
use futures::future::BoxFuture;
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::checkpoint::Checkpoints;
use super::direct::{Bound, Direct};
use super::{Batch, Db, Scoped, Transaction, past_deadlocks, set_tenant};
use crate::clock::now_ms;
use crate::error::{Error, Result};

/// Most jobs in one transaction.
const GROUP: usize = 256;
/// Jobs that may wait; a full queue answers `Busy`.
const QUEUE: usize = 16_384;
/// Committing tasks on PostgreSQL at most, which has its own group commit. SQLite has one writer.
const POSTGRES_WORKERS: usize = 6;

/// A row to be accepted. See `inbox`.
#[derive(Clone, Debug)]
pub struct NewInbox {
    pub id: String,
    pub tenant: TenantId,
    pub user: UserId,
    pub source: String,
    pub account_id: String,
    pub event_key: String,
    pub session_key: SessionKey,
    pub payload: String,
    /// Settled on arrival, for this reason: it is on record, and nobody has to look at it.
    pub skipped: Option<&'static str>,
}

type Work = Box<dyn for<'a> Fn(&'a Transaction) -> BoxFuture<'a, Result<()>> + Send + Sync>;

enum Job {
    /// Rows of any tenant, inserted together.
    Inbox {
        rows: Vec<NewInbox>,
        fresh: oneshot::Sender<Result<HashSet<String>>>,
    },
    /// Anything else, within one tenant. `work` keeps its result until `done` says that it is committed.
    Work {
        scope: TenantScope,
        work: Work,
        done: oneshot::Sender<Result<()>>,
    },
}

/// Hands writes to the tasks that commit them in groups. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    inbox: mpsc::Sender<Job>,
    work: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Inbox { .. } => "Inbox",
            Self::Work { .. } => "Work",
        })
    }
}

impl Writer {
    /// Starts committing: on SQLite on a thread of its own, on PostgreSQL in tasks on the current tokio runtime. It ends
    /// when the last `Writer` is dropped. An error means that there is no thread to be had.
    pub fn start(db: Db) -> std::io::Result<Self> {
        let (work, jobs) = mpsc::channel(QUEUE);
        if db.backend() == DbBackend::Sqlite {
            commit_on_a_thread(db, jobs)?;
            return Ok(Self {
                inbox: work.clone(),
                work,
            });
        }
        let jobs = Arc::new(Mutex::new(jobs));
        // However much there is to write, half of the connections are left for those who read.
        let half = usize::try_from(db.connections() / 2).unwrap_or(1);
        for _ in 0..half.clamp(1, POSTGRES_WORKERS) {
            tokio::spawn(commit_loop(db.clone(), jobs.clone(), 32, false));
        }
        // Rows of several tenants in one statement are the system role's duty. Two tasks: one gathers while the
        // other waits for the disk.
        let (inbox, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..2 {
            tokio::spawn(commit_loop(db.clone(), jobs.clone(), GROUP, true));
        }
        Ok(Self { inbox, work })
    }

    /// Inserts rows under their unique keys and resolves after the commit with the ids that were new. A repeat of a
    /// known key is no error: its first copy is committed by then.
    pub async fn accept(&self, rows: Vec<NewInbox>) -> Result<HashSet<String>> {
        let (fresh, answer) = oneshot::channel();
        self.inbox.try_send(Job::Inbox { rows, fresh }).map_err(|_| full())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Runs `work` inside a group's transaction and resolves after the commit. An error of `work` undoes only its own
    /// writes. `work` must do nothing but database calls, and is called again when the group has to be retried.
    pub async fn run<T, F>(&self, scope: &impl Scoped, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a Transaction) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    {
        let slot = Arc::new(std::sync::Mutex::new(None));
        let kept = slot.clone();
        let work = Arc::new(work);
        let boxed: Work = Box::new(move |tx| {
            let (work, kept) = (work.clone(), kept.clone());
            Box::pin(async move {
                // A bug in one job must not end the thread that writes for all.
                let done = AssertUnwindSafe(async { work(tx).await }).catch_unwind().await;
                let value = done.map_err(|_| Error::internal("a write panicked"))??;
                *kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(value);
                Ok(())
            })
        });
        let (done, answer) = oneshot::channel();
        let job = Job::Work {
            scope: scope.tenant_scope().clone(),
            work: boxed,
            done,
        };
        self.work.try_send(job).map_err(|_| full())?;
        answer.await.map_err(|_| stopping())??;
        let value = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        value.ok_or_else(stopping)
    }

    /// As [`Self::run`], for writes that depend on nothing stored. Gives how many rows they touched.
    pub async fn add(&self, scope: &impl Scoped, add: impl Fn(&mut Batch) + Send + Sync + 'static) -> Result<u64> {
        let add = Arc::new(add);
        self.run(scope, move |tx| {
            let add = add.clone();
            Box::pin(async move {
                let mut batch = Batch::new(tx);
                add(&mut batch);
                Ok(batch.run(tx).await?)
            })
        })
        .await
    }
}

fn full() -> Error {
    Error::Busy {
        message: "too many writes are waiting for the database".to_owned(),
        retry_after: std::time::Duration::from_secs(1),
    }
}

fn stopping() -> Error {
    Error::Busy {
        message: "the service is restarting".to_owned(),
        retry_after: std::time::Duration::from_secs(1),
    }
}

/// Among the tasks of a busy runtime each step of a group would wait for its turn, and all tenants with it.
fn commit_on_a_thread(db: Db, jobs: mpsc::Receiver<Job>) -> std::io::Result<()> {
    let file = db.file.clone().ok_or_else(|| std::io::Error::other("not SQLite"))?;
    let direct = Direct::open(&file).map_err(std::io::Error::other)?;
    let checkpoints = Checkpoints::start(&file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("commit".to_owned());
    thread.spawn(move || runtime.block_on(commit_directly(db, direct, checkpoints, jobs)))?;
    Ok(())
}

async fn commit_directly(db: Db, direct: Direct, mut checkpoints: Checkpoints, mut jobs: mpsc::Receiver<Job>) {
    let tx = Transaction::Direct(direct.clone());
    let mut group = Vec::new();
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        let jobs = std::mem::take(&mut group);
        let (count, began) = (jobs.len(), Instant::now());
        let rest = directly(&db, &direct, &tx, jobs).await;
        if !rest.is_empty() {
            commit(&db, rest, false).await;
        }
        measure(count, began);
        checkpoints.after_commit(&direct);
    }
}

/// One transaction on this thread. Gives the jobs that are to be done over the driver's connection.
async fn directly(db: &Db, direct: &Direct, tx: &Transaction, jobs: Vec<Job>) -> Vec<Job> {
    let writing = db.writing.lock().await;
    match write_all(direct, tx, &jobs).await.and_then(|done| {
        direct.control("COMMIT")?;
        Ok(done)
    }) {
        Ok(written) => {
            drop(writing);
            let mut rest = Vec::new();
            for (job, outcome) in jobs.into_iter().zip(written.outcomes) {
                match outcome {
                    Some(Ok(())) => answer(vec![job], &written.fresh),
                    Some(Err(error)) => fail(vec![job], error),
                    None => rest.push(job),
                }
            }
            rest
        }
        Err(error) => {
            tracing::warn!(error = ?error, jobs = jobs.len(), "a group is written over the driver's connection");
            direct.leave();
            jobs
        }
    }
}

/// What a group came to before its commit.
struct Written {
    /// Inbox ids that were new.
    fresh: HashSet<String>,
    /// One for each job: none when it is to be done elsewhere.
    outcomes: Vec<Option<Result<()>>>,
}

async fn write_all(direct: &Direct, tx: &Transaction, jobs: &[Job]) -> Result<Written> {
    direct.control("BEGIN IMMEDIATE")?;
    let mut written = Written {
        fresh: HashSet::new(),
        outcomes: Vec::with_capacity(jobs.len()),
    };
    for job in jobs {
        direct.control("SAVEPOINT job")?;
        let outcome = match job {
            Job::Inbox { rows, .. } => write_rows(direct, rows, &mut written.fresh),
            Job::Work { work, .. } => work(tx).await,
        };
        let elsewhere = direct.take_refused();
        if elsewhere || outcome.is_err() {
            // Where SQLite gave up the whole transaction this fails, and with it the group.
            direct.control("ROLLBACK TO job")?;
        }
        direct.control("RELEASE job")?;
        written.outcomes.push((!elsewhere).then_some(outcome));
    }
    Ok(written)
}

/// Inserts rows one by one: here nothing is saved by more of them in a statement.
fn write_rows(direct: &Direct, rows: &[NewInbox], fresh: &mut HashSet<String>) -> Result<()> {
    static INSERT: LazyLock<String> = LazyLock::new(|| insert_sql(DbBackend::Sqlite, 1));
    let now = now_ms();
    for row in rows {
        let inserted = direct.execute(
            &INSERT,
            [
                row.tenant.as_str(),
                row.id.as_str(),
                row.user.as_str(),
                row.source.as_str(),
                row.account_id.as_str(),
                row.event_key.as_str(),
                row.session_key.as_str(),
                row.payload.as_str(),
            ]
            .into_iter()
            .map(Bound::from)
            .chain([
                now.into(),
                now.into(),
                state_of(row).into(),
                row.skipped.map_or(Bound::Null, Bound::from),
            ]),
        )?;
        if inserted > 0 {
            fresh.insert(row.id.clone());
        }
    }
    Ok(())
}

/// The state that a row begins with.
fn state_of(row: &NewInbox) -> &'static str {
    if row.skipped.is_some() { "skipped" } else { "pending" }
}

async fn commit_loop(db: Db, jobs: Arc<Mutex<mpsc::Receiver<Job>>>, most: usize, system: bool) {
    let mut group = Vec::new();
    loop {
        if jobs.lock().await.recv_many(&mut group, most).await == 0 {
            return;
        }
        let (count, began) = (group.len(), Instant::now());
        commit(&db, std::mem::take(&mut group), system).await;
        measure(count, began);
    }
}

/// A group of this many jobs, taken up at this moment, is done.
fn measure(jobs: usize, began: Instant) {
    metrics::histogram!("claw_commit_jobs").record(u32::try_from(jobs).unwrap_or(u32::MAX));
    metrics::histogram!("claw_commit_seconds").record(began.elapsed().as_secs_f64());
}

/// Commits the jobs together; when that fails, each by itself.
async fn commit(db: &Db, jobs: Vec<Job>, system: bool) {
    match together(db, &jobs, system).await {
        Ok(fresh) => answer(jobs, &fresh),
        Err(error) if jobs.len() == 1 && !error.is_deadlock() => fail(jobs, error),
        Err(_) => {
            for job in jobs {
                let one = [job];
                match alone(db, &one, system).await {
                    Ok(fresh) => answer(one.into(), &fresh),
                    Err(error) => fail(one.into(), error),
                }
            }
        }
    }
}

/// One job in a transaction of its own.
async fn alone(db: &Db, job: &[Job; 1], system: bool) -> Result<HashSet<String>> {
    past_deadlocks(|| together(db, job, system)).await
}

fn answer(jobs: Vec<Job>, fresh: &HashSet<String>) {
    for job in jobs {
        match job {
            Job::Inbox { rows, fresh: reply } => {
                let mine = rows
                    .into_iter()
                    .map(|row| row.id)
                    .filter(|id| fresh.contains(id))
                    .collect();
                let _ = reply.send(Ok(mine));
            }
            Job::Work { done, .. } => {
                let _ = done.send(Ok(()));
            }
        }
    }
}

/// Only ever called with one job.
fn fail(jobs: Vec<Job>, error: Error) {
    if let Some(job) = jobs.into_iter().next() {
        match job {
            Job::Inbox { fresh, .. } => {
                let _ = fresh.send(Err(error));
            }
            Job::Work { done, .. } => {
                let _ = done.send(Err(error));
            }
        }
    }
}

/// One transaction. Gives the inbox ids that were new.
async fn together(db: &Db, jobs: &[Job], system: bool) -> Result<HashSet<String>> {
    let mut fresh = HashSet::new();
    let rows: Vec<&NewInbox> = jobs
        .iter()
        .flat_map(|job| match job {
            Job::Inbox { rows, .. } => rows.as_slice(),
            Job::Work { .. } => &[],
        })
        .collect();
    let tx = if system {
        db.system_write().await?
    } else {
        db.begin_write().await?
    };
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        // Powers of two keep the number of different statements, and so of prepared ones, small.
        let count = (1 << rest.len().ilog2()).min(MOST_ROWS);
        let (now, later) = rest.split_at(count);
        insert_inbox(&*tx, now, &mut fresh).await?;
        rest = later;
    }
    for job in jobs {
        if let Job::Work { scope, work, .. } = job {
            set_tenant(&*tx, scope).await?;
            work(&tx).await?;
        }
    }
    tx.commit().await?;
    Ok(fresh)
}

const COLUMNS: usize = 12;
/// Rows of one statement.
const MOST_ROWS: usize = 64;

async fn insert_inbox(tx: &impl ConnectionTrait, rows: &[&NewInbox], fresh: &mut HashSet<String>) -> Result<()> {
    let backend = tx.get_database_backend();
    let mut values: Vec<Value> = Vec::with_capacity(rows.len() * COLUMNS);
    let now = now_ms();
    for row in rows {
        values.push(row.tenant.as_str().into());
        values.push(row.id.as_str().into());
        values.push(row.user.as_str().into());
        values.push(row.source.as_str().into());
        values.push(row.account_id.as_str().into());
        values.push(row.event_key.as_str().into());
        values.push(row.session_key.as_str().into());
        values.push(row.payload.as_str().into());
        values.push(now.into());
        values.push(now.into());
        values.push(state_of(row).into());
        values.push(row.skipped.into());
    }
    let statement = Statement::from_sql_and_values(backend, insert_sql(backend, rows.len()), values);
    let inserted = tx.execute_raw(statement).await?.rows_affected();
    if inserted == rows.len() as u64 {
        fresh.extend(rows.iter().map(|row| row.id.clone()));
    } else if inserted > 0 {
        // Repeats are rare, and asking for each id back is not free.
        let ids = rows.iter().map(|row| row.id.as_str().into());
        let mut sql = "SELECT id FROM inbox WHERE id IN (".to_owned();
        (1..=rows.len()).for_each(|at| mark(backend, at, &mut sql));
        sql.pop();
        sql.push(')');
        for row in tx
            .query_all_raw(Statement::from_sql_and_values(backend, sql, ids))
            .await?
        {
            fresh.insert(row.try_get_by_index::<String>(0)?);
        }
    }
    Ok(())
}

/// The mark of a statement's parameter, counted from 1. SQLite counts by itself, and binds those faster.
fn mark(backend: DbBackend, at: usize, sql: &mut String) {
    use std::fmt::Write as _;
    if backend == DbBackend::Postgres {
        let _ = write!(sql, "${at},");
    } else {
        sql.push_str("?,");
    }
}

fn insert_sql(backend: DbBackend, rows: usize) -> String {
    let mut sql = String::with_capacity(180 + rows * 64);
    sql.push_str(
        "INSERT INTO inbox (tenant_id, id, user_id, source, account_id, event_key, session_key, \
         payload, received_at, updated_at, state, reason, attempts) VALUES ",
    );
    for row in 0..rows {
        if row > 0 {
            sql.push(',');
        }
        sql.push('(');
        for column in 1..=COLUMNS {
            mark(backend, row * COLUMNS + column, &mut sql);
        }
        sql.push_str("0)");
    }
    sql.push_str(" ON CONFLICT DO NOTHING");
    sql
}

#[cfg(test)]
mod tests {
    use claw_entities::{Scope, UserOwned, user};
    use sea_orm::{ActiveModelTrait, EntityTrait};

    use super::*;
    use crate::config::identity::Role;
    use crate::config::testing;
    use crate::supervisor::lease::fenced;

    async fn rename(tx: &impl ConnectionTrait, scope: &Scope) -> Result<()> {
        user::Entity::update_owned(scope)
            .col_expr(user::Column::Name, "renamed".into())
            .exec(tx)
            .await?;
        Ok(())
    }

    /// A server on SQLite whose commits wait until the returned transaction ends, so that what is handed over meanwhile is
    /// one group. None on PostgreSQL, which commits in another way.
    async fn held() -> Option<(testing::Server, Scope, Writer, crate::db::Tx)> {
        let server = testing::start().await;
        if server.db.backend() != DbBackend::Sqlite {
            return None;
        }
        let owner = testing::owner(&server.config).await;
        let writer = Writer::start(server.db.clone()).expect("a thread");
        let held = server.db.write(&owner).await.expect("begins");
        Some((server, owner, writer, held))
    }

    /// Gives what the user's name is then.
    fn renaming(scope: &Scope, name: &'static str) -> impl Fn(&mut Batch) + Send + Sync + 'static {
        let scope = scope.clone();
        move |batch| {
            let update = user::Entity::update_owned(&scope).col_expr(user::Column::Name, name.into());
            batch.add(&update);
        }
    }

    async fn name_of(server: &testing::Server, scope: &Scope) -> String {
        let rows = user::Entity::owned_by(scope)
            .one(&server.db.glance(scope).await.expect("opens"))
            .await;
        rows.expect("reads").expect("is there").name
    }

    #[tokio::test]
    async fn one_bad_job_of_a_group_is_undone_alone() {
        let Some((server, first, writer, held)) = held().await else {
            return;
        };
        let tenant = first.tenant_scope().clone();
        drop(held);
        let second = testing::user(&server.config, &tenant, "m@acme.test", Role::Member).await;
        let held = server.db.write(&first).await.expect("begins");
        let refused = writer.run(&tenant, {
            let second = second.clone();
            move |tx| {
                let second = second.clone();
                Box::pin(async move {
                    let mut batch = Batch::new(tx);
                    renaming(&second, "never")(&mut batch);
                    assert_eq!(batch.run(tx).await?, 1);
                    Err::<(), _>(Error::invalid("changed its mind"))
                })
            }
        });
        let panics = writer.run(&tenant, |_| Box::pin(async { panic!("a bug") }));
        let reads = writer.run(&tenant, {
            let second = second.clone();
            move |tx| {
                let second = second.clone();
                Box::pin(async move {
                    // What it wrote before it read is written once.
                    let mut batch = Batch::new(tx);
                    renaming(&second, "read")(&mut batch);
                    batch.run(tx).await?;
                    Ok(user::Entity::owned_by(&second).one(tx).await?.expect("is there").name)
                })
            }
        });
        let writes = writer.add(&tenant, renaming(&first, "written"));
        let all = async { tokio::join!(refused, panics, reads, writes) };
        let ((), (refused, panicked, read, written)): ((), (_, Result<()>, _, _)) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                held.commit().await.expect("commits");
            },
            all
        );
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        assert!(matches!(panicked, Err(Error::Internal(_))), "{panicked:?}");
        assert_eq!(read.expect("reads"), "read");
        assert_eq!(written.expect("writes"), 1);
        assert_eq!(name_of(&server, &first).await, "written");
        assert_eq!(name_of(&server, &second).await, "read");
    }

    #[tokio::test]
    async fn what_the_database_refuses_has_the_same_name_on_either_connection() {
        let Some((server, owner, writer, held)) = held().await else {
            return;
        };
        drop(held);
        let glance = server.db.glance(&owner).await.expect("opens");
        let row = user::Entity::owned_by(&owner)
            .one(&glance)
            .await
            .expect("reads")
            .expect("is there");
        let twin = user::ActiveModel::from(row).reset_all();
        let twice = writer
            .add(&owner, move |batch| batch.add(&user::Entity::insert(twin.clone())))
            .await;
        assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
        let epoch = server.epoch(&owner).await;
        let write_as = async |epoch: i64| {
            let scope = owner.clone();
            let work = writer.run(&owner, move |tx| {
                let scope = scope.clone();
                Box::pin(async move { Ok(fenced(tx, &scope, epoch).await?.run(tx).await?) })
            });
            work.await
        };
        write_as(epoch).await.expect("is the owner's epoch");
        let late = write_as(epoch - 1).await;
        assert!(matches!(late, Err(Error::Fenced)), "{late:?}");
    }

    /// PostgreSQL only: SQLite has one writer and so no deadlocks.
    #[tokio::test]
    async fn a_job_that_lost_a_deadlock_runs_again() {
        let server = testing::start().await;
        if server.db.backend() == DbBackend::Sqlite {
            return;
        }
        let first = testing::owner(&server.config).await;
        let second = testing::user(&server.config, first.tenant_scope(), "m@acme.test", Role::Member).await;
        let writer = Writer::start(server.db.clone()).expect("a thread");
        // Who looks first after a second of waiting is the victim: nearly always the job, which waits longer.
        loop {
            let other = server.db.write(&first).await.expect("begins");
            rename(&*other, &second).await.expect("locks the second row");
            let scopes = (first.clone(), second.clone());
            let writer = writer.clone();
            let job = tokio::spawn(async move {
                let tenant = scopes.0.tenant_scope().clone();
                let work = writer.run(&tenant, move |tx| {
                    let (first, second) = scopes.clone();
                    Box::pin(async move {
                        rename(tx, &first).await?;
                        rename(tx, &second).await
                    })
                });
                work.await
            });
            let waiting = "SELECT 1 FROM pg_locks WHERE NOT granted";
            let look = || Statement::from_string(DbBackend::Postgres, waiting);
            while other.query_one_raw(look()).await.expect("looks").is_none() {
                tokio::task::yield_now().await;
            }
            let crossed = rename(&*other, &first).await;
            if crossed.is_ok() {
                other.commit().await.expect("commits");
                job.await.expect("runs").expect("is tried again");
                return;
            }
            drop(other);
            job.await.expect("runs").expect("nothing is in its way");
        }
    }
}
