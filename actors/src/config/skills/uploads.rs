//! Archives that a client sends in pieces (`skills.upload.*`). They are rows, so an upload goes on after a restart, and
//! in whichever process the client is connected to.

use claw_entities::{Scope, TenantOwned, UserOwned, skill_upload, skill_upload_chunk};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Set,
};
use uuid::Uuid;

use super::bundle::MAX_ARCHIVE;
use super::is_key;
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::crypto::token;
use crate::error::{Error, Result};

/// How long an upload may take, and waits to be installed.
const LIFE_MS: i64 = 3_600_000;
/// Uploads of a user that are not installed yet.
const MOST: u64 = 8;
/// Largest piece, bytes.
const MAX_PIECE: usize = 4 * 1024 * 1024;
const MAX_KEY: usize = 2048;

/// What is to come.
#[derive(Clone, Debug, Default)]
pub struct NewUpload {
    /// What the client calls the skill.
    pub slug: String,
    /// Bytes.
    pub size: u64,
    /// Hex.
    pub sha256: Option<String>,
    /// May it take the place of another.
    pub force: bool,
    /// The same key is the same upload.
    pub key: Option<String>,
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: String,
    /// Bytes.
    pub received: i64,
    /// Hex, once it is whole.
    pub sha256: Option<String>,
    /// Epoch milliseconds.
    pub expires_at: i64,
}

impl From<skill_upload::Model> for Upload {
    fn from(row: skill_upload::Model) -> Self {
        Self {
            id: row.id,
            received: row.received,
            sha256: row.sha256,
            expires_at: row.expires_at,
        }
    }
}

