//! A PostgreSQL of the bench's own: own folder, own port, default durability.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::child::Child;
use crate::port::free_port;

/// The same statement that the product's acceptance boils down to, 64 rows a transaction.
const BATCH: &str = include_str!("../../../pg/batch.sql");
const SCHEMA: &str = include_str!("../../../pg/schema.sql");

pub struct Postgres {
    bin: PathBuf,
    port: u16,
    server: Child,
    dir: TempDir,
}

impl Postgres {
    /// Makes and starts a cluster. Root may not run PostgreSQL, so as root everything runs as user `postgres`.
    pub fn start() -> Result<Self> {
        let bin = binaries()?;
        let dir = tempfile::Builder::new().prefix("claw-bench-pg").tempdir()?;
        let owner = unprivileged()?;
        if let Some((user, group)) = owner {
            chown(dir.path(), Some(user), Some(group))?;
        }
        let data = dir.path().join("data");
        let mut initdb = as_owner(&bin.join("initdb"), owner, dir.path());
        initdb
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data);
        let output = initdb.output().context("initdb does not run")?;
        ensure!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let port = free_port();
        let mut command = as_owner(&bin.join("postgres"), owner, dir.path());
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-k"])
            .arg(dir.path());
        for setting in [
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "shared_buffers=256MB",
        ] {
            command.args(["-c", setting]);
        }
        let mut server = Child::start("postgres", &mut command, &dir.path().join("log"))?;
        let ready = bin.join("pg_isready");
        server.wait_until(Duration::from_secs(30), Duration::from_millis(50), || {
            let probe = Command::new(&ready)
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status();
            probe.is_ok_and(|status| status.success())
        })?;
        Ok(Self { bin, port, server, dir })
    }

    /// Connection URL of a fresh database.
    pub fn create(&self, name: &str) -> Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(format!("postgres://postgres@127.0.0.1:{}/{name}", self.port))
    }

    /// Rows a second that pgbench commits in batches of 64 with `clients` connections.
    pub fn floor(&self, clients: usize, seconds: u64) -> Result<f64> {
        self.sql("postgres", SCHEMA)?;
        let script = self.dir.path().join("batch.sql");
        fs::write(&script, BATCH)?;
        let output = Command::new(self.bin.join("pgbench"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "postgres",
                "-n",
                "-M",
                "prepared",
                "-j",
                "1",
            ])
            .args(["-c", &clients.to_string(), "-T", &seconds.to_string(), "-f"])
            .arg(&script)
            .arg("postgres")
            .output()
            .context("pgbench does not run")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let transactions: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = "))
            .and_then(|line| line.split(' ').next())
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("pgbench printed no rate: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(transactions * 64.0)
    }

    /// The command line that runs a statement in a database.
    pub fn psql(&self, database: &str, text: &str) -> Vec<String> {
        let program = self.bin.join("psql").display().to_string();
        let port = self.port.to_string();
        let line = [
            &program,
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            text,
        ];
        line.map(str::to_owned).into()
    }

    /// Runs a statement in a database.
    pub fn sql(&self, database: &str, text: &str) -> Result<()> {
        self.ask(database, text).map(|_| ())
    }

    /// Runs a statement in a database and gives what it printed.
    pub fn ask(&self, database: &str, text: &str) -> Result<String> {
        let line = self.psql(database, text);
        let output = Command::new(&line[0])
            .args(&line[1..])
            .output()
            .context("psql does not run")?;
        ensure!(
            output.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown.
        self.server.stop("INT");
    }
}

/// The newest installed server.
fn binaries() -> Result<PathBuf> {
    let mut found: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL is not installed: tests/peers/install.sh postgres")?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found
        .pop()
        .context("PostgreSQL is not installed: tests/peers/install.sh postgres")
}

/// User and group to run as, when this process is root.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next())
        .unwrap_or("0");
    if uid != "0" {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let line = passwd
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .context("there is no user postgres")?;
    let fields: Vec<_> = line.split(':').collect();
    Ok(Some((fields[2].parse()?, fields[3].parse()?)))
}

fn as_owner(program: &Path, owner: Option<(u32, u32)>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    if let Some((user, group)) = owner {
        command.gid(group).uid(user);
    }
    command
}
