//! The surface of a node: what it declares, what was approved, what waits for approval.

use claw_entities::UserOwned;
use claw_entities::{Scope, device, node_surface};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};

use super::{before, delete_device, find_device, strings, without_nulls};
use crate::clock::now_ms;
use crate::config::document::NodeCommands;
use crate::config::{ConfigService, skills};
use crate::db::Batch;
use crate::error::{Error, Result};
use crate::gateway::node_policy::{self, Ruling};
use crate::gateway::scopes;

/// What a node says it can do when it connects.
#[derive(Clone, Debug)]
pub struct SurfaceClaim {
    pub node_id: String,
    pub caps: Vec<String>,
    pub commands: Vec<String>,
    /// `displayName`, `platform`, `version`, `deviceFamily`, `clientId`, `clientMode`, `pathEnv`, `permissions`.
    pub facts: Value,
}

/// A paired node: the device and what is known of its surface.
#[derive(Clone, Debug)]
pub struct Node {
    pub device: device::Model,
    pub surface: Option<node_surface::Model>,
}

impl Node {
    /// Name for people: the one a person chose, else the node's own.
    pub fn display_name(&self) -> Option<&str> {
        let surface = self.surface.as_ref();
        surface
            .and_then(|surface| surface.display_name.as_deref())
            .or_else(|| surface.and_then(|surface| surface.facts["displayName"].as_str()))
            .or(self.device.display_name.as_deref())
    }

    /// Approved commands; empty until somebody approved.
    pub fn commands(&self) -> Vec<String> {
        self.approved()
            .map(|surface| strings(&surface.commands))
            .unwrap_or_default()
    }

    /// May this command be called on this node, whatever it declared and whatever was approved.
    pub(crate) fn ruling(&self, set: &NodeCommands, command: &str) -> Ruling {
        node_policy::rule(set, (&self.device.platform, &self.device.device_family), command)
    }

    /// Approved capability groups.
    pub fn caps(&self) -> Vec<String> {
        self.approved()
            .map(|surface| strings(&surface.caps))
            .unwrap_or_default()
    }

    /// The pending request's id, if a declaration waits.
    pub fn pending_request(&self) -> Option<&str> {
        self.surface.as_ref().and_then(|surface| surface.request_id.as_deref())
    }

    pub fn approved(&self) -> Option<&node_surface::Model> {
        self.surface.as_ref().filter(|surface| surface.approved_at.is_some())
    }
}

impl SurfaceClaim {
    /// The declared commands that may be put up for approval.
    fn declarable(&self, set: &NodeCommands) -> Vec<String> {
        let fact = |name: &str| self.facts[name].as_str().unwrap_or_default();
        let platform = (fact("platform"), fact("deviceFamily"));
        let mut commands = self.commands.clone();
        commands.retain(|name| node_policy::declarable(set, platform, name));
        commands
    }
}

/// What an approver of these commands must hold. `authority`: what it takes to decide about all devices of the user.
pub fn required_scopes(commands: &[String], authority: &[String]) -> Vec<String> {
    const ADMIN_COMMANDS: [&str; 4] = ["system.run", "system.which", "system.run.prepare", "fs.listDir"];
    let mut required = vec![scopes::PAIRING.to_owned()];
    let admin = commands.iter().any(|command| {
        ADMIN_COMMANDS.contains(&command.as_str())
            || command.starts_with("system.execApprovals.")
            || command.starts_with("browser.proxy")
            || node_policy::is_of_files(command)
    });
    if admin {
        required = scopes::union(&required, authority);
    } else if !commands.is_empty() {
        required.push(scopes::WRITE.to_owned());
    }
    required
}

