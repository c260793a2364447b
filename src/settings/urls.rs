//! Addresses people and platforms use from outside.

use std::net::SocketAddr;

use url::Url;

use super::Http;

/// Scheme and port of `http.public_url`, put before every tenant's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    secure: bool,
    port: Option<u16>,
    base_domain: String,
}

impl Urls {
    /// `bound` is the address the plain listener really has (its port may have been 0).
    pub fn new(http: &Http, bound: SocketAddr) -> Self {
        let public = http.public_url.as_deref().and_then(|text| Url::parse(text).ok());
        Self {
            secure: public.as_ref().is_some_and(|url| url.scheme() == "https"),
            // `Url::port` is none for the scheme's own port, which is what we want to print.
            port: public
                .as_ref()
                .map_or(Some(bound.port()).filter(|port| *port != 80), Url::port),
            base_domain: http.base_domain.clone(),
        }
    }

    /// True when people come by https.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// `https://acme.example.com[:port]`, without a slash at the end. It is the tenant's web origin too.
    pub fn tenant(&self, slug: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let mut url = format!("{scheme}://{slug}.{}", self.base_domain);
        if let Some(port) = self.port {
            url.push(':');
            url.push_str(&port.to_string());
        }
        url
    }

    /// Where a platform sends the events of an account. The default account has the bare path.
    pub fn webhook(&self, slug: &str, path: &str, account_id: &str) -> String {
        let mut url = format!("{}/webhooks/{path}", self.tenant(slug));
        if account_id != "default" {
            url.push('/');
            url.push_str(account_id);
        }
        url
    }

    /// A link that signs a person in once. The code stands in the fragment: it reaches no server log.
    pub fn sign_in(&self, slug: &str, code: &str) -> String {
        format!("{}/#sign-in={code}", self.tenant(slug))
    }

    /// The gateway socket's address of a tenant: `wss://acme.example.com/gateway/ws`.
    pub fn gateway(&self, slug: &str) -> String {
        format!("{}/gateway/ws", self.tenant(slug).replacen("http", "ws", 1))
    }
}
