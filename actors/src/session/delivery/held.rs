//! What platforms said of waiting: in one chat, or for all that an account does.

use std::collections::HashMap;
use std::time::Duration;

use dashmap::DashMap;

use super::left_until;
use crate::config::accounts::AccountName;

/// Chats and accounts that are not to be asked for anything before some time.
#[derive(Default)]
pub(super) struct Held(DashMap<AccountName, Waits>);

/// Until when, epoch milliseconds.
#[derive(Default)]
struct Waits {
    all: i64,
    chats: HashMap<String, i64>,
}

impl Held {
    /// The platform wants nothing in this chat before then. Where it said so of another chat too, it is the account that
    /// does too much.
    pub(super) fn until(&self, account: AccountName, chat: &str, until: i64) {
        let mut waits = self.0.entry(account).or_default();
        waits.chats.retain(|_, until| left_until(*until).is_some());
        let held = waits.chats.entry(chat.to_owned()).or_insert(until);
        *held = Ord::max(*held, until);
        if waits.chats.len() > 1 {
            waits.all = Ord::max(waits.all, until);
        }
    }

    /// How long nothing may be asked in this chat.
    pub(super) fn left(&self, account: &AccountName, chat: &str) -> Option<Duration> {
        if self.0.is_empty() {
            return None;
        }
        let left = {
            let waits = self.0.get(account)?;
            let chat = waits.chats.get(chat).and_then(|until| left_until(*until));
            left_until(waits.all).max(chat)
        };
        if left.is_none() {
            self.0.remove_if(account, |_, waits| {
                let over = |until: &i64| left_until(*until).is_none();
                over(&waits.all) && waits.chats.values().all(over)
            });
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use claw_entities::{TenantId, TenantScope};

    use super::super::in_future;
    use super::*;

    #[test]
    fn one_limited_chat_holds_up_no_other_and_two_hold_up_the_account() {
        let name = |account: &str| AccountName {
            tenant: TenantScope::vouch(TenantId::from("t1")),
            channel: "telegram".to_owned(),
            account_id: account.to_owned(),
        };
        let (held, minute) = (Held::default(), Duration::from_secs(60));
        let waits = |account: &str, chat: &str| held.left(&name(account), chat).is_some();
        assert!(!waits("a", "1"));
        held.until(name("a"), "1", in_future(minute));
        assert!(waits("a", "1") && !waits("a", "2") && !waits("b", "1"));
        // Said again of the same chat, it is still that one's.
        held.until(name("a"), "1", in_future(minute / 2));
        assert!(waits("a", "1") && !waits("a", "2"));
        assert!(held.left(&name("a"), "1") > Some(minute / 2), "the longer wait holds");
        held.until(name("a"), "2", in_future(minute));
        assert!(waits("a", "3") && !waits("b", "3"));
        // What is over is forgotten.
        held.until(name("b"), "1", in_future(Duration::ZERO));
        assert!(!waits("b", "1"));
        held.until(name("b"), "2", in_future(minute));
        assert!(waits("b", "2") && !waits("b", "3"));
    }
}
