//! A command on a node: the plan, the policy, a person's word where it needs one, and the run of exactly that plan.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_entities::approval;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Found, Nodes, Refusal, given, notice, own_plan, told};
use crate::clock::now_ms;
use crate::config::devices::approvals::{ALWAYS, NewApproval, reason};
use crate::config::skills::SkillKeys;
use crate::gateway::approvals;
use crate::gateway::exec_policy::{self, Policy, Verdict};
use crate::gateway::methods::exec_approval::{self, RequestParams, Standing};
use crate::gateway::nodes;
use crate::gateway::protocol::WireError;
use crate::gateway::system_run::Plan;
use crate::session::{forwarding, skills};

const RUN: &str = "system.run";
const PREPARE: &str = "system.run.prepare";
/// For the questions around a command.
const SHORT: Duration = Duration::from_secs(15);
/// How long a person has to answer, milliseconds. Nothing said by then is a no, unless the policy says otherwise.
const PATIENCE_MS: i64 = 120_000;

/// What the agent wants to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Id or name; `None`: the one node that runs commands.
    pub node: Option<String>,
    pub argv: Vec<String>,
    pub cwd: Option<String>,
    pub env: BTreeMap<String, String>,
    /// The skill it is for: what the user stored for that is in its environment.
    pub skill: Option<String>,
    /// What the command itself may take.
    pub timeout: Duration,
}

/// A planned command.
struct Planned {
    plan: Value,
    parsed: Plan,
    env: BTreeMap<String, String>,
    policy: Policy,
    /// The node's own, as it answered to [`PREPARE`].
    nodes_policy: Value,
    /// Resolved path of the program, where somebody had to know.
    program: Option<String>,
    timeout: Duration,
}

impl Planned {
    /// Does no variable change what the program does.
    fn harmless(&self) -> bool {
        self.env.keys().all(|name| exec_policy::is_harmless(name))
    }
}

