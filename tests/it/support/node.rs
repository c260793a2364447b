//! A client of the gateway protocol, as operator or as node, with an Ed25519 device identity where it has one.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{SinkExt, StreamExt};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::wait::PATIENCE;

/// A key pair and the id that follows from it.
pub(crate) struct Device {
    key: Ed25519KeyPair,
    pub(crate) id: String,
}

impl Device {
    pub(crate) fn generate() -> Self {
        let seed = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the system has random numbers");
        let key = Ed25519KeyPair::from_pkcs8(seed.as_ref()).expect("ring reads its own keys");
        let hash = digest::digest(&digest::SHA256, key.public_key().as_ref());
        let id = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { key, id }
    }

    /// The `device` block of a connect with these parameters. `version` is that of the signed text: `v2` or `v3`.
    pub(crate) fn proof(&self, params: &Value, version: &str, nonce: &str, signed_at: i64) -> Value {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (client, auth) = (&params["client"], &params["auth"]);
        let scopes = params["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let token = ["token", "deviceToken", "bootstrapToken"]
            .iter()
            .find_map(|name| auth[*name].as_str())
            .unwrap_or_default();
        let mut parts = vec![
            version.to_owned(),
            self.id.clone(),
            word(&client["id"]),
            word(&client["mode"]),
            word(&params["role"]),
            scopes.iter().map(word).collect::<Vec<_>>().join(","),
            signed_at.to_string(),
            token.to_owned(),
            nonce.to_owned(),
        ];
        if version != "v2" {
            parts.push(word(&client["platform"]).trim().to_ascii_lowercase());
            parts.push(word(&client["deviceFamily"]).trim().to_ascii_lowercase());
        }
        let signature = self.key.sign(parts.join("|").as_bytes());
        json!({
            "id": self.id, "publicKey": URL_SAFE_NO_PAD.encode(self.key.public_key()),
            "signature": URL_SAFE_NO_PAD.encode(signature), "signedAt": signed_at, "nonce": nonce,
        })
    }
}

/// Who connects and what it asks for.
pub(crate) struct Hello<'a> {
    pub(crate) url: &'a str,
    /// `Host`: names the tenant.
    pub(crate) host: &'a str,
    pub(crate) auth: Value,
    pub(crate) role: &'a str,
    pub(crate) client: &'a str,
    pub(crate) mode: &'a str,
    pub(crate) scopes: &'a [&'a str],
    /// What a node can run.
    pub(crate) commands: &'a [&'a str],
    /// What an operator's program can show.
    pub(crate) caps: &'a [&'a str],
    pub(crate) device: Option<&'a Device>,
}

/// An open connection after `hello-ok`.
pub(crate) struct TestNode {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) hello: Value,
    next_id: u64,
    /// Events read while waiting for something else, in order.
    kept: VecDeque<Value>,
}

impl TestNode {
    /// Connects. `Err` holds the error of the refused `connect`.
    pub(crate) async fn connect(hello: &Hello<'_>) -> Result<Self, Value> {
        let mut request = hello.url.into_client_request().expect("the test builds a real URL");
        request
            .headers_mut()
            .insert("host", hello.host.parse().expect("a host is a header value"));
        let (socket, _) = timeout(PATIENCE, tokio_tungstenite::connect_async(request))
            .await
            .expect("the upgrade is answered in time")
            .map_err(|error| json!({"upgrade": error.to_string()}))?;
        let mut node = Self {
            socket,
            hello: Value::Null,
            next_id: 0,
            kept: VecDeque::new(),
        };
        let Some(challenge) = node.frame().await else {
            return Err(json!({"closed": true}));
        };
        assert_eq!(challenge["event"], "connect.challenge");
        let params = connect_params(hello, &challenge["payload"]);
        node.hello = node.call("connect", params).await?;
        Ok(node)
    }

