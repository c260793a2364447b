//! A long run of everything at once: many chats on models of every family, tools, summaries, fresh starts, sessions that
//! sleep and wake, providers that fail as a seeded schedule says, and a process that is killed. Afterwards every accepted
//! message stands exactly once, in order, with one end; nothing waits; every request was one that a strict provider takes;
//! and the process has not grown with what it did.
//!
//! `CLAW_LONG_TURNS` is the number of messages (fewer than 240 show too little), `CLAW_LONG_SEED` the seed of the schedule.

mod checks;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::checks::{check_replies, check_rows, check_transcripts};
use crate::support::app::{ALL_SCOPES, OWNER, TestApp};
use crate::support::database::Rows;
use crate::support::faulty::{Asked, End, Faulty, Plan};
use crate::support::node::{Hello, TestNode};
use crate::support::wait::eventually;
use crate::support::webhook::{Webhooks, status};
use crate::support::wire::{Answer, Called, FAMILIES, Family, asked, error_event};

/// Messages of the shortest run: in fewer too little goes wrong.
const LEAST: u64 = 240;
/// Messages of one chat.
const OF_A_CHAT: u64 = 50;
/// Messages that may wait in the process at the same time.
const WAITING: i64 = 100;
/// Tags from here on are of the questions at the end.
const LAST: u64 = 9_000_000;
/// Bytes that the process may have gained meanwhile beside what it had: it keeps the newest histories in memory.
const CACHES: u64 = 96 << 20;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What is done in one chat, message by message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask,
    /// The model calls a tool first.
    Tool,
    /// The owner begins the conversation anew.
    Fresh,
    /// The person stops what they asked.
    Stop,
}

fn step(random: &mut StdRng) -> Step {
    match random.random_range(0..100) {
        0..4 => Step::Fresh,
        4..24 => Step::Tool,
        24..27 => Step::Stop,
        _ => Step::Ask,
    }
}

/// Telegram's number of a chat.
fn chat_id(chat: u64) -> i64 {
    i64::try_from(10_000 + chat).expect("few chats")
}

/// Shared by those who write.
struct Writing {
    hooks: Webhooks,
    rows: Rows,
    url: String,
    token: String,
    tags: AtomicU64,
    accepted: Mutex<BTreeMap<u64, Vec<u64>>>,
    /// Too much waits: nobody writes.
    full: AtomicBool,
    resets: AtomicU64,
}

