//! What one model call is sent: the system prompt, and as much history as fits.

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, SessionKey};

use super::blobs::{self, Whose};
use super::context::prune::prune;
use super::context::{assemble_with, budget, fixed};
use super::envelope::with_context;
use super::item::Item;
use super::preview::Outlet;
use super::prompt::{Audience, FileShare, Mode, PromptFacts, SkillShare, file_shares, skill_shares, system_prompt};
use super::run::RunContext;
use super::skills::Offered;
use super::text_file;
use super::tool_policy;
use super::turn::{self, Turn};
use super::understanding::{self, Reader, Sound, Words};
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::{PruningSettings, UserSettings};
use crate::config::providers::ResolvedModel;
use crate::config::workspace::{WorkspaceFile, is_first_contact};
use crate::conversation::repair::Target;
use crate::conversation::transcript::{NewEntry, SessionHead};
use crate::error::{Error, Result};
use crate::ports::channel::{Account, Attachment, DeliverError, Media, MediaFile};
use crate::ports::message::{FileFormat, Message, Part};
use crate::ports::model::{ModelRequest, SystemBlock};
use crate::ports::nul;
use crate::ports::tool::ToolSpec;

/// Images and files of one message that are fetched, and their largest size (the original gateway's `maxImageBytes`).
const MAX_IMAGES: usize = 8;
const MAX_IMAGE_BYTES: usize = 6 * 1024 * 1024;
/// How often one file is asked for, the first pause between that, and how long a platform may make us wait in all.
const FETCHES: u32 = 3;
const FETCH_PAUSE: Duration = Duration::from_millis(400);
const FETCH_PATIENCE: Duration = Duration::from_secs(30);

/// The user entry of a turn; `None` when an earlier attempt stored it.
pub(crate) async fn user_entry(
    services: &Services,
    scope: &Scope,
    turn: &Turn,
    outlet: Option<&Outlet>,
    reader: &mut Reader<'_>,
) -> Result<Option<NewEntry>> {
    if turn.entry_id().is_some() {
        return Ok(None);
    }
    let mut shown: Vec<String> = turn.items.iter().map(|item| item.text.clone()).collect();
    let mut text = String::new();
    let mut images = Vec::new();
    for part in &turn.prompt {
        match part {
            Part::Text { text: piece } => text.push_str(piece),
            Part::Image { .. } | Part::File { .. } => images.push(part.clone()),
        }
    }
    let lines = &turn.overheard.lines;
    let mut text = with_context(lines, lines.len(), &text);
    for item in &turn.items {
        for attachment in &item.attachments {
            match fetch(services, scope, attachment, outlet, images.len(), whose(item), reader).await? {
                Ok(image) => images.push(image),
                Err(words) => {
                    text.push('\n');
                    text.push_str(&words.text);
                    shown.extend(words.shown);
                }
            }
        }
    }
    // What the model does not take is put into words, wherever it came from.
    let whose = turn.items.iter().map(whose).find(|whose| *whose == Whose::Guest);
    let mut kept = Vec::with_capacity(images.len());
    for part in images {
        match reader.stored(&part, whose.unwrap_or(Whose::Owner)).await? {
            Some(words) => {
                text.push('\n');
                text.push_str(&words.text);
                shown.extend(words.shown);
            }
            None => kept.push(part),
        }
    }
    let mut images = kept;
    // What was put into words was read out of files.
    nul::strip(&mut text);
    shown.iter_mut().for_each(nul::strip);
    shown.retain(|text| !text.is_empty());
    let display = shown.join("\n\n");
    let display = (display != text).then_some(display);
    let mut content = vec![Part::Text { text }];
    content.append(&mut images);
    let entry_id = turn.items.first().and_then(Item::own_entry).unwrap_or_default();
    let message = Message::User {
        content,
        timestamp: now_ms(),
    };
    let said = (display, reader.missed.clone());
    Ok(Some(turn::user_entry(entry_id, message, said, &turn.run_id)))
}

