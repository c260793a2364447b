//! Tenants: made, found by their subdomain, taken away with everything they own.

use std::sync::Arc;

use claw_entities::{
    PlatformTable, TenantId, TenantOwned, TenantScope, api_token, approval, audit, blob, budget, budget_hold,
    budget_use, channel_account, channel_link, cron_job, cron_run, device, device_request, device_token, exchange,
    exec_approvals, exec_run, heartbeat, hook_run, hook_token, inbox, key_health, mcp_tool, memory_chunk,
    memory_vector, node_call, node_pending, node_surface, outbox, pairing_request, provider, run, secret,
    sender_approval, session, session_groups, setup_code, side_usage, sign_in_code, skill, skill_file, skill_upload,
    skill_upload_chunk, subagent, system_event, tenant, tool_intent, transcript_entry, transcript_read,
    transcript_words, unsettled, user, user_config, user_lease, user_pref, voice_wake, web_session, workspace_file,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};
use serde_json::json;

use super::super::audit as audit_log;
use super::super::cron::release_jobs;
use super::super::{ConfigService, conflict, revision};
use super::Tenant;
use crate::clock::now_ms;
use crate::crypto::token::random_bytes;
use crate::error::{Error, Result};

/// Labels that mean the platform itself.
const RESERVED: [&str; 6] = ["www", "api", "admin", "status", "mail", "localhost"];

impl ConfigService {
    /// The tenant at this subdomain. `None` for unknown slugs; suspended tenants are returned with the flag.
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<Arc<Tenant>>> {
        if let Some(tenant) = self.cache.tenants.get(slug) {
            return Ok(Some(tenant));
        }
        let seen = self.cache.generation();
        let tx = self.db.system_read().await?;
        let row = tenant::Entity::platform()
            .filter(tenant::Column::Slug.eq(slug))
            .one(&*tx)
            .await?;
        drop(tx);
        let Some(row) = row else {
            return Ok(None);
        };
        let tenant = Arc::new(Tenant::from(row));
        self.cache
            .keep(&self.cache.tenants, seen, slug.to_owned(), Arc::clone(&tenant));
        Ok(Some(tenant))
    }

    /// The tenant of a scope.
    pub async fn tenant(&self, scope: &TenantScope) -> Result<Tenant> {
        let tx = self.db.read(scope).await?;
        let row = tenant::Entity::of_tenant(scope).one(&*tx).await?;
        row.map(Tenant::from).ok_or(Error::NotFound { what: "tenant" })
    }

    pub async fn create_tenant(&self, slug: &str, name: &str) -> Result<Tenant> {
        check_slug(slug)?;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 100 {
            return Err(Error::invalid("a tenant's name has 1 to 100 characters"));
        }
        // The first attempt may find that another process replaced the master key.
        for _ in 0..2 {
            if let Some(tenant) = self.try_create_tenant(slug, name).await? {
                let scope = TenantScope::vouch(tenant.id.clone());
                self.audit(&scope, self.actor(), "tenant.create", slug, json!({}))
                    .await?;
                return Ok(tenant);
            }
            self.master.refresh(&self.db).await?;
        }
        Err(Error::Conflict("the master key is being rotated; try again".to_owned()))
    }

    async fn try_create_tenant(&self, slug: &str, name: &str) -> Result<Option<Tenant>> {
        let tx = self.db.system_write().await?;
        revision::raise(&*tx).await?;
        let Some((master, version)) = self.master_in_force(&*tx).await? else {
            return Ok(None);
        };
        let id = TenantId::generate();
        let row = tenant::Model {
            data_key: master.wrap(&id, &random_bytes::<32>()),
            id,
            slug: slug.to_owned(),
            name: name.to_owned(),
            status: "active".to_owned(),
            data_key_version: version,
            created_at: now_ms(),
        };
        tenant::Entity::insert(tenant::ActiveModel {
            id: Set(row.id.clone()),
            slug: Set(row.slug.clone()),
            name: Set(row.name.clone()),
            status: Set(row.status.clone()),
            data_key: Set(row.data_key.clone()),
            data_key_version: Set(row.data_key_version),
            created_at: Set(row.created_at),
        })
        .exec_without_returning(&*tx)
        .await
        .map_err(|error| conflict(error, format!("tenant {slug} exists already")))?;
        self.changed(tx).await?;
        Ok(Some(row.into()))
    }

