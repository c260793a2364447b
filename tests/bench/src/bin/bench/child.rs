//! Processes the bench started, and nothing else: each ends when its handle is dropped.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child as Process, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running process.
pub struct Child {
    process: Process,
    name: String,
}

impl Child {
    /// Starts `command` with its output in `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            process,
            name: name.to_owned(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks with `signal`, waits a while, then insists.
    pub fn stop(&mut self, signal: &str) {
        let asked = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid().to_string()])
            .status();
        let patience = Instant::now() + Duration::from_secs(15);
        while asked.is_ok() && Instant::now() < patience {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// Polls until `ready` says so; an ended process or the deadline is an error.
    pub fn wait_until(
        &mut self,
        deadline: Duration,
        pause: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            if ready() {
                return Ok(start.elapsed());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended early: {status}", self.name);
            }
            if start.elapsed() > deadline {
                bail!("{} was not ready after {deadline:?}", self.name);
            }
            sleep(pause);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends one request and gives the whole answer, or `None` when nobody answers.
fn answer_to(address: &str, head: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let head = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

fn status_in(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// Sends one request and gives the status, or `None` when nobody answers.
pub fn status_of(address: &str, head: &str, body: &[u8]) -> Option<u16> {
    status_in(&answer_to(address, head, body)?)
}

/// `GET path` as the development host.
pub fn get(address: &str, path: &str) -> Option<u16> {
    status_of(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n"), b"")
}

/// The body of `GET path` at one of our own programs, which send it in one piece; `None` without a 200.
pub fn body_of(address: &str, path: &str) -> Option<Vec<u8>> {
    let (status, body) = call(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n"), b"")?;
    (status == 200).then_some(body)
}

/// Status and body, which has to come in one piece.
pub fn call(address: &str, head: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut answer = answer_to(address, head, body)?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    Some((status_in(&answer)?, answer.split_off(head)))
}
