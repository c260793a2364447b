//! `sessions.usage.timeseries` and `sessions.usage.logs`: one session's use over time, and what was said meanwhile.

use serde::Deserialize;
use serde_json::{Value, json};

use super::display;
use crate::conversation::history::MAX_MESSAGES;
use crate::gateway::methods::{filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::session::usage::{self, Point};

/// Points of a series, as the original: more runs are summed to fewer points.
const MOST_POINTS: usize = 200;
/// Lines of `sessions.usage.logs` without `limit`, and characters of one.
const LINES: u64 = 200;
const LONGEST: usize = 2_000;

#[derive(Deserialize)]
pub(super) struct SeriesParams {
    key: String,
}

/// Each point is a run, or some that followed each other, at the time the last of them ended.
pub(super) async fn timeseries(call: Call, params: SeriesParams) -> Result<Value, WireError> {
    filled("sessions.usage.timeseries", "key", &params.key)?;
    let key = session_key(&call, &params.key).await?;
    let services = &call.state.services;
    let Some(row) = services.conversation.session(call.scope(), &key).await? else {
        return Err(WireError::invalid(format!(
            "No transcript found for session: {}",
            params.key
        )));
    };
    let points = usage::points(services, call.scope(), &key, &row.session_id).await?;
    let (mut tokens, mut cost) = (0, 0.0);
    let points: Vec<Value> = merged(points, MOST_POINTS)
        .iter()
        .map(|point| {
            let total = point.input + point.output + point.cache_read + point.cache_write;
            tokens += total;
            cost += point.cost;
            json!({
                "timestamp": point.at, "input": point.input, "output": point.output, "cacheRead": point.cache_read,
                "cacheWrite": point.cache_write, "totalTokens": total, "cost": point.cost,
                "cumulativeTokens": tokens, "cumulativeCost": cost,
            })
        })
        .collect();
    Ok(json!({"sessionId": row.session_id, "points": points}))
}

/// At most `most` points: neighbours are summed.
fn merged(points: Vec<Point>, most: usize) -> Vec<Point> {
    let each = points.len().div_ceil(most).max(1);
    let sum = |some: &[Point]| {
        some.iter().copied().reduce(|sum, next| Point {
            at: next.at,
            input: sum.input + next.input,
            output: sum.output + next.output,
            cache_read: sum.cache_read + next.cache_read,
            cache_write: sum.cache_write + next.cache_write,
            cost: sum.cost + next.cost,
        })
    };
    points.chunks(each).filter_map(sum).collect()
}

#[derive(Deserialize)]
pub(super) struct LogsParams {
    key: String,
    limit: Option<u64>,
}

/// The newest messages as lines, oldest first.
pub(super) async fn logs(call: Call, params: LogsParams) -> Result<Value, WireError> {
    filled("sessions.usage.logs", "key", &params.key)?;
    let key = session_key(&call, &params.key).await?;
    let limit = params.limit.unwrap_or(LINES).clamp(1, MAX_MESSAGES);
    let page = call
        .state
        .services
        .conversation
        .history(call.scope(), &key, limit)
        .await?;
    let logs: Vec<Value> = page.messages.iter().filter_map(line).collect();
    Ok(json!({"logs": logs}))
}

fn line(message: &Value) -> Option<Value> {
    let role = message["role"].as_str()?;
    let content = display::one_line(message, LONGEST).or_else(|| tools(message))?;
    let mut line = json!({"timestamp": message["timestamp"], "role": role, "content": content});
    if let Some(usage) = message.get("usage").filter(|_| role == "assistant") {
        line["tokens"] = usage["totalTokens"].clone();
        line["cost"] = usage["cost"]["total"].clone();
    }
    Some(crate::config::devices::without_nulls(line))
}

/// The tools that a message without words calls.
fn tools(message: &Value) -> Option<String> {
    let parts = message["content"].as_array()?;
    let calls = parts.iter().filter(|part| part["type"] == "toolCall");
    let names: Vec<String> = calls
        .filter_map(|part| Some(format!("[Tool: {}]", part["name"].as_str()?)))
        .collect();
    (!names.is_empty()).then(|| names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_is_summed_to_a_short_one() {
        let one = |at| Point {
            at,
            input: 1,
            output: 2,
            cache_read: 3,
            cache_write: 4,
            cost: 0.5,
        };
        assert!(merged(Vec::new(), 3).is_empty());
        assert_eq!(merged(vec![one(1), one(2)], 3), [one(1), one(2)]);
        let short = merged((1..=7).map(one).collect(), 3);
        let seen: Vec<(i64, i64)> = short.iter().map(|point| (point.at, point.input)).collect();
        assert_eq!(seen, [(3, 3), (6, 3), (7, 1)]);
    }
}
