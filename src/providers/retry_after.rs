//! How long a provider asks us to wait, in the forms providers use.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

/// Nobody means more than a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What the headers say: `retry-after-ms`, or `retry-after` in seconds or as a date.
pub(super) fn from_headers(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|value| value.parse::<f64>().ok());
    if let Some(wait) = milliseconds.and_then(|value| seconds(value / 1_000.0)) {
        return Some(wait);
    }
    let value = text("retry-after")?;
    if let Ok(number) = value.parse::<f64>() {
        return seconds(number);
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    let wait = date.with_timezone(&Utc) - now;
    Some(wait.to_std().unwrap_or(Duration::ZERO).min(LONGEST))
}

/// What the message says: `try again in 1m2.5s`, `… in 20 seconds`, `… in 350ms`.
pub(super) fn from_message(message: &str) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    let phrase = ["try again in ", "retry in ", "retry after "]
        .iter()
        .find_map(|phrase| lower.find(phrase).map(|at| at + phrase.len()))?;
    let mut rest = lower[phrase..].trim_start();
    let mut total = None;
    loop {
        let digits = rest
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .unwrap_or(rest.len());
        let Ok(number) = rest[..digits].trim_end_matches('.').parse::<f64>() else {
            return total;
        };
        rest = rest[digits..].trim_start();
        let word = rest
            .find(|char: char| !char.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let scale = match &rest[..word] {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3_600.0,
            "d" | "day" | "days" => 86_400.0,
            _ => return total,
        };
        let piece = seconds(number * scale)?;
        total = Some((total.unwrap_or_default() + piece).min(LONGEST));
        rest = rest[word..].trim_start();
    }
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok().map(|wait| wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let now = DateTime::parse_from_rfc2822("Tue, 24 Nov 2026 16:00:00 GMT")
            .unwrap()
            .to_utc();
        for (name, value, expected) in [
            ("retry-after", "20", Some(20_000)),
            ("retry-after", "0.5", Some(500)),
            ("retry-after-ms", "350", Some(350)),
            ("retry-after", "Tue, 24 Nov 2026 16:01:30 GMT", Some(90_000)),
            ("retry-after", "Tue, 24 Nov 2026 15:00:00 GMT", Some(0)),
            ("retry-after", "999999999", Some(86_400_000)),
            ("retry-after", "-3", None),
            ("retry-after", "soon", None),
            ("retry-after", "inf", None),
            ("x-other", "3", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(
                from_headers(&headers, now),
                expected.map(Duration::from_millis),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn messages() {
        for (message, expected) in [
            ("Rate limit reached. Please try again in 20s.", Some(20_000)),
            ("Please try again in 1m2.5s. Visit …", Some(62_500)),
            ("Please retry in 350ms", Some(350)),
            ("Try again in 3 minutes", Some(180_000)),
            ("try again in a while", None),
            ("no hint", None),
        ] {
            assert_eq!(from_message(message), expected.map(Duration::from_millis), "{message}");
        }
    }
}
