//! One installation under test: the real binary, its fake outside world, and clients by role.

use std::collections::HashMap;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HOST, ORIGIN};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::binary::Binary;
use super::database::{Rows, TestDatabase};
use super::model::Model;
use super::node::{Device, Hello, TestNode};
use super::platform::Platform;
use super::wait::eventually;
use super::webhook::{Webhooks, status};

pub(crate) const TELEGRAM_SECRET: &str = "telegram-hook-secret";
pub(crate) const SLACK_SECRET: &str = "slack-signing-secret";
pub(crate) const OWNER: &str = "owner@demo.local";
pub(crate) const MEMBER: &str = "member@demo.local";
pub(crate) const STRANGER: &str = "owner@other.local";
/// All scopes an operator may ask for.
pub(crate) const ALL_SCOPES: &[&str] = &[
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
];

/// The server under test and everything around it. Dropped, it checks that no actor panicked.
pub(crate) struct TestApp {
    pub(crate) binary: Binary,
    pub(crate) database: TestDatabase,
    pub(crate) model: Model,
    pub(crate) platform: Platform,
    client: Client,
    tokens: HashMap<String, String>,
    dir: TempDir,
}

/// A person's HTTP client: `Host` of the tenant, a bearer token where there is one.
pub(crate) struct Person<'a> {
    app: &'a TestApp,
    host: String,
    token: Option<String>,
}

impl TestApp {
    /// Tenant `demo` with its owner, the scripted model, and Telegram and Slack bots that talk to everybody.
    pub(crate) async fn start() -> Self {
        Self::start_with(&json!({}), &[]).await
    }

    /// As [`TestApp::start`]; `extra` is merged over the owner's OpenClaw configuration, `settings` are variables.
    pub(crate) async fn start_with(extra: &Value, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("claw-it")
            .tempdir()
            .expect("a temporary folder");
        let database = TestDatabase::create(dir.path()).await;
        Self::start_on(dir, database, extra, settings).await
    }

    /// As [`TestApp::start_with`] on a database of the caller's.
    pub(crate) async fn start_on(
        dir: TempDir,
        database: TestDatabase,
        extra: &Value,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut binary = Binary::new(dir.path(), &database.url, settings);
        binary.start();
        let mut app = Self {
            client: http_client(),
            binary,
            database,
            model: Model::start(),
            platform: Platform::start(),
            tokens: HashMap::new(),
            dir,
        };
        app.import("demo", OWNER, extra);
        app.add_token("demo", OWNER);
        app
    }

    /// Brings the usual configuration, with `extra` merged over it, to a user.
    pub(crate) fn import(&self, tenant: &str, user: &str, extra: &Value) -> String {
        let mut file = self.openclaw();
        merge(&mut file, extra);
        let path = self.dir.path().join(format!("{tenant}-{user}.json"));
        std::fs::write(&path, file.to_string()).expect("the temporary folder takes files");
        let path = path.display().to_string();
        self.binary.cli(&["import", "--tenant", tenant, "--user", user, &path])
    }

    /// As [`Self::import`] for the owner, and waits until the server goes by it: by what stands at this JSON pointer.
    pub(crate) async fn reconfigure(&self, extra: &Value, at: &str) {
        self.import("demo", OWNER, extra);
        let wanted = extra.pointer(at).expect("the test names a part of it");
        let operator = tokio::sync::Mutex::new(self.operator().await);
        eventually("the server goes by what was imported", || async {
            let shown = operator.lock().await.call("config.get", json!({})).await;
            let shown = shown.expect("reads the configuration");
            (shown["config"].pointer(at) == Some(wanted)).then_some(())
        })
        .await;
        // What another process wrote is in the database at once, and what is kept in memory goes by it some time later. A
        // change of the server's own does away with that, if it is one: each time another color.
        static COLORS: AtomicU32 = AtomicU32::new(1);
        let mut operator = operator.into_inner();
        let now = operator.call("config.get", json!({})).await.expect("reads");
        let color = format!("#{:06x}", COLORS.fetch_add(1, Ordering::Relaxed));
        let color = json!({"ui": {"seamColor": color}});
        let params = json!({"raw": color.to_string(), "baseHash": now["hash"]});
        operator.call("config.patch", params).await.expect("changes");
    }

    fn openclaw(&self) -> Value {
        json!({
            "models": {"providers": {"mock": {
                "baseUrl": self.model.base_url(), "apiKey": "sk-test", "api": "openai-completions",
                "models": [{"id": "mock-1", "name": "Mock", "reasoning": false, "input": ["text"],
                    "contextWindow": 128_000, "maxTokens": 4096,
                    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}],
            }}},
            "agents": {"defaults": {"model": {"primary": "mock/mock-1"}}},
            "messages": {"queue": {"mode": "collect", "debounceMs": 0}, "inbound": {"debounceMs": 0}},
            "channels": {
                "telegram": {"enabled": true, "botToken": "4242:test-token", "webhookSecret": TELEGRAM_SECRET,
                    "apiRoot": self.platform.telegram_root(), "dmPolicy": "open", "allowFrom": ["*"], "streaming": "off"},
                "slack": {"enabled": true, "mode": "http", "botToken": "xoxb-test", "signingSecret": SLACK_SECRET,
                    "apiBaseUrl": self.platform.slack_root(), "dmPolicy": "open", "allowFrom": ["*"], "streaming": "off"},
            },
        })
    }

