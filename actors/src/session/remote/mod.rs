//! Tools of the user's MCP servers in a run: gathered when it begins, under the same policy as any other, and absent
//! while their server is away. A server that is away breaks no turn; the model is told, so that it can tell the person.

pub mod words;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_entities::Scope;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use super::blobs;
use super::tool_policy::{self, Caller};
use crate::Services;
use crate::config::document::{McpServer, UserSettings, hash};
use crate::config::mcp::{Pins, Standing};
use crate::error::{Error, Result};
use crate::ports::message::Part;
use crate::ports::servers::{FailureClass, Offer, OfferedTool, ServerFailure, ToolServers};
use crate::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};

/// Largest image that is kept, bytes, and how many of one result.
const LARGEST_IMAGE: usize = 6 * 1024 * 1024;
const MOST_IMAGES: usize = 8;

/// The tools of one run, and which servers have none for it.
#[derive(Default)]
pub(crate) struct Remote {
    tools: Vec<Arc<RemoteTool>>,
    away: Vec<String>,
}

impl Remote {
    /// Those of a user's servers that this caller may use at all. Servers that nothing is known of yet are waited for
    /// as long as `patience`.
    pub(crate) async fn gather(
        services: &Services,
        scope: &Scope,
        settings: &UserSettings,
        caller: &Caller,
        patience: Duration,
    ) -> Self {
        let servers = settings.mcp.servers.iter().filter(|server| {
            let theirs = caller.audience.speaks_with_owner() || !server.guests.is_empty();
            server.enabled && theirs && !tool_policy::denies_all(settings, caller, &server.prefix)
        });
        let servers: Vec<Arc<McpServer>> = servers.cloned().collect();
        let Some(port) = services.ports.servers().filter(|_| !servers.is_empty()) else {
            return Self::default();
        };
        match offered(services, port, scope, &servers, patience).await {
            Ok(offers) => Self::of(services, offers, caller),
            Err(error) => {
                tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "MCP servers could not be looked up");
                let all = "None of the MCP servers can be used right now.".to_owned();
                Self {
                    tools: Vec::new(),
                    away: vec![all],
                }
            }
        }
    }

    fn of(services: &Services, offers: Vec<(Arc<McpServer>, Judged)>, caller: &Caller) -> Self {
        let mut found = Self::default();
        let mut taken = HashSet::new();
        for (server, judged) in offers {
            let name = words::plain(&server.name, 64);
            let Held { offer, held } = match judged {
                Ok(judged) => judged,
                Err(failure) => {
                    found.away.push(format!("The MCP server {name} {failure}."));
                    continue;
                }
            };
            if !held.is_empty() {
                found.away.push(format!(
                    "{} of the MCP server {name} now say something else of themselves than before. They wait until the \
                     user looks at them under MCP servers in the settings.",
                    match held.len() {
                        1 => "1 tool".to_owned(),
                        count => format!("{count} tools"),
                    }
                ));
            }
            for tool in &offer.tools {
                // Also of those that are not offered: a name stays the same tool's while the list is the same.
                let called = words::name(&mut taken, &server.prefix, &tool.name);
                if !held.contains(&tool.name) {
                    found
                        .tools
                        .push(Arc::new(RemoteTool::new(services, &server, tool, called)));
                }
            }
        }
        // What is wrong with the owner's servers is no business of others.
        if !caller.audience.speaks_with_owner() {
            found.away.clear();
        }
        found
    }

    pub(crate) fn tools(&self) -> impl Iterator<Item = &dyn Tool> {
        self.tools.iter().map(|tool| tool.as_ref() as &dyn Tool)
    }

    /// The tool of this name, if its server is still as it was when the run began.
    pub(crate) fn tool(&self, name: &str, settings: &UserSettings) -> Option<Arc<dyn Tool>> {
        let tool = self.tools.iter().find(|tool| tool.spec.name == name)?;
        let now = settings.mcp.server(&tool.server.name);
        let same = now.is_some_and(|now| *now == tool.server);
        same.then(|| Arc::clone(tool) as Arc<dyn Tool>)
    }

    /// By server, in the order of names: what it is called, and its tools.
    pub(crate) fn groups(&self) -> Vec<(&str, Vec<&ToolSpec>)> {
        let mut groups: Vec<(&str, Vec<&ToolSpec>)> = Vec::new();
        for tool in &self.tools {
            match groups.last_mut() {
                Some((server, specs)) if *server == tool.server.name => specs.push(&tool.spec),
                Some(_) | None => groups.push((&tool.server.name, vec![&tool.spec])),
            }
        }
        groups
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.spec.name == name)
    }

    /// Sentences for the model.
    pub(crate) fn away(&self) -> &[String] {
        &self.away
    }
}

