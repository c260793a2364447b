//! Listeners and the HTTP servers on them.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::{Server, ServerHandle};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data};
use actix_web::{App, HttpServer};
use anyhow::Context as _;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio_util::sync::CancellationToken;

use super::{tls, wire};
use claw_actors::gateway::{GatewaySettings, GatewayState};

use crate::http;
use crate::http::gateway_socket::WRITE_BUFFER;
use crate::http::health;
use crate::http::state::AppState;
use crate::settings::Settings;
use crate::telemetry;

/// Sockets that are bound but not yet served: a taken port stops the start before anything else happens.
pub(super) struct Listeners {
    pub addr: SocketAddr,
    pub tls_addr: Option<SocketAddr>,
    pub metrics_addr: Option<SocketAddr>,
    plain: TcpListener,
    tls: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

pub(super) fn bind(settings: &Settings) -> anyhow::Result<Listeners> {
    let backlog = settings.http.backlog;
    let plain = listener("http.listen", settings.http.listen, backlog)?;
    let optional =
        |key, address: Option<SocketAddr>| address.map(|address| listener(key, address, backlog)).transpose();
    let tls = optional("http.tls.listen", settings.http.tls.listen)?;
    let metrics = optional("telemetry.metrics_listen", settings.telemetry.metrics_listen)?;
    Ok(Listeners {
        addr: plain.local_addr()?,
        tls_addr: tls.as_ref().map(TcpListener::local_addr).transpose()?,
        metrics_addr: metrics.as_ref().map(TcpListener::local_addr).transpose()?,
        plain,
        tls,
        metrics,
    })
}

fn listener(key: &str, address: SocketAddr, backlog: u32) -> anyhow::Result<TcpListener> {
    let open = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().with_context(|| format!("{key}: cannot listen on {address}"))
}

/// Serves what was bound.
pub(super) fn serve(
    listeners: Listeners,
    settings: &Settings,
    state: Data<AppState>,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<ServerHandle>> {
    telemetry::metrics();
    let limits = settings.http.clone();
    let gateway = Data::new(GatewayState::new(
        state.services.clone(),
        state.directory.clone(),
        GatewaySettings {
            allowed_origins: settings.gateway.allowed_origins.clone(),
            url: state.urls.gateway("{tenant}"),
        },
    ));
    let user_timeout = Duration::from_secs(limits.tcp_user_timeout_secs);
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(gateway.clone())
            .wrap(http::headers())
            .configure(|config| http::routes(&state, config))
    })
    .workers(wire::listen_threads(settings))
    .worker_max_blocking_threads(2)
    .max_connections(limits.max_connections)
    .keep_alive(Duration::from_secs(limits.keep_alive_secs))
    .client_request_timeout(Duration::from_secs(limits.head_timeout_secs))
    .client_disconnect_timeout(Duration::from_secs(2))
    // Who closes has gone: an answer that nobody waits for is not worked on. Routes whose work must not stop half-way
    // run it to its end (`trace::to_the_end`).
    .h1_allow_half_closed(false)
    .tcp_nodelay(true)
    .h1_write_buffer_size(WRITE_BUFFER)
    .on_connect(move |connection, _| watch_unacknowledged(connection, user_timeout))
    .shutdown_timeout(3)
    .disable_signals()
    .listen(listeners.plain)?;
    if let Some(listener) = listeners.tls {
        server = server.listen_rustls_0_23(listener, tls::config(&settings.http.tls, stop)?)?;
    }
    let mut handles = vec![run(server.run())];
    if let Some(listener) = listeners.metrics {
        let server = HttpServer::new(|| App::new().route("/metrics", web::get().to(health::open_metrics)))
            .workers(1)
            .disable_signals()
            .listen(listener)?;
        handles.push(run(server.run()));
    }
    Ok(handles)
}

/// A peer that vanished without a word must not hold a socket for hours.
fn watch_unacknowledged(connection: &dyn Any, after: Duration) {
    let encrypted = connection.downcast_ref::<TlsStream<TcpStream>>();
    let stream = match encrypted {
        Some(tls) => Some(tls.get_ref().0),
        None => connection.downcast_ref::<TcpStream>(),
    };
    if let Some(stream) = stream {
        // Not supported on every system; nothing depends on it.
        let _ = SockRef::from(stream).set_tcp_user_timeout(Some(after));
    }
}

/// Runs a server on the current runtime.
fn run(server: Server) -> ServerHandle {
    let handle = server.handle();
    actix_web::rt::spawn(server);
    handle
}
