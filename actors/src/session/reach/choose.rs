//! The model of the caller's own session, as an agent chooses it.

use super::{Reach, Refusal, away};
use crate::session::choice;
use crate::session::edit::{self, Patch};

impl Reach {
    /// From the next turn on this model answers in the session, by the rules of `/model`; `default` goes back to the
    /// settings. Gives its name, or nothing for the settings' own.
    pub async fn choose_model(&self, wanted: &str) -> Result<Option<String>, Refusal> {
        let run = &self.0;
        if !run.owner {
            return Err("Only the owner may choose the model.".to_owned());
        }
        let (scope, wanted) = (&run.authority.scope, wanted.trim());
        let chosen = if wanted.eq_ignore_ascii_case("default") {
            None
        } else {
            let config = &run.directory.services().config;
            let found = choice::find(config, scope, &run.authority.agent_id, wanted)
                .await
                .map_err(away)?;
            let missing = || format!("There is no model {wanted}. The user sees those there are with /models.");
            Some(found.ok_or_else(missing)?)
        };
        let patch = Patch {
            fields: choice::fields(chosen.as_ref()),
            ..Patch::default()
        };
        edit::patch(&run.directory, scope, &run.authority.key, patch)
            .await
            .map_err(away)?;
        Ok(chosen.map(|chosen| chosen.name))
    }
}
