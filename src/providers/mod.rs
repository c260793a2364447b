//! Model adapters: one wire family each. Retries, failover and cost are the session's business.

mod anthropic;
#[cfg(feature = "bedrock")]
mod bedrock;
mod demo;
mod google;
mod ollama;
mod openai;
mod responses;

mod call;
mod draft;
mod embeddings;
mod errors;
mod hearing;
mod host;
mod loose;
mod once;
mod redact;
mod retry_after;
mod schema;
mod speech;
mod sse;
mod tool_id;

use std::sync::Arc;

use claw_actors::ports::model::ModelProvider;

use crate::egress::Egress;

/// Stands for an image whose bytes are gone.
const IMAGE_GONE: &str = "[image no longer available]";
/// Stands for a file that cannot be sent.
const FILE_GONE: &str = "[file that cannot be shown here]";

/// Every adapter of this build.
pub fn all(egress: &Egress) -> Vec<Arc<dyn ModelProvider>> {
    vec![
        Arc::new(anthropic::Anthropic::new(egress.clone())),
        Arc::new(openai::ChatCompletions::new(egress.clone())),
        Arc::new(responses::Responses::new(egress.clone())),
        Arc::new(responses::Responses::azure(egress.clone())),
        Arc::new(google::Gemini::new(egress.clone())),
        Arc::new(ollama::Ollama::new(egress.clone())),
        #[cfg(feature = "bedrock")]
        Arc::new(bedrock::Bedrock::new(egress.clone())),
        Arc::new(demo::echo::Echo),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_distinct() {
        let apis: Vec<_> = all(&Egress::new(Default::default()))
            .iter()
            .map(|model| model.api())
            .collect();
        assert_eq!(
            apis,
            [
                "anthropic-messages",
                "openai-completions",
                "openai-responses",
                "azure-openai-responses",
                "google-generative-ai",
                "ollama",
                #[cfg(feature = "bedrock")]
                "bedrock-converse-stream",
                "demo-echo",
            ]
        );
    }
}
