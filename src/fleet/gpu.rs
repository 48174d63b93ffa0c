//! GPUs as plain data: what a card is, what was read of it at one moment, what its driver reports.
//!
//! Gathering it is `inventory`'s work. A value that could not be read is `None`, never 0: zero used
//! memory would read as "free".

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ContainerId, GpuUuid};
use crate::units::{GpuMib, Time};

/// What a card is: all of it that stays while the driver runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuFacts {
    /// The index that the driver gives. For people: it may change with each boot.
    pub index: u32,
    /// The identity that stays: `GPU-…`, `MIG-…`, `AMD-…` or `PCI-…`.
    pub uuid: GpuUuid,
    /// The product name.
    pub name: String,
    /// Memory in all, as the card reports it.
    pub memory: GpuMib,
    /// What the driver keeps of it for itself.
    #[serde(default)]
    pub reserved: GpuMib,
    /// Whose it is.
    #[serde(default)]
    pub vendor: GpuVendor,
    /// The card that a MIG instance is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<GpuUuid>,
    /// The PCI address, `00000000:01:00.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<String>,
    /// How a container gets it.
    #[serde(default)]
    pub access: GpuAccess,
}

/// Who made a card.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GpuVendor {
    /// Read through NVML.
    #[default]
    Nvidia,
    /// Read through sysfs.
    Amd,
    /// Read through sysfs.
    Intel,
}

/// How a container gets a card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuAccess {
    /// The engine is asked for it by its UUID, and the vendor's toolkit brings the rest.
    #[default]
    Request,
    /// Device nodes of the host, and the groups that may open them.
    Nodes {
        /// Absolute paths under `/dev`.
        paths: Vec<PathBuf>,
        /// Numeric groups of the host, without repetition.
        groups: Vec<u32>,
    },
}

/// Everything that was read of the host's cards at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuReport {
    /// Every card that is there or was there, in the order of the indices.
    pub cards: Vec<GpuReading>,
    /// What was not looked for or not found and why, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The library that answered, so that no stand-in is taken for a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// The driver's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// When the reading was begun: it says nothing of what happened later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Time>,
}

/// What was read of one card at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuReading {
    /// Which card.
    #[serde(flatten)]
    pub card: GpuFacts,
    /// Memory in use without what the driver keeps for itself, rounded up.
    #[serde(default)]
    pub used: Option<GpuMib>,
    /// Percent of the time in which anything ran on it.
    #[serde(default)]
    pub busy_percent: Option<u8>,
    /// Degrees Celsius.
    #[serde(default)]
    pub temperature: Option<u32>,
    /// Watts, rounded.
    #[serde(default)]
    pub power: Option<u32>,
    /// Uncorrected memory errors since the driver was loaded; none without ECC.
    #[serde(default)]
    pub ecc_errors: Option<u64>,
    /// Whether the card is cut into MIG instances: such a card itself takes no runner.
    #[serde(default)]
    pub mig: Option<MigMode>,
    /// How many processes the driver lets onto it.
    #[serde(default)]
    pub compute_mode: Option<ComputeMode>,
    /// Who uses it; none where that cannot be read.
    #[serde(default)]
    pub processes: Option<Vec<GpuProcess>>,
    /// Whether it works.
    #[serde(default)]
    pub health: GpuHealth,
    /// The last Xid that its driver reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_xid: Option<XidReport>,
}

impl GpuReport {
    /// Fills in the memory of cards whose driver does not tell it.
    pub fn fill_memory(&mut self, known: &BTreeMap<GpuUuid, GpuMib>) {
        self.cards.iter_mut().for_each(|reading| reading.card.fill_memory(known));
    }
}

impl GpuFacts {
    /// Memory without what the driver keeps for itself.
    #[must_use]
    pub fn usable(&self) -> GpuMib {
        GpuMib(self.memory.0.saturating_sub(self.reserved.0))
    }

    /// Fills in the memory if the driver does not tell it.
    pub fn fill_memory(&mut self, known: &BTreeMap<GpuUuid, GpuMib>) {
        if self.memory == GpuMib(0) {
            self.memory = known.get(&self.uuid).copied().unwrap_or_default();
        }
    }
}

impl GpuReading {
    /// A card of which nothing was read but what it is.
    #[must_use]
    pub fn unread(card: GpuFacts) -> Self {
        Self {
            card,
            used: None,
            busy_percent: None,
            temperature: None,
            power: None,
            ecc_errors: None,
            mig: None,
            compute_mode: None,
            processes: None,
            health: GpuHealth::Ok,
            last_xid: None,
        }
    }
}

/// Whether a card is cut into MIG instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigMode {
    /// It is one card.
    Off,
    /// Its instances are cards of their own.
    On,
    /// It changes with the next reset; until then nothing is placed on it.
    Pending,
}

/// How many processes the driver lets onto a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComputeMode {
    /// As many as there are.
    Shared,
    /// One: light runners cannot share it.
    OneProcess,
    /// None.
    Prohibited,
}

/// A process on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuProcess {
    /// Its number on the host.
    pub pid: u32,
    /// Its name, as the kernel keeps it.
    pub name: String,
    /// The container that it runs in, whoever's that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
    /// The containers inside that one which it is in, the outermost first (Docker in Docker).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nested: Vec<ContainerId>,
    /// The runner whose container that is; the fleet fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// What it holds of the card, rounded up; none where the driver does not say.
    #[serde(default)]
    pub memory: Option<GpuMib>,
    /// Percent of the card's time that it had lately.
    #[serde(default)]
    pub busy_percent: Option<u8>,
}

impl GpuProcess {
    /// Whether it runs in a container, or in one inside that.
    #[must_use]
    pub fn is_in(&self, container: &ContainerId) -> bool {
        self.container.iter().chain(&self.nested).any(|it| it == container)
    }
}

/// Whether a card works, as far as asking it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuHealth {
    /// It answers.
    #[default]
    Ok,
    /// It answers and should get no new work; the driver's words.
    Degraded(String),
    /// It is gone from the bus, or needs a reset; the driver's words.
    Lost(String),
    /// It did not answer in time.
    Unresponsive(String),
}

/// An Xid: what NVIDIA's driver reports when something went wrong on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct XidReport {
    /// The number in the vendor's catalogue.
    pub xid: u32,
    /// The card.
    pub card: GpuUuid,
    /// The process that it is about, where the driver says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When.
    pub at: Time,
}

/// What is left free on a card for the growth of what others have on it: as much as they have, but
/// no more than a hundredth of the card. On a card that nobody else uses it is nothing, so that
/// specification 1's layout of 8,000 + 4 x 2,000 fits a card of 16,384 with its driver's share.
#[must_use]
pub fn margin(memory: GpuMib, foreign: GpuMib) -> GpuMib {
    foreign.min(GpuMib(memory.0 / 100))
}
