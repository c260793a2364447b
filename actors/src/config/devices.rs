//! Paired devices and pending requests: the stored half of pairing. Tokens, node surfaces and exec approvals are beside it.
//!
//! A device belongs to one user. Nothing is approved by itself, and an approval never grants more than the approver has.

pub mod approvals;
pub mod exec_approvals;
pub mod pending;
pub mod setup_codes;
pub mod surface;
pub mod tokens;

use std::sync::Arc;

use claw_entities::UserOwned;
use claw_entities::{Scope, device, device_request, device_token, user};
use sea_orm::sea_query::{Expr, LockBehavior, LockType, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, IdenStatic, Iterable, ModelTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde_json::{Value, json};

use super::ConfigService;
use super::cache::triple;
use super::identity::{device_authority, stays_active};
use crate::clock::now_ms;
use crate::crypto::Secret;
use crate::db::writer::Writer;
use crate::db::{Batch, Rows, Transaction};
use crate::error::{Error, Result};
use crate::gateway::alike::Alike;
use crate::gateway::scopes;

/// How long a request waits for approval, milliseconds.
const REQUEST_LIFETIME_MS: i64 = 5 * 60 * 1000;
/// Devices of one user that may wait for approval; when more ask, the oldest requests make room.
const MOST_REQUESTS: u64 = 100;
/// Rows beyond them that may stay unseen for a while: a flood does not have to tidy up at each of its requests.
const SPARE_REQUESTS: u64 = 32;
/// One in so many requests looks how many there are.
const LOOKED_AT: u128 = 8;
/// Longest label, characters.
const LONGEST_LABEL: usize = 64;

/// What a device says it is and what it wants. The key has been proved.
#[derive(Clone, Debug)]
pub struct DeviceClaim {
    pub device_id: String,
    /// Raw 32 bytes, base64url.
    pub public_key: String,
    pub display_name: Option<String>,
    pub platform: String,
    pub device_family: String,
    pub client_id: String,
    pub client_mode: String,
    /// `operator` or `node`.
    pub role: String,
    /// Operator scopes it asks for and its user could give.
    pub scopes: Vec<String>,
}

/// May the device connect as it wishes.
#[derive(Clone, Debug)]
pub enum Pairing {
    Paired(Paired),
    Required(PairingRequired),
}

#[derive(Clone, Debug)]
pub struct Paired {
    /// Approved for this role.
    pub scopes: Arc<[String]>,
    /// The same at every connect until it is rotated.
    pub token: Secret,
    /// The token's.
    pub generation: i32,
    pub issued_at: i64,
}

/// What a connect has to know of a device and its token for a role. One is kept for each connected device, so it is small.
#[derive(Debug)]
pub(crate) struct Approved {
    /// The device may have the role.
    role: bool,
    /// The token's.
    scopes: Arc<[String]>,
    platform: Box<str>,
    device_family: Box<str>,
    generation: i32,
    /// Epoch milliseconds.
    issued_at: i64,
}

impl Approved {
    fn of(device: &device::Model, token: &device_token::Model, role: &str, lists: &Alike<[String]>) -> Self {
        Self {
            role: strings(&device.roles).iter().any(|approved| approved == role),
            scopes: lists.share(strings(&token.scopes)),
            platform: device.platform.trim().into(),
            device_family: device.device_family.trim().into(),
            generation: token.generation,
            issued_at: token.rotated_at.unwrap_or(token.created_at),
        }
    }

    /// Why this is not enough for what the device asks, if it is not.
    fn shortfall(&self, claim: &DeviceClaim) -> Option<&'static str> {
        if !self.role {
            return Some("role-upgrade");
        }
        if claim.role == "operator" && !scopes::holds_all(&self.scopes, &claim.scopes) {
            return Some("scope-upgrade");
        }
        let differs = |claimed: &str, approved: &str| {
            let claimed = claimed.trim();
            !claimed.is_empty() && !approved.is_empty() && !claimed.eq_ignore_ascii_case(approved)
        };
        (differs(&claim.platform, &self.platform) || differs(&claim.device_family, &self.device_family))
            .then_some("metadata-upgrade")
    }
}

