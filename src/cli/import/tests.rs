//! Imports of whole files, from reading to what the service then answers.

use std::path::PathBuf;

use claw_actors::config::accounts::{DmPolicy, ResolvedAccount};
use claw_actors::config::document::{DmScope, QueueMode};
use claw_actors::config::identity::Role;
use claw_actors::crypto::Secret;
use serde_json::json;

use super::super::testing;
use super::report::Outcome;
use super::*;

struct Imported {
    config: ConfigService,
    user: User,
    report: Report,
    here: testing::Here,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/openclaw")
        .join(name)
}

async fn take(name: &str) -> Imported {
    let here = testing::start().await;
    let config = place::open(&here.settings).await.expect("opens");
    let user = place::user(&config, "demo", "owner@demo.local")
        .await
        .expect("is there");
    let file = read(&fixture(name)).expect("reads");
    let report = import(&config, &here.settings, &user, file).await.expect("imports");
    Imported {
        config,
        user,
        report,
        here,
    }
}

impl Imported {
    fn outcome(&self, setting: &str) -> (Outcome, &str) {
        let line = self.report.lines().iter().find(|line| line.setting == setting);
        let line = line.unwrap_or_else(|| panic!("no line for {setting}: {:#?}", self.report.lines()));
        (line.outcome, &line.note)
    }

    async fn account(&self, channel: &str, id: &str) -> std::sync::Arc<ResolvedAccount> {
        let account = self
            .config
            .account(self.user.scope.tenant(), channel, id)
            .await
            .expect("reads");
        account.expect("is there")
    }

    /// A second import gives the same lines and changes nothing that can be seen.
    async fn again(&self, name: &str) {
        let before = self.config.document(&self.user.scope).await.expect("reads").hash;
        let file = read(&fixture(name)).expect("reads");
        let report = import(&self.config, &self.here.settings, &self.user, file)
            .await
            .expect("imports");
        let lines = |report: &Report| report.lines().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(lines(&report), lines(&self.report));
        assert_eq!(
            self.config.document(&self.user.scope).await.expect("reads").hash,
            before
        );
    }
}

#[tokio::test]
async fn a_personal_telegram_file() {
    let done = take("personal-telegram.json5").await;
    let model = done
        .config
        .resolve_model(&done.user.scope, "main", None)
        .await
        .expect("resolves");
    assert_eq!(
        (model.provider.as_str(), model.model.as_str()),
        ("openrouter", "moonshotai/kimi-k2")
    );
    assert_eq!(model.endpoint.api_key, Some(Secret::new("sk-or-v1-example")));
    assert_eq!((model.context_window, model.prices[1]), (131_072, 2.5));
    let by_alias = done
        .config
        .resolve_model(&done.user.scope, "main", Some("Kimi"))
        .await
        .expect("resolves");
    assert_eq!(by_alias.model, model.model);

    let bot = done.account("telegram", "default").await;
    assert_eq!(
        bot.account.secret("botToken"),
        Some(&Secret::new("123456789:AAExampleExampleExample"))
    );
    assert_eq!(
        (bot.enabled, &bot.owner, bot.policy.dm),
        (true, done.user.scope.user(), DmPolicy::Pairing)
    );
    assert_eq!(bot.policy.allow_from, ["700100200"]);
    assert!(bot.account.config.get("botToken").is_none() && bot.account.config.get("webhookPath").is_none());

    let settings = done.config.settings(&done.user.scope).await.expect("reads");
    assert_eq!(settings.queue.mode, QueueMode::Collect);
    assert_eq!(
        (settings.queue.cap, settings.time_zone.as_deref()),
        (30, Some("Europe/Lisbon"))
    );
    assert_eq!(settings.agents[0].mention_patterns.len(), 2);

    assert_eq!(done.outcome("models.providers.openrouter").0, Outcome::Taken);
    assert_eq!(done.outcome("gateway.auth").0, Outcome::NoMeaning);
    assert_eq!(done.outcome("agents.defaults.workspace").0, Outcome::NoMeaning);
    assert!(done.outcome("session.dmScope").1.contains("per-channel-peer"));
    let shown = format!("{:?}", done.report.lines());
    assert!(!shown.contains("sk-or") && !shown.contains("AAExample") && !shown.contains("gateway-token"));
    done.again("personal-telegram.json5").await;
}

#[tokio::test]
async fn a_team_slack_file() {
    let done = take("team-slack.json5").await;
    let model = done
        .config
        .resolve_model(&done.user.scope, "support", None)
        .await
        .expect("resolves");
    assert_eq!(
        (model.provider.as_str(), model.model.as_str(), model.reasoning),
        ("gateway", "large", true)
    );
    assert_eq!(model.endpoint.base_url, "https://llm.example.com/v1");
    let headers: Vec<_> = model
        .endpoint
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(
        headers,
        [("X-Team", "support"), ("Authorization", "Bearer sk-team-example")]
    );
    let ops = done
        .config
        .resolve_model(&done.user.scope, "ops", None)
        .await
        .expect("resolves");
    assert_eq!((ops.api.as_str(), ops.endpoint.api_key), ("anthropic-messages", None));
    assert!(
        done.outcome("models.providers.anthropic")
            .1
            .contains("ANTHROPIC_API_KEY")
    );

    let first = done.account("slack", "default").await;
    assert_eq!(first.policy.dm, DmPolicy::Open);
    assert!(first.enabled && !first.policy.groups["C0HELP001"].require_mention);
    assert_eq!(first.account.config["apiBaseUrl"], "http://127.0.0.1:4010/api");
    let second = done.account("slack", "ops").await;
    assert_eq!(
        second.account.secret("botToken"),
        Some(&Secret::new("xoxb-example-ops"))
    );
    assert_eq!((second.enabled, second.policy.dm), (true, DmPolicy::Pairing));
    // A named account inherits settings but never the default account's secrets.
    let third = done.account("slack", "old-one").await;
    assert!(!third.enabled && third.account.secrets.is_empty());
    assert!(
        done.outcome("channels.slack.accounts.Old One")
            .1
            .contains("switched off")
    );

    assert_eq!(
        done.outcome("channels.discord"),
        (Outcome::NotTaken, "this channel is not available yet")
    );
    assert_eq!(done.outcome("messages.typo").0, Outcome::Unknown);
    assert_eq!(done.outcome("session.store").0, Outcome::NoMeaning);
    assert!(done.outcome("session.dmScope").1.contains("share one session"));
    let settings = done.config.settings(&done.user.scope).await.expect("reads");
    assert_eq!(
        (settings.session.dm_scope, settings.default_agent.as_str()),
        (DmScope::Main, "support")
    );
    assert_eq!((settings.bindings.len(), settings.group_history), (2, 20));
    done.again("team-slack.json5").await;
}

