//! stub
use super::messages::*;
use crate::supervisor::directory::Attached;
use actix::Recipient;
use serde_json::Value;
use std::sync::Arc;
#[derive(Default)]
pub struct Connections {}
impl Connections {
    pub fn attach(&mut self, _i: Arc<ConnectionInfo>, _t: Recipient<ToConnection>) -> Attached {
        Attached {
            presence: vec![],
            state_version: StateVersion::default(),
        }
    }
    pub fn detach(&mut self, _c: &str) {}
    pub fn fan_out(&mut self, _e: &Event) {}
    pub fn presence(&self) -> Vec<Value> {
        vec![]
    }
    pub fn nodes(&self) -> Vec<Arc<ConnectionInfo>> {
        vec![]
    }
    pub fn node(&self, _d: &str) -> Option<&Recipient<ToConnection>> {
        None
    }
    pub fn close_device(&mut self, _d: &str, _r: Option<&str>, _c: u16, _x: &str) {}
    pub fn close_all(&mut self, _c: u16, _r: &str) {}
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn len(&self) -> usize {
        0
    }
}
