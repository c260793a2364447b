//! What clients do in chats by themselves (`send`, `poll`, `message.action`). They reach what their user does: chats on
//! their own bots, and where they linked themselves.

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, SessionKey, UserOwned, outbox};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};

use super::blobs::Unstored;
use super::budget::Charge;
use super::cron::announce::{self, Place};
use super::turn::{Authority, Piece, insert_pieces};
use super::{key, send_policy};
use crate::Services;
use crate::config::cron::job::Target;
use crate::db::one_by_one;
use crate::error::{Error, Result};
use crate::ports::channel::{Channel, Choice, DeliverError, Delivered, Destination, FileAbout, Poll, Rendered, Sign};
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::fenced;

/// Longest text, bytes, and pieces of one message.
const LONGEST: usize = 64 * 1024;
const PIECES: usize = 30;
/// Rows looked at that have one id of a message: each chat of Telegram counts for itself.
const ALIKE: u64 = 1_000;
/// How long a client waits for the platform.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at the outbox, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(40);
const LAST_LOOK: Duration = Duration::from_millis(640);

/// A message on its way into a chat.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) target: Target,
    pub(crate) agent_id: String,
    pub(crate) reply_to: Option<String>,
    pub(crate) text: String,
    /// What is shown, and its bytes: they are stored with the message, or not at all.
    pub(crate) file: Option<(FileAbout, Arc<Unstored>)>,
    /// One message for each.
    pub(crate) run_id: String,
    /// Buttons below it, where the platform has them.
    pub(crate) choices: Vec<Choice>,
    /// A message that had buttons: the text goes below its own, in their place.
    pub(crate) below: Option<outbox::Model>,
}

/// A chat, and what the platform calls the message.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) destination: Destination,
    pub(crate) message_id: String,
}

/// Puts a message into the outbox, once for each run id, and waits for the platform.
///
/// # Errors
/// `Invalid` for a chat that is not the user's, and for a message that cannot be sent; `Upstream` when the platform
/// refused it; `Busy` while it is on its way: it is stored, and the same run id hears more later.
pub(crate) async fn send(directory: &Directory, scope: &Scope, wish: Wish) -> Result<Sent> {
    let (destination, first) = put(directory, scope, wish).await?;
    let message_id = arrived(directory.services(), scope, &first).await?;
    Ok(Sent {
        destination,
        message_id,
    })
}

/// Puts a message into the outbox, once for each run id. Gives where it goes, and its first row.
///
/// # Errors
/// As [`send`], but for what the platform says.
pub(crate) async fn put(directory: &Directory, scope: &Scope, wish: Wish) -> Result<(Destination, String)> {
    if wish.text.len() > LONGEST {
        return Err(Error::TooLarge(format!("a message has at most {} KiB", LONGEST / 1024)));
    }
    let (account, mut destination) = place(directory, scope, &wish.agent_id, &wish.target).await?;
    destination.reply_to = wish.reply_to;
    let known = destination.clone();
    let place = (account, destination);
    let (about, bytes) = wish.file.unzip();
    let said = match about {
        Some(about) => {
            takes_files(directory.services(), &known)?;
            announce::shown_as("message", directory, place, about, &wish.text)
        }
        None => announce::said_as("message", directory, place, &wish.text),
    };
    let mut said = said.map_err(Error::Invalid)?;
    if let (Some(before), Some(first)) = (wish.below, said.pieces.first_mut()) {
        let joined = |before: &str, text: &str| format!("{before}\n\n{text}");
        first.rendered = Rendered {
            text: joined(&before.text, &first.rendered.text),
            plain: joined(&before.plain, &first.rendered.plain),
        };
        first.replaces = Some(before.id);
        first.choices = Some(Vec::new());
    }
    put_buttons(directory.services(), &mut said.pieces, wish.choices);
    if said.pieces.len() > PIECES {
        return Err(Error::TooLarge(format!("that would be {} messages", said.pieces.len())));
    }
    let work = |epoch| {
        let authority = Authority {
            scope: scope.clone(),
            key: key::main(&wish.agent_id),
            agent_id: wish.agent_id.clone(),
            epoch,
            charge: Charge::default(),
        };
        let (run_id, pieces, bytes) = (wish.run_id.clone(), said.pieces.clone(), bytes.clone());
        directory.services().writer.run(scope, move |tx| {
            let (authority, run_id, pieces, bytes) = (authority.clone(), run_id.clone(), pieces.clone(), bytes.clone());
            Box::pin(async move {
                // Of two calls with one key, the second sees what the first wrote.
                one_by_one(tx, &authority.scope).await?;
                let mut batch = fenced(tx, &authority.scope, authority.epoch).await?;
                if let Some(earlier) = first_of(tx, &authority.scope, &run_id).await? {
                    return Ok(earlier.id);
                }
                if let Some(bytes) = bytes {
                    bytes.store(tx, &authority.scope).await?;
                }
                insert_pieces(&mut batch, &authority, Some(&run_id), &pieces)?;
                batch.run(tx).await?;
                Ok(pieces.into_iter().next().map(|piece| piece.id).unwrap_or_default())
            })
        })
    };
    let first = directory.leases().under(scope, work).await?;
    directory.delivery().kick(scope, &said.conversation);
    Ok((known, first))
}

