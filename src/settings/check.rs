//! Rules between keys. Each refusal names the key and says what to do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::crypto::Secret;
use url::Url;

use crate::egress::EgressSettings;

use super::{Http, Limits, Profile, Settings, SettingsError};

type Checked = Result<(), SettingsError>;

impl Settings {
    /// Cross-field rules.
    pub(super) fn check(&self) -> Checked {
        self.later()?;
        self.http.check()?;
        self.limits.check()?;
        for origin in &self.gateway.allowed_origins {
            web_origin("gateway.allowed_origins", origin)?;
        }
        for entry in &self.egress.allow_private {
            private_endpoint(entry)?;
        }
        if let Some(url) = &self.skills.registry_url {
            base_url("skills.registry_url", url)?;
        }
        let url = self.database.url.expose();
        if !["sqlite:", "postgres://", "postgresql://"]
            .iter()
            .any(|kind| url.starts_with(kind))
        {
            return refuse("database.url", "must start with sqlite:// or postgres://");
        }
        at_least_one("database.max_connections", u64::from(self.database.max_connections))?;
        at_least_one("database.acquire_timeout_secs", self.database.acquire_timeout_secs)?;
        if self.cluster.replica_id.is_empty() || self.cluster.replica_id.len() > 64 {
            return refuse("cluster.replica_id", "must have 1 to 64 characters");
        }
        if !self.telemetry.metrics_token.is_empty() && self.telemetry.metrics_token.expose().len() < 16 {
            return refuse("telemetry.metrics_token", "must have at least 16 characters");
        }
        let key = master_key(&self.secrets.master_key)?;
        match self.profile {
            Profile::Development => self.development(),
            Profile::Production => self.production(key.is_some()),
        }
    }

    /// Keys whose feature does not exist yet: saying so beats ignoring them.
    fn later(&self) -> Checked {
        let oidc = &self.auth.oidc;
        for (key, set) in [
            ("cluster.nats_url", self.cluster.nats_url.is_some()),
            ("blobs.url", self.blobs.url.is_some()),
            ("auth.oidc.issuer", oidc.issuer.is_some()),
            ("auth.oidc.client_id", oidc.client_id.is_some()),
            ("auth.oidc.client_secret", !oidc.client_secret.is_empty()),
        ] {
            if set {
                return refuse(key, "is not part of this version yet; leave it empty");
            }
        }
        Ok(())
    }

    fn development(&self) -> Checked {
        for (key, address) in [
            ("http.listen", Some(self.http.listen)),
            ("http.tls.listen", self.http.tls.listen),
            ("telemetry.metrics_listen", self.telemetry.metrics_listen),
        ] {
            if address.is_some_and(|address| !address.ip().is_loopback()) {
                return refuse(
                    key,
                    "the development profile listens on loopback only; set CLAWCENTRAL_PROFILE=production to serve others",
                );
            }
        }
        if self.http.base_domain != "localhost" {
            return refuse(
                "http.base_domain",
                "must be localhost in the development profile; set CLAWCENTRAL_PROFILE=production",
            );
        }
        Ok(())
    }

    fn production(&self, has_master_key: bool) -> Checked {
        if self.http.base_domain == "localhost" {
            return refuse("http.base_domain", "must be set in the production profile");
        }
        match &self.http.public_url {
            None => return refuse("http.public_url", "must be set in the production profile"),
            Some(url) if !url.starts_with("https://") => {
                return refuse("http.public_url", "must be https in the production profile");
            }
            Some(_) => {}
        }
        if !has_master_key {
            return refuse(
                "secrets.master_key",
                "must be set in the production profile: 32 random bytes, base64 (openssl rand -base64 32)",
            );
        }
        Ok(())
    }
}

/// `http(s)://host[:port][/path]`, nothing behind it.
fn base_url(key: &str, text: &str) -> Checked {
    let plain = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .filter(|url| url.username().is_empty() && url.query().is_none() && url.fragment().is_none());
    if plain.is_none() {
        return refuse(key, "must be http(s)://host[:port], without a user name, ? and #");
    }
    Ok(())
}

