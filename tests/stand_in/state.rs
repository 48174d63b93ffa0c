//! The file that the stand-in reads with each call. Sizes are in MiB; every key but `uuid` may be
//! left out.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Everything that the stand-in answers from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct State {
    /// The driver's version.
    pub driver: String,
    /// CUDA's version, 12040 for 12.4.
    pub cuda: i32,
    /// The cards, in the order of their index.
    pub cards: Vec<Card>,
    /// What to answer instead, by symbol: a code of `nvmlReturn_t`.
    pub fail: BTreeMap<String, u32>,
    /// Symbols that do not come back as long as they stand here.
    pub hang: Vec<String>,
    /// Xids in the order in which they happen; a set of events delivers those that come after it.
    pub xids: Vec<Xid>,
}

/// One card, or one MIG instance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    pub uuid: String,
    #[serde(default = "name")]
    pub name: String,
    /// In all; none: the card does not tell (`NOT_SUPPORTED`).
    #[serde(default)]
    pub memory: Option<u64>,
    /// Kept by the driver.
    #[serde(default)]
    pub reserved: u64,
    /// In use beside that; without it the sum of the processes.
    #[serde(default)]
    pub used: Option<u64>,
    /// Percent; none: `NOT_SUPPORTED`.
    #[serde(default)]
    pub busy: Option<u32>,
    /// Degrees Celsius; none: `NOT_SUPPORTED`.
    #[serde(default)]
    pub temperature: Option<u32>,
    /// Milliwatts; none: `NOT_SUPPORTED`.
    #[serde(default)]
    pub power: Option<u32>,
    #[serde(default = "pci")]
    pub pci: String,
    #[serde(default)]
    pub minor: u32,
    /// Uncorrected errors; none: without ECC.
    #[serde(default)]
    pub ecc: Option<u64>,
    /// `nvmlComputeMode_t`.
    #[serde(default)]
    pub compute_mode: u32,
    /// MIG mode; none: a card that cannot be cut.
    #[serde(default)]
    pub mig: Option<Mig>,
    #[serde(default)]
    pub processes: Vec<Process>,
    /// The first so many counts of processes tell this many too few.
    #[serde(default)]
    pub growing: Growing,
    #[serde(default)]
    pub lost: bool,
    #[serde(default)]
    pub fail: BTreeMap<String, u32>,
    /// Symbols that do not come back; `*` for all.
    #[serde(default)]
    pub hang: Vec<String>,
}

/// MIG mode and instances.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mig {
    pub current: u32,
    pub pending: u32,
    /// By instance; `null` where a number is not taken.
    pub devices: Vec<Option<Card>>,
}

/// A process on a card.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    pub pid: u32,
    /// None: `NVML_VALUE_NOT_AVAILABLE`.
    #[serde(default)]
    pub memory: Option<u64>,
    #[serde(default)]
    pub graphics: bool,
    /// Percent of the multiprocessors; none: no sample.
    #[serde(default)]
    pub busy: Option<u32>,
    /// Microseconds.
    #[serde(default)]
    pub sampled_at: u64,
}

/// Processes that appear between two calls.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Growing {
    pub by: u32,
    pub times: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Xid {
    pub uuid: String,
    pub xid: u64,
}

impl State {
    /// A card or an instance.
    pub fn find(&self, uuid: &str) -> Option<&Card> {
        let mut all = self.cards.iter().flat_map(|card| card.instances().chain([card]));
        all.find(|it| it.uuid == uuid)
    }

    /// Whether a UUID is that of an instance.
    pub fn is_instance(&self, uuid: &str) -> bool {
        self.cards.iter().any(|card| card.instances().any(|it| it.uuid == uuid))
    }
}

impl Card {
    pub fn instances(&self) -> impl Iterator<Item = &Self> {
        self.mig.iter().flat_map(|mig| mig.devices.iter().flatten())
    }

    pub fn is_cut(&self) -> bool {
        self.mig.as_ref().is_some_and(|mig| mig.current == 1)
    }

    pub fn used(&self) -> u64 {
        let sum = || self.processes.iter().filter_map(|it| it.memory).sum();
        self.used.unwrap_or_else(sum)
    }
}

fn name() -> String {
    "Stand-in GPU".to_owned()
}

fn pci() -> String {
    "00000000:01:00.0".to_owned()
}
