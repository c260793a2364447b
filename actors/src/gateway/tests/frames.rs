//! Frames: whatever comes, parsing gives a request, something to answer, or noise.

use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::{changed, changes, examples, json, nasty, recorded, text};
use crate::gateway::messages::StateVersion;
use crate::gateway::protocol::connect::ConnectParams;
use crate::gateway::protocol::frames::{LONGEST_ID, Parsed, parse};
use crate::gateway::protocol::{WireError, event_frame, response_error, response_ok};
use crate::gateway::rpc::parse_params;

/// Parses as the connection does: the frame, and its parameters if it is a request.
fn digest(frame: &str) -> Result<(), TestCaseError> {
    match parse(frame) {
        Parsed::Request(request) => {
            prop_assert!(!request.id.is_empty() && !request.method.is_empty());
            prop_assert!(request.id.len() <= LONGEST_ID && request.size() >= request.id.len());
            prop_assert!(request.size() <= frame.len());
            if let Err(complaint) = ConnectParams::parse(request.params.as_deref().map_or("{}", RawValue::get)) {
                prop_assert!(!complaint.is_empty() && complaint.len() < 400, "{}", complaint);
            }
            if let Err(error) = parse_params::<Value>(&request.method, request.params.as_deref()) {
                prop_assert_eq!(error.code, "INVALID_REQUEST");
            }
            answers(&request.id)
        }
        Parsed::Malformed { id, complaint } => {
            prop_assert!(!id.is_empty() && id.len() <= LONGEST_ID && !complaint.is_empty());
            answers(&id)
        }
        Parsed::Noise => Ok(()),
    }
}

/// An id that came in goes out again, whatever it is.
fn answers(id: &str) -> Result<(), TestCaseError> {
    let good: Value = serde_json::from_str(&response_ok(id, &json!({}))).expect("JSON");
    prop_assert_eq!(good, json!({"type": "res", "id": id, "ok": true, "payload": {}}));
    Ok(())
}

proptest! {
    #![proptest_config(examples(512))]

    #[test]
    fn any_bytes_are_survived(bytes in any::<Vec<u8>>()) {
        digest(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn real_frames_gone_wrong_are_survived(frame in select(recorded()), changes in changes()) {
        digest(&changed(&frame.to_string(), &changes))?;
    }

    #[test]
    fn nasty_values_are_survived_at_every_place(
        place in select(vec!["type", "id", "method", "params"]),
        value in nasty(),
        twice in any::<bool>(),
    ) {
        let mut parts: Vec<String> = ["\"type\":\"req\"", "\"id\":\"1\"", "\"method\":\"connect\""].map(str::to_owned).into();
        if !twice {
            parts.retain(|part| !part.starts_with(&format!("\"{place}\"")));
        }
        parts.push(format!("\"{place}\":{value}"));
        digest(&format!("{{{}}}", parts.join(",")))?;
        digest(&value)?;
    }

    #[test]
    fn what_is_written_is_read_again(
        id in text().prop_filter("an id has one to 256 bytes", |id| (1..=LONGEST_ID).contains(&id.len())),
        method in text().prop_filter("a name is not empty", |name| !name.is_empty()),
        params in json(),
        more in btree_map("[a-z]{8}", json(), 0..3),
    ) {
        let mut frame = json!({"type": "req", "id": id, "method": method, "params": params});
        for (name, value) in more {
            frame[format!("new-{name}")] = value;
        }
        let Parsed::Request(request) = parse(&frame.to_string()) else {
            return Err(TestCaseError::fail("a valid request is one"));
        };
        prop_assert_eq!((&request.id, &request.method), (&id, &method));
        match request.params {
            // `null` is the same as no parameters.
            None => prop_assert!(params.is_null()),
            Some(raw) => prop_assert_eq!(serde_json::from_str::<Value>(raw.get()).expect("JSON"), params),
        }
    }

    #[test]
    fn an_id_is_kept_only_when_it_is_short(length in 1..3 * LONGEST_ID, letter in select(vec!['x', 'é', '\u{1f40c}'])) {
        let id: String = std::iter::repeat_n(letter, length).collect();
        let frame = json!({"type": "req", "id": id, "method": "health"}).to_string();
        match parse(&frame) {
            Parsed::Request(request) => prop_assert!(request.id == id && id.len() <= LONGEST_ID),
            Parsed::Malformed { id: cut, .. } => {
                prop_assert!(id.len() > LONGEST_ID && id.starts_with(&cut) && cut.len() > LONGEST_ID - 4);
            }
            Parsed::Noise => return Err(TestCaseError::fail("it can be answered")),
        }
    }

    #[test]
    fn answers_and_events_are_json_with_what_was_put_in(
        id in text(),
        payload in json(),
        message in text(),
        seq in any::<Option<u64>>(),
        version in any::<Option<(u64, u64)>>(),
    ) {
        let read = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
        let expected = json!({"type": "res", "id": id, "ok": true, "payload": payload});
        prop_assert_eq!(read(response_ok(&id, &payload)), expected);
        let error = WireError::invalid(message.clone()).details(payload.clone());
        let expected = json!({"type": "res", "id": id, "ok": false,
            "error": {"code": "INVALID_REQUEST", "message": message, "details": payload}});
        prop_assert_eq!(read(response_error(&id, &error)), expected);
        let raw = to_raw_value(&payload).expect("JSON");
        let version = version.map(|(presence, health)| StateVersion { presence, health });
        let event = read(event_frame("tick", &raw, seq, version));
        prop_assert_eq!((&event["type"], &event["event"], &event["payload"]), (&json!("event"), &json!("tick"), &payload));
        prop_assert_eq!(event.get("seq").and_then(Value::as_u64), seq);
        prop_assert_eq!(event["stateVersion"]["health"].as_u64(), version.map(|version| version.health));
    }
}
