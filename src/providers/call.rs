//! One streaming call: open, read events under the silence limits, let a dialect assemble them, end exactly once.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use claw_actors::crypto::Secret;
use claw_actors::ports::message::AssistantMessage;
use claw_actors::ports::model::{ErrorClass, ModelEvent, ModelRequest, StreamLimits};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::errors::{Failure, MAX_ERROR_BYTES};
use super::redact::redact;
use super::retry_after;
use super::sse::{EventTooLarge, SseDecoder, SseEvent};
use crate::egress::{self, EgressError, StreamingResponse};

/// How long to wait for more once the answer is complete but its end was not announced.
const GRACE: Duration = Duration::from_secs(5);
/// How long a finished stream may take to end by itself, so that its connection can be used again.
const DRAIN: Duration = Duration::from_secs(2);

/// What distinguishes one wire family: how its events become a message.
pub(super) trait Dialect: Send + 'static {
    /// Server-sent events out of what came, where the family sends them otherwise packed.
    fn unframe<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Failure> {
        Ok(Cow::Borrowed(bytes))
    }

    /// Does what was unframed begin as an event does: then what ends in the middle of it was cut.
    fn may_begin(&self, unframed: &[u8]) -> bool {
        unframed.starts_with(b"data:") || unframed.starts_with(b"event:")
    }

    /// Takes one event in.
    fn event(&mut self, event: SseEvent<'_>, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure>;

    /// Takes a complete JSON answer of a server that does not stream. False when it is none.
    fn whole(&mut self, body: &[u8], out: &mut VecDeque<ModelEvent>) -> Result<bool, Failure>;

    /// Is all there, though no terminal marker came.
    fn is_complete(&self) -> bool;

    /// The finished message.
    fn finish(&mut self) -> Result<AssistantMessage, Failure>;

    /// What had arrived, in order; tool calls only where they have come whole. Takes it out.
    fn assemble(&mut self, with_tools: bool) -> AssistantMessage;
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    More,
    /// The terminal marker came.
    Finished,
}

/// Who is called, for errors.
pub(super) struct Callee {
    provider: String,
    model: String,
    secrets: Vec<Secret>,
    limits: StreamLimits,
}

impl Callee {
    pub(super) fn of(request: &ModelRequest) -> Self {
        let endpoint = &request.endpoint;
        let headers = endpoint.headers.iter().map(|(_, value)| value);
        Self {
            provider: request.provider.clone(),
            model: request.model.clone(),
            secrets: endpoint.api_key.iter().chain(headers).cloned().collect(),
            limits: request.limits,
        }
    }
}

/// Adds the headers a tenant configured.
pub(super) fn with_headers(mut request: egress::Request, model: &ModelRequest) -> egress::Request {
    for (name, value) in &model.endpoint.headers {
        request = request.header(name, value.expose());
    }
    request
}

/// The stream of one call.
pub(super) fn run<D: Dialect>(
    request: Result<egress::Request, EgressError>,
    callee: Callee,
    dialect: D,
) -> BoxStream<'static, ModelEvent> {
    let call = Call {
        stage: Stage::Ready(Box::new(request)),
        callee,
        intake: Intake::new(dialect),
        first_byte_due: None,
    };
    stream::unfold(call, |mut call| async move {
        let event = call.next().await?;
        Some((event, call))
    })
    .boxed()
}

enum Stage {
    Ready(Box<Result<egress::Request, EgressError>>),
    Reading(BoxStream<'static, Result<Bytes, EgressError>>),
    Over,
}

struct Call<D> {
    stage: Stage,
    callee: Callee,
    intake: Intake<D>,
    /// Set until the first byte of the body.
    first_byte_due: Option<Instant>,
}

impl<D: Dialect> Call<D> {
    async fn next(&mut self) -> Option<ModelEvent> {
        loop {
            if let Some(event) = self.intake.pending.pop_front() {
                return Some(event);
            }
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Ready(request) => self.open(*request).await,
                Stage::Reading(body) => self.read(body).await,
                Stage::Over => return None,
            }
        }
    }