/// An image as a stored part, or a line that says what was attached.
async fn fetch(
    services: &Services,
    scope: &Scope,
    attachment: &Attachment,
    outlet: Option<&Outlet>,
    images: usize,
    whose: Whose,
    reader: &mut Reader<'_>,
) -> Result<std::result::Result<Part, Words>> {
    let name = attachment.name.as_deref().unwrap_or("without a name");
    let note = |why: &str| Err(Words::of(format!("[attached: {} {name}{why}]", attachment.kind)));
    let pdf = attachment.kind == "document" && is_pdf(attachment);
    let sound = is_sound(attachment);
    let written = attachment.kind == "document" && !pdf && !sound && is_written(attachment);
    if attachment.kind != "image" && !pdf && !sound && !written {
        return Ok(note(""));
    }
    let Some(outlet) = outlet else { return Ok(note("")) };
    if images >= MAX_IMAGES && !written {
        return Ok(note(", left out: too many files"));
    }
    let channel = services.ports.channel(&outlet.destination.channel).cloned();
    let Some(media) = channel.as_ref().and_then(|channel| channel.media()) else {
        return Ok(note(""));
    };
    if sound {
        let name = blobs::plain_name(attachment.name.as_deref().unwrap_or("voice message"));
        let most = reader.largest(whose).await?;
        // As much as it claims to have, in whole megabytes.
        let claimed = attachment.size.and_then(|size| usize::try_from(size).ok());
        let room = claimed.map_or(most, |size| size.clamp(1, most).next_multiple_of(1 << 20).min(most));
        let _place = match reader.place(room).await {
            Ok(place) => place,
            Err(why) => return Ok(Err(reader.unheard(&name, &name, why))),
        };
        let fetched = reader.in_time(patiently(media, &outlet.account.account, attachment, room));
        return match fetched.await {
            Ok(Ok(file)) => {
                let sound = Sound {
                    name: &name,
                    mime_type: &file.mime_type,
                    bytes: Arc::new(file.bytes),
                    whose,
                };
                reader.sound(sound).await
            }
            Ok(Err(_)) => {
                let why = format!("it could not be fetched, or {}", understanding::too_large(most));
                Ok(Err(reader.unheard(&name, &name, &why)))
            }
            Err(why) => Ok(Err(reader.unheard(&name, &name, why))),
        };
    }
    let most = match (pdf, written) {
        (true, _) => blobs::MAX_FILE,
        (false, true) => text_file::LONGEST,
        (false, false) => MAX_IMAGE_BYTES,
    };
    if written && attachment.size.is_some_and(|size| size > most as u64) {
        return Ok(note(", a text that is too long to be shown"));
    }
    let fetched = reader.in_time(patiently(media, &outlet.account.account, attachment, most));
    match fetched.await {
        Ok(Ok(file)) if written => {
            let kind = attachment.mime_type.as_deref().unwrap_or_default();
            match text_file::read(kind, name, file.bytes) {
                Some(text) => Ok(Err(reader.text(name, &text).await?)),
                None => Ok(note(", which is no text")),
            }
        }
        Ok(Ok(file)) => {
            let stored = if pdf {
                blobs::file_of(services, scope, whose, name, file.bytes).await
            } else {
                // What the platform says of it counts for nothing: a model that cannot read it refuses the whole conversation.
                let Some(kind) = blobs::image_type(&file.bytes) else {
                    return Ok(note(", which is no PNG, JPEG, GIF or WebP"));
                };
                blobs::image_of(services, scope, whose, kind, file.bytes)
                    .await
                    .map(Some)
            };
            match stored {
                Ok(Some(Part::Text { text })) => Ok(Err(Words::of(text))),
                Ok(Some(part)) => Ok(Ok(part)),
                Ok(None) => Ok(note(", which is no PDF")),
                // The words are answered all the same.
                Err(Error::TooLarge(_)) => Ok(note(", left out: the room for stored files is full")),
                Err(error) if understanding::is_passing(&error) => Err(error),
                Err(error) => {
                    tracing::warn!(error = ?error, "what somebody sent was not stored");
                    Ok(note(", which could not be stored"))
                }
            }
        }
        Ok(Err(_)) => Ok(note(", which could not be fetched")),
        Err(why) => Ok(note(&format!(", which could not be fetched: {why}"))),
    }
}

/// Fetches what the platform may have at the next try, some times: what is not there when the turn begins is lost.
async fn patiently(
    media: &dyn Media,
    account: &Account,
    attachment: &Attachment,
    most: usize,
) -> std::result::Result<MediaFile, DeliverError> {
    let (mut pause, mut left) = (FETCH_PAUSE, FETCH_PATIENCE);
    let mut tries = 1;
    loop {
        let fetched = media.fetch(account, attachment, most).await;
        let wait = match &fetched {
            Err(DeliverError::Retry { after, .. }) => after.unwrap_or(pause),
            // To fetch it twice does no harm.
            Err(DeliverError::Unknown { .. }) => pause,
            Ok(_)
            | Err(DeliverError::Rejected { .. } | DeliverError::Unauthorized { .. } | DeliverError::Moved { .. }) => {
                return fetched;
            }
        };
        let Some(rest) = left.checked_sub(wait).filter(|_| tries < FETCHES) else {
            return fetched;
        };
        tokio::time::sleep(wait).await;
        (left, pause, tries) = (rest, pause * 4, tries + 1);
    }
}

