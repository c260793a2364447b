//! Admission on a real runtime: who gets in, with which scopes, and what the others are told.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::crypto::token;
use crate::gateway::GatewaySettings;
use crate::testing::{Runtime, ScriptedModel, Step, start};

const NONCE: &str = "6f1c2f64-8f5b-4d0e-9a43-0d8a2f0c7b11";
const OWN: &str = "https://acme.test";

struct World {
    runtime: Runtime,
    state: GatewayState,
    tenant: Arc<Tenant>,
    owner: Scope,
    token: Secret,
}

async fn world() -> World {
    let runtime = start(
        ScriptedModel::new(|_| Step::Hang),
        crate::services::Limits::default(),
        1,
    )
    .await;
    let owner = runtime.owner("acme").await;
    let settings = GatewaySettings {
        allowed_origins: vec!["https://listed.test".to_owned()],
        url: "wss://{tenant}.test/gateway/ws".to_owned(),
        ..GatewaySettings::default()
    };
    let state = GatewayState::new(runtime.services.clone(), runtime.directory.clone(), settings);
    let config = &runtime.services.config;
    let tenant = config.tenant_by_slug("acme").await.expect("reads").expect("there");
    let (_, token) = config.create_api_token(&owner, "t", None).await.expect("makes one");
    World {
        runtime,
        state,
        tenant,
        owner,
        token,
    }
}

fn local() -> ClientFacts {
    ClientFacts {
        peer_loopback: true,
        host_loopback: true,
        forwarded: false,
        origin: None,
        own_origin: OWN.to_owned(),
        address: "127.0.0.1".parse().expect("an address"),
    }
}

fn remote() -> ClientFacts {
    ClientFacts {
        peer_loopback: false,
        host_loopback: false,
        address: "203.0.113.9".parse().expect("an address"),
        ..local()
    }
}

fn page(origin: &str) -> ClientFacts {
    ClientFacts {
        origin: Some(origin.to_owned()),
        ..remote()
    }
}

/// A connect as JSON, with the token in `auth`.
fn connect(world: &World, id: &str, role: &str, scopes: &[&str]) -> Value {
    json!({
        "minProtocol": 4, "maxProtocol": 4, "role": role, "scopes": scopes,
        "client": {"id": id, "version": "1", "platform": "linux", "mode": "cli"},
        "auth": {"token": world.token.expose()},
    })
}