    async fn open(&mut self, request: Result<egress::Request, EgressError>) {
        let first_byte = self.callee.limits.first_byte;
        let due = Instant::now() + first_byte;
        let answer = match request {
            Ok(request) => request.timeout(first_byte).send_streaming().await,
            Err(error) => Err(error),
        };
        match answer {
            Err(error) => self.fail(Failure::egress(error)),
            Ok(answer) if answer.is_success() => {
                self.first_byte_due = Some(due);
                self.intake.pending.push_back(ModelEvent::Start);
                self.stage = Stage::Reading(answer.body);
            }
            Ok(answer) => {
                let failure = read_error(answer, due).await;
                self.fail(failure);
            }
        }
    }

    async fn read(&mut self, mut body: BoxStream<'static, Result<Bytes, EgressError>>) {
        let idle = self.callee.limits.idle;
        let due = match self.first_byte_due {
            Some(due) => due,
            None if self.intake.dialect.is_complete() => Instant::now() + idle.min(GRACE),
            None => Instant::now() + idle,
        };
        let result = match timeout_at(due, body.next()).await {
            Err(_) if self.intake.dialect.is_complete() => Ok(Flow::Finished),
            Err(_) if self.first_byte_due.is_some() => Err(Failure::silence("no byte of the answer in time")),
            Err(_) => Err(Failure::silence("the stream fell silent")),
            Ok(Some(Ok(bytes))) => {
                self.first_byte_due = None;
                self.intake.push(&bytes)
            }
            Ok(Some(Err(error))) => self.intake.end().and_then(|flow| match flow {
                Flow::More => Err(Failure::egress(error)),
                Flow::Finished => Ok(flow),
            }),
            Ok(None) => self.intake.end().and_then(|flow| match flow {
                Flow::More => Err(self.intake.cut_or_garbage()),
                Flow::Finished => Ok(flow),
            }),
        };
        match result {
            Ok(Flow::More) => self.stage = Stage::Reading(body),
            Ok(Flow::Finished) => {
                drain(body);
                match self.intake.dialect.finish() {
                    Ok(message) => self.intake.pending.push_back(ModelEvent::Done(message)),
                    Err(failure) => self.fail(failure),
                }
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn fail(&mut self, failure: Failure) {
        let detail = redact(&failure.detail, &self.callee.secrets);
        let partial = self.intake.dialect.assemble(false);
        let error = failure.into_error(&self.callee.provider, &self.callee.model, detail, partial);
        self.intake.pending.push_back(ModelEvent::Error(error));
    }
}

/// Bytes in, events out; no time and no sockets.
pub(super) struct Intake<D> {
    pub(super) dialect: D,
    pub(super) pending: VecDeque<ModelEvent>,
    sse: SseDecoder,
    /// The start of the body, kept until the first event, to tell what a server sends that sends no events.
    prefix: Vec<u8>,
    saw_event: bool,
}

impl<D: Dialect> Intake<D> {
    pub(super) fn new(dialect: D) -> Self {
        Self {
            dialect,
            pending: VecDeque::new(),
            sse: SseDecoder::default(),
            prefix: Vec::new(),
            saw_event: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Flow, Failure> {
        let bytes: &[u8] = &self.dialect.unframe(bytes)?;
        self.sse.push(bytes);
        let flow = self.take();
        if !self.saw_event && self.prefix.len() < crate::providers::sse::MAX_EVENT_BYTES {
            self.prefix.extend_from_slice(bytes);
        }
        flow
    }

    /// The body is over. `Finished` when that is a proper end.
    pub(super) fn end(&mut self) -> Result<Flow, Failure> {
        let began = self.saw_event || self.dialect.may_begin(&self.prefix);
        self.sse.end();
        let mut flow = match self.take() {
            // Half an event where events are expected: it is not another protocol, it was cut there.
            Err(failure) if began && failure.class == ErrorClass::Format && failure.sentence.is_some() => Flow::More,
            flow => flow?,
        };
        if !self.saw_event && self.dialect.whole(&self.prefix, &mut self.pending)? {
            flow = Flow::Finished;
        }
        if self.dialect.is_complete() {
            flow = Flow::Finished;
        }
        Ok(flow)
    }

    fn take(&mut self) -> Result<Flow, Failure> {
        loop {
            match self.sse.next() {
                Ok(Some(event)) => {
                    self.saw_event = true;
                    self.prefix = Vec::new();
                    if self.dialect.event(event, &mut self.pending)? == Flow::Finished {
                        return Ok(Flow::Finished);
                    }
                }
                Ok(None) => return Ok(Flow::More),
                Err(EventTooLarge) => return Err(Failure::garbage("one event is larger than 8 MiB")),
            }
        }
    }

    fn cut_or_garbage(&self) -> Failure {
        let said = String::from_utf8_lossy(&self.prefix[..self.prefix.len().min(4_096)]);
        let said = said.trim();
        // Keep-alive comments and nothing else are a stream that was cut, not another protocol.
        if self.saw_event || said.lines().all(|line| line.is_empty() || line.starts_with(':')) {
            return Failure::cut();
        }
        Failure::garbage(format!("not an event stream: {said}"))
    }
}

/// Reads the body of a failed answer.
async fn read_error(answer: StreamingResponse, due: Instant) -> Failure {
    let status = answer.status;
    let wait = retry_after::from_headers(&answer.headers, chrono::Utc::now());
    let mut body = answer.body;
    let mut text = Vec::new();
    while text.len() < MAX_ERROR_BYTES {
        match timeout_at(due, body.next()).await {
            Ok(Some(Ok(bytes))) => text.extend_from_slice(&bytes),
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
    }
    let mut failure = Failure::http(status, &text);
    if wait.is_some() {
        failure.retry_after = wait;
    }
    failure
}

/// Reads what is left of a finished body aside, so that the connection goes back to its pool.
fn drain(mut body: BoxStream<'static, Result<Bytes, EgressError>>) {
    if let Some(None | Some(Err(_))) = body.next().now_or_never() {
        return;
    }
    tokio::spawn(async move {
        let _ = timeout(DRAIN, async { while let Some(Ok(_)) = body.next().await {} }).await;
    });
}

/// Runs a dialect over pieces of a body, as a test sees it.
#[cfg(test)]
pub(super) fn decode<D: Dialect>(dialect: D, pieces: &[&[u8]]) -> Vec<ModelEvent> {
    let mut intake = Intake::new(dialect);
    let mut result = Ok(Flow::More);
    for piece in pieces {
        result = intake.push(piece);
        if result != Ok(Flow::More) {
            break;
        }
    }
    if result == Ok(Flow::More) {
        result = intake.end().and_then(|flow| match flow {
            Flow::More => Err(intake.cut_or_garbage()),
            Flow::Finished => Ok(flow),
        });
    }
    let last = match result.and_then(|_| intake.dialect.finish()) {
        Ok(message) => ModelEvent::Done(message),
        Err(failure) => {
            let detail = failure.detail.clone();
            let partial = intake.dialect.assemble(false);
            ModelEvent::Error(failure.into_error("test", "model", detail, partial))
        }
    };
    intake.pending.push_back(last);
    intake.pending.into()
}

/// Asserts that a body gives the same events however it is cut, and returns them.
#[cfg(test)]
pub(super) fn decode_all_ways<D: Dialect>(dialect: impl Fn() -> D, body: &[u8]) -> Vec<ModelEvent> {
    let whole = decode(dialect(), &[body]);
    let expected = format!("{whole:?}");
    for at in 0..=body.len() {
        let split = decode(dialect(), &[&body[..at], &body[at..]]);
        assert_eq!(format!("{split:?}"), expected, "split at byte {at}");
    }
    let single: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(format!("{:?}", decode(dialect(), &single)), expected, "byte by byte");
    whole
}

#[cfg(test)]
pub(super) mod tests;
