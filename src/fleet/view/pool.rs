//! Pools, and why they have the sizes that they have.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::pause::Pause;
use crate::ids::{PoolName, ProfileName};
use crate::units::Time;

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Its profile.
    pub profile: ProfileName,
    /// Slots wanted.
    pub desired: u32,
    /// The fewest slots by the file.
    pub min: u32,
    /// The most slots by the file.
    pub max: u32,
    /// Why it has the size that it has.
    pub why: SizeReason,
    /// That nothing begins there, if an operator said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Jobs that wait for it, if it follows its queue.
    pub waiting: u32,
    /// Slots idle.
    pub idle: u32,
    /// Slots with a job.
    pub running: u32,
    /// Slots in trouble.
    pub error: u32,
    /// Ready containers beside the slots.
    pub spares: u32,
    /// Whether `scale` set the number.
    pub scaled: bool,
}

/// Why a pool has the size that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SizeReason {
    /// The file gives a number.
    File,
    /// `scale` set it.
    Set {
        /// Until when; without it, until the next `up`.
        until: Option<Time>,
    },
    /// Nothing asks for more than the fewest.
    Least,
    /// It keeps runners warm beside the busy ones.
    Warm,
    /// Jobs wait, and it grows until few enough do.
    Queue {
        /// How many.
        waiting: u32,
    },
    /// Jobs wait, and it has all that it may have.
    Most {
        /// How many.
        waiting: u32,
    },
    /// It should grow and cannot.
    Held {
        /// The jobs that wait.
        waiting: u32,
        /// What stands in the way.
        why: String,
    },
    /// It is paused, and neither grows nor shrinks.
    Paused,
    /// It had more to do; runners go when they were idle for long enough.
    Idle {
        /// How long.
        after: Duration,
    },
}
