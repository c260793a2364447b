//! Delivery: outbox rows go out, in order per conversation, one at a time.
//!
//! A row is claimed (`sending`) before the request leaves and settled after the answer, both durably. A row found
//! `sending` with nobody sending it was cut off by a crash: it is sent again only where the platform has an
//! idempotency key; else it becomes `unknown`, does not block later rows, and the next reply says so.

mod held;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claw_entities::{Scope, TenantId, TenantOwned, UserOwned, outbox, run};
use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use futures::FutureExt;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use self::held::Held;
use super::blobs;
use super::preview::PREVIEW;
use crate::Services;
use crate::clock::now_ms;
use crate::config::accounts::ResolvedAccount;
use crate::db::Rows;
use crate::error::{Error, Result};
use crate::ports::channel::{
    Channel, DeliverError, Delivery as Outgoing, Destination, FileAbout, Files, OutFile, Rendered,
};
use crate::ports::web::WEBHOOK;
use crate::supervisor::lanes::Lanes;
use crate::supervisor::lease::{Leases, fenced};
use crate::supervisor::slot::Slot;

/// Rows read at a time.
const PAGE: u64 = 16;
/// Sends of one row, the first included: some minutes of them. A preview only goes ahead of its reply.
const SENDS: i32 = 7;
const PREVIEW_SENDS: i32 = 3;
/// The first pause between them, when the platform gives no hint. After so many quick ones they grow as between posts.
const FIRST_DELAY: Duration = Duration::from_millis(400);
const QUICK: i32 = 2;
/// No row and no account waits for longer: what is due later than that was set by a clock that went back since.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// A stop waits for what is tried again within this time.
const SHORT: Duration = Duration::from_secs(5);
/// When a conversation is looked at again in which something panicked.
const AFTER_PANIC: Duration = Duration::from_secs(30);
/// How long what became of a row is stored again while the database is away, and the longest pause between that.
const STORING: Duration = Duration::from_secs(600);
const LONGEST_STORE_PAUSE: Duration = Duration::from_secs(5);

/// Posts of one row to a web address, the first included, and the first and longest pause between them.
const POSTS: i32 = 8;
const FIRST_POST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_POST_PAUSE: Duration = Duration::from_secs(600);
/// Where the user's configuration holds the token that goes along.
const WEBHOOK_TOKEN: &str = "/cron/webhookToken";

type Lane = (TenantId, String);
/// What goes out for a row, and the file that goes with it.
type Sendable<'a> = (Outgoing, Option<(&'a dyn Files, OutFile)>);

/// Hands rows to the platforms. Cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    services: Services,
    leases: Leases,
    lanes: Lanes,
    /// Lanes with a task.
    active: DashMap<Lane, Busy>,
    /// Who waits for a row to be settled (streaming previews need the message id).
    waiting: DashMap<String, oneshot::Sender<Option<String>>>,
    /// Accounts whose platform asked us to wait, and until when, epoch milliseconds.
    held: Held,
    /// Conversations with an unconfirmed row that the person has not been told about.
    unconfirmed: DashSet<Lane>,
    idle: tokio::sync::Notify,
    /// Lanes that only wait for a time that is far off.
    asleep: AtomicUsize,
}

impl Delivery {
    pub(crate) fn new(services: Services, leases: Leases, lanes: Lanes) -> Self {
        Self(Arc::new(Inner {
            services,
            leases,
            lanes,
            active: DashMap::new(),
            waiting: DashMap::new(),
            held: Held::default(),
            unconfirmed: DashSet::new(),
            idle: tokio::sync::Notify::new(),
            asleep: AtomicUsize::new(0),
        }))
    }

    /// Looks after the conversation's open rows. Cheap when somebody already does.
    pub fn kick(&self, scope: &Scope, conversation: &str) {
        let lane = (scope.tenant().clone(), conversation.to_owned());
        match self.0.active.entry(lane.clone()) {
            Entry::Occupied(mut busy) => {
                let busy = busy.get_mut();
                busy.again = true;
                let trace = Span::current();
                if !trace.is_disabled() {
                    busy.trace = trace;
                }
                return;
            }
            Entry::Vacant(free) => {
                free.insert(Busy {
                    again: false,
                    trace: Span::current(),
                });
            }
        }
        let (this, scope) = (self.clone(), scope.clone());
        self.0
            .services
            .io
            .spawn(async move { this.run_lane(scope, lane).await });
    }

