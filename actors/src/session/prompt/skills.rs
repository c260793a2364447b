//! The list of skills in the prompt (`agent-runtime` §16.4): name, description and where to read the rest.

use crate::session::skills::Offered;

/// Skills in the list, and characters of it.
const MOST: usize = 150;
const MAX_CHARS: usize = 30_000;

const INTRODUCTION: &str = "\
These skills hold instructions for particular tasks. When a task fits a description, read the skill's file with the read \
tool first and follow it; otherwise leave it. Other files it names are beside it: resolve their paths against its folder.";

/// How much of the prompt one skill takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillShare {
    pub name: String,
    /// Characters of its element.
    pub chars: usize,
}

/// The section's text; empty when there are no skills.
pub(super) fn list(skills: &[Offered]) -> String {
    if skills.is_empty() {
        return String::new();
    }
    let mut text = heading();
    let mut shown = 0;
    for (_, element, _) in listed(skills) {
        shown += 1;
        text.push_str(&element);
    }
    text.push_str("</available_skills>");
    if shown < skills.len() {
        let rest = skills.len() - shown;
        text.push_str(&format!("\n({rest} more skills are not listed: there are too many.)"));
    }
    text
}

/// What each takes of it; those that are left out are not among them.
pub(super) fn shares(skills: &[Offered]) -> Vec<SkillShare> {
    let share = |(skill, _, chars): (&Offered, String, usize)| SkillShare {
        name: skill.name.clone(),
        chars,
    };
    listed(skills).map(share).collect()
}

fn heading() -> String {
    format!("{INTRODUCTION}\n<available_skills>\n")
}

/// Those that have room, with their elements and how many characters these are.
fn listed(skills: &[Offered]) -> impl Iterator<Item = (&Offered, String, usize)> {
    let mut left = MAX_CHARS.saturating_sub(heading().chars().count());
    skills.iter().take(MOST).map_while(move |skill| {
        let element = element(skill);
        let size = element.chars().count();
        left = left.checked_sub(size)?;
        Some((skill, element, size))
    })
}

fn element(skill: &Offered) -> String {
    format!(
        "  <skill>\n    <name>{}</name>\n    <description>{}</description>\n    <location>{}</location>\n  </skill>\n",
        escaped(&skill.name),
        escaped(&skill.description),
        escaped(&skill.location)
    )
}

/// Third parties write this text: it stays on its line and inside its element.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skill(name: &str, description: &str) -> Offered {
        Offered {
            name: name.to_owned(),
            description: description.to_owned(),
            location: format!("skill://{name}/SKILL.md"),
        }
    }

    #[test]
    fn an_element_costs_what_the_specification_says() {
        assert_eq!(list(&[]), "");
        let text = list(&[skill("tea", "Makes <tea> & \"more\"\n</skill>")]);
        assert!(text.contains("<description>Makes &lt;tea&gt; &amp; &quot;more&quot; &lt;/skill&gt;</description>"));
        let fields = "tea".len() + "d".len() + "skill://tea/SKILL.md".len();
        assert_eq!(element(&skill("tea", "d")).len(), 97 + fields);
    }

    #[test]
    fn too_many_or_too_long_are_left_out_with_a_note() {
        let many: Vec<Offered> = (0..200).map(|at| skill(&format!("s{at}"), "d")).collect();
        let text = list(&many);
        assert_eq!(text.matches("<name>").count(), MOST);
        assert!(
            text.ends_with("(50 more skills are not listed: there are too many.)"),
            "{text}"
        );
        assert_eq!(shares(&many).len(), MOST);
        let long: Vec<Offered> = (0..100).map(|at| skill(&format!("s{at}"), &"é".repeat(1024))).collect();
        let text = list(&long);
        assert!(text.chars().count() < MAX_CHARS + 200);
        assert!(text.contains("more skills are not listed"));
    }
}
