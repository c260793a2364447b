//! The spans of a webhook and of a client's call, from the request to the reply, and what may not stand in them.
//!
//! The server runs in this process here, so that a subscriber of the test's own hears it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use clawcentral::boot;
use clawcentral::settings::{Settings, Source};
use reqwest::Client;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::support::app::{ALL_SCOPES, OWNER, SLACK_SECRET, TELEGRAM_SECRET, TestApp};
use crate::support::node::{Device, Hello, TestNode};
use crate::support::wait::eventually;
use crate::support::webhook::{Webhooks, send};

/// Stands in each message, and nowhere in a log.
const WORDS: &str = "sesame-opens";

#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    parent: Option<usize>,
    fields: BTreeMap<String, String>,
}

/// All spans in the order in which they began, and what log lines held.
#[derive(Clone, Default)]
struct Capture {
    spans: Arc<Mutex<Vec<Seen>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

/// Where a span stands in the list; kept with it.
struct Place(usize);

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Capture {
    fn spans(&self) -> Vec<Seen> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that was written, span by span and line by line.
    fn everything(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let spans = self.spans().into_iter().map(|span| format!("{span:?}"));
        lines.into_iter().chain(spans).collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("it began just now");
        let parent = span
            .parent()
            .and_then(|parent| parent.extensions().get::<Place>().map(|place| place.0));
        let mut seen = Seen {
            name: attributes.metadata().name(),
            parent,
            fields: BTreeMap::new(),
        };
        attributes.record(&mut Fields(&mut seen.fields));
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        span.extensions_mut().insert(Place(spans.len()));
        spans.push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("it goes on");
        let extensions = span.extensions();
        let place = extensions.get::<Place>().expect("each has a place");
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        values.record(&mut Fields(&mut spans[place.0].fields));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{} {fields:?}", event.metadata().target()));
    }
}

/// The first span of this name below `parent` that has such a field.
fn below<'a>(
    spans: &'a [Seen],
    parent: Option<usize>,
    name: &str,
    (field, value): (&str, &str),
) -> Option<(usize, &'a Seen)> {
    let mut fitting = spans.iter().enumerate().filter(|(_, span)| span.name == name);
    fitting.find(|(_, span)| span.parent == parent && span.fields.get(field).is_some_and(|found| found == value))
}

fn names(span: &Seen) -> Vec<&str> {
    span.fields.keys().map(String::as_str).collect()
}

