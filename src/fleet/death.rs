//! What the core knows of a runner that failed: it is handed out with the order to remove the
//! container, so that evidence is taken while there is some.

use super::runner::{Cause, Phase};
use super::state::State;
use crate::ids::{AttemptNo, ImageRef, IncarnationId, JobId, PoolName, ProfileName, SlotId};
use crate::spec::Secrets;
use crate::units::Time;

/// A runner's failure, in the core's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Which incarnation failed.
    pub incarnation: IncarnationId,
    /// Its container's name.
    pub container_name: String,
    /// The slot that it filled; none for a spare.
    pub slot: Option<SlotId>,
    /// That slot's name.
    pub runner: Option<String>,
    /// Its pool.
    pub pool: PoolName,
    /// Its profile.
    pub profile: ProfileName,
    /// The image as the file names it.
    pub image: ImageRef,
    /// Why it was taken out of service.
    pub cause: Cause,
    /// When.
    pub at: Time,
    /// The job that it held, and which attempt of it.
    pub job: Option<(JobId, AttemptNo)>,
    /// The agent's last sign of life, if this supervisor heard one.
    pub heard: Option<Time>,
    /// What must not be in the evidence: what the profile's and the job's variables hold.
    pub secrets: Secrets,
}

/// The death of a runner that is on its way out, if its end was a failure.
pub(super) fn of(state: &State, id: IncarnationId) -> Option<Death> {
    let runner = state.runner(id)?;
    let Phase::Retiring { why, .. } = &runner.phase else { return None };
    // A job that would not stop is the job's failure, and yet somebody will want to know.
    why.error_state()?;
    let template = &runner.build.template;
    let job = state.held_jobs().find(|job| job.runner() == Some(id));
    let mut secrets = Secrets::of_variables(&template.env);
    if let Some(job) = job {
        secrets.extend(Secrets::of_variables(&job.spec.env));
    }
    Some(Death {
        incarnation: id,
        container_name: runner.name.clone(),
        slot: runner.slot,
        runner: runner.slot.and_then(|slot| state.slot(slot)).map(|slot| slot.name.clone()),
        pool: template.pool.clone(),
        profile: template.profile.clone(),
        image: template.image.clone(),
        cause: why.clone(),
        at: runner.since,
        job: job.map(|job| (job.id, job.attempt)),
        heard: state.contact(id).spoke,
        secrets,
    })
}
