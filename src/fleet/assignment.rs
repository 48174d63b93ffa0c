//! Which runner a job gets: the locked assignment algorithm of specification 1.
//!
//! In the order in which the rules decide (`docs/assignment.md` has it for people):
//! an idle runner of the exact profile or a more capable one; the exact one first; of the more
//! capable ones the smallest; heavy work on the card with the lowest number, all other work on the
//! card with most free memory, then on the one with the fewest jobs; first idle, first assigned.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::gpu::{GpuFacts, GpuReading};
use super::job::Job;
use super::pause;
use super::queue::Kind;
use super::runner::{Phase, Runner};
use super::slot::{Fate, Slot};
use super::state::State;
use crate::ids::{IncarnationId, PoolName};
use crate::spec::{GpuDemand, GpuSharing, Pool, Profile, Spec};
use crate::units::{Bytes, GpuMib, MilliCpu, Time};

/// A runner that waits for a job, in its slot.
pub(super) type Seat<'a> = (&'a Slot, &'a Runner);

/// Every runner that takes a job now: its slot and pool are open, it stays, its agent listens.
pub(super) fn seats(state: &State) -> Vec<Seat<'_>> {
    let open = state.slots().filter(|it| it.fate == Fate::Stay && pause::is_open(state, it));
    open.filter_map(|slot| Some((slot, idle(state, slot)?))).collect()
}

/// The slot's runner, if it waits for a job and its agent listens.
fn idle<'a>(state: &'a State, slot: &Slot) -> Option<&'a Runner> {
    let runner = state.runner(slot.runner?)?;
    let ready = matches!(runner.phase, Phase::Idle { .. })
        && runner.enlistment().is_none()
        && state.contact(runner.id).is_connected();
    ready.then_some(runner)
}

/// How well the size of a runner suits a job; the smallest is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    /// The exact profile first ("prefer exact profile match").
    upgrade: bool,
    /// Then the one that wastes least: GPU memory is dearest, then memory, then CPU.
    size: (GpuMib, Bytes, MilliCpu),
}

/// A runner that suits a job. Of one class, the first idle is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    class: Class,
    /// "First idle first".
    idle_since: Time,
    /// Makes the order total.
    id: IncarnationId,
    /// Its card's place in [`Loads`].
    card: Option<usize>,
}

/// The runners that suit one kind of job.
#[derive(Debug)]
pub(super) struct Fits {
    /// The best last.
    fits: Vec<Fit>,
    /// Whether the work is heavy.
    heavy: bool,
}

impl Fits {
    /// The runners that suit jobs of a kind.
    pub fn of(spec: &Spec, kind: &Kind, seats: &[Seat<'_>], loads: &Loads) -> Self {
        let Some(need) = spec.profiles.get(&kind.profile) else {
            return Self { fits: Vec::new(), heavy: false };
        };
        let mut fits: Vec<Fit> = seats
            .iter()
            .filter(|(slot, _)| allows(spec, kind, &slot.pool))
            .filter_map(|(_, runner)| fit(kind, need, runner, loads))
            .collect();
        fits.sort_unstable_by_key(|fit| Reverse(*fit));
        Self { fits, heavy: need.gpu.is_some_and(is_heavy) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fits.is_empty()
    }

    /// Takes the best runner that nobody has taken yet.
    pub fn take(
        &mut self,
        loads: &Loads,
        taken: &BTreeSet<IncarnationId>,
    ) -> Option<IncarnationId> {
        while self.fits.pop_if(|fit| taken.contains(&fit.id)).is_some() {}
        let last = *self.fits.last()?;
        if last.card.is_none() {
            // Nor has any other of its size: memory of a card is a part of it.
            return self.fits.pop().map(|fit| fit.id);
        }
        let alike = self.fits.iter().enumerate().rev();
        let alike = alike.take_while(|(_, fit)| fit.class == last.class);
        let free = alike.filter(|(_, fit)| !taken.contains(&fit.id));
        let rank = |fit: &Fit| (loads.rank(fit.card, self.heavy), fit.idle_since, fit.id);
        let (place, _) = free.min_by_key(|(_, fit)| rank(fit))?;
        Some(self.fits.remove(place).id)
    }
}

/// What counts is what the container was made to, which an edited profile does not change.
fn fit(kind: &Kind, need: &Profile, runner: &Runner, loads: &Loads) -> Option<Fit> {
    let template = &runner.build.template;
    let gpu = runner.build.gpu.as_ref().map(|hold| hold.demand);
    let offer = Size { cpus: template.cpus, memory: template.memory, gpu };
    let upgrade = template.profile != kind.profile;
    let suits = offer.covers(&Size::of(need)) && (!upgrade || template.image == need.image);
    suits.then(|| Fit {
        class: Class { upgrade, size: (memory_of(gpu), template.memory, template.cpus) },
        idle_since: runner.since,
        id: runner.id,
        card: loads.place(runner),
    })
}

/// What a runner offers, or a job needs at least.
#[derive(Debug, Clone, Copy)]
struct Size {
    cpus: MilliCpu,
    memory: Bytes,
    gpu: Option<GpuDemand>,
}

impl Size {
    fn of(profile: &Profile) -> Self {
        Self { cpus: profile.cpus, memory: profile.memory, gpu: profile.gpu }
    }

    /// Whether no resource is smaller, and a card that must not be shared is not.
    fn covers(&self, need: &Self) -> bool {
        let alone = |it: &Self| it.gpu.is_some_and(|gpu| gpu.sharing == GpuSharing::Exclusive);
        self.cpus >= need.cpus
            && self.memory >= need.memory
            && memory_of(self.gpu) >= memory_of(need.gpu)
            && (alone(self) || !alone(need))
    }
}

/// The partial order "as capable or more": the same image, no resource smaller, and a card for
/// itself where one is needed. It is partial: of two profiles neither may be the more capable one.
#[must_use]
pub fn is_at_least(offer: &Profile, need: &Profile) -> bool {
    Size::of(offer).covers(&Size::of(need)) && offer.image == need.image
}

fn memory_of(gpu: Option<GpuDemand>) -> GpuMib {
    gpu.map_or(GpuMib(0), |gpu| gpu.memory)
}

/// Heavy work goes to the card with the lowest number: that of `gpu_heavy` and whatever is larger,
/// and all that needs a card for itself.
pub(super) fn is_heavy(demand: GpuDemand) -> bool {
    /// `gpu_heavy`'s memory.
    const HEAVY: GpuMib = GpuMib(8000);
    demand.memory >= HEAVY || demand.sharing == GpuSharing::Exclusive
}

/// Whether the pool and lane that jobs name allow this pool.
fn allows(spec: &Spec, kind: &Kind, pool: &PoolName) -> bool {
    let by_pool = kind.pool.as_ref().is_none_or(|wanted| wanted == pool);
    let lane = kind.lane.as_ref().and_then(|lane| spec.lanes.get(lane));
    by_pool && lane.is_none_or(|lane| lane.pools.contains(pool))
}

/// The names of the pools that could ever serve this job, in the file's order.
pub(super) fn servers<'a>(spec: &'a Spec, job: &Job) -> Vec<&'a PoolName> {
    serving(spec, &Kind::of(job)).map(|pool| &pool.name).collect()
}

