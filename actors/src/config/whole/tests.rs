//! The whole configuration against a real database.

use serde_json::{Value, json};

use super::super::document::REDACTED;
use super::super::testing;
use super::*;
use crate::crypto::Secret;

const APIS: &[&str] = &["openai-completions", "anthropic-messages"];

struct Here {
    server: testing::Server,
    owner: User,
}

impl Here {
    async fn start() -> Self {
        let server = testing::start().await;
        let scope = testing::owner(&server.config).await;
        let owner = user(&server.config, &scope).await;
        Self { server, owner }
    }

    fn config(&self) -> &ConfigService {
        &self.server.config
    }

    async fn get(&self, user: &User) -> Whole {
        self.config().whole(user).await.expect("reads")
    }

    /// Sets on top of what is there.
    async fn set(&self, user: &User, config: Value) -> Result<Written> {
        let hash = self.get(user).await.hash;
        self.config()
            .change_whole(user, Some(&hash), Change::Set(config), APIS)
            .await
    }

    async fn patch(&self, user: &User, patch: Value) -> Result<Written> {
        let hash = self.get(user).await.hash;
        let change = Change::Patch {
            patch,
            replace: Vec::new(),
        };
        self.config().change_whole(user, Some(&hash), change, APIS).await
    }
}

async fn user(config: &ConfigService, scope: &Scope) -> User {
    let user = config.user(scope.tenant_scope(), scope.user()).await.expect("is there");
    User::clone(&user)
}

fn stored(written: Result<Written>) -> (Whole, Vec<String>, Vec<Issue>) {
    match written.expect("is answered") {
        Written::Stored {
            whole,
            changed,
            notices,
        } => (whole, changed, notices),
        Written::Refused(issues) => panic!("refused: {issues:?}"),
    }
}

fn refused(written: Result<Written>) -> Vec<(String, String)> {
    match written.expect("is answered") {
        Written::Refused(issues) => issues.into_iter().map(|issue| (issue.path, issue.message)).collect(),
        Written::Stored { whole, .. } => panic!("stored: {}", whole.config),
    }
}

fn full() -> Value {
    json!({
        "models": {"providers": {"mock": {
            "baseUrl": "https://llm.test/v1", "apiKey": "sk-model", "api": "openai-completions",
            "headers": {"X-Team": "header-secret"}, "models": [{"id": "m1"}],
        }}},
        "channels": {"telegram": {
            "botToken": "1:bot", "dmPolicy": "open", "allowFrom": ["*"],
            "accounts": {"second": {"botToken": "2:bot", "dmPolicy": "pairing"}},
        }},
        "agents": {"list": [{"id": "main", "name": "Pinch"}]},
        "skills": {"entries": {"github": {"apiKey": "ghp-1"}}, "allowBundled": ["github"]},
    })
}

#[tokio::test]
async fn what_is_read_can_be_written_back_and_keeps_its_secrets() {
    let here = Here::start().await;
    let (whole, changed, notices) = stored(here.set(&here.owner, full()).await);
    let text = whole.config.to_string();
    for secret in ["sk-model", "header-secret", "1:bot", "2:bot", "ghp-1"] {
        assert!(!text.contains(secret), "{secret} is shown: {text}");
    }
    assert!(
        changed.contains(&"models.providers.mock.apiKey".to_owned()),
        "{changed:?}"
    );
    assert!(
        notices.iter().any(|issue| issue.path == "skills.allowBundled"),
        "{notices:?}"
    );
    // A second account takes over the settings of the block when it is new.
    assert_eq!(
        whole.config["channels"]["telegram"]["accounts"]["second"]["allowFrom"],
        json!(["*"])
    );

    let again = here.get(&here.owner).await;
    assert_eq!((&again.config, &again.hash), (&whole.config, &whole.hash));
    let (same, changed, _) = stored(here.set(&here.owner, again.config.clone()).await);
    assert_eq!((same.hash, changed), (whole.hash, Vec::<String>::new()));

    let mut edited = again.config;
    edited["agents"]["list"][0]["name"] = json!("Claw");
    edited["channels"]["telegram"]["dmPolicy"] = json!("pairing");
    edited["models"]["providers"]["mock"]["models"] = json!([{"id": "m2"}]);
    let (_, changed, _) = stored(here.set(&here.owner, edited).await);
    assert_eq!(
        changed,
        [
            "agents.list",
            "channels.telegram.dmPolicy",
            "models.providers.mock.models"
        ]
    );
    let scope = &here.owner.scope;
    let model = here
        .config()
        .resolve_model(scope, "main", None)
        .await
        .expect("resolves");
    assert_eq!(
        (model.model.as_str(), model.endpoint.api_key),
        ("m2", Some(Secret::new("sk-model")))
    );
    assert_eq!(model.endpoint.headers[0].1, Secret::new("header-secret"));
    for (id, token) in [("default", "1:bot"), ("second", "2:bot")] {
        let account = here
            .config()
            .account(scope.tenant(), "telegram", id)
            .await
            .expect("reads");
        let account = account.expect("is there");
        assert_eq!(account.account.secret("botToken"), Some(&Secret::new(token)), "{id}");
        assert!(account.enabled);
    }
    let pointer = "/skills/entries/github/apiKey";
    let key = here.config().document_secret(scope, pointer).await.expect("reads");
    assert_eq!(key, Some(Secret::new("ghp-1")));
}

