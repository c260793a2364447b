//! stub
use crate::config::accounts::ResolvedAccount;
use crate::ports::channel::Inbound;
pub enum Verdict {
    Run { guest: bool },
    AskPairing,
    Context,
    Skip(&'static str),
}
pub fn gate(_: &ResolvedAccount, _: &[String], _: &Inbound) -> Verdict {
    Verdict::Context
}
pub fn is_user(account: &ResolvedAccount, inbound: &Inbound) -> bool {
    account.links.contains_key(&inbound.sender.id)
}
pub fn link_code(_: &str) -> Option<&str> {
    None
}
