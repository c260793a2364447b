//! The size guard of tool results, applied when one is appended (`agent-runtime` §7.3).

use crate::ports::message::Part;

/// Characters, whatever the window.
const CEILING: usize = 400_000;
/// Never cut below this many characters.
const FLOOR: usize = 2_000;
const MAX_TAIL: usize = 4_000;

/// Words near the end that make it worth keeping.
const TELLING: [&str; 8] = [
    "error",
    "failed",
    "exception",
    "panic",
    "warning",
    "total",
    "summary",
    "result",
];

/// Cuts the texts of a tool result so that together they take at most 30 % of a window of `window` tokens (two
/// characters a token). The head stays, and the end too when it looks like it matters. Says how much went.
pub fn guard(content: &mut [Part], window: u64) {
    let limit = usize::try_from(window.saturating_mul(2) * 3 / 10)
        .unwrap_or(CEILING)
        .clamp(FLOOR, CEILING);
    let mut left = limit;
    for part in content {
        let Part::Text { text } = part else { continue };
        // Bytes bound characters from above: counting is only needed for long texts.
        if text.len() > left
            && let Some(cut) = cut(text, left.max(FLOOR))
        {
            *text = cut;
        }
        left = left.saturating_sub(text.len());
    }
}

fn cut(text: &str, limit: usize) -> Option<String> {
    let total = text.chars().count();
    if total <= limit {
        return None;
    }
    let tail_size = (limit * 3 / 10).min(MAX_TAIL);
    let tail = &text[from_end(text, tail_size)..];
    let lower = tail.to_lowercase();
    let keep_tail = TELLING.iter().any(|word| lower.contains(word)) || tail.trim_end().ends_with(['}', ']']);
    let tail = if keep_tail { after_line_end(tail) } else { "" };
    let head_size = limit - tail.chars().count();
    let head_end = text.char_indices().nth(head_size).map_or(text.len(), |(at, _)| at);
    let head = before_line_end(&text[..head_end]);
    let removed = total - head.chars().count() - tail.chars().count();
    let mut result = String::with_capacity(head.len() + tail.len() + 64);
    result.push_str(head);
    result.push_str(&format!("\n[… {removed} characters left out …]\n"));
    result.push_str(tail);
    Some(result)
}

/// Byte position of the last `count` characters.
fn from_end(text: &str, count: usize) -> usize {
    text.char_indices()
        .rev()
        .nth(count.saturating_sub(1))
        .map_or(0, |(at, _)| at)
}

/// Up to the last line end, unless that would lose more than half.
fn before_line_end(text: &str) -> &str {
    match text.rfind('\n') {
        Some(at) if at * 2 >= text.len() => &text[..at],
        Some(_) | None => text,
    }
}

/// From after the first line end, unless that would lose more than half.
fn after_line_end(text: &str) -> &str {
    match text.find('\n') {
        Some(at) if at * 2 <= text.len() => &text[at + 1..],
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded(text: &str, window: u64) -> String {
        let mut content = vec![Part::Text { text: text.to_owned() }];
        guard(&mut content, window);
        match content.remove(0) {
            Part::Text { text } => text,
            Part::Image { .. } | Part::File { .. } => unreachable!("it was text"),
        }
    }

    #[test]
    fn short_results_stay_and_long_ones_say_what_went() {
        let short = "line\n".repeat(100);
        assert_eq!(guarded(&short, 200_000), short);

        let dull = "some line of output\n".repeat(2_000);
        let cut = guarded(&dull, 20_000); // 12,000 characters
        assert!(
            cut.len() < 12_200 && cut.contains("characters left out"),
            "{}",
            cut.len()
        );
        assert!(cut.starts_with("some line of output\n"));

        let telling = format!("{dull}error: it broke\n");
        assert!(guarded(&telling, 20_000).ends_with("error: it broke\n"));
        let json = format!("{}{}", "\"k\": 1,\n".repeat(5_000), "}");
        assert!(guarded(&json, 20_000).ends_with('}'));
    }

    #[test]
    fn never_below_the_floor_and_never_inside_a_character() {
        let text = "é".repeat(10_000);
        let cut = guarded(&text, 100);
        assert!(cut.chars().filter(|c| *c == 'é').count() >= FLOOR);
    }
}
