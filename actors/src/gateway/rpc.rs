//! The method table: names, who may call them, and their handlers behind one type.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix::Recipient;
use claw_entities::Scope;
use dashmap::DashMap;
use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::sync::CancellationToken;

use super::connection::{Answer, Place};
use super::messages::{ConnectionInfo, ToConnection};
use super::node_streams::OpenCalls;
use super::protocol::WireError;
use super::protocol::error::short;
use super::protocol::hello::Features;
use super::seats::Held;
use super::standing::Standing;
use super::{GatewayState, events, scopes};
use crate::config::identity::Identity;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Operators with this scope.
    Scope(&'static str),
    /// Operators with this scope, and nodes.
    ScopeOrNode(&'static str),
    /// Nodes alone.
    Node,
}

/// Methods that change or ask the connection itself, answered without a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    InvokeResult,
    InvokeProgress,
    CancelInvoke,
    FeedInvoke,
    SubscribeSessions,
    UnsubscribeSessions,
    SubscribeMessages,
    UnsubscribeMessages,
}

/// One call of a method.
pub struct Call {
    pub state: GatewayState,
    pub identity: Arc<Identity>,
    pub connection: Arc<ConnectionInfo>,
    /// Cancelled when the caller's connection ends.
    pub ended: CancellationToken,
    /// Calls of nodes that the caller's connection has open.
    pub(super) open_calls: OpenCalls,
    /// What the caller's connection stands on, if that is a device's token.
    pub(super) standing: Option<Arc<Standing>>,
    pub(super) id: String,
    /// What its parameters count against the connection and its user.
    pub(super) held: Arc<Held>,
    pub(super) answers: Recipient<Answer>,
    pub(super) news: Recipient<ToConnection>,
}

impl Call {
    pub fn scope(&self) -> &Scope {
        &self.identity.user.scope
    }

    /// Refuses callers without this scope.
    pub fn require(&self, scope: &str) -> Result<(), WireError> {
        if scopes::holds(&self.connection.scopes, scope) {
            return Ok(());
        }
        Err(WireError::missing_scope(scope))
    }

    /// Sends a first answer; the handler's own follows under the same id. The call's bytes are free then: a handler has
    /// let go of its parameters before.
    pub async fn answer_early(&self, payload: &impl Serialize) -> Result<(), WireError> {
        let payload = serde_json::value::to_raw_value(payload).map_err(|error| WireError::internal(&error))?;
        let answer = Answer {
            id: self.id.clone(),
            outcome: Ok(payload),
            ends: None,
        };
        self.held.release();
        // The connection may be gone by now; then nobody waits for the answer either.
        let _ = self.answers.send(answer).await;
        Ok(())
    }
}

/// What a handler gives, ready for the wire.
pub type Outcome = Result<Box<RawValue>, WireError>;

type Task = Box<dyn Fn(Call, Option<Box<RawValue>>) -> BoxFuture<'static, Outcome> + Send + Sync>;

pub(super) enum Handler {
    Task(Task),
    Local(Local),
}

/// One row of the table.
pub struct Method {
    pub access: Access,
    pub(super) handler: Handler,
    /// Counted by the limit on control-plane writes.
    write_limited: bool,
    /// Callable, but left out of `features.methods`.
    hidden: bool,
    /// Only waits: given up when the connection goes.
    pub(super) waits: bool,
    pub(super) place: Place,
}

impl Method {
    pub fn write_limited(&mut self) -> &mut Self {
        self.write_limited = true;
        self
    }

    pub fn hidden(&mut self) -> &mut Self {
        self.hidden = true;
        self
    }

    pub fn waits(&mut self) -> &mut Self {
        self.waits = true;
        self.place = Place::Waiting;
        self
    }

    /// Waits for a node, and ends by itself when the connection goes.
    pub fn asks_a_node(&mut self) -> &mut Self {
        self.place = Place::Waiting;
        self
    }
}

/// All methods by name.
#[derive(Default)]
pub struct Methods {
    by_name: HashMap<&'static str, Method>,
    features: OnceLock<Box<RawValue>>,
}

