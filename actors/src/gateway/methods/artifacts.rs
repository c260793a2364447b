//! `artifacts.*`: stored images of a session's transcript.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{filled, session_key};
use crate::config::devices::without_nulls;
use crate::conversation::artifacts::Artifact;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;
use crate::session::{blobs, record};

/// Largest file that is sent through the socket, bytes; larger ones are fetched from their address.
const LARGEST: i64 = 8 * 1024 * 1024;

pub(super) fn register(methods: &mut Methods) {
    methods.add("artifacts.list", Access::Scope(READ), list);
    methods.add("artifacts.get", Access::Scope(READ), get);
    methods.add("artifacts.download", Access::Scope(READ), download);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    session_key: Option<String>,
    run_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneParams {
    artifact_id: String,
    #[serde(flatten)]
    place: Place,
}

/// What there is, with the key of its session.
async fn find(method: &str, call: &Call, place: &Place) -> Result<(Vec<Artifact>, Value), WireError> {
    let (services, scope) = (&call.state.services, call.scope());
    let key = match (&place.session_key, &place.run_id) {
        (Some(given), _) => {
            filled(method, "sessionKey", given)?;
            Some(session_key(call, given).await?)
        }
        (None, Some(run)) => record::session_of_run(services, scope, run).await?,
        (None, None) => return Err(WireError::invalid(format!("{method} requires sessionKey or runId"))),
    };
    let Some(key) = key else {
        return Err(WireError::invalid("no session found for artifact query"));
    };
    let found = services
        .conversation
        .artifacts(scope, &key, place.run_id.as_deref())
        .await?;
    Ok((found, json!(key)))
}

async fn list(call: Call, params: Place) -> Result<Value, WireError> {
    let (found, key) = find("artifacts.list", &call, &params).await?;
    let views: Vec<Value> = found.iter().map(|artifact| view(artifact, &key)).collect();
    Ok(json!({"artifacts": views}))
}

async fn get(call: Call, params: OneParams) -> Result<Value, WireError> {
    let (artifact, key) = one("artifacts.get", &call, &params).await?;
    Ok(json!({"artifact": view(&artifact, &key)}))
}

async fn download(call: Call, params: OneParams) -> Result<Value, WireError> {
    let (artifact, key) = one("artifacts.download", &call, &params).await?;
    let mut answer = json!({"artifact": view(&artifact, &key)});
    match mode(&artifact) {
        "bytes" => {
            let stored = blobs::read(&call.state.services, call.scope(), &artifact.id).await?;
            let stored = stored.ok_or_else(|| missing(&artifact.id))?;
            answer["encoding"] = json!("base64");
            answer["data"] = json!(STANDARD.encode(stored.bytes));
        }
        "url" => answer["url"] = json!(format!("/api/blobs/{}", artifact.id)),
        _ => return Err(missing(&artifact.id)),
    }
    Ok(answer)
}

async fn one(method: &str, call: &Call, params: &OneParams) -> Result<(Artifact, Value), WireError> {
    filled(method, "artifactId", &params.artifact_id)?;
    let (found, key) = find(method, call, &params.place).await?;
    let artifact = found.into_iter().find(|artifact| artifact.id == params.artifact_id);
    Ok((artifact.ok_or_else(|| missing(&params.artifact_id))?, key))
}

fn missing(id: &str) -> WireError {
    WireError::invalid(format!("artifact not found: {id}"))
}

fn mode(artifact: &Artifact) -> &'static str {
    match artifact.size {
        Some(size) if size <= LARGEST => "bytes",
        Some(_) => "url",
        None => "unsupported",
    }
}

fn view(artifact: &Artifact, key: &Value) -> Value {
    let ending = artifact.mime_type.rsplit('/').next().unwrap_or_default();
    let kind = match artifact.mime_type.split('/').next() {
        Some("image") => "image",
        Some("audio") => "audio",
        Some(_) | None => "file",
    };
    without_nulls(json!({
        "id": artifact.id, "type": kind, "title": format!("{kind}.{ending}"), "mimeType": artifact.mime_type,
        "sizeBytes": artifact.size, "sessionKey": key, "runId": artifact.run_id, "messageSeq": artifact.seq,
        "source": if artifact.of_tool { "tool" } else { "user" }, "download": {"mode": mode(artifact)},
    }))
}
