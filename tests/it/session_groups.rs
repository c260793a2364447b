//! What is changed of several sessions at once, what clients remember, and what a session used.

use serde_json::{Value, json};

use crate::support::app::{ALL_SCOPES, MEMBER, STRANGER, TestApp};
use crate::support::model::calls_tool;
use crate::support::node::TestNode;
use crate::support::tool::say;

async fn call(operator: &mut TestNode, method: &str, params: Value) -> Value {
    operator
        .call(method, params)
        .await
        .unwrap_or_else(|error| panic!("{method}: {error}"))
}

async fn refused(operator: &mut TestNode, method: &str, params: Value) -> String {
    let error = operator.call(method, params).await.expect_err("is refused");
    error["message"].as_str().expect("a message").to_owned()
}

async fn make(operator: &mut TestNode, category: Option<&str>) -> String {
    let made = call(operator, "sessions.create", json!({"category": category})).await;
    made["key"].as_str().expect("a key").to_owned()
}

fn names(groups: &Value) -> Vec<&str> {
    let groups = groups["groups"].as_array().expect("groups");
    for (at, group) in groups.iter().enumerate() {
        assert_eq!(group["position"], at);
    }
    groups
        .iter()
        .map(|group| group["name"].as_str().expect("a name"))
        .collect()
}

