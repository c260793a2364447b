//! Every method with parameters of every kind, and calls that hold too much.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::gateway::rpc::Access;
use crate::gateway::scopes::ADMIN;
use crate::gateway::tests::{examples, json, nasty};

/// Parameter names that methods know.
const NAMES: [&str; 44] = [
    "sessionKey",
    "key",
    "keys",
    "message",
    "idempotencyKey",
    "runId",
    "nodeId",
    "command",
    "params",
    "paramsJSON",
    "timeoutMs",
    "deviceId",
    "requestId",
    "scopes",
    "role",
    "id",
    "ids",
    "decision",
    "limit",
    "cursor",
    "offset",
    "raw",
    "baseHash",
    "file",
    "triggers",
    "config",
    "label",
    "agentId",
    "publicUrl",
    "setupId",
    "displayName",
    "event",
    "payload",
    "payloadJSON",
    "ok",
    "error",
    "invokeId",
    "seq",
    "chunk",
    "search",
    "attachments",
    "type",
    "expiresInMs",
    "systemRunPlan",
];

/// Raw parameters: an object with some of the names, or something that is none.
fn parameters() -> impl Strategy<Value = String> {
    let plausible = prop_oneof![
        Just("\"main\"".to_owned()),
        Just("\"agent:main:main\"".to_owned()),
        Just("[\"main\"]".to_owned()),
        Just("0".to_owned()),
        Just("50".to_owned()),
        Just("-1".to_owned()),
        Just("true".to_owned()),
        Just("{}".to_owned()),
        Just("\"system.run\"".to_owned()),
        Just("\"allow-once\"".to_owned()),
        Just("\"operator\"".to_owned()),
    ];
    let value = prop_oneof![3 => plausible, 2 => json().prop_map(|value| value.to_string()), 1 => nasty()];
    let object = vec((select(NAMES.to_vec()), value), 0..10).prop_map(|fields| {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", fields.join(","))
    });
    prop_oneof![6 => object, 1 => nasty()]
}

/// Calls every method that the role may call, `rounds` times, with generated parameters; each is answered as it should be.
async fn call_all(world: &World, client: &mut Client, is_node: bool, rounds: usize) {
    let mut runner = TestRunner::new(examples(1));
    for (name, access) in world.state.methods.surface() {
        let theirs = match access {
            Access::Node => is_node,
            Access::Scope(_) => !is_node,
            Access::ScopeOrNode(_) => true,
        };
        let info = if is_node {
            crate::gateway::testing::node("n")
        } else {
            crate::gateway::testing::operator(&[ADMIN])
        };
        let waits = || {
            world
                .state
                .methods
                .find(name, &info)
                .is_ok_and(|(_, method)| method.waits)
        };
        if !theirs || waits() {
            continue;
        }
        for round in 0..rounds {
            let params = parameters().new_tree(&mut runner).expect("a value").current();
            let id = format!("{name} {round}");
            let frame = format!("{{\"type\":\"req\",\"id\":\"{id}\",\"method\":\"{name}\",\"params\":{params}}}");
            let valid = serde_json::from_str::<Box<RawValue>>(&frame).is_ok();
            client.connection.send(FromSocket::Text(frame)).await.expect("is there");
            if !valid {
                // Not JSON: ignored, and the next call shows that nothing else happened.
                continue;
            }
            let answer = client.answer(&id).await;
            if answer["ok"] == true {
                continue;
            }
            let error = &answer["error"];
            let code = error["code"].as_str().unwrap_or_default();
            let known = [
                "INVALID_REQUEST",
                "NOT_PAIRED",
                "FORBIDDEN",
                "UNAVAILABLE",
                "APPROVAL_NOT_FOUND",
            ];
            assert!(known.contains(&code), "{id}: {answer}");
            let message = error["message"].as_str().unwrap_or_default();
            let brief: String = params.chars().take(600).collect();
            assert!(!message.contains("internal error"), "{id} {brief}: {answer}");
            assert!(message.len() < 1000, "{id}: {} bytes of message", message.len());
        }
    }
}

#[actix::test]
async fn every_method_answers_whatever_its_parameters_are() {
    let world = world().await;
    let mut operator = live(&world, &[ADMIN]).await;
    call_all(&world, &mut operator, false, 24).await;
    assert_eq!(operator.call("end", "health", json!({})).await["ok"], json!(true));
    let mut node = device(&world, 7, "node", &[]).await;
    call_all(&world, &mut node, true, 24).await;
    assert_eq!(node.call("end", "health", json!({})).await["ok"], json!(true));
}

