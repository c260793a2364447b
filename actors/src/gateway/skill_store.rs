//! Skills from elsewhere: looked for, looked at, installed and brought up to date (`agent-runtime` §16.5). Both faces, the
//! gateway and REST, come through here.
//!
//! A person decides about each step. A version stays until somebody takes another one, what the registry calls malicious
//! is not installed at all, and what is installed is what was shown: its hash can be asked for.

mod changes;

use std::sync::Arc;

use claw_entities::Scope;
use serde_json::json;

use super::messages::Event;
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::skills::{Bundle, BundleFile, Listing, Origin, Skill, Source, is_key};
use crate::crypto::token;
use crate::error::{Error, Result};
use crate::ports::skills::{Detail, Hit, SkillSource, Verdict, Version};
use crate::supervisor::directory::Directory;

pub use changes::{Change, ChangeKind};

/// Longest address that is fetched, bytes.
const MAX_ADDRESS: usize = 2048;

/// What a person wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// An archive at an address; the folder is needed where it holds several skills.
    Address { url: String, folder: Option<String> },
    /// A skill of the registry: its slug, `@publisher/slug`, or its page there. Without a version the newest.
    Registry { slug: String, version: Option<String> },
}

/// What a person has said yes to.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// To take the place of a skill with the same key.
    pub replace: bool,
    /// To what the registry calls suspicious.
    pub suspicious: bool,
    /// To these bytes alone, SHA-256, hex.
    pub sha256: Option<String>,
}

/// A skill that was fetched, and is not installed.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub bundle: Bundle,
    pub origin: Origin,
    pub verdict: Verdict,
}

/// A fetched skill beside the one it would take the place of.
#[derive(Clone, Debug)]
pub struct Preview {
    pub fetched: Fetched,
    pub installed: Option<Skill>,
    /// What would be different; empty when nothing is installed.
    pub changes: Vec<Change>,
}

/// What came of updating one skill.
#[derive(Debug)]
pub struct Updated {
    pub key: String,
    pub slug: String,
    pub before: String,
    /// The version there is now.
    pub after: Result<String>,
}

/// Skills of a user and where others are to be had. Cheap to make.
#[derive(Clone)]
pub struct Store<'a> {
    directory: &'a Directory,
    config: &'a ConfigService,
    scope: &'a Scope,
}

impl<'a> Store<'a> {
    /// `config` acts as whoever asks.
    pub fn new(directory: &'a Directory, config: &'a ConfigService, scope: &'a Scope) -> Self {
        Self {
            directory,
            config,
            scope,
        }
    }

    /// The registry's address, if there is one.
    pub fn registry(&self) -> Option<String> {
        let source = self.directory.services().ports.skills();
        source.and_then(|source| source.registry()).map(str::to_owned)
    }

    /// Skills of the registry that fit these words.
    pub async fn search(&self, query: &str, limit: usize) -> Result<Vec<Hit>> {
        /// Longest question, characters.
        const LONGEST: usize = 200;
        let query: String = query.trim().chars().take(LONGEST).collect();
        self.outside(move |source, scope| async move { source.search(&scope, &query, limit).await })
            .await
    }

    /// A skill of the registry.
    pub async fn detail(&self, slug: &str) -> Result<Detail> {
        let wanted = self.reference(slug)?;
        let slug = wanted.slug.clone();
        let detail = self
            .outside(move |source, scope| async move { source.detail(&scope, &slug).await })
            .await?;
        wanted.check(&detail)?;
        if !is_key(&detail.slug) {
            return Err(Error::Upstream(
                "the registry of skills answered something else".to_owned(),
            ));
        }
        Ok(detail)
    }

    /// Its versions, the newest first.
    pub async fn versions(&self, slug: &str) -> Result<Vec<Version>> {
        let slug = self.reference(slug)?.slug;
        self.outside(move |source, scope| async move { source.versions(&scope, &slug).await })
            .await
    }

