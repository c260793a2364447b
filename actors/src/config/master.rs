//! The master key: where it comes from, which one is in force, and how it is replaced.
//!
//! It wraps the tenants' data keys and nothing else. `platform_state` holds a fingerprint of the key in force, so a
//! process with the wrong key stops at start instead of failing at the first secret; in development the key itself;
//! and after a rotation, sealed by the old key, the new one, for processes that were running then.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use claw_entities::{PlatformTable, TenantId, platform_state, tenant};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};

use super::{ConfigService, revision};
use crate::clock::now_ms;
use crate::crypto::token::{hex, random_bytes};
use crate::crypto::{Secret, seal, signature};
use crate::db::Db;
use crate::error::{Error, Result};

const STORED: &str = "master_key";
const CHECK: &str = "master_key_check";
const VERSION: &str = "master_key_version";
const HANDOVER: &str = "master_key_handover";
const HANDOVER_CONTEXT: &str = "master_key|handover";
/// Running processes poll far more often than this; afterwards the sealed copy of the new key is taken away.
const HANDOVER_KEEP_MS: i64 = 60_000;

/// A master key in memory. `Debug` prints dots.
#[derive(Clone)]
pub struct MasterKey {
    key: Arc<seal::Key>,
    /// Tells keys apart without giving anything away.
    check: String,
}

/// What [`ConfigService::rotate_master_key`] changes to.
#[derive(Debug)]
pub enum NewMasterKey {
    /// A fresh random key kept in the database: development only.
    Stored,
    /// This key; from now on it must be the setting `secrets.master_key`.
    Given(Secret),
}

/// The key in force in this process; another process may replace it while we run.
pub(crate) struct Holder(RwLock<MasterKey>);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MasterKey(•••)")
    }
}

impl MasterKey {
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self {
            key: Arc::new(seal::Key::new(bytes)),
            check: hex(&signature::hmac_sha256(bytes, &[b"which master key is this"])[..16]),
        }
    }

    pub(crate) fn wrap(&self, tenant: &TenantId, data_key: &[u8; 32]) -> Vec<u8> {
        self.key.seal(&data_key_context(tenant), data_key)
    }

    pub(crate) fn unwrap(&self, tenant: &TenantId, wrapped: &[u8]) -> Option<[u8; 32]> {
        let plain = self.key.open(&data_key_context(tenant), wrapped).ok()?;
        plain.try_into().ok()
    }
}

fn data_key_context(tenant: &TenantId) -> String {
    format!("tenant|{tenant}|data_key")
}

/// Bytes of a base64 master key.
fn decode(text: &Secret) -> Result<[u8; 32]> {
    let text = text.expose().trim();
    [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok())
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| Error::invalid("the master key must be 32 bytes in base64; `openssl rand -base64 32` makes one"))
}

impl Holder {
    pub(crate) fn new(key: MasterKey) -> Self {
        Self(RwLock::new(key))
    }

