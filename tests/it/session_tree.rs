//! A transcript as a tree: going back in front of a question, switching between branches, a copy in a session of its
//! own; and searching what was said.

use serde_json::{Value, json};

use crate::support::app::{ALL_SCOPES, MEMBER, STRANGER, TestApp};
use crate::support::model::prompt;
use crate::support::node::TestNode;
use crate::support::tool::say;
use crate::support::webhook::status;

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

/// Says something and waits for the answer.
async fn talk(operator: &mut TestNode, session: &str, run: &str) {
    say(operator, session, run, "").await;
    assert_eq!(operator.chat_end(run).await["state"], "final");
}

/// Ids and texts of what the session shows, oldest first.
async fn shown(operator: &mut TestNode, session: &str) -> Vec<(String, String)> {
    let page = call(operator, "chat.history", json!({"sessionKey": session})).await;
    let messages = page["messages"].as_array().expect("messages").clone();
    let text = |message: &Value| {
        let content = &message["content"];
        let text = content.as_str().or_else(|| content[0]["text"].as_str());
        text.unwrap_or_default().trim().to_owned()
    };
    let id = |message: &Value| message["__openclaw"]["id"].as_str().expect("an id").to_owned();
    messages.iter().map(|message| (id(message), text(message))).collect()
}

async fn texts(operator: &mut TestNode, session: &str) -> Vec<String> {
    shown(operator, session)
        .await
        .into_iter()
        .map(|(_, text)| text)
        .collect()
}

async fn branches(operator: &mut TestNode, session: &str) -> Vec<Value> {
    let answer = call(operator, "sessions.branches.list", json!({"sessionKey": session})).await;
    answer["branches"].as_array().expect("branches").clone()
}