#[tokio::test]
async fn a_patch_changes_and_removes() {
    let here = Here::start().await;
    stored(here.set(&here.owner, full()).await);
    let patch = json!({
        "ui": {"seamColor": "#12ab34"},
        "models": {"providers": {"mock": {"apiKey": null}}},
        "channels": {"telegram": {"enabled": false, "accounts": {"second": null}}},
        "agents": {"list": [{"id": "main", "model": "mock/m1"}, {"id": "work"}]},
    });
    let (whole, ..) = stored(here.patch(&here.owner, patch).await);
    assert_eq!(whole.config["ui"]["seamColor"], "#12ab34");
    assert_eq!(
        whole.config["agents"]["list"],
        json!([{"id": "main", "name": "Pinch", "model": "mock/m1"}, {"id": "work"}])
    );
    let provider = &whole.config["models"]["providers"]["mock"];
    assert_eq!(
        (provider.get("apiKey"), provider["baseUrl"].as_str()),
        (None, Some("https://llm.test/v1"))
    );
    let accounts = here
        .config()
        .list_accounts(here.owner.scope.tenant_scope())
        .await
        .expect("lists");
    assert_eq!(accounts.len(), 1);
    assert!(!accounts[0].enabled && accounts[0].secrets_set == ["botToken"]);
    let (whole, ..) = stored(here.patch(&here.owner, json!({"models": null, "channels": null})).await);
    assert!(whole.config.get("models").is_none() && whole.config.get("channels").is_none());
    let tenant = here.owner.scope.tenant_scope();
    assert!(here.config().list_providers(tenant).await.expect("lists").is_empty());
}

#[tokio::test]
async fn a_stale_or_missing_hash_changes_nothing() {
    let here = Here::start().await;
    let old = here.get(&here.owner).await.hash;
    stored(here.patch(&here.owner, json!({"ui": {"seamColor": "#000000"}})).await);
    let now = here.get(&here.owner).await.hash;
    for base in [None, Some(old.as_str()), Some("")] {
        let error = here
            .config()
            .change_whole(&here.owner, base, Change::Set(json!({})), APIS)
            .await
            .expect_err("is refused");
        assert!(error.to_string().ends_with("re-run config.get and retry"), "{error}");
    }
    assert_eq!(here.get(&here.owner).await.hash, now);
    // What another admin changes in the tenant is a change too.
    let tenant = here.owner.scope.tenant_scope();
    let admin = testing::user(here.config(), tenant, "admin@acme.test", Role::Admin).await;
    let admin = user(here.config(), &admin).await;
    stored(
        here.patch(&admin, json!({"models": {"providers": {"openai": {"apiKey": "sk-2"}}}}))
            .await,
    );
    let error = here
        .config()
        .change_whole(&here.owner, Some(&now), Change::Set(json!({})), APIS)
        .await;
    assert!(matches!(error, Err(Error::Conflict(_))));
}