/// Somebody has to approve first.
#[derive(Clone, Debug)]
pub struct PairingRequired {
    /// `not-paired`, `role-upgrade`, `scope-upgrade` or `metadata-upgrade`.
    pub reason: &'static str,
    pub request_id: String,
    /// The pending row clients see.
    pub row: Value,
    /// Made just now: approvers want to hear of it.
    pub fresh: bool,
    pub approved_roles: Vec<String>,
    pub approved_scopes: Vec<String>,
}

impl ConfigService {
    /// Checks a proved device against what was approved; records a request when that is not enough.
    pub async fn check_pairing(&self, scope: &Scope, claim: &DeviceClaim) -> Result<Pairing> {
        let name = format!("{}\u{1f}{}", claim.device_id, claim.role);
        let key = triple(scope.tenant(), scope.user().as_str(), &name);
        let approved = match self.cache.pairings.get(&key) {
            Some(approved) => approved,
            None => {
                let seen = self.cache.generation();
                let glance = self.db.glance(scope).await?;
                let device = find_device(&glance, scope, &claim.device_id).await?;
                // Nobody has a token whose device is unknown.
                let token = match &device {
                    Some(_) => tokens::find(&glance, scope, &claim.device_id, &claim.role).await?,
                    None => None,
                };
                drop(glance);
                match (device, token.filter(|token| token.revoked_at.is_none())) {
                    (Some(device), Some(token)) => {
                        let approved = Arc::new(Approved::of(&device, &token, &claim.role, &self.cache.scope_lists));
                        self.cache.keep(&self.cache.pairings, seen, key, Arc::clone(&approved));
                        approved
                    }
                    (device, _) => {
                        let reason = if device.is_some() { "role-upgrade" } else { "not-paired" };
                        let required = request_pairing(&self.writer, scope, claim, device.as_ref(), reason).await?;
                        return Ok(Pairing::Required(required));
                    }
                }
            }
        };
        if let Some(reason) = approved.shortfall(claim) {
            let glance = self.db.glance(scope).await?;
            let device = find_device(&glance, scope, &claim.device_id).await?;
            drop(glance);
            let required = request_pairing(&self.writer, scope, claim, device.as_ref(), reason).await?;
            return Ok(Pairing::Required(required));
        }
        Ok(Pairing::Paired(Paired {
            scopes: Arc::clone(&approved.scopes),
            token: self
                .device_token(scope, &claim.device_id, &claim.role, approved.generation)
                .await?,
            generation: approved.generation,
            issued_at: approved.issued_at,
        }))
    }

    /// Approves a pending device. `Invalid("device pairing approval denied")` when the approver lacks what it asks for;
    /// a node needs an approver who decides about all devices of the user. Gives `{requestId, device}`.
    pub async fn approve_device(&self, scope: &Scope, request_id: &str, approver_scopes: &[String]) -> Result<Value> {
        let key = self.device_token_key(scope).await?;
        let authority = self.device_authority(scope).await?;
        let now = now_ms();
        let tx = self.change(scope).await?;
        let request = find_request(&*tx, scope, request_id).await?;
        let roles = strings(&request.row["roles"]);
        let wanted = strings(&request.scopes);
        let node = roles.iter().any(|role| role == "node");
        if (node && !scopes::holds_all(approver_scopes, &authority)) || !scopes::holds_all(approver_scopes, &wanted) {
            return Err(Error::invalid("device pairing approval denied"));
        }
        let text = |name: &str| request.row[name].as_str().unwrap_or_default();
        let admission = Admission {
            device_id: &request.device_id,
            public_key: text("publicKey"),
            display_name: request.row["displayName"].as_str(),
            platform: text("platform"),
            device_family: text("deviceFamily"),
            client_id: text("clientId"),
            client_mode: text("clientMode"),
            roles: &roles,
            scopes: &wanted,
            via: "owner",
        };
        let device = admit(&*tx, scope, &key, &admission, now).await?;
        let tokens = tokens::of_device(&*tx, scope, &device.id).await?;
        self.changed(tx).await?;
        self.audit_device(
            scope,
            "device.approve",
            &device.id,
            json!({"roles": roles, "scopes": wanted}),
        )
        .await?;
        Ok(json!({"requestId": request_id, "device": device_view(&device, &tokens)}))
    }

