//! Commands that change the session's own settings: which model answers, and what is told along with an answer. The
//! owner's alone.

use serde_json::{Map, Value};

use super::choice;
use super::commands::{ModelCommand, Switch, Switching};
use super::item::Item;
use super::key;
use super::run;
use super::speech;
use super::thinking;
use super::turn::{self, Authority};
use crate::clock::now_ms;
use crate::config::document::UserSettings;
use crate::config::providers::{KeyView, ResolvedModel};
use crate::error::{Error, Result};
use crate::ports::tool::SessionSnapshot;
use crate::supervisor::directory::Directory;

/// Models that one answer lists.
const LISTED: usize = 60;

/// What holds for a run: the message's own word, else the session's, else the agent's, else the defaults'. `None`: none of
/// them says anything.
pub(crate) fn said(
    switch: Switch,
    said: Option<&'static str>,
    entry: &Value,
    settings: &UserSettings,
    agent: &str,
) -> Option<&'static str> {
    let usual = match switch {
        Switch::Verbose => settings
            .agent(agent)
            .and_then(|agent| agent.verbose)
            .or(settings.reply.verbose),
        Switch::Reasoning => settings
            .agent(agent)
            .and_then(|agent| agent.reasoning)
            .or(settings.reply.reasoning),
        Switch::Fast => settings
            .agent(agent)
            .and_then(|agent| agent.fast)
            .or(settings.reply.fast),
        Switch::Aloud => Some(settings.speech.auto),
        Switch::Usage | Switch::Send | Switch::Activation => None,
    };
    said.or_else(|| switch.stored(entry)).or(usual)
}

/// `/model`.
pub(crate) async fn model(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    said: &ModelCommand,
) -> Result<String> {
    if !item.guest.is_empty() {
        return Ok("Only the owner may choose the model.".to_owned());
    }
    let services = directory.services();
    let (config, scope, agent) = (&services.config, &authority.scope, authority.agent_id.as_str());
    let listed = config.list_models(scope).await?;
    let name = |at: usize| listed.get(at).map(|model| format!("{}/{}", model.provider, model.id));
    let wanted = match said {
        ModelCommand::Show | ModelCommand::Status => {
            let head = services.conversation.head(scope, &authority.key).await?;
            let own = head.as_ref().and_then(run::override_of);
            let mut model = match config.resolve_model(scope, agent, own).await {
                Ok(model) => model,
                Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
                Err(error) => return Ok(error.to_string()),
            };
            if let Some(head) = &head {
                thinking::apply(&mut model, None, &head.entry);
            }
            let whose = if own.is_some() {
                "chosen for this session"
            } else {
                "from the settings"
            };
            let line = format!("Model: {}/{} ({whose})", model.provider, model.model);
            if *said == ModelCommand::Show {
                return Ok(format!(
                    "{line}. /models lists all, /model <name or number> chooses, /model status says more."
                ));
            }
            let key = config
                .key_health(scope)
                .await?
                .view(&model.provider, &model.key, now_ms());
            return Ok(format!(
                "{line}\n{}",
                status(&model, &key, item.audience().is_private())
            ));
        }
        ModelCommand::List => {
            let names = (0..listed.len().min(LISTED)).filter_map(|at| Some(format!("{}. {}", at + 1, name(at)?)));
            let mut text = names.collect::<Vec<_>>().join("\n");
            if listed.len() > LISTED {
                text.push_str(&format!("\n… and {} more", listed.len() - LISTED));
            }
            return Ok(format!("Models:\n{text}"));
        }
        ModelCommand::Default => None,
        ModelCommand::Set(wanted) => {
            let number = wanted.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            Some(number.and_then(name).unwrap_or_else(|| wanted.clone()))
        }
    };
    let chosen = match &wanted {
        None => None,
        Some(wanted) => match choice::find(config, scope, agent, wanted).await {
            Ok(Some(chosen)) => Some(chosen),
            Ok(None) => return Ok(format!("There is no model {wanted}. /models lists those there are.")),
            Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
            Err(error) => return Ok(error.to_string()),
        },
    };
    turn::patch_entry(services, authority, choice::fields(chosen.as_ref())).await?;
    Ok(match chosen {
        Some(chosen) => format!("Model set to {}.", chosen.name),
        None => "The model goes back to the settings.".to_owned(),
    })
}