fn whose(item: &Item) -> Whose {
    match item.audience() {
        Audience::Owner | Audience::Group { owner: true } => Whose::Owner,
        Audience::Group { owner: false } | Audience::Guest => Whose::Guest,
    }
}

/// Did somebody speak instead of writing.
pub(crate) fn brings_sound(item: &Item) -> bool {
    item.attachments.iter().any(is_sound)
}

/// A voice message, or a file that claims to be a sound.
fn is_sound(attachment: &Attachment) -> bool {
    let by_kind = |kind: &str| kind.starts_with("audio/");
    attachment.kind == "audio"
        || (attachment.kind == "document" && attachment.mime_type.as_deref().is_some_and(by_kind))
}

/// Does it claim to be a text.
fn is_written(attachment: &Attachment) -> bool {
    let of = |said: &Option<String>| said.clone().unwrap_or_default();
    text_file::is_text(&of(&attachment.mime_type), &of(&attachment.name))
}

/// Does it claim to be a PDF.
fn is_pdf(attachment: &Attachment) -> bool {
    let by_kind = attachment.mime_type.as_deref() == Some(FileFormat::Pdf.mime_type());
    let name = attachment.name.as_deref().unwrap_or_default();
    by_kind
        || name
            .get(name.len().saturating_sub(4)..)
            .is_some_and(|end| end.eq_ignore_ascii_case(".pdf"))
}

/// Characters of one bootstrap file in the prompt, and of all.
fn file_chars(settings: &UserSettings) -> (usize, usize) {
    (settings.manner.file_chars, settings.manner.all_file_chars)
}

/// Where a prompt is for: whose conversation, and what was said last.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) key: &'a SessionKey,
    pub(crate) agent_id: &'a str,
    /// Its settings rule.
    pub(crate) last: &'a Item,
}

impl<'a> Place<'a> {
    pub(crate) fn of(context: &'a RunContext) -> Self {
        Self {
            scope: &context.scope,
            key: &context.key,
            agent_id: &context.agent_id,
            last: context.turn.last(),
        }
    }
}

/// What stays the same over the calls of one run.
pub(crate) struct Assembly {
    system: Arc<Vec<SystemBlock>>,
    scope: Scope,
    /// Tokens of system prompt and tools, estimated.
    fixed: u64,
    /// Tokens history may fill.
    budget: u64,
    /// How old tool results are shortened, if they are.
    pruning: Option<PruningSettings>,
    /// The workspace's bootstrap files, and who they are shown to.
    files: Vec<WorkspaceFile>,
    file_chars: (usize, usize),
    audience: Audience,
    mode: Mode,
}

/// The history of one call.
pub(crate) struct Sent {
    pub(crate) messages: Arc<Vec<Arc<Message>>>,
    /// Nothing was left out for its size.
    pub(crate) complete: bool,
    /// Bytes of what the branch's messages say, as they are stored.
    pub(crate) bytes: u64,
}

/// The tool that writes files of the workspace.
const WRITES: &str = "write";

