//! `pdf`: asks a model about PDF documents.

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::document::Pages;
use claw_actors::ports::message::FileFormat;
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::reach::pdf::Reading;
use claw_actors::session::untrusted;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::media;
use super::{answered, reach, read, refused};
use crate::egress::Egress;

/// Documents of one call.
const MOST: usize = 10;
/// Largest document, and all together, bytes.
const LARGEST: usize = 8 * 1024 * 1024;
const MOST_BYTES: usize = 20 * 1024 * 1024;
const USUAL: &str = "Analyze this PDF document.";

/// The tool.
pub(super) struct Pdf {
    spec: Arc<ToolSpec>,
    egress: Egress,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    prompt: Option<String>,
    pdf: Option<String>,
    #[serde(default)]
    pdfs: Vec<String>,
    pages: Option<String>,
    model: Option<String>,
    max_bytes_mb: Option<f64>,
}

impl Pdf {
    pub(super) fn new(egress: Egress) -> Self {
        Self {
            egress,
            spec: Arc::new(ToolSpec {
                name: "pdf".to_owned(),
                description: "Asks a model about PDF documents, and gives its answer. Give https addresses, or the ref of a \
                    file in this conversation (blob:…)."
                    .to_owned(),
                summary: "read PDF documents".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "prompt": {"type": "string", "maxLength": 10_000, "description": "What you want to know."},
                        "pdf": {"type": "string", "description": "https address, or blob:…."},
                        "pdfs": {"type": "array", "items": {"type": "string"}, "maxItems": MOST},
                        "pages": {"type": "string", "maxLength": 200, "description": "Only these, e.g. 1-5 or 1,3,7-9."},
                        "model": {"type": "string", "description": "provider/model; left out: the configured one."},
                        "maxBytesMb": {"type": "number", "exclusiveMinimum": 0, "description": "Refuses larger files."},
                    },
                    "additionalProperties": false,
                }).into(),
                effect: Effect::ReadOnly,
                owner_only: true,
                timeout: Duration::from_secs(180),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: Arguments = read(arguments)?;
        let reach = reach(context)?;
        let mut named: Vec<String> = Vec::new();
        for name in given.pdf.into_iter().chain(given.pdfs) {
            let name = name.trim().to_owned();
            if !named.contains(&name) {
                named.push(name);
            }
        }
        if named.is_empty() || named.len() > MOST {
            return Err(ToolOutput::error(format!("Give 1 to {MOST} PDF documents.")));
        }
        let pages = given.pages.as_deref().unwrap_or_default();
        let pages = Pages::parse(pages)
            .ok_or_else(|| ToolOutput::error("pages are numbers from 1 on and ranges of them, e.g. 1-5 or 1,3,7-9."))?;
        let limit = media::limit(given.max_bytes_mb, LARGEST);
        let mut left = MOST_BYTES;
        let mut documents = Vec::with_capacity(named.len());
        for (number, name) in (1..).zip(&named) {
            let bytes = media::named(&self.egress, reach, name, limit.min(left), "A document").await?;
            if FileFormat::of(&bytes) != Some(FileFormat::Pdf) {
                return Err(ToolOutput::error(format!("Document {number} is no PDF file.")));
            }
            left = left.saturating_sub(bytes.len());
            documents.push((format!("document-{number}.pdf"), bytes));
        }
        let prompt = given.prompt.filter(|prompt| !prompt.trim().is_empty());
        let reading = Reading {
            prompt: prompt.unwrap_or_else(|| USUAL.to_owned()),
            documents,
            pages,
            model: given.model,
        };
        let answer = reach.read_documents(reading).await.map_err(refused)?;
        // Whoever wrote the document had a part in these words.
        let words = untrusted::wrap("PDF document", answer["text"].as_str().unwrap_or_default());
        Ok(ToolOutput {
            details: Some(json!({"model": answer["model"], "native": answer["native"], "pdfs": named.len()})),
            ..ToolOutput::text(words)
        })
    }
}

impl Tool for Pdf {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
