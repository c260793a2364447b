//! The user's sessions, as an agent in one of them sees the others (`agent-runtime` §12.2).

use std::time::Duration;

use claw_entities::SessionKey;
use serde_json::{Value, json};

use super::{Chain, Reach, Refusal, away};
use crate::clock::now_ms;
use crate::config::document::{UserSettings, Visibility};
use crate::conversation::display;
use crate::conversation::history::{Archived, SessionFilter, SessionRow};
use crate::session::exchange::{self, Beginning};
use crate::session::intake::{self, ClientMessage, Relayed};
use crate::session::key::{self, Kind};
use crate::session::reply::{self, REPLY_SKIP};
use crate::session::{own, redact, subagent, tool_policy};

/// Rows of one list, without and with `limit`.
const ROWS: u64 = 50;
const MOST_ROWS: u64 = 200;
/// Messages told of each row.
const MOST_MESSAGES: u64 = 20;
/// Messages of a history, without and with `limit`.
const HISTORY: u64 = 50;
const MOST_HISTORY: u64 = 500;
/// Characters of one text, and bytes of a history.
const TEXT: usize = 4_000;
const BYTES: usize = 80 * 1024;

/// Which sessions are asked for.
#[derive(Clone, Debug, Default)]
pub struct ListWish {
    /// `main`, `group`, `cron`, `hook`, `node`, `other`; empty = all.
    pub kinds: Vec<String>,
    pub limit: Option<u64>,
    pub active_minutes: Option<u64>,
    pub message_limit: u64,
}

/// What is sent where.
#[derive(Clone, Debug, Default)]
pub struct SendWish {
    pub session_key: Option<String>,
    pub label: Option<String>,
    pub agent_id: Option<String>,
    pub message: String,
    /// Zero: do not wait for the answer.
    pub wait: Duration,
}

/// What came of a message to another session.
#[derive(Clone, Debug)]
pub struct Sent {
    /// For the model: `status` and what belongs to it.
    pub shown: Value,
    /// What the other session said: somebody else's words.
    pub reply: Option<String>,
}

impl Reach {
    /// The sessions the caller may see, newest first.
    pub async fn list_sessions(&self, wish: ListWish) -> Result<Value, Refusal> {
        let settings = self.settings().await?;
        let run = &self.0;
        let scope = &run.authority.scope;
        let conversation = &run.directory.services().conversation;
        let mut filter = SessionFilter {
            active_since: wish.active_minutes.map(|minutes| {
                now_ms().saturating_sub(i64::try_from(minutes).unwrap_or(i64::MAX).saturating_mul(60_000))
            }),
            archived: Archived::Without,
            ..SessionFilter::default()
        };
        match self.visibility(&settings) {
            Visibility::Own => filter.keys = Some(vec![run.authority.key.as_str().to_owned()]),
            Visibility::Tree => {
                let mut keys = self.tree().await?;
                keys.push(run.authority.key.as_str().to_owned());
                filter.keys = Some(keys);
            }
            Visibility::Agent => filter.agent_id = Some(run.authority.agent_id.clone()),
            Visibility::All => {}
        }
        let limit = wish.limit.unwrap_or(ROWS).clamp(1, MOST_ROWS);
        let (rows, _) = conversation
            .find_sessions(scope, &filter, MOST_ROWS, 0)
            .await
            .map_err(away)?;
        let mut shown = Vec::new();
        for row in rows {
            let kind = kind_of(&row.key);
            let wanted = wish.kinds.is_empty() || wish.kinds.iter().any(|wanted| wanted == kind);
            if !wanted || !self.reaches_agent(&settings, key::agent_of(&row.key)) {
                continue;
            }
            let mut view = self.row(&row, kind);
            if wish.message_limit > 0 {
                let most = wish.message_limit.min(MOST_MESSAGES);
                let page = conversation.history(scope, &row.key, most).await.map_err(away)?;
                view["messages"] = json!(told(page.messages, false));
            }
            shown.push(view);
            if shown.len() as u64 >= limit {
                break;
            }
        }
        Ok(json!({"count": shown.len(), "sessions": shown}))
    }

