//! Texts of documents, for models that do not read the documents themselves.

use std::fmt;

use claw_entities::TenantId;
use futures::future::BoxFuture;

/// Takes the text out of documents that strangers made.
pub trait Documents: Send + Sync {
    /// The text of these pages of a PDF, `most` characters at most. One tenant's documents are read one after the other.
    fn pdf(
        &self,
        tenant: TenantId,
        bytes: Vec<u8>,
        most: usize,
        pages: Pages,
    ) -> BoxFuture<'static, Result<DocumentText, Unreadable>>;
}

/// Which pages are meant: ranges of numbers from 1 on, first and last included. None: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages(Vec<(u32, u32)>);

impl Pages {
    /// Ranges that are looked at.
    const MOST: usize = 50;

    /// `1-5`, `1,3,7-9`; nothing is all. `None` for what is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim().is_empty() {
            return Some(Self::default());
        }
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first > 0 && first <= last).then_some((first, last))
        };
        let ranges: Vec<_> = text.split(',').map(range).collect::<Option<_>>()?;
        (ranges.len() <= Self::MOST).then_some(Self(ranges))
    }

    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, page: u32) -> bool {
        self.is_all() || self.0.iter().any(|(first, last)| (*first..=*last).contains(&page))
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(formatter, "{comma}{first}-{last}")?;
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_numbers_and_ranges() {
        for (text, shown) in [("", ""), (" 1-5 ", "1-5"), ("1,3, 7-9", "1-1,3-3,7-9")] {
            let pages = Pages::parse(text).expect("can be read");
            assert_eq!(pages.to_string(), shown);
            assert_eq!(Pages::parse(shown), Some(pages));
        }
        for text in ["0", "x", "5-1", "1,,2", "-3", "1-2-3", &"1,".repeat(60)] {
            assert_eq!(Pages::parse(text), None, "{text}");
        }
        let pages = Pages::parse("2,4-5").expect("can be read");
        assert_eq!((1..7).filter(|page| pages.has(*page)).collect::<Vec<_>>(), [2, 4, 5]);
        assert!(Pages::default().has(9));
    }
}
