//! Proofs of origin that the load generator makes and the floor checks.

use std::fmt::Write;

use ring::hmac;

/// Secret between the load generator and the floor.
pub const FLOOR_SECRET: &str = "floor-secret";
/// Header of the floor's signature, `sha256=<hex>`.
pub const FLOOR_HEADER: &str = "x-signature-256";

/// A key for HMAC-SHA256.
pub fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// The signature of `body`, lower-case hex.
pub fn hex_of(key: &hmac::Key, body: &[u8]) -> String {
    hex(hmac::sign(key, body).as_ref())
}

/// Slack's version 0 signature of a body sent at `timestamp` (Unix seconds).
pub fn slack(key: &hmac::Key, timestamp: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("v0:{timestamp}:").as_bytes());
    context.update(body);
    format!("v0={}", hex(context.sign().as_ref()))
}

/// True when `signature` (`sha256=<hex>`) is the body's.
pub fn verify(key: &hmac::Key, signature: &str, body: &[u8]) -> bool {
    let Some(digest) = signature.strip_prefix("sha256=").and_then(unhex) else {
        return false;
    };
    hmac::verify(key, body, &digest).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_accepts_its_own_signature_and_no_other() {
        let key = key(FLOOR_SECRET);
        let signature = format!("sha256={}", hex_of(&key, b"body"));
        assert!(verify(&key, &signature, b"body"));
        assert!(!verify(&key, &signature, b"body2"));
        assert!(!verify(&key, "sha256=zz", b"body"));
    }

    #[test]
    fn slack_example_of_its_documentation() {
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
                    &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
                    &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
                    &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let signature = slack(&key("8f742231b10e8888abcd99yyyzzz85a5"), 1_531_420_618, body.as_bytes());
        assert_eq!(
            signature,
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
        );
    }
}
