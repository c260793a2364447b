//! Updates into messages: where they were written, by whom, and in answer to what.

use claw_actors::ports::channel::{
    Account, HttpReply, Inbound, Malformed, Mention, Peer, PeerKind, Quoted, RawWebhook, Sender, WebhookOutcome,
};
use serde_json::{Value, json};

use super::BOT_TOKEN;
use super::attached::{attachments, place};
use super::entities::read;
use super::reaction;
use super::update::{CallbackQuery, Chat, Message, Update};
use crate::channels::lenient;

/// Telegram's stand-in author for anonymous administrators and for posts of a linked channel.
const STAND_INS: [i64; 2] = [1_087_968_824, 777_000];

/// The topic that a forum shows messages without a topic in.
pub(super) const GENERAL_TOPIC: &str = "1";

/// Who we are on Telegram, as `connect` learned it.
pub(super) struct Bot {
    pub id: i64,
    pub username: String,
    /// Private chats with this bot have topics.
    topics: bool,
}

impl Bot {
    fn of(account: &Account) -> Self {
        let identity = &account.identity;
        Self {
            id: known_id(account).or_else(|| token_id(account)).unwrap_or_default(),
            username: identity["username"].as_str().unwrap_or_default().to_owned(),
            topics: identity["hasTopicsEnabled"].as_bool().unwrap_or_default(),
        }
    }
}

/// The bot that was connected last.
pub(super) fn known_id(account: &Account) -> Option<i64> {
    id_in(&account.identity["id"])
}