impl ConfigService {
    /// Takes note of what a connected node declares. Gives the pending row when a new request came of it.
    pub async fn declare_surface(&self, scope: &Scope, claim: &SurfaceClaim) -> Result<Option<Value>> {
        let now = now_ms();
        let authority = self.device_authority(scope).await?;
        let mut commands = claim.declarable(&self.settings(scope).await?.nodes);
        commands.sort();
        commands.dedup();
        let mut caps = claim.caps.clone();
        caps.sort();
        caps.dedup();
        let tx = self.db.write(scope).await?;
        let known = find(&*tx, scope, &claim.node_id).await?;
        let covered = known.as_ref().is_some_and(|known| {
            known.approved_at.is_some()
                && contains_all(&strings(&known.commands), &commands)
                && contains_all(&strings(&known.caps), &caps)
        });
        let same_request = known
            .as_ref()
            .filter(|known| {
                known.request_id.is_some()
                    && strings(&known.pending["commands"]) == commands
                    && strings(&known.pending["caps"]) == caps
            })
            .and_then(|known| Some((known.request_id.clone()?, known.pending.clone())));
        let (request_id, pending, fresh) = match same_request {
            _ if covered => (None, Value::Null, false),
            Some((request_id, pending)) => (Some(request_id), pending, false),
            None => {
                let request_id = uuid::Uuid::new_v4().to_string();
                let mut row = claim.facts.clone();
                row["requestId"] = json!(request_id);
                row["nodeId"] = json!(claim.node_id);
                row["caps"] = json!(caps);
                row["requiredApproveScopes"] = json!(required_scopes(&commands, &authority));
                row["commands"] = json!(commands);
                row["ts"] = json!(now);
                if let Some(row) = row.as_object_mut() {
                    row.remove("pathEnv");
                }
                (Some(request_id), without_nulls(row), true)
            }
        };
        let row = node_surface::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            node_id: claim.node_id.clone(),
            display_name: known.as_ref().and_then(|known| known.display_name.clone()),
            caps: known.as_ref().map_or(json!([]), |known| known.caps.clone()),
            commands: known.as_ref().map_or(json!([]), |known| known.commands.clone()),
            approved_at: known.as_ref().and_then(|known| known.approved_at),
            request_id,
            pending: pending.clone(),
            facts: without_nulls(claim.facts.clone()),
            last_connected_at: known.as_ref().and_then(|known| known.last_connected_at).max(Some(now)),
            last_disconnected_at: known.and_then(|known| known.last_disconnected_at),
        };
        replace(&*tx, scope, row).await?;
        tx.commit().await?;
        Ok(fresh.then_some(pending))
    }

    /// Is everything the node declares approved as it stands, so that connecting needs no write.
    pub async fn surface_is_current(&self, scope: &Scope, claim: &SurfaceClaim) -> Result<bool> {
        let declared = claim.declarable(&self.settings(scope).await?.nodes);
        let tx = self.db.read(scope).await?;
        let known = find(&*tx, scope, &claim.node_id).await?;
        tx.commit().await?;
        Ok(known.is_some_and(|known| {
            known.approved_at.is_some()
                && known.request_id.is_none()
                && known.facts == without_nulls(claim.facts.clone())
                && contains_all(&strings(&known.commands), &declared)
                && contains_all(&strings(&known.caps), &claim.caps)
        }))
    }

    /// All paired nodes, most recently approved first.
    pub async fn nodes(&self, scope: &Scope) -> Result<Vec<Node>> {
        let tx = self.db.read(scope).await?;
        let devices = device::Entity::owned_by(scope)
            .order_by_desc(device::Column::ApprovedAt)
            .all(&*tx)
            .await?;
        let mut surfaces = all(&*tx, scope).await?;
        tx.commit().await?;
        Ok(devices
            .into_iter()
            .filter(|device| strings(&device.roles).iter().any(|role| role == "node"))
            .map(|device| {
                let at = surfaces.iter().position(|surface| surface.node_id == device.id);
                let surface = at.map(|at| surfaces.swap_remove(at));
                Node { device, surface }
            })
            .collect())
    }

    /// One paired node. `Invalid("unknown nodeId")` when there is none.
    pub async fn node(&self, scope: &Scope, node_id: &str) -> Result<Node> {
        let tx = self.db.read(scope).await?;
        let device = find_device(&*tx, scope, node_id).await?;
        let surface = find(&*tx, scope, node_id).await?;
        tx.commit().await?;
        device
            .filter(|device| strings(&device.roles).iter().any(|role| role == "node"))
            .map(|device| Node { device, surface })
            .ok_or_else(unknown_node)
    }

    /// Approves what a node declared. Gives the node's id. The approver must hold what the commands require.
    pub async fn approve_surface(&self, scope: &Scope, request_id: &str, approver_scopes: &[String]) -> Result<String> {
        let now = now_ms();
        let authority = self.device_authority(scope).await?;
        let tx = self.db.write(scope).await?;
        let mut row = pending(&*tx, scope, request_id).await?;
        let commands = strings(&row.pending["commands"]);
        if let Some(missing) = required_scopes(&commands, &authority)
            .into_iter()
            .find(|required| !scopes::holds(approver_scopes, required))
        {
            return Err(Error::Forbidden(format!("missing scope: {missing}")));
        }
        row.commands = json!(commands);
        row.caps = row.pending["caps"].clone();
        row.approved_at = Some(now);
        row.request_id = None;
        row.pending = Value::Null;
        let node_id = row.node_id.clone();
        replace(&*tx, scope, row).await?;
        tx.commit().await?;
        self.audit_device(scope, "node.approve", &node_id, json!({"commands": commands}))
            .await?;
        Ok(node_id)
    }

    /// Turns a declaration down; what was approved before stays. Gives the node's id.
    pub async fn reject_surface(&self, scope: &Scope, request_id: &str) -> Result<String> {
        let tx = self.db.write(scope).await?;
        let mut row = pending(&*tx, scope, request_id).await?;
        row.request_id = None;
        row.pending = Value::Null;
        let node_id = row.node_id.clone();
        replace(&*tx, scope, row).await?;
        tx.commit().await?;
        self.audit_device(scope, "node.reject", &node_id, Value::Null).await?;
        Ok(node_id)
    }

    /// Takes the node role from a device, with its token and surface; a device without another role is forgotten.
    pub async fn remove_node(&self, scope: &Scope, node_id: &str) -> Result<()> {
        let tx = self.change(scope).await?;
        let device = find_device(&*tx, scope, node_id).await?.ok_or_else(unknown_node)?;
        let roles = strings(&device.roles);
        if !roles.iter().any(|role| role == "node") {
            return Err(unknown_node());
        }
        let others: Vec<String> = roles.into_iter().filter(|role| role != "node").collect();
        // In the order in which a connect writes (`note_connected`): one that comes in now would be a deadlock.
        if others.is_empty() {
            delete_device(&*tx, scope, node_id).await?;
            super::tokens::delete(&*tx, scope, node_id).await?;
        } else {
            device::Entity::update_owned(scope)
                .filter(device::Column::Id.eq(node_id))
                .col_expr(device::Column::Roles, json!(others).into())
                .exec(&*tx)
                .await?;
            claw_entities::device_token::Entity::delete_owned(scope)
                .filter(claw_entities::device_token::Column::DeviceId.eq(node_id))
                .filter(claw_entities::device_token::Column::Role.eq("node"))
                .exec(&*tx)
                .await?;
        }
        delete(&*tx, scope, node_id).await?;
        super::pending::delete(&*tx, scope, node_id).await?;
        self.changed(tx).await?;
        self.audit_device(scope, "node.remove", node_id, Value::Null).await
    }

    /// Gives a node a name of the person's choice.
    pub async fn rename_node(&self, scope: &Scope, node_id: &str, name: &str) -> Result<()> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > super::LONGEST_LABEL {
            return Err(Error::invalid("a node name has 1 to 64 characters"));
        }
        let tx = self.db.write(scope).await?;
        let done = node_surface::Entity::update_owned(scope)
            .filter(node_surface::Column::NodeId.eq(node_id))
            .col_expr(node_surface::Column::DisplayName, name.into())
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        if done.rows_affected == 0 {
            return Err(unknown_node());
        }
        Ok(())
    }
}

