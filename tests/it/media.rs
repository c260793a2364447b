//! Files that the agent sends, texts it reads aloud, and images it has looked at.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, TestApp};
use crate::support::model::{calls_tool, says};
use crate::support::tool::{ask, told};
use crate::support::webhook::status;

/// The scripted model reads aloud, and another of it sees.
fn configured(app_model: &str) -> Value {
    json!({
        "messages": {"tts": {"provider": "openai",
            "openai": {"baseUrl": app_model, "apiKey": "sk-own", "model": "tts-1", "voice": "nova"}}},
        "agents": {"defaults": {"imageModel": "mock/eyes"}},
    })
}

async fn start() -> TestApp {
    let app = TestApp::start().await;
    let models = json!({"models": {"providers": {"mock": {"models": [
        {"id": "mock-1", "contextWindow": 128_000, "maxTokens": 4096},
        {"id": "eyes", "contextWindow": 128_000, "maxTokens": 4096, "input": ["text", "image"]},
    ]}}}});
    let mut extra = configured(&app.model.base_url());
    crate::support::app::merge(&mut extra, &models);
    app.import("demo", OWNER, &extra);
    app
}

fn png() -> Vec<u8> {
    [&[0x89, b'P', b'N', b'G'][..], b"\r\n\x1a\npicture"].concat()
}

