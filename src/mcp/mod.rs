//! The MCP client (`agent-runtime` §15): remote servers over streamable HTTP, current and older revisions of the protocol,
//! through `rmcp` over our own outbound client.
//!
//! A connection belongs to one user and one server as configured; another user, another header or another address is
//! another connection. It is opened when its tools are wanted, kept while it is used, and closed ten minutes later.

mod connection;
mod http;
mod result;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claw_actors::config::document::hash;
use claw_actors::ports::servers::{FailureClass, Offer, ServerAccess, ServerFailure, ToolServers};
use claw_actors::ports::tool::ToolOutput;
use claw_entities::{Scope, TenantId};
use dashmap::DashMap;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::connection::{Answer, Connection};
use crate::egress::Egress;

/// Connections of this process, and those one tenant has. When all are taken, one of the tenant goes that has most.
const MOST: usize = 1_024;
const MOST_OF_TENANT: usize = 256;
/// How long an unused connection stays open.
const IDLE: Duration = Duration::from_secs(600);
/// How long a list is kept when the server does not say, and at most (`agent-runtime` §15).
const KEEP: Duration = Duration::from_secs(300);
/// A list is never asked for more often than this.
const SHORTEST_KEEP: Duration = Duration::from_secs(2);
/// How long a server that failed is left alone; doubled with each failure.
const REST: Duration = Duration::from_secs(15);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// All servers of all users. Cheap to clone.
#[derive(Clone)]
pub struct McpServers {
    egress: Egress,
    io: Handle,
    slots: Arc<DashMap<Key, Arc<Slot>>>,
}

/// Whose, and which: the name alone, so that a server has one place whatever becomes of it.
type Key = (Scope, String);

/// One server of one user, as it was configured when somebody last asked.
struct Slot {
    /// Of address and headers.
    fingerprint: String,
    known: Mutex<Known>,
    /// Held while it is connected or asked for its list.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

struct Known {
    used: Instant,
    offer: Option<(Arc<Offer>, Instant)>,
    failure: Option<(ServerFailure, Instant)>,
    failures: u32,
    /// Since when somebody asks the server for its list, and when it last answered or failed to.
    asking: Option<Instant>,
    answered: Option<Instant>,
    /// The connection that the offer came over.
    over: std::sync::Weak<Connection>,
}

impl Slot {
    fn new(fingerprint: String) -> Self {
        Self {
            fingerprint,
            known: Mutex::new(Known {
                used: Instant::now(),
                offer: None,
                failure: None,
                failures: 0,
                asking: None,
                answered: None,
                over: std::sync::Weak::new(),
            }),
            connection: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, while it counts.
    fn current(&self) -> Option<Result<Arc<Offer>, ServerFailure>> {
        let (known, now) = (self.known(), Instant::now());
        if let Some((failure, until)) = known.failure {
            return (now < until).then_some(Err(failure));
        }
        let (offer, until) = known.offer.as_ref()?;
        let changed = known.over.upgrade().is_some_and(|connection| connection.is_changed());
        (now < *until && !changed).then(|| Ok(Arc::clone(offer)))
    }

    fn succeeded(&self, offer: Offer, keep: Option<Duration>, over: &Arc<Connection>) -> Arc<Offer> {
        let offer = Arc::new(offer);
        let keep = keep.unwrap_or(KEEP).clamp(SHORTEST_KEEP, KEEP);
        let mut known = self.known();
        (known.asking, known.answered) = (None, Some(Instant::now()));
        known.offer = Some((Arc::clone(&offer), Instant::now() + keep));
        known.over = Arc::downgrade(over);
        (known.failure, known.failures) = (None, 0);
        offer
    }

    fn failed(&self, access: &ServerAccess, failure: ServerFailure) {
        let mut known = self.known();
        (known.asking, known.answered) = (None, Some(Instant::now()));
        let rest = REST
            .saturating_mul(2_u32.saturating_pow(known.failures.min(8)))
            .min(LONGEST_REST);
        known.failures = known.failures.saturating_add(1);
        known.failure = Some((failure, Instant::now() + rest));
        drop(known);
        report(access, failure, "list");
    }
}

/// For operators: which tenant's server, and what class of failure. No address, no header, nothing it said.
fn report(access: &ServerAccess, failure: ServerFailure, during: &'static str) {
    let class = failure.class.name();
    metrics::counter!("claw_mcp_failures_total", "class" => class).increment(1);
    tracing::warn!(
        tenant.id = %access.scope.tenant(), user.id = %access.scope.user(), mcp.server = %access.server.prefix,
        error.class = class, status = failure.status, during, "MCP server failed"
    );
}

fn fingerprint(access: &ServerAccess) -> String {
    let headers: Vec<_> = access
        .headers
        .iter()
        .map(|(name, value)| (name, value.expose()))
        .collect();
    hash(&json!([
        access.server.url,
        headers,
        access.server.include,
        access.server.exclude
    ]))
}

impl McpServers {
    /// `io` is the runtime that connections live on.
    pub fn new(egress: Egress, io: Handle) -> Self {
        Self {
            egress,
            io,
            slots: Arc::default(),
        }
    }

    /// Closes connections that nobody used for a while, until told to stop; then all of them.
    pub async fn tidy(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(Duration::from_secs(30)) => {
                    self.slots.retain(|_, slot| slot.known().used.elapsed() < IDLE);
                }
            }
        }
        self.slots.clear();
    }

