//! Device tokens: derived from the tenant's key, so that every connect hands out the same one; only hashes are stored.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claw_entities::{Scope, TenantScope, device_token};
use claw_entities::{TenantOwned, UserOwned};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::json;

use super::{before, setup_codes, strings};
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::cache::pair;
use crate::config::identity::{Credential, Identity};
use crate::crypto::{Secret, signature, token};
use crate::db::{Batch, Rows};
use crate::error::{Error, Result};
use crate::gateway::scopes;

/// Who a device token is.
#[derive(Clone, Debug)]
pub struct DeviceGrant {
    /// Its scopes are the token's.
    pub identity: Arc<Identity>,
    pub device_id: String,
    pub role: String,
}

/// What rotating gave.
#[derive(Clone, Debug)]
pub struct Rotated {
    pub token: Secret,
    pub generation: i32,
    pub scopes: Vec<String>,
    pub rotated_at: i64,
}

impl ConfigService {
    /// Who this device token is, within this tenant only. `None`: unknown, revoked, rotated away or its user disabled.
    pub async fn authenticate_device_token(
        &self,
        tenant: &TenantScope,
        token: &Secret,
    ) -> Result<Option<Arc<DeviceGrant>>> {
        let hash = token::hash(token.expose());
        let key = pair(tenant.tenant(), &hash);
        if let Some(grant) = self.cache.grants.get(&key) {
            return Ok(Some(grant));
        }
        let seen = self.cache.generation();
        let tx = self.db.read(tenant).await?;
        let row = device_token::Entity::of_tenant(tenant)
            .filter(device_token::Column::Hash.eq(hash))
            .filter(device_token::Column::RevokedAt.is_null())
            .one(&*tx)
            .await?;
        tx.commit().await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let Some(user) = self.active_user(tenant, &row.user_id).await? else {
            return Ok(None);
        };
        let grant = Arc::new(DeviceGrant {
            identity: Arc::new(Identity {
                user,
                scopes: strings(&row.scopes),
                credential: Credential::Device {
                    id: row.device_id.clone(),
                    role: row.role.clone(),
                    generation: row.generation,
                },
            }),
            device_id: row.device_id,
            role: row.role,
        });
        self.cache.keep(&self.cache.grants, seen, key, Arc::clone(&grant));
        Ok(Some(grant))
    }

    /// Makes the old token of a role worthless and gives the new one. `scopes` may only narrow.
    pub async fn rotate_device_token(
        &self,
        scope: &Scope,
        device_id: &str,
        role: &str,
        narrowed: Option<&[String]>,
    ) -> Result<Rotated> {
        let key = self.device_token_key(scope).await?;
        let now = now_ms();
        let tx = self.change(scope).await?;
        let row = live(&*tx, scope, device_id, role).await?;
        let held = strings(&row.scopes);
        let granted = match narrowed {
            Some(narrowed) if !scopes::holds_all(&held, narrowed) => {
                return Err(Error::invalid("device token rotation denied"));
            }
            Some(narrowed) => narrowed.to_vec(),
            None => held,
        };
        let generation = row.generation + 1;
        let token = derive(&key, scope, device_id, role, generation);
        device_token::Entity::update_owned(scope)
            .filter(device_token::Column::DeviceId.eq(device_id))
            .filter(device_token::Column::Role.eq(role))
            .col_expr(device_token::Column::Generation, generation.into())
            .col_expr(device_token::Column::Hash, token::hash(token.expose()).into())
            .col_expr(device_token::Column::Scopes, json!(granted).into())
            .col_expr(device_token::Column::RotatedAt, now.into())
            .exec(&*tx)
            .await?;
        setup_codes::withdraw(&*tx, scope).await?;
        self.changed(tx).await?;
        self.audit_device(scope, "device.token.rotate", device_id, json!({"role": role}))
            .await?;
        Ok(Rotated {
            token,
            generation,
            scopes: granted,
            rotated_at: now,
        })
    }

    /// Makes the token of a role worthless; the device has to be approved again for it. Gives the time.
    pub async fn revoke_device_token(&self, scope: &Scope, device_id: &str, role: &str) -> Result<i64> {
        let now = now_ms();
        let tx = self.change(scope).await?;
        live(&*tx, scope, device_id, role).await?;
        device_token::Entity::update_owned(scope)
            .filter(device_token::Column::DeviceId.eq(device_id))
            .filter(device_token::Column::Role.eq(role))
            .col_expr(device_token::Column::RevokedAt, now.into())
            .exec(&*tx)
            .await?;
        setup_codes::withdraw(&*tx, scope).await?;
        self.changed(tx).await?;
        self.audit_device(scope, "device.token.revoke", device_id, json!({"role": role}))
            .await?;
        Ok(now)
    }

