//! Skills from elsewhere: ClawHub's API v1 (`agent-runtime` §16.5; <https://clawhub.ai>, `docs/http-api.md`), and archives
//! at addresses that people give. Answers are read leniently and with caps: strangers write them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_actors::config::skills::bundle::MAX_ARCHIVE;
use claw_actors::ports::skills::{Detail, Hit, Publisher, SkillSource, Verdict, Version, VersionFacts};
use claw_actors::{Error, Result};
use claw_entities::{Scope, TenantId, UserId};
use futures::future::BoxFuture;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

use crate::egress::{Egress, EgressError, Purpose, Response};
use crate::http::places::Places;
use crate::http::rate::Rate;

/// Largest answer that is no archive, bytes.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(20);
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Archives that are fetched at the same time: each may hold 10 MiB of memory.
const DOWNLOADS_AT_ONCE: usize = 8;
/// Of these, of one user.
const USERS_DOWNLOADS_AT_ONCE: usize = 2;
/// How long a download waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// Questions of one user, per minute. The registry counts by our address, which all tenants share.
const READS_PER_MINUTE: u32 = 120;
const USERS_REMEMBERED: usize = 20_000;
/// Longest text of a stranger's that is passed on, characters.
const MAX_TEXT: usize = 4_000;
const MAX_LIST: usize = 200;
/// Longest pause that a registry may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

type Who = (TenantId, UserId);

/// The adapter.
pub(crate) struct ClawHub {
    http: Egress,
    registry: Option<String>,
    reads: Rate<Who>,
    downloads: Rate<Who>,
    at_once: Arc<Semaphore>,
    /// Downloads by user.
    fetching: Places,
}

impl ClawHub {
    /// `downloads` of one user, per minute.
    pub(crate) fn new(http: Egress, registry: Option<String>, downloads: u32) -> Self {
        let minute = Duration::from_secs(60);
        Self {
            http,
            registry: registry.map(|url| url.trim_end_matches('/').to_owned()),
            reads: Rate::new(READS_PER_MINUTE, minute, USERS_REMEMBERED),
            downloads: Rate::new(downloads, minute, USERS_REMEMBERED),
            at_once: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)),
            fetching: Places::new(USERS_DOWNLOADS_AT_ONCE),
        }
    }

    /// `<registry>/api/v1/<segments>?<query>`.
    fn address(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let registry = self.registry.as_deref();
        let registry = registry.ok_or_else(|| Error::invalid("this installation has no registry of skills"))?;
        let mut url = Url::parse(registry).map_err(Error::internal)?;
        url.path_segments_mut()
            .map_err(|()| Error::invalid("the registry's address cannot have a path"))?
            .pop_if_empty()
            .extend(["api", "v1"].iter().chain(segments));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        what: &'static str,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T> {
        spend(&self.reads, scope)?;
        let url = self.address(segments, query)?;
        let answer = self
            .http
            .request(Purpose::Configured, Method::GET, url.as_str())
            .map_err(failed)?
            .header("accept", "application/json")
            .timeout(TIMEOUT)
            .max_body(MAX_ANSWER)
            .send()
            .await
            .map_err(failed)?;
        judged(&answer, what)?;
        answer
            .json()
            .map_err(|_| Error::Upstream("the registry of skills answered something else".to_owned()))
    }

    async fn fetch(&self, scope: &Scope, what: &'static str, purpose: Purpose, url: &str) -> Result<Vec<u8>> {
        spend(&self.downloads, scope)?;
        let is_https = Url::parse(url).is_ok_and(|url| url.scheme() == "https");
        if purpose == Purpose::Untrusted && !is_https {
            return Err(Error::invalid("the address of an archive begins with https://"));
        }
        let who = (scope.tenant().clone(), scope.user().clone());
        let place = self.fetching.enter(who);
        let _place = place.ok_or_else(|| busy("two skills are being fetched already", TURN))?;
        let turn = timeout(TURN, self.at_once.acquire()).await;
        let turn = turn.map_err(|_| busy("too many skills are being fetched just now", TURN))?;
        let _turn = turn.map_err(Error::internal)?;
        let answer = self
            .http
            .request(purpose, Method::GET, url)
            .map_err(failed)?
            .header(
                "accept",
                "application/zip, application/gzip, application/octet-stream;q=0.9, */*;q=0.1",
            )
            // An archive is packed already, and a client that unpacks what is on its way would change its hash.
            .header("accept-encoding", "identity")
            .timeout(DOWNLOAD_TIMEOUT)
            .max_body(MAX_ARCHIVE)
            .send()
            .await
            .map_err(failed)?;
        judged(&answer, what)?;
        Ok(answer.body)
    }
}

