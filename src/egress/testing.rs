//! A tiny HTTP/1.1 server for tests: it records what it was asked and answers what the test says, byte by byte if need be.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Egress, EgressSettings};

/// A request as it arrived. Header names are lower case.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the request body is JSON")
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, headers, body with its length.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// 200 `text/event-stream` in these pieces; then the proper end, or as `ending` says.
    Stream(Vec<Vec<u8>>, Ending),
    /// Nothing at all until the client goes away.
    Hang,
    /// Closes the connection without a word.
    Close,
}

/// How a streamed reply ends.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// The last chunk of a chunked body.
    Proper,
    /// The connection closes in the middle of the body.
    Cut,
    /// Nothing more comes and the connection stays.
    Silence,
}

impl Reply {
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Full(status, vec![("content-type", "text/plain".to_owned())], body.into())
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::Full(
            status,
            vec![("content-type", "application/json".to_owned())],
            body.to_string().into_bytes(),
        )
    }

    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::Full(status, vec![("location", location.into())], Vec::new())
    }
}

/// The server. It stops when the test's runtime does.
pub struct FakeServer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    closed: tokio::sync::watch::Receiver<usize>,
}

impl FakeServer {
    /// Starts on a free loopback port.
    pub async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let answer: Answer = Arc::new(answer);
        let (ended, closed) = tokio::sync::watch::channel(0);
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                *count.lock().expect("no panic while counting") += 1;
                let (log, answer, ended) = (Arc::clone(&log), Arc::clone(&answer), ended.clone());
                tokio::spawn(async move {
                    serve(socket, log, answer).await;
                    ended.send_modify(|count| *count += 1);
                });
            }
        });
        Self {
            address,
            seen,
            connections,
            closed,
        }
    }

    /// Waits until `count` connections have ended.
    pub async fn closed(&self, count: usize) {
        let mut closed = self.closed.clone();
        let _ = closed.wait_for(|ended| *ended >= count).await;
    }

    /// `http://127.0.0.1:<port>` plus `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic while recording").clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        *self.connections.lock().expect("no panic while counting")
    }

    /// A client that may reach it for configured endpoints, as in development.
    pub fn egress() -> Egress {
        Egress::new(EgressSettings::development())
    }
}

type Answer = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

async fn serve(mut socket: TcpStream, log: Arc<Mutex<Vec<Seen>>>, answer: Answer) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut socket, &mut buffer).await {
        let reply = answer(&seen);
        log.lock().expect("no panic while recording").push(seen);
        if !write_reply(&mut socket, reply).await {
            return;
        }
    }
}

async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        fill(socket, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut lines = head.split("\r\n");
    let mut start = lines.next()?.split(' ');
    let mut seen = Seen {
        method: start.next()?.to_owned(),
        path: start.next()?.to_owned(),
        ..Seen::default()
    };
    seen.headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = seen
        .header("content-length")
        .map_or(0, |value| value.parse().expect("a length"));
    while buffer.len() < length {
        fill(socket, buffer).await?;
    }
    seen.body = buffer.drain(..length).collect();
    Some(seen)
}

async fn fill(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match socket.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

/// False when the connection is over.
async fn write_reply(socket: &mut TcpStream, reply: Reply) -> bool {
    match reply {
        Reply::Close => false,
        Reply::Hang => {
            wait_for_close(socket).await;
            false
        }
        Reply::Full(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            socket.write_all(head.as_bytes()).await.is_ok() && socket.write_all(&body).await.is_ok()
        }
        Reply::Stream(pieces, ending) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            if socket.write_all(head.as_bytes()).await.is_err() {
                return false;
            }
            for piece in pieces {
                let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                chunk.extend_from_slice(&piece);
                chunk.extend_from_slice(b"\r\n");
                if socket.write_all(&chunk).await.is_err() {
                    return false;
                }
                let _ = socket.flush().await;
                tokio::task::yield_now().await;
            }
            match ending {
                Ending::Proper => socket.write_all(b"0\r\n\r\n").await.is_ok(),
                Ending::Cut => false,
                Ending::Silence => {
                    wait_for_close(socket).await;
                    false
                }
            }
        }
    }
}

async fn wait_for_close(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    while fill(socket, &mut rest).await.is_some() {
        rest.clear();
    }
}
