//! The floor, the mock world and the load generator as processes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use claw_bench::latency::Report;
use claw_bench::marks::Mark;
use claw_bench::platform::{Kind, Target};
use claw_bench::sign;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Wishes;
use crate::child::{Child, body_of, get, status_of};
use crate::port::free_port;

const UP: Duration = Duration::from_secs(10);

/// Model and platforms.
pub struct World {
    pub address: String,
    _process: Child,
}

impl World {
    pub fn start(wishes: &Wishes, dir: &Path) -> Result<Self> {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(wishes.tools.join("mockllm"));
        command.args(["--port", &port.to_string()]);
        let mut process = Child::start("mockllm", &mut command, &dir.join("mockllm.log"))?;
        process.wait_until(UP, Duration::from_millis(5), || get(&address, "/stats") == Some(200))?;
        Ok(Self {
            address,
            _process: process,
        })
    }

    /// Sets time to the first token, tokens and gap.
    pub fn pace(&self, ttft_ms: u64, tokens: u64, gap_ms: u64) -> Result<()> {
        self.control(&format!("ttft={ttft_ms}&tokens={tokens}&gap={gap_ms}"))
    }

    /// As [`World::pace`] without a gap, and from now on usage is what prompts really are.
    pub fn tell_true_usage(&self, ttft_ms: u64, tokens: u64) -> Result<()> {
        self.control(&format!("ttft={ttft_ms}&tokens={tokens}&gap=0&true=1"))
    }

    fn control(&self, wish: &str) -> Result<()> {
        let head = format!("POST /control?{wish} HTTP/1.1\r\nhost: {}\r\n", self.address);
        ensure!(
            status_of(&self.address, &head, b"") == Some(204),
            "the mock world does not take orders"
        );
        Ok(())
    }

    /// What came under the words that begin with `prefix`.
    pub fn marks(&self, prefix: &str) -> Result<HashMap<String, Mark>> {
        self.look(&format!("/marks?prefix={prefix}"))
    }

    /// Answers that each chat has had so far.
    pub fn chats(&self) -> Result<HashMap<String, u64>> {
        self.look("/chats")
    }

    /// Most model calls that went on at the same time since this was asked last.
    pub fn most_running(&self) -> Result<u64> {
        self.stat("mostRunning")
    }

    /// One of the counts: `calls`, `tokens`, ….
    pub fn stat(&self, name: &str) -> Result<u64> {
        let stats: Value = self.look("/stats")?;
        stats[name].as_u64().context("the mock world does not count that")
    }

    fn look<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = body_of(&self.address, path).context("the mock world does not answer")?;
        Ok(serde_json::from_slice(&body)?)
    }
}

/// The skeleton.
pub struct Floor {
    pub address: String,
    pub process: Child,
}

impl Floor {
    pub fn start(wishes: &Wishes, world: &World, dir: &Path) -> Result<Self> {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(wishes.tools.join("floor"));
        command
            .args([
                "--port",
                &port.to_string(),
                "--workers",
                &wishes.floor_workers.to_string(),
            ])
            .args(["--model", &world.address])
            .arg("--db")
            .arg(dir.join("floor.db"));
        let mut process = Child::start("floor", &mut command, &dir.join("floor.log"))?;
        process.wait_until(UP, Duration::from_millis(1), || get(&address, "/plain") == Some(200))?;
        Ok(Self { address, process })
    }

    /// A plan for the load generator against `path`.
    pub fn plan(&self, path: &str) -> Value {
        let target = Target {
            kind: Kind::Floor,
            host: self.address.clone(),
            path: path.to_owned(),
            secret: sign::FLOOR_SECRET.to_owned(),
            lane: 1,
        };
        json!({"address": self.address, "targets": [target]})
    }
}

/// The load generator.
pub struct Load {
    program: PathBuf,
    dir: PathBuf,
    verbose: bool,
    /// Number of the next event, so that no two measurements send the same one.
    next_event: u64,
}

impl Load {
    pub fn new(wishes: &Wishes, dir: &Path) -> Self {
        Self {
            program: wishes.tools.join("load"),
            dir: dir.to_owned(),
            verbose: wishes.verbose,
            next_event: 1,
        }
    }

    /// Runs one measurement to its end.
    pub fn run(&mut self, mode: &str, plan: &Value, pid: u32, flags: &[(&str, u64)]) -> Result<Report> {
        self.start(mode, plan, pid, flags)?.end()
    }

    /// Starts one measurement.
    pub fn start(&mut self, mode: &str, plan: &Value, pid: u32, flags: &[(&str, u64)]) -> Result<Running> {
        let file = self.dir.join(format!("plan-{}.json", self.next_event));
        std::fs::write(&file, plan.to_string())?;
        let mut command = Command::new(&self.program);
        command
            .arg(mode)
            .arg("--plan")
            .arg(&file)
            .args(["--pid", &pid.to_string()]);
        command.args(["--first", &self.next_event.to_string()]);
        if let Some(mock) = plan["mock"].as_str() {
            command.args(["--mock", mock]);
        }
        for (name, value) in flags {
            command.arg(format!("--{name}")).arg(value.to_string());
        }
        self.next_event += 10_000_000;
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("the load generator does not run")?;
        Ok(Running {
            process: Some(process),
            what: format!("load {mode} {flags:?}"),
            verbose: self.verbose,
        })
    }
}

/// A load that goes on; it ends with this handle at the latest.
pub struct Running {
    process: Option<Process>,
    what: String,
    verbose: bool,
}

impl Running {
    pub fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_none_or(|process| !matches!(process.try_wait(), Ok(None)))
    }

    /// Waits for its end and reads its report.
    pub fn end(mut self) -> Result<Report> {
        let process = self.process.take().context("a load ends once")?;
        let output = process.wait_with_output()?;
        let what = &self.what;
        ensure!(
            output.status.success(),
            "{what}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let report: Report = serde_json::from_slice(&output.stdout).context("load printed no report")?;
        if self.verbose {
            eprintln!("{what}: {report:?}");
        }
        if report.failed > 0 {
            eprintln!("{what}: {} failed, first: {}", report.failed, report.failure);
        }
        ensure!(report.done > 0, "{what}: nothing succeeded: {}", report.failure);
        Ok(report)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may be gone already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
