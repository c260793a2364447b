use super::*;

fn bounds(min: usize, max: usize, preference: Break) -> Bounds {
    Bounds { min, max, preference }
}

/// The parts of a text that comes a few characters at a time.
fn streamed(text: &str, bounds: Bounds, step: usize) -> Vec<String> {
    let mut chunker = Chunker::new(bounds);
    let mut parts = Vec::new();
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).step_by(step).collect();
    for end in ends {
        while let Some(part) = chunker.next(&text[..end]) {
            parts.push(part);
        }
    }
    parts.extend(chunker.rest(text));
    assert_eq!(chunker.at(), text.len());
    parts
}

#[test]
fn a_part_ends_at_the_best_place() {
    let text = "One two. Three\nfour five.\n\nSix seven eight. Nine";
    for (preference, first) in [
        (Break::Paragraph, "One two. Three\nfour five."),
        (Break::Newline, "One two. Three\nfour five."),
        (Break::Sentence, "One two. Three\nfour five."),
    ] {
        let mut chunker = Chunker::new(bounds(5, 30, preference));
        assert_eq!(chunker.next(text).as_deref(), Some(first), "{preference:?}");
    }
    let mut chunker = Chunker::new(bounds(5, 20, Break::Paragraph));
    assert_eq!(chunker.next(text).as_deref(), Some("One two. Three"), "a line, then");
    let mut chunker = Chunker::new(bounds(5, 12, Break::Paragraph));
    assert_eq!(chunker.next(text).as_deref(), Some("One two."), "a sentence, then");
    let mut chunker = Chunker::new(bounds(5, 6, Break::Paragraph));
    assert_eq!(
        chunker.next("alpha beta gamma").as_deref(),
        Some("alpha"),
        "a blank, then"
    );
    assert_eq!(chunker.next("alpha abcdefghij").as_deref(), Some("abcdef"), "anywhere");
}

#[test]
fn nothing_goes_out_below_the_minimum_or_without_a_place() {
    let mut chunker = Chunker::new(bounds(20, 40, Break::Paragraph));
    assert_eq!(chunker.next("short.\n\nand more"), None);
    assert_eq!(chunker.next("no sentence ends in here yet"), None);
    assert_eq!(
        chunker.rest("no sentence ends in here yet"),
        ["no sentence ends in here yet"]
    );
    assert!(chunker.rest("no sentence ends in here yet").is_empty(), "once");
}

#[test]
fn a_code_block_stays_whole_where_it_fits() {
    let text =
        "Here it is, at last:\n\n```rust\nfn main() {}\n\nfn other() {}\n```\n\nThat was the code, and more words.";
    for step in [1, 3, 7] {
        let parts = streamed(text, bounds(10, 50, Break::Paragraph), step);
        assert_eq!(parts[0], "Here it is, at last:", "{parts:?}");
        assert_eq!(parts[1], "```rust\nfn main() {}\n\nfn other() {}\n```", "{parts:?}");
    }
}

#[test]
fn a_long_code_block_is_closed_and_opened_again() {
    let lines: Vec<String> = (0..12).map(|line| format!("line number {line}")).collect();
    let text = format!("```text\n{}\n```\nDone.", lines.join("\n"));
    for step in [1, 5, 400] {
        let parts = streamed(&text, bounds(10, 60, Break::Paragraph), step);
        let mut seen = Vec::new();
        for part in &parts {
            let fences = part.matches("```").count();
            assert_eq!(fences % 2, 0, "{part}");
            assert!(part.chars().count() <= 60 + 4, "{part}");
            if fences > 0 {
                assert!(part.starts_with("```text\n"), "{part}");
            }
            seen.extend(part.lines().filter(|line| line.starts_with("line")).map(str::to_owned));
        }
        assert_eq!(seen, lines, "{parts:?}");
        assert!(parts.last().is_some_and(|last| last.ends_with("Done.")));
    }
}

#[test]
fn nothing_is_lost_whatever_comes() {
    let texts = [
        "x".repeat(500),
        "日本語の文。".repeat(60),
        "👨‍👩‍👧 ".repeat(80),
        "~~~\n".to_owned() + &"y".repeat(300),
        "a\n\n\n\nb ``` c\n```\n\n```".repeat(9),
        "   \n\n".repeat(50),
    ];
    for text in &texts {
        for step in [1, 13] {
            let parts = streamed(text, bounds(7, 20, Break::Paragraph), step);
            let kept = |text: &str| {
                text.chars()
                    .filter(|c| !c.is_whitespace() && !"`~".contains(*c))
                    .collect::<String>()
            };
            assert_eq!(kept(&parts.concat()), kept(text));
            assert!(parts.iter().all(|part| !part.trim().is_empty()));
        }
    }
    let family = "👨‍👩‍👧".repeat(9);
    let parts = streamed(&family, bounds(5, 7, Break::Paragraph), 1);
    assert!(parts.iter().all(|part| part.starts_with('👨')), "{parts:?}");
}

#[test]
fn a_long_opening_line_is_not_repeated() {
    for opening in ["```".to_owned() + &"x".repeat(1297), "`".repeat(1300)] {
        let text = format!("{opening}\n{}", "word ".repeat(2_000));
        for max in [1200, 16] {
            for step in [1_000, 20_000] {
                let parts = streamed(&text, bounds(7, max, Break::Paragraph), step);
                assert!(parts.len() <= text.len() / (max / 2) + 2, "{} of {max}", parts.len());
                assert!(parts.iter().all(|part| part.chars().count() <= max + max / 4 + 1));
                let words = parts.concat().chars().filter(|c| *c == 'w').count();
                assert_eq!(words, 2_000);
            }
        }
    }
}

#[test]
fn paragraphs_do_not_tear_code() {
    let text = "One.\n\n```\na\n\nb\n```\n\n\n\nTwo.";
    assert_eq!(paragraphs(text), ["One.", "```\na\n\nb\n```", "Two."]);
}

#[test]
fn a_long_text_takes_no_long_time() {
    for text in ["word ".repeat(100_000), "```\n\n".repeat(80_000), "x".repeat(400_000)] {
        let parts = Chunker::new(bounds(0, 64, Break::Paragraph)).rest(&text);
        assert!(parts.len() > 1_000);
        assert!(!paragraphs(&text).is_empty() && code(&text).len() <= text.len());
    }
}