    /// Adds a person to a tenant and makes a token for them.
    pub(crate) fn add_user(&mut self, tenant: &str, email: &str, role: &str) {
        self.binary
            .cli(&["user", "create", "--tenant", tenant, "--email", email, "--role", role]);
        self.add_token(tenant, email);
    }

    /// Adds tenant `other` with an owner of its own.
    pub(crate) fn add_other_tenant(&mut self) {
        self.binary.cli(&["tenant", "create", "other"]);
        self.add_user("other", STRANGER, "owner");
    }

    fn add_token(&mut self, tenant: &str, email: &str) {
        let token = self
            .binary
            .cli(&["token", "create", "--tenant", tenant, "--user", email]);
        self.tokens.insert(email.to_owned(), token);
    }

    pub(crate) fn token(&self, email: &str) -> &str {
        self.tokens
            .get(email)
            .unwrap_or_else(|| panic!("the test made no token for {email}"))
    }

    /// `Host` of a tenant.
    pub(crate) fn host(&self, tenant: &str) -> String {
        let port = self.binary.address().port();
        if tenant == "demo" {
            format!("127.0.0.1:{port}")
        } else {
            format!("{tenant}.localhost:{port}")
        }
    }

    /// Somebody without any proof.
    pub(crate) fn anonymous(&self) -> Person<'_> {
        Person {
            app: self,
            host: self.host("demo"),
            token: None,
        }
    }

    /// The demo tenant's owner.
    pub(crate) fn owner(&self) -> Person<'_> {
        self.person("demo", OWNER)
    }

    /// A person known by e-mail, at the tenant's host.
    pub(crate) fn person(&self, tenant: &str, email: &str) -> Person<'_> {
        Person {
            app: self,
            host: self.host(tenant),
            token: Some(self.token(email).to_owned()),
        }
    }

    /// A word that tells a bot of the demo tenant's who this person is.
    pub(crate) async fn link_code(&self, email: &str) -> String {
        let (code, made) = self.person("demo", email).post("/api/link-codes", &json!({})).await;
        assert_eq!(code, 201, "{made}");
        made["code"].as_str().expect("a code").to_owned()
    }

    /// Links a direct chat of Telegram with this person, by update 1.
    pub(crate) async fn link(&self, email: &str, chat: i64) {
        let word = self.link_code(email).await;
        self.says(1, chat, &word).await;
        self.platform.message(&chat.to_string(), "now linked").await;
    }

    /// Somebody writes to the bot of Telegram, and it is accepted.
    pub(crate) async fn says(&self, update: u64, chat: i64, text: &str) {
        assert_eq!(status(self.webhooks().telegram(update, chat, text)).await, 200);
    }

    /// Webhooks of the demo tenant's bots.
    pub(crate) fn webhooks(&self) -> Webhooks {
        Webhooks {
            client: self.client.clone(),
            address: self.binary.address(),
            host: self.host("demo"),
            telegram_secret: TELEGRAM_SECRET.to_owned(),
            slack_secret: SLACK_SECRET.to_owned(),
        }
    }

    pub(crate) fn socket_url(&self) -> String {
        format!("ws://{}/gateway/ws", self.binary.address())
    }

    /// The owner's command-line client: a token, no device.
    pub(crate) async fn operator(&self) -> TestNode {
        self.operator_as("demo", OWNER, ALL_SCOPES)
            .await
            .expect("the owner's token connects")
    }

    /// A command-line client of some person.
    pub(crate) async fn operator_as(&self, tenant: &str, email: &str, scopes: &[&str]) -> Result<TestNode, Value> {
        TestNode::connect(&Hello {
            url: &self.socket_url(),
            host: &self.host(tenant),
            auth: json!({"token": self.token(email)}),
            role: "operator",
            client: "cli",
            mode: "cli",
            scopes,
            commands: &[],
            caps: &[],
            device: None,
        })
        .await
    }

    /// A program of some person's that shows approvals.
    pub(crate) async fn approver(&self, tenant: &str, email: &str) -> TestNode {
        let hello = Hello {
            url: &self.socket_url(),
            host: &self.host(tenant),
            auth: json!({"token": self.token(email)}),
            role: "operator",
            client: "cli",
            mode: "cli",
            scopes: &["operator.read", "operator.approvals"],
            commands: &[],
            caps: &["approvals"],
            device: None,
        };
        TestNode::connect(&hello).await.expect("the token connects")
    }

    /// A program of the owner's that can show these things.
    pub(crate) async fn watcher(&self, caps: &[&str]) -> TestNode {
        let hello = Hello {
            url: &self.socket_url(),
            host: &self.host("demo"),
            auth: json!({"token": self.token(OWNER)}),
            role: "operator",
            client: "cli",
            mode: "cli",
            scopes: &["operator.read"],
            commands: &[],
            caps,
            device: None,
        };
        TestNode::connect(&hello).await.expect("the token connects")
    }

    /// A headless node of the owner's that is paired, approved and connected.
    pub(crate) async fn ready_node(&self, device: &Device, commands: &[&str]) -> TestNode {
        let (url, host) = (self.socket_url(), self.host("demo"));
        let auth = json!({"token": self.token(OWNER)});
        self.pair_node(&node_hello(&url, &host, auth, device, commands)).await
    }

    /// Pairs a new device of the owner's as the node it says it is, approves it, and leaves it connected.
    pub(crate) async fn pair_node(&self, hello: &Hello<'_>) -> TestNode {
        let refused = TestNode::connect(hello)
            .await
            .err()
            .expect("a new device is not let in");
        let mut operator = self.operator().await;
        let request = json!({"requestId": refused["details"]["requestId"]});
        operator
            .call("device.pair.approve", request)
            .await
            .expect("the device is approved");
        let node = TestNode::connect(hello).await.expect("paired");
        let list = operator.call("node.pair.list", json!({})).await.expect("lists");
        let request = json!({"requestId": list["pending"][0]["requestId"]});
        operator
            .call("node.pair.approve", request)
            .await
            .expect("the surface is approved");
        node
    }

    /// A paired device of the demo tenant as an operator.
    pub(crate) async fn device_operator(
        &self,
        device: &Device,
        auth: Value,
        scopes: &[&str],
    ) -> Result<TestNode, Value> {
        TestNode::connect(&Hello {
            url: &self.socket_url(),
            host: &self.host("demo"),
            auth,
            role: "operator",
            client: "cli",
            mode: "ui",
            scopes,
            commands: &[],
            caps: &[],
            device: Some(device),
        })
        .await
    }

    /// A headless node of the owner's, with `auth` and a device.
    pub(crate) async fn node(&self, device: &Device, auth: Value, commands: &[&str]) -> Result<TestNode, Value> {
        self.node_at("demo", device, auth, commands).await
    }

    /// A headless node at a tenant's host, with `auth` and a device.
    pub(crate) async fn node_at(
        &self,
        tenant: &str,
        device: &Device,
        auth: Value,
        commands: &[&str],
    ) -> Result<TestNode, Value> {
        let (url, host) = (self.socket_url(), self.host(tenant));
        TestNode::connect(&node_hello(&url, &host, auth, device, commands)).await
    }

    /// A look into the database.
    pub(crate) async fn rows(&self) -> Rows {
        self.database.open().await
    }

    /// Waits until nothing accepted is unfinished and nothing to send is unsent.
    pub(crate) async fn settled(&self) {
        let rows = self.rows().await;
        super::wait::becomes("unfinished inbox and outbox rows", (0, 0), || async {
            (
                rows.count("inbox WHERE state IN ('pending', 'running')").await,
                rows.count("outbox WHERE state IN ('pending', 'sending')").await,
            )
        })
        .await;
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.binary.kill();
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", self.binary.log());
            return;
        }
        let log = self.binary.log();
        assert!(!log.contains("panicked at"), "something panicked in the server:\n{log}");
    }
}