impl ConfigService {
    /// Begins an upload, or finds the one that was begun under the same key.
    pub async fn begin_upload(&self, scope: &Scope, new: NewUpload) -> Result<Upload> {
        if !is_key(&new.slug) {
            return Err(Error::invalid("invalid slug"));
        }
        let wanted = new.sha256.as_deref().map(checked_hash).transpose()?;
        if new.size == 0 {
            return Err(Error::invalid("invalid sizeBytes"));
        }
        let size = i64::try_from(new.size).unwrap_or(i64::MAX);
        if new.size > MAX_ARCHIVE as u64 {
            return Err(Error::TooLarge("skill archive exceeds maximum upload size".to_owned()));
        }
        let key = new.key.as_deref().map(str::trim).filter(|key| !key.is_empty());
        if key.is_some_and(|key| key.len() > MAX_KEY) {
            return Err(Error::invalid("idempotencyKey is too long"));
        }
        let key = key.map(token::hash);
        let now = now_ms();
        let tx = self.db.write(scope).await?;
        forget_expired(&*tx, scope, now).await?;
        if let Some(key) = &key
            && let Some(known) = begun(&*tx, scope, key).await?
        {
            return the_same(known, (new.slug.as_str(), new.force, size, wanted.as_deref()));
        }
        let open = skill_upload::Entity::owned_by(scope).count(&*tx).await?;
        if open >= MOST {
            return Err(Error::Conflict(format!(
                "{MOST} uploads wait already; install one, or come back in an hour"
            )));
        }
        let row = skill_upload::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            id: Uuid::new_v4().to_string(),
            slug: new.slug,
            force: new.force,
            size,
            wanted_sha256: wanted,
            sha256: None,
            received: 0,
            begin_key: key,
            expires_at: now + LIFE_MS,
        };
        let inserted = skill_upload::Entity::insert(skill_upload::ActiveModel::from(row.clone()).reset_all())
            .exec_without_returning(&*tx)
            .await;
        if let Err(error) = inserted {
            drop(tx);
            return self.begun_meanwhile(scope, &row, error.into()).await;
        }
        tx.commit().await?;
        Ok(row.into())
    }

    /// The upload that somebody began under the key of `row` just before, if that is why `row` could not be kept.
    async fn begun_meanwhile(&self, scope: &Scope, row: &skill_upload::Model, error: Error) -> Result<Upload> {
        let (Error::Conflict(_), Some(key)) = (&error, &row.begin_key) else {
            return Err(error);
        };
        let tx = self.db.read(scope).await?;
        match begun(&*tx, scope, key).await? {
            Some(known) => {
                let new = (row.slug.as_str(), row.force, row.size, row.wanted_sha256.as_deref());
                the_same(known, new)
            }
            None => Err(error),
        }
    }

    /// Deletes uploads of the user's tenant whose time is over.
    pub async fn forget_expired_uploads(&self, scope: &Scope) -> Result<()> {
        let tx = self.db.write(scope).await?;
        forget_expired(&*tx, scope, now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Adds the piece that begins at `offset`.
    pub async fn add_to_upload(&self, scope: &Scope, id: &str, offset: u64, piece: Vec<u8>) -> Result<Upload> {
        if piece.is_empty() {
            return Err(Error::invalid("empty upload chunk"));
        }
        if piece.len() > MAX_PIECE {
            return Err(Error::TooLarge("upload chunk exceeds maximum size".to_owned()));
        }
        let offset = i64::try_from(offset).map_err(|_| Error::invalid("invalid offset"))?;
        let length = i64::try_from(piece.len()).unwrap_or(i64::MAX);
        let tx = self.db.write(scope).await?;
        let row = open(&*tx, scope, id).await?;
        if row.sha256.is_some() {
            return Err(Error::invalid("upload is already committed"));
        }
        let mismatch =
            |expected: i64| Error::Invalid(format!("upload offset mismatch: expected {expected}, got {offset}"));
        if row.received != offset {
            return Err(mismatch(row.received));
        }
        if offset.saturating_add(length) > row.size {
            return Err(Error::invalid("upload exceeds declared size"));
        }
        // Two pieces for one place: one of them finds the place taken.
        let moved = skill_upload::Entity::update_owned(scope)
            .col_expr(skill_upload::Column::Received, Expr::value(offset + length))
            .filter(skill_upload::Column::Id.eq(id))
            .filter(skill_upload::Column::Received.eq(offset))
            .exec(&*tx)
            .await?;
        if moved.rows_affected == 0 {
            return Err(mismatch(offset + length));
        }
        skill_upload_chunk::Entity::insert(skill_upload_chunk::ActiveModel {
            tenant_id: Set(scope.tenant().clone()),
            user_id: Set(scope.user().clone()),
            upload_id: Set(id.to_owned()),
            begins_at: Set(offset),
            content: Set(piece),
        })
        .exec_without_returning(&*tx)
        .await?;
        tx.commit().await?;
        Ok(Upload {
            received: offset + length,
            ..row.into()
        })
    }

    /// Says that the upload is whole, and checks that it is.
    pub async fn commit_upload(&self, scope: &Scope, id: &str, wanted: Option<&str>) -> Result<Upload> {
        let wanted = wanted.map(checked_hash).transpose()?;
        // Nothing can be added to what is whole, so it is read and hashed before anybody has to wait for it.
        let view = self.db.read(scope).await?;
        let row = open(&*view, scope, id).await?;
        let (asked, begun) = (wanted.as_deref(), row.wanted_sha256.as_deref());
        if asked.is_some() && begun.is_some() && asked != begun {
            return Err(Error::invalid("upload sha256 does not match begin sha256"));
        }
        let wanted = asked.or(begun);
        let actual = match row.sha256.clone() {
            Some(known) => known,
            None if row.received != row.size => {
                return Err(Error::Invalid(format!(
                    "upload size mismatch: expected {}, got {}",
                    row.size, row.received
                )));
            }
            None => {
                let whole = content(&*view, scope, id).await?;
                let hashed = tokio::task::spawn_blocking(move || token::hash_bytes(&whole)).await;
                hashed.map_err(Error::internal)?
            }
        };
        drop(view);
        if wanted.is_some_and(|wanted| wanted != actual) {
            return Err(Error::invalid("upload sha256 mismatch"));
        }
        let tx = self.db.write(scope).await?;
        let set = skill_upload::Entity::update_owned(scope)
            .col_expr(skill_upload::Column::Sha256, Expr::value(actual.as_str()))
            .filter(skill_upload::Column::Id.eq(id))
            .filter(skill_upload::Column::Received.eq(row.size))
            .exec(&*tx)
            .await?;
        if set.rows_affected == 0 {
            return Err(Error::NotFound { what: "upload" });
        }
        tx.commit().await?;
        Ok(Upload {
            sha256: Some(actual),
            ..row.into()
        })
    }

    /// The bytes of a whole upload, for who says of it what was said when it began.
    pub async fn whole_upload(
        &self,
        scope: &Scope,
        id: &str,
        (slug, force, wanted): (&str, bool, Option<&str>),
    ) -> Result<Vec<u8>> {
        let wanted = wanted.map(checked_hash).transpose()?;
        let tx = self.db.read(scope).await?;
        let row = open(&*tx, scope, id).await?;
        if row.slug != slug {
            return Err(Error::invalid("install slug does not match upload slug"));
        }
        if row.force != force {
            return Err(Error::invalid("install force does not match upload force"));
        }
        let Some(actual) = row.sha256 else {
            return Err(Error::invalid("upload is not committed"));
        };
        if wanted.is_some_and(|wanted| wanted != actual) {
            return Err(Error::invalid("install sha256 does not match uploaded archive"));
        }
        content(&*tx, scope, id).await
    }

    /// Forgets an upload: it is installed, or never will be.
    pub async fn drop_upload(&self, scope: &Scope, id: &str) -> Result<()> {
        let tx = self.db.write(scope).await?;
        skill_upload_chunk::Entity::delete_owned(scope)
            .filter(skill_upload_chunk::Column::UploadId.eq(id))
            .exec(&*tx)
            .await?;
        skill_upload::Entity::delete_owned(scope)
            .filter(skill_upload::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

/// An upload whose time is not over.
async fn open(tx: &impl ConnectionTrait, scope: &Scope, id: &str) -> Result<skill_upload::Model> {
    let row = skill_upload::Entity::owned_by(scope)
        .filter(skill_upload::Column::Id.eq(id))
        .filter(skill_upload::Column::ExpiresAt.gt(now_ms()))
        .one(tx)
        .await?;
    row.ok_or(Error::NotFound { what: "upload" })
}

async fn begun(tx: &impl ConnectionTrait, scope: &Scope, key: &str) -> Result<Option<skill_upload::Model>> {
    let row = skill_upload::Entity::owned_by(scope)
        .filter(skill_upload::Column::BeginKey.eq(key))
        .one(tx)
        .await?;
    Ok(row)
}

/// A known upload, if it is what is to come: slug, force, size and hash.
fn the_same(known: skill_upload::Model, new: (&str, bool, i64, Option<&str>)) -> Result<Upload> {
    let old = (
        known.slug.as_str(),
        known.force,
        known.size,
        known.wanted_sha256.as_deref(),
    );
    if old == new {
        Ok(known.into())
    } else {
        Err(Error::invalid("idempotencyKey conflicts with a different upload"))
    }
}

async fn content(tx: &impl ConnectionTrait, scope: &Scope, id: &str) -> Result<Vec<u8>> {
    let pieces = skill_upload_chunk::Entity::owned_by(scope)
        .filter(skill_upload_chunk::Column::UploadId.eq(id))
        .order_by_asc(skill_upload_chunk::Column::BeginsAt)
        .all(tx)
        .await?;
    let mut whole = Vec::with_capacity(pieces.iter().map(|piece| piece.content.len()).sum());
    for piece in pieces {
        whole.extend_from_slice(&piece.content);
    }
    Ok(whole)
}

/// Of the whole tenant: who began one may never come back.
async fn forget_expired(tx: &impl ConnectionTrait, scope: &Scope, now: i64) -> Result<()> {
    let tenant = scope.tenant_scope();
    let over: Vec<String> = skill_upload::Entity::of_tenant(tenant)
        .filter(skill_upload::Column::ExpiresAt.lte(now))
        .all(tx)
        .await?
        .into_iter()
        .map(|row| row.id)
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    // The ids are random, so they name the upload whoever began it.
    skill_upload_chunk::Entity::delete_of_tenant(tenant)
        .filter(skill_upload_chunk::Column::UploadId.is_in(over.clone()))
        .exec(tx)
        .await?;
    skill_upload::Entity::delete_of_tenant(tenant)
        .filter(skill_upload::Column::Id.is_in(over))
        .exec(tx)
        .await?;
    Ok(())
}

fn checked_hash(text: &str) -> Result<String> {
    let text = text.trim().to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text)
    } else {
        Err(Error::invalid("invalid sha256"))
    }
}
