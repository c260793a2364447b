//! stub
use crate::config::document::UserSettings;
use crate::ports::channel::Inbound;
use claw_entities::SessionKey;
pub struct Routed {
    pub agent_id: String,
    pub session_key: SessionKey,
}
pub fn route(_: &UserSettings, _c: &str, _a: &str, _i: &Inbound) -> Routed {
    Routed {
        agent_id: String::new(),
        session_key: SessionKey::default(),
    }
}
