//! Other programs talk to the agent: `/v1` as OpenAI's clients know it, and single tools.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{OWNER, STRANGER, TestApp, answered};
use crate::support::model::{calls_tool, prompt};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::{status, telegram_update};

const CHAT: &str = "/v1/chat/completions";

fn ask(text: &str) -> Value {
    json!({"model": "openclaw", "messages": [{"role": "user", "content": text}]})
}

/// The payloads of `data:` lines, without the last word.
fn events(body: &str) -> Vec<Value> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let (done, events): (Vec<_>, Vec<_>) = lines.partition(|line| *line == "[DONE]");
    assert_eq!(done.len(), 1, "{body}");
    events
        .into_iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

async fn streamed(app: &TestApp, path: &str, body: &Value) -> Vec<Value> {
    let response = app
        .owner()
        .request(Method::POST, path)
        .json(body)
        .send()
        .await
        .expect("answers");
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    events(&response.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_comes_whole_or_as_a_stream() {
    let app = TestApp::start().await;
    let (code, answer) = app.owner().post(CHAT, &ask("hello #one")).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(
        answer["choices"][0]["message"],
        json!({"role": "assistant", "content": "re: #one end", "refusal": null})
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["prompt_tokens"], 12);
    assert_eq!(answer["usage"]["total_tokens"], 15);
    let mut body = ask("[gate] hello #two");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let waits = tokio::spawn(app.owner().request(Method::POST, CHAT).json(&body).send());
    app.model.asked("#two").await;
    app.model.release(2);
    let mut pieces = waits.await.expect("no panic").expect("answers").bytes_stream();
    let mut text = String::new();
    // The rest of the answer is not written before its beginning is here.
    while !text.contains("#two") {
        let piece = pieces.next().await.expect("a piece").expect("bytes");
        text.push_str(std::str::from_utf8(&piece).expect("text"));
    }
    assert!(!text.contains("end"), "{text}");
    app.model.release(100);
    while let Some(piece) = pieces.next().await {
        text.push_str(std::str::from_utf8(&piece.expect("bytes")).expect("text"));
    }
    let chunks = events(&text);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let said: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said.concat(), "re: #two end");
    let [.., last, usage] = chunks.as_slice() else {
        panic!("{chunks:?}")
    };
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (&usage["choices"], &usage["usage"]["total_tokens"]),
        (&json!([]), &json!(15))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_the_users_the_headers_or_the_requests_own() {
    let app = TestApp::start_with(&json!({"agents": {"list": [{"id": "main"}, {"id": "work"}]}}), &[]).await;
    let (_, models) = app.owner().get("/v1/models").await;
    let ids: Vec<&str> = models["data"]
        .as_array()
        .expect("models")
        .iter()
        .filter_map(|model| model["id"].as_str())
        .collect();
    assert_eq!(ids, ["openclaw", "openclaw/default", "openclaw/main", "openclaw/work"]);
    assert_eq!(app.owner().get("/v1/models/openclaw/work").await.0, 200);
    assert_eq!(app.owner().get("/v1/models/gpt-4o").await.0, 404);
    let mut body = ask("first #a");
    body["user"] = json!("Ada");
    body["model"] = json!("openclaw/work");
    body["messages"] = json!([{"role": "system", "content": "rhyme-always"}, {"role": "user", "content": "first #a"}]);
    assert_eq!(app.owner().post(CHAT, &body).await.0, 200);
    let asked = app.model.asked("#a").await;
    assert!(
        asked["messages"][0]["content"].to_string().contains("rhyme-always"),
        "{asked}"
    );
    body["messages"] = json!([{"role": "user", "content": "second #b"}]);
    assert_eq!(app.owner().post(CHAT, &body).await.0, 200);
    let asked = app.model.asked("#b").await;
    assert!(
        prompt(&asked).contains("first #a"),
        "one user's requests share a session"
    );
    let request = app
        .owner()
        .request(Method::POST, CHAT)
        .header("x-openclaw-session-key", "agent:work:tea");
    assert_eq!(answered(request.json(&ask("third #c"))).await.0, 200);
    assert!(!prompt(&app.model.asked("#c").await).contains("#a"));
    assert_eq!(app.owner().post(CHAT, &ask("fourth #d")).await.0, 200);
    let keys: Vec<String> = app.rows().await.column("SELECT key FROM session ORDER BY key").await;
    let (own, named): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.starts_with("agent:main:openai:"));
    assert_eq!(
        (own.len(), named),
        (
            1,
            vec![&"agent:work:openai-user:ada".to_owned(), &"agent:work:tea".to_owned()]
        )
    );
    let (code, error) = app
        .owner()
        .post(
            CHAT,
            &json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}),
        )
        .await;
    assert_eq!((code, &error["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_is_told_so_in_openais_shape() {
    let mut app = TestApp::start().await;
    app.add_other_tenant();
    let narrow = |scopes: &str| {
        app.binary.cli(&[
            "token", "create", "--tenant", "demo", "--user", OWNER, "--scopes", scopes,
        ])
    };
    let reader = narrow("operator.read");
    let writer = narrow("operator.read,operator.write");
    for (path, body) in [
        (CHAT, ask("hi")),
        ("/v1/responses", json!({"model": "openclaw", "input": "hi"})),
        ("/tools/invoke", json!({"tool": "session_status"})),
    ] {
        for (token, expected, kind) in [
            (None, 401, "authentication_error"),
            (Some("claw_nonsense"), 401, "authentication_error"),
            (Some(app.token(STRANGER)), 401, "authentication_error"),
            (Some(reader.as_str()), 403, "permission_error"),
            (Some(writer.as_str()), 403, "permission_error"),
        ] {
            let mut request = app.anonymous().request(Method::POST, path).json(&body);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let (code, error) = answered(request).await;
            assert_eq!(code, expected, "{path} {error}");
            assert!(error["error"]["message"].is_string(), "{error}");
            if path.starts_with("/v1") {
                assert_eq!(error["error"]["type"], kind, "{path}");
            }
        }
    }
    let request = app.owner().request(Method::PUT, CHAT).json(&ask("hi"));
    assert_eq!(answered(request).await.0, 405);
    assert_eq!(app.model.calls().len(), 0, "nobody reached the agent");
    let agent = narrow("agent");
    let request = app
        .anonymous()
        .request(Method::POST, CHAT)
        .bearer_auth(agent)
        .json(&ask("hi #in"));
    assert_eq!(answered(request).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_refused_and_cost_little() {
    let app = TestApp::start().await;
    let post = |path: &str, body: String| {
        let request = app
            .owner()
            .request(Method::POST, path)
            .header("content-type", "application/json");
        request.body(body)
    };
    let deep = format!(
        "{{\"model\": \"openclaw\", \"messages\": {}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let many = format!("{{\"messages\": [{}]}}", vec!["{\"role\":\"user\"}"; 100_000].join(","));
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(2 << 20)}]}).to_string();
    let huge = json!({"messages": [{"role": "user", "content": "x".repeat(21 << 20)}]}).to_string();
    // Millions of entries, which are refused at the first and kept nowhere.
    let zeros = "0,".repeat(9 << 20);
    let inputs = format!("{{\"input\": [{zeros}0]}}");
    let contents = format!("{{\"messages\": [{{\"role\": \"user\", \"content\": [{zeros}0]}}]}}");
    let choice = format!("{{\"input\": \"x\", \"tool_choice\": [{zeros}0]}}");
    let schema = format!("[{}0]", "0,".repeat(40_000));
    let schema = format!(
        "{{\"input\": \"x\", \"tools\": [{{\"type\": \"function\", \"name\": \"t\", \"parameters\": {schema}}}]}}"
    );
    let picture = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}]}]});
    for (path, body, expected) in [
        (CHAT, deep, 400),
        (CHAT, many, 400),
        (CHAT, long, 413),
        (CHAT, huge, 413),
        (CHAT, contents, 400),
        ("/v1/responses", inputs, 400),
        ("/v1/responses", choice, 400),
        ("/v1/responses", schema, 400),
        (CHAT, picture.to_string(), 400),
        (CHAT, "{\"messages\": \"hello\"}".to_owned(), 400),
        (CHAT, "{\"messages\": [{\"role\": 3}]}".to_owned(), 400),
        (CHAT, "{\"messages\": []}".to_owned(), 400),
        (CHAT, "[]".to_owned(), 400),
        (CHAT, "\u{0}".to_owned(), 400),
        (
            "/v1/responses",
            json!({"input": "x", "instructions": "y".repeat(2 << 20)}).to_string(),
            413,
        ),
        (
            "/v1/responses",
            json!({"input": "x", "tools": [{"type": "function", "name": "t", "description": "y".repeat(1 << 20)}]})
                .to_string(),
            413,
        ),
        ("/v1/responses", "{\"input\": {\"a\": 1}}".to_owned(), 400),
        (
            "/v1/responses",
            "{\"input\": \"x\", \"tools\": [{\"type\": \"function\", \"name\": \"a b\"}]}".to_owned(),
            400,
        ),
        (
            "/v1/responses",
            "{\"input\": \"x\", \"tools\": [{\"type\": \"web_search\"}]}".to_owned(),
            400,
        ),
        ("/tools/invoke", "{\"tool\": 3}".to_owned(), 400),
        (
            "/tools/invoke",
            format!("{{\"tool\": \"{}\"}}", "x".repeat(3 << 20)),
            413,
        ),
    ] {
        let shown: String = body.chars().take(60).collect();
        // The server may answer, and hang up, before it has read a body that is too large.
        let too_large = expected == 413;
        let response = match post(path, body).send().await {
            Ok(response) => response,
            Err(broken) => {
                let by_server = broken.is_request() || broken.is_body() || broken.is_connect();
                assert!(
                    too_large && by_server && !broken.is_timeout(),
                    "{path} {shown}: {broken:?}"
                );
                continue;
            }
        };
        let code = response.status().as_u16();
        assert!(
            code == expected || (too_large && code == 400),
            "{path} {shown}: {code} instead of {expected}"
        );
        let error: Value = match response.json().await {
            Ok(error) => error,
            Err(broken) => {
                assert!(too_large, "{path} {shown}: {broken:?}");
                continue;
            }
        };
        assert!(error["error"]["message"].is_string(), "{path} {shown}: {error}");
    }
    let form = app
        .owner()
        .request(Method::POST, CHAT)
        .header("content-type", "text/plain")
        .body("{}");
    assert_eq!(answered(form).await.0, 400);
    assert!(app.model.calls().is_empty());
    // A picture in the body is stored, and seen by a model that can see.
    let png = STANDARD.encode([0x89, b'P', b'N', b'G', 1, 2, 3]);
    let (code, answer) = app.owner().post(CHAT, &json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "look #p"}, {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{png}")}}]}]})).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(app.rows().await.count("blob").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_aborts_its_run() {
    let app = TestApp::start().await;
    let mut body = ask("[gate] stream #gone");
    body["stream"] = json!(true);
    let response = app.owner().request(Method::POST, CHAT).json(&body);
    let waits = tokio::spawn(response.send());
    app.model.asked("#gone").await;
    app.model.release(1);
    let response = waits.await.expect("no panic").expect("answers");
    let mut pieces = response.bytes_stream();
    let first = pieces.next().await.expect("a piece").expect("bytes");
    assert!(!first.is_empty());
    drop(pieces);
    let rows = app.rows().await;
    becomes("aborted streams", 1, || {
        rows.count("run WHERE status = 'aborted' AND stop_reason = 'disconnect'")
    })
    .await;
    becomes("answers being written", 0, || async { app.model.running() }).await;
    // One that wants it whole.
    let whole = app
        .owner()
        .request(Method::POST, CHAT)
        .json(&ask("[gate] whole #gone2"))
        .send();
    let whole = tokio::spawn(whole);
    app.model.asked("#gone2").await;
    whole.abort();
    becomes("aborted runs", 2, || {
        rows.count("run WHERE status = 'aborted' AND stop_reason = 'disconnect'")
    })
    .await;
    // One that waits behind another in its session never runs.
    let behind = |text: &str| {
        let request = app
            .owner()
            .request(Method::POST, CHAT)
            .header("x-openclaw-session-key", "line");
        request.json(&ask(text)).send()
    };
    let front = tokio::spawn(behind("[gate] front #f"));
    app.model.asked("#f").await;
    let second = tokio::spawn(behind("behind #g"));
    becomes("waiting messages", 1, || rows.count("inbox WHERE state = 'pending'")).await;
    second.abort();
    becomes("waiting messages", 0, || rows.count("inbox WHERE state = 'pending'")).await;
    app.model.release(100);
    assert_eq!(front.await.expect("no panic").expect("answers").status(), 200);
    app.settled().await;
    assert!(app.model.calls().iter().all(|call| !prompt(call).contains("behind #g")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_turn() {
    let app = TestApp::start().await;
    let request = |text: &str, stream: bool| {
        let mut body = ask(text);
        body["stream"] = json!(stream);
        app.owner()
            .request(Method::POST, CHAT)
            .header("idempotency-key", "k1")
            .json(&body)
    };
    let (code, first) = answered(request("once #k", false)).await;
    assert_eq!(code, 200);
    let (code, again) = answered(request("once #k", false)).await;
    assert_eq!((code, &again["choices"]), (200, &first["choices"]));
    assert_eq!(again["id"], first["id"]);
    let text = request("once #k", true)
        .send()
        .await
        .expect("answers")
        .text()
        .await
        .expect("a body");
    let said: String = events(&text)
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, "re: #k end");
    assert_eq!(app.model.calls().len(), 1);
    assert_eq!(app.rows().await.count("inbox").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_after_going_away_is_told_so() {
    let app = TestApp::start().await;
    let request = |key: &str, stream: bool| {
        let mut body = ask("[gate] left #l");
        body["stream"] = json!(stream);
        app.owner()
            .request(Method::POST, CHAT)
            .header("idempotency-key", key)
            .json(&body)
    };
    let first = tokio::spawn(request("k", false).send());
    app.model.asked("#l").await;
    first.abort();
    let rows = app.rows().await;
    becomes("aborted runs", 1, || {
        rows.count("run WHERE status = 'aborted' AND stop_reason = 'disconnect'")
    })
    .await;
    for stream in [false, true] {
        let response = request("k", stream).send().await.expect("answers");
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["x-should-retry"], "false");
        let error: Value = response.json().await.expect("JSON");
        let message = error["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("new Idempotency-Key"), "{error}");
    }
    app.model.release(100);
    assert_eq!(answered(request("k2", false)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_a_failure_and_not_sent_again() {
    let app = TestApp::start().await;
    let response = app
        .owner()
        .request(Method::POST, CHAT)
        .json(&ask("[status:401] #f"))
        .send()
        .await
        .expect("answers");
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["x-should-retry"], "false");
    let error: Value = response.json().await.expect("JSON");
    assert_eq!(error["error"]["type"], "api_error");
    // Before the first word it has a status, also of a stream.
    let mut body = ask("[status:401] #g");
    body["stream"] = json!(true);
    assert_eq!(app.owner().post(CHAT, &body).await.0, 500);
    // Behind it, it is the last event.
    let brief = json!({"agents": {"defaults": {"timeoutSeconds": 5}}});
    let app = TestApp::start_with(&brief, &[]).await;
    let mut body = ask("[gate] #a #b #c");
    body["stream"] = json!(true);
    // Two words come, the rest never does.
    let begun = async {
        app.model.asked("#a").await;
        app.model.release(2);
    };
    let (chunks, ()) = tokio::join!(streamed(&app, CHAT, &body), begun);
    let said = |chunk: &Value| {
        chunk["choices"][0]["delta"]["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    };
    assert!(chunks.iter().any(said), "{chunks:?}");
    assert_eq!(chunks.last().expect("chunks")["error"]["type"], "api_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_comes_whole_or_as_events() {
    let app = TestApp::start().await;
    let (code, answer) = app
        .owner()
        .post(
            "/v1/responses",
            &json!({"model": "openclaw", "input": "hello #one", "instructions": "be kind-hearted"}),
        )
        .await;
    assert_eq!((code, &answer["status"]), (200, &json!("completed")), "{answer}");
    assert_eq!(answer["output"][0]["content"][0]["text"], "re: #one end");
    assert_eq!(answer["usage"]["total_tokens"], 15);
    assert!(
        app.model.asked("#one").await["messages"][0]["content"]
            .to_string()
            .contains("kind-hearted")
    );
    // Goes on where that response was.
    let next = json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "[slow:20] and #two"}]}],
        "previous_response_id": answer["id"], "stream": true});
    let events = streamed(&app, "/v1/responses", &next).await;
    assert!(prompt(&app.model.asked("#two").await).contains("hello #one"));
    let names: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(
        names
            .iter()
            .filter(|name| **name != "response.output_text.delta")
            .collect::<Vec<_>>(),
        [
            &"response.created",
            &"response.in_progress",
            &"response.output_item.added",
            &"response.content_part.added",
            &"response.output_text.done",
            &"response.content_part.done",
            &"response.output_item.done",
            &"response.completed"
        ]
    );
    let numbers: Vec<u64> = events
        .iter()
        .filter_map(|event| event["sequence_number"].as_u64())
        .collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let done = events.last().expect("events");
    assert_eq!(done["response"]["output"][0]["content"][0]["text"], "re: #two end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_of_the_clients_ends_the_turn_and_its_result_goes_on() {
    let app = TestApp::start().await;
    let tools = json!([{"type": "function", "name": "weather", "description": "Says the weather.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}]);
    let call = calls_tool("weather", &json!({"place": "Kyiv"}));
    let body = json!({"input": format!("{call} #w"), "user": "u1", "tools": tools});
    let (code, answer) = app.owner().post("/v1/responses", &body).await;
    assert_eq!(code, 200, "{answer}");
    let item = &answer["output"][0];
    assert_eq!(
        (&item["type"], &item["name"]),
        (&json!("function_call"), &json!("weather"))
    );
    assert_eq!(item["arguments"], "{\"place\":\"Kyiv\"}");
    let offered = app.model.asked("#w").await["tools"].to_string();
    assert!(offered.contains("\"weather\""), "{offered}");
    let result = json!({"input": [{"type": "function_call_output", "call_id": item["call_id"], "output": "sunny #s"}], "user": "u1", "tools": tools});
    let (code, answer) = app.owner().post("/v1/responses", &result).await;
    assert_eq!(
        (code, &answer["output"][0]["content"][0]["text"]),
        (200, &json!("re: #s end")),
        "{answer}"
    );
    let asked = app.model.asked("#s").await;
    let said = prompt(&asked);
    assert!(
        said.contains("Kyiv") && said.contains("The client runs this tool"),
        "{said}"
    );
    // As events.
    let body = json!({"input": format!("{call} #w2"), "tools": tools, "stream": true});
    let events = streamed(&app, "/v1/responses", &body).await;
    let done = events.last().expect("events");
    assert_eq!(done["response"]["output"][0]["name"], "weather", "{done}");
    assert!(
        events
            .iter()
            .any(|event| event["type"] == "response.function_call_arguments.done")
    );
    let (code, error) = app
        .owner()
        .post(
            "/v1/responses",
            &json!({"input": "x", "tools": [{"type": "function", "name": "read"}]}),
        )
        .await;
    assert_eq!(code, 400, "{error}");
    let (_, none) = app
        .owner()
        .post(
            "/v1/responses",
            &json!({"input": "plain #n", "tools": tools, "tool_choice": "none"}),
        )
        .await;
    assert_eq!(none["output"][0]["type"], "message");
    assert!(!app.model.asked("#n").await["tools"].to_string().contains("weather"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_as_policy_says() {
    let app = TestApp::start_with(&json!({"tools": {"deny": ["web_fetch"]}}), &[]).await;
    let invoke = |body: Value| async {
        let body = body;
        app.owner().post("/tools/invoke", &body).await
    };
    let (code, answer) = invoke(json!({"tool": "session_status"})).await;
    assert_eq!((code, &answer["ok"]), (200, &json!(true)), "{answer}");
    assert!(answer["result"]["content"][0]["text"].is_string(), "{answer}");
    let (code, answer) = invoke(json!({"tool": "session_status", "dryRun": true})).await;
    assert_eq!((code, &answer["dryRun"]), (200, &json!(true)));
    for (body, expected, kind) in [
        (json!({"tool": "nothing"}), 404, "not_found"),
        (
            json!({"tool": "web_fetch", "args": {"url": "https://example.com"}}),
            404,
            "not_found",
        ),
        (json!({"tool": "cron", "action": "list"}), 404, "not_found"),
        (json!({"tool": "session_status", "args": []}), 400, "invalid_request"),
        (json!({"tool": "read", "args": {"path": 3}}), 400, "invalid_request"),
        (
            json!({"tool": "session_status", "sessionKey": "a b"}),
            400,
            "invalid_request",
        ),
    ] {
        let (code, error) = invoke(body.clone()).await;
        assert_eq!(
            (code, &error["error"]["type"]),
            (expected, &json!(kind)),
            "{body} {error}"
        );
        assert_eq!(error["ok"], false);
    }
    assert_eq!(answered(app.owner().request(Method::GET, "/tools/invoke")).await.0, 405);
    assert_eq!(app.rows().await.count("transcript_entry").await, 0, "no turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_rules_hold_for_programs_in_its_session() {
    let telegram = json!({"groupPolicy": "open", "groups": {"*": {
        "requireMention": false, "tools": {"deny": ["session_status"]}, "toolsBySender": {"11": {}}}}});
    let app = TestApp::start_with(&json!({"channels": {"telegram": telegram}}), &[]).await;
    let mut said = telegram_update(1, 11, "#one");
    said["message"]["chat"] = json!({"id": -500, "type": "group", "title": "Friends"});
    assert_eq!(status(app.webhooks().telegram_body(&said)).await, 200);
    app.settled().await;
    let invoke = async |session: &str| {
        let body = json!({"tool": "session_status", "sessionKey": session});
        app.owner().post("/tools/invoke", &body).await.0
    };
    assert_eq!(invoke("agent:main:telegram:group:-500").await, 404);
    assert_eq!(invoke("main").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_acceptance_and_answer_nothing_is_lost() {
    let mut app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1")]).await;
    let lost = {
        let request = app
            .owner()
            .request(Method::POST, CHAT)
            .header("idempotency-key", "kept");
        tokio::spawn(request.json(&ask("[gate] #kept")).send())
    };
    app.model.asked("#kept").await;
    tokio::task::block_in_place(|| app.binary.kill());
    assert!(lost.await.expect("no panic").is_err(), "the connection died");
    app.model.release(1000);
    tokio::task::block_in_place(|| app.binary.start());
    app.settled().await;
    assert_eq!(
        app.rows()
            .await
            .count("inbox WHERE state = 'done' AND source = 'http'")
            .await,
        1
    );
    // Who asks again under the same key gets that answer.
    let request = app
        .owner()
        .request(Method::POST, CHAT)
        .header("idempotency-key", "kept");
    let (code, answer) = answered(request.json(&ask("[gate] #kept"))).await;
    assert_eq!(
        (code, &answer["choices"][0]["message"]["content"]),
        (200, &json!("re: #kept end")),
        "{answer}"
    );
    assert_eq!(app.rows().await.count("run").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_has_only_so_many_requests_at_a_time() {
    let app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__USER_REQUESTS", "1")]).await;
    let first = tokio::spawn(app.owner().request(Method::POST, CHAT).json(&ask("[gate] #one")).send());
    app.model.asked("#one").await;
    let response = app
        .owner()
        .request(Method::POST, CHAT)
        .json(&ask("#two"))
        .send()
        .await
        .expect("answers");
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    app.model.release(100);
    assert_eq!(first.await.expect("no panic").expect("answers").status(), 200);
    let free = eventually("a place is free again", || async {
        let (code, _) = app.owner().post(CHAT, &ask("#three")).await;
        (code == 200).then_some(())
    });
    tokio::time::timeout(Duration::from_secs(60), free)
        .await
        .expect("in time");
}
