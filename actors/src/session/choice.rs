//! Choosing the model of a session: by `/model`, `/new` or `sessions.patch`.

use claw_entities::Scope;
use serde_json::{Map, Value, json};

use crate::config::ConfigService;
use crate::config::providers::{DEMO_MODEL, DEMO_PROVIDER, profile_id};
use crate::error::{Error, Result};

/// A model that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// `provider/model`.
    pub name: String,
    /// The key that was named with it (`provider/model@key`).
    pub profile: Option<String>,
}

/// The model of this name; `None` when there is no such one.
///
/// # Errors
/// `Invalid` or `NotFound` with the reason, where the settings do not allow it.
pub(crate) async fn find(config: &ConfigService, scope: &Scope, agent: &str, wanted: &str) -> Result<Option<Chosen>> {
    let chain = config.model_chain(scope, agent, Some(wanted)).await?;
    let Some(model) = chain.first() else { return Ok(None) };
    let name = model.reference();
    // Without any provider everything resolves to the built-in one.
    if model.provider == DEMO_PROVIDER && wanted != name && wanted != DEMO_MODEL {
        return Ok(None);
    }
    let profile = match (&model.locked, model.keys.as_slice()) {
        (true, [key]) => Some(profile_id(&model.provider, key)),
        _ => None,
    };
    Ok(Some(Chosen { name, profile }))
}

/// As [`find`], and a name that may not be used is none.
pub(crate) async fn lenient(
    config: &ConfigService,
    scope: &Scope,
    agent: &str,
    wanted: &str,
) -> Result<Option<Chosen>> {
    match find(config, scope, agent, wanted).await {
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_) | Error::Busy { .. })) => Err(error),
        Err(_) => Ok(None),
        found => found,
    }
}

/// What the session stores of a choice; `None` goes back to the settings.
pub(crate) fn fields(chosen: Option<&Chosen>) -> Map<String, Value> {
    let profile = chosen.and_then(|chosen| chosen.profile.as_deref());
    Map::from_iter([
        (
            "modelOverride".to_owned(),
            json!(chosen.map(|chosen| chosen.name.as_str())),
        ),
        ("authProfileOverrideSource".to_owned(), json!(profile.map(|_| "user"))),
        ("authProfileOverride".to_owned(), json!(profile)),
        ("authProfileOverrideCompactionCount".to_owned(), Value::Null),
    ])
}
