//! Who is connecting, and as what: protocol range, origin, device proof, credential, pairing, in the original's order.
//!
//! Invariant: a [`Scope`] comes out of here only from a server record (token, device token or web session).

use std::sync::Arc;
use std::time::Instant;

use claw_entities::{Scope, TenantScope};
use serde_json::Value;

use super::device::{self, DeviceRefusal};
use super::limiter::Penalty;
use super::messages::{ConnectionInfo, Event, Program};
use super::protocol::connect::ConnectParams;
use super::protocol::{OLDEST_NODE_PROTOCOL, PROTOCOL, WireError};
use super::seats::Seat;
use super::{ClientFacts, GatewayState, scopes};
use crate::clock::now_ms;
use crate::config::devices::{DeviceClaim, Paired, Pairing, PairingRequired};
use crate::config::identity::{Credential, Identity, Tenant, device_authority, role_scopes};
use crate::crypto::Secret;
use crate::error::Error;

mod refusal;
#[cfg(test)]
mod tests;

pub use refusal::Refusal;
use refusal::{auth_failed, pairing_required};

/// Everything the decision is made from, apart from what the client says.
pub struct Entrance<'a> {
    pub state: &'a GatewayState,
    pub tenant: &'a Tenant,
    pub client: &'a ClientFacts,
    /// Who the browser's session cookie is.
    pub web_identity: Option<&'a Arc<Identity>>,
    pub conn_id: &'a Arc<str>,
    pub nonce: &'a str,
}

/// A connection that may go on.
#[derive(Debug)]
pub struct Admitted {
    pub identity: Arc<Identity>,
    pub info: ConnectionInfo,
    /// `auth.method` of hello.
    pub method: &'static str,
    /// What the device connects with from now on.
    pub device: Option<Paired>,
    /// It came in with a setup code: the payload of `device.pair.setup.completed`.
    pub setup: Option<Value>,
    /// Its place, where that had to be taken first.
    pub(super) seat: Option<Seat>,
}

impl Admitted {
    pub fn scope(&self) -> &Scope {
        &self.identity.user.scope
    }
}

/// A credential that was accepted.
struct Proof {
    identity: Arc<Identity>,
    method: &'static str,
    setup: Option<Value>,
    seat: Option<Seat>,
}

/// Decides about a connect.
pub async fn admit(entrance: &Entrance<'_>, params: &ConnectParams) -> Result<Admitted, Refusal> {
    check_protocol(params)?;
    let node = match params.role() {
        "operator" => false,
        "node" => true,
        _ => return Err(WireError::invalid("invalid role").into()),
    };
    check_origin(entrance, params)?;
    let (tenant, address) = (&entrance.tenant.id, entrance.client.address);
    if let Some(wait) = entrance.state.limiter.locked(tenant, address, Instant::now()) {
        return Err(refusal::rate_limited(wait));
    }
    if let Some(identity) = cookie_identity(entrance, params, node) {
        let asked = params.scopes.clone().filter(|asked| !asked.is_empty());
        let asked = asked.unwrap_or_else(|| role_scopes(identity.user.role));
        let granted = grantable(&asked, identity);
        return Ok(Admitted {
            info: describe(entrance, params, None, granted),
            identity: identity.clone(),
            method: "trusted-proxy",
            device: None,
            setup: None,
            seat: None,
        });
    }
    let device = match &params.device {
        Some(block) => {
            let key = device::verify(params, block, entrance.nonce, now_ms()).map_err(DeviceRefusal::wire)?;
            Some(claim_of(params, block.id.clone(), key))
        }
        None => None,
    };
    let proof = match authenticate(entrance, params, device.as_ref()).await {
        Ok(proof) => proof,
        Err(refusal) => {
            if refusal.counts {
                penalise(entrance).await;
            }
            return Err(refusal);
        }
    };
    let asked = params.scopes.clone().unwrap_or_default();
    let granted = grantable(&asked, &proof.identity);
    let Some(mut claim) = device else {
        if node || entrance.client.origin.is_some() {
            return Err(refusal::device_required(entrance.client.origin.is_some()));
        }
        let trusted = entrance.client.local() && ["cli", "gateway-client"].contains(&params.client.id.as_str());
        let granted = if trusted { granted } else { Vec::new() };
        return Ok(Admitted {
            info: describe(entrance, params, None, granted),
            identity: proof.identity,
            method: proof.method,
            device: None,
            setup: None,
            seat: None,
        });
    };
    let authority = device_authority(proof.identity.user.role);
    if node && proof.method != "device-token" && !scopes::holds_all(&proof.identity.scopes, &authority) {
        return Err(auth_failed(
            "AUTH_SCOPE_MISMATCH",
            "scope_mismatch",
            "unauthorized: this token may not open a node connection",
            "update_auth_credentials",
        ));
    }
    if proof.method == "device-token" && !node && !scopes::holds_all(&proof.identity.scopes, &asked) {
        return Err(auth_failed(
            "AUTH_SCOPE_MISMATCH",
            "scope_mismatch",
            "unauthorized: device token scope mismatch",
            "update_auth_credentials",
        ));
    }
    if !node {
        claim.scopes.clone_from(&granted);
    }
    let scope = &proof.identity.user.scope;
    match entrance.state.services.config.check_pairing(scope, &claim).await? {
        Pairing::Required(required) => {
            announce(entrance, scope, &required);
            Err(pairing_required(&claim, &required))
        }
        Pairing::Paired(paired) => {
            // Rotated a moment ago: the new token is not for who came with the old one.
            if let Credential::Device { generation, .. } = &proof.identity.credential
                && *generation != paired.generation
            {
                return Err(device_token_mismatch());
            }
            let granted = if node {
                Vec::new()
            } else {
                scopes::intersect(&granted, &paired.scopes)
            };
            Ok(Admitted {
                info: describe(entrance, params, Some(claim.device_id), granted),
                identity: proof.identity,
                method: proof.method,
                device: Some(paired),
                setup: proof.setup,
                seat: proof.seat,
            })
        }
    }
}

