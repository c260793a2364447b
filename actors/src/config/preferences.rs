//! What clients remember for a user (`users.prefs.*`): values under names, which mean nothing here.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_entities::{Scope, UserOwned, user_pref};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect};
use serde_json::Value;

use super::ConfigService;
use crate::clock::now_ms;
use crate::db::{Transaction, one_by_one};
use crate::error::{Error, Result};

/// Entries of one call, as the original.
pub const MOST_AT_ONCE: usize = 32;
/// Characters of a name, as the original.
const LONGEST_NAME: usize = 256;
/// Bytes of a value as JSON.
const LARGEST: usize = 16 * 1024;
/// Names one user has.
pub const MOST: u64 = 256;

/// What came of setting preferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Something else was stored than the caller thought; nothing was written.
    Conflict,
    /// There would be more than [`MOST`]; nothing was written. Gives how many there are.
    TooMany(u64),
}

impl ConfigService {
    /// The user's preferences of these names, or all of them.
    ///
    /// # Errors
    /// `Invalid` for a name that is none.
    pub async fn preferences(&self, scope: &Scope, names: Option<&[String]>) -> Result<BTreeMap<String, Value>> {
        let mut query = user_pref::Entity::owned_by(scope).limit(MOST);
        if let Some(names) = names {
            if !names.iter().all(|name| writable(name)) {
                return Err(Error::invalid("invalid-key"));
            }
            query = query.filter(user_pref::Column::Name.is_in(names.iter().map(String::as_str)));
        }
        let rows = query.all(&self.db.glance(scope).await?).await?;
        Ok(rows.into_iter().map(|row| (row.name, stored(&row.value))).collect())
    }

    /// Sets preferences, all or none; a null takes one out. With `expected`, only while those are stored.
    ///
    /// # Errors
    /// `Invalid` for too many at once, a name that is none, and a value that is too large.
    pub async fn set_preferences(
        &self,
        scope: &Scope,
        entries: &BTreeMap<String, Value>,
        expected: &BTreeMap<String, Value>,
    ) -> Result<Written> {
        if entries.len() > MOST_AT_ONCE || expected.len() > MOST_AT_ONCE {
            return Err(Error::invalid("invalid-entry-count"));
        }
        let mut values = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            if name.is_empty() || name.chars().count() > LONGEST_NAME || !writable(name) {
                return Err(Error::invalid("invalid-key"));
            }
            let text = value.to_string();
            if text.len() > LARGEST {
                return Err(Error::invalid(format!("{name}: value-too-large")));
            }
            values.push((name.clone(), text));
        }
        if !expected.keys().all(|name| writable(name)) {
            return Err(Error::invalid("invalid-key"));
        }
        let wish = Arc::new(Wish {
            values,
            expected: expected.clone(),
        });
        let scope_in = scope.clone();
        let work = self.writer.run(scope, move |tx| {
            let (scope, wish) = (scope_in.clone(), wish.clone());
            Box::pin(async move { write(tx, &scope, &wish).await })
        });
        work.await
    }
}

/// What is to be set, checked.
struct Wish {
    /// In the order of their names.
    values: Vec<(String, String)>,
    expected: BTreeMap<String, Value>,
}

async fn write(tx: &Transaction, scope: &Scope, wish: &Wish) -> Result<Written> {
    // What was read stays so until the commit.
    one_by_one(tx, scope).await?;
    let names = wish.values.iter().map(|(name, _)| name);
    let asked: Vec<&str> = names.chain(wish.expected.keys()).map(String::as_str).collect();
    let rows = user_pref::Entity::owned_by(scope)
        .filter(user_pref::Column::Name.is_in(asked))
        .all(tx)
        .await?;
    let known: BTreeMap<&str, Value> = rows.iter().map(|row| (row.name.as_str(), stored(&row.value))).collect();
    let is = |name: &str, value: &Value| known.get(name).unwrap_or(&Value::Null) == value;
    if wish.expected.iter().any(|(name, value)| !is(name, value)) {
        return Ok(Written::Conflict);
    }
    let all = user_pref::Entity::owned_by(scope).count(tx).await?;
    let (gone, set): (Vec<_>, Vec<_>) = wish.values.iter().partition(|(_, text)| text == "null");
    let there = |some: &[&(String, String)], is: bool| {
        let alike = some.iter().filter(|(name, _)| known.contains_key(name.as_str()) == is);
        alike.count() as u64
    };
    let (fewer, more) = (there(&gone, true), there(&set, false));
    if more > 0 && all + more > MOST + fewer {
        return Ok(Written::TooMany(all));
    }
    if !gone.is_empty() {
        user_pref::Entity::delete_owned(scope)
            .filter(user_pref::Column::Name.is_in(gone.iter().map(|(name, _)| name.as_str())))
            .exec(tx)
            .await?;
    }
    if !set.is_empty() {
        let now = now_ms();
        let rows = set.into_iter().map(|(name, text)| user_pref::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            name: Set(name.clone()),
            value: Set(text.clone()),
            updated_at: Set(now),
        });
        let key = [
            user_pref::Column::TenantId,
            user_pref::Column::UserId,
            user_pref::Column::Name,
        ];
        let replaced = OnConflict::columns(key)
            .update_columns([user_pref::Column::Value, user_pref::Column::UpdatedAt])
            .to_owned();
        user_pref::Entity::insert_many(rows)
            .on_conflict(replaced)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(Written::Done)
}

