//! `auth`: in which order the keys of AI providers are used, and how long one rests.

use super::super::{Key, Kind, elsewhere, live};
use super::TEXTS;

pub(super) const AUTH: &[Key] = &[
    live(
        "order",
        Kind::Map(&TEXTS),
        "Keys by provider, in the order they are tried; no other key is used.",
    ),
    live(
        "cooldowns",
        Kind::Object(&[COOLDOWNS]),
        "How long a key rests that its provider does not want.",
    ),
    elsewhere("profiles", "keys are kept under Settings → AI Providers"),
];

const COOLDOWNS: &[Key] = &[
    live(
        "billingBackoffHours",
        Kind::Number,
        "Rest after the first refusal for want of credit; each further one doubles it.",
    ),
    live(
        "billingBackoffHoursByProvider",
        Kind::Map(&Kind::Number),
        "The same for one provider.",
    ),
    live("billingMaxHours", Kind::Number, "Longest such rest."),
    live(
        "failureWindowHours",
        Kind::Number,
        "Without a failure for so long, failures are counted anew.",
    ),
];
