//! Parameters of `connect`: any of them may be anything.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{examples, json, nasty, recorded, text};
use crate::gateway::protocol::connect::ConnectParams;

/// Every path of the connects that real clients send, and some that only others have.
fn places() -> Vec<String> {
    fn below(value: &Value, path: &str, found: &mut Vec<String>) {
        if let Value::Object(fields) = value {
            for (name, value) in fields {
                let path = format!("{path}/{name}");
                below(value, &path, found);
                found.push(path);
            }
        }
    }
    let mut found = vec![
        "/permissions".to_owned(),
        "/auth/bootstrapToken".to_owned(),
        "/brandNew".to_owned(),
    ];
    connects().iter().for_each(|params| below(params, "", &mut found));
    found.sort_unstable();
    found.dedup();
    found
}

fn connects() -> Vec<Value> {
    let frames = recorded().into_iter().filter(|frame| frame["method"] == "connect");
    frames.map(|mut frame| frame["params"].take()).collect()
}

fn put(params: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('/').expect("a path starts with a slash");
    if let Some(Value::Object(fields)) = params.pointer_mut(parent) {
        fields.insert(name.to_owned(), value);
    }
}

/// What is kept of a client is of sane length, and what is complained about is said shortly.
fn sane(text: &str) -> Result<(), TestCaseError> {
    match ConnectParams::parse(text) {
        Err(complaint) => {
            prop_assert!(!complaint.is_empty() && complaint.len() < 400, "{}", complaint);
        }
        Ok(params) => {
            let client = &params.client;
            prop_assert!(params.min_protocol > 0 && params.max_protocol > 0 && !client.id.is_empty());
            let scopes = params.scopes.as_deref().unwrap_or_default();
            for list in [scopes, &params.caps, &params.commands] {
                prop_assert!(list.len() <= 256 && list.iter().all(|entry| entry.len() <= 256));
            }
            let optional = [
                &client.display_name,
                &client.device_family,
                &client.model_identifier,
                &client.instance_id,
            ];
            let required = [&client.id, &client.version, &client.platform, &client.mode];
            prop_assert!(
                optional
                    .into_iter()
                    .flatten()
                    .chain(required)
                    .all(|text| text.len() <= 256)
            );
            let printed = format!("{params:?}");
            for secret in [&params.auth.token, &params.auth.password, &params.auth.device_token] {
                let secret = secret
                    .as_ref()
                    .map(|secret| secret.expose())
                    .filter(|secret| secret.len() > 8);
                prop_assert!(
                    secret.is_none_or(|secret| !printed.contains(secret)),
                    "a secret is printed"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(examples(512))]

    #[test]
    fn anything_instead_of_parameters(value in nasty()) {
        sane(&value)?;
    }

    #[test]
    fn anything_at_every_place(mut params in select(connects()), path in select(places()), value in json()) {
        put(&mut params, &path, value);
        sane(&params.to_string())?;
    }

    #[test]
    fn nothing_at_every_place(params in select(connects()), path in select(places())) {
        let mut without = params;
        let (parent, name) = path.rsplit_once('/').expect("a path starts with a slash");
        if let Some(Value::Object(fields)) = without.pointer_mut(parent) {
            fields.remove(name);
        }
        sane(&without.to_string())?;
    }

    #[test]
    fn what_breaks_json_at_every_place(mut params in select(connects()), path in select(places()), value in nasty()) {
        put(&mut params, &path, json!("<here>"));
        sane(&params.to_string().replace("\"<here>\"", &value))?;
    }

    #[test]
    fn secrets_are_read_as_they_are(secret in text()) {
        let params = json!({"minProtocol": 4, "maxProtocol": 4, "auth": {"token": secret},
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}});
        let params = ConnectParams::parse(&params.to_string()).expect("is valid");
        prop_assert_eq!(params.auth.signed_token(), secret);
    }
}
