//! What a run may do with its user's nodes: look, call, and run commands that the exec policy or a person allows.
//!
//! Only a run of the user's own is handed this; a guest's run has no nodes.

mod command;
pub(super) mod notice;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, SessionKey};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use command::{Command, Line, Ran, Waits};

use super::blobs;
use super::exec::{Refusal, told};
use super::origin::Origin;
use super::preview::Outlet;
use super::turn::Authority;
use crate::config::devices::surface::Node;
use crate::config::document::UserSettings;
use crate::gateway::messages::ConnectionInfo;
use crate::gateway::methods::node;
use crate::gateway::node_streams::{self, Progress, Streams};
use crate::gateway::nodes;
use crate::ports::message::Part;
use crate::ports::tool::Updates;
use crate::supervisor::directory::{Directory, InvokeNode};

/// The nodes of the user whose run this is. Cheap to clone.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>, Teller);

struct Inner {
    directory: Directory,
    authority: Authority,
    run_id: String,
    /// Which of the run's rounds of calls: models number the calls of each from the start.
    round: i64,
    /// Cancelled when the run is aborted.
    cancel: CancellationToken,
    /// The chat the run answers, to ask there.
    outlet: Option<Outlet>,
    /// Of what goes on behind the run.
    origin: Origin,
}

/// Where news of a call go, and which call it is.
#[derive(Clone, Default)]
struct Teller {
    updates: Updates,
    call_id: String,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Nodes").finish_non_exhaustive()
    }
}

/// A node and its live connection, if there is one.
struct Found {
    node: Node,
    live: Option<Arc<ConnectionInfo>>,
    settings: Arc<UserSettings>,
}

impl Found {
    fn id(&self) -> &str {
        &self.node.device.id
    }

    /// For people and models.
    fn name(&self) -> &str {
        self.node.display_name().unwrap_or_else(|| self.id())
    }

    fn calls(&self) -> Vec<String> {
        node::callable(&self.node, self.live.as_deref(), &self.settings.nodes)
    }

    /// Why a command that the node declares is kept from everybody, for the model.
    fn forbidden(&self, command: &str) -> Option<Refusal> {
        let live = self.live.as_ref()?;
        if live.program.commands.iter().all(|declared| declared != command) {
            return None;
        }
        let why = self.node.ruling(&self.settings.nodes, command).reason()?;
        Some(format!(
            "Node {} may not be asked for {command}: {why} in the user's configuration. Only the user can change that.",
            self.name()
        ))
    }

    fn takes(&self, command: &str) -> bool {
        self.live.is_some() && self.calls().iter().any(|allowed| allowed == command)
    }
}

impl Nodes {
    pub(crate) fn new(
        directory: &Directory,
        authority: &Authority,
        (run_id, round): (&str, i64),
        cancel: CancellationToken,
        (outlet, origin): (Option<Outlet>, Origin),
    ) -> Self {
        let inner = Inner {
            directory: directory.clone(),
            authority: authority.clone(),
            run_id: run_id.to_owned(),
            round,
            cancel,
            outlet,
            origin,
        };
        Self(Arc::new(inner), Teller::default())
    }

    /// The same nodes for one call of a tool, whose news go here.
    pub fn telling(&self, updates: &Updates, call_id: &str) -> Self {
        let teller = Teller {
            updates: updates.clone(),
            call_id: call_id.to_owned(),
        };
        Self(Arc::clone(&self.0), teller)
    }

    fn scope(&self) -> &Scope {
        &self.0.authority.scope
    }

    fn session_key(&self) -> &SessionKey {
        &self.0.authority.key
    }

    fn agent_id(&self) -> &str {
        &self.0.authority.agent_id
    }

    /// All nodes, as `node.list` shows them.
    pub async fn list(&self) -> Result<Vec<Value>, Refusal> {
        let all = self.all().await?;
        let live: Vec<_> = all.iter().filter_map(|found| found.live.clone()).collect();
        Ok(all
            .iter()
            .map(|found| node::row(&found.node, &live, &found.settings.nodes, None))
            .collect())
    }

