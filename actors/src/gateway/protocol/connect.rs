//! Parameters of `connect`. Unknown fields are ignored: clients add some every few weeks.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::short;
use crate::crypto::Secret;

/// What a client says about itself in its first frame.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectParams {
    pub min_protocol: u32,
    pub max_protocol: u32,
    pub client: ClientBlock,
    pub role: Option<String>,
    pub scopes: Option<Vec<String>>,
    /// Capability groups of a node, client capabilities of an operator.
    #[serde(default)]
    pub caps: Vec<String>,
    /// What a node can run.
    #[serde(default)]
    pub commands: Vec<String>,
    /// OS permission state of a node.
    pub permissions: Option<BTreeMap<String, bool>>,
    pub path_env: Option<String>,
    pub device: Option<DeviceBlock>,
    #[serde(default)]
    pub auth: AuthBlock,
    pub locale: Option<String>,
    pub user_agent: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientBlock {
    pub id: String,
    pub version: String,
    pub platform: String,
    pub mode: String,
    pub display_name: Option<String>,
    pub device_family: Option<String>,
    pub model_identifier: Option<String>,
    pub instance_id: Option<String>,
}

/// The proof that the client holds the device's key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceBlock {
    pub id: String,
    pub public_key: String,
    pub signature: String,
    /// Epoch milliseconds.
    pub signed_at: i64,
    pub nonce: String,
}

/// The secrets a client may offer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthBlock {
    pub token: Option<Secret>,
    pub password: Option<Secret>,
    pub device_token: Option<Secret>,
    pub bootstrap_token: Option<Secret>,
}

impl AuthBlock {
    /// The value that a device signature covers: token, else device token, else bootstrap token, else nothing.
    pub fn signed_token(&self) -> &str {
        [&self.token, &self.device_token, &self.bootstrap_token]
            .into_iter()
            .flatten()
            .find(|secret| !secret.is_empty())
            .map_or("", Secret::expose)
    }
}

/// Longest text of a field that describes the client. Longer ones are cut, never refused.
const LONGEST_TEXT: usize = 256;
/// Most entries in a list of the client.
const MOST_ENTRIES: usize = 256;

impl ConnectParams {
    /// Parses the `params` of a connect request and cuts what is stored to sane lengths.
    ///
    /// The error is the text after `invalid connect params: `.
    pub fn parse(raw: &str) -> Result<Self, String> {
        let mut params: Self = match serde_json::from_str(raw) {
            Ok(params) => params,
            Err(_) => {
                // Once more, for the words that clients know; and a field that stands twice is no reason to refuse.
                let value: Value = serde_json::from_str(raw).map_err(|_| "must be object".to_owned())?;
                Self::deserialize(&value).map_err(|error| explain(&value, &error.to_string()))?
            }
        };
        if params.min_protocol == 0 || params.max_protocol == 0 {
            return Err("at /minProtocol: must be >= 1".to_owned());
        }
        if params.client.id.is_empty() {
            return Err("at /client/id: must NOT have fewer than 1 characters".to_owned());
        }
        for text in [
            &mut params.client.id,
            &mut params.client.version,
            &mut params.client.platform,
            &mut params.client.mode,
        ] {
            cut(text);
        }
        for text in [
            &mut params.client.display_name,
            &mut params.client.device_family,
            &mut params.client.model_identifier,
            &mut params.client.instance_id,
        ]
        .into_iter()
        .flatten()
        {
            cut(text);
        }
        if let Some(path) = &mut params.path_env
            && path.len() > 4096
        {
            path.clear();
        }
        if let Some(scopes) = &mut params.scopes {
            shorten(scopes);
        }
        shorten(&mut params.caps);
        shorten(&mut params.commands);
        Ok(params)
    }

    /// `operator` unless the client says something else.
    pub fn role(&self) -> &str {
        self.role.as_deref().unwrap_or("operator")
    }
}

fn cut(text: &mut String) {
    if text.len() > LONGEST_TEXT {
        let end = text.floor_char_boundary(LONGEST_TEXT);
        text.truncate(end);
    }
}

fn shorten(list: &mut Vec<String>) {
    list.truncate(MOST_ENTRIES);
    list.iter_mut().for_each(cut);
}

/// Puts serde's complaint into the words clients know, with the path of the block it is about.
fn explain(value: &Value, complaint: &str) -> String {
    let Some(field) = complaint
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    else {
        return short(complaint.to_owned());
    };
    let at = ["device", "client"].into_iter().find(|block| {
        value.get(*block).is_some_and(|inner| {
            let known: &[&str] = match *block {
                "device" => &["id", "publicKey", "signature", "signedAt", "nonce"],
                _ => &["id", "version", "platform", "mode"],
            };
            known.contains(&field) && inner.get(field).is_none()
        })
    });
    match at {
        Some(block) => format!("at /{block}: must have required property '{field}'"),
        None => format!("must have required property '{field}'"),
    }
}
