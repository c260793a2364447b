//! `POST /v1/responses` (`agent-runtime` §21.2), with tools that the client runs itself.

mod voice;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use claw_actors::session::asking::{self, answer_of};
use claw_actors::session::intake::{ClientMessage, ClientTool};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use self::voice::Response;
use super::chat::{LONGEST_CHOICE, Line, Prompt, rendered, speaker};
use super::content::{AtMost, Attached, Content, ContentPart, TextOr, small};
use super::error::V1Error;
use super::sse;
use super::{admitted, ask, header, now, target};
use crate::http::auth::Caller;
use crate::http::state::AppState;

/// Items of one request.
const MOST: usize = 2048;
/// Tools of one request, and the longest name.
const MOST_TOOLS: usize = 128;
const LONGEST_NAME: usize = 64;
/// All of them together as JSON, bytes: they are stored with the question.
const MOST_TOOL_BYTES: usize = 512 * 1024;
/// The parameters of one as JSON, bytes.
const MOST_PARAMETERS: usize = 64 * 1024;

/// What of OpenAI's request counts here. The rest is accepted and ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ResponsesRequest {
    /// `openclaw`, or `openclaw/<agentId>`.
    model: Option<String>,
    #[schema(value_type = Object)]
    input: Input,
    /// For this request alone.
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
    /// Requests of one user share a session.
    #[serde(default)]
    user: Option<String>,
    /// Goes on in the session of that response.
    #[serde(default)]
    previous_response_id: Option<String>,
    /// Of the type `function`: the client runs them.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    tools: Option<AtMost<Tool, MOST_TOOLS>>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Box<RawValue>>,
}

type Input = TextOr<Item, MOST>;

/// One item. `type` says which of the rest counts; without it, it is a message.
#[derive(Debug, Default, Deserialize)]
struct Item {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    call_id: Option<String>,
    #[serde(default)]
    output: Option<Content>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Box<RawValue>>,
    /// As Chat Completions nests it.
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Box<RawValue>>,
}

fn prompt(input: &Input, instructions: Option<&str>) -> Result<Prompt, V1Error> {
    let mut system: Vec<String> = instructions
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .into_iter()
        .collect();
    let message = match input {
        Input::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Input::List(items) => {
            let mut lines = Vec::new();
            for item in &items.0 {
                line(item, &mut system, &mut lines)?;
            }
            rendered(&lines)
        }
    };
    Ok(Prompt {
        message: message.ok_or_else(|| V1Error::param("input", "there is no message of a user"))?,
        system: (!system.is_empty()).then(|| system.join("\n\n")),
    })
}

fn line(item: &Item, system: &mut Vec<String>, lines: &mut Vec<Line>) -> Result<(), V1Error> {
    let text = |content: &Option<Content>| content.as_ref().map(Content::text).unwrap_or_default();
    match item.kind.as_deref().unwrap_or("message") {
        "message" => {
            let role = item.role.as_deref().unwrap_or("user");
            let said = text(&item.content);
            if matches!(role, "system" | "developer") {
                system.extend((!said.is_empty()).then_some(said));
                return Ok(());
            }
            let speaker = speaker(role, None).ok_or_else(|| V1Error::param("input", "an item has an unknown role"))?;
            let pictures = item.content.as_ref().is_some_and(|content| !content.parts().is_empty());
            if !said.is_empty() || (role == "user" && pictures) {
                lines.push(Line { speaker, text: said });
            }
        }
        "function_call_output" => {
            let id = item.call_id.as_deref().unwrap_or_default();
            let Some(speaker) = speaker("tool", Some(id)) else {
                return Ok(());
            };
            lines.push(Line {
                speaker,
                text: text(&item.output),
            });
        }
        "function_call" => lines.push(Line {
            speaker: "Assistant".to_owned(),
            text: format!(
                "[called {} with {}]",
                item.name.as_deref().unwrap_or("a tool"),
                item.arguments.as_deref().unwrap_or("{}")
            ),
        }),
        "reasoning" | "item_reference" => {}
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(V1Error::param(
                "input",
                format!("items of the type {shown:?} are not taken here"),
            ));
        }
    }
    Ok(())
}