/// An offer, and the names of tools that wait for the user.
struct Held {
    offer: Arc<Offer>,
    held: HashSet<String>,
}

type Judged = std::result::Result<Held, ServerFailure>;

/// What each server offers. Tools that were not seen before are taken on; those that changed are held back.
async fn offered(
    services: &Services,
    port: &Arc<dyn ToolServers>,
    scope: &Scope,
    servers: &[Arc<McpServer>],
    patience: Duration,
) -> Result<Vec<(Arc<McpServer>, Judged)>> {
    let accesses = services.config.mcp_access(scope, servers).await?;
    let asked = accesses.iter().map(|access| port.offer(access, patience, false));
    let (offers, pins) = futures::join!(join_all(asked), services.config.mcp_pins(scope, servers));
    let mut judged = Vec::with_capacity(servers.len());
    for ((server, offer), pins) in servers.iter().zip(offers).zip(pins?) {
        let outcome = match offer {
            Ok(offer) => Ok(take_on(services, scope, server, offer, &pins).await?),
            Err(failure) => Err(failure),
        };
        judged.push((Arc::clone(server), outcome));
    }
    Ok(judged)
}

/// Tells apart what is known, new and changed, and takes the new ones on.
async fn take_on(
    services: &Services,
    scope: &Scope,
    server: &McpServer,
    offer: Arc<Offer>,
    pins: &Pins,
) -> Result<Held> {
    let (mut new, mut held) = (Vec::new(), HashSet::new());
    for tool in &offer.tools {
        match pins.standing(tool) {
            Standing::Known => {}
            Standing::New => new.push(tool),
            Standing::Changed => {
                held.insert(tool.name.clone());
            }
        }
    }
    if !new.is_empty() {
        services.config.pin_mcp_tools(scope, server, &new).await?;
    }
    Ok(Held { offer, held })
}

/// A server as its owner sees it.
pub struct Look {
    pub offer: Arc<Offer>,
    /// Names of tools that wait for the user.
    pub held: HashSet<String>,
    /// What agents know the tools as, in the offer's order.
    pub called: Vec<String>,
    /// Of all that the tools say of themselves.
    pub fingerprint: String,
}

