//! Asking the agent from outside the gateway and hearing its answer as it comes: what the HTTP APIs are made of.
//!
//! A question is an inbox row like any message, and its run is the session's own. Whoever asks hears what the run says;
//! who stops listening before it has ended aborts it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use claw_entities::{Scope, SessionKey, UserOwned, new_id, run};
use futures::FutureExt;
use futures::future::BoxFuture;
use sea_orm::{ColumnTrait, QueryFilter};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::intake::{self, Accepted, ClientMessage};
use crate::Services;
use crate::config::providers::ResolvedModel;
use crate::error::{Error, Result};
use crate::ports::message::{ToolCall, Usage};
use crate::ports::model::Takes;
use crate::supervisor::directory::{AbortRequest, Directory, RunEnded};

/// How long an answer is waited for.
const LONGEST_RUN: Duration = Duration::from_secs(6 * 3600);
/// Pause before a wait that ended for no reason is begun again.
const WAIT_AGAIN: Duration = Duration::from_millis(200);
/// How often a run that nobody waits for is told to stop, and the pause in between: its session may not have seen its
/// message yet.
const STOPS: usize = 20;
const STOP_AGAIN: Duration = Duration::from_millis(250);

/// More visible text of a run, which begins after the first `at` bytes of what it said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) run_id: String,
    pub(crate) at: usize,
    pub(crate) delta: String,
}

/// What one listener has heard of a run. A slow one finds more text at once, never more pieces.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    heard: Mutex<Heard>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    text: String,
    /// How often text was taken back.
    restarts: usize,
}

impl Ear {
    fn hear(&self, said: &Said) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if said.at < heard.text.len() && heard.text.is_char_boundary(said.at) {
            heard.text.truncate(said.at);
            heard.restarts += 1;
        }
        heard.text.push_str(&said.delta);
        drop(heard);
        self.more.notify_one();
    }
}

/// Who listens to which run of one user.
#[derive(Debug, Default)]
pub(crate) struct Ears(HashMap<String, Vec<Weak<Ear>>>);

impl Ears {
    pub(crate) fn add(&mut self, run_id: String, ear: Weak<Ear>) {
        self.0.retain(|_, ears| {
            ears.retain(|ear| ear.strong_count() > 0);
            !ears.is_empty()
        });
        self.0.entry(run_id).or_default().push(ear);
    }

    pub(crate) fn hear(&self, said: &Said) {
        for ear in self.0.get(&said.run_id).into_iter().flatten().filter_map(Weak::upgrade) {
            ear.hear(said);
        }
    }

