//! Skills from elsewhere: a registry to search, and addresses of archives. Looked at first, then installed.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use claw_actors::Error;
use claw_actors::config::skills::{Origin, SKILL};
use claw_actors::gateway::skill_store::{Consent, Preview, Store, Wish};
use claw_actors::ports::skills::{Hit, Verdict, Version};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::resource;
use super::skills::{FileOut, OriginOut, SkillOut, SkillsOut, one, shown};
use crate::error::ApiResult;
use crate::http::auth::{Caller, FullCaller};
use crate::http::body::JsonIn;
use crate::http::state::AppState;

/// Results of a search.
const HITS: usize = 20;
const MOST_HITS: usize = 100;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/skill-store").route(web::get().to(search)))
        .service(resource("/skill-store/skills/{slug}").route(web::get().to(detail)))
        .service(resource("/skill-store/preview").route(web::post().to(preview)))
        .service(resource("/skill-store/install").route(web::post().to(install)))
        .service(resource("/skill-store/check").route(web::post().to(check)));
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Words; empty: what many install these days.
    #[serde(default)]
    q: String,
    /// 1 to 100.
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct FoundOut {
    /// The registry's address; null: there is none, only addresses of archives and files.
    pub registry: Option<String>,
    pub results: Vec<HitOut>,
}

/// A skill that fits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HitOut {
    pub slug: String,
    pub publisher: Option<String>,
    pub name: String,
    pub summary: Option<String>,
    pub version: Option<String>,
    /// Epoch milliseconds.
    pub updated_at: Option<i64>,
}

impl From<Hit> for HitOut {
    fn from(hit: Hit) -> Self {
        Self {
            slug: hit.slug,
            publisher: hit.publisher,
            name: hit.name,
            summary: hit.summary,
            version: hit.version,
            updated_at: hit.updated_at,
        }
    }
}

/// A skill of the registry.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedOut {
    pub slug: String,
    pub publisher: Option<String>,
    pub name: String,
    pub summary: Option<String>,
    pub verdict: VerdictOut,
    /// The newest first.
    pub versions: Vec<VersionOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionOut {
    pub version: String,
    /// Epoch milliseconds; 0: not known.
    pub created_at: i64,
    pub changelog: Option<String>,
}

impl From<Version> for VersionOut {
    fn from(version: Version) -> Self {
        Self {
            version: version.version,
            created_at: version.created_at,
            changelog: version.changelog,
        }
    }
}

/// What the registry's scanners say.
#[derive(Serialize, ToSchema)]
pub struct VerdictOut {
    /// `ok`, `suspicious`, or `malicious`, which is not installed.
    pub verdict: &'static str,
    pub reason: Option<String>,
}

impl From<Verdict> for VerdictOut {
    fn from(verdict: Verdict) -> Self {
        let (verdict, reason) = match verdict {
            Verdict::Malicious => ("malicious", None),
            Verdict::Suspicious(reason) => ("suspicious", reason),
            Verdict::Unremarkable => ("ok", None),
        };
        Self { verdict, reason }
    }
}

/// Which skill: an address, or a slug of the registry.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WishIn {
    /// Of a zip or tar.gz, https.
    url: Option<String>,
    /// Folder of the skill in the archive, where that holds several.
    folder: Option<String>,
    /// `slug`, `@publisher/slug`, or the address of its page.
    slug: Option<String>,
    /// Absent: the newest.
    version: Option<String>,
    /// Takes the place of a skill with the same key.
    #[serde(default)]
    replace: bool,
    /// Also if the registry finds it suspicious.
    #[serde(default)]
    accept_suspicious: bool,
    /// Only if it is what was shown.
    sha256: Option<String>,
}

impl WishIn {
    fn read(self) -> ApiResult<(Wish, Consent)> {
        let consent = Consent {
            replace: self.replace,
            suspicious: self.accept_suspicious,
            sha256: self.sha256,
        };
        let wish = match (self.url, self.slug) {
            (Some(url), None) => Wish::Address {
                url,
                folder: self.folder,
            },
            (None, Some(slug)) => Wish::Registry {
                slug,
                version: self.version,
            },
            (Some(_), Some(_)) | (None, None) => return Err(Error::invalid("either url or slug is needed").into()),
        };
        Ok((wish, consent))
    }
}

/// A skill that was fetched, and is not installed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewOut {
    pub key: String,
    pub name: String,
    pub description: String,
    pub emoji: Option<String>,
    pub homepage: Option<String>,
    pub origin: OriginOut,
    pub verdict: VerdictOut,
    /// Of these bytes, hex: what `install` is told, so that nothing else is installed.
    pub sha256: String,
    /// The text of `SKILL.md`.
    pub text: String,
    pub paths: Vec<FileOut>,
    /// Programs, variables and systems it asks for.
    pub bins: Vec<String>,
    pub env: Vec<String>,
    pub os: Vec<String>,
    /// The version, or else the source, of the skill it would take the place of; null: there is none.
    pub replaces: Option<String>,
    /// What would be different.
    pub changes: Vec<ChangeOut>,
}

