//! Texts of documents, for models that do not read the documents themselves.

use claw_entities::TenantId;
use futures::future::BoxFuture;

/// Takes the text out of documents that strangers made.
pub trait Documents: Send + Sync {
    /// The text of a PDF, `most` characters at most. One tenant's documents are read one after the other.
    fn pdf(
        &self,
        tenant: TenantId,
        bytes: Vec<u8>,
        most: usize,
    ) -> BoxFuture<'static, Result<DocumentText, Unreadable>>;
}

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentText {
    pub text: String,
    /// Pages it has, and how many of them were read.
    pub pages: usize,
    pub read: usize,
}

/// Why a document cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not a PDF, or broken beyond reading.
    Broken,
    /// It asks for a password.
    Locked,
    /// It takes more time or memory than there is.
    TooMuch,
    /// Too many documents are being read.
    Busy,
}

impl Unreadable {
    /// For people, behind the file's name.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Broken => "it is damaged, or no PDF",
            Self::Locked => "it is protected by a password",
            Self::TooMuch => "it is too large to be read",
            Self::Busy => "too many documents are being read right now",
        }
    }
}