#[actix::test]
async fn calls_of_one_connection_hold_a_bounded_number_of_bytes() {
    let world = world().await;
    let mut client = live(&world, &[ADMIN]).await;
    let large = "x".repeat(MAX_PAYLOAD - 1000);
    // Held for as long as the run takes, and it never ends.
    for number in 0..4 {
        let params = json!({"message": large, "sessionKey": "main", "idempotencyKey": format!("k{number}")});
        client
            .say(
                &json!({"type": "req", "id": format!("a{number}"), "method": "agent.wait", "params":
            {"runId": "none", "timeoutMs": 3_600_000, "ignored": params}}),
            )
            .await;
    }
    let mut refused = Vec::new();
    while refused.len() < 2 {
        let answer = client.next().await;
        if answer["error"]["message"] == "too many calls in flight" {
            assert_eq!(
                (&answer["error"]["code"], &answer["error"]["retryable"]),
                (&json!("UNAVAILABLE"), &json!(true))
            );
            refused.push(answer["id"].clone());
        }
    }
    assert_eq!(refused, [json!("a2"), json!("a3")]);
    // An id is kept as long as its call; long ones are not taken.
    let id = "i".repeat(MAX_PAYLOAD - 1000);
    client
        .say(&json!({"type": "req", "id": id, "method": "agent.wait", "params": {"runId": "none"}}))
        .await;
    let refused = client.answer(&id[..256]).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["message"]),
        (
            &json!("INVALID_REQUEST"),
            &json!("invalid request frame: at /id: must NOT have more than 256 bytes")
        )
    );
    // Another socket of the user has room for as much once more, a third one for no more than small calls.
    let mut second = live(&world, &[ADMIN]).await;
    let mut third = live(&world, &[ADMIN]).await;
    for (other, number) in [(&mut second, 2), (&mut third, 1)] {
        for id in 0..number {
            let ignored = json!({"runId": "none", "timeoutMs": 3_600_000, "ignored": large});
            other
                .say(&json!({"type": "req", "id": format!("b{id}"), "method": "agent.wait", "params": ignored}))
                .await;
        }
    }
    let refused = third.answer("b0").await;
    assert_eq!(refused["error"]["message"], "too many calls in flight");
    assert_eq!(second.call("small", "health", json!({})).await["ok"], json!(true));
    // Small calls still have room.
    assert_eq!(client.call("small", "health", json!({})).await["ok"], json!(true));
}

#[actix::test]
async fn a_message_that_was_accepted_holds_no_bytes_while_its_run_goes_on() {
    let world = world().await;
    let mut client = live(&world, &[ADMIN]).await;
    // More than a user's calls may hold together. No run ends: the model hangs.
    let filler = "x".repeat(MAX_PAYLOAD - 1000);
    for number in 0..5 {
        let id = format!("a{number}");
        let params = json!({
            "message": "hello", "sessionKey": format!("agent:main:long-{number}"), "idempotencyKey": id, "ignored": filler,
        });
        let accepted = client.call(&id, "agent", params).await;
        assert_eq!(accepted["payload"]["status"], "accepted", "{number}");
    }
    let params = json!({"runId": "none", "timeoutMs": 1, "ignored": filler});
    assert_eq!(
        client.call("w", "agent.wait", params).await["payload"]["status"],
        "timeout"
    );
}

#[actix::test]
async fn calls_that_wait_hold_up_no_others() {
    let world = world().await;
    let mut client = live(&world, &[ADMIN]).await;
    for number in 0..257 {
        let params = json!({"runId": "none", "timeoutMs": 3_600_000});
        client
            .say(&json!({"type": "req", "id": format!("w{number}"), "method": "agent.wait", "params": params}))
            .await;
    }
    let refused = client.answer("w256").await;
    assert_eq!(
        refused["error"]["message"], "too many calls in flight",
        "they have a limit, too"
    );
    assert_eq!(client.call("h", "health", json!({})).await["ok"], json!(true));
    let aborted = client.call("a", "chat.abort", json!({"sessionKey": "main"})).await;
    assert_eq!(aborted["payload"]["ok"], json!(true), "{aborted}");
}

#[actix::test]
async fn a_new_socket_is_no_new_budget_for_writes() {
    let world = world().await;
    let wish = json!({"publicUrl": "ws://127.0.0.1:1"});
    for number in 0..3 {
        let mut client = live(&world, &[ADMIN]).await;
        for round in 0..10 {
            let made = client
                .call(&format!("{number}-{round}"), "device.pair.setupCode", wish.clone())
                .await;
            assert_eq!(made["ok"], json!(true), "{made}");
        }
    }
    let mut client = live(&world, &[ADMIN]).await;
    let refused = client.call("more", "device.pair.setupCode", wish).await;
    assert_eq!(
        refused["error"]["details"],
        json!({"method": "device.pair.setupCode", "limit": 30})
    );
}
