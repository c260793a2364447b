//! `/allowlist` (`agent-runtime` §20): who may write to the bot that its owner is writing to. Shown to the bot's owner alone, in
//! a chat of theirs; changed like the configuration, where `commands.config` is on, by who may change channels.

use std::fmt::Write;

use claw_entities::Scope;
use serde_json::{Map, Value, json};

use super::commands::{AllowlistCommand, Listed};
use super::excerpt::beginning;
use super::item::Item;
use super::key::DEFAULT_ACCOUNT;
use super::policy::{self, EVERYBODY};
use super::turn::Authority;
use crate::config::accounts::{AccessPolicy, DmPolicy, GroupPolicy, ResolvedAccount, without_channel};
use crate::config::whole::{Change, Written};
use crate::error::{Error, Result};
use crate::gateway::methods::config::shown;
use crate::ports::channel::Destination;
use crate::supervisor::directory::Directory;

/// Characters of an answer, and the longest id.
const LONGEST: usize = 3_500;
const LONGEST_ID: usize = 200;

const USAGE: &str =
    "Usage: /allowlist [list], /allowlist add|remove [dm|group] <sender id>. /whoami tells people their id.";
const LAST: &str = "That is the last one, and groups follow this list while they have none of their own. Give groups a list \
                    first: /allowlist add group <sender id>.";
const NOT_HERE: &str = "Write that in a chat of your own with the bot, or see Channels in the Admin UI.";
const OFF: &str = "/allowlist changes nothing while commands.config is off. Set it to true under Settings, or change the list \
                   under Channels.";

/// Carries it out, and gives what is answered. The caller has refused guests.
pub(crate) async fn carry_out(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    said: &AllowlistCommand,
) -> Result<String> {
    let here = item.destination.as_ref().filter(|_| !item.options.delivered);
    let Some(here) = here.filter(|_| item.audience().is_private()) else {
        return Ok(NOT_HERE.to_owned());
    };
    let scope = &authority.scope;
    let config = &directory.services().config;
    let account = config.account(scope.tenant(), &here.channel, &here.account_id).await?;
    // On somebody else's bot the user is a linked person, not who decides about it.
    let Some(account) = account.filter(|account| account.owner == *scope.user()) else {
        return Ok("Only the owner of this bot may do that.".to_owned());
    };
    match said {
        AllowlistCommand::Usage => Ok(USAGE.to_owned()),
        AllowlistCommand::List => Ok(beginning(&listed(&account), LONGEST)),
        AllowlistCommand::Add { .. } | AllowlistCommand::Remove { .. }
            if !config.settings(scope).await?.commands.config =>
        {
            Ok(OFF.to_owned())
        }
        AllowlistCommand::Add { id, .. } | AllowlistCommand::Remove { id, .. } if id.len() > LONGEST_ID => {
            Ok(USAGE.to_owned())
        }
        AllowlistCommand::Add { list, id } => changed(directory, scope, (here, &account), *list, Step::Add(id)).await,
        AllowlistCommand::Remove { list, id } => removed(directory, scope, (here, &account), *list, id).await,
    }
}

