//! (a stand-in until the real one is merged)

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::Services;
use claw_actors::config::identity::{Identity, Tenant};
use claw_actors::supervisor::directory::Directory;

pub(crate) struct GatewayState {
    pub services: Services,
    pub directory: Directory,
}

pub(crate) struct ClientFacts {
    pub address: IpAddr,
    pub local: bool,
}

#[expect(clippy::unused_async, reason = "a stand-in")]
pub(crate) async fn upgrade(
    _request: &HttpRequest,
    _payload: Payload,
    _state: &GatewayState,
    _tenant: Arc<Tenant>,
    _facts: ClientFacts,
    _identity: Option<Identity>,
) -> Result<HttpResponse, actix_web::Error> {
    Ok(HttpResponse::NotImplemented().finish())
}
