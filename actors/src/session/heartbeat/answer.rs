//! What an agent is asked that looks by itself, and what its answer means (`agent-runtime` §4.3, §18.2). Pure.

use chrono_tz::Tz;

use crate::session::reply::{self, HEARTBEAT_OK};
use crate::session::system_event;

/// What we ask.
const PROMPT: &str = "\
This is a regular look, not a message of a person. Go through HEARTBEAT.md in your workspace, if it holds anything, and \
through events above, and do what they ask for. Do not take up what was settled in earlier conversation.";

/// There was nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// The answer was the token, or hardly more.
    Token,
    /// It was empty.
    Empty,
}

impl Nothing {
    /// Also the status of the event.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Token => "ok-token",
            Self::Empty => "ok-empty",
        }
    }
}

/// Our own question, as clients show it.
pub(crate) const fn usual_prompt() -> &'static str {
    PROMPT
}

/// The whole question at `now` (epoch milliseconds).
pub(super) fn prompt(own: Option<&str>, now: i64, zone: Tz) -> String {
    let asked = own.unwrap_or(PROMPT);
    let mut text = asked.to_owned();
    if !asked.contains(HEARTBEAT_OK) {
        text.push_str(&format!(
            "\n\nIf nothing needs your owner's attention, answer {HEARTBEAT_OK} and nothing else. If something does, say \
             only that, without {HEARTBEAT_OK}."
        ));
    }
    text.push_str(&format!(
        "\nCurrent time: {} ({})",
        system_event::wall_time(now, zone),
        zone.name()
    ));
    text
}

/// What there is to say in this answer; `None` where it only shows files. Beside the token, up to `ack_max` characters
/// are not worth saying.
pub(crate) fn judge(answer: &str, ack_max: usize) -> Result<Option<String>, Nothing> {
    let (shaped, has_token) = reply::shape_heartbeat(answer);
    let said = shaped.text.filter(|text| !has_token || text.chars().count() > ack_max);
    match said {
        Some(text) => Ok(Some(text)),
        None if !shaped.media.is_empty() => Ok(None),
        None if has_token => Err(Nothing::Token),
        None => Err(Nothing::Empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_at_an_edge_makes_a_short_answer_nothing() {
        let said = |text: &str| Ok(Some(text.to_owned()));
        let long = "x".repeat(301);
        for (answer, meaning) in [
            ("HEARTBEAT_OK", Err(Nothing::Token)),
            ("  HEARTBEAT_OK!!  ", Err(Nothing::Token)),
            ("**HEARTBEAT_OK**", Err(Nothing::Token)),
            ("HEARTBEAT_OK all is well", Err(Nothing::Token)),
            ("all is well. HEARTBEAT_OK.", Err(Nothing::Token)),
            (&format!("HEARTBEAT_OK {long}"), said(&long)),
            (&format!("{long} HEARTBEAT_OK"), said(&long)),
            (&format!("HEARTBEAT_OK {}", &long[..300]), Err(Nothing::Token)),
            (
                "the word HEARTBEAT_OK in between",
                said("the word HEARTBEAT_OK in between"),
            ),
            ("HEARTBEAT_OKAY", said("HEARTBEAT_OKAY")),
            ("", Err(Nothing::Empty)),
            ("NO_REPLY", Err(Nothing::Empty)),
            ("<think>hm</think>HEARTBEAT_OK", Err(Nothing::Token)),
            ("call Eve", said("call Eve")),
            ("MEDIA:notes/plan.md", Ok(None)),
            ("HEARTBEAT_OK\nMEDIA:notes/plan.md", Ok(None)),
            ("the plan\nMEDIA:notes/plan.md", said("the plan")),
        ] {
            assert_eq!(judge(answer, 300), meaning, "{answer:?}");
        }
        assert_eq!(judge("HEARTBEAT_OK ä", 1), Err(Nothing::Token), "characters, not bytes");
        assert_eq!(judge("HEARTBEAT_OK ok", 0), said("ok"));
    }

    #[test]
    fn a_question_of_ones_own_still_says_how_to_be_silent() {
        let ours = prompt(None, 0, Tz::UTC);
        assert!(ours.starts_with(PROMPT) && ours.contains(HEARTBEAT_OK), "{ours}");
        assert!(
            ours.ends_with("\nCurrent time: 1970-01-01 00:00:00 UTC (UTC)"),
            "{ours}"
        );
        assert!(prompt(Some("look at the mail"), 0, Tz::UTC).contains("answer HEARTBEAT_OK"));
        let theirs = prompt(Some("say HEARTBEAT_OK if all is well"), 0, Tz::UTC);
        assert_eq!(theirs.matches(HEARTBEAT_OK).count(), 1, "{theirs}");
    }
}