    pub(crate) fn current(&self) -> MasterKey {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, key: MasterKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// Takes over the key that another process rotated to, if one did.
    pub(crate) async fn refresh(&self, db: &Db) -> Result<()> {
        let state = State::read(&*db.system_read().await?).await?;
        let ours = self.current();
        if state.check.as_ref().is_none_or(|check| *check == ours.check) {
            return Ok(());
        }
        let bytes = match (&state.stored, &state.handover) {
            (Some(stored), _) => decode(stored)?,
            (None, Some((_, sealed))) => ours
                .key
                .open(HANDOVER_CONTEXT, sealed)
                .ok()
                .and_then(|plain| plain.try_into().ok())
                .ok_or_else(stale_key)?,
            (None, None) => return Err(stale_key()),
        };
        let new = MasterKey::from_bytes(&bytes);
        if state.check.as_ref() != Some(&new.check) {
            return Err(stale_key());
        }
        self.replace(new);
        tracing::info!("took over the new master key");
        Ok(())
    }
}

fn stale_key() -> Error {
    Error::internal("the master key was rotated; restart this process with the new secrets.master_key")
}

/// What `platform_state` says about the master key.
#[derive(Default)]
struct State {
    stored: Option<Secret>,
    check: Option<String>,
    version: i32,
    /// When it was written, and the new key sealed by the old one.
    handover: Option<(i64, Vec<u8>)>,
}

impl State {
    async fn read(tx: &impl ConnectionTrait) -> Result<Self> {
        let rows = platform_state::Entity::platform()
            .filter(platform_state::Column::Key.is_in([STORED, CHECK, VERSION, HANDOVER]))
            .all(tx)
            .await?;
        let mut state = Self::default();
        for row in rows {
            match row.key.as_str() {
                STORED => state.stored = Some(Secret::new(row.value)),
                CHECK => state.check = Some(row.value),
                VERSION => state.version = row.value.parse().unwrap_or(0),
                HANDOVER => {
                    state.handover = row
                        .value
                        .split_once(':')
                        .and_then(|(at, sealed)| Some((at.parse().ok()?, STANDARD.decode(sealed).ok()?)));
                }
                _ => {}
            }
        }
        Ok(state)
    }
}

async fn put(tx: &impl ConnectionTrait, key: &str, value: String) -> Result<()> {
    platform_state::Entity::insert(platform_state::ActiveModel {
        key: Set(key.to_owned()),
        value: Set(value),
    })
    .on_conflict(
        OnConflict::column(platform_state::Column::Key)
            .update_column(platform_state::Column::Value)
            .to_owned(),
    )
    .exec_without_returning(tx)
    .await?;
    Ok(())
}

async fn remove(tx: &impl ConnectionTrait, key: &str) -> Result<()> {
    platform_state::Entity::platform_delete()
        .filter(platform_state::Column::Key.eq(key))
        .exec(tx)
        .await?;
    Ok(())
}

impl ConfigService {
    /// The master key this process works with. In development a random one is made at the first start and kept in
    /// the database; production needs `configured` (base64, 32 bytes), refuses a database that holds one, and
    /// refuses a key other than the one the database is sealed with.
    pub async fn master_key(db: &Db, configured: Option<Secret>, development: bool) -> Result<MasterKey> {
        let state = State::read(&*db.system_read().await?).await?;
        match (state.stored, configured.filter(|key| !key.is_empty())) {
            (Some(_), _) if !development => Err(Error::invalid(
                "this database holds a development master key and must not serve production: give it a key of your own \
                 with `CLAWCENTRAL_PROFILE=development clawcentral secrets rotate --new-master-key-stdin`, or use another database",
            )),
            (Some(stored), configured) => {
                if configured.is_some() {
                    tracing::warn!("secrets.master_key is ignored: this database holds a development master key");
                }
                Ok(MasterKey::from_bytes(&decode(&stored)?))
            }
            (None, Some(configured)) => {
                let key = MasterKey::from_bytes(&decode(&configured)?);
                match state.check {
                    None => claim(db, &key, None).await?,
                    Some(check) if check == key.check => {}
                    Some(_) => {
                        return Err(Error::invalid(
                            "secrets.master_key is not the key that this database is sealed with",
                        ));
                    }
                }
                if state.handover.is_some_and(|(at, _)| at < now_ms() - HANDOVER_KEEP_MS) {
                    let tx = db.system_write().await?;
                    remove(&*tx, HANDOVER).await?;
                    tx.commit().await?;
                }
                Ok(key)
            }
            (None, None) if development && state.check.is_none() => {
                let bytes = random_bytes::<32>();
                let key = MasterKey::from_bytes(&bytes);
                claim(db, &key, Some(STANDARD.encode(bytes))).await?;
                tracing::warn!(
                    "made a development master key and stored it in the database: anyone who can read the file can \
                     open the secrets in it"
                );
                Ok(key)
            }
            (None, None) if development => Err(Error::invalid(
                "this database is sealed with a master key of your own: set CLAWCENTRAL__SECRETS__MASTER_KEY to it",
            )),
            (None, None) => Err(Error::invalid(
                "secrets.master_key is not set: set CLAWCENTRAL__SECRETS__MASTER_KEY to 32 random bytes in base64; \
                 `openssl rand -base64 32` makes them",
            )),
        }
    }

    /// Wraps every tenant's data key with a new master key, in one transaction. Running processes take the new key
    /// over by themselves within a second; after that they must be started with it. Gives the number of tenants.
    pub async fn rotate_master_key(&self, new: NewMasterKey) -> Result<usize> {
        self.master.refresh(&self.db).await?;
        let old = self.master.current();
        let (bytes, stored) = match new {
            NewMasterKey::Stored => (random_bytes::<32>(), true),
            NewMasterKey::Given(text) => (decode(&text)?, false),
        };
        let new = MasterKey::from_bytes(&bytes);
        if new.check == old.check {
            return Err(Error::invalid("this is the master key in force already"));
        }
        let tx = self.db.system_write().await?;
        revision::raise(&*tx).await?;
        let state = State::read(&*tx).await?;
        if state.check.is_some_and(|check| check != old.check) {
            return Err(Error::Conflict(
                "another process rotated the master key just now".to_owned(),
            ));
        }
        let version = state.version + 1;
        let tenants = tenant::Entity::platform()
            .order_by_asc(tenant::Column::Id)
            .all(&*tx)
            .await?;
        let count = tenants.len();
        for row in tenants {
            let data_key = old
                .unwrap(&row.id, &row.data_key)
                .ok_or_else(|| Error::internal(format!("data key of tenant {} does not open", row.id)))?;
            tenant::Entity::platform_update()
                .col_expr(tenant::Column::DataKey, Expr::value(new.wrap(&row.id, &data_key)))
                .col_expr(tenant::Column::DataKeyVersion, Expr::value(version))
                .filter(tenant::Column::Id.eq(row.id))
                .exec(&*tx)
                .await?;
        }
        put(&*tx, CHECK, new.check.clone()).await?;
        put(&*tx, VERSION, version.to_string()).await?;
        if stored {
            put(&*tx, STORED, STANDARD.encode(bytes)).await?;
            remove(&*tx, HANDOVER).await?;
        } else {
            let sealed = STANDARD.encode(old.key.seal(HANDOVER_CONTEXT, &bytes));
            put(&*tx, HANDOVER, format!("{}:{sealed}", now_ms())).await?;
            remove(&*tx, STORED).await?;
        }
        tx.commit().await?;
        self.master.replace(new);
        self.cache.forget();
        Ok(count)
    }

