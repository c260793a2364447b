//! The adapter against recorded requests and a fake platform.

mod inbound;
mod outbound;

use claw_actors::ports::channel::Account;
use serde_json::{Value, json};

use super::Telegram;
use crate::egress::testing::FakeServer;

const TOKEN: &str = "123456:AAtoken-_x";

pub(in crate::channels::telegram) fn account(config: Value) -> Account {
    Account {
        tenant: "t1".into(),
        channel: "telegram".into(),
        account_id: "default".into(),
        config,
        identity: json!({"id": "123456", "username": "claw_bot", "hasTopicsEnabled": false}),
        secrets: [
            ("botToken".to_owned(), TOKEN.into()),
            ("webhookSecret".to_owned(), "Vq3-_k9Zt0aB7cD2".into()),
        ]
        .into(),
    }
}

fn telegram() -> Telegram {
    Telegram::new(FakeServer::egress())
}
