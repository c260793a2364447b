//! The user's exec approvals file: read and replaced as a whole, guarded by a hash; "allow always" adds to it.

use std::collections::BTreeMap;

use claw_entities::UserOwned;
use claw_entities::{Scope, exec_approvals};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ConnectionTrait, EntityTrait, QuerySelect, Set};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::document::hash;
use crate::error::{Error, Result};
use crate::gateway::exec_policy::{self, Grant};

/// Largest file, bytes of JSON.
const LARGEST: usize = 256 * 1024;

/// The shape of a file (`gateway-methods` §2). Words are read leniently, and a word that is not known is the strictest
/// (`gateway/exec_policy.rs`); a value of the wrong type would be nothing at all, so it is refused.
#[derive(Deserialize)]
struct Shape {
    #[expect(dead_code, reason = "read so that a wrong type is refused")]
    socket: Option<BTreeMap<String, Value>>,
    #[expect(dead_code, reason = "read so that a wrong type is refused")]
    defaults: Option<Rules>,
    #[expect(dead_code, reason = "read so that a wrong type is refused")]
    agents: Option<BTreeMap<String, Rules>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read so that a wrong type is refused")]
struct Rules {
    security: Option<String>,
    ask: Option<String>,
    ask_fallback: Option<String>,
    auto_allow_skills: Option<bool>,
    allowlist: Option<Vec<Listed>>,
    mcp_tools: Option<Vec<BTreeMap<String, Value>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "read so that a wrong type is refused")]
enum Listed {
    Entry {
        pattern: String,
    },
    /// Older files.
    Pattern(String),
}

impl ConfigService {
    /// `{path, exists, hash, file, resolvedDefaults}` as `exec.approvals.get` answers.
    pub async fn exec_approvals(&self, scope: &Scope) -> Result<Value> {
        let tx = self.db.read(scope).await?;
        let row = exec_approvals::Entity::owned_by(scope).one(&*tx).await?;
        tx.commit().await?;
        Ok(view(row.map(|row| row.file)))
    }

    /// Replaces the file if `base_hash` is still its hash. A first file needs none.
    pub async fn put_exec_approvals(&self, scope: &Scope, mut file: Value, base_hash: Option<&str>) -> Result<Value> {
        if file.get("version").and_then(Value::as_u64) != Some(1) {
            return Err(Error::invalid(
                "invalid exec.approvals.set params: at /file/version: must be 1",
            ));
        }
        Shape::deserialize(&file)
            .map_err(|error| Error::invalid(format!("invalid exec.approvals.set params: at /file: {error}")))?;
        let tx = self.db.write(scope).await?;
        let stored = locked(&*tx, scope).await?;
        let changed = || Error::invalid("exec approvals changed since last load; re-run exec.approvals.get and retry");
        match (base_hash, &stored) {
            (None, None) => {}
            (None, Some(_)) => {
                return Err(Error::invalid(
                    "exec approvals base hash required; re-run exec.approvals.get and retry",
                ));
            }
            (Some(base), _) if view(stored.clone())["hash"] != base => return Err(changed()),
            (Some(_), _) => {}
        }
        // Nobody was shown the socket's token, so nobody sends it back.
        if let Some(token) = stored.as_ref().and_then(|stored| stored.pointer("/socket/token"))
            && file.pointer("/socket/token").is_none()
        {
            if !file["socket"].is_object() {
                file["socket"] = json!({});
            }
            file["socket"]["token"] = token.clone();
        }
        store(&*tx, scope, &file).await?;
        tx.commit().await?;
        self.audit_device(scope, "exec_approvals.set", scope.user().as_str(), Value::Null)
            .await?;
        Ok(view(Some(file)))
    }
}

/// Puts a program on the agent's allowlist: what "allow always" means. Part of the decision's transaction.
pub(super) async fn allow(tx: &impl ConnectionTrait, scope: &Scope, grant: &Grant<'_>) -> Result<()> {
    let file = locked(tx, scope).await?.unwrap_or_else(empty);
    store(tx, scope, &exec_policy::remember(file, grant, now_ms())).await
}

/// The stored file. Nobody else changes it until the transaction ends, which has to store one.
async fn locked(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Option<Value>> {
    let first = exec_approvals::Entity::insert(exec_approvals::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        file: Set(empty()),
        updated_at: Set(now_ms()),
    })
    .on_conflict(OnConflict::new().do_nothing().to_owned())
    .exec_without_returning(tx)
    .await?;
    if first == 1 {
        return Ok(None);
    }
    let row = exec_approvals::Entity::owned_by(scope).lock_exclusive().one(tx).await?;
    Ok(row.map(|row| row.file))
}

async fn store(tx: &impl ConnectionTrait, scope: &Scope, file: &Value) -> Result<()> {
    if file.to_string().len() > LARGEST {
        return Err(Error::TooLarge("the exec approvals file is too large".to_owned()));
    }
    exec_approvals::Entity::update_owned(scope)
        .col_expr(exec_approvals::Column::File, Expr::value(file.clone()))
        .col_expr(exec_approvals::Column::UpdatedAt, Expr::value(now_ms()))
        .exec(tx)
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
        "hash": hash(&file),
        "resolvedDefaults": exec_policy::resolved_defaults(&file),
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
