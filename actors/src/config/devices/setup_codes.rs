//! Setup codes: whoever holds one brings one new device in, as its creator allowed. Ten minutes, one use.
//!
//! Nothing that is stored opens anything: the bootstrap token is kept as a hash, and where there is a join URL the token
//! follows from the tenant's key and the code in the URL, which is kept as a hash too.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claw_entities::{Scope, TenantId, TenantOwned, TenantScope, UserOwned, setup_code};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::{Value, json};

use super::{Admission, DeviceClaim, admit, strings, tokens};
use crate::clock::now_ms;
use crate::config::identity::{Credential, Identity, device_authority, role_scopes};
use crate::config::{ConfigService, audit};
use crate::crypto::{Secret, signature, token};
use crate::error::{Error, Result};
use crate::gateway::scopes;

/// How long a code lives, milliseconds (protocol: ten minutes).
const LIFETIME_MS: i64 = 10 * 60 * 1000;
/// How long the outcome can be asked for, milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// Codes of one user that may be open at the same time.
const MOST_OPEN: u64 = 100;
/// Codes of one user that are known, used and over ones too; the oldest of those go first.
const MOST_KNOWN: u64 = 200;

/// What the device may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupAccess {
    /// A node and nothing else.
    Node,
    /// A node and an operator without admin: a phone.
    Limited,
    /// A node and an operator with everything the creator has.
    Full,
}

impl SetupAccess {
    /// The name in the database and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Limited => "limited",
            Self::Full => "full",
        }
    }

    /// The operator scopes it comes with, as far as the creator has them. `None`: it is no operator.
    fn operator_scopes(name: &str, creator: &[String]) -> Option<Vec<String>> {
        let phone = ["approvals", "questions", "read", "talk.secrets", "write"];
        let mut wanted: Vec<String> = phone.iter().map(|scope| format!("operator.{scope}")).collect();
        match name {
            "limited" => {}
            // Who has no admin gives the rest of what they have: their own devices.
            "full" if scopes::holds(creator, scopes::ADMIN) => wanted.push(scopes::ADMIN.to_owned()),
            "full" => wanted.push(scopes::PAIRING.to_owned()),
            _ => return None,
        }
        Some(scopes::intersect(&wanted, creator))
    }
}

/// A new code.
#[derive(Debug)]
pub struct NewSetupCode {
    pub id: String,
    pub expires_at: i64,
    pub bootstrap: Secret,
    /// What follows `/j/` in the join URL.
    pub join: Option<Secret>,
}

/// What a join URL gives, once.
#[derive(Debug)]
pub struct JoinPayload {
    pub url: String,
    pub bootstrap: Secret,
    pub expires_at: i64,
}

/// A device that came in with a code.
#[derive(Debug)]
pub struct Redeemed {
    /// The creator's, with what the creator may do today of what they could do then.
    pub identity: Identity,
    /// The payload of `device.pair.setup.completed`.
    pub completed: Value,
}

