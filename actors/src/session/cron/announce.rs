//! Where the answer of a scheduled run goes. A job never reaches further than its user does: chats on their own bots,
//! and where they linked themselves.

use claw_entities::{Scope, UserOwned, cron_run, session};
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use crate::config::accounts::ResolvedAccount;
use crate::config::cron::job::Target;
use crate::error::Result;
use crate::ports::channel::{Destination, FileAbout, Peer, PeerKind, Rendered};
use crate::ports::web::WEBHOOK;
use crate::session::budget::Charge;
use crate::session::key;
use crate::session::preview::Outlet;
use crate::session::send_policy;
use crate::session::turn::{Authority, Piece};
use crate::supervisor::directory::Directory;

/// Sessions looked at for the place where the user wrote last.
const LOOKED_AT: u64 = 50;

/// Pieces for one chat.
#[derive(Clone, Debug)]
pub(in crate::session) struct Announcement {
    pub(in crate::session) conversation: String,
    pub(in crate::session) pieces: Vec<Piece>,
}

impl Announcement {
    /// In whose name the pieces are stored. Nothing of a session is written, so no epoch is held.
    pub(super) fn authority(&self, scope: &Scope, open: &cron_run::Model) -> Authority {
        Authority {
            scope: scope.clone(),
            key: open.session_key.clone(),
            agent_id: open.agent_id.clone(),
            epoch: 0,
            charge: Charge::default(),
        }
    }
}

/// The text as pieces for a target. The inner error says why it cannot go there.
pub(in crate::session) async fn to(
    directory: &Directory,
    scope: &Scope,
    agent: &str,
    target: &Target,
    text: &str,
) -> Result<std::result::Result<Announcement, String>> {
    Ok(match find(directory, scope, agent, target).await? {
        Ok(found) => said(directory, found, text),
        Err(why) => Err(why),
    })
}

/// The answer of a run with its files, for a target. The inner error says why it cannot go there.
pub(in crate::session) async fn answer(
    directory: &Directory,
    scope: &Scope,
    agent: &str,
    target: &Target,
    answer: Answer<'_>,
) -> Result<std::result::Result<Announcement, String>> {
    Ok(match find(directory, scope, agent, target).await? {
        Ok(place) => answer_at(directory, place, answer),
        Err(why) => Err(why),
    })
}

/// Text, if there is any, and files.
pub(in crate::session) type Answer<'a> = (Option<&'a str>, &'a [FileAbout]);

/// The files that the answer of a run showed.
pub(in crate::session) fn files_of(result: &Value) -> Vec<FileAbout> {
    serde_json::from_value(result["files"].clone()).unwrap_or_default()
}

/// As [`answer`], for a chat that was found. Where it takes no files, a line says so.
pub(in crate::session) fn answer_at(
    directory: &Directory,
    place: Place,
    (text, files): Answer<'_>,
) -> std::result::Result<Announcement, String> {
    let destination = place.1.clone();
    let channel = directory.services().ports.channel(&destination.channel);
    let takes = channel.is_some_and(|channel| channel.files().is_some());
    let mut words = text.unwrap_or_default().to_owned();
    if !takes && !files.is_empty() {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        words = format!(
            "{words}\n\n(Not sent, {} takes no files: {})",
            destination.channel,
            names.join(", ")
        );
    }
    let mut announcement = if words.trim().is_empty() {
        Announcement {
            conversation: destination.conversation(),
            pieces: Vec::new(),
        }
    } else {
        said(directory, place, words.trim())?
    };
    let shown = files.iter().filter(|_| takes);
    announcement
        .pieces
        .extend(shown.map(|file| Piece::file("announce", &destination, file.clone())));
    Ok(announcement)
}

/// An event for a web address. Each user's go in a lane of their own.
pub(super) fn posted(scope: &Scope, target: &Target, event: &Value) -> Announcement {
    let destination = Destination {
        channel: WEBHOOK.to_owned(),
        account_id: scope.user().as_str().to_owned(),
        peer: Peer {
            kind: PeerKind::Direct,
            id: target.to.clone().unwrap_or_default(),
            thread: None,
            topic: false,
            title: None,
            space: None,
        },
        recipient: None,
        reply_to: None,
    };
    let rendered = Rendered {
        text: event.to_string(),
        plain: String::new(),
    };
    Announcement {
        conversation: destination.conversation(),
        pieces: vec![Piece::new("announce", &destination, rendered)],
    }
}

/// The text as pieces for a chat that was found.
pub(in crate::session) fn said(
    directory: &Directory,
    place: Place,
    text: &str,
) -> std::result::Result<Announcement, String> {
    said_as("announce", directory, place, text)
}

/// As [`said`], under another kind of the outbox.
pub(in crate::session) fn said_as(
    kind: &'static str,
    directory: &Directory,
    (account, destination): Place,
    text: &str,
) -> std::result::Result<Announcement, String> {
    let outlet = Outlet::new(directory, account, destination);
    let pieces: Vec<Piece> = outlet
        .render(text)
        .into_iter()
        .map(|rendered| Piece::new(kind, &outlet.destination, rendered))
        .collect();
    if pieces.is_empty() {
        return Err("there is nothing to send".to_owned());
    }
    Ok(Announcement {
        conversation: outlet.destination.conversation(),
        pieces,
    })
}

/// A file, and below it the text where there is one, for a chat that was found.
pub(in crate::session) fn shown_as(
    kind: &'static str,
    directory: &Directory,
    place: Place,
    file: FileAbout,
    text: &str,
) -> std::result::Result<Announcement, String> {
    let conversation = place.1.conversation();
    let mut pieces = vec![Piece::file(kind, &place.1, file)];
    if !text.trim().is_empty() {
        pieces.extend(said_as(kind, directory, place, text)?.pieces);
    }
    Ok(Announcement { conversation, pieces })
}

