//! How this process runs: typed, layered, checked once at start. What tenants chose is *config* and lives in the database.

mod check;
mod layers;
mod urls;

use std::net::SocketAddr;
use std::time::Duration;

use claw_actors::config::cron::CronLimits;
use claw_actors::crypto::Secret;
use claw_actors::db::DbSettings;
use claw_actors::services::Limits as RuntimeLimits;
use ipnet::IpNet;
use serde::Deserialize;

pub use layers::{Source, known_keys};
pub use urls::Urls;

pub(crate) use check::label as is_label;

/// Everything an operator may set. Sections are handed down, never the whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(skip)]
    pub profile: Profile,
    pub http: Http,
    pub gateway: Gateway,
    pub database: Database,
    pub cluster: Cluster,
    pub secrets: Secrets,
    pub blobs: Blobs,
    pub egress: Egress,
    pub skills: Skills,
    pub auth: Auth,
    pub limits: Limits,
    pub telemetry: Telemetry,
}

/// Which embedded profile file is laid over the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    #[default]
    Development,
    Production,
}

/// Section `http`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    pub base_domain: String,
    #[serde(deserialize_with = "layers::optional")]
    pub public_url: Option<String>,
    #[serde(deserialize_with = "layers::optional")]
    pub default_tenant: Option<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub workers: usize,
    pub backlog: u32,
    pub max_connections: usize,
    pub keep_alive_secs: u64,
    pub head_timeout_secs: u64,
    pub body_timeout_secs: u64,
    pub tcp_user_timeout_secs: u64,
    pub tls: Tls,
}

/// Section `http.tls`: all three or none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    #[serde(deserialize_with = "layers::optional")]
    pub listen: Option<SocketAddr>,
    #[serde(deserialize_with = "layers::optional")]
    pub cert: Option<String>,
    #[serde(deserialize_with = "layers::optional")]
    pub key: Option<String>,
}

/// Section `gateway`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    pub allowed_origins: Vec<String>,
}

/// Section `database`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// May hold a password.
    pub url: Secret,
    pub max_connections: u32,
    pub acquire_timeout_secs: u64,
}

/// Section `cluster`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    #[serde(deserialize_with = "layers::optional")]
    pub nats_url: Option<String>,
    pub replica_id: String,
}

/// Section `secrets`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Base64 of 32 bytes, or empty.
    pub master_key: Secret,
}

/// Section `blobs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blobs {
    #[serde(deserialize_with = "layers::optional")]
    pub url: Option<String>,
}

/// Section `egress`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// `cidr:port` or `cidr:*`; an IPv6 network stands in brackets: `[fd00::/8]:443`.
    pub allow_private: Vec<String>,
}

/// Section `skills`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skills {
    /// Address of the registry, without a path at the end.
    #[serde(deserialize_with = "layers::optional")]
    pub registry_url: Option<String>,
}

/// Section `auth`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub oidc: Oidc,
    pub local: LocalAuth,
}

/// Section `auth.oidc`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    #[serde(deserialize_with = "layers::optional")]
    pub issuer: Option<String>,
    #[serde(deserialize_with = "layers::optional")]
    pub client_id: Option<String>,
    pub client_secret: Secret,
}

/// Section `auth.local`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalAuth {
    pub enabled: bool,
}

/// Section `limits`: what bounds memory, work and patience.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub user_runs: usize,
    pub tenant_runs: usize,
    pub process_runs: usize,
    pub working: usize,
    pub mailbox: usize,
    pub session_idle_secs: u64,
    pub user_idle_secs: u64,
    pub attempts: i32,
    pub drain_grace_secs: u64,
    pub lease_secs: u64,
    pub sweep_secs: u64,
    pub run_timeout_secs: u64,
    pub cron_jobs: usize,
    pub cron_interval_secs: u64,
    pub stored_bytes_per_user: u64,
    pub stored_unused_secs: u64,
    pub user_connections: usize,
    pub tenant_connections: usize,
    pub user_requests: usize,
    pub hooks_per_minute: u32,
    pub skill_downloads_per_minute: u32,
    pub api_body_bytes: usize,
    pub webhook_body_bytes: usize,
    pub accept_timeout_secs: u64,
    pub webhooks_in_flight: usize,
    pub tenant_webhooks_per_second: u32,
    pub failed_proofs_per_minute: u32,
    pub anonymous_per_minute: u32,
    pub tracked_addresses: usize,
}

