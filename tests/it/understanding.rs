//! Voice messages and PDFs for models that take neither: in words, or named with why not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp, merge};
use crate::support::model::{prompt, question};
use crate::support::pdf;
use crate::support::platform::WAV;
use crate::support::wait::eventually;
use crate::support::webhook::{status, telegram_update};

/// A service of the owner's own that listens, and a model that reads text alone.
fn listening(app: &TestApp) -> Value {
    json!({"tools": {"media": {"audio": {"baseUrl": app.model.base_url(), "apiKey": "sk-ears", "language": "en"}}}})
}

async fn start() -> TestApp {
    let app = TestApp::start().await;
    let own = listening(&app);
    app.reconfigure(&own, "/tools/media/audio/language").await;
    app
}

/// A message that brings this file of the fake platform's.
fn brings(update: u64, chat: i64, kind: &str, file: &str, name: Option<&str>, caption: &str) -> Value {
    let mut message = telegram_update(update, chat, "");
    message["message"].as_object_mut().expect("a message").remove("text");
    message["message"]["caption"] = json!(caption);
    let mime_type = match kind {
        "document" => "application/pdf",
        "audio" => "audio/x-wav",
        _ => "audio/ogg",
    };
    message["message"][kind] = json!({"file_id": file, "file_unique_id": file, "mime_type": mime_type, "duration": 3});
    if let Some(name) = name {
        message["message"][kind]["file_name"] = json!(name);
    }
    message
}