/// A bot, and a chat of it.
pub(in crate::session) type Place = (std::sync::Arc<ResolvedAccount>, Destination);
type Found = std::result::Result<Place, String>;

/// Where a target is. The inner error says why there is no such place.
pub(in crate::session) async fn find(
    directory: &Directory,
    scope: &Scope,
    agent: &str,
    target: &Target,
) -> Result<Found> {
    let found = match target.channel() {
        Some(channel) => named(directory, scope, channel, target).await?,
        None => last(directory, scope, agent, target).await?,
    };
    if let Ok((_, destination)) = &found
        && !send_policy::reaches(directory.services(), scope, agent, destination).await?
    {
        return Ok(Err(send_policy::BLOCKED.to_owned()));
    }
    Ok(found)
}

/// A chat the job names.
async fn named(directory: &Directory, scope: &Scope, channel: &str, target: &Target) -> Result<Found> {
    let Some(to) = target.to.as_deref().filter(|to| !to.is_empty()) else {
        return Ok(Err(format!("delivery.to is missing for channel {channel}")));
    };
    let account_id = target.account_id.as_deref().unwrap_or(key::DEFAULT_ACCOUNT);
    let config = &directory.services().config;
    let account = config.account(scope.tenant(), channel, account_id).await?;
    let Some(account) = account.filter(|account| account.enabled) else {
        return Ok(Err(format!("there is no channel account {channel}/{account_id}")));
    };
    let peer = peer(channel, to, target.thread_id.as_ref());
    if account.owner != *scope.user() && account.links.get(&peer.id) != Some(scope.user()) {
        return Ok(Err(format!("there is no channel account {channel}/{account_id}")));
    }
    let destination = Destination {
        channel: channel.to_owned(),
        account_id: account_id.to_owned(),
        peer,
        recipient: None,
        reply_to: None,
    };
    Ok(Ok((account, destination)))
}

/// What `to` names: the platform's id, perhaps behind a word that says what it is.
fn peer(channel: &str, to: &str, thread: Option<&Value>) -> Peer {
    let to = to.strip_prefix(&format!("{channel}:")).unwrap_or(to);
    let words = [
        ("group:", PeerKind::Group),
        ("channel:", PeerKind::Channel),
        ("user:", PeerKind::Direct),
        ("direct:", PeerKind::Direct),
        ("dm:", PeerKind::Direct),
    ];
    let said = words
        .iter()
        .find_map(|(word, kind)| Some((to.strip_prefix(word)?, *kind)));
    let (id, kind) = said.unwrap_or_else(|| {
        let kind = match channel {
            "telegram" if to.starts_with('-') => PeerKind::Group,
            "slack" if to.starts_with(['C', 'G']) => PeerKind::Channel,
            _ => PeerKind::Direct,
        };
        (to, kind)
    });
    Peer {
        kind,
        id: id.to_owned(),
        thread: thread.map(|thread| thread.as_str().map_or_else(|| thread.to_string(), str::to_owned)),
        topic: channel == "telegram" && thread.is_some(),
        title: None,
        space: None,
    }
}

/// Did one of these senders write last in a session. Others' chats of the same bot may be many.
pub(in crate::session) fn written_by(senders: impl Iterator<Item = String>) -> SimpleExpr {
    Expr::cust("destination ->> 'recipient'").is_in(senders)
}

/// Where the user themselves wrote last: in the agent's main session, or in a direct chat they linked.
async fn last(directory: &Directory, scope: &Scope, agent: &str, target: &Target) -> Result<Found> {
    let services = directory.services();
    let own = services.config.list_links(scope).await?.into_iter();
    let rows = session::Entity::owned_by(scope)
        .filter(session::Column::AgentId.eq(agent))
        .filter(written_by(own.map(|link| link.sender_id)))
        .order_by_desc(session::Column::UpdatedAt)
        .limit(LOOKED_AT)
        .all(&services.db.glance(scope).await?)
        .await?;
    for row in rows {
        let Ok(destination) = serde_json::from_value::<Destination>(row.destination) else {
            continue;
        };
        if destination.peer.kind != PeerKind::Direct
            || target
                .account_id
                .as_ref()
                .is_some_and(|account| *account != destination.account_id)
        {
            continue;
        }
        let account = services
            .config
            .account(scope.tenant(), &destination.channel, &destination.account_id)
            .await?;
        let Some(account) = account.filter(|account| account.enabled) else {
            continue;
        };
        let is_them = destination
            .recipient
            .as_ref()
            .is_some_and(|recipient| account.links.get(recipient) == Some(scope.user()));
        if is_them {
            let destination = Destination {
                reply_to: None,
                ..destination
            };
            return Ok(Ok((account, destination)));
        }
    }
    Ok(Err(
        "there is no chat of yours to send it to: link one, or name delivery.channel and delivery.to".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_target_is_read_as_the_platforms_write_them() {
        for (channel, to, id, kind) in [
            ("telegram", "4242", "4242", PeerKind::Direct),
            ("telegram", "-100123", "-100123", PeerKind::Group),
            ("telegram", "telegram:77", "77", PeerKind::Direct),
            ("slack", "C0123", "C0123", PeerKind::Channel),
            ("slack", "channel:C0123", "C0123", PeerKind::Channel),
            ("slack", "user:U1", "U1", PeerKind::Direct),
            ("slack", "D9", "D9", PeerKind::Direct),
        ] {
            let peer = peer(channel, to, None);
            assert_eq!((peer.id.as_str(), peer.kind), (id, kind), "{channel} {to}");
        }
        let topic = peer("telegram", "-1", Some(&json!(7)));
        assert_eq!((topic.thread.as_deref(), topic.topic), (Some("7"), true));
    }
}
