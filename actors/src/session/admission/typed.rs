//! What people typed: commands, directives, and the words that are left for the model.

use claw_entities::{inbox, new_id};

use super::{Admitted, Facts, Told, skip};
use crate::clock::now_ms;
use crate::config::accounts::ResolvedAccount;
use crate::error::{Error, Result};
use crate::ports::channel::{Inbound, PeerKind};
use crate::session::choice;
use crate::session::commands::{self, Command, Directives, StopForm};
use crate::session::envelope::{Header, envelope};
use crate::session::intake::ClientMessage;
use crate::session::item::Item;
use crate::session::skills::calls::{self, Called};
use crate::session::{closing, exec, greeting, key, own, policy, subagent};

/// Source of what people type into clients.
const CHAT: &str = "chat";

/// How long the pictures of an album are waited for, milliseconds: platforms send them one after the other.
const ALBUM_MS: i64 = 500;

/// A command, or something for the model.
pub(super) async fn command_or_turn(facts: &Facts<'_>, mut item: Item, bot: Option<&str>) -> Result<Admitted> {
    let bare = item.parts.is_empty() && item.attachments.is_empty();
    let triggers = &facts.settings.session.reset_triggers;
    let mut command = match commands::parse(&item.text, bot).or_else(|| commands::triggered(&item.text, triggers)) {
        Some(_) if !bare => return Ok(Admitted::Turn(item)),
        Some(command) => command,
        None => {
            let said = if bare { alone(facts, &item, bot).await? } else { None };
            match said {
                Some(command) => command,
                None => return skill_or_turn(facts, item, bot).await,
            }
        }
    };
    if !heard(facts, &item) {
        // A bare word may be ordinary talk.
        if command == Command::Stop(StopForm::Phrase) {
            return Ok(Admitted::Turn(item));
        }
        let inbox_id = item.inbox_ids.first().cloned().unwrap_or_default();
        return Ok(skip(inbox_id, "skipped", "the sender may not give commands"));
    }
    // In a group sub-agents and commands on nodes are the owner's.
    let rules = item.direct || item.guest.is_empty();
    if command == Command::Stop(StopForm::Phrase)
        && rules
        && (subagent::runs_below(facts.services, facts.scope, facts.session).await?
            || exec::goes_on(facts.services, facts.scope, facts.session).await?)
    {
        command = Command::Stop(StopForm::Meant);
    }
    if let Command::New { rest, model } = &mut command
        && item.guest.is_empty()
        && let Some(said) = rest.clone()
    {
        let (first, behind) = said.split_once(char::is_whitespace).unwrap_or((&said, ""));
        let agent = key::agent_of(facts.session);
        *model = choice::lenient(&facts.services.config, facts.scope, agent, first).await?;
        if model.is_some() {
            let behind = behind.trim();
            *rest = (!behind.is_empty()).then(|| behind.to_owned());
        }
    }
    if let Command::New { rest: None, .. } | Command::Reset { rest: None } = &command {
        let zone = facts.settings.zone();
        item.prompt = greeting::prompt(now_ms(), zone);
    }
    item.commands = command.names();
    Ok(Admitted::Command { item, command })
}

/// Are the commands of whoever wrote it heard (`commands.allowFrom`). The owner's always are.
fn heard(facts: &Facts<'_>, item: &Item) -> bool {
    let Some(to) = item.destination.as_ref().filter(|_| !item.guest.is_empty()) else {
        return true;
    };
    let settings = facts.settings;
    settings
        .commands
        .hears(&to.channel, &item.guest, &settings.access_groups)
}

/// A skill called by name, or something for the model.
async fn skill_or_turn(facts: &Facts<'_>, mut item: Item, bot: Option<&str>) -> Result<Admitted> {
    let agent_id = key::agent_of(facts.session);
    match calls::called(facts.directory, facts.scope, agent_id, facts.settings, &item, bot).await? {
        None => Ok(Admitted::Turn(item)),
        Some(Called::Ask(wish)) => {
            item.prompt = if item.prompt.contains(&item.text) {
                item.prompt.replacen(&item.text, &wish, 1)
            } else {
                wish
            };
            Ok(Admitted::Turn(item))
        }
        Some(Called::Alone(call)) => {
            let command = Command::Skill(call);
            item.commands = command.names();
            Ok(Admitted::Command { item, command })
        }
    }
}

