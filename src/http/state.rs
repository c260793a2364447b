//! What handlers share: services, the door into the tree, and the sections of the settings they need.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use claw_actors::crypto::Secret;
use claw_actors::supervisor::directory::Directory;
use claw_actors::{Error, Services};
use claw_entities::{Scope, TenantId, UserId};

use super::client::Client;
use super::places::{Place, Places};
use super::rate::Rate;
use crate::channels::Connector;
use crate::egress::{Egress, EgressSettings};
use crate::error::{ApiError, ApiResult};
use crate::settings::{Http, Limits, Settings, Urls};

/// Wrong guesses of a person's own present password within this time, wherever they come from.
const WRONG_PASSWORDS: u32 = 10;
const WRONG_WITHIN: Duration = Duration::from_secs(15 * 60);

/// One per process, shared by all workers.
pub struct AppState {
    pub services: Services,
    pub directory: Directory,
    pub http: Http,
    pub limits: Limits,
    pub urls: Urls,
    pub(crate) connector: Connector,
    /// Origins other than the tenant's own that may open the gateway socket.
    pub allowed_origins: Vec<String>,
    /// Sign-in with e-mail and password.
    pub password_sign_in: bool,
    /// Empty: `/metrics` is not on this listener.
    pub metrics_token: Secret,
    pub ready: Readiness,
    /// Wrong proofs, by tenant and network.
    pub failed_proofs: Rate<(TenantId, IpAddr)>,
    /// Wrong guesses of one's own present password, by person.
    pub(crate) wrong_passwords: Rate<(TenantId, UserId)>,
    /// Requests without a proof, by tenant and network.
    pub anonymous: Rate<(TenantId, IpAddr)>,
    /// Verified webhooks, by tenant.
    pub webhooks: Rate<TenantId>,
    /// Calls of hooks, by tenant and token.
    pub hooks: Rate<(TenantId, String)>,
    /// Requests to the agent that are being answered, by person.
    pub(crate) asking: Places,
    /// For addresses out of requests. Nothing private is allowed to it, whatever the settings allow elsewhere.
    pub(crate) egress: Egress,
    /// Webhooks being handled right now.
    pub webhooks_in_flight: AtomicUsize,
}

/// Does this process take work: true between the end of the start and the begin of the drain.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl AppState {
    pub fn new(services: Services, directory: Directory, settings: &Settings, urls: Urls, ready: Readiness) -> Self {
        let limits = settings.limits.clone();
        let minute = Duration::from_secs(60);
        Self {
            connector: Connector::new(services.clone(), urls.clone()),
            services,
            directory,
            http: settings.http.clone(),
            urls,
            allowed_origins: settings.gateway.allowed_origins.clone(),
            password_sign_in: settings.auth.local.enabled,
            metrics_token: settings.telemetry.metrics_token.clone(),
            ready,
            failed_proofs: Rate::new(limits.failed_proofs_per_minute, minute, limits.tracked_addresses),
            wrong_passwords: Rate::new(WRONG_PASSWORDS, WRONG_WITHIN, limits.tracked_addresses),
            anonymous: Rate::new(limits.anonymous_per_minute, minute, limits.tracked_addresses),
            webhooks: Rate::with_burst(
                limits.tenant_webhooks_per_second,
                Duration::from_secs(1),
                limits.tenant_webhooks_per_second.saturating_mul(2),
                limits.tracked_addresses,
            ),
            hooks: Rate::new(limits.hooks_per_minute, minute, limits.tracked_addresses),
            asking: Places::new(limits.user_requests),
            egress: Egress::new(EgressSettings::default()),
            webhooks_in_flight: AtomicUsize::new(0),
            limits,
        }
    }

    /// The state of the server that got this request.
    pub fn of(request: &HttpRequest) -> ApiResult<&Data<Self>> {
        request
            .app_data::<Data<Self>>()
            .ok_or_else(|| Error::internal("the server has no state").into())
    }

    pub fn client(&self, request: &HttpRequest) -> Client {
        Client::of(request, &self.http.trusted_proxies)
    }

    /// Counts a wrong proof. The answer is `unauthenticated` until the limit, then `busy`.
    pub fn wrong_proof(&self, tenant: &TenantId, client: &Client, message: &str) -> ApiError {
        match self.failed_proofs.spend(&(tenant.clone(), client.network())) {
            Ok(()) => ApiError::unauthenticated(message),
            Err(wait) => too_many(wait).into(),
        }
    }

    /// Counts a request without a proof.
    pub fn no_proof(&self, tenant: &TenantId, client: &Client) -> ApiError {
        match self.anonymous.spend(&(tenant.clone(), client.network())) {
            Ok(()) => ApiError::unauthenticated("sign in first"),
            Err(wait) => too_many(wait).into(),
        }
    }

    /// Counts a guess at a proof that can be guessed (a password, a code) before it is looked at: however many come at once,
    /// no more are looked at than the limit says. A right one is given back.
    pub fn guess(&self, tenant: &TenantId, client: &Client) -> ApiResult<()> {
        let counted = self.failed_proofs.spend(&(tenant.clone(), client.network()));
        counted.map_err(|wait| too_many(wait).into())
    }

    /// Refuses before a long random proof (a token) is even looked at.
    pub fn may_guess(&self, tenant: &TenantId, client: &Client) -> ApiResult<()> {
        match self.failed_proofs.wait(&(tenant.clone(), client.network())) {
            Some(wait) => Err(too_many(wait).into()),
            None => Ok(()),
        }
    }

    pub fn guessed_right(&self, tenant: &TenantId, client: &Client) {
        self.failed_proofs.give_back(&(tenant.clone(), client.network()));
    }

    /// The same for a person's own present password.
    pub(crate) fn guess_password(&self, scope: &Scope) -> ApiResult<()> {
        let counted = self.wrong_passwords.spend(&person(scope));
        counted.map_err(|wait| too_many(wait).into())
    }

    pub(crate) fn guessed_password_right(&self, scope: &Scope) {
        self.wrong_passwords.give_back(&person(scope));
    }

    /// A place among what is answered to one person at a time.
    pub(crate) fn place_of(&self, scope: &Scope) -> Result<Place, Error> {
        self.asking.enter(person(scope)).ok_or_else(|| Error::Busy {
            message: "too many requests of yours are being answered".to_owned(),
            retry_after: Duration::from_secs(5),
        })
    }
}

fn person(scope: &Scope) -> (TenantId, UserId) {
    (scope.tenant().clone(), scope.user().clone())
}

fn too_many(wait: Duration) -> Error {
    Error::Busy {
        message: "too many attempts; wait a little".to_owned(),
        // Whole seconds, rounded up: what `Retry-After` can say.
        retry_after: Duration::from_secs(wait.as_secs() + 1),
    }
}
