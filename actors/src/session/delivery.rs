//! Delivery: outbox rows go out, in order per conversation, one at a time.
//!
//! A row is claimed (`sending`) before the request leaves and settled after the answer, both durably. A row found
//! `sending` with nobody sending it was cut off by a crash: it is sent again only where the platform has an
//! idempotency key; else it becomes `unknown`, does not block later rows, and the next reply says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claw_entities::{Scope, TenantId, TenantOwned, UserOwned, outbox};
use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::blobs;
use crate::Services;
use crate::clock::now_ms;
use crate::config::accounts::{AccountName, ResolvedAccount};
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
/// Sends of one row, the first included.
const ATTEMPTS: i32 = 3;
/// Waits between them, when the platform gives no hint.
const FIRST_DELAY: Duration = Duration::from_millis(400);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A stop waits for what is tried again within this time.
const SHORT: Duration = Duration::from_secs(5);

/// Posts of one row to a web address, the first included, and the first and longest pause between them.
const POSTS: i32 = 8;
const FIRST_POST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_POST_PAUSE: Duration = Duration::from_secs(600);
/// Where the user's configuration holds the token that goes along.
const WEBHOOK_TOKEN: &str = "/cron/webhookToken";

type Lane = (TenantId, String);

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
    paused: DashMap<AccountName, i64>,
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
            paused: DashMap::new(),
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

    /// The platform wants nothing from this account for so long: a limit counts all that one bot does.
    pub(crate) fn pause(&self, account: &ResolvedAccount, wait: Duration) {
        let until = now_ms().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let mut held = self.0.paused.entry(account.name()).or_insert(until);
        *held = Ord::max(until, *held);
    }

    /// How long nothing may be asked of the account's platform.
    pub(crate) fn paused(&self, account: &ResolvedAccount) -> Option<Duration> {
        if self.0.paused.is_empty() {
            return None;
        }
        let name = account.name();
        let until = *self.0.paused.get(&name)?;
        let left = u64::try_from(until.saturating_sub(now_ms())).unwrap_or(0);
        if left == 0 {
            self.0.paused.remove_if(&name, |_, held| *held <= until);
            return None;
        }
        Some(Duration::from_millis(left))
    }

    /// The platform's message id of this row once it is sent; `None` when it was not. Ask before the row is kicked.
    pub(crate) fn settled(&self, outbox_id: &str) -> oneshot::Receiver<Option<String>> {
        let (tx, rx) = oneshot::channel();
        self.0.waiting.insert(outbox_id.to_owned(), tx);
        rx
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
enum Settled {
    Sent(String),
    /// Not sent; try again at this time.
    Again {
        at: i64,
        error: String,
    },
    Failed(String),
    Unknown(String),
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
            let worked = self
                .work(&scope, &lane.1, &slot, &trace.unwrap_or_else(Span::none))
                .await;
            slot.give_back();
            let wait = match worked {
                Ok(wait) => wait,
                // Another replica owns the user now; its rows are its business.
                Err(Error::Fenced) => None,
                Err(error) => {
                    tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "delivery waits for the database");
                    Some(Duration::from_secs(1))
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
        let now = now_ms();
        if row.next_attempt_at > now {
            let wait = u64::try_from(row.next_attempt_at - now).unwrap_or(0);
            return Ok(Next::After(Duration::from_millis(wait)));
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
        if let Some(wait) = self.paused(&account) {
            return Ok(Next::After(wait));
        }
        self.claim(scope, epoch, &row).await?;
        let span = look.span(&account.account.channel, &row);
        let sent = self.send(scope, &account, channel.as_ref(), &row, to).instrument(span);
        let settled = look.slot.aside(sent).await?;
        let next = match &settled {
            Settled::Again { at, .. } => Next::After(Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0))),
            Settled::Sent(_) | Settled::Failed(_) | Settled::Unknown(_) => Next::Go,
        };
        self.settle(scope, epoch, &row, settled).await?;
        Ok(next)
    }

    /// A row for a web address. The receiver can tell a repeat by the row's id, so one that was cut off goes again.
    async fn post(&self, scope: &Scope, epoch: i64, row: outbox::Model, address: &str, look: Look<'_>) -> Result<Next> {
        let services = &self.0.services;
        let now = now_ms();
        if row.next_attempt_at > now {
            let wait = u64::try_from(row.next_attempt_at - now).unwrap_or(0);
            return Ok(Next::After(Duration::from_millis(wait)));
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
        let sent = poster.post(address, token.as_ref(), &row.id, row.text.clone());
        let sent = look.slot.aside(sent.instrument(look.span(WEBHOOK, &row))).await;
        let settled = match sent {
            Ok(()) => Settled::Sent(row.id.clone()),
            Err(DeliverError::Retry { message, after }) if row.attempts + 1 < POSTS => {
                let wait = after.unwrap_or_else(|| post_pause(row.attempts));
                let at = now_ms() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2);
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
        let next = match &settled {
            Settled::Again { at, .. } => Next::After(Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0))),
            Settled::Sent(_) | Settled::Failed(_) | Settled::Unknown(_) => Next::Go,
        };
        self.settle(scope, epoch, &row, settled).await?;
        Ok(next)
    }

    /// The request itself, and what its answer means.
    async fn send(
        &self,
        scope: &Scope,
        account: &ResolvedAccount,
        channel: &dyn Channel,
        row: &outbox::Model,
        mut to: Destination,
    ) -> Result<Settled> {
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
            Err(why) => return Ok(Settled::Failed(why)),
        };
        // Without them the text says what to write.
        let choices = row.choices.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let mut moved = false;
        loop {
            let delivery = Outgoing {
                outbox_id: row.id.clone(),
                to: to.clone(),
                piece: piece.clone(),
                replaces: replaces.clone(),
                choices: choices.clone(),
            };
            let sent = match &file {
                Some((files, file)) => files.send(&account.account, &delivery, file).await,
                None => channel.deliver(&account.account, &delivery).await,
            };
            match sent {
                Ok(delivered) => return Ok(Settled::Sent(delivered.message_id)),
                Err(DeliverError::Moved { to: target }) if !moved => {
                    moved = true;
                    to.peer.id = target;
                }
                Err(DeliverError::Moved { .. }) => {
                    return Ok(Settled::Failed("the conversation keeps moving".to_owned()));
                }
                Err(DeliverError::Retry { message, after }) => {
                    // A wait the platform asks for is not a failed attempt of ours.
                    if row.attempts + 1 >= ATTEMPTS && after.is_none() {
                        return Ok(Settled::Failed(message));
                    }
                    if let Some(after) = after {
                        self.pause(account, after);
                    }
                    let wait = after.unwrap_or_else(|| backoff(row.attempts));
                    let at = now_ms() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2);
                    return Ok(Settled::Again { at, error: message });
                }
                Err(DeliverError::Unknown { message }) => return Ok(Settled::Unknown(message)),
                Err(DeliverError::Rejected { message }) => return Ok(Settled::Failed(message)),
                Err(DeliverError::Unauthorized { message }) => {
                    let name = account.name();
                    self.0
                        .services
                        .config
                        .set_account_status(&name, "unauthorized", Some(&message))
                        .await?;
                    return Ok(Settled::Failed(message));
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

    /// Marks the row as leaving. Fails when it is no longer open under this epoch.
    async fn claim(&self, scope: &Scope, epoch: i64, row: &outbox::Model) -> Result<()> {
        let (scope_in, id) = (scope.clone(), row.id.clone());
        self.0
            .services
            .writer
            .run(scope, move |tx| {
                let (scope, id) = (scope_in.clone(), id.clone());
                Box::pin(async move {
                    let mut batch = fenced(tx, &scope, epoch).await?;
                    let update = outbox::Entity::update_owned(&scope)
                        .col_expr(outbox::Column::State, Expr::value("sending"))
                        .col_expr(outbox::Column::Attempts, Expr::col(outbox::Column::Attempts).add(1))
                        .col_expr(outbox::Column::UpdatedAt, Expr::value(now_ms()))
                        .filter(outbox::Column::Id.eq(id));
                    batch.add(&update);
                    batch.run(tx).await?;
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
        if state == "unknown" && row.kind != "preview" {
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

/// 400 ms, doubling, at most 30 s, with 10 % of jitter so that many rows do not come back together.
fn backoff(attempts: i32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << attempts.clamp(0, 10));
    let [random] = crate::crypto::token::random_bytes::<1>();
    doubled.min(LONGEST_DELAY).mul_f64(1.0 + f64::from(random) / 2560.0)
}
