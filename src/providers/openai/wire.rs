//! One chunk of the stream, as loosely as servers write it.

use serde::Deserialize;
use serde_json::Value;

use crate::providers::loose::{Count, Text};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Chunk {
    pub(super) id: Text,
    pub(super) choices: Option<Vec<Choice>>,
    pub(super) usage: Option<WireUsage>,
    pub(super) error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    pub(super) delta: Option<Delta>,
    /// Of a server that does not stream. Perplexity sends it too: the whole so far, beside the delta.
    pub(super) message: Option<Delta>,
    pub(super) finish_reason: Text,
    /// Moonshot counts here.
    pub(super) usage: Option<WireUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Delta {
    pub(super) content: Text,
    pub(super) refusal: Text,
    pub(super) reasoning_content: Text,
    pub(super) reasoning: Text,
    pub(super) reasoning_text: Text,
    /// OpenRouter's: a list of objects.
    pub(super) reasoning_details: Value,
    pub(super) tool_calls: Option<Vec<ToolDelta>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolDelta {
    pub(super) index: Count,
    pub(super) id: Text,
    pub(super) function: Option<FunctionDelta>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct FunctionDelta {
    pub(super) name: Text,
    pub(super) arguments: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    pub(super) prompt_tokens: Count,
    pub(super) completion_tokens: Count,
    pub(super) total_tokens: Count,
    pub(super) prompt_tokens_details: Option<PromptDetails>,
    /// DeepSeek's name for cached tokens.
    pub(super) prompt_cache_hit_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Count,
    /// OpenRouter's.
    pub(super) cache_write_tokens: Count,
}