    /// Turns a request down. Gives the device's id.
    pub async fn reject_device(&self, scope: &Scope, request_id: &str) -> Result<String> {
        let tx = self.db.write(scope).await?;
        let request = find_request(&*tx, scope, request_id).await?;
        device_request::Entity::delete_owned(scope)
            .filter(device_request::Column::RequestId.eq(request_id))
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        self.audit_device(scope, "device.reject", &request.device_id, Value::Null)
            .await?;
        Ok(request.device_id)
    }

    /// Forgets a device with everything it was granted. `false`: there is none.
    pub async fn remove_device(&self, scope: &Scope, device_id: &str) -> Result<bool> {
        let tx = self.change(scope).await?;
        let found = find_device(&*tx, scope, device_id).await?.is_some();
        if found {
            delete_device(&*tx, scope, device_id).await?;
            tokens::delete(&*tx, scope, device_id).await?;
            surface::delete(&*tx, scope, device_id).await?;
            pending::delete(&*tx, scope, device_id).await?;
            setup_codes::withdraw(&*tx, scope).await?;
            device_request::Entity::delete_owned(scope)
                .filter(device_request::Column::DeviceId.eq(device_id))
                .exec(&*tx)
                .await?;
        }
        self.changed(tx).await?;
        if found {
            self.audit_device(scope, "device.remove", device_id, Value::Null)
                .await?;
        }
        Ok(found)
    }

    /// Gives a device a name of the person's choice; an empty one takes it away. `false`: there is no such device.
    pub async fn rename_device(&self, scope: &Scope, device_id: &str, label: &str) -> Result<bool> {
        let label = label.trim();
        if label.chars().count() > LONGEST_LABEL {
            return Err(Error::invalid(format!(
                "a label has at most {LONGEST_LABEL} characters"
            )));
        }
        let label = (!label.is_empty()).then(|| label.to_owned());
        let tx = self.db.write(scope).await?;
        let done = device::Entity::update_owned(scope)
            .filter(device::Column::Id.eq(device_id))
            .col_expr(device::Column::Label, label.into())
            .exec(&*tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected > 0)
    }

    /// `{pending, paired}` as `device.pair.list` answers; `connected` lists devices with a live socket.
    pub async fn list_devices(&self, scope: &Scope, connected: &[String]) -> Result<Value> {
        let now = now_ms();
        let tx = self.db.read(scope).await?;
        let pending: Vec<Value> = device_request::Entity::owned_by(scope)
            .filter(device_request::Column::ExpiresAt.gt(now))
            .order_by_desc(device_request::Column::ExpiresAt)
            .order_by_desc(device_request::Column::RequestId)
            .limit(MOST_REQUESTS)
            .all(&*tx)
            .await?
            .into_iter()
            .map(|request| request.row)
            .collect();
        let devices = device::Entity::owned_by(scope)
            .order_by_desc(device::Column::ApprovedAt)
            .all(&*tx)
            .await?;
        let all_tokens = device_token::Entity::owned_by(scope).all(&*tx).await?;
        let surfaces = surface::all(&*tx, scope).await?;
        tx.commit().await?;
        let paired: Vec<Value> = devices
            .iter()
            .map(|device| {
                let tokens: Vec<_> = all_tokens
                    .iter()
                    .filter(|token| token.device_id == device.id)
                    .cloned()
                    .collect();
                let mut view = device_view(device, &tokens);
                view["connected"] = json!(connected.contains(&device.id));
                if let Some(surface) = surfaces.iter().find(|surface| surface.node_id == device.id) {
                    surface::add_to_device(&mut view, surface);
                }
                view
            })
            .collect();
        Ok(json!({"pending": pending, "paired": paired}))
    }

    /// What somebody must hold to decide about all devices of this user's.
    async fn device_authority(&self, scope: &Scope) -> Result<Vec<String>> {
        let user = self.user(scope.tenant_scope(), scope.user()).await?;
        Ok(device_authority(user.role))
    }

    pub(super) async fn audit_device(&self, scope: &Scope, action: &str, device_id: &str, detail: Value) -> Result<()> {
        self.audit(scope.tenant_scope(), self.actor_or(scope), action, device_id, detail)
            .await
    }
}

