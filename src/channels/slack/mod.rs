//! Slack apps over HTTP: events, interactivity and slash commands share one signature.

mod acts;
mod api;
mod connect;
mod event;
mod files;
mod form;
mod inbound;
mod looks;
mod media;
mod outbound;
mod people;
mod reaction;
mod text;
mod verify;
mod ways;

#[cfg(test)]
mod tests;

use std::time::Duration;

use claw_actors::ports::channel::{
    Account, Acts, Attachment, Channel, Connected, DeliverError, Delivered, Delivery, Destination, Edits, Files, Looks,
    Malformed, Manifest, Media, MediaFile, OutFile, PeerKind, People, RawWebhook, Refused, Rendered, SecretField,
    Typing, WebhookOutcome,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::markdown::{self, Mrkdwn};
use crate::egress::Egress;

const BOT_TOKEN: &str = "botToken";
const SIGNING_SECRET: &str = "signingSecret";

static MANIFEST: Manifest = Manifest {
    id: "slack",
    path: "slack",
    extra_paths: &["/events/slack", "/commands/slack"],
    label: "Slack",
    secrets: &[
        SecretField {
            name: BOT_TOKEN,
            env_name: "SLACK_BOT_TOKEN",
            label: "Bot token",
            help: "OAuth & Permissions → Bot User OAuth Token. Starts with xoxb-.",
            required: true,
            generated: false,
        },
        SecretField {
            name: SIGNING_SECRET,
            env_name: "SLACK_SIGNING_SECRET",
            label: "Signing secret",
            help: "Basic Information → App Credentials → Signing Secret.",
            required: true,
            generated: false,
        },
        SecretField {
            name: "appToken",
            env_name: "SLACK_APP_TOKEN",
            label: "App-level token",
            help: "Only for Socket Mode, which is not needed here. Starts with xapp-.",
            required: false,
            generated: false,
        },
    ],
    default_api_base: "https://slack.com/api",
    text_limit: 4000,
    max_body_bytes: 1024 * 1024,
    proves_sender: true,
    idempotent_send: false,
    buttons: true,
};

/// The adapter.
pub(super) struct Slack {
    http: Egress,
    names: people::Names,
    ways: ways::Ways,
}

impl Slack {
    pub(super) fn new(http: Egress) -> Self {
        Self {
            http,
            names: people::Names::default(),
            ways: ways::Ways::default(),
        }
    }
}

impl Channel for Slack {
    fn manifest(&self) -> &'static Manifest {
        &MANIFEST
    }

    fn verify(&self, hook: &RawWebhook, account: &Account) -> Result<(), Refused> {
        verify::verify(hook, account)
    }

    fn parse(&self, hook: &RawWebhook, account: &Account) -> Result<WebhookOutcome, Malformed> {
        inbound::parse(hook, account, &self.ways)
    }

    fn render(&self, markdown: &str) -> Vec<Rendered> {
        markdown::render(markdown, MANIFEST.text_limit, &Mrkdwn)
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
        self.check(account, webhook_url).boxed()
    }

    /// The request URL lives in the app's settings at Slack; only its owner can take it away.
    fn disconnect<'a>(&'a self, _account: &'a Account) -> BoxFuture<'a, Result<(), DeliverError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn replies_are_threads(&self) -> bool {
        true
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

    fn looks(&self) -> Option<&dyn Looks> {
        Some(self)
    }

    fn people(&self) -> Option<&dyn People> {
        Some(self)
    }
}

impl People for Slack {
    fn name<'a>(&'a self, account: &'a Account, sender_id: &'a str) -> BoxFuture<'a, Option<String>> {
        self.name_of(account, sender_id).boxed()
    }
}

impl Typing for Slack {
    fn refresh(&self) -> Duration {
        // A status stays for two minutes or until we send something.
        Duration::from_secs(45)
    }

    fn start<'a>(&'a self, account: &'a Account, to: &'a Destination) -> BoxFuture<'a, Result<(), DeliverError>> {
        self.set_status(account, to, "is thinking…").boxed()
    }

    fn stop<'a>(&'a self, account: &'a Account, to: &'a Destination) -> BoxFuture<'a, Result<(), DeliverError>> {
        self.set_status(account, to, "").boxed()
    }
}

impl Edits for Slack {
    fn pace(&self, _: PeerKind) -> Duration {
        // `chat.update` is a tier 3 method: about 50 calls a minute.
        Duration::from_millis(1250)
    }

    fn shows_progress(&self) -> bool {
        true
    }

    fn edit<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        piece: &'a Rendered,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        async move { Ok(self.update(account, to, message_id, piece).await?) }.boxed()
    }
}

impl Media for Slack {
    fn fetch<'a>(
        &'a self,
        account: &'a Account,
        attachment: &'a Attachment,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<MediaFile, DeliverError>> {
        self.download(account, attachment, max_bytes).boxed()
    }
}

impl Files for Slack {
    fn largest(&self) -> usize {
        files::LARGEST
    }

    fn has_voice(&self) -> bool {
        false
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