/// A span of a turn, as far as both ways in have it alike: below `parent`, with its two model calls and its tool.
fn turn(spans: &[Seen], parent: usize, session: &str, run: Option<&str>) -> Option<usize> {
    let (at, turn) = spans
        .iter()
        .enumerate()
        .find(|(_, span)| span.name == "session.turn" && span.parent == Some(parent))?;
    let expected = ["queued_ms", "run.id", "session.key", "tenant.id", "user.id"];
    if names(turn) != expected {
        return None;
    }
    assert_eq!(turn.fields["session.key"], session);
    assert!(turn.fields["queued_ms"].parse::<u64>().is_ok(), "{turn:?}");
    assert!(run.is_none_or(|run| turn.fields["run.id"] == run), "{turn:?}");
    let calls: Vec<&Seen> = spans
        .iter()
        .filter(|span| span.name == "model.call" && span.parent == Some(at))
        .collect();
    if calls.len() < 2 || calls.iter().any(|call| !call.fields.contains_key("tokens.out")) {
        return None;
    }
    for call in calls {
        let expected = ["attempt", "model.name", "model.provider", "tokens.in", "tokens.out"];
        assert_eq!(names(call), expected);
        let said = |name: &str| call.fields[name].as_str();
        assert_eq!(
            (said("attempt"), said("model.provider"), said("model.name")),
            ("1", "mock", "mock-1")
        );
        assert!(
            said("tokens.in").parse::<u64>().is_ok_and(|tokens| tokens > 0),
            "{call:?}"
        );
    }
    let (_, tool) = below(spans, Some(at), "tool.call", ("tool.name", "session_status"))?;
    assert_eq!(names(tool), ["duration_ms", "outcome", "tool.name"]);
    assert_eq!(tool.fields["outcome"], "ok");
    Some(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_stands_below_what_began_it_and_holds_no_words() {
    let mut app = TestApp::start().await;
    let device = Device::generate();
    drop(app.ready_node(&device, &["system.notify"]).await);
    app.binary.terminate();

    let capture = Capture::default();
    let filter = EnvFilter::new("clawcentral=debug,claw_actors=debug");
    let subscriber = tracing_subscriber::registry().with(filter).with(capture.clone());
    tracing::subscriber::set_global_default(subscriber).expect("no other test of this process hears spans");
    let env = [
        ("HTTP__LISTEN", "127.0.0.1:0"),
        ("HTTP__TRUSTED_PROXIES", "127.0.0.0/8"),
        ("DATABASE__URL", app.database.url.as_str()),
        ("SKILLS__REGISTRY_URL", ""),
    ];
    let source = Source {
        env: env
            .map(|(key, value)| (format!("CLAWCENTRAL__{key}"), value.to_owned()))
            .to_vec(),
        local: None,
    };
    let settings = Settings::from_source(&source).expect("the settings are valid");
    let server = tokio::task::spawn_blocking(|| boot::spawn(settings))
        .await
        .expect("no panic");
    let server = server.expect("starts");
    let host = format!("127.0.0.1:{}", server.addr.port());
    let webhooks = Webhooks {
        client: Client::new(),
        address: server.addr,
        host: host.clone(),
        telegram_secret: TELEGRAM_SECRET.to_owned(),
        slack_secret: SLACK_SECRET.to_owned(),
    };

    // A platform's message. Who comes by a trusted proxy may bring the request's id, if it is one.
    let text = format!("{WORDS} [tool:session_status] #webhook");
    let asked = webhooks.telegram(1, 7, &text).header("x-request-id", "edge-0815");
    let answer = send(asked).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-request-id"]),
        (200, &"edge-0815".parse().unwrap())
    );
    app.platform.message("7", "#webhook").await;
    let forged = webhooks.post("/webhooks/telegram", "{}".to_owned());
    let refused = send(forged.header("x-request-id", "jane@example.com")).await;
    assert_eq!(refused.status(), 401);
    let own_id = refused.headers()["x-request-id"].to_str().expect("a text").to_owned();
    assert_eq!(own_id.len(), 32, "{own_id}");

    // A client's, over a socket; and a node's socket, which has a device.
    let (url, token) = (format!("ws://{host}/gateway/ws"), app.token(OWNER).to_owned());
    let hello = Hello {
        url: &url,
        host: &host,
        auth: json!({"token": token}),
        role: "operator",
        client: "cli",
        mode: "cli",
        scopes: ALL_SCOPES,
        commands: &[],
        caps: &[],
        device: None,
    };
    let mut operator = TestNode::connect(&hello).await.expect("connects");
    let node = Hello {
        auth: json!({"token": token}),
        role: "node",
        client: "node-host",
        mode: "node",
        scopes: &[],
        commands: &["system.notify"],
        device: Some(&device),
        ..hello
    };
    let _node = TestNode::connect(&node).await.expect("connects");
    let text = format!("{WORDS} [tool:session_status] #client");
    let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": "run-of-a-client"});
    operator.call("chat.send", params).await.expect("accepted");
    assert_eq!(operator.chat_end("run-of-a-client").await["state"], "final");

    eventually("the spans of both", || async {
        let spans = capture.spans();
        let (at, request) = below(&spans, None, "http.request", ("request.id", "edge-0815"))?;
        let expected = ["http.method", "http.route", "http.status", "request.id", "tenant.id"];
        if names(request) != expected {
            return None;
        }
        let said = |name: &str| request.fields[name].as_str();
        assert_eq!(
            (said("http.method"), said("http.route"), said("http.status")),
            ("POST", "/webhooks/{path}", "200")
        );
        let (at, webhook) = below(&spans, Some(at), "webhook.receive", ("channel.id", "telegram"))?;
        assert_eq!(names(webhook), ["channel.id", "event.id", "outcome"]);
        assert_eq!(
            (&*webhook.fields["event.id"], &*webhook.fields["outcome"]),
            ("msg:1:7:4242", "accepted")
        );
        let at = turn(&spans, at, "agent:main:telegram:direct:7", None)?;
        let (_, delivery) = below(&spans, Some(at), "channel.deliver", ("channel.id", "telegram"))?;
        assert_eq!(names(delivery), ["attempt", "channel.id", "parts"]);
        assert_eq!((&*delivery.fields["attempt"], &*delivery.fields["parts"]), ("1", "1"));

        let (at, forged) = below(&spans, None, "http.request", ("request.id", &own_id))?;
        if forged.fields.get("http.status").map(String::as_str) != Some("401") {
            return None;
        }
        below(&spans, Some(at), "webhook.receive", ("outcome", "refused"))?;

        let (at, connection) = below(&spans, None, "gateway.connection", ("role", "operator"))?;
        assert_eq!(names(connection), ["conn.id", "role", "tenant.id", "user.id"]);
        let (_, of_node) = below(&spans, None, "gateway.connection", ("role", "node"))?;
        assert_eq!(names(of_node), ["conn.id", "device.id", "role", "tenant.id", "user.id"]);
        let (at, call) = below(&spans, Some(at), "gateway.rpc", ("rpc.method", "chat.send"))?;
        if names(call) != ["code", "rpc.id", "rpc.method"] {
            return None;
        }
        assert_eq!(call.fields["code"], "ok");
        turn(&spans, at, "agent:main:main", Some("run-of-a-client"))
    })
    .await;

    let leaks: Vec<String> = capture
        .everything()
        .into_iter()
        .filter(|line| {
            [
                WORDS,
                &token,
                TELEGRAM_SECRET,
                "4242:test-token",
                "sk-test",
                OWNER,
                "jane@",
            ]
            .iter()
            .any(|word| line.contains(word))
        })
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    drop(operator);
    tokio::task::spawn_blocking(move || server.stop()).await.expect("stops");
}
