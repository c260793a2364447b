//! Every way a model provider fails, for every family: what is called again, what stands in, what is summarised, what the
//! person is told, and that nothing is lost or doubled by it. The provider is a socket of the test's own.
//!
//! Each case is an agent with a model of its own, and several go on at the same time.

mod cases;

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};

use self::cases::{Case, PATIENCE, cases, good};
use crate::support::app::TestApp;
use crate::support::faulty::{Asked, Faulty, Plan};
use crate::support::node::TestNode;
use crate::support::wire::{Answer, Family, asked, conversation};

/// The question that something happens to.
fn fault(name: &str) -> String {
    format!("fault {name};")
}

fn is_fault(request: &Asked, name: &str) -> bool {
    asked(request.family, &request.body).0.contains(&fault(name))
}

/// Cases that go on at the same time.
const AT_ONCE: usize = 12;
/// Questions before the one that fails: there is something to summarise.
const BEFORE: usize = 3;

/// All cases as agents, each with a provider of its own.
fn configuration(faulty: &Faulty, family: Family, cases: &[Case]) -> Value {
    let model = json!([{"id": "m", "contextWindow": 128_000, "maxTokens": 4096, "input": ["text"]}]);
    let provider = |name: &str| json!({"baseUrl": faulty.base_url(family, name), "apiKey": "sk-very-secret", "api": family.api(), "models": model});
    let mut providers = json!({"stand-in": provider("stand-in")});
    let mut agents = vec![json!({"id": "main", "default": true})];
    for case in cases {
        providers[case.name] = provider(case.name);
        let fallbacks = if case.fallback { vec!["stand-in/m"] } else { Vec::new() };
        let chosen = json!({"primary": format!("{}/m", case.name), "fallbacks": fallbacks});
        agents.push(json!({"id": case.name, "model": chosen}));
    }
    json!({
        "models": {"providers": providers},
        "agents": {"defaults": {"maxConcurrent": 64}, "list": agents},
    })
}

/// Asks and waits for the end of it.
async fn ask(operator: &mut TestNode, agent: &str, run: &str, message: &str, more: &Value) -> Value {
    let mut params = json!({"sessionKey": format!("agent:{agent}:one"), "message": message, "idempotencyKey": run});
    crate::support::app::merge(&mut params, more);
    operator.call("chat.send", params).await.expect("accepted");
    let wait = json!({"runId": run, "timeoutMs": 60_000});
    operator.call("agent.wait", wait).await.expect("waits")
}

/// One case from its first question to its last.
async fn play(app: &TestApp, faulty: &Faulty, case: &Case) {
    let name = case.name;
    let mut operator = app.operator().await;
    for number in 0..BEFORE {
        let words = format!("before {number} {}", "word ".repeat(300));
        let ended = ask(&mut operator, name, &format!("{name}-{number}"), &words, &json!({})).await;
        assert_eq!(ended["status"], "ok", "{name}: {ended}");
    }
    let limit = if name.starts_with("stalled") {
        json!({"timeoutMs": PATIENCE * 1000})
    } else {
        json!({})
    };
    // How it ended is looked at on record.
    ask(&mut operator, name, &format!("{name}-fault"), &fault(name), &limit).await;
    let after = ask(&mut operator, name, &format!("{name}-after"), "after", &json!({})).await;
    if after["status"] != "ok" {
        let rows = app.rows().await;
        let of = |what: &str, key: &str| format!("SELECT {what} || ' ' || {key} FROM");
        let inbox: Vec<String> = rows
            .column(&format!(
                "{} inbox WHERE session_key = 'agent:{name}:one'",
                of("event_key", "state")
            ))
            .await;
        let runs: Vec<String> = rows
            .column(&format!(
                "{} run WHERE session_key = 'agent:{name}:one'",
                of("id", "status")
            ))
            .await;
        let asked = faulty.asked(name).len();
        panic!("{name}: {after}; messages {inbox:?}, runs {runs:?}, {asked} calls");
    }
}

