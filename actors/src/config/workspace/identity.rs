//! What `IDENTITY.md` says of an agent: `- Name: Claw`, marks of Markdown around the words or not.

/// The parts that clients show. `None` where the file says nothing, or only what is to be filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub name: Option<String>,
    pub emoji: Option<String>,
    /// Letter, emoji or address of an image.
    pub avatar: Option<String>,
}

/// Longest value, characters.
const LONGEST: usize = 200;

/// Reads the file. What it does not know it passes over; the first line of a name counts.
pub fn parse(text: &str) -> Identity {
    let mut identity = Identity::default();
    for line in text.lines() {
        let Some((label, value)) = line.split_once(':') else {
            continue;
        };
        let field = match bare(label).to_lowercase().as_str() {
            "name" => &mut identity.name,
            "emoji" => &mut identity.emoji,
            "avatar" => &mut identity.avatar,
            _ => continue,
        };
        let value = bare(value);
        let to_fill_in = value.starts_with('(') || value.starts_with('<');
        if field.is_none() && !value.is_empty() && !to_fill_in && value.chars().count() <= LONGEST {
            *field = Some(value.to_owned());
        }
    }
    identity
}

/// Without the marks of lists and of emphasis around it.
fn bare(text: &str) -> &str {
    text.trim_matches(|mark: char| mark.is_whitespace() || matches!(mark, '-' | '*' | '_' | '`' | '#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_who_the_agent_is_in_some_ways() {
        let of = |text: &str| {
            let Identity { name, emoji, avatar } = parse(text);
            [name, emoji, avatar].map(Option::unwrap_or_default)
        };
        let known = ["Nib", "🖋", "https://example.org/nib.png"];
        assert_eq!(
            of("# Identity\n\n- Name: Nib\n- Creature: a pen\n- Emoji: 🖋\n- Avatar: https://example.org/nib.png\n"),
            known
        );
        assert_eq!(
            of("- **Name:** Nib\n* __Emoji__: `🖋`\nAVATAR: https://example.org/nib.png\r\nName: Other"),
            known
        );
        assert_eq!(
            of("- Name:\n- **Emoji:** _(pick one)_\n- Avatar: <none>\nNamed: x"),
            ["", "", ""]
        );
        assert_eq!(of(&format!("Name: {}", "x".repeat(201))), ["", "", ""]);
        assert_eq!(of(""), ["", "", ""]);
    }
}
