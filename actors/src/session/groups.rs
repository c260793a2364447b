//! Groups of sessions (`sessions.groups.*`): their names and order. Which session is in which is the session's own
//! `category`, so a group that nobody made is there as long as a session is in it.

use claw_entities::{Scope, UserOwned, session, session_groups};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use serde_json::{Value, json};

use crate::Services;
use crate::clock::now_ms;
use crate::config::devices::strings;
use crate::conversation::transcript::merged;
use crate::db::{Transaction, one_by_one};
use crate::error::{Error, Result};
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::fenced;

/// Groups a user has, and sections of one order.
pub(crate) const MOST: usize = 200;
/// Characters of a name, as the original.
pub(crate) const LONGEST: usize = 512;

/// What there is, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) names: Vec<String>,
    pub(crate) section_order: Vec<String>,
}

/// The user's groups: those that were made, then those that only sessions name.
pub(crate) async fn list(services: &Services, scope: &Scope) -> Result<Groups> {
    let tx = services.db.read(scope).await?;
    all(&*tx, scope).await
}

/// Makes the groups these, in this order. Without `section_order` that stays.
///
/// # Errors
/// `Invalid` when a group that is left out still has sessions, or there are too many.
pub(crate) async fn put(
    directory: &Directory,
    scope: &Scope,
    names: Vec<String>,
    section_order: Option<Vec<String>>,
) -> Result<Groups> {
    let wanted = clean(names)?;
    let sections = section_order.map(clean).transpose()?;
    change(directory, scope, move |mut stored, used| {
        if let Some(left) = used.iter().find(|name| !wanted.contains(name)) {
            return Err(Error::invalid(format!("session group is not empty: {left}")));
        }
        stored.names.clone_from(&wanted);
        if let Some(sections) = &sections {
            stored.section_order.clone_from(sections);
        }
        Ok((stored, None))
    })
    .await
    .map(|(groups, _)| groups)
}

/// Gives a group another name; where a group has that already, the two become one. Gives how many sessions moved.
///
/// # Errors
/// `Invalid` when there is no such group.
pub(crate) async fn rename(directory: &Directory, scope: &Scope, from: &str, to: &str) -> Result<(Groups, u64)> {
    let (from, to) = (there(from)?, one(to)?);
    change(directory, scope, move |stored, used| {
        if !stored.names.contains(&from) && !used.contains(&from) {
            return Err(Error::invalid(format!("unknown session group: {from}")));
        }
        let renamed = |names: Vec<String>| {
            let mut kept: Vec<String> = Vec::with_capacity(names.len());
            for name in names {
                let name = if name == from { to.clone() } else { name };
                if !kept.contains(&name) {
                    kept.push(name);
                }
            }
            kept
        };
        let mut names = renamed(stored.names);
        if !names.contains(&to) {
            names.push(to.clone());
        }
        let groups = Groups {
            names,
            section_order: renamed(stored.section_order),
        };
        Ok((groups, Some((from.clone(), Some(to.clone())))))
    })
    .await
}

/// Takes a group away; its sessions are in none then. Gives how many those were.
///
/// # Errors
/// `Invalid` for a name that is none.
pub(crate) async fn delete(directory: &Directory, scope: &Scope, name: &str) -> Result<(Groups, u64)> {
    let name = there(name)?;
    change(directory, scope, move |mut stored, _| {
        stored.names.retain(|kept| *kept != name);
        stored.section_order.retain(|kept| *kept != name);
        Ok((stored, Some((name.clone(), None))))
    })
    .await
}

/// Sessions of the first group go to the second, or to none.
type Move = (String, Option<String>);

/// Changes what is stored by what is stored and what sessions name, in one commit with the sessions that move.
async fn change<F>(directory: &Directory, scope: &Scope, decide: F) -> Result<(Groups, u64)>
where
    F: Fn(Groups, Vec<String>) -> Result<(Groups, Option<Move>)> + Clone + Send + Sync + 'static,
{
    let work = |epoch| {
        let (scope_in, decide) = (scope.clone(), decide.clone());
        directory.services().writer.run(scope, move |tx| {
            let (scope, decide) = (scope_in.clone(), decide.clone());
            Box::pin(async move {
                // Two changes at once come one after the other.
                one_by_one(tx, &scope).await?;
                fenced(tx, &scope, epoch).await?.run(tx).await?;
                // A refusal is a value: an error would undo what others commit along with this.
                let (groups, moves) = match decide(stored(tx, &scope).await?, used(tx, &scope).await?) {
                    Ok(decided) => decided,
                    Err(refused) => return Ok(Err(refused)),
                };
                if groups.names.len() > MOST {
                    return Ok(Err(Error::invalid(format!("too many session groups (max {MOST})"))));
                }
                store(tx, &scope, &groups).await?;
                let moved = match moves {
                    Some((from, to)) => regroup(tx, &scope, &from, to.as_deref()).await?,
                    None => 0,
                };
                Ok(Ok((all(tx, &scope).await?, moved)))
            })
        })
    };
    directory.leases().under(scope, work).await?
}

