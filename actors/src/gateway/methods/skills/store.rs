//! `skills.search`, `skills.detail`, `skills.install`, the registry's form of `skills.update`, and `skills.upload.*`:
//! parameters and results as `@openclaw/gateway-protocol` 2026.9.6 has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::devices::without_nulls;
use crate::config::skills::{NewUpload, Skill, Upload};
use crate::error::{Code, Error};
use crate::gateway::methods::agents::known_agent;
use crate::gateway::methods::filled;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};
use crate::gateway::skill_store::{Consent, Store, Updated, Wish};

/// Results of a search: without a limit, and at most.
const HITS: usize = 20;
const MOST_HITS: usize = 100;
/// Longest piece of an upload, characters of base64.
const MAX_PIECE: usize = 5_592_408;

pub(super) fn register(methods: &mut Methods) {
    methods.add("skills.search", Access::Scope(READ), search);
    methods.add("skills.detail", Access::Scope(READ), detail);
    methods.add("skills.install", Access::Scope(ADMIN), install);
    methods.add("skills.upload.begin", Access::Scope(ADMIN), begin);
    methods.add("skills.upload.chunk", Access::Scope(ADMIN), chunk);
    methods.add("skills.upload.commit", Access::Scope(ADMIN), commit);
}

fn store(call: &Call) -> Store<'_> {
    Store::new(&call.state.directory, &call.state.services.config, call.scope())
}

#[derive(Deserialize)]
struct SearchParams {
    query: Option<String>,
    limit: Option<usize>,
}

async fn search(call: Call, params: SearchParams) -> Result<Value, WireError> {
    let limit = params.limit.unwrap_or(HITS);
    if !(1..=MOST_HITS).contains(&limit) {
        return Err(WireError::invalid(format!(
            "invalid skills.search params: at /limit: must be between 1 and {MOST_HITS}"
        )));
    }
    let found = store(&call)
        .search(params.query.as_deref().unwrap_or_default(), limit)
        .await?;
    let results: Vec<Value> = found
        .into_iter()
        .map(|hit| {
            let reference = match &hit.publisher {
                Some(publisher) => format!("@{publisher}/{}", hit.slug),
                None => hit.slug.clone(),
            };
            without_nulls(json!({
                "score": hit.score, "slug": hit.slug, "installRef": reference, "displayName": hit.name,
                "summary": hit.summary, "version": hit.version, "updatedAt": hit.updated_at,
            }))
        })
        .collect();
    Ok(json!({"results": results}))
}

#[derive(Deserialize)]
struct DetailParams {
    slug: String,
}

