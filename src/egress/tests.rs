//! The rules together, against a real socket on loopback.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claw_actors::crypto::Secret;
use futures::StreamExt;
use futures::future::BoxFuture;
use reqwest::Method;

use super::testing::{Ending, FakeServer, Reply};
use super::{ANY_PORT, Egress, EgressError, EgressSettings, Lookup, Purpose};

/// Gives the listed answers, one list per call, the last one for ever.
#[derive(Default)]
struct FakeLookup {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
}

impl FakeLookup {
    fn with(host: &str, answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers
            .iter()
            .map(|list| list.iter().map(|address| address.parse().unwrap()).collect())
            .collect();
        Arc::new(Self {
            answers: Mutex::new(HashMap::from([(host.to_owned(), answers)])),
        })
    }
}

impl Lookup for FakeLookup {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut answers = self.answers.lock().unwrap();
        let found = answers.get_mut(&host).map(|lists| {
            if lists.len() > 1 {
                lists.remove(0)
            } else {
                lists[0].clone()
            }
        });
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

fn strict() -> Egress {
    Egress::new(EgressSettings::default())
}

fn admitted(egress: &Egress, purpose: Purpose, url: &str) -> bool {
    match egress.request(purpose, Method::GET, url) {
        Ok(_) => true,
        Err(EgressError::Refused { .. }) => false,
        Err(error) => panic!("{url}: {error}"),
    }
}

#[test]
fn rules_parse() {
    assert_eq!(
        EgressSettings::parse_rule("10.1.0.0/16:443"),
        Ok(("10.1.0.0/16".parse().unwrap(), 443))
    );
    assert_eq!(
        EgressSettings::parse_rule("[fd00::/8]:*"),
        Ok(("fd00::/8".parse().unwrap(), ANY_PORT))
    );
    assert_eq!(
        EgressSettings::parse_rule("[::1]/128:*"),
        Ok(("::1/128".parse().unwrap(), ANY_PORT))
    );
    assert_eq!(
        EgressSettings::parse_rule("127.0.0.1:9000"),
        Ok(("127.0.0.1/32".parse().unwrap(), 9000))
    );
    for rule in [
        "",
        "10.0.0.0/8",
        "10.0.0.0/8:0",
        "10.0.0.0/40:80",
        "host:80",
        "10.0.0.0/8:x",
    ] {
        assert!(EgressSettings::parse_rule(rule).is_err(), "{rule:?}");
    }
}

#[tokio::test]
async fn who_may_name_what() {
    let development = Egress::new(EgressSettings::development());
    let listed = Egress::new(EgressSettings {
        allow_private: vec![("10.1.0.0/16".parse().unwrap(), 8443)],
    });
    // URL, (strict, development, listed) for a configured endpoint.
    for (url, expected) in [
        ("https://api.example.com/", (true, true, true)),
        ("http://8.8.8.8:8443/", (false, false, false)),
        ("https://8.8.8.8:8443/", (true, true, true)),
        ("http://127.0.0.1:9999/", (false, true, false)),
        ("https://127.0.0.1:9999/", (false, true, false)),
        ("http://[::1]:9999/", (false, true, false)),
        ("http://localhost:9999/", (false, true, false)),
        ("https://localhost:9999/", (false, true, false)),
        ("http://10.1.2.3:8443/", (false, false, true)),
        ("https://10.1.2.3:8443/", (false, false, true)),
        ("https://10.1.2.3/", (false, false, false)),
        ("https://10.2.0.1:8443/", (false, false, false)),
        ("https://[::ffff:10.1.2.3]:8443/", (false, false, true)),
        ("http://169.254.169.254/", (false, false, false)),
        ("https://metadata.google.internal/", (false, false, false)),
        ("https://metadata.google.internal:8443/", (false, false, false)),
    ] {
        let found = (
            admitted(&strict(), Purpose::Configured, url),
            admitted(&development, Purpose::Configured, url),
            admitted(&listed, Purpose::Configured, url),
        );
        assert_eq!(found, expected, "{url}");
    }
    for egress in [strict(), development, listed] {
        for (url, fixed, untrusted) in [
            ("https://example.com/", true, true),
            ("http://example.com/", false, true),
            ("http://example.com:8080/", false, true),
            ("https://127.0.0.1:9999/", false, false),
            ("http://localhost:9999/", false, false),
            ("https://10.1.2.3:8443/", false, false),
            ("http://[::ffff:127.0.0.1]/", false, false),
            ("https://printer.local/", false, false),
        ] {
            assert_eq!(admitted(&egress, Purpose::Fixed, url), fixed, "fixed {url}");
            assert_eq!(admitted(&egress, Purpose::Untrusted, url), untrusted, "untrusted {url}");
        }
    }
}

#[tokio::test]
async fn an_operator_list_never_opens_the_metadata_service() {
    let egress = Egress::new(EgressSettings {
        allow_private: vec![("0.0.0.0/0".parse().unwrap(), ANY_PORT)],
    });
    assert!(!admitted(&egress, Purpose::Configured, "http://169.254.169.254/"));
    assert!(!admitted(
        &egress,
        Purpose::Configured,
        "http://metadata.google.internal/"
    ));
    assert!(admitted(&egress, Purpose::Configured, "http://10.0.0.1/"));
}

#[tokio::test]
async fn a_request_and_its_answer() {
    let server = FakeServer::start(|_| Reply::json(201, &serde_json::json!({"ok": true}))).await;
    let egress = FakeServer::egress();
    for _ in 0..3 {
        let answer = egress
            .request(Purpose::Configured, Method::POST, &server.url("/a?b=c"))
            .unwrap()
            .bearer(&Secret::new("t0ken"))
            .header("x-extra", "1")
            .json(&serde_json::json!({"hello": "world"}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status, 201);
        assert!(answer.is_success());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            answer.json::<serde_json::Value>().unwrap(),
            serde_json::json!({"ok": true})
        );
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("POST", "/a?b=c"));
    assert_eq!(seen[0].header("authorization"), Some("Bearer t0ken"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].header("x-extra"), Some("1"));
    assert_eq!(seen[0].json(), serde_json::json!({"hello": "world"}));
    assert_eq!(server.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn reserved_and_broken_headers_are_refused() {
    let egress = strict();
    for (name, value) in [
        ("host", "other.example"),
        ("Content-Length", "3"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("x-a", "line\r\nx-b: 1"),
        ("x a", "1"),
        ("", "1"),
    ] {
        let request = egress
            .request(Purpose::Fixed, Method::GET, "https://example.com/")
            .unwrap()
            .header(name, value);
        assert_eq!(
            request.send().await.unwrap_err(),
            EgressError::refused("a request header is not allowed"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn names_are_checked_when_resolved() {
    let server = FakeServer::start(|_| Reply::text(200, "private")).await;
    let port = server.address.port();
    // Every answer must be fine: one private among public ones refuses all.
    for answers in [
        &["127.0.0.1"][..],
        &["8.8.8.8", "127.0.0.1"],
        &["8.8.8.8", "::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::127.0.0.1"],
        &["169.254.169.254"],
    ] {
        for purpose in [Purpose::Untrusted, Purpose::Configured, Purpose::Fixed] {
            let egress = Egress::with_lookup(EgressSettings::default(), FakeLookup::with("evil.example", &[answers]));
            let scheme = if purpose == Purpose::Untrusted { "http" } else { "https" };
            let error = egress
                .request(purpose, Method::GET, &format!("{scheme}://evil.example:{port}/"))
                .unwrap()
                .send()
                .await
                .unwrap_err();
            assert!(
                matches!(error, EgressError::Refused { .. }),
                "{answers:?} {purpose:?}: {error:?}"
            );
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_refused() {
    let server =
        FakeServer::start(|_| Reply::Full(200, vec![("connection", "close".to_owned())], b"hi".to_vec())).await;
    let port = server.address.port();
    let settings = EgressSettings {
        allow_private: vec![("127.0.0.1/32".parse().unwrap(), port)],
    };
    let egress = Egress::with_lookup(
        settings,
        FakeLookup::with("rebind.example", &[&["127.0.0.1"], &["127.0.0.2"]]),
    );
    let url = format!("http://rebind.example:{port}/");
    let ask = || egress.request(Purpose::Configured, Method::GET, &url).unwrap().send();
    // The connection goes to the address that was checked.
    assert_eq!(ask().await.unwrap().body, b"hi");
    assert!(matches!(ask().await.unwrap_err(), EgressError::Refused { .. }));
    // The same name from a page is refused although a configured endpoint may have it.
    let error = egress
        .request(Purpose::Untrusted, Method::GET, &url)
        .unwrap()
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::Refused { .. }));
}

#[tokio::test]
async fn plain_http_reaches_listed_addresses_only() {
    let settings = EgressSettings {
        allow_private: vec![("127.0.0.0/8".parse().unwrap(), 8080)],
    };
    let egress = Egress::with_lookup(settings, FakeLookup::with("api.example", &[&["8.8.8.8"]]));
    let error = egress
        .request(Purpose::Configured, Method::GET, "http://api.example:8080/")
        .unwrap()
        .send()
        .await
        .unwrap_err();
    assert_eq!(error, EgressError::refused("this endpoint must use https"));
}

#[tokio::test]
async fn redirects_are_followed_by_hand() {
    let server = FakeServer::start(|seen| match seen.path.as_str() {
        "/1" => Reply::redirect(302, "/2"),
        "/2" => Reply::redirect(307, "3"),
        "/3" => Reply::redirect(301, "/4"),
        "/4" => Reply::text(200, "there"),
        "/long" => Reply::redirect(302, "/1"),
        "/loop" => Reply::redirect(302, "/loop"),
        "/metadata" => Reply::redirect(302, "http://169.254.169.254/latest/"),
        "/scheme" => Reply::redirect(302, "file:///etc/passwd"),
        "/port" => Reply::redirect(302, "//127.0.0.1:1/"),
        "/nowhere" => Reply::Full(302, Vec::new(), b"no location".to_vec()),
        _ => Reply::text(404, ""),
    })
    .await;
    let egress = FakeServer::egress();
    let ask = |path: &str| {
        egress
            .request(Purpose::Configured, Method::POST, &server.url(path))
            .unwrap()
            .header("x-token", "secret")
            .body(b"body".to_vec(), "text/plain")
            .send()
    };
    let answer = ask("/1").await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.url.path()), (&b"there"[..], "/4"));
    let last = server.seen().pop().unwrap();
    assert_eq!((last.method.as_str(), last.body.len()), ("GET", 0));
    assert_eq!(last.header("content-type"), None);
    assert_eq!(last.header("x-token"), Some("secret"), "same origin keeps its headers");

    assert_eq!(ask("/long").await.unwrap_err(), EgressError::Redirect);
    // POST to GET of the same URL is a step; GET to itself is a loop.
    assert_eq!(ask("/loop").await.unwrap_err(), EgressError::Redirect);
    for path in ["/metadata", "/scheme", "/port"] {
        assert!(
            matches!(ask(path).await.unwrap_err(), EgressError::Refused { .. }),
            "{path}"
        );
    }
    assert_eq!(ask("/nowhere").await.unwrap().status, 302);
}

#[tokio::test]
async fn a_redirect_elsewhere_is_not_a_configured_endpoint() {
    let inside = FakeServer::start(|_| Reply::text(200, "inside")).await;
    let target = inside.url("/");
    let outside = FakeServer::start(move |seen| match seen.path.as_str() {
        "/get" => Reply::redirect(302, target.clone()),
        _ => Reply::redirect(307, target.clone()),
    })
    .await;
    let egress = FakeServer::egress();
    let error = egress
        .request(Purpose::Configured, Method::GET, &outside.url("/get"))
        .unwrap()
        .bearer(&Secret::new("t"))
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::Refused { .. }), "{error:?}");
    let error = egress
        .request(Purpose::Configured, Method::POST, &outside.url("/post"))
        .unwrap()
        .body(b"secret".to_vec(), "text/plain")
        .send()
        .await
        .unwrap_err();
    assert_eq!(error, EgressError::Redirect, "a body does not travel to another origin");
    assert!(inside.seen().is_empty());
}

#[tokio::test]
async fn bodies_have_caps() {
    let server = FakeServer::start(|seen| match seen.path.as_str() {
        "/length" => Reply::text(200, vec![b'x'; 2000]),
        "/gzip" => Reply::Full(
            200,
            vec![("content-encoding", "gzip".to_owned())],
            GZIP_OF_4096_ZEROS.to_vec(),
        ),
        _ => Reply::Stream(vec![vec![b'x'; 600], vec![b'y'; 600]], Ending::Proper),
    })
    .await;
    let egress = FakeServer::egress();
    let ask = |path: &str| {
        egress
            .request(Purpose::Configured, Method::GET, &server.url(path))
            .unwrap()
    };
    assert_eq!(
        ask("/length").max_body(1999).send().await.unwrap_err(),
        EgressError::TooLarge
    );
    assert_eq!(ask("/length").max_body(2000).send().await.unwrap().body.len(), 2000);
    assert_eq!(
        ask("/chunks").max_body(1199).send().await.unwrap_err(),
        EgressError::TooLarge
    );
    let cut = ask("/chunks").truncate_body(700).send().await.unwrap();
    assert_eq!((cut.body.len(), cut.truncated), (700, true));
    let whole = ask("/chunks").truncate_body(1200).send().await.unwrap();
    assert_eq!((whole.body.len(), whole.truncated), (1200, false));
    // The cap counts what comes out of decompression.
    assert!(GZIP_OF_4096_ZEROS.len() < 100);
    assert_eq!(
        ask("/gzip").max_body(4095).send().await.unwrap_err(),
        EgressError::TooLarge
    );
    assert_eq!(ask("/gzip").send().await.unwrap().body, vec![0; 4096]);

    let mut stream = ask("/chunks").max_body(1000).send_streaming().await.unwrap();
    let mut got = Vec::new();
    while let Some(piece) = stream.body.next().await {
        got.push(piece.map(|piece| piece.len()));
    }
    assert_eq!(got.last(), Some(&Err(EgressError::TooLarge)), "{got:?}");
}

#[tokio::test]
async fn silence_and_cuts() {
    let server = FakeServer::start(|seen| match seen.path.as_str() {
        "/hang" => Reply::Hang,
        "/close" => Reply::Close,
        "/cut" => Reply::Stream(vec![b"data".to_vec()], Ending::Cut),
        _ => Reply::Stream(vec![b"data".to_vec()], Ending::Silence),
    })
    .await;
    let egress = FakeServer::egress();
    let ask = |path: &str| {
        egress
            .request(Purpose::Configured, Method::GET, &server.url(path))
            .unwrap()
            .timeout(Duration::from_millis(200))
    };
    assert_eq!(
        ask("/hang").send().await.unwrap_err(),
        EgressError::Timeout { sent: true }
    );
    assert_eq!(
        ask("/silence").send().await.unwrap_err(),
        EgressError::Timeout { sent: true }
    );
    assert_eq!(ask("/close").send().await.unwrap_err(), EgressError::Io);
    assert_eq!(ask("/cut").send().await.unwrap_err(), EgressError::Io);
    // A stream's limit ends with the headers.
    let mut stream = ask("/silence").send_streaming().await.unwrap();
    assert_eq!(stream.body.next().await.unwrap().unwrap().as_ref(), b"data");
}

#[tokio::test]
async fn nobody_listens() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let error = FakeServer::egress()
        .request(Purpose::Configured, Method::GET, &format!("http://{address}/"))
        .unwrap()
        .send()
        .await
        .unwrap_err();
    assert_eq!(error, EgressError::Connect);
    assert!(!error.maybe_sent());
    let unknown = Egress::with_lookup(
        EgressSettings::default(),
        FakeLookup::with("a.example", &[&["8.8.8.8"]]),
    );
    let error = unknown
        .request(Purpose::Fixed, Method::GET, "https://b.example/")
        .unwrap()
        .send()
        .await
        .unwrap_err();
    assert_eq!(error, EgressError::Connect);
}

const GZIP_OF_4096_ZEROS: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 1, 13, 0, 0, 0, 194, 160, 247, 79, 109, 15, 7, 20, 0, 0, 0, 240, 110,
    17, 0, 28, 199, 0, 16, 0, 0,
];