/// Adds what is known of the surface to a device's view.
pub(super) fn add_to_device(view: &mut Value, surface: &node_surface::Model) {
    if surface.approved_at.is_some() {
        view["nodeSurface"] = without_nulls(json!({
            "displayName": surface.display_name.clone().map_or(surface.facts["displayName"].clone(), Value::String),
            "version": surface.facts["version"], "caps": surface.caps, "commands": surface.commands,
            "approvedAtMs": surface.approved_at, "createdAtMs": surface.approved_at,
        }));
    }
    if surface.request_id.is_some() {
        view["pendingNodeSurface"] = surface.pending.clone();
    }
}

pub(super) async fn all(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Vec<node_surface::Model>> {
    Ok(node_surface::Entity::owned_by(scope).all(tx).await?)
}

pub(super) async fn delete(tx: &impl ConnectionTrait, scope: &Scope, node_id: &str) -> Result<()> {
    node_surface::Entity::delete_owned(scope)
        .filter(node_surface::Column::NodeId.eq(node_id))
        .exec(tx)
        .await?;
    // What it offered goes with it.
    skills::forget_node(tx, scope, node_id).await
}

pub(super) fn note_connected(batch: &mut Batch, scope: &Scope, node_id: &str, now: i64) {
    note(batch, scope, node_id, node_surface::Column::LastConnectedAt, now);
}

/// Records that a node's socket closed.
pub fn note_disconnected(batch: &mut Batch, scope: &Scope, node_id: &str, now: i64) {
    note(batch, scope, node_id, node_surface::Column::LastDisconnectedAt, now);
}

/// What is written late moves no time back.
fn note(batch: &mut Batch, scope: &Scope, node_id: &str, column: node_surface::Column, now: i64) {
    let at = node_surface::Entity::update_owned(scope)
        .filter(node_surface::Column::NodeId.eq(node_id))
        .filter(before(column, now))
        .col_expr(column, now.into());
    batch.add(&at);
}

async fn find(tx: &impl ConnectionTrait, scope: &Scope, node_id: &str) -> Result<Option<node_surface::Model>> {
    Ok(node_surface::Entity::owned_by(scope)
        .filter(node_surface::Column::NodeId.eq(node_id))
        .one(tx)
        .await?)
}

async fn pending(tx: &impl ConnectionTrait, scope: &Scope, request_id: &str) -> Result<node_surface::Model> {
    node_surface::Entity::owned_by(scope)
        .filter(node_surface::Column::RequestId.eq(request_id))
        .one(tx)
        .await?
        .ok_or_else(|| Error::invalid("unknown requestId"))
}

async fn replace(tx: &impl ConnectionTrait, scope: &Scope, row: node_surface::Model) -> Result<()> {
    delete(tx, scope, &row.node_id).await?;
    node_surface::Entity::insert(node_surface::ActiveModel::from(row))
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

fn contains_all(have: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|item| have.contains(item))
}

fn unknown_node() -> Error {
    Error::invalid("unknown nodeId")
}
