//! Turns that get no model: closed after a crash, dead-lettered, or answered by a command.

use actix::Addr;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::admission::Told;
use super::allowlist;
use super::aside;
use super::changing;
use super::commands::{self, ApproveCommand, Command, QueueChange, QueueCommand, Switch, ThinkCommand};
use super::events::Emitter;
use super::item::Item;
use super::managing;
use super::overheard::Overheard;
use super::preview::Outlet;
use super::queue;
use super::report;
use super::run;
use super::skills;
use super::speech;
use super::thinking;
use super::turn::{self, Authority, Ending, Inside, Piece, Settling, Turn};
use crate::Services;
use crate::clock::now_ms;
use crate::config::devices::approvals::{Decided, Decider};
use crate::error::{Error, Result};
use crate::gateway::approvals;
use crate::ports::channel::Destination;
use crate::ports::message::{AssistantMessage, AssistantPart, Message, StopReason};
use crate::ports::model::Thinking;
use crate::ports::tool::SessionSnapshot;
use crate::supervisor::directory::{Directory, RunEnded};
use crate::supervisor::messages::ToUser;
use crate::supervisor::user::UserActor;

/// Who gave a command, in the audit log, where it was no user.
const GUEST: &str = "guest";

/// Why a turn is closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The process died after something outside had started.
    Interrupted,
    /// Its attempts are used up.
    Dead,
    /// Something inside the run panicked.
    Crashed,
}

impl Why {
    /// What the person is told.
    const fn sentence(self) -> &'static str {
        match self {
            Self::Interrupted => {
                "I was interrupted by a restart while working on your last message. Part of it may be done already, \
                 so I did not start over. Please check, and ask again if needed."
            }
            Self::Dead => {
                "I could not process your message: every attempt ended in a crash. It is kept under Activity, \
                 where it can be retried."
            }
            Self::Crashed => "Something went wrong inside while answering. Please try again.",
        }
    }

    const fn status(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Dead | Self::Crashed => "error",
        }
    }
}

/// Closes the turn on record and tells the person.
pub(crate) async fn close(directory: &Directory, authority: &Authority, item: Item, why: Why) -> Result<RunEnded> {
    let services = directory.services();
    let run_id = item.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let has_entry = item.entry_id.is_some();
    let outlet = outlet(directory, authority, item.destination.clone()).await?;
    let sentence = why.sentence();
    let turn = Turn {
        run_id: run_id.clone(),
        items: vec![item],
        prompt: Vec::new(),
        overheard: Overheard::default(),
        steered: Vec::new(),
    };
    let entries = if has_entry {
        let message = AssistantMessage {
            content: vec![AssistantPart::Text {
                text: sentence.to_owned(),
            }],
            stop_reason: StopReason::Error,
            error_message: Some(sentence.to_owned()),
            timestamp: now_ms(),
            ..AssistantMessage::default()
        };
        vec![turn::entry(Message::Assistant(message), &run_id)]
    } else {
        Vec::new()
    };
    let ending = Ending {
        error_class: Some(why.status()),
        error_message: Some(sentence.to_owned()),
        inbox_state: if why == Why::Dead { "dead" } else { "done" },
        reason: Some(match why {
            Why::Interrupted => "interrupted by a restart".to_owned(),
            Why::Dead => "every attempt ended in a crash".to_owned(),
            Why::Crashed => "the run failed inside".to_owned(),
        }),
        ..Ending::without_model(why.status(), "error", Vec::new())
    };
    let pieces = run::pieces(directory, &authority.scope, outlet.as_ref(), Some(sentence), None);
    turn::end(services, authority, &turn, None, entries, pieces, ending).await?;
    tracing::warn!(
        tenant.id = %authority.scope.tenant(), run.id = %run_id, outcome = why.status(), "turn closed without an answer"
    );
    kick(directory, authority, outlet.as_ref());
    let now = now_ms();
    Ok(RunEnded {
        run_id,
        status: why.status().to_owned(),
        started_at: now,
        ended_at: now,
        error: Some(sentence.to_owned()),
        error_class: None,
        stop_reason: Some("error".to_owned()),
        result: serde_json::Value::Null,
    })
}