    pub(crate) fn ended(&mut self, run_id: &str) {
        self.0.remove(run_id);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

/// What comes of a question.
#[derive(Debug)]
pub enum Piece {
    /// More of the answer.
    Text(String),
    /// That was all.
    Ended(RunEnded),
}

/// An answer on its way. Dropped before its end, it aborts its run.
pub struct Answer {
    pub run_id: String,
    pub session_key: SessionKey,
    ear: Arc<Ear>,
    /// What was given away, and how often text had been taken back by then.
    given: String,
    restarts: usize,
    waits: BoxFuture<'static, Result<RunEnded>>,
    ended: Option<RunEnded>,
    over: bool,
    abandoned: Abandoned,
}

/// What the model takes that a question in this session goes to: `wanted`, else the session's, else the agent's.
///
/// # Errors
/// When there is no such model, or none of its keys may be used now.
pub async fn takes(services: &Services, scope: &Scope, key: &str, wanted: Option<&str>) -> Result<Takes> {
    Ok(model(services, scope, key, wanted).await?.takes)
}

/// The model that a question in this session goes to.
///
/// # Errors
/// As [`takes`].
pub(crate) async fn model(
    services: &Services,
    scope: &Scope,
    key: &str,
    wanted: Option<&str>,
) -> Result<ResolvedModel> {
    let settings = services.config.settings(scope).await?;
    let session = super::key::resolve(key, &super::routing::default_agent(&settings))?;
    let head = services.conversation.head(scope, &session).await?;
    let wanted = wanted.or_else(|| head.as_ref().and_then(super::run::override_of));
    let agent = super::key::agent_of(&session);
    services.config.resolve_model(scope, agent, wanted).await
}

/// Asks in a session: `key` may be short, `run_id` is the idempotency key. A repeated one hears the first's end.
///
/// # Errors
/// As [`intake::accept_client`].
pub async fn ask(
    directory: &Directory,
    scope: &Scope,
    key: &str,
    run_id: &str,
    message: ClientMessage,
) -> Result<Answer> {
    let ear = Arc::new(Ear::default());
    directory.listen(scope, run_id, &ear);
    // Of this question alone: who leaves stops what they stored, not a newer run under the same key.
    let requester = new_id();
    let message = ClientMessage {
        requester: Some(requester.clone()),
        // One answer for each question.
        queue_mode: Some("followup".to_owned()),
        ..message
    };
    let settings = directory.services().config.settings(scope).await?;
    let resolved = super::key::resolve(key, &super::routing::default_agent(&settings))?;
    // From here on the message may be stored, whether we hear of it or not.
    let mut abandoned = Abandoned {
        directory: directory.clone(),
        scope: scope.clone(),
        session_key: resolved,
        run_id: run_id.to_owned(),
        requester,
        armed: true,
    };
    let accepted = intake::accept_client(directory, scope, key, run_id, message).await;
    abandoned.armed = matches!(accepted, Ok(Accepted::Started { .. }));
    let (Accepted::Started { session_key, .. }
    | Accepted::InFlight { session_key, .. }
    | Accepted::Ended { session_key, .. }) = accepted?;
    Ok(Answer {
        run_id: run_id.to_owned(),
        session_key,
        // Who comes later has missed the beginning: the end holds it all.
        ear: if abandoned.armed { ear } else { Arc::default() },
        given: String::new(),
        restarts: 0,
        waits: end_of(directory.clone(), scope.clone(), run_id.to_owned()).boxed(),
        ended: None,
        over: false,
        abandoned,
    })
}

async fn end_of(directory: Directory, scope: Scope, run_id: String) -> Result<RunEnded> {
    let give_up = Instant::now() + LONGEST_RUN;
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        if let Some(ended) = directory.wait_run(&scope, &run_id, left).await? {
            return Ok(ended);
        }
        if Instant::now() >= give_up {
            return Err(Error::Timeout("the run did not end in time".to_owned()));
        }
        if directory.draining() || directory.services().config.is_locked(&scope) {
            return Err(Error::Fenced);
        }
        tokio::time::sleep(WAIT_AGAIN).await;
    }
}

impl Answer {
    /// The next piece. Nothing comes after the end. May be dropped and asked again.
    ///
    /// # Errors
    /// When it will not be heard how the run ends.
    pub async fn next(&mut self) -> Result<Piece> {
        loop {
            if let Some(text) = self.unsaid() {
                return Ok(Piece::Text(text));
            }
            if let Some(ended) = self.ended.take() {
                self.over = true;
                return Ok(Piece::Ended(ended));
            }
            if self.over {
                return Err(Error::internal("an answer was asked for beyond its end"));
            }
            tokio::select! {
                biased;
                () = self.ear.more.notified() => {}
                ended = &mut self.waits => {
                    self.abandoned.armed = false;
                    match ended {
                        Ok(ended) => self.ended = Some(ended),
                        Err(error) => {
                            self.over = true;
                            return Err(error);
                        }
                    }
                }
            }
        }
    }

    /// The whole answer: everything up to the end.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn whole(&mut self) -> Result<RunEnded> {
        loop {
            if let Piece::Ended(ended) = self.next().await? {
                return Ok(ended);
            }
        }
    }

