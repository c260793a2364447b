//! The session cookie: `__Host-claw_session`, or `claw_session` on this machine's plain HTTP, where some browsers
//! refuse the first.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use claw_actors::crypto::Secret;

use crate::http::state::AppState;
use crate::http::tenant;

const SECURE: &str = "__Host-claw_session";
const PLAIN: &str = "claw_session";
/// The browser forgets the cookie after this time; the server may end the session earlier.
const MAX_AGE: Duration = Duration::days(30);

/// The value of the session cookie this request may use.
pub(crate) fn value(request: &HttpRequest, secure: bool) -> Option<Secret> {
    let cookie = request.cookie(SECURE).or_else(|| {
        if plain_allowed(request, secure) {
            request.cookie(PLAIN)
        } else {
            None
        }
    })?;
    Some(Secret::new(cookie.value()))
}

/// The cookie that opens a session.
pub(crate) fn open(request: &HttpRequest, state: &AppState, value: &Secret) -> Cookie<'static> {
    build(request, state, value.expose().to_owned(), MAX_AGE)
}

/// The cookie that makes the browser forget the session.
pub(crate) fn close(request: &HttpRequest, state: &AppState) -> Cookie<'static> {
    build(request, state, String::new(), Duration::ZERO)
}

fn build(request: &HttpRequest, state: &AppState, value: String, max_age: Duration) -> Cookie<'static> {
    let plain = plain_allowed(request, state.client(request).secure || state.urls.secure());
    Cookie::build(if plain { PLAIN } else { SECURE }, value)
        .path("/")
        .http_only(true)
        .secure(!plain)
        .same_site(SameSite::Lax)
        .max_age(max_age)
        .finish()
}

fn plain_allowed(request: &HttpRequest, secure: bool) -> bool {
    !secure && tenant::authority(request).is_some_and(tenant::is_loopback)
}
