//! The server is killed at random moments; nothing it accepted may be lost, doubled or out of order.
//!
//! Twenty rounds (`CLAW_CHAOS_ROUNDS` for more). Each accepted message carries a tag of its own (`#t17`), so the
//! transcript, the outbox and what the fake platforms received can be compared word by word.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::support::app::TestApp;
use crate::support::database::Rows;
use crate::support::platform::Trouble;
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::{Webhooks, status};

/// Chats that write at the same time.
const CHATS: u64 = 6;

fn rounds() -> u64 {
    std::env::var("CLAW_CHAOS_ROUNDS")
        .ok()
        .map_or(20, |text| text.parse().expect("a number of rounds"))
}

/// Chat id on its platform: even ones are Telegram's, odd ones Slack's.
fn chat_name(chat: u64) -> String {
    if chat.is_multiple_of(2) {
        format!("{}", 700 + chat)
    } else {
        format!("D0CHAOS{chat:02}")
    }
}

/// One chat: writes message after message, each until it is acknowledged, as the platforms do.
async fn write(
    hooks: Webhooks,
    chat: u64,
    tags: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    accepted: Arc<Mutex<BTreeMap<u64, Vec<u64>>>>,
) {
    while !stop.load(Ordering::SeqCst) {
        let tag = tags.fetch_add(1, Ordering::SeqCst);
        let text = format!("[slow:{}] #t{tag}", 5 + tag % 25);
        loop {
            let request = if chat.is_multiple_of(2) {
                hooks.telegram(tag, i64::try_from(700 + chat).expect("small"), &text)
            } else {
                hooks.slack(tag, &chat_name(chat), &text)
            };
            match request.timeout(Duration::from_secs(5)).send().await {
                Ok(response) if response.status() == 200 => break,
                // Away or busy: the platform comes again with the same event.
                Ok(response) if response.status().is_server_error() => {}
                Ok(response) => panic!("a webhook got {}", response.status()),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        accepted.lock().await.entry(chat).or_default().push(tag);
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_nothing_accepted_is_lost_doubled_or_reordered() {
    // What waits while the server is away is more than a queue usually keeps word for word.
    killed_again_and_again(
        &json!({"messages": {"queue": {"cap": 100_000}}}),
        rounds(),
        Shown::Whole,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_usual_cap_what_is_too_much_is_folded_and_not_lost() {
    killed_again_and_again(&json!({}), rounds().div_ceil(4), Shown::Folded).await;
}

/// How much of a message a turn shows to the model.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    Whole,
    /// Of too many messages only the newest lines; the rest is counted.
    Folded,
}

/// Kills the server `rounds` times under load, and compares everything afterwards.
async fn killed_again_and_again(configuration: &Value, rounds: u64, shown: Shown) {
    let settings = [
        ("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1"),
        ("CLAWCENTRAL__LIMITS__ATTEMPTS", "1000000"),
    ];
    let mut app = TestApp::start_with(configuration, &settings).await;
    let mut random = rand::rngs::StdRng::seed_from_u64(rand::random());
    let (stop, tags) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
    let accepted = Arc::new(Mutex::new(BTreeMap::new()));
    let mut writers = JoinSet::new();
    for chat in 0..CHATS {
        writers.spawn(write(
            app.webhooks(),
            chat,
            tags.clone(),
            stop.clone(),
            accepted.clone(),
        ));
    }
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..700))).await;
        tokio::task::block_in_place(|| {
            app.binary.kill();
            app.binary.start();
        });
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer does not panic");
    }
    app.settled().await;
    let accepted = accepted.lock().await.clone();
    let total: usize = accepted.values().map(Vec::len).sum();
    assert!(total as u64 >= rounds, "only {total} messages were accepted");
    let rows = app.rows().await;
    check_inbox(&rows, total).await;
    let answers = check_transcripts(&rows, &accepted, shown).await;
    check_outbox(&app, &rows, &answers).await;
    eprintln!("{rounds} rounds, {total} accepted, {} answers", answers.len());
}

/// Every accepted message is one row that is done.
async fn check_inbox(rows: &Rows, total: usize) {
    let states: Vec<String> = rows.column("SELECT state FROM inbox").await;
    let mut counted = BTreeMap::<_, usize>::new();
    for state in states {
        *counted.entry(state).or_default() += 1;
    }
    assert_eq!(counted, BTreeMap::from([("done".to_owned(), total)]));
    assert_eq!(
        rows.count("inbox WHERE entry_id IS NULL OR run_id IS NULL").await,
        0,
        "done without an entry or a run"
    );
}

/// Every tag stands in exactly one user entry, in order; each of them has exactly one final answer.
/// Gives the answers by run.
async fn check_transcripts(rows: &Rows, accepted: &BTreeMap<u64, Vec<u64>>, shown: Shown) -> HashMap<String, String> {
    let mut seen = HashMap::<u64, usize>::new();
    let mut answers = HashMap::new();
    let sessions: Vec<String> = rows.column("SELECT DISTINCT session_id FROM transcript_entry").await;
    assert_eq!(sessions.len() as u64, CHATS);
    for session in sessions {
        let sql = format!(
            "SELECT body, run_id FROM transcript_entry WHERE session_id = '{session}' AND kind = 'message' ORDER BY seq"
        );
        let mut order = Vec::new();
        let mut open = None;
        for row in rows.all(&sql).await {
            let body: String = row.try_get("", "body").expect("text");
            let run: Option<String> = row.try_get("", "run_id").expect("text or null");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            let message = if body["role"].is_string() {
                &body
            } else {
                &body["message"]
            };
            let content = message["content"].to_string();
            match message["role"].as_str() {
                Some("user") => {
                    assert!(
                        open.is_none(),
                        "two user entries without an answer between them: {open:?} {content}"
                    );
                    order.extend(tags_of(&content));
                    open = Some(content);
                }
                Some("assistant") if message["stopReason"] == "stop" => {
                    let question = open
                        .take()
                        .unwrap_or_else(|| panic!("an answer without a question: {content}"));
                    assert_eq!(
                        tags_of(&content),
                        tags_of(&question),
                        "the answer is to another question"
                    );
                    let run = run.expect("an answer belongs to a run");
                    assert!(answers.insert(run, content).is_none(), "two final answers of one run");
                }
                other => panic!("unexpected entry of role {other:?}: {body}"),
            }
        }
        assert!(open.is_none(), "no answer to {open:?}");
        assert!(order.is_sorted(), "out of order: {order:?}");
        for tag in order {
            *seen.entry(tag).or_default() += 1;
        }
    }
    for tag in accepted.values().flatten() {
        let times = seen.get(tag).copied().unwrap_or_default();
        assert!(
            times == 1 || (times == 0 && shown == Shown::Folded),
            "message #t{tag} is shown {times} times"
        );
    }
    answers
}

/// Every reply is sent or unknown; what is sent reached the platform once, only an unknown one may be missing or doubled.
async fn check_outbox(app: &TestApp, rows: &Rows, answers: &HashMap<String, String>) {
    assert_eq!(
        rows.count("outbox WHERE state NOT IN ('sent', 'unknown')").await,
        0,
        "unsent rows"
    );
    let mut received = HashMap::<String, usize>::new();
    for call in app
        .platform
        .calls()
        .iter()
        .filter(|call| call.done && call.text.contains("re: "))
    {
        *received
            .entry(tags_of(&call.text).iter().map(|tag| format!("#t{tag} ")).collect())
            .or_default() += 1;
    }
    let replies = rows
        .all("SELECT run_id, state, plain FROM outbox WHERE kind = 'final' ORDER BY id")
        .await;
    let mut by_run = HashMap::<String, usize>::new();
    for row in replies {
        let run: String = row.try_get("", "run_id").expect("a final reply has a run");
        let state: String = row.try_get("", "state").expect("text");
        let text: String = row.try_get("", "plain").expect("text");
        *by_run.entry(run.clone()).or_default() += 1;
        assert!(answers.contains_key(&run), "a reply of a run without an answer: {text}");
        let key: String = tags_of(&text).iter().map(|tag| format!("#t{tag} ")).collect();
        let times = received.get(&key).copied().unwrap_or_default();
        if state == "sent" {
            assert_eq!(times, 1, "a sent reply reached the platform {times} times: {text}");
        } else {
            assert!(
                times <= 2,
                "an unknown reply reached the platform {times} times: {text}"
            );
        }
    }
    for run in answers.keys() {
        assert_eq!(by_run.get(run), Some(&1), "replies of run {run}");
    }
}

fn tags_of(text: &str) -> Vec<u64> {
    let mut tags: Vec<u64> = text
        .split("#t")
        .skip(1)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    tags.dedup();
    tags
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_cut_off_while_it_is_sent_is_unknown_and_blocks_nothing() {
    let mut app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1")]).await;
    // The platform takes the message and never says so.
    app.platform.trouble("sendMessage", Trouble::Silence);
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.platform.call("sendMessage").await;
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    assert_eq!(status(app.webhooks().telegram(2, 700, "hello #two")).await, 200);
    app.platform.message("700", "#two").await;
    app.settled().await;
    let states: Vec<String> = app
        .rows()
        .await
        .column("SELECT state FROM outbox WHERE kind = 'final' ORDER BY id")
        .await;
    assert_eq!(states, ["unknown", "sent"]);
    let copies = app
        .platform
        .messages("700")
        .into_iter()
        .filter(|call| call.text.contains("#one"))
        .count();
    assert_eq!(copies, 1, "it was not sent blindly again");
    let (_, activity) = app.owner().get("/api/activity").await;
    assert_eq!(activity["outbox"][0]["state"], "unknown", "{activity}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_the_process_every_time_is_dead_after_three_attempts() {
    let mut app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1")]).await;
    app.model.aim(app.binary.pid());
    assert_eq!(status(app.webhooks().telegram(1, 700, "[die] #poison")).await, 200);
    for attempt in 1..=3 {
        eventually(&format!("death {attempt}"), || {
            let ended = app.binary.ended();
            async move { ended.then_some(()) }
        })
        .await;
        // Aimed before it is ready: recovery may start the run at once.
        tokio::task::block_in_place(|| {
            app.binary.spawn();
            app.model.aim(app.binary.pid());
        });
    }
    tokio::task::block_in_place(|| app.binary.wait_ready());
    let rows = app.rows().await;
    becomes("the poisonous row", vec!["dead".to_owned()], || async {
        rows.column("SELECT state FROM inbox").await
    })
    .await;
    let attempts: Vec<i32> = rows.column("SELECT attempts FROM inbox").await;
    assert_eq!(attempts, [3]);
    assert_eq!(app.model.calls().len(), 3);
    let reason: Vec<Option<String>> = rows.column("SELECT reason FROM inbox").await;
    assert!(reason[0].is_some(), "dead letters say why");
    assert_eq!(status(app.webhooks().telegram(2, 700, "hello #next")).await, 200);
    app.platform.message("700", "#next").await;
    let (code, activity) = app.owner().get("/api/activity").await;
    assert_eq!(code, 200);
    assert_eq!(activity["inbox"].as_array().map(Vec::len), Some(1), "{activity}");
    assert_eq!(activity["inbox"][0]["state"], "dead");
}
