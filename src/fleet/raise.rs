//! Whether an attempt is followed by another one, and on what: a job that ran out of GPU memory is
//! tried again once at most, and never with less of it. Less would be a loop.

use super::assignment::{self, is_at_least};
use super::attempt::{Fault, RetryOn};
use super::desired;
use super::downgrade::{gpu_memory, weight};
use super::job::{Job, Raised, StopBy, Verdict};
use super::oom::{Blame, GpuOom};
use super::queue::Kind;
use super::state::State;
use crate::ids::{AttemptNo, ProfileName};
use crate::spec::{Pool, PoolSize, Profile};

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The job's end.
    Nothing,
    /// Another attempt.
    Again,
    /// Another attempt, which needs more than this one did.
    On(Raise),
}

/// A job will need another profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raise {
    /// Which, at least.
    pub to: ProfileName,
    after: AttemptNo,
    blame: Blame,
}

impl Raise {
    /// From now on the job needs it.
    pub fn carry_out(&self, job: &mut Job) {
        let from = std::mem::replace(&mut job.profile, self.to.clone());
        job.raised = Some(Raised { from, after: self.after, blame: self.blame });
    }
}

/// What follows an attempt that ended so.
pub(super) fn next(
    state: &State,
    job: &Job,
    (verdict, stop): (&Verdict, Option<StopBy>),
    short: Option<&GpuOom>,
) -> Next {
    let Some(oom) = short else {
        return if job.may_try_again(verdict, stop) { Next::Again } else { Next::Nothing };
    };
    let was_raised = job.raised.as_ref().is_some_and(|raised| raised.blame == Blame::Own);
    let to = match (oom.blame, job.retry_on) {
        (Blame::Own, _) if was_raised => None,
        (Blame::Own, RetryOn::Never | RetryOn::Infrastructure) => None,
        (Blame::Own, RetryOn::Oom) => more_capable(state, job, oom),
        (Blame::Own, RetryOn::Any) => {
            more_capable(state, job, oom).or_else(|| as_capable(state, job, oom))
        }
        (Blame::Neighbours, on) if on.covers(Fault::Infrastructure) => as_capable(state, job, oom),
        (Blame::Neighbours, _) => None,
    };
    let Some(to) = to.filter(|_| job.has_tries_left(stop)) else { return Next::Nothing };
    match oom.blame {
        Blame::Neighbours if to == job.profile => Next::Again,
        blame => Next::On(Raise { to, after: job.attempt, blame }),
    }
}

/// The least profile of a pool open to the job that has more GPU memory than the attempt had, and
/// nothing less of anything than the job needs.
fn more_capable(state: &State, job: &Job, oom: &GpuOom) -> Option<ProfileName> {
    let need = state.spec.profiles.get(&job.profile)?;
    let is_more = |it: &Profile| is_at_least(it, need) && gpu_memory(it) > oom.measured.reserved;
    let kind = Kind::of(job);
    let open = assignment::open_to(&state.spec, &kind).filter(|pool| can_serve(state, pool));
    let profiles =
        open.filter_map(|pool| Some((&pool.profile, state.spec.profiles.get(&pool.profile)?)));
    let more = profiles.filter(|(_, it)| is_more(it));
    more.min_by_key(|(name, it)| (weight(it), *name)).map(|(name, _)| name.clone())
}

/// The profile that the attempt had, or the job's own where that is no less.
fn as_capable(state: &State, job: &Job, oom: &GpuOom) -> Option<ProfileName> {
    let profiles = &state.spec.profiles;
    let has_enough = |it: &Profile| gpu_memory(it) >= oom.measured.reserved;
    let need = profiles.get(&job.profile)?;
    if has_enough(need) {
        return Some(job.profile.clone());
    }
    let had = profiles.get(&oom.measured.profile)?;
    let kind = Kind { profile: oom.measured.profile.clone(), ..Kind::of(job) };
    let is_served = assignment::serving(&state.spec, &kind).any(|pool| can_serve(state, pool));
    let is_fit = is_at_least(had, need) && has_enough(had) && is_served;
    is_fit.then(|| oom.measured.profile.clone())
}

/// Whether a pool has runners, or can get some.
fn can_serve(state: &State, pool: &Pool) -> bool {
    let count = desired::counts_now(state).get(&pool.name).copied().unwrap_or(0);
    count > 0 || matches!(pool.size, PoolSize::Elastic(elastic) if elastic.max > 0)
}
