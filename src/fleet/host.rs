//! What the host has, as plain data; gathering it is `inventory`'s work.

use serde::{Deserialize, Serialize};

use super::gpu::GpuFacts;
use crate::units::Bytes;

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
