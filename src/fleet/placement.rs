//! Which runner a job gets, and which card a slot gets: the locked algorithm of specification 1.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::event::Cordon;
use super::gpu::GpuFacts;
use super::host::HostFacts;
use super::job::Job;
use super::queue::Kind;
use super::runner::{Build, Phase, Runner};
use super::slot::{Fate, GpuLease, Slot};
use super::state::State;
use crate::ids::{GpuUuid, IncarnationId, PoolName, ProfileName};
use crate::spec::{GpuDemand, GpuSharing, Pool, Profile, Spec};
use crate::units::{Bytes, GpuMib, MilliCpu, Time};

/// How a runner suits a job; the smallest is taken. Ordering is by the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fit {
    /// The exact profile first ("prefer exact profile match").
    upgrade: bool,
    /// Then the one that wastes least: GPU memory is dearest, then memory, then CPU.
    size: (GpuMib, Bytes, MilliCpu),
    /// "First idle first".
    idle_since: Time,
    /// Makes the order total.
    id: IncarnationId,
}

impl Fit {
    /// The runner.
    pub fn runner(&self) -> IncarnationId {
        self.id
    }
}

/// A runner that waits for a job, in its slot.
pub(super) type Seat<'a> = (&'a Slot, &'a Runner);

/// Every runner that takes a job now: its slot is open and stays, its agent listens.
pub(super) fn seats(state: &State) -> Vec<Seat<'_>> {
    let open = state.slots().filter(|it| it.cordon == Cordon::Open && it.fate == Fate::Stay);
    open.filter_map(|slot| Some((slot, idle(state, slot)?))).collect()
}

/// The slot's runner, if it waits for a job and its agent listens.
fn idle<'a>(state: &'a State, slot: &Slot) -> Option<&'a Runner> {
    let runner = state.runner(slot.runner?)?;
    let ready = matches!(runner.phase, Phase::Idle { .. }) && state.contact(runner.id).connected;
    ready.then_some(runner)
}

/// The runners that suit jobs of a kind, the best last.
pub(super) fn suiting(spec: &Spec, kind: &Kind, seats: &[Seat<'_>]) -> Vec<Fit> {
    let Some(need) = spec.profiles.get(&kind.profile) else { return Vec::new() };
    let mut fits: Vec<Fit> = seats
        .iter()
        .filter(|(slot, _)| allows(spec, kind, &slot.pool))
        .filter_map(|(_, runner)| fit(kind, need, runner))
        .collect();
    fits.sort_unstable_by_key(|fit| Reverse(*fit));
    fits
}

/// What counts is what the container was made to, which an edited profile does not change.
fn fit(kind: &Kind, need: &Profile, runner: &Runner) -> Option<Fit> {
    let template = &runner.build.template;
    let gpu = runner.build.gpu.as_ref().map_or(GpuMib(0), |hold| hold.demand.memory);
    let suits =
        template.cpus >= need.cpus && template.memory >= need.memory && gpu >= gpu_memory(need);
    suits.then_some(Fit {
        upgrade: template.profile != kind.profile,
        size: (gpu, template.memory, template.cpus),
        idle_since: runner.since,
        id: runner.id,
    })
}

/// Whether the pool and lane that jobs name allow this pool.
fn allows(spec: &Spec, kind: &Kind, pool: &PoolName) -> bool {
    let by_pool = kind.pool.as_ref().is_none_or(|wanted| wanted == pool);
    let lane = kind.lane.as_ref().and_then(|lane| spec.lanes.get(lane));
    by_pool && lane.is_none_or(|lane| lane.pools.contains(pool))
}

/// The partial order "as capable or more": no resource is smaller.
#[must_use]
pub fn is_at_least(offer: &Profile, need: &Profile) -> bool {
    offer.cpus >= need.cpus && offer.memory >= need.memory && gpu_memory(offer) >= gpu_memory(need)
}

fn gpu_memory(profile: &Profile) -> GpuMib {
    profile.gpu.map_or(GpuMib(0), |gpu| gpu.memory)
}

/// The names of the pools that could ever serve this job, in the file's order.
pub(super) fn servers<'a>(spec: &'a Spec, job: &Job) -> Vec<&'a PoolName> {
    serving(spec, &Kind::of(job)).map(|pool| &pool.name).collect()
}

/// The pools that could ever serve jobs of a kind, in the file's order.
pub(super) fn serving<'a>(spec: &'a Spec, kind: &Kind) -> impl Iterator<Item = &'a Pool> {
    let need = spec.profiles.get(&kind.profile);
    spec.pools.iter().filter(move |pool| {
        let offer = spec.profiles.get(&pool.profile);
        let suits = |(offer, need)| pool.profile == kind.profile || is_at_least(offer, need);
        allows(spec, kind, &pool.name) && offer.zip(need).is_some_and(suits)
    })
}

/// The memory and leases held on each card.
#[derive(Debug, Clone, Default)]
struct CardUse {
    memory: GpuMib,
    runners: u32,
    exclusive: bool,
    by_profile: BTreeMap<ProfileName, u32>,
}

/// Shares out the cards: "heavy to GPU 0, light to the card with most free memory".
#[derive(Debug, Clone)]
pub(super) struct Cards<'a> {
    spec: &'a Spec,
    host: &'a HostFacts,
    used: BTreeMap<GpuUuid, CardUse>,
}

