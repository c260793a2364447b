//! The Origin check: a page of another site must not act with our cookie.

use actix_web::HttpRequest;
use actix_web::http::header::ORIGIN;
use claw_actors::config::identity::Tenant;

use crate::error::{ApiError, ApiResult};
use crate::http::client::Client;
use crate::http::state::AppState;
use crate::http::tenant;

/// Refuses unless `Origin` is there, once, and is the tenant's own.
pub(crate) fn check(request: &HttpRequest, state: &AppState, tenant: &Tenant, client: &Client) -> ApiResult<()> {
    match origin(request) {
        Some(origin) if is_own(origin, request, state, tenant, client) => Ok(()),
        Some(_) | None => Err(ApiError::forbidden("the request does not come from this site")),
    }
}

/// The `Origin` header. `None` when it is missing, doubled or not text.
pub(crate) fn origin(request: &HttpRequest) -> Option<&str> {
    let mut lines = request.headers().get_all(ORIGIN);
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() { None } else { Some(line) }
}

/// Is this the tenant's own origin: the host the client asked for, or the tenant's public address.
pub(crate) fn is_own(origin: &str, request: &HttpRequest, state: &AppState, tenant: &Tenant, client: &Client) -> bool {
    if origin == state.urls.tenant(&tenant.slug) {
        return true;
    }
    let scheme = if client.secure { "https://" } else { "http://" };
    origin
        .strip_prefix(scheme)
        .zip(tenant::authority(request))
        .is_some_and(|(host, authority)| authority.eq_ignore_ascii_case(host))
}
