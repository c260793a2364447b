//! Which agent and session a request is for (`agent-runtime` §21.1).

use actix_web::HttpRequest;
use claw_actors::Error;
use claw_actors::config::document::UserSettings;
use claw_actors::session::key;

use super::error::V1Error;
use super::header;

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) session_key: String,
    /// Another model than the agent's own (`x-openclaw-model`).
    pub(super) model: Option<String>,
}

/// Reads model, headers and `user`. `kind` is how sessions of this API begin: `openai` or `openresponses`.
pub(super) fn of(
    request: &HttpRequest,
    settings: &UserSettings,
    kind: &str,
    model: Option<&str>,
    user: Option<&str>,
) -> Result<Target, V1Error> {
    let agent = agent(settings, model, header(request, "x-openclaw-agent-id"))?;
    let session_key = match header(request, "x-openclaw-session-key") {
        Some(named) => named_session(settings, named, &agent)?,
        None => match user.map(str::trim).filter(|user| !user.is_empty()) {
            Some(user) => key::under(&agent, &format!("{kind}-user:{}", stable(user)?)).into(),
            None => key::under(&agent, &format!("{kind}:{}", uuid::Uuid::new_v4())).into(),
        },
    };
    Ok(Target {
        session_key,
        model: header(request, "x-openclaw-model").map(str::to_owned),
    })
}

/// The agent a model's name stands for, else the header's, else the default one.
pub(super) fn agent(settings: &UserSettings, model: Option<&str>, named: Option<&str>) -> Result<String, V1Error> {
    let wanted = match model.map(str::trim).filter(|model| !model.is_empty()) {
        None => None,
        Some(model) => of_model(model).ok_or_else(|| V1Error::no_such_model(model))?,
    };
    if let Some(agent) = wanted {
        return known(settings, agent).ok_or_else(|| V1Error::no_such_model(model.unwrap_or_default()));
    }
    match named {
        None => Ok(settings.default_agent.clone()),
        Some(agent) => {
            known(settings, agent).ok_or_else(|| Error::invalid("x-openclaw-agent-id names no agent of yours").into())
        }
    }
}

/// `None`: no name of ours. `Some(None)`: the default agent.
fn of_model(model: &str) -> Option<Option<&str>> {
    if matches!(model, "openclaw" | "openclaw/default" | "openclaw:default") {
        return Some(None);
    }
    let agent = ["openclaw/", "openclaw:", "agent:"]
        .iter()
        .find_map(|prefix| model.strip_prefix(prefix))?;
    (!agent.is_empty()).then_some(Some(agent))
}

fn known(settings: &UserSettings, agent: &str) -> Option<String> {
    settings.has_agent(agent).then(|| agent.to_owned())
}

/// A session by its key, which may be short. It must be one of an agent that is there.
fn named_session(settings: &UserSettings, named: &str, agent: &str) -> Result<String, V1Error> {
    let resolved = key::resolve(named, agent)?;
    if settings.has_agent(key::agent_of(&resolved)) {
        return Ok(resolved.into());
    }
    Err(Error::invalid("x-openclaw-session-key names a session of no agent of yours").into())
}

/// `user` as a part of a key: what a key cannot hold makes place for a dash.
fn stable(user: &str) -> Result<String, V1Error> {
    if user.len() > 200 {
        return Err(V1Error::param("user", "user has at most 200 bytes"));
    }
    let fits = |letter: char| {
        if letter.is_control() || letter.is_whitespace() {
            '-'
        } else {
            letter
        }
    };
    Ok(user.to_lowercase().chars().map(fits).collect())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::*;

    fn check(headers: &[(&'static str, &'static str)], model: &str, user: Option<&str>) -> Result<String, String> {
        let settings = UserSettings::parse(&json!({"agents": {"list": [{"id": "main"}, {"id": "work"}]}}));
        let mut request = TestRequest::post();
        for header in headers {
            request = request.append_header(*header);
        }
        of(&request.to_http_request(), &settings, "openai", Some(model), user)
            .map(|target| target.session_key)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn which_session_is_meant() {
        let own = check(&[], "openclaw", None).expect("a session");
        assert!(own.starts_with("agent:main:openai:"), "{own}");
        assert_ne!(check(&[], "openclaw", None).expect("another"), own);
        for (headers, model, user, expected) in [
            (&[][..], "openclaw/work", Some("Ada L"), "agent:work:openai-user:ada-l"),
            (&[], "agent:work", Some("x"), "agent:work:openai-user:x"),
            (
                &[("x-openclaw-agent-id", "work")],
                "openclaw",
                Some("x"),
                "agent:work:openai-user:x",
            ),
            (
                &[("x-openclaw-agent-id", "work")],
                "openclaw/main",
                Some("x"),
                "agent:main:openai-user:x",
            ),
            (
                &[("x-openclaw-session-key", "tea")],
                "openclaw/work",
                Some("x"),
                "agent:work:tea",
            ),
            (
                &[("x-openclaw-session-key", "agent:work:tea")],
                "openclaw",
                None,
                "agent:work:tea",
            ),
        ] {
            assert_eq!(
                check(headers, model, user).as_deref(),
                Ok(expected),
                "{headers:?} {model}"
            );
        }
    }

    #[test]
    fn what_is_nobodys_is_refused() {
        for (headers, model) in [
            (&[][..], "gpt-4o"),
            (&[], "openclaw/"),
            (&[], "openclaw/nobody"),
            (&[("x-openclaw-agent-id", "nobody")], "openclaw"),
            (&[("x-openclaw-session-key", "agent:nobody:main")], "openclaw"),
            (&[("x-openclaw-session-key", "a b")], "openclaw"),
        ] {
            assert!(check(headers, model, None).is_err(), "{headers:?} {model}");
        }
    }
}
