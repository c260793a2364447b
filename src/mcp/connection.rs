//! One connection to one server: how it begins, its list of tools, and calls.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use claw_actors::config::document::hash;
use claw_actors::ports::servers::{FailureClass, Offer, OfferedTool, ServerAccess, ServerFailure};
use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig, ErrorData,
    Implementation, JsonObject, PaginatedRequestParams, ProtocolVersion, Tool,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, NotificationContext, RoleClient, RunningService, ServiceError,
    serve_client_with_lifecycle,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use serde_json::{Value, json};

use super::http::{Http, MAX_ANSWER};
use crate::egress::{Egress, EgressError};

/// Tools of one server (`agent-runtime` §15), and pages they may come in.
const MOST_TOOLS: usize = 128;
const MOST_PAGES: usize = 32;
/// Bytes of what one tool says of itself, and all together.
const LARGEST_TOOL: usize = 64 * 1024;
const ALL_TOOLS: usize = 256 * 1024;
/// Characters of a tool's name.
const LONGEST_NAME: usize = 128;
/// How often a server may answer a call with a question before it is given up: we know no answers.
const MOST_ROUNDS: usize = 4;

/// A connection that goes on.
pub(super) struct Connection {
    service: RunningService<RoleClient, Handler>,
    changed: Arc<AtomicBool>,
}

/// What a call came to when the server did answer.
pub(super) enum Answer {
    Result(Box<CallToolResult>),
    Refused(ErrorData),
}

/// Hears what a server says by itself. It is asked nothing and given nothing: no sampling, no roots, no questions.
#[derive(Clone)]
struct Handler {
    changed: Arc<AtomicBool>,
}

impl ClientHandler for Handler {
    fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) -> impl Future<Output = ()> + Send + '_ {
        self.changed.store(true, Ordering::Release);
        std::future::ready(())
    }

    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("ClawCentral", env!("CARGO_PKG_VERSION")),
        )
    }
}

impl Connection {
    /// Connects, with the newest revision that both speak.
    pub(super) async fn open(egress: &Egress, access: &ServerAccess) -> Result<Self, ServerFailure> {
        let limit = access.server.connecting;
        let http = Http::new(egress.clone(), access.headers.clone(), limit.max(access.server.calling));
        let mut backoff = ExponentialBackoff::default();
        backoff.max_times = Some(6);
        backoff.base_duration = Duration::from_secs(2);
        backoff.max_delay = Some(Duration::from_secs(60));
        let mut config = StreamableHttpClientTransportConfig::with_uri(access.server.url.as_str())
            .max_sse_event_size(MAX_ANSWER)
            .max_json_response_size(MAX_ANSWER)
            .reinit_on_expired_session(true);
        config.retry_config = Arc::new(backoff);
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let changed = Arc::new(AtomicBool::new(false));
        let handler = Handler {
            changed: Arc::clone(&changed),
        };
        let lifecycle = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        };
        let opening = serve_client_with_lifecycle(handler, transport, lifecycle);
        match tokio::time::timeout(limit, opening).await {
            Ok(Ok(service)) => Ok(Self { service, changed }),
            Ok(Err(error)) => Err(of_opening(&error)),
            Err(_) => Err(FailureClass::Slow.into()),
        }
    }

    /// Is it over.
    pub(super) fn is_closed(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// Has the server said that its tools are others, since the last list.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// The tools that the filter lets through, and how long the list may be kept, if the server says so.
    pub(super) async fn list(&self, access: &ServerAccess) -> Result<(Offer, Option<Duration>), ServerFailure> {
        let asked = self.pages(access);
        match tokio::time::timeout(access.server.calling, asked).await {
            Ok(listed) => listed,
            Err(_) => Err(FailureClass::Slow.into()),
        }
    }

    async fn pages(&self, access: &ServerAccess) -> Result<(Offer, Option<Duration>), ServerFailure> {
        self.changed.store(false, Ordering::Release);
        let info = self.service.peer().peer_info();
        let mut offer = Offer {
            server: info.as_ref().and_then(|info| Some(about(info.server_info.as_ref()?))),
            protocol: info.map(|info| info.protocol_version.to_string()).unwrap_or_default(),
            ..Offer::default()
        };
        let (mut room, mut seen, mut keep) = (ALL_TOOLS, HashSet::new(), None::<u64>);
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            let params = PaginatedRequestParams::default().with_cursor(cursor.take());
            let page = self
                .service
                .peer()
                .list_tools(Some(params))
                .await
                .map_err(|error| of_service(&error))?;
            keep = keep.into_iter().chain(page.ttl_ms).min();
            for tool in page.tools {
                if !access.server.lets_through(&tool.name) {
                    continue;
                }
                let size = size(&tool);
                let fits = offer.tools.len() < MOST_TOOLS && size <= LARGEST_TOOL.min(room) && is_name(&tool.name);
                if fits && seen.insert(tool.name.to_string()) {
                    room -= size;
                    offer.tools.push(offered(tool));
                } else {
                    offer.left_out += 1;
                }
            }
            match page.next_cursor {
                Some(next) if offer.tools.len() < MOST_TOOLS => cursor = Some(next),
                Some(_) | None => break,
            }
        }
        Ok((offer, keep.map(Duration::from_millis)))
    }

    /// Calls a tool. Dropping this tells the server that nobody waits.
    pub(super) async fn call(
        &self,
        access: &ServerAccess,
        tool: &str,
        arguments: JsonObject,
    ) -> Result<Answer, ServerFailure> {
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = Some(arguments);
        let rounds = async {
            for _ in 0..MOST_ROUNDS {
                match self.service.peer().call_tool_once(params.clone()).await {
                    Ok(CallToolResponse::Complete(result)) => return Ok(Answer::Result(Box::new(result))),
                    // A server that only wants to be asked again is; one with a question hears no answer.
                    Ok(CallToolResponse::InputRequired(wanted))
                        if wanted.input_requests.as_ref().is_none_or(|asked| asked.is_empty()) =>
                    {
                        params.request_state = wanted.request_state;
                    }
                    Ok(CallToolResponse::InputRequired(_)) => {
                        let why = "the tool asks for input that cannot be given here";
                        return Ok(Answer::Refused(ErrorData::invalid_request(why, None)));
                    }
                    Ok(_) => return Err(FailureClass::Confused.into()),
                    Err(ServiceError::McpError(error)) => return Ok(Answer::Refused(error)),
                    Err(error) => return Err(of_service(&error)),
                }
            }
            Err(FailureClass::Confused.into())
        };
        match tokio::time::timeout(access.server.calling, rounds).await {
            Ok(answer) => answer,
            Err(_) => Err(FailureClass::Slow.into()),
        }
    }
}

