//! Identity of everything, as types: a `TenantId` is not a `UserId`, and neither is a `String`.

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }
    };
}

id!(
    /// A customer: one subdomain.
    TenantId
);
id!(
    /// A person within a tenant. Never unique without the tenant.
    UserId
);
id!(
    /// A conversation bucket, e.g. `agent:main:telegram:direct:42`. Never unique without tenant and user.
    SessionKey
);

/// A fresh id: a UUID v7 in its 32-digit form, so ids sort by the time they were made.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

impl TenantId {
    pub fn generate() -> Self {
        Self(new_id())
    }
}

impl UserId {
    pub fn generate() -> Self {
        Self(new_id())
    }
}