    /// Text that was heard and not given away yet.
    fn unsaid(&mut self) -> Option<String> {
        let heard = self.ear.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.restarts != self.restarts {
            // What was given cannot be taken back. It is waited for while the new text says the same, and said anew
            // where it says something else.
            let same = heard.text.len().min(self.given.len());
            let differs = heard.text.as_bytes().get(..same) != self.given.as_bytes().get(..same);
            if !differs && heard.text.len() < self.given.len() {
                return None;
            }
            self.restarts = heard.restarts;
            if differs {
                self.given.clone_from(&heard.text);
                return Some(format!("\n\n{}", heard.text));
            }
        }
        if heard.text.len() > self.given.len() {
            let more = heard.text.get(self.given.len()..)?.to_owned();
            self.given.push_str(&more);
            return Some(more);
        }
        let ended = self.ended.as_ref()?;
        // The end may say more than was shown: a command's answer, or all of it to who came late.
        let whole = answer_of(ended);
        let more = whole
            .strip_prefix(self.given.as_str())
            .filter(|more| !more.is_empty())?;
        let more = more.to_owned();
        drop(heard);
        self.given = whole;
        Some(more)
    }
}

/// Stops a run that nobody waits for.
struct Abandoned {
    directory: Directory,
    scope: Scope,
    session_key: SessionKey,
    run_id: String,
    /// Who stored the message; a run of another's is left alone.
    requester: String,
    armed: bool,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (directory, scope) = (self.directory.clone(), self.scope.clone());
        let request = AbortRequest {
            session_key: self.session_key.clone(),
            run_id: Some(self.run_id.clone()),
            requester: Some(self.requester.clone()),
            admin: false,
            stop_reason: "disconnect",
            clear_queue: false,
        };
        self.directory.services().io.spawn(async move {
            for _ in 0..STOPS {
                match directory.abort(&scope, request.clone()).await {
                    Ok(aborted) if aborted.aborted => return,
                    Ok(_) | Err(_) => {}
                }
                let run_id = request.run_id.as_deref().unwrap_or_default();
                if let Ok(Some(_)) = directory.wait_run(&scope, run_id, STOP_AGAIN).await {
                    return;
                }
            }
        });
    }
}

/// The session in which a run of the user's was.
///
/// # Errors
/// When the database is away.
pub async fn session_of(directory: &Directory, scope: &Scope, run_id: &str) -> Result<Option<SessionKey>> {
    let row = run::Entity::owned_by(scope)
        .filter(run::Column::Id.eq(run_id))
        .one(&directory.services().db.glance(scope).await?)
        .await?;
    Ok(row.map(|row| row.session_key))
}

/// The text of an answer.
pub fn answer_of(ended: &RunEnded) -> String {
    let payloads = ended.result["payloads"].as_array();
    let texts = payloads
        .into_iter()
        .flatten()
        .filter_map(|payload| payload["text"].as_str());
    texts.collect::<Vec<_>>().join("\n\n")
}

/// What an answer used.
pub fn usage_of(ended: &RunEnded) -> Usage {
    let usage = ended.result["meta"]["agentMeta"]["usage"].clone();
    serde_json::from_value(usage).unwrap_or_default()
}

/// Tools of the client's that the answer ends with.
pub fn handed_of(ended: &RunEnded) -> Vec<ToolCall> {
    let calls = ended.result["meta"]["pendingToolCalls"].clone();
    serde_json::from_value(calls).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at: usize, delta: &str) -> Said {
        Said {
            run_id: "r".to_owned(),
            at,
            delta: delta.to_owned(),
        }
    }

    #[test]
    fn only_who_listens_to_a_run_hears_it() {
        let mut ears = Ears::default();
        let (one, other) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
        ears.add("r".to_owned(), Arc::downgrade(&one));
        ears.add("s".to_owned(), Arc::downgrade(&other));
        ears.hear(&said(0, "hel"));
        ears.hear(&said(3, "lo"));
        assert_eq!(one.heard.lock().unwrap().text, "hello");
        assert_eq!(other.heard.lock().unwrap().text, "");
        drop(other);
        ears.add("t".to_owned(), Weak::new());
        assert_eq!(ears.len(), 2);
        ears.ended("r");
        assert_eq!(ears.len(), 1);
    }

    #[test]
    fn text_that_is_taken_back_is_noticed() {
        let ear = Ear::default();
        ear.hear(&said(0, "half an ans"));
        ear.hear(&said(0, "half of it"));
        let heard = ear.heard.lock().unwrap();
        assert_eq!((heard.text.as_str(), heard.restarts), ("half of it", 1));
    }
}
