//! Files that an answer names in `MEDIA:` lines (`agent-runtime` §4.4): looked up or fetched, stored, and sent behind the
//! text. What cannot be sent becomes a short line of it. The transcript keeps them beside the answer, for clients.

use std::time::Duration;

use super::{RunContext, Work};
use crate::ports::channel::{FileAbout, FileKind};
use crate::ports::message::Part;
use crate::session::blobs::{self, PREFIX, Whose};
use crate::session::preview::Outlet;
use crate::session::reach::message::about;
use crate::session::turn::Piece;

/// Files of one run, and how large each may be, bytes: what is sent is kept.
const MOST: usize = 8;
const LARGEST: usize = 16 * 1024 * 1024;
/// How long they may take, all together.
const PATIENCE: Duration = Duration::from_secs(60);
/// Characters of an address in a line about it.
const SHOWN: usize = 200;

/// The files of an answer, and lines about those that cannot be sent.
#[derive(Debug, Default)]
pub(super) struct Attached {
    /// Each with its size in bytes.
    files: Vec<(FileAbout, usize)>,
    pub(super) missing: Vec<String>,
}

impl Attached {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// As pieces of the answer, each without words.
    pub(super) fn pieces(&self, outlet: &Outlet) -> Vec<Piece> {
        let files = self.files.iter().filter(|_| !outlet.is_muted());
        files
            .map(|(file, _)| Piece::file("final", &outlet.destination, file.clone()))
            .collect()
    }

    /// What they are.
    pub(super) fn files(&self) -> Vec<FileAbout> {
        self.files.iter().map(|(file, _)| file.clone()).collect()
    }

    /// As the transcript keeps them; with the lines about the others, where nothing else says those.
    pub(super) fn parts(&self, with_missing: bool) -> Vec<Part> {
        let files = self.files.iter().map(|(file, size)| match file.kind {
            FileKind::Image => Part::Image {
                data: None,
                blob: Some(file.blob.clone()),
                mime_type: file.mime_type.clone(),
            },
            FileKind::Voice | FileKind::Audio | FileKind::Video | FileKind::Document => Part::File {
                data: None,
                blob: Some(file.blob.clone()),
                mime_type: file.mime_type.clone(),
                name: file.name.clone(),
                size: u64::try_from(*size).unwrap_or(u64::MAX),
            },
        });
        let missing = self.missing.iter().filter(|_| with_missing);
        files
            .chain(missing.map(|line| Part::Text { text: line.clone() }))
            .collect()
    }
}

impl Work {
    /// What the answer's `MEDIA:` lines name.
    pub(super) async fn attached(&mut self, context: &RunContext, outlet: Option<&Outlet>) -> Attached {
        let mut attached = Attached::default();
        let mut named = std::mem::take(&mut self.media);
        if named.is_empty() || outlet.is_some_and(Outlet::is_muted) {
            return attached;
        }
        let mut seen = std::collections::HashSet::new();
        named.retain(|address| seen.insert(address.clone()));
        // Clients of the gateway fetch what the transcript keeps.
        let largest = match outlet {
            None => Some(LARGEST),
            Some(outlet) => {
                let channel = self.services.ports.channel(&outlet.destination.channel);
                channel.and_then(|channel| channel.files()).map(|files| files.largest())
            }
        };
        let Some(largest) = largest else {
            // A link is better than nothing.
            let links = named.iter().filter(|address| address.starts_with("https://"));
            attached.missing.extend(links.cloned());
            return attached;
        };
        let most = largest.min(LARGEST);
        let stop = context.cancel.token().clone();
        let until = tokio::time::Instant::now() + PATIENCE;
        for (at, address) in named.iter().enumerate() {
            let found = if at >= MOST {
                Err(format!("an answer has at most {MOST} files"))
            } else {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Err("it was stopped".to_owned()),
                    found = tokio::time::timeout_at(until, self.file(context, address, most)) => {
                        found.unwrap_or_else(|_| Err("it took too long".to_owned()))
                    }
                }
            };
            match found {
                Ok(file) => attached.files.push(file),
                Err(why) => {
                    let shown: String = address.chars().filter(|sign| !sign.is_control()).take(SHOWN).collect();
                    attached.missing.push(format!("(A file was not sent, {why}: {shown})"));
                }
            }
        }
        attached
    }

    /// One file, stored. The error ends a sentence.
    async fn file(&self, context: &RunContext, address: &str, most: usize) -> Result<(FileAbout, usize), String> {
        let audience = context.turn.last().audience();
        let owner = audience.speaks_with_owner();
        let unread = |_| "it could not be read".to_owned();
        let (mut file, size) = if let Some(id) = address.strip_prefix(PREFIX) {
            // What is stored is the owner's.
            let stored = if owner {
                blobs::read(&self.services, &context.scope, id.trim())
                    .await
                    .map_err(unread)?
            } else {
                None
            };
            let row = stored.ok_or("there is nothing of that name")?;
            if row.bytes.len() > most {
                return Err(too_large(most));
            }
            (about(row.id, "file", &row.mime_type), row.bytes.len())
        } else {
            let (name, kind, bytes) = if address.contains("://") {
                if !self.fetches {
                    return Err("addresses may not be fetched here".to_owned());
                }
                let web = self.services.ports.poster().ok_or("addresses cannot be fetched")?;
                let fetched = web.fetch(address, most).await?;
                (fetched.name.unwrap_or_default(), fetched.mime_type, fetched.bytes)
            } else {
                if !audience.is_private() {
                    return Err("there is nothing of that name".to_owned());
                }
                let path = address.trim_start_matches("./");
                let config = &self.services.config;
                let found = config.workspace_file(&context.scope, &context.agent_id, path).await;
                let found = found.map_err(unread)?.ok_or("there is no such file in the workspace")?;
                let kind = if path.ends_with(".md") {
                    "text/markdown"
                } else {
                    "text/plain"
                };
                (path.to_owned(), kind.to_owned(), found.content.into_bytes())
            };
            if bytes.is_empty() {
                return Err("it is empty".to_owned());
            }
            if bytes.len() > most {
                return Err(too_large(most));
            }
            // What an image is its bytes say.
            let kind = match blobs::image_type(&bytes) {
                Some(kind) => kind.to_owned(),
                None if kind.starts_with("image/") && kind != "image/svg+xml" => "application/octet-stream".to_owned(),
                None => kind,
            };
            let whose = if owner { Whose::Owner } else { Whose::Guest };
            let size = bytes.len();
            let stored = blobs::store_as(&self.services, &context.scope, whose, &kind, bytes).await;
            (about(stored.map_err(|error| error.to_string())?, &name, &kind), size)
        };
        if self.voice && file.kind == FileKind::Audio {
            file.kind = FileKind::Voice;
        }
        Ok((file, size))
    }
}

fn too_large(most: usize) -> String {
    format!("it is larger than {} MiB", most >> 20)
}