/// Parts of what is asked: the newest message of a user, or result of a tool. What came with an earlier one was seen then.
fn asked(input: &Input) -> &[ContentPart] {
    let Input::List(items) = input else { return &[] };
    let is_asked = |item: &Item| match item.kind.as_deref().unwrap_or("message") {
        "message" => item.role.as_deref().unwrap_or("user") == "user",
        other => other == "function_call_output",
    };
    let last = items.0.iter().rev().find(|item| is_asked(item));
    let parts = last.and_then(|item| item.content.as_ref().or(item.output.as_ref()));
    parts.map_or(&[], Content::parts)
}

/// The client's tools, and what the choice among them says to the agent.
fn tools(
    state: &AppState,
    given: Option<AtMost<Tool, MOST_TOOLS>>,
    choice: Option<&Value>,
) -> Result<(Vec<ClientTool>, Option<String>), V1Error> {
    let mut tools = Vec::new();
    let mut size = 0;
    for tool in given.unwrap_or_default().0 {
        if tool.kind != "function" {
            return Err(V1Error::param("tools", "only tools of the type function are taken"));
        }
        let (name, description, parameters) = match tool.function {
            Some(nested) => (Some(nested.name), nested.description, nested.parameters),
            None => (tool.name, tool.description, tool.parameters),
        };
        let name = name.unwrap_or_default();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(fits) {
            return Err(V1Error::param(
                "tools",
                "a tool's name has 1 to 64 letters, digits, _ or -",
            ));
        }
        if state.services.ports.tool(&name).is_some() || tools.iter().any(|tool: &ClientTool| tool.name == name) {
            return Err(V1Error::param("tools", format!("there is a tool named {name} already")));
        }
        let description = description.unwrap_or_default();
        size += description.len() + parameters.as_ref().map_or(0, |schema| schema.get().len());
        if size > MOST_TOOL_BYTES {
            let message = format!("the tools are larger than {MOST_TOOL_BYTES} bytes");
            return Err(claw_actors::Error::TooLarge(message).into());
        }
        let parameters = small(parameters.as_deref(), "tools", MOST_PARAMETERS)?
            .unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        if !parameters.is_object() {
            return Err(V1Error::param(
                "tools",
                format!("the parameters of {name} are no JSON schema"),
            ));
        }
        tools.push(ClientTool {
            name,
            description,
            parameters,
        });
    }
    let named = |choice: &Value| {
        choice["name"]
            .as_str()
            .or(choice["function"]["name"].as_str())
            .map(str::to_owned)
    };
    match choice {
        None | Some(Value::Null) => Ok((tools, None)),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok((tools, None)),
            "none" => Ok((Vec::new(), None)),
            "required" if tools.is_empty() => Err(V1Error::param("tool_choice", "there are no tools to choose from")),
            "required" => Ok((
                tools,
                Some("You must call one of the client's tools before you answer.".to_owned()),
            )),
            _ => Err(V1Error::param(
                "tool_choice",
                "tool_choice must be auto, none, required or a function",
            )),
        },
        Some(choice) => {
            let name = named(choice).unwrap_or_default();
            tools.retain(|tool| tool.name == name);
            if tools.is_empty() {
                return Err(V1Error::param(
                    "tool_choice",
                    "tool_choice names no tool of the request",
                ));
            }
            Ok((tools, Some(format!("You must call the tool {name} before you answer."))))
        }
    }
}

#[utoipa::path(post, path = "/v1/responses", operation_id = "createResponse", tag = "programs",
    request_body = ResponsesRequest,
    responses((status = 200, description = "The response; with `stream`, its events",
        content((Object = "application/json"), (String = "text/event-stream")))))]
