//! Slack's escaped text into what a person sees: `<@U…>`, `<#C…|name>`, `<url|label>`, `<!here>`, and `&amp; &lt; &gt;`.

/// A text without the bot's own mentions.
pub(super) struct Read {
    pub text: String,
    pub mentioned: bool,
}

/// Reads a message. One pass: every `<` is looked at once.
pub(super) fn read(raw: &str, bot_user: &str) -> Read {
    let mut read = Read {
        text: String::with_capacity(raw.len()),
        mentioned: false,
    };
    let mut rest = raw;
    while let Some(open) = rest.find('<') {
        unescape(&rest[..open], &mut read.text);
        let inner = &rest[open + 1..];
        // A token holds no second `<`: without its `>` before one, the sign stands for itself.
        let Some(close) = inner.find(['<', '>']).filter(|at| inner.as_bytes()[*at] == b'>') else {
            read.text.push('<');
            rest = inner;
            continue;
        };
        rest = &inner[close + 1..];
        let (target, label) = match inner[..close].split_once('|') {
            Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
            None => (&inner[..close], None),
        };
        if !bot_user.is_empty() && target.strip_prefix('@') == Some(bot_user) {
            read.mentioned = true;
            if read.text.is_empty() || read.text.ends_with(char::is_whitespace) {
                rest = rest.trim_start_matches(' ');
            }
            continue;
        }
        token(target, label, &mut read.text);
    }
    unescape(rest, &mut read.text);
    let trimmed = read.text.trim();
    if trimmed.len() != read.text.len() {
        read.text = trimmed.to_owned();
    }
    read
}

fn token(target: &str, label: Option<&str>, text: &mut String) {
    match target.chars().next() {
        Some(sign @ ('@' | '#')) => {
            text.push(sign);
            unescape(label.unwrap_or(&target[1..]).trim_start_matches(sign), text);
        }
        Some('!') => {
            let name = target[1..].split('^').next().unwrap_or_default();
            match label {
                Some(label) => unescape(label, text),
                None => {
                    text.push('@');
                    unescape(name, text);
                }
            }
        }
        Some(_) | None => {
            let bare = target
                .strip_prefix("mailto:")
                .or(target.strip_prefix("tel:"))
                .unwrap_or(target);
            match label {
                Some(label) if label != bare && label != target => {
                    unescape(label, text);
                    text.push_str(" (");
                    unescape(bare, text);
                    text.push(')');
                }
                Some(_) | None => unescape(bare, text),
            }
        }
    }
}

/// Exactly three entities exist.
fn unescape(raw: &str, text: &mut String) {
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')];
        let (skip, character) = known
            .into_iter()
            .find(|(entity, _)| rest.starts_with(entity))
            .map_or((1, '&'), |(entity, character)| (entity.len(), character));
        text.push(character);
        rest = &rest[skip..];
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, text: &str, mentioned: bool) {
        let read = read(raw, "U0CLAW001");
        assert_eq!((read.text.as_str(), read.mentioned), (text, mentioned), "{raw}");
    }

    #[test]
    fn tokens_and_entities() {
        check("<@U0CLAW001> status?", "status?", true);
        check("hey <@U0CLAW001|claw> what", "hey what", true);
        check("<@U0OTHER01> and <@U0OTHER02|ada>", "@U0OTHER01 and @ada", false);
        check(
            "<#C0OPS0001|ops> <!here> <!subteam^S1|@team>",
            "#ops @here @team",
            false,
        );
        check(
            "<https://x.test/?a=1&amp;b=2|the page>",
            "the page (https://x.test/?a=1&b=2)",
            false,
        );
        check(
            "<https://x.test> <mailto:a@b.test|a@b.test>",
            "https://x.test a@b.test",
            false,
        );
        check("1 &lt; 2 &amp;&amp; 3 &gt; 2 &quot;", "1 < 2 && 3 > 2 &quot;", false);
        check("&amp;lt;", "&lt;", false);
        check("broken <@U0CLAW001 and < b", "broken <@U0CLAW001 and < b", false);
        check("<> <|> <@>", "@", false);
        check("", "", false);
    }

    #[test]
    fn many_open_signs_take_one_pass() {
        let hostile = "<".repeat(200_000);
        assert_eq!(read(&hostile, "U1").text.len(), hostile.len());
    }
}
