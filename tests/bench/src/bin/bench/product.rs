//! The product under test: set up through its own command line, started, killed, started again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use claw_bench::platform::{Kind, Target};
use claw_bench::process;
use serde_json::{Value, json};

use crate::child::{Child, get};
use crate::port::free_port;

/// Longest time a start may take before the bench gives up.
const START: Duration = Duration::from_secs(30);
pub const OWNER: &str = "owner@demo.local";

/// How to start it, and where it is.
pub struct Product {
    binary: PathBuf,
    dir: PathBuf,
    database: String,
    port: u16,
    world: String,
    server: Option<Child>,
}

/// What a start cost.
pub struct Started {
    pub wall: Duration,
    pub cpu_s: f64,
}

impl Product {
    pub fn new(binary: &Path, dir: &Path, database: &str, world: &str) -> Result<Self> {
        Ok(Self {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            database: database.to_owned(),
            port: free_port(),
            world: world.to_owned(),
            server: None,
        })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn socket(&self) -> String {
        format!("ws://127.0.0.1:{}/gateway/ws", self.port)
    }

    /// The socket of tenant number `number` of those made under this prefix.
    pub fn socket_of(&self, prefix: &str, number: usize) -> String {
        format!("ws://{prefix}{number}.localhost:{}/gateway/ws", self.port)
    }

    /// A token of such a tenant's owner.
    pub fn token_of(&self, prefix: &str, number: usize) -> Result<String> {
        let slug = format!("{prefix}{number}");
        let email = format!("owner@{slug}.local");
        self.cli(&["token", "create", "--tenant", &slug, "--user", &email])
    }

    pub fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Child::pid)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(&self.dir)
            .env("CLAWCENTRAL_PROFILE", "development")
            .env("CLAWCENTRAL__HTTP__LISTEN", self.address())
            .env(
                "CLAWCENTRAL__HTTP__PUBLIC_URL",
                format!("http://localhost:{}", self.port),
            )
            .env("CLAWCENTRAL__DATABASE__URL", &self.database)
            .env("CLAWCENTRAL__CLUSTER__REPLICA_ID", "bench")
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Starts the server and waits for readiness.
    pub fn start(&mut self) -> Result<Started> {
        self.start_with(&[])
    }

    /// As [`Product::start`], with settings of its own as variables.
    pub fn start_with(&mut self, settings: &[(&str, &str)]) -> Result<Started> {
        let begun = Instant::now();
        let mut command = self.command();
        command.envs(settings.iter().copied()).arg("serve");
        let mut server = Child::start("clawcentral", &mut command, &self.dir.join("clawcentral.log"))?;
        let address = self.address();
        let up = server.wait_until(START, Duration::from_millis(1), || {
            get(&address, "/readyz") == Some(200)
        });
        up.with_context(|| self.last_words())?;
        let started = Started {
            wall: begun.elapsed(),
            cpu_s: process::cpu_seconds(server.pid()),
        };
        self.server = Some(server);
        Ok(started)
    }

