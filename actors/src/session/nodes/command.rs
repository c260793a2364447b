//! A command on a node: the plan, the policy, and the run of exactly that plan; behind the turn where a person's word is
//! needed first.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_entities::approval;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Found, Nodes, given, own_plan};
use crate::clock::now_ms;
use crate::config::devices::approvals::NewApproval;
use crate::gateway::approvals;
use crate::gateway::exec_policy::Verdict;
use crate::gateway::methods::exec_approval::{self, RequestParams, Standing};
use crate::gateway::nodes;
use crate::gateway::protocol::WireError;
use crate::gateway::system_run::Plan;
use crate::session::exec::{self, NODE_TIME, RUN, Refusal, Run, Variables, Work, gateway, told};
use crate::session::{cron, forwarding};

const PREPARE: &str = "system.run.prepare";
/// How long a person has to answer, milliseconds. Nothing said by then is a no, unless the policy says otherwise.
const PATIENCE_MS: i64 = 120_000;
/// How long a call waits for its command before that goes on behind the turn, unless it or the configuration says, and at
/// most, milliseconds.
const WAIT_MS: u64 = 10_000;
const LONGEST_WAIT_MS: u64 = 120_000;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A program and its arguments.
    Words(Vec<String>),
    /// A text for the node's shell.
    Shell(String),
}

impl Line {
    /// As a node of this platform runs it.
    fn argv(&self, platform: &str) -> Vec<String> {
        let shell: &[&str] = if platform.trim().to_ascii_lowercase().starts_with("win") {
            &["cmd.exe", "/d", "/s", "/c"]
        } else {
            &["/bin/sh", "-lc"]
        };
        match self {
            Self::Words(words) => words.clone(),
            Self::Shell(text) => shell
                .iter()
                .map(|word| (*word).to_owned())
                .chain([text.clone()])
                .collect(),
        }
    }
}

/// How long a call waits for its command. One that goes on then is told behind the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    ToTheEnd,
    /// Milliseconds; `None`: as the configuration says.
    For(Option<u64>),
}

/// What the agent wants to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Id or name; `None`: the one of the configuration, or the one node that runs commands.
    pub node: Option<String>,
    pub line: Line,
    pub cwd: Option<String>,
    pub env: BTreeMap<String, String>,
    /// The skill it is for: what the user stored for that is in its environment.
    pub skill: Option<String>,
    /// What the command itself may take.
    pub timeout: Duration,
    pub waits: Waits,
    /// `security` and `ask` of the call: they make the policy stricter, never less strict.
    pub stricter: Value,
}

/// What became of a command by the end of its call.
#[derive(Clone, Debug)]
pub enum Ran {
    /// The node's answer: exit code, output.
    Ended(Value),
    /// It goes on behind the turn; this is what the model is told.
    GoesOn(Value),
}

impl Nodes {
    /// Runs a command as the exec policy says. What is stored for the skill it is for is in no answer. Where a person has
    /// to decide they are asked, and the turn goes on: what comes of it is told to the session.
    ///
    /// # Errors
    /// Why it was not run, for the model.
    pub async fn run(&self, call_id: &str, command: Command) -> Result<Ran, Refusal> {
        let settings = self.config().settings(self.scope()).await.map_err(gateway)?;
        let usual = settings.tools.exec["node"].as_str().map(str::to_owned);
        let named = command.node.clone().or(usual.filter(|node| !node.trim().is_empty()));
        let node = self.choose(named.as_deref(), RUN).await?;
        let waits = match command.waits {
            Waits::ToTheEnd => None,
            Waits::For(chosen) => {
                let usual = || settings.tools.exec["backgroundMs"].as_u64();
                let wait_ms = chosen.or_else(usual).unwrap_or(WAIT_MS);
                Some(Duration::from_millis(wait_ms.min(LONGEST_WAIT_MS)))
            }
        };
        let work = self.plan(call_id, &node, command).await?;
        let variables = work.variables(&self.0.directory, self.scope()).await?;
        let ran = self.run_planned(call_id, (&work, &variables), waits).await;
        ran.map_err(|refusal| variables.hide(refusal))
    }

