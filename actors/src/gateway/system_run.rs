//! What an approval of a command on a node is about: the plan the node made, and that what runs later is that plan.
//!
//! Pure: knows no database and no connection.

use std::collections::BTreeMap;

use claw_entities::approval;
use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::WireError;
use crate::crypto::token;

/// The answer of `system.run.prepare`, as far as this server reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: Option<String>,
    pub(crate) command_preview: Option<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) session_key: Option<String>,
}

/// What must be the same when the command runs.
pub(super) fn binding(plan: &Plan, env: &BTreeMap<String, String>) -> Value {
    json!({
        "argv": plan.argv, "cwd": plan.cwd, "agentId": plan.agent_id, "sessionKey": plan.session_key,
        "envHash": env_hash(env),
    })
}

/// Names and values together; null for an empty environment.
fn env_hash(env: &BTreeMap<String, String>) -> Option<String> {
    (!env.is_empty()).then(|| token::hash(&json!(env).to_string()))
}

/// A `system.run` that says it was approved. Its `runId` is the approval's id.
pub(super) struct Claim {
    pub(super) approval_id: String,
}

/// Takes what only the server may say off the parameters. Gives the claim, if they held one.
pub(super) fn take_claim(params: &mut Value) -> Result<Option<Claim>, WireError> {
    let Some(fields) = params.as_object_mut() else {
        return Ok(None);
    };
    let approved = fields.remove("approved").is_some_and(|value| value == true);
    let decision = fields.remove("approvalDecision");
    let decided = decision.is_some_and(|value| value == "allow-once" || value == "allow-always");
    if !approved && !decided {
        return Ok(None);
    }
    match fields.get("runId").and_then(Value::as_str).map(str::trim) {
        Some(id) if !id.is_empty() => Ok(Some(Claim {
            approval_id: id.to_owned(),
        })),
        Some(_) | None => Err(refused("MISSING_RUN_ID", "approval override requires params.runId")),
    }
}

/// Refuses a claim that the row does not bear out at `now`: not allowed, too late, another node, or anything different.
pub(super) fn check_claim(
    row: Option<&approval::Model>,
    node_id: &str,
    params: &Value,
    now: i64,
) -> Result<(), WireError> {
    let row = row.ok_or_else(|| refused("UNKNOWN_APPROVAL_ID", "unknown or expired approval id"))?;
    if row.expires_at <= now {
        return Err(refused("APPROVAL_EXPIRED", "approval expired"));
    }
    if !matches!(row.decision.as_deref(), Some("allow-once" | "allow-always")) {
        return Err(refused("APPROVAL_REQUIRED", "approval required"));
    }
    if row.request["nodeId"] != node_id {
        return Err(refused("APPROVAL_NODE_MISMATCH", "approval id not valid for this node"));
    }
    let same = env_of(params).is_some_and(|env| {
        let asked = json!({
            "argv": params["command"], "cwd": params["cwd"], "agentId": params["agentId"],
            "sessionKey": params["sessionKey"], "envHash": env_hash(&env),
        });
        asked == row.request["systemRunBinding"]
    });
    let plan = &row.request["systemRunPlan"];
    let same_plan = params["systemRunPlan"].is_null() || params["systemRunPlan"] == *plan;
    let same_text = params["rawCommand"].is_null() || params["rawCommand"] == plan["commandText"];
    if same && same_plan && same_text {
        return Ok(());
    }
    Err(refused(
        "APPROVAL_REQUEST_MISMATCH",
        "approval id does not match request",
    ))
}

/// The one use of an `allow-once` is gone.
pub(super) fn used_up() -> WireError {
    refused("APPROVAL_REQUIRED", "approval was used already")
}

/// What an approved run may say. Anything else was not looked at by whoever allowed it.
const KNOWN: [&str; 10] = [
    "agentId",
    "command",
    "cwd",
    "env",
    "needsScreenRecording",
    "rawCommand",
    "runId",
    "sessionKey",
    "suppressNotifyOnExit",
    "timeoutMs",
];

/// Leaves what was allowed and adds what tells the node that a person allowed exactly this.
pub(super) fn bear_out(params: &mut Value, row: &approval::Model) {
    if let Some(fields) = params.as_object_mut() {
        fields.retain(|name, _| KNOWN.contains(&name.as_str()));
    }
    params["approved"] = json!(true);
    params["approvalDecision"] = json!(row.decision);
    params["runId"] = json!(row.id);
    params["systemRunPlan"] = row.request["systemRunPlan"].clone();
}

/// `None` when it is no map of texts.
fn env_of(params: &Value) -> Option<BTreeMap<String, String>> {
    let env = &params["env"];
    if env.is_null() {
        return Some(BTreeMap::new());
    }
    BTreeMap::deserialize(env).ok()
}

fn refused(code: &str, message: &str) -> WireError {
    WireError::invalid(message).details(json!({"code": code}))
}