fn parsed(told: &str) -> Value {
    let text: String = serde_json::from_str(told).expect("a text");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_out_where_the_channel_takes_them() {
    let app = start().await;
    let mut operator = app.operator().await;
    let picture = json!({"action": "send", "channel": "telegram", "target": "77", "buffer": STANDARD.encode(png()),
        "filename": "a.png", "contentType": "image/png", "caption": "look at this"});
    ask(&mut operator, "main", "m1", "message", &picture).await;
    assert_eq!(parsed(&told(&app, &mut operator, "m1").await)["status"], "queued");
    let sent = app.platform.call("sendPhoto").await;
    assert_eq!(sent.chat, "77");
    assert!(sent.text.contains("picture"), "{sent:?}");
    app.platform.message("77", "look at this").await;

    let note = json!({"path": "notes/plan.md", "content": "the plan"});
    ask(&mut operator, "main", "m2", "write", &note).await;
    told(&app, &mut operator, "m2").await;
    let file = json!({"action": "send", "channel": "slack", "target": "D123", "media": "notes/plan.md"});
    ask(&mut operator, "main", "m3", "message", &file).await;
    told(&app, &mut operator, "m3").await;
    assert_eq!(app.platform.call("files.completeUploadExternal").await.chat, "D123");
    assert!(app.platform.call("upload").await.text.contains("the plan"));

    for (run, media, why) in [
        ("m4", "https://127.0.0.1/secret.png", "may not be fetched"),
        ("m5", "blob:00000000-0000-7000-8000-000000000000", "nothing stored"),
        ("m6", "http://example.com/a.png", "https address"),
        ("m7", "no/such.md", "no file"),
    ] {
        let wish = json!({"action": "send", "channel": "telegram", "target": "77", "media": media});
        ask(&mut operator, "main", run, "message", &wish).await;
        let refusal = told(&app, &mut operator, run).await;
        assert!(refusal.contains(why), "{media}: {refusal}");
    }
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_read_aloud_into_the_chat_or_for_a_program() {
    let mut app = start().await;
    let mut operator = app.operator().await;
    let converted = operator
        .call("tts.convert", json!({"text": "good evening"}))
        .await
        .expect("reads aloud");
    assert_eq!(
        (&converted["provider"], &converted["outputFormat"]),
        (&json!("openai"), &json!("mp3")),
        "{converted}"
    );
    let path = converted["audioPath"].as_str().expect("a path").to_owned();
    let sound = app
        .owner()
        .request(reqwest::Method::GET, &path)
        .send()
        .await
        .expect("answers");
    assert_eq!(sound.bytes().await.expect("bytes"), "OggS mp3 nova good evening");
    // Nobody else's.
    app.add_user("demo", MEMBER, "member");
    assert_eq!(app.person("demo", MEMBER).get(&path).await.0, 404);
    let states = operator.call("tts.status", json!({})).await.expect("tells");
    assert_eq!(
        states["providerStates"][0],
        json!({"id": "openai", "label": "openai", "configured": true})
    );
    assert_eq!(states["enabled"], json!(false), "no answer is read aloud by itself");

    app.link(OWNER, 900).await;
    let order = format!("#aloud {}", calls_tool("tts", &json!({"text": "hello there"})));
    assert_eq!(status(app.webhooks().telegram(2, 900, &order)).await, 200);
    let voice = app.platform.call("sendVoice").await;
    assert_eq!(
        (voice.chat.as_str(), voice.text.as_str()),
        ("900", "OggS opus nova hello there")
    );
    app.settled().await;
    // A guest's agent has no voice to spend.
    let order = format!("#guest {}", calls_tool("tts", &json!({"text": "hello guest"})));
    assert_eq!(status(app.webhooks().telegram(3, 901, &order)).await, 200);
    app.platform.message("901", "re: #guest").await;
    assert!(
        app.platform
            .calls()
            .iter()
            .all(|call| !call.text.contains("hello guest"))
    );
    let rows = app.rows().await;
    assert_eq!(
        rows.count("side_usage WHERE model = 'tts-1' AND calls = 2 AND input > 10")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_sees_looks_for_one_that_cannot() {
    let app = start().await;
    let mut operator = app.operator().await;
    let url = format!("data:image/png;base64,{}", STANDARD.encode(png()));
    ask(
        &mut operator,
        "main",
        "i1",
        "image",
        &json!({"prompt": "[say:a red square] #seen", "image": url}),
    )
    .await;
    let answer = told(&app, &mut operator, "i1").await;
    assert!(
        answer.contains("a red square") && answer.contains("EXTERNAL_CONTENT"),
        "{answer}"
    );
    let call = app
        .model
        .calls()
        .into_iter()
        .find(|call| call["model"] == "eyes")
        .expect("asked");
    assert!(call["messages"].to_string().contains(&STANDARD.encode(png())));
    assert!(call["tools"].as_array().is_none_or(Vec::is_empty), "it only looks");
    for (run, image, why) in [
        ("i2", "https://169.254.169.254/latest", "may not be fetched"),
        ("i3", "blob:nothing", "nothing stored"),
        ("i4", "data:image/png;base64,aGVsbG8=", "must be PNG"),
    ] {
        ask(&mut operator, "main", run, "image", &json!({"image": image})).await;
        let refusal = told(&app, &mut operator, run).await;
        assert!(refusal.contains(why), "{image}: {refusal}");
    }
    // What is sent along is named, so that it can be looked at.
    let attachment =
        json!({"type": "image", "mimeType": "image/png", "fileName": "a.png", "content": STANDARD.encode(png())});
    let params =
        json!({"sessionKey": "main", "message": "#pic look", "idempotencyKey": "pic", "attachments": [attachment]});
    operator.call("chat.send", params).await.expect("accepted");
    operator.chat_end("pic").await;
    let shown = app.model.asked("#pic").await["messages"].to_string();
    let id = shown.rsplit("blob:").next().and_then(|rest| rest.split(' ').next());
    let id = id.expect("named").to_owned();
    ask(
        &mut operator,
        "main",
        "i5",
        "image",
        &json!({"prompt": "[say:a blue one] x", "image": format!("blob:{id}")}),
    )
    .await;
    assert!(told(&app, &mut operator, "i5").await.contains("a blue one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_the_owner_are_read_aloud_as_they_ask() {
    let app = start().await;
    let code = app.link_code(OWNER).await;
    let say = async |update: u64, chat: i64, text: &str| {
        assert_eq!(status(app.webhooks().telegram(update, chat, text)).await, 200);
    };
    let voices = || {
        app.platform
            .calls()
            .into_iter()
            .filter(|call| call.method == "sendVoice")
            .count()
    };
    say(1, 900, &code).await;
    app.platform.message("900", "linked").await;
    say(2, 900, "/tts always").await;
    app.platform.message("900", "Reading aloud set to always.").await;
    say(3, 900, "[say:Good evening to you.]").await;
    let voice = app.platform.call("sendVoice").await;
    assert_eq!(
        (voice.chat.as_str(), voice.text.as_str()),
        ("900", "OggS opus nova Good evening to you.")
    );
    let texts: Vec<String> = app.platform.messages("900").into_iter().map(|call| call.text).collect();
    assert_eq!(
        texts[texts.len() - 2..],
        ["Good evening to you.", "OggS opus nova Good evening to you."]
    );
    // Only answers to sounds: this is none.
    say(4, 900, "/tts inbound").await;
    app.platform.message("900", "Reading aloud set to inbound.").await;
    say(5, 900, "[say:In writing, please.]").await;
    app.platform.message("900", "In writing").await;
    say(6, 900, "/tts status").await;
    app.platform.message("900", "Reading aloud: inbound").await;
    say(7, 900, "#next after that").await;
    app.platform.message("900", "re: #next").await;
    assert_eq!(voices(), 1);
    let mut spoken = crate::support::webhook::telegram_update(8, 900, "");
    spoken["message"].as_object_mut().expect("a message").remove("text");
    spoken["message"]["caption"] = json!("[say:I could not hear you.]");
    spoken["message"]["voice"] =
        json!({"file_id": "voice-x", "file_unique_id": "v", "mime_type": "audio/ogg", "duration": 1});
    assert_eq!(status(app.webhooks().telegram_body(&spoken)).await, 200);
    crate::support::wait::becomes("voices", 2, || async { voices() }).await;
    // A guest's answers are not, whatever the settings say; and a voice that fails costs the text nothing.
    let mut always = configured("http://127.0.0.1:9/v1");
    always["messages"]["tts"]["auto"] = json!("always");
    app.reconfigure(&always, "/messages/tts/auto").await;
    say(9, 901, "#guest has words").await;
    app.platform.message("901", "re: #guest").await;
    say(10, 901, "#guest again with words").await;
    app.platform.message("901", "re: #guest").await;
    say(11, 900, "/tts default").await;
    app.platform
        .message("900", "Reading aloud goes back to the settings.")
        .await;
    say(12, 900, "#mute but answered").await;
    app.platform.message("900", "re: #mute").await;
    app.settled().await;
    assert_eq!(voices(), 2);
    let mut operator = app.operator().await;
    assert_eq!(
        operator.call("tts.status", json!({})).await.expect("tells")["auto"],
        "always"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_voice_it_is_and_how_much_it_says_is_chosen_in_the_chat_and_by_programs() {
    let app = start().await;
    let code = app.link_code(OWNER).await;
    let say = async |update: u64, chat: i64, text: &str| {
        assert_eq!(status(app.webhooks().telegram(update, chat, text)).await, 200);
    };
    say(1, 900, &code).await;
    app.platform.message("900", "linked").await;
    for (update, text, answer) in [
        (2, "/tts status", "Voice: openai (ready). Limit: 4000 characters."),
        (3, "/tts provider nobody", "Invalid provider. Use openai"),
        (4, "/tts provider OpenAI", "Voice set to openai."),
        (5, "/tts provider", "There are elevenlabs (not set up)"),
        (6, "/tts limit 99", "The limit is between 100 and 4096 characters."),
        (
            7,
            "/tts limit 200",
            "At most 200 characters of an answer are read aloud.",
        ),
        (8, "/tts summary on", "not summarised"),
        (9, "/tts audio", "What should I read aloud?"),
        (
            10,
            &format!("/tts audio {}", "x".repeat(201)),
            "a text has 1 to 200 characters",
        ),
    ] {
        say(update, 900, text).await;
        app.platform.message("900", answer).await;
    }
    say(11, 900, "/tts audio hello once more").await;
    let voice = app.platform.call("sendVoice").await;
    assert_eq!(
        (voice.chat.as_str(), voice.text.as_str()),
        ("900", "OggS opus nova hello once more")
    );
    // A guest has no voice to spend, and rules nobody's.
    say(12, 901, "/tts audio hello").await;
    app.platform.message("901", "Only the owner").await;
    say(13, 901, "/tts limit 300").await;
    app.platform.message("901", "Only the owner").await;

    let mut operator = app.operator().await;
    let mut call = async |method: &str, params: Value| operator.call(method, params).await;
    let auto = |tells: Value| (tells["enabled"].clone(), tells["auto"].clone());
    assert_eq!(call("tts.enable", json!({})).await, Ok(json!({"enabled": true})));
    let tells = call("tts.status", json!({})).await.expect("tells");
    assert_eq!(auto(tells), (json!(true), json!("always")));
    say(14, 900, "#heard with words").await;
    app.platform.message("900", "re: #heard").await;
    crate::support::wait::becomes("voices", 2, || async {
        let calls = app.platform.calls();
        calls.iter().filter(|call| call.method == "sendVoice").count()
    })
    .await;
    assert_eq!(call("tts.disable", json!({})).await, Ok(json!({"enabled": false})));
    let tells = call("tts.status", json!({})).await.expect("tells");
    assert_eq!(auto(tells), (json!(false), json!("off")));
    let chosen = call("tts.setProvider", json!({"provider": "openai"})).await;
    assert_eq!(chosen, Ok(json!({"provider": "openai"})));
    for wrong in [json!({"provider": "edge"}), json!({})] {
        let refused = call("tts.setProvider", wrong).await.expect_err("no such voice");
        assert!(
            refused["message"]
                .as_str()
                .is_some_and(|why| why.contains("Invalid provider")),
            "{refused}"
        );
    }
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_while_an_answer_is_read_aloud() {
    let app = start().await;
    let code = app.link_code(OWNER).await;
    let say = async |update: u64, text: &str| {
        assert_eq!(status(app.webhooks().telegram(update, 900, text)).await, 200);
    };
    say(1, &code).await;
    app.platform.message("900", "linked").await;
    say(2, "/tts always").await;
    app.platform.message("900", "Reading aloud set to always.").await;
    // It takes as long as the test wants.
    say(3, "[say:Meet me at the gate tonight.]").await;
    app.platform.message("900", "Meet me").await;
    say(4, "#meanwhile").await;
    app.platform.message("900", "re: #meanwhile").await;
    app.model.release(1);
    app.platform.message("900", "nova Meet me at the gate tonight.").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_an_answer_names_are_sent_behind_it() {
    let app = start().await;
    let code = app.link_code(OWNER).await;
    let hears = async |update: u64, chat: i64, text: &str| {
        assert_eq!(status(app.webhooks().telegram(update, chat, text)).await, 200);
        app.settled().await;
    };
    hears(1, 900, &code).await;
    let note = json!({"path": "notes/plan.md", "content": "the plan"});
    hears(2, 900, &format!("#write {}", calls_tool("write", &note))).await;
    let files = || {
        let calls = app.platform.calls().into_iter();
        let sent = calls.filter(|call| call.method == "sendDocument");
        sent.map(|call| call.text).collect::<Vec<_>>()
    };
    hears(3, 900, &says("Here it is.\nMEDIA:notes/plan.md")).await;
    app.platform.message("900", "Here it is.").await;
    assert!(files().len() == 1 && files()[0].contains("the plan"), "{:?}", files());
    // Also behind nothing: one message more, the file.
    let before = app.platform.messages("900").len();
    hears(4, 900, &says("MEDIA: notes/plan.md\nNO_REPLY")).await;
    assert_eq!((files().len(), app.platform.messages("900").len()), (2, before + 1));
    // What cannot be sent is said, and nobody reaches what is not theirs.
    hears(5, 900, &says("Look.\nMEDIA:https://127.0.0.1/secret.png")).await;
    app.platform.message("900", "may not be fetched").await;
    for (update, address) in [(6, "notes/plan.md"), (7, "blob:00000000-0000-7000-8000-000000000000")] {
        hears(update, 901, &says(&format!("For you.\nMEDIA:{address}"))).await;
        app.platform.message("901", "A file was not sent").await;
    }
    assert_eq!(files().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_files_that_an_answer_names_and_so_do_readers_of_the_history() {
    let mut app = start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    let note = json!({"path": "notes/plan.md", "content": "the plan"});
    ask(&mut operator, "main", "w1", "write", &note).await;
    told(&app, &mut operator, "w1").await;
    let answer = says("Here it is.\nMEDIA:notes/plan.md\nMEDIA:no/such.md");
    crate::support::tool::say(&mut operator, "main", "f1", &answer).await;
    let end = operator.chat_end("f1").await;
    let blocks = end["message"]["content"].as_array().expect("blocks").clone();
    assert_eq!(
        (
            &blocks[0]["text"],
            &blocks[1]["type"],
            &blocks[1]["name"],
            &blocks[1]["size"]
        ),
        (&json!("Here it is."), &json!("file"), &json!("plan.md"), &json!(8)),
        "{end}"
    );
    let missing = blocks[2]["text"].as_str().expect("a line");
    assert!(missing.contains("no such file"), "{missing}");
    let path = format!("/api/blobs/{}", blocks[1]["ref"].as_str().expect("a ref"));
    let bytes = app
        .owner()
        .request(reqwest::Method::GET, &path)
        .send()
        .await
        .expect("answers");
    assert_eq!(bytes.bytes().await.expect("bytes"), "the plan");
    assert_eq!(app.person("demo", MEMBER).get(&path).await.0, 404);
    let history = operator
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("reads");
    let last = history["messages"]
        .as_array()
        .expect("messages")
        .last()
        .expect("one")
        .clone();
    assert_eq!(last["content"], json!(blocks), "{last}");
    let listed = operator
        .call("artifacts.list", json!({"sessionKey": "main"}))
        .await
        .expect("lists");
    assert_eq!(listed["artifacts"][0]["id"], blocks[1]["ref"], "{listed}");
    // The model reads its own words and no bytes; a file alone is an answer too.
    crate::support::tool::say(&mut operator, "main", "f2", &says("MEDIA:notes/plan.md\nNO_REPLY")).await;
    let end = operator.chat_end("f2").await;
    assert_eq!(end["message"]["content"][0]["type"], "file", "{end}");
    let sent = app.model.calls().last().expect("a call")["messages"].to_string();
    assert!(
        sent.contains("MEDIA:notes/plan.md") && !sent.contains("attachments"),
        "{sent}"
    );
}
