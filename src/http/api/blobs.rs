//! Bytes of attachments, to their owner alone.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::session::blobs;

use super::resource;
use crate::error::{ApiError, ApiResult};
use crate::http::auth::Caller;
use crate::http::state::AppState;

/// What a browser may show. Anything else is bytes to save.
const SHOWN: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Whatever the bytes are, they are no page: nothing runs, nothing is loaded, and they have no origin.
const NO_PAGE: &str = "default-src 'none'; sandbox";

pub fn routes(config: &mut ServiceConfig) {
    config.service(resource("/blobs/{id}").route(web::get().to(get)));
}

#[utoipa::path(get, path = "/api/blobs/{id}", operation_id = "getBlob", tag = "blobs",
    params(("id" = String, Path, description = "`ref` of an image in a transcript")),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "They are those of `If-None-Match`"),
    ))]
pub async fn get(
    request: HttpRequest,
    caller: Caller,
    state: Data<AppState>,
    id: Path<String>,
) -> ApiResult<HttpResponse> {
    let Some(blob) = blobs::read(&state.services, caller.scope(), &id).await? else {
        return Err(ApiError::not_found("blob"));
    };
    let etag = format!("\"{}\"", blob.sha256);
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let mut answer = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    // Asked for again each time, so that nobody sees it who is no longer let in.
    answer
        .insert_header((ETAG, etag))
        .insert_header((CACHE_CONTROL, "private, no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, NO_PAGE));
    if known {
        return Ok(answer.finish());
    }
    let shown = SHOWN.iter().find(|kind| **kind == blob.mime_type);
    if shown.is_none() {
        answer.insert_header((CONTENT_DISPOSITION, "attachment"));
    }
    Ok(answer
        .content_type(*shown.unwrap_or(&"application/octet-stream"))
        .body(blob.bytes))
}
