//! Which card a slot gets: the one with the fewest of its profile, so that work spreads over the
//! cards; of those "heavy to GPU 0, light to the card with most free memory", and of equals the one
//! where that costs least by the score of `cluster`. Memory is never promised twice, and what
//! others use is not promised at all.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::ledger::{self, Measure};
use crate::fleet::assignment::is_heavy;
use crate::fleet::cluster::Mix;
use crate::fleet::gpu::{ComputeMode, GpuFacts, GpuVendor, margin};
use crate::fleet::runner::{Build, GpuHold};
use crate::fleet::slot::{GpuLease, Slot};
use crate::fleet::state::State;
use crate::ids::{GpuUuid, IncarnationId, ProfileName};
use crate::spec::{GpuDemand, GpuSharing, Profile, Spec};
use crate::units::GpuMib;

/// A profile with this label runs on NVIDIA's cards alone.
const CUDA: &str = "cuda";

/// A card while its memory is shared out.
#[derive(Debug, Clone)]
struct Card<'a> {
    facts: &'a GpuFacts,
    measure: Measure,
    closed: Option<String>,
    /// It takes one runner: a MIG instance, or a card whose driver lets one process onto it.
    is_single: bool,
    usable: GpuMib,
    committed: GpuMib,
    runners: u32,
    exclusive: bool,
    by_profile: BTreeMap<ProfileName, u32>,
}

impl Card<'_> {
    /// What may still be leased.
    fn headroom(&self) -> GpuMib {
        let foreign = self.measure.foreign;
        let gone = [foreign, self.committed, margin(self.facts.memory, foreign)];
        GpuMib(gone.iter().fold(self.usable.0, |left, it| left.saturating_sub(it.0)))
    }

    fn take(&mut self, profile: &ProfileName, demand: GpuDemand, by: Option<IncarnationId>) {
        let used = by.and_then(|id| self.measure.attributed.get(&id)).copied().unwrap_or_default();
        self.committed.0 = self.committed.0.saturating_add(demand.memory.max(used).0);
        self.runners += 1;
        *self.by_profile.entry(profile.clone()).or_default() += 1;
        self.exclusive |= demand.sharing == GpuSharing::Exclusive;
    }

    fn told(&self) -> String {
        let index = self.facts.index;
        if let Some(why) = &self.closed {
            return format!("GPU {index} {why}");
        }
        let mut told = format!(
            "GPU {index} has {} of {} free",
            grouped(self.headroom()),
            grouped(self.usable)
        );
        let leases = match (self.runners, self.exclusive) {
            (0, _) => None,
            (_, true) => Some("held for one runner alone".to_owned()),
            (1, false) => Some("1 lease".to_owned()),
            (more, false) => Some(format!("{more} leases")),
        };
        let foreign = self.measure.foreign;
        let others =
            (foreign > GpuMib(0)).then(|| format!("{} MiB used by others", grouped(foreign)));
        let why: Vec<String> = leases.into_iter().chain(others).collect();
        if !why.is_empty() {
            told.push_str(&format!(": {}", why.join(", ")));
        }
        told
    }
}