/// A file that is different.
#[derive(Serialize, ToSchema)]
pub struct ChangeOut {
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub kind: &'static str,
    /// As `diff -u` writes it; null where it is no text, or too much.
    pub diff: Option<String>,
}

impl PreviewOut {
    fn new(preview: Preview) -> Self {
        let fetched = preview.fetched;
        let manifest = fetched.bundle.manifest;
        let files = fetched.bundle.files;
        let skill = files.iter().find(|file| file.path == SKILL);
        let requires = manifest.requires.clone();
        Self {
            key: manifest.key(),
            name: manifest.name,
            description: manifest.description,
            emoji: manifest.emoji,
            homepage: manifest.homepage,
            origin: OriginOut::from(&fetched.origin),
            verdict: fetched.verdict.into(),
            sha256: fetched.bundle.sha256,
            text: skill
                .map(|file| String::from_utf8_lossy(&file.content).into_owned())
                .unwrap_or_default(),
            paths: files
                .iter()
                .map(|file| FileOut {
                    path: file.path.clone(),
                    size: i64::try_from(file.content.len()).unwrap_or(i64::MAX),
                })
                .collect(),
            bins: requires.bins.into_iter().chain(requires.any_bins).collect(),
            env: requires.env,
            os: manifest.os,
            replaces: preview.installed.map(|skill| match skill.origin {
                Some(Origin::Clawhub(listing)) => listing.version,
                Some(Origin::Url { .. }) | None => skill.source,
            }),
            changes: preview
                .changes
                .into_iter()
                .map(|change| ChangeOut {
                    path: change.path,
                    kind: change.kind.name(),
                    diff: change.diff,
                })
                .collect(),
        }
    }
}

#[utoipa::path(get, path = "/api/skill-store", operation_id = "searchSkills", tag = "skills", params(SearchQuery),
    responses((status = 200, body = FoundOut)))]
pub async fn search(caller: Caller, state: Data<AppState>, query: Query<SearchQuery>) -> ApiResult<HttpResponse> {
    let store = Store::new(&state.directory, &state.services.config, caller.scope());
    let registry = store.registry();
    let mut results = Vec::new();
    if registry.is_some() {
        let limit = query.limit.unwrap_or(HITS).clamp(1, MOST_HITS);
        results = store.search(&query.q, limit).await?;
    }
    Ok(HttpResponse::Ok().json(FoundOut {
        registry,
        results: results.into_iter().map(HitOut::from).collect(),
    }))
}

#[utoipa::path(get, path = "/api/skill-store/skills/{slug}", operation_id = "getListedSkill", tag = "skills",
    params(("slug" = String, Path)), responses((status = 200, body = ListedOut)))]
pub async fn detail(caller: Caller, state: Data<AppState>, slug: Path<String>) -> ApiResult<HttpResponse> {
    let store = Store::new(&state.directory, &state.services.config, caller.scope());
    let detail = store.detail(&slug).await?;
    let mut versions = store.versions(&slug).await?;
    if versions.is_empty() {
        versions.extend(detail.latest);
    }
    Ok(HttpResponse::Ok().json(ListedOut {
        slug: detail.slug,
        publisher: detail.publisher.and_then(|publisher| publisher.handle),
        name: detail.name,
        summary: detail.summary,
        verdict: detail.verdict.into(),
        versions: versions.into_iter().map(VersionOut::from).collect(),
    }))
}

#[utoipa::path(post, path = "/api/skill-store/preview", operation_id = "previewSkill", tag = "skills",
    request_body = WishIn, responses((status = 200, body = PreviewOut)))]
pub async fn preview(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<WishIn>,
) -> ApiResult<HttpResponse> {
    let (wish, _) = body.read().await?.read()?;
    let store = Store::new(&state.directory, &state.services.config, caller.scope());
    Ok(HttpResponse::Ok().json(PreviewOut::new(store.preview(&wish).await?)))
}

#[utoipa::path(post, path = "/api/skill-store/install", operation_id = "installListedSkill", tag = "skills",
    request_body = WishIn, responses((status = 201, body = SkillOut)))]
pub async fn install(
    FullCaller(caller): FullCaller,
    state: Data<AppState>,
    body: JsonIn<WishIn>,
) -> ApiResult<HttpResponse> {
    let (wish, consent) = body.read().await?.read()?;
    let config = state.services.config.acting_as(caller.actor());
    let store = Store::new(&state.directory, &config, caller.scope());
    let skill = store.install(&wish, &consent).await?;
    Ok(HttpResponse::Created().json(one(&state, &caller, &skill.key).await?))
}

#[utoipa::path(post, path = "/api/skill-store/check", operation_id = "checkSkillUpdates", tag = "skills",
    responses((status = 200, body = SkillsOut, description = "All skills, with the versions the registry has now")))]
pub async fn check(FullCaller(caller): FullCaller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let store = Store::new(&state.directory, &state.services.config, caller.scope());
    store.check().await?;
    let skills = shown(&state, &caller).await?;
    Ok(HttpResponse::Ok().json(SkillsOut { skills }))
}
