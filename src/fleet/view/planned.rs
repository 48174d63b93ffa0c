//! What a spec would change, as `plan` shows it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::gpu::GpuFacts;
use crate::ids::{GpuUuid, PoolName, ProfileName, SlotId};
use crate::units::GpuMib;

/// What `plan` and `up` would do to one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedChange {
    /// The slot.
    pub id: SlotId,
    /// Its name.
    pub name: String,
    /// The pool.
    pub pool: PoolName,
    /// The profile.
    pub profile: ProfileName,
    /// What would happen.
    pub change: Change,
    /// Why.
    pub reason: String,
}

/// What would happen to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It would be made.
    Create,
    /// Its container would be replaced.
    Recreate,
    /// It would be removed.
    Remove,
    /// Nothing.
    Keep,
}

/// The answer to `plan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanView {
    /// Every slot, kept ones too.
    pub changes: Vec<PlannedChange>,
    /// Every card with what would be leased of it; none where `up` would refuse the spec.
    #[serde(default)]
    pub cards: Vec<PlannedCard>,
    /// Why `up` would refuse the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What the operator should know (overcommitted CPUs …).
    pub warnings: Vec<String>,
}

/// What would be leased of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedCard {
    /// The index that the driver gives.
    pub index: u32,
    /// The identity that stays.
    pub uuid: GpuUuid,
    /// Memory in all.
    pub memory: GpuMib,
    /// Memory leased.
    pub leased: GpuMib,
    /// Leases by profile.
    pub runners: BTreeMap<ProfileName, u32>,
}

impl PlannedCard {
    /// A card without a lease.
    #[must_use]
    pub fn empty(card: &GpuFacts) -> Self {
        let GpuFacts { index, memory, .. } = *card;
        Self { index, uuid: card.uuid.clone(), memory, leased: GpuMib(0), runners: BTreeMap::new() }
    }
}
