//! A file in pieces: about 400 tokens each, whole lines, 80 tokens of one again in the next (`agent-runtime` §9). Pure.

/// Characters of a piece, and of what stands in two of them: four to a token.
const LONGEST: usize = 1_600;
const OVERLAP: usize = 320;

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Counted from 1.
    pub(super) start_line: i64,
    /// The last line that is part of it.
    pub(super) end_line: i64,
    pub(super) text: String,
}

/// A line, or a part of one that is longer than a piece.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: i64,
    text: &'a str,
    /// Characters, the line's end included.
    size: usize,
}

/// The pieces of a text in order. Blank ones are left out.
pub(super) fn chunks(text: &str) -> Vec<Chunk> {
    let mut pieces = Vec::new();
    let mut current: Vec<Line<'_>> = Vec::new();
    let mut size = 0;
    let numbered = (1..).zip(text.lines());
    for line in numbered.flat_map(|(number, text)| parts(number, text)) {
        if size + line.size > LONGEST && !current.is_empty() {
            pieces.extend(piece(&current));
            current = carried(&current);
            size = current.iter().map(|line| line.size).sum();
            if size + line.size > LONGEST {
                current.clear();
                size = 0;
            }
        }
        size += line.size;
        current.push(line);
    }
    pieces.extend(piece(&current));
    pieces
}

/// The end of a piece that the next one begins with.
fn carried<'a>(lines: &[Line<'a>]) -> Vec<Line<'a>> {
    let mut left = OVERLAP;
    let fits = |line: &&Line<'_>| {
        let fits = line.size <= left;
        left = left.saturating_sub(line.size);
        fits
    };
    let mut tail: Vec<Line<'a>> = lines.iter().rev().take_while(fits).copied().collect();
    tail.reverse();
    tail
}

fn piece(lines: &[Line<'_>]) -> Option<Chunk> {
    let (first, last) = (lines.first()?, lines.last()?);
    let mut text = String::with_capacity(LONGEST);
    for (at, line) in lines.iter().enumerate() {
        let continues = at > 0 && lines.get(at - 1).is_some_and(|before| before.number == line.number);
        if at > 0 && !continues {
            text.push('\n');
        }
        text.push_str(line.text);
    }
    (!text.trim().is_empty()).then_some(Chunk {
        start_line: first.number,
        end_line: last.number,
        text,
    })
}

/// A line, cut where it is longer than a piece.
fn parts(number: i64, text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let end = whole.char_indices().nth(LONGEST - 1).map_or(whole.len(), |(at, _)| at);
        let (text, more) = whole.split_at(end);
        rest = (!more.is_empty()).then_some(more);
        Some(Line {
            number,
            text,
            size: text.chars().count() + 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunk: &Chunk) -> (i64, i64) {
        (chunk.start_line, chunk.end_line)
    }

    #[test]
    fn short_and_blank_texts() {
        assert!(chunks("").is_empty());
        assert!(chunks("\n \n\n").is_empty());
        let one = chunks("a\nb\r\n\nc\n");
        assert_eq!(one.len(), 1);
        assert_eq!((lines(&one[0]), one[0].text.as_str()), ((1, 4), "a\nb\n\nc"));
    }

    #[test]
    fn pieces_are_whole_lines_cover_everything_and_overlap() {
        let source: Vec<String> = (1..=200).map(|n| format!("line {n} {}", "word ".repeat(9))).collect();
        let pieces = chunks(&source.join("\n"));
        assert!(pieces.len() > 5, "{}", pieces.len());
        assert_eq!((pieces[0].start_line, pieces[pieces.len() - 1].end_line), (1, 200));
        for piece in &pieces {
            assert!(piece.text.chars().count() <= LONGEST);
            let from = usize::try_from(piece.start_line - 1).unwrap();
            let to = usize::try_from(piece.end_line).unwrap();
            assert_eq!(piece.text, source[from..to].join("\n"), "its lines are exactly these");
        }
        for pair in pieces.windows(2) {
            let again = pair[0].end_line - pair[1].start_line + 1;
            assert!((1..=8).contains(&again), "{:?} {:?}", lines(&pair[0]), lines(&pair[1]));
        }
    }

    #[test]
    fn a_line_longer_than_a_piece_is_cut_between_characters() {
        let pieces = chunks(&format!("head\n{}\ntail", "é".repeat(4_000)));
        let total: usize = pieces.iter().map(|piece| piece.text.matches('é').count()).sum();
        assert_eq!(total, 4_000, "nothing is lost, and nothing so long is there twice");
        assert!(pieces.iter().all(|piece| piece.text.chars().count() <= LONGEST));
        assert!(pieces.iter().skip(1).all(|piece| piece.start_line == 2));
        let last = pieces.last().expect("pieces");
        assert!(last.text.ends_with("\ntail") && last.end_line == 3, "{}", last.text);
    }
}
