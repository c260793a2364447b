//! Admission: what becomes of each open inbox row of a session. Gate, commands, orphans of a crash.

mod reactions;
mod typed;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use claw_entities::{Scope, SessionKey, UserOwned, inbox, outbox, tool_intent};
use sea_orm::{ColumnTrait, Condition, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use self::typed::{client_item, client_shortcuts, command_or_turn, inbound_shortcuts, to_item};
use super::budget::Charge;
use super::commands::{self, Command};
use super::intake::ClientMessage;
use super::item::Item;
use super::policy::{self, Activation, Before, MentionPatterns, Verdict};
use super::preview::Outlet;
use super::turn::{Authority, BLOCK, SAID, Settling, TOLD};
use super::{acks, closing, edit, key, overheard};
use crate::Services;
use crate::config::accounts::{Asker, PairingAsked, ResolvedAccount, looks_like_link_code};
use crate::config::document::UserSettings;
use crate::conversation::transcript::{self, SessionHead};
use crate::crypto::Secret;
use crate::db::Rows;
use crate::error::Result;
use crate::ports::channel::{Destination, Inbound, PeerKind};
use crate::ports::tool::SessionSnapshot;
use crate::supervisor::directory::Directory;
use crate::supervisor::slot::Slot;

/// Rows looked through together for words that rule the session.
const LOOKED_THROUGH: u64 = 64;
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
    /// An operator's words for the transcript: between turns, without a model.
    Inject(Item),
    /// Answered without a model, out of band.
    Command { item: Item, command: Command },
    /// Settled with this state and reason.
    Settle {
        inbox_id: String,
        state: &'static str,
        reason: String,
    },
    /// Settled already, together with what it was about.
    Settled,
    /// Something in it was answered already; the rest is still to be done.
    Answered { told: Told, rest: Box<Admitted> },
}

impl Admitted {
    /// What is still to be answered and was not sent by the agent itself.
    fn said(&self) -> Option<&Item> {
        match self {
            Self::Turn(item) | Self::Resume(item) => {
                Some(item).filter(|item| !item.options.relayed && !item.options.background)
            }
            Self::Answered { rest, .. } => rest.said(),
            Self::Interrupted(_)
            | Self::Dead(_)
            | Self::Inject(_)
            | Self::Command { .. }
            | Self::Settle { .. }
            | Self::Settled => None,
        }
    }
}

/// An answer that clients are to hear, under a run of its own.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) run_id: String,
    pub(crate) text: String,
}

/// What a look at the session's open rows gave.
pub(crate) struct Loaded {
    pub(crate) admitted: Vec<Admitted>,
    /// There are more rows than were looked at.
    pub(crate) more: bool,
    pub(crate) settings: Arc<UserSettings>,
    /// The session's own settings; `None` before its first turn.
    pub(crate) head: Option<SessionHead>,
}

impl Loaded {
    /// The channel whose rules hold in the queue: of the newest message that was read, else of the session's last one.
    pub(crate) fn channel(&self) -> &str {
        let newest = self.admitted.iter().rev().find_map(Admitted::said);
        let last = self.head.as_ref().and_then(|head| head.destination["channel"].as_str());
        newest.map(Item::channel).or(last).unwrap_or("webchat")
    }
}

