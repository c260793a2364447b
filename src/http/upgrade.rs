//! The way from an HTTP connection to a socket of its own: an upgrade is answered by an application like any request,
//! and if that let it in, the connection is the socket's from then on, without what the HTTP layer kept for it.

use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::{BodySize, MessageBody, to_bytes};
use actix_http::h1::{Codec, Message};
use actix_http::{ConnectionType, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, fn_factory};
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::{App, Error, HttpResponse, web::Data};
use claw_actors::gateway::GatewayState;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, SinkExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::gateway_socket::{self, Entry, Wire};
use super::state::AppState;

/// How long the peer of a refused upgrade may take to read why.
const REFUSED: Duration = Duration::from_secs(2);

/// Answers what asks for another protocol (`Upgrade: websocket`, or `CONNECT`, of HTTP/1).
#[expect(clippy::type_complexity, reason = "a service's factory has no shorter name")]
pub(crate) fn service<T: Wire>(
    state: Data<AppState>,
    gateway: Data<GatewayState>,
) -> impl ServiceFactory<
    (Request, Framed<T, Codec>),
    Config = (),
    Response = (),
    Error = Error,
    InitError = (),
    Service: Service<(Request, Framed<T, Codec>), Future: 'static>,
    Future: 'static,
> {
    fn_factory(move || {
        let (state, gateway) = (state.clone(), gateway.clone());
        let app = App::new()
            .app_data(gateway)
            .wrap(super::headers())
            .configure(move |config| super::socket_routes(&state, config));
        app.into_factory()
            .new_service(AppConfig::default())
            .map(|app| app.map(|app| Upgrade(Rc::new(app))))
    })
}

struct Upgrade<S>(Rc<S>);

impl<S, B, T> Service<(Request, Framed<T, Codec>)> for Upgrade<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    T: Wire,
{
    type Response = ();
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<(), Error>>;

    actix_service::always_ready!();

    fn call(&self, (request, framed): (Request, Framed<T, Codec>)) -> Self::Future {
        let app = Rc::clone(&self.0);
        // What goes wrong with a socket is between it and its peer.
        async move {
            let _ = answer(&*app, request, framed).await;
            Ok(())
        }
        .boxed_local()
    }
}

/// Answers the request, and stays with its connection until that ends.
async fn answer<S, B, T>(app: &S, request: Request, mut framed: Framed<T, Codec>) -> std::io::Result<()>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
    T: Wire,
{
    let mut response = match app.call(request).await {
        Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
        Err(error) => HttpResponse::from_error(error),
    };
    let entry = response.extensions_mut().remove::<Entry>();
    let (head, body) = Response::from(response).into_parts();
    let Some(entry) = entry else {
        return refuse(head, body, framed).await;
    };
    framed.send(Message::Item((head, BodySize::None))).await?;
    let parts = framed.into_parts();
    gateway_socket::run(entry, parts.io, parts.read_buf).await;
    Ok(())
}

async fn refuse<T: Wire>(
    mut head: Response<()>,
    body: impl MessageBody,
    mut framed: Framed<T, Codec>,
) -> std::io::Result<()> {
    let body = to_bytes(body).await.unwrap_or_default();
    head.head_mut().set_connection_type(ConnectionType::Close);
    let said = async {
        let size = BodySize::Sized(body.len() as u64);
        framed.feed(Message::Item((head, size))).await?;
        framed.feed(Message::Chunk(Some(body))).await?;
        framed.send(Message::Chunk(None)).await?;
        let mut io = framed.into_parts().io;
        io.shutdown().await?;
        // A socket that is closed with unread bytes is reset, and its peer may not have read why.
        let mut unread = [0; 512];
        while io.read(&mut unread).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(REFUSED, said).await.unwrap_or(Ok(()))
}