impl Methods {
    /// Adds a method. Parameters are read leniently (unknown fields are ignored); a name taken twice is a bug found at start.
    pub fn add<P, R, F, Fut>(&mut self, name: &'static str, access: Access, handler: F) -> &mut Method
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(Call, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, WireError>> + Send + 'static,
    {
        let task: Task = Box::new(move |call, params| match parse_params::<P>(name, params.as_deref()) {
            Ok(params) => {
                let result = handler(call, params);
                async move {
                    let result = result.await?;
                    serde_json::value::to_raw_value(&result).map_err(|error| WireError::internal(&error))
                }
                .boxed()
            }
            Err(error) => futures::future::ready(Err(error)).boxed(),
        });
        self.insert(name, access, Handler::Task(task))
    }

    /// Adds a method that the connection answers itself.
    pub fn add_local(&mut self, name: &'static str, access: Access, local: Local) -> &mut Method {
        self.insert(name, access, Handler::Local(local))
    }

    fn insert(&mut self, name: &'static str, access: Access, handler: Handler) -> &mut Method {
        assert!(!self.by_name.contains_key(name), "two methods named {name}");
        self.by_name.entry(name).or_insert(Method {
            access,
            handler,
            write_limited: false,
            hidden: false,
            waits: false,
            place: Place::Working,
        })
    }

    /// What hello says of this server: the same for everybody, so it is written once.
    pub(super) fn features(&self) -> &RawValue {
        self.features.get_or_init(|| {
            let features = Features {
                methods: self.names(),
                events: events::advertised(),
                capabilities: vec!["published-model-catalog"],
            };
            to_raw_value(&features).unwrap_or_default()
        })
    }

    /// Names for `features.methods`, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self
            .by_name
            .iter()
            .filter(|(_, method)| !method.hidden)
            .map(|(name, _)| *name)
            .collect();
        names.sort_unstable();
        names
    }

    /// Name and access of every method, sorted: the surface that a test guards.
    pub fn surface(&self) -> Vec<(&'static str, Access)> {
        let mut rows: Vec<_> = self
            .by_name
            .iter()
            .map(|(name, method)| (*name, method.access))
            .collect();
        rows.sort_unstable_by_key(|(name, _)| *name);
        rows
    }

    /// The method, if this connection may call it.
    pub fn find(&self, name: &str, caller: &ConnectionInfo) -> Result<(&'static str, &Method), Denied> {
        let Some((name, method)) = self.by_name.get_key_value(name) else {
            // To whoever may not do everything, what does not exist looks like what is not theirs.
            let knows = caller.node || scopes::holds(&caller.scopes, scopes::ADMIN);
            return Err(Denied::Refused(if knows {
                WireError::unknown_method(name)
            } else {
                WireError::missing_scope(scopes::ADMIN)
            }));
        };
        match (method.access, caller.node) {
            (Access::Node, true) | (Access::ScopeOrNode(_), true) => Ok((name, method)),
            (Access::Node, false) => Err(Denied::WrongRole(WireError::wrong_role("operator"))),
            (Access::Scope(_), true) => Err(Denied::WrongRole(WireError::wrong_role("node"))),
            (Access::Scope(scope) | Access::ScopeOrNode(scope), false) => {
                if scopes::holds(&caller.scopes, scope) {
                    Ok((name, method))
                } else {
                    Err(Denied::Refused(WireError::missing_scope(scope)))
                }
            }
        }
    }

    /// Is one more call of this method within the write limit.
    pub(super) fn throttle(
        &self,
        state: &GatewayState,
        name: &'static str,
        scope: &Scope,
        device: &str,
    ) -> Result<(), WireError> {
        if !self.by_name.get(name).is_some_and(|method| method.write_limited) {
            return Ok(());
        }
        let key = format!("{}|{}|{device}|{name}", scope.tenant(), scope.user());
        state.throttle.admit(key, name, Instant::now())
    }
}

/// Why a method was not called.
#[derive(Debug)]
pub enum Denied {
    Refused(WireError),
    /// The other role's method; more than ten of these in a row end the connection.
    WrongRole(WireError),
}

/// The limit on control-plane writes: so many per method and device in a minute.
#[derive(Default)]
pub struct Throttle {
    writes: DashMap<String, (Instant, u32)>,
    /// With so many counted, those whose minute is over go.
    sweep_at: AtomicUsize,
}

impl Throttle {
    const WRITES: u32 = 30;
    const WINDOW: Duration = Duration::from_secs(60);
    /// So many are kept before anybody looks which are over.
    const KEPT: usize = 10_000;

    /// Makes room. The next look is when there are twice as many as this one left: however many write within a minute, a
    /// write pays for a few others only.
    fn sweep(&self, now: Instant) {
        if self.writes.len() > self.sweep_at.load(Ordering::Relaxed).max(Self::KEPT) {
            self.writes
                .retain(|_, (since, _)| now.duration_since(*since) < Self::WINDOW);
            self.sweep_at.store(2 * self.writes.len(), Ordering::Relaxed);
        }
    }