    /// The platform wants nothing in this chat for so long.
    pub(crate) fn pause(&self, account: &ResolvedAccount, to: &Destination, wait: Duration) {
        self.0.held.until(account.name(), &to.peer.id, in_future(wait));
    }

    /// How long nothing may be asked of the platform there.
    pub(crate) fn paused(&self, account: &ResolvedAccount, to: &Destination) -> Option<Duration> {
        self.0.held.left(&account.name(), &to.peer.id)
    }

    /// The platform's message id of this row once it is sent; `None` when it was not. Ask before the row is kicked.
    pub(crate) fn settled(&self, outbox_id: &str) -> oneshot::Receiver<Option<String>> {
        let (tx, rx) = oneshot::channel();
        self.0.waiting.insert(outbox_id.to_owned(), tx);
        rx
    }

    /// There is no such row after all: nobody waits for it.
    pub(crate) fn forget(&self, outbox_id: &str) {
        self.0.waiting.remove(outbox_id);
    }

    /// True once for a conversation in which an earlier reply may be missing.
    pub(crate) fn take_unconfirmed(&self, tenant: &TenantId, conversation: &str) -> bool {
        self.0
            .unconfirmed
            .remove(&(tenant.clone(), conversation.to_owned()))
            .is_some()
    }

    /// Resolves when no lane is at work: what waits for longer than a stop does is for the next process.
    pub(crate) async fn idle(&self) {
        loop {
            let changed = self.0.idle.notified();
            if self.0.active.len() <= self.0.asleep.load(Ordering::SeqCst) {
                return;
            }
            changed.await;
        }
    }
}

/// A lane that somebody looks after.
struct Busy {
    /// Look again before you go.
    again: bool,
    /// What put in the newest rows.
    trace: Span,
}

/// What one look at a conversation has in common.
#[derive(Clone, Copy)]
struct Look<'a> {
    slot: &'a Slot,
    trace: &'a Span,
    /// Rows that were open together.
    parts: usize,
}

impl Look<'_> {
    /// For one row on its way out to this channel.
    fn span(self, channel: &str, row: &outbox::Model) -> Span {
        tracing::info_span!(
            parent: self.trace.id(),
            "channel.deliver",
            channel.id = channel,
            attempt = row.attempts + 1,
            parts = self.parts,
        )
    }
}

/// What became of a row.
#[derive(Clone)]
enum Settled {
    Sent(String),
    /// Not sent; try again at this time.
    Again {
        at: i64,
        error: String,
    },
    Failed(String),
    Unknown(String),
    /// Not sent, and not to be.
    Skipped(&'static str),
}

/// Whether the rows behind a row have their turn.
enum Next {
    Go,
    /// When the row is looked at again.
    After(Duration),
    /// When a lock-out ends: its end hands the conversation back.
    LockedOut,
}

impl Delivery {
    /// Works one conversation until nothing is open in it.
    async fn run_lane(self, scope: Scope, lane: Lane) {
        let slot = self.0.lanes.slot(scope.tenant(), &CancellationToken::new());
        loop {
            slot.go_on().await;
            let trace = self.0.active.get(&lane).map(|busy| busy.trace.clone());
            let trace = trace.unwrap_or_else(Span::none);
            let worked = AssertUnwindSafe(self.work(&scope, &lane.1, &slot, &trace))
                .catch_unwind()
                .await;
            slot.give_back();
            let wait = match worked {
                Ok(Ok(wait)) => wait,
                // Another replica owns the user now; its rows are its business.
                Ok(Err(Error::Fenced)) => None,
                Ok(Err(error)) => {
                    tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "delivery waits for the database");
                    Some(Duration::from_secs(1))
                }
                // The lane lives on, or nothing would be sent in this conversation any more.
                Err(_) => {
                    tracing::error!(tenant.id = %scope.tenant(), "delivery panicked");
                    Some(AFTER_PANIC)
                }
            };
            if let Some(wait) = wait {
                if wait > SHORT {
                    self.0.asleep.fetch_add(1, Ordering::SeqCst);
                    self.0.idle.notify_waiters();
                    tokio::time::sleep(wait).await;
                    self.0.asleep.fetch_sub(1, Ordering::SeqCst);
                } else {
                    tokio::time::sleep(wait).await;
                }
                continue;
            }
            if self.0.active.remove_if(&lane, |_, busy| !busy.again).is_some() {
                self.0.idle.notify_waiters();
                return;
            }
            if let Some(mut busy) = self.0.active.get_mut(&lane) {
                busy.again = false;
            }
        }
    }