/// Signs a connect with the device of this seed.
fn sign(mut params: Value, seed: u8) -> Value {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
    let id = token::hash_bytes(pair.public_key().as_ref());
    let scopes: Vec<&str> = params["scopes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let auth = &params["auth"];
    let signed = auth["token"]
        .as_str()
        .or(auth["deviceToken"].as_str())
        .unwrap_or_default();
    let text = |path: &str| {
        params
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let at = now_ms();
    let payload = format!(
        "v2|{id}|{}|{}|{}|{}|{at}|{signed}|{NONCE}",
        text("/client/id"),
        text("/client/mode"),
        text("/role"),
        scopes.join(",")
    );
    params["device"] = json!({
        "id": id, "publicKey": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
        "signature": URL_SAFE_NO_PAD.encode(pair.sign(payload.as_bytes()).as_ref()), "signedAt": at, "nonce": NONCE,
    });
    params
}

async fn try_connect(world: &World, client: &ClientFacts, params: &Value) -> Result<Admitted, Refusal> {
    try_as(world, client, None, params).await
}

async fn try_as(
    world: &World,
    client: &ClientFacts,
    web_identity: Option<&Arc<Identity>>,
    params: &Value,
) -> Result<Admitted, Refusal> {
    let params = ConnectParams::parse(&params.to_string()).expect("parses");
    let entrance = Entrance {
        state: &world.state,
        tenant: &world.tenant,
        client,
        web_identity,
        conn_id: &"c1".into(),
        nonce: NONCE,
    };
    admit(&entrance, &params).await
}

async fn refused(world: &World, client: &ClientFacts, params: &Value) -> (String, String) {
    let refusal = try_connect(world, client, params).await.expect_err("is refused");
    let details = refusal.error.details.unwrap_or_default();
    (
        details["code"].as_str().unwrap_or_default().to_owned(),
        refusal.error.message,
    )
}

#[actix::test]
async fn a_program_without_device_has_scopes_only_on_this_machine() {
    let world = world().await;
    let forwarded = ClientFacts {
        forwarded: true,
        ..local()
    };
    let other_host = ClientFacts {
        host_loopback: false,
        ..local()
    };
    for (client, id, expected) in [
        (local(), "cli", vec![scopes::READ]),
        (local(), "gateway-client", vec![scopes::READ]),
        (local(), "openclaw-tui", vec![]),
        (forwarded, "cli", vec![]),
        (other_host, "cli", vec![]),
        (remote(), "cli", vec![]),
    ] {
        let admitted = try_connect(&world, &client, &connect(&world, id, "operator", &[scopes::READ])).await;
        let admitted = admitted.expect("the token is good");
        assert_eq!(*admitted.info.scopes, expected, "{id} {client:?}");
        assert_eq!(admitted.method, "token");
    }
}

#[actix::test]
async fn scopes_are_asked_and_of_the_token() {
    let world = world().await;
    let scope = vec![scopes::READ.to_owned(), scopes::PAIRING.to_owned()];
    let config = &world.runtime.services.config;
    let (_, narrow) = config
        .create_api_token(&world.owner, "n", Some(scope))
        .await
        .expect("makes one");
    let mut params = connect(&world, "cli", "operator", &[scopes::ADMIN, scopes::WRITE, scopes::READ]);
    params["auth"] = json!({"password": narrow.expose()});
    let admitted = try_connect(&world, &local(), &params).await.expect("is good");
    assert_eq!(*admitted.info.scopes, [scopes::READ]);
    assert_eq!(admitted.method, "password");
    // Opening a node takes a token with admin.
    let mut node = connect(&world, "node-host", "node", &[]);
    node["auth"] = json!({"token": narrow.expose()});
    assert_eq!(refused(&world, &local(), &sign(node, 1)).await.0, "AUTH_SCOPE_MISMATCH");
}

#[actix::test]
async fn refusals_carry_the_codes_clients_know() {
    let world = world().await;
    let good = connect(&world, "cli", "operator", &[scopes::READ]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut params = good.clone();
        change(&mut params);
        params
    };
    let bad_token = with(&|params| params["auth"]["token"] = json!("wrong"));
    let bad_password = with(&|params| params["auth"] = json!({"password": "wrong"}));
    let no_auth = with(&|params| params["auth"] = json!({}));
    for (params, code) in [
        (no_auth.clone(), "DEVICE_IDENTITY_REQUIRED"),
        (sign(no_auth, 1), "AUTH_TOKEN_MISSING"),
        (bad_token.clone(), "AUTH_TOKEN_MISMATCH"),
        (sign(bad_token, 1), "AUTH_TOKEN_MISMATCH"),
        (bad_password.clone(), "AUTH_PASSWORD_MISMATCH"),
        (sign(bad_password, 1), "AUTH_PASSWORD_MISMATCH"),
        (
            with(&|params| params["auth"] = json!({"token": "wrong", "password": "wrong"})),
            "AUTH_TOKEN_MISMATCH",
        ),
        (
            sign(with(&|params| params["auth"] = json!({"deviceToken": "x"})), 1),
            "AUTH_DEVICE_TOKEN_MISMATCH",
        ),
        (
            sign(with(&|params| params["auth"] = json!({"bootstrapToken": "x"})), 1),
            "DEVICE_AUTH_SIGNATURE_INVALID",
        ),
        (
            with(&|params| params["auth"] = json!({"bootstrapToken": "x"})),
            "AUTH_BOOTSTRAP_TOKEN_INVALID",
        ),
        (with(&|params| params["maxProtocol"] = json!(3)), "PROTOCOL_MISMATCH"),
        (with(&|params| params["minProtocol"] = json!(5)), "PROTOCOL_MISMATCH"),
        (connect(&world, "node-host", "node", &[]), "DEVICE_IDENTITY_REQUIRED"),
    ] {
        assert_eq!(refused(&world, &local(), &params).await.0, code, "{params}");
    }
    let role = with(&|params| params["role"] = json!("king"));
    assert_eq!(refused(&world, &local(), &role).await.1, "invalid role");
}

#[actix::test]
async fn a_node_waits_for_approval_and_comes_back_with_its_own_token() {
    let world = world().await;
    let mut params = connect(&world, "node-host", "node", &[]);
    params["minProtocol"] = json!(3);
    params["maxProtocol"] = json!(3);
    let refusal = try_connect(&world, &local(), &sign(params.clone(), 1))
        .await
        .expect_err("loopback is no approval");
    let details = refusal.error.details.clone().expect("details");
    assert_eq!(
        (refusal.error.code, refusal.error.retry_after_ms),
        ("NOT_PAIRED", Some(2000))
    );
    assert_eq!(details["code"], "PAIRING_REQUIRED");
    assert_eq!(details["recommendedNextStep"], "wait_then_retry");
    assert_eq!(details["pauseReconnect"], json!(false));
    let request_id = details["requestId"].as_str().expect("an id");
    assert!(refusal.close_reason.ends_with(&format!("(requestId: {request_id})")));

    let config = &world.runtime.services.config;
    config
        .approve_device(&world.owner, request_id, &[scopes::ADMIN.to_owned()])
        .await
        .expect("approves");
    let admitted = try_connect(&world, &local(), &sign(params.clone(), 1))
        .await
        .expect("is paired");
    assert!(admitted.info.node && admitted.info.scopes.is_empty());
    let own = admitted.device.expect("has a token").token;

    params["auth"] = json!({"deviceToken": own.expose()});
    let again = try_connect(&world, &remote(), &sign(params.clone(), 1))
        .await
        .expect("its own token is enough");
    assert_eq!(again.method, "device-token");
    assert_eq!(again.scope(), &world.owner);
    // Another device cannot use it, and it opens no operator connection.
    assert_eq!(
        refused(&world, &local(), &sign(params.clone(), 2)).await.0,
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
    params["role"] = json!("operator");
    params["minProtocol"] = json!(4);
    params["maxProtocol"] = json!(4);
    assert_eq!(
        refused(&world, &local(), &sign(params, 1)).await.0,
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
}

#[actix::test]
async fn pages_need_the_cookie_or_a_listed_origin_with_device() {
    let world = world().await;
    let config = &world.runtime.services.config;
    let cookie = config.create_web_session(&world.owner).await.expect("signs in");
    let identity = config
        .authenticate_web_session(&world.tenant.id, &cookie)
        .await
        .expect("reads")
        .expect("known");
    let bare = json!({
        "minProtocol": 4, "maxProtocol": 4, "scopes": [scopes::READ],
        "client": {"id": "openclaw-control-ui", "version": "1", "platform": "web", "mode": "webchat"},
    });
    let admitted = try_as(&world, &page(OWN), Some(&identity), &bare)
        .await
        .expect("the person is signed in");
    assert_eq!(*admitted.info.scopes, [scopes::READ]);
    assert_eq!(admitted.scope(), &world.owner);
    // No cookie, or a cookie on a foreign page: no.
    assert_eq!(
        refused(&world, &page(OWN), &bare).await.0,
        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"
    );
    let foreign = try_as(&world, &page("https://evil.test"), Some(&identity), &bare)
        .await
        .expect_err("is foreign");
    assert_eq!(
        foreign.error.details.expect("details")["code"],
        "CONTROL_UI_ORIGIN_NOT_ALLOWED"
    );
    let listed = try_as(&world, &page("https://listed.test"), Some(&identity), &bare)
        .await
        .expect_err("has no device");
    assert_eq!(
        listed.error.details.expect("details")["code"],
        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"
    );
    let with_token = connect(&world, "openclaw-control-ui", "operator", &[scopes::READ]);
    assert_eq!(
        refused(&world, &page("https://listed.test"), &with_token).await.0,
        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"
    );
    assert_eq!(
        refused(&world, &page("https://listed.test"), &sign(with_token, 1))
            .await
            .0,
        "PAIRING_REQUIRED"
    );
}

#[actix::test]
async fn ten_wrong_proofs_lock_an_address_out_but_missing_ones_do_not() {
    let world = world().await;
    let good = connect(&world, "cli", "operator", &[scopes::READ]);
    let mut missing = good.clone();
    missing["auth"] = json!({});
    for _ in 0..12 {
        refused(&world, &remote(), &missing).await;
    }
    let mut wrong = good.clone();
    wrong["auth"] = json!({"token": "wrong"});
    for _ in 0..10 {
        assert_eq!(refused(&world, &remote(), &wrong).await.0, "AUTH_TOKEN_MISMATCH");
    }
    let refusal = try_connect(&world, &remote(), &good).await.expect_err("is locked out");
    let wait = refusal.error.retry_after_ms.expect("says when");
    assert!((200_000..=300_000).contains(&wait), "{wait}");
    assert_eq!((refusal.error.code, refusal.close_code), ("INVALID_REQUEST", 1008));
    assert_eq!(refusal.error.retryable, Some(true));
    let details = refusal.error.details.expect("details");
    assert_eq!(details["code"], "AUTH_RATE_LIMITED");
    assert_eq!(
        (&details["recommendedNextStep"], &details["retryAfterMs"]),
        (&json!("wait_then_retry"), &json!(wait))
    );
    assert!(try_connect(&world, &local(), &good).await.is_ok());
}
