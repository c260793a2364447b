//! Listeners and the HTTP servers on them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::BoxBody;
use actix_http::h1::{Codec, ExpectHandler};
use actix_http::{Extensions, HttpService, Request, TlsAcceptorConfig};
use actix_server::GracefulShutdownSignal;
use actix_service::{Service, ServiceFactory, map_config};
use actix_tls::accept::max_concurrent_tls_connect;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::{AppConfig, Server, ServerHandle, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data};
use actix_web::{App, Error, HttpServer};
use anyhow::Context as _;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio_util::sync::CancellationToken;

use super::{tls, wire};
use claw_actors::gateway::{Fingerprint, GatewaySettings, GatewayState};

use crate::http;
use crate::http::client::Encrypted;
use crate::http::gateway_socket::Wire;
use crate::http::state::AppState;
use crate::http::{health, upgrade};
use crate::settings::{Http, Settings};

/// Bytes of answers that HTTP gathers before it writes. Two pieces of this size fit into the room it starts with.
const WRITE_BUFFER: usize = 4096;

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
    let limits = settings.http.clone();
    let certificate = Fingerprint::default();
    let gateway = Data::new(GatewayState::new(
        state.services.clone(),
        state.directory.clone(),
        GatewaySettings {
            allowed_origins: settings.gateway.allowed_origins.clone(),
            url: state.urls.gateway("{tenant}"),
            certificate: certificate.clone(),
        },
    ));
    let builder = Server::build()
        .workers(wire::listen_threads(settings))
        .worker_max_blocking_threads(2)
        .max_concurrent_connections(limits.max_connections)
        .shutdown_timeout(3)
        .disable_signals();
    // A handshake under way is a connection like any other. By itself the acceptor stops its worker, all listeners of it,
    // at 256 of them.
    max_concurrent_tls_connect(limits.max_connections);
    let handshake = Duration::from_secs(limits.head_timeout_secs);
    let plain = Serving {
        state,
        gateway,
        limits,
        draining: builder.graceful_shutdown_signal(),
    };
    let encrypted = plain.clone();
    let user_timeout = Duration::from_secs(settings.http.tcp_user_timeout_secs);
    let mut builder = builder.listen("http", listeners.plain, move || {
        let met = move |socket: &TcpStream, _: &mut Extensions| watch_unacknowledged(socket, user_timeout);
        plain.clone().service(met).tcp()
    })?;
    if let Some(listener) = listeners.tls {
        let tls = tls::config(&settings.http.tls, certificate, stop)?;
        builder = builder.listen("https", listener, move || {
            let met = move |socket: &TlsStream<TcpStream>, about: &mut Extensions| {
                about.insert(Encrypted);
                watch_unacknowledged(socket.get_ref().0, user_timeout);
            };
            let service = encrypted.clone().service(met);
            let accepting = TlsAcceptorConfig::default().handshake_timeout(handshake);
            service.rustls_0_23_with_config(tls.clone(), accepting)
        })?;
    }
    let mut handles = vec![run(builder.run())];
    if let Some(listener) = listeners.metrics {
        let server = HttpServer::new(|| App::new().route("/metrics", web::get().to(health::open_metrics)))
            .workers(1)
            .disable_signals()
            .listen(listener)?;
        handles.push(run(server.run()));
    }
    Ok(handles)
}

/// What every worker makes its services from.
#[derive(Clone)]
struct Serving {
    state: Data<AppState>,
    gateway: Data<GatewayState>,
    limits: Http,
    /// Connections that wait for a next request are closed when it resolves, as actix-web's own server does it.
    draining: GracefulShutdownSignal,
}

impl Serving {
    /// HTTP on connections of one kind, and the sockets they become. `met` sees each connection first.
    ///
    /// Not actix-web's own server, because that has no place for `upgrade`.
    #[expect(clippy::type_complexity, reason = "what the builder gives has no shorter name")]
    fn service<T: Wire>(
        self,
        met: impl Fn(&T, &mut Extensions) + 'static,
    ) -> HttpService<
        T,
        impl ServiceFactory<
            Request,
            Config = (),
            Response = ServiceResponse,
            Error = Error,
            InitError = (),
            Service: Service<Request, Future: 'static>,
            Future: 'static,
        >,
        BoxBody,
        ExpectHandler,
        impl ServiceFactory<
            (Request, Framed<T, Codec>),
            Config = (),
            Response = (),
            Error = Error,
            InitError = (),
            Future: 'static,
        >,
    > {
        let (state, draining, limits) = (self.state.clone(), self.draining, self.limits);
        let app = App::new()
            .wrap(http::headers())
            .app_data(self.gateway.clone())
            .configure(move |config| http::routes(&state, config));
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let draining = draining.clone();
                async move { draining.notified().await }
            })
            .keep_alive(Duration::from_secs(limits.keep_alive_secs))
            .client_request_timeout(Duration::from_secs(limits.head_timeout_secs))
            .client_disconnect_timeout(Duration::from_secs(2))
            // Who closes has gone: an answer that nobody waits for is not worked on. Routes whose work must not stop
            // half-way run it to its end (`trace::to_the_end`).
            .h1_allow_half_closed(false)
            .tcp_nodelay(true)
            .h1_write_buffer_size(WRITE_BUFFER)
            .on_connect_ext(met)
            .upgrade(upgrade::service(self.state, self.gateway))
            .finish(map_config(app, |()| AppConfig::default()))
    }
}

/// A peer that vanished without a word must not hold a socket for hours.
fn watch_unacknowledged(stream: &TcpStream, after: Duration) {
    // Not supported on every system; nothing depends on it.
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(after));
}

/// Runs a server on the current runtime.
fn run(server: Server) -> ServerHandle {
    let handle = server.handle();
    actix_web::rt::spawn(server);
    handle
}
