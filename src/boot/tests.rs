use super::*;

fn settings(folder: &tempfile::TempDir) -> Settings {
    let mut settings = Settings::for_test();
    settings.database.url = format!("sqlite://{}", folder.path().join("claw.db").display()).into();
    settings
}

/// A self-signed certificate of `localhost` and its key, and a key that is not its own.
const CERT: &str = include_str!("../../tests/fixtures/tls/cert.pem");
const KEY: &str = include_str!("../../tests/fixtures/tls/key.pem");
const OTHER_KEY: &str = include_str!("../../tests/fixtures/tls/other-key.pem");

fn get(url: &str) -> reqwest::Result<u16> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            let client = reqwest::Client::builder()
                .tls_danger_accept_invalid_certs(true)
                .build()?;
            Ok(client.get(url).send().await?.status().as_u16())
        })
}

#[test]
fn a_restart_finds_what_was_there_and_is_ready_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = spawn(settings(&folder)).expect("starts");
    let url = format!("http://{}/readyz", first.addr);
    assert_eq!(get(&url).expect("an answer"), 200);
    let mut another = settings(&folder);
    another.cluster.replica_id = "another".to_owned();
    let other = spawn(another).err().map(|error| format!("{error:#}"));
    let other = other.unwrap_or_default();
    assert!(other.contains("another process"), "one process per database: {other:?}");
    first.stop();
    assert!(get(&url).is_err(), "nobody listens any more");

    let second = spawn(settings(&folder)).expect("starts again at once");
    let page = format!("http://{}/", second.addr);
    assert_eq!(get(&page).expect("an answer"), 200, "the development tenant is there");
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut settings = settings(&folder);
    settings.http.listen = taken.local_addr().expect("an address");
    let message = spawn(settings)
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    assert!(message.starts_with("http.listen: cannot listen on"), "{message}");
}

#[test]
fn tls_serves_the_same_routes_and_refuses_a_wrong_pair() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in [("cert.pem", CERT), ("key.pem", KEY), ("other.pem", OTHER_KEY)] {
        std::fs::write(path(name), text).expect("writes");
    }
    let mut settings = settings(&folder);
    settings.http.tls.listen = Some("127.0.0.1:0".parse().expect("an address"));
    settings.http.tls.cert = Some(path("cert.pem"));
    settings.http.tls.key = Some(path("other.pem"));
    let message = spawn(settings.clone())
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    assert!(message.starts_with("http.tls"), "{message}");

    settings.http.tls.key = Some(path("key.pem"));
    settings.cluster.replica_id = "second".to_owned();
    settings.database.url = format!("sqlite://{}", folder.path().join("other.db").display()).into();
    let server = spawn(settings).expect("starts");
    let addr = server.tls_addr.expect("a listener");
    assert_eq!(
        get(&format!("https://localhost:{}/healthz", addr.port())).expect("an answer"),
        200
    );
}
