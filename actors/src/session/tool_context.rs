//! What a tool's call comes with: the same for a turn's calls and for a program's.

use tokio_util::sync::CancellationToken;

use super::freshness;
use super::nodes::Nodes;
use super::origin::Origin;
use super::preview::Outlet;
use super::prompt::Audience;
use super::reach::{self, Chain, Reach};
use super::skills::Shelf;
use super::turn::Authority;
use super::workspace::Workspace;
use crate::ports::channel::Destination;
use crate::ports::tool::{SessionSnapshot, ToolContext, Updates};
use crate::supervisor::directory::Directory;

/// Who calls, from where, and how that came about.
pub(crate) struct Calling<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) authority: &'a Authority,
    pub(crate) run_id: &'a str,
    /// Place of the calls in the transcript: what goes to a node is unique by it.
    pub(crate) round: i64,
    pub(crate) audience: Audience,
    /// The chat the run answers in.
    pub(crate) place: Option<Destination>,
    /// The platform's id of the message that is answered there.
    pub(crate) answering: Option<String>,
    /// The group whose rules for tools hold.
    pub(crate) group: Option<Destination>,
    pub(crate) outlet: Option<Outlet>,
    pub(crate) chain: Chain,
    /// 0: no sub-agent.
    pub(crate) depth: u32,
    /// IANA name.
    pub(crate) time_zone: &'a str,
    pub(crate) status: SessionSnapshot,
    /// Stops the calls.
    pub(crate) cancel: CancellationToken,
}

impl Calling<'_> {
    /// What the calls reach: a guest's have no nodes and skills, and files are for the owner alone.
    pub(crate) fn context(self) -> ToolContext {
        let (directory, authority) = (self.directory, self.authority);
        let (scope, agent_id) = (&authority.scope, &authority.agent_id);
        let (owner, alone) = (self.audience.speaks_with_owner(), self.audience.is_private());
        let nodes = owner.then(|| {
            let round = (self.run_id, self.round);
            let origin = Origin {
                destination: self.place.clone(),
                guest: !alone,
                chain: self.chain,
                charge: authority.charge.clone(),
                room: self.group.clone(),
                unsaid: false,
            };
            Nodes::new(directory, authority, round, self.cancel.clone(), (self.outlet, origin))
        });
        let workspace = alone.then(|| {
            let zone = freshness::zone(self.time_zone);
            Workspace::new(directory.services(), scope, agent_id, zone).charged(&authority.charge)
        });
        let reach = Reach::new(reach::Inner {
            directory: directory.clone(),
            authority: authority.clone(),
            run_id: self.run_id.to_owned(),
            owner,
            alone,
            place: self.place,
            answering: self.answering,
            group: self.group,
            chain: self.chain,
            depth: self.depth,
            beginning: tokio::sync::Mutex::default(),
            cancel: self.cancel.clone(),
        });
        ToolContext {
            reach: Some(reach),
            nodes,
            skills: owner.then(|| Shelf::new(directory, scope, agent_id)),
            workspace,
            scope: scope.clone(),
            session_key: authority.key.clone(),
            run_id: self.run_id.to_owned(),
            call_id: String::new(),
            agent_id: agent_id.clone(),
            owner,
            time_zone: self.time_zone.to_owned(),
            status: self.status,
            cancel: self.cancel,
            updates: Updates::default(),
        }
    }
}