    /// Fetches what is wanted and shows it beside what is there.
    pub async fn preview(&self, wish: &Wish) -> Result<Preview> {
        let fetched = self.fetch(wish).await?;
        let key = fetched.bundle.manifest.key();
        let installed = match self.config.own_skill(self.scope, &key).await {
            Ok(skill) => Some(skill),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut changes = Vec::new();
        if installed.is_some() {
            let before = self.config.skill_contents(self.scope, &key).await?;
            let after = fetched.bundle.files.clone();
            changes = blocking(move || Ok(changes::between(&before, &after))).await?;
        }
        Ok(Preview {
            fetched,
            installed,
            changes,
        })
    }

    /// Fetches and installs.
    pub async fn install(&self, wish: &Wish, consent: &Consent) -> Result<Skill> {
        let fetched = self.fetch(wish).await?;
        self.put(fetched, consent).await
    }

    /// Installs an archive that a client uploaded.
    pub async fn install_upload(&self, bytes: Vec<u8>, replace: bool) -> Result<Skill> {
        let bundle = blocking(move || Bundle::read(&bytes)).await?;
        self.keep(&bundle, &Source::Upload, replace).await
    }

    async fn put(&self, fetched: Fetched, consent: &Consent) -> Result<Skill> {
        if let Some(wanted) = &consent.sha256
            && !wanted.eq_ignore_ascii_case(&fetched.bundle.sha256)
        {
            return Err(Error::Conflict(
                "it is not what was shown any more; look at it again".to_owned(),
            ));
        }
        if let Verdict::Suspicious(why) = &fetched.verdict
            && !consent.suspicious
        {
            let why = why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
            return Err(Error::Conflict(format!(
                "the registry finds this skill suspicious{why}; say so if you want it all the same"
            )));
        }
        self.keep(&fetched.bundle, &Source::Fetched(fetched.origin), consent.replace)
            .await
    }

    async fn keep(&self, bundle: &Bundle, source: &Source, replace: bool) -> Result<Skill> {
        let skill = self.config.install_skill(self.scope, bundle, source, replace).await?;
        let payload = json!({"reason": "manual"});
        self.directory
            .publish(self.scope, Event::new("skills.changed", &payload));
        Ok(skill)
    }

    /// Asks the registry for the newest version of each skill that came from it, and notes it. Skills it no longer has
    /// stay as they are, and so do those of another registry.
    ///
    /// # Errors
    /// The first failure of the registry. What was found until then is noted.
    pub async fn check(&self) -> Result<()> {
        let registry = self.registry();
        let mut found = Vec::new();
        let mut failed = None;
        for (key, listing) in self.listed().await? {
            if registry.as_deref() != Some(listing.registry.as_str()) {
                continue;
            }
            match self.detail(&full_name(&listing)).await {
                Ok(Detail {
                    latest: Some(latest), ..
                }) => found.push((key, latest.version)),
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.config.note_latest(self.scope, &found).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Brings skills of the registry up to date: the one of this slug, or all. `suspicious` as in [`Consent`]. Once
    /// it is too much for the registry or for the user's share, the rest is not tried.
    pub async fn update(&self, slug: Option<&str>, suspicious: bool) -> Result<Vec<Updated>> {
        let mut listed = self.listed().await?;
        if let Some(slug) = slug {
            let wanted = self.reference(slug)?.slug;
            listed.retain(|(key, listing)| listing.slug == wanted || *key == wanted);
            if listed.is_empty() {
                return Err(Error::NotFound {
                    what: "skill from the registry",
                });
            }
        }
        let mut done = Vec::with_capacity(listed.len());
        for (key, listing) in listed {
            let after = self.update_one(&key, &listing, suspicious).await;
            let is_busy = matches!(after, Err(Error::Busy { .. }));
            done.push(Updated {
                key,
                slug: listing.slug,
                before: listing.version,
                after,
            });
            if is_busy {
                break;
            }
        }
        Ok(done)
    }

    async fn update_one(&self, key: &str, listing: &Listing, suspicious: bool) -> Result<String> {
        if self.registry().as_deref() != Some(listing.registry.as_str()) {
            return Err(Error::invalid("it came from another registry"));
        }
        let slug = full_name(listing);
        let latest = self.detail(&slug).await?.latest;
        let latest = latest.ok_or(Error::NotFound {
            what: "version in the registry",
        })?;
        if latest.version == listing.version {
            let found = [(key.to_owned(), latest.version.clone())];
            self.config.note_latest(self.scope, &found).await?;
            return Ok(latest.version);
        }
        let wish = Wish::Registry {
            slug,
            version: Some(latest.version),
        };
        let fetched = self.fetch(&wish).await?;
        if fetched.bundle.manifest.key() != key {
            return Err(Error::Conflict(
                "the new version calls itself another skill; install it by itself".to_owned(),
            ));
        }
        let consent = Consent {
            replace: true,
            suspicious,
            sha256: None,
        };
        let skill = self.put(fetched, &consent).await?;
        Ok(skill
            .listing()
            .map(|listing| listing.version.clone())
            .unwrap_or_default())
    }

    /// The user's skills that came from a registry, with their keys.
    async fn listed(&self) -> Result<Vec<(String, Listing)>> {
        let set = self.config.skills(self.scope).await?;
        let own = set.skills.iter().filter(|skill| skill.is_own());
        Ok(own
            .filter_map(|skill| Some((skill.key.clone(), skill.listing()?.clone())))
            .collect())
    }

    async fn fetch(&self, wish: &Wish) -> Result<Fetched> {
        match wish {
            Wish::Address { url, folder } => self.fetch_address(url, folder.as_deref()).await,
            Wish::Registry { slug, version } => self.fetch_listed(slug, version.as_deref()).await,
        }
    }

    async fn fetch_address(&self, url: &str, folder: Option<&str>) -> Result<Fetched> {
        let url = url.trim().to_owned();
        if url.is_empty() || url.len() > MAX_ADDRESS {
            return Err(Error::invalid("the address has 1 to 2048 characters"));
        }
        let folder = folder.map(|folder| folder.trim().trim_matches('/').to_owned());
        let folder = folder.filter(|folder| !folder.is_empty());
        let (asked, within) = (url.clone(), folder.clone());
        let bytes = self
            .outside(move |source, scope| async move { source.archive(&scope, &asked).await })
            .await?;
        let bundle = blocking(move || Bundle::read_in(&bytes, within.as_deref())).await?;
        let shown = url.split(['?', '#']).next().unwrap_or_default().to_owned();
        Ok(Fetched {
            bundle,
            origin: Origin::Url { url: shown, folder },
            verdict: Verdict::Unremarkable,
        })
    }

    async fn fetch_listed(&self, slug: &str, version: Option<&str>) -> Result<Fetched> {
        let registry = self.registry().ok_or_else(no_registry)?;
        let detail = self.detail(slug).await?;
        let newest = detail.latest.as_ref().map(|latest| latest.version.clone());
        let version = version.map(str::trim).filter(|version| !version.is_empty());
        let version = version.map(str::to_owned).or_else(|| newest.clone());
        let version = version.filter(|version| is_version(version)).ok_or(Error::NotFound {
            what: "version in the registry",
        })?;
        let (slug, asked) = (detail.slug.clone(), version.clone());
        let facts = self
            .outside(move |source, scope| async move { source.version(&scope, &slug, &asked).await })
            .await?;
        let verdict = facts.verdict.min(detail.verdict);
        if verdict == Verdict::Malicious {
            return Err(Error::Forbidden(
                "the registry found this skill to be malicious, so it is not installed".to_owned(),
            ));
        }
        let (slug, asked) = (detail.slug.clone(), version.clone());
        let bytes = self
            .outside(move |source, scope| async move { source.download(&scope, &slug, &asked).await })
            .await?;
        let bundle = blocking(move || {
            let bundle = Bundle::read(&bytes)?;
            check_hashes(&bundle.files, &facts.files)?;
            Ok(bundle)
        })
        .await?;
        let listing = Listing {
            registry,
            slug: detail.slug,
            publisher: detail.publisher.and_then(|publisher| publisher.handle),
            version,
            suspicious: matches!(verdict, Verdict::Suspicious(_)),
            latest: newest,
            checked_at: now_ms(),
        };
        Ok(Fetched {
            bundle,
            origin: Origin::Clawhub(listing),
            verdict,
        })
    }

    /// Work with the source, on the runtime of outbound connections.
    async fn outside<T, F>(&self, work: impl FnOnce(Arc<dyn SkillSource>, Scope) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let services = self.directory.services();
        let source = services.ports.skills().cloned().ok_or_else(no_registry)?;
        let scope = self.scope.clone();
        let task = services.io.spawn(async move { work(source, scope).await });
        task.await.map_err(Error::internal)?
    }

    fn reference(&self, text: &str) -> Result<Reference> {
        let registry = self.registry().ok_or_else(no_registry)?;
        Reference::parse(&registry, text)
    }
}

/// `@publisher/slug`, where the publisher is known.
fn full_name(listing: &Listing) -> String {
    match &listing.publisher {
        Some(publisher) => format!("@{publisher}/{}", listing.slug),
        None => listing.slug.clone(),
    }
}

fn no_registry() -> Error {
    Error::invalid("this installation has no registry of skills")
}

/// What takes a while to compute.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// How people name a skill of the registry.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    publisher: Option<String>,
    slug: String,
}

impl Reference {
    /// `slug`, `@publisher/slug`, or the page of the skill.
    fn parse(registry: &str, text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid("a skill of the registry is named by its slug, @publisher/slug, or the address of its page")
        };
        let text = text.trim();
        let text = text.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let path = match text.split_once("://") {
            None => text.trim_start_matches('@'),
            Some(_) => text
                .strip_prefix(registry)
                .and_then(|rest| rest.strip_prefix('/'))
                .ok_or_else(wrong)?,
        };
        let path = path.strip_prefix("skills/").unwrap_or(path);
        let (publisher, slug) = match path.split_once('/') {
            Some((publisher, slug)) => (Some(publisher.trim_start_matches('@')), slug),
            None => (None, path),
        };
        if !is_key(slug) || publisher.is_some_and(|publisher| !is_key(publisher)) {
            return Err(wrong());
        }
        Ok(Self {
            publisher: publisher.map(str::to_owned),
            slug: slug.to_owned(),
        })
    }

    /// Several publishers may have a skill of one name: it must be the one that was named.
    fn check(&self, detail: &Detail) -> Result<()> {
        let Some(wanted) = &self.publisher else {
            return Ok(());
        };
        let publisher = detail
            .publisher
            .as_ref()
            .and_then(|publisher| publisher.handle.as_ref());
        if publisher.is_some_and(|publisher| publisher.eq_ignore_ascii_case(wanted)) {
            return Ok(());
        }
        Err(Error::NotFound {
            what: "skill of this publisher in the registry",
        })
    }
}

fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'_'))
}

