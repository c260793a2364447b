//! Gateway service: connections of OpenClaw clients, their handshake, RPC methods and events. No sockets here.

pub mod messages;
pub mod protocol;
pub mod registry;
pub mod scopes;

pub(crate) mod alike;
pub mod approvals;
mod arrivals;
pub mod beacon;
pub mod connection;
pub mod device;
pub mod events;
pub(crate) mod exec_policy;
pub mod handshake;
mod hello;
pub mod idempotency;
pub mod limiter;
pub(crate) mod listening;
pub mod methods;
pub(crate) mod node_policy;
pub mod node_streams;
pub(crate) mod nodes;
mod outbox;
mod qr;
pub mod rpc;
mod seats;
pub mod skill_store;
pub mod skills;
mod standing;
pub(crate) mod system_run;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use claw_entities::{TenantId, UserId};
use dashmap::DashMap;
use serde_json::Value;

use self::alike::Alike;
use self::arrivals::Arrivals;
use self::messages::Program;
use crate::Services;
use crate::crypto::token;
use crate::supervisor::directory::Directory;

/// What every connection shares: made once at start, cheap to clone.
#[derive(Clone)]
pub struct GatewayState(Arc<Shared>);

/// Fields of [`GatewayState`].
pub struct Shared {
    pub services: Services,
    pub directory: Directory,
    pub settings: GatewaySettings,
    pub limiter: limiter::Limiter,
    /// Places of connections that have proved themselves.
    seats: seats::Seats,
    pub methods: rpc::Methods,
    pub throttle: rpc::Throttle,
    /// Scopes that connections hold.
    pub(crate) scopes: Alike<[String]>,
    /// Programs that connections are.
    pub(crate) programs: Alike<Program>,
    /// Devices that came just now.
    arrivals: Arrivals,
    /// Last host statistics of connected nodes, by owner and node id.
    pub host_stats: DashMap<(TenantId, UserId, String), Value>,
    /// What connected nodes heard last: a fingerprint of the words, and when.
    pub(crate) heard: DashMap<(TenantId, UserId, String), (String, i64)>,
    pub started: Instant,
}

/// The settings of the gateway.
#[derive(Clone, Debug, Default)]
pub struct GatewaySettings {
    /// Origins besides the tenant's own that may open a socket, with token and paired device.
    pub allowed_origins: Vec<String>,
    /// Address of a tenant's gateway socket, with `{tenant}` where its slug goes.
    pub url: String,
    /// Of the certificate that this process serves TLS with, if clients are to pin it.
    pub certificate: Fingerprint,
}

/// SHA-256 of the certificate that clients pin, in hexadecimal digits. Shared with the listener, which may read a new one.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint(Arc<RwLock<Option<String>>>);

impl Fingerprint {
    pub fn get(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `certificate`: in DER.
    pub fn set(&self, certificate: Option<&[u8]>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificate.map(token::hash_bytes);
    }
}

impl GatewaySettings {
    /// Address of the gateway socket of the tenant with this slug.
    pub fn url_of(&self, slug: &str) -> String {
        self.url.replace("{tenant}", slug)
    }
}

/// What the edge knows about a client before it speaks.
#[derive(Clone, Debug)]
pub struct ClientFacts {
    /// The TCP peer is this machine.
    pub peer_loopback: bool,
    /// The `Host` names this machine.
    pub host_loopback: bool,
    /// A forwarding header is present.
    pub forwarded: bool,
    pub origin: Option<String>,
    /// The tenant's own web origin.
    pub own_origin: String,
    /// The client's address, as trusted proxies tell it.
    pub address: IpAddr,
}

impl ClientFacts {
    /// A program on this machine that speaks to this machine, with nothing in between.
    pub fn local(&self) -> bool {
        self.peer_loopback && self.host_loopback && !self.forwarded && self.origin.is_none()
    }

    /// A page of the tenant's own web interface.
    pub fn same_origin(&self) -> bool {
        !self.own_origin.is_empty() && self.origin.as_deref() == Some(self.own_origin.as_str())
    }
}

impl GatewayState {
    pub fn new(services: Services, directory: Directory, settings: GatewaySettings) -> Self {
        let limits = &services.limits;
        Self(Arc::new(Shared {
            seats: seats::Seats::new(limits.user_connections, limits.tenant_connections),
            services,
            directory,
            settings,
            limiter: limiter::Limiter::default(),
            methods: methods::all(),
            throttle: rpc::Throttle::default(),
            scopes: Alike::default(),
            programs: Alike::default(),
            arrivals: Arrivals::default(),
            host_stats: DashMap::new(),
            heard: DashMap::new(),
            started: Instant::now(),
        }))
    }
}

impl std::ops::Deref for GatewayState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