/// Puts buttons below a message, where its platform has them.
pub(super) fn put_buttons(services: &Services, pieces: &mut [Piece], choices: Vec<Choice>) {
    let Some(last) = pieces.last_mut() else { return };
    let channel = services.ports.channel(&last.destination.channel);
    if !choices.is_empty() && channel.is_some_and(|channel| channel.manifest().buttons) {
        last.choices = Some(choices);
    }
}

/// What became of the message that was sent under this run id, if one was; waits for the platform as [`send`] does.
///
/// # Errors
/// As [`send`].
pub(crate) async fn again(directory: &Directory, scope: &Scope, run_id: &str) -> Result<Option<Sent>> {
    let services = directory.services();
    let row = first_of(&services.db.glance(scope).await?, scope, run_id).await?;
    let Some(row) = row else { return Ok(None) };
    let destination = serde_json::from_value(row.destination).map_err(Error::internal)?;
    Ok(Some(Sent {
        destination,
        message_id: arrived(services, scope, &row.id).await?,
    }))
}

/// The first row of a message.
async fn first_of(view: &impl ConnectionTrait, scope: &Scope, run_id: &str) -> Result<Option<outbox::Model>> {
    Ok(outbox::Entity::owned_by(scope)
        .filter(outbox::Column::RunId.eq(run_id))
        .order_by_asc(outbox::Column::Id)
        .limit(1)
        .one(view)
        .await?)
}

/// What the platform calls the message of this outbox row.
async fn arrived(services: &Services, scope: &Scope, outbox_id: &str) -> Result<String> {
    let mut pause = FIRST_LOOK;
    let waiting = async {
        loop {
            let row = outbox::Entity::owned_by(scope)
                .filter(outbox::Column::Id.eq(outbox_id))
                .one(&services.db.glance(scope).await?)
                .await?
                .ok_or(Error::NotFound { what: "message" })?;
            match row.state.as_str() {
                "sent" => return Ok(row.message_id.unwrap_or_default()),
                "failed" => {
                    let why = row.error.unwrap_or_else(|| "the platform refused it".to_owned());
                    return Err(Error::Upstream(why));
                }
                "unknown" => return Err(Error::Upstream("nobody knows whether it arrived".to_owned())),
                _ => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(arrived) => arrived,
        Err(_) => Err(Error::Busy {
            message: "the message is stored and on its way; ask again with the same idempotencyKey".to_owned(),
            retry_after: Duration::from_secs(5),
        }),
    }
}

/// Is there such a chat of the user's, and may files go there.
///
/// # Errors
/// `Invalid` when not.
pub(crate) async fn reaches(directory: &Directory, scope: &Scope, (agent_id, target): (&str, &Target)) -> Result<()> {
    let (_, destination) = place(directory, scope, agent_id, target).await?;
    takes_files(directory.services(), &destination)
}

fn takes_files(services: &Services, to: &Destination) -> Result<()> {
    match channel(services, to)?.files() {
        Some(_) => Ok(()),
        None => Err(Error::invalid(format!("{} takes no files from here", to.channel))),
    }
}

/// Answers to choose from in a poll, and how long it may be open, in seconds.
pub const OPTIONS: std::ops::RangeInclusive<usize> = 2..=12;
pub const LONGEST_POLL: u64 = 604_800;

/// Something done to a message.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    React(Sign),
    Edit(String),
    Delete,
    /// Puts it where everybody sees it, or takes it down again.
    Pin(bool),
}

/// Does something to a message in a chat. At once, and once. Only what was sent from here for this user is changed and
/// taken back, whatever else the bot may do in the chat.
///
/// # Errors
/// As [`send`]; `Invalid` also for what the channel cannot do, and `NotFound` for a message that is not the user's.
pub(crate) async fn act(
    directory: &Directory,
    scope: &Scope,
    (agent_id, target): (&str, &Target),
    message_id: &str,
    act: &Act,
) -> Result<Sent> {
    let place = place(directory, scope, agent_id, target).await?;
    act_at(directory.services(), scope, place, message_id, act).await
}

/// Is this how a platform names a message.
fn check_id(message_id: &str) -> Result<()> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || "._-:".contains(letter);
    if message_id.is_empty() || message_id.len() > 128 || !message_id.chars().all(known) {
        return Err(Error::invalid("messageId is no id of a message"));
    }
    Ok(())
}

