//! Tables as types, ids, and the scope that every query starts from. No services, no clock, no I/O.

pub mod heartbeat;
pub mod ids;
pub mod scope;

pub mod api_token;
pub mod approval;
pub mod audit;
pub mod blob;
pub mod channel_account;
pub mod channel_link;
pub mod cron_job;
pub mod cron_run;
pub mod device;
pub mod device_request;
pub mod device_token;
pub mod exec_approvals;
pub mod inbox;
pub mod key_health;
pub mod node_call;
pub mod node_pending;
pub mod node_surface;
pub mod outbox;
pub mod pairing_request;
pub mod platform_state;
pub mod provider;
pub mod replica;
pub mod run;
pub mod secret;
pub mod sender_approval;
pub mod session;
pub mod setup_code;
pub mod sign_in_code;
pub mod skill;
pub mod skill_file;
pub mod system_event;
pub mod tenant;
pub mod tool_intent;
pub mod transcript_entry;
pub mod user;
pub mod user_config;
pub mod user_lease;
pub mod voice_wake;
pub mod web_session;
pub mod workspace_file;

pub use ids::{SessionKey, TenantId, UserId, new_id};
pub use scope::{PlatformTable, Scope, TenantOwned, TenantScope, UserOwned};
