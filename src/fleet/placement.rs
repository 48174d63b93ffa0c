//! Which card a slot gets: the locked algorithm of specification 1.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::gpu::GpuFacts;
use super::host::HostFacts;
use super::runner::{Build, Runner};
use super::slot::{GpuLease, Slot};
use crate::ids::{GpuUuid, ProfileName};
use crate::spec::{GpuDemand, GpuSharing, Spec};
use crate::units::GpuMib;

/// The memory and leases held on each card.
#[derive(Debug, Clone, Default)]
struct CardUse {
    memory: GpuMib,
    runners: u32,
    exclusive: bool,
    by_profile: BTreeMap<ProfileName, u32>,
}

/// Shares out the cards: to the one with the fewest of the profile; among these heavy to GPU 0, and
/// light to the one with most free memory.
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
        let fitting = self.host.gpus.iter().filter(fits);
        // Spread first: only so the specification's 1 + 4 and 6 come out on two cards.
        let card = fitting.min_by_key(|gpu| {
            let free = if heavy { GpuMib(0) } else { self.free(gpu) };
            (self.alike_on(gpu, profile), Reverse(free), gpu.index)
        });
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

    /// The runners of a profile on one card.
    fn alike_on(&self, gpu: &GpuFacts, profile: &ProfileName) -> u32 {
        let card = self.used.get(&gpu.uuid);
        card.and_then(|card| card.by_profile.get(profile)).copied().unwrap_or(0)
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
