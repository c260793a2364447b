//! The connection actor on a real runtime, with a socket that only records.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::gateway::GatewaySettings;
use crate::gateway::messages::Event;
use crate::testing::{Runtime, ScriptedModel, Step, start};

mod anything;

struct Socket(mpsc::UnboundedSender<Outgoing>);

impl Actor for Socket {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(FRAMES_WAITING);
    }
}

impl Handler<Outgoing> for Socket {
    type Result = ();
    fn handle(&mut self, message: Outgoing, _: &mut Self::Context) {
        let _ = self.0.send(message);
    }
}

/// So many seconds of the heartbeat, at once.
#[derive(Message)]
#[rtype(result = "()")]
struct Beats(u32);

impl Handler<Beats> for NodeConnection {
    type Result = ();
    fn handle(&mut self, beats: Beats, ctx: &mut Self::Context) {
        for _ in 0..beats.0 {
            self.heartbeat(ctx);
        }
    }
}

struct Client {
    connection: actix::Addr<NodeConnection>,
    from_server: mpsc::UnboundedReceiver<Outgoing>,
}

impl Client {
    async fn open(state: &GatewayState, tenant: &Arc<Tenant>) -> Self {
        let (tx, from_server) = mpsc::unbounded_channel();
        let address = "127.0.0.1".parse().expect("an address");
        let newcomer = Newcomer {
            tenant: Arc::clone(tenant),
            client: ClientFacts {
                peer_loopback: true,
                host_loopback: true,
                forwarded: false,
                origin: None,
                own_origin: String::new(),
                address,
            },
            web_identity: None,
            place: state.limiter.unproven(&tenant.id, address).expect("a place"),
        };
        let connection = NodeConnection::new(state.clone(), newcomer, Socket(tx).start().recipient()).start();
        Self {
            connection,
            from_server,
        }
    }

    async fn say(&self, frame: &Value) {
        self.connection
            .send(FromSocket::Text(frame.to_string()))
            .await
            .expect("is there");
    }

    /// The next thing the server does: a frame, or `{"close": code, "reason": …}`.
    async fn next(&mut self) -> Value {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.from_server.recv());
            match next.await.expect("in time").expect("a message") {
                Outgoing::Text(frame) => return serde_json::from_str(&frame.text).expect("JSON"),
                Outgoing::Close { code, reason } => return json!({"close": code, "reason": reason}),
                Outgoing::Ping | Outgoing::MaxFrame(_) => {}
            }
        }
    }

    /// The next answer to this id, events aside.
    async fn answer(&mut self, id: &str) -> Value {
        loop {
            let frame = self.next().await;
            assert!(frame.get("close").is_none(), "{frame}");
            if frame["id"] == id {
                return frame;
            }
        }
    }

    async fn call(&mut self, id: &str, method: &str, params: Value) -> Value {
        self.say(&json!({"type": "req", "id": id, "method": method, "params": params}))
            .await;
        self.answer(id).await
    }
}

struct World {
    runtime: Runtime,
    state: GatewayState,
    tenant: Arc<Tenant>,
    owner: claw_entities::Scope,
    token: String,
}

async fn world() -> World {
    let runtime = start(
        ScriptedModel::new(|_| Step::Hang),
        crate::services::Limits::default(),
        1,
    )
    .await;
    let owner = runtime.owner("acme").await;
    let state = GatewayState::new(
        runtime.services.clone(),
        runtime.directory.clone(),
        GatewaySettings::default(),
    );
    let config = &runtime.services.config;
    let tenant = config.tenant_by_slug("acme").await.expect("reads").expect("there");
    let (_, token) = config.create_api_token(&owner, "t", None).await.expect("makes one");
    World {
        runtime,
        state,
        tenant,
        owner,
        token: token.expose().to_owned(),
    }
}

fn connect(token: &str, scopes: &[&str]) -> Value {
    json!({"type": "req", "id": "1", "method": "connect", "params": {
        "minProtocol": 4, "maxProtocol": 4, "scopes": scopes, "auth": {"token": token},
        "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"},
    }})
}

async fn live(world: &World, scopes: &[&str]) -> Client {
    let mut client = Client::open(&world.state, &world.tenant).await;
    assert_eq!(client.next().await["event"], "connect.challenge");
    client.say(&connect(&world.token, scopes)).await;
    let hello = client.answer("1").await;
    assert_eq!(hello["payload"]["type"], "hello-ok", "{hello}");
    client
}

#[actix::test]
async fn the_first_frame_must_be_connect() {
    let world = world().await;
    let mut client = Client::open(&world.state, &world.tenant).await;
    assert!(client.next().await["payload"]["nonce"].is_string());
    client.say(&json!({"type": "req", "id": "9", "method": "health"})).await;
    let refusal = client.next().await;
    assert_eq!(
        refusal["error"]["message"],
        "invalid handshake: first request must be connect"
    );
    assert_eq!(client.next().await["close"], 1008);
}