/// Answers a command and settles its row with `store`. Gives the end of the run of a gateway client's command.
async fn answer<F: Future<Output = Result<()>>>(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    text: &str,
    store: impl FnOnce(Settling) -> F,
) -> Result<Option<RunEnded>> {
    let outlet = outlet(directory, authority, item.destination.clone()).await?;
    let pieces = notice(outlet.as_ref(), text);
    let runs: Vec<String> = item.run_ids().cloned().collect();
    let ending = Ending::without_model("ok", "command", vec![text.to_owned()]);
    let settling = Settling {
        inbox_ids: item.inbox_ids.clone(),
        state: "done",
        reason: None,
        runs: (!runs.is_empty()).then_some((runs, ending)),
        pieces,
    };
    let services = directory.services();
    audit(services, authority, item).await?;
    store(settling).await?;
    kick(directory, authority, outlet.as_ref());
    match &item.run_id {
        Some(run_id) => super::record::ended(services, &authority.scope, run_id).await,
        None => Ok(None),
    }
}

/// Puts the commands that a message is into the audit log: their names, and who gave them. Before they are settled, so that
/// none is missing there; what a crash has carried out twice is there twice.
pub(crate) async fn audit(services: &Services, authority: &Authority, item: &Item) -> Result<()> {
    if item.commands.is_empty() {
        return Ok(());
    }
    let scope = &authority.scope;
    let place = item.destination.as_ref();
    let target = place.map_or_else(
        || "webchat".to_owned(),
        |to| format!("{}/{}", to.channel, to.account_id),
    );
    // Who a guest is stands with the message, which is the user's own to see.
    let mut detail = json!({"agent": authority.agent_id, "message": item.inbox_ids.first()});
    let actor = if item.guest.is_empty() {
        scope.user().as_str()
    } else {
        detail["owner"] = json!(scope.user());
        GUEST
    };
    for name in &item.commands {
        let action = format!("command.{name}");
        let line = services
            .config
            .audit(scope.tenant_scope(), actor, &action, &target, detail.clone());
        line.await?;
    }
    Ok(())
}

/// Answers shortcuts inside a message. `payload` is the rest of it, which its inbox row holds from then on, in one commit with
/// the answer. Gives what clients are to be told.
pub(crate) async fn answer_inside(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    command: &Command,
    live: SessionSnapshot,
    payload: String,
) -> Result<Told> {
    let services = directory.services();
    let snapshot = full_snapshot(directory, authority, live).await?;
    // None of them looks at the queue's settings, or takes long.
    let (settings, stop) = (queue::Settings::default(), CancellationToken::new());
    let text = carry_out(directory, authority, command, item, &snapshot, &settings, &stop).await?;
    let outlet = outlet(directory, authority, item.destination.clone()).await?;
    let run_id = item.run_id.as_ref().map(|run_id| format!("{run_id}:shortcut"));
    let ending = Ending::without_model("ok", "command", vec![text.clone()]);
    let inside = Inside {
        inbox_ids: item.inbox_ids.clone(),
        payload,
        run: run_id.clone().map(|run_id| (run_id, ending)),
        pieces: notice(outlet.as_ref(), &text),
    };
    audit(services, authority, item).await?;
    turn::answer_inside(services, authority, inside).await?;
    kick(directory, authority, outlet.as_ref());
    Ok(Told {
        run_id: run_id.unwrap_or_default(),
        text,
    })
}

