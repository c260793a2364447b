//! The first steps in development: a tenant, its owner, and a link that lets them in.

use std::net::SocketAddr;

use claw_actors::config::ConfigService;
use claw_actors::config::identity::Role;
use claw_actors::crypto::Secret;
use claw_entities::TenantScope;

use super::out;
use crate::settings::{Settings, Urls};

const TENANT: &str = "demo";
const OWNER: &str = "owner@demo.local";

/// Gives an empty database the tenant `demo` with the owner `owner@demo.local`. Does nothing when there is any other
/// tenant. Only for the development profile.
pub async fn seed(config: &ConfigService) -> claw_actors::Result<()> {
    let tenants = config.list_tenants().await?;
    let id = match tenants.as_slice() {
        [] => config.create_tenant(TENANT, "Demo").await?.id,
        // A start that was cut off may have left the tenant without its owner.
        [only] if only.slug == TENANT => only.id.clone(),
        [_, ..] => return Ok(()),
    };
    let tenant = TenantScope::vouch(id);
    if config.list_users(&tenant).await?.is_empty() {
        config.create_user(&tenant, OWNER, Role::Owner, None).await?;
    }
    Ok(())
}

/// A link that signs the tenant's first owner in, while no owner has a password or an OIDC identity. `bound` is the
/// address the server really listens on.
pub async fn owner_sign_in_link(
    config: &ConfigService,
    settings: &Settings,
    bound: SocketAddr,
    slug: &str,
) -> claw_actors::Result<Option<String>> {
    let Some(tenant) = config.tenant_by_slug(slug).await? else {
        return Ok(None);
    };
    let scope = TenantScope::vouch(tenant.id.clone());
    if config.owner_has_login(&scope).await? {
        return Ok(None);
    }
    let users = config.list_users(&scope).await?;
    let Some(owner) = users.iter().find(|user| user.role == Role::Owner && !user.disabled) else {
        return Ok(None);
    };
    let code = config.create_sign_in_code(&owner.scope).await?;
    Ok(Some(sign_in_url(settings, bound, slug, &code)))
}

/// Prints that link on stdout, if there is a need for one.
pub async fn print_owner_sign_in_link(
    config: &ConfigService,
    settings: &Settings,
    bound: SocketAddr,
    slug: &str,
) -> claw_actors::Result<()> {
    if let Some(link) = owner_sign_in_link(config, settings, bound, slug).await? {
        out::line(format!("Sign in (once, within 15 minutes): {link}"));
    }
    Ok(())
}

/// Where a sign-in code is redeemed: in the fragment, which browsers do not send to servers.
pub fn sign_in_url(settings: &Settings, bound: SocketAddr, slug: &str, code: &Secret) -> String {
    let urls = Urls::new(&settings.http, bound);
    format!("{}/#sign-in={}", urls.tenant(slug), code.expose())
}

#[cfg(test)]
mod tests {
    use super::super::{place, testing};
    use super::*;

    #[tokio::test]
    async fn an_empty_database_is_seeded_once_and_the_link_signs_in() {
        let here = testing::start().await;
        let config = place::open(&here.settings).await.expect("opens");
        seed(&config).await.expect("does nothing");
        let tenant = place::tenant(&config, "demo").await.expect("is there");
        let users = config.list_users(&tenant).await.expect("lists");
        assert_eq!(
            (users.len(), users[0].email.as_str(), users[0].role),
            (1, OWNER, Role::Owner)
        );

        let bound = "127.0.0.1:4321".parse().expect("an address");
        let link = owner_sign_in_link(&config, &here.settings, bound, "demo")
            .await
            .expect("reads")
            .expect("nobody has a login yet");
        let (url, code) = link.split_once("/#sign-in=").expect("the code is in the fragment");
        assert_eq!(url, "http://demo.localhost:4321");
        let user = config
            .redeem_sign_in_code(tenant.tenant(), &code.into())
            .await
            .expect("reads");
        assert_eq!(user.expect("signs in").scope, users[0].scope);

        config
            .set_password(&users[0].scope, &"long enough".into(), None)
            .await
            .expect("sets");
        let link = owner_sign_in_link(&config, &here.settings, bound, "demo")
            .await
            .expect("reads");
        assert_eq!(link, None);
    }

    #[tokio::test]
    async fn a_database_in_use_is_left_alone() {
        let here = testing::folder();
        super::super::migrate::run(&here.settings).await.expect("migrates");
        let config = place::open(&here.settings).await.expect("opens");
        config.create_tenant("acme", "Acme").await.expect("creates");
        seed(&config).await.expect("does nothing");
        assert_eq!(config.list_tenants().await.expect("lists").len(), 1);
    }
}
