//! Notes and files of the workspace: written and found by the agent, kept from everybody else, and written down before a
//! conversation is summarised.

use sea_orm::DbBackend;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, STRANGER, TestApp};
use crate::support::model::{calls_tool, is_summary, question};
use crate::support::node::TestNode;
use crate::support::webhook::status;

/// Of the prompt's section about notes.
const EXPLAINED: &str = "memory_search finds pieces of";

const PRIVATE: [&str; 7] = [
    "edit",
    "ls",
    "memory_get",
    "memory_read",
    "memory_search",
    "memory_write",
    "write",
];

/// One turn in which the model calls a tool; gives what the tool gave.
async fn call(app: &TestApp, operator: &mut TestNode, key: &str, run: &str, tool: &str, arguments: Value) -> String {
    let message = format!("#{run} {}", calls_tool(tool, &arguments));
    let params = json!({"sessionKey": key, "message": message, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
    let end = operator.chat_end(run).await;
    assert_eq!(end["state"], "final", "{end}");
    last_of(app, run).await
}

/// The newest request about a run.
async fn request(app: &TestApp, run: &str) -> Value {
    let tag = format!("#{run}");
    app.model.asked(&tag).await;
    let calls = app.model.calls();
    let call = calls.iter().rev().find(|call| question(call).contains(&tag));
    call.expect("asked").clone()
}

async fn last_of(app: &TestApp, run: &str) -> String {
    let request = request(app, run).await;
    let messages = request["messages"].as_array().expect("messages");
    let content = &messages.last().expect("a message")["content"];
    content.as_str().map_or_else(|| content.to_string(), str::to_owned)
}

fn results(text: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(answer["mode"], "fts-only", "{answer}");
    answer["results"].as_array().expect("results").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_down_is_found_in_a_later_session() {
    let mut app = TestApp::start().await;
    let mut operator = app.operator().await;
    let note = json!({"content": "- Anna's birthday is on 3 May; she likes Zürich."});
    let written = call(&app, &mut operator, "one", "w1", "memory_write", note.clone()).await;
    assert!(written.starts_with("Written to memory/20"), "{written}");
    let again = call(&app, &mut operator, "one", "w2", "memory_write", note).await;
    assert!(again.ends_with("ends with that already."), "{again}");
    let lasting = json!({"content": "Likes tea.", "path": "MEMORY.md"});
    call(&app, &mut operator, "one", "w3", "memory_write", lasting).await;

    // The database has it, and the next process finds it.
    app.binary.kill();
    app.binary.start();
    let mut operator = app.operator().await;
    let search = json!({"query": "when is ANNA's birthday? zurich \" OR (*", "maxResults": 3});
    let found = results(&call(&app, &mut operator, "two", "s1", "memory_search", search).await);
    assert_eq!(found.len(), 1, "{found:?}");
    let best = &found[0];
    let path = best["path"].as_str().expect("a path");
    assert!(path.starts_with("memory/20") && path.ends_with(".md"), "{best}");
    assert_eq!((&best["startLine"], &best["endLine"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&best["source"], &best["citation"]),
        (&json!("memory"), &json!(format!("{path}#L1-L1")))
    );
    assert!(
        best["score"].as_f64().is_some_and(|score| score > 0.2 && score <= 1.0),
        "{best}"
    );
    assert!(
        best["snippet"].as_str().is_some_and(|text| text.contains("3 May")),
        "{best}"
    );
    let prompt = request(&app, "s1").await["messages"][0]["content"].to_string();
    assert!(prompt.contains(EXPLAINED) && prompt.contains("Likes tea."), "{prompt}");

    for (run, tool, arguments, answer) in [
        (
            "g1",
            "memory_get",
            json!({"path": path, "from": 1, "lines": 1}),
            "Anna's birthday",
        ),
        (
            "g2",
            "memory_get",
            json!({"path": "memory/none.md"}),
            "{\"path\":\"memory/none.md\",\"text\":\"\"}",
        ),
        ("g3", "memory_get", json!({"path": "SOUL.md"}), "none of your notes"),
        (
            "g4",
            "memory_get",
            json!({"path": "memory/../SOUL.md"}),
            "a workspace path",
        ),
        ("g5", "memory_read", json!({"path": "MEMORY.md"}), "Likes tea."),
        ("g6", "memory_read", json!({"path": "USER.md"}), "none of your notes"),
        (
            "g7",
            "memory_write",
            json!({"content": "x", "path": "SOUL.md"}),
            "is neither",
        ),
        ("g8", "memory_write", json!({"content": " "}), "nothing to write"),
        ("g9", "memory_search", json!({"query": "\u{0}' -- *"}), "\"results\":[]"),
    ] {
        let got = call(&app, &mut operator, "two", run, tool, arguments).await;
        assert!(got.contains(answer), "{tool} {run}: {got}");
    }
    assert_eq!(app.rows().await.count("tool_intent").await, 0, "nothing acted outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_workspace_are_written_edited_listed_and_read() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let plan = |text: &str| json!({"path": "notes/plan.md", "content": text});
    let large = "x".repeat(256 * 1024 + 1);
    for (run, tool, arguments, answer) in [
        (
            "a1",
            "read",
            json!({"path": "notes/plan.md"}),
            "There is no file notes/plan.md",
        ),
        (
            "a2",
            "write",
            plan("one\ntwo\nthree\n"),
            "Wrote 14 bytes to notes/plan.md.",
        ),
        (
            "a3",
            "read",
            json!({"path": "notes/plan.md", "offset": 2, "limit": 1}),
            "two\n[1 more lines",
        ),
        (
            "a4",
            "edit",
            json!({"path": "notes/plan.md", "oldText": "two", "newText": "two and a half"}),
            "Changed",
        ),
        (
            "a5",
            "edit",
            json!({"path": "notes/plan.md", "oldText": "two", "newText": "two and a half"}),
            "already",
        ),
        (
            "a6",
            "edit",
            json!({"path": "notes/plan.md", "oldText": "t", "newText": "u"}),
            "2 times",
        ),
        (
            "a7",
            "edit",
            json!({"path": "notes/plan.md", "oldText": "nine", "newText": "u"}),
            "not in the file",
        ),
        (
            "a8",
            "edit",
            json!({"path": "SOUL.md", "oldText": "", "newText": "u"}),
            "do not match",
        ),
        ("a9", "ls", json!({"path": "notes"}), "notes/plan.md (25 bytes)"),
        ("b1", "ls", json!({}), "AGENTS.md ("),
        ("b2", "ls", json!({"path": "nowhere"}), "no files there"),
        (
            "b3",
            "write",
            json!({"path": "../x", "content": "y"}),
            "a workspace path",
        ),
        (
            "b4",
            "write",
            json!({"path": ".env", "content": "y"}),
            "a workspace path",
        ),
        (
            "b5",
            "write",
            json!({"path": "big.md", "content": large}),
            "at most 256 KiB",
        ),
        ("b7", "read", json!({"path": "SOUL.md"}), "#"),
    ] {
        let got = call(&app, &mut operator, "main", run, tool, arguments).await;
        assert!(got.contains(answer), "{tool} {run}: {got}");
    }
    assert_eq!(app.rows().await.count("workspace_file").await, 1);
    // Another person's agent has files of its own.
    let mut app = app;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    app.import("other", STRANGER, &json!({"channels": null}));
    call(
        &app,
        &mut operator,
        "main",
        "c0",
        "memory_write",
        json!({"content": "treasure map"}),
    )
    .await;
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let connected = app
            .operator_as(tenant, email, &["operator.read", "operator.write"])
            .await;
        let mut theirs = connected.expect("connects");
        let run = |name: &str| format!("{name}-{tenant}");
        let wish = json!({"path": "notes/plan.md"});
        let got = call(&app, &mut theirs, "main", &run("c1"), "read", wish).await;
        assert!(got.contains("There is no file"), "{email}: {got}");
        let got = call(
            &app,
            &mut theirs,
            "main",
            &run("c2"),
            "memory_search",
            json!({"query": "treasure"}),
        )
        .await;
        assert!(results(&got).is_empty(), "{email}: {got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_reads_along_reaches_notes_or_files() {
    let telegram = json!({"groupPolicy": "open", "groups": {"*": {"requireMention": false}}});
    let app = TestApp::start_with(&json!({"channels": {"telegram": telegram}}), &[]).await;
    let mut operator = app.operator().await;
    let secret = json!({"content": "the secret is zebra", "path": "MEMORY.md"});
    call(&app, &mut operator, "main", "keep", "memory_write", secret).await;
    let wish = |tool: &str| match tool {
        "memory_search" => json!({"query": "secret"}),
        "memory_write" => json!({"content": "planted"}),
        "edit" => json!({"path": "MEMORY.md", "oldText": "secret", "newText": "planted"}),
        "write" => json!({"path": "planted.md", "content": "planted"}),
        "ls" => json!({}),
        _ => json!({"path": "MEMORY.md"}),
    };
    // A guest, and the owner's own words where others read along: the guest's chat and a group.
    let mut update = 0;
    for tool in PRIVATE.into_iter().chain(["read"]) {
        update += 1;
        let run = format!("guest-{tool}");
        let message = app
            .webhooks()
            .telegram(update, 77, &format!("#{run} {}", calls_tool(tool, &wish(tool))));
        assert_eq!(status(message).await, 200);
        app.platform.message("77", &format!("re: #{run} end")).await;
        refused(&app, &run, tool).await;
        for (place, key) in [
            ("chat", "agent:main:telegram:direct:77"),
            ("room", "agent:main:telegram:group:-500"),
        ] {
            let run = format!("{place}-{tool}");
            call(&app, &mut operator, key, &run, tool, wish(tool)).await;
            refused(&app, &run, tool).await;
        }
    }
    let rows = app.rows().await;
    assert_eq!(rows.count("workspace_file").await, 1);
    assert_eq!(rows.count("workspace_file WHERE content LIKE '%planted%'").await, 0);
    let got = call(
        &app,
        &mut operator,
        "main",
        "still",
        "memory_read",
        json!({"path": "MEMORY.md"}),
    )
    .await;
    assert!(got.contains("zebra"), "{got}");
}

/// The model was neither offered the tool nor given anything by it. (`read` is there for the owner's skills.)
async fn refused(app: &TestApp, run: &str, tool: &str) {
    let request = request(app, run).await;
    let tools: Vec<&str> = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tool| tool["function"]["name"].as_str())
        .collect();
    for private in PRIVATE {
        assert!(!tools.contains(&private), "{run}: {tools:?}");
    }
    let text = request.to_string();
    assert!(!text.contains("zebra") && !text.contains(EXPLAINED), "{run}: {text}");
    let last = last_of(app, run).await;
    let no = [
        &format!("There is no tool named {tool}."),
        "Only the owner's private conversations",
    ];
    assert!(no.iter().any(|no| last.contains(*no)), "{run}: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_cannot_be_indexed_is_not_written_and_a_crash_writes_it_once() {
    let mut app = TestApp::start().await;
    let mut operator = app.operator().await;
    call(
        &app,
        &mut operator,
        "main",
        "one",
        "memory_write",
        json!({"content": "first"}),
    )
    .await;
    let rows = app.rows().await;
    let refuse = if rows.backend() == DbBackend::Postgres {
        "ALTER TABLE memory_chunk ADD CONSTRAINT refuse CHECK (content NOT LIKE '%boom%')"
    } else {
        "CREATE TRIGGER refuse BEFORE INSERT ON memory_chunk WHEN new.content LIKE '%boom%' \
         BEGIN SELECT RAISE(ABORT, 'no'); END"
    };
    rows.execute(refuse).await;
    let got = call(
        &app,
        &mut operator,
        "main",
        "two",
        "memory_write",
        json!({"content": "boom"}),
    )
    .await;
    assert!(!got.contains("Written"), "{got}");
    assert_eq!(rows.count("workspace_file WHERE content LIKE '%boom%'").await, 0);
    let found = call(
        &app,
        &mut operator,
        "main",
        "three",
        "memory_search",
        json!({"query": "first"}),
    )
    .await;
    assert_eq!(results(&found).len(), 1, "the index is as it was");

    // Killed after the note was written and before the turn has its answer: it goes on, and the note is there once.
    let message = format!(
        "#killed [gate] {}",
        calls_tool("memory_write", &json!({"content": "zebra crossing"}))
    );
    let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": "killed"});
    operator.call("chat.send", params).await.expect("accepted");
    crate::support::wait::becomes("the call that holds the result", true, || async {
        let calls = app.model.calls();
        calls
            .iter()
            .any(|call| call["messages"].to_string().contains("Written to") && question(call).contains("#killed"))
    })
    .await;
    app.binary.kill();
    app.model.release(1_000);
    app.binary.start();
    app.settled().await;
    assert_eq!(
        rows.count("run WHERE status = 'ok'").await,
        4,
        "the turn was done again by itself"
    );
    let mut operator = app.operator().await;
    let found = results(
        &call(
            &app,
            &mut operator,
            "main",
            "four",
            "memory_search",
            json!({"query": "zebra"}),
        )
        .await,
    );
    assert_eq!(found.len(), 1);
    let snippet = found[0]["snippet"].as_str().expect("a text");
    assert_eq!(snippet.matches("zebra crossing").count(), 1, "{snippet}");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_kept_once_before_each_summary_and_never_for_guests() {
    let wish = format!(
        "FLUSH {}",
        calls_tool("memory_write", &json!({"content": "- the flush kept this"}))
    );
    let extra = json!({"agents": {"defaults": {
        "contextTokens": 28_000, "compaction": {"memoryFlush": {"prompt": wish, "systemPrompt": "FLUSH-SYSTEM"}},
    }}});
    let app = TestApp::start_with(&extra, &[]).await;
    app.model.counts_tokens();
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    let flushes = || {
        let calls = app.model.calls().into_iter();
        calls
            .filter(|call| question(call).starts_with("FLUSH"))
            .collect::<Vec<_>>()
    };
    let long = "word ".repeat(1_200);
    // A guest's conversation is summarised without.
    let mut update = 0;
    while rows.count("transcript_entry WHERE kind = 'compaction'").await == 0 {
        update += 1;
        assert!(update < 24, "never summarised");
        let message = app.webhooks().telegram(update, 77, &format!("#g{update} {long}"));
        assert_eq!(status(message).await, 200);
        app.platform.message("77", &format!("re: #g{update} end")).await;
    }
    assert!(flushes().is_empty());
    let summarised = async || rows.count("transcript_entry WHERE kind = 'compaction'").await - 1;
    let mut turn = 0;
    for cycle in 1..=2 {
        while summarised().await < cycle {
            turn += 1;
            assert!(turn < 48, "never summarised");
            let run = format!("long-{turn}");
            let params =
                json!({"sessionKey": "agent:main:long", "message": format!("#t{turn} {long}"), "idempotencyKey": run});
            operator.call("chat.send", params).await.expect("accepted");
            let end = operator.chat_end(&run).await;
            assert_eq!(
                end["message"]["content"][0]["text"],
                format!("re: #t{turn} end"),
                "{end}"
            );
        }
        // Each asks, and reports what the tool gave.
        assert_eq!(
            flushes().len(),
            2 * usize::try_from(cycle).expect("small"),
            "cycle {cycle}"
        );
    }
    let first = &flushes()[0];
    assert!(first["messages"].to_string().contains("FLUSH-SYSTEM"));
    assert!(!is_summary(first));
    // Nobody saw it, and the transcript does not have it.
    assert_eq!(rows.count("transcript_entry WHERE body LIKE '%FLUSH%'").await, 0);
    assert!(!operator.has_heard("flush kept"));
    let files: Vec<String> = rows.column("SELECT content FROM workspace_file").await;
    assert_eq!(files, ["- the flush kept this\n"]);
    let row = operator
        .call("sessions.describe", json!({"key": "agent:main:long"}))
        .await
        .expect("describes");
    assert!(!row.to_string().contains("memoryFlush"), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_that_could_not_be_asked_for_are_asked_for_again() {
    let asks = |prompt: &str| {
        let flush = json!({"prompt": prompt, "systemPrompt": "-"});
        json!({"agents": {"defaults": {"contextTokens": 20_000, "compaction": {"memoryFlush": flush}}}})
    };
    let app = TestApp::start_with(&asks("FLUSH [status:400]"), &[]).await;
    app.model.counts_tokens();
    let mut operator = app.operator().await;
    let rows = app.rows().await;
    let flushes = || {
        let calls = app.model.calls().into_iter();
        calls
            .filter(|call| call["messages"].to_string().contains("FLUSH"))
            .count()
    };
    let long = "word ".repeat(1_200);
    let mut turn = 0;
    let mut say = async |operator: &mut TestNode| {
        turn += 1;
        let run = format!("long-{turn}");
        let params =
            json!({"sessionKey": "agent:main:long", "message": format!("#t{turn} {long}"), "idempotencyKey": run});
        operator.call("chat.send", params).await.expect("accepted");
        operator.chat_end(&run).await;
        turn
    };
    while flushes() == 0 {
        assert!(say(&mut operator).await < 24, "never asked");
    }
    let entry = async || {
        let entries: Vec<Value> = rows
            .column("SELECT entry FROM session WHERE key = 'agent:main:long'")
            .await;
        entries[0].clone()
    };
    let failed = entry().await;
    assert!(
        failed["memoryFlushFailedAt"].is_i64() && failed.get("memoryFlushCompactionCount").is_none(),
        "{failed}"
    );
    // Not with each message, but after a while.
    say(&mut operator).await;
    assert_eq!(flushes(), 1);
    let old = failed["memoryFlushFailedAt"].to_string();
    let json = if rows.backend() == DbBackend::Postgres {
        "::jsonb"
    } else {
        ""
    };
    let config = operator.call("config.get", json!({})).await.expect("reads");
    let params = json!({"raw": asks("FLUSH").to_string(), "baseHash": config["hash"]});
    operator.call("config.patch", params).await.expect("changes");
    rows.execute(&format!(
        "UPDATE session SET entry = replace(CAST(entry AS text), '{old}', '1'){json} WHERE key = 'agent:main:long'"
    ))
    .await;
    while flushes() == 1 {
        assert!(say(&mut operator).await < 24, "never asked again");
    }
    let kept = entry().await;
    assert!(
        kept["memoryFlushCompactionCount"].is_u64() && !kept["memoryFlushFailedAt"].is_i64(),
        "{kept}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_conversation_asks_for_notes_once_however_much_room_there_is() {
    let flush = json!({"prompt": "FLUSH", "systemPrompt": "-", "forceFlushTranscriptBytes": "6kb"});
    let extra = json!({"agents": {"defaults": {"compaction": {"memoryFlush": flush}}}});
    let app = TestApp::start_with(&extra, &[]).await;
    let mut operator = app.operator().await;
    let flushes = || {
        let calls = app.model.calls().into_iter();
        calls
            .filter(|call| call["messages"].to_string().contains("FLUSH"))
            .count()
    };
    let long = "word ".repeat(400);
    for (turn, asked) in [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1)] {
        let run = format!("long-{turn}");
        let params =
            json!({"sessionKey": "agent:main:long", "message": format!("#t{turn} {long}"), "idempotencyKey": run});
        operator.call("chat.send", params).await.expect("accepted");
        operator.chat_end(&run).await;
        assert_eq!(flushes(), asked, "turn {turn}");
    }
}
