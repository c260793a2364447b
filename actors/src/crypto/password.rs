//! Passwords: argon2id with the parameters of the OWASP sheet (19 MiB, 2 passes, 1 lane).

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// Shortest password we take, in characters.
pub const MIN_LENGTH: usize = 10;

/// Hashes a password (about 35 ms of one core: call it on a blocking thread).
pub fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
}

/// Is this the password that was hashed. False for a hash that does not parse.
pub fn valid(password: &str, stored: &str) -> bool {
    argon2::password_hash::phc::PasswordHash::new(stored)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_valid() {
        let stored = hash("correct horse battery").expect("hashes");
        assert!(valid("correct horse battery", &stored));
        assert!(!valid("correct horse batterz", &stored));
        assert!(!valid("", "not a hash"));
    }
}
