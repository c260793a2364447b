//! `device.pair.setupCode` and `device.pair.setupStatus`: one paste brings a device in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::device_pair::require_authority;
use super::filled;
use crate::config::devices::setup_codes::SetupAccess;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::PAIRING;
use crate::gateway::{GatewaySettings, qr};

/// Longest address, bytes.
const LONGEST_URL: usize = 512;

pub(super) fn register(methods: &mut Methods) {
    methods
        .add("device.pair.setupCode", Access::Scope(PAIRING), create)
        .write_limited()
        .hidden();
    methods
        .add("device.pair.setupStatus", Access::Scope(PAIRING), status)
        .hidden();
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Profile {
    Limited,
    Node,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetupParams {
    public_url: Option<String>,
    bootstrap_profile: Option<Profile>,
    #[serde(default)]
    join_url: bool,
    #[serde(default)]
    include_qr: bool,
}

async fn create(call: Call, params: SetupParams) -> Result<Value, WireError> {
    require_authority(&call)?;
    let config = &call.state.services.config;
    let tenant = config.tenant(call.scope().tenant_scope()).await?;
    let (given, source) = match params.public_url {
        Some(url) => (url, "request.publicUrl"),
        None => (call.state.settings.url_of(&tenant.slug), "http.public_url"),
    };
    let address = Address::parse(&given).ok_or_else(|| {
        WireError::invalid(
            "publicUrl must be wss:// or https://, or plain for this machine, without user, query and fragment",
        )
    })?;
    let access = match params.bootstrap_profile {
        None => SetupAccess::Full,
        Some(Profile::Limited) => SetupAccess::Limited,
        Some(Profile::Node) => SetupAccess::Node,
    };
    let url = address.socket();
    let code = config
        .create_setup_code(call.scope(), access, &url, params.join_url, &call.connection.scopes)
        .await?;
    let pin = pin(&call.state.settings, &tenant.slug, &url);
    let payload = payload(&url, code.bootstrap.expose(), code.expires_at, pin);
    let setup_code = URL_SAFE_NO_PAD.encode(payload.to_string());
    let mut answer = json!({
        "setupId": code.id, "expiresAtMs": code.expires_at, "setupCode": setup_code,
        "gatewayUrl": url, "auth": "token", "urlSource": source, "access": access.name(),
    });
    if params.include_qr {
        answer["qrDataUrl"] = json!(qr::data_url(&setup_code)?);
    }
    if let Some(join) = code.join {
        answer["joinUrl"] = json!(format!("{}/j/{}", address.page(), join.expose()));
    }
    Ok(answer)
}

/// What a setup code and a join URL hold.
pub fn payload(url: &str, bootstrap_token: &str, expires_at: i64, pin: Option<String>) -> Value {
    let mut payload = json!({"url": url, "bootstrapToken": bootstrap_token, "expiresAtMs": expires_at});
    if let Some(pin) = pin {
        payload["tlsFingerprint"] = json!(pin);
    }
    payload
}

/// The certificate that clients find at the tenant's own address, if it is one of this process.
pub fn pin(settings: &GatewaySettings, slug: &str, url: &str) -> Option<String> {
    let own = Address::parse(&settings.url_of(slug)).filter(|own| own.secure && own.socket() == url);
    own.and_then(|_| settings.certificate.get())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusParams {
    setup_id: String,
}

async fn status(call: Call, params: StatusParams) -> Result<Value, WireError> {
    require_authority(&call)?;
    filled("device.pair.setupStatus", "setupId", &params.setup_id)?;
    let config = &call.state.services.config;
    let completion = config.setup_status(call.scope(), &params.setup_id).await?;
    Ok(completion.map_or_else(|| json!({}), |completion| json!({"completion": completion})))
}

/// Where a gateway is reached: the same host and path for sockets and for pages.
struct Address {
    secure: bool,
    /// `host[:port][/path]` without a slash at the end.
    place: String,
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "wss" | "https" => true,
            "ws" | "http" => false,
            _ => return None,
        };
        let unfit = |letter: char| letter.is_control() || letter.is_whitespace() || "?#@\\\"<>".contains(letter);
        if text.len() > LONGEST_URL || rest.contains(unfit) {
            return None;
        }
        let place = rest.trim_end_matches('/');
        let authority = place.split('/').next().filter(|authority| !authority.is_empty())?;
        // A bootstrap token must not travel in the clear.
        (secure || is_loopback(authority)).then(|| Self {
            secure,
            place: place.to_owned(),
        })
    }

    fn socket(&self) -> String {
        format!("{}://{}", if self.secure { "wss" } else { "ws" }, self.place)
    }

    fn page(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.place)
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let named = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    named
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (given, expected) in [
            (
                "wss://acme.example.com/gateway/ws",
                Some("wss://acme.example.com/gateway/ws https://acme.example.com/gateway/ws"),
            ),
            (
                "https://acme.example.com:8443/",
                Some("wss://acme.example.com:8443 https://acme.example.com:8443"),
            ),
            (
                "WS://127.0.0.1:80/gateway/ws/",
                Some("ws://127.0.0.1:80/gateway/ws http://127.0.0.1:80/gateway/ws"),
            ),
            ("http://[::1]:8080", Some("ws://[::1]:8080 http://[::1]:8080")),
            (
                "ws://acme.localhost:8080",
                Some("ws://acme.localhost:8080 http://acme.localhost:8080"),
            ),
            ("ws://acme.example.com", None),
            ("ws://127.0.0.1.evil.example", None),
            ("ws://localhost@evil.example", None),
            ("wss://acme.example.com/?token=x", None),
            ("wss://acme.example.com/#x", None),
            ("wss:///gateway", None),
            ("ftp://acme.example.com", None),
            ("acme.example.com", None),
        ] {
            let parsed = Address::parse(given).map(|address| format!("{} {}", address.socket(), address.page()));
            assert_eq!(parsed.as_deref(), expected, "{given}");
        }
    }
}