/// Is this a message of that chat, as far as its id tells; `own`: one that was sent from here for the user.
///
/// # Errors
/// `Invalid` for what is no id, `NotFound` for a message that is not the user's.
pub(in crate::session) async fn may_touch(
    services: &Services,
    scope: &Scope,
    to: &Destination,
    message_id: &str,
    own: bool,
) -> Result<()> {
    check_id(message_id)?;
    // Slack's ids in the chat with a person begin with a channel: any other chat could stand there.
    let own = own || message_id.contains(':');
    if own && !sent_here(services, scope, to, message_id).await? {
        return Err(Error::NotFound {
            what: "message sent to this chat for you",
        });
    }
    Ok(())
}

/// As [`act`], in a chat that was found.
pub(in crate::session) async fn act_at(
    services: &Services,
    scope: &Scope,
    (account, destination): Place,
    message_id: &str,
    act: &Act,
) -> Result<Sent> {
    let own = matches!(act, Act::Edit(_) | Act::Delete);
    may_touch(services, scope, &destination, message_id, own).await?;
    let channel = channel(services, &destination)?;
    let cannot = || Error::invalid(format!("{} cannot do that", destination.channel));
    let account = &account.account;
    let done = match act {
        Act::React(sign) => {
            let acts = channel.acts().ok_or_else(cannot)?;
            acts.react(account, &destination, message_id, sign).await
        }
        Act::Pin(on) => {
            let acts = channel.acts().ok_or_else(cannot)?;
            acts.pin(account, &destination, message_id, *on).await
        }
        Act::Delete => {
            let acts = channel.acts().ok_or_else(cannot)?;
            acts.delete(account, &destination, message_id).await
        }
        Act::Edit(text) => {
            let edits = channel.edits().ok_or_else(cannot)?;
            let pieces: Vec<Rendered> = channel.render(text);
            let [piece] = pieces.as_slice() else {
                return Err(Error::invalid("the new text does not fit into one message"));
            };
            edits.edit(account, &destination, message_id, piece).await
        }
    };
    done.map_err(refused)?;
    Ok(Sent {
        destination,
        message_id: message_id.to_owned(),
    })
}

/// Was this message sent to the chat for the user.
pub(super) async fn sent_here(services: &Services, scope: &Scope, to: &Destination, message_id: &str) -> Result<bool> {
    let rows: Vec<serde_json::Value> = outbox::Entity::owned_by(scope)
        .select_only()
        .column(outbox::Column::Destination)
        .filter(outbox::Column::MessageId.eq(message_id))
        .order_by_desc(outbox::Column::Id)
        .limit(ALIKE)
        .into_tuple()
        .all(&services.db.glance(scope).await?)
        .await?;
    let mut rows = rows.into_iter();
    Ok(rows.any(|row| {
        serde_json::from_value::<Destination>(row).is_ok_and(|there| {
            there.channel == to.channel && there.account_id == to.account_id && there.peer.id == to.peer.id
        })
    }))
}

