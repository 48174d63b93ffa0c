//! Jobs that wait and are kept from starting, until somebody releases them.

use super::{ASKED, refuse};
use crate::fleet::audit::Client;
use crate::fleet::effect::{Answer, Refusal, RefusalKind};
use crate::fleet::forge;
use crate::fleet::job::JobState;
use crate::fleet::state::State;
use crate::ids::JobId;
use crate::units::Time;

/// Holds all of these jobs or none; one that is on hold stays so.
pub(super) fn hold(
    state: &mut State,
    now: Time,
    jobs: &[JobId],
    by: &Client,
) -> Result<Answer, Refusal> {
    refuse_unless_waiting(state, jobs, "hold")?;
    for id in jobs {
        if state.job(*id).is_some_and(|job| job.state == JobState::Queued) {
            state.turn_job(now, *id, ("held", ASKED), |job| {
                job.state = JobState::OnHold { since: now, by: by.clone() };
            });
        }
    }
    Ok(Answer::Accepted)
}

/// Releases all of these jobs or none; one that is not on hold waits already.
pub(super) fn release(state: &mut State, now: Time, jobs: &[JobId]) -> Result<Answer, Refusal> {
    refuse_unless_waiting(state, jobs, "release")?;
    for id in jobs {
        if state.job(*id).is_some_and(|job| matches!(job.state, JobState::OnHold { .. })) {
            // Its turn is its own still, and so it comes back to its old place.
            state.turn_job(now, *id, ("released", ASKED), |job| job.state = JobState::Queued);
        }
    }
    Ok(Answer::Accepted)
}

fn refuse_unless_waiting(state: &State, jobs: &[JobId], what: &str) -> Result<(), Refusal> {
    jobs.iter().try_for_each(|id| refuse_unless_it_waits(state, *id, what))
}

fn refuse_unless_it_waits(state: &State, id: JobId, what: &str) -> Result<(), Refusal> {
    let Some(job) = state.job(id) else { return Err(unknown(state, id, what)) };
    let message = match job.state {
        JobState::Queued | JobState::OnHold { .. } => return Ok(()),
        JobState::Given { .. } | JobState::Publishing { .. } | JobState::Fenced { .. } => format!(
            "{id} has a runner, and only what waits can be held; `slate-fleet cancel {id}` ends it"
        ),
        JobState::Ended { .. } => format!("{id} is over already"),
    };
    Err(refuse(RefusalKind::Conflict, message))
}

/// A forge's jobs have numbers, too.
fn unknown(state: &State, id: JobId, what: &str) -> Refusal {
    match forge::demand::scope_of(state, id.0) {
        Some(scope) => {
            let number = id.0;
            let message = format!(
                "{number} is a job of {scope}, which alone decides when it starts; only the \
                 fleet's own jobs can be held"
            );
            refuse(RefusalKind::Conflict, message)
        }
        None => refuse(RefusalKind::NotFound, format!("there is no {id} to {what}")),
    }
}
