//! The benchmark as JSON: every term, for the machine as it is and for the machine when empty.

use serde::Serialize;

use super::machine::{Basis, Card, Machine};
use super::optimal::Optimal;
use super::report::title;
use super::terms::Terms;
use crate::fleet::gpu::GpuVendor;
use crate::ids::{GpuUuid, ProfileName};
use crate::spec::{GpuSharing, Profile, Spec};
use crate::units::{Bytes, GpuMib, MilliCpu};

/// The whole benchmark. Memory is in bytes, GPU memory in MiB, CPUs are whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Benchmark {
    /// What the machine has.
    pub system: System,
    /// Each profile that was asked for.
    pub profiles: Vec<Capacity>,
    /// The best fleet of the machine when empty; none where one profile was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimal: Option<Optimal>,
    /// What people should know of these numbers.
    pub notes: Vec<String>,
}

/// What the machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct System {
    /// Logical CPUs.
    pub cpus: u32,
    /// Memory in all, in bytes.
    pub memory: Bytes,
    /// Memory that is free, in bytes.
    pub memory_free: Bytes,
    /// Cards by index.
    pub gpus: Vec<Gpu>,
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// The index that the driver gives.
    pub index: u32,
    /// The identity that stays.
    pub uuid: GpuUuid,
    /// The product name.
    pub name: String,
    /// Whose it is.
    pub vendor: GpuVendor,
    /// Memory in all.
    pub memory: GpuMib,
    /// What the driver keeps of it.
    pub reserved: GpuMib,
    /// What is left; all where its use is not known.
    pub free: GpuMib,
    /// Percent of the time in which anything ran on it.
    pub busy_percent: Option<u8>,
    /// Why no runner gets it.
    pub out: Option<String>,
}

/// How many runners of a profile the machine takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// The profile.
    pub profile: ProfileName,
    /// Its name in the report.
    pub title: String,
    /// With what is in use.
    pub now: Terms,
    /// When nothing runs.
    pub empty: Terms,
    /// What the terms are divided by.
    pub basis: Divisors,
}

/// What the terms are divided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Divisors {
    /// Memory on one card.
    pub gpu_mib: Option<GpuMib>,
    /// The most of the profile for each card of the machine.
    pub gpu_per_card: Option<u32>,
    /// Whether the runner is alone on its card.
    pub gpu_exclusive: bool,
    /// CPU limit in thousandths.
    pub cpu_milli: MilliCpu,
    /// Memory limit in bytes.
    pub memory: Bytes,
}

impl Benchmark {
    /// The benchmark of some profiles of a spec.
    #[must_use]
    pub fn new(
        machine: &Machine,
        spec: &Spec,
        profiles: &[(&ProfileName, &Profile)],
        optimal: Option<Optimal>,
    ) -> Self {
        let capacity = |(name, profile): &(&ProfileName, &Profile)| {
            let terms = |basis| Terms::new(machine, profile, spec.limits.scale_max, basis);
            Capacity {
                profile: (*name).clone(),
                title: title(name),
                now: terms(Basis::Now),
                empty: terms(Basis::Empty),
                basis: divisors(profile),
            }
        };
        Self {
            system: System {
                cpus: machine.cpus,
                memory: machine.memory,
                memory_free: machine.memory_free,
                gpus: machine.cards.iter().map(gpu).collect(),
            },
            profiles: profiles.iter().map(capacity).collect(),
            optimal,
            notes: machine.notes(),
        }
    }
}

fn divisors(profile: &Profile) -> Divisors {
    let sharing = profile.gpu.map(|gpu| gpu.sharing);
    Divisors {
        gpu_mib: profile.gpu.map(|gpu| gpu.memory),
        gpu_per_card: match sharing {
            Some(GpuSharing::AtMost(most)) => Some(most),
            Some(GpuSharing::Shared | GpuSharing::Exclusive) | None => None,
        },
        gpu_exclusive: sharing == Some(GpuSharing::Exclusive),
        cpu_milli: profile.cpus,
        memory: profile.memory,
    }
}

fn gpu(card: &Card) -> Gpu {
    let facts = &card.reading.card;
    Gpu {
        index: facts.index,
        uuid: facts.uuid.clone(),
        name: facts.name.clone(),
        vendor: facts.vendor,
        memory: facts.memory,
        reserved: facts.reserved,
        free: card.free(),
        busy_percent: card.reading.busy_percent,
        out: card.out.clone(),
    }
}