/// Answers a command, settles it, and tells the client that asked.
pub(crate) async fn finish_command(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    text: &str,
    emitter: Option<(Emitter, Addr<UserActor>)>,
    run: Option<String>,
) -> Result<()> {
    let services = directory.services();
    finish_command_with(directory, authority, item, text, emitter, |mut settling| {
        if let Some(run) = run
            && settling.runs.is_none()
        {
            let ending = Ending::without_model("ok", "command", vec![text.to_owned()]);
            settling.runs = Some((vec![run], ending));
        }
        turn::settle(services, authority, settling)
    })
    .await
}

/// Answers `/tts audio`: with the sound in a chat, with its address elsewhere, or with why not.
pub(crate) async fn read_aloud(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    text: &str,
    emitter: Option<(Emitter, Addr<UserActor>)>,
    stop: &CancellationToken,
) -> Result<()> {
    let services = directory.services();
    let spoken = speech::aloud(services, authority, item, text, stop).await?;
    let (said, sound) = match (spoken, &item.destination) {
        (Err(why), _) => (why, None),
        (Ok(spoken), None) => (format!("/api/blobs/{}", spoken.about.blob), None),
        (Ok(spoken), Some(destination)) => {
            let piece = Piece::file("notice", destination, spoken.about);
            (String::new(), Some(piece))
        }
    };
    finish_command_with(directory, authority, item, &said, emitter, |mut settling| {
        if let Some(sound) = sound {
            settling.pieces = vec![sound];
        }
        turn::settle(services, authority, settling)
    })
    .await
}

/// Answers `/btw`: in the chat it was asked in, or as an event of its own.
pub(crate) async fn answer_aside(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    (question, answered): (&str, aside::Answered),
    emitter: Option<(Emitter, Addr<UserActor>)>,
) -> Result<()> {
    let services = directory.services();
    let (text, failed) = match answered {
        Ok(text) => (text, false),
        Err(why) => (why, true),
    };
    let store = |settling| turn::settle(services, authority, settling);
    let ended = answer(directory, authority, item, &text, store).await?;
    if let Some((mut emitter, user)) = emitter {
        emitter.aside(question, &text, failed).await;
        if let Some(ended) = ended {
            let _ = user.try_send(ToUser::RunEnded(ended));
        }
    }
    Ok(())
}

/// [`finish_command`] in one commit with something else: `store` writes both.
pub(crate) async fn finish_command_with<F: Future<Output = Result<()>>>(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    text: &str,
    emitter: Option<(Emitter, Addr<UserActor>)>,
    store: impl FnOnce(Settling) -> F,
) -> Result<()> {
    let ended = answer(directory, authority, item, text, store).await?;
    if let Some((mut emitter, user)) = emitter {
        emitter.answered(text).await;
        if let Some(ended) = ended {
            let _ = user.try_send(ToUser::RunEnded(ended));
        }
    }
    Ok(())
}

/// The stored facts of the session with the live ones on top.
pub(crate) async fn full_snapshot(
    directory: &Directory,
    authority: &Authority,
    live: SessionSnapshot,
) -> Result<SessionSnapshot> {
    let services = directory.services();
    let head = services.conversation.head(&authority.scope, &authority.key).await?;
    let stored = head.as_ref().map(run::snapshot).unwrap_or_default();
    let wanted = head.as_ref().and_then(run::override_of);
    let model = services
        .config
        .resolve_model(&authority.scope, &authority.agent_id, wanted)
        .await
        .ok();
    let name = model
        .as_ref()
        .map(|model| format!("{}/{}", model.provider, model.model));
    let fallback = name
        .as_deref()
        .zip(head.as_ref())
        .and_then(|(name, head)| run::fallback_of(&head.entry, name));
    let set = [Switch::Verbose, Switch::Reasoning, Switch::Fast, Switch::Aloud]
        .into_iter()
        .filter_map(|switch| {
            let value = switch.stored(&head.as_ref()?.entry)?;
            Some(format!("{} {value}", switch.label()))
        });
    let options = set.collect::<Vec<_>>().join(", ");
    Ok(SessionSnapshot {
        session_key: authority.key.as_str().to_owned(),
        model: name.unwrap_or_default(),
        fallback,
        options: (!options.is_empty()).then_some(options),
        context_window: model.map_or(0, |model| model.context_window),
        queued: live.queued,
        queue_mode: live.queue_mode,
        ..stored
    })
}

