//! Steps in the lives of runners and jobs that several facts and decisions lead to.

use super::effect::{AgentOrder, Effect};
use super::event::Held;
use super::failures;
use super::forge;
use super::gpu_memory;
use super::gpus;
use super::job::{Job, JobState, Stop, StopBy, Verdict};
use super::runner::{Cause, Phase};
use super::state::State;
use super::task;
use crate::ids::{IncarnationId, JobId};
use crate::units::Time;

/// Takes a runner out of service: its slot is free, its job is fenced, its container is to go.
pub(super) fn retire(state: &mut State, now: Time, id: IncarnationId, why: Cause) {
    let Some(runner) = state.runner(id) else { return };
    if runner.is_retiring() {
        return;
    }
    let (container, job, slot) = (runner.container().cloned(), runner.job(), runner.slot);
    failures::note(state, now, id, &why);
    forge::leftovers::begin(state, now, id, &why);
    if matches!(state.runner(id).map(|it| &it.phase), Some(Phase::Working { .. })) {
        forge::listener::publish(state, now, id);
    }
    if let Some((job, _)) = job {
        fence(state, now, (job, id), &why);
    }
    if let Some(slot) = slot
        && state.slot(slot).is_some_and(|slot| slot.runner == Some(id))
        && let Some(slot) = state.slot_mut(slot)
    {
        slot.runner = None;
    }
    let words = why.to_string();
    state.enter(now, id, Phase::Retiring { container, why }, words);
}

/// The runner of a job is lost: what becomes of the job waits until the container is gone.
fn fence(state: &mut State, now: Time, (job, id): (JobId, IncarnationId), cause: &Cause) {
    let told = format!("{id} is lost: {cause}");
    let time = gpu_memory::time(state, now, id);
    state.turn_job(now, job, ("fenced", told), |job| {
        if let JobState::Given { runner, stop } = job.state
            && runner == id
        {
            let stop = stop.map(|stop| stop.by);
            let verdict = stop.map_or_else(|| Verdict::without_runner(cause), Verdict::stopped);
            job.note_gpu_time(time);
            give_up(job, now, (id, &verdict), stop);
        }
    });
}

/// An attempt is over, and its runner goes: decides whether there will be another attempt.
fn give_up(
    job: &mut Job,
    now: Time,
    (runner, verdict): (IncarnationId, &Verdict),
    stop: Option<StopBy>,
) {
    job.end_attempt(now, verdict);
    let why = verdict.in_words();
    let verdict = (!job.may_try_again(verdict, stop)).then(|| job.last_verdict(verdict.clone()));
    job.state = JobState::Fenced { runner, why, verdict };
}

/// A runner's container and volume are known to be gone: the fence for its job is passed.
pub(super) fn gone(state: &mut State, now: Time, id: IncarnationId) {
    if state.runner(id).is_none() {
        state.bury(id, now);
        state.tell_orphan_gone(now, id, "the orphan is gone");
        state.effect(Effect::Forget(id));
        return;
    }
    let fenced: Vec<JobId> = state
        .held_jobs()
        .filter(|job| matches!(&job.state, JobState::Fenced { runner, .. } if *runner == id))
        .map(|job| job.id)
        .collect();
    for job in fenced {
        settle(state, now, job);
    }
    gpus::sweep::begin(state, now, id);
    let publishing = state.held_jobs().any(|job| job.runner() == Some(id))
        || state.meta.publishing.contains_key(&id);
    state.end_runner(now, id, format!("{id} is gone"));
    if !publishing {
        state.effect(Effect::Forget(id));
    }
}

/// Queues a fenced job again, or ends it.
pub(super) fn settle(state: &mut State, now: Time, id: JobId) {
    let Some(job) = state.job(id) else { return };
    let JobState::Fenced { why, verdict, .. } = job.state.clone() else { return };
    match verdict {
        Some(verdict) => end(state, now, id, verdict),
        None => queue_again(state, now, id, why),
    }
}

/// A job waits for its next attempt.
fn queue_again(state: &mut State, now: Time, id: JobId, why: String) {
    let setback = Some(why.clone());
    state.turn_job(now, id, ("queued again", why), |job| {
        job.state = JobState::Queued;
        // It had its turn; those that came later have not.
        job.turn = 0;
        job.started_at = None;
        job.setback = setback;
    });
}

/// Records a job's end and lets its working folder go.
pub(super) fn end(state: &mut State, now: Time, id: JobId, verdict: Verdict) {
    let told = (verdict.status.word(), verdict.in_words());
    state.turn_job(now, id, told, |job| {
        job.end_attempt(now, &verdict);
        job.state = JobState::Ended { at: now, verdict };
    });
    state.effect(Effect::CloseLog(id));
    let Some(blob) = state.job(id).and_then(|job| job.spec.workspace.clone()) else { return };
    if !state.is_needed(&blob) {
        state.effect(Effect::DropBlob(blob));
    }
}

/// Tells an agent that it may forget an attempt.
pub(super) fn acknowledge(state: &mut State, incarnation: IncarnationId, held: Held) {
    let order = AgentOrder::Acknowledge { job: held.job, attempt: held.attempt };
    state.effect(Effect::Agent { incarnation, order });
}

/// Asks for the end of a job that a runner holds.
pub(super) fn stop(state: &mut State, now: Time, id: JobId, by: StopBy) {
    let Some(job) = state.job(id) else { return };
    let JobState::Given { runner, stop: None } = job.state else { return };
    let (held, is_external) = (Held { job: id, attempt: job.attempt }, job.is_external());
    let why = format!("{by:?}").to_lowercase();
    state.turn_job(now, id, ("stopping", why), |job| {
        job.state = JobState::Given { runner, stop: Some(Stop { since: now, by }) };
    });
    match is_external {
        true => retire(state, now, runner, task::taken(by)),
        false => order_cancel(state, runner, held),
    }
}

/// Tells an agent to stop its job.
pub(super) fn order_cancel(state: &mut State, incarnation: IncarnationId, held: Held) {
    let Some(runner) = state.runner(incarnation) else { return };
    let grace = runner.build.template.stop_grace;
    let order = AgentOrder::Cancel { job: held.job, attempt: held.attempt, grace };
    state.effect(Effect::Agent { incarnation, order });
}
