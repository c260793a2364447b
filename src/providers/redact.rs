//! Taking secrets out of what a provider said before an operator reads it.

use claw_actors::crypto::Secret;

const MAX_CHARACTERS: usize = 1_000;
const HIDDEN: &str = "•••";
/// How keys of known vendors begin.
const KEY_PREFIXES: &[&str] = &[
    "sk-", "sk_", "pk-", "pk_", "rk_", "gsk_", "xai-", "key-", "ghp_", "gho_", "hf_", "nvapi-", "AIza", "ya29.", "eyJ",
    "csk-", "fw_", "pplx-", "xoxb-", "xoxp-", "xapp-", "AKIA", "ASIA",
];

/// `text` without keys, tokens and e-mail addresses, control characters flattened, cut to 1,000 characters.
pub(super) fn redact<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    // Cut first, generously: what is dropped needs no work, and a secret at the cut is still seen whole.
    let mut text: String = text.chars().take(MAX_CHARACTERS * 4).collect();
    for secret in secrets {
        let secret = secret.expose().trim();
        if secret.len() >= 4 {
            text = text.replace(secret, HIDDEN);
        }
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut after_bearer = false;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|char| in_word(char) != in_word(first)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(length);
        rest = tail;
        if !in_word(first) {
            clean.extend(run.chars().map(|char| if char.is_control() { ' ' } else { char }));
            continue;
        }
        if after_bearer || is_secret(run) {
            clean.push_str(HIDDEN);
        } else {
            clean.push_str(run);
        }
        after_bearer = run.eq_ignore_ascii_case("bearer");
    }
    clean.chars().take(MAX_CHARACTERS).collect::<String>().trim().to_owned()
}

fn in_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_-.+/=@*".contains(char)
}

fn is_secret(word: &str) -> bool {
    if KEY_PREFIXES.iter().any(|prefix| word.starts_with(prefix)) && word.len() >= 8 {
        return true;
    }
    if word
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    {
        return true;
    }
    // Long and mixed: nothing a person would write.
    word.split('/').any(|part| {
        part.len() >= 32
            && part.bytes().any(|byte| byte.is_ascii_digit())
            && part.bytes().any(|byte| byte.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_secrets_and_keeps_the_rest() {
        let own = Secret::new("my own key");
        for (text, expected) in [
            (
                "Incorrect API key provided: sk-proj-ab*****cd.",
                "Incorrect API key provided: •••",
            ),
            ("Authorization: Bearer abc.def", "Authorization: Bearer •••"),
            ("you sent my own key twice", "you sent ••• twice"),
            ("ask ops@example.com please", "ask ••• please"),
            ("token 0123456789abcdef0123456789abcdef!", "token •••!"),
            (
                "model claude-sonnet-4-5-20250929 is overloaded",
                "model claude-sonnet-4-5-20250929 is overloaded",
            ),
            ("line\r\nline\u{0}", "line  line"),
            (
                "see https://example.com/docs/errors",
                "see https://example.com/docs/errors",
            ),
        ] {
            assert_eq!(redact(text, [&own]), expected, "{text}");
        }
    }

    #[test]
    fn cuts() {
        assert_eq!(redact(&"ä ".repeat(5_000), []).chars().count(), 999);
    }
}
