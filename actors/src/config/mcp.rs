//! MCP servers of a user: changed entry by entry, opened with their headers, and what their tools said of themselves when
//! they were taken on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use claw_entities::{Scope, TenantScope, UserOwned, mcp_tool};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Map, Value, json};

use super::document::{MOST_MCP_SERVERS, McpServer, McpSettings, REDACTED, hash};
use super::{ConfigService, audit, schema, secrets};
use crate::clock::now_ms;
use crate::crypto::Secret;
use crate::error::{Error, Result};
use crate::ports::servers::{OfferedTool, ServerAccess};

/// Longest header value, bytes.
const LONGEST_VALUE: usize = 8 * 1024;
/// Headers of one server.
const MOST_HEADERS: usize = 20;
/// Characters of a server's name.
const LONGEST_NAME: usize = 64;
/// Tools of one server that are remembered: one that offers others each time is not followed for ever.
const MOST_TOOLS: usize = 512;

/// A change of one entry. What is `None` stays as it was.
#[derive(Clone, Debug, Default)]
pub struct McpChange {
    pub url: Option<String>,
    pub enabled: Option<bool>,
    /// By name: an empty value takes the header away. Headers that are not named stay.
    pub headers: BTreeMap<String, Secret>,
    /// Milliseconds; 0 is the default again.
    pub connection_timeout_ms: Option<u64>,
    pub request_timeout_ms: Option<u64>,
    /// Patterns; an empty list is none.
    pub include: Option<Vec<String>>,
    pub exclude: Option<Vec<String>>,
    pub guests: Option<Vec<String>>,
}

/// What is known of a server's tools: by name, what each said of itself.
pub struct Pins {
    place: String,
    hashes: HashMap<String, String>,
}

/// How a tool stands to what it said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it was taken on.
    Known,
    /// Not seen before.
    New,
    /// It says something else now, and waits for the user.
    Changed,
}

impl Pins {
    pub fn standing(&self, tool: &OfferedTool) -> Standing {
        match self.hashes.get(&tool.name) {
            Some(hash) if *hash == tool.hash => Standing::Known,
            Some(_) => Standing::Changed,
            None if self.hashes.len() >= MOST_TOOLS => Standing::Changed,
            None => Standing::New,
        }
    }
}

/// Where a server is, as rows name it.
fn place(server: &McpServer) -> String {
    hash(&json!(server.url))
}

fn prefix(scope: &Scope) -> String {
    format!("user/{}/config", scope.user())
}

impl ConfigService {
    /// What it takes to speak with these servers: their headers, opened.
    pub async fn mcp_access(&self, scope: &Scope, servers: &[Arc<McpServer>]) -> Result<Vec<ServerAccess>> {
        let with = |server: &Arc<McpServer>, headers| ServerAccess {
            scope: scope.clone(),
            server: Arc::clone(server),
            headers,
        };
        if servers.iter().all(|server| server.headers.is_empty()) {
            return Ok(servers.iter().map(|server| with(server, Vec::new())).collect());
        }
        let tenant: &TenantScope = scope.tenant_scope();
        let prefix = prefix(scope);
        let view = self.db.glance(scope).await?;
        let rows = secrets::under(&view, tenant, &format!("{prefix}/mcp/servers/")).await?;
        drop(view);
        let key = self.data_key(tenant).await?;
        let rows: HashMap<&str, _> = rows.iter().map(|row| (row.name.as_str(), row)).collect();
        let mut accesses = Vec::with_capacity(servers.len());
        for server in servers {
            let mut headers = Vec::with_capacity(server.headers.len());
            for header in &server.headers {
                if let Some(row) = rows.get(format!("{prefix}{}", server.pointer(header)).as_str()) {
                    headers.push((header.clone(), key.open(row)?));
                }
            }
            accesses.push(with(server, headers));
        }
        Ok(accesses)
    }

