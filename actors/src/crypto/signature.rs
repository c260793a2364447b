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

/// The raw Ed25519 public key of a 32-byte seed.
pub fn ed25519_public_key(seed: &[u8; 32]) -> [u8; 32] {
    use ring::signature::KeyPair;
    let pair = signature::Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed has 32 bytes");
    let mut key = [0; 32];
    key.copy_from_slice(pair.public_key().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_key_of_a_known_seed() {
        let mut seed = [0; 32];
        for (byte, at) in seed.iter_mut().zip(0u8..) {
            *byte = at;
        }
        assert_eq!(
            super::super::token::hex(&ed25519_public_key(&seed)),
            "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
        );
    }
}
