//! Plays a scenario: a file of `tests/scenarios`, one step a line, against any gateway. What the steps mean stands in
//! `tests/scenarios/README.md`, what the placeholders mean in [`super::pattern`].

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

use super::app::merge;
use super::node::Device;
use super::pattern::{Names, filled, fits};

/// Where the scenarios are played.
pub(crate) struct Stage {
    /// `ws://host:port`, without a path.
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) who: Who,
    /// Longest wait for a frame that must come.
    pub(crate) patience: Duration,
}

/// Whose gateway it is: steps with `at` are for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    ClawCentral,
    OpenClaw,
}

/// How it went.
#[derive(Default)]
pub(crate) struct Played {
    /// What was other than expected, with file and line.
    pub(crate) differences: Vec<String>,
    /// All frames that came: `{scenario, method?, frame}`; `method` is what a response answers.
    pub(crate) frames: Vec<Value>,
}

/// One line of a file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    note: Option<String>,
    at: Option<Who>,
    why: Option<String>,
    open: Option<String>,
    path: Option<String>,
    connect: Option<String>,
    params: Value,
    sign: Option<Sign>,
    to: Option<String>,
    frame: Value,
    text: Option<String>,
    fill: Option<usize>,
    times: Option<usize>,
    from: Option<String>,
    unheard: Option<String>,
    closed: Option<String>,
    code: Value,
    reason: Value,
    leave: Option<String>,
    scan: Option<String>,
}

/// How a connect is signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    /// Name of the device; a new name is a new key.
    by: String,
    #[serde(default = "newest")]
    text: String,
    /// Added to the server's time.
    #[serde(default)]
    late_ms: i64,
    /// Instead of the server's.
    nonce: Option<String>,
    /// Put over the finished block.
    #[serde(default)]
    over: Value,
}

fn newest() -> String {
    "v3".to_owned()
}

/// What a socket said and heard.
#[derive(Default)]
struct Log {
    heard: Vec<Value>,
    /// Methods by request id.
    asked: HashMap<String, String>,
}

/// One socket.
struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    challenge: Value,
    /// Not yet expected by a step, in order.
    unread: VecDeque<Value>,
    log: Log,
    /// Code and reason of the close.
    end: Option<(u16, String)>,
}

/// All files of a folder, one after the other.
pub(crate) async fn play_all(folder: &Path, stage: &Stage) -> Played {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the scenarios are there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    let only = std::env::var("CLAW_SCENARIO_ONLY").unwrap_or_default();
    let mut all = Played::default();
    for file in files {
        let name = file
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        if name.contains(&only) {
            let text = std::fs::read_to_string(&file).expect("a scenario can be read");
            play(&name, &text, stage, &mut all).await;
        }
    }
    all
}

async fn play(name: &str, text: &str, stage: &Stage, all: &mut Played) {
    let mut player = Player::new(stage);
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("{name}:{}", number + 1);
        let outcome = match serde_json::from_str::<Step>(line) {
            Ok(step) if step.at.is_some() && step.why.is_none() => Err("`at` needs a `why`".to_owned()),
            Ok(step) if step.at.is_some_and(|at| at != stage.who) => continue,
            Ok(step) => player.step(step).await,
            Err(error) => Err(format!("no step: {error}")),
        };
        // The rest of the file is still worth hearing about.
        all.differences
            .extend(outcome.err().map(|what| format!("{place}: {what}")));
    }
    for log in player.gone.iter().chain(player.peers.values().map(|peer| &peer.log)) {
        for frame in &log.heard {
            let method = frame["id"].as_str().and_then(|id| log.asked.get(id));
            all.frames
                .push(json!({"scenario": name, "method": method, "frame": frame}));
        }
    }
}

struct Player<'a> {
    stage: &'a Stage,
    names: Names,
    devices: HashMap<String, Device>,
    peers: HashMap<String, Peer>,
    /// Those that left, or whose name another took.
    gone: Vec<Log>,
}