impl SkillSource for ClawHub {
    fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    fn search<'a>(&'a self, scope: &'a Scope, query: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<Hit>>> {
        Box::pin(async move {
            let most = limit.to_string();
            if query.trim().is_empty() {
                let query = [
                    ("limit", most.as_str()),
                    ("nonSuspiciousOnly", "true"),
                    ("sort", "trending"),
                ];
                let found: Listed = self.ask(scope, "skills", &["skills"], &query).await?;
                return Ok(found.items.into_iter().take(limit).filter_map(Item::hit).collect());
            }
            let query = [("q", query), ("limit", most.as_str()), ("nonSuspiciousOnly", "true")];
            let found: Found = self.ask(scope, "skills", &["search"], &query).await?;
            Ok(found.results.into_iter().take(limit).filter_map(Item::hit).collect())
        })
    }

    fn detail<'a>(&'a self, scope: &'a Scope, slug: &'a str) -> BoxFuture<'a, Result<Detail>> {
        Box::pin(async move {
            let about: About = self.ask(scope, "skill in the registry", &["skills", slug], &[]).await?;
            about.read()
        })
    }

    fn versions<'a>(&'a self, scope: &'a Scope, slug: &'a str) -> BoxFuture<'a, Result<Vec<Version>>> {
        Box::pin(async move {
            let (path, query) = (["skills", slug, "versions"], [("limit", "20")]);
            let found: Versions = self.ask(scope, "skill in the registry", &path, &query).await?;
            let found = found.items.into_iter().take(MAX_LIST);
            Ok(found.filter_map(WireVersion::read).collect())
        })
    }

    fn version<'a>(&'a self, scope: &'a Scope, slug: &'a str, version: &'a str) -> BoxFuture<'a, Result<VersionFacts>> {
        Box::pin(async move {
            let path = ["skills", slug, "versions", version];
            let about: AboutVersion = self.ask(scope, "version in the registry", &path, &[]).await?;
            Ok(about.read())
        })
    }

    fn download<'a>(&'a self, scope: &'a Scope, slug: &'a str, version: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            let url = self.address(&["download"], &[("slug", slug), ("version", version)])?;
            let what = "version in the registry";
            self.fetch(scope, what, Purpose::Configured, url.as_str()).await
        })
    }

    fn archive<'a>(&'a self, scope: &'a Scope, address: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        // It came with a request: what the operator allows inside is for what is configured.
        Box::pin(self.fetch(scope, "archive", Purpose::Untrusted, address))
    }
}

fn spend(rate: &Rate<Who>, scope: &Scope) -> Result<()> {
    let who = (scope.tenant().clone(), scope.user().clone());
    rate.spend(&who)
        .map_err(|wait| busy("too many requests for skills", wait))
}

fn busy(message: &str, retry_after: Duration) -> Error {
    Error::Busy {
        message: message.to_owned(),
        retry_after,
    }
}

/// Failures of the way there, for a person. No address stands in them.
fn failed(error: EgressError) -> Error {
    match error {
        EgressError::Refused { reason } => Error::Invalid(format!("the address is not allowed: {reason}")),
        EgressError::Redirect => Error::invalid("the address redirects to where we do not follow"),
        EgressError::TooLarge => Error::TooLarge("a skill has at most 10 MiB".to_owned()),
        EgressError::Connect => Error::Upstream("the address cannot be reached".to_owned()),
        EgressError::Timeout { .. } => Error::Timeout("the address did not answer in time".to_owned()),
        EgressError::Io => Error::Upstream("the connection broke".to_owned()),
    }
}

fn judged(answer: &Response, what: &'static str) -> Result<()> {
    match answer.status {
        200..=299 => Ok(()),
        404 | 410 => Err(Error::NotFound { what }),
        403 => Err(Error::Upstream(format!("the {what} is withheld where it is asked for"))),
        429 => {
            let after = answer.header("retry-after").and_then(|text| text.trim().parse().ok());
            Err(Error::Busy {
                message: "too many requests are made there just now".to_owned(),
                retry_after: Duration::from_secs(after.unwrap_or(30)).min(LONGEST_PAUSE),
            })
        }
        status => Err(Error::Upstream(format!("the address answered {status}"))),
    }
}

