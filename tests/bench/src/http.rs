//! A keep-alive HTTP/1.1 client that does as little as a load generator may.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection. Requests go out one after another.
pub struct Connection {
    stream: TcpStream,
    /// Bytes read and not yet used.
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects to `address`, e.g. `127.0.0.1:8080`.
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends a request head (without the blank line) and body, and reads the answer.
    pub async fn call(&mut self, head: &str, body: &[u8]) -> io::Result<Answer> {
        let mut request = Vec::with_capacity(head.len() + body.len() + 40);
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.read().await
    }

    async fn read(&mut self) -> io::Result<Answer> {
        let head_end = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        self.buffer.drain(..head_end);
        let status = head
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| bad("no status in the answer"))?;
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = Vec::new();
        if let Some(length) = header("content-length:") {
            let length = length.parse().map_err(|_| bad("content-length is no number"))?;
            self.fill(length).await?;
            body.extend(self.buffer.drain(..length));
        } else if header("transfer-encoding:") == Some("chunked") {
            loop {
                let line_end = self.until(b"\r\n").await?;
                let line = String::from_utf8_lossy(&self.buffer[..line_end]).trim().to_owned();
                let size = line.split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(size, 16).map_err(|_| bad("chunk size is no number"))?;
                self.buffer.drain(..line_end);
                self.fill(size + 2).await?;
                body.extend_from_slice(&self.buffer[..size]);
                self.buffer.drain(..size + 2);
                if size == 0 {
                    break;
                }
            }
        }
        Ok(Answer { status, body })
    }

    /// Reads on until `mark` stands in the buffer; gives the position behind it.
    async fn until(&mut self, mark: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(at + mark.len());
            }
            self.more().await?;
        }
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn bad(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// One GET on a connection of its own.
pub async fn get(address: &str, path: &str) -> io::Result<Answer> {
    let mut connection = Connection::open(address).await?;
    connection
        .call(&format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n"), b"")
        .await
}
