//! The cards as readers see them.

use super::card::Sweep;
use super::cards::Cards;
use super::ledger::{self, Measure};
use crate::fleet::gpu::{GpuFacts, GpuReading};
use crate::fleet::gpu_processes;
use crate::fleet::runner::{GpuHold, Runner};
use crate::fleet::state::State;
use crate::fleet::view::{GpuView, GpusView, LeaseView};
use crate::ids::IncarnationId;
use crate::spec::GpuSharing;
use crate::units::GpuMib;

/// Every card with its leases.
pub(in crate::fleet) fn view(state: &State) -> GpusView {
    let read = |card: &GpuFacts| ledger::reading(state, &card.uuid).cloned();
    let held = Cards::held(state);
    let one = |card: &GpuFacts| {
        one(state, &held, read(card).unwrap_or_else(|| GpuReading::unread(card.clone())))
    };
    GpusView {
        cards: state.host.gpus.iter().map(one).collect(),
        notes: state.gpus.notes.clone(),
        library: state.gpus.library.clone(),
        driver: state.gpus.driver.clone(),
    }
}

fn one(state: &State, held: &Cards<'_>, mut reading: GpuReading) -> GpuView {
    gpu_processes::name_runners(state, &mut reading);
    let card = &reading.card.uuid;
    let measure = ledger::measure(state, &reading);
    let is_on_it = |hold: &GpuHold| hold.card == *card;
    let there = state.runners().filter(|it| it.build.gpu.as_ref().is_some_and(is_on_it));
    let mut leases: Vec<LeaseView> =
        there.filter_map(|runner| lease(state, runner, (&reading, &measure))).collect();
    let gone = state.meta.sweeping.iter().filter(|(_, it)| is_on_it(&it.hold));
    leases.extend(gone.map(|(id, sweep)| swept(*id, sweep, &measure)));
    GpuView {
        headroom: held.headroom(card),
        committed: held.committed(card),
        foreign: measure.foreign,
        cordon: ledger::cordon(state, card).map(ToString::to_string),
        leases,
        reading,
    }
}

fn lease(
    state: &State,
    runner: &Runner,
    (reading, measure): (&GpuReading, &Measure),
) -> Option<LeaseView> {
    let hold = runner.build.gpu.as_ref()?;
    let processes = reading.processes.as_ref();
    let own = processes.map(|all| {
        let own = |it: &&crate::fleet::gpu::GpuProcess| {
            runner.container().is_some_and(|container| it.is_in(container))
        };
        all.iter().filter(own).collect::<Vec<_>>()
    });
    let busy = own
        .as_ref()
        .and_then(|own| own.iter().filter_map(|it| it.busy_percent).reduce(u8::saturating_add));
    Some(LeaseView {
        slot: runner.slot,
        incarnation: runner.id,
        name: gpu_processes::name(state, runner),
        profile: runner.build.template.profile.clone(),
        reserved: hold.demand.memory,
        used: processes.map(|_| used(measure, runner.id)),
        exclusive: hold.demand.sharing == GpuSharing::Exclusive,
        busy_percent: busy.map(|percent| percent.min(100)),
    })
}

/// What is held for a runner that is gone, until nothing of it is left.
fn swept(id: IncarnationId, sweep: &Sweep, measure: &Measure) -> LeaseView {
    LeaseView {
        slot: None,
        incarnation: id,
        name: format!("{id} (gone, being swept)"),
        profile: sweep.profile.clone(),
        reserved: sweep.hold.demand.memory,
        used: Some(used(measure, id)),
        exclusive: sweep.hold.demand.sharing == GpuSharing::Exclusive,
        busy_percent: None,
    }
}

fn used(measure: &Measure, id: IncarnationId) -> GpuMib {
    measure.attributed.get(&id).copied().unwrap_or_default()
}