#[tokio::test]
async fn what_is_not_honoured_is_refused_by_path() {
    let here = Here::start().await;
    let check = async |patch: Value, path: &str, message: &str| {
        let issues = refused(here.patch(&here.owner, patch).await);
        assert!(
            issues.iter().any(|(at, why)| at == path && why.contains(message)),
            "{path} {message}: {issues:?}"
        );
    };
    check(
        json!({"gateway": {"port": 1}}),
        "gateway.port",
        "the gateway is this service",
    )
    .await;
    check(json!({"flubber": 1}), "flubber", "unknown key").await;
    check(
        json!({"session": {"dmScope": "all"}}),
        "session.dmScope",
        "must be one of main",
    )
    .await;
    check(
        json!({"agents": {"defaults": {"userTimezone": "Mars"}}}),
        "agents.defaults.userTimezone",
        "time zone",
    )
    .await;
    check(
        json!({"bindings": [{"agentID": "x"}]}),
        "bindings.0.agentID",
        "unknown key",
    )
    .await;
    check(json!({"ui": {"seamColor": "red"}}), "ui.seamColor", "a color").await;
    check(
        json!({"channels": {"discord": {"token": "t"}}}),
        "channels.discord",
        "not available yet",
    )
    .await;
    check(
        json!({"channels": {"telegram": {"dmPolicy": "open", "botToken": "1:a"}}}),
        "channels.telegram",
        "allowFrom",
    )
    .await;
    check(
        json!({"models": {"providers": {"x": {"apiKey": "k"}}}}),
        "models.providers.x.baseUrl",
        "missing",
    )
    .await;
    check(
        json!({"models": {"providers": {"openai": {"api": "smoke"}}}}),
        "models.providers.openai.api",
        "one of",
    )
    .await;
    check(
        json!({"models": {"providers": {"openai": {"apiKey": "${KEY}"}}}}),
        "models.providers.openai.apiKey",
        "KEY",
    )
    .await;
    check(
        json!({"models": {"providers": {"openai": {"apiKey": REDACTED}}}}),
        "models.providers.openai.apiKey",
        "no stored secret",
    )
    .await;
    check(
        json!({"skills": {"entries": {"x": {"apiKey": REDACTED}}}}),
        "",
        "no stored secret",
    )
    .await;
    // Nothing of all that was stored, not even in part.
    assert_eq!(here.get(&here.owner).await.config, json!({}));
    // What programs write about the file is left out, and said so.
    let (whole, _, notices) = stored(
        here.patch(&here.owner, json!({"meta": {"lastTouchedVersion": "1"}}))
            .await,
    );
    assert_eq!((whole.config, notices[0].path.as_str()), (json!({}), "meta"));
    // A bot without its token is stored, but off.
    let (whole, _, notices) = stored(
        here.patch(&here.owner, json!({"channels": {"telegram": {"dmPolicy": "pairing"}}}))
            .await,
    );
    assert_eq!(whole.config["channels"]["telegram"]["enabled"], false);
    assert!(notices[0].message.contains("botToken"), "{notices:?}");
}

#[tokio::test]
async fn what_did_not_fit_before_does_not_stop_a_change() {
    let here = Here::start().await;
    let scope = &here.owner.scope;
    here.config()
        .update_document(scope, |_| Ok(json!({"session": {"dmScope": "odd"}, "old": 1})))
        .await
        .expect("stores");
    let whole = here.get(&here.owner).await;
    assert_eq!(whole.issues.len(), 2);
    let (whole, ..) = stored(here.patch(&here.owner, json!({"ui": {"seamColor": "#ffffff"}})).await);
    assert_eq!(whole.config["old"], 1);
}

#[tokio::test]
async fn a_member_changes_what_is_theirs_alone() {
    let here = Here::start().await;
    stored(here.set(&here.owner, full()).await);
    let tenant = here.owner.scope.tenant_scope();
    let scope = testing::user(here.config(), tenant, "m@acme.test", Role::Member).await;
    let member = user(here.config(), &scope).await;
    let seen = here.get(&member).await.config;
    assert!(seen.get("channels").is_none() && seen.get("agents").is_none(), "{seen}");
    for patch in [
        json!({"models": {"providers": {"mock": {"apiKey": "sk-mine"}}}}),
        json!({"models": null}),
        json!({"channels": {"telegram": {"botToken": "9:mine"}}}),
    ] {
        let result = here.patch(&member, patch).await;
        assert!(matches!(result, Err(Error::Forbidden(_))), "{result:?}");
    }
    let before = here.get(&here.owner).await.hash;
    let (whole, ..) = stored(here.patch(&member, json!({"session": {"dmScope": "main"}})).await);
    assert_eq!(whole.config["session"]["dmScope"], "main");
    assert_eq!(here.get(&here.owner).await.hash, before);
    let model = here
        .config()
        .resolve_model(&scope, "main", None)
        .await
        .expect("resolves");
    assert_eq!(model.endpoint.api_key, Some(Secret::new("sk-model")));
}
