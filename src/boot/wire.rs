//! Database, services, ports and the tree, in the order in which they need each other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use claw_actors::Services;
use claw_actors::config::ConfigService;
use claw_actors::conversation::ConversationService;
use claw_actors::db::Db;
use claw_actors::db::writer::Writer;
use claw_actors::ports::Ports;
use claw_actors::services::Replica;
use claw_actors::session::{cron, recovery};
use claw_actors::supervisor::directory::Directory;
use claw_actors::supervisor::lease::{self, Leases};
use claw_actors::supervisor::lockout;
use claw_actors::supervisor::placement::Placement;
use claw_migration::{Migrator, MigratorTrait};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::clawhub::ClawHub;
use crate::documents::DocumentReader;
use crate::egress::{Egress, EgressSettings};
use crate::mcp::McpServers;
use crate::poster::WebPoster;
use crate::settings::{Profile, Settings};
use crate::{channels, cli, providers, tools};

pub(super) struct Wired {
    pub services: Services,
    pub directory: Directory,
    /// Ends the background duties.
    pub stop: CancellationToken,
}

pub(super) async fn wire(settings: &Settings) -> anyhow::Result<Wired> {
    let db = open(settings).await?;
    let replica = replica(settings);
    let leases = Leases::new(
        db.clone(),
        replica.clone(),
        Duration::from_secs(settings.limits.lease_secs),
    );
    leases.announce().await?;
    let writer = Writer::start(db.clone()).context("cannot start a thread")?;
    let config = config(settings, &db, &writer).await?;
    if settings.profile == Profile::Development {
        cli::seed(&config).await.context("cannot make the first tenant")?;
    }
    let (ports, servers) = ports(settings)?;
    let services = Services {
        writer,
        conversation: ConversationService::new(db.clone()),
        ports,
        io: Handle::current(),
        limits: Arc::new(settings.limits.runtime()),
        replica,
        config,
        db,
        indexing: Arc::default(),
    };
    let placement = Placement::start(listen_threads(settings));
    let directory = Directory::new(services.clone(), placement, leases.clone());
    let stop = CancellationToken::new();
    services.config.watch();
    // Before anything is woken: nothing starts for who is locked out.
    services.config.read_locked().await?;
    services.io.spawn(lockout::keep(directory.clone(), stop.clone()));
    services.io.spawn(leases.beat(stop.clone()));
    services.io.spawn(recovery::sweep(directory.clone(), stop.clone()));
    services.io.spawn(cron::run(directory.clone(), stop.clone()));
    services.io.spawn(servers.tidy(stop.clone()));
    Ok(Wired {
        services,
        directory,
        stop,
    })
}

/// Migrates and opens the database.
async fn open(settings: &Settings) -> anyhow::Result<Db> {
    let database = settings.database.open();
    let owner = Db::open_owner(&database, true).await?;
    let migrated = Migrator::up(&owner, None).await;
    // Closed before the pools open: SQLite has one writer.
    owner.close().await.context("cannot close the migrating connection")?;
    migrated.context("cannot migrate the database")?;
    Ok(Db::open(&database).await?)
}

fn replica(settings: &Settings) -> Arc<Replica> {
    Arc::new(Replica {
        id: settings.cluster.replica_id.clone(),
        boot_id: lease::boot_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

async fn config(settings: &Settings, db: &Db, writer: &Writer) -> anyhow::Result<ConfigService> {
    let development = settings.profile == Profile::Development;
    let given = Some(settings.secrets.master_key.clone());
    let key = ConfigService::master_key(db, given, development).await?;
    Ok(ConfigService::new(db.clone(), writer.clone(), key))
}

/// Every adapter of this process, and the one that has something to tidy.
fn ports(settings: &Settings) -> anyhow::Result<(Ports, McpServers)> {
    let rules = settings
        .egress
        .allow_private
        .iter()
        .map(|rule| EgressSettings::parse_rule(rule));
    let allow_private = rules
        .collect::<Result<_, _>>()
        .map_err(|reason| anyhow::anyhow!("egress.allow_private: {reason}"))?;
    let egress = Egress::new(EgressSettings { allow_private });
    let ports = Ports::new(channels::all(&egress), providers::all(&egress), tools::all(&egress));
    let servers = McpServers::new(egress.clone(), Handle::current());
    let registry = settings.skills.registry_url.clone();
    let skills = ClawHub::new(egress.clone(), registry, settings.limits.skill_downloads_per_minute);
    let ports = ports
        .with_poster(Arc::new(WebPoster::new(egress)))
        .with_servers(Arc::new(servers.clone()))
        .with_skills(Arc::new(skills))
        .with_documents(Arc::new(DocumentReader::default()));
    Ok((ports, servers))
}

/// Threads for HTTP, and as many for actors.
pub(super) fn listen_threads(settings: &Settings) -> usize {
    match settings.http.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}
