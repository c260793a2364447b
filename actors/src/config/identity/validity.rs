//! Is the credential behind a live socket still good.

use std::sync::Arc;

use claw_entities::{Scope, UserOwned, api_token, device, device_token, user, web_session};
use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter};

use super::super::ConfigService;
use super::super::cache::triple;
use super::{Credential, Identity, User};
use crate::clock::now_ms;
use crate::db::Tx;
use crate::error::Result;

impl ConfigService {
    /// Is the credential behind a live socket still good. Called about once a second per socket; it asks the
    /// database only after configuration changed, past the readers that turns keep busy. A user whose role changed has
    /// to connect again.
    pub async fn still_valid(&self, identity: &Identity) -> Result<bool> {
        self.still_good(&identity.user, &identity.credential).await
    }

    /// As [`ConfigService::still_valid`], of one of several credentials that a socket stands on.
    pub async fn still_good(&self, as_known: &User, credential: &Credential) -> Result<bool> {
        let scope = &as_known.scope;
        if self.is_locked(scope) {
            return Ok(false);
        }
        let name = match credential {
            Credential::ApiToken { id } => format!("t{id}"),
            Credential::WebSession { hash } => format!("w{hash}"),
            Credential::Device { id, role, generation } => format!("d{id}\u{1f}{role}\u{1f}{generation}"),
        };
        let key = triple(scope.tenant(), scope.user().as_str(), &name);
        let now = now_ms();
        if let Some(until) = self.cache.valid.get(&key) {
            return Ok(until > now);
        }
        let seen = self.cache.generation();
        let tx = self.db.system_read().await?;
        let user = match self.cache.users.get(scope) {
            Some(user) => user,
            None => match user::Entity::owned_by(scope).one(&*tx).await? {
                Some(row) => {
                    let user = Arc::new(User::from(row));
                    self.cache
                        .keep(&self.cache.users, seen, scope.clone(), Arc::clone(&user));
                    user
                }
                None => return Ok(false),
            },
        };
        if user.disabled || user.role != as_known.role {
            return Ok(false);
        }
        let Some(until) = self.good_until(tx, scope, credential, now).await? else {
            return Ok(false);
        };
        self.cache.keep(&self.cache.valid, seen, key, until);
        Ok(true)
    }

    /// Until when (epoch milliseconds) the credential's record is good.
    async fn good_until(&self, tx: Tx, scope: &Scope, credential: &Credential, now: i64) -> Result<Option<i64>> {
        match credential {
            Credential::ApiToken { id } => {
                let live = api_token::Entity::owned_by(scope)
                    .filter(api_token::Column::Id.eq(id))
                    .filter(api_token::Column::RevokedAt.is_null())
                    .count(&*tx)
                    .await?;
                Ok((live > 0).then_some(i64::MAX))
            }
            Credential::WebSession { hash } => {
                let row = web_session::Entity::owned_by(scope)
                    .filter(web_session::Column::Hash.eq(hash))
                    .one(&*tx)
                    .await?;
                Ok(row.map(|row| row.expires_at).filter(|until| *until > now))
            }
            Credential::Device { id, role, generation } => {
                drop(tx);
                // Devices are the tenant's business alone.
                let tx = self.db.read(scope).await?;
                let paired = device::Entity::owned_by(scope)
                    .filter(device::Column::Id.eq(id))
                    .count(&*tx)
                    .await?;
                let tokens = device_token::Entity::owned_by(scope)
                    .filter(device_token::Column::DeviceId.eq(id))
                    .filter(device_token::Column::Role.eq(role))
                    .filter(device_token::Column::Generation.eq(*generation))
                    .filter(device_token::Column::RevokedAt.is_null())
                    .count(&*tx)
                    .await?;
                Ok((paired > 0 && tokens > 0).then_some(i64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::{Credential, Identity, Role};

    #[tokio::test]
    async fn a_socket_outlives_neither_its_token_nor_its_users_role() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        let admin = testing::user(config, tenant, "admin@acme.test", Role::Admin).await;
        let connect = async || {
            let (made, plain) = config.create_api_token(&admin, "t", None).await.expect("makes one");
            let identity = config
                .authenticate_token(tenant.tenant(), &plain)
                .await
                .expect("reads")
                .expect("known");
            (made.id, identity)
        };
        let (id, first) = connect().await;
        let (_, second) = connect().await;
        assert!(config.still_valid(&first).await.expect("reads"));
        config.revoke_api_token(&admin, &id).await.expect("revokes");
        assert!(!config.still_valid(&first).await.expect("reads"));
        assert!(config.still_valid(&second).await.expect("reads"));
        config
            .set_role(tenant, admin.user(), Role::Member)
            .await
            .expect("demotes");
        assert!(!config.still_valid(&second).await.expect("reads"));
        let (_, third) = connect().await;
        config.suspend_tenant(tenant, true).await.expect("suspends");
        assert!(!config.still_valid(&third).await.expect("reads"));
        config.suspend_tenant(tenant, false).await.expect("restarts");
        let unknown = Identity {
            credential: Credential::Device {
                id: "none".to_owned(),
                role: "operator".to_owned(),
                generation: 1,
            },
            ..third.as_ref().clone()
        };
        assert!(!config.still_valid(&unknown).await.expect("reads"));
    }
}
