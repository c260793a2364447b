//! A PostgreSQL cluster of a test's own, which it can take away. That of the run is started by
//! `tests/ci/with-postgres.sh`. Never the machine's.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::port::free_port;

/// A cluster in a folder and on a port of its own; ends with its handle.
pub(crate) struct Cluster {
    bin: PathBuf,
    port: u16,
    server: Option<Child>,
    owner: Option<(u32, u32)>,
    dir: TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("claw-pg")
            .tempdir()
            .expect("a temporary folder");
        let owner = unprivileged();
        if let Some((user, group)) = owner {
            chown(dir.path(), Some(user), Some(group)).expect("root may give its folder away");
        }
        let bin = newest();
        let made = as_owner(&bin.join("initdb"), owner, dir.path())
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
                "data",
            ])
            .output()
            .expect("initdb starts");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = free_port();
        let mut cluster = Self {
            bin,
            port,
            server: None,
            owner,
            dir,
        };
        cluster.resume();
        cluster
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/", self.port)
    }

    /// Starts the server and waits until it takes connections.
    pub(crate) fn resume(&mut self) {
        let mut command = as_owner(&self.bin.join("postgres"), self.owner, self.dir.path());
        command
            .args(["-D", "data", "-p", &self.port.to_string(), "-k"])
            .arg(self.dir.path());
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200"] {
            command.args(["-c", setting]);
        }
        let log = fs::File::create(self.dir.path().join("log")).expect("the log file opens");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres starts");
        self.server = Some(child);
        let end = Instant::now() + Duration::from_secs(60);
        let ready = self.bin.join("pg_isready");
        while !Command::new(&ready)
            .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .status()
            .is_ok_and(|status| status.success())
        {
            assert!(Instant::now() < end, "PostgreSQL did not start");
            sleep(Duration::from_millis(30));
        }
    }

    /// Takes the server away from everybody at once (SIGQUIT: no goodbye).
    pub(crate) fn suspend(&mut self) {
        self.signal("QUIT");
    }

    fn signal(&mut self, name: &str) {
        let Some(mut server) = self.server.take() else { return };
        // A server that is gone already needs no signal.
        let _ = Command::new("kill")
            .args([&format!("-{name}"), &server.id().to_string()])
            .status();
        let end = Instant::now() + Duration::from_secs(30);
        while matches!(server.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = server.kill();
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal("INT");
    }
}

fn newest() -> PathBuf {
    let mut found: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed: tests/peers/install.sh packages")
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found
        .pop()
        .expect("PostgreSQL is installed: tests/peers/install.sh packages")
}

/// PostgreSQL refuses to run as root: then it is user `postgres`.
fn unprivileged() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells about a process");
    let root = status.lines().any(|line| {
        line.strip_prefix("Uid:")
            .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
    });
    root.then(|| {
        let passwd = fs::read_to_string("/etc/passwd").expect("there are users");
        let line = passwd
            .lines()
            .find(|line| line.starts_with("postgres:"))
            .expect("there is a user postgres");
        let mut numbers = line
            .split(':')
            .skip(2)
            .map(|field| field.parse().expect("ids are numbers"));
        (numbers.next().expect("a user id"), numbers.next().expect("a group id"))
    })
}

fn as_owner(program: &Path, owner: Option<(u32, u32)>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    if let Some((user, group)) = owner {
        command.gid(group).uid(user);
    }
    command
}
