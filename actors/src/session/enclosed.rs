//! Files that come with a message: images, PDFs and sounds become stored blobs, small texts are quoted, others are named.

use claw_entities::Scope;

use super::{blobs, text_file};
use crate::Services;
use crate::error::{Error, Result};
use crate::gateway::protocol::hello::MAX_IMAGE;
use crate::ports::message::{FileFormat, Part};

/// Characters of a name.
const NAME: usize = 120;

/// What a file turned out to be.
#[derive(Debug, PartialEq)]
pub(crate) enum Enclosed {
    Image {
        mime_type: &'static str,
        bytes: Vec<u8>,
    },
    /// A file that models may read.
    File {
        name: String,
        bytes: Vec<u8>,
    },
    Text(String),
    /// Nothing that is read here: it is named.
    Unread {
        name: String,
        size: usize,
    },
}

/// A name that can be shown.
pub(crate) fn shown(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).take(NAME).collect()
}

impl Enclosed {
    /// Looks at the bytes; `declared` is the kind that was claimed, or nothing.
    ///
    /// # Errors
    /// `Invalid` for an image that is too large.
    pub(crate) fn read(name: &str, declared: &str, bytes: Vec<u8>) -> Result<Self> {
        let name = shown(name);
        if let Some(mime_type) = blobs::image_type(&bytes) {
            if bytes.len() > MAX_IMAGE {
                return Err(Error::Invalid(format!(
                    "attachment {name}: image exceeds size limit ({MAX_IMAGE} bytes)"
                )));
            }
            return Ok(Self::Image { mime_type, bytes });
        }
        let size = bytes.len();
        if size <= blobs::MAX_FILE && FileFormat::of(&bytes).is_some() {
            return Ok(Self::File { name, bytes });
        }
        if let Some(text) = text_file::read(declared, &name, bytes) {
            return Ok(Self::Text(format!("[attached file {name}]\n{text}")));
        }
        Ok(Self::Unread { name, size })
    }

    /// Stores it where it is to be stored, and gives its part of the message.
    pub(crate) async fn store(self, services: &Services, scope: &Scope) -> Result<Part> {
        match self {
            Self::Text(text) => Ok(Part::Text { text }),
            Self::Unread { name, size } => Ok(Part::Text {
                text: format!("[attached file {name}, {size} bytes, not readable here]"),
            }),
            Self::File { name, bytes } => blobs::store_file(services, scope, &name, bytes)
                .await?
                .ok_or_else(|| Error::Invalid("the file is of no known kind".to_owned())),
            Self::Image { mime_type, bytes } => blobs::store_image(services, scope, mime_type, bytes).await,
        }
    }
}
