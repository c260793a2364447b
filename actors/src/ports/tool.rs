//! The tool port: a name, a schema, one async call.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use claw_entities::{Scope, SessionKey};
use futures::future::BoxFuture;
use jsonschema::Validator;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::message::Part;
use crate::conversation::tokens;
use crate::session::nodes::Nodes;
use crate::session::reach::Reach;
use crate::session::skills::Shelf;
use crate::session::workspace::Workspace;

/// One tool. Whether it may be called is decided by `session/toolbox.rs`, never here.
pub trait Tool: Send + Sync {
    fn spec(&self) -> &Arc<ToolSpec>;

    /// What a call with these arguments does outside; the spec's, where they make no difference.
    fn effect(&self, _arguments: &Value) -> Effect {
        self.spec().effect
    }

    /// What a call with these arguments writes to: calls of one answer that write to the same go one after the other.
    fn writes_to(&self, _arguments: &Value) -> Option<String> {
        None
    }

    /// Is it for conversations alone that nobody but the owner reads: what it gives stays in the transcript.
    fn is_private(&self) -> bool {
        false
    }

    /// Does a server of somebody else's run it: its schema is theirs, so it is theirs to check arguments by it.
    fn is_remote(&self) -> bool {
        false
    }

    /// Runs the tool with arguments that already match the schema. Cancellation is by dropping the future or by
    /// [`ToolContext::cancel`]. A failure is a result with `is_error`, never a run failure.
    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput>;
}

/// What the model and the policy know about a tool.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    pub name: String,
    /// For the model.
    pub description: String,
    /// One line for the system prompt.
    pub summary: String,
    /// Of the arguments: a flat object, string enums, no `$ref`, no combinators.
    pub parameters: Schema,
    pub effect: Effect,
    pub owner_only: bool,
    #[serde(skip)]
    pub timeout: Duration,
}

/// A JSON schema. Every model call carries those of all its tools, so what is made of one is made once.
#[derive(Clone, Debug)]
pub struct Schema {
    value: Value,
    text: OnceLock<Box<RawValue>>,
    tokens: OnceLock<u64>,
    /// `None` for one that is no schema.
    checker: OnceLock<Option<Arc<Validator>>>,
}

impl Schema {
    /// What checks values by it. `None`: it is no schema.
    pub fn checker(&self) -> Option<&Validator> {
        let made = || jsonschema::validator_for(&self.value).ok().map(Arc::new);
        self.checker.get_or_init(made).as_deref()
    }

    /// As a request carries it.
    pub fn text(&self) -> &RawValue {
        self.text.get_or_init(|| to_raw_value(&self.value).unwrap_or_default())
    }

    /// What it takes of a model's context, estimated.
    pub fn tokens(&self) -> u64 {
        *self.tokens.get_or_init(|| tokens::json(&self.value))
    }
}

impl From<Value> for Schema {
    fn from(value: Value) -> Self {
        Self {
            value,
            text: OnceLock::new(),
            tokens: OnceLock::new(),
            checker: OnceLock::new(),
        }
    }
}

impl Deref for Schema {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// What happens outside when the tool runs, and so what recovery may do (shared decisions §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Safe to repeat.
    ReadOnly,
    /// Repeating gives the same end state.
    Idempotent,
    /// Writes an intent row before it acts; a crashed run that had one is closed, not repeated.
    External,
}

/// Who is calling, and from where.
#[derive(Clone, Debug)]
pub struct ToolContext {
    pub scope: Scope,
    pub session_key: SessionKey,
    pub run_id: String,
    /// The model's call.
    pub call_id: String,
    pub agent_id: String,
    /// False for guests: a tool must not reveal what belongs to the owner.
    pub owner: bool,
    /// IANA zone of the user.
    pub time_zone: String,
    /// What `session_status` shows; a snapshot taken when the batch started.
    pub status: SessionSnapshot,
    /// The owner's nodes; guests have none.
    pub nodes: Option<Nodes>,
    /// The owner's skills; guests have none.
    pub skills: Option<Shelf>,
    /// The agent's files and notes, where nobody but the owner reads along.
    pub workspace: Option<Workspace>,
    /// Sessions, jobs and chats; a guest's reaches its own session only.
    pub reach: Option<Reach>,
    pub cancel: CancellationToken,
    pub updates: Updates,
}

/// Where a tool says that its call goes on, for whoever watches the run; the default tells nobody. What a call gives
/// is for the transcript, so news are the call's id alone. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Updates(Option<mpsc::Sender<String>>);

impl Updates {
    /// With the place where the ids come out.
    pub fn channel() -> (Self, mpsc::Receiver<String>) {
        /// News that may wait.
        const WAITING: usize = 64;
        let (to, from) = mpsc::channel(WAITING);
        (Self(Some(to)), from)
    }

    /// Left out when whoever watches is behind.
    pub fn goes_on(&self, call_id: &str) {
        if let Some(to) = &self.0 {
            let _ = to.try_send(call_id.to_owned());
        }
    }
}

/// The facts `session_status` and `/status` show.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionSnapshot {
    pub session_key: String,
    pub session_id: String,
    pub model: String,
    /// The model that stands in for it, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// What the session has set of its own: `Fast mode on, Reasoning stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    pub context_tokens: Option<u64>,
    pub context_window: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost_usd: f64,
    pub queue_mode: String,
    pub queued: usize,
    pub compactions: u32,
}

/// What a call gave.
#[derive(Clone, Debug, Default)]
pub struct ToolOutput {
    pub content: Vec<Part>,
    /// For the UI, never sent to a model.
    pub details: Option<Value>,
    pub is_error: bool,
}

impl ToolOutput {
    /// A text result.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![Part::Text { text: text.into() }],
            details: None,
            is_error: false,
        }
    }

    /// A result as the model reads JSON.
    pub fn json(value: &Value) -> Self {
        Self {
            details: Some(value.clone()),
            ..Self::text(serde_json::to_string_pretty(value).unwrap_or_default())
        }
    }

    /// A failure the model is told about.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_checks_arguments_is_made_once_and_none_of_what_is_no_schema() {
        let schema = Schema::from(json!({"type": "object", "required": ["a"]}));
        let first = schema.checker().expect("a schema");
        assert!(first.is_valid(&json!({"a": 1})) && !first.is_valid(&json!({})));
        assert!(std::ptr::eq(first, schema.checker().expect("a schema")));
        // A copy of a spec takes it along.
        let copy = schema.clone();
        assert!(std::ptr::eq(first, copy.checker().expect("a schema")));
        assert!(Schema::from(json!({"type": 7})).checker().is_none());
    }
}