/// Reads the session's open rows that are not `known` yet, and decides.
pub(crate) async fn load(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    known: &HashSet<String>,
    live: &SessionSnapshot,
    slot: &Slot,
) -> Result<Loaded> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    if services.config.is_locked(scope) {
        // The rows stay as they are: the end of the lock-out wakes their session.
        return Ok(Loaded {
            admitted: Vec::new(),
            more: false,
            settings,
            head: None,
        });
    }
    let view = services.db.glance(scope).await?;
    let head = transcript::head(&view, scope, session).await?;
    // Known ones are left out here, not by the statement, which would be another one for each number of them.
    let most = PAGE + known.len() as u64;
    let open = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::SessionKey.eq(session.as_str()))
        .filter(inbox::is_open())
        .order_by_asc(inbox::Column::Id)
        .limit(most);
    let mut rows = view.rows(open).await?;
    drop(view);
    let more = rows.len() as u64 == most;
    rows.retain(|row| !known.contains(&row.id));
    let facts = Facts {
        directory,
        services,
        scope,
        session,
        settings: &settings,
        head: head.as_ref(),
        live,
        slot,
    };
    let mut admitted = Vec::new();
    let mut orphans: BTreeMap<String, Vec<inbox::Model>> = BTreeMap::new();
    for row in rows {
        match (row.state.as_str(), &row.run_id) {
            ("running", Some(run_id)) => orphans.entry(run_id.clone()).or_default().push(row),
            _ => admitted.push(fresh(&facts, row).await?),
        }
    }
    let mut resumed = Vec::new();
    for (run_id, mut rows) in orphans {
        if more {
            rows = all_of(services, scope, &run_id).await?;
        }
        resumed.push(orphan(&facts, run_id, rows).await?);
    }
    // What was cut off was first.
    resumed.append(&mut admitted);
    Ok(Loaded {
        admitted: resumed,
        more,
        settings,
        head,
    })
}

/// Ids of the session's open rows, all of them.
pub(crate) async fn open(services: &Services, scope: &Scope, session: &SessionKey) -> Result<HashSet<String>> {
    let ids: Vec<String> = inbox::Entity::owned_by(scope)
        .select_only()
        .column(inbox::Column::Id)
        .filter(inbox::Column::SessionKey.eq(session.as_str()))
        .filter(inbox::is_open())
        .into_tuple()
        .all(&services.db.glance(scope).await?)
        .await?;
    Ok(ids.into_iter().collect())
}

/// Commands among the session's open rows that may not wait for what was said before them: stop, and a decision that
/// something waits for. Rows from `since` on that are not `known`, in the order of arrival; the others stay unread.
pub(crate) async fn ruling(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    known: &HashSet<String>,
    live: &SessionSnapshot,
    since: &str,
    slot: &Slot,
) -> Result<Vec<Admitted>> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    if services.config.is_locked(scope) {
        return Ok(Vec::new());
    }
    let head = services.conversation.head(scope, session).await?;
    let facts = Facts {
        directory,
        services,
        scope,
        session,
        settings: &settings,
        head: head.as_ref(),
        live,
        slot,
    };
    let mut from = since.to_owned();
    let mut found = Vec::new();
    loop {
        let rows = inbox::Entity::owned_by(scope)
            .filter(inbox::Column::SessionKey.eq(session.as_str()))
            .filter(inbox::is_open())
            .filter(inbox::Column::Id.gt(from.as_str()))
            .order_by_asc(inbox::Column::Id)
            .limit(LOOKED_THROUGH)
            .all(&services.db.glance(scope).await?)
            .await?;
        let full = rows.len() as u64 == LOOKED_THROUGH;
        let last = rows.last().map(|row| row.id.clone()).unwrap_or_default();
        for row in rows {
            if row.state == "pending"
                && !known.contains(&row.id)
                && rules(services, &row)
                && let admitted @ Admitted::Command {
                    command: Command::Stop(_) | Command::Approve(_),
                    ..
                } = fresh(&facts, row).await?
            {
                found.push(admitted);
            }
        }
        if !full {
            return Ok(found);
        }
        from = last;
    }
}

/// May the row be such a command: a look at its words alone.
fn rules(services: &Services, row: &inbox::Model) -> bool {
    let text = if services.ports.channel(&row.source).is_some() {
        serde_json::from_str::<Inbound>(&row.payload).map(|inbound| inbound.text)
    } else {
        serde_json::from_str::<ClientMessage>(&row.payload).map(|message| message.message)
    };
    let command = text.ok().and_then(|text| commands::parse(&text, None));
    matches!(command, Some(Command::Stop(_) | Command::Approve(_)))
}

/// All open rows of a run: it is one turn, however many pages they fill.
async fn all_of(services: &Services, scope: &Scope, run_id: &str) -> Result<Vec<inbox::Model>> {
    Ok(inbox::Entity::owned_by(scope)
        .filter(inbox::is_open())
        .filter(inbox::Column::RunId.eq(run_id))
        .order_by_asc(inbox::Column::Id)
        .all(&services.db.glance(scope).await?)
        .await?)
}

