//! `nodes`: the user's paired devices. Looks at them, calls what they declare, and runs commands on them.
//!
//! Which node, which command and who must allow it is decided in the session (`claw_actors::session::nodes`).

pub(super) mod answer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::nodes::{Command, Line, Nodes, Waits};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

/// A call of a node without `invokeTimeoutMs`.
const INVOKE: Duration = Duration::from_secs(30);
/// A command without `commandTimeoutMs`.
const COMMAND: Duration = Duration::from_secs(60);
/// Longest call and longest command.
const LONGEST: Duration = Duration::from_secs(600);
/// Longest recording, milliseconds.
const LONGEST_MEDIA_MS: u64 = 300_000;
/// The longest command, and the questions around it.
const WHOLE: Duration = Duration::from_secs(600 + 90);

/// The tool.
pub(super) struct NodesTool {
    spec: Arc<ToolSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Status,
    Describe,
    Pending,
    Notify,
    CameraSnap,
    CameraList,
    CameraClip,
    PhotosLatest,
    ScreenRecord,
    LocationGet,
    NotificationsList,
    #[serde(rename = "notifications_action")]
    NotificationsAct,
    DeviceStatus,
    DeviceInfo,
    DevicePermissions,
    DeviceHealth,
    Run,
    Invoke,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    action: Action,
    node: Option<String>,
    title: Option<String>,
    body: Option<String>,
    sound: Option<String>,
    priority: Option<String>,
    delivery: Option<String>,
    facing: Option<String>,
    max_width: Option<u64>,
    quality: Option<f64>,
    delay_ms: Option<u64>,
    device_id: Option<String>,
    duration_ms: Option<u64>,
    include_audio: Option<bool>,
    fps: Option<f64>,
    screen_index: Option<u64>,
    max_age_ms: Option<u64>,
    location_timeout_ms: Option<u64>,
    desired_accuracy: Option<String>,
    notification_action: Option<String>,
    notification_key: Option<String>,
    notification_reply_text: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    cwd: Option<String>,
    #[serde(default)]
    env: Vec<String>,
    skill: Option<String>,
    command_timeout_ms: Option<u64>,
    invoke_timeout_ms: Option<u64>,
    invoke_command: Option<String>,
    invoke_params_json: Option<String>,
}

impl NodesTool {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "nodes".to_owned(),
                description: "Looks at and uses the user's paired devices (nodes): status, describe, pending, \
                    notifications, camera, screen, location, device facts, invoke for any other command a node \
                    declares, and run for a command line on a node. run may answer approval-pending: then end your turn, \
                    what comes of it is told to you; a command that was denied must not be tried again in other words."
                    .to_owned(),
                summary: "look at and use the user's paired devices".to_owned(),
                parameters: parameters().into(),
                effect: Effect::External,
                owner_only: true,
                timeout: WHOLE,
            }),
        }
    }
}

