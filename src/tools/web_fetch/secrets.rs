//! Headers with a skill's keys (`agent-runtime` §16.3): the model names them, the user chose the hosts they may go to, and
//! neither the model nor the transcript sees a value.

use claw_actors::config::skills::SkillKeys;
use claw_actors::crypto::Secret;
use claw_actors::ports::message::Part;
use claw_actors::ports::tool::{ToolContext, ToolOutput};
use url::Url;

use super::extract::Page;

/// Headers of one request.
const MOST: usize = 8;
/// Longest header as the model writes it, bytes.
const LONGEST: usize = 1_000;

/// What one request may carry.
#[derive(Debug)]
pub(super) struct Secrets {
    keys: SkillKeys,
    headers: Vec<(String, Secret)>,
}

impl Secrets {
    /// Opens the keys of a skill for a request to this address. `Err` is for the model.
    pub(super) async fn find(
        context: &ToolContext,
        url: &str,
        skill: Option<&str>,
        wanted: &[String],
    ) -> Result<Self, String> {
        let skills = context.skills.as_ref();
        let skills = skills.ok_or("Only the owner's own conversations have the keys of skills.")?;
        let skill = skill.map(str::trim).filter(|skill| !skill.is_empty());
        let skill = skill.ok_or("\"secretHeaders\" needs \"skill\": whose keys they are.")?;
        let (hosts, keys) = skills.keys(skill).await?;
        Self::of(url, &hosts, keys, wanted)
    }

    fn of(url: &str, hosts: &[String], keys: SkillKeys, wanted: &[String]) -> Result<Self, String> {
        let address = Url::parse(url).map_err(|_| "The URL cannot be read.")?;
        let host = address.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
        if address.scheme() != "https" || address.port().is_some() {
            return Err("Keys are sent to https addresses without a port only.".to_owned());
        }
        if !hosts.contains(&host) {
            return Err(format!(
                "The user has not allowed this skill's keys to be sent to {host}. They can: Skills, Keys, hosts."
            ));
        }
        if wanted.len() > MOST || wanted.iter().any(|header| header.len() > LONGEST) {
            return Err("There are too many headers, or one is too long.".to_owned());
        }
        let headers = wanted.iter().map(|header| filled(header, &keys));
        Ok(Self {
            headers: headers.collect::<Result<_, _>>()?,
            keys,
        })
    }

    pub(super) fn headers(&self) -> &[(String, Secret)] {
        &self.headers
    }

    /// The page without the values, should the server send them back.
    pub(super) fn hide(&self, mut page: Page) -> Page {
        page.text = self.keys.hide(&page.text);
        page.title = self.keys.hide(&page.title);
        page.url = self.keys.hide(&page.url);
        page
    }

    pub(super) fn hide_output(&self, mut output: ToolOutput) -> ToolOutput {
        for part in &mut output.content {
            if let Part::Text { text } = part {
                *text = self.keys.hide(text);
            }
        }
        output
    }
}

/// `Name: text with ${VARIABLE}`, its variables replaced. `${apiKey}` is the skill's key, whatever it fills.
fn filled(header: &str, keys: &SkillKeys) -> Result<(String, Secret), String> {
    let (name, template) = header
        .split_once(':')
        .ok_or("\"secretHeaders\" takes items like \"Name: value\".")?;
    let mut value = String::new();
    let mut rest = template.trim();
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, after) = after.split_once('}').ok_or("A ${ is not closed.")?;
        let known = keys
            .env
            .iter()
            .find(|(known, _)| known == variable)
            .map(|(_, value)| value);
        let known = known.or_else(|| keys.api_key.as_ref().filter(|_| variable == "apiKey"));
        let known = known.ok_or_else(|| {
            let mut names: Vec<&str> = keys.env.iter().map(|(name, _)| name.as_str()).collect();
            if keys.api_key.is_some() {
                names.push("apiKey");
            }
            format!("The skill has no key of that name. It has: {}.", names.join(", "))
        })?;
        value.push_str(before);
        value.push_str(known.expose());
        rest = after;
    }
    value.push_str(rest);
    Ok((name.trim().to_owned(), Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::context;
    use super::*;

    fn keys() -> SkillKeys {
        SkillKeys {
            api_key: Some(Secret::new("sk-zebra")),
            env: vec![("TEA_TOKEN".to_owned(), Secret::new("quartz-42"))],
        }
    }

    fn of(url: &str, wanted: &[&str]) -> Result<Secrets, String> {
        let wanted: Vec<String> = wanted.iter().map(|header| (*header).to_owned()).collect();
        Secrets::of(url, &["api.tea.test".to_owned()], keys(), &wanted)
    }

    #[test]
    fn keys_go_where_the_user_lets_them_and_nowhere_else() {
        let found = of(
            "https://API.tea.test/v1?x=1",
            &[
                "Authorization: Bearer ${TEA_TOKEN}",
                "X-Key:${apiKey}",
                "X-Plain: hello",
            ],
        )
        .expect("is allowed");
        let values: Vec<(&str, &str)> = found
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        assert_eq!(
            values,
            [
                ("Authorization", "Bearer quartz-42"),
                ("X-Key", "sk-zebra"),
                ("X-Plain", "hello")
            ]
        );
        for url in [
            "http://api.tea.test/",
            "https://api.tea.test:8443/",
            "https://tea.test/",
            "https://x.api.tea.test/",
            "https://api.tea.test.evil.test/",
            "https://evil.test/?api.tea.test",
            "https://api.tea.test@evil.test/",
            "nonsense",
        ] {
            of(url, &["A: ${TEA_TOKEN}"]).expect_err(url);
        }
        for header in ["A", "A: ${NONE}", "A: ${TEA_TOKEN"] {
            let refusal = of("https://api.tea.test/", &[header]).expect_err(header);
            assert!(!refusal.contains("quartz") && !refusal.contains("zebra"), "{refusal}");
        }
        of("https://api.tea.test/", &["A: b"; 9]).expect_err("too many");
    }

    #[test]
    fn what_a_server_sends_back_is_hidden() {
        let secrets = of("https://api.tea.test/", &["A: ${TEA_TOKEN}"]).expect("is allowed");
        let page = Page {
            text: "you sent quartz-42".to_owned(),
            title: "sk-zebra".to_owned(),
            url: "https://api.tea.test/quartz-42".to_owned(),
            ..Page::default()
        };
        let page = secrets.hide(page);
        assert_eq!(
            (page.text.as_str(), page.title.as_str()),
            ("you sent [hidden]", "[hidden]")
        );
        let output = secrets.hide_output(ToolOutput::error("no: quartz-42"));
        assert_eq!(super::super::super::tests::text(&output), "no: [hidden]");
        assert!(!format!("{secrets:?}").contains("zebra"));
    }

    #[tokio::test]
    async fn a_guest_has_no_keys() {
        let refusal = Secrets::find(&context(), "https://api.tea.test/", Some("tea"), &[]).await;
        assert!(refusal.expect_err("is refused").contains("Only the owner's"));
    }
}
