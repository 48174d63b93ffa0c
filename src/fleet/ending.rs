//! The end of an attempt: its reports are stored, its output is looked into, and then it is settled
//! what it was, whether there is another one, and what becomes of its runner.

use super::downgrade;
use super::effect::Effect;
use super::event::{Held, JobEnd, TaskEnd};
use super::failures;
use super::gpu_memory;
use super::job::{Job, JobState, StopBy, Verdict};
use super::oom::{self, Blame, Finding, GpuOom, Opinion, Search};
use super::raise::{self, Next};
use super::runner::{Cause, Phase};
use super::state::{Place, State};
use super::transition::{acknowledge, end, retire, settle};
use crate::ids::{IncarnationId, JobId};
use crate::spec::{Reuse, Secrets};
use crate::units::Time;

/// An attempt's processes are gone: what is to be stored of it, and what to look for.
pub(super) fn begin(
    state: &mut State,
    now: Time,
    (id, job): (IncarnationId, JobId),
    (end, stop): (JobEnd, Option<StopBy>),
) {
    let (gpu, time) = (gpu_memory::of(state, now, id), gpu_memory::time(state, now, id));
    let how = match &end {
        JobEnd::Completed(TaskEnd::Succeeded) => "it is completed".to_owned(),
        end => Verdict::of(end, stop).in_words(),
    };
    let told = format!("{how}; its reports are stored next");
    state.turn_job(now, job, ("ended", told), |record| {
        record.start(now);
        record.note_gpu_time(time);
        record.state = JobState::Publishing { runner: id, end, stop, gpu };
    });
    let publish = state.job(job).and_then(|job| publish(state, job));
    if let Some(publish) = publish {
        state.effect(publish);
    }
}

/// What is to be done with what an attempt left; nothing unless it waits for that.
pub(super) fn publish(state: &State, job: &Job) -> Option<Effect> {
    let JobState::Publishing { runner, end, gpu, .. } = &job.state else { return None };
    let is_suspect = gpu.is_some() && oom::is_suspect(end);
    Some(Effect::PublishReports {
        incarnation: *runner,
        job: job.id,
        attempt: job.attempt,
        reports: job.reports(),
        search: is_suspect.then(|| search(state, job, *runner)),
    })
}

/// What says "out of GPU memory", and what must not be in the line that does.
fn search(state: &State, job: &Job, runner: IncarnationId) -> Search {
    let mut secrets = Secrets::of_variables(&job.spec.env);
    if let Some(runner) = state.runner(runner) {
        secrets.extend(Secrets::of_variables(&runner.build.template.env));
    }
    Search { patterns: state.spec.gpu.oom_patterns.clone(), secrets }
}

/// A job's reports are in the store (or cannot be): its end counts now, and its runner is free.
/// What is told twice, or of an attempt that is over, changes nothing.
pub(super) fn published(
    state: &mut State,
    now: Time,
    held: Held,
    outcome: Result<(), String>,
    found: Finding,
) {
    let id = held.job;
    let Some(job) = state.job(id).filter(|job| job.attempt == held.attempt) else { return };
    let JobState::Publishing { runner, end: how, stop, gpu } = job.state.clone() else { return };
    let slot = job.slot;
    let mut verdict = Verdict::of(&how, stop);
    let opinion = match gpu {
        Some(measured) if oom::is_suspect(&how) => oom::judge(measured, found),
        Some(_) | None => Opinion::Unrelated,
    };
    let mut short = None;
    match opinion {
        Opinion::Unrelated => {}
        Opinion::Note(note) => verdict.add(&note),
        Opinion::Oom(oom) => {
            verdict = oom.verdict(verdict.exit_code);
            short = Some(oom);
        }
    }
    let next = raise::next(state, job, (&verdict, stop), short.as_deref());
    if let Err(why) = outcome {
        verdict.add(&format!("its reports could not be stored: {why}"));
    }
    conclude(state, now, (id, runner), (verdict, &next));
    acknowledge(state, runner, held);
    if let (Some(slot), Some(oom)) = (slot, short.as_deref())
        && oom.blame == Blame::Own
    {
        downgrade::begin(state, now, (slot, &oom.measured.profile), format!("{id} ran {oom}"));
    }
    count(state, runner, &next);
    match unfit(how, short) {
        Some(cause) => retire(state, now, runner, cause),
        None => free(state, now, (runner, id)),
    }
    if state.runner(runner).is_none() {
        settle(state, now, id);
        state.effect(Effect::Forget(runner));
    }
}

/// The job is over, or waits for its runner to go before it is given out again.
fn conclude(
    state: &mut State,
    now: Time,
    (id, runner): (JobId, IncarnationId),
    (verdict, next): (Verdict, &Next),
) {
    let again = match next {
        Next::Nothing => {
            let verdict = match state.job(id) {
                Some(job) => job.last_verdict(verdict),
                None => verdict,
            };
            return end(state, now, id, verdict);
        }
        Next::Again => verdict.in_words(),
        Next::On(raise) => format!("{}; next on {} or more", verdict.in_words(), raise.to),
    };
    state.turn_job(now, id, ("to be tried again", again), |job| {
        if let Next::On(raise) = next {
            raise.carry_out(job);
        }
        job.end_attempt(now, &verdict);
        job.state = JobState::Fenced { runner, why: verdict.in_words(), verdict: None };
    });
}

/// Why a runner is not fit for another job, if it is not.
fn unfit(how: JobEnd, short: Option<Box<GpuOom>>) -> Option<Cause> {
    match how {
        JobEnd::NotStarted(why) => Some(Cause::Unfit(why)),
        JobEnd::Exited(_)
        | JobEnd::Signalled(_)
        | JobEnd::TimedOut
        | JobEnd::Cancelled
        | JobEnd::OutOfMemory
        | JobEnd::MemoryLimit { .. }
        | JobEnd::HostMemory { .. }
        | JobEnd::Completed(_)
        | JobEnd::NoSuchProgram(_)
        | JobEnd::NotExecutable(_) => short.map(Cause::GpuOom),
    }
}

/// A slot whose runner did what it could for a job has no failures to wait for.
fn count(state: &mut State, runner: IncarnationId, next: &Next) {
    let Some(slot) = state.runner(runner).and_then(|runner| runner.slot) else { return };
    failures::forgive(state, &Place::Slot(slot));
    if *next == Next::Nothing
        && let Some(slot) = state.slot_mut(slot)
    {
        slot.tasks_completed += 1;
    }
}

/// A runner has done what it could for a job: it is used up, or idle again.
fn free(state: &mut State, now: Time, (id, job): (IncarnationId, JobId)) {
    let Some(runner) = state.runner(id) else { return };
    if runner.job().map(|(held, _)| held) != Some(job) {
        return;
    }
    match (runner.build.template.reuse, &runner.phase) {
        (Reuse::OneJob, _) => retire(state, now, id, Cause::Used),
        (Reuse::Persistent, Phase::Busy { container, .. }) => {
            let container = container.clone();
            state.enter(now, id, Phase::Idle { container }, format!("{job} is over"));
            // Its agent said that nothing of the job is left; it goes on with others, too.
            settle(state, now, job);
        }
        (Reuse::Persistent, _) => {}
    }
}
