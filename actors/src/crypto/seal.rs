//! Envelope encryption: a master key wraps one data key per tenant, a data key seals that tenant's secrets.
//!
//! AES-256-GCM, a random 96-bit nonce in front of the ciphertext, associated data that names the tenant, the secret
//! and its version: a row copied to another tenant or another name does not open.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::token::random_bytes;

const NONCE_BYTES: usize = 12;

/// A key that seals and opens.
pub struct Key(LessSafeKey);

/// The bytes did not open: wrong key, wrong associated data, or tampered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed value does not open with this key")]
pub struct DoesNotOpen;

impl Key {
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, bytes).expect("the key has 32 bytes"),
        ))
    }

    /// Seals `plain` for exactly this `context`.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let mut sealed = plain.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed,
            )
            .expect("the value is shorter than 64 GiB");
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        bytes
    }

    /// Opens what [`Key::seal`] made for the same `context`.
    pub fn open(&self, context: &str, bytes: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
        let mut plain = sealed.to_vec();
        let length = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut plain)
            .map_err(|_| DoesNotOpen)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(•••)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_in_its_own_context() {
        let key = Key::new(&[7; 32]);
        let sealed = key.seal("acme|openai|1", b"sk-1");
        assert_eq!(key.open("acme|openai|1", &sealed), Ok(b"sk-1".to_vec()));
        assert_eq!(key.open("evil|openai|1", &sealed), Err(DoesNotOpen));
        assert_eq!(Key::new(&[8; 32]).open("acme|openai|1", &sealed), Err(DoesNotOpen));
        assert_eq!(key.open("acme|openai|1", &sealed[..5]), Err(DoesNotOpen));
        assert_ne!(sealed, key.seal("acme|openai|1", b"sk-1"));
    }
}
