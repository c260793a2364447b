//! The bare words that stop a run. Only a whole message counts.

/// Lower case, without punctuation at the end.
const PHRASES: &[&str] = &[
    "stop",
    "esc",
    "abort",
    "wait",
    "exit",
    "interrupt",
    "halt",
    "stop action",
    "stop run",
    "stop agent",
    "stop openclaw",
    "stop clawcentral",
    "please stop",
    "stop please",
    "do not do that",
    // French
    "arrête",
    "arrete",
    "arrêtez",
    "arretez",
    "stoppe",
    // Spanish
    "para",
    "detente",
    "detén",
    "deten",
    "alto",
    // German
    "stopp",
    "anhalten",
    "aufhören",
    "abbrechen",
    // Portuguese
    "pare",
    "parar",
    "cancela",
    // Chinese
    "停",
    "停止",
    "停下",
    "别说了",
    // Japanese
    "止めて",
    "やめて",
    "ストップ",
    "中止",
    // Hindi
    "रुको",
    "रुकें",
    "रोको",
    // Arabic
    "توقف",
    "قف",
    // Russian
    "стоп",
    "остановись",
    "остановитесь",
    "хватит",
];

/// Longest phrase in bytes, with room for a mention and punctuation: longer messages are not looked at.
const LONGEST: usize = 96;

/// Is the whole message one of the phrases, whatever its case, mentions around it and punctuation after it.
pub(super) fn is_stop(text: &str) -> bool {
    if text.is_empty() || text.len() > LONGEST {
        return false;
    }
    let spoken: Vec<&str> = text.split_whitespace().filter(|word| !word.starts_with('@')).collect();
    let spoken = spoken.join(" ").to_lowercase();
    let bare = spoken.trim_end_matches(|c: char| !c.is_alphanumeric() && !is_mark(c));
    PHRASES.contains(&bare)
}

/// Combining signs of Devanagari and Arabic end words and are no punctuation.
fn is_mark(c: char) -> bool {
    ('\u{0900}'..='\u{0963}').contains(&c) || ('\u{064B}'..='\u{065F}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_message_stops() {
        for text in [
            "stop",
            "STOP!!!",
            "Stop.",
            "@claw stop",
            "stop @claw",
            "please stop",
            "Do not do that!",
            "arrête !",
            "停止。",
            "ストップ",
            "रुको।",
            "توقف",
            "Стоп!",
            "wait…",
        ] {
            assert!(is_stop(text.trim()), "{text:?}");
        }
        for text in [
            "",
            "stop the music at 5",
            "don't stop",
            "wait for me",
            "stopping",
            "@stop",
            "para qué",
            "!!!",
        ] {
            assert!(!is_stop(text), "{text:?}");
        }
    }

    #[test]
    fn the_list_is_in_the_form_it_is_compared_in() {
        for phrase in PHRASES {
            assert!(is_stop(phrase), "{phrase}");
        }
    }
}
