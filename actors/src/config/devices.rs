//! Paired devices, their tokens, pending requests, node surfaces and exec approvals: the stored half of pairing.

use claw_entities::Scope;

use super::ConfigService;
use crate::error::Result;

impl ConfigService {
    /// Approves a pending device of the user; never more than `approver_scopes` allow.
    pub async fn approve_device(
        &self,
        _scope: &Scope,
        _request_id: &str,
        _approver_scopes: &[String],
    ) -> Result<serde_json::Value> {
        unimplemented!("gateway")
    }
}