impl Writing {
    /// A message, until it is acknowledged, as the platform does it.
    async fn deliver(&self, update: u64, chat: u64, text: &str) {
        loop {
            let request = self.hooks.telegram(update, chat_id(chat), text);
            match request.timeout(Duration::from_secs(10)).send().await {
                Ok(response) if response.status() == 200 => return,
                // Away, busy, or too slow with us: the platform comes again with the same event.
                Ok(response) if response.status().is_server_error() || response.status() == 408 => {}
                Ok(response) => panic!("a webhook got {}", response.status()),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Begins a conversation anew in which nothing waits. Not while the server is away.
    async fn reset(&self, chat: u64) {
        let key = format!("agent:{}:telegram:direct:{}", agent(chat), chat_id(chat));
        let open = format!("inbox WHERE session_key = '{key}' AND state IN ('pending', 'running')");
        while self.rows.count(&open).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let hello = Hello {
            url: &self.url,
            host: &self.hooks.host,
            auth: json!({"token": self.token}),
            role: "operator",
            client: "cli",
            mode: "cli",
            scopes: ALL_SCOPES,
            commands: &[],
            caps: &[],
            device: None,
        };
        let Ok(mut operator) = TestNode::connect(&hello).await else {
            return;
        };
        if operator.call("sessions.reset", json!({"key": key})).await.is_ok() {
            self.resets.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// One chat: writes message after message.
async fn write(writing: Arc<Writing>, chat: u64, messages: u64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed ^ chat.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for _ in 0..messages {
        let tag = writing.tags.fetch_add(1, Ordering::SeqCst);
        let step = step(&mut random);
        if step == Step::Fresh {
            writing.reset(chat).await;
        }
        let text = match step {
            Step::Tool => format!("[tool] #t{tag} {}", "word ".repeat(random.random_range(1..400))),
            Step::Ask | Step::Fresh | Step::Stop => format!("#t{tag} {}", "word ".repeat(random.random_range(1..900))),
        };
        writing.deliver(tag, chat, &text).await;
        {
            let mut accepted = writing.accepted.lock().unwrap_or_else(PoisonError::into_inner);
            accepted.entry(chat).or_default().push(tag);
        }
        if step == Step::Stop {
            let update = writing.tags.fetch_add(1, Ordering::SeqCst);
            writing.deliver(update, chat, "/stop").await;
        }
        // Long enough to fall asleep, from time to time.
        let pause = if random.random_ratio(1, 12) {
            1_500
        } else {
            random.random_range(0..300)
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        while writing.full.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn tag_of(text: &str) -> Option<u64> {
    let rest = text.split("#t").nth(1)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What goes wrong with a call, out of a number that the schedule gives; most of the time nothing.
fn fault(family: Family, roll: u64, good: Plan) -> Plan {
    let refusal = |status: u16, message: &str| Plan {
        retry_after: Some(0),
        ..Plan::refusal(
            status,
            json!({"error": {"message": message, "type": "test"}}).to_string(),
        )
    };
    let half = |pieces: usize| {
        let mut plan = good.clone();
        plan.pieces.truncate(pieces);
        plan
    };
    match roll % 250 {
        0 | 1 => refusal(429, "slow down"),
        2 | 3 => refusal(503, "overloaded"),
        4 => refusal(500, "ordered by the test"),
        5 => Plan::silence(End::Reset),
        6 => half(1).ends(End::Cut),
        7 => half(4).ends(End::Cut),
        8 => Plan::stream(vec![error_event(family, "overloaded_error", "Overloaded", 503)]),
        9 => {
            let mut plan = half(2);
            plan.pieces.push("data: {\"choi\n\n".to_owned());
            plan
        }
        10 | 11 => refusal(400, "maximum context length is 10 tokens"),
        12 => Plan {
            kind: "text/html",
            ..Plan::stream(vec!["<html>sign in</html>".to_owned()])
        },
        13 => Plan::answer(
            family,
            &Answer {
                prompt_tokens: 12,
                ..Answer::default()
            },
        ),
        14 => half(1).ends(End::Reset),
        _ => good,
    }
}

/// The models: they answer with the question's tag, call tools when they are told to, count tokens, and fail by schedule.
fn models(faulty: &Faulty, seed: u64, calm: &Arc<AtomicBool>) {
    for family in FAMILIES {
        let tries = Mutex::new(HashMap::<(u64, usize), u64>::new());
        let calm = calm.clone();
        faulty.does(family.name(), move |_, request: &Asked| {
            let (words, results) = asked(family, &request.body);
            let tag = tag_of(&words).unwrap_or_default();
            let prompt_tokens = request.body.to_string().len() / 4;
            let answer = if words.contains("[tool]") && results == 0 {
                let call = |id: &str| Called::new(id, "session_status", &json!({}));
                let mut calls = vec![call(&format!("call_{tag}"))];
                match tag % 10 {
                    // Two calls of one name, and arguments that cannot be read.
                    3 => calls.push(call(&format!("call_{tag}"))),
                    6 => calls[0].arguments = vec!["{\"open\": ".to_owned()],
                    _ => {}
                }
                Answer {
                    prompt_tokens,
                    ..Answer::calls(calls)
                }
            } else {
                let text = format!("re: #t{tag} end, after {results} results");
                Answer {
                    prompt_tokens,
                    ..Answer::says(&text)
                }
            };
            let good = Plan::answer(family, &answer);
            if calm.load(Ordering::SeqCst) {
                return good;
            }
            let roll = {
                let mut tries = tries.lock().unwrap_or_else(PoisonError::into_inner);
                let count = tries.entry((tag, results)).or_default();
                *count += 1;
                // The same for one message and try, whatever else goes on.
                let mixed = seed ^ (tag << 16) ^ ((results as u64) << 8) ^ *count;
                StdRng::seed_from_u64(mixed).random::<u64>()
            };
            fault(family, roll, good)
        });
    }
}

fn agent(chat: u64) -> String {
    format!("long-{}", family_of(chat).name())
}

fn family_of(chat: u64) -> Family {
    FAMILIES[usize::try_from(chat).expect("few chats") % FAMILIES.len()]
}

fn configuration(faulty: &Faulty, chats: u64) -> Value {
    let model = json!([{"id": "m", "contextWindow": 128_000, "maxTokens": 1024, "input": ["text"]}]);
    let mut providers = json!({});
    let mut agents = vec![json!({"id": "main", "default": true})];
    for family in FAMILIES {
        providers[family.name()] = json!({"baseUrl": faulty.base_url(family, family.name()), "apiKey": "sk-test",
            "api": family.api(), "models": model});
        let chosen = json!({"primary": format!("{}/m", family.name()), "fallbacks": []});
        agents.push(json!({"id": format!("long-{}", family.name()), "model": chosen}));
    }
    let bindings: Vec<Value> = (0..chats)
        .map(|chat| {
            let peer = json!({"kind": "direct", "id": chat_id(chat).to_string()});
            json!({"agentId": agent(chat), "match": {"channel": "telegram", "peer": peer}})
        })
        .collect();
    json!({
        "models": {"providers": providers},
        "agents": {"defaults": {"contextTokens": 20_000}, "list": agents},
        "tools": {"profile": "minimal"},
        "bindings": bindings,
        "messages": {"queue": {"mode": "followup", "cap": 100_000}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn long_run_of_everything_at_once() {
    let turns = number("CLAW_LONG_TURNS", LEAST).max(LEAST);
    let seed = number("CLAW_LONG_SEED", 20_261_127);
    let chats = (turns / OF_A_CHAT).max(8);
    let faulty = Faulty::forgetting();
    let calm = Arc::new(AtomicBool::new(false));
    models(&faulty, seed, &calm);
    let settings = [
        ("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1"),
        ("CLAWCENTRAL__LIMITS__ATTEMPTS", "1000000"),
        ("CLAWCENTRAL__LIMITS__SESSION_IDLE_SECS", "1"),
        ("CLAWCENTRAL__LIMITS__USER_IDLE_SECS", "1"),
        ("CLAWCENTRAL__TELEMETRY__FILTER", "warn"),
    ];
    let mut app = TestApp::start_with(&configuration(&faulty, chats), &settings).await;
    let rows = app.rows().await;
    let writing = Arc::new(Writing {
        hooks: app.webhooks(),
        tags: AtomicU64::new(1),
        accepted: Mutex::default(),
        full: AtomicBool::new(false),
        resets: AtomicU64::new(0),
        rows: app.rows().await,
        url: app.socket_url(),
        token: app.token(OWNER).to_owned(),
    });
    let mut writers = JoinSet::new();
    for chat in 0..chats {
        writers.spawn(write(writing.clone(), chat, turns / chats, seed));
    }
    // Killed three times in the first half: the second is one life of the process, and is measured.
    let mut kills = vec![turns / 2, turns / 4, turns / 8];
    let mut early = None;
    let written = |writing: &Writing| {
        let accepted = writing.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.values().map(Vec::len).sum::<usize>() as u64
    };
    while !writers.is_empty() {
        while let Some(ended) = writers.try_join_next() {
            ended.expect("a writer does not panic");
        }
        let waiting = rows.count("inbox WHERE state IN ('pending', 'running')").await;
        writing.full.store(waiting > WAITING, Ordering::SeqCst);
        let done = written(&writing);
        if kills.last().is_some_and(|at| done >= *at) {
            kills.pop();
            tokio::task::block_in_place(|| {
                app.binary.kill();
                app.binary.start();
            });
        } else if kills.is_empty() && early.is_none() && done >= turns / 2 + turns / 10 {
            early = Some(app.binary.memory());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    settle(&app, &rows).await;
    let late = app.binary.memory();
    let early = early.expect("the second half is long enough");
    assert!(
        late <= early + early / 4 + CACHES,
        "the process grew from {early} to {late} bytes"
    );
    calm.store(true, Ordering::SeqCst);
    with_other_families(&app, &rows, chats).await;
    let accepted = writing.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(
        faulty.refused(),
        Vec::<String>::new(),
        "requests that no strict provider takes"
    );
    check_rows(&rows).await;
    let seen = check_transcripts(&rows, &accepted).await;
    check_replies(&app, &rows).await;
    eprintln!(
        "seed {seed}: {chats} chats, {} messages, {} calls, {} ended well, {} in an error, {} were stopped, {} dropped, {} summaries, {} resets, {} tool results, {} MiB then, {} MiB at the end",
        written(&writing),
        faulty.count(),
        seen.well,
        seen.ill,
        seen.stopped,
        seen.dropped,
        seen.summaries,
        writing.resets.load(Ordering::SeqCst),
        seen.tools,
        early >> 20,
        late >> 20
    );
    assert!(seen.well > seen.ill && seen.ill > 0 && seen.tools > 0, "{seen:?}");
    assert!(seen.summaries > 0, "nothing was summarised: {seen:?}");
}

/// Waits until nothing waits, as long as something still ends.
async fn settle(app: &TestApp, rows: &Rows) {
    let open = "inbox WHERE state IN ('pending', 'running')";
    let mut left = rows.count(open).await;
    while left > 0 {
        let before = left;
        left = eventually("something ends", || async {
            let now = rows.count(open).await;
            (now < before).then_some(now)
        })
        .await;
    }
    app.settled().await;
}

/// Each conversation goes on with a model of another family, which takes what is there.
async fn with_other_families(app: &TestApp, rows: &Rows, chats: u64) {
    let mut operator = app.operator().await;
    let keys: Vec<String> = rows
        .column("SELECT key FROM session WHERE key LIKE 'agent:long-%' ORDER BY key")
        .await;
    assert_eq!(keys.len() as u64, chats, "{keys:?}");
    for key in keys {
        let own = FAMILIES
            .iter()
            .position(|family| key.starts_with(&format!("agent:long-{}:", family.name())));
        let other = FAMILIES[(own.expect("one of ours") + 1) % FAMILIES.len()];
        let choice = json!({"key": key, "model": format!("{}/m", other.name())});
        operator.call("sessions.patch", choice).await.expect("patches");
    }
    drop(operator);
    for chat in 0..chats {
        let last = LAST + chat;
        let said = app
            .webhooks()
            .telegram(last, chat_id(chat), &format!("and now #t{last}"));
        assert_eq!(status(said).await, 200);
    }
    settle(app, rows).await;
    let answers: Vec<String> = rows
        .column("SELECT body FROM transcript_entry WHERE kind = 'message' AND body LIKE '%re: #t9%'")
        .await;
    let mut answered: Vec<u64> = answers.iter().filter_map(|answer| tag_of(answer)).collect();
    answered.retain(|tag| *tag >= LAST);
    answered.sort_unstable();
    let wanted: Vec<u64> = (LAST..LAST + chats).collect();
    assert_eq!(answered, wanted, "conversations that go on");
}
