use claw_actors::ports::channel::Account;
use serde_json::{Value, json};

pub(super) fn account(config: Value) -> Account {
    Account {
        tenant: "t1".into(),
        channel: "slack".into(),
        account_id: "default".into(),
        config,
        identity: json!({"teamId": "T0DEMO001", "botUserId": "U0CLAW001", "botId": "B0CLAW001"}),
        secrets: [
            ("botToken".to_owned(), "xoxb-1-secret".into()),
            ("signingSecret".to_owned(), "8f742231b10e8888abcd99yyyzzz85a5".into()),
        ]
        .into(),
    }
}