    /// All tenants by slug.
    pub async fn list_tenants(&self) -> Result<Vec<Tenant>> {
        let tx = self.db.system_read().await?;
        let rows = tenant::Entity::platform()
            .order_by_asc(tenant::Column::Slug)
            .all(&*tx)
            .await?;
        Ok(rows.into_iter().map(Tenant::from).collect())
    }

    /// Stops or restarts serving the tenant; nothing is deleted. Running servers end within a second what goes on for
    /// it. What was accepted waits, and so do its jobs.
    pub async fn suspend_tenant(&self, scope: &TenantScope, suspended: bool) -> Result<()> {
        let status = if suspended { "suspended" } else { "active" };
        let tx = self.change(scope).await?;
        let before = tenant::Entity::of_tenant(scope).one(&*tx).await?;
        let changed = before.is_some_and(|before| before.status != status);
        let updated = tenant::Entity::update_of_tenant(scope)
            .col_expr(tenant::Column::Status, Expr::value(status))
            .exec(&*tx)
            .await?;
        if updated.rows_affected == 0 {
            return Err(Error::NotFound { what: "tenant" });
        }
        audit_log::append(&*tx, scope, self.actor(), "tenant.status", status, json!({})).await?;
        if !suspended {
            release_jobs(&*tx, scope, None).await?;
        }
        self.changed(tx).await?;
        if suspended && changed {
            self.give_attempts_back(scope, None).await?;
        }
        self.locked_changed().await;
        Ok(())
    }

    /// Deletes the tenant and everything it owns.
    pub async fn delete_tenant(&self, slug: &str) -> Result<()> {
        let tx = self.db.system_read().await?;
        let row = tenant::Entity::platform()
            .filter(tenant::Column::Slug.eq(slug))
            .one(&*tx)
            .await?
            .ok_or(Error::NotFound { what: "tenant" })?;
        drop(tx);
        let scope = TenantScope::vouch(row.id);
        let tx = self.change(&scope).await?;
        delete_everything(&*tx, &scope).await?;
        self.changed(tx).await?;
        self.cache.data_keys.remove(scope.tenant());
        Ok(())
    }
}

/// Every table that belongs to a tenant, the tenant itself last. A test compares this with the schema.
async fn delete_everything(tx: &impl ConnectionTrait, scope: &TenantScope) -> Result<()> {
    macro_rules! delete {
        ($($table:ident),+ $(,)?) => {
            $($table::Entity::delete_of_tenant(scope).exec(tx).await?;)+
        };
    }
    delete!(
        api_token,
        approval,
        audit,
        blob,
        budget,
        budget_hold,
        budget_use,
        channel_account,
        channel_link,
        cron_job,
        cron_run,
        device,
        device_request,
        device_token,
        exec_approvals,
        exec_run,
        heartbeat,
        exchange,
        hook_run,
        hook_token,
        inbox,
        key_health,
        mcp_tool,
        memory_chunk,
        memory_vector,
        node_call,
        node_pending,
        node_surface,
        outbox,
        pairing_request,
        provider,
        run,
        secret,
        sender_approval,
        session,
        session_groups,
        setup_code,
        side_usage,
        sign_in_code,
        skill,
        skill_file,
        skill_upload,
        skill_upload_chunk,
        subagent,
        system_event,
        tool_intent,
        transcript_entry,
        transcript_read,
        transcript_words,
        unsettled,
        user,
        user_config,
        user_lease,
        user_pref,
        voice_wake,
        web_session,
        workspace_file,
        tenant,
    );
    Ok(())
}

impl From<tenant::Model> for Tenant {
    fn from(row: tenant::Model) -> Self {
        Self {
            id: row.id,
            slug: row.slug,
            name: row.name,
            suspended: row.status != "active",
        }
    }
}