/// What the policy says, for people.
fn listed(account: &ResolvedAccount) -> String {
    let AccessPolicy {
        dm,
        allow_from,
        group,
        group_allow_from,
        ..
    } = &account.policy;
    let dm = match dm {
        DmPolicy::Pairing => "pairing",
        DmPolicy::Allowlist => "allowlist",
        DmPolicy::Open => "open",
        DmPolicy::Disabled => "disabled",
    };
    let group = match group {
        GroupPolicy::Allowlist => "allowlist",
        GroupPolicy::Open => "open",
        GroupPolicy::Disabled => "disabled",
    };
    let ids = |list: &[String]| {
        if list.is_empty() {
            "nobody".to_owned()
        } else {
            list.join(", ")
        }
    };
    let mut text = format!("Direct chats: {dm}\nAllowed: {}", ids(allow_from));
    let mut approved: Vec<String> = account.approved.iter().cloned().collect();
    approved.sort_unstable();
    if !approved.is_empty() {
        let _ = write!(text, "\nPaired: {}", ids(&approved));
    }
    let _ = write!(text, "\nGroups: {group}");
    let _ = match group_allow_from {
        Some(list) => write!(text, "\nAllowed in groups: {}", ids(list)),
        None => write!(text, "\nAllowed in groups: as in direct chats"),
    };
    text
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Add(&'a str),
    Remove(&'a str),
}

/// Shuts somebody out: from the list, and as a guest who was let in by a code.
async fn removed(
    directory: &Directory,
    scope: &Scope,
    (here, account): (&Destination, &ResolvedAccount),
    list: Listed,
    id: &str,
) -> Result<String> {
    let plain = without_channel(&here.channel, id.trim());
    let mut paired = false;
    let approved = account.approved.iter().find(|known| known.eq_ignore_ascii_case(plain));
    if let Some(plain) = approved.filter(|_| list == Listed::Direct) {
        let config = &directory.services().config;
        match config
            .revoke_sender(scope, &here.channel, &here.account_id, plain)
            .await
        {
            Ok(()) => paired = true,
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let told = changed(directory, scope, (here, account), list, Step::Remove(id)).await?;
    Ok(if paired {
        format!("{plain} is not paired any more. {told}")
    } else {
        told
    })
}

/// Changes one of the account's lists, on what it is now.
async fn changed(
    directory: &Directory,
    scope: &Scope,
    (here, account): (&Destination, &ResolvedAccount),
    list: Listed,
    step: Step<'_>,
) -> Result<String> {
    let services = directory.services();
    let user = services.config.user(scope.tenant_scope(), scope.user()).await?;
    let whole = services.config.whole(&user).await?;
    let mut path = vec!["channels", here.channel.as_str()];
    if here.account_id != DEFAULT_ACCOUNT {
        path.extend(["accounts", here.account_id.as_str()]);
    }
    path.push(match list {
        Listed::Direct => "allowFrom",
        Listed::Group => "groupAllowFrom",
    });
    let now = path.iter().try_fold(&whole.config, |value, part| value.get(*part));
    // A list of their own takes the place of the one that groups followed: who was on that is on this.
    let followed = json!(account.policy.allow_from);
    let now = match now.filter(|now| !now.is_null()) {
        None if list == Listed::Group => &followed,
        now => now.unwrap_or(&Value::Null),
    };
    let follow = list == Listed::Direct && policy::groups_follow(&account.policy);
    let Some(next) = stepped(&here.channel, now, step) else {
        return Ok(match step {
            Step::Add(id) => format!("{id} is on the list already."),
            Step::Remove(id) => format!("{id} is not on the list."),
        });
    };
    let left = next.as_array().map_or(0, Vec::len);
    if follow && left == 0 {
        return Ok(LAST.to_owned());
    }
    let everybody = next.as_array().is_some_and(|next| next.contains(&json!(EVERYBODY)));
    let patch = path.iter().rev().fold(next, |inner, name| {
        Value::Object(Map::from_iter([((*name).to_owned(), inner)]))
    });
    let change = Change::Patch {
        patch,
        replace: vec![path.join(".")],
    };
    let apis = services.ports.apis();
    let written = services
        .config
        .change_whole(&user, Some(&whole.hash), change, &apis)
        .await;
    match written {
        Ok(Written::Stored { whole, .. }) => {
            directory.config_is(scope, whole.hash);
            let mut told = match step {
                Step::Add(id) => format!("{id} is on the list now."),
                Step::Remove(id) => format!("{id} is off the list."),
            };
            if everybody {
                told.push_str(" The list has * on it: everybody is allowed.");
            }
            if follow {
                told.push_str(" Groups follow this list while they have none of their own.");
            }
            Ok(told)
        }
        Ok(Written::Refused(issues)) => Ok(beginning(
            &format!("That would not be valid: {}", json!(shown(&issues))),
            LONGEST,
        )),
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => Err(error),
        Err(error) => Ok(format!("{error}.")),
    }
}

/// The list after the step; `None` when it changes nothing.
fn stepped(channel: &str, now: &Value, step: Step<'_>) -> Option<Value> {
    let entries = now.as_array().cloned().unwrap_or_default();
    let is = |entry: &Value, id: &str| {
        let text = match entry {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return false,
        };
        policy::names(&text, channel, without_channel(channel, id.trim()))
    };
    match step {
        Step::Add(id) => {
            if entries.iter().any(|entry| is(entry, id)) {
                return None;
            }
            let mut entries = entries;
            entries.push(json!(without_channel(channel, id.trim())));
            Some(Value::Array(entries))
        }
        Step::Remove(id) => {
            let left: Vec<Value> = entries.iter().filter(|entry| !is(entry, id)).cloned().collect();
            (left.len() < entries.len()).then_some(Value::Array(left))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_changed_where_it_must_be() {
        let now = json!([42, "telegram:43", "*"]);
        let of = |step| stepped("telegram", &now, step);
        assert_eq!(of(Step::Add("42")), None);
        assert_eq!(of(Step::Add("43")), None);
        assert_eq!(
            of(Step::Add("telegram:44")),
            Some(json!([42, "telegram:43", "*", "44"]))
        );
        assert_eq!(of(Step::Remove("43")), Some(json!([42, "*"])));
        assert_eq!(of(Step::Remove("44")), None);
        assert_eq!(of(Step::Remove("*")), Some(json!([42, "telegram:43"])));
        let odd = json!(["Slack:U0ABC", "TG:7"]);
        assert_eq!(stepped("slack", &odd, Step::Remove("u0abc")), Some(json!(["TG:7"])));
        assert_eq!(stepped("slack", &odd, Step::Add("slack:u0abc")), None);
        assert_eq!(stepped("telegram", &Value::Null, Step::Add("1")), Some(json!(["1"])));
    }
}