    /// Sends a request and waits for its first answer: the payload, or the error.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.send(method, params).await;
        self.answer(&id).await
    }

    /// Sends a request without waiting; gives its id.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> String {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        // Who waits for the answer hears that the socket is closed.
        let _ = self.socket.send(Message::text(frame.to_string())).await;
        id
    }

    /// Waits for the next answer to request `id`.
    pub(crate) async fn answer(&mut self, id: &str) -> Result<Value, Value> {
        loop {
            let Some(frame) = self.frame().await else {
                return Err(json!({"closed": true}));
            };
            if frame["type"] == "res" && frame["id"] == id {
                return if frame["ok"] == true {
                    Ok(frame["payload"].clone())
                } else {
                    Err(frame["error"].clone())
                };
            }
            self.kept.push_back(frame);
        }
    }

    /// Waits for an event that `wanted` takes, those read before included; earlier ones are dropped.
    pub(crate) async fn event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        while let Some(frame) = self.kept.pop_front() {
            if wanted(&frame) {
                return frame;
            }
        }
        loop {
            let frame = self
                .frame()
                .await
                .unwrap_or_else(|| panic!("closed while waiting for {what}"));
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Does an event hold this text, among the frames read so far and not asked for?
    pub(crate) fn has_heard(&self, text: &str) -> bool {
        self.kept.iter().any(|frame| frame.to_string().contains(text))
    }

    /// As a node: the next call.
    pub(crate) async fn invoked(&mut self) -> Value {
        let frame = self
            .event("an invocation", |frame| frame["event"] == "node.invoke.request")
            .await;
        frame["payload"].clone()
    }

    /// As a node: answers a call with `1`.
    pub(crate) async fn answer_invoke(&mut self, asked: &Value) {
        self.answer_invoke_with(asked, &json!(1)).await;
    }

    /// As a node: answers a call.
    pub(crate) async fn answer_invoke_with(&mut self, asked: &Value, payload: &Value) {
        let payload = payload.to_string();
        let result = json!({"id": asked["id"], "nodeId": asked["nodeId"], "ok": true, "payloadJSON": payload});
        let taken = self.call("node.invoke.result", result).await.expect("taken");
        assert_eq!(taken, json!({"ok": true}));
    }

    /// As a node: the next call, which must be of `command`. Gives it and its parameters.
    pub(crate) async fn invoked_as(&mut self, command: &str) -> (Value, Value) {
        let asked = self.invoked().await;
        assert_eq!(asked["command"], command, "{asked}");
        let params = serde_json::from_str(asked["paramsJSON"].as_str().expect("a text")).expect("JSON");
        (asked, params)
    }

    /// As an operator: waits until run `run` ends; gives the last event.
    pub(crate) async fn chat_end(&mut self, run: &str) -> Value {
        loop {
            let event = self.chat(run).await;
            if ["final", "aborted", "error"]
                .iter()
                .any(|state| event["state"] == *state)
            {
                return event;
            }
        }
    }

    /// The next `chat` event of run `run`.
    pub(crate) async fn chat(&mut self, run: &str) -> Value {
        let event = self
            .event("a chat event", |frame| {
                frame["event"] == "chat" && frame["payload"]["runId"] == run
            })
            .await;
        event["payload"].clone()
    }

    /// Waits until the server closes the socket; gives code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match timeout(PATIENCE, self.socket.next())
                .await
                .expect("the server closes in time")
            {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(Message::Close(None))) | None | Some(Err(_)) => return (0, String::new()),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Is nothing said for `time`?
    pub(crate) async fn silent_for(&mut self, time: Duration) -> bool {
        timeout(time, self.frame()).await.is_err()
    }

    async fn frame(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame comes in time")
            {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("the server sends JSON"));
                }
                Some(Ok(Message::Close(_))) | None | Some(Err(_)) => return None,
                Some(Ok(_)) => {}
            }
        }
    }
}

/// The parameters of `connect`, signed if there is a device.
pub(crate) fn connect_params(hello: &Hello<'_>, challenge: &Value) -> Value {
    let platform = if hello.client == "openclaw-ios" { "ios" } else { "linux" };
    let mut params = json!({
        "minProtocol": 4, "maxProtocol": 4,
        "client": {"id": hello.client, "version": "1.0.0", "platform": platform, "mode": hello.mode, "displayName": "test"},
        "role": hello.role, "scopes": hello.scopes, "caps": hello.caps, "commands": hello.commands, "permissions": {},
        "auth": hello.auth, "locale": "en-US",
    });
    if let Some(device) = hello.device {
        let nonce = challenge["nonce"].as_str().expect("a challenge has a nonce");
        let signed_at = challenge["ts"].as_i64().expect("a challenge has a time");
        params["device"] = device.proof(&params, "v3", nonce, signed_at);
    }
    params
}
