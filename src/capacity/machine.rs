//! A machine as capacity sees it: what is there, what is free, and which cards take no runner.

use std::collections::BTreeMap;

use crate::fleet::gpu::{ComputeMode, GpuHealth, GpuReading, MigMode};
use crate::ids::GpuUuid;
use crate::inventory::Inventory;
use crate::units::{Bytes, GpuMib};

/// Cards that the fleet gives to nobody, with the reason.
pub type Cordons = BTreeMap<GpuUuid, String>;

/// Of which machine a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The machine as it is: what is in use is not there.
    Now,
    /// The machine when nothing runs on it.
    Empty,
}

/// What a machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Logical CPUs.
    pub cpus: u32,
    /// Memory in all.
    pub memory: Bytes,
    /// Memory that is free; all of it where nothing is known of its use.
    pub memory_free: Bytes,
    /// Cards by index.
    pub cards: Vec<Card>,
}

/// A card, and whether runners get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What was read of it.
    pub reading: GpuReading,
    /// Why no runner gets it.
    pub out: Option<String>,
}

impl Machine {
    /// The machine of an inventory, with the cards that its fleet has cordoned.
    #[must_use]
    pub fn new(inventory: &Inventory, cordons: &Cordons) -> Self {
        let card = |reading: &GpuReading| {
            let cordon = cordons.get(&reading.card.uuid).map(|why| format!("cordoned: {why}"));
            Card { out: cordon.or_else(|| out(reading)), reading: reading.clone() }
        };
        let mut cards: Vec<Card> = inventory.gpus.iter().map(card).collect();
        cards.sort_by(|a, b| {
            let key = |it: &Card| (it.reading.card.index, it.reading.card.uuid.clone());
            key(a).cmp(&key(b))
        });
        Self {
            cpus: inventory.cpus,
            memory: inventory.memory,
            memory_free: inventory.memory_free.unwrap_or(inventory.memory).min(inventory.memory),
            cards,
        }
    }

    /// Memory for runners.
    #[must_use]
    pub fn memory_of(&self, basis: Basis) -> Bytes {
        match basis {
            Basis::Now => self.memory_free,
            Basis::Empty => self.memory,
        }
    }

    /// The cards that runners get.
    pub fn open(&self) -> impl Iterator<Item = &Card> {
        self.cards.iter().filter(|card| card.out.is_none())
    }

    /// What people should know of these numbers, a sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let note = |card: &Card| {
            let index = card.reading.card.index;
            match (&card.out, card.reading.used) {
                (Some(why), _) => Some(format!("GPU {index} takes no runner: {why}")),
                (None, None) => Some(format!(
                    "GPU {index}: what is in use is not known, so all of it counts as free"
                )),
                (None, Some(_)) => None,
            }
        };
        self.cards.iter().filter_map(note).collect()
    }
}

impl Card {
    /// Memory for runners, without what the driver keeps; nothing of a card that is out.
    #[must_use]
    pub fn memory_of(&self, basis: Basis) -> GpuMib {
        match (&self.out, basis) {
            (Some(_), _) => GpuMib(0),
            (None, Basis::Now) => self.free(),
            (None, Basis::Empty) => self.usable(),
        }
    }

    /// Memory without what the driver keeps for itself.
    #[must_use]
    pub fn usable(&self) -> GpuMib {
        self.reading.card.usable()
    }

    /// What is left of it; all where its use is not known.
    #[must_use]
    pub fn free(&self) -> GpuMib {
        let used = self.reading.used.map_or(0, |used| used.0);
        GpuMib(self.usable().0.saturating_sub(used))
    }

    /// The most runners at a time, where the driver or the hardware lets only one onto it.
    #[must_use]
    pub fn tenants(&self) -> Option<u32> {
        let single = self.reading.compute_mode == Some(ComputeMode::OneProcess)
            || self.reading.card.parent.is_some();
        single.then_some(1)
    }
}

/// Why nothing is placed on a card, by what its driver says of it.
fn out(reading: &GpuReading) -> Option<String> {
    match &reading.health {
        GpuHealth::Ok => {}
        GpuHealth::Degraded(why) => return Some(format!("degraded: {why}")),
        GpuHealth::Lost(why) => return Some(format!("lost: {why}")),
        GpuHealth::Unresponsive(why) => return Some(format!("it does not answer: {why}")),
    }
    let word = match (reading.mig, reading.compute_mode) {
        (Some(MigMode::On), _) => "it is cut into MIG instances, which are cards of their own",
        (Some(MigMode::Pending), _) => "its MIG mode changes with the next reset",
        (_, Some(ComputeMode::Prohibited)) => "its driver lets no process onto it",
        _ if reading.card.memory == GpuMib(0) => "its memory is not known",
        _ => return None,
    };
    Some(word.to_owned())
}