/// What is on record of one case: its questions once each with one end, and the words of the end that matters. Gives what
/// is wrong.
async fn look(app: &TestApp, case: &Case) -> Vec<String> {
    let (name, expected) = (case.name, &case.expected);
    let rows = app.rows().await;
    let sql = format!(
        "SELECT body FROM transcript_entry WHERE kind = 'message' AND session_id IN \
         (SELECT session_id FROM session WHERE key = 'agent:{name}:one') ORDER BY seq"
    );
    let bodies: Vec<String> = rows.column(&sql).await;
    let messages: Vec<Value> = bodies
        .iter()
        .map(|body| serde_json::from_str(body).expect("JSON"))
        .map(|body: Value| {
            if body["role"].is_string() {
                body
            } else {
                body["message"].clone()
            }
        })
        .collect();
    let of = |role: &'static str| messages.iter().filter(move |message| message["role"] == role);
    let ends: Vec<&Value> = of("assistant")
        .filter(|message| message["stopReason"] != "toolUse")
        .collect();
    let end = ends.get(BEFORE).copied().unwrap_or(&Value::Null).to_string();
    let run = match expected.class {
        Some(class) => format!("error_class = '{class}'"),
        None => "error_class IS NULL".to_owned(),
    };
    let run = format!(
        "run WHERE id = '{name}-fault' AND status = '{}' AND {run}",
        expected.status
    );
    let runs = format!("run WHERE session_key = 'agent:{name}:one'");
    let all = i64::try_from(BEFORE + 2).expect("few");
    let mut wrong = Vec::new();
    let mut check = |fits: bool, what: &str| {
        if !fits {
            wrong.push(format!("{name}: {what}: {end:.600}"));
        }
    };
    check(of("user").count() == BEFORE + 2, "each question once");
    check(ends.len() == BEFORE + 2, "one end of each question");
    check(end.contains(expected.says), expected.says);
    check(
        !name.ends_with("after-words") || end.contains("half an"),
        "what was said is kept",
    );
    check(
        !end.contains("127.0.0.1") && !end.contains("very-secret"),
        "it tells too much",
    );
    check(rows.count(&run).await == 1, &run);
    check(rows.count(&runs).await == all, "one run for each question");
    wrong
}

/// Plays all cases of a family.
async fn family(family: Family) -> TestApp {
    let faulty = Arc::new(Faulty::start());
    let cases = cases(family);
    for case in &cases {
        let (does, name) = (case.does.clone(), case.name);
        let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        faulty.does(case.name, move |_, request: &Asked| {
            if is_fault(request, name) {
                return does(seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst), request);
            }
            good(request.family)
        });
    }
    faulty.does("stand-in", |_, request| {
        Plan::answer(request.family, &Answer::says("stood in"))
    });
    let app = TestApp::start_with(&configuration(&faulty, family, &cases), &[]).await;
    stream::iter(cases.iter().map(|case| play(&app, &faulty, case)))
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
    app.settled().await;
    assert_eq!(
        faulty.refused(),
        Vec::<String>::new(),
        "requests that no strict provider takes"
    );
    let mut wrong = Vec::new();
    for case in &cases {
        let (name, expected) = (case.name, &case.expected);
        let calls = |provider: &str| {
            let asked = faulty.asked(provider);
            asked.iter().filter(|request| is_fault(request, name)).count()
        };
        let seen = (calls(name), calls("stand-in"), faulty.summaries(name) > 0);
        let wanted = (expected.calls, expected.stand_in, expected.summarised);
        if seen != wanted {
            wrong.push(format!(
                "{name}: calls, of the other model, summarised: {seen:?}, not {wanted:?}"
            ));
        }
        wrong.extend(look(&app, case).await);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    files(&app, family, &faulty).await;
    app
}

/// What tools did: each file once, and nothing by a call that could not be read.
async fn files(app: &TestApp, family: Family, faulty: &Faulty) {
    let rows = app.rows().await;
    let mut paths: Vec<String> = rows
        .column("SELECT path FROM workspace_file WHERE content = 'kept' ORDER BY path")
        .await;
    paths.sort();
    assert_eq!(paths, ["in-letters.md", "same-one.md", "same-two.md"]);
    let last = faulty.asked("one-id-for-two-calls");
    let with_results = last
        .iter()
        .rev()
        .find(|request| is_fault(request, "one-id-for-two-calls") && asked(family, &request.body).1 > 0);
    let request = with_results.expect("the results were sent");
    assert_eq!(
        asked(family, &request.body).1,
        2,
        "both results: {:?}",
        conversation(family, &request.body)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic() {
    let app = family(Family::Anthropic).await;
    // It counts the prompt when it begins: that is on record of an answer that broke off, too.
    let usage: Vec<String> = app
        .rows()
        .await
        .column("SELECT CAST(usage AS text) FROM run WHERE id = 'cut-after-words-fault'")
        .await;
    let usage: Value = serde_json::from_str(&usage[0]).expect("JSON");
    assert_eq!(usage["input"], 12, "{usage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_completions() {
    family(Family::Chat).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses() {
    family(Family::Responses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google() {
    family(Family::Google).await;
}
