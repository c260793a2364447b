//! Descriptions of connections for tests.

use std::sync::Arc;

use super::messages::{ConnectionInfo, Program};

/// The command line.
pub(crate) fn program() -> Program {
    Program {
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        client_version: "1".to_owned(),
        platform: "linux".to_owned(),
        device_family: "Linux".to_owned(),
        caps: Vec::new(),
        commands: Vec::new(),
        protocol: 4,
    }
}

/// An operator of program `cli` with these scopes.
pub(crate) fn operator(scopes: &[&str]) -> ConnectionInfo {
    ConnectionInfo {
        conn_id: "c1".into(),
        node: false,
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        device_id: None,
        program: Arc::new(program()),
        display_name: None,
        instance_id: None,
        connected_at: 1,
    }
}

/// A headless node.
pub(crate) fn node(device_id: &str) -> ConnectionInfo {
    ConnectionInfo {
        node: true,
        scopes: [].into(),
        device_id: Some(device_id.to_owned()),
        program: Arc::new(Program {
            client_id: "node-host".to_owned(),
            client_mode: "node".to_owned(),
            commands: vec!["system.which".to_owned()],
            ..program()
        }),
        ..operator(&[])
    }
}
