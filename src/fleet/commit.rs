//! Carries decisions into the state, with the effects and the record that go with them.
//! Decides nothing.

use super::attempt::Attempt;
use super::death;
use super::downgrade;
use super::effect::{ContainerPlan, Effect, EngineAction, GpuPlan};
use super::forge;
use super::gpus::{reclaim, seat};
use super::host::HostFacts;
use super::job::{Job, JobState, StopBy};
use super::order;
use super::plan::{Decision, Name, passed};
use super::runner::{Build, InFlight, OpKind, Phase, Runner};
use super::scale;
use super::state::{Image, State};
use super::task;
use super::transition::{retire, stop};
use crate::ids::{GpuUuid, IncarnationId, JobId, SlotId};
use crate::units::Time;

pub(super) fn commit(state: &mut State, now: Time, decision: Decision) {
    match decision {
        Decision::AskImage(image) => {
            state.images.insert(image.clone(), Image::Asked);
            state.effect(Effect::ResolveImage(image));
        }
        Decision::Make { slot, name, build } => make(state, now, slot, (name, *build)),
        Decision::Fill { slot, spare } => fill(state, now, slot, spare),
        Decision::Press { pool, to, why } => scale::press(state, now, (pool, to), &why),
        Decision::Grow { pool, to, why } => scale::grow(state, now, (&pool, to), &why),
        Decision::Shrink { pool, slots, why } => scale::shrink(state, now, (pool, &slots), &why),
        Decision::Follow(pool) => scale::follow(state, now, &pool),
        Decision::Restore(slot, why) => downgrade::end(state, now, slot, &why),
        Decision::DropSlot(slot) => {
            state.remove_slot(slot);
            state.tell(now, slot, "left", "it is not wanted any more");
        }
        Decision::Create(id) => create(state, id),
        Decision::Start(id) => start(state, id),
        Decision::Remove(id) => remove(state, id),
        Decision::Retire(id, why) => retire(state, now, id, why),
        Decision::Seat { slot, lease, why } => seat::commit(state, now, slot, (lease, why)),
        Decision::Reclaim { slots, why } => reclaim::commit(state, now, &slots, &why),
        Decision::TimeOut(job) => stop(state, now, job, StopBy::Timeout),
        Decision::Give { job, runner } => give(state, now, job, runner),
        Decision::ForgetJob(job) => {
            state.end_job(now, job, "it ended long ago");
            state.effect(Effect::DropLog(job));
        }
        Decision::Forge(decision) => forge::commit(state, now, decision),
        Decision::Finish => {
            forge::leftovers::tell_rest(state, now);
            state.effect(Effect::Finish);
        }
    }
}

fn make(state: &mut State, now: Time, slot: Option<SlotId>, (name, build): (Name, Build)) {
    let id = state.next_incarnation();
    let name = match name {
        Name::Slot(name) => name,
        Name::Incarnation => {
            format!("{}-{}-{id}", state.spec.project, build.template.pool)
        }
    };
    let phase = Phase::Planned;
    let registration = None;
    state.begin_runner(now, Runner { id, slot, name, build, phase, since: now, registration });
    if let Some(slot) = slot.and_then(|slot| state.slot_mut(slot)) {
        slot.runner = Some(id);
        slot.filled = now;
    }
}

fn fill(state: &mut State, now: Time, slot: SlotId, spare: IncarnationId) {
    if let Some(runner) = state.runner_mut(spare) {
        runner.slot = Some(slot);
    }
    if let Some(slot) = state.slot_mut(slot) {
        slot.runner = Some(spare);
        slot.filled = now;
    }
    state.tell_runner(now, spare, "filled", format!("by the spare {spare}"));
}

fn operate(state: &mut State, id: IncarnationId, kind: OpKind, action: EngineAction) {
    let op = state.next_op();
    if let Some(contact) = state.contacts.get_mut(&id) {
        contact.op = Some(InFlight { op, kind });
    }
    state.effect(Effect::Engine { op, incarnation: id, action });
}

fn create(state: &mut State, id: IncarnationId) {
    let Some(runner) = state.runner(id) else { return };
    let template = runner.build.template.clone();
    let plan = ContainerPlan {
        incarnation: id,
        name: runner.name.clone(),
        image: runner.build.image.clone(),
        gpu: runner.build.gpu.as_ref().map(|hold| gpu_plan(state, &hold.card)),
        cpuset: cpuset(&state.host, id, template.cpus.visible()),
        template,
    };
    operate(state, id, OpKind::Create, EngineAction::Create(Box::new(plan)));
}

/// A card that the host no longer has is asked for all the same: the engine's refusal names it.
fn gpu_plan(state: &State, card: &GpuUuid) -> GpuPlan {
    let gpus = &state.host.gpus;
    let access = gpus.iter().find(|gpu| gpu.uuid == *card).map(|gpu| gpu.access.clone());
    let request = state.spec.gpu.request;
    GpuPlan { uuid: card.clone(), access: access.unwrap_or_default(), request }
}

/// The CPUs that a runner sees: neighbours in turn, so that runners are spread over the host.
/// Empty where the runner's size is the host's or more, or the host is not known.
fn cpuset(host: &HostFacts, id: IncarnationId, visible: u32) -> Vec<u32> {
    if visible >= host.cpus {
        return Vec::new();
    }
    let first = id.0.wrapping_mul(u64::from(visible)) % u64::from(host.cpus);
    let cpus = u64::from(host.cpus);
    let mut set: Vec<u32> = (0..u64::from(visible))
        .filter_map(|offset| u32::try_from((first + offset) % cpus).ok())
        .collect();
    set.sort_unstable();
    set
}

fn start(state: &mut State, id: IncarnationId) {
    let Some(container) = state.runner(id).and_then(Runner::container).cloned() else { return };
    operate(state, id, OpKind::Start, EngineAction::Start(container));
}

fn remove(state: &mut State, id: IncarnationId) {
    let container = match state.runner(id) {
        Some(runner) => runner.container().cloned(),
        None => state.orphans.get(&id).cloned(),
    };
    let evidence = death::of(state, id).map(Box::new);
    operate(state, id, OpKind::Remove, EngineAction::Remove { container, evidence });
}

fn give(state: &mut State, now: Time, id: JobId, to: IncarnationId) {
    let Some(runner) = state.runner(to) else { return };
    let (Phase::Idle { container }, Some(slot)) = (runner.phase.clone(), runner.slot) else {
        return;
    };
    for (kind, times) in passed(state, now, (id, to)) {
        state.pass(kind, times);
    }
    let slot_name = state.slot(slot).map(|slot| slot.name.clone());
    state.turn_job(now, id, ("assigned", slot), |job| {
        job.attempt = job.attempt.next();
        job.attempts.push(Attempt {
            number: job.attempt,
            slot,
            runner_name: slot_name.clone().unwrap_or_default(),
            incarnation: to,
            given_at: now,
            started_at: None,
            gpu_time: None,
            end: None,
            late: None,
        });
        job.state = JobState::Given { runner: to, stop: None };
        job.assigned_at = Some(now);
        job.started_at = None;
        job.slot = Some(slot);
        job.slot_name = slot_name;
    });
    let Some(attempt) = state.job(id).map(|job| job.attempt) else { return };
    let why = format!("{id}, attempt {attempt}");
    state.enter(now, to, Phase::Busy { container, job: id, attempt }, why);
    match state.job(id).is_some_and(Job::is_external) {
        true => task::begin(state, now, id),
        false => order::assign(state, to, id),
    }
}
