//! A model provider that fails as providers do, down to the socket: every family's wire format, answers cut, stalled,
//! reset and broken wherever a test says so.
//!
//! A provider is a path: `/<family>/<name>/…`. What it does to each request its script says, which sees how many came
//! before. Requests to summarise a conversation are answered well, and are not counted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::wire::{Answer, Family, is_summary};

/// How the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// The connection is closed in the middle.
    Cut,
    /// The connection is reset.
    Reset,
    /// Nothing more comes, and nobody hangs up.
    Stalled,
}

/// What becomes of one request.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Before the first byte.
    pub(crate) wait: Duration,
    /// `None`: the connection ends before anything was said.
    pub(crate) status: Option<u16>,
    pub(crate) kind: &'static str,
    pub(crate) retry_after: Option<u32>,
    pub(crate) pieces: Vec<String>,
    pub(crate) end: End,
}

impl Plan {
    pub(crate) fn stream(pieces: Vec<String>) -> Self {
        Self {
            wait: Duration::ZERO,
            status: Some(200),
            kind: "text/event-stream",
            retry_after: None,
            pieces,
            end: End::Whole,
        }
    }

    pub(crate) fn answer(family: Family, answer: &Answer) -> Self {
        Self::stream(answer.events(family))
    }

    pub(crate) fn refusal(status: u16, body: String) -> Self {
        Self {
            status: Some(status),
            kind: "application/json",
            ..Self::stream(vec![body])
        }
    }

    /// Nothing was said.
    pub(crate) fn silence(end: End) -> Self {
        Self {
            status: None,
            end,
            ..Self::stream(Vec::new())
        }
    }

    pub(crate) fn ends(self, end: End) -> Self {
        Self { end, ..self }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) family: Family,
    pub(crate) provider: String,
    pub(crate) body: Value,
}

/// Gives the plan for a request; the number says how many of this provider came before.
pub(crate) type Script = Arc<dyn Fn(usize, &Asked) -> Plan + Send + Sync>;

#[derive(Default)]
struct State {
    scripts: Mutex<HashMap<String, Script>>,
    asked: Mutex<Vec<Asked>>,
    counts: Mutex<HashMap<String, usize>>,
    /// Requests that no strict provider takes, and why.
    refused: Mutex<Vec<String>>,
    /// Keep what was asked, for tests that look.
    forgets: bool,
}

/// Handle on the fake.
pub(crate) struct Faulty {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faulty {
    pub(crate) fn start() -> Self {
        Self::serve(State::default())
    }

    /// As [`Faulty::start`], for so many requests that they are checked and not kept.
    pub(crate) fn forgetting() -> Self {
        Self::serve(State {
            forgets: true,
            ..State::default()
        })
    }

    fn serve(state: State) -> Self {
        let state = Arc::new(state);
        let (stop, stopped) = oneshot::channel();
        let (sender, address) = std::sync::mpsc::channel();
        let serving = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("a bound socket has an address");
                sender.send(address).expect("the test waits");
                let accepting = async {
                    loop {
                        let (socket, _) = listener.accept().await.expect("accepts");
                        tokio::spawn(talk(socket, serving.clone()));
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().expect("the server starts"),
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn base_url(&self, family: Family, provider: &str) -> String {
        format!("http://{}/{}/{provider}", self.address, family.name())
    }

    /// What this provider does from now on.
    pub(crate) fn does(&self, provider: &str, script: impl Fn(usize, &Asked) -> Plan + Send + Sync + 'static) {
        locked(&self.state.scripts).insert(provider.to_owned(), Arc::new(script));
    }

    /// Requests to this provider so far, without those for summaries.
    pub(crate) fn asked(&self, provider: &str) -> Vec<Asked> {
        let all = locked(&self.state.asked);
        let theirs = all
            .iter()
            .filter(|asked| asked.provider == provider && !is_summary(&asked.body));
        theirs.cloned().collect()
    }

    /// Summaries this provider was asked for.
    pub(crate) fn summaries(&self, provider: &str) -> usize {
        let all = locked(&self.state.asked);
        let theirs = all
            .iter()
            .filter(|asked| asked.provider == provider && is_summary(&asked.body));
        theirs.count()
    }

    /// All requests so far to all providers, summaries not counted.
    pub(crate) fn count(&self) -> usize {
        locked(&self.state.counts).values().sum()
    }

    /// Requests that a strict provider would have refused, and why.
    pub(crate) fn refused(&self) -> Vec<String> {
        locked(&self.state.refused).clone()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        // The thread may be gone.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            // A panicked fake has already failed what asked it.
            let _ = thread.join();
        }
    }
}

/// One connection: one request.
async fn talk(mut socket: TcpStream, state: Arc<State>) {
    let Some(asked) = read(&mut socket).await else { return };
    let plan = if is_summary(&asked.body) {
        keep(&state, &asked);
        Plan::answer(asked.family, &Answer::says("a summary of what was said"))
    } else {
        if let Err(why) = super::strict::check(asked.family, &asked.body) {
            let shown: String = asked.body.to_string().chars().take(4000).collect();
            locked(&state.refused).push(format!("{} {}: {why}: {shown}", asked.family.name(), asked.provider));
        }
        keep(&state, &asked);
        let before = {
            let mut counts = locked(&state.counts);
            let count = counts.entry(asked.provider.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let script = locked(&state.scripts).get(&asked.provider).cloned();
        match script {
            Some(script) => script(before, &asked),
            None => Plan::refusal(404, "no such provider in this test".to_owned()),
        }
    };
    // Who hung up hears nothing.
    let _ = reply(socket, plan).await;
}

fn keep(state: &State, asked: &Asked) {
    if !state.forgets {
        locked(&state.asked).push(asked.clone());
    }
}

async fn reply(mut socket: TcpStream, plan: Plan) -> std::io::Result<()> {
    if !plan.wait.is_zero() {
        tokio::time::sleep(plan.wait).await;
    }
    if let Some(status) = plan.status {
        let mut head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n",
            plan.kind
        );
        if let Some(seconds) = plan.retry_after {
            head.push_str(&format!("retry-after: {seconds}\r\n"));
        }
        head.push_str("\r\n");
        socket.write_all(head.as_bytes()).await?;
        for piece in plan.pieces.iter().filter(|piece| !piece.is_empty()) {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            socket.write_all(chunk.as_bytes()).await?;
        }
        if plan.end == End::Whole {
            socket.write_all(b"0\r\n\r\n").await?;
        }
    }
    match plan.end {
        End::Whole | End::Cut => socket.shutdown().await?,
        End::Reset => socket.set_zero_linger()?,
        End::Stalled => {
            // Until the other side hangs up.
            let mut rest = [0; 16];
            while socket.read(&mut rest).await? > 0 {}
        }
    }
    Ok(())
}

/// Reads a request with a length. `None` when there is none.
async fn read(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let read = socket.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok())?;
    while bytes.len() < head + length {
        let read = socket.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    }
    let path = text.split(' ').nth(1)?;
    let mut parts = path.trim_start_matches('/').split('/');
    let family = Family::of(parts.next()?)?;
    Some(Asked {
        family,
        provider: parts.next()?.to_owned(),
        body: serde_json::from_slice(&bytes[head..head + length]).ok()?,
    })
}
