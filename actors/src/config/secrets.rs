//! Tenant secrets, sealed under the tenant's data key; the master key wraps the data keys.

use claw_entities::TenantScope;

use super::ConfigService;
use crate::crypto::Secret;
use crate::error::Result;

impl ConfigService {
    /// Stores a secret under `name`, replacing an older version.
    pub async fn put_secret(&self, _tenant: &TenantScope, _name: &str, _value: &Secret) -> Result<()> {
        unimplemented!("config")
    }
    pub async fn secret(&self, _tenant: &TenantScope, _name: &str) -> Result<Option<Secret>> {
        unimplemented!("config")
    }
    pub async fn delete_secret(&self, _tenant: &TenantScope, _name: &str) -> Result<()> {
        unimplemented!("config")
    }
    /// A key derived from the tenant's data key for one purpose (HMAC-SHA256 of `purpose`), e.g. device tokens.
    pub async fn derived_key(&self, _tenant: &TenantScope, _purpose: &str) -> Result<[u8; 32]> {
        unimplemented!("config")
    }
}
