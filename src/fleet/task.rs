//! Work that somebody drives from outside: a job without a command, for which a runner is leased.
//!
//! It waits, is given out, is bounded and told like any other job. Nothing of it is handed to the
//! runner's agent: it runs from the moment it is given until its driver says that it is over.

use super::ending;
use super::event::{JobEnd, TaskEnd};
use super::job::{JobState, StopBy};
use super::runner::Cause;
use super::state::State;
use crate::ids::JobId;
use crate::units::Time;

/// It has a runner, so it runs.
pub(super) fn begin(state: &mut State, now: Time, id: JobId) {
    let runner = state.job(id).and_then(|job| job.slot).map(|slot| slot.to_string());
    state.turn_job(now, id, ("started", runner.unwrap_or_default()), |job| job.start(now));
}

/// Its driver says that it is over. What it left under `/reports` is stored like any job's; then
/// its runner is free, or replaced. `false` if it does not run, or its end was asked for.
pub(super) fn complete(state: &mut State, now: Time, id: JobId, how: TaskEnd) -> bool {
    let Some(job) = state.job(id).filter(|job| job.is_external()) else { return false };
    let JobState::Given { runner, stop: None } = job.state else { return false };
    ending::begin(state, now, (runner, id), (JobEnd::Completed(how), None));
    true
}

/// Why a runner goes whose work from outside is to end: nobody in it can be asked to stop, so what
/// runs there goes with its container.
pub(super) fn taken(by: StopBy) -> Cause {
    match by {
        StopBy::Timeout => Cause::TimedOut,
        StopBy::Cancel => Cause::Forced,
        StopBy::Down => Cause::Down,
    }
}
