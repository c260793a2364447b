//! Transcripts as OpenClaw's JSON lines, out and in.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use claw_actors::Error;
use claw_actors::conversation::jsonl;
use claw_actors::conversation::portable::Imported;
use claw_actors::session::blobs::Room;
use claw_actors::session::{key, routing};
use claw_entities::SessionKey;
use futures::stream;
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::Caller;
use crate::http::body::BytesIn;
use crate::http::state::AppState;

/// Largest file, bytes; it is in memory as a whole, and some times over while it is read.
const MAX_FILE: usize = 32 * 1024 * 1024;
/// One file is read at a time in the process.
static READING: Semaphore = Semaphore::const_new(1);
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

const JSONL: &str = "application/jsonl";
/// What a file may call itself. Forms of other sites can send none of these.
const KINDS: [&str; 4] = [
    JSONL,
    "application/x-ndjson",
    "application/jsonlines",
    "application/octet-stream",
];

pub fn routes(config: &mut ServiceConfig) {
    config.service(
        resource("/sessions/{key}/transcript")
            .route(web::get().to(get))
            .route(web::post().to(create)),
    );
}

/// What became of a file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportedOut {
    pub session_key: String,
    pub session_id: String,
    pub entries: usize,
    /// Lines that could not be read, or are of no kind that is known.
    pub skipped: usize,
}

impl From<Imported> for ImportedOut {
    fn from(imported: Imported) -> Self {
        Self {
            session_key: imported.session_key.into(),
            session_id: imported.session_id,
            entries: imported.entries,
            skipped: imported.skipped,
        }
    }
}

#[utoipa::path(get, path = "/api/sessions/{key}/transcript", operation_id = "exportTranscript", tag = "sessions",
    params(("key" = String, Path, description = "The session's key; may be short")),
    responses((status = 200, description = "OpenClaw's transcript format, version 3: a session and its entries, a JSON object per line, files inline",
        body = String, content_type = "application/jsonl")))]
pub async fn get(caller: Caller, state: Data<AppState>, key: Path<String>) -> ApiResult<HttpResponse> {
    // What an agent said can be had when the agent is gone.
    let (key, _) = session(&state, &caller, &key).await?;
    let export = state.services.conversation.export(caller.scope(), &key).await?;
    let lines = stream::try_unfold(export, async |mut export| {
        let line = export.next().await?;
        Ok::<_, Error>(line.map(|line| (Bytes::from(line + "\n"), export)))
    });
    Ok(HttpResponse::Ok()
        .content_type(JSONL)
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"transcript.jsonl\""))
        .streaming(Box::pin(lines)))
}

#[utoipa::path(post, path = "/api/sessions/{key}/transcript", operation_id = "importTranscript", tag = "sessions",
    params(("key" = String, Path, description = "The key of the session that is made; may be short")),
    request_body(content((String = "application/jsonl"), (Vec<u8> = "application/octet-stream")),
        description = "As it is exported, 32 MiB at most. What is not understood is left out and counted"),
    responses((status = 201, body = ImportedOut)))]
pub async fn create(
    caller: Caller,
    state: Data<AppState>,
    key: Path<String>,
    body: BytesIn,
) -> ApiResult<HttpResponse> {
    let (key, has_agent) = session(&state, &caller, &key).await?;
    if !has_agent {
        return Err(Error::NotFound { what: "session" }.into());
    }
    // Before the file is in memory.
    let _place = state.place_of(caller.scope())?;
    let bytes = body.read(&KINDS, MAX_FILE).await?;
    let turn = tokio::time::timeout(PATIENCE, READING.acquire()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Error::Busy {
            message: "other transcripts are being read; try again in a moment".to_owned(),
            retry_after: Duration::from_secs(5),
        }
        .into());
    };
    // The turn goes along: it is not over when the client goes away.
    let read = web::block(move || {
        let text = String::from_utf8(bytes).map_err(|_| Error::invalid("the file is not UTF-8"))?;
        jsonl::parse(&text).map(|parsed| (parsed, turn))
    });
    let (parsed, _turn) = read.await.map_err(Error::internal)??;
    let limits = &state.services.limits;
    let room = Room {
        bytes: limits.stored_bytes,
        unused: limits.stored_unused,
    };
    let imported = state
        .services
        .conversation
        .import(caller.scope(), &key, parsed, room)
        .await?;
    Ok(HttpResponse::Created().json(ImportedOut::from(imported)))
}

/// The session a path names, and whether its agent is there.
async fn session(state: &AppState, caller: &Caller, named: &str) -> ApiResult<(SessionKey, bool)> {
    let settings = state.services.config.settings(caller.scope()).await?;
    let resolved = key::resolve(named, &routing::default_agent(&settings))?;
    let has_agent = settings.has_agent(key::agent_of(&resolved));
    Ok((resolved, has_agent))
}
