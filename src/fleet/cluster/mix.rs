//! What tasks ask for, and how often.

use super::Unfit;
use crate::spec::{GpuSharing, Profile, Spec};
use crate::units::{Bytes, GpuMib, MilliCpu};

/// Most kinds of tasks in a mix: a host knows by the bits of a word which of them it suits.
pub const KINDS_MAX: usize = 64;

/// A kind of task, by its place in the mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindId(pub u8);

/// What a task asks of the cards of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardDemand {
    /// Nothing.
    None,
    /// Memory of one card, beside others.
    Part(GpuMib),
    /// Cards for itself.
    Whole {
        /// How many.
        cards: u32,
        /// The least size of each.
        memory: GpuMib,
    },
}

/// What a task asks for, all of it on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// CPUs.
    pub cpus: MilliCpu,
    /// Main memory; counted in MiB, rounded up.
    pub memory: Bytes,
    /// Cards.
    pub cards: CardDemand,
}

impl Demand {
    /// What a runner of this profile asks for.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        let cards = match profile.gpu {
            None => CardDemand::None,
            Some(gpu) if gpu.sharing == GpuSharing::Exclusive => {
                CardDemand::Whole { cards: 1, memory: gpu.memory }
            }
            Some(gpu) if gpu.memory == GpuMib(0) => CardDemand::None,
            Some(gpu) => CardDemand::Part(gpu.memory),
        };
        Self { cpus: profile.cpus, memory: profile.memory, cards }
    }
}

/// A demand and how often it comes, beside the others of its mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What it asks for.
    pub demand: Demand,
    /// How many of these come for all the others' weights.
    pub weight: u32,
}

/// The tasks that a cluster expects: what its room is measured by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    kinds: Vec<Kind>,
}

impl Mix {
    /// The mix of these kinds; their places are their [`KindId`]s.
    ///
    /// # Errors
    ///
    /// When there are more than [`KINDS_MAX`].
    pub fn new(kinds: Vec<Kind>) -> Result<Self, Unfit> {
        if kinds.len() > KINDS_MAX { Err(Unfit::Kinds(kinds.len())) } else { Ok(Self { kinds }) }
    }

    /// The runners of a fleet, as many of each as there can be. Pools beyond [`KINDS_MAX`] have no
    /// part in it.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let kinds = spec.pools.iter().filter_map(|pool| {
            let demand = Demand::of(spec.profiles.get(&pool.profile)?);
            Some(Kind { demand, weight: pool.size.most() })
        });
        Self { kinds: kinds.take(KINDS_MAX).collect() }
    }

    /// What a part taken of this card costs the tasks to come, which have this card only: MiB that
    /// they cannot use any more, times their weights.
    ///
    /// `size` is what can be had of the card when nobody has any of it.
    #[must_use]
    pub fn cost_of_part(&self, size: GpuMib, free: GpuMib, part: GpuMib) -> u64 {
        let usable = |kind: &Kind, free: u32| match kind.demand.cards {
            CardDemand::Part(part) if free >= part.0 => free,
            CardDemand::Whole { .. } if free == size.0 => free,
            _ => 0,
        };
        let worth = |free: u32| -> u64 {
            let each = |kind: &Kind| u64::from(usable(kind, free)) * u64::from(kind.weight);
            self.kinds.iter().map(each).fold(0, u64::saturating_add)
        };
        worth(free.0).saturating_sub(worth(free.0.saturating_sub(part.0)))
    }

    /// The kinds, in the order of their ids.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }
}
