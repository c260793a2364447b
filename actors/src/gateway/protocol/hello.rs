//! `hello-ok`: the answer to a good `connect`.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::gateway::messages::StateVersion;

/// Largest frame a client may send after hello, bytes (as the original gateway: 25 MiB).
pub const MAX_PAYLOAD: usize = 25 * 1024 * 1024;
/// Bytes that may wait for one connection (as the original gateway: 50 MiB).
pub const MAX_BUFFERED: usize = 50 * 1024 * 1024;
/// Milliseconds between ticks.
pub const TICK_MS: u64 = 30_000;
/// Largest attachment of `chat.send`, bytes before base64.
pub const MAX_ATTACHMENT: usize = 19_464_192;
/// Largest image of `chat.send`, bytes before base64.
pub const MAX_IMAGE: usize = 6 * 1024 * 1024;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelloOk<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub protocol: u32,
    pub server: Server,
    /// [`Features`], written out.
    pub features: &'a RawValue,
    pub snapshot: Snapshot,
    pub auth: Auth,
    pub policy: Policy,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    pub version: String,
    pub conn_id: String,
    pub boot_id: String,
}

#[derive(Debug, Serialize)]
pub struct Features {
    pub methods: Vec<&'static str>,
    pub events: Vec<&'static str>,
    pub capabilities: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Empty for nodes, and for operators without `operator.read`.
    pub presence: Vec<Value>,
    /// Empty for nodes, and for operators without `operator.read`.
    pub health: Box<RawValue>,
    pub state_version: StateVersion,
    pub uptime_ms: u64,
    pub session_defaults: SessionDefaults,
    pub suspension: Value,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDefaults {
    pub default_agent_id: String,
    pub model_configured: bool,
    pub ownership: &'static str,
    pub selection_required: bool,
    pub main_key: &'static str,
    pub main_session_key: String,
    pub scope: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    pub method: &'static str,
    pub role: &'static str,
    pub scopes: Vec<String>,
    /// For paired devices: what they connect with from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at_ms: Option<i64>,
    /// Tokens for other roles of the device, handed out with a phone's setup code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_tokens: Option<Vec<Value>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    pub max_payload: usize,
    pub max_buffered_bytes: usize,
    pub tick_interval_ms: u64,
    pub attachments: Attachments,
    pub allowed_session_visibilities: Vec<&'static str>,
    pub has_multiple_session_sharing_identities: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachments {
    pub max_bytes: usize,
    pub max_image_bytes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_payload: MAX_PAYLOAD,
            max_buffered_bytes: MAX_BUFFERED,
            tick_interval_ms: TICK_MS,
            attachments: Attachments {
                max_bytes: MAX_ATTACHMENT,
                max_image_bytes: MAX_IMAGE,
            },
            allowed_session_visibilities: Vec::new(),
            has_multiple_session_sharing_identities: false,
        }
    }
}

impl SessionDefaults {
    /// The defaults of a user whose default agent is `agent`.
    pub fn of_agent(agent: &str) -> Self {
        Self {
            default_agent_id: agent.to_owned(),
            model_configured: true,
            ownership: "sole",
            selection_required: false,
            main_key: "main",
            main_session_key: format!("agent:{agent}:main"),
            scope: "per-sender",
        }
    }
}
