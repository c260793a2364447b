//! Properties of the gateway under hostile input, checked on generated examples. Methods: `connection/tests/anything.rs`.
//!
//! The examples are the same at every run. `PROPTEST_RNG_SEED` starts from others, `PROPTEST_CASES` makes more of them.

mod connects;
mod devices;
mod frames;
mod grants;
mod limits;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use serde_json::Value;

const FRAMES: &str = include_str!("../../../../tests/fixtures/gateway/frames.jsonl");

/// `cases` examples of each property.
pub(in crate::gateway) fn examples(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            given.cases
        } else {
            cases
        },
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(20_261_126),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

/// The recorded frames of real clients and the real gateway.
fn recorded() -> Vec<Value> {
    let frames = FRAMES.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("a line of JSON");
        line["frame"].take()
    });
    frames.collect()
}

/// Any text, with what parsers stumble over among it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        1 => Just(String::new()),
        1 => Just("\u{0}\u{feff}\u{202e}\\\"|,".to_owned()),
        1 => (0_usize..2000).prop_map(|length| "é".repeat(length)),
    ]
}

/// Any JSON value of some depth.
pub(in crate::gateway) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::from(u64::MAX)),
        // A number that keeps its value on the way through text.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            btree_map(text(), inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What JSON parsers cannot or should not swallow, as raw text.
pub(in crate::gateway) fn nasty() -> impl Strategy<Value = String> {
    let deep = |open: &'static str, close: &'static str| {
        (1_usize..20_000).prop_map(move |depth| format!("{}{}", open.repeat(depth), close.repeat(depth)))
    };
    prop_oneof![
        deep("[", "]"),
        deep("{\"a\":", "}"),
        deep("[{\"a\":[", "]}]"),
        (1_usize..20_000).prop_map(|depth| "[".repeat(depth)),
        Just("1e999".to_owned()),
        Just("-1e-999".to_owned()),
        Just("9".repeat(4000)),
        Just("-0.0".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("{\"a\":1,\"a\":2}".to_owned()),
        Just("nul".to_owned()),
        json().prop_map(|value| value.to_string()),
    ]
}

/// One change to a text: bytes flipped, left out, doubled or brought in from elsewhere.
#[derive(Clone, Debug)]
enum Change {
    Put(Index, u8),
    Remove(Index, usize),
    Double(Index, usize),
    Insert(Index, String),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Put(at, byte)),
        (any::<Index>(), 1_usize..200).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), 1_usize..200).prop_map(|(at, length)| Change::Double(at, length)),
        (any::<Index>(), nasty()).prop_map(|(at, text)| Change::Insert(at, text)),
    ];
    vec(change, 1..6)
}

/// The text after the changes; what is no longer UTF-8 is replaced, as the socket lets no other text through.
fn changed(text: &str, changes: &[Change]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for change in changes {
        let place = |at: &Index, length: usize| {
            let start = at.index(bytes.len() + 1);
            start..(start + length).min(bytes.len())
        };
        match change {
            Change::Put(at, byte) => {
                let place = place(at, 1);
                bytes.splice(place, [*byte]);
            }
            Change::Remove(at, length) => {
                let place = place(at, *length);
                bytes.drain(place);
            }
            Change::Double(at, length) => {
                let place = place(at, *length);
                let copy = bytes[place.clone()].to_vec();
                bytes.splice(place.start..place.start, copy);
            }
            Change::Insert(at, text) => {
                let start = place(at, 0).start;
                bytes.splice(start..start, text.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