/// Carries out a command that neither stops nor resets, and gives its text. `settings` are the queue's; `stop` ends what
/// takes long.
pub(crate) async fn carry_out(
    directory: &Directory,
    authority: &Authority,
    command: &Command,
    item: &Item,
    snapshot: &SessionSnapshot,
    settings: &queue::Settings,
    stop: &CancellationToken,
) -> Result<String> {
    Ok(match command {
        Command::Help => commands::help_text(),
        Command::Commands(page) => {
            commands::commands_text(*page, skills::calls::listed(directory, authority, item).await?)
        }
        Command::Status => commands::status_text(snapshot, item.guest.is_empty()),
        Command::Whoami => match &item.destination {
            Some(to) => commands::whoami_text(&to.channel, to.recipient.as_deref().unwrap_or("unknown")),
            None => commands::whoami_text("webchat", authority.scope.user().as_str()),
        },
        Command::Context(_) if !item.guest.is_empty() => {
            "Only the owner of the agent may see what its context holds.".to_owned()
        }
        Command::Context(form) => report::text(directory, authority, item, *form).await?,
        Command::Think(said) => think(directory, authority, item, said).await?,
        Command::Model(said) => changing::model(directory, authority, item, said).await?,
        Command::Switch(which, said) => changing::switch(directory, authority, item, *which, said, snapshot).await?,
        Command::Speech(said) => speech::carry_out(directory.services(), &authority.scope, item, said).await?,
        Command::All(commands) => {
            let mut answers = Vec::with_capacity(commands.len());
            for command in commands {
                let answer = Box::pin(carry_out(directory, authority, command, item, snapshot, settings, stop));
                answers.push(answer.await?);
            }
            answers.join("\n")
        }
        Command::Approve(said) => approve(directory, authority, item, said).await?,
        Command::Skill(call) => skills::calls::carry_out(directory, authority, item, call, stop).await?,
        Command::Agents | Command::Subagents(_) | Command::Config(_) | Command::Allowlist(_) | Command::Export
            if !item.guest.is_empty() =>
        {
            managing::OWNER_ONLY.to_owned()
        }
        Command::Agents => managing::agents(directory, authority).await?,
        Command::Subagents(said) => managing::subagents(directory, authority, item, said, stop).await?,
        Command::Config(said) => managing::config(directory, authority, item, said).await?,
        Command::Allowlist(said) => allowlist::carry_out(directory, authority, item, said).await?,
        Command::Export => managing::export(authority),
        Command::Unavailable(absent) => commands::unavailable_text(*absent),
        Command::Queue(QueueCommand::Show) => commands::queue_text(settings),
        Command::Queue(QueueCommand::Invalid(why)) => why.clone(),
        Command::Queue(_) if !item.guest.is_empty() => "Only the owner may change the queue.".to_owned(),
        Command::Queue(QueueCommand::Clear) => {
            let names = ["queueMode", "queueDebounceMs", "queueCap", "queueDrop"];
            let patch = names.into_iter().map(|name| (name.to_owned(), Value::Null)).collect();
            turn::patch_entry(directory.services(), authority, patch).await?;
            "The session's own queue settings are cleared.".to_owned()
        }
        Command::Queue(QueueCommand::Set(change)) => {
            turn::patch_entry(directory.services(), authority, patch_of(change)).await?;
            "Queue settings stored for this session.".to_owned()
        }
        // Handled by the session: they are more than a text.
        Command::Stop(_)
        | Command::New { .. }
        | Command::Reset { .. }
        | Command::Compact { .. }
        | Command::Aside(_) => String::new(),
    })
}

