//! REST for the Admin UI and for scripts, one file per resource.

pub mod activity;
pub mod approvals;
pub mod audit;
pub mod blobs;
pub mod channels;
pub mod hook_tokens;
pub mod mcp_servers;
pub mod models;
pub mod openapi;
pub mod pairing;
pub mod providers;
pub mod session;
pub mod skills;
pub mod tokens;
pub mod users;

use actix_web::{HttpResponse, Resource, web};
use claw_actors::Error;

use crate::error::{ApiResult, ErrorBody, ErrorDetail};

/// A path whose other methods are refused in our own shape.
fn resource(path: &str) -> Resource {
    web::resource(path).default_service(web::to(no_such_method))
}

async fn no_such_method() -> HttpResponse {
    HttpResponse::MethodNotAllowed().json(ErrorBody {
        error: ErrorDetail {
            code: "method_not_allowed",
            message: "there is no such method here".to_owned(),
            error_id: None,
        },
    })
}

/// Refuses a name that is empty, padded, too long, or holds control characters.
fn check_name(what: &str, name: &str, longest: usize) -> ApiResult<()> {
    let length = name.chars().count();
    if (1..=longest).contains(&length) && name.trim() == name && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} must have 1 to {longest} characters on one line")).into())
}

/// Refuses an id that could not stand in a path or a reference.
fn check_id(what: &str, id: &str) -> ApiResult<()> {
    let fits = (1..=64).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fits {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} must have 1 to 64 letters, digits, -, _ or .")).into())
}
