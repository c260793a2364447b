//! The one way out: every request this process makes goes through [`Egress`], which decides where it may go.
//!
//! Names are resolved once, all answers are checked, and the connection uses a checked answer; redirects are followed
//! by hand and checked again; bodies have caps. Clients and their keep-alive pools live as long as the process.

mod address;
mod client;
mod error;
pub(crate) mod fetch;
mod request;
mod response;
mod target;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Once};

use ipnet::IpNet;
use reqwest::Method;

pub use client::{Lookup, SystemLookup};
pub use error::EgressError;
pub use request::Request;
pub use response::{Response, StreamingResponse};

use client::Clients;

/// Any port, in a rule of [`EgressSettings::allow_private`].
pub const ANY_PORT: u16 = 0;

/// Who chose the address of a request, and so how far it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A vendor's own address, written in our code. Public https only.
    Fixed,
    /// An endpoint a person configured. Public https, or what `allow_private` lists, which may then be http.
    Configured,
    /// An address out of a message, a page or a model. Public only, http or https.
    Untrusted,
}

/// What the operator allows beyond public addresses.
#[derive(Clone, Debug, Default)]
pub struct EgressSettings {
    /// Private networks with the port that may be reached there ([`ANY_PORT`] = all), for [`Purpose::Configured`] only.
    pub allow_private: Vec<(IpNet, u16)>,
}

impl EgressSettings {
    /// The development profile's default: loopback, any port.
    pub fn development() -> Self {
        Self {
            allow_private: vec![
                (IpNet::new_assert(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), ANY_PORT),
                (IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128), ANY_PORT),
            ],
        }
    }

    /// Reads one rule of the setting `egress.allow_private`: `cidr:port`, with `*` for all ports. The error is a
    /// sentence for the operator.
    pub fn parse_rule(rule: &str) -> Result<(IpNet, u16), String> {
        let malformed = || format!("`{rule}` is not `cidr:port`, e.g. `10.1.0.0/16:443` or `[fd00::/8]:*`");
        let (net, port) = rule.trim().rsplit_once(':').ok_or_else(malformed)?;
        let net = net.replace(['[', ']'], "");
        let net = match net.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => net.parse::<IpAddr>().map(IpNet::from).map_err(|_| malformed())?,
        };
        let port = match port {
            "*" => ANY_PORT,
            port => port
                .parse()
                .ok()
                .filter(|port| *port != ANY_PORT)
                .ok_or_else(malformed)?,
        };
        Ok((net, port))
    }
}

/// The outbound client. Cheap to clone; all clones share pools.
#[derive(Clone)]
pub struct Egress {
    clients: Arc<Clients>,
}

impl Egress {
    /// Builds the client. Opens nothing yet.
    pub fn new(settings: EgressSettings) -> Self {
        Self::with_lookup(settings, Arc::new(SystemLookup))
    }

    /// Same, with another source of names: what a test of rebinding needs.
    pub fn with_lookup(settings: EgressSettings, lookup: Arc<dyn Lookup>) -> Self {
        install_crypto();
        Self {
            clients: Arc::new(Clients::new(settings, lookup)),
        }
    }

    /// Starts a request. Fails at once when the address is one this purpose may not name; addresses behind a name are
    /// checked when it is resolved.
    pub fn request(&self, purpose: Purpose, method: Method, url: &str) -> Result<Request, EgressError> {
        let target = target::check(url)?;
        self.clients.admit(purpose, &target)?;
        Ok(Request::new(Arc::clone(&self.clients), purpose, method, target))
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Egress")
    }
}

/// Makes ring the process's TLS provider. May be called any number of times.
pub fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Fails only when a provider is installed already, and then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