/// The open request that covers what the device wants, or a new one that takes an older one's place. Many devices may
/// ask at once, so their requests are committed together.
async fn request_pairing(
    writer: &Writer,
    scope: &Scope,
    claim: &DeviceClaim,
    device: Option<&device::Model>,
    reason: &'static str,
) -> Result<PairingRequired> {
    let is_repair = device.is_some();
    // Once: what is drawn says whether this one tidies up, and the write may be done again.
    let made = (uuid::Uuid::new_v4(), now_ms());
    let (scope_in, claim) = (scope.clone(), claim.clone());
    let recorded = writer.run(scope, move |tx| {
        let (scope, claim) = (scope_in.clone(), claim.clone());
        Box::pin(async move { record_request(tx, &scope, &claim, made, is_repair).await })
    });
    let (request_id, row, fresh) = recorded.await?;
    Ok(PairingRequired {
        reason,
        request_id,
        row,
        fresh,
        approved_roles: device.map(|device| strings(&device.roles)).unwrap_or_default(),
        approved_scopes: device.map(|device| strings(&device.scopes)).unwrap_or_default(),
    })
}

/// Gives the request's id, the row that clients see, and whether it was made just now.
async fn record_request(
    tx: &Transaction,
    scope: &Scope,
    claim: &DeviceClaim,
    (id, now): (uuid::Uuid, i64),
    is_repair: bool,
) -> Result<(String, Value, bool)> {
    let first = new_request(scope, claim, (&id, now), is_repair, &[], &[]);
    let made = if add_first_request(tx, scope, &first).await? {
        first
    } else {
        match renewed_request(tx, scope, claim, (&id, now), is_repair).await? {
            (request, true) => request,
            (open, false) => return Ok((open.request_id, open.row, false)),
        }
    };
    // Chance decides who counts: the id is random.
    if id.as_u128().is_multiple_of(LOOKED_AT)
        && device_request::Entity::owned_by(scope).count(tx).await? > MOST_REQUESTS + SPARE_REQUESTS
    {
        tidy_requests(tx, scope).await?;
    }
    Ok((made.request_id, made.row, true))
}

/// A request of this id made at this time, which asks for what the device wants beside what it had asked for.
fn new_request(
    scope: &Scope,
    claim: &DeviceClaim,
    (id, now): (&uuid::Uuid, i64),
    is_repair: bool,
    open_roles: &[String],
    open_scopes: &[String],
) -> device_request::Model {
    let request_id = id.to_string();
    let wanted = scopes::union(open_scopes, &claim.scopes);
    let roles = scopes::union(open_roles, std::slice::from_ref(&claim.role));
    let row = without_blanks(json!({
        "requestId": request_id, "deviceId": claim.device_id, "publicKey": claim.public_key,
        "displayName": claim.display_name, "platform": claim.platform, "deviceFamily": claim.device_family,
        "clientId": claim.client_id, "clientMode": claim.client_mode, "role": claim.role, "roles": roles,
        "scopes": wanted, "silent": false, "isRepair": is_repair, "ts": now,
    }));
    device_request::Model {
        tenant_id: scope.tenant().clone(),
        user_id: scope.user().clone(),
        device_id: claim.device_id.clone(),
        request_id,
        role: claim.role.clone(),
        scopes: json!(wanted),
        is_repair,
        row,
        created_at: now,
        expires_at: now + REQUEST_LIFETIME_MS,
    }
}

/// Adds the request of a device that has none, unless its user is locked; true when it did. One statement, for strangers
/// may be many.
async fn add_first_request(tx: &Transaction, scope: &Scope, request: &device_request::Model) -> Result<bool> {
    use device_request::Column;
    let mut values = user::Entity::owned_by(scope)
        .select_only()
        .filter(user::Column::Status.eq("active"))
        .lock_shared();
    for column in Column::iter() {
        values = values.column_as(Expr::value(request.get(column)), column.as_str());
    }
    let mut insert = Query::insert();
    insert
        .into_table(device_request::Entity)
        .columns(Column::iter())
        .select_from(values.into_query())
        .map_err(Error::internal)?
        .on_conflict(OnConflict::new().do_nothing().to_owned());
    let mut batch = Batch::new(tx);
    batch.add_statement(batch.backend().build(&insert));
    Ok(batch.run(tx).await? > 0)
}

