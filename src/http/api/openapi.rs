//! The OpenAPI document of the REST API. Public.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, RefOr};
use utoipa::{Modify, OpenApi};

use super::{
    activity, approvals, audit, blobs, budgets, channels, mcp_servers, models, pairing, providers, resource, session,
    skill_store, skills, tokens, transcripts, users,
};
use crate::error::ErrorBody;
use crate::http::{tools, v1};

pub fn routes(config: &mut ServiceConfig) {
    config.service(resource("/openapi.json").route(web::get().to(get)));
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ClawCentral",
        description = "What a tenant of ClawCentral can see and change, and the agent for other programs. Sessions and chat go through the gateway socket.",
    ),
    paths(
        session::get, session::create, session::delete, session::set_password, session::change_profile,
        tokens::list, tokens::create, tokens::delete,
        providers::list, providers::put, providers::delete, providers::put_key, providers::delete_key,
        providers::order_keys, providers::retry_key, models::list,
        channels::list, channels::put, channels::delete,
        pairing::list, pairing::approve, pairing::dismiss, pairing::create_link_code,
        approvals::list, approvals::decide,
        activity::list, activity::retry_inbox, activity::retry_outbox,
        audit::list, blobs::get,
        budgets::list, budgets::create, budgets::change, budgets::delete,
        tokens::list_hooks, tokens::create_hook, tokens::delete_hook,
        skill_store::search, skill_store::detail, skill_store::preview, skill_store::install, skill_store::check,
        mcp_servers::list, mcp_servers::put, mcp_servers::delete, mcp_servers::test, mcp_servers::approve,
        skills::list, skills::install, skills::get, skills::change, skills::delete,
        transcripts::get, transcripts::create,
        users::list, users::create, users::change,
        v1::models::list, v1::models::get, v1::chat::create, v1::responses::create, v1::embeddings::create, tools::invoke,
    ),
    components(schemas(ErrorBody, v1::error::V1ErrorBody, tools::InvokeFailed)),
    security(("token" = []), ("session" = [])),
    modifiers(&Common),
)]
struct Document;

/// What every operation has: two ways to prove who asks, and the ways to fail.
struct Common;

const FAILURES: [(&str, &str); 12] = [
    ("400", "The request is not as documented"),
    ("401", "No proof of who asks, or a wrong one"),
    ("403", "Known, but not allowed"),
    ("404", "Not there, or not theirs"),
    ("409", "It exists already, or was changed by somebody else"),
    ("413", "The body is too large"),
    ("429", "Too many requests; `Retry-After` says when to come back"),
    ("405", "There is no such method here"),
    ("500", "Something went wrong on our side"),
    ("502", "A service behind us failed"),
    ("503", "Storage is unavailable; `Retry-After` says when to come back"),
    ("504", "Somebody behind us did not answer in time"),
];

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.add_security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-claw_session"))),
        );
        for (path, item) in &mut document.paths.paths {
            let schema = failure_schema(path);
            for operation in operations(item) {
                for (status, description) in FAILURES {
                    operation
                        .responses
                        .responses
                        .entry(status.to_owned())
                        .or_insert_with(|| failure(description, schema));
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .flatten()
}

/// Each API has its own shape of failures.
fn failure_schema(path: &str) -> &'static str {
    if path.starts_with("/v1/") {
        "V1ErrorBody"
    } else if path.starts_with("/tools/") {
        "InvokeFailed"
    } else {
        "ErrorBody"
    }
}

fn failure(description: &str, schema: &str) -> RefOr<Response> {
    let mut response = Response::new(description);
    response.content.insert(
        "application/json".to_owned(),
        RefOr::T(Content::new(Some(Ref::from_schema_name(schema)))),
    );
    RefOr::T(response)
}

/// The document as JSON text.
pub fn document() -> String {
    Document::openapi()
        .to_pretty_json()
        .expect("the document is made of maps with text keys")
}

async fn get() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_operation_documents_its_failures() {
        let document: Value = serde_json::from_str(&document()).expect("JSON");
        let mut seen = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                assert!(operation["responses"]["429"]["content"].is_object(), "{method} {path}");
                assert!(operation["operationId"].is_string(), "{method} {path}");
                seen.push(format!("{method} {path}"));
            }
        }
        seen.sort();
        insta::assert_snapshot!(seen.join("\n"));
    }
}
