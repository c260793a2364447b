//! Identity of everything, as types: a `TenantId` is not a `UserId`, and neither is a `String`.

use std::convert::Infallible;
use std::sync::Arc;

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize, Serializer};

// An id goes everywhere its row goes, so a copy of one is a count and no allocation.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, DeriveValueType)]
        #[serde(from = "String")]
        #[sea_orm(value_type = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::from("")
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Infallible;

            fn from_str(text: &str) -> Result<Self, Infallible> {
                Ok(Self::from(text))
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
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

/// A lower bound of the ids made at `ms` (epoch milliseconds) or later; every earlier one sorts before it.
pub fn first_id_at(ms: i64) -> String {
    format!("{:012x}", ms.max(0))
}

impl TenantId {
    pub fn generate() -> Self {
        new_id().into()
    }
}

impl UserId {
    pub fn generate() -> Self {
        new_id().into()
    }
}
