//! From admitted to live: joining the user, the node's surface, and the text of `hello-ok`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use actix::Recipient;
use claw_entities::Scope;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::handshake::Admitted;
use super::listening::Follower;
use super::messages::{ConnectionInfo, Event, ToConnection};
use super::protocol::connect::ConnectParams;
use super::protocol::hello::{Auth, HelloOk, Policy, Server, SessionDefaults, Snapshot};
use super::protocol::{PROTOCOL, event_frame, response_ok};
use super::scopes::READ;
use super::seats::Seat;
use super::{GatewayState, arrivals, methods};
use crate::clock::now_ms;
use crate::config::devices;
use crate::config::devices::surface::SurfaceClaim;
use crate::config::identity::Identity;
use crate::db::Batch;
use crate::error::Result;

/// A connection that joined its user, with the frames that say so.
pub(super) struct Welcome {
    pub(super) identity: Arc<Identity>,
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) membership: Membership,
    pub(super) seat: Seat,
    /// Events that do not reach the connection because it is behind.
    pub(super) missed: Arc<AtomicU64>,
    /// Of its device's token.
    pub(super) generation: Option<i32>,
    pub(super) default_agent: String,
    /// `hello-ok`, and for nodes the two events they expect right after.
    pub(super) frames: Vec<String>,
    /// The payload of `device.pair.setup.completed`, told once the frames are written.
    pub(super) setup: Option<Value>,
}

/// Being among the user's connections. Dropping it leaves.
pub(super) struct Membership {
    state: GatewayState,
    scope: Scope,
    info: Arc<ConnectionInfo>,
    /// What the connection asked to hear of sessions.
    pub(super) follower: Follower,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.state.directory.detach(&self.scope, &self.info.conn_id);
        if let (true, Some(node_id)) = (self.info.node, self.info.device_id.clone()) {
            let key = (self.scope.tenant().clone(), self.scope.user().clone(), node_id.clone());
            self.state.host_stats.remove(&key);
            self.state.heard.remove(&key);
            let (scope, went) = (self.scope.clone(), now_ms());
            note(&self.state, &self.scope, move |batch| {
                devices::surface::note_disconnected(batch, &scope, &node_id, went);
            });
        }
    }
}

