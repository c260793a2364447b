//! `logs.tail`: the tenant's own lines, by role, from where the last answer ended.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp};
use crate::support::node::TestNode;

async fn tail(node: &mut TestNode, params: Value) -> Value {
    node.call("logs.tail", params).await.expect("a log")
}

fn lines(answer: &Value) -> Vec<Value> {
    let lines = answer["lines"].as_array().expect("lines");
    lines
        .iter()
        .map(|line| serde_json::from_str(line.as_str().expect("text")).expect("a line is JSON"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_from_where_the_last_answer_ended() {
    let app = TestApp::start().await;
    let mut owner = app.operator().await;
    let first = tail(&mut owner, json!({"limit": 2})).await;
    assert_eq!(lines(&first).len(), 2, "{first}");
    assert_eq!((&first["truncated"], &first["reset"]), (&json!(true), &json!(false)));
    let cursor = first["cursor"].clone();
    assert_eq!(
        lines(&tail(&mut owner, json!({"cursor": cursor})).await),
        Vec::<Value>::new()
    );

    app.binary.cli(&[
        "token", "create", "--tenant", "demo", "--user", OWNER, "--name", "one more",
    ]);
    let next = tail(&mut owner, json!({"cursor": cursor})).await;
    let new = lines(&next);
    assert_eq!(new.len(), 1, "{next}");
    assert!(
        new[0]["message"].as_str().unwrap().starts_with("token.create"),
        "{next}"
    );
    assert_eq!(new[0]["level"], "info");

    // A cursor of some other log starts over, and few bytes hold the newest lines only.
    let over = tail(&mut owner, json!({"cursor": 1_000_000})).await;
    assert_eq!(over["reset"], true);
    assert_eq!(lines(&over).last(), new.first());
    let few = tail(&mut owner, json!({"maxBytes": 400})).await;
    assert_eq!(lines(&few).last(), new.first(), "{few}");
    assert_eq!(few["truncated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_sees_their_own_lines_and_a_stranger_none_of_them() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut owner = app.operator().await;
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read", "operator.write"])
        .await
        .expect("connects");
    member
        .call("voicewake.set", json!({"triggers": ["hello there"]}))
        .await
        .expect("sets");
    let all = lines(&tail(&mut owner, json!({})).await);
    assert!(all.len() > 2, "{all:?}");
    let own = lines(&tail(&mut member, json!({})).await);
    assert!(own.len() < all.len(), "{own:?}");
    let actors: std::collections::HashSet<_> = own.iter().map(|line| line["actor"].to_string()).collect();
    assert!(actors.len() <= 1 && !actors.contains("\"cli\""), "{own:?}");
    let mut stranger = app
        .operator_as("other", STRANGER, &["operator.read"])
        .await
        .expect("connects");
    let theirs = lines(&tail(&mut stranger, json!({})).await);
    assert!(theirs.iter().all(|line| !all.contains(line)), "{theirs:?}");
}