/// The command as a shell would read it: what runs, whatever the plan calls itself.
pub(crate) fn rendered(argv: &[String]) -> String {
    let quoted: Vec<String> = argv
        .iter()
        .map(|word| {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "_./:=@%+,-".contains(letter);
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect();
    quoted.join(" ")
}

/// Makes visible what could hide a part of the command from whoever approves it: control characters, and characters
/// that take no room or turn the direction of writing.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        let hidden = matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
        if hidden || (letter.is_control() && letter != '\n' && letter != '\t') {
            shown.push_str(&format!("\\u{{{:X}}}", u32::from(letter)));
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(decision: Option<&str>) -> approval::Model {
        let plan = json!({"argv": ["rm", "-rf", "x"], "cwd": "/tmp", "commandText": "rm -rf x", "agentId": "main", "sessionKey": null});
        let parsed = Plan::deserialize(&plan).expect("a plan");
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        approval::Model {
            tenant_id: "t".into(),
            user_id: "u".into(),
            id: "a".to_owned(),
            request: json!({"nodeId": "n1", "systemRunPlan": plan, "systemRunBinding": binding(&parsed, &env)}),
            reviewers: Value::Null,
            created_at: 0,
            expires_at: 100,
            decision: decision.map(str::to_owned),
            reason: None,
            resolved_by: None,
            resolved_at: None,
            consumed_at: None,
        }
    }

    fn run() -> Value {
        json!({"command": ["rm", "-rf", "x"], "cwd": "/tmp", "agentId": "main", "env": {"A": "1"}, "timeoutMs": 5})
    }

    fn code(result: Result<(), WireError>) -> String {
        match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.details.expect("details")["code"]
                .as_str()
                .expect("a code")
                .to_owned(),
        }
    }

    #[test]
    fn only_the_very_same_command_is_allowed() {
        let allowed = row(Some("allow-once"));
        assert_eq!(code(check_claim(Some(&allowed), "n1", &run(), 99)), "ok");
        let changes: [(&str, Value); 9] = [
            ("/command", json!(["rm", "-rf", "y"])),
            ("/command", json!(["rm", "-rf"])),
            ("/command", json!("rm -rf x")),
            ("/cwd", json!("/")),
            ("/cwd", Value::Null),
            ("/agentId", json!("other")),
            ("/env", json!({"A": "2"})),
            ("/env", json!({})),
            ("/env", json!("A=1")),
        ];
        for (path, value) in changes {
            let mut other = run();
            *other.pointer_mut(path).expect("a field") = value.clone();
            let refusal = code(check_claim(Some(&allowed), "n1", &other, 99));
            assert_eq!(refusal, "APPROVAL_REQUEST_MISMATCH", "{path} {value}");
        }
        for (name, value) in [
            ("rawCommand", json!("ls")),
            ("sessionKey", json!("agent:main:x")),
            ("systemRunPlan", json!({"argv": ["ls"]})),
        ] {
            let mut other = run();
            other[name] = value;
            assert_eq!(
                code(check_claim(Some(&allowed), "n1", &other, 99)),
                "APPROVAL_REQUEST_MISMATCH"
            );
        }
    }

    #[test]
    fn an_environment_that_was_not_asked_for_is_another_request() {
        let mut allowed = row(Some("allow-once"));
        allowed.request["systemRunBinding"]["envHash"] = Value::Null;
        for (env, expected) in [
            (Value::Null, "ok"),
            (json!({}), "ok"),
            (json!({"A": "1"}), "APPROVAL_REQUEST_MISMATCH"),
            (json!("A=1"), "APPROVAL_REQUEST_MISMATCH"),
            (json!(["A=1"]), "APPROVAL_REQUEST_MISMATCH"),
            (json!({"A": 1}), "APPROVAL_REQUEST_MISMATCH"),
        ] {
            let mut params = run();
            params["env"] = env.clone();
            assert_eq!(code(check_claim(Some(&allowed), "n1", &params, 1)), expected, "{env}");
        }
    }

    #[test]
    fn what_was_not_looked_at_does_not_go_out() {
        let mut params = run();
        params["brandNew"] = json!(1);
        bear_out(&mut params, &row(Some("allow-always")));
        let mut expected = run();
        expected["approved"] = json!(true);
        expected["approvalDecision"] = json!("allow-always");
        expected["runId"] = json!("a");
        expected["systemRunPlan"] = row(None).request["systemRunPlan"].clone();
        assert_eq!(params, expected);
    }

    #[test]
    fn no_word_no_run() {
        for (row, node, now, expected) in [
            (None, "n1", 1, "UNKNOWN_APPROVAL_ID"),
            (Some(row(None)), "n1", 1, "APPROVAL_REQUIRED"),
            (Some(row(Some("deny"))), "n1", 1, "APPROVAL_REQUIRED"),
            (Some(row(Some("allow-always"))), "n2", 1, "APPROVAL_NODE_MISMATCH"),
            (Some(row(Some("allow-always"))), "n1", 100, "APPROVAL_EXPIRED"),
            (Some(row(Some("allow-always"))), "n1", 1, "ok"),
        ] {
            assert_eq!(code(check_claim(row.as_ref(), node, &run(), now)), expected);
        }
    }

    #[test]
    fn a_claim_is_taken_off() {
        let mut plain = json!({"command": ["ls"], "approved": false, "approvalDecision": "deny"});
        assert!(take_claim(&mut plain).expect("no claim").is_none());
        assert_eq!(plain, json!({"command": ["ls"]}));
        for claim in [
            json!({"approved": true}),
            json!({"approvalDecision": "allow-always", "runId": " "}),
        ] {
            let refusal = take_claim(&mut claim.clone()).err().expect("names no approval");
            assert_eq!(refusal.details.expect("details")["code"], "MISSING_RUN_ID");
        }
        let mut claim = json!({"approved": true, "runId": "a"});
        let taken = take_claim(&mut claim).expect("reads").expect("a claim");
        assert_eq!((taken.approval_id.as_str(), &claim), ("a", &json!({"runId": "a"})));
    }

    #[test]
    fn the_approver_sees_what_runs() {
        let argv = ["sh", "-c", "echo 'a b'", ""].map(str::to_owned);
        assert_eq!(rendered(&argv), r"sh -c 'echo '\''a b'\''' ''");
        assert_eq!(
            visible("a\u{202e}b\u{1b}[2K\nc\u{200b}é"),
            "a\\u{202E}b\\u{1B}[2K\nc\\u{200B}é"
        );
    }
}