    /// Sends what is open. `Some` = look again after this time.
    async fn work(&self, scope: &Scope, conversation: &str, slot: &Slot, trace: &Span) -> Result<Option<Duration>> {
        loop {
            let view = self.0.services.db.glance(scope).await?;
            let open = outbox::Entity::of_tenant(scope.tenant_scope())
                .filter(outbox::Column::Conversation.eq(conversation))
                .filter(outbox::is_open())
                .order_by_asc(outbox::Column::Id)
                .limit(PAGE);
            let rows = view.rows(open).await?;
            drop(view);
            if rows.is_empty() {
                return Ok(None);
            }
            let parts = rows.len();
            for row in rows {
                // It waits, and what is behind it: the end of the lock-out hands it back.
                if self.0.services.config.is_locked(&row_scope(&row)) {
                    return Ok(None);
                }
                match self.one(row, Look { slot, trace, parts }).await? {
                    Next::Go => {}
                    Next::After(wait) => return Ok(Some(wait)),
                    Next::LockedOut => return Ok(None),
                }
            }
        }
    }

    /// One row. When it has to wait, so has everything behind it.
    async fn one(&self, row: outbox::Model, look: Look<'_>) -> Result<Next> {
        let scope = row_scope(&row);
        let leases = &self.0.leases;
        leases.under(&scope, |epoch| self.under(&scope, epoch, row, look)).await
    }

    async fn under(&self, scope: &Scope, epoch: i64, row: outbox::Model, look: Look<'_>) -> Result<Next> {
        let Ok(to) = serde_json::from_value::<Destination>(row.destination.clone()) else {
            self.settle(
                scope,
                epoch,
                &row,
                Settled::Failed("its destination cannot be read".to_owned()),
            )
            .await?;
            return Ok(Next::Go);
        };
        if to.channel == WEBHOOK {
            return self.post(scope, epoch, row, &to.peer.id, look).await;
        }
        let Some(channel) = self.0.services.ports.channel(&to.channel).cloned() else {
            self.settle(
                scope,
                epoch,
                &row,
                Settled::Failed("this platform is not available".to_owned()),
            )
            .await?;
            return Ok(Next::Go);
        };
        if row.state == "sending" && !channel.manifest().idempotent_send {
            let why = "the service stopped while this was being sent".to_owned();
            self.settle(scope, epoch, &row, Settled::Unknown(why)).await?;
            return Ok(Next::Go);
        }
        if let Some(wait) = left_until(row.next_attempt_at) {
            return Ok(Next::After(wait));
        }
        let account = self
            .0
            .services
            .config
            .account(scope.tenant(), &to.channel, &to.account_id)
            .await?;
        // Somebody may have been locked out since the row was read.
        let config = &self.0.services.config;
        let locked = config.is_locked(scope) || account.as_ref().is_some_and(|it| config.is_locked(&it.owner_scope()));
        if locked {
            return Ok(Next::LockedOut);
        }
        let usable = |account: &Arc<ResolvedAccount>| account.enabled && account.status != "unauthorized";
        let Some(account) = account.filter(usable) else {
            let why = "the channel account is disabled, removed or refused by the platform".to_owned();
            self.settle(scope, epoch, &row, Settled::Failed(why)).await?;
            return Ok(Next::Go);
        };
        if self.is_late(scope, &row).await? {
            let why = Settled::Skipped("the answer was there first");
            self.settle(scope, epoch, &row, why).await?;
            return Ok(Next::Go);
        }
        if let Some(wait) = self.paused(&account, &to) {
            return Ok(Next::After(wait));
        }
        // Read before the row is marked as leaving: a row so marked that did not leave would count as perhaps sent.
        let outgoing = match self.outgoing(scope, channel.as_ref(), &row, to).await? {
            Ok(outgoing) => outgoing,
            Err(why) => {
                self.settle(scope, epoch, &row, Settled::Failed(why)).await?;
                return Ok(Next::Go);
            }
        };
        self.claim(scope, epoch, &row).await?;
        let span = look.span(&account.account.channel, &row);
        let sent = self.send(&account, channel.as_ref(), &row, outgoing).instrument(span);
        let settled = look.slot.aside(sent).await;
        self.conclude(scope, epoch, &row, settled, look.slot).await
    }