impl ConfigService {
    /// Makes a code for the user. `creator` is what the one who asks holds. `Busy` when too many are open.
    pub async fn create_setup_code(
        &self,
        scope: &Scope,
        access: SetupAccess,
        url: &str,
        with_join: bool,
        creator: &[String],
    ) -> Result<NewSetupCode> {
        let now = now_ms();
        let key = self.setup_key(scope.tenant_scope()).await?;
        let join = with_join.then(|| URL_SAFE_NO_PAD.encode(token::random_bytes::<16>()));
        let bootstrap = match &join {
            Some(code) => derive(&key, code),
            None => Secret::new(token::random_token()),
        };
        let row = setup_code::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            id: uuid::Uuid::new_v4().to_string(),
            token_hash: token::hash(bootstrap.expose()),
            join_hash: join.as_deref().map(token::hash),
            url: url.to_owned(),
            access: access.name().to_owned(),
            scopes: json!(creator),
            created_at: now,
            expires_at: now + LIFETIME_MS,
            fetched_at: None,
            used_at: None,
            device_id: None,
            device_name: None,
        };
        let (id, expires_at) = (row.id.clone(), row.expires_at);
        let tx = self.db.write(scope).await?;
        setup_code::Entity::delete_owned(scope)
            .filter(setup_code::Column::ExpiresAt.lte(now - KEPT_MS))
            .exec(&*tx)
            .await?;
        let is_open = Condition::all()
            .add(setup_code::Column::UsedAt.is_null())
            .add(setup_code::Column::ExpiresAt.gt(now));
        let open = setup_code::Entity::owned_by(scope).filter(is_open.clone());
        if open.count(&*tx).await? >= MOST_OPEN {
            return Err(Error::Busy {
                message: "too many setup codes are open".to_owned(),
                retry_after: std::time::Duration::from_secs(60),
            });
        }
        forget_surplus(&*tx, scope, is_open.not()).await?;
        setup_code::Entity::insert(setup_code::ActiveModel::from(row))
            .exec_without_returning(&*tx)
            .await?;
        let (tenant, actor) = (scope.tenant_scope(), self.actor_or(scope));
        audit::append(
            &*tx,
            tenant,
            actor,
            "device.setup_code",
            &id,
            json!({"access": access.name()}),
        )
        .await?;
        tx.commit().await?;
        Ok(NewSetupCode {
            id,
            expires_at,
            bootstrap,
            join: join.map(Secret::new),
        })
    }

    /// What the join URL with this code gives, the first time.
    pub async fn fetch_join(&self, tenant: &TenantId, code: &Secret) -> Result<Option<JoinPayload>> {
        let tenant = TenantScope::vouch(tenant.clone());
        let (now, hash) = (now_ms(), token::hash(code.expose()));
        // A stranger's guess must not take the write lock.
        let tx = self.db.read(&tenant).await?;
        let row = setup_code::Entity::of_tenant(&tenant)
            .filter(setup_code::Column::JoinHash.eq(&hash))
            .filter(setup_code::Column::FetchedAt.is_null())
            .filter(setup_code::Column::UsedAt.is_null())
            .filter(setup_code::Column::ExpiresAt.gt(now))
            .one(&*tx)
            .await?;
        tx.commit().await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let key = self.setup_key(&tenant).await?;
        let tx = self.db.write(&tenant).await?;
        let done = setup_code::Entity::update_of_tenant(&tenant)
            .filter(setup_code::Column::JoinHash.eq(&hash))
            .filter(setup_code::Column::FetchedAt.is_null())
            .col_expr(setup_code::Column::FetchedAt, Expr::value(now))
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok((done.rows_affected == 1).then(|| JoinPayload {
            url: row.url,
            bootstrap: derive(&key, code.expose()),
            expires_at: row.expires_at,
        }))
    }

    /// Whose code this is. `None`: no such code, used, or too late.
    pub async fn setup_code_owner(&self, tenant: &TenantScope, bootstrap: &Secret) -> Result<Option<Scope>> {
        let tx = self.db.read(tenant).await?;
        let row = open(tenant, &token::hash(bootstrap.expose()), now_ms())
            .one(&*tx)
            .await?;
        tx.commit().await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(self.user(tenant, &row.user_id).await?.scope.clone()))
    }

    /// Uses a code up for this proved device: it is paired, as the creator's, with what the creator may give today.
    /// `None`: no such code, used, too late, or its creator may no longer do this.
    pub async fn redeem_setup_code(
        &self,
        tenant: &TenantScope,
        bootstrap: &Secret,
        claim: &DeviceClaim,
    ) -> Result<Option<Redeemed>> {
        let (now, hash) = (now_ms(), token::hash(bootstrap.expose()));
        let tx = self.db.read(tenant).await?;
        let row = open(tenant, &hash, now).one(&*tx).await?;
        tx.commit().await?;
        // Nodes come in with it; the operator half of a phone follows from that.
        let Some(row) = row.filter(|_| claim.role == "node") else {
            return Ok(None);
        };
        let Some(user) = self.active_user(tenant, &row.user_id).await? else {
            return Ok(None);
        };
        let held = scopes::intersect(&strings(&row.scopes), &role_scopes(user.role));
        if !scopes::holds_all(&held, &device_authority(user.role)) {
            return Ok(None);
        }
        let scope = user.scope.clone();
        let key = self.device_token_key(&scope).await?;
        let tx = self.change(&scope).await?;
        let name = claim.display_name.clone();
        let taken = setup_code::Entity::update_owned(&scope)
            .filter(setup_code::Column::Id.eq(&row.id))
            .filter(setup_code::Column::UsedAt.is_null())
            .filter(setup_code::Column::ExpiresAt.gt(now))
            .col_expr(setup_code::Column::UsedAt, Expr::value(now))
            .col_expr(setup_code::Column::DeviceId, Expr::value(claim.device_id.as_str()))
            .col_expr(setup_code::Column::DeviceName, Expr::value(name))
            .exec(&*tx)
            .await?;
        if taken.rows_affected == 0 {
            return Ok(None);
        }
        let operator = SetupAccess::operator_scopes(&row.access, &held);
        let mut roles = vec!["node".to_owned()];
        roles.extend(operator.is_some().then(|| "operator".to_owned()));
        let admission = Admission {
            device_id: &claim.device_id,
            public_key: &claim.public_key,
            display_name: claim.display_name.as_deref(),
            platform: &claim.platform,
            device_family: &claim.device_family,
            client_id: &claim.client_id,
            client_mode: &claim.client_mode,
            roles: &roles,
            scopes: operator.as_deref().unwrap_or_default(),
            via: "bootstrap",
        };
        admit(&*tx, &scope, &key, &admission, now).await?;
        let token = tokens::find(&*tx, &scope, &claim.device_id, &claim.role).await?;
        let detail = json!({"setupId": row.id, "access": row.access});
        let (tenant, user_id) = (scope.tenant_scope(), scope.user().as_str());
        audit::append(&*tx, tenant, user_id, "device.join", &claim.device_id, detail).await?;
        self.changed(tx).await?;
        Ok(Some(Redeemed {
            identity: Identity {
                user,
                scopes: held,
                credential: Credential::Device {
                    id: claim.device_id.clone(),
                    role: claim.role.clone(),
                    generation: token.map_or(0, |token| token.generation),
                },
            },
            completed: completion(
                &row.id,
                &claim.device_id,
                claim.display_name.as_deref(),
                &row.access,
                now,
            ),
        }))
    }

    /// What became of a code of the user's: the payload of `device.pair.setup.completed`, once it was used.
    pub async fn setup_status(&self, scope: &Scope, id: &str) -> Result<Option<Value>> {
        let tx = self.db.read(scope).await?;
        let row = setup_code::Entity::owned_by(scope)
            .filter(setup_code::Column::Id.eq(id))
            .one(&*tx)
            .await?;
        tx.commit().await?;
        Ok(row.and_then(|row| {
            let (used_at, device) = (row.used_at?, row.device_id?);
            Some(completion(
                &row.id,
                &device,
                row.device_name.as_deref(),
                &row.access,
                used_at,
            ))
        }))
    }

    /// The operator token that came with a phone's node token: `{deviceToken, role, scopes, issuedAtMs}`.
    pub async fn operator_handover(&self, scope: &Scope, device_id: &str) -> Result<Option<Value>> {
        let tx = self.db.read(scope).await?;
        let row = tokens::find(&*tx, scope, device_id, "operator").await?;
        tx.commit().await?;
        let Some(row) = row.filter(|row| row.revoked_at.is_none()) else {
            return Ok(None);
        };
        let token = self.device_token(scope, device_id, "operator", row.generation).await?;
        Ok(Some(json!({
            "deviceToken": token.expose(), "role": "operator", "scopes": row.scopes,
            "issuedAtMs": row.rotated_at.unwrap_or(row.created_at),
        })))
    }

    async fn setup_key(&self, tenant: &TenantScope) -> Result<[u8; 32]> {
        self.derived_key(tenant, "setup-code").await
    }
}

