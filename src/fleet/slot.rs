//! A slot: a place in the fleet with a stable id, name and history, filled by one runner at a time.

use serde::{Deserialize, Serialize};

use super::event::Cordon;
use crate::ids::{GpuUuid, IncarnationId, PoolName, ProfileName, SlotId};

/// One place in the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its number for ever.
    pub id: SlotId,
    /// Its name for people and forges.
    pub name: String,
    /// Its pool.
    pub pool: PoolName,
    /// Its profile.
    pub profile: ProfileName,
    /// The card leased to it.
    pub gpu: Option<GpuLease>,
    /// Whether it stays.
    pub fate: Fate,
    /// Whether it takes new jobs.
    pub cordon: Cordon,
    /// The runner that fills it.
    pub runner: Option<IncarnationId>,
    /// Jobs that came to an end here.
    pub tasks_completed: u64,
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
