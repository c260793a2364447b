//! Words of a text as they are searched, the same on both databases: small letters without accents, and pairs of
//! characters where a script sets no spaces. A word is letters and digits only, so no text can be syntax. Pure.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Characters of a word that count.
const LONGEST: usize = 64;
/// Words of a question that count.
const MOST: usize = 32;
/// A word of the question of so many characters is also the beginning of longer ones.
const PREFIX: usize = 3;

/// A word that is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) text: String,
    /// Longer words that begin with it count too.
    pub(crate) prefix: bool,
}

/// The words of a text, in order.
pub(crate) fn terms(text: &str) -> Vec<String> {
    let folded = text.nfkd().filter(|c| !is_combining_mark(*c)).nfc();
    let mut words = Vec::new();
    let mut word = String::new();
    let mut dense: Vec<char> = Vec::new();
    for c in folded.flat_map(char::to_lowercase) {
        if !c.is_alphanumeric() {
            end_word(&mut words, &mut word);
            end_dense(&mut words, &mut dense);
        } else if is_dense(c) {
            end_word(&mut words, &mut word);
            dense.push(c);
        } else {
            end_dense(&mut words, &mut dense);
            word.push(c);
        }
    }
    end_word(&mut words, &mut word);
    end_dense(&mut words, &mut dense);
    words
}

/// The words of a question, each once.
pub(crate) fn question(text: &str) -> Vec<Term> {
    let mut seen = HashSet::new();
    terms(text)
        .into_iter()
        .filter(|word| seen.insert(word.clone()))
        .take(MOST)
        .map(|text| Term {
            prefix: text.chars().count() >= PREFIX || (text.chars().all(is_dense) && text.chars().count() == 1),
            text,
        })
        .collect()
}

/// The question for SQLite's FTS5, among the words behind this mark.
pub(crate) fn fts5(mark: &str, question: &[Term]) -> String {
    let word = |term: &Term| format!("\"{mark}{}\"{}", term.text, if term.prefix { " *" } else { "" });
    question.iter().map(word).collect::<Vec<_>>().join(" OR ")
}

/// The question for PostgreSQL, as text of a `tsquery`.
pub(crate) fn tsquery(mark: &str, question: &[Term]) -> String {
    let word = |term: &Term| format!("'{mark}{}'{}", term.text, if term.prefix { ":*" } else { "" });
    question.iter().map(word).collect::<Vec<_>>().join(" | ")
}

fn end_word(words: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        words.push(word.chars().take(LONGEST).collect());
        word.clear();
    }
}

/// Two characters each, or one that stands alone.
fn end_dense(words: &mut Vec<String>, dense: &mut Vec<char>) {
    if let [alone] = dense.as_slice() {
        words.push(alone.to_string());
    }
    words.extend(dense.windows(2).map(String::from_iter));
    dense.clear();
}

/// Scripts that set no spaces between words.
fn is_dense(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' // Thai, Lao
        | '\u{3040}'..='\u{30FF}' // Hiragana, Katakana
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' // Han
        | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded() {
        assert_eq!(
            terms("Zürich: naïve CAFÉ, v2.10!"),
            ["zurich", "naive", "cafe", "v2", "10"]
        );
        assert_eq!(terms("Straße ﬁn Ⅷ"), ["straße", "fin", "viii"]);
        assert_eq!(terms("数据库ab库"), ["数据", "据库", "ab", "库"]);
        assert_eq!(terms("한국어 노트"), ["한국어", "노트"]);
        assert_eq!(terms("\0 \" ' * () -- :"), Vec::<String>::new());
        assert_eq!(terms(&"x".repeat(500)), ["x".repeat(LONGEST)]);
    }

    #[test]
    fn a_question_is_never_syntax() {
        let asked = question("a\" OR owner:\"b NEAR(c d) -x ^y* {z} AND NOT 'q':* & ! | \\");
        let words: Vec<&str> = asked.iter().map(|term| term.text.as_str()).collect();
        assert_eq!(
            words,
            [
                "a", "or", "owner", "b", "near", "c", "d", "x", "y", "z", "and", "not", "q"
            ]
        );
        for text in [fts5("f00", &asked), tsquery("f00", &asked)] {
            let outside: String = text.split(['"', '\'']).step_by(2).collect();
            assert!(
                outside
                    .chars()
                    .all(|c| " *():|".contains(c) || "owner AND terms OR".contains(c)),
                "{outside}"
            );
        }
        assert_eq!(fts5("f00", &question("tea x")), "\"f00tea\" * OR \"f00x\"");
        assert_eq!(tsquery("f00", &question("tea x")), "'f00tea':* | 'f00x'");
        assert_eq!(question(&"a b c ".repeat(50)).len(), 3);
        let many: String = (0..100).map(|n| format!("w{n} ")).collect();
        assert_eq!(question(&many).len(), MOST);
    }
}