/// A stranger's text: no control characters but line breaks, not endless, `None` when nothing is left.
fn text(given: Option<String>) -> Option<String> {
    let given = given?;
    let kept: String = given
        .chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .take(MAX_TEXT)
        .collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

fn word(given: Option<String>) -> Option<String> {
    text(given).filter(|word| word.len() <= 200 && !word.contains(char::is_whitespace))
}

fn millis(given: Option<f64>) -> Option<i64> {
    const LATEST: f64 = 8.64e15;
    let given = given.filter(|at| (0.0..=LATEST).contains(at))?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be within the range of dates")]
    Some(given as i64)
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Item {
    score: f64,
    slug: Option<String>,
    owner_handle: Option<String>,
    owner: Option<Owner>,
    display_name: Option<String>,
    summary: Option<String>,
    version: Option<String>,
    latest_version: Option<WireVersion>,
    tags: Option<BTreeMap<String, String>>,
    created_at: Option<f64>,
    updated_at: Option<f64>,
}

impl Item {
    fn hit(self) -> Option<Hit> {
        let slug = word(self.slug)?;
        let latest = self.latest_version.and_then(|latest| latest.version);
        Some(Hit {
            score: if self.score.is_finite() { self.score } else { 0.0 },
            publisher: word(self.owner_handle).or_else(|| word(self.owner?.handle)),
            name: text(self.display_name).unwrap_or_else(|| slug.clone()),
            summary: text(self.summary),
            version: word(self.version).or_else(|| word(latest)),
            updated_at: millis(self.updated_at),
            slug,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireVersion {
    version: Option<String>,
    created_at: Option<f64>,
    changelog: Option<String>,
}

impl WireVersion {
    fn read(self) -> Option<Version> {
        Some(Version {
            version: word(self.version)?,
            created_at: millis(self.created_at).unwrap_or(0),
            changelog: text(self.changelog),
        })
    }
}

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    items: Vec<WireVersion>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Owner {
    handle: Option<String>,
    display_name: Option<String>,
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    os: Option<Vec<String>>,
    systems: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Moderation {
    is_suspicious: bool,
    is_malware_blocked: bool,
    verdict: Option<String>,
    summary: Option<String>,
}

impl Moderation {
    fn read(self) -> Verdict {
        let said = self.verdict.as_deref().unwrap_or_default();
        if self.is_malware_blocked || is_malicious(said) {
            Verdict::Malicious
        } else if self.is_suspicious || said.eq_ignore_ascii_case("suspicious") {
            Verdict::Suspicious(text(self.summary))
        } else {
            Verdict::Unremarkable
        }
    }
}

fn is_malicious(said: &str) -> bool {
    ["malicious", "malware", "blocked"]
        .iter()
        .any(|word| said.eq_ignore_ascii_case(word))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    skill: Option<Item>,
    latest_version: Option<WireVersion>,
    metadata: Option<Metadata>,
    owner: Option<Owner>,
    moderation: Option<Moderation>,
}

impl About {
    fn read(self) -> Result<Detail> {
        let missing = || Error::NotFound {
            what: "skill in the registry",
        };
        let skill = self.skill.ok_or_else(missing)?;
        let slug = word(skill.slug).ok_or_else(missing)?;
        let tags: Vec<(String, String)> = skill.tags.unwrap_or_default().into_iter().take(MAX_LIST).collect();
        let tagged = tags.iter().find(|(name, _)| name == "latest");
        let latest = self.latest_version.and_then(WireVersion::read);
        let latest = latest.or_else(|| {
            Some(Version {
                version: word(Some(tagged?.1.clone()))?,
                ..Version::default()
            })
        });
        let metadata = self.metadata.unwrap_or_default();
        let list = |given: Option<Vec<String>>| {
            let words = given.into_iter().flatten().take(MAX_LIST);
            words.filter_map(|given| word(Some(given))).collect()
        };
        Ok(Detail {
            name: text(skill.display_name).unwrap_or_else(|| slug.clone()),
            summary: text(skill.summary),
            created_at: millis(skill.created_at).unwrap_or(0),
            updated_at: millis(skill.updated_at).unwrap_or(0),
            os: list(metadata.os),
            systems: list(metadata.systems),
            publisher: self.owner.map(|owner| Publisher {
                handle: word(owner.handle),
                name: text(owner.display_name),
                image: word(owner.image).filter(|image| image.starts_with("https://")),
            }),
            verdict: self.moderation.map(Moderation::read).unwrap_or_default(),
            tags,
            latest,
            slug,
        })
    }
}

#[derive(Deserialize)]
struct AboutVersion {
    version: Option<VersionBody>,
    moderation: Option<Moderation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VersionBody {
    files: Vec<ListedFile>,
    security: Option<Security>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedFile {
    path: Option<String>,
    sha256: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Security {
    status: Option<String>,
    verdict: Option<String>,
}

impl AboutVersion {
    fn read(self) -> VersionFacts {
        let version = self.version.unwrap_or_default();
        let files = version.files.into_iter().filter_map(|file| {
            let hash = file.sha256?.to_ascii_lowercase();
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hash.then_some((file.path?, hash))
        });
        let security = version.security.unwrap_or_default();
        let said = [security.status, security.verdict];
        let scanned = if said.iter().flatten().any(|said| is_malicious(said)) {
            Verdict::Malicious
        } else if said
            .iter()
            .flatten()
            .any(|said| said.eq_ignore_ascii_case("suspicious"))
        {
            Verdict::Suspicious(None)
        } else {
            Verdict::Unremarkable
        };
        VersionFacts {
            files: files.take(1_000).collect(),
            verdict: scanned.min(self.moderation.map(Moderation::read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about(body: serde_json::Value) -> Result<Detail> {
        serde_json::from_value::<About>(body).expect("reads").read()
    }

    #[test]
    fn a_skill_is_read_whatever_else_stands_there() {
        let detail = about(json!({
            "skill": {"slug": "tea", "displayName": "Tea\u{7}", "summary": null, "tags": {"latest": "1.2.0"},
                "stats": {}, "createdAt": 1, "updatedAt": 2.5},
            "latestVersion": null, "metadata": {"os": ["macos"], "systems": null},
            "owner": {"handle": "ada", "displayName": "Ada", "image": "javascript:x"},
            "moderation": {"isSuspicious": true, "summary": "odd", "evidence": []},
        }))
        .expect("a skill");
        assert_eq!((detail.name.as_str(), detail.updated_at), ("Tea", 2));
        assert_eq!(detail.latest.map(|latest| latest.version).as_deref(), Some("1.2.0"));
        assert_eq!(detail.verdict, Verdict::Suspicious(Some("odd".to_owned())));
        assert_eq!(detail.publisher.and_then(|publisher| publisher.image), None);
        assert!(matches!(about(json!({"skill": null})), Err(Error::NotFound { .. })));
        assert!(matches!(
            about(json!({"skill": {"slug": "a b"}})),
            Err(Error::NotFound { .. })
        ));
    }

    #[test]
    fn the_worst_verdict_counts() {
        let read = |body| serde_json::from_value::<AboutVersion>(body).expect("reads").read();
        let hash = "AB".repeat(32);
        let facts = read(json!({
            "version": {"files": [{"path": "SKILL.md", "sha256": hash}, {"path": "x", "sha256": "no"}],
                "security": {"status": "clean"}},
            "moderation": {"isMalwareBlocked": true},
        }));
        assert_eq!(facts.verdict, Verdict::Malicious);
        assert_eq!(facts.files, [("SKILL.md".to_owned(), "ab".repeat(32))]);
        assert_eq!(
            read(json!({"version": {"security": {"status": "malicious"}}})).verdict,
            Verdict::Malicious
        );
        assert_eq!(read(json!({"version": null})), VersionFacts::default());
    }

    #[test]
    fn what_people_write_stays_in_its_place_of_the_address() {
        let hub = ClawHub::new(
            Egress::new(Default::default()),
            Some("https://hub.test/base/".to_owned()),
            10,
        );
        let url = hub
            .address(&["skills", "../../x?y#z"], &[("q", "a&b=c")])
            .expect("an address");
        assert_eq!(
            url.as_str(),
            "https://hub.test/base/api/v1/skills/..%2F..%2Fx%3Fy%23z?q=a%26b%3Dc"
        );
    }

    #[tokio::test]
    async fn one_user_fetches_no_more_than_two_at_once() {
        let hub = ClawHub::new(Egress::new(Default::default()), None, 10);
        let scope = Scope::vouch(TenantId::from("acme"), UserId::from("ada"));
        let place = || hub.fetching.enter((TenantId::from("acme"), UserId::from("ada")));
        let (first, second) = (place(), place());
        assert!(first.is_some() && second.is_some());
        let refused = hub.archive(&scope, "https://127.0.0.1/x").await;
        assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
        drop(first);
        let refused = hub.archive(&scope, "https://127.0.0.1/x").await;
        assert!(
            matches!(refused, Err(Error::Invalid(_))),
            "nothing inside, whoever allows it elsewhere: {refused:?}"
        );
    }

    #[tokio::test]
    async fn addresses_inside_are_not_asked() {
        let hub = ClawHub::new(Egress::new(Default::default()), None, 10);
        let scope = Scope::vouch(TenantId::from("acme"), UserId::from("ada"));
        for address in [
            "http://127.0.0.1:9/x.zip",
            "http://example.com/x.zip",
            "https://169.254.169.254/x",
            "ftp://example.com/x",
            "https://u:p@example.com/",
        ] {
            let refused = hub.archive(&scope, address).await;
            assert!(matches!(refused, Err(Error::Invalid(_))), "{address}: {refused:?}");
        }
        assert!(
            matches!(hub.search(&scope, "tea", 5).await, Err(Error::Invalid(_))),
            "no registry"
        );
        for _ in 0..6 {
            let _ = hub.archive(&scope, "ftp://example.com/x").await;
        }
        let refused = hub.archive(&scope, "ftp://example.com/x").await;
        assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
    }
}
