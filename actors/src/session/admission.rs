//! Admission: what becomes of each open inbox row of a session. Gate, commands, orphans of a crash.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use claw_entities::{Scope, SessionKey, UserOwned, inbox, outbox, tool_intent};
use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::commands::{self, Command};
use super::intake::ClientMessage;
use super::item::Item;
use super::policy::{self, Verdict};
use super::{context, key};
use crate::Services;
use crate::config::accounts::{PairingAsked, ResolvedAccount};
use crate::config::document::UserSettings;
use crate::crypto::Secret;
use crate::error::Result;
use crate::ports::channel::{Destination, Inbound, PeerKind};

/// Rows looked at together. More are read when these are settled.
const PAGE: u64 = 64;

/// What to do with a row, in the order of arrival.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Answer it.
    Turn(Item),
    /// A turn that a crash cut off before anything outside was touched: go on with what is stored.
    Resume(Item),
    /// A turn that a crash cut off after something outside had started: close it and say so.
    Interrupted(Item),
    /// Its attempts are used up.
    Dead(Item),
    /// Answered without a model, out of band.
    Command { item: Item, command: Command },
    /// Settled with this state, reason, and perhaps a notice to the sender.
    Settle {
        inbox_id: String,
        state: &'static str,
        reason: String,
        notice: Option<(Destination, String)>,
    },
}

/// Reads the session's open rows that are not `known` yet, and decides. Says whether there are more.
pub(crate) async fn load(
    services: &Services,
    scope: &Scope,
    session: &SessionKey,
    known: &HashSet<String>,
) -> Result<(Vec<Admitted>, bool)> {
    let tx = services.db.read(scope).await?;
    let rows = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::SessionKey.eq(session.as_str()))
        .filter(inbox::Column::State.is_in(["pending", "running"]))
        .filter(inbox::Column::Id.is_not_in(known.iter().map(String::as_str)))
        .order_by_asc(inbox::Column::Id)
        .limit(PAGE)
        .all(&*tx)
        .await?;
    drop(tx);
    let settings = services.config.settings(scope).await?;
    let mut admitted = Vec::new();
    let mut orphans: BTreeMap<String, Vec<inbox::Model>> = BTreeMap::new();
    let more = rows.len() as u64 == PAGE;
    for row in rows {
        match (row.state.as_str(), &row.run_id) {
            ("running", Some(run_id)) => orphans.entry(run_id.clone()).or_default().push(row),
            _ => admitted.push(fresh(services, scope, session, &settings, row).await?),
        }
    }
    let mut resumed = Vec::new();
    for (run_id, rows) in orphans {
        resumed.push(orphan(services, scope, session, &settings, run_id, rows).await?);
    }
    // What was cut off was first.
    resumed.append(&mut admitted);
    Ok((resumed, more))
}

/// A row nobody has worked on.
async fn fresh(
    services: &Services,
    scope: &Scope,
    session: &SessionKey,
    settings: &UserSettings,
    row: inbox::Model,
) -> Result<Admitted> {
    if row.attempts >= services.limits.attempts {
        return Ok(match item(services, scope, session, settings, &row).await? {
            Some(item) => Admitted::Dead(item),
            None => skip(row.id, "dead", "it cannot be read"),
        });
    }
    if services.ports.channel(&row.source).is_none() {
        let Ok(message) = serde_json::from_str::<ClientMessage>(&row.payload) else {
            return Ok(skip(row.id, "dead", "it cannot be read"));
        };
        let item = Item::from_client(row.id, row.event_key, row.received_at, message);
        return Ok(match commands::parse(&item.text) {
            Some(command) if item.parts.is_empty() => Admitted::Command { item, command },
            Some(_) | None => Admitted::Turn(item),
        });
    }
    let Ok(inbound) = serde_json::from_str::<Inbound>(&row.payload) else {
        return Ok(skip(row.id, "dead", "it cannot be read"));
    };
    let account = services
        .config
        .account(scope.tenant(), &row.source, &row.account_id)
        .await?;
    let Some(account) = account.filter(|account| account.enabled) else {
        return Ok(skip(row.id, "skipped", "the channel account is disabled or removed"));
    };
    gate(services, scope, session, settings, &account, row, inbound).await
}

async fn gate(
    services: &Services,
    scope: &Scope,
    session: &SessionKey,
    settings: &UserSettings,
    account: &Arc<ResolvedAccount>,
    row: inbox::Model,
    inbound: Inbound,
) -> Result<Admitted> {
    if let Some(admitted) = link(services, scope, account, &row, &inbound).await? {
        return Ok(admitted);
    }
    let agent_id = key::agent_id(session);
    let patterns = settings
        .agents
        .iter()
        .find(|agent| agent.id == agent_id)
        .map_or(&[][..], |agent| agent.mention_patterns.as_slice());
    match policy::gate(account, patterns, &inbound) {
        Verdict::Run { guest } => {
            let item = to_item(settings, &row, guest, inbound);
            Ok(match commands::parse(&item.text) {
                Some(command) if item.attachments.is_empty() => Admitted::Command { item, command },
                Some(_) | None => Admitted::Turn(item),
            })
        }
        Verdict::Context => Ok(skip(row.id, "context", "not addressed to the bot")),
        Verdict::Skip(reason) => Ok(skip(row.id, "skipped", reason)),
        Verdict::AskPairing => {
            let asked = services
                .config
                .ask_pairing(
                    scope,
                    &row.source,
                    &row.account_id,
                    &inbound.sender.id,
                    &inbound.sender.name,
                )
                .await?;
            let notice = match asked {
                PairingAsked::New(request) => Some((
                    destination(&row, &inbound),
                    format!(
                        "I do not know you yet. Ask the owner of this bot to approve the pairing code {} \
                         (Channels → Pairing requests). It is valid for one hour.",
                        request.code
                    ),
                )),
                PairingAsked::Waiting | PairingAsked::Full => None,
            };
            Ok(Admitted::Settle {
                inbox_id: row.id,
                state: "skipped",
                reason: "the sender is not paired".to_owned(),
                notice,
            })
        }
    }
}