    async fn run_planned(
        &self,
        call_id: &str,
        (work, variables): (&Work, &Variables),
        waits: Option<Duration>,
    ) -> Result<Ran, Refusal> {
        let policy = work
            .policy(self.0.directory.services(), self.scope())
            .await
            .map_err(gateway)?;
        match policy.verdict(work.program.as_deref()) {
            Verdict::Refuse(why) => return Err(format!("exec denied on {}: {why}.", work.node)),
            Verdict::Ask => {}
            // An allowlist knows programs, not what variables make of them.
            Verdict::Run if policy.asks_the_list() && !variables.harmless() => {}
            Verdict::Run => {
                let ran = match waits {
                    None => self.run_here(call_id, (work, variables)).await,
                    Some(wait) => self.begin(work, wait).await?,
                };
                match ran {
                    Ok(ran) => return Ok(ran),
                    Err(error) if !wants_approval(&error) => return Err(told(&work.node, &error)),
                    Err(_) => {}
                }
            }
        }
        let unanswered = policy.runs_unanswered(work.program.as_deref(), variables.harmless());
        let standing = Standing {
            program: work.program.clone(),
            always: policy.can_remember(work.program.as_deref()),
            by_a_run: true,
        };
        let rules = (policy.security(), policy.ask());
        let row = self.open(call_id, (work, variables), (rules, standing)).await?;
        self.ask(&row, work, unanswered).await?;
        Ok(Ran::GoesOn(exec::pending(&row, work)))
    }

    /// Runs it while the call waits.
    async fn run_here(&self, call_id: &str, (work, variables): (&Work, &Variables)) -> Result<Ran, WireError> {
        let run = Run {
            id: &uuid::Uuid::new_v4().to_string(),
            key: self.key(call_id),
            allowed: None,
        };
        let show = || self.1.updates.goes_on(&self.1.call_id);
        let (directory, scope) = (&self.0.directory, self.scope());
        let answer = exec::perform(directory, scope, (work, variables), run, show, &self.0.cancel).await?;
        Ok(Ran::Ended(answer))
    }

    /// Has it run behind the turn, and waits so long for its end. The inner error is the call's.
    async fn begin(&self, work: &Work, wait: Duration) -> Result<Result<Ran, WireError>, Refusal> {
        let id = uuid::Uuid::new_v4().to_string();
        let row = self.behind(&id, work).await?;
        let (directory, scope) = (&self.0.directory, self.scope());
        // Whoever stops the run while the call waits stops the command with it.
        let waiting = Waiting {
            nodes: self,
            id: &id,
            waits: true,
        };
        let mut end = exec::begin(directory, scope, row).await.map_err(gateway)?;
        let ended = match tokio::time::timeout(wait, &mut end).await {
            Ok(ended) => ended.ok(),
            Err(_) => {
                // It may have ended just now: then it is told here and nowhere else.
                end.close();
                end.try_recv().ok()
            }
        };
        if self.0.cancel.is_cancelled() {
            return Err("The turn was stopped.".to_owned());
        }
        waiting.lets_go();
        match ended {
            Some(answer) => Ok(answer.map(Ran::Ended)),
            None => Ok(Ok(Ran::GoesOn(exec::running(&id, work)))),
        }
    }

