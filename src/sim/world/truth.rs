//! What really happened, and what must never have happened.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::event::{JobEnd, TaskEnd};
use crate::ids::{AttemptNo, ContainerId, IncarnationId, JobId, OpId};

/// The world's own book.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// What was seen that must never be.
    pub violations: Vec<String>,
    /// The operation of each runner whose outcome was not told yet.
    pub in_flight: BTreeMap<IncarnationId, OpId>,
    /// What each operation was, for the transcript.
    pub operations: BTreeMap<OpId, String>,
    /// Runners of which an operation was given up, or outlived its supervisor.
    pub limbo: BTreeSet<IncarnationId>,
    /// Containers whose first process has ended, even if a late start revived them.
    pub died: BTreeSet<ContainerId>,
    /// Which runner each attempt was given to.
    pub given: BTreeMap<(JobId, AttemptNo), IncarnationId>,
    /// Attempts that had too little GPU memory and said so.
    pub short: BTreeSet<(JobId, AttemptNo)>,
    /// How attempts ended by themselves or by an order.
    pub ends: BTreeMap<(JobId, AttemptNo), JobEnd>,
    /// What the drivers of work from outside said of it, heard or not.
    pub completed: BTreeSet<(JobId, TaskEnd)>,
}

impl Truth {
    /// Writes down what must not be.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}
