//! Device identity: does the key belong to the id, and did it sign this connection.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

use super::protocol::connect::ConnectParams;
use super::protocol::{DeviceBlock, WireError};
use crate::crypto::{signature, token};

/// How far a signature's time may be from ours, milliseconds either way.
const MAX_SKEW_MS: i64 = 120_000;

/// Why a device block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRefusal {
    IdMismatch,
    SignatureExpired,
    NonceRequired,
    NonceMismatch,
    SignatureInvalid,
    PublicKeyInvalid,
}

impl DeviceRefusal {
    const fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::IdMismatch => (
                "DEVICE_AUTH_DEVICE_ID_MISMATCH",
                "device-id-mismatch",
                "device identity mismatch",
            ),
            Self::SignatureExpired => (
                "DEVICE_AUTH_SIGNATURE_EXPIRED",
                "device-signature-stale",
                "device signature expired",
            ),
            Self::NonceRequired => (
                "DEVICE_AUTH_NONCE_REQUIRED",
                "device-nonce-missing",
                "device nonce required",
            ),
            Self::NonceMismatch => (
                "DEVICE_AUTH_NONCE_MISMATCH",
                "device-nonce-mismatch",
                "device nonce mismatch",
            ),
            Self::SignatureInvalid => (
                "DEVICE_AUTH_SIGNATURE_INVALID",
                "device-signature",
                "device signature invalid",
            ),
            Self::PublicKeyInvalid => (
                "DEVICE_AUTH_PUBLIC_KEY_INVALID",
                "device-public-key",
                "device public key invalid",
            ),
        }
    }

    /// The refusal as clients know it.
    pub fn wire(self) -> WireError {
        let (code, reason, message) = self.row();
        WireError::invalid(message).details(json!({"code": code, "reason": reason}))
    }
}

/// Checks the device block of a connect in the order the protocol fixes. Gives the public key, base64url.
pub fn verify(
    params: &ConnectParams,
    device: &DeviceBlock,
    challenge: &str,
    now_ms: i64,
) -> Result<String, DeviceRefusal> {
    let key = public_key(&device.public_key);
    if key.as_ref().is_none_or(|key| token::hash_bytes(key) != device.id) {
        return Err(DeviceRefusal::IdMismatch);
    }
    if device.signed_at.abs_diff(now_ms) > MAX_SKEW_MS.unsigned_abs() {
        return Err(DeviceRefusal::SignatureExpired);
    }
    let nonce = device.nonce.trim();
    if nonce.is_empty() {
        return Err(DeviceRefusal::NonceRequired);
    }
    if !token::equal(nonce.as_bytes(), challenge.as_bytes()) {
        return Err(DeviceRefusal::NonceMismatch);
    }
    let key = key
        .filter(|key| key.len() == 32)
        .ok_or(DeviceRefusal::PublicKeyInvalid)?;
    let signature = decode(&device.signature).ok_or(DeviceRefusal::SignatureInvalid)?;
    let signed = |payload: String| signature::ed25519_valid(&key, payload.as_bytes(), &signature);
    if signed(payload_v3(params, device)) || signed(payload_v2(params, device)) {
        Ok(URL_SAFE_NO_PAD.encode(&key))
    } else {
        Err(DeviceRefusal::SignatureInvalid)
    }
}

/// The newer signed text: covers platform and family too.
fn payload_v3(params: &ConnectParams, device: &DeviceBlock) -> String {
    let lower = |text: &str| text.trim().to_ascii_lowercase();
    let family = params.client.device_family.as_deref().unwrap_or_default();
    format!(
        "v3|{}|{}|{}",
        common(params, device),
        lower(&params.client.platform),
        lower(family)
    )
}

fn payload_v2(params: &ConnectParams, device: &DeviceBlock) -> String {
    format!("v2|{}", common(params, device))
}

fn common(params: &ConnectParams, device: &DeviceBlock) -> String {
    format!(
        "{}|{}|{}|{}|{}|{}|{}|{}",
        device.id,
        params.client.id,
        params.client.mode,
        params.role(),
        params.scopes.as_deref().unwrap_or_default().join(","),
        device.signed_at,
        params.auth.signed_token(),
        device.nonce.trim(),
    )
}

