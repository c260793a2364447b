//! Sections that go into the user's document as they are: agents, bindings, session, messages, cron, skills, tools.

use serde_json::{Map, Value};

use super::plan::{Plan, object};
use super::report::Outcome;

/// A part of the document and what its keys mean.
struct Part {
    path: &'static str,
    /// `*` = whatever is below.
    taken: &'static [&'static str],
    local: &'static [&'static str],
    note: &'static str,
}

const PARTS: &[Part] = &[
    Part {
        path: "agents.defaults",
        taken: &[
            "model",
            "models",
            "imageModel",
            "imageGenerationModel",
            "pdfModel",
            "params",
            "thinkingDefault",
            "verboseDefault",
            "reasoningDefault",
            "elevatedDefault",
            "fastModeDefault",
            "timeoutSeconds",
            "maxConcurrent",
            "userTimezone",
            "timeFormat",
            "envelopeTimezone",
            "envelopeTimestamp",
            "envelopeElapsed",
            "contextTokens",
            "contextPruning",
            "compaction",
            "bootstrapMaxChars",
            "bootstrapTotalMaxChars",
            "mediaMaxMb",
            "memorySearch",
            "heartbeat",
            "subagents",
            "blockStreamingDefault",
            "blockStreamingBreak",
            "blockStreamingChunk",
            "blockStreamingCoalesce",
            "humanDelay",
            "typingMode",
            "typingIntervalSeconds",
            "identity",
            "groupChat",
            "tools",
            "skills",
            "bootstrapPromptTruncationWarning",
        ],
        local: &[
            "workspace",
            "repoRoot",
            "sandbox",
            "cliBackends",
            "skipBootstrap",
            "embeddedPi",
            "runtime",
        ],
        note: "",
    },
    Part {
        path: "session",
        taken: &[
            "scope",
            "dmScope",
            "groupScope",
            "identityLinks",
            "reset",
            "resetByType",
            "resetByChannel",
            "resetTriggers",
            "idleMinutes",
            "sendPolicy",
            "mainKey",
            "parentForkMaxTokens",
            "agentToAgent",
            "typingMode",
            "typingIntervalSeconds",
            "threadBindings",
        ],
        local: &["store", "maintenance"],
        note: "",
    },
    Part {
        path: "messages",
        taken: &[
            "responsePrefix",
            "messagePrefix",
            "queue",
            "inbound",
            "groupChat",
            "ackReaction",
            "ackReactionScope",
            "removeAckAfterReply",
            "tts",
            "suppressToolErrors",
            "statusReactions",
        ],
        local: &[],
        note: "",
    },
    Part {
        path: "cron",
        taken: &["enabled", "maxConcurrentRuns", "sessionRetention", "retry"],
        local: &[
            "store",
            "webhook",
            "webhookToken",
            "runLog",
            "failureAlert",
            "failureDestination",
        ],
        note: "",
    },
    Part {
        path: "skills",
        taken: &["entries", "allowBundled", "limits"],
        local: &["load", "install"],
        note: "",
    },
    Part {
        path: "tools",
        taken: &[
            "profile",
            "allow",
            "alsoAllow",
            "deny",
            "byProvider",
            "web",
            "message",
            "agentToAgent",
            "sessions",
            "loopDetection",
            "subagents",
            "links",
            "exec",
            "elevated",
            "sessions_spawn",
        ],
        local: &["sandbox", "fs", "media"],
        note: "",
    },
    Part {
        path: "commands",
        taken: &["*"],
        local: &[],
        note: "",
    },
];

/// Keys of one agent.
const AGENT: Part = Part {
    path: "agents.list",
    taken: &[
        "id",
        "default",
        "name",
        "model",
        "params",
        "skills",
        "identity",
        "groupChat",
        "tools",
        "subagents",
        "heartbeat",
        "humanDelay",
        "memorySearch",
        "thinkingDefault",
        "verboseDefault",
        "reasoningDefault",
        "fastModeDefault",
    ],
    local: &["workspace", "agentDir", "sandbox", "runtime"],
    note: "",
};

