//! The user's exec approvals file: read and replaced as a whole, guarded by a hash.

use claw_entities::UserOwned;
use claw_entities::{Scope, exec_approvals};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::crypto::token;
use crate::error::{Error, Result};
use crate::gateway::exec_policy;

/// Largest file, bytes of JSON.
const LARGEST: usize = 256 * 1024;

impl ConfigService {
    /// `{path, exists, hash, file}` as `exec.approvals.get` answers.
    pub async fn exec_approvals(&self, scope: &Scope) -> Result<Value> {
        let tx = self.db.read(scope).await?;
        let row = exec_approvals::Entity::owned_by(scope).one(&*tx).await?;
        tx.commit().await?;
        Ok(view(row.map(|row| row.file)))
    }

    /// Replaces the file if `base_hash` is still its hash. A first file needs none.
    pub async fn put_exec_approvals(&self, scope: &Scope, file: Value, base_hash: Option<&str>) -> Result<Value> {
        if file.get("version").and_then(Value::as_u64) != Some(1) {
            return Err(Error::invalid(
                "invalid exec.approvals.set params: at /file/version: must be 1",
            ));
        }
        if file.to_string().len() > LARGEST {
            return Err(Error::TooLarge("the exec approvals file is too large".to_owned()));
        }
        let tx = self.db.write(scope).await?;
        let stored = exec_approvals::Entity::owned_by(scope).one(&*tx).await?;
        let current = view(stored.as_ref().map(|row| row.file.clone()));
        let fits = match base_hash {
            Some(base) => current["hash"] == base,
            None => stored.is_none(),
        };
        if !fits {
            return Err(Error::invalid(
                "exec approvals changed since last load; re-run exec.approvals.get and retry",
            ));
        }
        replace(&*tx, scope, file.clone()).await?;
        tx.commit().await?;
        self.audit_device(scope, "exec_approvals.set", scope.user().as_str(), Value::Null)
            .await?;
        Ok(view(Some(file)))
    }

    /// Puts a program on the agent's allowlist: what "allow always" means.
    pub(crate) async fn allow_program(&self, scope: &Scope, agent_id: &str, path: &str, command: &str) -> Result<()> {
        let tx = self.db.write(scope).await?;
        let stored = exec_approvals::Entity::owned_by(scope).one(&*tx).await?;
        let file = stored.map_or_else(empty, |row| row.file);
        let file = exec_policy::remember(file, agent_id, path, command, now_ms());
        if file.to_string().len() > LARGEST {
            return Err(Error::TooLarge("the exec approvals file is too large".to_owned()));
        }
        replace(&*tx, scope, file).await?;
        tx.commit().await?;
        self.audit_device(
            scope,
            "exec_approvals.allow",
            scope.user().as_str(),
            json!({"program": path}),
        )
        .await
    }
}

async fn replace(tx: &impl ConnectionTrait, scope: &Scope, file: Value) -> Result<()> {
    exec_approvals::Entity::delete_owned(scope)
        .filter(exec_approvals::Column::UserId.eq(scope.user().clone()))
        .exec(tx)
        .await?;
    exec_approvals::Entity::insert(exec_approvals::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        file: Set(file),
        updated_at: Set(now_ms()),
    })
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

fn empty() -> Value {
    json!({"version": 1, "defaults": {}, "agents": {}})
}

fn view(stored: Option<Value>) -> Value {
    let exists = stored.is_some();
    let file = stored.unwrap_or_else(empty);
    json!({
        "path": "exec-approvals.json",
        "exists": exists,
        "hash": token::hash(&file.to_string()),
        "file": redacted(file),
    })
}

/// The token of the local approvals socket is nobody's business.
fn redacted(mut file: Value) -> Value {
    if let Some(socket) = file.get_mut("socket").and_then(Value::as_object_mut) {
        socket.remove("token");
    }
    file
}
