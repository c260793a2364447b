//! Peers nobody here wrote, against the real binary: the published OpenClaw client, OpenAI's clients, the reference
//! MCP server, and Chromium.
//!
//! Ignored by a plain run, because they must be installed: `make e2e` does both.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::scenarios;
use crate::support::app::{OWNER, STRANGER, TestApp, answered};
use crate::support::port::free_port;
use crate::support::scenario::play_all;
use crate::support::tls::{FIRST, Proxy, SECOND, TlsFiles, fixture};
use crate::support::tool::{ask, told};
use crate::support::wait::eventually;

fn needed(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `make e2e`"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Runs a script to its end; its output is the failure's explanation.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the script starts");
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}

fn openclaw(app: &TestApp, home: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .arg(repository().join("tests/peers").join(script))
        .env("OPENCLAW_NODE", needed("OPENCLAW_NODE"))
        .env("OPENCLAW_CLI", needed("OPENCLAW_CLI"))
        .env("GATEWAY_URL", app.socket_url())
        .env("GATEWAY_TOKEN", app.token(OWNER))
        .env("WORK", home);
    command
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client: make e2e"]
async fn the_openclaw_command_line_gets_a_final_answer() {
    let app = TestApp::start().await;
    let home = tempfile::tempdir().unwrap();
    let text = tokio::task::block_in_place(|| run(&mut openclaw(&app, home.path(), "chat.sh")));
    assert!(text.contains("re: #one end"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client: make e2e"]
async fn the_openclaw_command_line_shows_skills() {
    let app = TestApp::start().await;
    let request = app.owner().request(reqwest::Method::POST, "/api/skills");
    let skill = "---\nname: tea\ndescription: Makes tea.\n---\nBoil water.\n";
    let (code, answer) = answered(request.header("content-type", "text/markdown").body(skill)).await;
    assert_eq!(code, 201, "{answer}");
    let home = tempfile::tempdir().unwrap();
    let text = tokio::task::block_in_place(|| run(&mut openclaw(&app, home.path(), "skills.sh")));
    assert!(text.contains("skills: all steps passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client: make e2e"]
async fn an_openclaw_node_is_paired_called_and_removed() {
    let app = TestApp::start().await;
    let home = tempfile::tempdir().unwrap();
    let text = tokio::task::block_in_place(|| run(&mut openclaw(&app, home.path(), "node.sh")));
    assert!(text.contains("node: all steps passed"), "{text}");
}

/// A server with a second tenant, whose owner has the scripted model.
async fn with_tenant(settings: &[(&str, String)]) -> TestApp {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut app = TestApp::start_with(&json!({}), &settings).await;
    app.add_other_tenant();
    app.import("other", STRANGER, &json!({}));
    app
}

/// A script against the second tenant's subdomain, over TLS with a pin.
fn pinned(app: &TestApp, tls: &TlsFiles, home: &Path, script: &str) -> Command {
    let approve = format!(
        "{} device approve --tenant other --user {STRANGER}",
        env!("CARGO_BIN_EXE_clawcentral")
    );
    let mut command = app.binary.prepared(openclaw(app, home, script));
    command
        .env("GATEWAY_URL", format!("wss://other.localhost:{}/gateway/ws", tls.port))
        .env("GATEWAY_TOKEN", app.token(STRANGER))
        .env("PIN", FIRST.pin())
        .env("APPROVE", approve);
    command
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client: make e2e"]
async fn an_openclaw_node_works_over_tls_at_a_tenants_subdomain() {
    let tls = TlsFiles::new();
    let app = with_tenant(&tls.settings()).await;
    let home = tempfile::tempdir().unwrap();
    let text = tokio::task::block_in_place(|| run(&mut pinned(&app, &tls, home.path(), "node.sh")));
    assert!(text.contains("node: all steps passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client and nginx: make e2e"]
async fn an_openclaw_node_works_behind_the_documented_proxy() {
    let files = TlsFiles::new();
    let app = with_tenant(&[
        (
            "CLAWCENTRAL__HTTP__PUBLIC_URL",
            format!("https://localhost:{}", files.port),
        ),
        ("CLAWCENTRAL__HTTP__TRUSTED_PROXIES", "127.0.0.1/32".to_owned()),
    ])
    .await;
    let _proxy = Proxy::start(&needed("NGINX_PROGRAM"), &files, app.binary.address());
    let home = tempfile::tempdir().unwrap();
    let text = tokio::task::block_in_place(|| run(&mut pinned(&app, &files, home.path(), "node.sh")));
    assert!(text.contains("node: all steps passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client: make e2e"]
async fn the_openclaw_command_line_follows_a_new_certificate() {
    let tls = TlsFiles::new();
    let app = with_tenant(&tls.settings()).await;
    let process = app.binary.pid();
    let home = tempfile::tempdir().unwrap();
    let text = tokio::task::block_in_place(|| {
        run(pinned(&app, &tls, home.path(), "tls.sh")
            .env("NEXT_PIN", SECOND.pin())
            .env("NEXT_CERT", fixture(SECOND.cert))
            .env("NEXT_KEY", fixture(SECOND.key))
            .env("CERT", tls.cert())
            .env("KEY", tls.key()))
    });
    assert!(text.contains("tls: all steps passed"), "{text}");
    assert_eq!(app.binary.pid(), process);
    assert!(app.binary.ready());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw clients: make e2e"]
async fn a_node_of_protocol_3_is_paired_and_called() {
    let app = TestApp::start().await;
    let home = tempfile::tempdir().unwrap();
    let text = tokio::task::block_in_place(|| {
        run(openclaw(&app, home.path(), "node-v3.sh").env("OPENCLAW_V3_CLI", needed("OPENCLAW_V3_CLI")))
    });
    assert!(text.contains("node v3: all steps passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the published schemas: make e2e"]
async fn every_frame_of_the_scenarios_fits_the_published_schemas() {
    let app = TestApp::start().await;
    let played = play_all(&scenarios::folder(), &scenarios::ours(&app)).await;
    scenarios::all_hold(&played);
    let home = tempfile::tempdir().unwrap();
    let frames = home.path().join("frames.jsonl");
    scenarios::write(&played, &frames);
    let text = tokio::task::block_in_place(|| {
        run(Command::new(needed("OPENCLAW_NODE"))
            .arg(repository().join("tests/peers/schema.mjs"))
            .env("SCHEMAS", needed("OPENCLAW_SCHEMAS"))
            .env("FRAMES", &frames))
    });
    assert!(text.contains("schema: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client: make e2e"]
async fn the_openclaw_terminal_interface_chats() {
    let app = TestApp::start().await;
    let home = tempfile::tempdir().unwrap();
    let approve = format!(
        "{} device approve --tenant demo --user {OWNER}",
        env!("CARGO_BIN_EXE_clawcentral")
    );
    let text = tokio::task::block_in_place(|| {
        let mut script = app.binary.prepared(openclaw(&app, home.path(), "tui.sh"));
        run(script.env("APPROVE", approve))
    });
    assert!(text.contains("tui: all steps passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: make e2e"]
async fn a_signed_in_browser_sees_the_answer_stream_in() {
    let app = TestApp::start_with(&json!({}), &[]).await;
    let link = app.binary.cli(&["sign-in-link", "--tenant", "demo", "--user", OWNER]);
    let link = link
        .split_whitespace()
        .find(|word| word.starts_with("http"))
        .expect("a link")
        .to_owned();
    let text = tokio::task::block_in_place(|| {
        run(Command::new("node")
            .arg(repository().join("tests/peers/chat_page.mjs"))
            .env("CHROMIUM", needed("CHROMIUM"))
            .env("PLAYWRIGHT", repository().join("admin-ui/node_modules/playwright"))
            .env("LINK", link))
    });
    assert!(text.contains("chat page: all steps passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the OpenClaw client and Chromium: make e2e"]
async fn the_published_control_ui_shows_its_pages() {
    // The port of a server that starts later: free now, and nobody else here asks for one in between.
    let port = free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__GATEWAY__ALLOWED_ORIGINS", &origin)]).await;
    let binary = env!("CARGO_BIN_EXE_clawcentral");
    let approve = json!([binary, "device", "approve", "--tenant", "demo", "--user", OWNER]);
    let pages = Path::new(&needed("OPENCLAW_CLI")).with_file_name("dist/control-ui");
    let text = tokio::task::block_in_place(|| {
        run(app
            .binary
            .prepared(Command::new("node"))
            .arg(repository().join("tests/peers/control_ui.mjs"))
            .env("CHROMIUM", needed("CHROMIUM"))
            .env("PLAYWRIGHT", repository().join("admin-ui/node_modules/playwright"))
            .env("UI", pages)
            .env("UI_PORT", port.to_string())
            .env("GATEWAY_URL", app.socket_url())
            .env("GATEWAY_TOKEN", app.token(OWNER))
            .env("APPROVE", approve.to_string()))
    });
    eprintln!("{text}");
    assert!(text.contains("control ui: all steps passed"), "{text}");
}

/// The scripted model makes vectors too.
fn with_vectors() -> serde_json::Value {
    serde_json::json!({"agents": {"defaults": {"memorySearch": {"provider": "mock", "model": "embed-1"}}}})
}

fn openai(app: &TestApp, mut program: Command, script: &str) -> String {
    let base = format!("http://{}/v1", app.binary.address());
    program
        .arg(repository().join("tests/peers").join(script))
        .env("BASE_URL", base)
        .env("TOKEN", app.token(OWNER));
    tokio::task::block_in_place(|| run(&mut program))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenAI's client for Node: make e2e"]
async fn openais_client_for_node_works_unmodified() {
    let app = TestApp::start_with(&with_vectors(), &[]).await;
    let mut node = Command::new(needed("OPENCLAW_NODE"));
    node.env("OPENAI", needed("OPENAI_NODE_CLIENT"));
    let text = openai(&app, node, "openai_client.mjs");
    assert!(text.contains("openai for node: all steps passed"), "{text}");
    // What it stopped reading was stopped.
    let rows = app.rows().await;
    let aborted = || rows.count("run WHERE status = 'aborted' AND stop_reason = 'disconnect'");
    crate::support::wait::becomes("aborted runs", 1, aborted).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenAI's client for Python: make e2e"]
async fn openais_client_for_python_works_unmodified() {
    let Ok(python) = std::env::var("OPENAI_PYTHON") else {
        eprintln!("skipped: no python3 with venv on this machine");
        return;
    };
    let app = TestApp::start_with(&with_vectors(), &[]).await;
    let text = openai(&app, Command::new(python), "openai_client.py");
    assert!(text.contains("openai for python: all steps passed"), "{text}");
}

/// The reference MCP server; ended when dropped.
struct Everything(Child);

impl Everything {
    async fn start(port: u16) -> Self {
        let child = Command::new(needed("OPENCLAW_NODE"))
            .arg(needed("MCP_EVERYTHING"))
            .arg("streamableHttp")
            .env("PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Node starts");
        let server = Self(child);
        eventually("the reference server listens", || async {
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        server
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the reference MCP server: make e2e"]
async fn the_reference_mcp_server_is_used() {
    let port = free_port();
    let server = Everything::start(port).await;
    let url = format!("http://127.0.0.1:{port}/mcp");
    let app = TestApp::start_with(&json!({"mcp": {"servers": {"every": {"url": url}}}}), &[]).await;
    let (code, tried) = app.owner().post("/api/mcp-servers/every/test", &json!({})).await;
    assert_eq!((code, &tried["ok"]), (200, &json!(true)), "{tried}");
    assert_eq!(tried["protocol"], "2025-11-25", "{tried}");
    let tools = tried["tools"].as_array().expect("tools");
    assert!(
        tools.len() >= 10 && tools.iter().any(|tool| tool["called"] == "every__echo"),
        "{tried}"
    );
    let mut operator = app.operator().await;
    let mut call = async |run: &str, tool: &str, arguments: serde_json::Value| {
        ask(&mut operator, "main", run, &format!("every__{tool}"), &arguments).await;
        told(&app, &mut operator, run).await
    };
    for (run, tool, arguments, parts) in [
        ("echo", "echo", json!({"message": "hello"}), &["Echo: hello"][..]),
        ("sum", "get-sum", json!({"a": 2, "b": 40}), &["42"]),
        ("picture", "get-tiny-image", json!({}), &["MCP", "cannot see"]),
        (
            "links",
            "get-resource-links",
            json!({"count": 2}),
            &["[link to a resource: "],
        ),
        (
            "structure",
            "get-structured-content",
            json!({"location": "New York"}),
            &["temperature"],
        ),
        (
            "long",
            "trigger-long-running-operation",
            json!({"duration": 1, "steps": 2}),
            &["completed"],
        ),
        (
            "wrong",
            "get-sum",
            json!({"a": "two"}),
            &["MCP server every, tool get-sum"],
        ),
    ] {
        let heard = call(run, tool, arguments).await;
        for part in parts {
            assert!(heard.contains(part), "{tool}: {heard}");
        }
    }
    // It forgets its sessions, and says so with another status than the protocol has for it.
    drop(server);
    let _server = Everything::start(port).await;
    let heard = call("again", "echo", json!({"message": "still there"})).await;
    assert!(heard.contains("Echo: still there"), "{heard}");
}
