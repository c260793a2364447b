//! The messaging platforms: one folder each, one line each in [`all`].

mod call;
mod chunk;
mod lenient;
mod markdown;

mod slack;
mod telegram;

use std::sync::Arc;

use claw_actors::ports::channel::Channel;

use crate::egress::Egress;

/// Every channel this product speaks, in the order the Admin UI lists them.
pub fn all(http: &Egress) -> Vec<Arc<dyn Channel>> {
    vec![
        Arc::new(telegram::Telegram::new(http.clone())),
        Arc::new(slack::Slack::new(http.clone())),
    ]
}