async fn category(operator: &mut TestNode, key: &str) -> Value {
    let described = call(operator, "sessions.describe", json!({"key": key})).await;
    described["session"]["category"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_made_renamed_and_taken_away_with_their_sessions() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    call(&mut operator, "sessions.subscribe", json!({})).await;
    let work = make(&mut operator, Some("work")).await;
    let home = make(&mut operator, Some("home")).await;
    // What only sessions name is there too.
    let all = call(&mut operator, "sessions.groups.list", json!({})).await;
    assert_eq!((names(&all), &all["sectionOrder"]), (vec!["home", "work"], &json!([])));
    let put = json!({"names": ["work", " later ", "home", "work"], "sectionOrder": ["pinned", "work"]});
    let put = call(&mut operator, "sessions.groups.put", put).await;
    assert_eq!((names(&put), &put["ok"]), (vec!["work", "later", "home"], &json!(true)));
    operator
        .event("the change", |frame| {
            frame["event"] == "sessions.changed" && frame["payload"]["reason"] == "groups"
        })
        .await;
    let text = refused(&mut operator, "sessions.groups.put", json!({"names": ["work"]})).await;
    assert!(text.contains("not empty: home"), "{text}");
    let renamed = call(
        &mut operator,
        "sessions.groups.rename",
        json!({"name": "work", "to": "jobs"}),
    )
    .await;
    assert_eq!(
        (names(&renamed), &renamed["updatedSessions"]),
        (vec!["jobs", "later", "home"], &json!(1))
    );
    assert_eq!(renamed["sectionOrder"], json!(["pinned", "jobs"]));
    assert_eq!(category(&mut operator, &work).await, "jobs");
    // Two become one.
    let renamed = call(
        &mut operator,
        "sessions.groups.rename",
        json!({"name": "jobs", "to": "home"}),
    )
    .await;
    assert_eq!(names(&renamed), ["home", "later"]);
    let text = refused(
        &mut operator,
        "sessions.groups.rename",
        json!({"name": "nope", "to": "x"}),
    )
    .await;
    assert!(text.contains("unknown session group: nope"), "{text}");
    let gone = call(&mut operator, "sessions.groups.delete", json!({"name": "home"})).await;
    assert_eq!((names(&gone), &gone["updatedSessions"]), (vec!["later"], &json!(2)));
    for key in [&work, &home] {
        assert!(category(&mut operator, key).await.is_null());
    }
    for (method, params) in [
        ("sessions.groups.rename", json!({"name": "later", "to": "a\u{0}"})),
        ("sessions.groups.rename", json!({"name": "a\u{0}b", "to": "x"})),
        ("sessions.groups.delete", json!({"name": "a\u{0}b"})),
    ] {
        let text = refused(&mut operator, method, params).await;
        assert!(text.contains("control characters"), "{method}: {text}");
    }
    let long = "x".repeat(513);
    for bad in [
        json!({"names": [""]}),
        json!({"names": [long]}),
        json!({"names": ["a\u{0}b"]}),
        json!({"names": ["a\nb"]}),
        json!({"names": (0..201).map(|n| n.to_string()).collect::<Vec<_>>()}),
    ] {
        refused(&mut operator, "sessions.groups.put", bad).await;
    }
    // Another user's are their own.
    let mut other = app.operator_as("demo", MEMBER, ALL_SCOPES).await.expect("connects");
    make(&mut other, Some("later")).await;
    call(&mut other, "sessions.groups.delete", json!({"name": "later"})).await;
    let all = call(&mut operator, "sessions.groups.list", json!({})).await;
    assert_eq!(names(&all), ["later"]);
    assert_eq!(
        names(&call(&mut other, "sessions.groups.list", json!({})).await),
        Vec::<&str>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sessions_are_changed_and_each_fails_by_itself() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    let one = make(&mut operator, None).await;
    let two = make(&mut operator, None).await;
    let targets = json!([{"key": one}, {"key": two, "expectedSessionId": "another"}, {"key": "main"}, {"key": ""}, {}]);
    let many = json!({"targets": targets, "patch": {"archived": true, "category": "old"}});
    let answer = call(&mut operator, "sessions.patchMany", many).await;
    let outcomes = answer["outcomes"].as_array().expect("outcomes");
    let well: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["ok"]).collect();
    assert_eq!(well, [true, false, false, false, false], "{answer}");
    assert_eq!(outcomes[0], json!({"ok": true, "key": one, "agentId": "main"}));
    assert_eq!(
        (&outcomes[1]["key"], &outcomes[1]["error"]["code"]),
        (&json!(two), &json!("INVALID_REQUEST"))
    );
    assert_eq!(category(&mut operator, &one).await, "old");
    assert!(category(&mut operator, &two).await.is_null());
    let too_many: Vec<Value> = (0..101).map(|_| json!({"key": one})).collect();
    for bad in [
        json!({"targets": [], "patch": {}}),
        json!({"targets": too_many, "patch": {}}),
        json!({"targets": [{"key": one}], "patch": {"key": two}}),
    ] {
        refused(&mut operator, "sessions.patchMany", bad).await;
    }
    // Another user's session of this name is their own.
    let mut other = app.operator_as("demo", MEMBER, ALL_SCOPES).await.expect("connects");
    let theirs = json!({"targets": [{"key": one}], "patch": {"category": "stolen"}});
    call(&mut other, "sessions.patchMany", theirs).await;
    assert_eq!(category(&mut operator, &one).await, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_remember_for_their_user_alone() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    let mut watcher = app.operator().await;
    let set = json!({"entries": {"theme": {"id": "claw"}, "size": 3}});
    assert_eq!(
        call(&mut operator, "users.prefs.set", set).await,
        json!({"status": "ok"})
    );
    let told = watcher
        .event("the change", |frame| frame["event"] == "users.prefs.changed")
        .await;
    assert_eq!(told["payload"]["keys"], json!(["size", "theme"]));
    let late = json!({"entries": {"size": 4}, "expectedEntries": {"size": 2}});
    assert_eq!(
        call(&mut operator, "users.prefs.set", late).await,
        json!({"status": "conflict"})
    );
    let right = json!({"entries": {"size": null}, "expectedEntries": {"size": 3}});
    assert_eq!(call(&mut operator, "users.prefs.set", right).await["status"], "ok");
    let all = call(&mut watcher, "users.prefs.get", json!({})).await;
    assert_eq!(all, json!({"status": "ok", "entries": {"theme": {"id": "claw"}}}));
    let some = call(&mut watcher, "users.prefs.get", json!({"keys": ["size"]})).await;
    assert_eq!(some["entries"], json!({}));
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut other = app
            .operator_as(tenant, email, &["operator.read", "operator.write"])
            .await
            .expect("connects");
        assert_eq!(
            call(&mut other, "users.prefs.get", json!({})).await["entries"],
            json!({})
        );
        call(&mut other, "users.prefs.set", json!({"entries": {"theme": 1}})).await;
    }
    assert_eq!(call(&mut operator, "users.prefs.get", json!({})).await, all);
    let huge = json!({"entries": {"x": "y".repeat(20_000)}});
    assert!(
        refused(&mut operator, "users.prefs.set", huge)
            .await
            .contains("value-too-large")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_used_is_shown_over_time_and_line_by_line() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    for run in ["one", "two"] {
        say(&mut operator, "main", run, "").await;
        operator.chat_end(run).await;
    }
    app.settled().await;
    let series = call(&mut operator, "sessions.usage.timeseries", json!({"key": "main"})).await;
    let points = series["points"].as_array().expect("points");
    assert_eq!(points.len(), 2, "{series}");
    let sum = points[0]["totalTokens"].as_i64().expect("tokens") + points[1]["totalTokens"].as_i64().expect("tokens");
    assert!(sum > 0, "{series}");
    assert_eq!(points[1]["cumulativeTokens"], sum);
    let report = call(&mut operator, "sessions.usage", json!({"key": "main"})).await;
    assert_eq!(report["totals"]["totalTokens"], sum, "both say the same");
    let logs = call(&mut operator, "sessions.usage.logs", json!({"key": "main", "limit": 3})).await;
    let lines = logs["logs"].as_array().expect("lines");
    let said: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["content"].as_str())
        .map(str::trim)
        .collect();
    assert_eq!(said, ["re: #one end", "#two", "re: #two end"]);
    assert!(lines[0]["tokens"].as_i64().is_some_and(|tokens| tokens > 0), "{logs}");
    assert!(lines[1].get("tokens").is_none(), "{logs}");
    let none = call(&mut operator, "sessions.usage.logs", json!({"key": "no-such"})).await;
    assert_eq!(none["logs"], json!([]));
    let text = refused(&mut operator, "sessions.usage.timeseries", json!({"key": "no-such"})).await;
    assert!(text.contains("No transcript found"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_in_between_stops_what_runs() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    say(&mut operator, "main", "one", "[gate]").await;
    app.model.asked("#one").await;
    let steer = json!({"key": "main", "message": "#two", "idempotencyKey": "two"});
    assert_eq!(call(&mut operator, "sessions.steer", steer).await["runId"], "two");
    assert_eq!(operator.chat_end("one").await["state"], "aborted");
    assert_eq!(operator.chat_end("two").await["state"], "final");
    let nowhere = json!({"key": "no-such", "message": "x"});
    assert!(
        refused(&mut operator, "sessions.steer", nowhere)
            .await
            .contains("session not found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_notes_are_searched_by_their_user() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    let note = calls_tool(
        "write",
        &json!({"path": "MEMORY.md", "content": "The boiler code is 4711."}),
    );
    say(&mut operator, "main", "w", &note).await;
    operator.chat_end("w").await;
    let found = call(&mut operator, "memory.search", json!({"query": "boiler"})).await;
    let piece = &found["results"][0];
    assert_eq!(
        (&piece["path"], &piece["source"]),
        (&json!("MEMORY.md"), &json!("memory")),
        "{found}"
    );
    assert_eq!(
        (&found["agentId"], &found["searchMode"]),
        (&json!("main"), &json!("fts-only"))
    );
    let none = call(
        &mut operator,
        "memory.search",
        json!({"query": "unicorn", "maxResults": 3, "minScore": 0.1}),
    )
    .await;
    assert_eq!(none["results"], json!([]));
    for (bad, why) in [
        (json!({"query": " "}), "non-empty"),
        (json!({"query": "x".repeat(4_097)}), "more than 4096 characters"),
        (json!({"query": "x", "agentId": "nobody"}), "unknown agent id"),
        (
            json!({"query": "x", "maxResults": "many"}),
            "invalid memory.search params",
        ),
    ] {
        let text = refused(&mut operator, "memory.search", bad).await;
        assert!(text.contains(why), "{text}");
    }
    let mut other = app
        .operator_as("demo", MEMBER, &["operator.read"])
        .await
        .expect("connects");
    let found = call(&mut other, "memory.search", json!({"query": "boiler"})).await;
    assert_eq!(found["results"], json!([]));
}