/// Asks people to choose, in a chat. At once, and once.
///
/// # Errors
/// As [`act`].
pub(crate) async fn poll(
    directory: &Directory,
    scope: &Scope,
    (agent_id, target): (&str, &Target),
    poll: &Poll,
) -> Result<Sent> {
    let place = place(directory, scope, agent_id, target).await?;
    poll_at(directory.services(), place, poll).await
}

/// As [`poll`], in a chat that was found.
pub(in crate::session) async fn poll_at(
    services: &Services,
    (account, destination): Place,
    poll: &Poll,
) -> Result<Sent> {
    let channel = channel(services, &destination)?;
    let polls = channel
        .polls()
        .ok_or_else(|| Error::invalid(format!("{} has no polls", destination.channel)))?;
    let Delivered { message_id } = polls.ask(&account.account, &destination, poll).await.map_err(refused)?;
    Ok(Sent {
        destination,
        message_id,
    })
}

async fn place(directory: &Directory, scope: &Scope, agent_id: &str, target: &Target) -> Result<Place> {
    let found = announce::find(directory, scope, agent_id, target).await?;
    found.map_err(Error::Invalid)
}

/// The chat that the answer of a session goes to besides: the named one; else where the session was written to last;
/// else where the user wrote last.
///
/// # Errors
/// `Invalid` when there is no such chat of the user's, or nothing may be said there.
pub(crate) async fn chat_of(
    directory: &Directory,
    scope: &Scope,
    session: &SessionKey,
    target: Target,
) -> Result<Destination> {
    let services = directory.services();
    let agent = key::parse(session.as_str()).map_or("main", |parsed| parsed.agent_id);
    let row = services.conversation.session(scope, session).await?;
    let own = row.and_then(|row| serde_json::from_value::<Destination>(row.destination).ok());
    let own = own.filter(|own| {
        let account = target.account_id.as_ref();
        target.channel().is_none_or(|channel| channel == own.channel) && account.is_none_or(|id| *id == own.account_id)
    });
    let target = match (own, target.to.is_some()) {
        (None, true) if target.channel().is_none() => {
            return Err(Error::invalid("to names nobody without a channel: name that too"));
        }
        (Some(own), true) if target.channel().is_none() => Target {
            channel: Some(own.channel),
            account_id: target.account_id.or(Some(own.account_id)),
            ..target
        },
        (Some(own), false) => {
            let account = services
                .config
                .account(scope.tenant(), &own.channel, &own.account_id)
                .await?;
            let reached = account.is_some_and(|account| {
                let sender = own.recipient.as_ref().unwrap_or(&own.peer.id);
                let theirs = account.owner == *scope.user() || account.links.get(sender) == Some(scope.user());
                account.enabled && theirs
            });
            if !reached {
                return Err(Error::invalid(format!(
                    "there is no channel account {}/{}",
                    own.channel, own.account_id
                )));
            }
            if !send_policy::reaches(services, scope, agent, &own).await? {
                return Err(Error::invalid(send_policy::BLOCKED));
            }
            return Ok(Destination { reply_to: None, ..own });
        }
        (None | Some(_), _) => target,
    };
    let (_, destination) = place(directory, scope, agent, &target).await?;
    channel(services, &destination)?;
    Ok(destination)
}

pub(in crate::session) fn channel<'a>(services: &'a Services, to: &Destination) -> Result<&'a dyn Channel> {
    let channel = services.ports.channel(&to.channel);
    channel
        .map(AsRef::as_ref)
        .ok_or_else(|| Error::invalid(format!("there is no channel {}", to.channel)))
}

/// `Timeout` when nobody knows whether it happened.
pub(in crate::session) fn refused(error: DeliverError) -> Error {
    match error {
        DeliverError::Unknown { message } => Error::Timeout(message),
        DeliverError::Retry { .. }
        | DeliverError::Rejected { .. }
        | DeliverError::Unauthorized { .. }
        | DeliverError::Moved { .. } => Error::Upstream(error.to_string()),
    }
}
