//! `image`: looks at images with a model that sees.

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::blobs::image_type;
use claw_actors::session::reach::look::Look;
use claw_actors::session::untrusted;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::media;
use super::{answered, reach, read, refused};
use crate::egress::Egress;

/// Images of one call (`agent-runtime` §12.2).
const MOST: usize = 20;
/// Largest image, and all together, bytes.
const LARGEST: usize = 10 * 1024 * 1024;
const MOST_BYTES: usize = 20 * 1024 * 1024;
const USUAL: &str = "Describe the image.";

/// The tool.
pub(super) struct Image {
    spec: Arc<ToolSpec>,
    egress: Egress,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    prompt: Option<String>,
    image: Option<String>,
    #[serde(default)]
    images: Vec<String>,
    model: Option<String>,
    max_bytes_mb: Option<f64>,
}

impl Image {
    pub(super) fn new(egress: Egress) -> Self {
        Self {
            egress,
            spec: Arc::new(ToolSpec {
                name: "image".to_owned(),
                description: "Looks at images with a model that sees, and answers what you ask about them. Give https \
                    addresses, or the ref of an image in this conversation (blob:…). Not needed for images you see yourself."
                    .to_owned(),
                summary: "look at images".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "prompt": {"type": "string", "maxLength": 10_000, "description": "What you want to know."},
                        "image": {"type": "string", "description": "https address, blob:… or data: URL."},
                        "images": {"type": "array", "items": {"type": "string"}, "maxItems": MOST},
                        "model": {"type": "string", "description": "provider/model; left out: the configured one."},
                        "maxBytesMb": {"type": "number", "exclusiveMinimum": 0, "description": "Refuses larger images."},
                    },
                    "additionalProperties": false,
                }).into(),
                effect: Effect::ReadOnly,
                owner_only: true,
                timeout: Duration::from_secs(150),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: Arguments = read(arguments)?;
        let reach = reach(context)?;
        let named: Vec<String> = given.image.into_iter().chain(given.images).collect();
        if named.is_empty() || named.len() > MOST {
            return Err(ToolOutput::error(format!("Give 1 to {MOST} images.")));
        }
        let limit = media::limit(given.max_bytes_mb, LARGEST);
        let mut images = Vec::with_capacity(named.len());
        let mut left = MOST_BYTES;
        for name in &named {
            let bytes = media::named(&self.egress, reach, name, limit.min(left), "An image").await?;
            let kind = image_type(&bytes);
            let kind = kind.ok_or_else(|| ToolOutput::error("An image must be PNG, JPEG, GIF or WebP."))?;
            left = left.saturating_sub(bytes.len());
            images.push((kind, bytes));
        }
        let prompt = given.prompt.filter(|prompt| !prompt.trim().is_empty());
        let look = Look {
            prompt: prompt.unwrap_or_else(|| USUAL.to_owned()),
            images,
            model: given.model,
        };
        let seen = reach.look(look).await.map_err(refused)?;
        // Whoever made the image had a part in these words.
        let words = untrusted::wrap("image", seen["text"].as_str().unwrap_or_default());
        Ok(ToolOutput {
            details: Some(json!({"model": seen["model"], "images": named.len()})),
            ..ToolOutput::text(words)
        })
    }
}

impl Tool for Image {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