async fn all(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Groups> {
    let mut groups = stored(tx, scope).await?;
    for name in used(tx, scope).await? {
        if !groups.names.contains(&name) {
            groups.names.push(name);
        }
    }
    Ok(groups)
}

async fn stored(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Groups> {
    let row = session_groups::Entity::owned_by(scope).one(tx).await?;
    Ok(row.map_or_else(Groups::default, |row| Groups {
        names: strings(&row.names),
        section_order: strings(&row.section_order),
    }))
}

/// Groups that sessions are in, by name.
async fn used(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Vec<String>> {
    let mut names: Vec<String> = session::Entity::owned_by(scope)
        .select_only()
        .column_as(Expr::cust(CATEGORY), "category")
        .filter(Expr::cust(format!("{CATEGORY} IS NOT NULL")))
        .distinct()
        .limit(2 * MOST as u64)
        .into_tuple()
        .all(tx)
        .await?;
    // An order of texts is the database's.
    names.sort_unstable();
    Ok(names)
}

/// Both databases read a field this way.
const CATEGORY: &str = r#""session"."entry"->>'category'"#;

async fn store(tx: &Transaction, scope: &Scope, groups: &Groups) -> Result<()> {
    let row = session_groups::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        names: Set(json!(groups.names)),
        section_order: Set(json!(groups.section_order)),
        updated_at: Set(now_ms()),
    };
    let replaced = OnConflict::columns([session_groups::Column::TenantId, session_groups::Column::UserId])
        .update_columns([
            session_groups::Column::Names,
            session_groups::Column::SectionOrder,
            session_groups::Column::UpdatedAt,
        ])
        .to_owned();
    session_groups::Entity::insert(row)
        .on_conflict(replaced)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

async fn regroup(tx: &Transaction, scope: &Scope, from: &str, to: Option<&str>) -> Result<u64> {
    let fields = json!({"category": to});
    let moved = session::Entity::update_owned(scope)
        .col_expr(session::Column::Entry, merged(tx.get_database_backend(), fields))
        .filter(Expr::cust_with_values(
            if tx.get_database_backend() == sea_orm::DbBackend::Postgres {
                format!("{CATEGORY} = $1")
            } else {
                format!("{CATEGORY} = ?")
            },
            [from],
        ))
        .exec(tx)
        .await?;
    Ok(moved.rows_affected)
}

/// A name that a group may get.
fn one(name: &str) -> Result<String> {
    let name = there(name)?;
    if name.chars().any(char::is_control) {
        return Err(Error::invalid("a session group's name has no control characters"));
    }
    Ok(name)
}

/// A name that a group may have already: sessions name any. No database has one with a NUL.
fn there(name: &str) -> Result<String> {
    let name = name.trim();
    if name.contains('\0') {
        return Err(Error::invalid("a session group's name has no control characters"));
    }
    if name.is_empty() || name.chars().count() > LONGEST {
        return Err(Error::invalid(format!(
            "a session group's name has 1 to {LONGEST} characters"
        )));
    }
    Ok(name.to_owned())
}

/// Each name once.
fn clean(names: Vec<String>) -> Result<Vec<String>> {
    if names.len() > MOST {
        return Err(Error::invalid(format!("too many session groups (max {MOST})")));
    }
    let mut kept: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let name = one(&name)?;
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    Ok(kept)
}

/// As clients list them.
pub(crate) fn view(groups: &Groups) -> Value {
    let listed = groups.names.iter().zip(0_u64..);
    let listed: Vec<Value> = listed
        .map(|(name, position)| json!({"name": name, "position": position}))
        .collect();
    json!({"groups": listed, "sectionOrder": groups.section_order})
}