#[tokio::test]
async fn a_power_users_file() {
    let done = take("power-user.json5").await;
    let scope = &done.user.scope;
    let model = done.config.resolve_model(scope, "main", None).await.expect("resolves");
    assert_eq!((model.provider.as_str(), model.model.as_str()), ("zai", "glm-5"));
    assert_eq!(
        done.outcome("models.providers.nowhere"),
        (Outcome::NotTaken, "it has no baseUrl")
    );
    assert_eq!(done.outcome("models.providers.bedrock.auth").0, Outcome::NotTaken);
    let bot = done.account("telegram", "default").await;
    assert_eq!(bot.account.secret("webhookSecret"), Some(&Secret::new("hook-secret")));
    assert_eq!(
        (bot.policy.dm, bot.account.config["apiRoot"].as_str()),
        (DmPolicy::Open, Some("http://127.0.0.1:8081"))
    );
    // `open` without `*` would open nothing: it is refused, and said so.
    let (outcome, why) = done.outcome("channels.telegram.accounts.alerts");
    assert!(outcome == Outcome::NotTaken && why.contains("allowFrom"), "{why}");

    assert_eq!(done.outcome("cron.enabled"), (Outcome::Taken, ""));
    assert_eq!(done.outcome("cron.jobs[morning]").0, Outcome::Taken);
    let (outcome, why) = done.outcome("cron.jobs[hectic]");
    assert!(outcome == Outcome::NotTaken && why.contains("too often"), "{why}");
    let jobs = done.config.cron_jobs(scope).await.expect("reads");
    let names: Vec<_> = jobs
        .iter()
        .map(|job| (job.definition.name.as_str(), job.enabled))
        .collect();
    assert_eq!(names, [("Morning news", true), ("Water", false)]);
    assert_eq!(done.outcome("flubber").0, Outcome::Unknown);
    assert_eq!(done.outcome("channels.carrierpigeon").0, Outcome::Unknown);
    assert_eq!(done.outcome("agents.defaults.frobnicate").0, Outcome::Unknown);
    let document = done.config.document(scope).await.expect("reads").doc;
    assert_eq!(document["cron"]["maxConcurrentRuns"], 2);
    assert!(!document.to_string().contains("ghp-example") && !document.to_string().contains("hook-token"));
    assert_eq!(document["hooks"], json!({"enabled": true}));
    let token = Secret::new("hook-token-example");
    let hook = done
        .config
        .authenticate_hook(scope.tenant(), &token)
        .await
        .expect("reads");
    assert_eq!(hook.map(|(owner, _)| owner).as_ref(), Some(scope));
    let key = done
        .config
        .document_secret(scope, "/skills/entries/github/apiKey")
        .await
        .expect("reads");
    assert_eq!(key, Some(Secret::new("ghp-example")));
    let settings = done.config.settings(scope).await.expect("reads");
    assert_eq!(settings.agents.len(), 2);
    done.again("power-user.json5").await;
    let again = done.config.cron_jobs(scope).await.expect("reads");
    assert_eq!(again.len(), 2);
    assert_eq!(
        again.iter().map(|job| job.epoch).collect::<Vec<_>>(),
        [1, 1],
        "the second import changed nothing"
    );
}

#[tokio::test]
async fn a_members_file_does_not_touch_the_tenant() {
    let here = testing::start().await;
    let config = place::open(&here.settings).await.expect("opens");
    let tenant = place::tenant(&config, "demo").await.expect("is there");
    let member = config
        .create_user(&tenant, "m@demo.local", Role::Member, None)
        .await
        .expect("creates");
    let file = read(&fixture("personal-telegram.json5")).expect("reads");
    let report = import(&config, &here.settings, &member, file).await.expect("imports");
    assert!(config.list_providers(&tenant).await.expect("lists").is_empty());
    assert!(config.list_accounts(&tenant).await.expect("lists").is_empty());
    assert!(
        report
            .lines()
            .iter()
            .any(|line| line.note.contains("import as an admin"))
    );
    assert_eq!(config.document(&member.scope).await.expect("reads").revision, 1);
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let check = |text: &str, expected: &str| {
        let path = folder.path().join("file");
        std::fs::write(&path, text).expect("writes");
        let error = read(&path).expect_err("is refused").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("{", "is not JSON5");
    check("[1]", "no configuration object");
    assert!(read(std::path::Path::new("/no/such/file")).is_err());
}
