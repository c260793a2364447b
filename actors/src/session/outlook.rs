//! What a run of the session would be sent now, without one.

use std::sync::Arc;

use super::assembly::{Assembly, Place};
use super::item::Item;
use super::run;
use super::skills::{self, Offered};
use super::tool_policy::Caller;
use super::toolbox::Toolbox;
use super::turn::Authority;
use crate::config::document::UserSettings;
use crate::config::providers::ResolvedModel;
use crate::conversation::transcript::SessionHead;
use crate::error::Result;
use crate::ports::message::Message;
use crate::ports::tool::ToolSpec;
use crate::supervisor::directory::Directory;

pub(super) struct Outlook {
    pub(super) settings: Arc<UserSettings>,
    /// `None` before the first turn.
    pub(super) head: Option<SessionHead>,
    pub(super) model: ResolvedModel,
    pub(super) specs: Vec<Arc<ToolSpec>>,
    pub(super) skills: Vec<Offered>,
    pub(super) base: Assembly,
    pub(super) messages: Arc<Vec<Arc<Message>>>,
    /// Nothing was left out of the messages for its size.
    pub(super) complete: bool,
}

impl Outlook {
    /// For a message of this kind.
    pub(super) async fn of(directory: &Directory, authority: &Authority, item: &Item) -> Result<Self> {
        let services = directory.services();
        let scope = &authority.scope;
        let settings = services.config.settings(scope).await?;
        let head = services.conversation.head(scope, &authority.key).await?;
        let wanted = head.as_ref().and_then(run::override_of);
        let model = services
            .config
            .resolve_model(scope, &authority.agent_id, wanted)
            .await?;
        let caller = Caller::of(authority, head.as_ref(), &settings, &model, item.audience()).within([item]);
        let toolbox = Toolbox::new(services, scope, caller).with_servers(&settings).await;
        let specs = toolbox.specs(&settings);
        let place = Place {
            scope,
            key: &authority.key,
            agent_id: &authority.agent_id,
            last: item,
        };
        let skills = skills::offered(directory, place, &settings).await?;
        let base = Assembly::new(services, place, &settings, &model, (&specs, toolbox.away()), &skills).await?;
        let (messages, complete) = match &head {
            Some(head) => {
                let sent = base.messages(services, head, &model).await?;
                (sent.messages, sent.complete)
            }
            None => (Arc::default(), true),
        };
        Ok(Self {
            settings,
            head,
            model,
            specs,
            skills,
            base,
            messages,
            complete,
        })
    }
}