/// Memory with its thousands apart, for people.
fn grouped(memory: GpuMib) -> String {
    match (memory.0 / 1000, memory.0 % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

/// The cards, while their memory is shared out.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct Cards<'a> {
    spec: &'a Spec,
    cards: Vec<Card<'a>>,
}

impl<'a> Cards<'a> {
    /// The cards with nothing leased.
    pub fn bare(state: &'a State, spec: &'a Spec) -> Self {
        let card = |facts: &'a GpuFacts| {
            let reading = ledger::reading(state, &facts.uuid);
            Card {
                facts,
                measure: reading.map(|it| ledger::measure(state, it)).unwrap_or_default(),
                closed: ledger::closed(state, facts),
                is_single: facts.parent.is_some()
                    || reading.and_then(|it| it.compute_mode) == Some(ComputeMode::OneProcess),
                usable: ledger::usable(state, facts),
                committed: GpuMib(0),
                runners: 0,
                exclusive: false,
                by_profile: BTreeMap::new(),
            }
        };
        Self { spec, cards: state.host.gpus.iter().map(card).collect() }
    }

    /// The cards with the leases of these slots.
    pub fn leased<'b>(
        state: &'a State,
        spec: &'a Spec,
        slots: impl Iterator<Item = &'b Slot>,
    ) -> Self {
        let mut cards = Self::bare(state, spec);
        slots.for_each(|slot| cards.keep(slot));
        cards
    }

    /// The cards with what runners hold of them until nothing of these is left.
    pub fn held(state: &'a State) -> Self {
        let mut cards = Self::bare(state, &state.spec);
        let there = state
            .runners()
            .filter_map(|it| Some((it.id, &it.build.template.profile, it.build.gpu.as_ref()?)));
        let gone = state.meta.sweeping.iter().map(|(id, it)| (*id, &it.profile, &it.hold));
        for (id, profile, GpuHold { card, demand }) in there.chain(gone) {
            if let Some(card) = cards.card_mut(card) {
                card.take(profile, *demand, Some(id));
            }
        }
        cards
    }

    /// Takes what a slot has leased, whether it fits or not: it has it.
    pub fn keep(&mut self, slot: &Slot) {
        let demand = self.demand(&slot.profile);
        if let (Some(lease), Some(demand)) = (&slot.gpu, demand)
            && let Some(card) = self.card_mut(&lease.uuid)
        {
            card.take(&slot.profile, demand, slot.runner);
        }
    }

    /// Takes what a runner needs of its card; not if others hold it still.
    pub fn try_hold(&mut self, build: &Build) -> bool {
        let Some(hold) = &build.gpu else { return true };
        self.try_take(&build.template.profile, &hold.card, hold.demand)
    }

    /// Takes a lease again that was given up; not if others hold the card now.
    pub fn try_renew(&mut self, profile: &ProfileName, lease: &GpuLease) -> bool {
        let demand = self.demand(profile);
        demand.is_some_and(|demand| self.try_take(profile, &lease.uuid, demand))
    }

    fn try_take(&mut self, profile: &ProfileName, card: &GpuUuid, demand: GpuDemand) -> bool {
        let fits = self.card(card).is_some_and(|card| self.fits(card, profile, demand));
        if fits && let Some(card) = self.card_mut(card) {
            card.take(profile, demand, None);
        }
        fits
    }

    /// Leases a card for a runner of this profile, or says why there is none.
    pub fn lease(&mut self, profile: &ProfileName) -> Result<Option<GpuLease>, String> {
        let Some(demand) = self.demand(profile) else { return Ok(None) };
        let fitting = self.cards.iter().filter(|card| self.fits(card, profile, demand));
        let alike = |card: &Card<'_>| card.by_profile.get(profile).copied().unwrap_or(0);
        let mix = Mix::of(self.spec);
        let best = fitting.min_by_key(|card| match (is_heavy(demand), card.headroom()) {
            (true, _) => (alike(card), Reverse(GpuMib(0)), 0, card.facts.index),
            (false, free) => {
                let size = GpuMib(free.0.saturating_add(card.committed.0));
                let cost = mix.cost_of_part(size, free, demand.memory);
                (alike(card), Reverse(free), cost, card.facts.index)
            }
        });
        let Some(facts) = best.map(|card| card.facts) else {
            return Err(self.refusal(profile));
        };
        if let Some(card) = self.card_mut(&facts.uuid) {
            card.take(profile, demand, None);
        }
        Ok(Some(GpuLease { index: facts.index, uuid: facts.uuid.clone() }))
    }

    /// Leases the card with this index for a runner of this profile, or says why it cannot be.
    pub fn lease_on(&mut self, profile: &ProfileName, index: u32) -> Result<GpuLease, String> {
        let Some(demand) = self.demand(profile) else {
            return Err(format!("its profile {profile} needs no GPU"));
        };
        let known = self.cards.iter().map(|card| card.facts).find(|facts| facts.index == index);
        let Some(facts) = known else { return Err("this host has no such GPU".to_owned()) };
        match self.try_take(profile, &facts.uuid, demand) {
            true => Ok(GpuLease { index, uuid: facts.uuid.clone() }),
            false => Err(format!("profile {profile} does not fit there")),
        }
    }

    /// Whether a runner of this profile fits on a card now.
    pub fn has_room(&self, profile: &ProfileName, card: &GpuUuid) -> bool {
        let fits = |demand| self.card(card).is_some_and(|card| self.fits(card, profile, demand));
        self.demand(profile).is_some_and(fits)
    }

    /// What may still be leased of a card.
    pub fn headroom(&self, card: &GpuUuid) -> GpuMib {
        self.card(card).map(Card::headroom).unwrap_or_default()
    }

    /// What is leased of a card: of each lease the larger of reserved and measured.
    pub fn committed(&self, card: &GpuUuid) -> GpuMib {
        self.card(card).map(|card| card.committed).unwrap_or_default()
    }

    /// Whether more is held and used on a card than it has.
    pub fn is_short(&self, card: &GpuUuid) -> bool {
        let all = |card: &Card<'_>| u64::from(card.committed.0) + u64::from(card.measure.foreign.0);
        self.card(card).is_some_and(|card| all(card) > u64::from(card.usable.0))
    }

    /// Why a runner of this profile has no card.
    pub fn refusal(&self, profile: &ProfileName) -> String {
        let memory = self.demand(profile).map(|demand| demand.memory).unwrap_or_default();
        let need = format!("profile {profile} needs a GPU with {} MiB to lease", grouped(memory));
        if self.cards.is_empty() {
            return format!("{need}, and this host has no GPU that the supervisor can see");
        }
        if self.is_at_most(profile) {
            return format!("{need}, and no more of its runners may share the cards");
        }
        let told = |card: &Card<'_>| match self.is_of_vendor(card, profile) {
            true => card.told(),
            false => format!(
                "GPU {} is not NVIDIA's, and the profile has the label cuda",
                card.facts.index
            ),
        };
        let cards: Vec<String> = self.cards.iter().map(told).collect();
        format!("{need}; {}", cards.join("; "))
    }

    fn profile(&self, profile: &ProfileName) -> Option<&Profile> {
        self.spec.profiles.get(profile)
    }

    fn demand(&self, profile: &ProfileName) -> Option<GpuDemand> {
        self.profile(profile)?.gpu
    }

    fn card(&self, uuid: &GpuUuid) -> Option<&Card<'a>> {
        self.cards.iter().find(|card| card.facts.uuid == *uuid)
    }

    fn card_mut(&mut self, uuid: &GpuUuid) -> Option<&mut Card<'a>> {
        self.cards.iter_mut().find(|card| card.facts.uuid == *uuid)
    }

    fn fits(&self, card: &Card<'_>, profile: &ProfileName, demand: GpuDemand) -> bool {
        let shares = match demand.sharing {
            GpuSharing::Exclusive => card.runners == 0,
            GpuSharing::AtMost(_) => !self.is_at_most(profile),
            GpuSharing::Shared => true,
        };
        let is_taken = card.exclusive || (card.is_single && card.runners > 0);
        card.closed.is_none()
            && self.is_of_vendor(card, profile)
            && shares
            && !is_taken
            && card.headroom() >= demand.memory
    }

    fn is_of_vendor(&self, card: &Card<'_>, profile: &ProfileName) -> bool {
        let is_cuda = self.profile(profile).is_some_and(|it| it.labels.iter().any(|it| it == CUDA));
        !is_cuda || card.facts.vendor == GpuVendor::Nvidia
    }

    /// Whether there are as many runners of a profile as there may be. Specification 1 says "10 (5
    /// per GPU)" and draws 4 + 6: the bound is the cards' together.
    fn is_at_most(&self, profile: &ProfileName) -> bool {
        let Some(GpuSharing::AtMost(most)) = self.demand(profile).map(|it| it.sharing) else {
            return false;
        };
        let cards = u32::try_from(self.cards.len()).unwrap_or(u32::MAX);
        let alike: u32 = self.cards.iter().filter_map(|it| it.by_profile.get(profile)).sum();
        alike >= most.saturating_mul(cards)
    }
}

