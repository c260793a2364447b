//! The connection actor on a real runtime, with a socket that only records.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::validity::Look;
use super::*;
use crate::config::devices::{DeviceClaim, Pairing};
use crate::crypto::token;
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

/// Is no look at the credential under way.
#[derive(Message)]
#[rtype(result = "bool")]
struct Looked;

impl Handler<Looked> for NodeConnection {
    type Result = bool;
    fn handle(&mut self, _: Looked, _: &mut Self::Context) -> bool {
        self.live().is_none_or(|live| live.look == Look::Idle)
    }
}

/// Joined as a connect that took very long.
#[derive(Message)]
#[rtype(result = "()")]
struct Enter(Welcome);

impl Handler<Enter> for NodeConnection {
    type Result = ();
    fn handle(&mut self, enter: Enter, ctx: &mut Self::Context) {
        self.phase = Phase::Checking(Box::default());
        self.enter(enter.0, ctx);
    }
}

struct Client {
    connection: actix::Addr<NodeConnection>,
    from_server: mpsc::UnboundedReceiver<Outgoing>,
}

impl Client {
    fn facts() -> ClientFacts {
        ClientFacts {
            peer_loopback: true,
            host_loopback: true,
            forwarded: false,
            origin: None,
            own_origin: String::new(),
            address: "127.0.0.1".parse().expect("an address"),
        }
    }

