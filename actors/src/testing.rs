//! A runtime on a real, migrated SQLite file with a scripted model, for the tests of the tree.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claw_entities::{Scope, TenantScope};
use claw_migration::{Migrator, MigratorTrait};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::config::ConfigService;
use crate::config::identity::Role;
use crate::config::providers::DEMO_API;
use crate::conversation::ConversationService;
use crate::crypto::Secret;
use crate::db::writer::Writer;
use crate::db::{Db, DbSettings, template};
use crate::ports::Ports;
use crate::ports::message::{AssistantMessage, AssistantPart, Message, Part};
use crate::ports::model::{ModelEvent, ModelProvider, ModelRequest};
use crate::services::{Limits, Replica, Services};
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::{Leases, boot_id};
use crate::supervisor::placement::Placement;

/// What the scripted model does, decided by the last user message.
pub(crate) type Script = dyn Fn(&str) -> Step + Send + Sync;

pub(crate) enum Step {
    /// Answers with this text at once.
    Say(String),
    /// Says the first piece, waits for the notification, says the second.
    SayAfter(String, Arc<Notify>, String),
    /// Never answers.
    Hang,
    /// Panics inside the adapter.
    Panic,
}

/// A model behind the port, so that no network is needed. Counts the calls that go on at once.
pub(crate) struct ScriptedModel {
    script: Box<Script>,
    pub(crate) calls: AtomicUsize,
    pub(crate) chunks: Arc<AtomicUsize>,
}

impl ScriptedModel {
    pub(crate) fn new(script: impl Fn(&str) -> Step + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            calls: AtomicUsize::new(0),
            chunks: Arc::default(),
        })
    }
}

fn done(text: &str) -> ModelEvent {
    ModelEvent::Done(AssistantMessage {
        content: vec![AssistantPart::Text { text: text.to_owned() }],
        ..AssistantMessage::default()
    })
}

/// Text of the newest user message.
fn last_user(request: &ModelRequest) -> String {
    let text = request
        .messages
        .iter()
        .rev()
        .find_map(|message| match message.as_ref() {
            Message::User { content, .. } => content.iter().find_map(Part::text).map(str::to_owned),
            Message::Assistant(_) | Message::ToolResult { .. } => None,
        });
    text.unwrap_or_default()
}

impl ModelProvider for ScriptedModel {
    fn api(&self) -> &'static str {
        DEMO_API
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let chunks = self.chunks.clone();
        match (self.script)(&last_user(&request)) {
            Step::Say(text) => stream::iter([ModelEvent::TextDelta(text.clone()), done(&text)]).boxed(),
            Step::SayAfter(first, go, second) => {
                let whole = format!("{first}{second}");
                stream::iter([ModelEvent::TextDelta(first)])
                    .chain(stream::once(async move {
                        go.notified().await;
                        chunks.fetch_add(1, Ordering::Relaxed);
                        ModelEvent::TextDelta(second)
                    }))
                    .chain(stream::iter([done(&whole)]))
                    .boxed()
            }
            Step::Hang => stream::pending().boxed(),
            Step::Panic => panic!("the adapter was told to panic"),
        }
    }
}

/// A whole runtime. Dropping it ends the I/O runtime.
pub(crate) struct Runtime {
    pub(crate) directory: Directory,
    pub(crate) services: Services,
    io: Option<tokio::runtime::Runtime>,
    _folder: TempDir,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(io) = self.io.take() {
            io.shutdown_background();
        }
    }
}

/// Starts a runtime whose only model is `model`, on `threads` arbiters.
pub(crate) async fn start(model: Arc<ScriptedModel>, limits: Limits, threads: usize) -> Runtime {
    let folder = tempfile::tempdir().expect("a temp folder");
    let path = folder.path().join("claw.db");
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let handle = io.handle().clone();
    let opened: BoxFuture<'static, Db> = Box::pin(async move {
        let settings = DbSettings {
            url: Secret::new(template::on_sqlite(&path, async |db| Migrator::up(db, None).await).await),
            max_connections: 4,
            acquire_timeout: Duration::from_secs(30),
        };
        Db::open(&settings).await.expect("opens")
    });
    let db = handle.spawn(opened).await.expect("opens");
    let limits = Arc::new(limits);
    let replica = Arc::new(Replica {
        id: "test".to_owned(),
        boot_id: boot_id(),
        version: "0.0.0".to_owned(),
    });
    let writer = {
        let _inside = handle.enter();
        Writer::start(db.clone()).expect("a thread")
    };
    let services = Services {
        db: db.clone(),
        writer,
        config: ConfigService::for_test(db.clone()),
        conversation: ConversationService::new(db.clone()),
        ports: Ports::new(Vec::new(), vec![model], Vec::new()),
        io: handle,
        limits: limits.clone(),
        replica: replica.clone(),
        indexing: Arc::default(),
    };
    let leases = Leases::new(db, replica, limits.lease);
    leases.announce().await.expect("nobody else uses a fresh database");
    let directory = Directory::new(services.clone(), Placement::start(threads), leases);
    Runtime {
        directory,
        services,
        io: Some(io),
        _folder: folder,
    }
}

impl Runtime {
    /// A tenant with an owner.
    pub(crate) async fn owner(&self, slug: &str) -> Scope {
        let tenant = self
            .services
            .config
            .create_tenant(slug, slug)
            .await
            .expect("creates the tenant");
        let tenant = TenantScope::vouch(tenant.id);
        self.services
            .config
            .create_user(&tenant, &format!("owner@{slug}.test"), Role::Owner, None)
            .await
            .expect("creates the user")
            .scope
    }
}