/// The pools that could ever serve jobs of a kind, in the file's order.
pub(super) fn serving<'a>(spec: &'a Spec, kind: &Kind) -> impl Iterator<Item = &'a Pool> {
    let need = spec.profiles.get(&kind.profile);
    open_to(spec, kind).filter(move |pool| {
        let offer = spec.profiles.get(&pool.profile);
        let suits = |(offer, need)| pool.profile == kind.profile || is_at_least(offer, need);
        offer.zip(need).is_some_and(suits)
    })
}

/// The pools that the lane and pool of a kind allow, whatever it needs.
pub(super) fn open_to<'a>(spec: &'a Spec, kind: &Kind) -> impl Iterator<Item = &'a Pool> {
    // Runners of a forge take that forge's jobs.
    let own = spec.pools.iter().filter(|pool| pool.forge.is_none());
    own.filter(move |pool| allows(spec, kind, &pool.name))
}

/// What is at work on each card.
#[derive(Debug)]
pub(super) struct Loads {
    cards: Vec<Load>,
}

/// What is at work on one card.
#[derive(Debug)]
struct Load {
    card: GpuFacts,
    /// What would be free if every job there took all that its runner holds.
    free: GpuMib,
    /// Jobs there.
    jobs: u32,
}

impl Loads {
    /// The cards as they were read last, with the jobs that are on them now.
    pub fn of(state: &State) -> Self {
        let cards = state.host.gpus.iter().map(|card| {
            let reading = state.gpus.cards.iter().find(|it| it.card.uuid == card.uuid);
            let used = reading.and_then(|it| it.used).unwrap_or(GpuMib(0));
            let free = card.memory.less(card.reserved).less(used);
            Load { card: card.clone(), free, jobs: 0 }
        });
        let mut loads = Self { cards: cards.collect() };
        for runner in state.runners().filter(|runner| runner.is_at_work()) {
            let Some(place) = loads.place(runner) else { continue };
            let used = loads.cards.get(place).and_then(|it| used_by(state, &it.card, runner));
            loads.put(runner, used.unwrap_or(GpuMib(0)));
        }
        loads
    }

    /// A runner gets a job: its card will have less free than it was read to have.
    pub fn give(&mut self, runner: &Runner) {
        self.put(runner, GpuMib(0));
    }

    /// A job that holds this much of its card already may come to hold all that its runner may.
    fn put(&mut self, runner: &Runner, used: GpuMib) {
        let Some(hold) = &runner.build.gpu else { return };
        if let Some(load) = self.cards.iter_mut().find(|it| it.card.uuid == hold.card) {
            load.free = load.free.less(hold.demand.memory.less(used));
            load.jobs += 1;
        }
    }

    fn place(&self, runner: &Runner) -> Option<usize> {
        let hold = runner.build.gpu.as_ref()?;
        self.cards.iter().position(|it| it.card.uuid == hold.card)
    }

    /// How good a card is; the smallest is the best.
    fn rank(&self, card: Option<usize>, heavy: bool) -> (Reverse<GpuMib>, u32, u32) {
        // A runner whose card is not known any more is the last to be chosen.
        let Some(load) = card.and_then(|card| self.cards.get(card)) else {
            return (Reverse(GpuMib(0)), u32::MAX, u32::MAX);
        };
        match heavy {
            true => (Reverse(GpuMib(0)), 0, load.card.index),
            false => (Reverse(load.free), load.jobs, load.card.index),
        }
    }
}

/// What a runner's processes hold of its card, where that was read.
fn used_by(state: &State, card: &GpuFacts, runner: &Runner) -> Option<GpuMib> {
    let is_it = |reading: &&GpuReading| reading.card.uuid == card.uuid;
    let processes = state.gpus.cards.iter().find(is_it)?.processes.as_ref()?;
    let container = runner.container()?;
    let own = processes.iter().filter(|it| it.is_in(container));
    Some(GpuMib(own.filter_map(|it| it.memory).map(|it| it.0).sum()))
}

#[cfg(test)]
mod tests;