/// A link code in a direct chat ties the sender to a user.
async fn link(
    services: &Services,
    scope: &Scope,
    account: &ResolvedAccount,
    row: &inbox::Model,
    inbound: &Inbound,
) -> Result<Option<Admitted>> {
    let proves = services
        .ports
        .channel(&row.source)
        .is_some_and(|channel| channel.manifest().proves_sender);
    let Some(code) = policy::link_code(&inbound.text) else {
        return Ok(None);
    };
    if !proves || inbound.peer.kind != PeerKind::Direct || account.links.contains_key(&inbound.sender.id) {
        return Ok(None);
    }
    let user = services
        .config
        .redeem_link_code(
            scope.tenant_scope(),
            &row.source,
            &row.account_id,
            &inbound.sender.id,
            &Secret::from(code),
        )
        .await?;
    Ok(user.map(|_| Admitted::Settle {
        inbox_id: row.id.clone(),
        state: "done",
        reason: "the sender was linked".to_owned(),
        notice: Some((
            destination(row, inbound),
            "This chat is now linked to your account. What you write here goes to your own sessions.".to_owned(),
        )),
    }))
}

/// The rows of a run that no living process works on.
async fn orphan(
    services: &Services,
    scope: &Scope,
    session: &SessionKey,
    settings: &UserSettings,
    run_id: String,
    rows: Vec<inbox::Model>,
) -> Result<Admitted> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let attempts = rows.iter().map(|row| row.attempts).max().unwrap_or(0);
    let entry_id = rows.iter().find_map(|row| row.entry_id.clone());
    let Some(last) = rows.last() else {
        return Ok(skip(String::new(), "dead", "it cannot be read"));
    };
    let Some(mut item) = item(services, scope, session, settings, last).await? else {
        return Ok(skip(last.id.clone(), "dead", "it cannot be read"));
    };
    item.inbox_ids = ids;
    item.entry_id = entry_id;
    let touched = touched(services, scope, &run_id).await?;
    item.run_id = Some(run_id);
    if touched {
        return Ok(Admitted::Interrupted(item));
    }
    Ok(if attempts >= services.limits.attempts {
        Admitted::Dead(item)
    } else {
        Admitted::Resume(item)
    })
}

/// Had anything outside started: an external tool, or a piece of the reply on its way.
async fn touched(services: &Services, scope: &Scope, run_id: &str) -> Result<bool> {
    let tx = services.db.read(scope).await?;
    let intents = tool_intent::Entity::owned_by(scope)
        .filter(tool_intent::Column::RunId.eq(run_id))
        .count(&*tx)
        .await?;
    let sent = outbox::Entity::owned_by(scope)
        .filter(outbox::Column::RunId.eq(run_id))
        .filter(outbox::Column::State.is_in(["sending", "sent", "unknown"]))
        .count(&*tx)
        .await?;
    Ok(intents + sent > 0)
}

/// The row's item, without the gate (it passed before).
async fn item(
    services: &Services,
    scope: &Scope,
    _session: &SessionKey,
    settings: &UserSettings,
    row: &inbox::Model,
) -> Result<Option<Item>> {
    if services.ports.channel(&row.source).is_none() {
        let message = serde_json::from_str::<ClientMessage>(&row.payload).ok();
        return Ok(
            message.map(|message| Item::from_client(row.id.clone(), row.event_key.clone(), row.received_at, message))
        );
    }
    let Ok(inbound) = serde_json::from_str::<Inbound>(&row.payload) else {
        return Ok(None);
    };
    let account = services
        .config
        .account(scope.tenant(), &row.source, &row.account_id)
        .await?;
    // A guest, unless a link says otherwise: the narrower reading.
    let guest = account.is_none_or(|account| !policy::is_user(&account, &inbound));
    Ok(Some(to_item(settings, row, guest, inbound)))
}

fn to_item(settings: &UserSettings, row: &inbox::Model, guest: bool, inbound: Inbound) -> Item {
    let prompt = context::envelope(&row.source, &inbound, settings.time_zone.as_deref(), row.received_at);
    Item::from_inbound(
        row.id.clone(),
        row.received_at,
        &row.source,
        &row.account_id,
        guest,
        prompt,
        inbound,
    )
}

fn destination(row: &inbox::Model, inbound: &Inbound) -> Destination {
    Destination {
        channel: row.source.clone(),
        account_id: row.account_id.clone(),
        peer: inbound.peer.clone(),
        recipient: Some(inbound.sender.id.clone()),
        reply_to: None,
    }
}

fn skip(inbox_id: String, state: &'static str, reason: &str) -> Admitted {
    Admitted::Settle {
        inbox_id,
        state,
        reason: reason.to_owned(),
        notice: None,
    }
}

/// Group talk that was kept as context: ids and lines, oldest first.
pub(crate) async fn overheard(
    services: &Services,
    scope: &Scope,
    session: &SessionKey,
    most: usize,
) -> Result<Vec<(String, String)>> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let tx = services.db.read(scope).await?;
    let mut rows = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::SessionKey.eq(session.as_str()))
        .filter(inbox::Column::State.eq("context"))
        .order_by_desc(inbox::Column::Id)
        .limit(most as u64)
        .all(&*tx)
        .await?;
    rows.reverse();
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let inbound: Inbound = serde_json::from_str(&row.payload).ok()?;
            Some((row.id, context::overheard_line(&inbound)))
        })
        .collect())
}
