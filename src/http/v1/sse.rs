//! An answer as server-sent events, as it comes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use claw_actors::ports::model::ErrorClass;
use claw_actors::session::asking::{Answer, Piece};
use claw_actors::supervisor::directory::RunEnded;
use futures::stream;
use serde::Serialize;
use tokio::sync::mpsc;

use super::error::V1Error;
use crate::http::places::Place;

/// How long a status other than 200 is still possible: a failure before the first word has one.
const FIRST: Duration = Duration::from_secs(10);
/// A quiet stream is kept from being taken for a dead one this often.
const PING: Duration = Duration::from_secs(15);
/// Who reads nothing for so long has gone: meanwhile their place is somebody else's to want.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// What an API makes of an answer.
pub(super) trait Voice: Unpin + 'static {
    /// Before the first word.
    fn open(&mut self, out: &mut Events);
    fn text(&mut self, text: &str, out: &mut Events);
    fn ended(&mut self, ended: &RunEnded, out: &mut Events);
    fn failed(&mut self, error: &V1Error, out: &mut Events);
}

/// Events on their way.
#[derive(Default)]
pub(super) struct Events(VecDeque<Bytes>);

impl Events {
    /// A `data:` line.
    pub(super) fn data(&mut self, payload: &impl Serialize) {
        self.frame("", payload);
    }

    /// A named event.
    pub(super) fn event(&mut self, name: &str, payload: &impl Serialize) {
        self.frame(&format!("event: {name}\n"), payload);
    }

    fn frame(&mut self, head: &str, payload: &impl Serialize) {
        // Our own types: maps with text keys.
        let json = serde_json::to_string(payload).unwrap_or_default();
        self.0.push_back(Bytes::from(format!("{head}data: {json}\n\n")));
    }

    fn end(&mut self) {
        self.0.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
    }
}

/// How a run ended that has no answer to give: a failure.
pub(super) fn refused(ended: &RunEnded) -> Option<V1Error> {
    match ended.status.as_str() {
        // Only who asks again hears this one: it was stopped because nobody waited for it.
        "aborted" if ended.stop_reason.as_deref() == Some("disconnect") => Some(V1Error::of_run(
            "the run was stopped because its client had gone; ask again under a new Idempotency-Key",
        )),
        // Where somebody stopped it, what was said so far is the answer.
        "ok" | "aborted" => None,
        _ => {
            let why = ended.error.as_deref().unwrap_or("the run was not finished");
            let over_budget = ended.error_class.as_deref() == Some(ErrorClass::Budget.name());
            Some(if over_budget {
                V1Error::over_budget(why)
            } else {
                V1Error::of_run(why)
            })
        }
    }
}

/// An answer as it is told, and the place it takes.
struct Feed<V> {
    answer: Answer,
    voice: V,
    waiting: Events,
    over: bool,
    _place: Place,
}

impl<V: Voice> Feed<V> {
    fn take(&mut self, piece: Result<Piece, claw_actors::Error>) {
        match piece {
            Ok(Piece::Text(text)) => self.voice.text(&text, &mut self.waiting),
            Ok(Piece::Ended(ended)) => {
                match refused(&ended) {
                    None => self.voice.ended(&ended, &mut self.waiting),
                    Some(error) => self.voice.failed(&error, &mut self.waiting),
                }
                self.finish();
            }
            Err(error) => {
                self.voice.failed(&error.into(), &mut self.waiting);
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        self.waiting.end();
        self.over = true;
    }

    /// Tells it to a reader, who has `patience` for each piece. Ends with the answer, with the reader, or when nobody
    /// reads; dropped then, it aborts the run and frees its place.
    async fn tell(mut self, reader: mpsc::Sender<Bytes>, patience: Duration) {
        loop {
            while let Some(bytes) = self.waiting.0.pop_front() {
                match tokio::time::timeout(patience, reader.send(bytes)).await {
                    Ok(Ok(())) => {}
                    // Gone, or not reading.
                    Ok(Err(_)) | Err(_) => return,
                }
            }
            if self.over {
                return;
            }
            tokio::select! {
                () = reader.closed() => return,
                piece = tokio::time::timeout(PING, self.answer.next()) => match piece {
                    Ok(piece) => self.take(piece),
                    Err(_) => self.waiting.0.push_back(Bytes::from_static(b": still working\n\n")),
                },
            }
        }
    }
}

/// Answers with a stream. Dropped with its connection, it aborts the run; so does a reader who stops reading.
pub(super) async fn answer<V: Voice>(mut answer: Answer, place: Place, voice: V) -> Result<HttpResponse, V1Error> {
    let first = match tokio::time::timeout(FIRST, answer.next()).await {
        Ok(Ok(Piece::Ended(ended))) => match refused(&ended) {
            Some(error) => return Err(error),
            None => Some(Ok(Piece::Ended(ended))),
        },
        Ok(Ok(piece)) => Some(Ok(piece)),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => None,
    };
    let mut feed = Feed {
        answer,
        voice,
        waiting: Events::default(),
        over: false,
        _place: place,
    };
    feed.voice.open(&mut feed.waiting);
    if let Some(piece) = first {
        feed.take(piece);
    }
    let (reader, pieces) = mpsc::channel(1);
    actix_web::rt::spawn(feed.tell(reader, READ_WITHIN));
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        let bytes: Bytes = pieces.recv().await?;
        Some((Ok::<_, Infallible>(bytes), pieces))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(pieces))
}
