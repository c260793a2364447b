//! Webhook requests as Telegram, Slack and the floor's own sender make them.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::sign;

/// Number of chat 0 of lane 0, and the chats of a lane.
const FIRST_CHAT: u64 = 10_000_000;
const CHATS: u64 = 1000;
/// Fills a body to the size of a usual event.
const PADDING: usize = 420;

/// Who proves the origin how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Telegram,
    Slack,
    /// The floor: HMAC of the body in one header.
    Floor,
}

/// One endpoint that webhooks go to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    pub kind: Kind,
    /// `Host` header: names the tenant.
    pub host: String,
    pub path: String,
    /// Webhook secret (Telegram), signing secret (Slack, floor).
    pub secret: String,
    /// Sets this endpoint's chats apart from all others.
    pub lane: u64,
}

/// A target with its key made once.
pub struct Sender {
    target: Target,
    key: hmac::Key,
    padding: String,
}

impl Sender {
    pub fn new(target: Target) -> Self {
        let key = sign::key(&target.secret);
        Self {
            target,
            key,
            padding: "x".repeat(PADDING),
        }
    }

    /// The platform's name of chat number `chat` at this target.
    pub fn chat(&self, chat: u64) -> String {
        let number = FIRST_CHAT + self.target.lane * CHATS + chat;
        match self.target.kind {
            Kind::Telegram | Kind::Floor => format!("{number}"),
            Kind::Slack => format!("D{number:09}"),
        }
    }

    /// The lane of the target that has a chat of this name.
    pub fn lane_of(chat: &str) -> Option<u64> {
        let number: u64 = chat.trim_start_matches('D').parse().ok()?;
        Some(number.checked_sub(FIRST_CHAT)? / CHATS)
    }

    /// Head (open for `content-length`) and body of event number `event` in chat number `chat`.
    pub fn request(&self, event: u64, chat: u64, text: &str) -> (String, String) {
        let chat = self.chat(chat);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = now.as_secs();
        let body = match self.target.kind {
            Kind::Telegram | Kind::Floor => format!(
                "{{\"update_id\":{event},\"message\":{{\"message_id\":{event},\"date\":{seconds},\
                 \"from\":{{\"id\":{chat},\"is_bot\":false,\"first_name\":\"Bench\",\"username\":\"bench\",\"language_code\":\"en\"}},\
                 \"chat\":{{\"id\":{chat},\"type\":\"private\",\"first_name\":\"Bench\"}},\
                 \"text\":\"{text} {}\"}}}}",
                self.padding
            ),
            Kind::Slack => format!(
                "{{\"type\":\"event_callback\",\"team_id\":\"T0BENCH\",\"api_app_id\":\"A0BENCH\",\"event_id\":\"Ev{event}\",\
                 \"event_time\":{seconds},\"event\":{{\"type\":\"message\",\"channel_type\":\"im\",\"user\":\"U{chat}\",\
                 \"channel\":\"{chat}\",\"ts\":\"{}.{:06}\",\"event_ts\":\"{}.{:06}\",\"text\":\"{text} {}\"}},\
                 \"authorizations\":[{{\"user_id\":\"U0BOT\",\"is_bot\":true}}]}}",
                1_700_000_000 + event / 1_000_000,
                event % 1_000_000,
                1_700_000_000 + event / 1_000_000,
                event % 1_000_000,
                self.padding
            ),
        };
        let proof = match self.target.kind {
            Kind::Telegram => format!("x-telegram-bot-api-secret-token: {}\r\n", self.target.secret),
            Kind::Slack => format!(
                "x-slack-request-timestamp: {seconds}\r\nx-slack-signature: {}\r\n",
                sign::slack(&self.key, seconds, body.as_bytes())
            ),
            Kind::Floor => {
                format!(
                    "{}: sha256={}\r\n",
                    sign::FLOOR_HEADER,
                    sign::hex_of(&self.key, body.as_bytes())
                )
            }
        };
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{proof}",
            self.target.path, self.target.host
        );
        (head, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_and_events_differ() {
        for kind in [Kind::Telegram, Kind::Slack, Kind::Floor] {
            let target = Target {
                kind,
                host: "t.localhost".into(),
                path: "/x".into(),
                secret: "s".into(),
                lane: 3,
            };
            let sender = Sender::new(target);
            assert_eq!(Sender::lane_of(&sender.chat(7)), Some(3));
            let (_, one) = sender.request(1, 0, "ping");
            let (_, two) = sender.request(2, 0, "ping");
            let one: serde_json::Value = serde_json::from_str(&one).unwrap();
            let two: serde_json::Value = serde_json::from_str(&two).unwrap();
            assert_ne!(one, two);
        }
    }
}