/// Operators need the current protocol in their range; nodes and probes may come with an older one.
#[expect(clippy::result_large_err, reason = "a refusal ends the connection; it is made once")]
fn check_protocol(params: &ConnectParams) -> Result<(), Refusal> {
    let lenient = params.role() == "node" || ["node", "probe"].contains(&params.client.mode.as_str());
    let lowest = if lenient { OLDEST_NODE_PROTOCOL } else { PROTOCOL };
    if params.min_protocol <= PROTOCOL && params.max_protocol >= lowest {
        return Ok(());
    }
    Err(refusal::protocol_mismatch(params.min_protocol, params.max_protocol))
}

/// A page may connect from the tenant's own origin, or from one that the operator listed. Who says that it is a page has
/// an origin.
#[expect(clippy::result_large_err, reason = "a refusal ends the connection; it is made once")]
fn check_origin(entrance: &Entrance<'_>, params: &ConnectParams) -> Result<(), Refusal> {
    let Some(origin) = &entrance.client.origin else {
        let page = params.client.id == "openclaw-control-ui" || params.client.mode == "webchat";
        return if page {
            Err(refusal::origin_not_allowed())
        } else {
            Ok(())
        };
    };
    if entrance.client.same_origin() || entrance.state.settings.allowed_origins.contains(origin) {
        return Ok(());
    }
    Err(refusal::origin_not_allowed())
}

/// The person behind a page of our own with a session cookie. A page that brings a credential of its own is not that.
fn cookie_identity<'a>(entrance: &Entrance<'a>, params: &ConnectParams, node: bool) -> Option<&'a Arc<Identity>> {
    let auth = &params.auth;
    let brings_own = [&auth.token, &auth.password, &auth.device_token, &auth.bootstrap_token]
        .into_iter()
        .flatten()
        .any(|secret| !secret.is_empty());
    if node || brings_own || params.device.is_some() || !entrance.client.same_origin() {
        return None;
    }
    entrance.web_identity
}

async fn authenticate(
    entrance: &Entrance<'_>,
    params: &ConnectParams,
    device: Option<&DeviceClaim>,
) -> Result<Proof, Refusal> {
    let given = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.is_empty());
    let (token, password) = (given(&params.auth.token), given(&params.auth.password));
    let config = &entrance.state.services.config;
    for (secret, method) in [(&token, "token"), (&password, "password")] {
        if let Some(secret) = secret
            && let Some(identity) = config.authenticate_token(&entrance.tenant.id, secret).await?
        {
            return Ok(Proof {
                identity,
                method,
                setup: None,
                seat: None,
            });
        }
    }
    let explicit = given(&params.auth.device_token);
    let device_id = device.map(|claim| claim.device_id.as_str());
    let tenant = TenantScope::vouch(entrance.tenant.id.clone());
    if let (Some(bootstrap), None, None) = (given(&params.auth.bootstrap_token), &token, &password) {
        // It is for a device: without one the code stays as it is.
        if let Some(claim) = device
            && let Some(owner) = config.setup_code_owner(&tenant, &bootstrap).await?
        {
            // Nor is it used up by who cannot come in now.
            entrance.state.directory.may_attach(&owner)?;
            let seat = entrance.state.seats.enter(&owner)?;
            if let Some(redeemed) = config.redeem_setup_code(&tenant, &bootstrap, claim).await? {
                return Ok(Proof {
                    identity: Arc::new(redeemed.identity),
                    method: "bootstrap-token",
                    setup: Some(redeemed.completed),
                    seat: Some(seat),
                });
            }
        }
        // A device that came in with it before brings its own token too.
        if explicit.is_none() {
            return Err(auth_failed(
                "AUTH_BOOTSTRAP_TOKEN_INVALID",
                "bootstrap_token_invalid",
                "unauthorized: setup code invalid, expired, revoked, or already used (create a new code)",
                "review_auth_configuration",
            ));
        }
    }
    if let (Some(device_id), Some(secret)) = (device_id, explicit.as_ref().or(token.as_ref())) {
        let grant = config.authenticate_device_token(&tenant, secret).await?;
        if let Some(grant) = grant.filter(|grant| grant.device_id == device_id && grant.role == params.role()) {
            return Ok(Proof {
                identity: Arc::clone(&grant.identity),
                method: "device-token",
                setup: None,
                seat: None,
            });
        }
    }
    const HINT: &str = "(use a personal API token of this workspace or pair the device)";
    if token.is_none() && password.is_some() {
        return Err(auth_failed(
            "AUTH_PASSWORD_MISMATCH",
            "password_mismatch",
            &format!("unauthorized: gateway password mismatch {HINT}"),
            "update_auth_credentials",
        ));
    }
    if token.is_some() {
        let mut refusal = auth_failed(
            "AUTH_TOKEN_MISMATCH",
            "token_mismatch",
            &format!("unauthorized: gateway token mismatch {HINT}"),
            "update_auth_credentials",
        );
        if device_id.is_some() && explicit.is_none() {
            refusal.suggest_device_token();
        }
        return Err(refusal);
    }
    if explicit.is_some() && device_id.is_some() {
        return Err(device_token_mismatch());
    }
    if device_id.is_none() {
        return Err(refusal::device_required(entrance.client.origin.is_some()));
    }
    let mut refusal = auth_failed(
        "AUTH_TOKEN_MISSING",
        "token_missing",
        &format!("unauthorized: gateway token missing {HINT}"),
        "update_auth_configuration",
    );
    refusal.counts = false;
    Err(refusal)
}

