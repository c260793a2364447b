//! `session_status`: what time it is for the user, which model answers, and how full the session is.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{answered, reach, refused};

/// The tool.
pub(super) struct SessionStatus {
    spec: Arc<ToolSpec>,
}

impl SessionStatus {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "session_status".to_owned(),
                description: "Shows the exact current date and time in the user's time zone, the model in use, token \
                    usage, cost and queue of the current session. Use it whenever the date or time matters, or when \
                    asked about status or usage. Sets the session's model where the user asks for another one."
                    .to_owned(),
                summary: "show current time, model and usage of this session".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "sessionKey": {
                            "type": "string",
                            "description": "Leave out, or the key of the current session.",
                        },
                        "model": {
                            "type": "string", "minLength": 1, "maxLength": 200,
                            "description": "Sets the model that answers from the next turn on; default: the settings'.",
                        },
                    },
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::ReadOnly,
                owner_only: false,
                timeout: Duration::from_secs(5),
            }),
        }
    }
}

impl SessionStatus {
    async fn show(&self, context: &ToolContext, model: Option<&str>) -> Result<ToolOutput, ToolOutput> {
        let mut shown = card(context, Utc::now());
        if let Some(model) = model {
            let chosen = reach(context)?.choose_model(model).await.map_err(refused)?;
            let chosen = chosen.as_deref().unwrap_or("that of the settings");
            // Writing to a string cannot fail.
            let _ = write!(shown, "\nModel from the next turn on: {chosen}");
        }
        Ok(ToolOutput::text(shown))
    }
}

impl Tool for SessionStatus {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        if arguments.get("model").is_some() {
            Effect::Idempotent
        } else {
            Effect::ReadOnly
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move {
            let wanted = arguments.get("sessionKey").and_then(Value::as_str).map(str::trim);
            match wanted {
                None | Some("" | "current") => {}
                Some(key) if key == context.session_key.as_str() => {}
                Some(_) => return ToolOutput::error("Only the current session can be shown."),
            }
            let model = arguments.get("model").and_then(Value::as_str);
            answered(self.show(context, model).await)
        })
    }
}

fn card(context: &ToolContext, now: DateTime<Utc>) -> String {
    let status = &context.status;
    let mut card = format!("Time: {}\n", time(&context.time_zone, now));
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(card, "{name}: {value}");
    };
    line("Model", status.model.clone());
    if let Some(used) = status.context_tokens {
        line("Context", context_line(used, status.context_window));
    }
    line(
        "Tokens",
        format!(
            "{} in, {} out",
            grouped(status.input_tokens),
            grouped(status.output_tokens)
        ),
    );
    // What the owner pays and how their sessions are named is not a guest's business.
    if context.owner {
        if status.cost_usd > 0.0 {
            line("Cost", format!("${:.4}", status.cost_usd));
        }
        line("Session", status.session_key.clone());
    }
    line("Queue", format!("{}, {} waiting", status.queue_mode, status.queued));
    line("Compactions", status.compactions.to_string());
    card.truncate(card.trim_end().len());
    card
}

/// `Tuesday, 24 November 2026, 18:12:03 (Europe/Vienna, UTC+01:00)`. An unknown zone is UTC.
fn time(zone: &str, now: DateTime<Utc>) -> String {
    let (zone, name) = match zone.parse::<Tz>() {
        Ok(known) => (known, zone),
        Err(_) => (Tz::UTC, "UTC"),
    };
    let local = now.with_timezone(&zone);
    format!(
        "{} ({name}, UTC{})",
        local.format("%A, %-d %B %Y, %H:%M:%S"),
        local.format("%:z")
    )
}

fn context_line(used: u64, window: u64) -> String {
    match (used * 100).checked_div(window) {
        Some(percent) => format!("{} of {} tokens ({percent} %)", grouped(used), grouped(window)),
        None => format!("{} tokens", grouped(used)),
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{context, text};
    use super::*;

    fn at(rfc3339: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(rfc3339).unwrap().to_utc()
    }

    #[test]
    fn the_card() {
        assert_eq!(
            card(&context(), at("2026-11-24T17:12:03Z")),
            "Time: Tuesday, 24 November 2026, 18:12:03 (Europe/Vienna, UTC+01:00)\n\
             Model: anthropic/claude-test\n\
             Context: 12,345 of 200,000 tokens (6 %)\n\
             Tokens: 1,234,567 in, 890 out\n\
             Cost: $1.2345\n\
             Session: agent:main:main\n\
             Queue: collect, 2 waiting\n\
             Compactions: 1"
        );
    }

    #[test]
    fn guests_see_no_cost_and_no_key() {
        let mut guest = context();
        guest.owner = false;
        let card = card(&guest, at("2026-11-24T17:12:03Z"));
        assert!(
            !card.contains("Cost") && !card.contains("agent:main") && card.contains("Model"),
            "{card}"
        );
    }

    #[test]
    fn zones() {
        let summer = at("2026-07-01T23:30:00Z");
        assert_eq!(
            time("Europe/Vienna", summer),
            "Thursday, 2 July 2026, 01:30:00 (Europe/Vienna, UTC+02:00)"
        );
        assert_eq!(
            time("Asia/Kolkata", summer),
            "Thursday, 2 July 2026, 05:00:00 (Asia/Kolkata, UTC+05:30)"
        );
        assert_eq!(
            time("Mars/Base", summer),
            "Wednesday, 1 July 2026, 23:30:00 (UTC, UTC+00:00)"
        );
    }

    #[tokio::test]
    async fn only_the_current_session() {
        let tool = SessionStatus::new();
        for key in [
            json!({}),
            json!({"sessionKey": "current"}),
            json!({"sessionKey": "agent:main:main"}),
        ] {
            let output = tool.call(&context(), key).await;
            assert!(!output.is_error && text(&output).starts_with("Time: "));
        }
        let other = tool.call(&context(), json!({"sessionKey": "agent:main:other"})).await;
        assert!(other.is_error);
    }
}