/// What admission looks at beside the row.
struct Facts<'a> {
    directory: &'a Directory,
    services: &'a Services,
    scope: &'a Scope,
    session: &'a SessionKey,
    settings: &'a UserSettings,
    head: Option<&'a SessionHead>,
    /// What the session's queue was when the reading began.
    live: &'a SessionSnapshot,
    /// Not held while a platform is asked something.
    slot: &'a Slot,
}

impl Facts<'_> {
    fn authority(&self, epoch: i64) -> Authority {
        Authority {
            scope: self.scope.clone(),
            key: self.session.clone(),
            agent_id: key::agent_of(self.session).to_owned(),
            epoch,
            charge: Charge::default(),
        }
    }
}

/// A row nobody has worked on.
async fn fresh(facts: &Facts<'_>, row: inbox::Model) -> Result<Admitted> {
    let services = facts.services;
    if row.attempts >= services.limits.attempts {
        return Ok(match item(facts, &row).await? {
            Some(item) => Admitted::Dead(item),
            None => skip(row.id, "dead", "it cannot be read"),
        });
    }
    if services.ports.channel(&row.source).is_none() {
        let Ok(mut message) = serde_json::from_str::<ClientMessage>(&row.payload) else {
            return Ok(skip(row.id, "dead", "it cannot be read"));
        };
        let told = client_shortcuts(facts, &row, &mut message).await?;
        let by_node = message.by_node;
        let item = client_item(facts, &row, message).await?;
        if row.source == edit::INJECT {
            return Ok(Admitted::Inject(item));
        }
        if item.options.heartbeat.is_some() || item.options.relayed || by_node {
            return Ok(Admitted::Turn(item));
        }
        let rest = command_or_turn(facts, item, None).await?;
        return Ok(match told {
            Some(told) => Admitted::Answered {
                told,
                rest: Box::new(rest),
            },
            None => rest,
        });
    }
    let Ok(inbound) = serde_json::from_str::<Inbound>(&row.payload) else {
        return Ok(skip(row.id, "dead", "it cannot be read"));
    };
    let account = services
        .config
        .account(facts.scope.tenant(), &row.source, &row.account_id)
        .await?;
    let Some(account) = account.filter(|account| account.enabled) else {
        return Ok(skip(row.id, "skipped", "the channel account is disabled or removed"));
    };
    if let Some(admitted) = link(facts, &account, &row, &inbound).await? {
        return Ok(admitted);
    }
    // Most of what a message may need is needed by few.
    Box::pin(gate(facts, &account, row, inbound)).await
}

async fn gate(
    facts: &Facts<'_>,
    account: &Arc<ResolvedAccount>,
    row: inbox::Model,
    inbound: Inbound,
) -> Result<Admitted> {
    let agent_id = key::agent_of(facts.session);
    let agent = facts.settings.agents.iter().find(|agent| agent.id == agent_id);
    let mentions = agent.map_or_else(MentionPatterns::default, MentionPatterns::of);
    let before = Before {
        activation: facts.head.and_then(|head| Activation::of(&head.entry)),
        takes_part: facts.head.is_some(),
    };
    let verdict = policy::gate(account, facts.scope.user(), &mentions, before, &inbound);
    if let Some(reaction) = inbound.reaction {
        let inbound = named(facts, account, inbound).await;
        return reactions::heard(facts, account, row, (&inbound, reaction), verdict).await;
    }
    match verdict {
        Verdict::Run { .. } => {
            let mut inbound = named(facts, account, inbound).await;
            let bot = account.account.identity.get("username");
            let bot = bot.and_then(serde_json::Value::as_str);
            inbound_shortcuts(facts, &row, account, bot, &mut inbound).await?;
            let previous_at = facts.head.map(|head| head.updated_at);
            let ack = acks::sign(facts.settings, agent_id, account, &mentions, &inbound);
            let mut item = to_item(facts, &row, Some(account.as_ref()), previous_at, inbound).await?;
            item.ack = ack;
            let admitted = command_or_turn(facts, item, bot).await?;
            if let Admitted::Turn(item) = &admitted {
                acks::put(facts.directory, facts.scope, item);
            }
            Ok(admitted)
        }
        Verdict::Context => Ok(skip(row.id, overheard::STATE, "not addressed to the bot")),
        Verdict::Skip(reason) => Ok(skip(row.id, "skipped", reason)),
        Verdict::AskPairing => {
            let inbound = named(facts, account, inbound).await;
            ask_pairing(facts, account, row, &inbound).await
        }
    }
}