/// What `/model status` says of a model beside its name. Its address is for nobody but the owner; of the key only the name
/// is told.
fn status(model: &ResolvedModel, key: &KeyView, private: bool) -> String {
    let mut lines = vec![format!("API: {}", model.api)];
    if private {
        lines.push(format!("Endpoint: {}", without_secrets(&model.endpoint.base_url)));
    }
    let named = match (key.name.as_str(), &model.endpoint.api_key) {
        ("", None) => "none".to_owned(),
        ("", Some(_)) => "one without a name".to_owned(),
        (name, _) => name.to_owned(),
    };
    let rests = match (
        key.rests_until.and_then(chrono::DateTime::from_timestamp_millis),
        &key.reason,
    ) {
        (Some(until), Some(reason)) => {
            let until = until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            format!(", rests until {until} ({reason})")
        }
        (Some(_) | None, _) => String::new(),
    };
    lines.push(format!("Key: {named}{rests}"));
    lines.push(format!(
        "Context: {} tokens, answers of {} at most",
        model.context_window, model.max_tokens
    ));
    lines.push(format!("Thinking: {}", model.thinking.name()));
    lines.join("\n")
}

/// An address without what may be a secret in it: a user, a query.
fn without_secrets(address: &str) -> String {
    let plain = address.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest
                .split_once('/')
                .map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit('@').next().unwrap_or_default();
            let path = path.map(|path| format!("/{path}")).unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => plain.to_owned(),
    }
}

/// `/verbose`, `/reasoning`, `/fast`, `/tts`, `/usage`, `/send` and `/activation`.
pub(crate) async fn switch(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    switch: Switch,
    said: &Switching,
    snapshot: &SessionSnapshot,
) -> Result<String> {
    if !item.guest.is_empty() {
        return Ok("Only the owner may change that.".to_owned());
    }
    let label = switch.label();
    if switch == Switch::Activation && !key::parse(authority.key.as_str()).is_some_and(|parsed| parsed.is_shared()) {
        return Ok("Activation is for groups.".to_owned());
    }
    let services = directory.services();
    Ok(match said {
        Switching::Show => {
            let head = services.conversation.head(&authority.scope, &authority.key).await?;
            let entry = head.map(|head| head.entry).unwrap_or_default();
            let settings = services.config.settings(&authority.scope).await?;
            let now = match (switch, switch.stored(&entry)) {
                (_, Some(value)) => shown(switch, value),
                (Switch::Send | Switch::Activation, None) => "as the settings say",
                (Switch::Verbose | Switch::Reasoning | Switch::Fast | Switch::Aloud | Switch::Usage, None) => {
                    self::said(switch, None, &entry, &settings, &authority.agent_id).unwrap_or("off")
                }
            };
            let mut text = format!("{label}: {now}. Use {}.", words(switch));
            if switch == Switch::Aloud {
                text = format!("{text}\n{}", speech::told(services, &authority.scope).await?);
            }
            text
        }
        Switching::Set(word, value) => {
            let patch = Map::from_iter([(switch.field().to_owned(), switch.as_stored(*value))]);
            turn::patch_entry(services, authority, patch).await?;
            match value {
                Some(_) => format!("{label} set to {word}."),
                None => format!("{label} goes back to the settings."),
            }
        }
        Switching::Report => format!(
            "This session has used {} tokens in and {} out, ${:.4}.",
            snapshot.input_tokens, snapshot.output_tokens, snapshot.cost_usd
        ),
        Switching::Invalid(word) => format!("\"{word}\" is not possible here. Use {}.", words(switch)),
    })
}

/// The word people know a stored value by.
fn shown(switch: Switch, value: &str) -> &'static str {
    let found = switch.words().iter().find(|(_, stored)| *stored == Some(value));
    found.map_or("off", |(word, _)| word)
}

fn words(switch: Switch) -> String {
    let words: Vec<&str> = switch.words().iter().map(|(word, _)| *word).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn an_address_is_told_without_what_may_be_a_secret() {
        for (address, told) in [
            ("https://api.example.com/v1", "https://api.example.com/v1"),
            ("https://me:pass@host:8443/v1?key=x#y", "https://host:8443/v1"),
            ("https://a@b@host", "https://host"),
            ("host?key=x", "host"),
        ] {
            assert_eq!(without_secrets(address), told);
        }
    }
}
