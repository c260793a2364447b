//! Device proofs: what a key signed verifies, and nothing else does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::collection::vec;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::{examples, json, text};
use crate::crypto::token;
use crate::gateway::device::{DeviceRefusal, verify};
use crate::gateway::protocol::connect::ConnectParams;

const NOW: i64 = 1_795_359_000_000;

/// A client with a key, and how it signs.
#[derive(Clone, Debug)]
struct Client {
    seed: [u8; 32],
    /// Signs the older text, without platform and family.
    old_text: bool,
    /// Is a node of protocol 3.
    old_node: bool,
    id: String,
    platform: String,
    family: Option<String>,
    scopes: Vec<String>,
    /// Field of `auth`, and the secret in it.
    auth: Option<(&'static str, String)>,
    nonce: String,
    skew: i64,
}

/// Text as short as clients describe themselves.
fn name() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.chars().take(60).collect())
}

prop_compose! {
    fn clients()(
        seed in any::<[u8; 32]>(),
        (old_text, old_node) in any::<(bool, bool)>(),
        id in name().prop_filter("an id is not empty", |id| !id.is_empty()),
        platform in name(),
        family in proptest::option::of(name()),
        scopes in vec(name(), 0..5),
        auth in proptest::option::of((prop_oneof![Just("token"), Just("deviceToken"), Just("bootstrapToken")], "[!-~]{1,80}")),
        nonce in "[!-~]{1,64}",
        skew in -120_000_i64..=120_000,
    ) -> Client {
        Client { seed, old_text, old_node, id, platform, family, scopes, auth, nonce, skew }
    }
}

impl Client {
    /// The connect it sends, signed after §4 of the protocol.
    fn connect(&self) -> Value {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.seed).expect("any seed is a key");
        let public = pair.public_key().as_ref();
        let device_id = token::hash_bytes(public);
        let (role, protocol) = if self.old_node { ("node", 3) } else { ("operator", 4) };
        let secret = self.auth.as_ref().map_or("", |(_, secret)| secret);
        let signed_at = NOW + self.skew;
        let scopes = self.scopes.join(",");
        let common = format!(
            "{device_id}|{}|cli|{role}|{scopes}|{signed_at}|{secret}|{}",
            self.id, self.nonce
        );
        let lower = |text: &str| text.trim().to_ascii_lowercase();
        let family = self.family.as_deref().unwrap_or_default();
        let text = if self.old_text {
            format!("v2|{common}")
        } else {
            format!("v3|{common}|{}|{}", lower(&self.platform), lower(family))
        };
        let mut params = json!({
            "minProtocol": protocol, "maxProtocol": protocol, "role": role, "scopes": self.scopes,
            "client": {"id": self.id, "version": "1", "platform": self.platform, "mode": "cli", "deviceFamily": self.family},
            "device": {"id": device_id, "publicKey": URL_SAFE_NO_PAD.encode(public), "nonce": self.nonce,
                "signature": URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes())), "signedAt": signed_at},
        });
        if let Some((field, secret)) = &self.auth {
            params["auth"] = json!({*field: secret});
        }
        params
    }
}

fn check(params: &Value, challenge: &str, now: i64) -> Result<String, DeviceRefusal> {
    let params = ConnectParams::parse(&params.to_string()).expect("is valid");
    verify(&params, params.device.as_ref().expect("has a device"), challenge, now)
}

proptest! {
    #![proptest_config(examples(256))]

    #[test]
    fn a_signed_connect_verifies_once(client in clients(), other in "[!-~]{1,64}") {
        let params = client.connect();
        let key = params["device"]["publicKey"].as_str().expect("a key").to_owned();
        prop_assert_eq!(check(&params, &client.nonce, NOW), Ok(key));
        // The same frame on another connection, whose challenge is another.
        prop_assume!(other != client.nonce);
        prop_assert_eq!(check(&params, &other, NOW), Err(DeviceRefusal::NonceMismatch));
        // And later.
        let late = NOW + client.skew + 120_001;
        prop_assert_eq!(check(&params, &client.nonce, late), Err(DeviceRefusal::SignatureExpired));
    }

    #[test]
    fn a_changed_signature_is_worth_nothing(client in clients(), byte in 0_usize..64, bit in 0_u8..8) {
        let mut params = client.connect();
        let mut signature =
            URL_SAFE_NO_PAD.decode(params["device"]["signature"].as_str().expect("is signed")).expect("base64url");
        signature[byte] ^= 1 << bit;
        params["device"]["signature"] = json!(URL_SAFE_NO_PAD.encode(signature));
        prop_assert_eq!(check(&params, &client.nonce, NOW), Err(DeviceRefusal::SignatureInvalid));
    }

    #[test]
    fn what_is_signed_cannot_be_changed(client in clients(), more in "[a-z]{1,20}") {
        let signed = client.connect();
        let id = format!("{}{more}", client.id);
        let auth = json!({"token": format!("{more}{}", client.auth.as_ref().map_or("", |(_, secret)| secret))});
        let scopes: Vec<_> = client.scopes.iter().chain([&more]).collect();
        let mut changes = vec![
            ("/client/id", json!(id)), ("/client/mode", json!(more)), ("/auth", auth), ("/scopes", json!(scopes)),
            ("/device/signedAt", json!(NOW + client.skew - client.skew.signum() - i64::from(client.skew == 0))),
        ];
        // The older text covers neither.
        if !client.old_text {
            let platform = format!("{}{more}", client.platform.trim_end());
            changes.push(("/client/platform", json!(platform)));
        }
        for (path, value) in changes {
            let mut params = signed.clone();
            if path == "/auth" {
                params["auth"] = value;
            } else {
                *params.pointer_mut(path).expect("is there") = value;
            }
            prop_assert_eq!(check(&params, &client.nonce, NOW), Err(DeviceRefusal::SignatureInvalid), "{}", path);
        }
    }

    #[test]
    fn another_key_signs_for_itself_only(client in clients(), seed in any::<[u8; 32]>()) {
        prop_assume!(seed != client.seed);
        let (mut params, other) = (client.connect(), Client { seed, ..client.clone() }.connect());
        params["device"]["signature"] = other["device"]["signature"].clone();
        prop_assert_eq!(check(&params, &client.nonce, NOW), Err(DeviceRefusal::SignatureInvalid));
        params["device"]["publicKey"] = other["device"]["publicKey"].clone();
        prop_assert_eq!(check(&params, &client.nonce, NOW), Err(DeviceRefusal::IdMismatch));
    }

    #[test]
    fn any_device_block_gets_an_answer(
        client in clients(),
        field in prop_oneof![Just("id"), Just("publicKey"), Just("signature"), Just("signedAt"), Just("nonce")],
        value in prop_oneof![json(), text().prop_map(Value::from), any::<i64>().prop_map(Value::from)],
    ) {
        let mut params = client.connect();
        prop_assume!(params["device"][field] != value);
        params["device"][field] = value;
        let Ok(params) = ConnectParams::parse(&params.to_string()) else {
            return Ok(());
        };
        let block = params.device.as_ref().filter(|block| block.nonce.trim() != client.nonce || field != "nonce");
        if let Some(block) = block {
            prop_assert!(verify(&params, block, &client.nonce, NOW).is_err(), "{}", field);
        }
    }
}