/// The open request that covers what the device wants (false), or a new one that takes its place (true).
async fn renewed_request(
    tx: &Transaction,
    scope: &Scope,
    claim: &DeviceClaim,
    made: (&uuid::Uuid, i64),
    is_repair: bool,
) -> Result<(device_request::Model, bool)> {
    if !stays_active(tx, scope).await? {
        return Err(Error::NotFound { what: "user" });
    }
    let open = device_request::Entity::owned_by(scope)
        .filter(device_request::Column::DeviceId.eq(&claim.device_id))
        .filter(device_request::Column::ExpiresAt.gt(made.1))
        .one(tx)
        .await?;
    let (open_roles, open_scopes) = open
        .as_ref()
        .map(|open| (strings(&open.row["roles"]), strings(&open.scopes)))
        .unwrap_or_default();
    if let Some(open) = open
        && open_roles.contains(&claim.role)
        && scopes::holds_all(&open_scopes, &claim.scopes)
    {
        return Ok((open, false));
    }
    let request = new_request(scope, claim, made, is_repair, &open_roles, &open_scopes);
    device_request::Entity::insert(device_request::ActiveModel::from(request.clone()))
        .on_conflict(
            OnConflict::columns([
                device_request::Column::TenantId,
                device_request::Column::UserId,
                device_request::Column::DeviceId,
            ])
            .update_columns([
                device_request::Column::RequestId,
                device_request::Column::Role,
                device_request::Column::Scopes,
                device_request::Column::IsRepair,
                device_request::Column::Row,
                device_request::Column::CreatedAt,
                device_request::Column::ExpiresAt,
            ])
            .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok((request, true))
}

/// The oldest beyond the limit go, but for those that another transaction is about to delete: two that waited for one
/// another's rows would be a deadlock. In steps, because PostgreSQL asks a locking subquery anew for each row.
async fn tidy_requests(tx: &Transaction, scope: &Scope) -> Result<()> {
    let id = device_request::Column::DeviceId;
    let surplus: Vec<String> = device_request::Entity::owned_by(scope)
        .select_only()
        .column(id)
        .order_by_desc(device_request::Column::ExpiresAt)
        .order_by_desc(device_request::Column::RequestId)
        .offset(MOST_REQUESTS)
        .limit(MOST_REQUESTS + SPARE_REQUESTS)
        .into_tuple()
        .all(tx)
        .await?;
    let free: Vec<String> = device_request::Entity::owned_by(scope)
        .select_only()
        .column(id)
        .filter(id.is_in(surplus))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple()
        .all(tx)
        .await?;
    device_request::Entity::delete_owned(scope)
        .filter(id.is_in(free))
        .exec(tx)
        .await?;
    Ok(())
}

/// What a device is let in as.
struct Admission<'a> {
    device_id: &'a str,
    public_key: &'a str,
    display_name: Option<&'a str>,
    platform: &'a str,
    device_family: &'a str,
    client_id: &'a str,
    client_mode: &'a str,
    roles: &'a [String],
    /// Of the operator role.
    scopes: &'a [String],
    /// `owner` or `bootstrap`.
    via: &'a str,
}

