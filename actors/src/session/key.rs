//! stub
use crate::error::Result;
use claw_entities::SessionKey;
pub fn resolve(key: &str, default_agent: &str) -> Result<SessionKey> {
    let _ = default_agent;
    Ok(SessionKey(key.to_owned()))
}
pub fn agent_id(key: &SessionKey) -> &str {
    key.as_str().split(':').nth(1).unwrap_or("main")
}