pub(super) fn known(name: &str) -> bool {
    name == "agents" || name == "bindings" || part(name).is_some()
}

fn part(path: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.path == path)
}

pub(super) fn read(name: &str, mut section: Value, plan: &mut Plan) {
    if name == "cron" {
        plan.cron_jobs = jobs(&mut section, plan);
    }
    let kept = match name {
        "agents" => Value::Object(agents(&section, plan)),
        "bindings" => bindings(section, plan),
        other => match part(other) {
            Some(part) => Value::Object(filtered(part, part.path, &section, plan)),
            None => return,
        },
    };
    plan.document.insert(name.to_owned(), kept);
}

fn agents(section: &Value, plan: &mut Plan) -> Map<String, Value> {
    let mut kept = Map::new();
    for (key, value) in object(section) {
        match (key.as_str(), &value) {
            ("defaults", _) => {
                let defaults = part("agents.defaults");
                kept.extend(defaults.map(|part| (key, Value::Object(filtered(part, part.path, &value, plan)))));
            }
            ("list", Value::Array(items)) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let id = item
                        .get("id")
                        .and_then(Value::as_str)
                        .map_or_else(|| index.to_string(), str::to_owned);
                    Value::Object(filtered(&AGENT, &format!("agents.list[{id}]"), item, plan))
                });
                let items = items.collect();
                kept.insert(key, Value::Array(items));
            }
            ("entries", Value::Object(entries)) => {
                let entries = entries.iter().map(|(id, item)| {
                    let agent = filtered(&AGENT, &format!("agents.entries.{id}"), item, plan);
                    (id.clone(), Value::Object(agent))
                });
                let entries = entries.collect();
                kept.insert(key, Value::Object(entries));
            }
            _ => plan.report.add(Outcome::Unknown, format!("agents.{key}"), ""),
        }
    }
    kept
}

fn bindings(section: Value, plan: &mut Plan) -> Value {
    let count = section.as_array().map_or(0, Vec::len);
    if section.is_array() {
        plan.report.add(Outcome::Taken, "bindings", format!("{count} bindings"));
        section
    } else {
        plan.report.add(Outcome::NotTaken, "bindings", "it is not a list");
        Value::Array(Vec::new())
    }
}

/// Takes the jobs out of the section: they are rows of their own.
fn jobs(section: &mut Value, plan: &mut Plan) -> Vec<Value> {
    match section.as_object_mut().and_then(|section| section.remove("jobs")) {
        None => Vec::new(),
        Some(Value::Array(jobs)) => jobs,
        Some(_) => {
            plan.report.add(Outcome::NotTaken, "cron.jobs", "it is not a list");
            Vec::new()
        }
    }
}

fn filtered(part: &Part, path: &str, section: &Value, plan: &mut Plan) -> Map<String, Value> {
    let mut kept = Map::new();
    for (key, value) in object(section) {
        let setting = format!("{path}.{key}");
        if part.taken.contains(&key.as_str()) || part.taken == ["*"] {
            plan.report.add(Outcome::Taken, setting, note(part, &key, &value));
            kept.insert(key, value);
        } else if part.local.contains(&key.as_str()) {
            plan.report.add(Outcome::NoMeaning, setting, why_local(&key));
        } else {
            plan.report.add(Outcome::Unknown, setting, "");
        }
    }
    kept
}

fn note(part: &Part, key: &str, value: &Value) -> String {
    if part.path == "session" && key == "dmScope" && value == "main" {
        return "all direct chats share one session, also those of different people".to_owned();
    }
    part.note.to_owned()
}

fn why_local(key: &str) -> &'static str {
    match key {
        "workspace" | "agentDir" | "repoRoot" | "skipBootstrap" => "each agent has a workspace in this service",
        "sandbox" | "cliBackends" | "runtime" | "embeddedPi" => "commands run on paired devices only",
        "store" | "maintenance" | "runLog" => "this service keeps the data",
        "webhook" | "webhookToken" => "results of jobs are not posted to addresses yet",
        "failureAlert" | "failureDestination" => "each job has its own",
        "fs" => "the file tools work on the workspace only",
        _ => "",
    }
}
