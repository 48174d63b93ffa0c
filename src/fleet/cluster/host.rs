//! A host of a cluster: what it has, and what is left of it.

use super::measure::{Measure, Need, NeedCards};
use super::{CARDS_MAX, HostLeft};
use crate::units::{Bytes, GpuMib, MilliCpu};

/// How large a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSize {
    /// CPUs.
    pub cpus: MilliCpu,
    /// Main memory; counted in MiB, rounded down.
    pub memory: Bytes,
    /// Memory of each card, as much as runners may have of it.
    pub cards: Vec<GpuMib>,
}

/// A card, in MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Card {
    pub size: u32,
    pub free: u32,
}

impl Card {
    /// Nobody has any of it.
    pub fn is_whole(self) -> bool {
        self.free == self.size && self.size > 0
    }
}

/// Main memory is counted in MiB.
pub(super) const MIB: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Free CPUs, in thousandths.
    pub cpus: u32,
    /// Free main memory, in MiB.
    pub memory: u64,
    pub cards: Vec<Card>,
    /// The worth of all cards by themselves; see [`Measure::worth`].
    pub worth: u32,
    /// Cards that nobody has any of.
    pub wholes: u32,
    /// The MiB of those.
    pub whole_size: u32,
    /// The room on this host; see [`Measure::room`].
    pub room: u32,
    /// The kinds that it suited when it was scored for them.
    pub suits: u64,
    /// The kinds that it has to be scored for again.
    pub stale: u64,
    size: (u32, u64),
}

impl Host {
    pub fn new(size: &HostSize, measure: &Measure) -> Self {
        let card = |size: &GpuMib| Card { size: size.0, free: size.0 };
        let (cpus, memory) = (size.cpus.0, size.memory.0 / MIB);
        let mut host = Self {
            cpus,
            memory,
            cards: size.cards.iter().map(card).collect(),
            worth: 0,
            wholes: 0,
            whole_size: 0,
            room: 0,
            suits: 0,
            stale: 0,
            size: (cpus, memory),
        };
        host.measure(measure);
        host
    }

    /// Takes from the cards that the bits name; nothing at all unless all of it is free.
    pub fn take(&mut self, need: &Need, bits: u64, measure: &Measure) -> Option<()> {
        let cpus = self.cpus.checked_sub(need.cpus)?;
        let memory = self.memory.checked_sub(need.memory)?;
        self.change(need, bits, |card, part| match part {
            Some(part) => card.free.checked_sub(part),
            None => card.is_whole().then_some(0),
        })?;
        (self.cpus, self.memory) = (cpus, memory);
        self.measure(measure);
        Some(())
    }

    /// Gives back to the cards that the bits name; nothing at all if they would be overfull.
    pub fn release(&mut self, need: &Need, bits: u64, measure: &Measure) -> Option<()> {
        let fits = |new: u32, size: u32| (new <= size).then_some(new);
        let cpus = fits(self.cpus.checked_add(need.cpus)?, self.size.0)?;
        let memory = self.memory.checked_add(need.memory).filter(|new| *new <= self.size.1)?;
        self.change(need, bits, |card, part| match part {
            Some(part) => fits(card.free.checked_add(part)?, card.size),
            None => (card.free == 0).then_some(card.size),
        })?;
        (self.cpus, self.memory) = (cpus, memory);
        self.measure(measure);
        Some(())
    }

    /// Changes the free memory of the cards, all or none. A whole card is asked for by `None`.
    fn change(
        &mut self,
        need: &Need,
        bits: u64,
        new: impl Fn(Card, Option<u32>) -> Option<u32>,
    ) -> Option<()> {
        let (count, part) = match need.cards {
            NeedCards::None => (0, None),
            NeedCards::Part(part) => (1, Some(part)),
            NeedCards::Whole { cards, .. } => (cards, None),
        };
        if bits.count_ones() != count {
            return None;
        }
        for at in places(bits) {
            new(*self.cards.get(at)?, part)?;
        }
        for at in places(bits) {
            let card = self.cards.get_mut(at)?;
            card.free = new(*card, part)?;
        }
        Some(())
    }

    fn measure(&mut self, measure: &Measure) {
        let wholes = || self.cards.iter().filter(|card| card.is_whole());
        let worth: u64 = self.cards.iter().map(|card| u64::from(measure.worth(card.free))).sum();
        let whole_size: u64 = wholes().map(|card| u64::from(card.size)).sum();
        self.wholes = u32::try_from(wholes().count()).unwrap_or(u32::MAX);
        self.worth = u32::try_from(worth).unwrap_or(u32::MAX);
        self.whole_size = u32::try_from(whole_size).unwrap_or(u32::MAX);
        self.room = measure.room_of(self);
    }

    pub fn left(&self) -> HostLeft {
        HostLeft {
            cpus: MilliCpu(self.cpus),
            memory: Bytes(self.memory.saturating_mul(MIB)),
            cards: self.cards.iter().map(|card| GpuMib(card.free)).collect(),
        }
    }
}

/// The places that the bits name.
fn places(bits: u64) -> impl Iterator<Item = usize> {
    (0..CARDS_MAX).filter(move |at| bits >> at & 1 == 1)
}