    /// Stores what became of a row that left, also when the database is away meanwhile: nobody can find it out again.
    async fn conclude(
        &self,
        scope: &Scope,
        epoch: i64,
        row: &outbox::Model,
        settled: Settled,
        slot: &Slot,
    ) -> Result<Next> {
        let give_up = Instant::now() + STORING;
        let mut pause = FIRST_DELAY;
        loop {
            match self.settle(scope, epoch, row, settled.clone()).await {
                Ok(()) => break,
                Err(error @ (Error::Storage(_) | Error::Busy { .. })) if Instant::now() < give_up => {
                    tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "what became of a reply waits for the database");
                    slot.aside(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(LONGEST_STORE_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(match settled {
            Settled::Again { at, .. } => Next::After(left_until(at).unwrap_or_default()),
            Settled::Sent(_) | Settled::Failed(_) | Settled::Unknown(_) | Settled::Skipped(_) => Next::Go,
        })
    }

    /// A row for a web address. The receiver can tell a repeat by the row's id, so one that was cut off goes again.
    async fn post(&self, scope: &Scope, epoch: i64, row: outbox::Model, address: &str, look: Look<'_>) -> Result<Next> {
        let services = &self.0.services;
        if let Some(wait) = left_until(row.next_attempt_at) {
            return Ok(Next::After(wait));
        }
        if services.config.is_locked(scope) {
            return Ok(Next::LockedOut);
        }
        let Some(poster) = services.ports.poster() else {
            let why = "web addresses are not available".to_owned();
            self.settle(scope, epoch, &row, Settled::Failed(why)).await?;
            return Ok(Next::Go);
        };
        let token = services.config.document_secret(scope, WEBHOOK_TOKEN).await?;
        self.claim(scope, epoch, &row).await?;
        let sent = guarded(async { poster.post(address, token.as_ref(), &row.id, row.text.clone()).await });
        let sent = look.slot.aside(sent.instrument(look.span(WEBHOOK, &row))).await;
        let settled = match sent {
            Ok(()) => Settled::Sent(row.id.clone()),
            Err(DeliverError::Retry { message, after }) if row.attempts + 1 < POSTS => {
                let wait = after.unwrap_or_else(|| post_pause(row.attempts));
                let at = in_future(wait);
                Settled::Again { at, error: message }
            }
            Err(
                DeliverError::Retry { message, .. }
                | DeliverError::Unknown { message }
                | DeliverError::Rejected { message }
                | DeliverError::Unauthorized { message },
            ) => Settled::Failed(message),
            Err(DeliverError::Moved { .. }) => Settled::Failed("the address moved".to_owned()),
        };
        self.conclude(scope, epoch, &row, settled, look.slot).await
    }

    /// What goes out for a row. The inner error says why it cannot.
    async fn outgoing<'a>(
        &self,
        scope: &Scope,
        channel: &'a dyn Channel,
        row: &outbox::Model,
        to: Destination,
    ) -> Result<std::result::Result<Sendable<'a>, String>> {
        let replaces = match &row.replaces {
            Some(preview) => self.message_id(scope, preview).await?,
            None => None,
        };
        let piece = Rendered {
            text: row.text.clone(),
            plain: row.plain.clone(),
        };
        let file = match self.file(scope, channel, row).await? {
            Ok(file) => file,
            Err(why) => return Ok(Err(why)),
        };
        let outgoing = Outgoing {
            outbox_id: row.id.clone(),
            to,
            piece,
            replaces,
            // Without them the text says what to write.
            choices: row.choices.as_deref().and_then(|json| serde_json::from_str(json).ok()),
        };
        Ok(Ok((outgoing, file)))
    }

    /// The request itself, and what its answer means.
    async fn send(
        &self,
        account: &ResolvedAccount,
        channel: &dyn Channel,
        row: &outbox::Model,
        (mut delivery, file): Sendable<'_>,
    ) -> Settled {
        let most = if row.kind == PREVIEW { PREVIEW_SENDS } else { SENDS };
        let mut moved = false;
        loop {
            let sent = guarded(async {
                match &file {
                    Some((files, file)) => files.send(&account.account, &delivery, file).await,
                    None => channel.deliver(&account.account, &delivery).await,
                }
            });
            let sent = sent.await;
            match sent {
                Ok(delivered) => return Settled::Sent(delivered.message_id),
                Err(DeliverError::Moved { to }) if !moved => {
                    moved = true;
                    delivery.to.peer.id = to;
                }
                Err(DeliverError::Moved { .. }) => {
                    return Settled::Failed("the conversation keeps moving".to_owned());
                }
                Err(DeliverError::Retry { message, after }) => {
                    // A wait the platform asks for is not a failed attempt of ours.
                    if row.attempts + 1 >= most && after.is_none() {
                        return Settled::Failed(message);
                    }
                    if let Some(after) = after {
                        self.pause(account, &delivery.to, after);
                    }
                    let at = in_future(after.unwrap_or_else(|| backoff(row.attempts)));
                    return Settled::Again { at, error: message };
                }
                Err(DeliverError::Unknown { message }) => return Settled::Unknown(message),
                Err(DeliverError::Rejected { message }) => return Settled::Failed(message),
                Err(DeliverError::Unauthorized { message }) => {
                    let (name, config) = (account.name(), &self.0.services.config);
                    let marked = config.set_account_status(&name, "unauthorized", Some(&message));
                    if let Err(error) = marked.await {
                        tracing::warn!(channel.id = name.channel, error = ?error, "a refused account was not marked");
                    }
                    return Settled::Failed(message);
                }
            }
        }
    }

    /// The file that goes out with a row. The inner error says why it cannot.
    async fn file<'a>(
        &self,
        scope: &Scope,
        channel: &'a dyn Channel,
        row: &outbox::Model,
    ) -> Result<std::result::Result<Option<(&'a dyn Files, OutFile)>, String>> {
        let Some(media) = &row.media else {
            return Ok(Ok(None));
        };
        let Ok(about) = serde_json::from_str::<FileAbout>(media) else {
            return Ok(Err("its file cannot be read".to_owned()));
        };
        let Some(files) = channel.files() else {
            return Ok(Err("this platform takes no files from here".to_owned()));
        };
        let Some(blob) = blobs::read(&self.0.services, scope, &about.blob).await? else {
            return Ok(Err("its file is no longer stored".to_owned()));
        };
        if blob.bytes.len() > files.largest() {
            let most = files.largest() / (1024 * 1024);
            return Ok(Err(format!(
                "its file is larger than the {most} MiB that the platform takes"
            )));
        }
        let file = OutFile {
            about,
            bytes: blob.bytes,
        };
        Ok(Ok(Some((files, file))))
    }

    async fn message_id(&self, scope: &Scope, outbox_id: &str) -> Result<Option<String>> {
        let tx = self.0.services.db.read(scope).await?;
        let row = outbox::Entity::owned_by(scope)
            .filter(outbox::Column::Id.eq(outbox_id))
            .one(&*tx)
            .await?;
        Ok(row.and_then(|row| row.message_id))
    }

    /// Is it a preview of a run that is over: what that has to say stands in rows of its own.
    async fn is_late(&self, scope: &Scope, row: &outbox::Model) -> Result<bool> {
        let Some(run_id) = row.run_id.as_deref().filter(|_| row.kind == PREVIEW) else {
            return Ok(false);
        };
        let status: Option<String> = run::Entity::owned_by(scope)
            .select_only()
            .column(run::Column::Status)
            .filter(run::Column::Id.eq(run_id))
            .into_tuple()
            .one(&self.0.services.db.glance(scope).await?)
            .await?;
        Ok(status.is_some_and(|status| status != "running"))
    }

    /// Marks the row as leaving. Fails when it is no longer open under this epoch, or was claimed since it was read.
    async fn claim(&self, scope: &Scope, epoch: i64, row: &outbox::Model) -> Result<()> {
        let (scope_in, id, attempts) = (scope.clone(), row.id.clone(), row.attempts);
        self.0
            .services
            .writer
            .run(scope, move |tx| {
                let (scope, id) = (scope_in.clone(), id.clone());
                Box::pin(async move {
                    let mut batch = fenced(tx, &scope, epoch).await?;
                    let update = outbox::Entity::update_owned(&scope)
                        .col_expr(outbox::Column::State, Expr::value("sending"))
                        .col_expr(outbox::Column::Attempts, Expr::value(attempts + 1))
                        .col_expr(outbox::Column::UpdatedAt, Expr::value(now_ms()))
                        .filter(outbox::Column::Id.eq(id))
                        .filter(outbox::Column::Attempts.eq(attempts))
                        .filter(outbox::is_open());
                    batch.add(&update);
                    if batch.run(tx).await? == 0 {
                        return Err(Error::Conflict("the reply was taken by somebody else".to_owned()));
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Writes what became of the row, and tells who waits for it.
    async fn settle(&self, scope: &Scope, epoch: i64, row: &outbox::Model, settled: Settled) -> Result<()> {
        let (state, message_id, at, error) = match settled {
            Settled::Sent(message_id) => ("sent", Some(message_id), 0, None),
            Settled::Again { at, error } => ("pending", None, at, Some(error)),
            Settled::Failed(error) => ("failed", None, 0, Some(error)),
            Settled::Unknown(error) => ("unknown", None, 0, Some(error)),
            Settled::Skipped(why) => ("skipped", None, 0, Some(why.to_owned())),
        };
        let (scope_in, id, kept) = (scope.clone(), row.id.clone(), message_id.clone());
        self.0
            .services
            .writer
            .run(scope, move |tx| {
                let (scope, id, message_id, error) = (scope_in.clone(), id.clone(), kept.clone(), error.clone());
                Box::pin(async move {
                    let mut batch = fenced(tx, &scope, epoch).await?;
                    let update = outbox::Entity::update_owned(&scope)
                        .col_expr(outbox::Column::State, Expr::value(state))
                        .col_expr(outbox::Column::MessageId, Expr::value(message_id))
                        .col_expr(outbox::Column::NextAttemptAt, Expr::value(at))
                        .col_expr(outbox::Column::Error, Expr::value(error))
                        .col_expr(outbox::Column::UpdatedAt, Expr::value(now_ms()))
                        .filter(outbox::Column::Id.eq(id));
                    batch.add(&update);
                    batch.run(tx).await?;
                    Ok(())
                })
            })
            .await?;
        metrics::counter!("claw_deliveries_total", "state" => state).increment(1);
        if state == "sent" {
            let lag = u32::try_from(now_ms().saturating_sub(row.created_at)).unwrap_or(0);
            metrics::histogram!("claw_delivery_lag_seconds").record(f64::from(lag) / 1000.0);
        }
        if state == "unknown" && row.kind != PREVIEW {
            self.0
                .unconfirmed
                .insert((scope.tenant().clone(), row.conversation.clone()));
        }
        if state != "pending"
            && let Some((_, waiter)) = self.0.waiting.remove(&row.id)
        {
            let _ = waiter.send(message_id);
        }
        Ok(())
    }
}

fn row_scope(row: &outbox::Model) -> Scope {
    Scope::vouch(row.tenant_id.clone(), row.user_id.clone())
}

/// A second, four times as long each time, at most ten minutes.
fn post_pause(attempts: i32) -> Duration {
    let longer = 1 << (2 * attempts.clamp(0, 10));
    FIRST_POST_PAUSE.saturating_mul(longer).min(LONGEST_POST_PAUSE)
}

/// 400 ms and twice that, then 4 s and four times as long each time, with 10 % of jitter so that many rows do not come
/// back together.
fn backoff(attempts: i32) -> Duration {
    let pause = if attempts < QUICK {
        FIRST_DELAY.saturating_mul(1 << Ord::max(attempts, 0))
    } else {
        post_pause(attempts - 1)
    };
    let [random] = crate::crypto::token::random_bytes::<1>();
    pause.mul_f64(1.0 + f64::from(random) / 2560.0)
}

/// The time after this wait, epoch milliseconds.
fn in_future(wait: Duration) -> i64 {
    let wait = wait.min(LONGEST_WAIT);
    now_ms().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// How long it is until then; `None` when that time has come.
fn left_until(at: i64) -> Option<Duration> {
    let left = u64::try_from(at.saturating_sub(now_ms())).unwrap_or(0);
    let left = Duration::from_millis(left);
    (!left.is_zero() && left <= LONGEST_WAIT).then_some(left)
}

/// What a request gave. One that panicked may have left.
async fn guarded<T>(
    request: impl Future<Output = std::result::Result<T, DeliverError>>,
) -> std::result::Result<T, DeliverError> {
    AssertUnwindSafe(request).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("sending panicked");
        Err(DeliverError::Unknown {
            message: "sending it failed inside".to_owned(),
        })
    })
}

#[cfg(test)]
mod tests;