/// PostgreSQL stores no NUL, and no name needs its like.
fn writable(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

/// Only JSON was written.
fn stored(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::identity::Role;
    use super::super::testing;
    use super::*;

    fn map(value: Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value).expect("an object")
    }

    #[tokio::test]
    async fn what_is_set_is_set_whole_or_not_at_all() {
        let server = testing::start().await;
        let config = &server.config;
        let tenant = testing::tenant(config, "acme").await;
        let ada = testing::user(config, &tenant, "ada@acme.test", Role::Owner).await;
        let bob = testing::user(config, &tenant, "bob@acme.test", Role::Member).await;
        let none = BTreeMap::new();
        let set =
            async |entries: Value, expected: Value| config.set_preferences(&ada, &map(entries), &map(expected)).await;
        let first = set(json!({"theme": "dark", "size": 3}), json!({})).await;
        assert_eq!(first.expect("sets"), Written::Done);
        // Somebody else changed it meanwhile, or it was not there.
        for expected in [json!({"theme": "light"}), json!({"nothing": 1}), json!({"theme": null})] {
            let late = set(json!({"size": 4}), expected).await;
            assert_eq!(late.expect("answers"), Written::Conflict);
        }
        let right = set(
            json!({"size": null, "new": [1]}),
            json!({"theme": "dark", "absent": null}),
        )
        .await;
        assert_eq!(right.expect("sets"), Written::Done);
        let all = config.preferences(&ada, None).await.expect("reads");
        assert_eq!(all, map(json!({"theme": "dark", "new": [1]})));
        let some = config
            .preferences(&ada, Some(&["new".to_owned()]))
            .await
            .expect("reads");
        assert_eq!(some, map(json!({"new": [1]})));
        assert_eq!(config.preferences(&bob, None).await.expect("reads"), none);
        for bad in [
            json!({"": 1}),
            json!({"x": "y".repeat(LARGEST)}),
            json!({"a\u{0}": 1}),
            json!({"a\nb": 1}),
        ] {
            assert!(matches!(set(bad, json!({})).await, Err(Error::Invalid(_))));
        }
        let odd = set(json!({}), json!({"a\u{0}": null})).await;
        assert!(matches!(odd, Err(Error::Invalid(_))));
        let odd = config.preferences(&ada, Some(&["\u{0}".to_owned()])).await;
        assert!(matches!(odd, Err(Error::Invalid(_))));
        let many: BTreeMap<String, Value> = (0..=MOST_AT_ONCE).map(|n| (n.to_string(), json!(n))).collect();
        let many = config.set_preferences(&ada, &many, &none).await;
        assert!(matches!(many, Err(Error::Invalid(_))));
    }

    #[tokio::test]
    async fn of_two_who_expect_the_same_one_is_late() {
        let server = testing::start().await;
        let tenant = testing::tenant(&server.config, "acme").await;
        let ada = testing::user(&server.config, &tenant, "ada@acme.test", Role::Owner).await;
        let other = server.another_process();
        for round in 0..20 {
            let before = if round == 0 { Value::Null } else { json!(round - 1) };
            let (entries, expected) = (map(json!({"n": round})), map(json!({"n": before})));
            let (one, two) = tokio::join!(
                server.config.set_preferences(&ada, &entries, &expected),
                other.set_preferences(&ada, &entries, &expected),
            );
            let both = [one.expect("answers"), two.expect("answers")];
            let done = both.iter().filter(|written| **written == Written::Done).count();
            assert_eq!(done, 1, "{round}: {both:?}");
            assert!(both.contains(&Written::Conflict), "{round}: {both:?}");
        }
    }

    #[tokio::test]
    async fn a_user_has_so_many_and_no_more() {
        let server = testing::start().await;
        let tenant = testing::tenant(&server.config, "acme").await;
        let ada = testing::user(&server.config, &tenant, "ada@acme.test", Role::Owner).await;
        let none = BTreeMap::new();
        let page = |from: u64| (from..from + 32).map(|n| (format!("k{n}"), json!(n))).collect();
        for at in (0..MOST).step_by(32) {
            let set = server.config.set_preferences(&ada, &page(at), &none).await;
            assert_eq!(set.expect("sets"), Written::Done);
        }
        let one_more = server
            .config
            .set_preferences(&ada, &map(json!({"one": 1})), &none)
            .await;
        assert_eq!(one_more.expect("answers"), Written::TooMany(MOST));
        // Those there are can be changed, and one may take another's place.
        for entries in [json!({"k0": "changed"}), json!({"k1": null, "one": 1})] {
            let set = server.config.set_preferences(&ada, &map(entries), &none).await;
            assert_eq!(set.expect("sets"), Written::Done);
        }
    }
}
