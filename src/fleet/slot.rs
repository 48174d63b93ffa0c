//! A slot: a place in the fleet with a stable id, name and history, filled by one runner at a time.

use serde::{Deserialize, Serialize};

use super::downgrade::Downgrade;
use super::event::Cordon;
use super::runner::Cause;
use crate::ids::{GpuUuid, IncarnationId, JobId, PoolName, ProfileName, SlotId};
use crate::units::Time;

/// One place in the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its number for ever.
    pub id: SlotId,
    /// Its name for people and forges.
    pub name: String,
    /// Its pool.
    pub pool: PoolName,
    /// Its own profile.
    pub profile: ProfileName,
    /// The lighter profile that it has for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downgrade: Option<Downgrade>,
    /// The card leased to it.
    pub gpu: Option<GpuLease>,
    /// Whether it stays.
    pub fate: Fate,
    /// Whether it takes new jobs.
    pub cordon: Cordon,
    /// The runner that fills it.
    pub runner: Option<IncarnationId>,
    /// Since when: a spare was ready long before it came here.
    #[serde(default)]
    pub filled: Time,
    /// Jobs that came to an end here.
    pub tasks_completed: u64,
    /// The last runner that failed here, for as long as the slot lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
}

impl Slot {
    /// The profile that runners made for it get.
    #[must_use]
    pub fn profile_now(&self) -> &ProfileName {
        self.downgrade.as_ref().map_or(&self.profile, |downgrade| &downgrade.to)
    }
}

/// A runner that failed, and what that means for the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why it went.
    pub cause: Cause,
    /// When.
    pub at: Time,
    /// Which runner.
    pub incarnation: IncarnationId,
    /// The job that it had.
    pub job: Option<JobId>,
    /// Failures here without a finished job in between; 0 once they are forgiven.
    pub in_a_row: u32,
    /// No new runner is made here before this.
    pub next_try: Time,
}

/// Whether a slot stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The spec wants it.
    Stay,
    /// It goes as soon as its job is over.
    Leave,
}

/// GPU memory held by a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuLease {
    /// The driver's index, for people.
    pub index: u32,
    /// The card.
    pub uuid: GpuUuid,
}