#[actix::test]
async fn a_refused_connect_is_told_why_and_closed() {
    let world = world().await;
    let mut client = Client::open(&world.state, &world.tenant).await;
    client.next().await;
    client.say(&connect("wrong", &[])).await;
    assert_eq!(client.next().await["error"]["details"]["code"], "AUTH_TOKEN_MISMATCH");
    let close = client.next().await;
    assert_eq!(close["close"], 1008);
    assert!(
        close["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("unauthorized"))
    );
}

#[actix::test]
async fn calls_are_answered_and_nonsense_is_survived() {
    let world = world().await;
    let mut client = live(&world, &["operator.admin"]).await;
    assert_eq!(
        client.call("2", "health", json!({})).await["payload"]["ok"],
        json!(true)
    );
    let second = client.call("3", "connect", json!({})).await;
    assert_eq!(second["error"]["message"], "connect is only valid as the first request");
    assert_eq!(
        client.call("4", "no.such", json!({})).await["error"]["message"],
        "unknown method: no.such"
    );
    client
        .connection
        .send(FromSocket::Text("{nonsense".to_owned()))
        .await
        .expect("is there");
    client.say(&json!({"type": "req", "id": "5"})).await;
    let malformed = client.answer("5").await;
    assert_eq!(
        malformed["error"]["message"],
        "invalid request frame: must have required property 'method'"
    );
    assert_eq!(client.call("6", "status", Value::Null).await["ok"], json!(true));
    let history = client.call("7", "chat.history", json!({})).await;
    assert_eq!(
        history["error"]["message"],
        "invalid chat.history params: must have required property 'sessionKey'"
    );
}

#[actix::test]
async fn more_than_ten_calls_of_the_other_role_in_a_row_end_it() {
    let world = world().await;
    let mut client = live(&world, &["operator.admin"]).await;
    for round in 0..10 {
        let refusal = client
            .call(&format!("a{round}"), "node.event", json!({"event": "x"}))
            .await;
        assert_eq!(refusal["error"]["message"], "unauthorized role: operator");
    }
    client.call("good", "health", json!({})).await;
    for round in 0..11 {
        client
            .call(&format!("b{round}"), "node.event", json!({"event": "x"}))
            .await;
    }
    let close = loop {
        let next = client.next().await;
        if next.get("close").is_some() {
            break next;
        }
    };
    assert_eq!(close, json!({"close": 1008, "reason": "repeated unauthorized calls"}));
}

#[actix::test]
async fn events_are_numbered_without_holes_and_follow_subscriptions() {
    let world = world().await;
    let mut client = live(&world, &["operator.read"]).await;
    let publish = |name: &'static str, key: &str| {
        world.runtime.directory.publish(
            &world.owner,
            Event::new(name, &json!({"sessionKey": key})).for_session(key),
        );
    };
    publish("session.message", "agent:main:a");
    publish("chat", "agent:main:a");
    let chat = client.next().await;
    assert_eq!((&chat["event"], &chat["seq"]), (&json!("chat"), &json!(1)));
    let subscribed = client
        .call("2", "sessions.messages.subscribe", json!({"key": "agent:main:a"}))
        .await;
    assert_eq!(subscribed["payload"]["subscribed"], json!(true));
    publish("session.message", "agent:main:b");
    publish("session.message", "agent:main:a");
    publish("device.pair.changed", "agent:main:a");
    publish("chat", "agent:main:b");
    let message = client.next().await;
    assert_eq!(message["payload"]["sessionKey"], "agent:main:a");
    assert_eq!(
        (&message["event"], &message["seq"]),
        (&json!("session.message"), &json!(2))
    );
    let chat = client.next().await;
    assert_eq!((&chat["event"], &chat["seq"]), (&json!("chat"), &json!(3)));
}

#[actix::test]
async fn who_answers_no_ping_is_told_and_closed() {
    let world = world().await;
    let mut client = live(&world, &["operator.read"]).await;
    client.connection.send(Beats(50)).await.expect("is there");
    let close = loop {
        let next = client.next().await;
        if next.get("close").is_some() {
            break next;
        }
    };
    assert_eq!(close, json!({"close": 1008, "reason": "ping unanswered"}));
}

#[actix::test]
async fn a_revoked_token_closes_the_socket() {
    let world = world().await;
    let config = &world.runtime.services.config;
    let mut client = live(&world, &["operator.read"]).await;
    let tokens = config.list_api_tokens(&world.owner).await.expect("lists");
    config
        .revoke_api_token(&world.owner, &tokens[0].id)
        .await
        .expect("revokes");
    let close = loop {
        let next = client.next().await;
        if next.get("close").is_some() {
            break next;
        }
    };
    assert_eq!(close, json!({"close": 4001, "reason": "gateway auth changed"}));
}