impl Nodes {
    /// Runs a command as the exec policy says. Gives the node's answer (exit code, output), without what is stored for
    /// the skill it is for.
    pub async fn run(&self, call_id: &str, mut command: Command) -> Result<Value, Refusal> {
        let Some(skill) = command.skill.take() else {
            return self.run_bare(call_id, command).await;
        };
        let (_, keys) = skills::keys_of(&self.0.directory, self.scope(), self.agent_id(), &skill).await?;
        let variables = keys
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()));
        command.env.extend(variables);
        match self.run_bare(call_id, command).await {
            Ok(mut answer) => {
                hide(&mut answer, &keys);
                Ok(answer)
            }
            Err(refusal) => Err(keys.hide(&refusal)),
        }
    }

    async fn run_bare(&self, call_id: &str, mut command: Command) -> Result<Value, Refusal> {
        command.env.retain(|name, _| !exec_policy::is_protected(name));
        let node = self.choose(command.node.as_deref(), RUN).await?;
        let planned = self.plan(call_id, &node, command).await?;
        match planned.policy.verdict(planned.program.as_deref()) {
            Verdict::Refuse(why) => return Err(format!("exec denied on {}: {why}.", node.name())),
            Verdict::Ask => {}
            // An allowlist knows programs, not what variables make of them.
            Verdict::Run if planned.policy.asks_the_list() && !planned.harmless() => {}
            Verdict::Run => {
                let ran = self.perform(call_id, &node, &planned, None).await;
                if !ran.as_ref().is_err_and(|refusal| wants_approval(refusal)) {
                    return ran;
                }
            }
        }
        let row = self.ask(call_id, &node, &planned).await?;
        self.perform(&format!("{call_id}:approved"), &node, &planned, row.as_ref())
            .await
    }

    /// The node says what it would run, and what its own policy is.
    async fn plan(&self, call_id: &str, node: &Found, command: Command) -> Result<Planned, Refusal> {
        let mut prepared = json!({"plan": own_plan(&command, self.agent_id(), self.session_key())});
        if node.takes(PREPARE) {
            let asked = given(json!({
                "command": command.argv, "cwd": command.cwd, "agentId": self.agent_id(),
                "sessionKey": self.session_key().as_str(),
            }));
            prepared = self
                .call(&format!("{call_id}:prepare"), node, PREPARE, asked, SHORT)
                .await?;
        }
        let nodes_policy = prepared["execPolicy"].take();
        let plan = if prepared["plan"].is_object() {
            prepared["plan"].take()
        } else {
            prepared
        };
        let parsed = Plan::deserialize(&plan)
            .ok()
            .filter(|plan| !plan.argv.is_empty())
            .ok_or_else(|| format!("{} made no plan of the command.", node.name()))?;
        if parsed.agent_id.as_deref().is_some_and(|agent| agent != self.agent_id()) {
            return Err(format!("{} made a plan for another agent.", node.name()));
        }
        let policy = self.policy(&nodes_policy, &plan).await?;
        let program = match parsed.argv.first() {
            Some(program) if policy.needs_path() => {
                nodes::where_is(&self.0.directory, self.scope(), node.id(), program).await
            }
            Some(_) | None => None,
        };
        Ok(Planned {
            plan,
            parsed,
            env: command.env,
            policy,
            nodes_policy,
            program,
            timeout: command.timeout,
        })
    }

    /// What rules the command now.
    async fn policy(&self, nodes: &Value, plan: &Value) -> Result<Policy, Refusal> {
        let file = self.config().exec_approvals(self.scope()).await.map_err(gateway)?;
        let settings = self.config().settings(self.scope()).await.map_err(gateway)?;
        Ok(Policy::of_user(&file["file"], &settings, self.agent_id())
            .within(nodes)
            .within(&plan["policySnapshot"]))
    }

    /// Puts the plan before a person and waits for their word. Gives the request if it was allowed; `None` if nobody
    /// decided in time and the policy lets it run all the same.
    async fn ask(&self, call_id: &str, node: &Found, planned: &Planned) -> Result<Option<approval::Model>, Refusal> {
        let row = self.open(call_id, node, planned).await?;
        // However this ends before a decision (the run is aborted, the process stops): nobody decides it later.
        let mut open = Open {
            nodes: self,
            id: &row.id,
            decided: false,
        };
        self.0.directory.publish(self.scope(), approvals::requested(&row));
        let unanswered = planned
            .policy
            .runs_unanswered(planned.program.as_deref(), planned.harmless());
        self.notify(&notice::text(node.name(), &row, unanswered)).await;
        let told = self.0.outlet.as_ref().map(|outlet| &outlet.destination);
        let asked = (node.name(), unanswered);
        if let Err(error) = forwarding::asked(&self.0.directory, self.scope(), &row, asked, told).await {
            tracing::warn!(error = ?error, run.id = %self.0.run_id, "an approval was not told in other chats");
        }
        let waiters = self.0.directory.approvals();
        let row = waiters
            .decision(self.config(), self.scope(), &row.id)
            .await
            .map_err(gateway)?;
        open.decided = true;
        // Whoever decided has told the chats that were asked by then.
        if let Some(row) = &row {
            forwarding::ended(&self.0.directory, self.scope(), row);
        }
        let denied = |why: &str| {
            format!(
                "exec denied on {}: {why}. Do not try the same in other words.",
                node.name()
            )
        };
        let row = row.ok_or_else(|| denied("the request is gone"))?;
        match row.decision.as_deref() {
            Some("allow-once" | ALWAYS) => Ok(Some(row)),
            Some(_) => Err(denied("the user said no")),
            None if row.reason.as_deref() == Some(reason::TIMEOUT) => {
                // The rules may have become others while a person was asked.
                let policy = self.policy(&planned.nodes_policy, &planned.plan).await?;
                if policy.runs_unanswered(planned.program.as_deref(), planned.harmless()) {
                    Ok(None)
                } else {
                    Err(denied("nobody answered in time"))
                }
            }
            None => Err(denied("nobody answered in time")),
        }
    }

    async fn open(&self, call_id: &str, node: &Found, planned: &Planned) -> Result<approval::Model, Refusal> {
        let to = self.0.outlet.as_ref().map(|outlet| &outlet.destination);
        let standing = Standing {
            program: planned.program.clone(),
            always: planned.policy.can_remember(planned.program.as_deref()),
            by_a_run: true,
        };
        let params = RequestParams::deserialize(given(json!({
            "systemRunPlan": planned.plan, "env": planned.env, "nodeId": node.id(), "host": "node",
            "security": planned.policy.security(), "ask": planned.policy.ask(),
            "runId": self.0.run_id, "toolCallId": call_id,
            "turnSourceChannel": to.map(|to| &to.channel), "turnSourceTo": to.map(|to| &to.peer.id),
            "turnSourceAccountId": to.map(|to| &to.account_id),
            "turnSourceThreadId": to.and_then(|to| to.peer.thread.as_ref()),
        })))
        .map_err(|error| told(node.name(), &WireError::internal(&error)))?;
        let request = exec_approval::describe(self.config(), self.scope(), params, standing)
            .await
            .map_err(|error| told("approval", &error))?;
        let now = now_ms();
        let new = NewApproval {
            id: uuid::Uuid::new_v4().to_string(),
            request,
            reviewers: Vec::new(),
            created_at: now,
            expires_at: now + PATIENCE_MS,
        };
        self.config().open_approval(self.scope(), new).await.map_err(gateway)
    }

    /// Sends the plan as it is; with a request, as that was allowed.
    async fn perform(
        &self,
        call_id: &str,
        node: &Found,
        planned: &Planned,
        allowed: Option<&approval::Model>,
    ) -> Result<Value, Refusal> {
        let plan = &planned.parsed;
        let env = (!planned.env.is_empty()).then_some(&planned.env);
        let timeout_ms = u64::try_from(planned.timeout.as_millis()).unwrap_or(u64::MAX);
        let run_id = allowed.map_or_else(|| uuid::Uuid::new_v4().to_string(), |row| row.id.clone());
        let mut params = given(json!({
            "command": plan.argv, "cwd": plan.cwd, "agentId": plan.agent_id, "sessionKey": plan.session_key, "env": env,
            // Whoever asked is told by the answer.
            "suppressNotifyOnExit": true,
            "timeoutMs": timeout_ms, "runId": run_id,
        }));
        if let Some(row) = allowed {
            params["approved"] = json!(true);
            params["approvalDecision"] = json!(row.decision);
        }
        // The node ends the command by itself; what it says then is worth more than our silence.
        self.call(call_id, node, RUN, params, planned.timeout + SHORT).await
    }

    fn config(&self) -> &crate::config::ConfigService {
        &self.0.directory.services().config
    }
}

/// A request that waits for a word. Dropped undecided, it is withdrawn.
struct Open<'a> {
    nodes: &'a Nodes,
    id: &'a str,
    decided: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.decided {
            return;
        }
        let (directory, scope, id) = (
            self.nodes.0.directory.clone(),
            self.nodes.scope().clone(),
            self.id.to_owned(),
        );
        self.nodes.0.directory.services().io.spawn(async move {
            // Left open, it ends by the clock.
            if let Err(error) = approvals::withdraw(&directory, &scope, &id).await {
                tracing::warn!(error = ?error, "an approval was not withdrawn");
            }
        });
    }
}

/// Takes what is stored for a skill out of all texts.
fn hide(value: &mut Value, keys: &SkillKeys) {
    match value {
        Value::String(text) => *text = keys.hide(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, keys)),
        Value::Object(fields) => fields.values_mut().for_each(|field| hide(field, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The node's own policy wants a person's word.
fn wants_approval(refusal: &str) -> bool {
    refusal.contains("SYSTEM_RUN_DENIED") && refusal.contains("approval required")
}

fn gateway(error: crate::Error) -> Refusal {
    told("the gateway", &error.into())
}