impl Http {
    fn check(&self) -> Checked {
        if !domain(&self.base_domain) {
            return refuse("http.base_domain", "must be a lower-case domain name without a port");
        }
        if let Some(text) = &self.public_url {
            let plain = Url::parse(text)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
                .filter(|url| matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none());
            if plain.is_none() {
                return refuse("http.public_url", "must be http(s)://host[:port] without a path");
            }
        }
        if self.default_tenant.as_deref().is_some_and(|slug| !label(slug)) {
            return refuse("http.default_tenant", "must be a tenant's name: a-z, 0-9 and -");
        }
        let tls = &self.tls;
        for (key, set) in [
            ("http.tls.listen", tls.listen.is_some()),
            ("http.tls.cert", tls.cert.is_some()),
            ("http.tls.key", tls.key.is_some()),
        ] {
            if !set && (tls.listen.is_some() || tls.cert.is_some() || tls.key.is_some()) {
                return refuse(key, "http.tls needs listen, cert and key together");
            }
        }
        if self.workers > 512 {
            return refuse("http.workers", "must be at most 512");
        }
        for (key, value) in [
            ("http.backlog", u64::from(self.backlog)),
            ("http.max_connections", self.max_connections as u64),
            ("http.keep_alive_secs", self.keep_alive_secs),
            ("http.head_timeout_secs", self.head_timeout_secs),
            ("http.body_timeout_secs", self.body_timeout_secs),
            ("http.tcp_user_timeout_secs", self.tcp_user_timeout_secs),
        ] {
            at_least_one(key, value)?;
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Checked {
        for (key, value) in [
            ("limits.user_runs", self.user_runs as u64),
            ("limits.tenant_runs", self.tenant_runs as u64),
            ("limits.process_runs", self.process_runs as u64),
            ("limits.mailbox", self.mailbox as u64),
            ("limits.session_idle_secs", self.session_idle_secs),
            ("limits.user_idle_secs", self.user_idle_secs),
            ("limits.attempts", u64::try_from(self.attempts).unwrap_or(0)),
            ("limits.lease_secs", self.lease_secs),
            ("limits.sweep_secs", self.sweep_secs),
            ("limits.run_timeout_secs", self.run_timeout_secs),
            ("limits.cron_interval_secs", self.cron_interval_secs),
            ("limits.stored_unused_secs", self.stored_unused_secs),
            ("limits.user_connections", self.user_connections as u64),
            ("limits.tenant_connections", self.tenant_connections as u64),
            ("limits.api_body_bytes", self.api_body_bytes as u64),
            ("limits.webhook_body_bytes", self.webhook_body_bytes as u64),
            ("limits.accept_timeout_secs", self.accept_timeout_secs),
            ("limits.webhooks_in_flight", self.webhooks_in_flight as u64),
            (
                "limits.tenant_webhooks_per_second",
                u64::from(self.tenant_webhooks_per_second),
            ),
            (
                "limits.failed_proofs_per_minute",
                u64::from(self.failed_proofs_per_minute),
            ),
            ("limits.anonymous_per_minute", u64::from(self.anonymous_per_minute)),
            ("limits.tracked_addresses", self.tracked_addresses as u64),
        ] {
            at_least_one(key, value)?;
        }
        // A run may still be about to name a file that was stored for it.
        if self.stored_unused_secs < self.run_timeout_secs.saturating_add(3600).max(86_400) {
            return refuse(
                "limits.stored_unused_secs",
                "must be at least 86400 (a day), and an hour more than limits.run_timeout_secs",
            );
        }
        Ok(())
    }
}

/// 32 bytes in base64, or nothing.
pub(super) fn master_key(key: &Secret) -> Result<Option<[u8; 32]>, SettingsError> {
    if key.is_empty() {
        return Ok(None);
    }
    STANDARD
        .decode(key.expose().trim())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .map(Some)
        .ok_or_else(|| SettingsError::invalid("secrets.master_key", "must be base64 of exactly 32 bytes"))
}

fn refuse(key: &str, reason: &str) -> Checked {
    Err(SettingsError::invalid(key, reason))
}

fn at_least_one(key: &str, value: u64) -> Checked {
    if value == 0 {
        return refuse(key, "must be at least 1");
    }
    Ok(())
}

/// One label of a host name.
pub(crate) fn label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn domain(text: &str) -> bool {
    text.len() <= 190 && text.split('.').all(label)
}

fn web_origin(key: &str, text: &str) -> Checked {
    let origin = Url::parse(text).map(|url| url.origin().ascii_serialization());
    if origin.as_deref() == Ok(text) && text.starts_with("http") {
        return Ok(());
    }
    refuse(key, "must hold web origins such as https://tools.example.com")
}

fn private_endpoint(entry: &str) -> Checked {
    EgressSettings::parse_rule(entry)
        .map(|_| ())
        .map_err(|reason| SettingsError::invalid("egress.allow_private", reason))
}