    pub(super) fn admit(&self, key: String, method: &str, now: Instant) -> Result<(), WireError> {
        self.sweep(now);
        let mut entry = self.writes.entry(key).or_insert((now, 0));
        if now.duration_since(entry.0) >= Self::WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
        if entry.1 <= Self::WRITES {
            return Ok(());
        }
        let wait = Self::WINDOW.saturating_sub(now.duration_since(entry.0));
        Err(
            WireError::unavailable(format!("too many {method} calls, try again later"))
                .details(serde_json::json!({"method": method, "limit": Self::WRITES}))
                .retry_after(wait),
        )
    }
}

/// Reads parameters; absent and null ones are an empty object.
pub(super) fn parse_params<P: DeserializeOwned>(method: &str, raw: Option<&RawValue>) -> Result<P, WireError> {
    let text = raw.map_or("{}", RawValue::get).trim();
    let text = if text == "null" { "{}" } else { text };
    serde_json::from_str(text).map_err(|error| {
        let complaint = short(error.to_string());
        let missing = complaint
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next());
        WireError::invalid(match missing {
            Some(field) => format!("invalid {method} params: must have required property '{field}'"),
            None => format!("invalid {method} params: {complaint}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::gateway::{methods, testing};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        session_key: String,
    }

    #[test]
    fn params_are_lenient_and_complaints_name_the_field() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
        let parsed = parse_params::<Params>("chat.history", Some(&raw(r#"{"sessionKey":"main","brandNew":1}"#)));
        assert_eq!(parsed.expect("parses").session_key, "main");
        for empty in [None, Some(raw("null")), Some(raw("{}"))] {
            let error = parse_params::<Params>("chat.history", empty.as_deref()).expect_err("lacks the key");
            assert_eq!(
                error.message,
                "invalid chat.history params: must have required property 'sessionKey'"
            );
        }
    }

    /// The surface of methods; a change shows up here.
    #[test]
    fn the_table() {
        let mut table = String::new();
        for (name, access) in methods::all().surface() {
            use std::fmt::Write;
            writeln!(table, "{name} {access:?}").expect("a string");
        }
        assert_eq!(table, include_str!("methods.snapshot"), "methods changed:\n{table}");
    }

    fn denial(name: &str, caller: &ConnectionInfo) -> String {
        match methods::all().find(name, caller) {
            Ok(_) => "allowed".to_owned(),
            Err(Denied::Refused(error)) => error.message,
            Err(Denied::WrongRole(error)) => format!("role: {}", error.message),
        }
    }

    #[test]
    fn who_may_call_what() {
        let admin = testing::operator(&["operator.admin"]);
        let reader = testing::operator(&["operator.read"]);
        let node = testing::node("n1");
        for (name, caller, expected) in [
            ("health", &reader, "allowed"),
            ("health", &node, "allowed"),
            ("chat.send", &reader, "missing scope: operator.write"),
            ("chat.send", &admin, "allowed"),
            ("node.event", &admin, "role: unauthorized role: operator"),
            ("node.event", &node, "allowed"),
            ("chat.send", &node, "role: unauthorized role: node"),
            ("no.such", &admin, "unknown method: no.such"),
            ("no.such", &reader, "missing scope: operator.admin"),
            ("node.canvas.refresh", &node, "unknown method: node.canvas.refresh"),
        ] {
            assert_eq!(denial(name, caller), expected, "{name}");
        }
    }

    /// What only looks is not counted.
    #[test]
    fn what_the_write_limit_counts_is_documented() {
        let methods = methods::all();
        let limited = methods.by_name.iter().filter(|(_, method)| method.write_limited);
        let mut limited: Vec<&str> = limited.map(|(name, _)| *name).collect();
        limited.sort_unstable();
        let expected = [
            "config.apply",
            "config.patch",
            "cron.add",
            "cron.remove",
            "cron.run",
            "cron.update",
            "device.pair.setupCode",
            "exec.approval.request",
            "exec.approvals.node.set",
            "exec.approvals.set",
            "models.authLogout",
            "models.authOrderSet",
            "models.authSetApiKey",
            "sessions.fork",
            "sessions.groups.delete",
            "sessions.groups.put",
            "sessions.groups.rename",
            "set-heartbeats",
        ];
        assert_eq!(limited, expected);
        let documented = include_str!("../../../docs/gateway-methods.md");
        for name in expected {
            assert!(documented.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn thirty_writes_a_minute() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..30 {
            assert!(throttle.admit("k".to_owned(), "m", now).is_ok());
        }
        let refusal = throttle.admit("k".to_owned(), "m", now).expect_err("one too many");
        assert_eq!((refusal.code, refusal.retryable), ("UNAVAILABLE", Some(true)));
        assert!(throttle.admit("other".to_owned(), "m", now).is_ok());
        assert!(throttle.admit("k".to_owned(), "m", now + Throttle::WINDOW).is_ok());
    }

    #[test]
    fn very_many_writers_are_counted_and_forgotten_without_looking_at_all_each_time() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let write = |number: usize, now| throttle.admit(number.to_string(), "m", now).is_ok();
        let mut looks = Vec::new();
        for number in 0..5 * Throttle::KEPT {
            assert!(write(number, now));
            looks.push(throttle.sweep_at.load(Ordering::Relaxed));
        }
        looks.dedup();
        assert_eq!(looks.len(), 4, "of fifty thousand writes three looked: {looks:?}");
        assert_eq!(
            throttle.writes.len(),
            5 * Throttle::KEPT,
            "whose minute is not over is not forgotten"
        );
        let later = now + Throttle::WINDOW;
        for number in 0..4 * Throttle::KEPT {
            assert!(write(5 * Throttle::KEPT + number, later));
        }
        assert!(throttle.writes.len() <= 4 * Throttle::KEPT, "{}", throttle.writes.len());
    }
}