fn parameters() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let number = |about: &str| json!({"type": "integer", "minimum": 0, "description": about});
    let words = |words: &[&str]| json!({"type": "string", "enum": words});
    json!({
        "type": "object",
        "properties": {
            "action": words(&["status", "describe", "pending", "notify", "camera_snap", "camera_list", "camera_clip",
                "photos_latest", "screen_record", "location_get", "notifications_list", "notifications_action",
                "device_status", "device_info", "device_permissions", "device_health", "run", "invoke"]),
            "node": text("Id or name. Leave out when only one node can do it."),
            "title": text("notify: title."),
            "body": text("notify: text."),
            "sound": text("notify: sound name."),
            "priority": words(&["passive", "active", "timeSensitive"]),
            "delivery": words(&["system", "overlay", "auto"]),
            "facing": words(&["front", "back"]),
            "maxWidth": number("Pixels."),
            "quality": {"type": "number", "minimum": 0, "maximum": 1},
            "delayMs": number("camera_snap: wait before the picture."),
            "deviceId": text("Camera id from camera_list."),
            "durationMs": {"type": "integer", "minimum": 1, "maximum": LONGEST_MEDIA_MS},
            "includeAudio": {"type": "boolean"},
            "fps": {"type": "number", "minimum": 1, "maximum": 60},
            "screenIndex": number("Screen, from 0."),
            "maxAgeMs": number("location_get: a known place may be this old."),
            "locationTimeoutMs": number("location_get: how long to try."),
            "desiredAccuracy": words(&["coarse", "balanced", "precise"]),
            "notificationAction": words(&["open", "dismiss", "reply"]),
            "notificationKey": text("From notifications_list."),
            "notificationReplyText": text("With notificationAction reply."),
            "command": {"type": "array", "items": {"type": "string"}, "description":
                "run: program and arguments, one item each; no shell is involved."},
            "cwd": text("run: working folder."),
            "env": {"type": "array", "items": {"type": "string"}, "description": "run: NAME=value, one item each."},
            "skill": text("run: the skill the command is for. Its stored keys are in the command's environment, and \
                hidden in the output."),
            "commandTimeoutMs": number("run: how long the command may take."),
            "invokeTimeoutMs": number("How long the node may take to answer."),
            "invokeCommand": text("invoke: the node's command."),
            "invokeParamsJson": text("invoke: its parameters, a JSON object as text."),
        },
        "required": ["action"],
        "additionalProperties": false,
    })
}

impl Tool for NodesTool {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        match arguments["action"].as_str() {
            Some("status" | "describe" | "pending") => Effect::ReadOnly,
            Some(_) | None => Effect::External,
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move {
            let Some(nodes) = &context.nodes else {
                return ToolOutput::error("Only the owner's own conversations reach nodes.");
            };
            let arguments: Arguments = match serde_json::from_value(arguments) {
                Ok(arguments) => arguments,
                Err(error) => return ToolOutput::error(format!("Invalid arguments: {error}.")),
            };
            let nodes = nodes.telling(&context.updates, &context.call_id);
            match act(&nodes, &context.call_id, arguments).await {
                Ok(output) => output,
                Err(refusal) => ToolOutput::error(refusal),
            }
        })
    }
}

async fn act(nodes: &Nodes, call_id: &str, arguments: Arguments) -> Result<ToolOutput, String> {
    match arguments.action {
        Action::Status => {
            let rows = nodes.list().await?;
            Ok(answer::of("nodes", json!({"nodes": rows}), nodes).await)
        }
        Action::Describe => {
            let name = needed(arguments.node, "node")?;
            Ok(answer::of("nodes", nodes.describe(&name).await?, nodes).await)
        }
        Action::Pending => {
            let rows = nodes.pending().await?;
            Ok(answer::of(
                "nodes",
                json!({"pending": rows, "approve": "the user, under Devices"}),
                nodes,
            )
            .await)
        }
        Action::Run => {
            let ran = nodes.run(call_id, command(arguments)?).await?;
            Ok(answer::of_command(ran))
        }
        Action::Notify
        | Action::CameraSnap
        | Action::CameraList
        | Action::CameraClip
        | Action::PhotosLatest
        | Action::ScreenRecord
        | Action::LocationGet
        | Action::NotificationsList
        | Action::NotificationsAct
        | Action::DeviceStatus
        | Action::DeviceInfo
        | Action::DevicePermissions
        | Action::DeviceHealth
        | Action::Invoke => {
            let node = arguments.node.clone();
            let timeout = limited(arguments.invoke_timeout_ms, patience(&arguments));
            let (command, params) = request(arguments)?;
            let result = nodes
                .invoke(call_id, node.as_deref(), &command, params, timeout)
                .await?;
            Ok(answer::of(&format!("{command} of a node"), result, nodes).await)
        }
    }
}

/// A recording takes as long as it is.
fn patience(arguments: &Arguments) -> Duration {
    INVOKE + Duration::from_millis(arguments.duration_ms.unwrap_or(0).min(LONGEST_MEDIA_MS))
}

fn limited(asked_ms: Option<u64>, otherwise: Duration) -> Duration {
    let asked = asked_ms.filter(|asked| *asked > 0).map(Duration::from_millis);
    asked.unwrap_or(otherwise).min(LONGEST)
}

