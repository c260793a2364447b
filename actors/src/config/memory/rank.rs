//! How well a piece fits a question. Pure, so both databases rank alike, and by one agent's own notes alone.

use super::terms::Term;

/// A word that only begins with the one asked for counts so much.
const PREFIX: f64 = 0.5;
/// A word that no piece has weighs so much of what the rarest would: people ask in sentences.
const ABSENT: f64 = 0.5;
/// How soon more of the same word adds nothing.
const SATURATION: f64 = 0.5;

/// The score of each piece, 0 to 1: the share of the question's weight that it answers. Words that few of the `total`
/// pieces have weigh most.
#[expect(clippy::cast_precision_loss, reason = "counts of words and pieces")]
pub(crate) fn scores(question: &[Term], pieces: &[Vec<String>], total: u64) -> Vec<f64> {
    let total = (total as f64).max(pieces.len() as f64);
    let mean = pieces.iter().map(Vec::len).sum::<usize>() as f64 / (pieces.len() as f64).max(1.0);
    let mut matched = vec![0.0; pieces.len()];
    let mut whole = 0.0;
    for term in question {
        let counts: Vec<f64> = pieces.iter().map(|words| count(term, words)).collect();
        let having = counts.iter().filter(|count| **count > 0.0).count() as f64;
        let weight = (1.0 + (total - having + 0.5) / (having + 0.5)).ln();
        if having == 0.0 {
            whole += weight * ABSENT;
            continue;
        }
        whole += weight;
        for ((sum, count), words) in matched.iter_mut().zip(counts).zip(pieces) {
            let length = 0.5 + 0.5 * words.len() as f64 / mean.max(1.0);
            *sum += weight * count / (count + SATURATION * length);
        }
    }
    if whole > 0.0 {
        for sum in &mut matched {
            *sum /= whole;
        }
    }
    matched
}

/// How often the word is there.
fn count(term: &Term, words: &[String]) -> f64 {
    let one = |word: &String| {
        if *word == term.text {
            1.0
        } else if term.prefix && word.starts_with(&term.text) {
            PREFIX
        } else {
            0.0
        }
    };
    words.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::super::terms::{question, terms};
    use super::*;

    /// Texts in the order they fit.
    fn ranked(asked: &str, texts: &[&str]) -> Vec<usize> {
        let pieces: Vec<Vec<String>> = texts.iter().map(|text| terms(text)).collect();
        let scores = scores(&question(asked), &pieces, 50);
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
        let mut order: Vec<usize> = (0..texts.len()).filter(|at| scores[*at] > 0.0).collect();
        order.sort_by(|left, right| scores[*right].total_cmp(&scores[*left]));
        order
    }

    #[test]
    fn more_rarer_and_whole_words_come_first() {
        let texts = [
            "the garden and the shed",
            "the database migration is on friday",
            "the database is large",
            "the databases",
        ];
        assert_eq!(ranked("database migration", &texts), [1, 2, 3]);
        assert_eq!(ranked("the migration", &texts)[0], 1);
        assert_eq!(ranked("databases", &texts), [3]);
        assert!(ranked("unicorn", &texts).is_empty());
    }

    #[test]
    fn a_word_that_stands_everywhere_weighs_little() {
        let pieces = ["of this", "of that", "of those", "of capital"].map(terms);
        let all = scores(&question("capital of France"), &pieces, 4);
        assert!(all[3] > 0.3 && all[0] < 0.1, "{all:?}");
    }

    #[test]
    fn nothing_asked_or_nothing_there() {
        assert!(scores(&question("x"), &[], 0).is_empty());
        assert_eq!(scores(&[], &[terms("a")], 1), [0.0]);
        assert_eq!(scores(&question("x"), &[Vec::new()], 1), [0.0]);
    }
}
