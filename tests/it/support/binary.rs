//! The product as a process: started, killed, started again, and its command line.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::port::free_port;

/// Longest time a start may take on a busy machine.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// One installation: binary, folder, database, port. At most one server process of it runs.
pub(crate) struct Binary {
    dir: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    server: Option<Child>,
    /// Writes what the server prints into the log file.
    printing: Option<JoinHandle<()>>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Binary {
    /// An installation in `dir` on `database_url`. `settings` are extra `CLAWCENTRAL__…` variables.
    pub(crate) fn new(dir: &Path, database_url: &str, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut all = vec![
            ("CLAWCENTRAL_PROFILE".to_owned(), "development".to_owned()),
            ("CLAWCENTRAL__HTTP__LISTEN".to_owned(), format!("127.0.0.1:{port}")),
            (
                "CLAWCENTRAL__HTTP__PUBLIC_URL".to_owned(),
                format!("http://localhost:{port}"),
            ),
            ("CLAWCENTRAL__DATABASE__URL".to_owned(), database_url.to_owned()),
            ("CLAWCENTRAL__TELEMETRY__FILTER".to_owned(), "info".to_owned()),
        ];
        all.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Self {
            dir: dir.to_owned(),
            port,
            settings: all,
            server: None,
            printing: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    /// Resident memory of the server, bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
        kib.expect("Linux tells the memory of a process") * 1024
    }

    fn command(&self) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_clawcentral")))
    }

    /// A program in the installation's folder, with its settings: what it runs of ours finds the database.
    pub(crate) fn prepared(&self, mut command: Command) -> Command {
        command
            .current_dir(&self.dir)
            // Tests reach nobody outside.
            .env("CLAWCENTRAL__SKILLS__REGISTRY_URL", "")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null());
        command
    }

    /// Starts the server without waiting for it.
    pub(crate) fn spawn(&mut self) {
        assert!(self.server.is_none(), "it runs already");
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the log file opens");
        // What it prints is written by us: a limit of its files leaves that alone, and is the same however much it has
        // printed.
        let (mut printed, prints) = std::io::pipe().expect("a pipe");
        // Through a shell that ignores SIGXFSZ, and so does what it becomes: a write beyond a limit that
        // [`Binary::limit_files`] sets then fails as on a full disk, instead of ending the process.
        let mut through = Command::new("sh");
        through.args([
            "-c",
            "trap '' XFSZ; exec \"$0\" serve",
            env!("CARGO_BIN_EXE_clawcentral"),
        ]);
        let child = self
            .prepared(through)
            .stdout(prints.try_clone().expect("a pipe has more than one handle"))
            .stderr(prints)
            .spawn()
            .expect("the binary starts");
        self.server = Some(child);
        self.printing = Some(std::thread::spawn(move || {
            std::io::copy(&mut printed, &mut log).expect("the log file can be written");
        }));
    }

    /// Starts the server and waits until it says that it is ready.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Waits for `/readyz`.
    pub(crate) fn wait_ready(&mut self) {
        let end = Instant::now() + START;
        while !self.ready() {
            let ended = self.server.as_mut().expect("it was started").try_wait();
            assert!(matches!(ended, Ok(None)), "the server ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < end, "not ready after {START:?}\n{}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    /// Does `/readyz` answer 200 right now?
    pub(crate) fn ready(&self) -> bool {
        self.probe("/readyz").is_some_and(|status| status == 200)
    }

    /// Status of a plain `GET`, or `None` when nobody answers.
    pub(crate) fn probe(&self, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
    }

    /// SIGKILL; also when it has died already.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.server.take() {
            // An error means it is gone, which is what we want.
            let _ = child.kill();
            child.wait().expect("a child can be waited for");
        }
        self.printed();
    }

    /// Waits until all that an ended server printed is in the log.
    fn printed(&mut self) {
        if let Some(printing) = self.printing.take() {
            // Its panic, if any, was printed.
            let _ = printing.join();
        }
    }

    /// From now on the server can make no file longer than this; `None` lifts the limit.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let set = Command::new("prlimit")
            .args(["--pid", &self.pid().to_string(), &format!("--fsize={limit}:")])
            .status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit failed");
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let mut child = self.server.take().expect("the server runs");
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()), "kill -TERM failed");
        let end = Instant::now() + STOP;
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.printed();
                return status;
            }
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                panic!("still there {STOP:?} after SIGTERM\n{}", self.log());
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Has it ended by itself (or by a signal)?
    pub(crate) fn ended(&mut self) -> bool {
        let Some(child) = &mut self.server else { return true };
        if matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        self.server = None;
        self.printed();
        true
    }

    /// Runs a command of the command line to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command().args(arguments).output().expect("the binary starts");
        Ran {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }
    }

    /// Runs a command that must succeed; gives its standard output.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(
            ran.status.success(),
            "clawcentral {}: {}\n{}",
            arguments.join(" "),
            ran.stderr,
            ran.stdout
        );
        ran.stdout
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// Everything the server printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        self.kill();
    }
}
