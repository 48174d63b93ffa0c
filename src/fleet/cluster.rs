//! Placement on many hosts: which host and which of its cards a task gets.
//!
//! The score is published in `docs/placement.md`: of all hosts that can take the task, the one
//! whose *room* for the tasks to come shrinks least, the first of equals. `measure` is the score;
//! `index` remembers it for each host and kind of task, so that a decision looks at the hosts that
//! changed and not at all of them. [`Cluster::scan`] gives the same answer without the index.

mod host;
mod index;
mod measure;
mod mix;
#[cfg(test)]
mod tests;

use crate::units::{Bytes, GpuMib, MilliCpu};

use host::Host;
use index::Index;
use measure::{Measure, Offer};

pub use host::HostSize;
pub use mix::{CardDemand, Demand, KINDS_MAX, Kind, KindId, Mix};

/// Most cards of one host: a placement names its cards by the bits of a word.
pub const CARDS_MAX: usize = 64;

/// Where a task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// What was placed.
    pub kind: KindId,
    /// The host, by its place in the list that the cluster was made of.
    pub host: u32,
    /// The cards, by their places on the host: bit 0 is the first.
    pub cards: u64,
}

/// Why there is no such cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// More kinds than the index has bits for.
    #[error("{0} kinds of tasks, and a mix has {KINDS_MAX} at most: put alike ones together")]
    Kinds(usize),
    /// More cards than a placement has bits for.
    #[error("host {host} has {cards} cards, and a host has {CARDS_MAX} at most")]
    Cards {
        /// The host's place in the list.
        host: usize,
        /// Its cards.
        cards: usize,
    },
    /// More hosts than a placement can name.
    #[error("{0} hosts are more than a cluster has numbers for")]
    Hosts(usize),
}

/// A placement that does not hold: what it names is not free, or was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the placement on host {} does not fit what is taken there", .0.host)]
pub struct Mismatch(pub Placement);

/// What is left of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLeft {
    /// CPUs.
    pub cpus: MilliCpu,
    /// Main memory, in whole MiB.
    pub memory: Bytes,
    /// Memory of each card.
    pub cards: Vec<GpuMib>,
}

/// Hosts and what is taken of them.
#[derive(Debug, Clone)]
pub struct Cluster {
    measure: Measure,
    hosts: Vec<Host>,
    indexes: Vec<Index>,
}

impl Cluster {
    /// Empty hosts, for tasks of these kinds.
    ///
    /// # Errors
    ///
    /// When a host has more cards, or there are more hosts, than a placement can name.
    pub fn new(mix: &Mix, sizes: &[HostSize]) -> Result<Self, Unfit> {
        if u32::try_from(sizes.len()).is_err() {
            return Err(Unfit::Hosts(sizes.len()));
        }
        if let Some((host, size)) =
            sizes.iter().enumerate().find(|(_, size)| size.cards.len() > CARDS_MAX)
        {
            return Err(Unfit::Cards { host, cards: size.cards.len() });
        }
        let measure = Measure::new(mix, sizes);
        let hosts: Vec<Host> = sizes.iter().map(|size| Host::new(size, &measure)).collect();
        let indexes = vec![Index::new(hosts.len()); mix.kinds().len()];
        let mut cluster = Self { measure, hosts, indexes };
        for host in 0..cluster.hosts.len() {
            cluster.touch(host, u64::MAX);
        }
        Ok(cluster)
    }

    /// Places a task, or says that no host can take it.
    pub fn place(&mut self, kind: KindId) -> Option<Placement> {
        let placement = self.choose(kind)?;
        self.take(&placement).ok()?;
        Some(placement)
    }

    /// The best place for a task of this kind; nothing is taken.
    ///
    /// It changes nothing but what the index remembers.
    pub fn choose(&mut self, kind: KindId) -> Option<Placement> {
        self.refresh(kind);
        let at = self.indexes.get(usize::from(kind.0))?.best()?;
        let offer = self.offer(at, kind)?;
        Some(Placement { kind, host: u32::try_from(at).ok()?, cards: offer.cards })
    }

    /// What [`Cluster::choose`] says, found by asking every host. For checks.
    #[must_use]
    pub fn scan(&self, kind: KindId) -> Option<Placement> {
        let offers = (0..self.hosts.len()).filter_map(|at| Some((self.offer(at, kind)?, at)));
        let (best, at) = offers.min_by_key(|(offer, at)| (offer.loss, *at))?;
        Some(Placement { kind, host: u32::try_from(at).ok()?, cards: best.cards })
    }

    /// Takes what the placement names.
    ///
    /// # Errors
    ///
    /// When it is not free any more; nothing is changed then.
    pub fn take(&mut self, placement: &Placement) -> Result<(), Mismatch> {
        let (at, measure) = (placement.host as usize, &self.measure);
        let need = measure.need(placement.kind).ok_or(Mismatch(*placement))?;
        let host = self.hosts.get_mut(at).ok_or(Mismatch(*placement))?;
        host.take(need, placement.cards, measure).ok_or(Mismatch(*placement))?;
        // A host that has less suits no kind that it did not suit before.
        let suited = host.suits;
        self.touch(at, suited);
        Ok(())
    }

    /// Gives back what a placement took.
    ///
    /// # Errors
    ///
    /// When the host would have more than it is large; nothing is changed then.
    pub fn release(&mut self, placement: &Placement) -> Result<(), Mismatch> {
        let (at, measure) = (placement.host as usize, &self.measure);
        let need = measure.need(placement.kind).ok_or(Mismatch(*placement))?;
        let host = self.hosts.get_mut(at).ok_or(Mismatch(*placement))?;
        host.release(need, placement.cards, measure).ok_or(Mismatch(*placement))?;
        let suits = host.suits | measure.suited(host, !(host.suits | host.stale));
        self.touch(at, suits);
        Ok(())
    }

    /// What is left of a host.
    #[must_use]
    pub fn left(&self, host: u32) -> Option<HostLeft> {
        self.hosts.get(host as usize).map(Host::left)
    }

    fn offer(&self, at: usize, kind: KindId) -> Option<Offer> {
        self.measure.offer(self.hosts.get(at)?, self.measure.need(kind)?)
    }

    /// The host has to be scored again for these kinds before they are placed next.
    fn touch(&mut self, at: usize, kinds: u64) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let mut fresh = kinds & !host.stale;
        host.stale |= fresh;
        while fresh != 0 {
            // Bits beyond the kinds that there are find no index.
            let Some(index) = self.indexes.get_mut(fresh.trailing_zeros() as usize) else { return };
            index.stale.push(at);
            fresh &= fresh - 1;
        }
    }

    /// Scores the hosts again that changed since this kind was placed last.
    fn refresh(&mut self, kind: KindId) {
        let Self { measure, hosts, indexes } = self;
        let Some(index) = indexes.get_mut(usize::from(kind.0)) else { return };
        let Some(need) = measure.need(kind) else { return };
        let bit = 1_u64.checked_shl(u32::from(kind.0)).unwrap_or(0);
        while let Some(at) = index.stale.pop() {
            let Some(host) = hosts.get_mut(at) else { continue };
            let loss = measure.offer(host, need).map(|offer| offer.loss);
            host.stale &= !bit;
            host.suits = if loss.is_some() { host.suits | bit } else { host.suits & !bit };
            index.set(at, loss);
        }
    }
}
