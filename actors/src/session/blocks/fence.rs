//! Code blocks of Markdown: where they are, and how one that is cut goes on.

/// A code block, `start..end` in bytes. One that is not closed reaches beyond the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Length of the line that opens it.
    pub(super) opening: usize,
}

/// What closes a code block, and the line that opens it again.
pub(super) struct Fence {
    pub(super) mark: String,
    pub(super) line: String,
}

/// The marks a line begins with, and what follows them.
fn marks(line: &str) -> Option<(&str, &str)> {
    let body = line.trim_start_matches(' ');
    if line.len() - body.len() > 3 {
        return None;
    }
    let first = body.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let rest = body.trim_start_matches(first);
    let mark = &body[..body.len() - rest.len()];
    (mark.len() >= 3).then_some((mark, rest.trim_end()))
}

/// The code blocks of a text, in order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(&str, Block)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        match (marks(line), open) {
            (Some((mark, info)), None) if !(mark.starts_with('`') && info.contains('`')) => {
                let block = Block {
                    start: at,
                    // Beyond the text: a cut at its end is inside, too.
                    end: text.len() + 1,
                    opening: line.trim_end().len(),
                };
                open = Some((mark, block));
            }
            (Some((mark, "")), Some((opened, block))) if mark.starts_with(opened) => {
                blocks.push(Block {
                    end: at + line.trim_end().len(),
                    ..block
                });
                open = None;
            }
            (Some(_) | None, _) => {}
        }
        at = end;
    }
    blocks.extend(open.map(|(_, block)| block));
    blocks
}

/// Is this place in one of the blocks, which are in order.
pub(super) fn holds(blocks: &[Block], at: usize) -> bool {
    let before = blocks.partition_point(|block| block.start <= at);
    before
        .checked_sub(1)
        .and_then(|last| blocks.get(last))
        .is_some_and(|block| at < block.end)
}

/// The code block a cut at `place` goes through.
pub(super) fn open_at(text: &str, place: usize) -> Option<Fence> {
    let block = blocks(text)
        .into_iter()
        .find(|block| block.start < place && place < block.end)?;
    let line = text.get(block.start..block.start + block.opening)?;
    let (mark, _) = marks(line)?;
    Some(Fence {
        mark: mark.to_owned(),
        line: line.trim_start().to_owned(),
    })
}