    /// What was said in a session: its key, and the newest messages within the limits.
    pub async fn session_history(
        &self,
        key: &str,
        limit: Option<u64>,
        tools: bool,
    ) -> Result<(String, Value), Refusal> {
        let row = self.find(Some(key), None, None).await?;
        let scope = &self.0.authority.scope;
        let limit = limit.unwrap_or(HISTORY).clamp(1, MOST_HISTORY);
        let conversation = &self.0.directory.services().conversation;
        let page = conversation.history(scope, &row.key, limit).await.map_err(away)?;
        let mut messages = told(page.messages, tools);
        let mut size = 0;
        let mut kept = messages.len();
        for message in messages.iter().rev() {
            size += message.to_string().len() + 1;
            if size > BYTES {
                break;
            }
            kept -= 1;
        }
        let left_out = kept > 0 || page.has_more;
        messages.drain(..kept);
        let name = self.name_of(&row.key);
        Ok((
            name.clone(),
            json!({"sessionKey": name, "messages": messages, "truncated": left_out}),
        ))
    }

    /// Writes to another session of the user's, which answers in a turn of its own, and waits for that as long as asked.
    pub async fn send_to_session(&self, wish: SendWish) -> Result<Sent, Refusal> {
        let run = &self.0;
        if !run.owner {
            return Err("Only the owner's agent may write to other sessions.".to_owned());
        }
        let settings = self.settings().await?;
        let row = self
            .find(
                wish.session_key.as_deref(),
                wish.label.as_deref(),
                wish.agent_id.as_deref(),
            )
            .await?;
        if row.key == run.authority.key {
            return Err("That is this very session: answer here instead.".to_owned());
        }
        if run.chain.sends > settings.tools.ping_pong {
            return Err(format!(
                "The sessions have answered each other {} times since a person said something. Stop here, and tell the \
                 user.",
                run.chain.sends
            ));
        }
        let scope = &run.authority.scope;
        let config = &run.directory.services().config;
        // Others read along there, or have led to it here.
        let guest = !run.alone || !own::is_own(config, scope, &row.key).await.map_err(away)?;
        let chain = Chain {
            sends: run.chain.sends + 1,
            ..run.chain
        };
        // Who asks pays along.
        let charge = run.authority.charge.begun_by(&run.authority.agent_id);
        let beginning = Beginning {
            from: run.authority.key.clone(),
            to: row.key.clone(),
            request: wish.message.clone(),
            most: settings.tools.ping_pong,
            chain,
            charge: charge.clone(),
        };
        // What comes of an exchange begins none of its own: one would become many.
        let run_id =
            if run.chain.sends == 0 && !guest && own::is_own(config, scope, &beginning.from).await.map_err(away)? {
                exchange::begin(&run.directory, scope, beginning).await.map_err(away)?
            } else {
                uuid::Uuid::new_v4().to_string()
            };
        let message = ClientMessage {
            source: exchange::SOURCE.to_owned(),
            message: format!(
                "[Inter-session message] sourceSession={} sourceTool=sessions_send. Another of your user's agents wrote \
                 this, no person. Answer it; with {REPLY_SKIP} alone you end the exchange.\n\n{}",
                run.authority.key, wish.message
            ),
            queue_mode: Some("followup".to_owned()),
            background: true,
            relayed: Some(Relayed {
                shown: wish.message,
                destination: None,
                guest,
                chain,
                room: run.group.clone(),
            }),
            charge,
            ..ClientMessage::default()
        };
        intake::accept_client(&run.directory, scope, row.key.as_str(), &run_id, message)
            .await
            .map_err(away)?;
        let answer = |status: &str, reply: Option<String>, more: Value| {
            let mut shown = json!({"status": status, "runId": run_id, "sessionKey": row.key});
            if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
                shown.extend(more);
            }
            Ok(Sent { shown, reply })
        };
        if wish.wait.is_zero() {
            return answer("accepted", None, json!({}));
        }
        let ended = run.directory.wait_run(scope, &run_id, wish.wait).await.map_err(away)?;
        let Some(ended) = ended else {
            let hint = "The other session has not answered yet; look with sessions_history later.";
            return answer("timeout", None, json!({"error": hint}));
        };
        if ended.status != "ok" {
            let why = ended.error.unwrap_or_else(|| format!("the run was {}", ended.status));
            return answer("error", None, json!({"error": why}));
        }
        let reply = last_text(&ended.result);
        answer("ok", reply, json!({}))
    }

    /// Agents the caller may begin sub-agents of.
    pub async fn agents(&self) -> Result<Value, Refusal> {
        if !self.0.owner {
            return Err("Only the owner's agent may ask that.".to_owned());
        }
        let settings = self.settings().await?;
        let own = self.0.authority.agent_id.as_str();
        let rules = settings.subagents(own);
        let agents: Vec<Value> = settings
            .agents
            .iter()
            .filter(|agent| rules.may_begin(own, &agent.id))
            .map(|agent| json!({"id": agent.id, "name": agent.name, "configured": true}))
            .collect();
        Ok(json!({
            "requester": own, "allowAny": rules.allow_agents.iter().any(|id| id == "*"), "agents": agents,
        }))
    }

    /// How far this run sees. Guests see their own session; a sub-agent, and a session others read along in, what it began.
    fn visibility(&self, settings: &UserSettings) -> Visibility {
        if !self.0.owner {
            return Visibility::Own;
        }
        let narrow = self.0.depth > 0 || !self.0.alone;
        match settings.tools.visibility {
            Visibility::Own => Visibility::Own,
            Visibility::Tree => Visibility::Tree,
            Visibility::Agent | Visibility::All if narrow => Visibility::Tree,
            chosen @ (Visibility::Agent | Visibility::All) => chosen,
        }
    }

    /// Sessions of sub-agents below this one.
    async fn tree(&self) -> Result<Vec<String>, Refusal> {
        let run = &self.0;
        let below = subagent::below(run.directory.services(), &run.authority.scope, &run.authority.key)
            .await
            .map_err(away)?;
        Ok(below.into_iter().map(|row| row.child_key.as_str().to_owned()).collect())
    }

    /// May sessions of this agent be reached from the caller's.
    fn reaches_agent(&self, settings: &UserSettings, agent: &str) -> bool {
        let own = self.0.authority.agent_id.as_str();
        if agent == own || self.visibility(settings) != Visibility::All {
            return true;
        }
        let Some(list) = &settings.tools.agent_to_agent else {
            return false;
        };
        let listed = |agent: &str| list.iter().any(|pattern| tool_policy::fits(pattern, agent));
        list.is_empty() || (listed(own) && listed(agent))
    }

    /// The session that is meant, if there is one and it may be reached.
    async fn find(&self, key: Option<&str>, label: Option<&str>, agent: Option<&str>) -> Result<SessionRow, Refusal> {
        let run = &self.0;
        let scope = &run.authority.scope;
        let conversation = &run.directory.services().conversation;
        let missing = |name: &str| format!("Session not found: {name}");
        let filled = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let (name, row) = match (filled(key), filled(label)) {
            (Some(name), _) => {
                let own = run.authority.key.as_str();
                let wanted = if name == "current" {
                    run.authority.key.clone()
                } else {
                    key::resolve(&name, &run.authority.agent_id).map_err(|_| missing(&name))?
                };
                if !run.owner && wanted.as_str() != own {
                    return Err(missing(&name));
                }
                let row = conversation.session(scope, &wanted).await.map_err(away)?;
                (name, row)
            }
            (None, Some(label)) => {
                let filter = SessionFilter {
                    label: Some(label.clone()),
                    agent_id: agent.map(key::agent_id),
                    archived: Archived::Without,
                    ..SessionFilter::default()
                };
                let (rows, _) = conversation.find_sessions(scope, &filter, 1, 0).await.map_err(away)?;
                (label, rows.into_iter().next())
            }
            (None, None) => return Err("Say which session: sessionKey or label.".to_owned()),
        };
        let row = row.ok_or_else(|| missing(&name))?;
        let settings = self.settings().await?;
        if row.key == run.authority.key {
            return Ok(row);
        }
        let own_agent = key::agent_of(&row.key) == run.authority.agent_id;
        let visible = match self.visibility(&settings) {
            Visibility::Own => false,
            Visibility::Agent if own_agent => true,
            Visibility::All if self.reaches_agent(&settings, key::agent_of(&row.key)) => true,
            Visibility::Tree | Visibility::Agent | Visibility::All => {
                self.tree().await?.iter().any(|below| below == row.key.as_str())
            }
        };
        if visible {
            return Ok(row);
        }
        Err(
            "forbidden: this session may not be reached from here. The user can widen tools.sessions.visibility, and \
             tools.agentToAgent for sessions of other agents."
                .to_owned(),
        )
    }

    /// Guests do not learn how their host's sessions are named.
    fn name_of(&self, key: &SessionKey) -> String {
        if self.0.owner {
            key.as_str().to_owned()
        } else {
            "current".to_owned()
        }
    }

    fn row(&self, row: &SessionRow, kind: &str) -> Value {
        let mut shown = json!({"key": self.name_of(&row.key), "kind": kind, "updatedAt": row.updated_at});
        if !self.0.owner {
            return shown;
        }
        shown["channel"] = match row.destination.get("channel") {
            Some(channel) => channel.clone(),
            None => json!("webchat"),
        };
        shown["sessionId"] = json!(row.session_id);
        shown["agentId"] = json!(row.agent_id);
        for (name, value) in [
            ("label", json!(row.label)),
            ("model", row.entry["model"].clone()),
            ("totalTokens", row.entry["totalTokens"].clone()),
            ("abortedLastRun", row.entry["abortedLastRun"].clone()),
            ("spawnedBy", row.entry["spawnedBy"].clone()),
        ] {
            if !value.is_null() {
                shown[name] = value;
            }
        }
        shown
    }
}

