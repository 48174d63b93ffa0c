//! What is in use on a card, and whose it is.

use std::collections::BTreeMap;

use super::card::CardCordon;
use crate::fleet::gpu::{ComputeMode, GpuFacts, GpuReading, MigMode};
use crate::fleet::runner::Runner;
use crate::fleet::state::State;
use crate::ids::{ContainerId, GpuUuid, IncarnationId};
use crate::units::GpuMib;

/// What is in use on a card, by whom. What could not be read is nothing: the ledger alone counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::fleet) struct Measure {
    /// Of each runner, also of those that are gone but not swept.
    pub attributed: BTreeMap<IncarnationId, GpuMib>,
    /// Of nobody in the fleet.
    pub foreign: GpuMib,
    /// Of no process at all; none where that cannot be known.
    pub unowned: Option<GpuMib>,
}

/// What was read of a card last.
pub(in crate::fleet) fn reading<'a>(state: &'a State, card: &GpuUuid) -> Option<&'a GpuReading> {
    state.gpus.cards.iter().find(|it| it.card.uuid == *card)
}

/// Shares out what is in use on a card.
pub(in crate::fleet) fn measure(state: &State, reading: &GpuReading) -> Measure {
    let mut measure = Measure::default();
    let (mut listed, mut is_blind) = (0_u32, reading.processes.is_none());
    for process in reading.processes.iter().flatten() {
        let owner = process.container.as_ref().and_then(|it| owner(state, it));
        let Some(memory) = process.memory else {
            // What it holds is some of what nobody seems to hold.
            is_blind = true;
            if let Some(owner) = owner {
                measure.attributed.entry(owner).or_default();
            }
            continue;
        };
        listed = listed.saturating_add(memory.0);
        match owner {
            Some(owner) => {
                let sum = measure.attributed.entry(owner).or_default();
                sum.0 = sum.0.saturating_add(memory.0);
            }
            None => measure.foreign.0 = measure.foreign.0.saturating_add(memory.0),
        }
    }
    let Some(used) = reading.used else { return measure };
    let own = match is_blind {
        true => reserved(state, &reading.card.uuid, &measure.attributed),
        false => measure.attributed.values().fold(0_u32, |sum, it| sum.saturating_add(it.0)),
    };
    measure.foreign = measure.foreign.max(GpuMib(used.0.saturating_sub(own)));
    measure.unowned = (!is_blind).then(|| GpuMib(used.0.saturating_sub(listed)));
    measure
}

/// The runner, there or gone, whose container this is.
fn owner(state: &State, container: &ContainerId) -> Option<IncarnationId> {
    let has_card = |runner: &&Runner| runner.build.gpu.is_some();
    let mut there = state.runners().filter(has_card);
    let there = there.find(|runner| runner.container() == Some(container)).map(|it| it.id);
    let mut gone = state.meta.sweeping.iter();
    there.or_else(|| {
        gone.find(|(_, it)| it.container.as_ref() == Some(container)).map(|(id, _)| *id)
    })
}

/// What may be the fleet's own where nobody can say whose memory it is: what is leased.
fn reserved(state: &State, card: &GpuUuid, attributed: &BTreeMap<IncarnationId, GpuMib>) -> u32 {
    let of = |id: IncarnationId, memory: GpuMib| {
        memory.max(attributed.get(&id).copied().unwrap_or_default()).0
    };
    let held = state.runners().filter_map(|it| Some((it.id, it.build.gpu.as_ref()?)));
    let swept = state.meta.sweeping.iter().map(|(id, sweep)| (*id, &sweep.hold));
    held.chain(swept)
        .filter(|(_, hold)| hold.card == *card)
        .fold(0_u32, |sum, (id, hold)| sum.saturating_add(of(id, hold.demand.memory)))
}

/// A card's memory, without what its driver keeps.
pub(in crate::fleet) fn usable(state: &State, card: &GpuFacts) -> GpuMib {
    let told = match card.memory {
        GpuMib(0) => state.spec.gpu.memory.get(&card.uuid).copied().unwrap_or_default(),
        memory => memory,
    };
    GpuMib(told.0.saturating_sub(card.reserved.0))
}

/// Why a card is cordoned, if it is.
pub(in crate::fleet) fn cordon<'a>(state: &'a State, card: &GpuUuid) -> Option<&'a CardCordon> {
    state.meta.cards.get(card)?.cordon.as_ref()
}

/// Why nothing new may be placed on a card, if so.
pub(in crate::fleet) fn closed(state: &State, card: &GpuFacts) -> Option<String> {
    if let Some(cordon) = cordon(state, &card.uuid) {
        return Some(format!("is cordoned: {cordon}"));
    }
    let reading = reading(state, &card.uuid)?;
    match (reading.mig, reading.compute_mode) {
        (Some(MigMode::On), _) => Some("is cut into MIG instances".to_owned()),
        (Some(MigMode::Pending), _) => Some("waits for a reset that changes its MIG mode".into()),
        (_, Some(ComputeMode::Prohibited)) => Some("is in compute mode PROHIBITED".to_owned()),
        (Some(MigMode::Off) | None, _) => None,
    }
}