/// The raw key out of base64url, standard base64 or PEM.
fn public_key(text: &str) -> Option<Vec<u8>> {
    const SPKI_PREFIX: usize = 12;
    let pem = text
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.split("-----END").next());
    match pem {
        Some(body) => {
            let body: String = body.split_whitespace().collect();
            Some(STANDARD.decode(body).ok()?.get(SPKI_PREFIX..)?.to_vec())
        }
        None => decode(text.trim()),
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    [&URL_SAFE_NO_PAD, &URL_SAFE, &STANDARD, &STANDARD_NO_PAD]
        .into_iter()
        .find_map(|engine| engine.decode(text).ok())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vectors {
        public_key: String,
        device_id: String,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        payload: String,
        signature: String,
    }

    const NOW: i64 = 1_795_359_000_000;
    const NONCE: &str = "6f1c2f64-8f5b-4d0e-9a43-0d8a2f0c7b11";

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../../tests/fixtures/gateway/vectors.json")).expect("vectors")
    }

    /// Builds the connect that a vector's payload came from.
    fn connect(vectors: &Vectors, case: &Case) -> ConnectParams {
        let fields: Vec<_> = case.payload.split('|').collect();
        let scopes: Vec<_> = fields[5].split(',').filter(|scope| !scope.is_empty()).collect();
        let (token, device_token, bootstrap) = match fields[7] {
            token if token.starts_with("dev-") => (Value::Null, json!(token), Value::Null),
            token if token.starts_with("boot-") => (Value::Null, Value::Null, json!(token)),
            token => (json!(token), Value::Null, Value::Null),
        };
        let upper = |at: usize| fields.get(at).map(|text| text.to_uppercase());
        let params = json!({
            "minProtocol": 4, "maxProtocol": 4,
            "client": {"id": fields[2], "mode": fields[3], "version": "1",
                       "platform": upper(9).unwrap_or("linux".to_owned()), "deviceFamily": upper(10)},
            "role": fields[4], "scopes": scopes,
            "auth": {"token": token, "deviceToken": device_token, "bootstrapToken": bootstrap},
            "device": {"id": vectors.device_id, "publicKey": vectors.public_key, "signature": case.signature,
                       "signedAt": NOW, "nonce": format!(" {NONCE} ")},
        });
        ConnectParams::parse(&params.to_string()).expect("parses")
    }

    fn check(params: &ConnectParams, now: i64) -> Result<String, DeviceRefusal> {
        verify(params, params.device.as_ref().expect("has a device"), NONCE, now)
    }

    #[test]
    fn every_vector_verifies() {
        let vectors = vectors();
        assert!(vectors.cases.len() >= 5);
        for case in &vectors.cases {
            let params = connect(&vectors, case);
            assert_eq!(check(&params, NOW).as_ref(), Ok(&vectors.public_key), "{}", case.name);
        }
    }

    #[test]
    fn refusals_come_in_the_protocols_order() {
        let vectors = vectors();
        let mut params = connect(&vectors, &vectors.cases[0]);
        let broken = |change: &dyn Fn(&mut DeviceBlock), params: &mut ConnectParams| {
            change(params.device.as_mut().expect("has a device"));
        };

        assert_eq!(check(&params, NOW + 120_000), Ok(vectors.public_key.clone()));
        assert_eq!(check(&params, NOW + 120_001), Err(DeviceRefusal::SignatureExpired));
        assert_eq!(check(&params, NOW - 120_001), Err(DeviceRefusal::SignatureExpired));

        broken(&|device| device.signature = "AA".to_owned(), &mut params);
        assert_eq!(check(&params, NOW), Err(DeviceRefusal::SignatureInvalid));
        broken(&|device| device.nonce = "other".to_owned(), &mut params);
        assert_eq!(check(&params, NOW), Err(DeviceRefusal::NonceMismatch));
        broken(&|device| device.nonce = "  ".to_owned(), &mut params);
        assert_eq!(check(&params, NOW), Err(DeviceRefusal::NonceRequired));
        broken(&|device| device.signed_at = 1, &mut params);
        assert_eq!(check(&params, NOW), Err(DeviceRefusal::SignatureExpired));
        broken(&|device| device.id = "a".repeat(64), &mut params);
        assert_eq!(check(&params, NOW), Err(DeviceRefusal::IdMismatch));

        let mut params = connect(&vectors, &vectors.cases[0]);
        let short = |device: &mut DeviceBlock| {
            device.public_key = "AAAA".to_owned();
            device.id = token::hash_bytes(&[0, 0, 0]);
        };
        broken(&short, &mut params);
        assert_eq!(check(&params, NOW), Err(DeviceRefusal::PublicKeyInvalid));
    }

    #[test]
    fn a_signature_covers_token_role_and_scopes() {
        let vectors = vectors();
        for change in [
            (&|params: &mut ConnectParams| params.auth.token = Some("tok-OTHER".into())) as &dyn Fn(&mut ConnectParams),
            &|params| params.role = Some("operator".to_owned()),
            &|params| params.scopes = Some(vec!["operator.admin".to_owned()]),
            &|params| params.client.id = "cli".to_owned(),
        ] {
            let mut params = connect(&vectors, &vectors.cases[0]);
            change(&mut params);
            assert_eq!(check(&params, NOW), Err(DeviceRefusal::SignatureInvalid));
        }
    }

    #[test]
    fn keys_in_other_spellings() {
        let raw = URL_SAFE_NO_PAD.decode(vectors().public_key).expect("base64url");
        assert_eq!(public_key(&STANDARD.encode(&raw)), Some(raw.clone()));
        let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        spki.extend_from_slice(&raw);
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(spki)
        );
        assert_eq!(public_key(&pem), Some(raw));
        assert_eq!(public_key("not a key!"), None);
    }
}