    /// The node says what it would run, and what its own policy is.
    async fn plan(&self, call_id: &str, node: &Found, command: Command) -> Result<Work, Refusal> {
        let platform = node.live.as_ref().map_or("", |live| live.program.platform.as_str());
        let argv = command.line.argv(platform);
        let own = own_plan((&argv, command.cwd.as_deref()), self.agent_id(), self.session_key());
        let mut prepared = json!({"plan": own});
        if node.takes(PREPARE) {
            let asked = given(json!({
                "command": argv, "cwd": command.cwd, "agentId": self.agent_id(),
                "sessionKey": self.session_key().as_str(),
            }));
            prepared = self
                .call(&format!("{call_id}:prepare"), node, PREPARE, asked, NODE_TIME)
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
        let mut work = Work {
            agent_id: self.agent_id().to_owned(),
            node_id: node.id().to_owned(),
            node: node.name().to_owned(),
            plan,
            env: command.env,
            skill: command.skill,
            nodes_policy,
            asked: command.stricter,
            program: None,
            timeout_ms: u64::try_from(command.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let policy = work
            .policy(self.0.directory.services(), self.scope())
            .await
            .map_err(gateway)?;
        work.program = match parsed.argv.first() {
            Some(program) if policy.needs_path() => {
                nodes::where_is(&self.0.directory, self.scope(), node.id(), program).await
            }
            Some(_) | None => None,
        };
        Ok(work)
    }

    /// Puts the plan before a person.
    async fn ask(&self, row: &approval::Model, work: &Work, unanswered: bool) -> Result<(), Refusal> {
        // The run may be aborted meanwhile: then nobody decides it later.
        let mut open = Open {
            nodes: self,
            id: &row.id,
            asked: false,
        };
        self.0.directory.publish(self.scope(), approvals::requested(row));
        self.notify(&work.node, row, unanswered).await;
        let told = self.0.outlet.as_ref().map(|outlet| &outlet.destination);
        let asked = (work.node.as_str(), unanswered);
        if let Err(error) = forwarding::asked(&self.0.directory, self.scope(), row, asked, told).await {
            tracing::warn!(error = ?error, run.id = %self.0.run_id, "an approval was not told in other chats");
        }
        // Whoever stops the run from now on finds the row.
        open.asked = !self.0.cancel.is_cancelled();
        if !open.asked {
            return Err("The turn was stopped.".to_owned());
        }
        exec::watch(&self.0.directory, self.scope(), &row.id);
        // Somebody may have decided before the chats were asked: they hear of it too.
        let now = self.config().approval(self.scope(), &row.id).await.map_err(gateway)?;
        if let Some(decided) = now.filter(|row| row.resolved_at.is_some()) {
            forwarding::ended(&self.0.directory, self.scope(), &decided);
        }
        Ok(())
    }

    /// Stores the question, and what runs when it is allowed.
    async fn open(
        &self,
        call_id: &str,
        (work, variables): (&Work, &Variables),
        ((security, ask), standing): ((&str, &str), Standing),
    ) -> Result<approval::Model, Refusal> {
        let to = self.0.outlet.as_ref().map(|outlet| &outlet.destination);
        let params = RequestParams::deserialize(given(json!({
            "systemRunPlan": work.plan, "env": variables.all, "nodeId": work.node_id, "host": "node",
            "security": security, "ask": ask, "runId": self.0.run_id, "toolCallId": call_id,
            "turnSourceChannel": to.map(|to| &to.channel), "turnSourceTo": to.map(|to| &to.peer.id),
            "turnSourceAccountId": to.map(|to| &to.account_id),
            "turnSourceThreadId": to.and_then(|to| to.peer.thread.as_ref()),
        })))
        .map_err(|error| told(&work.node, &WireError::internal(&error)))?;
        let request = exec_approval::describe(self.config(), self.scope(), params, standing)
            .await
            .map_err(|error| told("approval", &error))?;
        let id = uuid::Uuid::new_v4().to_string();
        let row = self.behind(&id, work).await?;
        let now = now_ms();
        let new = NewApproval {
            id,
            request,
            reviewers: Vec::new(),
            created_at: now,
            expires_at: now + PATIENCE_MS,
        };
        let opened = self.config().open_approval_of(self.scope(), new, Some(row)).await;
        opened.map_err(gateway)
    }

    /// The row of a command that goes on behind this run, whose end is told as the run's own answer would be.
    async fn behind(&self, id: &str, work: &Work) -> Result<claw_entities::exec_run::ActiveModel, Refusal> {
        let (scope, run_id) = (self.scope(), self.0.run_id.as_str());
        let mut origin = self.0.origin.clone();
        origin.chain = origin.chain.woken()?;
        if origin.destination.is_none() {
            let place = cron::place_of(&self.0.directory, scope, self.agent_id(), run_id).await;
            origin.destination = place.map_err(gateway)?;
        }
        work.row(scope, id, (self.session_key(), run_id), &origin)
            .map_err(gateway)
    }

    fn config(&self) -> &crate::config::ConfigService {
        &self.0.directory.services().config
    }
}

/// A call that waits for its command. Dropped meanwhile, the command is stopped.
struct Waiting<'a> {
    nodes: &'a Nodes,
    id: &'a str,
    waits: bool,
}

impl Waiting<'_> {
    fn lets_go(mut self) {
        self.waits = false;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.waits {
            let one = exec::Which::One(self.id.to_owned());
            exec::stop_soon(&self.nodes.0.directory, self.nodes.scope(), one, true);
        }
    }
}

/// A question on its way to people. Dropped before they were asked, it is withdrawn.
struct Open<'a> {
    nodes: &'a Nodes,
    id: &'a str,
    asked: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.asked {
            return;
        }
        let (directory, scope, id) = (
            self.nodes.0.directory.clone(),
            self.nodes.scope().clone(),
            self.id.to_owned(),
        );
        self.nodes.0.directory.services().io.spawn(async move {
            let withdrawn = async {
                approvals::withdraw(&directory, &scope, &id).await?;
                exec::settle(&directory, &scope, &id).await
            };
            // Left open, it ends by the clock.
            if let Err(error) = withdrawn.await {
                tracing::warn!(error = ?error, "an approval was not withdrawn");
            }
        });
    }
}

/// The node's own policy wants a person's word.
fn wants_approval(error: &WireError) -> bool {
    error.message.contains("SYSTEM_RUN_DENIED") && error.message.contains("approval required")
}
