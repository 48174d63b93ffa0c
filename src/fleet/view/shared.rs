//! What runners and jobs share: the host, the lanes, and the job that waits longest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, LaneName, PoolName};
use crate::units::{Bytes, MilliCpu, Time};

/// The host, and what of it the runners may use by their limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostView {
    /// Logical CPUs; 0 while they are not known.
    pub cpus: u32,
    /// Memory in all.
    pub memory: Bytes,
    /// CPU limits of all runners and spares together. More than there is, is normal.
    pub cpus_promised: MilliCpu,
    /// Their memory limits together.
    pub memory_promised: Bytes,
}

/// A lane, and the jobs in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneView {
    /// Its name.
    pub name: LaneName,
    /// The pools that its jobs may use.
    pub pools: Vec<PoolName>,
    /// Added to the priority of its jobs.
    pub priority: i32,
    /// The most of its jobs that may run at a time, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Its jobs that wait.
    pub queued: u32,
    /// Its jobs that a runner has.
    pub running: u32,
}

/// The job that waits longest. Nothing of what it runs is in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OldestView {
    /// Which.
    pub id: JobId,
    /// Since when.
    pub queued_at: Time,
    /// Why.
    pub reason: Option<String>,
}
