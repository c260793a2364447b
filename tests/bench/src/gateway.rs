//! A client of the OpenClaw gateway protocol, just enough to chat: challenge, connect, `chat.send`, `final`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{SinkExt, StreamExt};
use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longest wait for any one frame that must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A device identity. The same number gives the same key, in every process.
pub struct Device {
    key: Ed25519KeyPair,
    pub id: String,
}

impl Device {
    pub fn of(number: u64) -> Self {
        let seed = digest::digest(&digest::SHA256, &number.to_le_bytes());
        let key = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).expect("32 bytes are a seed");
        let hash = digest::digest(&digest::SHA256, key.public_key().as_ref());
        let id = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { key, id }
    }

    /// The signed `device` block of a connect, for this challenge.
    fn block(&self, node: bool, token: &str, scopes: &str, challenge: &Value) -> Value {
        let (nonce, at) = (challenge["nonce"].as_str().unwrap_or_default(), &challenge["ts"]);
        let (client, mode, role) = names(node);
        let text = format!(
            "v3|{}|{client}|{mode}|{role}|{scopes}|{at}|{token}|{nonce}|linux|",
            self.id
        );
        json!({
            "id": self.id, "publicKey": URL_SAFE_NO_PAD.encode(self.key.public_key()),
            "signature": URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes())), "signedAt": at, "nonce": nonce,
        })
    }
}

/// `client.id`, `client.mode` and role.
const fn names(node: bool) -> (&'static str, &'static str, &'static str) {
    if node {
        ("node-host", "node", "node")
    } else {
        ("cli", "cli", "operator")
    }
}

const SCOPES: [&str; 2] = ["operator.read", "operator.write"];

/// A connected client.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
}

/// How long one turn took.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Until the request was accepted.
    pub accepted: Duration,
    /// Until the final event.
    pub ended: Duration,
}

/// Opens the socket behind a `ws://host:port/…`. Names below `localhost` are loopback, whatever the resolver says.
async fn dial(url: &str) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let host = url.split('/').nth(2).context("an address without a host")?;
    let (name, port) = host.rsplit_once(':').context("an address without a port")?;
    let name = if name.ends_with(".localhost") {
        "127.0.0.1"
    } else {
        name
    };
    let stream = TcpStream::connect((name, port.parse::<u16>()?)).await?;
    stream.set_nodelay(true)?;
    let (socket, _) = tokio_tungstenite::client_async(url, MaybeTlsStream::Plain(stream)).await?;
    Ok(socket)
}

impl Client {
    /// Connects with a personal API token and no device, as the CLI does on loopback. An empty token is the floor's
    /// socket: open, and nothing more.
    pub async fn connect(url: &str, token: &str) -> Result<Self> {
        let socket = timeout(PATIENCE, dial(url)).await??;
        let mut client = Self { socket, next_id: 0 };
        if token.is_empty() {
            return Ok(client);
        }
        client.greet(token, None, false, &SCOPES).await?;
        Ok(client)
    }

    /// Connects with a personal API token and these scopes, as the CLI does on loopback.
    pub async fn operator(url: &str, token: &str, scopes: &[&str]) -> Result<Self> {
        let socket = timeout(PATIENCE, dial(url)).await??;
        let mut client = Self { socket, next_id: 0 };
        client.greet(token, None, false, scopes).await?;
        Ok(client)
    }

    /// Connects as a device that signs. `Err` inside: the error it was refused with.
    pub async fn signed(url: &str, token: &str, device: &Device, node: bool) -> Result<Result<Self, Value>> {
        let socket = timeout(PATIENCE, dial(url)).await??;
        let mut client = Self { socket, next_id: 0 };
        let scopes: &[&str] = if node { &[] } else { &SCOPES };
        let refused = client.greet(token, Some(device), node, scopes).await?;
        Ok(match refused {
            Some(error) => Err(error),
            None => Ok(client),
        })
    }

    /// Challenge, `connect`, and its answer: an error of a device is given back, any other is a failure.
    async fn greet(
        &mut self,
        token: &str,
        device: Option<&Device>,
        node: bool,
        scopes: &[&str],
    ) -> Result<Option<Value>> {
        let challenge = self.frame().await?;
        ensure!(challenge["event"] == "connect.challenge", "first frame was {challenge}");
        let (client, mode, role) = names(node);
        let mut params = json!({
            "minProtocol": 4, "maxProtocol": 4, "role": role, "scopes": scopes,
            "client": {"id": client, "mode": mode, "version": "1.0.0", "platform": "linux"},
            "caps": [], "auth": {"token": token},
        });
        if let Some(device) = device {
            params["device"] = device.block(node, token, &scopes.join(","), &challenge["payload"]);
        }
        let id = self.send("connect", params).await?;
        loop {
            let frame = self.frame().await?;
            if frame["id"] != id.as_str() {
                continue;
            }
            if frame["ok"] == true {
                return Ok(None);
            }
            ensure!(device.is_some(), "connect was refused: {}", frame["error"]);
            return Ok(Some(frame["error"].clone()));
        }
    }

    /// Ends it as a client does that leaves.
    pub async fn leave(mut self) {
        // Whether the server hears it does not matter.
        let _ = self.socket.close(None).await;
    }

    /// The next text frame as it came; `None` when the server closed.
    pub async fn raw(&mut self) -> Option<String> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            }
        }
    }

    /// Puts a text on its way without waiting for room.
    pub async fn say(&mut self, text: String) -> Result<()> {
        Ok(self.socket.feed(Message::text(text)).await?)
    }

    pub async fn flush(&mut self) -> Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// Sends a request and waits for its answer; events in between are dropped.
    pub async fn request(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.send(method, params).await?;
        loop {
            let frame = self.frame().await?;
            if frame["type"] == "res" && frame["id"] == id.as_str() {
                ensure!(frame["ok"] == true, "{method} was refused: {}", frame["error"]);
                return Ok(frame["payload"].clone());
            }
        }
    }

    /// One message in, its final answer out. `key` makes the message unique.
    pub async fn turn(&mut self, session: &str, key: &str, text: &str) -> Result<Turn> {
        let start = Instant::now();
        let params = json!({"sessionKey": session, "message": text, "idempotencyKey": key});
        let id = self.send("chat.send", params).await?;
        let mut accepted = None;
        loop {
            let frame = self.frame().await?;
            if frame["type"] == "res" && frame["id"] == id.as_str() {
                ensure!(frame["ok"] == true, "chat.send was refused: {}", frame["error"]);
                accepted = Some(start.elapsed());
            }
            if frame["event"] != "chat" || frame["payload"]["runId"] != key {
                continue;
            }
            match frame["payload"]["state"].as_str() {
                Some("final") => {
                    let ended = start.elapsed();
                    return Ok(Turn {
                        accepted: accepted.unwrap_or(ended),
                        ended,
                    });
                }
                Some("error" | "aborted") => bail!("the turn ended badly: {}", frame["payload"]),
                _ => {}
            }
        }
    }

    /// Reads whatever comes until the socket closes: keeps an idle client healthy.
    pub async fn idle(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    pub async fn send(&mut self, method: &str, params: Value) -> Result<String> {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        self.socket.send(Message::text(frame.to_string())).await?;
        Ok(id)
    }

    async fn frame(&mut self) -> Result<Value> {
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .context("no frame came in time")?;
            match message.context("the socket ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(close) => bail!("closed by the server: {close:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
