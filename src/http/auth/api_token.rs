//! `Authorization: Bearer <personal API token>`.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use claw_actors::crypto::Secret;

/// The bearer token, if there is one. A doubled header is no proof, but it is an attempt: the token is then empty.
pub(crate) fn bearer(request: &HttpRequest) -> Option<Secret> {
    let mut lines = request.headers().get_all(AUTHORIZATION);
    let line = lines.next()?;
    if lines.next().is_some() {
        return Some(Secret::default());
    }
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim()))
}