/// A slug is one DNS label.
fn check_slug(slug: &str) -> Result<()> {
    let label = !slug.is_empty()
        && slug.len() <= 63
        && slug
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !slug.starts_with('-')
        && !slug.ends_with('-');
    if !label {
        return Err(Error::invalid(
            "a tenant's slug is part of its host name: 1 to 63 of a-z, 0-9 and -, neither first nor last a -",
        ));
    }
    if RESERVED.contains(&slug) {
        return Err(Error::Invalid(format!("the slug {slug} is reserved")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sea_orm::{DbBackend, Statement};

    use super::super::super::testing;
    use super::*;
    use crate::config::identity::Role;

    #[test]
    fn a_slug_is_a_dns_label() {
        for good in ["a", "acme", "a-1", "9lives"] {
            assert!(check_slug(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Acme", "a.b", "a_b", "www", "ä", &"x".repeat(64)] {
            assert!(check_slug(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_tenant_is_made_once_and_found_without_the_database() {
        let server = testing::start().await;
        let config = &server.config;
        assert!(config.tenant_by_slug("acme").await.expect("reads").is_none());
        config.create_tenant("acme", "Acme").await.expect("creates");
        let twice = config.create_tenant("acme", "Acme again").await;
        assert!(matches!(twice, Err(Error::Conflict(text)) if text.contains("acme")));
        let found = config
            .tenant_by_slug("acme")
            .await
            .expect("reads")
            .expect("absence was not cached");
        assert_eq!((found.name.as_str(), found.suspended), ("Acme", false));

        server.db.clone().close().await;
        assert!(config.tenant_by_slug("acme").await.expect("from the cache").is_some());
        assert!(config.tenant_by_slug("beta").await.is_err());
    }

    #[tokio::test]
    async fn a_suspended_tenant_is_found_with_the_flag() {
        let server = testing::start().await;
        let scope = testing::tenant(&server.config, "acme").await;
        server.config.tenant_by_slug("acme").await.expect("reads");
        server.config.suspend_tenant(&scope, true).await.expect("suspends");
        let found = server
            .config
            .tenant_by_slug("acme")
            .await
            .expect("reads")
            .expect("is there");
        assert!(found.suspended);
    }

    #[tokio::test]
    async fn deleting_a_tenant_leaves_no_row_in_any_table() {
        let server = testing::start().await;
        let config = &server.config;
        let acme = testing::owner(config).await;
        let beta = testing::tenant(config, "beta").await;
        testing::user(config, &beta, "b@beta.test", Role::Owner).await;
        config.create_api_token(&acme, "t", None).await.expect("a token");
        config.delete_tenant("acme").await.expect("deletes");
        assert_eq!(config.list_users(&beta).await.expect("lists").len(), 1);
        assert!(matches!(
            config.delete_tenant("acme").await,
            Err(Error::NotFound { .. })
        ));
        if server.db.backend() != DbBackend::Sqlite {
            return;
        }

        let tx = server.db.system_read().await.expect("begins");
        let tables = tx
            .query_all_raw(Statement::from_string(
                DbBackend::Sqlite,
                "SELECT m.name AS name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND c.name = 'tenant_id'",
            ))
            .await
            .expect("lists tables");
        assert!(tables.len() > 20);
        let mut covered = String::new();
        for table in tables {
            let name: String = table.try_get("", "name").expect("a name");
            let row = tx
                .query_one_raw(Statement::from_string(
                    DbBackend::Sqlite,
                    format!(
                        "SELECT count(*) AS n FROM \"{name}\" WHERE tenant_id = '{}'",
                        acme.tenant()
                    ),
                ))
                .await
                .expect("counts")
                .expect("one row");
            assert_eq!(row.try_get::<i64>("", "n").expect("a number"), 0, "{name}");
            covered.push_str(&name);
            // The list of deletions names every table of the schema.
            let source = include_str!("tenants.rs");
            let list = source.split_once("delete!(").expect("the list").1;
            assert!(
                list.contains(&format!("        {name},\n")),
                "{name} is missing from the list"
            );
        }
        assert!(covered.contains("workspace_file"));
    }
}
