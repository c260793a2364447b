//! What every part of the runtime is handed: made once at start, cheap to clone.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::ConfigService;
use crate::config::cron::CronLimits;
use crate::conversation::ConversationService;
use crate::db::Db;
use crate::db::writer::Writer;
use crate::ports::Ports;
use crate::session::recall::Indexing;

/// The services and handles a task of the runtime may use.
#[derive(Clone)]
pub struct Services {
    pub db: Db,
    /// Group commit: the durable writes of the hot path.
    pub writer: Writer,
    pub config: ConfigService,
    pub conversation: ConversationService,
    pub ports: Ports,
    /// The multi-thread runtime that outbound I/O lives on.
    pub io: Handle,
    pub limits: Arc<Limits>,
    /// Who this process is in `user_lease` and `replica`.
    pub replica: Arc<Replica>,
    /// Notes whose vectors are being made.
    pub indexing: Arc<Indexing>,
}

/// This process.
#[derive(Clone, Debug)]
pub struct Replica {
    pub id: String,
    /// Fresh at every start; clients see it as `server.bootId`.
    pub boot_id: String,
    /// Version clients are told, `server.version`.
    pub version: String,
}

/// Limits of the runtime; the settings section `limits` fills it. Durations that protect people are in seconds there.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Runs of one user (or of one guest sender) at the same time (`agents.defaults.maxConcurrent`).
    pub user_runs: usize,
    /// Runs of one tenant's guests at the same time.
    pub tenant_runs: usize,
    /// Runs of the process at the same time.
    pub process_runs: usize,
    /// Runs, readings of inboxes and deliveries of the process that work at the same time, rather than wait for a model,
    /// a tool or a platform. 0: as many as suit the machine and the database.
    pub working: usize,
    /// Messages in a tree actor's mailbox.
    pub mailbox: usize,
    /// Idle time after which a session actor sleeps.
    pub session_idle: Duration,
    /// Idle time after which a user or tenant actor sleeps.
    pub user_idle: Duration,
    /// Starts of one inbox row before it is dead-lettered.
    pub attempts: i32,
    /// How long runs may go on after SIGTERM.
    pub drain_grace: Duration,
    /// A replica whose heartbeat is older than this has lost its leases.
    pub lease: Duration,
    /// How often recovery looks for rows nobody works on.
    pub sweep: Duration,
    /// Default of the run timeout.
    pub run_timeout: Duration,
    /// What one user's stored files may weigh, bytes.
    pub stored_bytes: u64,
    /// How long a stored file is kept that nothing refers to.
    pub stored_unused: Duration,
    /// Connections of one user to the gateway, in this process.
    pub user_connections: usize,
    /// Connections of one tenant to the gateway, in this process.
    pub tenant_connections: usize,
    /// Of each user's scheduled jobs.
    pub cron: CronLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            user_runs: 4,
            tenant_runs: 256,
            process_runs: 4096,
            working: 0,
            mailbox: 1024,
            session_idle: Duration::from_secs(600),
            user_idle: Duration::from_secs(900),
            attempts: 3,
            drain_grace: Duration::from_secs(10),
            lease: Duration::from_secs(5),
            sweep: Duration::from_secs(5),
            run_timeout: Duration::from_secs(600),
            stored_bytes: 1 << 30,
            stored_unused: Duration::from_secs(7 * 86_400),
            user_connections: 512,
            tenant_connections: 20_000,
            cron: CronLimits::default(),
        }
    }
}