/// What the newest question to the model carried.
fn newest(app: &TestApp) -> String {
    prompt(app.model.calls().last().expect("a call"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_anew_and_the_old_branch_is_still_there() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    for run in ["one", "two"] {
        talk(&mut operator, "main", run).await;
    }
    let before = shown(&mut operator, "main").await;
    let question = before[2].0.clone();
    let rewind = json!({"sessionKey": "main", "entryId": question});
    let back = call(&mut operator, "sessions.rewind", rewind.clone()).await;
    assert_eq!(back["editorText"].as_str().map(str::trim), Some("#two"), "{back}");
    assert_eq!(texts(&mut operator, "main").await, ["#one", "re: #one end"]);
    // Left in the middle: that place is a branch too, and the one in use.
    let here = branches(&mut operator, "main").await;
    let facts: Vec<_> = here
        .iter()
        .map(|one| (one["messageCount"].clone(), one["active"].clone()))
        .collect();
    assert_eq!(facts, [(json!(4), json!(false)), (json!(2), json!(true))], "{here:?}");
    assert_eq!(here[0]["headline"], "re: #two end");
    assert!(
        here[0]["updatedAt"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{here:?}"
    );
    // The question is on no branch in use any more.
    assert!(
        refused(&mut operator, "sessions.rewind", rewind)
            .await
            .contains("entry not found")
    );
    talk(&mut operator, "main", "three").await;
    let asked = newest(&app);
    assert!(asked.contains("#one") && !asked.contains("#two"), "{asked}");
    let tips = branches(&mut operator, "main").await;
    let old = tips.iter().find(|tip| tip["active"] == false).expect("the old branch")["leafEntryId"].clone();
    assert_eq!(tips.len(), 2, "{tips:?}");
    // A restart forgets nothing of it.
    let switch = json!({"sessionKey": "main", "leafEntryId": old});
    assert_eq!(call(&mut operator, "sessions.branches.switch", switch).await, json!({}));
    assert_eq!(
        texts(&mut operator, "main").await,
        ["#one", "re: #one end", "#two", "re: #two end"]
    );
    talk(&mut operator, "main", "four").await;
    let asked = newest(&app);
    assert!(asked.contains("#two") && !asked.contains("#three"), "{asked}");
    // To the very beginning.
    let first = before[0].0.clone();
    call(
        &mut operator,
        "sessions.rewind",
        json!({"sessionKey": "main", "entryId": first}),
    )
    .await;
    assert!(texts(&mut operator, "main").await.is_empty());
    talk(&mut operator, "main", "five").await;
    assert!(!newest(&app).contains("#one"));
    assert_eq!(texts(&mut operator, "main").await, ["#five", "re: #five end"]);
    assert_eq!(branches(&mut operator, "main").await.len(), 3);
    for (method, field, entry, why) in [
        ("sessions.rewind", "entryId", before[1].0.as_str(), "entry not found"),
        ("sessions.rewind", "entryId", "no-such", "entry not found"),
        (
            "sessions.branches.switch",
            "leafEntryId",
            before[0].0.as_str(),
            "branch not found",
        ),
        ("sessions.branches.switch", "leafEntryId", "no-such", "branch not found"),
        ("sessions.fork", "entryId", "no-such", "entry not found"),
    ] {
        let said = refused(&mut operator, method, json!({"sessionKey": "main", field: entry})).await;
        assert!(said.contains(why), "{method} {entry}: {said}");
    }
    let answer = shown(&mut operator, "main").await[1].0.clone();
    let said = refused(
        &mut operator,
        "sessions.rewind",
        json!({"sessionKey": "main", "entryId": answer}),
    )
    .await;
    assert!(said.contains("no message of a person"), "{said}");
    let nowhere = json!({"sessionKey": "no-such", "entryId": "x"});
    assert!(
        refused(&mut operator, "sessions.rewind", nowhere)
            .await
            .contains("session not found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_under_a_running_turn_and_in_an_archived_session() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let made = call(&mut operator, "sessions.create", json!({"label": "Plans"})).await;
    let key = made["key"].as_str().expect("a key").to_owned();
    talk(&mut operator, &key, "one").await;
    let entry = shown(&mut operator, &key).await[0].0.clone();
    say(&mut operator, &key, "two", "[gate]").await;
    app.model.asked("#two").await;
    for method in ["sessions.rewind", "sessions.fork"] {
        let said = refused(&mut operator, method, json!({"sessionKey": key, "entryId": entry})).await;
        assert!(said.contains("while the agent is working"), "{method}: {said}");
    }
    app.model.release(64);
    operator.chat_end("two").await;
    app.settled().await;
    call(&mut operator, "sessions.patch", json!({"key": key, "archived": true})).await;
    let rewind = json!({"sessionKey": key, "entryId": entry});
    assert!(
        refused(&mut operator, "sessions.rewind", rewind)
            .await
            .contains("archived")
    );
    assert_eq!(texts(&mut operator, &key).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_a_session_of_its_own() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    talk(&mut operator, "main", "one").await;
    let image = json!({"type": "image", "mimeType": "image/png", "fileName": "x.png", "content": png});
    let second = json!({"sessionKey": "main", "message": "#two", "idempotencyKey": "two", "attachments": [image]});
    call(&mut operator, "chat.send", second).await;
    operator.chat_end("two").await;
    call(
        &mut operator,
        "sessions.patch",
        json!({"key": "main", "thinkingLevel": "off", "label": "Mine"}),
    )
    .await;
    let entry = shown(&mut operator, "main").await[2].0.clone();
    let forked = call(
        &mut operator,
        "sessions.fork",
        json!({"sessionKey": "main", "entryId": entry}),
    )
    .await;
    let key = forked["sessionKey"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("agent:main:dashboard:"), "{key}");
    assert_eq!(forked["editorText"], "#two");
    assert_eq!(
        forked["editorAttachments"],
        json!([{"mimeType": "image/png", "data": png}])
    );
    assert_eq!(texts(&mut operator, &key).await, ["#one", "re: #one end"]);
    talk(&mut operator, &key, "three").await;
    let asked = newest(&app);
    assert!(asked.contains("#one") && !asked.contains("#two"), "{asked}");
    // Neither hears of the other.
    assert_eq!(texts(&mut operator, "main").await.len(), 4);
    let described = call(&mut operator, "sessions.describe", json!({"key": key})).await;
    assert_eq!(described["session"]["parentSessionKey"], "agent:main:main");
    assert!(described["session"]["label"].is_null(), "{described}");
    call(&mut operator, "sessions.delete", json!({"key": key})).await;
    assert_eq!(texts(&mut operator, "main").await.len(), 4);
    // Somebody else's entries are nowhere.
    let theirs = json!({"sessionKey": "agent:main:main", "entryId": entry});
    let mut stranger = app.operator_as("other", STRANGER, ALL_SCOPES).await.expect("connects");
    for method in ["sessions.fork", "sessions.rewind"] {
        let said = refused(&mut stranger, method, theirs.clone()).await;
        assert!(said.contains("session not found"), "{method}: {said}");
    }
    let mut other = app.operator_as("demo", MEMBER, ALL_SCOPES).await.expect("connects");
    let said = refused(&mut other, "sessions.fork", theirs).await;
    assert!(said.contains("session not found"), "{said}");
    assert!(branches(&mut other, "main").await.is_empty());
}

/// Says something with more than words, and waits for the answer.
async fn talk_with(operator: &mut TestNode, run: &str, more: Value) {
    let mut params = json!({"sessionKey": "main", "message": format!("#{run}"), "idempotencyKey": run});
    for (name, value) in more.as_object().expect("an object") {
        params[name] = value.clone();
    }
    call(operator, "chat.send", params).await;
    assert_eq!(operator.chat_end(run).await["state"], "final");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_for_another_branch_is_refused() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let empty = call(&mut operator, "chat.history", json!({"sessionKey": "main"})).await;
    assert_eq!(
        empty["sessionInfo"].get("activeLeafEntryId"),
        Some(&Value::Null),
        "{empty}"
    );
    talk_with(&mut operator, "one", json!({"expectedLeafEntryId": null})).await;
    let page = call(&mut operator, "chat.history", json!({"sessionKey": "main"})).await;
    let (first, transcript) = (&page["sessionInfo"]["activeLeafEntryId"], &page["sessionId"]);
    talk_with(&mut operator, "two", json!({"expectedLeafEntryId": first})).await;
    // Who says which transcript it was need not have seen the newest entry.
    let behind = json!({"expectedLeafEntryId": first, "sessionId": transcript});
    talk_with(&mut operator, "three", behind.clone()).await;
    let steer = json!({"expectedLeafEntryId": first, "queueMode": "steer"});
    talk_with(&mut operator, "four", steer).await;
    let page = call(&mut operator, "chat.history", json!({"sessionKey": "main"})).await;
    let last = page["sessionInfo"]["activeLeafEntryId"].clone();
    let question = shown(&mut operator, "main").await[2].0.clone();
    call(
        &mut operator,
        "sessions.rewind",
        json!({"sessionKey": "main", "entryId": question}),
    )
    .await;
    for more in [
        json!({"expectedLeafEntryId": null}),
        json!({"expectedLeafEntryId": last, "sessionId": transcript}),
        json!({"expectedLeafEntryId": first, "sessionId": "another"}),
        json!({"expectedLeafEntryId": "no-such"}),
    ] {
        let mut params = json!({"sessionKey": "main", "message": "#five", "idempotencyKey": "five"});
        for (name, value) in more.as_object().expect("an object") {
            params[name] = value.clone();
        }
        let error = operator.call("chat.send", params).await.expect_err("is refused");
        assert_eq!(error["message"], "active branch changed; review and retry", "{more}");
        assert_eq!(error["details"]["reason"], "active-leaf-changed", "{more}");
    }
    // What was let in before is answered as ever.
    let again = json!({"sessionKey": "main", "message": "#two", "idempotencyKey": "two", "expectedLeafEntryId": null});
    assert_eq!(call(&mut operator, "chat.send", again).await["status"], "ok");
    talk_with(&mut operator, "six", behind).await;
    assert_eq!(
        texts(&mut operator, "main").await,
        ["#one", "re: #one end", "#six", "re: #six end"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_brings_the_message_that_it_answers() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    talk(&mut operator, "main", "one").await;
    let said = shown(&mut operator, "main").await;
    talk_with(&mut operator, "two", json!({"replyToId": said[1].0})).await;
    let asked = newest(&app);
    assert!(asked.contains("#two\\n\\n[In reply to "), "{asked}");
    assert!(asked.contains("\\n> re: #one end"), "{asked}");
    talk_with(&mut operator, "three", json!({"replyToId": said[0].0})).await;
    let asked = newest(&app);
    assert!(asked.contains("[In reply to User]\\n> #one"), "{asked}");
    // People see what was typed.
    let seen = texts(&mut operator, "main").await;
    assert_eq!([&seen[2], &seen[4]], ["#two", "#three"]);
    talk_with(&mut operator, "four", json!({"replyToId": "no-such"})).await;
    let asked = newest(&app);
    assert!(asked.contains("#four") && !asked.contains("#four\\n"), "{asked}");
}

async fn search(operator: &mut TestNode, params: Value) -> Vec<(String, String)> {
    let answer = call(operator, "sessions.search", params).await;
    let results = answer["results"].as_array().expect("results");
    let pair = |hit: &Value| {
        (
            hit["sessionKey"].as_str().expect("a key").to_owned(),
            hit["role"].as_str().expect("a role").to_owned(),
        )
    };
    results.iter().map(pair).collect()
}

fn of(key: &str, role: &str) -> (String, String) {
    (key.to_owned(), role.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_is_found_by_whoever_it_belongs_to() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    let main = "agent:main:main";
    say(&mut operator, "main", "one", "Where is the Zürich timetable? #tram").await;
    operator.chat_end("one").await;
    let side = call(&mut operator, "sessions.create", json!({})).await["key"].clone();
    let side = side.as_str().expect("a key");
    say(&mut operator, side, "two", "the zurich museum").await;
    operator.chat_end("two").await;
    // A guest's words belong to the bot's owner.
    assert_eq!(status(app.webhooks().telegram(1, 700, "the aquarium #fish")).await, 200);
    app.settled().await;
    let found = search(&mut operator, json!({"query": "ZURICH"})).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found.contains(&of(main, "user")) && found.contains(&of(side, "user")),
        "{found:?}"
    );
    assert_eq!(
        search(&mut operator, json!({"query": "zurich timetable"})).await[0],
        of(main, "user")
    );
    assert_eq!(
        search(&mut operator, json!({"query": "tr"})).await,
        [],
        "a short word is whole"
    );
    let both = search(&mut operator, json!({"query": "tram"})).await;
    assert_eq!(both.len(), 2, "the question and the answer: {both:?}");
    let only = json!({"query": "zurich", "sessionKeys": [side]});
    assert_eq!(search(&mut operator, only).await, [of(side, "user")]);
    assert_eq!(
        search(&mut operator, json!({"query": "zurich", "agentId": "other"})).await,
        []
    );
    let one = call(&mut operator, "sessions.search", json!({"query": "zurich", "limit": 1})).await;
    assert_eq!(
        (one["results"].as_array().map(Vec::len), &one["truncated"]),
        (Some(1), &json!(true))
    );
    let hit = &one["results"][0];
    assert!(
        hit["snippet"]
            .as_str()
            .is_some_and(|text| text.to_lowercase().contains("rich")),
        "{hit}"
    );
    // The message opens where it was found.
    let around = json!({"sessionKey": hit["sessionKey"], "messageId": hit["messageId"]});
    call(&mut operator, "chat.message.get", around).await;
    assert_eq!(search(&mut operator, json!({"query": "aquarium"})).await.len(), 1);
    // Any text may be asked.
    for odd in [
        "\" OR *",
        "'; DROP TABLE session; --",
        "a:b & !c | (d",
        "(((",
        "NEAR(a b)",
    ] {
        search(&mut operator, json!({"query": odd})).await;
    }
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut other = app
            .operator_as(tenant, email, &["operator.read"])
            .await
            .expect("connects");
        for params in [
            json!({"query": "zurich"}),
            json!({"query": "aquarium"}),
            json!({"query": "zurich", "sessionKeys": [main, side]}),
        ] {
            assert_eq!(search(&mut other, params).await, [], "{email}");
        }
    }
    // What is on no branch in use is not found, and what is said later is.
    let entry = shown(&mut operator, "main").await[0].0.clone();
    call(
        &mut operator,
        "sessions.rewind",
        json!({"sessionKey": "main", "entryId": entry}),
    )
    .await;
    assert_eq!(search(&mut operator, json!({"query": "timetable"})).await, []);
    say(&mut operator, "main", "three", "another timetable").await;
    operator.chat_end("three").await;
    assert_eq!(
        search(&mut operator, json!({"query": "timetable"})).await,
        [of(main, "user")]
    );
    // With the session its words are gone.
    let rows = app.rows().await;
    call(&mut operator, "sessions.delete", json!({"key": side})).await;
    assert_eq!(rows.count("transcript_words WHERE terms LIKE '%museum%'").await, 0);
    assert_eq!(search(&mut operator, json!({"query": "museum"})).await, []);
    call(&mut operator, "sessions.reset", json!({"key": "main"})).await;
    assert_eq!(search(&mut operator, json!({"query": "timetable"})).await, []);
    let text = refused(&mut operator, "sessions.search", json!({"query": ""})).await;
    assert!(text.contains("fewer than 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_searched_however_much_is_found_elsewhere() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let side = call(&mut operator, "sessions.create", json!({})).await["key"].clone();
    let side = side.as_str().expect("a key");
    say(&mut operator, side, "one", "the needle of long ago").await;
    operator.chat_end("one").await;
    let only = json!({"query": "needle", "sessionKeys": [side]});
    assert!(search(&mut operator, only.clone()).await.contains(&of(side, "user")));
    say(&mut operator, "main", "two", "the needle").await;
    operator.chat_end("two").await;
    let rows = app.rows().await;
    // Newer ones than any search looks at.
    let many = "INSERT INTO transcript_entry (tenant_id, user_id, session_id, seq, id, parent_id, kind, body, run_id, \
         created_at) WITH RECURSIVE n (at) AS (SELECT 3 UNION ALL SELECT at + 1 FROM n WHERE at < 2502) \
         SELECT e.tenant_id, e.user_id, e.session_id, n.at, 'copy' || n.at, \
         CASE WHEN n.at = 3 THEN s.leaf_id ELSE 'copy' || (n.at - 1) END, e.kind, e.body, NULL, e.created_at \
         FROM transcript_entry AS e JOIN session AS s ON s.session_id = e.session_id, n \
         WHERE e.seq = 1 AND s.key = 'agent:main:main'";
    rows.execute(many).await;
    rows.execute("UPDATE session SET leaf_id = 'copy2502', next_seq = 2503 WHERE key = 'agent:main:main'")
        .await;
    let all = loop {
        let answer = call(&mut operator, "sessions.search", json!({"query": "needle"})).await;
        if answer["indexing"].is_null() {
            break answer;
        }
    };
    assert_eq!(all["truncated"], true, "{all}");
    assert!(rows.count("transcript_words").await > 2_500);
    assert!(search(&mut operator, only).await.contains(&of(side, "user")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_past_is_read_bit_by_bit() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    say(&mut operator, "main", "one", "the needle").await;
    operator.chat_end("one").await;
    let rows = app.rows().await;
    // Five thousand answers to the same question, as an import leaves them.
    let many = "INSERT INTO transcript_entry (tenant_id, user_id, session_id, seq, id, parent_id, kind, body, run_id, \
         created_at) WITH RECURSIVE n (at) AS (SELECT 3 UNION ALL SELECT at + 1 FROM n WHERE at < 5002) \
         SELECT e.tenant_id, e.user_id, e.session_id, n.at, 'copy' || n.at, \
         CASE WHEN n.at = 3 THEN (SELECT leaf_id FROM session) ELSE 'copy' || (n.at - 1) END, e.kind, \
         REPLACE(e.body, 'needle', 'haystack' || n.at), NULL, e.created_at \
         FROM transcript_entry AS e, n WHERE e.seq = 1";
    rows.execute(many).await;
    rows.execute("UPDATE session SET leaf_id = 'copy5002', next_seq = 5003")
        .await;
    let first = call(&mut operator, "sessions.search", json!({"query": "needle"})).await;
    assert_eq!(first["indexing"], true, "{first}");
    let mut searches = 1;
    let last = loop {
        searches += 1;
        let answer = call(&mut operator, "sessions.search", json!({"query": "haystack4711"})).await;
        if answer["indexing"].is_null() {
            break answer;
        }
        assert!(searches < 9, "it never ends: {answer}");
    };
    assert_eq!(
        (searches, last["results"].as_array().map(Vec::len)),
        (3, Some(1)),
        "{last}"
    );
    assert_eq!(last["results"][0]["messageId"], "copy4711");
    assert_eq!(rows.count("transcript_words").await, 5002);
    // Nothing new: nothing is read.
    call(&mut operator, "sessions.search", json!({"query": "needle"})).await;
    assert_eq!(rows.count("transcript_words").await, 5002);
}
