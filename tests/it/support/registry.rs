//! A scripted registry of skills that speaks ClawHub's API v1, and serves archives beside it.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::{self, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use ring::digest;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::serving::Serving;

#[derive(Default)]
struct State {
    /// Archives by slug and version, in the order in which they were published.
    versions: Vec<(String, String, Vec<u8>)>,
    moderation: BTreeMap<String, Value>,
    /// Hashes that are listed of a version's `SKILL.md`, instead of its own.
    listed: BTreeMap<String, String>,
    /// Archives by path.
    files: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
}

type Shared = Data<Arc<Mutex<State>>>;

/// The registry. Everything is published by `ada`.
pub(crate) struct Registry {
    serving: Serving,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let data = Data::new(Arc::clone(&state));
        let serving = Serving::start(move |config| {
            config
                .app_data(data.clone())
                .route("/api/v1/search", web::get().to(search))
                .route("/api/v1/skills", web::get().to(list))
                .route("/api/v1/skills/{slug}", web::get().to(detail))
                .route("/api/v1/skills/{slug}/versions", web::get().to(versions))
                .route("/api/v1/skills/{slug}/versions/{version}", web::get().to(version))
                .route("/api/v1/download", web::get().to(download))
                .default_service(web::get().to(file));
        });
        Self { serving, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.serving.address)
    }

    /// The setting that makes a server use it.
    pub(crate) fn setting(&self) -> String {
        format!("{}/", self.url())
    }

    pub(crate) fn publish(&self, slug: &str, version: &str, archive: Vec<u8>) {
        let entry = (slug.to_owned(), version.to_owned(), archive);
        lock(&self.state).versions.push(entry);
    }

    pub(crate) fn moderate(&self, slug: &str, moderation: Value) {
        lock(&self.state).moderation.insert(slug.to_owned(), moderation);
    }

    /// Lists another hash of a version's `SKILL.md` than it has.
    pub(crate) fn list_hash(&self, version: &str, hash: &str) {
        lock(&self.state).listed.insert(version.to_owned(), hash.to_owned());
    }

    /// Serves an archive outside of the registry; gives its address.
    pub(crate) fn serve(&self, path: &str, archive: Vec<u8>) -> String {
        lock(&self.state).files.insert(path.to_owned(), archive);
        format!("{}{path}", self.url())
    }

    /// Paths with their queries, in the order in which they were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }
}

/// A zip of these files.
pub(crate) fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("starts");
        writer.write_all(text.as_bytes()).expect("writes");
    }
    writer.finish().expect("ends").into_inner()
}

/// A tar.gz of these entries; a name that begins with `@` is a link, to what its text says.
pub(crate) fn tarred(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let (name, content) = match name.strip_prefix('@') {
            Some(link) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name(text).expect("fits");
                (link, "")
            }
            None => (*name, *text),
        };
        header.set_size(content.len() as u64);
        // Builders refuse what a hostile archive has, so the name is written past them.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).expect("appends");
    }
    builder.into_inner().expect("ends").finish().expect("packs")
}

fn note(state: &Shared, request: &HttpRequest) {
    lock(state).asked.push(request.uri().to_string());
}

fn missing() -> HttpResponse {
    HttpResponse::NotFound().body("not found")
}

fn item(slug: &str, version: &str) -> Value {
    json!({"score": 0.5, "slug": slug, "displayName": format!("The {slug}"), "summary": format!("Does {slug}."),
        "version": version, "updatedAt": 1_730_000_000_000_i64, "ownerHandle": "ada", "stats": {"stars": 1}})
}

async fn search(state: Shared, request: HttpRequest, query: Query<BTreeMap<String, String>>) -> HttpResponse {
    note(&state, &request);
    let words = query.get("q").cloned().unwrap_or_default();
    let state = lock(&state);
    let found = state.versions.iter().filter(|(slug, _, _)| slug.contains(&words));
    let results: Vec<Value> = found.map(|(slug, version, _)| item(slug, version)).collect();
    HttpResponse::Ok().json(json!({"results": results}))
}

async fn list(state: Shared, request: HttpRequest) -> HttpResponse {
    note(&state, &request);
    let state = lock(&state);
    let items: Vec<Value> = state
        .versions
        .iter()
        .map(|(slug, version, _)| item(slug, version))
        .collect();
    HttpResponse::Ok().json(json!({"items": items, "nextCursor": null}))
}

async fn detail(state: Shared, request: HttpRequest, slug: Path<String>) -> HttpResponse {
    note(&state, &request);
    let state = lock(&state);
    let Some((_, newest, _)) = state.versions.iter().rfind(|(known, _, _)| *known == *slug) else {
        return missing();
    };
    let mut about = json!({
        "skill": {"slug": *slug, "displayName": format!("The {slug}"), "summary": format!("Does {slug}."),
            "tags": {"latest": newest}, "stats": {}, "createdAt": 1, "updatedAt": 2},
        "latestVersion": {"version": newest, "createdAt": 2, "changelog": "Better."},
        "metadata": null, "owner": {"handle": "ada", "displayName": "Ada", "image": null},
    });
    if let Some(moderation) = state.moderation.get(&*slug) {
        about["moderation"] = moderation.clone();
    }
    HttpResponse::Ok().json(about)
}

async fn versions(state: Shared, request: HttpRequest, slug: Path<String>) -> HttpResponse {
    note(&state, &request);
    let state = lock(&state);
    let all = state.versions.iter().rev().filter(|(known, _, _)| *known == *slug);
    let items: Vec<Value> = all
        .map(|(_, version, _)| json!({"version": version, "createdAt": 1}))
        .collect();
    HttpResponse::Ok().json(json!({"items": items}))
}

async fn version(state: Shared, request: HttpRequest, path: Path<(String, String)>) -> HttpResponse {
    note(&state, &request);
    let (slug, version) = path.into_inner();
    let state = lock(&state);
    let known = state
        .versions
        .iter()
        .any(|(one, other, _)| (one, other) == (&slug, &version));
    if !known {
        return missing();
    }
    let files: Vec<Value> = state
        .listed
        .get(&version)
        .map(|hash| json!({"path": "SKILL.md", "size": 1, "sha256": hash}))
        .into_iter()
        .collect();
    HttpResponse::Ok().json(json!({"version": {"version": version, "files": files, "security": {"status": "clean"}}}))
}

async fn download(state: Shared, request: HttpRequest, query: Query<BTreeMap<String, String>>) -> HttpResponse {
    note(&state, &request);
    let state = lock(&state);
    let wanted = (query.get("slug"), query.get("version"));
    let found = state
        .versions
        .iter()
        .find(|(slug, version, _)| (Some(slug), Some(version)) == wanted);
    match found {
        Some((_, _, archive)) => HttpResponse::Ok().content_type("application/zip").body(archive.clone()),
        None => missing(),
    }
}

async fn file(state: Shared, request: HttpRequest) -> HttpResponse {
    note(&state, &request);
    match request.path() {
        // Where a registry or a page may not lead us.
        "/inside" => HttpResponse::Found()
            .insert_header(("location", "http://127.0.0.1:1/secret.zip"))
            .finish(),
        path => match lock(&state).files.get(path) {
            Some(archive) => HttpResponse::Ok().body(archive.clone()),
            None => missing(),
        },
    }
}

/// SHA-256, hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
