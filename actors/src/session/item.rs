//! One accepted message on its way to a turn.

use claw_entities::Scope;

use super::budget::Charge;
use super::commands::Directives;
use super::envelope;
use super::intake::{Beat, ClientMessage, ClientTool, Scheduled};
use super::prompt::Audience;
use super::queue::{self, Route};
use super::reach::Chain;
use crate::Services;
use crate::config::accounts::GroupRule;
use crate::config::document::QueueMode;
use crate::error::Result;
use crate::ports::channel::{Attachment, Destination, Inbound, PeerKind};
use crate::ports::message::Part;

/// What a turn needs to know of a message. Made from its inbox row, never the other way round.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Rows this stands for: one, or all rows of a turn that is resumed.
    pub(crate) inbox_ids: Vec<String>,
    /// The client's idempotency key, or the id of the run that is resumed.
    pub(crate) run_id: Option<String>,
    /// Run ids of further client messages it stands for (a resumed turn).
    pub(crate) also: Vec<String>,
    /// A bot wrote it: its id on the platform.
    pub(crate) bot: Option<String>,
    /// The platform's id of the message.
    pub(crate) message_id: Option<String>,
    /// User entry that already carries it (a resumed turn).
    pub(crate) entry_id: Option<String>,
    /// Id of its user entry where the row's own is taken: a dead letter that is tried again.
    pub(crate) again: Option<String>,
    /// Empty for the user themselves, else the guest's id on the platform: their lane.
    pub(crate) guest: String,
    /// The sender, where those of one chat have different tools; else empty.
    pub(crate) rights: String,
    /// What the person wrote.
    pub(crate) text: String,
    /// What the model sees: the envelope around `text`.
    pub(crate) prompt: String,
    /// Attachments of a client message, stored already.
    pub(crate) parts: Vec<Part>,
    /// Attachments on the platform, not downloaded yet.
    pub(crate) attachments: Vec<Attachment>,
    /// Where the reply goes; `None` for gateway clients.
    pub(crate) destination: Option<Destination>,
    /// May whoever wrote it decide about commands on nodes.
    pub(crate) approver: bool,
    pub(crate) direct: bool,
    /// It speaks to the agent: directly, by a mention, as an answer, or as a command.
    pub(crate) addressed: bool,
    /// A group's title.
    pub(crate) room: Option<String>,
    pub(crate) options: Options,
    /// The owner typed it: directives in it hold.
    pub(crate) directed: bool,
    /// Epoch milliseconds.
    pub(crate) received_at: i64,
    /// How long to wait for further pieces of the same message.
    pub(crate) settle_ms: i64,
    /// Of several messages that were sent as one.
    pub(crate) album: Option<String>,
    /// The sign that it has on the platform since it was seen.
    pub(crate) ack: Option<String>,
    /// The commands that it is, by their names.
    pub(crate) commands: Vec<&'static str>,
}

/// What a gateway client asked for along with its message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) model: Option<String>,
    pub(crate) thinking: Option<String>,
    pub(crate) extra_system_prompt: Option<String>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) queue_mode: Option<String>,
    /// What the message itself says of the queue it waits in.
    pub(crate) queue: queue::Wish,
    /// What the message itself says about tools and thoughts being shown.
    pub(crate) verbose: Option<&'static str>,
    pub(crate) reasoning: Option<&'static str>,
    /// What it says about the provider's faster tier.
    pub(crate) fast: Option<&'static str>,
    pub(crate) requester: Option<String>,
    pub(crate) background: bool,
    pub(crate) scheduled: Option<Scheduled>,
    pub(crate) heartbeat: Option<Beat>,
    /// No person wrote it.
    pub(crate) relayed: bool,
    /// The group it came out of, which does not read along: its rules for tools hold all the same.
    pub(crate) room: Option<Destination>,
    /// A client asked for the answer in a chat: the session is not that chat's for it.
    pub(crate) delivered: bool,
    pub(crate) chain: Chain,
    /// Who pays for it besides.
    pub(crate) charge: Charge,
    pub(crate) client_tools: Vec<ClientTool>,
}