/// Ends the codes of a user that nobody has used: one of their credentials was revoked, and it may have made them.
pub(crate) async fn withdraw(tx: &impl ConnectionTrait, scope: &Scope) -> Result<()> {
    setup_code::Entity::delete_owned(scope)
        .filter(setup_code::Column::UsedAt.is_null())
        .exec(tx)
        .await?;
    Ok(())
}

/// Lets the oldest codes that are `over` go, as far as there are too many.
async fn forget_surplus(tx: &impl ConnectionTrait, scope: &Scope, over: Condition) -> Result<()> {
    let first_to_go: Option<i64> = setup_code::Entity::owned_by(scope)
        .select_only()
        .column(setup_code::Column::CreatedAt)
        .filter(over.clone())
        .order_by_desc(setup_code::Column::CreatedAt)
        .offset(MOST_KNOWN)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    if let Some(created_at) = first_to_go {
        setup_code::Entity::delete_owned(scope)
            .filter(over)
            .filter(setup_code::Column::CreatedAt.lte(created_at))
            .exec(tx)
            .await?;
    }
    Ok(())
}

fn open(tenant: &TenantScope, token_hash: &str, now: i64) -> sea_orm::Select<setup_code::Entity> {
    setup_code::Entity::of_tenant(tenant)
        .filter(setup_code::Column::TokenHash.eq(token_hash))
        .filter(setup_code::Column::UsedAt.is_null())
        .filter(setup_code::Column::ExpiresAt.gt(now))
}

/// The bootstrap token behind a join code.
fn derive(key: &[u8; 32], code: &str) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(signature::hmac_sha256(key, &[code.as_bytes()])))
}

fn completion(setup_id: &str, device_id: &str, name: Option<&str>, access: &str, at: i64) -> Value {
    super::without_nulls(json!({
        "setupId": setup_id, "deviceId": device_id, "deviceName": name, "access": access, "ts": at,
    }))
}

#[cfg(test)]
mod tests;
