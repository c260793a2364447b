//! A gateway socket below the protocol: any header at the upgrade, any frame after it.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::app::TestApp;
use super::node::{Hello, connect_params};
use super::wait::PATIENCE;

/// An open socket that has read its challenge.
pub(crate) struct Raw {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Payload of `connect.challenge`.
    pub(crate) challenge: Value,
}

impl Raw {
    /// Opens a socket at the tenant's host. `Err`: the status that the upgrade was refused with.
    pub(crate) async fn open(app: &TestApp, tenant: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = app.socket_url().into_client_request().expect("a real URL");
        let host = app.host(tenant);
        for (name, value) in headers.iter().chain(&[("host", host.as_str())]) {
            let name: HeaderName = name.parse().expect("a header's name");
            let value: HeaderValue = value.parse().expect("a header's value");
            if name == "host" {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        let opened = timeout(PATIENCE, tokio_tungstenite::connect_async(request)).await;
        let socket = match opened.expect("the upgrade is answered in time") {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => return Err(response.status().as_u16()),
            Err(error) => panic!("the upgrade failed: {error}"),
        };
        let mut raw = Self {
            socket,
            challenge: Value::Null,
        };
        let mut challenge = raw.frame().await.expect("a challenge comes first");
        assert_eq!(challenge["event"], "connect.challenge");
        raw.challenge = challenge["payload"].take();
        Ok(raw)
    }

    /// The parameters with which a client would connect here.
    pub(crate) fn params(&self, hello: &Hello<'_>) -> Value {
        connect_params(hello, &self.challenge)
    }

    /// Sends `connect` with these parameters; its answer.
    pub(crate) async fn connect(&mut self, params: &Value) -> Result<Value, Value> {
        let frame = json!({"type": "req", "id": "c", "method": "connect", "params": params});
        self.say(frame.to_string()).await;
        loop {
            let Some(mut frame) = self.frame().await else {
                return Err(json!({"closed": true}));
            };
            if frame["id"] == "c" {
                return if frame["ok"] == true {
                    Ok(frame["payload"].take())
                } else {
                    Err(frame["error"].take())
                };
            }
        }
    }

    /// Sends a text. A peer that has closed already is no failure: what it said is read afterwards.
    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        let _ = self.socket.send(Message::text(text.into())).await;
    }

    /// Sends one piece of a fragmented text.
    pub(crate) async fn piece(&mut self, bytes: &[u8], first: bool, last: bool) {
        let kind = if first { Data::Text } else { Data::Continue };
        let frame = Frame::message(bytes.to_vec(), OpCode::Data(kind), last);
        let _ = self.socket.send(Message::Frame(frame)).await;
    }

    /// The next frame that is JSON; `None` when the socket is closed.
    pub(crate) async fn frame(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.socket.next())
                .await
                .expect("a frame comes in time")
            {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Code and reason with which the server closes; frames before that are skipped. Code 0: it went without a word.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match timeout(PATIENCE, self.socket.next())
                .await
                .expect("the server closes in time")
            {
                Some(Ok(Message::Close(Some(close)))) => return (close.code.into(), close.reason.to_string()),
                Some(Ok(Message::Close(None)) | Err(_)) | None => return (0, String::new()),
                Some(Ok(_)) => {}
            }
        }
    }
}