/// With the sender's name, where the platform tells it only when it is asked.
async fn named(facts: &Facts<'_>, account: &ResolvedAccount, mut inbound: Inbound) -> Inbound {
    let channel = facts.services.ports.channel(&account.account.channel);
    let sender = &mut inbound.sender;
    if let Some(people) = channel.and_then(|channel| channel.people())
        && sender.name.is_empty()
        && !sender.is_bot
        && !sender.id.is_empty()
    {
        let name = facts.slot.aside(people.name(&account.account, &sender.id)).await;
        sender.name = name.unwrap_or_default();
    }
    inbound
}

/// A stranger is told the code of their request in the commit that makes it: nobody waits for an answer that never went out.
async fn ask_pairing(
    facts: &Facts<'_>,
    account: &Arc<ResolvedAccount>,
    row: inbox::Model,
    inbound: &Inbound,
) -> Result<Admitted> {
    const UNPAIRED: &str = "the sender is not paired";
    let outlet = Outlet::new(facts.directory, account.clone(), destination(&row, inbound));
    let asker = Asker {
        channel: &row.source,
        account_id: &row.account_id,
        sender_id: &inbound.sender.id,
        sender_name: &inbound.sender.name,
    };
    let (row_id, config) = (&row.id, &facts.services.config);
    let leases = facts.directory.leases();
    let asked = leases.under(facts.scope, |epoch| {
        let (authority, to) = (facts.authority(epoch), &outlet);
        config.ask_pairing(facts.scope, epoch, asker, move |request, batch| {
            let text = format!(
                "I do not know you yet. Ask the owner of this bot to approve the pairing code {} \
                 (Channels → Pairing requests). It is valid for one hour.",
                request.code
            );
            told(row_id, "skipped", UNPAIRED, to, &text).add_to(batch, &authority)
        })
    });
    match asked.await? {
        PairingAsked::New(_) => {
            kick(facts, &outlet);
            Ok(Admitted::Settled)
        }
        PairingAsked::Waiting | PairingAsked::Full => Ok(skip(row.id, "skipped", UNPAIRED)),
    }
}

/// A row that is settled with a notice to its sender.
fn told(row_id: &str, state: &'static str, reason: &str, outlet: &Outlet, text: &str) -> Settling {
    Settling {
        inbox_ids: vec![row_id.to_owned()],
        state,
        reason: Some(reason.to_owned()),
        runs: None,
        pieces: closing::notice(Some(outlet), text),
    }
}

fn kick(facts: &Facts<'_>, outlet: &Outlet) {
    let conversation = outlet.destination.conversation();
    facts.directory.delivery().kick(facts.scope, &conversation);
}

/// A link code in a direct chat ties the sender to a user.
async fn link(
    facts: &Facts<'_>,
    account: &Arc<ResolvedAccount>,
    row: &inbox::Model,
    inbound: &Inbound,
) -> Result<Option<Admitted>> {
    let proves = facts
        .services
        .ports
        .channel(&row.source)
        .is_some_and(|channel| channel.manifest().proves_sender);
    let direct = inbound.peer.kind == PeerKind::Direct;
    if !proves || !direct || account.links.contains_key(&inbound.sender.id) || !looks_like_link_code(&inbound.text) {
        return Ok(None);
    }
    let code = Secret::from(inbound.text.trim());
    let outlet = Outlet::new(facts.directory, account.clone(), destination(row, inbound));
    let config = &facts.services.config;
    let leases = facts.directory.leases();
    let redeemed = leases.under(facts.scope, |epoch| {
        let (authority, to) = (facts.authority(epoch), &outlet);
        let (place, sender) = ((facts.scope, epoch), &inbound.sender.id);
        config.redeem_link_code(place, &row.source, &row.account_id, sender, &code, move |batch| {
            let text = "This chat is now linked to your account. What you write here goes to your own sessions.";
            told(&row.id, "done", "the sender was linked", to, text).add_to(batch, &authority)
        })
    });
    Ok(redeemed.await?.map(|_| {
        kick(facts, &outlet);
        Admitted::Settled
    }))
}

