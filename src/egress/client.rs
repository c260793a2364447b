//! The shared HTTP clients, one per set of addresses they may connect to, and the resolver that enforces it.
//!
//! HTTP/1.1 only, on purpose: a model stream then owns its connection. Over HTTP/2 all tenants' streams to one vendor
//! would share one connection and queue behind its stream limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

use super::target::{Target, TargetHost};
use super::{ANY_PORT, EgressError, EgressSettings, Purpose, address};

/// Longest time for resolving, TCP and TLS together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POOL_IDLE: Duration = Duration::from_secs(60);
const POOL_MAX_IDLE_PER_HOST: usize = 256;
const PRIVATE: &str = "the address is private or reserved";

/// Where names come from. The system's resolver in production.
pub trait Lookup: Send + Sync {
    /// All addresses of `host`.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Which addresses a client connects to.
#[derive(Clone, Debug, Default)]
struct AddressRule {
    /// Private networks that are fine.
    private: Arc<[IpNet]>,
    /// Public addresses are not fine: plain http is for listed networks only.
    private_only: bool,
}

impl AddressRule {
    fn check(&self, address: IpAddr) -> Result<(), EgressError> {
        let refused = EgressError::refused(PRIVATE);
        if address::is_metadata(address) {
            return Err(refused);
        }
        let canonical = address.to_canonical();
        if self.private.iter().any(|network| network.contains(&canonical)) {
            return Ok(());
        }
        if self.private_only {
            return Err(EgressError::refused("this endpoint must use https"));
        }
        if address::is_public(address) {
            Ok(())
        } else {
            Err(refused)
        }
    }
}

/// A client with its rule; built at first use, because reading the certificate store takes a while.
struct Guarded {
    rule: AddressRule,
    client: OnceLock<Option<Client>>,
}

impl Guarded {
    fn new(rule: AddressRule) -> Self {
        Self {
            rule,
            client: OnceLock::new(),
        }
    }

    fn client(&self, lookup: &Arc<dyn Lookup>) -> Result<&Client, EgressError> {
        self.client
            .get_or_init(|| build(self.rule.clone(), Arc::clone(lookup)))
            .as_ref()
            .ok_or(EgressError::Connect)
    }
}

fn build(rule: AddressRule, lookup: Arc<dyn Lookup>) -> Option<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("ClawCentral/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .referer(false)
        .redirect(Policy::none())
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(60))
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_MAX_IDLE_PER_HOST)
        .retry(reqwest::retry::never());
    if rule.private_only {
        // Never speaks TLS, so it needs no certificate store.
        builder = builder.tls_certs_only([]);
    }
    builder = builder.dns_resolver(Arc::new(CheckedResolver { rule, lookup }));
    match builder.build() {
        Ok(client) => Some(client),
        Err(error) => {
            tracing::error!(error = %error, "the outbound client could not be built");
            None
        }
    }
}

/// Clients for one port of the operator's list.
struct PortClients {
    port: u16,
    secure: Guarded,
    plain: Guarded,
}

/// All clients of the process.
pub(super) struct Clients {
    lookup: Arc<dyn Lookup>,
    public: Guarded,
    ports: Vec<PortClients>,
}

impl Clients {
    pub(super) fn new(settings: EgressSettings, lookup: Arc<dyn Lookup>) -> Self {
        let rules = settings.allow_private;
        let mut listed: Vec<u16> = rules.iter().map(|(_, port)| *port).collect();
        listed.sort_unstable();
        listed.dedup();
        let ports = listed
            .into_iter()
            .map(|port| {
                let private: Arc<[IpNet]> = rules
                    .iter()
                    .filter(|(_, rule_port)| *rule_port == port || *rule_port == ANY_PORT)
                    .map(|(network, _)| *network)
                    .collect();
                PortClients {
                    port,
                    secure: Guarded::new(AddressRule {
                        private: Arc::clone(&private),
                        private_only: false,
                    }),
                    plain: Guarded::new(AddressRule {
                        private,
                        private_only: true,
                    }),
                }
            })
            .collect();
        Self {
            lookup,
            public: Guarded::new(AddressRule::default()),
            ports,
        }
    }

    /// Checks all that can be known before a name is resolved.
    pub(super) fn admit(&self, purpose: Purpose, target: &Target) -> Result<(), EgressError> {
        let guarded = self.choose(purpose, target)?;
        if target.is_metadata_name() || (target.is_local_name() && guarded.rule.private.is_empty()) {
            return Err(EgressError::refused(PRIVATE));
        }
        match target.host {
            TargetHost::Address(address) => guarded.rule.check(address),
            TargetHost::Name(_) => Ok(()),
        }
    }

    /// The client that may speak to `target`. Admits it again: a client never sees what was not checked.
    pub(super) fn client(&self, purpose: Purpose, target: &Target) -> Result<&Client, EgressError> {
        self.admit(purpose, target)?;
        self.choose(purpose, target)?.client(&self.lookup)
    }

    fn choose(&self, purpose: Purpose, target: &Target) -> Result<&Guarded, EgressError> {
        let needs_https = EgressError::refused("this endpoint must use https");
        match purpose {
            Purpose::Untrusted => Ok(&self.public),
            Purpose::Fixed if target.is_https() => Ok(&self.public),
            Purpose::Fixed => Err(needs_https),
            Purpose::Configured => {
                let clients = self
                    .ports
                    .iter()
                    .find(|clients| clients.port == target.port)
                    .or_else(|| self.ports.iter().find(|clients| clients.port == ANY_PORT));
                match clients {
                    Some(clients) if target.is_https() => Ok(&clients.secure),
                    Some(clients) => Ok(&clients.plain),
                    None if target.is_https() => Ok(&self.public),
                    None => Err(needs_https),
                }
            }
        }
    }
}

/// Resolves a name, refuses it when any answer breaks the rule, and hands exactly these answers to the connector.
struct CheckedResolver {
    rule: AddressRule,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.rule.clone();
        let found = self.lookup.lookup(name.as_str().to_owned());
        Box::pin(async move {
            let found = found.await?;
            for address in &found {
                rule.check(*address)?;
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