    fn slot(&self, access: &ServerAccess) -> Arc<Slot> {
        let key = (access.scope.clone(), access.server.name.clone());
        let print = fingerprint(access);
        if let Some(slot) = self.slots.get(&key).filter(|slot| slot.fingerprint == print) {
            slot.known().used = Instant::now();
            return Arc::clone(&slot);
        }
        self.make_room(access.scope.tenant());
        let slot = Arc::new(Slot::new(print));
        self.slots.insert(key, Arc::clone(&slot));
        slot
    }

    /// Lets a connection go where there is no room for one more of this tenant: the one that was not used for longest,
    /// of the tenant itself when it has its share, else of the tenant that has most.
    fn make_room(&self, tenant: &TenantId) {
        let used: Vec<(Key, Instant)> = self
            .slots
            .iter()
            .map(|slot| (slot.key().clone(), slot.known().used))
            .collect();
        if let Some(key) = to_leave(&used, tenant, MOST, MOST_OF_TENANT) {
            self.slots.remove(key);
        }
    }

    /// The connection, opened where there is none.
    async fn connect(
        &self,
        access: &ServerAccess,
        place: &mut Option<Arc<Connection>>,
    ) -> Result<Arc<Connection>, ServerFailure> {
        if let Some(open) = place.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(open));
        }
        // What is closed goes before the new one comes.
        drop(place.take());
        let opened = Arc::new(Connection::open(&self.egress, access).await?);
        *place = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Asks the server for its list, unless somebody else did meanwhile: `since` is when this was wanted, for a list that
    /// must not be older.
    async fn ask(
        &self,
        slot: &Slot,
        access: &ServerAccess,
        since: Option<Instant>,
    ) -> Result<Arc<Offer>, ServerFailure> {
        let mut place = slot.connection.lock().await;
        let answered = slot.known().answered;
        if since.is_none_or(|since| answered.is_some_and(|answered| answered > since))
            && let Some(current) = slot.current()
        {
            return current;
        }
        slot.known().asking = Some(Instant::now());
        let listed = match self.connect(access, &mut place).await {
            Ok(connection) => connection.list(access).await.map(|listed| (listed, connection)),
            Err(failure) => Err(failure),
        };
        match listed {
            Ok(((offer, keep), connection)) => Ok(slot.succeeded(offer, keep, &connection)),
            Err(failure) => {
                drop(place.take());
                slot.failed(access, failure);
                Err(failure)
            }
        }
    }
}

/// Which of the connections goes for one more of `tenant`, if one has to.
fn to_leave<'a>(used: &'a [(Key, Instant)], tenant: &TenantId, most: usize, share: usize) -> Option<&'a Key> {
    let mut counts: HashMap<&TenantId, usize> = HashMap::new();
    for ((scope, _), _) in used {
        *counts.entry(scope.tenant()).or_default() += 1;
    }
    let from = if counts.get(tenant).is_some_and(|count| *count >= share) {
        tenant
    } else if used.len() >= most {
        counts
            .iter()
            .max_by_key(|(_, count)| **count)
            .map(|(tenant, _)| *tenant)?
    } else {
        return None;
    };
    let theirs = used.iter().filter(|((scope, _), _)| scope.tenant() == from);
    theirs.min_by_key(|(_, used)| *used).map(|(key, _)| key)
}

