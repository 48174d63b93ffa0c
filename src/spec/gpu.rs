//! What profiles hold of cards, and how cards are asked for, watched and given up.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::builtin;
use crate::ids::GpuUuid;
use crate::units::GpuMib;

/// GPU memory that a profile leases, on one card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuDemand {
    /// Memory reserved on the card.
    pub memory: GpuMib,
    /// Whether the runner is alone on its card.
    pub sharing: GpuSharing,
}

/// How a runner shares its card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuSharing {
    /// Alone on the card (`gpu_max`).
    Exclusive,
    /// Beside others, at most this many of the profile for each card of the host (`gpu_light`: 5).
    AtMost(u32),
    /// Beside others, as many as the memory allows.
    Shared,
}

/// How cards are asked for, watched and given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuPolicy {
    /// How the engine is asked for a card.
    pub request: GpuRequestKind,
    /// How long a slot that ran out of GPU memory has the next lighter profile; never if none.
    pub downgrade_for: Option<Duration>,
    /// Words in a job's output that mean "out of GPU memory", beside those that are built in.
    pub oom_patterns: Vec<String>,
    /// What the Xids of NVIDIA's driver mean, where it differs from what is built in.
    pub xids: XidClasses,
    /// Memory of cards whose driver does not tell it, by UUID.
    pub memory: BTreeMap<GpuUuid, GpuMib>,
}

impl Default for GpuPolicy {
    fn default() -> Self {
        builtin::gpu_policy()
    }
}

/// How the engine is asked for a card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuRequestKind {
    /// By its CDI name where the engine lists the UUID, else through the `nvidia` driver.
    #[default]
    Auto,
    /// Through the engine's `nvidia` driver.
    Nvidia,
    /// By its CDI name.
    Cdi,
}

/// What happens to a runner that takes more GPU memory than it leased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuWatchdog {
    /// Nothing.
    Off,
    /// It is told in the record and shown.
    #[default]
    Warn,
    /// Its job is ended when another lease on the card is short for it.
    Kill,
}

/// Xids by what they mean for a card. What is in no list has the built-in meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct XidClasses {
    /// The job's own fault.
    pub application: Vec<u32>,
    /// No new lease; what runs may end.
    pub degraded: Vec<u32>,
    /// The card is lost, and so is what runs on it.
    pub fatal: Vec<u32>,
}