#[cfg(test)]
mod tests {
    use crate::fleet::Fleet;
    use crate::fleet::event::Event;
    use crate::fleet::host::HostFacts;
    use crate::fleet::state::Restored;
    use crate::sim::script::{host, pool, spec};
    use crate::spec::{Overcommit, Spec};
    use crate::units::{GpuMib, Time};

    #[test]
    fn of_cards_with_as_much_left_the_untouched_one_stays_whole() {
        let spec = spec().edit("gpu_heavy", |it| {
            it.gpu.as_mut().expect("it has one").memory = GpuMib(20_000);
        });
        let pools = ["gpu_heavy", "gpu_light", "gpu_max"].map(|profile| pool(profile, 1));
        let mut spec = pools.into_iter().fold(spec, Spec::with);
        spec.limits.overcommit_memory = Overcommit::Allow;
        let HostFacts { mut gpus, .. } = host();
        for (card, mib) in gpus.iter_mut().zip([16_384, 36_384]) {
            card.memory = GpuMib(mib);
        }
        let mut fleet = Fleet::restore(spec.clone(), Restored::default(), Time::default());
        fleet.handle(Time::default(), vec![Event::Host(HostFacts { gpus, ..host() })]);
        let plan = fleet.preview(&spec);
        assert_eq!(plan.refusal, None, "the light one is beside the heavy one");
    }
}
