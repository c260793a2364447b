//! The tenant's audit log: a hash chain of who did what. Never message text, never a secret.
//!
//! Each line holds the hash of the line before it, so a line that was changed, removed or put in between shows.

use claw_entities::{TenantOwned, TenantScope, audit, tenant};
use ring::digest;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::{Value, json};

use super::ConfigService;
use crate::clock::now_ms;
use crate::crypto::token::hex;
use crate::error::Result;

/// Lines read at a time.
const PAGE: u64 = 500;

/// A line as the Admin UI lists it.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// From 1, without holes.
    pub seq: i64,
    /// Epoch milliseconds.
    pub at: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub detail: Value,
}

impl From<audit::Model> for AuditEntry {
    fn from(row: audit::Model) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            actor: row.actor,
            action: row.action,
            target: row.target,
            detail: row.detail,
        }
    }
}

impl ConfigService {
    /// Appends one line. `actor` is a user id, `system` or `cli`; `action` is dotted, e.g. `device.approve`.
    pub async fn audit(
        &self,
        tenant: &TenantScope,
        actor: &str,
        action: &str,
        target: &str,
        detail: Value,
    ) -> Result<()> {
        let tx = self.db.write(tenant).await?;
        append(&*tx, tenant, actor, action, target, detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Newest lines first, older than `before` when it is given; at most 500.
    pub async fn list_audit(&self, tenant: &TenantScope, before: Option<i64>, limit: u64) -> Result<Vec<AuditEntry>> {
        let tx = self.db.read(tenant).await?;
        let mut query = audit::Entity::of_tenant(tenant);
        if let Some(before) = before {
            query = query.filter(audit::Column::Seq.lt(before));
        }
        let rows = query
            .order_by_desc(audit::Column::Seq)
            .limit(limit.min(PAGE))
            .all(&*tx)
            .await?;
        Ok(rows.into_iter().map(AuditEntry::from).collect())
    }

    /// The newest lines in their order: those after `after`, of one `actor` where one is given, `limit` at most.
    pub async fn audit_after(
        &self,
        tenant: &TenantScope,
        after: Option<i64>,
        actor: Option<&str>,
        limit: u64,
    ) -> Result<Vec<AuditEntry>> {
        let tx = self.db.read(tenant).await?;
        let mut query = audit::Entity::of_tenant(tenant);
        if let Some(after) = after {
            query = query.filter(audit::Column::Seq.gt(after));
        }
        if let Some(actor) = actor {
            query = query.filter(audit::Column::Actor.eq(actor));
        }
        let mut rows = query.order_by_desc(audit::Column::Seq).limit(limit).all(&*tx).await?;
        rows.reverse();
        Ok(rows.into_iter().map(AuditEntry::from).collect())
    }

    /// `seq` of the newest line; 0 while there is none.
    pub async fn newest_audit_seq(&self, tenant: &TenantScope) -> Result<i64> {
        let tx = self.db.read(tenant).await?;
        let newest: Option<i64> = audit::Entity::of_tenant(tenant)
            .select_only()
            .column(audit::Column::Seq)
            .order_by_desc(audit::Column::Seq)
            .into_tuple()
            .one(&*tx)
            .await?;
        Ok(newest.unwrap_or(0))
    }

    /// Checks the whole chain. Gives the number of lines, or where it breaks.
    pub async fn verify_audit(&self, tenant: &TenantScope) -> Result<std::result::Result<u64, String>> {
        let tx = self.db.read(tenant).await?;
        let mut last = 0_i64;
        let mut previous = String::new();
        loop {
            let rows = audit::Entity::of_tenant(tenant)
                .filter(audit::Column::Seq.gt(last))
                .order_by_asc(audit::Column::Seq)
                .limit(PAGE)
                .all(&*tx)
                .await?;
            if rows.is_empty() {
                return Ok(Ok(u64::try_from(last).unwrap_or(0)));
            }
            for row in rows {
                if row.seq != last + 1 {
                    return Ok(Err(format!("line {} is missing", last + 1)));
                }
                if row.previous_hash != previous {
                    return Ok(Err(format!("line {} does not follow line {last}", row.seq)));
                }
                if row.hash != line_hash(tenant, &row) {
                    return Ok(Err(format!("line {} was changed", row.seq)));
                }
                last = row.seq;
                previous = row.hash;
            }
        }
    }
}

/// Appends a line within the caller's transaction. On PostgreSQL the tenant's row serialises the writers.
pub(crate) async fn append(
    tx: &impl ConnectionTrait,
    scope: &TenantScope,
    actor: &str,
    action: &str,
    target: &str,
    detail: Value,
) -> Result<()> {
    tenant::Entity::of_tenant(scope).lock_exclusive().one(tx).await?;
    let last = audit::Entity::of_tenant(scope)
        .order_by_desc(audit::Column::Seq)
        .limit(1)
        .one(tx)
        .await?;
    let (seq, previous_hash) = last.map_or((1, String::new()), |row| (row.seq + 1, row.hash));
    let mut row = audit::Model {
        tenant_id: scope.tenant().clone(),
        seq,
        at: now_ms(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        target: target.to_owned(),
        detail,
        previous_hash,
        hash: String::new(),
    };
    row.hash = line_hash(scope, &row);
    audit::Entity::insert(audit::ActiveModel {
        tenant_id: Set(row.tenant_id),
        seq: Set(row.seq),
        at: Set(row.at),
        actor: Set(row.actor),
        action: Set(row.action),
        target: Set(row.target),
        detail: Set(row.detail),
        previous_hash: Set(row.previous_hash),
        hash: Set(row.hash),
    })
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

fn line_hash(scope: &TenantScope, row: &audit::Model) -> String {
    let mut line = String::new();
    canonical(
        &json!({
            "tenant": scope.tenant(),
            "seq": row.seq,
            "at": row.at,
            "actor": row.actor,
            "action": row.action,
            "target": row.target,
            "detail": row.detail,
            "previous": row.previous_hash,
        }),
        &mut line,
    );
    hex(digest::digest(&digest::SHA256, line.as_bytes()).as_ref())
}

/// JSON with sorted keys and no spaces: the same text for the same value, whatever order it was stored in.
pub(crate) fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::Expr;

    use super::super::testing;
    use super::*;

    #[test]
    fn canonical_text_ignores_the_order_of_keys() {
        let mut out = String::new();
        canonical(&json!({"b": [1, {"d": "x\"", "c": null}], "a": true}), &mut out);
        assert_eq!(out, r#"{"a":true,"b":[1,{"c":null,"d":"x\""}]}"#);
    }

    #[tokio::test]
    async fn the_chain_holds_and_shows_tampering() {
        let server = testing::start().await;
        let tenant = testing::tenant(&server.config, "acme").await;
        let start = server
            .config
            .verify_audit(&tenant)
            .await
            .expect("reads")
            .expect("holds");
        for number in 0..3 {
            let detail = json!({"number": number, "b": {"z": 1, "a": [true]}});
            server
                .config
                .audit(&tenant, "cli", "token.create", "t1", detail)
                .await
                .expect("appends");
        }
        assert_eq!(server.config.verify_audit(&tenant).await.expect("reads"), Ok(start + 3));
        let newest = server.config.list_audit(&tenant, None, 2).await.expect("lists");
        assert_eq!(newest.len(), 2);
        let older = server
            .config
            .list_audit(&tenant, Some(newest[1].seq), 1)
            .await
            .expect("lists");
        assert_eq!(older[0].seq + 1, newest[1].seq);

        let tx = server.db.write(&tenant).await.expect("begins");
        audit::Entity::update_of_tenant(&tenant)
            .col_expr(audit::Column::Actor, Expr::value("somebody"))
            .filter(audit::Column::Seq.eq(older[0].seq))
            .exec(&*tx)
            .await
            .expect("tampers");
        tx.commit().await.expect("commits");
        assert_eq!(
            server.config.verify_audit(&tenant).await.expect("reads"),
            Err(format!("line {} was changed", older[0].seq))
        );

        let tx = server.db.write(&tenant).await.expect("begins");
        audit::Entity::delete_of_tenant(&tenant)
            .filter(audit::Column::Seq.eq(older[0].seq))
            .exec(&*tx)
            .await
            .expect("tampers");
        tx.commit().await.expect("commits");
        assert_eq!(
            server.config.verify_audit(&tenant).await.expect("reads"),
            Err(format!("line {} is missing", older[0].seq))
        );
    }
}