pub(super) fn needed<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("\"{name}\" is needed for this action."))
}

/// The node's command and its parameters (`gateway-protocol` §10.4).
fn request(arguments: Arguments) -> Result<(String, Value), String> {
    let (command, params) = match arguments.action {
        Action::Notify => {
            if arguments.title.is_none() && arguments.body.is_none() {
                return Err("\"title\" or \"body\" is needed for this action.".to_owned());
            }
            (
                "system.notify",
                json!({"title": arguments.title.unwrap_or_default(), "body": arguments.body.unwrap_or_default(),
                    "sound": arguments.sound, "priority": arguments.priority, "delivery": arguments.delivery}),
            )
        }
        Action::CameraSnap => (
            "camera.snap",
            json!({"facing": arguments.facing.as_deref().unwrap_or("front"), "maxWidth": arguments.max_width,
                "quality": arguments.quality, "format": "jpg", "delayMs": arguments.delay_ms,
                "deviceId": arguments.device_id}),
        ),
        Action::CameraList => ("camera.list", json!({})),
        Action::CameraClip => (
            "camera.clip",
            json!({"facing": arguments.facing.as_deref().unwrap_or("front"), "durationMs": arguments.duration_ms,
                "includeAudio": arguments.include_audio, "format": "mp4", "deviceId": arguments.device_id}),
        ),
        Action::PhotosLatest => (
            "photos.latest",
            json!({"limit": 1, "maxWidth": arguments.max_width, "quality": arguments.quality}),
        ),
        Action::ScreenRecord => (
            "screen.record",
            json!({"durationMs": arguments.duration_ms, "screenIndex": arguments.screen_index, "fps": arguments.fps,
                "format": "mp4", "includeAudio": arguments.include_audio}),
        ),
        Action::LocationGet => (
            "location.get",
            json!({"maxAgeMs": arguments.max_age_ms, "desiredAccuracy": arguments.desired_accuracy,
                "timeoutMs": arguments.location_timeout_ms}),
        ),
        Action::NotificationsList => ("notifications.list", json!({})),
        Action::NotificationsAct => (
            "notifications.actions",
            json!({"key": needed(arguments.notification_key, "notificationKey")?,
                "action": needed(arguments.notification_action, "notificationAction")?,
                "replyText": arguments.notification_reply_text}),
        ),
        Action::DeviceStatus => ("device.status", json!({})),
        Action::DeviceInfo => ("device.info", json!({})),
        Action::DevicePermissions => ("device.permissions", json!({})),
        Action::DeviceHealth => ("device.health", json!({})),
        Action::Invoke => {
            let command = needed(arguments.invoke_command, "invokeCommand")?;
            let params = match arguments.invoke_params_json.as_deref().map(str::trim) {
                None | Some("") => json!({}),
                Some(text) => serde_json::from_str::<Value>(text)
                    .ok()
                    .filter(Value::is_object)
                    .ok_or("\"invokeParamsJson\" is not the text of a JSON object.")?,
            };
            return Ok((command.trim().to_owned(), params));
        }
        Action::Status | Action::Describe | Action::Pending | Action::Run => {
            return Err("This action calls no node.".to_owned());
        }
    };
    Ok((command.to_owned(), without_nulls(params)))
}

pub(super) fn without_nulls(mut params: Value) -> Value {
    if let Some(fields) = params.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    params
}

