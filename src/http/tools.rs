//! `POST /tools/invoke` (`agent-runtime` §21.4): one tool of the agent's, called by a program.

use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError};
use claw_actors::Error;
use claw_actors::ports::message::Part;
use claw_actors::session::invoking::{self, Invocation, Invoked};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::state::AppState;
use super::{auth, body};
use crate::error::ApiError;

/// Largest body.
const MAX_BODY: usize = 2 * 1024 * 1024;
/// Longest sentence about a call that failed, characters.
const MAX_MESSAGE: usize = 500;

pub(super) fn resource() -> Resource {
    web::resource("/tools/invoke")
        .route(web::post().to(invoke))
        .default_service(web::to(no_such_method))
}

async fn no_such_method() -> HttpResponse {
    failure(
        &mut HttpResponse::MethodNotAllowed(),
        "method_not_allowed",
        "there is no such method here",
    )
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvokeIn {
    tool: String,
    /// Put into the arguments where the tool has such a parameter.
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    args: Value,
    /// The session whose agent and policy count.
    #[serde(default)]
    session_key: Option<String>,
    /// Says whether it would be called.
    #[serde(default)]
    dry_run: bool,
}

/// Body of a failure.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvokeFailed {
    /// False.
    pub ok: bool,
    pub error: InvokeError,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvokeError {
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
}

fn failure(answer: &mut actix_web::HttpResponseBuilder, kind: &str, message: &str) -> HttpResponse {
    answer.json(InvokeFailed {
        ok: false,
        error: InvokeError {
            kind: kind.to_owned(),
            message: message.to_owned(),
        },
    })
}

#[utoipa::path(post, path = "/tools/invoke", operation_id = "invokeTool", tag = "programs", request_body = InvokeIn,
    responses((status = 200, description = "What the tool gave: `{ok: true, result}`", body = Object)))]
pub(crate) async fn invoke(request: HttpRequest, payload: Payload, state: Data<AppState>) -> HttpResponse {
    match invoked(&request, payload, &state).await {
        Ok(answer) => answer,
        Err(error) => failure(
            &mut error.answering(error.status_code()),
            error.code().name(),
            &error.to_string(),
        ),
    }
}

async fn invoked(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<HttpResponse, ApiError> {
    let caller = auth::agent(request).await?;
    let place = state.place_of(caller.scope())?;
    let patience = std::time::Duration::from_secs(state.http.body_timeout_secs);
    let bytes = body::json_bytes(request, payload.into_inner(), MAX_BODY, patience).await?;
    let input: InvokeIn = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("the body is not as documented: {error}")))?;
    let tool = input.tool.clone();
    let asked = Invocation {
        tool: input.tool,
        action: input.action,
        arguments: input.args,
        session_key: input.session_key,
        dry_run: input.dry_run,
    };
    // On the runtime of outbound connections. A client that goes away cancels the call, which holds its place until it
    // has ended.
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    let (directory, scope) = (state.directory.clone(), caller.scope().clone());
    let call = state.services.io.spawn(async move {
        let _place = place;
        invoking::invoke(&directory, &scope, asked, cancel).await
    });
    let done = call.await.map_err(Error::internal)??;
    Ok(match done {
        Invoked::NoSuchTool => {
            let shown: String = tool.chars().filter(|letter| !letter.is_control()).take(100).collect();
            let message = format!("Tool not available: {shown}");
            failure(&mut HttpResponse::NotFound(), "not_found", &message)
        }
        Invoked::BadArguments(why) => failure(&mut HttpResponse::BadRequest(), "invalid_request", &why),
        Invoked::Would => HttpResponse::Ok().json(json!({"ok": true, "dryRun": true, "tool": tool})),
        Invoked::Done(output) if output.is_error => {
            let texts = output.content.iter().filter_map(Part::text);
            let message: String = texts.collect::<Vec<_>>().join("\n").chars().take(MAX_MESSAGE).collect();
            failure(&mut HttpResponse::InternalServerError(), "tool_error", &message)
        }
        Invoked::Done(output) => {
            let mut result = json!({"content": output.content});
            if let Some(details) = output.details {
                result["details"] = details;
            }
            HttpResponse::Ok().json(json!({"ok": true, "result": result}))
        }
    })
}