    /// Which nodes there are, in words.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn there(&self) -> Result<String, Refusal> {
        Ok(there_are(&self.all().await?))
    }

    /// One node, as `node.describe` shows it.
    pub async fn describe(&self, name: &str) -> Result<Value, Refusal> {
        let found = named(self.all().await?, name)?;
        let live: Vec<_> = found.live.iter().cloned().collect();
        Ok(node::row(&found.node, &live, &found.settings.nodes, None))
    }

    /// Declarations of nodes that wait for a person's approval.
    pub async fn pending(&self) -> Result<Vec<Value>, Refusal> {
        let all = self.all().await?;
        let waiting = all.iter().filter(|found| found.node.pending_request().is_some());
        Ok(waiting
            .filter_map(|found| found.node.surface.as_ref())
            .map(|surface| surface.pending.clone())
            .collect())
    }

    /// Calls a node's command. Without a name the one node that takes the command is meant. Gives what it answered.
    ///
    /// `call_id` is the model's call: repeated, it does not reach the node a second time.
    pub async fn invoke(
        &self,
        call_id: &str,
        name: Option<&str>,
        command: &str,
        params: Value,
        timeout: Duration,
    ) -> Result<Value, Refusal> {
        if command.starts_with("system.run") {
            return Err("Commands are run with action \"run\".".to_owned());
        }
        let apart = ["system.execApprovals.", "browser.proxy"];
        if apart.iter().any(|start| command.starts_with(start)) || ["fs.listDir", "terminal.upload"].contains(&command)
        {
            return Err(format!("{command} is not for agents."));
        }
        let node = self.choose(name, command).await?;
        self.call(call_id, &node, command, params, timeout).await
    }

    /// Stores a picture a node gave, for the transcript.
    pub async fn keep_image(&self, mime_type: &str, bytes: Vec<u8>) -> crate::Result<Part> {
        blobs::store_image(self.0.directory.services(), self.scope(), mime_type, bytes).await
    }

    async fn call(
        &self,
        call_id: &str,
        node: &Found,
        command: &str,
        params: Value,
        timeout: Duration,
    ) -> Result<Value, Refusal> {
        let call = InvokeNode {
            node_id: node.id().to_owned(),
            command: command.to_owned(),
            params,
            timeout,
            idempotency_key: self.key(call_id),
        };
        let (streams, pieces) = Streams::heard();
        let show = |_: Progress| {
            self.1.updates.goes_on(&self.1.call_id);
            std::future::ready(())
        };
        let outcome = nodes::invoke(&self.0.directory, self.scope(), call, streams, &self.0.cancel);
        let answer = node_streams::shown(outcome, pieces, show).await;
        let mut answer = answer.map_err(|error| told(node.name(), &error))?;
        Ok(answer["payload"].take())
    }

    /// What a call of the model is known by: repeated, it does not reach a node a second time.
    fn key(&self, call_id: &str) -> String {
        format!("{}:{}:{call_id}", self.0.run_id, self.0.round)
    }

    async fn all(&self) -> Result<Vec<Found>, Refusal> {
        let (scope, directory) = (self.scope(), &self.0.directory);
        let away = |error: crate::Error| told("the gateway", &error.into());
        let config = &directory.services().config;
        let nodes = config.nodes(scope).await.map_err(away)?;
        let settings = config.settings(scope).await.map_err(away)?;
        let connected = directory.connected_nodes(scope).await.map_err(away)?;
        Ok(nodes
            .into_iter()
            .map(|node| {
                let id = node.device.id.as_str();
                let live = connected
                    .iter()
                    .find(|info| info.device_id.as_deref() == Some(id))
                    .cloned();
                Found {
                    node,
                    live,
                    settings: Arc::clone(&settings),
                }
            })
            .collect())
    }

    /// The node that is meant for a command, and can take it now.
    async fn choose(&self, name: Option<&str>, command: &str) -> Result<Found, Refusal> {
        let all = self.all().await?;
        let Some(name) = name else {
            let forbidden = all.iter().find_map(|found| found.forbidden(command));
            let there = there_are(&all);
            let mut able: Vec<Found> = all.into_iter().filter(|found| found.takes(command)).collect();
            let names: Vec<String> = able.iter().map(|found| found.name().to_owned()).collect();
            return match (able.pop(), able.is_empty()) {
                (Some(only), true) => Ok(only),
                (Some(_), false) => Err(format!(
                    "Several nodes take {command}: say which with \"node\": {}.",
                    names.join(", ")
                )),
                (None, _) => {
                    Err(forbidden.unwrap_or_else(|| format!("No node that takes {command} is connected. {there}")))
                }
            };
        };
        let found = named(all, name)?;
        if found.live.is_none() {
            return Err(format!("Node {} is not connected.", found.name()));
        }
        if found.node.approved().is_none() {
            return Err(format!(
                "Node {} waits for a person to approve what it can do.",
                found.name()
            ));
        }
        if let Some(refusal) = found.forbidden(command) {
            return Err(refusal);
        }
        if !found.takes(command) {
            return Err(format!(
                "Node {} does not take {command}. It takes: {}.",
                found.name(),
                found.calls().join(", ")
            ));
        }
        Ok(found)
    }
}

/// By id, by the beginning of one, or by the name people gave it.
fn named(all: Vec<Found>, name: &str) -> Result<Found, Refusal> {
    /// Shortest beginning of an id.
    const SHORTEST: usize = 6;
    let (name, there) = (name.trim(), there_are(&all));
    let exact = all.iter().position(|found| found.id() == name);
    let mut fitting: Vec<usize> = match exact {
        Some(at) => vec![at],
        None => (0..all.len())
            .filter(|at| {
                all.get(*at).is_some_and(|found| {
                    found.name().eq_ignore_ascii_case(name) || (name.len() >= SHORTEST && found.id().starts_with(name))
                })
            })
            .collect(),
    };
    match (fitting.pop(), fitting.is_empty()) {
        (Some(at), true) => all
            .into_iter()
            .nth(at)
            .ok_or_else(|| "There is no such node.".to_owned()),
        (Some(_), false) => Err(format!("Several nodes are called {name}: use the node's id.")),
        (None, _) => Err(format!("There is no node called {name}. {there}")),
    }
}

/// Parameters without those that were not given.
fn given(params: Value) -> Value {
    crate::config::devices::without_nulls(params)
}

/// What a plan is made of when the node makes none.
fn own_plan((argv, cwd): (&[String], Option<&str>), agent_id: &str, session_key: &SessionKey) -> Value {
    json!({
        "argv": argv, "cwd": cwd, "commandText": crate::gateway::system_run::rendered(argv),
        "commandPreview": Value::Null, "agentId": agent_id, "sessionKey": session_key.as_str(),
    })
}

/// Which nodes there are, for whoever named none or a wrong one.
fn there_are(all: &[Found]) -> String {
    /// Nodes that are named.
    const MOST: usize = 20;
    if all.is_empty() {
        return "The user has no nodes: one is paired under Devices.".to_owned();
    }
    let named = all.iter().take(MOST).map(|found| {
        let state = if found.live.is_some() {
            "connected"
        } else {
            "not connected"
        };
        format!("{} ({state})", found.name())
    });
    format!("The user's nodes: {}.", named.collect::<Vec<_>>().join(", "))
}
