//! A server in this process with two tenants, for tests beside the code.

use std::net::{IpAddr, Ipv4Addr};

use claw_actors::config::identity::{Role, User};
use claw_actors::crypto::Secret;
use claw_entities::TenantScope;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::boot::{self, Spawned};
use crate::settings::Settings;

/// A running server and the folder of its database.
pub(crate) struct TestServer {
    pub server: Spawned,
    pub client: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// A user with a way in.
pub(crate) struct TestUser {
    pub user: User,
    pub tenant: String,
    pub token: Secret,
    pub cookie: Secret,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with settings changed by `change`.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::for_test();
        settings.database.url = format!("sqlite://{}", folder.path().join("claw.db").display()).into();
        change(&mut settings);
        let server = tokio::task::spawn_blocking(|| boot::spawn(settings))
            .await
            .expect("no panic")
            .expect("starts");
        Self {
            server,
            client: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .local_address(IpAddr::V4(Ipv4Addr::LOCALHOST))
                .build()
                .expect("a client"),
            _folder: folder,
        }
    }

    /// A user of `tenant` (made if it is not there) with an API token of all scopes and a web session.
    pub(crate) async fn user(&self, tenant: &str, email: &str, role: Role) -> TestUser {
        let config = &self.server.services.config;
        let scope = match config.tenant_by_slug(tenant).await.expect("reads") {
            Some(tenant) => TenantScope::vouch(tenant.id.clone()),
            None => TenantScope::vouch(config.create_tenant(tenant, tenant).await.expect("creates").id),
        };
        let user = match config.user_by_email(&scope, email).await.expect("reads") {
            Some(user) => user,
            None => config.create_user(&scope, email, role, None).await.expect("creates"),
        };
        let (_, token) = config
            .create_api_token(&user.scope, "test", None)
            .await
            .expect("creates");
        let cookie = config.create_web_session(&user.scope).await.expect("creates");
        TestUser {
            user,
            tenant: tenant.to_owned(),
            token,
            cookie,
        }
    }

    /// A request to `<tenant>.localhost`, by nobody.
    pub(crate) fn request(&self, tenant: &str, method: Method, path: &str) -> RequestBuilder {
        let addr = self.server.addr;
        self.client
            .request(method, format!("http://{addr}{path}"))
            .header("host", format!("{tenant}.localhost:{}", addr.port()))
    }

    /// The tenant's own origin.
    pub(crate) fn origin(&self, tenant: &str) -> String {
        format!("http://{tenant}.localhost:{}", self.server.addr.port())
    }

    /// A request with the user's token.
    pub(crate) fn as_user(&self, user: &TestUser, method: Method, path: &str) -> RequestBuilder {
        self.request(&user.tenant, method, path)
            .bearer_auth(user.token.expose())
    }

    /// A request as the user's browser makes it.
    pub(crate) fn as_page(&self, user: &TestUser, method: Method, path: &str) -> RequestBuilder {
        self.request(&user.tenant, method, path)
            .header("cookie", format!("claw_session={}", user.cookie.expose()))
            .header("origin", self.origin(&user.tenant))
    }
}

/// Sends and gives the status.
pub(crate) async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}

/// Sends, checks the status, and gives the body as JSON (null when empty).
pub(crate) async fn json(request: RequestBuilder, expected: u16) -> Value {
    let answer: Response = request.send().await.expect("an answer");
    let got = answer.status().as_u16();
    let body = answer.text().await.expect("a body");
    assert_eq!(got, expected, "{body}");
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&body).unwrap_or_else(|_| panic!("not JSON: {body}"))
}