fn about(server: &Implementation) -> String {
    let name = server.title.as_deref().unwrap_or(&server.name);
    format!("{name} {}", server.version)
        .chars()
        .filter(|char| !char.is_control())
        .take(100)
        .collect()
}

/// A name that can be written, and that fits into a row.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn size(tool: &Tool) -> usize {
    let described = tool.description.as_deref().map_or(0, str::len) + tool.title.as_deref().map_or(0, str::len);
    described + tool.name.len() + serde_json::to_string(&*tool.input_schema).map_or(usize::MAX / 2, |text| text.len())
}

fn offered(tool: Tool) -> OfferedTool {
    let read_only = tool.annotations.as_ref().and_then(|hints| hints.read_only_hint) == Some(true);
    let parameters = Value::Object(tool.input_schema.as_ref().clone());
    let title = tool.title.or_else(|| tool.annotations.and_then(|hints| hints.title));
    let description = tool.description.unwrap_or_default().into_owned();
    let said = json!([tool.name, title, description, parameters, read_only]);
    OfferedTool {
        hash: hash(&said),
        name: tool.name.into_owned(),
        title,
        description,
        parameters,
        read_only,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of failures is open")]
fn of_opening(error: &ClientInitializeError) -> ServerFailure {
    match error {
        ClientInitializeError::TransportError { error, .. } => of_transport(error.error.as_ref()),
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => of_opening(fallback),
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::Cancelled => {
            FailureClass::Unreachable.into()
        }
        _ => FailureClass::Confused.into(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of failures is open")]
fn of_service(error: &ServiceError) -> ServerFailure {
    match error {
        ServiceError::TransportSend(error) => of_transport(error.error.as_ref()),
        ServiceError::TransportClosed | ServiceError::Cancelled { .. } => FailureClass::Unreachable.into(),
        ServiceError::Timeout { .. } => FailureClass::Slow.into(),
        _ => FailureClass::Confused.into(),
    }
}

/// Classes what the transport says, looking through its causes.
fn of_transport(error: &(dyn std::error::Error + 'static)) -> ServerFailure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<StreamableHttpError<EgressError>>() {
            return of_http(error);
        }
        cause = error.source();
    }
    FailureClass::Unreachable.into()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of failures is open")]
fn of_http(error: &StreamableHttpError<EgressError>) -> ServerFailure {
    let class = match error {
        StreamableHttpError::Client(error) => match *error {
            EgressError::Refused { reason } => FailureClass::Refused(reason),
            EgressError::Redirect => FailureClass::Refused("it redirects to where we do not follow"),
            EgressError::Connect | EgressError::Io => FailureClass::Unreachable,
            EgressError::Timeout { .. } => FailureClass::Slow,
            EgressError::TooLarge => FailureClass::TooLarge,
        },
        StreamableHttpError::HttpStatus(answer) => {
            return ServerFailure {
                class: match answer.status {
                    401 | 403 => FailureClass::Credentials,
                    429 => FailureClass::Busy,
                    500.. => FailureClass::Broken,
                    _ => FailureClass::Foreign,
                },
                status: Some(answer.status),
            };
        }
        StreamableHttpError::UnexpectedContentType(_) => FailureClass::Foreign,
        StreamableHttpError::ResponseBodyTooLarge { .. } => FailureClass::TooLarge,
        StreamableHttpError::SessionRecoveryTimeout | StreamableHttpError::ControlRequestTimeout => FailureClass::Slow,
        StreamableHttpError::SessionExpired
        | StreamableHttpError::Io(_)
        | StreamableHttpError::Sse(_)
        | StreamableHttpError::UnexpectedEndOfStream
        | StreamableHttpError::TransportChannelClosed
        | StreamableHttpError::TokioJoinError(_) => FailureClass::Unreachable,
        _ => FailureClass::Confused,
    };
    class.into()
}
