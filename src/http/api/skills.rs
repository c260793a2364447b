//! Skills: installed from an upload, switched, given their keys, taken away.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use claw_actors::Error;
use claw_actors::config::skills::bundle::MAX_ARCHIVE;
use claw_actors::config::skills::{Origin, SKILL, Skill, SkillChange, Standing};
use claw_actors::crypto::Secret;
use claw_actors::gateway::skill_store::Store;
use claw_actors::gateway::skills;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::resource;
use crate::error::ApiResult;
use crate::http::auth::{Caller, FullCaller};
use crate::http::body::{BytesIn, JsonIn};
use crate::http::state::AppState;

/// What an upload may call itself. Forms of other sites can send none of these.
const UPLOADS: [&str; 6] = [
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-zip-compressed",
    "application/octet-stream",
    "text/markdown",
];

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            resource("/skills")
                .route(web::get().to(list))
                .route(web::post().to(install)),
        )
        .service(
            resource("/skills/{key}")
                .route(web::get().to(get))
                .route(web::put().to(change))
                .route(web::delete().to(delete)),
        );
}

#[derive(Serialize, ToSchema)]
pub struct SkillsOut {
    pub skills: Vec<SkillOut>,
}

/// A skill and how it stands now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkillOut {
    pub key: String,
    pub name: String,
    pub description: String,
    pub emoji: Option<String>,
    pub homepage: Option<String>,
    /// `upload`, `import`, `url`, `clawhub`, or `node`: offered by a connected device.
    pub source: String,
    /// Where it was fetched, for `url` and `clawhub`.
    pub origin: Option<OriginOut>,
    pub enabled: bool,
    /// Enabled, and nothing is missing.
    pub eligible: bool,
    pub missing: MissingOut,
    /// The device it can work with, where it needs one.
    pub node: Option<String>,
    /// The variable that the key fills.
    pub primary_env: Option<String>,
    /// Is a key stored.
    pub api_key_set: bool,
    /// Variables it asks for.
    pub env_wanted: Vec<String>,
    /// Names of the variables that have a value.
    pub env_set: Vec<String>,
    /// Hosts that the agent may send the key and the variables to, in headers of a request.
    pub secret_hosts: Vec<String>,
    /// May others who write to the agent call it by its command.
    pub guests: bool,
    /// Can people call it by its command at all.
    pub user_invocable: bool,
    /// SHA-256 of what it was installed from, hex.
    pub sha256: String,
    pub files: i64,
    /// Bytes.
    pub size: i64,
    /// Epoch milliseconds.
    pub updated_at: i64,
}

/// Where a skill was fetched.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OriginOut {
    /// The archive, or the skill's page in the registry.
    pub url: String,
    /// The folder of the archive.
    pub folder: Option<String>,
    pub slug: Option<String>,
    pub publisher: Option<String>,
    pub version: Option<String>,
    /// The version it can be updated to, as far as is known.
    pub update: Option<String>,
    /// When the registry was last asked for that, epoch milliseconds.
    pub checked_at: Option<i64>,
    /// The registry found something odd about it.
    pub suspicious: bool,
}

impl From<&Origin> for OriginOut {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Url { url, folder } => Self {
                url: url.clone(),
                folder: folder.clone(),
                slug: None,
                publisher: None,
                version: None,
                update: None,
                checked_at: None,
                suspicious: false,
            },
            Origin::Clawhub(listing) => Self {
                url: match &listing.publisher {
                    Some(publisher) => format!("{}/{publisher}/{}", listing.registry, listing.slug),
                    None => format!("{}/skills/{}", listing.registry, listing.slug),
                },
                folder: None,
                slug: Some(listing.slug.clone()),
                publisher: listing.publisher.clone(),
                version: Some(listing.version.clone()),
                update: listing.update().map(str::to_owned),
                checked_at: Some(listing.checked_at),
                suspicious: listing.suspicious,
            },
        }
    }
}

/// What is missing for a skill to be of use.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingOut {
    /// Programs that no connected device has.
    pub bins: Vec<String>,
    /// One of these programs would do.
    pub any_bins: Vec<String>,
    pub env: Vec<String>,
    /// Paths of the configuration that are not set.
    pub config: Vec<String>,
    /// A connected device with one of these systems.
    pub os: Vec<String>,
}

impl SkillOut {
    fn new(skill: &Skill, standing: Standing) -> Self {
        let manifest = &skill.manifest;
        let missing = standing.missing;
        Self {
            key: skill.key.clone(),
            name: manifest.name.clone(),
            description: manifest.description.clone(),
            emoji: manifest.emoji.clone(),
            homepage: manifest.homepage.clone(),
            source: skill.source.clone(),
            origin: skill.origin.as_ref().map(OriginOut::from),
            enabled: !skill.entry.disabled,
            eligible: standing.eligible,
            missing: MissingOut {
                bins: missing.bins,
                any_bins: missing.any_bins,
                env: missing.env,
                config: missing.config,
                os: missing.os,
            },
            node: standing.node,
            primary_env: manifest.primary_env.clone(),
            api_key_set: skill.entry.has_api_key,
            env_wanted: manifest.requires.env.clone(),
            env_set: skill.entry.env.clone(),
            secret_hosts: skill.entry.secret_hosts.clone(),
            guests: skill.entry.guests,
            user_invocable: !manifest.hidden_from_user,
            sha256: skill.sha256.clone(),
            files: skill.files,
            size: skill.size,
            updated_at: skill.updated_at,
        }
    }
}

