//! The table against itself: what it renders accepts what it checks.

use serde_json::{Value, json};

use super::*;

#[test]
fn the_schema_is_one_and_accepts_what_the_check_accepts() {
    let validator = jsonschema::validator_for(&document()).expect("is a JSON schema");
    let good = json!({
        "agents": {"defaults": {"model": {"primary": "a/b"}, "models": {"a/b": {"alias": "x"}}},
                   "entries": {"main": {"name": "M", "heartbeat": {"every": "1h"}}}},
        "bindings": [{"agentId": "main", "match": {"channel": "telegram", "peer": {"kind": "group", "id": -100}}}],
        "messages": {"queue": {"mode": "queued", "cap": 3}},
        "models": {"providers": {"x": {"baseUrl": "https://x", "models": ["m", {"id": "n", "cost": {"input": 0.5}}]}}},
        "channels": {"slack": {"botToken": "t", "accounts": {"b": {"dmPolicy": "open", "allowFrom": ["*", 5]}}}},
        "ui": {"seamColor": "#12ab34"},
        "gateway": {"nodes": {"allowCommands": ["camera.snap"], "commands": {"deny": ["sms.send"]}}},
    });
    let refused = |config: &Value| check(config).iter().any(|issue| issue.weight == Weight::Refused);
    assert!(!refused(&good), "{:?}", check(&good));
    assert!(validator.is_valid(&good));
    for bad in [
        json!({"gateway": {"port": 1}}),
        json!({"gateway": {"nodes": {"allowCommands": "camera.snap"}}}),
        json!({"nope": 1}),
        json!({"agents": {"list": {"id": "x"}}}),
        json!({"messages": {"queue": {"cap": -1}}}),
        json!({"channels": {"telegram": {"signingSecret": "s"}}}),
        json!({"channels": {"slack": {"dmPolicy": "all"}}}),
    ] {
        assert!(refused(&bad), "{bad}");
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

#[test]
fn names_of_no_tool_are_told_and_stored() {
    let config = json!({
        "tools": {"allow": ["group:web", "READ", "sess*", "docs__*", "bundle-mcp", "exce"], "deny": ["group:webs", "*"],
                  "subagents": {"tools": {"alsoAllow": ["browser"]}}},
        "agents": {"list": [{"id": "a", "tools": {"byProvider": {"x": {"deny": ["web-fetch"]}}}}]},
        "channels": {"slack": {"channels": {"C1": {
            "tools": {"allow": ["nodes "]}, "toolsBySender": {"U1": {"deny": ["raed"]}}}}}},
    });
    let issues = check(&config);
    let mut paths: Vec<_> = issues.iter().map(|issue| issue.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "agents.list.0.tools.byProvider.x.deny.0",
            "channels.slack.channels.C1.toolsBySender.U1.deny.0",
            "tools.allow.5",
            "tools.deny.0",
            "tools.subagents.tools.alsoAllow.0",
        ],
        "{issues:?}"
    );
    assert!(issues.iter().all(|issue| issue.weight == Weight::Notice), "{issues:?}");
    let wrong = check(&json!({"tools": {"deny": [7]}}));
    assert_eq!(
        (wrong[0].message.as_str(), wrong[0].weight),
        ("must be a text", Weight::Refused)
    );
}

#[test]
fn parts_are_found_by_every_spelling() {
    let found = |path: &str| lookup(path).unwrap_or_else(|| panic!("{path} is not found"));
    let list = found("agents.list[0].identity");
    assert_eq!(list.path, "agents.list.0.identity");
    assert_eq!(list.children.len(), 4);
    for path in [
        "agents.list[].identity",
        "agents.list.*.identity",
        "/agents/list/0/identity",
    ] {
        assert_eq!(found(path).children.len(), 4, "{path}");
    }
    assert_eq!(found("gateway.nodes.commands.deny").schema["type"], "array");
    let port = found("gateway.port");
    assert_eq!((port.reload_kind, port.children.len()), ("none", 0));
    assert!(
        port.schema["description"]
            .as_str()
            .is_some_and(|text| text.contains("this service"))
    );
    assert_eq!(found("ui").children[0]["path"], "ui.seamColor");
    assert_eq!(found("agents.defaults.models.a/b.alias").schema["type"], "string");
    assert_eq!(found("models.providers.x.models.0.id").reload_kind, "hot");
    assert_eq!(found("commands.text").reload_kind, "none");
    for path in ["", "nope", "ui.nope", "agents.list.x", "ui.seamColor.deeper", "..."] {
        assert!(lookup(path).is_none(), "{path}");
    }
}

#[test]
fn secrets_are_marked() {
    let hints = hints();
    for path in [
        "models.providers.*.apiKey",
        "models.providers.*.headers.*",
        "channels.telegram.botToken",
        "channels.slack.accounts.*.signingSecret",
        "skills.entries.*.apiKey",
    ] {
        assert_eq!(hints[path]["sensitive"], true, "{path}");
    }
    assert_eq!(hints["channels.telegram.dmPolicy"]["label"], "Dm policy");
}

/// A key that is stored as a secret is shown as one, and the other way round.
#[test]
fn what_is_sealed_and_what_is_marked_agree() {
    fn visit(kind: &Kind, name: &str) {
        if let Kind::Object(groups) = kind {
            for key in groups.iter().flat_map(|keys| keys.iter()).filter(|key| key.taken()) {
                let sealed = crate::config::document::is_secret_key(key.name);
                assert_eq!(matches!(key.kind, Kind::Secret), sealed, "{name}.{}", key.name);
                visit(&key.kind, key.name);
            }
        }
        if let Some(entry) = kind.entry() {
            visit(entry, name);
        }
    }
    visit(&ROOT, "");
}
