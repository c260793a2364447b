//! Proof of origin: the secret we gave to `setWebhook`, exactly, in one header.

use claw_actors::crypto::token;
use claw_actors::ports::channel::{Account, RawWebhook, Refused};

use super::WEBHOOK_SECRET;
use super::inbound::is_another;

const HEADER: &str = "x-telegram-bot-api-secret-token";

pub(super) fn verify(hook: &RawWebhook, account: &Account) -> Result<(), Refused> {
    let Some(expected) = account.secret(WEBHOOK_SECRET) else {
        return Err(Refused {
            reason: "no webhook secret is stored",
        });
    };
    // The secret is still that of the bot before; the new one gets its own when it is connected.
    if is_another(account) {
        return Err(Refused {
            reason: "another bot was connected before",
        });
    }
    let Some(given) = hook.only(HEADER) else {
        return Err(Refused {
            reason: "secret header is missing or doubled",
        });
    };
    if token::equal(expected.expose().as_bytes(), given.as_bytes()) {
        Ok(())
    } else {
        Err(Refused { reason: "wrong secret" })
    }
}