/// Joins the user and writes the greeting.
pub(super) async fn welcome(
    state: &GatewayState,
    request_id: &str,
    admitted: Admitted,
    params: &ConnectParams,
    to: Recipient<ToConnection>,
) -> Result<Welcome> {
    let scope = admitted.scope().clone();
    let seat = match admitted.seat {
        Some(seat) => seat,
        None => state.seats.enter(&scope)?,
    };
    let info = Arc::new(admitted.info);
    if info.node {
        // Bringing a node in with a setup code says yes to what it can do, too.
        let approver = admitted.setup.is_some().then_some(admitted.identity.scopes.as_slice());
        declare(state, &scope, &info, params, approver).await?;
    }
    let phone = admitted.setup.as_ref().is_some_and(|setup| setup["access"] != "node");
    let handover = match info.device_id.as_deref().filter(|_| phone) {
        Some(id) => state.services.config.operator_handover(&scope, id).await?,
        None => None,
    };
    let attached = state.directory.attach(&scope, Arc::clone(&info), to).await?;
    let membership = Membership {
        state: state.clone(),
        scope: scope.clone(),
        info: Arc::clone(&info),
        follower: Follower::new(Arc::clone(&attached.listening)),
    };
    match info.device_id.clone() {
        // A node's coming and going have the times at which they were; either may be written first.
        Some(node_id) if info.node => {
            let (scope, came) = (scope.clone(), now_ms());
            note(state, &scope.clone(), move |batch| {
                devices::note_connected(batch, &scope, &node_id, "node", came);
            });
        }
        Some(device_id) => arrivals::note(state, &scope, &device_id),
        None => {}
    }
    let settings = state.services.config.settings(&scope).await?;
    let health = if info.has_scope(READ) {
        methods::health::outline(&settings)
    } else {
        RawValue::from_string("{}".to_owned()).unwrap_or_default()
    };
    let hello = HelloOk {
        kind: "hello-ok",
        protocol: PROTOCOL,
        server: Server {
            version: state.services.replica.version.clone(),
            conn_id: info.conn_id.to_string(),
            boot_id: state.services.replica.boot_id.clone(),
        },
        features: state.methods.features(),
        snapshot: Snapshot {
            presence: attached.presence,
            health,
            state_version: attached.state_version,
            uptime_ms: u64::try_from(state.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            session_defaults: SessionDefaults::of_agent(&settings.default_agent),
            suspension: json!({"phase": "accepting"}),
        },
        auth: Auth {
            method: admitted.method,
            role: if info.node { "node" } else { "operator" },
            scopes: info.scopes.to_vec(),
            device_token: admitted.device.as_ref().map(|device| device.token.expose().to_owned()),
            issued_at_ms: admitted.device.as_ref().map(|device| device.issued_at),
            device_tokens: handover.map(|token| vec![token]),
        },
        policy: Policy::default(),
    };
    let mut frames = vec![response_ok(request_id, &hello)];
    if info.node {
        let wake = state.services.config.voice_wake(&scope).await?;
        frames.push(direct("voicewake.changed", &json!({"triggers": wake.triggers})));
        frames.push(direct("voicewake.routing.changed", &json!({"config": wake.routing})));
    }
    Ok(Welcome {
        identity: admitted.identity,
        info,
        membership,
        seat,
        missed: attached.missed,
        generation: admitted.device.as_ref().map(|device| device.generation),
        default_agent: settings.default_agent.clone(),
        frames,
        setup: admitted.setup,
    })
}

/// The text of an event for one connection only.
pub(super) fn direct(name: &str, payload: &Value) -> String {
    match serde_json::value::to_raw_value(payload) {
        Ok(payload) => event_frame(name, &payload, None, None),
        Err(_) => String::from("{}"),
    }
}

/// Records what the node can do, and asks for approval of what is new; an `approver` (their scopes) is asked no more.
async fn declare(
    state: &GatewayState,
    scope: &Scope,
    info: &ConnectionInfo,
    params: &ConnectParams,
    approver: Option<&[String]>,
) -> Result<()> {
    let Some(node_id) = info.device_id.clone() else {
        return Ok(());
    };
    let claim = SurfaceClaim {
        node_id: node_id.clone(),
        caps: info.program.caps.clone(),
        commands: info.program.commands.clone(),
        facts: json!({
            "displayName": info.display_name, "platform": info.program.platform, "version": info.program.client_version,
            "deviceFamily": info.program.device_family, "clientId": info.program.client_id, "clientMode": info.program.client_mode,
            "pathEnv": params.path_env, "permissions": params.permissions,
        }),
    };
    let config = &state.services.config;
    if config.surface_is_current(scope, &claim).await? {
        return Ok(());
    }
    let fresh = config.declare_surface(scope, &claim).await?;
    if let Some(approver) = approver {
        let node = config.node(scope, &node_id).await?;
        if let Some(request_id) = node.pending_request() {
            config.approve_surface(scope, request_id, approver).await?;
            methods::node_pair::announce_approved(state, scope, request_id, &node_id);
        }
    } else if let Some(row) = fresh {
        state.directory.publish(scope, Event::new("node.pair.requested", &row));
    }
    Ok(())
}

/// Writes a note through the group commit, in the background: nobody waits for it and losing one is harmless.
fn note(state: &GatewayState, scope: &Scope, add: impl Fn(&mut Batch) + Send + Sync + 'static) {
    let (writer, scope) = (state.services.writer.clone(), scope.clone());
    state.services.io.spawn(async move {
        if let Err(error) = writer.add(&scope, add).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a note about a device was not stored"
            );
        }
    });
}
