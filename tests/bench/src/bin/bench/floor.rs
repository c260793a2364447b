//! The floor, the mock world and the load generator as processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use claw_bench::latency::Report;
use claw_bench::platform::{Kind, Target};
use claw_bench::sign;
use serde_json::{Value, json};

use crate::Wishes;
use crate::child::{Child, get, status_of};
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
        let head = format!(
            "POST /control?ttft={ttft_ms}&tokens={tokens}&gap={gap_ms} HTTP/1.1\r\nhost: {}\r\n",
            self.address
        );
        ensure!(
            status_of(&self.address, &head, b"") == Some(204),
            "the mock world does not take orders"
        );
        Ok(())
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
        let file = self.dir.join("plan.json");
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
        let output = command.output().context("the load generator does not run")?;
        ensure!(
            output.status.success(),
            "load {mode}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let report: Report = serde_json::from_slice(&output.stdout).context("load printed no report")?;
        if self.verbose {
            eprintln!("{mode} {flags:?}: {report:?}");
        }
        if report.failed > 0 {
            eprintln!(
                "load {mode} {flags:?}: {} failed, first: {}",
                report.failed, report.failure
            );
        }
        ensure!(report.done > 0, "load {mode}: nothing succeeded: {}", report.failure);
        Ok(report)
    }
}
