//! GPU memory: who ran out of it never gets less, and no slot stays lighter than it should.

use std::collections::BTreeMap;

use crate::fleet::attempt::{Attempt, Fault, RetryOn};
use crate::fleet::job::Job;
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::slot::Slot;
use crate::fleet::view::JobStatus;
use crate::ids::{AttemptNo, JobId};
use crate::sim::world::memory::of_profile;
use crate::spec::Spec;
use crate::units::Time;

/// What each attempt had of a card, in MiB.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<(JobId, AttemptNo), u32>);

impl Memory {
    /// A job was given to a runner.
    pub(super) fn given(&mut self, runner: &Runner) {
        if let Phase::Busy { job, attempt, .. } = runner.phase {
            let had = runner.build.gpu.as_ref().map_or(0, |hold| hold.demand.memory.0);
            self.0.insert((job, attempt), had);
        }
    }

    /// A job that ran out of GPU memory is tried again once at most, and never with less.
    pub(super) fn check_job(&self, job: &Job) -> Option<String> {
        let had = |attempt: &Attempt| self.0.get(&(job.id, attempt.number)).copied();
        if let Some(wrong) = job.attempts.iter().find_map(|it| check_time(it, had(it))) {
            return Some(format!("{}: {wrong}", job.id));
        }
        let mut own = 0;
        for (short, next) in job.attempts.iter().zip(job.attempts.iter().skip(1)) {
            let Some(fault) = ran_out(short) else { continue };
            own += u32::from(fault == Fault::Job);
            let (Some(before), Some(after)) = (had(short), had(next)) else { continue };
            let wants_more = fault == Fault::Job && job.retry_on == RetryOn::Oom;
            if after < before || (wants_more && after == before) {
                return Some(format!(
                    "{} ran out of {before} MiB and was given {after} MiB",
                    job.id
                ));
            }
        }
        (own > 1).then(|| format!("{} was tried again {own} times for GPU memory", job.id))
    }
}

/// No attempt had more of a card's time than passed, and each that had a card says what it had.
fn check_time(attempt: &Attempt, had: Option<u32>) -> Option<String> {
    let (end, had) = (attempt.end.as_ref()?, had?);
    let Some(time) = attempt.gpu_time else {
        return (had > 0).then(|| format!("attempt {} says no GPU time", attempt.number));
    };
    let wall = u128::from(time.unknown_ms) + u128::from(time.busy_ms.unwrap_or(0));
    let most = end.at.since(attempt.given_at).as_millis();
    let is_so = had > 0 && wall <= most && u128::from(time.reserved_ms) <= most;
    (!is_so).then(|| format!("attempt {} had {time:?} of {most} ms", attempt.number))
}

/// Whose fault it was, of an attempt that ran out of GPU memory.
fn ran_out(attempt: &Attempt) -> Option<Fault> {
    let end = attempt.end.as_ref().filter(|end| end.status == JobStatus::Oom)?;
    end.reason.as_ref().filter(|why| why.starts_with("out of GPU memory"))?;
    end.fault
}

/// A slot that is lighter than it should be, or for longer.
pub(super) fn check_slot(now: Time, spec: &Spec, slot: &Slot) -> Option<String> {
    let downgrade = slot.downgrade.as_ref()?;
    let (id, from, to) = (slot.id, &downgrade.from, &downgrade.to);
    let most = spec.gpu.downgrade_for.unwrap_or_default();
    if now >= downgrade.until || downgrade.until > now + most {
        return Some(format!("{id} is to be {to} until {:?}, and it is {now:?}", downgrade.until));
    }
    (of_profile(to) >= of_profile(from)).then(|| format!("{id} went from {from} to {to}"))
}
