//! An operator of the OpenClaw gateway protocol, just enough to chat: challenge, connect, `chat.send`, `final`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longest wait for any one frame that must come.
const PATIENCE: Duration = Duration::from_secs(120);

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

impl Client {
    /// Connects with a personal API token and no device, as the CLI does on loopback. An empty token is the floor's
    /// socket: open, and nothing more.
    pub async fn connect(url: &str, token: &str) -> Result<Self> {
        let (socket, _) = timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await??;
        let mut client = Self { socket, next_id: 0 };
        if token.is_empty() {
            return Ok(client);
        }
        let challenge = client.frame().await?;
        ensure!(challenge["event"] == "connect.challenge", "first frame was {challenge}");
        client
            .request(
                "connect",
                json!({
                    "minProtocol": 4, "maxProtocol": 4, "role": "operator",
                    "client": {"id": "cli", "mode": "cli", "version": "1.0.0", "platform": "linux"},
                    "scopes": ["operator.read", "operator.write"],
                    "caps": [], "auth": {"token": token},
                }),
            )
            .await?;
        Ok(client)
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

    async fn send(&mut self, method: &str, params: Value) -> Result<String> {
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
