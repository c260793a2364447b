//! The three kinds of frame: `req`, `res`, `event`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::WireError;
use crate::gateway::messages::StateVersion;

/// Longest id of a request, bytes: it is kept for as long as the call, and comes back with every answer.
pub const LONGEST_ID: usize = 256;

/// A request of the client. `params` stays unparsed until the method is known.
#[derive(Debug)]
pub struct Request {
    pub id: String,
    pub method: String,
    pub params: Option<Box<RawValue>>,
}

impl Request {
    /// Bytes that it holds until it is answered: its id and its parameters.
    pub fn size(&self) -> usize {
        self.id.len() + self.params.as_deref().map_or(0, |params| params.get().len())
    }
}

#[derive(Deserialize)]
struct Incoming {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    method: Option<String>,
    params: Option<Box<RawValue>>,
}

/// What a text frame of the client turned out to be.
#[derive(Debug)]
pub enum Parsed {
    Request(Request),
    /// JSON that is no valid request, but names an id to answer.
    Malformed {
        /// Cut when it is too long.
        id: String,
        complaint: &'static str,
    },
    /// Neither: ignored.
    Noise,
}

/// Reads a text frame. Never fails: what is not a request is told apart by whether it can be answered.
pub fn parse(text: &str) -> Parsed {
    let Ok(frame) = serde_json::from_str::<Incoming>(text) else {
        return Parsed::Noise;
    };
    let id = match frame.id.filter(|id| !id.is_empty()) {
        Some(id) if id.len() > LONGEST_ID => {
            return Parsed::Malformed {
                id: id[..id.floor_char_boundary(LONGEST_ID)].to_owned(),
                complaint: "invalid request frame: at /id: must NOT have more than 256 bytes",
            };
        }
        id => id,
    };
    let method = frame.method.filter(|method| !method.is_empty());
    match (frame.kind.as_deref(), id, method) {
        (Some("req"), Some(id), Some(method)) => Parsed::Request(Request {
            id,
            method,
            params: frame.params,
        }),
        (_, Some(id), _) => Parsed::Malformed {
            id,
            complaint: "invalid request frame: must have required property 'method'",
        },
        (_, None, _) => Parsed::Noise,
    }
}

#[derive(Serialize)]
struct Response<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a WireError>,
}

/// Text of a good answer.
pub fn response_ok(id: &str, payload: &impl Serialize) -> String {
    text(&Response {
        kind: "res",
        id,
        ok: true,
        payload: Some(payload),
        error: None,
    })
}

/// Text of a refusal.
pub fn response_error(id: &str, error: &WireError) -> String {
    text(&Response::<()> {
        kind: "res",
        id,
        ok: false,
        payload: None,
        error: Some(error),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    event: &'a str,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_version: Option<StateVersion>,
}

/// Text of an event. `seq` is absent for events meant for one connection only.
pub fn event_frame(name: &str, payload: &RawValue, seq: Option<u64>, state_version: Option<StateVersion>) -> String {
    text(&EventFrame {
        kind: "event",
        event: name,
        payload,
        seq,
        state_version,
    })
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!(%error, "an outgoing frame does not serialise");
        "{}".to_owned()
    })
}
