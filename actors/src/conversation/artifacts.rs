//! What stands in a transcript beside text: stored images of people and tools.

use std::ops::ControlFlow;

use claw_entities::{Scope, SessionKey, UserOwned, blob};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};

use super::ConversationService;
use super::branch::walk;
use super::entry::{Body, Entry};
use super::transcript;
use crate::error::Result;
use crate::ports::message::{Message, Part};

/// Entries that are looked through, counted from the newest.
const LOOKED_AT: usize = 1_000;
/// Artifacts of one answer.
const MOST: usize = 200;

/// Stored bytes that a message shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Id of the stored bytes.
    pub id: String,
    pub mime_type: String,
    /// Bytes; `None` when they are not stored any more.
    pub size: Option<i64>,
    pub run_id: Option<String>,
    /// Position of the message.
    pub seq: i64,
    /// Did a tool give it; a person did else.
    pub of_tool: bool,
}

impl ConversationService {
    /// The images on the branch in use, the newest first; of one run alone where one is named. An unknown session has
    /// none.
    pub async fn artifacts(&self, scope: &Scope, key: &SessionKey, run_id: Option<&str>) -> Result<Vec<Artifact>> {
        let tx = self.db.read(scope).await?;
        let Some(head) = transcript::head(&*tx, scope, key).await? else {
            return Ok(Vec::new());
        };
        let (mut found, mut seen): (Vec<Artifact>, usize) = (Vec::new(), 0);
        walk(&*tx, scope, &head, |entry| {
            seen += 1;
            if run_id.is_none_or(|run| entry.run_id.as_deref() == Some(run)) {
                for artifact in shown(&entry) {
                    if found.len() < MOST && found.iter().all(|known| known.id != artifact.id) {
                        found.push(artifact);
                    }
                }
            }
            if seen >= LOOKED_AT || found.len() >= MOST {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await?;
        if found.is_empty() {
            return Ok(found);
        }
        let sizes: Vec<(String, i64)> = blob::Entity::owned_by(scope)
            .select_only()
            .column(blob::Column::Id)
            .column(blob::Column::Size)
            .filter(blob::Column::Id.is_in(found.iter().map(|artifact| artifact.id.as_str())))
            .into_tuple()
            .all(&*tx)
            .await?;
        for artifact in &mut found {
            let size = sizes.iter().find(|(id, _)| *id == artifact.id);
            artifact.size = size.map(|(_, size)| *size);
        }
        Ok(found)
    }
}

fn shown(entry: &Entry) -> Vec<Artifact> {
    let Body::Message(body) = &entry.body else {
        return Vec::new();
    };
    let (content, of_tool) = match body.message.as_ref() {
        Message::User { content, .. } => (content, false),
        Message::ToolResult { content, .. } => (content, true),
        Message::Assistant(message) => (&message.attachments, true),
    };
    let images = content.iter().filter_map(|part| match part {
        Part::Image {
            blob: Some(blob),
            mime_type,
            ..
        }
        | Part::File {
            blob: Some(blob),
            mime_type,
            ..
        } => Some(Artifact {
            id: blob.clone(),
            mime_type: mime_type.clone(),
            size: None,
            run_id: entry.run_id.clone(),
            seq: entry.seq,
            of_tool,
        }),
        Part::Image { blob: None, .. } | Part::File { blob: None, .. } | Part::Text { .. } => None,
    });
    images.collect()
}