impl<'a> Player<'a> {
    fn new(stage: &'a Stage) -> Self {
        let session = format!("agent:main:scenario-{}", Uuid::new_v4().simple());
        let names = Names::from([
            ("token".to_owned(), json!(stage.token)),
            ("session".to_owned(), json!(session)),
        ]);
        Self {
            stage,
            names,
            devices: HashMap::new(),
            peers: HashMap::new(),
            gone: Vec::new(),
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        let deadline = Instant::now() + self.stage.patience;
        match step {
            Step {
                open: Some(name), path, ..
            } => {
                let peer = Peer::open(
                    &self.stage.url,
                    &path.unwrap_or_else(|| "/gateway/ws".to_owned()),
                    deadline,
                )
                .await?;
                self.gone.extend(self.peers.insert(name, peer).map(|old| old.log));
                Ok(())
            }
            Step {
                connect: Some(name),
                params,
                sign,
                ..
            } => {
                let params = self.connect_params(&name, &params, sign)?;
                let frame = json!({"type": "req", "id": "connect", "method": "connect", "params": params});
                self.peer(&name)?.send(&frame).await
            }
            Step {
                to: Some(name),
                frame,
                text,
                fill,
                times,
                ..
            } => {
                for time in 1..=times.unwrap_or(1) {
                    self.names.insert("n".to_owned(), json!(time.to_string()));
                    let fill = fill.map(|bytes| "x".repeat(bytes));
                    match text.as_ref().or(fill.as_ref()) {
                        Some(text) => self.peer(&name)?.say(text.clone()).await?,
                        None => {
                            let frame = self.filled(&frame)?;
                            self.peer(&name)?.send(&frame).await?;
                        }
                    }
                }
                Ok(())
            }
            Step {
                from: Some(name),
                frame,
                ..
            } => {
                let peer = self.peers.get_mut(&name).ok_or(format!("there is no socket {name}"))?;
                if frame["type"] == "res" {
                    let id = filled(&frame["id"], &self.names)?;
                    let found = peer.response(&id, deadline).await?;
                    fits(&frame, Some(&found), &mut self.names)
                } else {
                    peer.event(&frame, &mut self.names, deadline).await
                }
            }
            Step {
                unheard: Some(name),
                frame,
                ..
            } => {
                let names = self.names.clone();
                let heard = self
                    .peer(&name)?
                    .log
                    .heard
                    .iter()
                    .find(|heard| fits(&frame, Some(heard), &mut names.clone()).is_ok());
                heard.map_or(Ok(()), |heard| Err(format!("was heard: {heard}")))
            }
            Step {
                closed: Some(name),
                code,
                reason,
                ..
            } => {
                let peer = self.peer(&name)?;
                while peer.end.is_none() {
                    peer.read(deadline).await?;
                }
                let (was, why) = peer.end.clone().unwrap_or_default();
                let expected = json!({"code": code, "reason": reason});
                fits(&expected, Some(&json!({"code": was, "reason": why})), &mut self.names)
            }
            Step { leave: Some(name), .. } => {
                let mut peer = self.peers.remove(&name).ok_or(format!("there is no socket {name}"))?;
                peer.leave(deadline).await;
                // The socket goes with this: only then does the other side see its end.
                self.gone.push(peer.log);
                Ok(())
            }
            Step { scan: Some(code), .. } => {
                let code = self.filled(&json!(code))?;
                let said = code.as_str().and_then(|code| URL_SAFE_NO_PAD.decode(code).ok());
                let said = said.and_then(|bytes| serde_json::from_slice::<HashMap<String, Value>>(&bytes).ok());
                let said = said.ok_or_else(|| format!("this is no setup code: {code}"))?;
                self.names
                    .extend(said.into_iter().map(|(key, value)| (format!("scanned-{key}"), value)));
                Ok(())
            }
            Step { note: Some(_), .. } => Ok(()),
            _ => Err("the step says nothing to do".to_owned()),
        }
    }

    fn peer(&mut self, name: &str) -> Result<&mut Peer, String> {
        self.peers.get_mut(name).ok_or(format!("there is no socket {name}"))
    }

    /// Names that start with `new-` are made up when they are first sent.
    fn filled(&mut self, value: &Value) -> Result<Value, String> {
        for name in new_names(value) {
            self.names
                .entry(name)
                .or_insert_with(|| json!(Uuid::new_v4().to_string()));
        }
        filled(value, &self.names)
    }

    fn connect_params(&mut self, name: &str, over: &Value, sign: Option<Sign>) -> Result<Value, String> {
        let mut params = json!({
            "minProtocol": 4, "maxProtocol": 4, "role": "operator", "scopes": ["operator.read"], "caps": [],
            "client": {"id": "cli", "version": "1.0.0", "platform": "linux", "mode": "cli"},
            "auth": {"token": "$=token"},
        });
        if over.is_object() {
            merge(&mut params, over);
        }
        let mut params = self.filled(&without_nulls(params))?;
        if let Some(sign) = sign {
            let challenge = self.peer(name)?.challenge.clone();
            let device = self.devices.entry(sign.by.clone()).or_insert_with(Device::generate);
            self.names.insert(format!("device-{}", sign.by), json!(device.id));
            let nonce = challenge["nonce"].as_str().unwrap_or_default().to_owned();
            let at = challenge["ts"].as_i64().unwrap_or_default() + sign.late_ms;
            params["device"] = device.proof(&params, &sign.text, &sign.nonce.unwrap_or(nonce), at);
            if sign.over.is_object() {
                merge(&mut params["device"], &sign.over);
            }
        }
        Ok(params)
    }
}

/// The value without keys that are null, at any depth.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(items) => Value::Object(
            items
                .into_iter()
                .filter(|(_, item)| !item.is_null())
                .map(|(key, item)| (key, without_nulls(item)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => value,
    }
}

/// All `$=new-…` in a value.
fn new_names(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text
            .strip_prefix("$=")
            .filter(|name| name.starts_with("new-"))
            .map(str::to_owned)
            .into_iter()
            .collect(),
        Value::Array(items) => items.iter().flat_map(new_names).collect(),
        Value::Object(items) => items.values().flat_map(new_names).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

impl Peer {
    /// Connects and reads the challenge, which must come first.
    async fn open(url: &str, path: &str, deadline: Instant) -> Result<Self, String> {
        let opened = timeout_at(deadline, tokio_tungstenite::connect_async(format!("{url}{path}"))).await;
        let (socket, _) = opened
            .map_err(|_| "no upgrade in time")?
            .map_err(|error| format!("no upgrade: {error}"))?;
        let mut peer = Self {
            socket,
            challenge: Value::Null,
            unread: VecDeque::new(),
            log: Log::default(),
            end: None,
        };
        let challenge = json!({"type": "event", "event": "connect.challenge", "seq": "$absent", "payload": {"nonce": "$uuid", "ts": "$time"}});
        peer.read(deadline).await?;
        let first = peer.unread.pop_front();
        fits(&challenge, first.as_ref(), &mut Names::new())?;
        peer.challenge = first.map(|first| first["payload"].clone()).unwrap_or_default();
        Ok(peer)
    }

    async fn send(&mut self, frame: &Value) -> Result<(), String> {
        if let (Some(id), Some(method)) = (frame["id"].as_str(), frame["method"].as_str()) {
            self.log.asked.insert(id.to_owned(), method.to_owned());
        }
        self.say(frame.to_string()).await
    }

    /// A socket that the server has closed already is no failure: how it did is asked for by another step.
    async fn say(&mut self, text: String) -> Result<(), String> {
        let _ = self.socket.send(Message::text(text)).await;
        Ok(())
    }

    /// Closes, and reads until the server has done so as well: from then on it knows.
    async fn leave(&mut self, deadline: Instant) {
        let _ = self.socket.close(None).await;
        while let Ok(Some(Ok(_))) = timeout_at(deadline, self.socket.next()).await {}
    }

    /// Reads one message.
    async fn read(&mut self, deadline: Instant) -> Result<(), String> {
        if let Some((code, reason)) = &self.end {
            return Err(format!("the socket was closed: {code} {reason}"));
        }
        match timeout_at(deadline, self.socket.next())
            .await
            .map_err(|_| "nothing came in time")?
        {
            Some(Ok(Message::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).map_err(|error| format!("no JSON came: {error}"))?;
                self.log.heard.push(frame.clone());
                self.unread.push_back(frame);
            }
            Some(Ok(Message::Close(Some(close)))) => self.end = Some((close.code.into(), close.reason.to_string())),
            Some(Ok(Message::Close(None)) | Err(_)) | None => self.end = Some((0, String::new())),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
        }
        Ok(())
    }

    /// The next response to a request, wherever it stands.
    async fn response(&mut self, id: &Value, deadline: Instant) -> Result<Value, String> {
        loop {
            let place = self
                .unread
                .iter()
                .position(|frame| frame["type"] == "res" && frame["id"] == *id);
            if let Some(found) = place.and_then(|place| self.unread.remove(place)) {
                return Ok(found);
            }
            self.read(deadline)
                .await
                .map_err(|what| format!("no answer to {id}: {what}"))?;
        }
    }

    /// The next event that fits; others before it are passed over.
    async fn event(&mut self, pattern: &Value, names: &mut Names, deadline: Instant) -> Result<(), String> {
        let mut nearest = None;
        let mut place = 0;
        loop {
            while let Some(frame) = self.unread.get(place) {
                if frame["type"] != "event" {
                    place += 1;
                    continue;
                }
                let mut tried = names.clone();
                let outcome = fits(pattern, Some(frame), &mut tried);
                let same = frame["event"] == pattern["event"];
                self.unread.remove(place);
                match outcome {
                    Ok(()) => {
                        *names = tried;
                        return Ok(());
                    }
                    Err(what) if same => nearest = Some(what),
                    Err(_) => {}
                }
            }
            self.read(deadline).await.map_err(|what| {
                let nearest = nearest.as_deref().unwrap_or("none of that name came");
                format!("no event fits {pattern}: {what}; {nearest}")
            })?;
        }
    }
}
