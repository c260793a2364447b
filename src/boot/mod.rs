//! The start and the stop: every part is wired here once, and nowhere else.

mod listen;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use actix::{Arbiter, System};
use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use anyhow::Context as _;
use claw_actors::Services;
use claw_actors::supervisor::directory::Directory;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::http::state::{AppState, Readiness};
use crate::settings::{Profile, Settings, Urls};
use crate::telemetry;

/// How long open requests may take once the tree is drained.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How long the database may take to close.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// A server that runs in this process.
pub struct Running {
    /// Where plain HTTP is served; the port is real even if the setting says 0.
    pub addr: SocketAddr,
    pub tls_addr: Option<SocketAddr>,
    pub metrics_addr: Option<SocketAddr>,
    pub services: Services,
    pub directory: Directory,
    pub urls: Urls,
    ready: Readiness,
    servers: Vec<ServerHandle>,
    /// Ends the background duties.
    stop: CancellationToken,
    drain_grace: Duration,
}

/// Serves until SIGTERM or SIGINT, then drains. Blocks the thread.
pub fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(&settings.telemetry, settings.profile)?;
    let system = system()?;
    system.block_on(async move {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let running = start(settings.clone()).await?;
        welcome(&running, &settings).await?;
        let mut displaced = false;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
            () = running.directory.displaced() => displaced = true,
        }
        tokio::select! {
            () = running.stop() => {}
            // Whoever asks twice does not want to wait; what is cut off is recovered at the next start.
            _ = interrupt.recv() => anyhow::bail!("stopped before the drain was over"),
        }
        anyhow::ensure!(
            !displaced,
            "another process serves under the same replica id: give each process a cluster.replica_id of its own"
        );
        Ok(())
    })
}

/// An actix system on a multi-thread runtime: actors start on it, and spawned tasks run beside them. One thread for
/// every two cores: the other half are the arbiters', and waking a thread costs more than most tasks do.
fn system() -> anyhow::Result<actix::SystemRunner> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .thread_name("io")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(System::with_tokio_rt(move || runtime))
}

/// Starts everything and gives what runs. Needs an actix system on a multi-thread runtime, as [`serve`] makes one;
/// tests use [`spawn`].
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    // Before anything counts.
    telemetry::metrics();
    let listeners = listen::bind(&settings)?;
    let bound = listeners.addr;
    let wire::Wired {
        services,
        directory,
        stop,
    } = wire::wire(&settings).await?;
    let urls = Urls::new(&settings.http, bound);
    let ready = Readiness::default();
    let state = AppState::new(
        services.clone(),
        directory.clone(),
        &settings,
        urls.clone(),
        ready.clone(),
    );
    services.io.spawn(state.connector.clone().keep(stop.clone()));
    services.io.spawn(telemetry::keep(stop.clone()));
    let (tls_addr, metrics_addr) = (listeners.tls_addr, listeners.metrics_addr);
    let servers = listen::serve(listeners, &settings, Data::new(state), &stop)?;
    ready.set(true);
    tracing::info!(addr = %bound, "ready");
    Ok(Running {
        addr: bound,
        tls_addr,
        metrics_addr,
        services,
        directory,
        urls,
        ready,
        servers,
        stop,
        drain_grace: Duration::from_secs(settings.limits.drain_grace_secs),
    })
}

impl Running {
    /// Drains and stops: readiness first, so that nobody sends more; then the tree, which tells its sockets and lets
    /// runs end; then the listeners; then the database.
    pub async fn stop(self) {
        self.ready.set(false);
        self.directory.drain(self.drain_grace).await;
        self.stop.cancel();
        let graceful = async {
            for server in &self.servers {
                server.stop(true).await;
            }
        };
        if tokio::time::timeout(LAST_ANSWERS, graceful).await.is_err() {
            for server in &self.servers {
                server.stop(false).await;
            }
        }
        if tokio::time::timeout(LAST_WRITES, self.services.db.close())
            .await
            .is_err()
        {
            tracing::warn!("the database was not closed in time");
        }
        tracing::info!("stopped");
    }
}

/// Prints the way in while the development tenant's owner has no other.
async fn welcome(running: &Running, settings: &Settings) -> anyhow::Result<()> {
    let (Profile::Development, Some(slug)) = (settings.profile, &settings.http.default_tenant) else {
        return Ok(());
    };
    let config = &running.services.config;
    cli::print_owner_sign_in_link(config, settings, running.addr, slug)
        .await
        .context("cannot make a sign-in link")
}

/// A server on threads of its own, for tests.
pub struct Spawned {
    pub addr: SocketAddr,
    pub tls_addr: Option<SocketAddr>,
    pub metrics_addr: Option<SocketAddr>,
    pub services: Services,
    pub directory: Directory,
    pub urls: Urls,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Starts a server on threads of its own and waits until it is ready.
pub fn spawn(settings: Settings) -> anyhow::Result<Spawned> {
    let (started, start_result) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || {
            let run = || -> anyhow::Result<()> {
                let system = system()?;
                system.block_on(async {
                    let running = start(settings).await?;
                    let seen = Spawned {
                        addr: running.addr,
                        tls_addr: running.tls_addr,
                        metrics_addr: running.metrics_addr,
                        services: running.services.clone(),
                        directory: running.directory.clone(),
                        urls: running.urls.clone(),
                        stop: None,
                        thread: None,
                    };
                    let _ = started.send(Ok(seen));
                    // A dropped sender is a stop too.
                    let _ = stopped.await;
                    running.stop().await;
                    Arbiter::current().stop();
                    Ok(())
                })
            };
            if let Err(error) = run() {
                let _ = started.send(Err(error));
            }
        })
        .context("cannot start the server's thread")?;
    let mut spawned = start_result.recv().context("the server's thread ended")??;
    spawned.stop = Some(stop);
    spawned.thread = Some(thread);
    Ok(spawned)
}

impl Spawned {
    /// Drains, stops and waits for the end. Blocks.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been reported by the hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