    pub(super) async fn device_token(
        &self,
        scope: &Scope,
        device_id: &str,
        role: &str,
        generation: i32,
    ) -> Result<Secret> {
        let key = self.device_token_key(scope).await?;
        Ok(derive(&key, scope, device_id, role, generation))
    }

    pub(super) async fn device_token_key(&self, scope: &Scope) -> Result<[u8; 32]> {
        self.derived_key(scope.tenant_scope(), "device-token").await
    }
}

/// The token of a device in a role. The pieces cannot run into each other: ids and roles hold no `|`.
fn derive(key: &[u8; 32], scope: &Scope, device_id: &str, role: &str, generation: i32) -> Secret {
    let pieces = format!("{}|{device_id}|{role}|{generation}", scope.user());
    Secret::new(URL_SAFE_NO_PAD.encode(signature::hmac_sha256(key, &[pieces.as_bytes()])))
}

/// Gives a device a token for a role, or widens the one it has. A revoked one comes back as a new generation.
pub(super) async fn grant(
    tx: &impl Rows,
    scope: &Scope,
    key: &[u8; 32],
    device_id: &str,
    role: &str,
    granted: &[String],
    now: i64,
) -> Result<()> {
    let known = find(tx, scope, device_id, role).await?;
    let (generation, held, created_at, rotated_at) = match &known {
        None => (1, Vec::new(), now, None),
        Some(row) if row.revoked_at.is_some() => (row.generation + 1, Vec::new(), now, None),
        Some(row) => (row.generation, strings(&row.scopes), row.created_at, row.rotated_at),
    };
    if known.is_some() {
        device_token::Entity::delete_owned(scope)
            .filter(device_token::Column::DeviceId.eq(device_id))
            .filter(device_token::Column::Role.eq(role))
            .exec(tx)
            .await?;
    }
    device_token::Entity::insert(device_token::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        device_id: Set(device_id.to_owned()),
        role: Set(role.to_owned()),
        hash: Set(token::hash(derive(key, scope, device_id, role, generation).expose())),
        scopes: Set(json!(scopes::union(&held, granted))),
        generation: Set(generation),
        created_at: Set(created_at),
        rotated_at: Set(rotated_at),
        last_used_at: Set(known.and_then(|row| row.last_used_at)),
        revoked_at: Set(None),
    })
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

pub(super) async fn find(
    rows: &impl Rows,
    scope: &Scope,
    device_id: &str,
    role: &str,
) -> Result<Option<device_token::Model>> {
    let token = device_token::Entity::owned_by(scope)
        .filter(device_token::Column::DeviceId.eq(device_id))
        .filter(device_token::Column::Role.eq(role));
    Ok(rows.row(token).await?)
}

async fn live(tx: &impl Rows, scope: &Scope, device_id: &str, role: &str) -> Result<device_token::Model> {
    find(tx, scope, device_id, role)
        .await?
        .filter(|row| row.revoked_at.is_none())
        .ok_or_else(|| Error::invalid("unknown deviceId/role"))
}

pub(super) async fn of_device(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    device_id: &str,
) -> Result<Vec<device_token::Model>> {
    Ok(device_token::Entity::owned_by(scope)
        .filter(device_token::Column::DeviceId.eq(device_id))
        .all(tx)
        .await?)
}

pub(super) async fn delete(tx: &impl ConnectionTrait, scope: &Scope, device_id: &str) -> Result<()> {
    device_token::Entity::delete_owned(scope)
        .filter(device_token::Column::DeviceId.eq(device_id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Records that a token was used (part of a group commit). One that was revoked meanwhile is not touched.
pub(super) fn note_used(batch: &mut Batch, scope: &Scope, device_id: &str, role: &str, now: i64) {
    let used = device_token::Entity::update_owned(scope)
        .filter(device_token::Column::DeviceId.eq(device_id))
        .filter(device_token::Column::Role.eq(role))
        .filter(device_token::Column::RevokedAt.is_null())
        .filter(before(device_token::Column::LastUsedAt, now))
        .col_expr(device_token::Column::LastUsedAt, now.into());
    batch.add(&used);
}