    /// Makes or changes the entry of this name.
    ///
    /// # Errors
    /// `Invalid` when it would not be a valid configuration, `Conflict` when there are too many.
    pub async fn change_mcp_server(&self, scope: &Scope, name: &str, change: McpChange) -> Result<()> {
        let fits = (1..=LONGEST_NAME).contains(&name.chars().count())
            && name.trim() == name
            && name != "__proto__"
            && !name.chars().any(char::is_control);
        if !fits {
            return Err(Error::invalid(format!(
                "a server's name has 1 to {LONGEST_NAME} characters on one line"
            )));
        }
        for (header, value) in &change.headers {
            if !is_header(header) {
                return Err(Error::invalid(
                    "a header's name has letters, digits and -, and is not one of our own",
                ));
            }
            let value = value.expose();
            if value == REDACTED || value.len() > LONGEST_VALUE || value.bytes().any(|byte| byte < b' ' || byte == 0x7f)
            {
                return Err(Error::invalid("a header's value is one line of at most 8 KiB"));
            }
        }
        self.update_document(scope, |mut doc| {
            let before = schema::check(&doc);
            let servers = section(&mut doc)?;
            if !servers.contains_key(name) && servers.len() >= MOST_MCP_SERVERS {
                return Err(Error::Conflict(format!(
                    "there are {MOST_MCP_SERVERS} servers already; remove one first"
                )));
            }
            let entry = object(servers, name)?;
            apply(entry, change)?;
            if !entry.get("url").is_some_and(Value::is_string) {
                return Err(Error::invalid("a server needs its url"));
            }
            // What was wrong before is not this change's.
            let wrong = schema::check(&doc).into_iter();
            let mut wrong = wrong.filter(|issue| issue.weight == schema::Weight::Refused && !before.contains(issue));
            match wrong.next() {
                Some(issue) => Err(Error::Invalid(format!("{}: {}", issue.path, issue.message))),
                None => Ok(doc),
            }
        })
        .await?;
        Ok(())
    }

