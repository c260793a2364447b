//! The gateway of the published `openclaw` package on a loopback port, with our scripted model: the yardstick.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::app::http_client;
use super::model::Model;
use super::port::free_port;
use super::scenario::{Stage, Who};
use super::wait::eventually;

const TOKEN: &str = "scenario-token-of-the-original";

/// A running original; it ends with this handle.
pub(crate) struct Original {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Original {
    /// Starts `OPENCLAW_CLI` under `OPENCLAW_NODE` and waits until it is ready.
    pub(crate) async fn start(model: &Model) -> Self {
        let needed = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make scenarios`"));
        let (node, cli) = (needed("OPENCLAW_NODE"), needed("OPENCLAW_CLI"));
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let config = json!({
            "gateway": {"mode": "local", "port": port, "bind": "loopback", "auth": {"mode": "token", "token": TOKEN},
                // As in the cloud: nobody comes in by being near.
                "nodes": {"pairing": {"autoApproveLocal": false, "sshVerify": false}}},
            "update": {"checkOnStart": false},
            "models": {"mode": "replace", "catalogRefresh": {"enabled": false}, "providers": {"mock": {
                "baseUrl": model.base_url(), "apiKey": "sk-test", "api": "openai-completions",
                "models": [{"id": "mock-1", "name": "Mock", "reasoning": false, "input": ["text"],
                    "contextWindow": 128_000, "maxTokens": 4096,
                    "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}],
            }}},
            "agents": {"defaults": {"model": {"primary": "mock/mock-1"}, "workspace": dir.path().join("workspace"), "skipBootstrap": true}},
        });
        let state = dir.path().join("state");
        std::fs::create_dir(&state).expect("the temporary folder takes folders");
        std::fs::write(state.join("openclaw.json"), config.to_string()).expect("and files");
        let log = File::create(dir.path().join("log")).expect("a log");
        let process = Command::new(node)
            .args([&cli, "gateway", "run", "--port", &port.to_string()])
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .env("OPENCLAW_STATE_DIR", &state)
            .envs([
                ("OPENCLAW_NO_AUTO_UPDATE", "1"),
                ("OPENCLAW_NO_RESPAWN", "1"),
                ("OPENCLAW_DISABLE_BONJOUR", "1"),
                ("NO_COLOR", "1"),
                ("CI", "1"),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file has more than one handle"))
            .stderr(log)
            .spawn()
            .expect("the original starts");
        let original = Self {
            process,
            port,
            _dir: dir,
        };
        let client = http_client();
        eventually("the original is ready", || async {
            let answer = client
                .get(format!("http://127.0.0.1:{port}/readyz"))
                .send()
                .await
                .ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        original
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage {
            url: format!("ws://127.0.0.1:{}", self.port),
            token: TOKEN.to_owned(),
            who: Who::OpenClaw,
            patience: Duration::from_secs(20),
        }
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