/// The directives of what the owner wrote, and the text without them. A command is none.
async fn directives(facts: &Facts<'_>, text: &str) -> Result<Option<(Directives, String)>> {
    if !text.contains('/') || commands::parse(text, None).is_some() {
        return Ok(None);
    }
    let agent = key::agent_of(facts.session);
    let known = match commands::model_in(text) {
        Some(wanted) => choice::lenient(&facts.services.config, facts.scope, agent, &wanted)
            .await?
            .is_some(),
        None => false,
    };
    Ok(commands::strip(text, known))
}

/// The shortcuts inside what somebody typed whose commands are heard, and the text without them.
fn inside(facts: &Facts<'_>, item: &Item, bot: Option<&str>) -> Option<(Vec<Command>, String)> {
    let text = item.text.as_str();
    if !item.is_typed() || item.bot.is_some() || !heard(facts, item) {
        return None;
    }
    let triggers = &facts.settings.session.reset_triggers;
    if commands::parse(text, bot).is_some() || commands::triggered(text, triggers).is_some() {
        return None;
    }
    let (found, rest) = commands::shortcuts(text, bot)?;
    let more = !item.parts.is_empty() || !item.attachments.is_empty();
    (!rest.is_empty() || more).then_some((found, rest))
}

/// Answers the shortcuts inside a client's message. In the same commit they are taken out of its row: whatever happens then,
/// they are answered once, and the rest is still to be asked. Gives what is to be told.
pub(super) async fn client_shortcuts(
    facts: &Facts<'_>,
    row: &inbox::Model,
    message: &mut ClientMessage,
) -> Result<Option<Told>> {
    // Nothing is looked at for a message without one.
    if row.source != CHAT || commands::shortcuts(&message.message, None).is_none() {
        return Ok(None);
    }
    let private = own::is_own(&facts.services.config, facts.scope, facts.session).await?;
    let (id, run_id) = (row.id.clone(), row.event_key.clone());
    let mut item = Item::from_client(id, run_id, row.received_at, private, message.clone());
    item.directed = message.relayed.is_none() && message.heartbeat.is_none() && !message.by_node;
    let Some((found, rest)) = inside(facts, &item, None).filter(|_| item.directed) else {
        return Ok(None);
    };
    message.message = rest;
    let payload = serde_json::to_string(message).map_err(Error::internal)?;
    answer_inside(facts, item, found, payload).await.map(Some)
}

/// The same for a platform's message; its answer goes there.
pub(super) async fn inbound_shortcuts(
    facts: &Facts<'_>,
    row: &inbox::Model,
    account: &ResolvedAccount,
    bot: Option<&str>,
    inbound: &mut Inbound,
) -> Result<()> {
    if commands::shortcuts(&inbound.text, bot).is_none() {
        return Ok(());
    }
    let guest = !policy::speaker(account, inbound).is(facts.scope.user());
    let (id, at) = (row.id.clone(), row.received_at);
    let (prompt, said) = (String::new(), inbound.clone());
    let item = Item::from_inbound(id, at, &row.source, &row.account_id, guest, prompt, said);
    let Some((found, rest)) = inside(facts, &item, bot) else {
        return Ok(());
    };
    inbound.text = rest;
    let payload = serde_json::to_string(inbound).map_err(Error::internal)?;
    answer_inside(facts, item, found, payload).await?;
    Ok(())
}

async fn answer_inside(facts: &Facts<'_>, mut item: Item, found: Vec<Command>, payload: String) -> Result<Told> {
    let command = Command::All(found);
    item.commands = command.names();
    let work = |epoch| {
        let authority = facts.authority(epoch);
        let (item, command, live) = (&item, &command, facts.live.clone());
        // Large, and seldom there: what reads every message is not to carry it.
        Box::pin(async move { closing::answer_inside(facts.directory, &authority, item, command, live, payload).await })
    };
    facts.directory.leases().under(facts.scope, work).await
}

