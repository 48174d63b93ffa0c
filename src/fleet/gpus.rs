//! What the fleet makes of its cards: what is held of each, and what is left.

use super::gpu::{GpuFacts, GpuReading, GpuReport, XidReport};
use super::gpu_memory;
use super::runner::{GpuHold, Runner};
use super::state::State;
use super::view::{GpuView, GpusView, LeaseView};
use crate::spec::GpuSharing;
use crate::units::{GpuMib, Time};

/// Takes in what the cards say now.
pub(super) fn observe(state: &mut State, now: Time, report: GpuReport) {
    gpu_memory::observe(state, now, &report);
    state.host.gpus = report.cards.iter().map(|reading| reading.card.clone()).collect();
    state.gpus = report;
}

/// Takes in what a driver reports of a card.
pub(super) fn xid(state: &mut State, _now: Time, report: XidReport) {
    let cards = &mut state.gpus.cards;
    if let Some(reading) = cards.iter_mut().find(|it| it.card.uuid == report.card) {
        reading.last_xid = Some(report);
    }
}

/// Every card with its leases.
pub(super) fn view(state: &State) -> GpusView {
    let read = |card: &GpuFacts| state.gpus.cards.iter().find(|it| it.card == *card).cloned();
    let cards = state.host.gpus.iter();
    GpusView {
        cards: cards
            .map(|card| one(state, read(card).unwrap_or_else(|| GpuReading::unread(card.clone()))))
            .collect(),
        notes: state.gpus.notes.clone(),
        library: state.gpus.library.clone(),
        driver: state.gpus.driver.clone(),
    }
}

fn one(state: &State, reading: GpuReading) -> GpuView {
    let on_it = |runner: &&Runner| holds(runner).is_some_and(|it| it.card == reading.card.uuid);
    let leases: Vec<LeaseView> = state.runners().filter(on_it).filter_map(lease).collect();
    let committed = GpuMib(leases.iter().map(|lease| lease.reserved.0).sum());
    let total = reading.card.memory.0.saturating_sub(reading.card.reserved.0);
    GpuView {
        headroom: GpuMib(total.saturating_sub(committed.0)),
        committed,
        foreign: GpuMib(0),
        cordon: None,
        leases,
        reading,
    }
}

fn holds(runner: &Runner) -> Option<&GpuHold> {
    runner.build.gpu.as_ref()
}

fn lease(runner: &Runner) -> Option<LeaseView> {
    let hold = holds(runner)?;
    Some(LeaseView {
        slot: runner.slot,
        incarnation: runner.id,
        name: runner.name.clone(),
        profile: runner.build.template.profile.clone(),
        reserved: hold.demand.memory,
        used: None,
        exclusive: hold.demand.sharing == GpuSharing::Exclusive,
        busy_percent: None,
    })
}