impl Person<'_> {
    /// A request to the REST API; changes carry the tenant's own origin.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self
            .app
            .client
            .request(method.clone(), format!("http://{}{path}", self.app.binary.address()))
            .header(HOST, &self.host);
        if method != Method::GET {
            request = request.header(ORIGIN, format!("http://{}", self.host));
        }
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// `GET`, its status and its JSON (null when it is none).
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answered(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answered(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        answered(self.request(Method::PUT, path).json(body)).await
    }
}

fn node_hello<'a>(url: &'a str, host: &'a str, auth: Value, device: &'a Device, commands: &'a [&'a str]) -> Hello<'a> {
    Hello {
        url,
        host,
        auth,
        role: "node",
        client: "node-host",
        mode: "node",
        scopes: &[],
        commands,
        caps: &[],
        device: Some(device),
    }
}

/// Sends; gives status and JSON.
pub(crate) async fn answered(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("the server answers");
    let status = response.status().as_u16();
    let text = response.text().await.expect("the body arrives");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A client without redirects, proxies and TLS.
pub(crate) fn http_client() -> Client {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .expect("nobody else installs one");
    });
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .expect("the client's settings are valid")
}

/// JSON merge: objects go into objects, anything else replaces.
pub(crate) fn merge(into: &mut Value, extra: &Value) {
    if let (Value::Object(into), Value::Object(extra)) = (&mut *into, extra) {
        for (name, value) in extra {
            merge(into.entry(name.clone()).or_insert(Value::Null), value);
        }
    } else {
        *into = extra.clone();
    }
}
