//! Where the end of something is answered that goes on behind the turn that began it, and with whose rights.

use serde::{Deserialize, Serialize};

use super::budget::Charge;
use super::intake::Relayed;
use super::reach::Chain;
use crate::ports::channel::Destination;

/// As its row keeps it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Origin {
    /// The chat; `None`: the answer stays in the session.
    pub(crate) destination: Option<Destination>,
    /// Others read along there: a guest's rights.
    pub(crate) guest: bool,
    pub(crate) chain: Chain,
    pub(crate) charge: Charge,
    /// The group it came out of.
    pub(crate) room: Option<Destination>,
    /// What the turn itself said is not told there: a job whose sub-agents go on announces only their result.
    pub(crate) unsaid: bool,
}

impl Origin {
    /// What the message brings that tells the end; `shown` is what people see of it.
    pub(crate) fn relayed(self, shown: String) -> Relayed {
        Relayed {
            shown,
            destination: self.destination,
            guest: self.guest,
            chain: self.chain,
            room: self.room,
        }
    }
}
