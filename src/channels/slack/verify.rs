//! Proof of origin: `v0=` and the HMAC-SHA256 of `v0:<timestamp>:<body>`, not older or newer than five minutes.

use claw_actors::crypto::{signature, token};
use claw_actors::ports::channel::{Account, RawWebhook, Refused};

use super::SIGNING_SECRET;

/// Seconds, in both directions; exactly this much is still good.
const WINDOW: u64 = 300;

pub(super) fn verify(hook: &RawWebhook, account: &Account) -> Result<(), Refused> {
    let refused = |reason| Err(Refused { reason });
    let Some(secret) = account.secret(SIGNING_SECRET) else {
        return refused("no signing secret is stored");
    };
    let Some(timestamp) = hook.only("x-slack-request-timestamp") else {
        return refused("timestamp header is missing or doubled");
    };
    let Some(given) = hook.only("x-slack-signature") else {
        return refused("signature header is missing or doubled");
    };
    if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return refused("timestamp is not a number");
    }
    let Ok(seconds) = timestamp.parse::<i64>() else {
        return refused("timestamp is not a number");
    };
    if hook.now.abs_diff(seconds) > WINDOW {
        return refused("timestamp is outside the window");
    }
    let Some(given) = given.strip_prefix("v0=") else {
        return refused("unknown signature version");
    };
    let mac = signature::hmac_sha256(
        secret.expose().as_bytes(),
        &[b"v0:", timestamp.as_bytes(), b":", &hook.body],
    );
    // Compared as text, like the official verifiers: other spellings of the same digest are not Slack's.
    if token::equal(token::hex(&mac).as_bytes(), given.as_bytes()) {
        Ok(())
    } else {
        refused("wrong signature")
    }
}