pub(crate) async fn create(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, V1Error> {
    let (caller, place, input) = admitted::<ResponsesRequest>(&request, payload, &state).await?;
    let settings = state.services.config.settings(caller.scope()).await?;
    let mut target = target::of(
        &request,
        &settings,
        "openresponses",
        input.model.as_deref(),
        input.user.as_deref(),
    )?;
    let Prompt { message, system } = prompt(&input.input, input.instructions.as_deref())?;
    let attached = Attached::read(&state.egress, asked(&input.input)).await?;
    let choice = small(input.tool_choice.as_deref(), "tool_choice", LONGEST_CHOICE)?;
    let (client_tools, must) = tools(&state, input.tools, choice.as_ref())?;
    let system: Vec<&str> = system
        .iter()
        .chain(&attached.files)
        .chain(&must)
        .map(String::as_str)
        .collect();
    let extra_system_prompt = (!system.is_empty()).then(|| system.join("\n\n"));
    if let Some(session) = earlier(&request, &state, &caller, input.previous_response_id.as_deref()).await? {
        target.session_key = session;
    }
    let message = ClientMessage {
        message,
        attachments: attached.store(&state, caller.scope(), &target).await?,
        extra_system_prompt,
        model: target.model,
        client_tools,
        ..ClientMessage::default()
    };
    let mut answer = ask(&request, &state, &caller, "resp_", &target.session_key, message).await?;
    let mut voice = Response {
        id: answer.run_id.clone(),
        item: format!("msg_{}", uuid::Uuid::new_v4().simple()),
        created: now(),
        model: input.model.unwrap_or_else(|| "openclaw".to_owned()),
        sequence: 0,
        text: None,
    };
    if input.stream == Some(true) {
        return sse::answer(answer, place, voice).await;
    }
    let ended = answer.whole().await?;
    if let Some(error) = sse::refused(&ended) {
        return Err(error);
    }
    let text = answer_of(&ended);
    voice.text = Some(text).filter(|text| !text.is_empty());
    Ok(HttpResponse::Ok().json(voice.completed(&ended)))
}

/// The session of an earlier response of the caller's, unless a header names one.
async fn earlier(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    id: Option<&str>,
) -> Result<Option<String>, V1Error> {
    match id.filter(|id| id.starts_with("resp_") && id.len() <= 256) {
        Some(id) if header(request, "x-openclaw-session-key").is_none() => {
            let session = asking::session_of(&state.directory, caller.scope(), id).await?;
            Ok(session.map(String::from))
        }
        Some(_) | None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &Value) -> Result<(String, Option<String>), String> {
        let input: Input = serde_json::from_value(input.clone()).expect("an input");
        let prompt = prompt(&input, Some("be brief")).map_err(|error| error.to_string())?;
        Ok((prompt.message, prompt.system))
    }

    #[test]
    fn an_earlier_image_does_not_go_along_with_a_later_result() {
        let count = |input: Value| asked(&serde_json::from_value(input).expect("an input")).len();
        let image =
            json!({"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]});
        let call = json!({"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"});
        let result = json!({"type": "function_call_output", "call_id": "c", "output": "sunny"});
        assert_eq!(count(json!([image])), 1);
        assert_eq!(count(json!([image, call])), 1);
        assert_eq!(count(json!([image, call, result])), 0);
        let seen = json!({"type": "function_call_output", "call_id": "c",
            "output": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]});
        assert_eq!(count(json!([call, seen])), 1, "what a tool gave is looked at");
    }

    #[test]
    fn texts_and_items_become_one_message() {
        assert_eq!(check(&json!("hi")), Ok(("hi".to_owned(), Some("be brief".to_owned()))));
        let (text, system) = check(&json!([
            {"role": "developer", "content": "no jokes"},
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ]))
        .expect("a prompt");
        assert_eq!(
            text,
            "[Chat messages since your last reply - for context]\nUser: weather?\nAssistant: [called weather with {}]\n\n\
             [Current message - respond to this]\nTool:c1: sunny"
        );
        assert_eq!(system.as_deref(), Some("be brief\n\nno jokes"));
        assert!(check(&json!([])).is_err());
        assert!(check(&json!([{"type": "computer_call"}])).is_err());
    }
}
