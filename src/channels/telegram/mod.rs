//! Telegram bots over webhooks. The platform signs nothing: a secret header of our own making is the proof. A message that
//! comes again is known by its inbox key: message, chat and bot.

mod acts;
mod api;
mod attached;
mod connect;
mod entities;
mod files;
mod inbound;
mod media;
mod menu;
mod outbound;
mod reaction;
mod update;
mod verify;

#[cfg(test)]
mod tests;

use std::time::Duration;

use claw_actors::ports::channel::{
    Account, Acts, Attachment, Channel, Connected, DeliverError, Delivered, Delivery, Destination, Edits, Files,
    Malformed, Manifest, Media, MediaFile, Menu, Offer, OutFile, PeerKind, Polls, RawWebhook, Reached, Refused,
    Rendered, SecretField, Typing, Watch, WebhookOutcome,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::markdown::{self, Html};
use crate::egress::Egress;

const BOT_TOKEN: &str = "botToken";
const WEBHOOK_SECRET: &str = "webhookSecret";

static MANIFEST: Manifest = Manifest {
    id: "telegram",
    path: "telegram",
    extra_paths: &[],
    label: "Telegram",
    secrets: &[
        SecretField {
            name: BOT_TOKEN,
            env_name: "TELEGRAM_BOT_TOKEN",
            label: "Bot token",
            help: "From @BotFather: /newbot, or /token for a bot you have. Looks like 123456789:AA…",
            required: true,
            generated: false,
        },
        SecretField {
            name: WEBHOOK_SECRET,
            env_name: "TELEGRAM_WEBHOOK_SECRET",
            label: "Webhook secret",
            help: "Made when the bot is connected; Telegram sends it with every update.",
            required: false,
            generated: true,
        },
    ],
    default_api_base: "https://api.telegram.org",
    // The platform takes 4096 UTF-16 units after parsing.
    text_limit: 4000,
    max_body_bytes: 1024 * 1024,
    proves_sender: true,
    idempotent_send: false,
    buttons: true,
};

/// The adapter.
pub(super) struct Telegram {
    http: Egress,
}

impl Telegram {
    pub(super) fn new(http: Egress) -> Self {
        Self { http }
    }
}

impl Channel for Telegram {
    fn manifest(&self) -> &'static Manifest {
        &MANIFEST
    }

    fn verify(&self, hook: &RawWebhook, account: &Account) -> Result<(), Refused> {
        verify::verify(hook, account)
    }

    fn parse(&self, hook: &RawWebhook, account: &Account) -> Result<WebhookOutcome, Malformed> {
        inbound::parse(hook, account)
    }

    fn render(&self, markdown: &str) -> Vec<Rendered> {
        markdown::render(markdown, MANIFEST.text_limit, &Html)
    }

    fn deliver<'a>(
        &'a self,
        account: &'a Account,
        delivery: &'a Delivery,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>> {
        self.send_piece(account, delivery).boxed()
    }

    fn connect<'a>(
        &'a self,
        account: &'a Account,
        webhook_url: &'a str,
    ) -> BoxFuture<'a, Result<Connected, DeliverError>> {
        self.set_up(account, webhook_url).boxed()
    }

    fn disconnect<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<(), DeliverError>> {
        self.take_down(account).boxed()
    }

    fn typing(&self) -> Option<&dyn Typing> {
        Some(self)
    }

    fn edits(&self) -> Option<&dyn Edits> {
        Some(self)
    }

    fn media(&self) -> Option<&dyn Media> {
        Some(self)
    }

    fn files(&self) -> Option<&dyn Files> {
        Some(self)
    }

    fn acts(&self) -> Option<&dyn Acts> {
        Some(self)
    }

    fn polls(&self) -> Option<&dyn Polls> {
        Some(self)
    }

    fn menu(&self) -> Option<&dyn Menu> {
        Some(self)
    }

    fn watch(&self) -> Option<&dyn Watch> {
        Some(self)
    }
}

impl Watch for Telegram {
    fn look<'a>(&'a self, account: &'a Account, webhook_url: &'a str) -> BoxFuture<'a, Result<Reached, DeliverError>> {
        self.reached(account, webhook_url).boxed()
    }
}

impl Menu for Telegram {
    fn offer<'a>(&'a self, account: &'a Account, commands: &'a [Offer]) -> BoxFuture<'a, Result<(), DeliverError>> {
        self.set_commands(account, commands).boxed()
    }
}

impl Typing for Telegram {
    fn refresh(&self) -> Duration {
        // The indicator fades after five seconds.
        Duration::from_secs(4)
    }

    fn start<'a>(&'a self, account: &'a Account, to: &'a Destination) -> BoxFuture<'a, Result<(), DeliverError>> {
        self.chat_action(account, to).boxed()
    }

    fn stop<'a>(&'a self, _account: &'a Account, _to: &'a Destination) -> BoxFuture<'a, Result<(), DeliverError>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl Edits for Telegram {
    fn pace(&self, kind: PeerKind) -> Duration {
        match kind {
            PeerKind::Direct => Duration::from_millis(1100),
            // A group takes 20 messages of a bot in a minute, and edits count.
            PeerKind::Group | PeerKind::Channel => Duration::from_millis(3200),
        }
    }

    fn edit<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        piece: &'a Rendered,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        async move { Ok(self.edit_text(account, to, message_id, piece).await?) }.boxed()
    }
}

impl Media for Telegram {
    fn fetch<'a>(
        &'a self,
        account: &'a Account,
        attachment: &'a Attachment,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<MediaFile, DeliverError>> {
        self.download(account, attachment, max_bytes).boxed()
    }
}

impl Files for Telegram {
    fn largest(&self) -> usize {
        files::LARGEST
    }

    fn has_voice(&self) -> bool {
        true
    }

    fn send<'a>(
        &'a self,
        account: &'a Account,
        delivery: &'a Delivery,
        file: &'a OutFile,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>> {
        self.send_file(account, delivery, file).boxed()
    }
}