    /// Takes the entry of this name away, and what is known of its tools.
    pub async fn delete_mcp_server(&self, scope: &Scope, name: &str) -> Result<()> {
        self.update_document(scope, |mut doc| match section(&mut doc)?.remove(name) {
            Some(_) => Ok(doc),
            None => Err(Error::NotFound { what: "MCP server" }),
        })
        .await?;
        let tx = self.db.write(scope).await?;
        mcp_tool::Entity::delete_owned(scope)
            .filter(mcp_tool::Column::Server.eq(name))
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// What is known of the tools of these servers, in their order.
    pub async fn mcp_pins(&self, scope: &Scope, servers: &[Arc<McpServer>]) -> Result<Vec<Pins>> {
        let view = self.db.glance(scope).await?;
        let rows = mcp_tool::Entity::owned_by(scope)
            .filter(mcp_tool::Column::Server.is_in(servers.iter().map(|server| server.name.as_str())))
            .all(&view)
            .await?;
        drop(view);
        let mut pins: Vec<Pins> = servers
            .iter()
            .map(|server| Pins {
                place: place(server),
                hashes: HashMap::new(),
            })
            .collect();
        for row in rows {
            let at = servers.iter().position(|server| server.name == row.server);
            if let Some(pins) = at
                .and_then(|at| pins.get_mut(at))
                .filter(|pins| pins.place == row.place)
            {
                pins.hashes.insert(row.tool, row.hash);
            }
        }
        Ok(pins)
    }

    /// Takes on tools that were not seen before. One that somebody took on meanwhile stays as they took it.
    pub async fn pin_mcp_tools(&self, scope: &Scope, server: &McpServer, tools: &[&OfferedTool]) -> Result<()> {
        let settings = self.settings(scope).await?;
        let tx = self.db.write(scope).await?;
        // Rows of servers that are gone, or were elsewhere, are nobody's.
        mcp_tool::Entity::delete_owned(scope)
            .filter(mcp_tool::Column::Server.is_not_in(names(&settings.mcp, server)))
            .exec(&*tx)
            .await?;
        mcp_tool::Entity::delete_owned(scope)
            .filter(mcp_tool::Column::Server.eq(server.name.as_str()))
            .filter(mcp_tool::Column::Place.ne(place(server)))
            .exec(&*tx)
            .await?;
        insert(&*tx, scope, server, tools).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes on all tools of a server as they are now, in place of what was known.
    pub async fn approve_mcp_tools(&self, scope: &Scope, server: &McpServer, tools: &[&OfferedTool]) -> Result<()> {
        let tx = self.change(scope).await?;
        mcp_tool::Entity::delete_owned(scope)
            .filter(mcp_tool::Column::Server.eq(server.name.as_str()))
            .exec(&*tx)
            .await?;
        insert(&*tx, scope, server, tools).await?;
        let detail = json!({ "tools": tools.len() });
        let (tenant, actor) = (scope.tenant_scope(), self.actor_or(scope));
        audit::append(&*tx, tenant, actor, "mcp-server.approve", &server.name, detail).await?;
        self.changed(tx).await
    }
}

fn names(settings: &McpSettings, server: &McpServer) -> HashSet<String> {
    let others = settings.servers.iter().map(|server| server.name.clone());
    others.chain([server.name.clone()]).collect()
}

async fn insert(
    tx: &impl sea_orm::ConnectionTrait,
    scope: &Scope,
    server: &McpServer,
    tools: &[&OfferedTool],
) -> Result<()> {
    if tools.is_empty() {
        return Ok(());
    }
    let now = now_ms();
    let rows = tools.iter().map(|tool| mcp_tool::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        server: Set(server.name.clone()),
        tool: Set(tool.name.clone()),
        place: Set(place(server)),
        hash: Set(tool.hash.clone()),
        created_at: Set(now),
    });
    mcp_tool::Entity::insert_many(rows)
        .on_conflict(
            OnConflict::columns([
                mcp_tool::Column::TenantId,
                mcp_tool::Column::UserId,
                mcp_tool::Column::Server,
                mcp_tool::Column::Tool,
            ])
            .do_nothing()
            .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// `mcp.servers`, made where it is missing.
fn section(doc: &mut Value) -> Result<&mut Map<String, Value>> {
    let doc = doc
        .as_object_mut()
        .ok_or_else(|| Error::invalid("the configuration is an object"))?;
    object(object(doc, "mcp")?, "servers")
}

fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Map<String, Value>> {
    let value = map.entry(key).or_insert_with(|| json!({}));
    value
        .as_object_mut()
        .ok_or_else(|| Error::Invalid(format!("{key} in the configuration is not an object")))
}

fn apply(entry: &mut Map<String, Value>, change: McpChange) -> Result<()> {
    if let Some(url) = change.url {
        entry.insert("url".to_owned(), json!(url.trim()));
        entry.entry("transport").or_insert_with(|| json!("streamable-http"));
    }
    if let Some(enabled) = change.enabled {
        entry.insert("enabled".to_owned(), json!(enabled));
    }
    for (key, millis) in [
        ("connectionTimeoutMs", change.connection_timeout_ms),
        ("requestTimeoutMs", change.request_timeout_ms),
    ] {
        match millis {
            Some(0) => drop(entry.remove(key)),
            Some(millis) => drop(entry.insert(key.to_owned(), json!(millis))),
            None => {}
        }
    }
    if change.include.is_some() || change.exclude.is_some() {
        let filter = object(entry, "toolFilter")?;
        list(filter, "include", change.include);
        list(filter, "exclude", change.exclude);
        if filter.is_empty() {
            entry.remove("toolFilter");
        }
    }
    list(entry, "guests", change.guests);
    if !change.headers.is_empty() {
        let headers = object(entry, "headers")?;
        for (name, value) in change.headers {
            // Names of headers know no case.
            headers.retain(|known, _| !known.eq_ignore_ascii_case(&name));
            if !value.expose().is_empty() {
                headers.insert(name, json!(value.expose()));
            }
        }
        if headers.len() > MOST_HEADERS {
            return Err(Error::invalid(format!("a server has at most {MOST_HEADERS} headers")));
        }
        if headers.is_empty() {
            entry.remove("headers");
        }
    }
    Ok(())
}

fn list(map: &mut Map<String, Value>, key: &str, patterns: Option<Vec<String>>) {
    match patterns {
        Some(patterns) if patterns.is_empty() => drop(map.remove(key)),
        Some(patterns) => drop(map.insert(key.to_owned(), json!(patterns))),
        None => {}
    }
}

/// A header a user may set: none that the transport or the protocol owns.
fn is_header(name: &str) -> bool {
    const OURS: [&str; 12] = [
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "last-event-id",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let small = name.to_ascii_lowercase();
    (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !OURS.contains(&small.as_str())
        && !small.starts_with("mcp-")
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn change(url: &str) -> McpChange {
        McpChange {
            url: Some(url.to_owned()),
            ..McpChange::default()
        }
    }

    fn header(name: &str, value: &str) -> McpChange {
        McpChange {
            headers: BTreeMap::from([(name.to_owned(), Secret::new(value))]),
            ..McpChange::default()
        }
    }

    fn tool(name: &str, hash: &str) -> OfferedTool {
        OfferedTool {
            name: name.to_owned(),
            title: None,
            description: String::new(),
            parameters: json!({}),
            read_only: false,
            hash: hash.to_owned(),
        }
    }

    #[tokio::test]
    async fn headers_are_sealed_kept_and_not_taken_to_another_address() {
        let server = testing::start().await;
        let (config, owner) = (&server.config, testing::owner(&server.config).await);
        config
            .change_mcp_server(&owner, "docs", change("https://docs.example/mcp"))
            .await
            .expect("makes");
        config
            .change_mcp_server(&owner, "docs", header("Authorization", "Bearer s3cret"))
            .await
            .expect("adds");
        let stored = config.document(&owner).await.expect("reads").doc;
        assert!(!stored.to_string().contains("s3cret"), "{stored}");
        assert_eq!(stored["mcp"]["servers"]["docs"]["headers"]["Authorization"], REDACTED);
        let settings = config.settings(&owner).await.expect("reads");
        let access = config.mcp_access(&owner, &settings.mcp.servers).await.expect("opens");
        assert_eq!(
            access[0].headers,
            [("Authorization".to_owned(), Secret::new("Bearer s3cret"))]
        );
        // The same place under another path keeps them; another place does not.
        config
            .change_mcp_server(&owner, "docs", change("https://docs.example/v2"))
            .await
            .expect("moves within");
        let refused = config
            .change_mcp_server(&owner, "docs", change("https://evil.example/mcp"))
            .await;
        assert!(
            matches!(&refused, Err(Error::Invalid(why)) if why.contains("another address")),
            "{refused:?}"
        );
        let both = McpChange {
            url: change("https://new.example/").url,
            ..header("authorization", "other")
        };
        config
            .change_mcp_server(&owner, "docs", both)
            .await
            .expect("moves with a new value");
        let settings = config.settings(&owner).await.expect("reads");
        assert_eq!(settings.mcp.servers[0].headers, ["authorization"]);
        config
            .change_mcp_server(&owner, "docs", header("AUTHORIZATION", ""))
            .await
            .expect("takes away");
        assert!(
            config.settings(&owner).await.expect("reads").mcp.servers[0]
                .headers
                .is_empty()
        );
        config.delete_mcp_server(&owner, "docs").await.expect("deletes");
        let gone = config.delete_mcp_server(&owner, "docs").await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    }

    #[tokio::test]
    async fn what_is_no_server_is_refused() {
        let server = testing::start().await;
        let (config, owner) = (&server.config, testing::owner(&server.config).await);
        for (name, bad) in [
            ("", change("https://docs.example/")),
            ("a\nb", change("https://docs.example/")),
            ("__proto__", change("https://docs.example/")),
            ("docs", McpChange::default()),
            ("docs", change("npx server")),
            ("docs", change("https://me:pw@docs.example/")),
            (
                "docs",
                McpChange {
                    url: change("https://docs.example/").url,
                    ..header("Host", "x")
                },
            ),
            (
                "docs",
                McpChange {
                    url: change("https://docs.example/").url,
                    ..header("Mcp-Session-Id", "x")
                },
            ),
            (
                "docs",
                McpChange {
                    url: change("https://docs.example/").url,
                    ..header("X-A", "a\r\nX-B: c")
                },
            ),
            (
                "docs",
                McpChange {
                    url: change("https://docs.example/").url,
                    ..header("X-A", REDACTED)
                },
            ),
        ] {
            let refused = config.change_mcp_server(&owner, name, bad.clone()).await;
            assert!(
                matches!(refused, Err(Error::Invalid(_))),
                "{name:?} {bad:?}: {refused:?}"
            );
        }
        assert_eq!(config.document(&owner).await.expect("reads").doc, json!({}));
        for number in 0..MOST_MCP_SERVERS {
            config
                .change_mcp_server(&owner, &format!("s{number}"), change("https://s.example/"))
                .await
                .expect("makes");
        }
        let one_more = config
            .change_mcp_server(&owner, "more", change("https://s.example/"))
            .await;
        assert!(matches!(one_more, Err(Error::Conflict(_))), "{one_more:?}");
    }

    #[tokio::test]
    async fn a_tool_that_says_something_else_waits_and_each_user_has_their_own() {
        let server = testing::start().await;
        let (config, owner) = (&server.config, testing::owner(&server.config).await);
        let other = testing::tenant(config, "beta").await;
        let other = Scope::vouch(other.tenant().clone(), owner.user().clone());
        config
            .change_mcp_server(&owner, "docs", change("https://docs.example/"))
            .await
            .expect("makes");
        let servers = config.settings(&owner).await.expect("reads").mcp.servers.clone();
        let pins = async |scope: &Scope| config.mcp_pins(scope, &servers).await.expect("reads").remove(0);
        let (old, new) = (tool("search", "1"), tool("search", "2"));
        assert_eq!(pins(&owner).await.standing(&old), Standing::New);
        config.pin_mcp_tools(&owner, &servers[0], &[&old]).await.expect("pins");
        assert_eq!(pins(&owner).await.standing(&old), Standing::Known);
        assert_eq!(pins(&owner).await.standing(&new), Standing::Changed);
        assert_eq!(
            pins(&other).await.standing(&old),
            Standing::New,
            "another tenant's are their own"
        );
        // Pinning again does not let the change in; the user does.
        config.pin_mcp_tools(&owner, &servers[0], &[&new]).await.expect("pins");
        assert_eq!(pins(&owner).await.standing(&new), Standing::Changed);
        config
            .approve_mcp_tools(&owner, &servers[0], &[&new])
            .await
            .expect("approves");
        assert_eq!(pins(&owner).await.standing(&new), Standing::Known);
        assert_eq!(pins(&owner).await.standing(&old), Standing::Changed);
        // At another address it is another server.
        config
            .change_mcp_server(&owner, "docs", change("https://other.example/"))
            .await
            .expect("moves");
        let servers = config.settings(&owner).await.expect("reads").mcp.servers.clone();
        let moved = config.mcp_pins(&owner, &servers).await.expect("reads").remove(0);
        assert_eq!(moved.standing(&old), Standing::New);
    }
}
