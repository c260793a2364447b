//! How a compatible server is spoken to: what the settings say of it, else what is known of its host.

use std::borrow::Cow;

use claw_actors::ports::compat::{Compat, MaxTokensField, ThinkingFormat};
use claw_actors::ports::model::{ModelRequest, Thinking};
use claw_actors::ports::tool::Schema;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::providers::host::Host;
use crate::providers::schema;

/// Keywords of schemas that xAI refuses.
const REFUSED_BY_XAI: &[&str] = &["minLength", "maxLength", "minItems", "maxItems"];

/// Answers each question about the server.
pub(super) struct Manners<'a> {
    host: Host,
    compat: &'a Compat,
    window: u64,
    ollama: bool,
}

impl<'a> Manners<'a> {
    pub(super) fn of(request: &'a ModelRequest) -> Self {
        let host = Host::of(&request.endpoint.base_url);
        Self {
            host,
            compat: &request.compat,
            window: request.context_window,
            ollama: host == Host::Ollama || request.provider.contains("ollama"),
        }
    }

    /// OpenAI's own, or the same on Azure.
    fn is_openai(&self) -> bool {
        matches!(self.host, Host::OpenAi | Host::Azure)
    }

    pub(super) fn is(&self, host: Host) -> bool {
        self.host == host
    }

    /// Newer models of OpenAI refuse `max_tokens`.
    pub(super) fn wants_max_completion_tokens(&self) -> bool {
        match self.compat.max_tokens_field {
            Some(field) => field == MaxTokensField::MaxCompletionTokens,
            None => self.is_openai(),
        }
    }

    /// OpenAI models that think refuse a temperature.
    pub(super) fn fixed_temperature(&self, model: &str) -> bool {
        self.is_openai()
            && ["o1", "o3", "o4", "gpt-5"]
                .iter()
                .any(|family| model.starts_with(family))
    }

    pub(super) fn takes_store(&self) -> bool {
        self.compat.store.unwrap_or(self.host == Host::OpenAi)
    }

    pub(super) fn counts_in_streams(&self) -> bool {
        self.compat.usage_in_streaming.unwrap_or(true)
    }

    /// What `strict` of a tool says, where it is said: our schemas have optional fields.
    pub(super) fn strict(&self) -> Option<bool> {
        (self.compat.strict_mode == Some(true)).then_some(false)
    }

    /// Whose words the instructions are.
    pub(super) fn instructs_as(&self, reasons: bool) -> &'static str {
        let known = self.compat.developer_role.unwrap_or(self.host == Host::OpenAi);
        if known && reasons { "developer" } else { "system" }
    }

    /// How it is told how hard to think; `None`: not at all.
    pub(super) fn thinking(&self) -> Option<ThinkingFormat> {
        let usual = match self.host {
            Host::OpenAi | Host::Azure | Host::Groq | Host::Google | Host::Ollama | Host::Anthropic | Host::Other => {
                Some(ThinkingFormat::OpenAi)
            }
            Host::OpenRouter => Some(ThinkingFormat::OpenRouter),
            Host::Zai => Some(ThinkingFormat::Zai),
            Host::Mistral | Host::DeepSeek | Host::Moonshot | Host::Xai => None,
        };
        match (self.compat.thinking_format.or(usual), self.compat.reasoning_effort) {
            (Some(ThinkingFormat::OpenAi | ThinkingFormat::OpenRouter), Some(false)) => None,
            (None, Some(true)) => Some(ThinkingFormat::OpenAi),
            (format, _) => format,
        }
    }

    /// The level as this server names it.
    pub(super) fn effort(&self, level: Thinking) -> Cow<'a, str> {
        match self.compat.efforts.get(level.name()) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Borrowed(super::effort(level)),
        }
    }

    /// How it is told not to think, or as little as the model can.
    pub(super) fn least_effort(&self, format: ThinkingFormat, request: &ModelRequest) -> Option<Cow<'a, str>> {
        if let Some(name) = self.compat.efforts.get(Thinking::Off.name()) {
            return Some(Cow::Borrowed(name));
        }
        match format {
            ThinkingFormat::OpenAi => super::least_effort(&request.model).map(Cow::Borrowed),
            // Some models there always think and refuse this. A turn, which has tools, is tried again without; calls beside
            // turns are not.
            ThinkingFormat::OpenRouter => (!request.tools.is_empty()).then_some(Cow::Borrowed("none")),
            ThinkingFormat::Zai | ThinkingFormat::Qwen | ThinkingFormat::QwenTemplate => None,
        }
    }

    /// A result of a tool may not stand right before a message of the user there.
    pub(super) fn wants_answer_to_results(&self) -> bool {
        self.compat
            .assistant_after_tool_result
            .unwrap_or(self.host == Host::Mistral)
    }

    pub(super) fn wants_names_of_results(&self) -> bool {
        self.compat.tool_result_name.unwrap_or(false)
    }

    pub(super) fn wants_ids_of_nine(&self) -> bool {
        self.compat.mistral_tool_ids.unwrap_or(self.host == Host::Mistral)
    }

    /// Thinking models there want back what they thought before each call, for as long as the call is in the history.
    pub(super) fn wants_reasoning_back(&self) -> bool {
        matches!(self.host, Host::DeepSeek | Host::Moonshot)
    }

    pub(super) fn wants_thoughts_as_words(&self) -> bool {
        self.compat.thinking_as_text.unwrap_or(false)
    }

    /// It signs what was thought, and wants it back as it came.
    pub(super) fn wants_details_back(&self) -> bool {
        self.host == Host::OpenRouter
    }

    /// Texts in arguments come HTML-escaped.
    pub(super) fn escapes(&self) -> bool {
        self.compat.html_arguments.unwrap_or(self.host == Host::Xai)
    }

    /// The schema without what the server refuses.
    pub(super) fn schema<'b>(&self, of: &'b Schema) -> Cow<'b, RawValue> {
        let owned = |schema: &Value| Cow::Owned(to_raw_value(schema).unwrap_or_default());
        if self.compat.xai_schemas.unwrap_or(self.host == Host::Xai) {
            return owned(&schema::without(of, REFUSED_BY_XAI));
        }
        match self.host {
            Host::Google => owned(&schema::gemini(of)),
            Host::Moonshot => owned(&schema::types_in_choices(of)),
            Host::OpenAi
            | Host::Azure
            | Host::Anthropic
            | Host::OpenRouter
            | Host::Mistral
            | Host::DeepSeek
            | Host::Xai
            | Host::Zai
            | Host::Groq
            | Host::Ollama
            | Host::Other => Cow::Borrowed(of.text()),
        }
    }

    /// The window that Ollama is to hold, in tokens: it cuts what is longer than its own idea of one and says nothing.
    pub(super) fn window(&self) -> Option<u64> {
        (self.ollama && self.compat.num_ctx.unwrap_or(true)).then_some(self.window)
    }
}