    /// The key in force, checked inside the caller's transaction, for wrapping a new tenant's data key.
    pub(super) async fn master_in_force(&self, tx: &impl ConnectionTrait) -> Result<Option<(MasterKey, i32)>> {
        let state = State::read(tx).await?;
        let ours = self.master.current();
        Ok(state
            .check
            .is_none_or(|check| check == ours.check)
            .then_some((ours, state.version)))
    }
}

/// Writes the first fingerprint (and the development key). Loses against a process that did so a moment earlier.
async fn claim(db: &Db, key: &MasterKey, stored: Option<String>) -> Result<()> {
    let tx = db.system_write().await?;
    if State::read(&*tx).await?.check.is_some() {
        return Err(Error::Conflict(
            "another process set this database up just now; start again".to_owned(),
        ));
    }
    put(&*tx, CHECK, key.check.clone()).await?;
    put(&*tx, VERSION, "1".to_owned()).await?;
    if let Some(stored) = stored {
        put(&*tx, STORED, stored).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::db::writer::Writer;

    fn base64_key(byte: u8) -> Secret {
        Secret::new(STANDARD.encode([byte; 32]))
    }

    #[tokio::test]
    async fn development_makes_a_key_once_and_production_refuses_it() {
        let server = testing::start().await;
        let first = ConfigService::master_key(&server.db, None, true)
            .await
            .expect("makes one");
        let again = ConfigService::master_key(&server.db, None, true)
            .await
            .expect("finds it");
        assert_eq!(first.check, again.check);
        let refused = ConfigService::master_key(&server.db, Some(base64_key(1)), false).await;
        assert!(matches!(refused, Err(Error::Invalid(text)) if text.contains("development master key")));
    }

    #[tokio::test]
    async fn production_needs_a_key_and_keeps_to_it() {
        let server = testing::start().await;
        let db = &server.db;
        let missing = ConfigService::master_key(db, None, false).await;
        assert!(matches!(missing, Err(Error::Invalid(text)) if text.contains("secrets.master_key")));
        let short = ConfigService::master_key(db, Some(Secret::new("YWJj")), false).await;
        assert!(matches!(short, Err(Error::Invalid(text)) if text.contains("32 bytes")));
        ConfigService::master_key(db, Some(base64_key(1)), false)
            .await
            .expect("takes it");
        ConfigService::master_key(db, Some(base64_key(1)), false)
            .await
            .expect("takes it again");
        let other = ConfigService::master_key(db, Some(base64_key(2)), false).await;
        assert!(matches!(other, Err(Error::Invalid(text)) if text.contains("not the key")));
        let forgotten = ConfigService::master_key(db, None, true).await;
        assert!(matches!(forgotten, Err(Error::Invalid(text)) if text.contains("of your own")));
    }

    #[tokio::test]
    async fn a_running_server_survives_both_kinds_of_rotation() {
        let server = testing::start().await;
        let start = async |configured: Option<Secret>, development| {
            let key = ConfigService::master_key(&server.db, configured, development)
                .await
                .expect("a key");
            let writer = Writer::start(server.db.clone()).expect("a thread");
            ConfigService::new(server.db.clone(), writer, key)
        };
        let running = start(None, true).await;
        let acme = testing::tenant(&running, "acme").await;
        running
            .put_secret(&acme, "provider/x/apiKey", &Secret::new("sk-1"))
            .await
            .expect("seals");

        let command = start(None, true).await;
        assert_eq!(
            command.rotate_master_key(NewMasterKey::Stored).await.expect("rotates"),
            1
        );
        // Neither the key nor the tenant's data key was read by this process before.
        let late = start(None, true).await;
        assert_eq!(
            late.secret(&acme, "provider/x/apiKey").await.expect("opens"),
            Some(Secret::new("sk-1"))
        );
        // A tenant made by the process that still holds the old key is wrapped with the new one.
        let beta = testing::tenant(&running, "beta").await;
        running
            .put_secret(&beta, "name", &Secret::new("b"))
            .await
            .expect("seals");

        let given = base64_key(9);
        assert_eq!(
            command
                .rotate_master_key(NewMasterKey::Given(given.clone()))
                .await
                .expect("rotates"),
            2
        );
        running.cache.data_keys.clear();
        running
            .master
            .refresh(&server.db)
            .await
            .expect("takes the new key over");
        assert_eq!(
            running.secret(&beta, "name").await.expect("opens"),
            Some(Secret::new("b"))
        );
        let production = start(Some(given), false).await;
        assert_eq!(
            production.secret(&acme, "provider/x/apiKey").await.expect("opens"),
            Some(Secret::new("sk-1"))
        );
        assert!(matches!(
            production.rotate_master_key(NewMasterKey::Given(base64_key(9))).await,
            Err(Error::Invalid(_))
        ));
    }
}
