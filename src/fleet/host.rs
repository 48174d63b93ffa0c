//! What the host has, as plain data; gathering it is `inventory`'s work.

use serde::{Deserialize, Serialize};

use crate::ids::GpuUuid;
use crate::units::{Bytes, GpuMib};

/// The host's resources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Logical CPUs.
    pub cpus: u32,
    /// Memory in all.
    pub memory: Bytes,
    /// GPUs in the order of their index.
    pub gpus: Vec<GpuFacts>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// The index that the driver gives.
    pub index: u32,
    /// The identity that stays.
    pub uuid: GpuUuid,
    /// The product name.
    pub name: String,
    /// Memory in all.
    pub memory: GpuMib,
}
