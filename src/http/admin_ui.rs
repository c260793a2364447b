//! The Admin UI: embedded files with validators, a strict content security policy, and the shell for every page of it.

use std::borrow::Cow;

use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
    STRICT_TRANSPORT_SECURITY,
};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::Error;
use claw_admin_ui::Asset;

use super::state::AppState;
use super::tenant;
use crate::error::{ApiError, ApiResult};

/// Paths that belong to machines: nothing below them is a page.
const NOT_PAGES: [&str; 9] = [
    "api", "webhooks", "gateway", "v1", "mcp", "hooks", "tools", "metrics", "j",
];
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// `GET /`: the shell, to anyone, never a redirect.
pub(crate) async fn root(request: HttpRequest, state: Data<AppState>) -> ApiResult<HttpResponse> {
    // A suspended tenant's too: the page says what is the matter.
    tenant::known(&request, &state).await?;
    shell(&request, &state)
}

/// Everything that no route takes: a file of the UI, a page of the UI, or nothing.
pub(crate) async fn other(request: HttpRequest, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let path = request.path().trim_start_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    let readable = request.method() == Method::GET || request.method() == Method::HEAD;
    if !readable || NOT_PAGES.contains(&first) {
        return Err(ApiError::not_found(""));
    }
    tenant::known(&request, &state).await?;
    if let Some(asset) = claw_admin_ui::get(path) {
        return Ok(serve(&request, &state, asset));
    }
    if accepts_html(&request) {
        return shell(&request, &state);
    }
    Err(ApiError::not_found(""))
}

fn shell(request: &HttpRequest, state: &AppState) -> ApiResult<HttpResponse> {
    let shell = claw_admin_ui::shell().ok_or_else(|| Error::internal("the Admin UI was not built in"))?;
    Ok(serve(request, state, shell))
}

fn serve(request: &HttpRequest, state: &AppState, asset: Asset) -> HttpResponse {
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| {
            list.split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == asset.etag)
        });
    let mut answer = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    let caching = if asset.immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    // Weak: the bytes on the wire may be compressed.
    answer
        .insert_header((ETAG, format!("W/{}", asset.etag)))
        .insert_header((CACHE_CONTROL, caching))
        .insert_header((CONTENT_SECURITY_POLICY, claw_admin_ui::CONTENT_SECURITY_POLICY))
        .insert_header((PERMISSIONS_POLICY, "geolocation=(), payment=(), usb=()"));
    if state.client(request).secure {
        answer.insert_header((STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")));
    }
    if known {
        return answer.finish();
    }
    answer.content_type(asset.content_type).body(match asset.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    })
}

fn accepts_html(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}