/// Letters, digits and underscores: what a person is asked about reads as what it is.
pub(super) fn is_name(name: &str) -> bool {
    !name.starts_with(|letter: char| letter.is_ascii_digit())
        && !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn command(arguments: Arguments) -> Result<Command, String> {
    if arguments
        .command
        .first()
        .is_none_or(|program| program.trim().is_empty())
    {
        return Err("\"command\" needs a program.".to_owned());
    }
    let mut env = BTreeMap::new();
    for variable in arguments.env {
        let (name, value) = variable
            .split_once('=')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| "\"env\" takes items like NAME=value.".to_owned())?;
        env.insert(name.to_owned(), value.to_owned());
    }
    if arguments
        .cwd
        .as_deref()
        .is_some_and(|cwd| cwd.contains(char::is_control))
    {
        return Err("\"cwd\" is a path without control characters.".to_owned());
    }
    Ok(Command {
        node: arguments.node,
        line: Line::Words(arguments.command),
        cwd: arguments.cwd.filter(|cwd| !cwd.trim().is_empty()),
        env,
        skill: arguments.skill.filter(|skill| !skill.trim().is_empty()),
        timeout: limited(arguments.command_timeout_ms, COMMAND),
        waits: Waits::ToTheEnd,
        stricter: Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{context, text};
    use super::*;

    fn read(arguments: Value) -> Arguments {
        serde_json::from_value(arguments).expect("arguments")
    }

    #[tokio::test]
    async fn a_guest_reaches_no_node() {
        let (tool, context) = (NodesTool::new(), context());
        assert!(tool.spec().owner_only);
        let output = tool.call(&context, json!({"action": "status"})).await;
        assert!(output.is_error);
        assert_eq!(text(&output), "Only the owner's own conversations reach nodes.");
    }

    #[test]
    fn looking_is_safe_to_repeat_and_nothing_else_is() {
        let tool = NodesTool::new();
        let actions = tool.spec().parameters["properties"]["action"]["enum"].clone();
        for action in actions.as_array().expect("actions") {
            let looks = ["status", "describe", "pending"].contains(&action.as_str().expect("a word"));
            let expected = if looks { Effect::ReadOnly } else { Effect::External };
            assert_eq!(tool.effect(&json!({"action": action})), expected, "{action}");
            read(json!({"action": action}));
        }
        assert_eq!(tool.effect(&json!({})), Effect::External);
    }

    #[test]
    fn actions_become_the_nodes_commands() {
        for (arguments, command, params) in [
            (
                json!({"action": "notify", "title": "Tea", "priority": "active"}),
                "system.notify",
                json!({"title": "Tea", "body": "", "priority": "active"}),
            ),
            (
                json!({"action": "location_get", "maxAgeMs": 5, "locationTimeoutMs": 9}),
                "location.get",
                json!({"maxAgeMs": 5, "timeoutMs": 9}),
            ),
            (json!({"action": "camera_list"}), "camera.list", json!({})),
            (
                json!({"action": "camera_snap", "facing": "back"}),
                "camera.snap",
                json!({"facing": "back", "format": "jpg"}),
            ),
            (
                json!({"action": "invoke", "invokeCommand": "canvas.present", "invokeParamsJson": "{\"x\": 1}"}),
                "canvas.present",
                json!({"x": 1}),
            ),
        ] {
            assert_eq!(request(read(arguments)), Ok((command.to_owned(), params)));
        }
        for (arguments, what) in [
            (json!({"action": "notify"}), "title"),
            (json!({"action": "invoke"}), "invokeCommand"),
            (
                json!({"action": "invoke", "invokeCommand": "a", "invokeParamsJson": "[1]"}),
                "JSON object",
            ),
            (json!({"action": "notifications_action"}), "notificationKey"),
        ] {
            let refusal = request(read(arguments)).expect_err(what);
            assert!(refusal.contains(what), "{refusal}");
        }
    }

    #[test]
    fn a_command_line() {
        let line = command(read(
            json!({"action": "run", "command": ["ls", "-l"], "cwd": " ", "env": ["A=b=c"],
            "commandTimeoutMs": 999_999_999}),
        ))
        .expect("a command");
        assert_eq!(
            (line.line, line.cwd),
            (Line::Words(vec!["ls".to_owned(), "-l".to_owned()]), None)
        );
        assert_eq!(line.env, BTreeMap::from([("A".to_owned(), "b=c".to_owned())]));
        assert_eq!(line.timeout, LONGEST);
        for wrong in [json!([]), json!([" "])] {
            command(read(json!({"action": "run", "command": wrong}))).expect_err("no program");
        }
        command(read(json!({"action": "run", "command": ["ls"], "env": ["A"]}))).expect_err("no variable");
    }
}