/// The rows of a run that no living process works on.
async fn orphan(facts: &Facts<'_>, run_id: String, rows: Vec<inbox::Model>) -> Result<Admitted> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let attempts = rows.iter().map(|row| row.attempts).max().unwrap_or(0);
    let entry_id = rows.iter().find_map(|row| row.entry_id.clone());
    // What was said while the turn went on has entries of its own: the settings are those of the turn.
    let turn = rows.first().map(|row| row.entry_id.clone());
    let Some(last) = rows.iter().rfind(|row| turn.as_ref() == Some(&row.entry_id)) else {
        return Ok(skip(String::new(), "dead", "it cannot be read"));
    };
    let Some(mut item) = item(facts, last).await? else {
        return Ok(skip(last.id.clone(), "dead", "it cannot be read"));
    };
    item.inbox_ids = ids;
    item.entry_id = entry_id;
    let touched = touched(facts.services, facts.scope, &run_id).await?;
    // A client's message has its run under the key it came with, whichever run answers it.
    item.also = rows
        .iter()
        .filter(|row| facts.services.ports.channel(&row.source).is_none() && row.event_key != run_id)
        .map(|row| row.event_key.clone())
        .collect();
    item.run_id = Some(run_id);
    if touched {
        return Ok(Admitted::Interrupted(item));
    }
    if attempts >= facts.services.limits.attempts {
        return Ok(Admitted::Dead(item));
    }
    if item.entry_id.is_none() {
        // No turn: a command that had a tool to call, and did not come to it.
        return command_or_turn(facts, item, None).await;
    }
    Ok(Admitted::Resume(item))
}

/// Had anything outside started: an external tool, or a piece of the reply on its way. What stands in the transcript is
/// not said again, and a part that does not may go out at any moment.
async fn touched(services: &Services, scope: &Scope, run_id: &str) -> Result<bool> {
    let tx = services.db.read(scope).await?;
    let intents = tool_intent::Entity::owned_by(scope)
        .filter(tool_intent::Column::RunId.eq(run_id))
        .count(&*tx)
        .await?;
    let sent = outbox::Entity::owned_by(scope)
        .filter(outbox::Column::RunId.eq(run_id))
        .filter(
            Condition::any()
                .add(outbox::Column::Kind.eq(BLOCK))
                .add(outbox::Column::State.is_in(["sending", "sent", "unknown"])),
        )
        .filter(outbox::Column::Kind.is_not_in([SAID, TOLD]))
        .count(&*tx)
        .await?;
    Ok(intents + sent > 0)
}

/// The row's item, without the gate (it passed before).
async fn item(facts: &Facts<'_>, row: &inbox::Model) -> Result<Option<Item>> {
    if facts.services.ports.channel(&row.source).is_none() {
        return match serde_json::from_str::<ClientMessage>(&row.payload) {
            Ok(message) => client_item(facts, row, message).await.map(Some),
            Err(_) => Ok(None),
        };
    }
    let Ok(inbound) = serde_json::from_str::<Inbound>(&row.payload) else {
        return Ok(None);
    };
    let account = facts
        .services
        .config
        .account(facts.scope.tenant(), &row.source, &row.account_id)
        .await?;
    to_item(facts, row, account.as_deref(), None, inbound).await.map(Some)
}

fn destination(row: &inbox::Model, inbound: &Inbound) -> Destination {
    Destination {
        channel: row.source.clone(),
        account_id: row.account_id.clone(),
        peer: inbound.peer.clone(),
        recipient: Some(inbound.sender.id.clone()),
        reply_to: inbound.answer_below.clone(),
    }
}

fn skip(inbox_id: String, state: &'static str, reason: &str) -> Admitted {
    Admitted::Settle {
        inbox_id,
        state,
        reason: reason.to_owned(),
    }
}