/// How hard the model thinks in this session.
async fn think(directory: &Directory, authority: &Authority, item: &Item, said: &ThinkCommand) -> Result<String> {
    if !item.guest.is_empty() {
        return Ok("Only the owner may change how the model thinks.".to_owned());
    }
    let services = directory.services();
    let head = services.conversation.head(&authority.scope, &authority.key).await?;
    let wanted = head.as_ref().and_then(run::override_of);
    let resolved = services
        .config
        .resolve_model(&authority.scope, &authority.agent_id, wanted)
        .await;
    let mut model = match resolved {
        Ok(model) => model,
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
        Err(error) => return Ok(error.to_string()),
    };
    let name = format!("{}/{}", model.provider, model.model);
    if !model.reasoning {
        return Ok(format!("The model {name} does not think before it answers."));
    }
    let store = |level: Value| {
        let patch = Map::from_iter([(thinking::LEVEL.to_owned(), level)]);
        turn::patch_entry(services, authority, patch)
    };
    Ok(match said {
        ThinkCommand::Show => {
            let entry = head.map(|head| head.entry).unwrap_or_default();
            thinking::apply(&mut model, None, &entry);
            let names: Vec<_> = Thinking::ALL.iter().map(|level| level.name()).collect();
            format!(
                "Thinking: {} ({name}). Levels: {}.",
                model.thinking.name(),
                names.join(", ")
            )
        }
        ThinkCommand::Default => {
            store(Value::Null).await?;
            format!("Thinking goes back to the settings: {}.", model.thinking.name())
        }
        ThinkCommand::Set(level) => {
            store(json!(level.name())).await?;
            format!("Thinking set to {}.", level.name())
        }
        ThinkCommand::Invalid(word) => {
            let names: Vec<_> = Thinking::ALL.iter().map(|level| level.name()).collect();
            format!("Unknown level \"{word}\". Use {}.", names.join(", "))
        }
    })
}

/// The user's word about a command, on the way all words take. What it answers tells a stranger nothing.
async fn approve(directory: &Directory, authority: &Authority, item: &Item, said: &ApproveCommand) -> Result<String> {
    if !item.guest.is_empty() {
        return Ok("Only the owner of the agent may approve commands.".to_owned());
    }
    if !item.approver {
        return Ok("This client may not approve commands (missing scope: operator.approvals).".to_owned());
    }
    let ApproveCommand::Decide { id, decision } = said else {
        return Ok(commands::approve_usage_text());
    };
    let gone = || "There is no open question with that id. It may be answered already, or its time is over.".to_owned();
    let scope = &authority.scope;
    let open = directory
        .services()
        .config
        .open_approvals(scope, None, now_ms())
        .await?;
    let mut meant = open.iter().filter(|row| row.id.starts_with(id.as_str()));
    let Some(row) = meant.next() else {
        return Ok(gone());
    };
    if meant.next().is_some() {
        return Ok("Several open questions begin like that: write more of the id.".to_owned());
    }
    let channel = item.destination.as_ref().map_or("webchat", |to| to.channel.as_str());
    let by = Decider {
        name: channel,
        device_id: None,
        // A chat proves who writes, not what their credential may.
        admin: false,
    };
    Ok(
        match approvals::decide(directory, scope, &row.id, decision, by).await? {
            Decided::Now(_) if *decision == "deny" => "Denied.".to_owned(),
            Decided::Now(_) => "Allowed.".to_owned(),
            Decided::Before(row) => format!(
                "It was answered already: {}.",
                row.decision.as_deref().unwrap_or("deny")
            ),
            Decided::NotAllowed => format!("This one does not take {decision}: answer allow-once or deny."),
            Decided::Unknown => gone(),
        },
    )
}