impl Options {
    /// As the message itself says.
    pub(crate) fn follow(&mut self, said: Directives) {
        if let Some(level) = said.think {
            self.thinking = Some(level.name().to_owned());
        }
        if let Some(change) = said.queue {
            if let Some(mode) = change.mode {
                self.queue_mode = Some(queue::mode_name(mode).to_owned());
            }
            self.queue = queue::Wish {
                debounce_ms: change.debounce_ms.and_then(|ms| i64::try_from(ms).ok()),
                cap: change.cap.and_then(|cap| usize::try_from(cap).ok()),
                drop: change.drop,
            };
        }
        self.model = said.model.or(self.model.take());
        self.verbose = said.verbose.or(self.verbose);
        self.reasoning = said.reasoning.or(self.reasoning);
        self.fast = said.fast.or(self.fast);
    }
}

/// Who speaks, with a guest's rights, for another session in a chat where others read along.
const RELAYED: &str = "another session";

impl Item {
    /// Run ids under which clients wait for it.
    pub(crate) fn run_ids(&self) -> impl Iterator<Item = &String> {
        self.run_id.iter().chain(&self.also)
    }

    /// The id that its user entry has, or will have.
    pub(crate) fn own_entry(&self) -> Option<&str> {
        let stored = self.entry_id.as_deref().or(self.again.as_deref());
        stored.or_else(|| self.inbox_ids.first().map(String::as_str))
    }

    /// The channel it came by; `webchat` for gateway clients.
    pub(crate) fn channel(&self) -> &str {
        self.destination.as_ref().map_or("webchat", |to| to.channel.as_str())
    }

    /// Did a person type it: on a platform, or into a client.
    pub(crate) fn is_typed(&self) -> bool {
        self.directed || (self.run_id.is_none() && !self.options.relayed)
    }

    /// Who reads what the agent says to it.
    pub(crate) fn audience(&self) -> Audience {
        match (self.direct, self.guest.is_empty()) {
            (true, true) => Audience::Owner,
            (true, false) => Audience::Guest,
            (false, owner) => Audience::Group { owner },
        }
    }

    /// Others read what stands in its session, or may come to: what its user says there is not for the user alone.
    pub(crate) fn overheard(&mut self) {
        if self.guest.is_empty() {
            self.direct = false;
        }
    }

    /// The group whose rules hold, with who speaks there as the recipient.
    pub(crate) fn group(&self) -> Option<&Destination> {
        let here = self.destination.as_ref();
        here.filter(|to| to.peer.kind != PeerKind::Direct)
            .or(self.options.room.as_ref())
    }

    /// What the account says of the group it was said in.
    pub(crate) async fn group_rule(&self, services: &Services, scope: &Scope) -> Result<Option<GroupRule>> {
        let here = self.destination.as_ref();
        let Some(group) = here.filter(|to| to.peer.kind != PeerKind::Direct && !self.options.relayed) else {
            return Ok(None);
        };
        let account = services
            .config
            .account(scope.tenant(), &group.channel, &group.account_id)
            .await?;
        let thread = group.peer.thread.as_deref();
        Ok(account.and_then(|account| account.policy.group_rule(&group.peer.id, thread).cloned()))
    }

    /// What the queue needs to know of it. `push` counts pushes: the inbox's unique keys have sorted repeats out
    /// already, and a row that comes back after a failed write is no repeat.
    pub(crate) fn queued(&self, mode: Option<QueueMode>, push: u64) -> queue::Item {
        let route = match &self.destination {
            Some(to) => Route {
                channel: to.channel.clone(),
                account_id: to.account_id.clone(),
                to: to.peer.id.clone(),
                thread: to.peer.thread.clone(),
            },
            None => Route {
                channel: "webchat".to_owned(),
                ..Route::default()
            },
        };
        queue::Item {
            inbox_id: self.inbox_ids.first().cloned().unwrap_or_default(),
            message_id: Some(push.to_string()),
            text: self.prompt.clone(),
            display: self.text.clone(),
            parts: self.parts.clone(),
            route,
            sender_id: self.guest.clone(),
            owner: self.guest.is_empty(),
            rights: self.rights.clone(),
            mode,
            wish: self.options.queue,
            received_at: self.received_at,
            settle_ms: self.settle_ms,
            kept: self.run_id.is_some(),
            album: self.album.clone(),
        }
    }

