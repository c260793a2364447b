//! Signs under messages, pins, and taking messages back.

use std::time::Duration;

use claw_actors::ports::channel::{Account, Acts, DeliverError, Destination, Sign};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;

use super::Slack;
use super::api::Trouble;
use super::outbound::placed;

const LIMIT: Duration = Duration::from_secs(30);

/// Signs that people write as they look, by Slack's names.
const NAMES: [(&str, &str); 16] = [
    ("👀", "eyes"),
    ("👍", "+1"),
    ("👎", "-1"),
    ("✅", "white_check_mark"),
    ("❌", "x"),
    ("❤", "heart"),
    ("🎉", "tada"),
    ("🔥", "fire"),
    ("🙏", "pray"),
    ("👏", "clap"),
    ("💯", "100"),
    ("✨", "sparkles"),
    ("🤔", "thinking_face"),
    ("🤖", "robot_face"),
    ("⏳", "hourglass_flowing_sand"),
    ("🦞", "lobster"),
];

/// As Slack names it; what is not in the list goes as it is.
fn name(sign: &str) -> &str {
    // A picture may end in the sign that asks for colour.
    let bare = sign.trim().trim_matches(':').trim_end_matches('\u{fe0f}');
    let known = NAMES.iter().find(|(picture, _)| *picture == bare);
    known.map_or(bare, |(_, name)| name)
}

impl Acts for Slack {
    fn react<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        sign: &'a Sign,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        async move {
            let (channel, ts) = placed(to, message_id);
            let (method, done) = if sign.remove {
                ("reactions.remove", "no_reaction")
            } else {
                ("reactions.add", "already_reacted")
            };
            let names = match name(&sign.emoji) {
                "" if sign.remove => self.own_signs(account, (channel, ts)).await?,
                name => vec![name.to_owned()],
            };
            for name in names {
                let params = json!({"channel": channel, "timestamp": ts, "name": name});
                match self.call(account, method, &params, LIMIT).await {
                    Ok(_) => {}
                    Err(trouble @ Trouble::Refused { .. }) if trouble.is(&[done]) => {}
                    Err(trouble) => return Err(trouble.into()),
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        async move {
            let (channel, ts) = placed(to, message_id);
            let params = json!({"channel": channel, "ts": ts});
            self.call(account, "chat.delete", &params, LIMIT).await?;
            Ok(())
        }
        .boxed()
    }

    fn pin<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        on: bool,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        async move {
            let (method, done) = if on {
                ("pins.add", "already_pinned")
            } else {
                ("pins.remove", "no_pin")
            };
            let (channel, ts) = placed(to, message_id);
            let params = json!({"channel": channel, "timestamp": ts});
            match self.call(account, method, &params, LIMIT).await {
                Ok(_) => Ok(()),
                Err(trouble @ Trouble::Refused { .. }) if trouble.is(&[done]) => Ok(()),
                Err(trouble) => Err(trouble.into()),
            }
        }
        .boxed()
    }
}
