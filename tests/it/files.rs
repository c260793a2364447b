//! Files that a model reads as they are, the room that stored files have, and when they go.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::model::{calls_tool, prompt};
use crate::support::pdf;
use crate::support::platform::{PDF, Trouble};
use crate::support::tool::{ask, told};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::{status, telegram_update};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

/// The model takes these kinds.
fn takes(input: &[&str]) -> Value {
    json!({"models": {"providers": {"mock": {"models": [
        {"id": "mock-1", "contextWindow": 128_000, "maxTokens": 4096, "input": input},
    ]}}}})
}

async fn start(input: &[&str], settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::start_with(&json!({}), settings).await;
    app.import("demo", OWNER, &takes(input));
    app
}

fn asks(parts: &Value) -> Value {
    json!({"model": "openclaw", "messages": [{"role": "user", "content": parts}]})
}

fn pdf_url() -> String {
    format!("data:application/pdf;base64,{}", STANDARD.encode(PDF))
}

fn wav() -> Vec<u8> {
    [b"RIFF\x24\0\0\0WAVEfmt ".as_slice(), &[0; 24]].concat()
}

/// Parts of the newest message of a user in the newest request.
fn sent(app: &TestApp) -> Value {
    let calls = app.model.calls();
    let messages = calls.last().expect("was asked")["messages"]
        .as_array()
        .expect("messages")
        .clone();
    let last = messages.into_iter().rfind(|message| message["role"] == "user");
    last.expect("a question")["content"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_and_a_sound_reach_a_model_that_reads_them_as_they_are() {
    let app = start(&["text", "image", "pdf", "audio"], &[]).await;
    let sound = STANDARD.encode(wav());
    let parts = json!([
        {"type": "text", "text": "what is in it? #chat"},
        {"type": "file", "file": {"filename": "re\"port.pdf", "file_data": pdf_url()}},
        {"type": "input_audio", "input_audio": {"data": sound, "format": "mp3"}},
    ]);
    let (code, answer) = app.owner().post(CHAT, &asks(&parts)).await;
    assert_eq!(code, 200, "{answer}");
    let content = sent(&app);
    assert_eq!(
        content[1],
        json!({"type": "file", "file": {"filename": "report.pdf", "file_data": pdf_url()}})
    );
    // What it is counts, not what it is called.
    assert_eq!(
        content[2],
        json!({"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}})
    );

    let parts = json!([{"role": "user", "content": [
        {"type": "input_text", "text": "and this? #responses"},
        {"type": "input_file", "filename": "a.pdf", "file_data": pdf_url()},
    ]}]);
    let body = json!({"model": "openclaw", "input": parts, "user": "ada"});
    assert_eq!(app.owner().post(RESPONSES, &body).await.0, 200);
    assert_eq!(sent(&app)[1]["file"]["file_data"], pdf_url());
    // It stays in the conversation, and is stored once.
    let body = json!({"model": "openclaw", "input": "again? #again", "user": "ada"});
    assert_eq!(app.owner().post(RESPONSES, &body).await.0, 200);
    assert!(prompt(app.model.calls().last().expect("was asked")).contains(&pdf_url()));
    assert_eq!(
        app.rows().await.count("blob WHERE mime_type = 'application/pdf'").await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_sound_to_a_model_that_hears_none_is_told_what_it_takes() {
    let app = start(&["text", "image"], &[]).await;
    let sound = json!({"type": "input_audio", "input_audio": {"data": STANDARD.encode(wav()), "format": "wav"}});
    let (code, answer) = app.owner().post(CHAT, &asks(&json!([sound]))).await;
    assert_eq!(code, 400, "{answer}");
    let message = answer["error"]["message"].as_str().expect("a sentence");
    assert!(
        message.contains("WAV") && message.contains("it takes: text, image"),
        "{message}"
    );
    assert_eq!(answer["error"]["param"], "content");
    assert!(app.model.calls().is_empty());
    assert_eq!(app.rows().await.count("blob").await, 0);
    assert_eq!(app.rows().await.count("inbox").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_from_a_chat_is_read_where_the_model_reads_it() {
    let app = start(&["text", "pdf"], &[]).await;
    let mut update = telegram_update(1, 700, "");
    update["message"]["text"].take();
    update["message"]["caption"] = json!("what does it say? #pdf");
    update["message"]["document"] = json!({"file_id": "report", "file_unique_id": "u1", "file_name": "report.pdf",
        "mime_type": "application/pdf", "file_size": PDF.len()});
    assert_eq!(status(app.webhooks().telegram_body(&update)).await, 200);
    app.platform.message("700", "#pdf").await;
    assert_eq!(
        sent(&app)[1],
        json!({"type": "file", "file": {"filename": "report.pdf", "file_data": pdf_url()}})
    );

    // What only calls itself a PDF is none.
    update["update_id"] = json!(2);
    update["message"]["message_id"] = json!(2);
    update["message"]["caption"] = json!("and this? #fake");
    update["message"]["document"]["file_id"] = json!("fake");
    assert_eq!(status(app.webhooks().telegram_body(&update)).await, 200);
    app.platform.message("700", "#fake").await;
    let text = prompt(app.model.calls().last().expect("was asked"));
    assert!(text.contains("which is no PDF"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_files_have_so_much_room_and_the_words_are_answered_without() {
    let settings = [("CLAWCENTRAL__LIMITS__STORED_BYTES_PER_USER", "300")];
    let app = start(&["text", "image", "pdf"], &settings).await;
    let mut operator = app.operator().await;
    let large: Vec<u8> = [PDF, &[b' '; 150][..]].concat();
    let attachment = json!({"mimeType": "application/pdf", "fileName": "a.pdf", "content": STANDARD.encode(large)});
    let send = |run: &str| json!({"sessionKey": "main", "message": "#first", "idempotencyKey": run, "attachments": [attachment]});
    operator.call("chat.send", send("r1")).await.expect("there is room");
    operator.chat_end("r1").await;
    let refused = operator.call("chat.send", send("r2")).await.expect_err("there is none");
    assert!(
        refused["message"]
            .as_str()
            .expect("text")
            .contains("room for stored files is full"),
        "{refused}"
    );
    // A guest's file is left out, and a note says so.
    let mut update = telegram_update(1, 700, "");
    update["message"]["text"].take();
    update["message"]["caption"] = json!("#guest");
    update["message"]["document"] = json!({"file_id": "report", "file_unique_id": "u1", "file_name": "report.pdf",
        "mime_type": "application/pdf", "file_size": PDF.len()});
    assert_eq!(status(app.webhooks().telegram_body(&update)).await, 200);
    app.platform.message("700", "#guest").await;
    let text = prompt(app.model.calls().last().expect("was asked"));
    assert!(text.contains("the room for stored files is full"), "{text}");
    assert_eq!(app.rows().await.count("blob").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_refers_to_goes_and_what_is_in_a_conversation_stays() {
    let mut app = start(&["text", "pdf"], &[]).await;
    let mut operator = app.operator().await;
    let attachment = json!({"mimeType": "application/pdf", "fileName": "a.pdf", "content": STANDARD.encode(PDF)});
    for key in ["kept", "gone", "noted"] {
        let send = json!({"sessionKey": key, "message": format!("#{key}"), "idempotencyKey": key, "attachments": [attachment]});
        operator.call("chat.send", send).await.expect("accepted");
        operator.chat_end(key).await;
    }
    let rows = app.rows().await;
    let ids: Vec<String> = rows.column("SELECT id FROM blob ORDER BY id").await;
    assert_eq!(ids.len(), 3);
    // A note names one of them.
    let note = json!({"path": "files.md", "content": format!("the report is blob:{}", ids[2])});
    let write = json!({"sessionKey": "main", "message": calls_tool("write", &note), "idempotencyKey": "note"});
    operator.call("chat.send", write).await.expect("accepted");
    operator.chat_end("note").await;
    for key in ["gone", "noted"] {
        operator
            .call("sessions.delete", json!({"key": key}))
            .await
            .expect("deletes");
    }
    let upload = json!({"kind": "skill-archive", "slug": "half", "sizeBytes": 10, "sha256": "0".repeat(64)});
    operator.call("skills.upload.begin", upload).await.expect("begins");
    assert_eq!(rows.count("skill_upload").await, 1);
    // Their time has come; the next start looks.
    rows.execute("UPDATE blob SET created_at = 1, look_at = 1").await;
    rows.execute("UPDATE skill_upload SET expires_at = 1").await;
    app.binary.kill();
    app.binary.start();
    becomes("files that are left", vec![ids[0].clone(), ids[2].clone()], || async {
        rows.column("SELECT id FROM blob ORDER BY id").await
    })
    .await;
    becomes("uploads that are left", 0, || async {
        rows.count("skill_upload").await
    })
    .await;
    // What is kept is looked at again, later.
    eventually("the next look is planned", || async {
        (rows.count("blob WHERE look_at > 1").await == 2).then_some(())
    })
    .await;
    // A file that is young stays, whatever refers to it.
    rows.execute("DELETE FROM transcript_entry").await;
    rows.execute("UPDATE blob SET look_at = 1, created_at = 9000000000000 WHERE mime_type = 'application/pdf'")
        .await;
    app.binary.kill();
    app.binary.start();
    eventually("it was looked at", || async {
        (rows.count("blob WHERE look_at > 1").await == 2).then_some(())
    })
    .await;
    assert_eq!(rows.count("blob").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_reply_that_can_be_sent_again_stays() {
    let mut app = start(&["text", "pdf"], &[]).await;
    let mut operator = app.operator().await;
    let attachment = json!({"mimeType": "application/pdf", "fileName": "a.pdf", "content": STANDARD.encode(PDF)});
    for key in ["failed", "unknown", "sent"] {
        let send = json!({"sessionKey": key, "message": format!("#{key}"), "idempotencyKey": key, "attachments": [attachment]});
        operator.call("chat.send", send).await.expect("accepted");
        operator.chat_end(key).await;
    }
    let rows = app.rows().await;
    let ids: Vec<String> = rows.column("SELECT id FROM blob ORDER BY id").await;
    assert_eq!(ids.len(), 3);
    app.binary.kill();
    // Each stands in a reply alone.
    for (state, id) in ["failed", "unknown", "sent"].into_iter().zip(&ids) {
        rows.execute(&format!(
            "INSERT INTO outbox (tenant_id, id, user_id, conversation, kind, destination, text, plain, media, state, \
             attempts, next_attempt_at, created_at, updated_at) SELECT tenant_id, '{state}', user_id, 'lane', 'final', \
             '{{}}', '', '', '{{\"blob\":\"{id}\"}}', '{state}', 1, 0, 9000000000000, 9000000000000 \
             FROM blob WHERE id = '{id}'"
        ))
        .await;
    }
    rows.execute("DELETE FROM transcript_entry").await;
    rows.execute("UPDATE blob SET created_at = 1, look_at = 1").await;
    app.binary.start();
    becomes("files that are left", ids[..2].to_vec(), || async {
        rows.column("SELECT id FROM blob ORDER BY id").await
    })
    .await;
}

/// One busy moment of the platform lost the file for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_from_a_chat_is_read_also_when_the_platform_is_busy() {
    let app = start(&["text"], &[]).await;
    let busy = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 0",
        "parameters": {"retry_after": 0}});
    app.platform.trouble("getFile", Trouble::Answer(429, busy));
    app.platform.trouble("getFile", Trouble::Answer(502, json!({})));
    let mut sent = telegram_update(1, 700, "");
    sent["message"].as_object_mut().expect("a message").remove("text");
    sent["message"]["caption"] = json!("#plan when?");
    sent["message"]["document"] =
        json!({"file_id": "plan", "file_unique_id": "p", "file_name": "plan.md", "mime_type": "text/markdown"});
    assert_eq!(status(app.webhooks().telegram_body(&sent)).await, 200);
    let asked = prompt(&app.model.asked("#plan").await);
    assert!(
        asked.contains("We meet at noon.") && asked.contains("plan.md"),
        "{asked}"
    );
    app.platform.message("700", "re: #plan").await;
    // What the platform refuses for certain is not asked for again.
    let gone = json!({"ok": false, "error_code": 400, "description": "Bad Request: file is temporarily unavailable"});
    app.platform.trouble("getFile", Trouble::Answer(400, gone));
    sent["message"]["message_id"] = json!(2);
    sent["message"]["caption"] = json!("#again when?");
    assert_eq!(status(app.webhooks().telegram_body(&sent)).await, 200);
    let asked = prompt(&app.model.asked("#again").await);
    assert!(asked.contains("could not be fetched"), "{asked}");
    app.settled().await;
    let tries = app.platform.calls().into_iter().filter(|call| call.method == "getFile");
    assert_eq!(tries.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_asks_about_documents_by_their_text_or_as_they_are() {
    let app = start(&["text"], &[]).await;
    let reads = json!({
        "models": {"providers": {"mock": {"models": [
            {"id": "mock-1", "contextWindow": 128_000, "maxTokens": 4096, "input": ["text"]},
            {"id": "reader", "contextWindow": 128_000, "maxTokens": 4096, "input": ["text", "image", "pdf"]},
        ]}}},
        "agents": {"defaults": {"pdfModel": {"primary": "mock/reader"}}},
    });
    let mut operator = app.operator().await;
    let two = pdf::pages(&["Clause seven ends it.", "Signed in Bern."]);
    let data = format!("data:application/pdf;base64,{}", STANDARD.encode(&two));
    let asked = json!({"prompt": "[say:in Bern] #text", "pdf": data, "pages": "2"});
    ask(&mut operator, "main", "p1", "pdf", &asked).await;
    let answer = told(&app, &mut operator, "p1").await;
    assert!(
        answer.contains("in Bern") && answer.contains("EXTERNAL_CONTENT"),
        "{answer}"
    );
    let call = app.model.asked("#text").await.to_string();
    assert!(
        call.contains("Signed in Bern.") && !call.contains("Clause seven"),
        "{call}"
    );
    for (run, wish, why) in [
        (
            "p2",
            json!({"pdf": "data:application/pdf;base64,aGVsbG8="}),
            "no PDF file",
        ),
        (
            "p3",
            json!({"pdf": "https://169.254.169.254/latest"}),
            "may not be fetched",
        ),
        ("p4", json!({"pdf": data, "pages": "0"}), "numbers from 1 on"),
        ("p5", json!({}), "Give 1 to 10"),
        ("p6", json!({"pdf": data, "pages": "9"}), "no text on these pages"),
    ] {
        ask(&mut operator, "main", run, "pdf", &wish).await;
        let refusal = told(&app, &mut operator, run).await;
        assert!(refusal.contains(why), "{run}: {refusal}");
    }
    // One that reads documents itself has them as they are.
    app.reconfigure(&reads, "/agents/defaults/pdfModel/primary").await;
    let asked = json!({"prompt": "[say:it ends] #whole", "pdfs": [data]});
    ask(&mut operator, "main", "p7", "pdf", &asked).await;
    assert!(told(&app, &mut operator, "p7").await.contains("it ends"));
    let call = app.model.asked("#whole").await;
    assert_eq!(call["model"], "reader");
    assert!(call["messages"].to_string().contains(&STANDARD.encode(&two)));
    app.settled().await;
}
