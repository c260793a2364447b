//! Proofs of origin: HMAC and Ed25519.

use ring::{hmac, signature};

/// Does `mac` belong to `message` under `key` (HMAC-SHA256), in constant time.
pub fn hmac_sha256_valid(key: &[u8], message: &[u8], mac: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), message, mac).is_ok()
}

/// HMAC-SHA256 over the pieces, without joining them first.
pub fn hmac_sha256(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for piece in pieces {
        context.update(piece);
    }
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

/// Is this an Ed25519 signature of `message` by the raw 32-byte public key.
pub fn ed25519_valid(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    signature::UnparsedPublicKey::new(&signature::ED25519, public_key)
        .verify(message, signature)
        .is_ok()
}