fn device_token_mismatch() -> Refusal {
    auth_failed(
        "AUTH_DEVICE_TOKEN_MISMATCH",
        "device_token_mismatch",
        "unauthorized: device token mismatch (rotate/reissue device token)",
        "update_auth_credentials",
    )
}

async fn penalise(entrance: &Entrance<'_>) {
    let (tenant, address) = (&entrance.tenant.id, entrance.client.address);
    match entrance.state.limiter.failed(tenant, address, Instant::now()) {
        Penalty::None => {}
        Penalty::Delay(wait) => tokio::time::sleep(wait).await,
    }
}

/// Asked ∩ credential ∩ role.
fn grantable(asked: &[String], identity: &Identity) -> Vec<String> {
    let of_role = role_scopes(identity.user.role);
    scopes::intersect(&scopes::intersect(asked, &identity.scopes), &of_role)
}

/// What a proved device says it is. The scopes come with its credential.
fn claim_of(params: &ConnectParams, device_id: String, public_key: String) -> DeviceClaim {
    DeviceClaim {
        device_id,
        public_key,
        display_name: params.client.display_name.clone(),
        platform: params.client.platform.clone(),
        device_family: params.client.device_family.clone().unwrap_or_default(),
        client_id: params.client.id.clone(),
        client_mode: params.client.mode.clone(),
        role: params.role().to_owned(),
        scopes: Vec::new(),
    }
}

fn announce(entrance: &Entrance<'_>, scope: &Scope, required: &PairingRequired) {
    if required.fresh {
        let event = Event::new("device.pair.requested", &required.row);
        entrance.state.directory.publish(scope, event);
    }
}

fn describe(
    entrance: &Entrance<'_>,
    params: &ConnectParams,
    device_id: Option<String>,
    granted: Vec<String>,
) -> ConnectionInfo {
    let client = &params.client;
    let program = Program {
        client_id: client.id.clone(),
        client_mode: client.mode.clone(),
        client_version: client.version.clone(),
        platform: client.platform.clone(),
        device_family: client.device_family.clone().unwrap_or_default(),
        caps: params.caps.clone(),
        commands: params.commands.clone(),
        protocol: params.max_protocol.min(PROTOCOL),
    };
    ConnectionInfo {
        conn_id: entrance.conn_id.clone(),
        node: params.role() == "node",
        scopes: entrance.state.scopes.share(granted),
        device_id,
        program: entrance.state.programs.share(program),
        display_name: client.display_name.clone(),
        instance_id: client.instance_id.clone(),
        connected_at: now_ms(),
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let mut refusal = Self::from(WireError::from(error));
        refusal.close_code = 1013;
        refusal
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self {
            close_code: 1008,
            close_reason: error.message.clone(),
            counts: false,
            error,
        }
    }
}

/// The answer to a first frame that is not `connect`.
pub fn not_a_connect() -> Refusal {
    WireError::invalid("invalid handshake: first request must be connect").into()
}

/// The answer to a connect whose parameters do not parse.
pub fn bad_params(complaint: &str) -> Refusal {
    WireError::invalid(format!("invalid connect params: {complaint}")).into()
}
