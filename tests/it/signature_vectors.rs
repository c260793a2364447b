//! Official proofs of origin, good and bad, through every channel's `verify`.
//!
//! Reads `tests/fixtures/vectors/channels.json`, or the file that `CHANNEL_VECTORS` names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use claw_actors::ports::channel::{Account, Channel, RawWebhook, WebhookOutcome};
use clawcentral::channels;
use clawcentral::egress::{Egress, EgressSettings};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    /// Several names are separated by `|`.
    channel: String,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    key: Value,
    /// Unix seconds; absent where time does not matter.
    #[serde(default)]
    now: Option<i64>,
    #[serde(default)]
    request: Option<Value>,
    expect: Expect,
    #[serde(default)]
    respond: Value,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Accept,
    Reject,
}

#[derive(Default)]
struct Count {
    checked: usize,
    skipped: usize,
}

#[test]
fn signature_vectors() {
    let path = std::env::var("CHANNEL_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors/channels.json").to_owned());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    assert!(!file.vectors.is_empty(), "{path} holds no vectors");

    let channels = channels::all(&Egress::new(EgressSettings::default()));
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut skipped_of_ours = BTreeSet::new();
    for vector in &file.vectors {
        for name in vector.channel.split('|') {
            let count = counts.entry(name).or_default();
            let Some(channel) = channels.iter().find(|channel| channel.manifest().id == id_of(name)) else {
                count.skipped += 1;
                continue;
            };
            match case(channel.as_ref(), vector) {
                Some((hook, account)) => {
                    count.checked += 1;
                    if let Err(reason) = judge(channel.as_ref(), vector, &hook, &account) {
                        wrong.push(format!("{}: {reason}", vector.id));
                    }
                }
                None => {
                    count.skipped += 1;
                    skipped_of_ours.insert(vector.id.as_str());
                }
            }
        }
    }
    let mut table = String::new();
    for (name, count) in &counts {
        table.push_str(&format!(
            "{name}: checked {}, skipped {}\n",
            count.checked, count.skipped
        ));
    }
    // Written, not printed: the figures belong to the output even when the test passes.
    let _ = std::io::stdout().write_all(table.as_bytes());
    assert!(wrong.is_empty(), "wrong outcomes:\n{}", wrong.join("\n"));
    assert!(
        skipped_of_ours.is_empty(),
        "vectors of our own channels were skipped: {skipped_of_ours:?}"
    );
    for channel in &channels {
        let id = channel.manifest().id;
        let known = counts.iter().find(|(name, _)| id_of(name) == id);
        assert!(
            known.is_none_or(|(_, count)| count.checked > 0),
            "nothing was checked for {id}"
        );
    }
}

/// The channel id for a vector's name of it.
fn id_of(name: &str) -> &str {
    match name {
        "twilio-sms" => "sms",
        "generic-webhook" => "hook",
        other => other,
    }
}

/// The request and the account of a vector, or `None` when we do not know its scheme.
fn case(channel: &dyn Channel, vector: &Vector) -> Option<(RawWebhook, Account)> {
    let key = |name: &str| vector.key[name].as_str().map(str::to_owned);
    let secret = match (channel.manifest().id, vector.scheme.as_str()) {
        ("telegram", "shared-secret-header") => ("webhookSecret", key("secret_token")),
        ("slack", "slack-v0") => ("signingSecret", key("signing_secret")),
        _ => return None,
    };
    let account = Account {
        tenant: "t1".into(),
        channel: channel.manifest().id.to_owned(),
        account_id: "default".to_owned(),
        config: json!({}),
        identity: json!({}),
        // A vector without key material is about a secret that is not configured.
        secrets: secret
            .1
            .map(|value| (secret.0.to_owned(), value.into()))
            .into_iter()
            .collect(),
    };
    let request = vector.request.as_ref()?;
    let text = |name: &str| request[name].as_str().map(str::to_owned);
    Some((
        RawWebhook {
            method: text("method").unwrap_or_else(|| "POST".to_owned()),
            path: text("path").unwrap_or_else(|| format!("/webhooks/{}", channel.manifest().path)),
            query: text("query").unwrap_or_default(),
            headers: headers(&request["headers"]),
            body: text("body_utf8").unwrap_or_default().into_bytes(),
            now: vector.now.unwrap_or_else(|| claw_actors::clock::now_ms() / 1000),
        },
        account,
    ))
}

/// As an object or as a list of pairs; a value may be a list, for a header that stands several times.
fn headers(value: &Value) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &Value| {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for value in values {
            headers.push((name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned()));
        }
    };
    for (name, value) in value.as_object().into_iter().flatten() {
        add(name, value);
    }
    for pair in value.as_array().into_iter().flatten() {
        add(pair[0].as_str().unwrap_or_default(), &pair[1]);
    }
    headers
}

fn judge(channel: &dyn Channel, vector: &Vector, hook: &RawWebhook, account: &Account) -> Result<(), String> {
    match (channel.verify(hook, account), vector.expect) {
        (Err(_), Expect::Reject) => Ok(()),
        (Err(refused), Expect::Accept) => Err(format!("refused: {}", refused.reason)),
        (Ok(()), Expect::Reject) => Err("accepted".to_owned()),
        (Ok(()), Expect::Accept) => match channel.parse(hook, account) {
            Err(malformed) => Err(format!("not parsed: {}", malformed.reason)),
            Ok(outcome) => answers(&outcome, vector),
        },
    }
}

/// Is the answer the one the vector asks for, where it asks for one.
fn answers(outcome: &WebhookOutcome, vector: &Vector) -> Result<(), String> {
    let reply = match outcome {
        WebhookOutcome::Reply(reply) => Some(reply),
        WebhookOutcome::Messages { reply, .. } => reply.as_ref(),
        WebhookOutcome::Ignore(_) => None,
    };
    let body = vector
        .request
        .as_ref()
        .and_then(|request| request["body_utf8"].as_str())
        .unwrap_or_default();
    let challenge = serde_json::from_str::<Value>(body)
        .ok()
        .filter(|body| body["type"] == "url_verification")
        .and_then(|body| body["challenge"].as_str().map(str::to_owned));
    if let Some(challenge) = challenge
        && reply.is_none_or(|reply| reply.status != 200 || !reply.body.contains(&challenge))
    {
        return Err("the challenge is not answered".to_owned());
    }
    if let Some(status) = vector.respond["status"].as_u64() {
        let ours = reply.map_or(200, |reply| u64::from(reply.status));
        if ours != status {
            return Err(format!("answers {ours}, not {status}"));
        }
    }
    Ok(())
}