/// Asks a server of the user's what it offers, whether or not it is on. The inner error is the server's.
///
/// # Errors
/// `NotFound` when there is no server of this name.
pub async fn look(
    services: &Services,
    scope: &Scope,
    name: &str,
    patience: Duration,
    fresh: bool,
) -> Result<std::result::Result<Look, ServerFailure>> {
    let settings = services.config.settings(scope).await?;
    let server = settings
        .mcp
        .server(name)
        .ok_or(Error::NotFound { what: "MCP server" })?;
    let servers = std::slice::from_ref(server);
    let accesses = services.config.mcp_access(scope, servers).await?;
    let (Some(port), Some(access)) = (services.ports.servers(), accesses.first()) else {
        return Ok(Err(FailureClass::Unavailable.into()));
    };
    let offer = match port.offer(access, patience, fresh).await {
        Ok(offer) => offer,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut held = HashSet::new();
    if let Some(pins) = services.config.mcp_pins(scope, servers).await?.first() {
        held = take_on(services, scope, server, Arc::clone(&offer), pins).await?.held;
    }
    let mut taken = HashSet::new();
    let called = offer
        .tools
        .iter()
        .map(|tool| words::name(&mut taken, &server.prefix, &tool.name));
    Ok(Ok(Look {
        called: called.collect(),
        fingerprint: fingerprint(&offer),
        held,
        offer,
    }))
}

/// Takes on all tools of a server as the user saw them.
///
/// # Errors
/// `NotFound` when there is no such server, `Conflict` when it offers something else by now, `Upstream` when it is away.
pub async fn approve(services: &Services, scope: &Scope, name: &str, seen: &str, patience: Duration) -> Result<()> {
    let look = look(services, scope, name, patience, false).await?;
    let look = look.map_err(|failure| Error::Upstream(format!("the server {failure}")))?;
    if look.fingerprint != seen {
        return Err(Error::Conflict(
            "the server offers something else by now; test it again".to_owned(),
        ));
    }
    let settings = services.config.settings(scope).await?;
    let server = settings
        .mcp
        .server(name)
        .ok_or(Error::NotFound { what: "MCP server" })?;
    let tools: Vec<&OfferedTool> = look.offer.tools.iter().collect();
    services.config.approve_mcp_tools(scope, server, &tools).await
}

fn fingerprint(offer: &Offer) -> String {
    hash(&json!(offer.tools.iter().map(|tool| &tool.hash).collect::<Vec<_>>()))
}

/// A tool of a server.
struct RemoteTool {
    spec: Arc<ToolSpec>,
    server: Arc<McpServer>,
    /// As the server calls it.
    name: String,
    services: Services,
}

impl RemoteTool {
    fn new(services: &Services, server: &Arc<McpServer>, tool: &OfferedTool, called: String) -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: called,
                description: words::description(&server.name, tool),
                // No word of the server's own stands in the system prompt.
                summary: format!("a tool of the MCP server {}", server.prefix),
                parameters: words::schema(&tool.parameters).into(),
                effect: if server.only_reads(&tool.name) {
                    Effect::ReadOnly
                } else {
                    Effect::External
                },
                owner_only: !server.is_for_guests(&tool.name),
                // Both have limits of their own, so this one is only for what goes wrong beside.
                timeout: server.connecting + server.calling + Duration::from_secs(5),
            }),
            server: Arc::clone(server),
            name: tool.name.clone(),
            services: services.clone(),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> ToolOutput {
        let Value::Object(arguments) = arguments else {
            return ToolOutput::error("The arguments are not a JSON object.");
        };
        let Some(port) = self.services.ports.servers() else {
            return self.failed(FailureClass::Unavailable.into());
        };
        let servers = std::slice::from_ref(&self.server);
        let access = match self.services.config.mcp_access(&context.scope, servers).await {
            Ok(accesses) => accesses.into_iter().next(),
            Err(_) => None,
        };
        let Some(access) = access else {
            return ToolOutput::error("The call was not made: what the server is sent could not be read.");
        };
        let mut output = match port.call(&access, &self.name, arguments).await {
            Ok(output) => output,
            Err(failure) => return self.failed(failure),
        };
        self.keep_images(&context.scope, &mut output.content).await;
        output
    }

    fn failed(&self, failure: ServerFailure) -> ToolOutput {
        let name = words::plain(&self.server.name, 64);
        let hint = match failure.class {
            FailureClass::Credentials => " Tell the user to renew them under MCP servers in the settings.",
            FailureClass::Slow
            | FailureClass::Unreachable
            | FailureClass::Broken
            | FailureClass::Confused
            | FailureClass::TooLarge => " Whether it did what it was asked is not known.",
            FailureClass::Refused(_) | FailureClass::Foreign | FailureClass::Busy | FailureClass::Unavailable => "",
        };
        ToolOutput::error(format!("The MCP server {name} {failure}.{hint}"))
    }

    /// Images go to the blobs; what is none becomes a note.
    async fn keep_images(&self, scope: &Scope, parts: &mut [Part]) {
        let mut kept = 0;
        for part in parts {
            let Part::Image { data: Some(data), .. } = part else {
                continue;
            };
            let bytes = STANDARD.decode(data.as_bytes()).ok().filter(|_| kept < MOST_IMAGES);
            let bytes = bytes.filter(|bytes| bytes.len() <= LARGEST_IMAGE);
            let stored = match bytes.and_then(|bytes| Some((blobs::image_type(&bytes)?, bytes))) {
                Some((mime_type, bytes)) => blobs::store_image(&self.services, scope, mime_type, bytes).await.ok(),
                None => None,
            };
            *part = match stored {
                Some(image) => {
                    kept += 1;
                    image
                }
                None => Part::Text {
                    text: "[an image that could not be kept]".to_owned(),
                },
            };
        }
    }
}

impl Tool for RemoteTool {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(self.run(context, arguments))
    }
}
