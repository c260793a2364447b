//! `device.pair.*` and `device.token.*`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use crate::clock::now_ms;
use crate::config::identity::device_authority;
use crate::gateway::messages::{DEVICE_REMOVED, Event, GATEWAY_AUTH_CHANGED, ToConnection};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{PAIRING, holds_all};
use crate::gateway::standing::Standing;

pub(super) fn register(methods: &mut Methods) {
    methods.add("device.pair.list", Access::Scope(PAIRING), list);
    methods.add("device.pair.approve", Access::Scope(PAIRING), approve);
    methods.add("device.pair.reject", Access::Scope(PAIRING), reject);
    methods.add("device.pair.remove", Access::Scope(PAIRING), remove);
    methods.add("device.pair.rename", Access::Scope(PAIRING), rename);
    methods.add("device.token.rotate", Access::Scope(PAIRING), rotate);
    methods.add("device.token.revoke", Access::Scope(PAIRING), revoke);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestParams {
    pub(super) request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceParams {
    device_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenameParams {
    device_id: String,
    label: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenParams {
    device_id: String,
    role: String,
    scopes: Option<Vec<String>>,
}

async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    let presence = call.state.directory.presence(call.scope()).await?;
    let connected: Vec<String> = presence
        .iter()
        .filter_map(|entry| entry["deviceId"].as_str())
        .map(str::to_owned)
        .collect();
    Ok(call
        .state
        .services
        .config
        .list_devices(call.scope(), &connected)
        .await?)
}

async fn approve(call: Call, params: RequestParams) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let approved = config
        .approve_device(call.scope(), &params.request_id, &call.connection.scopes)
        .await?;
    resolved(
        &call,
        &params.request_id,
        approved["device"]["deviceId"].as_str().unwrap_or_default(),
        "approved",
    );
    Ok(approved)
}

async fn reject(call: Call, params: RequestParams) -> Result<Value, WireError> {
    let device_id = call
        .state
        .services
        .config
        .reject_device(call.scope(), &params.request_id)
        .await?;
    resolved(&call, &params.request_id, &device_id, "rejected");
    Ok(json!({"requestId": params.request_id, "deviceId": device_id}))
}

fn resolved(call: &Call, request_id: &str, device_id: &str, decision: &str) {
    let payload = json!({"requestId": request_id, "deviceId": device_id, "decision": decision, "ts": now_ms()});
    call.state
        .directory
        .publish(call.scope(), Event::new("device.pair.resolved", &payload));
}

async fn remove(call: Call, params: DeviceParams) -> Result<Value, WireError> {
    may_manage(&call, &params.device_id, "operator", "device pairing removal denied")?;
    if !call
        .state
        .services
        .config
        .remove_device(call.scope(), &params.device_id)
        .await?
    {
        return Err(WireError::invalid("unknown deviceId"));
    }
    close(&call, &params.device_id, None, None).await;
    changed(&call);
    Ok(json!({"deviceId": params.device_id}))
}

async fn rename(call: Call, params: RenameParams) -> Result<Value, WireError> {
    may_manage(&call, &params.device_id, "operator", "device pairing rename denied")?;
    let config = &call.state.services.config;
    if !config
        .rename_device(call.scope(), &params.device_id, &params.label)
        .await?
    {
        return Err(WireError::invalid("unknown deviceId"));
    }
    changed(&call);
    Ok(json!({"deviceId": params.device_id, "label": params.label.trim()}))
}

async fn rotate(call: Call, params: TokenParams) -> Result<Value, WireError> {
    may_manage(&call, &params.device_id, &params.role, "device token rotation denied")?;
    // Only the device itself is told its new token; for others it comes with the device's next hello.
    let own = call.connection.device_id.as_deref() == Some(params.device_id.as_str())
        && call.connection.role() == params.role;
    let rotating = call.standing.as_ref().filter(|_| own).map(Standing::rotate);
    let rotated = call
        .state
        .services
        .config
        .rotate_device_token(call.scope(), &params.device_id, &params.role, params.scopes.as_deref())
        .await?;
    let mut answer = json!({
        "deviceId": params.device_id, "role": params.role, "scopes": rotated.scopes, "rotatedAtMs": rotated.rotated_at,
    });
    let except = own.then(|| Arc::clone(&call.connection.conn_id));
    close(&call, &params.device_id, Some(&params.role), except).await;
    if !own {
        answer["tokenDelivery"] = json!("withheld-cross-device");
        return Ok(answer);
    }
    answer["token"] = json!(rotated.token.expose());
    answer["tokenDelivery"] = json!("in-band");
    if !holds_all(&rotated.scopes, &call.connection.scopes) {
        // It has to come again with less: once it knows the token.
        call.answer_early(&answer).await?;
        let (code, reason) = GATEWAY_AUTH_CHANGED;
        let reason = reason.to_owned();
        let _ = call.news.send(ToConnection::Close { code, reason }).await;
    }
    if let Some(rotating) = rotating {
        rotating.done(rotated.generation);
    }
    Ok(answer)
}

async fn revoke(call: Call, params: TokenParams) -> Result<Value, WireError> {
    may_manage(&call, &params.device_id, &params.role, "device token revocation denied")?;
    let config = &call.state.services.config;
    let revoked_at = config
        .revoke_device_token(call.scope(), &params.device_id, &params.role)
        .await?;
    close(&call, &params.device_id, Some(&params.role), None).await;
    Ok(json!({"deviceId": params.device_id, "role": params.role, "revokedAtMs": revoked_at}))
}

/// Refuses callers who do not decide about all devices of their user.
pub(super) fn require_authority(call: &Call) -> Result<(), WireError> {
    let authority = device_authority(call.identity.user.role);
    authority.iter().try_for_each(|scope| call.require(scope))
}

/// Whose proof is good for less than that leaves the other roles alone, and as a device the other devices. It is the proof
/// that counts: programs with a token that may do everything ask for as little as they need.
pub(super) fn may_manage(call: &Call, device_id: &str, role: &str, refusal: &str) -> Result<(), WireError> {
    let own = call.connection.device_id.as_deref();
    let foreign = role != "operator" || own.is_some_and(|own| own != device_id);
    let authority = device_authority(call.identity.user.role);
    if foreign && !holds_all(&call.identity.scopes, &authority) {
        return Err(WireError::invalid(refusal));
    }
    Ok(())
}

/// Closes the device's sockets. What fails here, the once-a-second check of each connection makes up for.
pub(super) async fn close(call: &Call, device_id: &str, role: Option<&str>, except: Option<Arc<str>>) {
    let closed = call
        .state
        .directory
        .close_device(call.scope(), device_id, role, except, DEVICE_REMOVED)
        .await;
    if let Err(error) = closed {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "sockets of a removed device were not closed at once"
        );
    }
}

fn changed(call: &Call) {
    call.state
        .directory
        .publish(call.scope(), Event::new("device.pair.changed", &json!({})));
}