    /// From a gateway client's message.
    ///
    /// `private`: nobody but the user reads along in this session.
    pub(crate) fn from_client(
        inbox_id: String,
        run_id: String,
        received_at: i64,
        private: bool,
        message: ClientMessage,
    ) -> Self {
        let delivered = message.deliver_to.is_some();
        let relayed = message.relayed.as_ref().and_then(|relayed| relayed.destination.clone());
        let destination = message.deliver_to.or(relayed);
        let chain = match (&message.relayed, &message.heartbeat) {
            (Some(relayed), _) => relayed.chain,
            // It may have asked for this look itself.
            (None, Some(_)) => Chain::begun_by_itself(),
            (None, None) => Chain::default(),
        };
        Self {
            inbox_ids: vec![inbox_id],
            run_id: Some(run_id),
            also: Vec::new(),
            bot: None,
            message_id: None,
            entry_id: None,
            again: None,
            guest: match &message.relayed {
                Some(relayed) if relayed.guest => RELAYED.to_owned(),
                Some(_) | None => String::new(),
            },
            rights: String::new(),
            prompt: envelope::answering(&message.message, message.reply_to.as_ref()),
            // Nobody typed what an agent is asked that looks by itself, or by another agent.
            text: match (&message.heartbeat, &message.relayed) {
                (Some(_), _) => "Heartbeat".to_owned(),
                (None, Some(relayed)) => relayed.shown.clone(),
                (None, None) => message.message,
            },
            parts: message.attachments,
            attachments: Vec::new(),
            approver: message.approver,
            direct: match &destination {
                // Where others read along what is said, it is not the owner's alone, wherever the answer goes.
                Some(to) if delivered => private && to.peer.kind == PeerKind::Direct,
                Some(to) => to.peer.kind == PeerKind::Direct,
                None => private,
            },
            addressed: true,
            destination,
            room: None,
            options: Options {
                model: message.model,
                thinking: message.thinking,
                fast: message.fast.map(|fast| if fast { "on" } else { "off" }),
                extra_system_prompt: message.extra_system_prompt,
                timeout_ms: message.timeout_ms,
                queue_mode: message.queue_mode,
                queue: queue::Wish::default(),
                verbose: None,
                reasoning: None,
                requester: message.requester,
                background: message.background,
                scheduled: message.scheduled,
                heartbeat: message.heartbeat,
                relayed: message.relayed.is_some(),
                room: message.relayed.and_then(|relayed| relayed.room),
                delivered,
                chain,
                charge: message.charge,
                client_tools: message.client_tools,
            },
            directed: false,
            received_at,
            settle_ms: 0,
            album: None,
            ack: None,
            commands: Vec::new(),
        }
    }

    /// What an answer to it names: itself, or the message above the thread that it stands in.
    pub(crate) fn answered(&self) -> Option<String> {
        let above = self.destination.as_ref().and_then(|to| to.reply_to.clone());
        above.or_else(|| self.message_id.clone())
    }

    /// From a platform's message that passed the gate.
    pub(crate) fn from_inbound(
        inbox_id: String,
        received_at: i64,
        channel: &str,
        account_id: &str,
        guest: bool,
        prompt: String,
        inbound: Inbound,
    ) -> Self {
        let direct = inbound.peer.kind == PeerKind::Direct;
        let room = inbound.peer.title.clone();
        Self {
            inbox_ids: vec![inbox_id],
            run_id: None,
            also: Vec::new(),
            bot: inbound.sender.is_bot.then(|| inbound.sender.id.clone()),
            message_id: (!inbound.message_id.is_empty()).then(|| inbound.message_id.clone()),
            entry_id: None,
            again: None,
            guest: if guest {
                inbound.sender.id.clone()
            } else {
                String::new()
            },
            rights: String::new(),
            text: inbound.text,
            prompt,
            parts: Vec::new(),
            attachments: inbound.attachments,
            destination: Some(Destination {
                channel: channel.to_owned(),
                account_id: account_id.to_owned(),
                peer: inbound.peer,
                recipient: Some(inbound.sender.id),
                reply_to: inbound.answer_below.or((!direct).then_some(inbound.message_id)),
            }),
            approver: !guest,
            direct,
            addressed: direct || inbound.mention.native || inbound.mention.reply_to_bot || inbound.command,
            room,
            options: Options::default(),
            directed: false,
            received_at,
            settle_ms: 0,
            album: inbound.album,
            ack: None,
            commands: Vec::new(),
        }
    }
}