    /// SIGTERM, then patience.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop("TERM");
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("clawcentral.log")).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join(" / ")
    }

    /// Runs one command of its command line and gives what it printed.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .command()
            .args(arguments)
            .output()
            .context("clawcentral does not run")?;
        ensure!(
            output.status.success(),
            "clawcentral {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A command of its command line as the load generator can run it.
    pub fn line(&self, arguments: &[&str]) -> Vec<String> {
        let command = self.command();
        let mut line = vec!["env".to_owned(), "-C".to_owned(), self.dir.display().to_string()];
        for (name, value) in command.get_envs() {
            let value = value.unwrap_or_default();
            line.push(format!("{}={}", name.display(), value.display()));
        }
        line.push(self.binary.display().to_string());
        line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        line
    }

    /// Tokens of the demo tenant's owner and of `users` more people in it, each with the mock model.
    pub fn people(&self, users: usize) -> Result<Vec<String>> {
        let file = self.write("people.json", &self.openclaw(None))?;
        self.cli(&["import", "--tenant", "demo", "--user", OWNER, &file])?;
        let mut tokens = vec![self.cli(&["token", "create", "--tenant", "demo", "--user", OWNER])?];
        let more = in_parallel(users, |number| {
            let email = format!("user{number}@bench.local");
            self.cli(&[
                "user", "create", "--tenant", "demo", "--email", &email, "--role", "member",
            ])?;
            // A member may not change the tenant's providers; theirs is what the owner brought.
            let file = self.write(&format!("person{number}.json"), &self.person())?;
            self.cli(&["import", "--tenant", "demo", "--user", &email, &file])?;
            self.cli(&["token", "create", "--tenant", "demo", "--user", &email])
        })?;
        tokens.extend(more);
        Ok(tokens)
    }

    /// Makes `count` tenants with a Telegram and a Slack bot each; gives the Telegram targets and the Slack targets.
    /// `policy` is the bots' `dmPolicy`: `open` answers everybody, `disabled` stores and then ignores.
    pub fn tenants(&self, prefix: &str, count: usize, policy: &str) -> Result<(Vec<Target>, Vec<Target>)> {
        in_parallel(count, |number| {
            let slug = format!("{prefix}{number}");
            self.cli(&["tenant", "create", &slug])?;
            let email = format!("owner@{slug}.local");
            self.cli(&[
                "user", "create", "--tenant", &slug, "--email", &email, "--role", "owner",
            ])?;
            let file = self.write(&format!("{slug}.json"), &self.openclaw(Some((&slug, number, policy))))?;
            self.cli(&["import", "--tenant", &slug, "--user", &email, &file])
        })?;
        let target = |kind, path: &str, number: usize| Target {
            kind,
            host: format!("{prefix}{number}.localhost:{}", self.port),
            path: path.to_owned(),
            secret: secret(prefix, number),
            lane: number as u64,
        };
        Ok((
            (0..count)
                .map(|number| target(Kind::Telegram, "/webhooks/telegram", number))
                .collect(),
            (0..count)
                .map(|number| target(Kind::Slack, "/webhooks/slack", number))
                .collect(),
        ))
    }

    fn person(&self) -> Value {
        json!({
            "agents": {"defaults": {"model": {"primary": "mock/mock-1"}, "maxConcurrent": 512}},
            "messages": {"queue": {"mode": "collect", "debounceMs": 0}, "inbound": {"debounceMs": 0}},
        })
    }

    /// An OpenClaw configuration with the mock model and, with `bots`, two channels.
    fn openclaw(&self, bots: Option<(&str, usize, &str)>) -> Value {
        let mut file = self.person();
        file["models"] = json!({"providers": {"mock": {
            "baseUrl": format!("http://{}/v1", self.world), "apiKey": "sk-bench", "api": "openai-completions",
            "models": [{"id": "mock-1", "name": "Mock", "reasoning": false, "input": ["text"],
                "contextWindow": 128_000, "maxTokens": 4096,
                "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}],
        }}});
        if let Some((slug, number, policy)) = bots {
            let prefix = slug.trim_end_matches(|letter: char| letter.is_ascii_digit());
            let secret = secret(prefix, number);
            let senders = if policy == "open" { json!(["*"]) } else { json!([]) };
            file["channels"] = json!({
                "telegram": {
                    "enabled": true, "botToken": format!("{}:bench-{slug}", 100_000 + number),
                    "webhookSecret": secret, "apiRoot": format!("http://{}", self.world),
                    "dmPolicy": policy, "allowFrom": senders,
                },
                "slack": {
                    "enabled": true, "mode": "http", "botToken": format!("xoxb-bench-{slug}"), "signingSecret": secret,
                    "apiBaseUrl": format!("http://{}/api", self.world), "dmPolicy": policy, "allowFrom": senders,
                },
            });
        }
        file
    }

    fn write(&self, name: &str, file: &Value) -> Result<String> {
        let path = self.dir.join(name);
        std::fs::write(&path, file.to_string())?;
        Ok(path.display().to_string())
    }
}

fn secret(prefix: &str, number: usize) -> String {
    format!("bench-secret-{prefix}-{number}")
}

/// Runs `make` for 0..count on two threads; results in order.
fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(());
                        }
                        let one = make(number)?;
                        made.lock().expect("no maker panics with the lock").push((number, one));
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a maker does not panic"))
    })?;
    let mut made = made.into_inner().expect("no maker panics with the lock");
    made.sort_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, one)| one).collect())
}