/// What a registry adds to an archive when it packs it, and so lists nowhere.
const ADDED: &str = "_meta.json";

/// Are the files that the registry lists what the archive holds, and, where it lists any, does it hold no others.
fn check_hashes(files: &[BundleFile], listed: &[(String, String)]) -> Result<()> {
    let is_listed = |file: &BundleFile| listed.iter().any(|(path, _)| *path == file.path);
    if !listed.is_empty() && !files.iter().all(|file| file.path == ADDED || is_listed(file)) {
        return Err(Error::Upstream(
            "the archive is not what the registry lists: it holds another file".to_owned(),
        ));
    }
    for (path, hash) in listed {
        let file = files.iter().find(|file| file.path == *path);
        if file.is_some_and(|file| token::hash_bytes(&file.content) != *hash) {
            return Err(Error::Upstream(
                "the archive is not what the registry lists: a file has another hash".to_owned(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_is_named_in_several_ways() {
        let parse = |text: &str| Reference::parse("https://hub.test", text);
        let tea = |publisher: Option<&str>| Reference {
            publisher: publisher.map(str::to_owned),
            slug: "tea".to_owned(),
        };
        for (text, publisher) in [
            ("tea", None),
            (" tea ", None),
            ("@ada/tea", Some("ada")),
            ("ada/tea", Some("ada")),
            ("https://hub.test/ada/tea?tab=files#x", Some("ada")),
            ("https://hub.test/skills/tea/", None),
        ] {
            assert_eq!(parse(text).expect(text), tea(publisher), "{text}");
        }
        for text in [
            "",
            "../x",
            "a/b/c",
            "https://evil.test/ada/tea",
            "https://hub.test.evil/x",
            "a b",
            "@/tea",
        ] {
            assert!(matches!(parse(text), Err(Error::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn a_file_with_another_hash_is_noticed() {
        let file = BundleFile {
            path: "SKILL.md".to_owned(),
            content: b"x".to_vec(),
        };
        let right = ("SKILL.md".to_owned(), token::hash_bytes(b"x"));
        let wrong = ("SKILL.md".to_owned(), token::hash_bytes(b"y"));
        let hidden = (".gitignore".to_owned(), token::hash_bytes(b"z"));
        check_hashes(std::slice::from_ref(&file), &[right.clone(), hidden]).expect("fits");
        check_hashes(std::slice::from_ref(&file), &[wrong]).expect_err("does not fit");
        let other = |path: &str| BundleFile {
            path: path.to_owned(),
            content: b"x".to_vec(),
        };
        let right = [right];
        check_hashes(&[file.clone(), other("_meta.json")], &right).expect("the registry's own");
        check_hashes(&[file.clone(), other("evil.sh")], &right).expect_err("holds more");
        check_hashes(&[file, other("evil.sh")], &[]).expect("nothing is listed");
    }
}