/// The last text of a run's answer.
pub(crate) fn last_text(result: &Value) -> Option<String> {
    let payloads = result["payloads"].as_array()?;
    let mut texts = payloads.iter().rev().filter_map(|payload| payload["text"].as_str());
    texts.find_map(|text| reply::shape(text).text)
}

fn kind_of(key: &SessionKey) -> &'static str {
    match key::parse(key.as_str()).map(|parsed| parsed.kind) {
        Some(Kind::Main | Kind::Global) => "main",
        Some(Kind::Group | Kind::Channel) => "group",
        Some(Kind::Cron) => "cron",
        Some(Kind::Hook) => "hook",
        Some(Kind::Node) => "node",
        Some(Kind::Direct | Kind::Subagent | Kind::Http | Kind::Slash | Kind::Custom) | None => "other",
    }
}

/// Messages for another session's model: no thinking, no cost, no credentials, texts cut; tool calls only when asked for.
fn told(messages: Vec<Value>, tools: bool) -> Vec<Value> {
    messages
        .into_iter()
        .filter_map(|message| {
            let role = message["role"].as_str()?.to_owned();
            if role == "toolResult" && !tools {
                return None;
            }
            let mut shown = json!({"role": role, "timestamp": message["timestamp"]});
            let mut texts = Vec::new();
            match &message["content"] {
                Value::String(text) => texts.push(text.clone()),
                Value::Array(blocks) => {
                    for block in blocks {
                        match block["type"].as_str() {
                            Some("text") => texts.extend(block["text"].as_str().map(str::to_owned)),
                            Some("image") => texts.push("[image]".to_owned()),
                            Some("toolCall") if tools => {
                                texts.push(format!("[calls {} {}]", block["name"], block["arguments"]));
                            }
                            Some(_) | None => {}
                        }
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
            }
            if texts.is_empty() {
                return None;
            }
            shown["text"] = json!(display::cut(&redact::credentials(&texts.join("\n")), TEXT));
            if tools && let Some(name) = message["toolName"].as_str() {
                shown["toolName"] = json!(name);
            }
            Some(shown)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_session_hears_is_words_alone() {
        let messages = vec![
            json!({"role": "user", "content": "my key is sk-abcdefghijklmnop1234", "timestamp": 1}),
            json!({"role": "assistant", "timestamp": 2, "usage": {"cost": 3}, "content": [
                {"type": "thinking", "thinking": "hidden"}, {"type": "text", "text": "x".repeat(9_000)},
                {"type": "toolCall", "name": "read", "arguments": {"path": "a"}}]}),
            json!({"role": "toolResult", "toolName": "read", "content": [{"type": "text", "text": "file"}], "timestamp": 3}),
        ];
        let plain = told(messages.clone(), false);
        assert_eq!(plain.len(), 2);
        assert_eq!(plain[0]["text"], "my key is [redacted]");
        let answer = plain[1].to_string();
        assert!(
            answer.len() < TEXT + 200 && !answer.contains("hidden") && !answer.contains("cost"),
            "{answer}"
        );
        let whole = told(messages, true);
        assert_eq!((whole.len(), &whole[2]["toolName"]), (3, &json!("read")));
    }
}