impl Assembly {
    pub(crate) async fn new(
        services: &Services,
        place: Place<'_>,
        settings: &UserSettings,
        model: &ResolvedModel,
        (tools, away): (&[Arc<ToolSpec>], &[String]),
        skills: &[Offered],
    ) -> Result<Self> {
        let Place {
            scope,
            key,
            agent_id,
            last,
        } = place;
        let mut files = services.config.bootstrap_files(scope, agent_id).await?;
        // People get to know each other when they talk alone, and where it can be written down.
        let by_itself = last.options.scheduled.is_some() || last.options.heartbeat.is_some();
        if by_itself || !last.audience().is_private() || !tools.iter().any(|tool| tool.name == WRITES) {
            files.retain(|file| file.version > 0 || !is_first_contact(&file.path));
        }
        let agent = settings.agents.iter().find(|agent| agent.id == agent_id);
        let named = agent.and_then(|agent| agent.name.as_deref());
        let channel = last
            .destination
            .as_ref()
            .and_then(|to| services.ports.channel(&to.channel));
        let reference = format!("{}/{}", model.provider, model.model);
        let group = last.group_rule(services, scope).await?;
        let said = [
            group.as_ref().and_then(|group| group.system_prompt.as_deref()),
            last.options.extra_system_prompt.as_deref(),
        ];
        let extra: Vec<&str> = said.into_iter().flatten().collect();
        let extra = extra.join("\n\n");
        let mode = match &last.options.heartbeat {
            Some(beat) if beat.light_context => Mode::Light,
            None if tool_policy::is_subagent(key) => Mode::Minimal,
            None if last.options.scheduled.as_ref().is_some_and(|job| job.light_context) => Mode::NoFiles,
            Some(_) | None => Mode::Full,
        };
        let mut aliases: Vec<(&str, &str)> = settings
            .model_aliases
            .iter()
            .map(|(alias, model)| (alias.as_str(), model.as_str()))
            .collect();
        // The same from turn to turn.
        aliases.sort_unstable();
        let facts = PromptFacts {
            mode,
            aliases: &aliases,
            heartbeat: settings.heartbeats.iter().any(|beat| beat.agent_id == agent_id),
            audience: last.audience(),
            agent_id,
            agent_name: named,
            tools,
            away,
            files: &files,
            file_chars: file_chars(settings),
            skills,
            time_zone: settings.time_zone.as_deref().unwrap_or("UTC"),
            model: &reference,
            default_model: agent.and_then(|agent| agent.model.as_deref()).unwrap_or(&reference),
            channel: channel.map(|channel| channel.manifest().label),
            room: last.room.as_deref(),
            thinking: model.thinking.name(),
            speech_by_tag: settings.speech.auto == "tagged" && matches!(last.audience(), Audience::Owner),
            extra: Some(extra.as_str()),
        };
        let system = system_prompt(&facts);
        let fixed = fixed(&system, tools);
        let pruning = &settings.room.pruning;
        let prunes = pruning.on.unwrap_or(model.api.starts_with("anthropic"));
        let audience = facts.audience;
        Ok(Self {
            file_chars: facts.file_chars,
            files,
            audience,
            system: Arc::new(system),
            mode,
            scope: scope.clone(),
            fixed,
            budget: budget(model.context_window, model.max_tokens, fixed),
            pruning: prunes.then(|| pruning.clone()),
        })
    }

    /// Tokens of system prompt and tools, estimated.
    pub(crate) fn fixed(&self) -> u64 {
        self.fixed
    }

    /// Tokens that history may fill.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// The system prompt's text.
    pub(crate) fn system(&self) -> &[SystemBlock] {
        &self.system
    }

    /// The workspace's bootstrap files.
    pub(crate) fn workspace(&self) -> &[WorkspaceFile] {
        &self.files
    }

    /// How much of which file is in the prompt.
    pub(crate) fn files(&self) -> Vec<FileShare> {
        file_shares(&self.files, self.mode, self.audience, self.file_chars)
    }

    /// The list of skills in the prompt, and what each takes of it, where these are offered beside these tools.
    pub(crate) fn skills(&self, tools: &[Arc<ToolSpec>], offered: &[Offered]) -> (String, Vec<SkillShare>) {
        skill_shares(self.mode, self.audience, tools, offered)
    }

    /// The history that fits, repaired for strict providers, images inline.
    pub(crate) async fn messages(
        &self,
        services: &Services,
        head: &SessionHead,
        model: &ResolvedModel,
    ) -> Result<Sent> {
        let branch = services.conversation.branch(&self.scope, head, self.budget).await?;
        let target = Target {
            api: &model.api,
            provider: &model.provider,
            model: &model.model,
        };
        let mut messages = assemble_with(&branch.entries, None, target, self.budget, |history| {
            if let Some(pruning) = &self.pruning {
                prune(history, pruning, model.context_window, now_ms());
            }
        });
        blobs::hydrate(services, &self.scope, &mut messages, model.takes).await?;
        Ok(Sent {
            messages: Arc::new(messages),
            complete: branch.complete,
            bytes: branch.entries.iter().map(|entry| entry.body.bytes()).sum(),
        })
    }

    pub(crate) fn request(
        &self,
        model: &ResolvedModel,
        messages: Arc<Vec<Arc<Message>>>,
        tools: Arc<Vec<Arc<ToolSpec>>>,
        session_id: &str,
    ) -> ModelRequest {
        ModelRequest {
            tools,
            thinking: model.thinking,
            temperature: model.params.temperature,
            cache: model.params.cache.unwrap_or_default(),
            service_tier: model.params.service_tier.clone(),
            cache_key: session_id.to_owned(),
            ..model.request(self.system.clone(), messages)
        }
    }
}