/// A skill with its files.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkillDetailOut {
    #[serde(flatten)]
    pub about: SkillOut,
    /// The text of `SKILL.md`.
    pub text: String,
    pub paths: Vec<FileOut>,
}

#[derive(Serialize, ToSchema)]
pub struct FileOut {
    pub path: String,
    /// Bytes.
    pub size: i64,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InstallQuery {
    /// Takes the place of a skill with the same key.
    #[serde(default)]
    replace: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SkillIn {
    enabled: Option<bool>,
    /// Absent: as it was. Empty: none.
    #[schema(value_type = Option<String>)]
    api_key: Option<Secret>,
    /// By name. Absent ones stay; an empty one is taken away.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    env: BTreeMap<String, Secret>,
    /// All of them; absent: as they were.
    secret_hosts: Option<Vec<String>>,
    guests: Option<bool>,
}

/// All skills of the caller as they stand now.
pub(super) async fn shown(state: &AppState, caller: &Caller) -> ApiResult<Vec<SkillOut>> {
    let (set, nodes) = skills::standing(&state.directory, caller.scope()).await?;
    let judged = set.judged(&nodes).into_iter();
    Ok(judged.map(|(skill, standing)| SkillOut::new(skill, standing)).collect())
}

pub(super) async fn one(state: &AppState, caller: &Caller, key: &str) -> ApiResult<SkillOut> {
    let found = shown(state, caller).await?.into_iter().find(|skill| skill.key == key);
    Ok(found.ok_or(Error::NotFound { what: "skill" })?)
}

#[utoipa::path(get, path = "/api/skills", operation_id = "listSkills", tag = "skills",
    responses((status = 200, body = SkillsOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let skills = shown(&state, &caller).await?;
    Ok(HttpResponse::Ok().json(SkillsOut { skills }))
}

#[utoipa::path(post, path = "/api/skills", operation_id = "installSkill", tag = "skills", params(InstallQuery),
    request_body(content((Vec<u8> = "application/zip"), (String = "text/markdown")),
        description = "A zip or tar.gz with one SKILL.md and what stands beside it (at most 10 MiB, unpacked too), or the text of a SKILL.md"),
    responses((status = 201, body = SkillOut)))]
pub async fn install(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    query: Query<InstallQuery>,
    body: BytesIn,
) -> ApiResult<HttpResponse> {
    let bytes = body.read(&UPLOADS, MAX_ARCHIVE).await?;
    let config = state.services.config.acting_as(caller.actor());
    let store = Store::new(&state.directory, &config, caller.scope());
    let skill = store.install_upload(bytes, query.replace).await?;
    Ok(HttpResponse::Created().json(one(&state, &caller, &skill.key).await?))
}

#[utoipa::path(get, path = "/api/skills/{key}", operation_id = "getSkill", tag = "skills",
    params(("key" = String, Path)), responses((status = 200, body = SkillDetailOut)))]
pub async fn get(caller: Caller, state: Data<AppState>, key: Path<String>) -> ApiResult<HttpResponse> {
    let (set, nodes) = skills::standing(&state.directory, caller.scope()).await?;
    let judged = set.judged(&nodes).into_iter().find(|(skill, _)| skill.key == *key);
    let (skill, standing) = judged.ok_or(Error::NotFound { what: "skill" })?;
    let config = &state.services.config;
    let text = config.skill_file(caller.scope(), &skill.node_id, &key, SKILL).await?;
    let paths = config.skill_files(caller.scope(), &skill.node_id, &key).await?;
    Ok(HttpResponse::Ok().json(SkillDetailOut {
        about: SkillOut::new(skill, standing),
        text: String::from_utf8_lossy(&text.unwrap_or_default()).into_owned(),
        paths: paths
            .into_iter()
            .map(|file| FileOut {
                path: file.path,
                size: file.size,
            })
            .collect(),
    }))
}

#[utoipa::path(put, path = "/api/skills/{key}", operation_id = "changeSkill", tag = "skills",
    params(("key" = String, Path)), request_body = SkillIn, responses((status = 200, body = SkillOut)))]
pub async fn change(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    key: Path<String>,
    body: JsonIn<SkillIn>,
) -> ApiResult<HttpResponse> {
    let input = body.read().await?;
    one(&state, &caller, &key).await?;
    let change = SkillChange {
        enabled: input.enabled,
        api_key: input.api_key,
        env: input.env.into_iter().collect(),
        secret_hosts: input.secret_hosts,
        guests: input.guests,
    };
    let config = state.services.config.acting_as(caller.actor());
    config.change_skill(caller.scope(), &key, change).await?;
    Ok(HttpResponse::Ok().json(one(&state, &caller, &key).await?))
}

#[utoipa::path(delete, path = "/api/skills/{key}", operation_id = "deleteSkill", tag = "skills",
    params(("key" = String, Path)), responses((status = 204)))]
pub async fn delete(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    key: Path<String>,
) -> ApiResult<HttpResponse> {
    let config = state.services.config.acting_as(caller.actor());
    config.delete_skill(caller.scope(), &key).await?;
    Ok(HttpResponse::NoContent().finish())
}