fn patch_of(change: &QueueChange) -> Map<String, Value> {
    let mut patch = Map::new();
    if let Some(mode) = change.mode {
        patch.insert("queueMode".to_owned(), json!(queue::mode_name(mode)));
    }
    if let Some(debounce) = change.debounce_ms {
        patch.insert("queueDebounceMs".to_owned(), json!(debounce));
    }
    if let Some(cap) = change.cap {
        patch.insert("queueCap".to_owned(), json!(cap));
    }
    if let Some(drop) = change.drop {
        patch.insert("queueDrop".to_owned(), json!(queue::drop_name(drop)));
    }
    patch
}

/// Settles rows that will not run. Gives the ends of the runs that clients wait for.
pub(crate) async fn dropped(
    services: &Services,
    authority: &Authority,
    inbox_ids: Vec<String>,
    reason: &'static str,
    runs: Vec<String>,
    stop_reason: &str,
) -> Result<Vec<RunEnded>> {
    let ending = Ending::without_model("aborted", stop_reason, Vec::new());
    let stored = (!runs.is_empty()).then(|| (runs.clone(), ending));
    let reason = Some(reason.to_owned());
    let settling = Settling {
        inbox_ids,
        state: "skipped",
        reason,
        runs: stored,
        pieces: Vec::new(),
    };
    turn::settle(services, authority, settling).await?;
    Ok(runs.into_iter().map(|run_id| aborted(run_id, stop_reason)).collect())
}

/// A turn that was begun before and is stopped now, before it went on: its question stands, and gets an end.
pub(crate) async fn stopped(
    services: &Services,
    authority: &Authority,
    turn: &Turn,
    stop_reason: &str,
) -> Result<RunEnded> {
    let message = AssistantMessage {
        stop_reason: StopReason::Aborted,
        timestamp: now_ms(),
        ..AssistantMessage::default()
    };
    let entries = vec![turn::entry(Message::Assistant(message), &turn.run_id)];
    let ending = Ending::without_model("aborted", stop_reason, Vec::new());
    turn::end(services, authority, turn, None, entries, Vec::new(), ending).await?;
    Ok(aborted(turn.run_id.clone(), stop_reason))
}

fn aborted(run_id: String, stop_reason: &str) -> RunEnded {
    let now = now_ms();
    RunEnded {
        run_id,
        status: "aborted".to_owned(),
        started_at: now,
        ended_at: now,
        error: None,
        error_class: None,
        stop_reason: Some(stop_reason.to_owned()),
        result: Value::Null,
    }
}

/// Settles a row with a state.
pub(crate) async fn settle(
    directory: &Directory,
    authority: &Authority,
    inbox_id: String,
    state: &'static str,
    reason: String,
) -> Result<()> {
    let settling = Settling {
        inbox_ids: vec![inbox_id],
        state,
        reason: Some(reason),
        runs: None,
        pieces: Vec::new(),
    };
    turn::settle(directory.services(), authority, settling).await
}

async fn outlet(
    directory: &Directory,
    authority: &Authority,
    destination: Option<Destination>,
) -> Result<Option<Outlet>> {
    let Some(destination) = destination else {
        return Ok(None);
    };
    let config = &directory.services().config;
    let account = config
        .account(authority.scope.tenant(), &destination.channel, &destination.account_id)
        .await?;
    Ok(account.map(|account| Outlet::new(directory, account, destination)))
}

pub(crate) fn notice(outlet: Option<&Outlet>, text: &str) -> Vec<Piece> {
    let Some(outlet) = outlet else { return Vec::new() };
    outlet
        .render(text)
        .into_iter()
        .map(|rendered| Piece::new("notice", &outlet.destination, rendered))
        .collect()
}

fn kick(directory: &Directory, authority: &Authority, outlet: Option<&Outlet>) {
    if let Some(outlet) = outlet {
        directory
            .delivery()
            .kick(&authority.scope, &outlet.destination.conversation());
    }
}