/// The command that a message of nothing but directives, or of nothing but shortcuts, is.
async fn alone(facts: &Facts<'_>, item: &Item, bot: Option<&str>) -> Result<Option<Command>> {
    if let Some((found, rest)) = commands::shortcuts(&item.text, bot).filter(|_| item.is_typed())
        && rest.is_empty()
    {
        return Ok(Some(Command::All(found)));
    }
    if !item.guest.is_empty() || !item.directed {
        return Ok(None);
    }
    let said = directives(facts, &item.text).await?;
    Ok(said
        .filter(|(_, rest)| rest.is_empty())
        .map(|(said, _)| Command::All(said.commands())))
}

/// A client's message; what a person typed is taken apart.
pub(super) async fn client_item(facts: &Facts<'_>, row: &inbox::Model, mut message: ClientMessage) -> Result<Item> {
    let private = own::is_own(&facts.services.config, facts.scope, facts.session).await?;
    let typed = row.source == CHAT && message.relayed.is_none() && message.heartbeat.is_none();
    let said = if typed {
        directives(facts, &message.message).await?
    } else {
        None
    };
    let mut follow = None;
    if let Some((said, rest)) = said
        && !(rest.is_empty() && message.attachments.is_empty())
    {
        message.message = rest;
        follow = Some(said);
    }
    let mut item = Item::from_client(row.id.clone(), row.event_key.clone(), row.received_at, private, message);
    item.again = again(row);
    if !private {
        item.overheard();
    }
    item.directed = typed;
    if let Some(said) = follow {
        item.options.follow(said);
    }
    Ok(item)
}

/// The id of a new entry for a row whose first one is stored already.
fn again(row: &inbox::Model) -> Option<String> {
    row.entry_id.is_some().then(new_id)
}

/// A platform's message that passed the gate.
pub(super) async fn to_item(
    facts: &Facts<'_>,
    row: &inbox::Model,
    account: Option<&ResolvedAccount>,
    previous_at: Option<i64>,
    mut inbound: Inbound,
) -> Result<Item> {
    // A guest, unless a link says otherwise: the narrower reading.
    let guest = account.is_none_or(|account| !policy::speaker(account, &inbound).is(facts.scope.user()));
    let peer = &inbound.peer;
    let parted = account
        .filter(|_| peer.kind != PeerKind::Direct)
        .is_some_and(|account| account.policy.parts_senders(&peer.id, peer.thread.as_deref()));
    let rights = if parted {
        inbound.sender.id.clone()
    } else {
        String::new()
    };
    let mut follow = None;
    if !guest
        && let Some((said, rest)) = directives(facts, &inbound.text).await?
        && !(rest.is_empty() && inbound.attachments.is_empty())
    {
        inbound.text = rest;
        follow = Some(said);
    }
    let label = facts
        .services
        .ports
        .channel(&row.source)
        .map_or(row.source.as_str(), |channel| channel.manifest().label);
    let zone = facts.settings.zone();
    let manner = &facts.settings.manner;
    let prompt = envelope(
        &Header {
            channel: label,
            previous_at,
            zone: manner.zone.unwrap_or(zone),
            timestamp: manner.timestamp,
            elapsed: manner.elapsed,
            twelve_hours: manner.twelve_hours,
        },
        &inbound,
    );
    let mut item = Item::from_inbound(
        row.id.clone(),
        row.received_at,
        &row.source,
        &row.account_id,
        guest,
        prompt,
        inbound,
    );
    item.directed = !guest;
    item.rights = rights;
    item.again = again(row);
    if item.audience().is_private() && !own::is_own(&facts.services.config, facts.scope, facts.session).await? {
        item.overheard();
    }
    if let Some(said) = follow {
        item.options.follow(said);
    }
    if item.album.is_some() {
        item.settle_ms = ALBUM_MS;
    } else if item.attachments.is_empty() {
        let settings = facts.settings;
        let wait = settings
            .inbound_debounce_by_channel
            .get(&row.source)
            .unwrap_or(&settings.inbound_debounce);
        item.settle_ms = i64::try_from(wait.as_millis()).unwrap_or(0);
    }
    Ok(item)
}
