//! The adapter against recorded requests and a fake platform.

mod inbound;
mod outbound;

use claw_actors::ports::channel::Account;
use serde_json::{Value, json};

use super::Slack;
use crate::egress::testing::FakeServer;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

pub(in crate::channels::slack) fn account(config: Value) -> Account {
    Account {
        tenant: "t1".into(),
        channel: "slack".into(),
        account_id: "default".into(),
        config,
        identity: json!({"teamId": "T0DEMO001", "botUserId": "U0CLAW001", "botId": "B0CLAW001"}),
        secrets: [
            ("botToken".to_owned(), "xoxb-1-secret".into()),
            ("signingSecret".to_owned(), SECRET.into()),
        ]
        .into(),
    }
}

fn slack() -> Slack {
    Slack::new(FakeServer::egress())
}