    async fn open(state: &GatewayState, tenant: &Arc<Tenant>) -> Self {
        let (tx, from_server) = mpsc::unbounded_channel();
        let address = Self::facts().address;
        let newcomer = Newcomer {
            tenant: Arc::clone(tenant),
            client: Self::facts(),
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

    /// How the server closes, whatever it says before.
    async fn closed(&mut self) -> Value {
        loop {
            let next = self.next().await;
            if next.get("close").is_some() {
                return next;
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
async fn hello_shows_who_is_there_and_how_things_stand_to_who_may_read() {
    let world = world().await;
    for (scopes, shown) in [
        (["operator.pairing"].as_slice(), false),
        (&[], false),
        (&["operator.read"], true),
        (&["operator.write"], true),
    ] {
        let mut client = Client::open(&world.state, &world.tenant).await;
        assert_eq!(client.next().await["event"], "connect.challenge");
        client.say(&connect(&world.token, scopes)).await;
        let hello = client.answer("1").await;
        let snapshot = &hello["payload"]["snapshot"];
        let presence = snapshot["presence"].as_array().expect("a list");
        let health = snapshot["health"].as_object().expect("an object");
        let found = (!presence.is_empty(), !health.is_empty());
        assert_eq!(found, (shown, shown), "{scopes:?}: {snapshot}");
    }
}

/// The connect of the owner's device of this seed, with the API token.
fn signed(world: &World, seed: u8, role: &str, scopes: &[&str], nonce: &str) -> Value {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
    let id = token::hash_bytes(pair.public_key().as_ref());
    let (client, mode) = if role == "node" {
        ("node-host", "node")
    } else {
        ("cli", "cli")
    };
    let (at, asked) = (crate::clock::now_ms(), scopes.join(","));
    let text = format!(
        "v3|{id}|{client}|{mode}|{role}|{asked}|{at}|{}|{nonce}|linux|",
        world.token
    );
    json!({"type": "req", "id": "1", "method": "connect", "params": {
        "minProtocol": 4, "maxProtocol": 4, "role": role, "scopes": scopes, "auth": {"token": world.token},
        "client": {"id": client, "version": "1", "platform": "linux", "mode": mode},
        "device": {
            "id": id, "publicKey": URL_SAFE_NO_PAD.encode(pair.public_key()),
            "signature": URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes())), "signedAt": at, "nonce": nonce,
        },
    }})
}

/// A device of the owner's, approved if need be, and connected.
async fn device(world: &World, seed: u8, role: &str, scopes: &[&str]) -> Client {
    let connect = signed(world, seed, role, scopes, "");
    let (params, text) = (&connect["params"], |value: &Value| {
        value.as_str().unwrap_or_default().to_owned()
    });
    let claim = DeviceClaim {
        device_id: text(&params["device"]["id"]),
        public_key: text(&params["device"]["publicKey"]),
        display_name: None,
        platform: "linux".to_owned(),
        device_family: String::new(),
        client_id: text(&params["client"]["id"]),
        client_mode: text(&params["client"]["mode"]),
        role: role.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    let config = &world.runtime.services.config;
    if let Pairing::Required(request) = config.check_pairing(&world.owner, &claim).await.expect("checks") {
        config
            .approve_device(&world.owner, &request.request_id, &["operator.admin".to_owned()])
            .await
            .expect("approves");
    }
    let mut client = Client::open(&world.state, &world.tenant).await;
    let challenge = client.next().await;
    let nonce = challenge["payload"]["nonce"].as_str().expect("a nonce");
    client.say(&signed(world, seed, role, scopes, nonce)).await;
    let hello = client.answer("1").await;
    assert_eq!(hello["payload"]["auth"]["role"], role, "{hello}");
    client
}

#[actix::test]
async fn who_rotates_its_own_token_stands_on_the_new_one() {
    let world = world().await;
    let scopes = ["operator.read", "operator.pairing"];
    let mut own = device(&world, 3, "operator", &scopes).await;
    let mut other = device(&world, 3, "operator", &scopes).await;
    let id = signed(&world, 3, "operator", &[], "")["params"]["device"]["id"].clone();
    let params = json!({"deviceId": id, "role": "operator"});
    let rotated = own.call("2", "device.token.rotate", params).await;
    assert_eq!(rotated["payload"]["tokenDelivery"], "in-band", "{rotated}");
    assert_eq!(other.closed().await["close"], 4001);
    own.connection.send(Beats(1)).await.expect("is there");
    while !own.connection.send(Looked).await.expect("is there") {
        tokio::task::yield_now().await;
    }
    assert_eq!(own.call("3", "health", json!({})).await["ok"], json!(true));
    // Rotated by somebody else, it is over.
    let config = &world.runtime.services.config;
    let id = id.as_str().expect("an id");
    config
        .rotate_device_token(&world.owner, id, "operator", None)
        .await
        .expect("rotates");
    assert_eq!(
        own.closed().await,
        json!({"close": 4001, "reason": "gateway auth changed"})
    );
}

#[actix::test]
async fn who_proved_itself_before_a_rotation_and_joined_after_its_close_is_ended() {
    let world = world().await;
    drop(device(&world, 4, "operator", &["operator.read"]).await);
    let nonce = "6f1c2f64-8f5b-4d0e-9a43-0d8a2f0c7b11";
    for revoked in [false, true] {
        let connect = signed(&world, 4, "operator", &["operator.read"], nonce);
        let params = ConnectParams::parse(&connect["params"].to_string()).expect("parses");
        let mut slow = Client::open(&world.state, &world.tenant).await;
        let entrance = Entrance {
            state: &world.state,
            tenant: &world.tenant,
            client: &Client::facts(),
            web_identity: None,
            conn_id: &format!("slow {revoked}").into(),
            nonce,
        };
        let admitted = handshake::admit(&entrance, &params).await.expect("the device is good");
        let config = &world.runtime.services.config;
        let id = admitted.info.device_id.clone().expect("a device");
        // The sockets of the device are closed now; this one is none of them yet.
        if revoked {
            config
                .revoke_device_token(&world.owner, &id, "operator")
                .await
                .expect("revokes");
        } else {
            config
                .rotate_device_token(&world.owner, &id, "operator", None)
                .await
                .expect("rotates");
        }
        let to = slow.connection.clone().recipient();
        let welcome = hello::welcome(&world.state, "1", admitted, &params, to)
            .await
            .expect("joins");
        slow.connection.send(Enter(welcome)).await.expect("is there");
        slow.connection.send(Beats(1)).await.expect("is there");
        assert_eq!(
            slow.closed().await,
            json!({"close": 4001, "reason": "gateway auth changed"})
        );
    }
}

#[actix::test]
async fn what_is_left_out_for_a_slow_reader_leaves_a_gap_in_the_numbers() {
    let world = world().await;
    let mut client = live(&world, &["operator.read"]).await;
    let event = |name, filler: usize| {
        let event = Event::new(name, &json!({"ts": 1, "filler": "x".repeat(filler)}));
        ToConnection::Event(Arc::new(event))
    };
    client.connection.send(event("chat", 1)).await.expect("is there");
    assert_eq!(client.next().await["seq"], 1);
    // More than a peer that reads nothing may have waiting: what may be left out is, and the socket stays.
    client
        .connection
        .send(event("tick", MAX_BUFFERED + 1))
        .await
        .expect("is there");
    client.connection.send(event("chat", 1)).await.expect("is there");
    let next = client.next().await;
    assert_eq!((&next["event"], &next["seq"]), (&json!("chat"), &json!(3)));
    client
        .connection
        .send(event("chat", MAX_BUFFERED + 1))
        .await
        .expect("is there");
    assert_eq!(client.closed().await, json!({"close": 1008, "reason": "slow consumer"}));
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
    let close = client.closed().await;
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
async fn who_wants_the_events_of_its_sessions_alone_hears_no_others() {
    let world = world().await;
    let mut client = Client::open(&world.state, &world.tenant).await;
    assert_eq!(client.next().await["event"], "connect.challenge");
    let mut hello = connect(&world.token, &["operator.read"]);
    hello["params"]["caps"] = json!(["session-scoped-events"]);
    client.say(&hello).await;
    assert_eq!(client.answer("1").await["ok"], json!(true));
    let (own, other) = ("agent:main:a", "agent:main:b");
    client.call("2", "sessions.subscribe", json!({})).await;
    client
        .call("3", "sessions.messages.subscribe", json!({"key": own}))
        .await;
    let publish = |name: &'static str, key: Option<&str>| {
        let mut event = Event::new(name, &json!({"sessionKey": key}));
        event.session_key = key.map(str::to_owned);
        world.runtime.directory.publish(&world.owner, event);
    };
    for name in ["chat", "agent", "session.message"] {
        publish(name, Some(other));
        publish(name, Some(own));
    }
    // What is about no session, and the list of all of them, it hears as anybody does.
    publish("sessions.changed", Some(other));
    publish("config.changed", None);
    for (seq, (name, key)) in [
        ("chat", json!(own)),
        ("agent", json!(own)),
        ("session.message", json!(own)),
        ("sessions.changed", json!(other)),
        ("config.changed", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let event = client.next().await;
        assert_eq!(
            (&event["event"], &event["payload"]["sessionKey"]),
            (&json!(name), &key),
            "{event}"
        );
        assert_eq!(event["seq"], json!(seq + 1), "what it does not want leaves no gap");
    }
    client
        .call("4", "sessions.messages.unsubscribe", json!({"key": own}))
        .await;
    publish("chat", Some(own));
    publish("config.changed", None);
    assert_eq!(client.next().await["event"], "config.changed");
}

#[actix::test]
async fn everybody_hears_a_tick_every_thirty_seconds() {
    let world = world().await;
    // Without any scope, and as a node.
    let mut clients = [live(&world, &[]).await, device(&world, 9, "node", &[]).await];
    for client in &mut clients {
        let mut ticks = Vec::new();
        // Four times what lies between two pings; each is answered.
        for _ in 0..4 {
            client.connection.send(Beats(25)).await.expect("is there");
            client.connection.send(FromSocket::Alive).await.expect("is there");
        }
        while ticks.len() < 3 {
            let frame = client.next().await;
            assert!(frame.get("close").is_none(), "{frame}");
            if frame["event"] == "tick" {
                assert!(frame["payload"]["ts"].is_i64(), "{frame}");
                ticks.push(frame["seq"].as_u64().expect("is numbered"));
            }
        }
        assert!(ticks.is_sorted_by(|before, after| before < after), "{ticks:?}");
    }
}

#[actix::test]
async fn who_answers_no_ping_is_told_and_closed() {
    let world = world().await;
    let mut client = live(&world, &["operator.read"]).await;
    client.connection.send(Beats(50)).await.expect("is there");
    let close = client.closed().await;
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
    let close = client.closed().await;
    assert_eq!(close, json!({"close": 4001, "reason": "gateway auth changed"}));
}