/// Lets a device in: stores it with a token for each role, beside what it had. Its open request is settled by that.
async fn admit(
    tx: &impl Rows,
    scope: &Scope,
    key: &[u8; 32],
    admission: &Admission<'_>,
    now: i64,
) -> Result<device::Model> {
    let known = find_device(tx, scope, admission.device_id).await?;
    let (old_roles, old_scopes) = known
        .as_ref()
        .map(|device| (strings(&device.roles), strings(&device.scopes)))
        .unwrap_or_default();
    let device = device::Model {
        tenant_id: scope.tenant().clone(),
        user_id: scope.user().clone(),
        id: admission.device_id.to_owned(),
        public_key: admission.public_key.to_owned(),
        display_name: admission.display_name.map(str::to_owned),
        label: known.as_ref().and_then(|device| device.label.clone()),
        platform: admission.platform.to_owned(),
        device_family: admission.device_family.to_owned(),
        client_id: admission.client_id.to_owned(),
        client_mode: admission.client_mode.to_owned(),
        roles: json!(scopes::union(&old_roles, admission.roles)),
        scopes: json!(scopes::union(&old_scopes, admission.scopes)),
        approved_via: admission.via.to_owned(),
        created_at: known.as_ref().map_or(now, |device| device.created_at),
        approved_at: now,
        last_seen_at: known.as_ref().and_then(|device| device.last_seen_at),
        last_seen_reason: known.and_then(|device| device.last_seen_reason),
    };
    delete_device(tx, scope, &device.id).await?;
    device::Entity::insert(device::ActiveModel::from(device.clone()))
        .exec_without_returning(tx)
        .await?;
    for role in admission.roles {
        let granted: &[String] = if role == "operator" { admission.scopes } else { &[] };
        tokens::grant(tx, scope, key, &device.id, role, granted, now).await?;
    }
    device_request::Entity::delete_owned(scope)
        .filter(device_request::Column::DeviceId.eq(&device.id))
        .exec(tx)
        .await?;
    Ok(device)
}

/// Records that a device came. What is written late moves no time back.
pub fn note_connected(batch: &mut Batch, scope: &Scope, device_id: &str, role: &str, now: i64) {
    let seen = device::Entity::update_owned(scope)
        .filter(device::Column::Id.eq(device_id))
        .filter(before(device::Column::LastSeenAt, now))
        .col_expr(device::Column::LastSeenAt, now.into())
        .col_expr(device::Column::LastSeenReason, "connect".into());
    batch.add(&seen);
    tokens::note_used(batch, scope, device_id, role, now);
    if role == "node" {
        surface::note_connected(batch, scope, device_id, now);
    }
}

/// The time in the column is earlier than this one, or there is none.
fn before(column: impl ColumnTrait, at: i64) -> Condition {
    Condition::any().add(column.is_null()).add(column.lt(at))
}

async fn find_device(rows: &impl Rows, scope: &Scope, id: &str) -> Result<Option<device::Model>> {
    let device = device::Entity::owned_by(scope).filter(device::Column::Id.eq(id));
    Ok(rows.row(device).await?)
}

async fn delete_device(tx: &impl ConnectionTrait, scope: &Scope, id: &str) -> Result<()> {
    device::Entity::delete_owned(scope)
        .filter(device::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

async fn find_request(tx: &impl ConnectionTrait, scope: &Scope, request_id: &str) -> Result<device_request::Model> {
    device_request::Entity::owned_by(scope)
        .filter(device_request::Column::RequestId.eq(request_id))
        .filter(device_request::Column::ExpiresAt.gt(now_ms()))
        .one(tx)
        .await?
        .ok_or_else(|| Error::invalid("unknown requestId"))
}

/// A paired device as clients see it. Tokens only by role and date.
fn device_view(device: &device::Model, tokens: &[device_token::Model]) -> Value {
    let roles = strings(&device.roles);
    let tokens: Vec<Value> = tokens
        .iter()
        .filter(|token| token.revoked_at.is_none())
        .map(|token| {
            without_blanks(json!({
                "role": token.role, "scopes": token.scopes, "createdAtMs": token.created_at,
                "rotatedAtMs": token.rotated_at, "lastUsedAtMs": token.last_used_at,
            }))
        })
        .collect();
    without_blanks(json!({
        "deviceId": device.id, "publicKey": device.public_key, "displayName": device.display_name,
        "label": device.label, "operatorLabel": device.label, "platform": device.platform, "deviceFamily": device.device_family,
        "clientId": device.client_id, "clientMode": device.client_mode, "role": roles.first(), "roles": roles,
        "scopes": device.scopes, "approvedVia": device.approved_via, "createdAtMs": device.created_at,
        "approvedAtMs": device.approved_at, "lastSeenAtMs": device.last_seen_at,
        "lastSeenReason": device.last_seen_reason, "tokens": tokens,
    }))
}

/// The strings of a JSON list.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Takes the null fields and the empty texts off an object: the wire has texts of one letter at least.
fn without_blanks(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null() && field != "");
    }
    value
}

/// Takes the null fields off an object: on the wire an absent value is an absent key.
pub(crate) fn without_nulls(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null());
    }
    value
}

#[cfg(test)]
mod tests;
