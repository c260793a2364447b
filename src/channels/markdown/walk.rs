//! Going through one slice of a document: spans that stick out are closed at its end and opened again in the next.

use super::{Document, Span};
use crate::channels::chunk::Slice;

/// One thing to write down.
pub(super) enum Step<'a> {
    Open(&'a Span),
    Text(&'a str),
    Close(&'a Span),
}

/// Calls `visit` for every step of the slice, properly nested.
pub(super) fn walk<'a>(document: &'a Document, slice: &Slice, mut visit: impl FnMut(Step<'a>)) {
    let mut at = slice.range.start;
    let mut stack: Vec<&Span> = Vec::new();
    let text_to = |to: usize, at: &mut usize, visit: &mut dyn FnMut(Step<'a>)| {
        let to = to.min(slice.range.end);
        if to > *at {
            visit(Step::Text(&document.text[*at..to]));
            *at = to;
        }
    };
    for &index in &slice.open {
        let span = &document.spans[index];
        visit(Step::Open(span));
        stack.push(span);
    }
    for span in &document.spans[slice.spans.clone()] {
        while let Some(top) = stack.pop_if(|top| top.end <= span.start) {
            text_to(top.end, &mut at, &mut visit);
            visit(Step::Close(top));
        }
        text_to(span.start, &mut at, &mut visit);
        visit(Step::Open(span));
        stack.push(span);
    }
    while let Some(top) = stack.pop() {
        text_to(top.end, &mut at, &mut visit);
        visit(Step::Close(top));
    }
    text_to(slice.range.end, &mut at, &mut visit);
}