/// Section `telemetry`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub filter: String,
    pub format: LogFormat,
    pub metrics_token: Secret,
    #[serde(deserialize_with = "layers::optional")]
    pub metrics_listen: Option<SocketAddr>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// Why the process does not start; every message names the key.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("CLAWCENTRAL_PROFILE must be development or production, not {0:?}")]
    Profile(String),
    #[error("unknown setting {key} ({place}){}", suggestion(.nearest.as_deref()))]
    Unknown {
        key: String,
        /// The variable or the file.
        place: String,
        nearest: Option<String>,
    },
    #[error("{place}: {reason}")]
    Unreadable { place: String, reason: String },
    #[error("{key}: {reason}")]
    Invalid { key: String, reason: String },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}

impl SettingsError {
    fn invalid(key: &str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            key: key.to_owned(),
            reason: reason.into(),
        }
    }
}

impl Settings {
    /// Reads the layers of this process: embedded files, `config/local.toml`, the environment.
    pub fn load() -> Result<Self, SettingsError> {
        Self::from_source(&Source::process())
    }

    /// Reads the layers of `source` and checks the whole.
    pub fn from_source(source: &Source) -> Result<Self, SettingsError> {
        let settings = layers::read(source)?;
        settings.check()?;
        Ok(settings)
    }

    /// The development profile on a port of the system's choice, deaf to files and environment. Point
    /// `database.url` at a file of your own.
    pub fn for_test() -> Self {
        let source = Source {
            env: vec![("CLAWCENTRAL__HTTP__LISTEN".to_owned(), "127.0.0.1:0".to_owned())],
            local: None,
        };
        Self::from_source(&source).expect("the embedded settings are valid: a test reads them")
    }

    pub fn is_production(&self) -> bool {
        self.profile == Profile::Production
    }

    /// The master key given by the operator, if any.
    pub fn master_key(&self) -> Result<Option<[u8; 32]>, SettingsError> {
        check::master_key(&self.secrets.master_key)
    }
}

impl Database {
    /// The runtime's view.
    pub fn open(&self) -> DbSettings {
        DbSettings {
            url: self.url.clone(),
            max_connections: self.max_connections,
            acquire_timeout: Duration::from_secs(self.acquire_timeout_secs),
        }
    }
}

impl Limits {
    /// Of scheduled jobs.
    pub fn cron(&self) -> CronLimits {
        CronLimits {
            jobs: self.cron_jobs,
            interval_ms: i64::try_from(self.cron_interval_secs.saturating_mul(1000)).unwrap_or(i64::MAX),
            ..CronLimits::default()
        }
    }

    /// The runtime's share of the limits.
    pub fn runtime(&self) -> RuntimeLimits {
        RuntimeLimits {
            user_runs: self.user_runs,
            tenant_runs: self.tenant_runs,
            process_runs: self.process_runs,
            working: self.working,
            mailbox: self.mailbox,
            session_idle: Duration::from_secs(self.session_idle_secs),
            user_idle: Duration::from_secs(self.user_idle_secs),
            attempts: self.attempts,
            drain_grace: Duration::from_secs(self.drain_grace_secs),
            lease: Duration::from_secs(self.lease_secs),
            sweep: Duration::from_secs(self.sweep_secs),
            run_timeout: Duration::from_secs(self.run_timeout_secs),
            stored_bytes: self.stored_bytes_per_user,
            stored_unused: Duration::from_secs(self.stored_unused_secs),
            user_connections: self.user_connections,
            tenant_connections: self.tenant_connections,
            cron: self.cron(),
        }
    }
}

#[cfg(test)]
mod tests;
