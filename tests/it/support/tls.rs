//! The TLS listener of a server under test: a port, and certificate files that a test may replace. And the proxy of
//! `docs/tls.md`, which does it instead.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use tempfile::TempDir;

use super::port::free_port;

/// A certificate and its key among the fixtures.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) cert: &'static str,
    pub(crate) key: &'static str,
}

pub(crate) const FIRST: Pair = Pair {
    cert: "cert.pem",
    key: "key.pem",
};
pub(crate) const SECOND: Pair = Pair {
    cert: "other-cert.pem",
    key: "other-key.pem",
};

/// The fixture's file.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

impl Pair {
    /// SHA-256 of the certificate, lower-case hex: what a client pins.
    pub(crate) fn pin(self) -> String {
        let text = std::fs::read_to_string(fixture(self.cert)).expect("the fixture is there");
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        pin(&STANDARD.decode(body).expect("PEM is base64"))
    }
}

/// SHA-256 of a certificate (DER), lower-case hex.
pub(crate) fn pin(certificate: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, certificate);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A port, and a folder with the first pair.
pub(crate) struct TlsFiles {
    pub(crate) port: u16,
    dir: TempDir,
}

impl TlsFiles {
    pub(crate) fn new() -> Self {
        let port = free_port();
        let files = Self {
            port,
            dir: tempfile::tempdir().expect("a temporary folder"),
        };
        files.put(FIRST.cert, &files.cert());
        files.put(FIRST.key, &files.key());
        files
    }

    pub(crate) fn cert(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    /// Writes a fixture over one of the files.
    pub(crate) fn put(&self, fixture_name: &str, into: &Path) {
        std::fs::copy(fixture(fixture_name), into).expect("the temporary folder takes files");
    }

    /// What the server is told, as variables.
    pub(crate) fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("CLAWCENTRAL__HTTP__TLS__LISTEN", format!("127.0.0.1:{}", self.port)),
            ("CLAWCENTRAL__HTTP__TLS__CERT", self.cert().display().to_string()),
            ("CLAWCENTRAL__HTTP__TLS__KEY", self.key().display().to_string()),
            (
                "CLAWCENTRAL__HTTP__PUBLIC_URL",
                format!("https://localhost:{}", self.port),
            ),
        ]
    }
}

/// nginx as documented, in front of a server of ours; it ends with this handle.
pub(crate) struct Proxy {
    process: Child,
}

impl Proxy {
    /// Starts `program` with the configuration that `docs/tls.md` gives, with the names of this place put in.
    pub(crate) fn start(program: &str, files: &TlsFiles, server: SocketAddr) -> Self {
        let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tls.md");
        let manual = std::fs::read_to_string(manual).expect("the manual is there");
        let recipe = manual
            .split("```nginx\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let mut recipe = recipe.expect("the manual has a recipe for nginx").to_owned();
        for (written, here) in [
            ("listen 443 ssl", format!("listen 127.0.0.1:{} ssl", files.port)),
            (
                "server_name example.com *.example.com",
                "server_name localhost *.localhost".to_owned(),
            ),
            ("/etc/clawcentral/fullchain.pem", files.cert().display().to_string()),
            ("/etc/clawcentral/privkey.pem", files.key().display().to_string()),
            ("http://127.0.0.1:8080", format!("http://{server}")),
        ] {
            assert_eq!(recipe.matches(written).count(), 1, "{written}");
            recipe = recipe.replace(written, &here);
        }
        let place = files.dir.path().display();
        let mut around = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;\nevents {{}}\nhttp {{ access_log off;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            around += &format!("{kind}_temp_path {place}/{kind};\n");
        }
        let file = files.dir.path().join("nginx.conf");
        std::fs::write(&file, format!("{around}{recipe}}}\n")).expect("the temporary folder takes files");
        let process = Command::new(program)
            .arg("-e")
            .arg(files.dir.path().join("error.log"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx starts");
        Self { process }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