impl ToolServers for McpServers {
    fn offer<'a>(
        &'a self,
        access: &'a ServerAccess,
        wait: Duration,
        fresh: bool,
    ) -> BoxFuture<'a, Result<Arc<Offer>, ServerFailure>> {
        Box::pin(async move {
            let slot = self.slot(access);
            if !fresh {
                if let Some(current) = slot.current() {
                    return current;
                }
                // Somebody waits already, for as long as we would.
                if slot.known().asking.is_some_and(|since| since.elapsed() >= wait) {
                    return Err(FailureClass::Slow.into());
                }
            }
            let (servers, access, since) = (self.clone(), access.clone(), fresh.then(Instant::now));
            // A task of its own: what takes longer than anybody waits is there the next time.
            let asking = self.io.spawn(async move { servers.ask(&slot, &access, since).await });
            match tokio::time::timeout(wait, asking).await {
                Ok(Ok(offer)) => offer,
                Ok(Err(_)) => Err(FailureClass::Unavailable.into()),
                Err(_) => Err(FailureClass::Slow.into()),
            }
        })
    }

    fn seen(&self, access: &ServerAccess) -> Option<Result<Arc<Offer>, ServerFailure>> {
        let key = (access.scope.clone(), access.server.name.clone());
        let slot = Arc::clone(&*self.slots.get(&key)?);
        if slot.fingerprint != fingerprint(access) {
            return None;
        }
        let known = slot.known();
        match (&known.failure, &known.offer) {
            (Some((failure, _)), _) => Some(Err(*failure)),
            (None, Some((offer, _))) => Some(Ok(Arc::clone(offer))),
            (None, None) => None,
        }
    }

    fn forget(&self, scope: &Scope, server: &str) {
        self.slots.remove(&(scope.clone(), server.to_owned()));
    }

    fn leave(&self, gone: &dyn Fn(&Scope) -> bool) {
        self.slots.retain(|(scope, _), _| !gone(scope));
    }

    fn call<'a>(
        &'a self,
        access: &'a ServerAccess,
        tool: &'a str,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, ServerFailure>> {
        Box::pin(async move {
            let slot = self.slot(access);
            let connecting = {
                let (servers, access, slot) = (self.clone(), access.clone(), Arc::clone(&slot));
                self.io.spawn(async move {
                    let mut place = slot.connection.lock().await;
                    servers.connect(&access, &mut place).await
                })
            };
            let connected = match tokio::time::timeout(access.server.connecting, connecting).await {
                Ok(Ok(connected)) => connected,
                Ok(Err(_)) => Err(FailureClass::Unavailable.into()),
                Err(_) => Err(FailureClass::Slow.into()),
            };
            let answered = match connected {
                Ok(connection) => connection.call(access, tool, arguments).await,
                Err(failure) => Err(failure),
            };
            match answered {
                Ok(Answer::Result(result)) => Ok(result::output(&access.server.name, tool, *result)),
                Ok(Answer::Refused(error)) => Ok(result::refusal(&access.server.name, tool, &error)),
                Err(failure) => {
                    report(access, failure, "call");
                    // The next call begins anew, and the next turn asks whether the server is still there.
                    if failure.class != FailureClass::Slow
                        && let Ok(mut place) = slot.connection.try_lock()
                    {
                        place.take();
                    }
                    slot.known().offer = None;
                    Err(failure)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_makes_room_for_itself_and_the_largest_for_others() {
        let start = Instant::now();
        // Later ones were used later.
        let mut at = 0;
        let mut used = |tenant: &str, count: u64| -> Vec<(Key, Instant)> {
            let one = |n| {
                at += 1;
                let scope = Scope::vouch(tenant.into(), "user".into());
                ((scope, format!("{tenant}{n}")), start + Duration::from_secs(at))
            };
            (0..count).map(one).collect()
        };
        let all = [used("small", 2), used("large", 4), used("other", 3)].concat();
        let leaves =
            |tenant: &str, most, share| to_leave(&all, &tenant.into(), most, share).map(|(_, server)| server.as_str());
        assert_eq!(leaves("small", 10, 5), None);
        assert_eq!(leaves("large", 10, 4), Some("large0"));
        assert_eq!(leaves("small", 9, 5), Some("large0"));
        assert_eq!(leaves("new", 9, 5), Some("large0"));
        assert_eq!(leaves("other", 9, 3), Some("other0"));
    }
}
