//! REST for the Admin UI and for scripts, one file per resource.

pub mod activity;
pub mod approvals;
pub mod audit;
pub mod blobs;
pub mod budgets;
pub mod channels;
pub mod mcp_servers;
pub mod models;
pub mod openapi;
pub mod pairing;
pub mod providers;
pub mod session;
pub mod skill_store;
pub mod skills;
pub mod tokens;
pub mod transcripts;
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