async fn sends(app: &TestApp, message: &Value) {
    assert_eq!(status(app.webhooks().telegram_body(message)).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_message_is_written_down_for_a_model_that_does_not_hear() {
    let app = start().await;
    sends(
        &app,
        &brings(1, 700, "voice", "voice-please_answer_TAGevening", None, ""),
    )
    .await;
    app.platform.message("700", "re: #evening end").await;
    let asked = app.model.asked("#evening").await;
    let question = question(&asked);
    assert!(
        question.contains(
            "[Audio: voice message]\nTranscript (what was said, written down by a machine):\n  please answer"
        ),
        "{question}"
    );
    let heard = app.model.heard();
    assert_eq!(heard.len(), 1);
    for part in [
        "whisper-1",
        "name=\"language\"\r\n\r\nen",
        "filename=\"audio.ogg\"",
        "OggS says please",
    ] {
        assert!(heard[0].contains(part), "{part}: {}", heard[0]);
    }
    // People who read the conversation see what was said, and nothing around it.
    let rows = app.rows().await;
    let shown: Vec<String> = rows.column("SELECT body FROM transcript_entry ORDER BY seq").await;
    assert!(shown[0].contains("please answer #evening"), "{shown:?}");
    assert_eq!(rows.count("blob").await, 0, "the sound is not needed any more");
    let used =
        "side_usage WHERE provider = 'openai' AND model = 'whisper-1' AND calls = 1 AND input = 7 AND cost > 0.0006";
    assert_eq!(rows.count(used).await, 1);
    // A sound in the middle of words stands beside them.
    sends(
        &app,
        &brings(2, 700, "voice", "voice-good_morning", None, "listen #second"),
    )
    .await;
    app.platform.message("700", "#second").await;
    let text = prompt(app.model.calls().last().expect("was asked"));
    assert!(
        text.contains("good morning") && text.contains("listen #second"),
        "{text}"
    );
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_listened_to_is_named_and_kept_and_its_sender_is_told_why() {
    let app = TestApp::start().await;
    sends(&app, &brings(1, 700, "voice", "voice-hello", None, "#nobody")).await;
    let told = app.platform.message("700", "#nobody").await;
    assert!(
        told.text
            .contains("(I could not listen to voice message: no speech-to-text is set up.)"),
        "{told:?}"
    );
    let asked = question(&app.model.asked("#nobody").await);
    assert!(
        asked.contains("could not be listened to: no speech-to-text is set up"),
        "{asked}"
    );
    let rows = app.rows().await;
    let kept: Vec<String> = rows.column("SELECT id FROM blob WHERE mime_type = 'audio/ogg'").await;
    assert!(kept.len() == 1 && asked.contains(&kept[0]), "{kept:?} {asked}");

    let own = listening(&app);
    app.reconfigure(&own, "/tools/media/audio/language").await;
    sends(&app, &brings(2, 700, "voice", "voice-REFUSE", None, "#refused")).await;
    let told = app.platform.message("700", "#refused").await;
    assert!(told.text.contains("did not accept the API key"), "{told:?}");
    // Switched off is switched off.
    let mut off = listening(&app);
    off["tools"]["media"]["audio"]["enabled"] = json!(false);
    app.reconfigure(&off, "/tools/media/audio/enabled").await;
    let before = app.model.heard().len();
    sends(&app, &brings(3, 700, "voice", "voice-hello", None, "#off")).await;
    let told = app.platform.message("700", "#off").await;
    assert!(told.text.contains("no speech-to-text is set up"), "{told:?}");
    assert_eq!(app.model.heard().len(), before);
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_a_turn_began_its_sender_still_hears_what_was_not_understood() {
    let mut app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1")]).await;
    sends(&app, &brings(1, 700, "voice", "voice-hello", None, "#cut [gate]")).await;
    app.model.asked("#cut").await;
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    app.model.release(100);
    let told = app.platform.message("700", "#cut").await;
    let why = "(I could not listen to voice message: no speech-to-text is set up.)";
    assert_eq!(told.text.matches(why).count(), 1, "{told:?}");
    app.settled().await;
    // It is said to the sender, and stands in no conversation.
    let mut operator = app.operator().await;
    let page = json!({"sessionKey": "agent:main:telegram:direct:700"});
    let shown = operator.call("chat.history", page).await.expect("history").to_string();
    assert!(!shown.contains(why) && !shown.contains("missed"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_hears_gets_the_sound_itself() {
    let hears = json!({"models": {"providers": {"mock": {"models": [
        {"id": "mock-1", "contextWindow": 128_000, "maxTokens": 4096, "input": ["text", "audio"]},
    ]}}}});
    let app = TestApp::start_with(&hears, &[]).await;
    let mut own = listening(&app);
    merge(&mut own, &hears);
    app.reconfigure(&own, "/tools/media/audio/language").await;
    sends(&app, &brings(1, 700, "audio", "wav", Some("a.wav"), "#wav")).await;
    app.platform.message("700", "#wav").await;
    let asked = app.model.asked("#wav").await;
    let content = asked["messages"]
        .as_array()
        .expect("messages")
        .last()
        .expect("a question")["content"]
        .clone();
    assert_eq!(
        content[1]["input_audio"],
        json!({"data": STANDARD.encode(WAV), "format": "wav"}),
        "{content}"
    );
    assert!(app.model.heard().is_empty());
    // Ogg it does not take: in words.
    sends(&app, &brings(2, 700, "voice", "voice-good_day", None, "#ogg")).await;
    app.platform.message("700", "#ogg").await;
    assert!(question(&app.model.asked("#ogg").await).contains("good day"));
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_sound_may_be_a_quarter_as_large_and_costs_within_the_owners_budget() {
    let priced = json!({"models": {"providers": {"mock": {"models": [
        {"id": "mock-1", "contextWindow": 128_000, "maxTokens": 4096, "cost": {"input": 0.001, "output": 0.001}},
    ]}}}});
    let app = TestApp::start_with(&priced, &[]).await;
    let mut own = listening(&app);
    own["tools"]["media"]["audio"]["maxBytes"] = json!(40_000);
    merge(&mut own, &priced);
    app.reconfigure(&own, "/tools/media/audio/maxBytes").await;
    sends(&app, &brings(1, 700, "voice", "long", None, "#large")).await;
    let told = app.platform.message("700", "#large").await;
    assert!(told.text.contains("it is larger than 1 MB"), "{told:?}");
    assert!(app.model.heard().is_empty());
    // The owner's may be as large.
    let code = app.link_code(OWNER).await;
    assert_eq!(status(app.webhooks().telegram(2, 900, &code)).await, 200);
    app.platform.message("900", "linked").await;
    sends(&app, &brings(3, 900, "voice", "long", None, "#owner")).await;
    app.platform.message("900", "#owner").await;
    assert_eq!(app.model.heard().len(), 1);
    // A limit that leaves nothing for listening, and enough for words.
    let limit = json!({"kind": "tenant", "unit": "money", "amount": 0.000_75, "period": "month"});
    let (code, made) = app.owner().post("/api/budgets", &limit).await;
    assert_eq!(code, 201, "{made}");
    sends(&app, &brings(4, 700, "voice", "voice-hello", None, "#spent")).await;
    app.platform.message("700", "#spent").await;
    assert_eq!(app.model.heard().len(), 2, "one second has room");
    sends(&app, &brings(5, 700, "voice", "voice-hello", None, "#over")).await;
    let told = app.platform.message("700", "#over").await;
    assert!(told.text.contains("(I could not listen to voice message: "), "{told:?}");
    assert!(told.text.contains("limit"), "{told:?}");
    assert_eq!(app.model.heard().len(), 2);
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_the_listening_too() {
    let app = start().await;
    app.link(OWNER, 900).await;
    sends(&app, &brings(2, 900, "voice", "voice-HANG", None, "#hangs")).await;
    eventually("it listens", || async { (!app.model.heard().is_empty()).then_some(()) }).await;
    // What is paid for is an attempt, though the turn has not begun.
    let rows = app.rows().await;
    assert_eq!(rows.count("inbox WHERE state = 'pending' AND attempts = 1").await, 1);
    assert_eq!(status(app.webhooks().telegram(3, 900, "/stop")).await, 200);
    app.settled().await;
    assert!(app.model.calls().iter().all(|call| !question(call).contains("#hangs")));
    assert_eq!(rows.count("inbox WHERE attempts > 1").await, 0);
    // The service may have taken it: it counts as estimated.
    let used = "side_usage WHERE model = 'whisper-1' AND calls = 1 AND input = 1 AND cost > 0";
    assert_eq!(rows.count(used).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listening_that_a_stop_of_the_process_cuts_off_begins_again() {
    let mut app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__DRAIN_GRACE_SECS", "1")]).await;
    let own = listening(&app);
    app.reconfigure(&own, "/tools/media/audio/language").await;
    sends(&app, &brings(1, 700, "voice", "voice-GATE", None, "")).await;
    eventually("it listens", || async { (!app.model.heard().is_empty()).then_some(()) }).await;
    let status = tokio::task::block_in_place(|| app.binary.terminate());
    assert!(status.success(), "{status:?}");
    let rows = app.rows().await;
    assert_eq!(rows.count("inbox WHERE state = 'pending'").await, 1);
    // The words order a gate of the answer too.
    app.model.release(100);
    tokio::task::block_in_place(|| app.binary.start());
    let told = app.platform.message("700", "re: #opened end").await;
    assert!(!told.text.contains("could not"), "{told:?}");
    app.settled().await;
    assert_eq!(app.model.heard().len(), 2);
    assert_eq!(rows.count("inbox WHERE attempts = 2").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_settings_holds_up_no_message() {
    let app = TestApp::start().await;
    let wrong = json!({"tools": {"media": {"audio": {"apiKey": "sk-ears", "language": "en",
        "models": [{"provider": "deepgram", "model": "nova-3"}]}}}});
    app.reconfigure(&wrong, "/tools/media/audio/language").await;
    sends(&app, &brings(1, 700, "voice", "voice-hello", None, "#wrong")).await;
    let told = app.platform.message("700", "#wrong").await;
    assert!(
        told.text
            .contains("(I could not listen to voice message: the baseUrl of deepgram is missing.)"),
        "{told:?}"
    );
    assert_eq!(status(app.webhooks().telegram(2, 700, "and then? #behind")).await, 200);
    app.platform.message("700", "#behind").await;
    assert!(app.model.heard().is_empty());
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_oddly_does_not_keep_the_next_one_from_listening() {
    let app = TestApp::start().await;
    let two = json!({"tools": {"media": {"audio": {"baseUrl": app.model.base_url(), "apiKey": "sk-ears", "language": "en",
        "models": [{"provider": "acme", "model": "ears"}, {"provider": "mock", "model": "more-ears"}]}}}});
    app.reconfigure(&two, "/tools/media/audio/language").await;
    sends(&app, &brings(1, 700, "voice", "voice-ODD", None, "#odd")).await;
    app.platform.message("700", "#odd").await;
    let heard = app.model.heard();
    assert!(heard.len() == 2 && heard[1].contains("more-ears"), "{heard:?}");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_nobody_listen_whose_price_is_not_known_beside_a_limit_in_money() {
    let app = TestApp::start().await;
    let unpriced = json!({"tools": {"media": {"audio": {"baseUrl": app.model.base_url(), "apiKey": "sk-ears",
        "language": "en", "models": [{"provider": "acme", "model": "ears"}]}}}});
    app.reconfigure(&unpriced, "/tools/media/audio/language").await;
    sends(&app, &brings(1, 700, "voice", "voice-hello", None, "#free")).await;
    app.platform.message("700", "#free").await;
    assert_eq!(app.model.heard().len(), 1);
    let limit = json!({"kind": "tenant", "unit": "money", "amount": 5.0, "period": "month"});
    let (code, made) = app.owner().post("/api/budgets", &limit).await;
    assert_eq!(code, 201, "{made}");
    sends(&app, &brings(2, 700, "voice", "voice-hello", None, "#limited")).await;
    let told = app.platform.message("700", "#limited").await;
    assert!(told.text.contains("nobody has said what acme costs"), "{told:?}");
    assert_eq!(app.model.heard().len(), 1);
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_pdf_is_read_by_a_model_that_reads_none() {
    let app = start().await;
    sends(
        &app,
        &brings(
            1,
            700,
            "document",
            "letter",
            Some("letter.pdf"),
            "what does it say? #letter",
        ),
    )
    .await;
    app.platform.message("700", "#letter").await;
    let asked = question(&app.model.asked("#letter").await);
    assert!(
        asked.contains("EXTERNAL_CONTENT") && asked.contains("the text of the PDF file letter.pdf (blob:"),
        "{asked}"
    );
    assert!(
        asked.contains("Clause seven ends the contract.\n\nSigned in Bern."),
        "{asked}"
    );
    // It is said once and stays in the conversation.
    assert_eq!(status(app.webhooks().telegram(2, 700, "and now? #again")).await, 200);
    app.platform.message("700", "#again").await;
    let text = prompt(app.model.calls().last().expect("was asked"));
    assert_eq!(text.matches("Clause seven").count(), 1, "{text}");
    for (update, file, why) in [
        (3, "scan", "it has no text in it, only pictures, as scans have"),
        (4, "report", "it is damaged, or no PDF"),
    ] {
        sends(
            &app,
            &brings(update, 700, "document", file, Some("a.pdf"), &format!("#{file}")),
        )
        .await;
        let told = app.platform.message("700", &format!("#{file}")).await;
        assert!(
            told.text.contains(&format!("(I could not read a.pdf: {why}.)")),
            "{told:?}"
        );
    }
    // Clients and programs get the same.
    let letter = STANDARD.encode(pdf::pages(&["For clients."]));
    let mut operator = app.operator().await;
    let attachment = json!({"mimeType": "application/pdf", "fileName": "b.pdf", "content": letter});
    let send = json!({"sessionKey": "main", "message": "#client", "idempotencyKey": "r1", "attachments": [attachment]});
    operator.call("chat.send", send).await.expect("accepted");
    operator.chat_end("r1").await;
    assert!(question(&app.model.asked("#client").await).contains("For clients."));
    let file = json!({"type": "file", "file": {"filename": "c.pdf", "file_data": format!("data:application/pdf;base64,{letter}")}});
    let parts = json!([{"type": "text", "text": "#program"}, file]);
    let body = json!({"model": "openclaw", "messages": [{"role": "user", "content": parts}]});
    let (code, answer) = app.owner().post("/v1/chat/completions", &body).await;
    assert_eq!(code, 200, "{answer}");
    assert!(question(&app.model.asked("#program").await).contains("For clients."));
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pdf_that_would_fill_the_memory_ends_its_own_reader_and_holds_up_nobody() {
    let app = start().await;
    sends(&app, &brings(1, 700, "document", "bomb", Some("bomb.pdf"), "#bomb")).await;
    assert_eq!(status(app.webhooks().telegram(2, 701, "#meanwhile")).await, 200);
    app.platform.message("701", "#meanwhile").await;
    let told = app.platform.message("700", "#bomb").await;
    assert!(
        told.text
            .contains("(I could not read bomb.pdf: it is too large to be read.)"),
        "{told:?}"
    );
    app.settled().await;
}
