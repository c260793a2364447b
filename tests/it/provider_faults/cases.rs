//! The table: what a provider does, and what is expected to come of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::support::faulty::{Asked, End, Plan};
use crate::support::wire::{Answer, Called, Family, asked, error_event};

/// What a case is expected to come to.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Of the run.
    pub(super) status: &'static str,
    pub(super) class: Option<&'static str>,
    /// Calls of the model that fails, those of the question before and after it left out, and of the one that stands in.
    pub(super) calls: usize,
    pub(super) stand_in: usize,
    /// Stands in the answer, or in what the person is told.
    pub(super) says: &'static str,
    pub(super) summarised: bool,
}

/// How long a run waits whose provider stalls, seconds: long enough for all cases to get that far at once.
pub(super) const PATIENCE: u64 = 20;

/// Answered after so many calls.
const fn answered(calls: usize) -> Expected {
    Expected {
        status: "ok",
        class: None,
        calls,
        stand_in: 0,
        says: "re: the question",
        summarised: false,
    }
}

/// Answered by the other model after so many calls.
const fn stands_in(calls: usize) -> Expected {
    Expected {
        stand_in: 1,
        says: "stood in",
        ..answered(calls)
    }
}

const fn fails(class: &'static str, calls: usize, says: &'static str) -> Expected {
    Expected {
        status: "error",
        class: Some(class),
        says,
        ..answered(calls)
    }
}

pub(super) type Doing = Arc<dyn Fn(usize, &Asked) -> Plan + Send + Sync>;

pub(super) struct Case {
    pub(super) name: &'static str,
    /// Another model may stand in.
    pub(super) fallback: bool,
    /// What becomes of the question's calls; the number counts those that the case has seen.
    pub(super) does: Doing,
    pub(super) expected: Expected,
}

pub(super) fn good(family: Family) -> Plan {
    Plan::answer(family, &Answer::says("re: the question"))
}

/// The fault once, then a good answer.
fn once(plan: Plan) -> Doing {
    times(1, plan)
}

fn times(many: usize, plan: Plan) -> Doing {
    Arc::new(move |before, asked| {
        if before < many {
            plan.clone()
        } else {
            good(asked.family)
        }
    })
}

fn always(plan: Plan) -> Doing {
    times(usize::MAX, plan)
}

/// Calls tools, and answers when their results came.
fn tools(calls: Vec<Called>) -> Doing {
    Arc::new(move |_, request| match asked(request.family, &request.body).1 {
        0 => Plan::answer(request.family, &Answer::calls(calls.clone())),
        _ => good(request.family),
    })
}

/// How the family says of a status that it is one.
fn body(family: Family, kind: &str, message: &str, code: u16) -> String {
    match family {
        Family::Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
        Family::Chat | Family::Responses => json!({"error": {"type": kind, "message": message, "code": null}}),
        Family::Google => json!({"error": {"code": code, "status": kind.to_uppercase(), "message": message}}),
    }
    .to_string()
}

/// How providers of the family say that a prompt does not fit (`agent-runtime` §10.9).
fn overflows(family: Family) -> Vec<Plan> {
    let said = |status, message: &str| Plan::refusal(status, body(family, "invalid_request_error", message, status));
    match family {
        Family::Anthropic => vec![
            said(400, "prompt is too long: 210000 tokens > 200000 maximum"),
            Plan::refusal(
                413,
                body(family, "request_too_large", "Request exceeds the maximum size", 413),
            ),
            Plan::answer(
                family,
                &Answer {
                    stop: Some("model_context_window_exceeded".to_owned()),
                    prompt_tokens: 12,
                    ..Answer::default()
                },
            ),
        ],
        Family::Chat => vec![
            Plan::refusal(
                400,
                json!({"error": {"message": "too long", "code": "context_length_exceeded"}}).to_string(),
            ),
            said(
                400,
                "This endpoint's maximum context length is 131072 tokens. However, you requested about 250000 tokens.",
            ),
            said(400, "Please reduce the length of the messages or completion."),
            said(
                400,
                "Prompt contains 300000 tokens, too large for model with 131072 maximum context length",
            ),
            said(400, "the request exceeds the available context size, try increasing it"),
            said(
                400,
                "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)",
            ),
            Plan::refusal(400, String::new()),
            Plan::stream(vec![error_event(
                family,
                "invalid_request_error",
                "maximum prompt length is 131072 but the request contains 537812 tokens",
                400,
            )]),
        ],
        Family::Responses => vec![
            said(400, "Your input exceeds the context window of this model."),
            Plan::stream(vec![error_event(
                family,
                "context_length_exceeded",
                "Your input exceeds the context window of this model.",
                400,
            )]),
        ],
        Family::Google => vec![said(
            400,
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        )],
    }
}

/// The beginning of an answer whose end never comes: so many of its events.
fn begun(family: Family, words: bool) -> Plan {
    let answer = Answer::says("half an answer that goes on");
    let events = answer.events(family);
    let visible = events
        .iter()
        .position(|event| event.contains("half"))
        .expect("it says that");
    Plan::stream(events[..if words { visible + 3 } else { visible }].to_vec())
}

fn write(id: &str, path: &str) -> Called {
    Called::new(id, "write", &json!({"path": path, "content": "kept"}))
}

