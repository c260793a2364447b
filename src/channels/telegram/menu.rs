//! The bot's menu: `setMyCommands` (<https://core.telegram.org/bots/api#setmycommands>).

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError, Offer};
use serde_json::{Value, json};

use super::Telegram;

const LIMIT: Duration = Duration::from_secs(20);
/// Commands of one menu, and characters of a name and of a description.
const MOST: usize = 100;
const LONGEST_NAME: usize = 32;
const LONGEST_TEXT: usize = 256;

impl Telegram {
    pub(super) async fn set_commands(&self, account: &Account, commands: &[Offer]) -> Result<(), DeliverError> {
        let list = list(&account.config, commands);
        self.call(account, "setMyCommands", &json!({"commands": list}), LIMIT)
            .await?;
        Ok(())
    }
}

/// Our commands, unless `commands.native` is false, and then the account's `customCommands`, whose words the agent reads.
fn list(config: &Value, commands: &[Offer]) -> Vec<Value> {
    let native = config["commands"]["native"] != json!(false);
    let ours = commands
        .iter()
        .filter(|_| native)
        .map(|offer| (offer.name.to_owned(), offer.what.as_str()));
    let custom = config["customCommands"].as_array();
    let custom = custom.into_iter().flatten().filter_map(|entry| {
        let name = entry["command"].as_str()?.trim().trim_start_matches('/').to_lowercase();
        Some((name, entry["description"].as_str()?))
    });
    let mut list: Vec<Value> = Vec::new();
    for (name, what) in ours.chain(custom) {
        let what: String = what.trim().chars().take(LONGEST_TEXT).collect();
        let taken = list.iter().any(|known| known["command"] == name.as_str());
        if is_name(&name) && !what.is_empty() && !taken && list.len() < MOST {
            list.push(json!({"command": name, "description": what}));
        }
    }
    list
}

/// What Telegram takes as a name.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use claw_actors::session::commands::offers;

    use super::*;

    #[test]
    fn every_command_of_ours_is_one_that_telegram_takes() {
        let offers = offers();
        let list = list(&Value::Null, &offers);
        assert_eq!(list.len(), offers.len());
        assert_eq!(list[0], json!({"command": "help", "description": "this overview"}));
    }

    #[test]
    fn an_account_adds_its_own_and_may_hide_ours() {
        let config = json!({"commands": {"native": false}, "customCommands": [
            {"command": "/Backup", "description": "Git backup"},
            {"command": "backup", "description": "again"},
            {"command": "no-dash", "description": "x"},
            {"command": "empty", "description": " "},
            {"command": 7}, "x",
        ]});
        let only = json!({"command": "backup", "description": "Git backup"});
        assert_eq!(list(&config, &offers()), std::slice::from_ref(&only));
        let mut both = config;
        both["commands"] = json!({"native": "auto"});
        assert_eq!(list(&both, &offers()).last(), Some(&only));
    }
}
