//! The tenant's audit log: a hash chain of who did what. Never message text, never a secret.

use claw_entities::TenantScope;
use serde_json::Value;

use super::ConfigService;
use crate::error::Result;

impl ConfigService {
    /// Appends one line. `actor` is a user id, `system` or `cli`; `action` is dotted, e.g. `device.approve`.
    pub async fn audit(
        &self,
        _tenant: &TenantScope,
        _actor: &str,
        _action: &str,
        _target: &str,
        _detail: Value,
    ) -> Result<()> {
        unimplemented!("config")
    }
    /// Checks the whole chain. Gives the number of lines, or where it breaks.
    pub async fn verify_audit(&self, _tenant: &TenantScope) -> Result<std::result::Result<u64, String>> {
        unimplemented!("config")
    }
}