pub(super) fn cases(family: Family) -> Vec<Case> {
    let status = |status: u16, kind: &str| Plan::refusal(status, body(family, kind, "ordered by the test", status));
    let overloaded = error_event(family, "overloaded_error", "Overloaded", 503);
    let case = |name, fallback, does, expected| Case {
        name,
        fallback,
        does,
        expected,
    };
    let waits = |seconds, plan: Plan| Plan {
        retry_after: Some(seconds),
        ..plan
    };
    let mut after_words = begun(family, true);
    after_words.pieces.push(overloaded.clone());
    let mut broken_event = begun(family, false);
    broken_event.pieces.push("data: {\"choices\": [{\"del\n\n".to_owned());
    let mut half_event = begun(family, false);
    half_event.pieces.push("data: {\"choices\": [{\"del".to_owned());
    let html = Plan {
        kind: "text/html",
        ..Plan::stream(vec!["<html><body>Sign in to the portal</body></html>".to_owned()])
    };
    let mut unhurried = good(family);
    unhurried.wait = Duration::from_millis(1500);
    let mut misnamed = good(family);
    misnamed.kind = "text/plain";
    let whole = Plan {
        kind: "application/json",
        ..Plan::stream(vec![Answer::says("re: the question").whole(family)])
    };
    let odd_stop = Answer {
        stop: Some("out_of_ideas".to_owned()),
        ..Answer::says("re: the question")
    };
    let nothing = Answer {
        prompt_tokens: 12,
        ..Answer::default()
    };
    let mut cases = vec![
        case("too-often", true, always(status(429, "rate_limit_error")), stands_in(1)),
        case(
            "too-often-for-a-moment",
            false,
            once(waits(0, status(429, "rate_limit_error"))),
            answered(2),
        ),
        case(
            "too-often-for-an-hour",
            false,
            always(waits(3600, status(429, "rate_limit_error"))),
            fails("rate_limit", 1, "try again in 3600 seconds"),
        ),
        case("broken-inside", true, always(status(500, "api_error")), stands_in(1)),
        case("bad-gateway", true, always(status(502, "api_error")), stands_in(1)),
        case("unavailable", true, always(status(503, "unavailable")), stands_in(1)),
        case(
            "unavailable-for-a-moment",
            false,
            once(waits(0, status(503, "unavailable"))),
            answered(2),
        ),
        case(
            "overloaded",
            true,
            always(status(529, "overloaded_error")),
            stands_in(1),
        ),
        case(
            "wrong-key",
            true,
            always(status(401, "authentication_error")),
            stands_in(1),
        ),
        case(
            "wrong-key-alone",
            false,
            always(status(401, "authentication_error")),
            fails("auth", 1, "did not accept the API key"),
        ),
        case(
            "malformed",
            false,
            always(status(422, "invalid_request_error")),
            fails("format", 1, "rejected the request as malformed"),
        ),
        case(
            "overloaded-in-the-stream",
            true,
            always(Plan::stream(vec![overloaded])),
            stands_in(1),
        ),
        case(
            "overloaded-after-words",
            true,
            always(after_words),
            fails("overloaded", 1, "is overloaded"),
        ),
        case("reset-at-once", true, once(Plan::silence(End::Reset)), answered(2)),
        case("reset-always", true, always(Plan::silence(End::Reset)), stands_in(2)),
        case("closed-at-once", true, once(Plan::silence(End::Cut)), answered(2)),
        case(
            "reset-after-the-head",
            true,
            once(Plan::stream(Vec::new()).ends(End::Reset)),
            answered(2),
        ),
        case(
            "closed-after-the-head",
            true,
            once(Plan::stream(Vec::new()).ends(End::Cut)),
            answered(2),
        ),
        case("no-body", true, once(Plan::stream(Vec::new())), answered(2)),
        case(
            "cut-before-words",
            true,
            once(begun(family, false).ends(End::Cut)),
            answered(2),
        ),
        case(
            "cut-after-words",
            true,
            always(begun(family, true).ends(End::Cut)),
            fails("network", 1, "broke before the answer was complete"),
        ),
        case(
            "stalled-at-once",
            false,
            always(Plan::stream(Vec::new()).ends(End::Stalled)),
            fails("timeout", 1, "longer than 20 s"),
        ),
        case(
            "stalled-after-words",
            false,
            always(begun(family, true).ends(End::Stalled)),
            fails("timeout", 1, "longer than 20 s"),
        ),
        case("broken-event", true, always(broken_event), stands_in(1)),
        case("half-an-event", true, once(half_event.ends(End::Cut)), answered(2)),
        case("another-page", true, always(html), stands_in(1)),
        case("slow-first-byte", false, always(unhurried), answered(1)),
        case("misnamed", false, always(misnamed), answered(1)),
        case("not-streamed", false, always(whole), answered(1)),
        case(
            "says-nothing",
            false,
            always(Plan::answer(family, &nothing)),
            Expected {
                says: "",
                ..answered(1)
            },
        ),
        case("odd-stop", false, always(Plan::answer(family, &odd_stop)), answered(1)),
        case(
            "call-in-letters",
            false,
            tools(vec![write("call_a", "in-letters.md").in_letters()]),
            answered(2),
        ),
        case(
            "broken-call",
            false,
            tools(vec![Called {
                arguments: vec!["{\"path\": \"broken-call.md\", \"con".to_owned()],
                ..write("call_a", "")
            }]),
            answered(2),
        ),
        case(
            "one-id-for-two-calls",
            false,
            tools(vec![write("call_a", "same-one.md"), write("call_a", "same-two.md")]),
            answered(2),
        ),
    ];
    const OVERFLOWS: [&str; 8] = [
        "overflow-1",
        "overflow-2",
        "overflow-3",
        "overflow-4",
        "overflow-5",
        "overflow-6",
        "overflow-7",
        "overflow-8",
    ];
    for (name, plan) in OVERFLOWS.into_iter().zip(overflows(family)) {
        let expected = Expected {
            summarised: true,
            ..answered(2)
        };
        cases.push(case(name, true, once(plan), expected));
    }
    cases
}