async fn detail(call: Call, params: DetailParams) -> Result<Value, WireError> {
    filled("skills.detail", "slug", &params.slug)?;
    let detail = store(&call).detail(&params.slug).await?;
    let tags: serde_json::Map<String, Value> = detail
        .tags
        .into_iter()
        .map(|(name, version)| (name, json!(version)))
        .collect();
    let latest = detail.latest.map(|latest| {
        without_nulls(json!({
            "version": latest.version, "createdAt": latest.created_at, "changelog": latest.changelog,
        }))
    });
    let owner = detail
        .publisher
        .map(|publisher| json!({"handle": publisher.handle, "displayName": publisher.name, "image": publisher.image}));
    let skill = without_nulls(json!({
        "slug": detail.slug, "displayName": detail.name, "summary": detail.summary, "tags": tags,
        "createdAt": detail.created_at, "updatedAt": detail.updated_at,
    }));
    Ok(json!({
        "skill": skill, "latestVersion": latest, "metadata": {"os": detail.os, "systems": detail.systems},
        "owner": owner,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstallParams {
    source: Option<String>,
    agent_id: Option<String>,
    slug: Option<String>,
    version: Option<String>,
    #[serde(default)]
    force: bool,
    upload_id: Option<String>,
    sha256: Option<String>,
}

/// Skills are the user's, so an agent's id only has to exist. `force` is a yes to both questions that a person could be
/// asked: taking the place of another skill, and what the registry finds suspicious.
async fn install(call: Call, params: InstallParams) -> Result<Value, WireError> {
    if let Some(agent) = &params.agent_id {
        known_agent(&call, agent).await?;
    }
    match params.source.as_deref() {
        Some("clawhub") => install_listed(&call, params).await,
        Some("upload") => install_upload(&call, params).await,
        Some(_) => Err(WireError::invalid(
            "invalid skills.install params: at /source: must be clawhub or upload",
        )),
        // The original runs brew, npm, go or uv on its own machine.
        None => Err(WireError::unavailable(
            "programs cannot be installed here: a skill's programs are those of a connected device",
        )),
    }
}

async fn install_listed(call: &Call, params: InstallParams) -> Result<Value, WireError> {
    let slug = needed("skills.install", "slug", params.slug)?;
    let wish = Wish::Registry {
        slug,
        version: params.version,
    };
    let consent = Consent {
        replace: params.force,
        suspicious: params.force,
        sha256: None,
    };
    let skill = store(call).install(&wish, &consent).await?;
    let listing = skill.listing().cloned().unwrap_or_default();
    let mut answer = installed(&skill, &listing.slug);
    answer["message"] = json!(format!("Installed {}@{}", listing.slug, listing.version));
    answer["version"] = json!(listing.version);
    if listing.suspicious {
        answer["warning"] = json!("the registry finds this skill suspicious");
    }
    Ok(answer)
}

async fn install_upload(call: &Call, params: InstallParams) -> Result<Value, WireError> {
    let slug = needed("skills.install", "slug", params.slug)?;
    let id = needed("skills.install", "uploadId", params.upload_id)?;
    let config = &call.state.services.config;
    let said = (slug.as_str(), params.force, params.sha256.as_deref());
    let bytes = config.whole_upload(call.scope(), &id, said).await?;
    let skill = match store(call).install_upload(bytes, params.force).await {
        Ok(skill) => skill,
        Err(error) => {
            // What is no skill never becomes one; what met another skill may be tried again.
            if matches!(error.code(), Code::Invalid | Code::TooLarge) {
                config.drop_upload(call.scope(), &id).await?;
            }
            return Err(error.into());
        }
    };
    config.drop_upload(call.scope(), &id).await?;
    let mut answer = installed(&skill, &slug);
    answer["sha256"] = json!(skill.sha256);
    Ok(answer)
}

fn installed(skill: &Skill, slug: &str) -> Value {
    json!({
        "ok": true, "message": format!("Installed {slug}"), "stdout": "", "stderr": "", "code": 0, "slug": slug,
        "targetDir": format!("skill://{}", skill.key),
    })
}

/// `skills.update` with `source: clawhub`.
pub(super) async fn update(
    call: &Call,
    source: &str,
    (slug, all, force): (Option<String>, bool, bool),
) -> Result<Value, WireError> {
    if source != "clawhub" {
        return Err(WireError::invalid(
            "invalid skills.update params: at /source: must be clawhub",
        ));
    }
    let slug = slug.filter(|slug| !slug.is_empty());
    match (&slug, all) {
        (None, false) => {
            return Err(WireError::invalid("clawhub skills.update requires \"slug\" or \"all\""));
        }
        (Some(_), true) => {
            return Err(WireError::invalid(
                "clawhub skills.update accepts either \"slug\" or \"all\", not both",
            ));
        }
        (Some(_), false) | (None, true) => {}
    }
    let done = store(call).update(slug.as_deref(), force).await?;
    let failures: Vec<String> = done
        .iter()
        .filter_map(|one| one.after.as_ref().err().map(|error| format!("{}: {error}", one.slug)))
        .collect();
    let results: Vec<Value> = done.iter().map(result).collect();
    if !failures.is_empty() {
        return Err(WireError::unavailable(failures.join("; ")).details(json!({"results": results})));
    }
    Ok(json!({
        "ok": true, "skillKey": slug.as_deref().unwrap_or("*"),
        "config": {"source": "clawhub", "results": results},
    }))
}

fn result(one: &Updated) -> Value {
    match &one.after {
        Ok(version) => json!({
            "ok": true, "slug": one.slug, "previousVersion": one.before, "version": version,
            "changed": one.before != *version, "targetDir": format!("skill://{}", one.key),
        }),
        Err(error) => json!({"ok": false, "slug": one.slug, "error": error.to_string()}),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BeginParams {
    kind: String,
    slug: String,
    size_bytes: u64,
    sha256: Option<String>,
    #[serde(default)]
    force: bool,
    idempotency_key: Option<String>,
}

async fn begin(call: Call, params: BeginParams) -> Result<Value, WireError> {
    if params.kind != "skill-archive" {
        return Err(WireError::invalid("unsupported upload kind"));
    }
    let new = NewUpload {
        slug: params.slug,
        size: params.size_bytes,
        sha256: params.sha256,
        force: params.force,
        key: params.idempotency_key,
    };
    let upload = call.state.services.config.begin_upload(call.scope(), new).await?;
    Ok(progress(&upload))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChunkParams {
    upload_id: String,
    offset: u64,
    data_base64: String,
}

async fn chunk(call: Call, params: ChunkParams) -> Result<Value, WireError> {
    if params.data_base64.len() > MAX_PIECE {
        return Err(Error::TooLarge("upload chunk exceeds maximum size".to_owned()).into());
    }
    let piece = STANDARD
        .decode(params.data_base64.trim())
        .map_err(|_| WireError::invalid("invalid dataBase64"))?;
    let config = &call.state.services.config;
    let upload = config
        .add_to_upload(call.scope(), &params.upload_id, params.offset, piece)
        .await?;
    Ok(progress(&upload))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitParams {
    upload_id: String,
    sha256: Option<String>,
}

async fn commit(call: Call, params: CommitParams) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let upload = config
        .commit_upload(call.scope(), &params.upload_id, params.sha256.as_deref())
        .await?;
    let mut answer = progress(&upload);
    answer["sha256"] = json!(upload.sha256);
    Ok(answer)
}

fn progress(upload: &Upload) -> Value {
    json!({"uploadId": upload.id, "receivedBytes": upload.received, "expiresAt": upload.expires_at})
}

fn needed(method: &str, field: &str, text: Option<String>) -> Result<String, WireError> {
    let text = text.unwrap_or_default();
    filled(method, field, &text)?;
    Ok(text)
}
