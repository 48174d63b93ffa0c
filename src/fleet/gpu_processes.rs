//! Whose the processes on a card are.

use super::gpu::GpuReading;
use super::runner::Runner;
use super::state::State;

/// Names the runner of each process that runs in one of its containers.
pub(super) fn name_runners(state: &State, reading: &mut GpuReading) {
    for process in reading.processes.iter_mut().flatten() {
        let runner = state
            .runners()
            .find(|runner| runner.container().is_some_and(|container| process.is_in(container)));
        process.runner = runner.map(|runner| name(state, runner));
    }
}

/// What people call a runner: its slot's name, or its container's where it is a spare.
pub(super) fn name(state: &State, runner: &Runner) -> String {
    let slot = runner.slot.and_then(|id| state.slot(id));
    slot.map_or_else(|| runner.name.clone(), |slot| slot.name.clone())
}
