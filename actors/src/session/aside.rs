//! `/btw` (`agent-runtime` §20): a question answered from what the conversation knows, beside it. Neither the question nor
//! the answer stands in the transcript, and the turn that goes on hears nothing of it.

use std::sync::Arc;
use std::time::Duration;

use claw_entities::SessionKey;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::budget::{self, Charge};
use super::item::Item;
use super::outlook::Outlook;
use super::turn::Authority;
use super::{managing, reply, side};
use crate::Services;
use crate::clock::now_ms;
use crate::config::providers::ResolvedModel;
use crate::error::{Error, Result};
use crate::ports::message::{AssistantMessage, Message, Part};
use crate::ports::model::{ErrorClass, ModelError, ModelEvent, ModelRequest, Thinking};
use crate::supervisor::directory::Directory;
use crate::supervisor::lanes::UserLanes;

/// Longest answer.
const LONGEST: Duration = Duration::from_secs(120);
/// Tokens of a short answer beside the conversation.
const BRIEF: u32 = 2_048;

/// What came of the question: the answer, or a sentence that says why there is none.
pub(crate) type Answered = std::result::Result<String, String>;

/// Asks, for the owner alone. It takes a place among the user's runs.
///
/// # Errors
/// What the database says, and `Fenced` when the process stops: the question is open then.
pub(crate) async fn ask(
    directory: &Directory,
    lanes: &UserLanes,
    authority: &Authority,
    item: &Item,
    question: &str,
    (life, stop): (&CancellationToken, &CancellationToken),
) -> Result<Answered> {
    if !item.guest.is_empty() {
        return Ok(Err(managing::OWNER_ONLY.to_owned()));
    }
    if question.is_empty() {
        return Ok(Err("What do you want to know? /btw <question>".to_owned()));
    }
    let services = directory.services();
    let (model, request) = match prepared(directory, authority, item, question).await {
        Ok(prepared) => prepared,
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_) | Error::Busy { .. })) => {
            return Err(error);
        }
        Err(error) => return Ok(Err(format!("{error}."))),
    };
    let settings = services.config.settings(&authority.scope).await?;
    let most = settings.max_concurrent.unwrap_or(services.limits.user_runs);
    let payer = Authority {
        charge: Charge {
            overheard: !item.audience().is_private(),
            ..authority.charge.clone()
        },
        ..authority.clone()
    };
    let asked = async {
        let _place = lanes.acquire(&item.guest, most).await;
        tokio::time::timeout(LONGEST, once(services, &payer, &model, request)).await
    };
    let asked = tokio::select! {
        biased;
        // The row stays open: the next process asks.
        () = directory.shutdown().cancelled() => return Err(Error::Fenced),
        // So does it when the session goes, with its user locked out or after a panic: whoever has it next asks.
        () = life.cancelled() => return Err(Error::Fenced),
        () = stop.cancelled() => return Ok(Err("Stopped.".to_owned())),
        asked = asked => asked,
    };
    Ok(match asked {
        Err(_) => Err(format!("The answer took longer than {} s.", LONGEST.as_secs())),
        Ok(Err(error)) => Err(error.message),
        Ok(Ok(message)) => match reply::shape(&message.text()).text {
            Some(text) => Ok(text),
            None if message.tool_calls().next().is_some() => {
                Err("That takes a tool: ask it as an ordinary message.".to_owned())
            }
            None => Err("I have no answer to that.".to_owned()),
        },
    })
}

/// The call: what a run would be sent now, and the question behind it. Prompt and tools are the run's own, so that the
/// provider has them in its cache.
async fn prepared(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    question: &str,
) -> Result<(ResolvedModel, ModelRequest)> {
    let now = Outlook::of(directory, authority, item).await?;
    let session = now.head.map_or_else(|| unnamed(&authority.key), |head| head.session_id);
    let messages = Arc::new(with_question(&now.messages, question));
    let mut request = now.base.request(&now.model, messages, Arc::new(now.specs), &session);
    request.thinking = Thinking::Off;
    request.max_tokens = request.max_tokens.min(BRIEF);
    Ok((now.model, request))
}

/// What a conversation without a transcript is known by to the provider's cache.
fn unnamed(key: &SessionKey) -> String {
    format!("{key}-aside")
}

/// The question behind what was said. Two messages of the user in a row are one: some providers take no others.
fn with_question(messages: &[Arc<Message>], question: &str) -> Vec<Arc<Message>> {
    let text = format!(
        "[A question aside. Answer it now, briefly, from what you know of this conversation. Call no tools, and do not go \
         on with what you are doing: that is done elsewhere.]\n{question}"
    );
    let mut messages = messages.to_vec();
    if let Some(Message::User { content, timestamp }) = messages.last().map(Arc::as_ref) {
        let mut content = content.clone();
        content.push(Part::Text { text });
        let asked = Message::User {
            content,
            timestamp: *timestamp,
        };
        messages.pop();
        messages.push(Arc::new(asked));
    } else {
        messages.push(Arc::new(Message::user(text, now_ms())));
    }
    messages
}

/// One call, on record beside the runs.
pub(super) async fn once(
    services: &Services,
    payer: &Authority,
    model: &ResolvedModel,
    request: ModelRequest,
) -> std::result::Result<AssistantMessage, ModelError> {
    let Some(adapter) = services.ports.model(&model.api) else {
        return Err(broken("The provider of the model is not available."));
    };
    let mut events = budget::stream(services, payer, model, adapter, request, 1).await;
    let mut answer = Err(broken("The model's answer ended in the middle."));
    while let Some(event) = events.next().await {
        match event {
            ModelEvent::Done(message) => answer = Ok(message),
            ModelEvent::Error(error) => answer = Err(error),
            ModelEvent::Start
            | ModelEvent::TextDelta(_)
            | ModelEvent::ThinkingDelta(_)
            | ModelEvent::ToolCallStart { .. }
            | ModelEvent::ToolCallDelta(_) => continue,
        }
        break;
    }
    let used = answer.as_ref().map(|message| message.usage);
    side::record(services, &payer.scope, model, used).await;
    answer
}

fn broken(message: &str) -> ModelError {
    ModelError {
        class: ErrorClass::Network,
        message: message.to_owned(),
        detail: String::new(),
        status: None,
        retry_after: None,
        partial: AssistantMessage::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_joins_what_the_user_said_last() {
        let said = |text: &str| Arc::new(Message::user(text, 1));
        let answer = Arc::new(Message::Assistant(AssistantMessage::default()));
        let behind = with_question(&[said("one"), answer.clone()], "why?");
        assert_eq!(behind.len(), 3);
        let joined = with_question(&[answer, said("two")], "why?");
        assert_eq!(joined.len(), 2);
        let Message::User { content, .. } = joined[1].as_ref() else {
            panic!("{joined:?}")
        };
        let texts: Vec<&str> = content.iter().filter_map(Part::text).collect();
        assert!(
            texts.len() == 2 && texts[0] == "two" && texts[1].ends_with("\nwhy?"),
            "{texts:?}"
        );
    }
}
