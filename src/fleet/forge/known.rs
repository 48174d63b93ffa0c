//! What is known of forges and of listeners that is not worth recording: it is told again.

use std::collections::BTreeMap;

use super::decision::ForgeOp;
use super::fact::{ForgeContact, ForgeRunnerFact, ListenerStage, ListenerStatus};
use super::jobs::Jobs;
use crate::ids::{FleetId, IncarnationId, OpId, ScopeUrl};
use crate::units::Time;

/// All of it.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Forges {
    /// Which fleet this is; nothing is registered before that is told.
    pub fleet: Option<FleetId>,
    pub scopes: BTreeMap<ScopeUrl, Scope>,
    pub listeners: BTreeMap<IncarnationId, Listener>,
    /// Operations whose outcome is not known yet.
    pub ops: BTreeMap<OpId, ForgeOp>,
    /// What is done about leftovers.
    pub chores: BTreeMap<IncarnationId, Chore>,
    /// When the fleet was last told to go down in this supervisor's life.
    pub down_since: Time,
    /// A fleet that goes down has told what it leaves behind.
    pub is_rest_told: bool,
}

impl Forges {
    /// What is known of a runner's listener.
    pub fn listener(&mut self, id: IncarnationId) -> &mut Listener {
        self.listeners.entry(id).or_default()
    }

    /// Whether a scope can be spoken to.
    pub fn is_good(&self, scope: &ScopeUrl) -> bool {
        self.scopes.get(scope).is_some_and(Scope::is_good)
    }

    /// Since when it is as it is with a scope.
    pub fn contact_since(&self, scope: &ScopeUrl) -> Time {
        self.scopes.get(scope).map_or(Time(0), |known| known.since)
    }
}

/// One scope.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Scope {
    pub contact: Option<ForgeContact>,
    /// Since when it is so.
    pub since: Time,
    /// Its runners, by name, as they were listed last.
    pub runners: BTreeMap<String, ForgeRunnerFact>,
    /// When that list was begun.
    pub runners_begun: Option<Time>,
    pub jobs: Jobs,
    pub newest: Option<String>,
    /// Entries of this fleet that no record knows: the list that showed each first.
    pub strangers: BTreeMap<String, Time>,
    /// When a look was asked for last.
    pub looked: Time,
}

impl Scope {
    /// Whether it can be spoken to.
    pub fn is_good(&self) -> bool {
        self.contact == Some(ForgeContact::Good)
    }
}

/// What is known of a runner's listener, and what was asked of it.
#[derive(Debug, Clone, Default)]
pub(in crate::fleet) struct Listener {
    /// Its agent's last word.
    pub status: Option<ListenerStatus>,
    /// When it was first ordered to listen.
    pub ordered: Option<Time>,
    /// When that was told last: an order is lost with its session.
    pub told: Option<Time>,
    /// When its listener was asked to end, and when that was told last.
    pub stopping: Option<(Time, Time)>,
    /// It was registered in this supervisor's life: what it registers with is at hand.
    pub is_granted: bool,
    /// Not registered or asked to leave again before this.
    pub retry_at: Time,
    /// Tries that failed in a row.
    pub tries: u32,
    /// Why the last try failed, or what it waits for.
    pub why: Option<String>,
    /// It leaves, and nothing was asked of its forge or its agent yet.
    pub is_fresh: bool,
    /// When it was removed from the list.
    pub removed: Option<Time>,
    /// When its forge refused to let it go, because it has a job.
    pub refused: Option<Time>,
    pub seen: Seen,
}

impl Listener {
    /// Where it stands.
    pub fn stage(&self) -> Option<&ListenerStage> {
        self.status.as_ref().map(|status| &status.stage)
    }

    /// Whether its agent says that it waits for a job.
    pub fn is_listening(&self) -> bool {
        matches!(self.stage(), Some(ListenerStage::Listening))
    }

    /// Whether its agent says that it has a job and is at it.
    pub fn is_working(&self) -> bool {
        matches!(self.stage(), Some(ListenerStage::Working(_))) && self.stuck().is_none()
    }

    /// Alive and without progress; how.
    pub fn stuck(&self) -> Option<&str> {
        self.status.as_ref()?.stuck.as_deref()
    }
}

/// What the lists said of a runner.
#[derive(Debug, Clone, Default)]
pub(in crate::fleet) struct Seen {
    /// What the last list that has it said.
    pub fact: Option<ForgeRunnerFact>,
    /// Lists in a row that do not have it, and when the first was begun.
    pub missing: Option<(u32, Time)>,
    /// Lists in a row that say that it is offline, and when the first was begun.
    pub offline: Option<(u32, Time)>,
}

/// What is done about a leftover.
#[derive(Debug, Clone, Default)]
pub(in crate::fleet) struct Chore {
    /// Not again before this.
    pub retry_at: Time,
    /// Tries that failed in a row.
    pub tries: u32,
    /// Why it is still there.
    pub why: Option<String>,
}