fn id_in(value: &Value) -> Option<i64> {
    match value {
        Value::String(id) => id.parse().ok(),
        Value::Number(id) => id.as_i64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Is the stored token of another bot than the one that was connected last. What its token began with is compared, not
/// the id that the API told: a Bot API server of one's own may number bots in its own way.
pub(super) fn is_another(account: &Account) -> bool {
    let connected = id_in(&account.identity["tokenId"]).or_else(|| known_id(account));
    connected.is_some_and(|connected| token_id(account).is_some_and(|stored| stored != connected))
}

/// The bot whose token is stored: a token starts with its bot's id.
pub(super) fn token_id(account: &Account) -> Option<i64> {
    account
        .secret(BOT_TOKEN)?
        .expose()
        .split(':')
        .next()?
        .trim()
        .parse()
        .ok()
}

pub(super) fn parse(hook: &RawWebhook, account: &Account) -> Result<WebhookOutcome, Malformed> {
    let update: Update = lenient::read(&hook.body).map_err(|error| Malformed {
        reason: format!("not an update: line {}, column {}", error.line(), error.column()),
    })?;
    let Some(id) = update.update_id else {
        return Err(Malformed {
            reason: "update_id is missing".into(),
        });
    };
    let bot = Bot::of(account);
    if let Some(query) = update.callback_query {
        return Ok(button(id, *query, &bot, hook.now));
    }
    if let Some(changed) = update.message_reaction {
        return Ok(reaction::parse(id, *changed, account, &bot));
    }
    let edited = update.edited_message.is_some() || update.edited_channel_post.is_some();
    let message = update
        .message
        .or(update.edited_message)
        .or(update.channel_post)
        .or(update.edited_channel_post);
    Ok(match message {
        Some(message) => match inbound(*message, edited, &bot) {
            Ok(message) => WebhookOutcome::Messages {
                messages: vec![message],
                reply: None,
            },
            Err(reason) => WebhookOutcome::Ignore(reason),
        },
        None => WebhookOutcome::Ignore("update kind is not used"),
    })
}

fn inbound(message: Message, edited: bool, bot: &Bot) -> Result<Inbound, &'static str> {
    if message.chat.id == 0 || message.message_id == 0 {
        return Err("message without a chat or an id");
    }
    if message.migrate_to_chat_id.is_some() {
        return Err("group became a supergroup");
    }
    let sender = sender(&message);
    if sender.id == bot.id.to_string() {
        return Err("own message");
    }
    let chat = message.chat.id;
    let peer = peer(&message, &sender, bot);
    let direct = peer.kind == PeerKind::Direct;
    let (raw, entities) = match &message.text {
        Some(text) => (text.as_str(), &message.entities),
        None => (
            message.caption.as_deref().unwrap_or_default(),
            &message.caption_entities,
        ),
    };
    let read = read(raw, entities, bot);
    let attachments = attachments(&message);
    let mut text = read.text;
    if text.is_empty() {
        text = place(&message).unwrap_or_default();
    }
    if text.is_empty() && attachments.is_empty() && !read.mentioned {
        return Err("nothing to read in it");
    }
    let reply = message
        .reply_to_message
        .as_deref()
        .filter(|reply| is_reply(&message, reply));
    // Each bot counts its messages with a person from the beginning: its id is part of the key. The part that grows comes
    // first: keys of one bot lie beside each other in the index.
    let event_key = if edited {
        let at = message.edit_date.unwrap_or(message.date);
        format!("edit:{}:{chat}:{at}:{}", message.message_id, bot.id)
    } else {
        format!("msg:{}:{chat}:{}", message.message_id, bot.id)
    };
    let album = message.media_group_id.clone().filter(|_| !edited);
    Ok(Inbound {
        event_key,
        mention: Mention {
            native: read.mentioned,
            reply_to_bot: reply
                .and_then(|reply| reply.from.as_ref())
                .is_some_and(|author| author.id == bot.id),
            in_thread: false,
        },
        command: read.command && (direct || read.mentioned),
        reply_to: quoted(&message, reply),
        answer_below: None,
        peer,
        sender,
        text,
        message_id: message.message_id.to_string(),
        attachments,
        sent_at: message.edit_date.unwrap_or(message.date).saturating_mul(1000),
        edited,
        album,
        reaction: None,
    })
}

/// A pressed button is what its data says. The answer to the webhook takes the waiting sign off the button: its result
/// would be invisible, and nothing depends on it.
fn button(update_id: i64, query: CallbackQuery, bot: &Bot, now: i64) -> WebhookOutcome {
    let reply = (!query.id.is_empty()).then(|| HttpReply {
        status: 200,
        content_type: "application/json",
        body: json!({"method": "answerCallbackQuery", "callback_query_id": query.id}).to_string(),
    });
    let data = query.data.unwrap_or_default().trim().to_owned();
    let message = query.message.filter(|message| message.chat.id != 0);
    let (Some(mut message), false) = (message, data.is_empty()) else {
        return match reply {
            Some(reply) => WebhookOutcome::Reply(reply),
            None => WebhookOutcome::Ignore("button without data or chat"),
        };
    };
    // The message is the bot's; the words are the person's who pressed.
    message.from = Some(query.from);
    message.sender_chat = None;
    let sender = sender(&message);
    WebhookOutcome::Messages {
        messages: vec![Inbound {
            event_key: if query.id.is_empty() {
                format!("update:{update_id}:{}", bot.id)
            } else {
                format!("button:{}", query.id)
            },
            peer: peer(&message, &sender, bot),
            sender,
            text: data,
            message_id: message.message_id.to_string(),
            mention: Mention {
                native: true,
                reply_to_bot: true,
                in_thread: false,
            },
            reply_to: None,
            answer_below: None,
            attachments: Vec::new(),
            sent_at: now.saturating_mul(1000),
            edited: false,
            command: true,
            album: None,
            reaction: None,
        }],
        reply,
    }
}

pub(super) fn sender(message: &Message) -> Sender {
    let chat = |chat: &Chat| Sender {
        id: chat.id.to_string(),
        name: chat.title.clone().unwrap_or_default(),
        username: chat.username.clone(),
        is_bot: false,
    };
    match (&message.from, &message.sender_chat) {
        (Some(user), Some(on_behalf)) if STAND_INS.contains(&user.id) => chat(on_behalf),
        (Some(user), _) => Sender {
            id: user.id.to_string(),
            name: user.name(),
            username: user.username.clone(),
            is_bot: user.is_bot,
        },
        (None, Some(on_behalf)) => chat(on_behalf),
        (None, None) => chat(&message.chat),
    }
}

/// Forum topics have sessions of their own, the general one too; reply threads of other groups have none.
pub(super) fn peer(message: &Message, sender: &Sender, bot: &Bot) -> Peer {
    let direct = message.chat.kind == "private";
    let thread = message.message_thread_id.map(|id| id.to_string());
    let (thread, topic) = if direct {
        (thread.filter(|_| bot.topics), false)
    } else if message.chat.is_forum || message.is_topic_message {
        let topic = thread.filter(|_| message.is_topic_message);
        (Some(topic.unwrap_or_else(|| GENERAL_TOPIC.to_owned())), true)
    } else {
        (None, false)
    };
    Peer {
        kind: if direct { PeerKind::Direct } else { PeerKind::Group },
        id: message.chat.id.to_string(),
        thread,
        topic,
        title: message
            .chat
            .title
            .clone()
            .or_else(|| Some(sender.name.clone()))
            .filter(|title| !title.is_empty()),
        space: None,
    }
}

/// Every message of a topic "replies" to the service message that opened it: that is no reply.
fn is_reply(message: &Message, reply: &Message) -> bool {
    reply.message_id != 0 && !(message.is_topic_message && message.message_thread_id == Some(reply.message_id))
}

fn quoted(message: &Message, reply: Option<&Message>) -> Option<Quoted> {
    let quote = message
        .quote
        .as_ref()
        .map(|quote| quote.text.clone())
        .filter(|text| !text.is_empty());
    if let Some(reply) = reply {
        let whole = || reply.text.clone().or_else(|| reply.caption.clone()).unwrap_or_default();
        return Some(Quoted {
            message_id: reply.message_id.to_string(),
            sender: sender(reply).name,
            text: quote.unwrap_or_else(whole),
        });
    }
    let external = message.external_reply.as_ref()?;
    Some(Quoted {
        message_id: external.message_id.unwrap_or_default().to_string(),
        sender: external.chat.title.clone().unwrap_or_default(),
        text: quote?,
    })
}