impl<'a> Cards<'a> {
    /// The cards with the leases of these slots.
    pub fn leased(
        spec: &'a Spec,
        host: &'a HostFacts,
        slots: impl Iterator<Item = &'a Slot>,
    ) -> Self {
        let mut cards = Self { spec, host, used: BTreeMap::new() };
        for slot in slots {
            let demand = spec.profiles.get(&slot.profile).and_then(|profile| profile.gpu);
            if let (Some(lease), Some(demand)) = (&slot.gpu, demand) {
                cards.take(&slot.profile, &lease.uuid, demand);
            }
        }
        cards
    }

    /// The cards with what these runners hold of them until they are known to be gone.
    pub fn held(
        spec: &'a Spec,
        host: &'a HostFacts,
        runners: impl Iterator<Item = &'a Runner>,
    ) -> Self {
        let mut cards = Self { spec, host, used: BTreeMap::new() };
        for build in runners.map(|runner| &runner.build) {
            if let Some(hold) = &build.gpu {
                cards.take(&build.template.profile, &hold.card, hold.demand);
            }
        }
        cards
    }

    /// Takes what a runner needs of its card; not if others hold it still.
    pub fn try_hold(&mut self, build: &Build) -> bool {
        let Some(hold) = &build.gpu else { return true };
        let profile = &build.template.profile;
        let card = self.host.gpus.iter().find(|gpu| gpu.uuid == hold.card);
        let fits = card.is_some_and(|card| self.fits(card, profile, hold.demand));
        if fits {
            self.take(profile, &hold.card, hold.demand);
        }
        fits
    }

    /// Takes a lease again that was given up; not if others hold the card now.
    pub fn try_renew(&mut self, profile: &ProfileName, lease: &GpuLease) -> bool {
        let demand = self.spec.profiles.get(profile).and_then(|profile| profile.gpu);
        let card = self.host.gpus.iter().find(|gpu| gpu.uuid == lease.uuid);
        let (Some(demand), Some(card)) = (demand, card) else { return false };
        let fits = self.fits(card, profile, demand);
        if fits {
            self.take(profile, &lease.uuid, demand);
        }
        fits
    }

    /// Leases a card for a runner of this profile, or says why there is none.
    pub fn lease(&mut self, profile: &ProfileName) -> Result<Option<GpuLease>, String> {
        let Some(demand) = self.spec.profiles.get(profile).and_then(|profile| profile.gpu) else {
            return Ok(None);
        };
        let fits = |gpu: &&GpuFacts| self.fits(gpu, profile, demand);
        let heavy = demand.memory.0 >= 8000 || demand.sharing == GpuSharing::Exclusive;
        let card = if heavy {
            self.host.gpus.iter().filter(fits).min_by_key(|gpu| gpu.index)
        } else {
            self.host
                .gpus
                .iter()
                .filter(fits)
                .min_by_key(|gpu| (Reverse(self.free(gpu)), gpu.index))
        };
        let Some(card) = card else { return Err(self.refusal(profile, demand)) };
        let lease = GpuLease { index: card.index, uuid: card.uuid.clone() };
        self.take(profile, &lease.uuid, demand);
        Ok(Some(lease))
    }

    fn take(&mut self, profile: &ProfileName, card: &GpuUuid, demand: GpuDemand) {
        let card = self.used.entry(card.clone()).or_default();
        card.runners += 1;
        *card.by_profile.entry(profile.clone()).or_default() += 1;
        card.memory = GpuMib(card.memory.0.saturating_add(demand.memory.0));
        card.exclusive |= demand.sharing == GpuSharing::Exclusive;
    }

    fn free(&self, gpu: &GpuFacts) -> GpuMib {
        let used = self.used.get(&gpu.uuid).map_or(0, |card| card.memory.0);
        GpuMib(gpu.memory.0.saturating_sub(used))
    }

    fn fits(&self, gpu: &GpuFacts, profile: &ProfileName, demand: GpuDemand) -> bool {
        let card = self.used.get(&gpu.uuid).cloned().unwrap_or_default();
        let shares = match demand.sharing {
            GpuSharing::Exclusive => card.runners == 0,
            // Specification 1 says "10 (5 per GPU)" and draws 4 + 6: the bound is the cards'
            // together.
            GpuSharing::AtMost(most) => self.alike(profile) < most.saturating_mul(self.cards()),
            GpuSharing::Shared => true,
        };
        shares && !card.exclusive && self.free(gpu) >= demand.memory
    }

    fn cards(&self) -> u32 {
        u32::try_from(self.host.gpus.len()).unwrap_or(u32::MAX)
    }

    /// The runners of a profile on all cards.
    fn alike(&self, profile: &ProfileName) -> u32 {
        self.used.values().filter_map(|card| card.by_profile.get(profile)).sum()
    }

    fn refusal(&self, profile: &ProfileName, demand: GpuDemand) -> String {
        let count = self.host.gpus.len();
        let need = format!("profile {profile} needs a GPU with {} MiB to lease", demand.memory.0);
        if count == 0 {
            return format!("{need}, and this host has no NVIDIA GPU that the supervisor can see");
        }
        format!("{need}; every one of the {count} GPUs is full or held for one runner alone")
    }
}
