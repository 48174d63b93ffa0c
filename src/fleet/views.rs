//! The read model made from the state.

mod shared;

use std::collections::{BTreeMap, BTreeSet};

use super::assignment;
use super::backoff::Backoff;
use super::desired::{self, Models};
use super::effect::Effect;
use super::ending;
use super::event::{Cordon, EVIDENCE};
use super::forge;
use super::gpus;
use super::job::{Job, JobState, Stop, StopBy};
use super::pause::is_paused;
use super::plan::most_leftovers;
use super::queue::Kind;
use super::runner::{Contact, OpKind, Phase, Runner};
use super::scale;
use super::slot::{Failure, Fate, Slot};
use super::state::{EngineContact, Image, Place, State};
use super::view::{
    FailureView, FleetPhase, FleetView, Health, JobFilter, JobOrder, JobView, PoolView,
    RunnerStatus, RunnerView, SizeReason, WaitReason,
};
use super::waiting::reason::{self, Reasons};
use crate::ids::{JobId, PoolName};
use crate::spec::{Pool, PoolSize};
use crate::units::words::counted;
use crate::units::{Bytes, MilliCpu, Time};

/// An agent that was not heard for this long is unhealthy; it speaks every 5 s.
const UNHEALTHY_AFTER_SECONDS: u64 = 20;

/// Publishing that a restart interrupted is asked for again; it is safe to repeat.
pub(super) fn resume_publishing(state: &mut State) {
    let interrupted: Vec<Effect> = state
        .held_jobs()
        .filter_map(|job| match &job.state {
            JobState::Publishing { .. } => ending::publish(state, job),
            JobState::Queued
            | JobState::OnHold { .. }
            | JobState::Given { .. }
            | JobState::Fenced { .. }
            | JobState::Ended { .. } => None,
        })
        .collect();
    for effect in interrupted {
        state.effect(effect);
    }
    let of_forges = state.meta.publishing.clone();
    for (incarnation, all) in of_forges {
        for reports in all {
            state.effect(Effect::PublishForgeReports { incarnation, reports });
        }
    }
}

pub(super) fn fleet(state: &State, now: Time) -> FleetView {
    let runners: Vec<RunnerView> = state.slots().map(|slot| runner(state, slot, now)).collect();
    let pools: Vec<PoolView> = pools(state, &runners, now);
    FleetView {
        project: state.spec.project.clone(),
        at: now,
        phase: phase(state, &runners),
        troubles: troubles(state, &runners, &pools),
        max_parallel_workflows: state.spec.limits.max_parallel_workflows,
        pools,
        gpus: gpus::view::view(state),
        forges: forge::views::scopes(state, now),
        disks: state.disks.view(),
        queued: u32::try_from(state.queue_len()).unwrap_or(u32::MAX),
        held: u32::try_from(state.on_hold_len()).unwrap_or(u32::MAX),
        running: u32::try_from(state.held_jobs().count()).unwrap_or(u32::MAX),
        oldest: shared::oldest(state, now),
        lanes: shared::lanes(state),
        host: shared::host(state),
        runners,
    }
}

fn phase(state: &State, runners: &[RunnerView]) -> FleetPhase {
    if state.is_going_down() {
        return FleetPhase::GoingDown;
    }
    if state.engine == EngineContact::Unknown {
        return FleetPhase::Starting;
    }
    let models = desired::models(state);
    // A closed slot of a forge stays empty: its runner would get jobs.
    let is_closed = |runner: &RunnerView| {
        let is_open = runner.cordon == Cordon::Open && !is_paused(state, &runner.pool);
        !is_open && runner.forge.is_some() && runner.incarnation.is_none()
    };
    let as_wanted = |runner: &RunnerView| {
        is_closed(runner)
            || matches!(runner.status, RunnerStatus::Idle | RunnerStatus::Running)
                && state.slot(runner.id).is_some_and(|slot| is_current(state, &models, slot))
    };
    let reachable = state.engine == EngineContact::Listed;
    let asked = state.images.values().any(|image| *image == Image::Asked);
    match reachable && !asked && runners.iter().all(as_wanted) {
        true => FleetPhase::Ready,
        false => FleetPhase::Converging,
    }
}

/// Whether a slot stays and its runner is what the spec says.
fn is_current(state: &State, models: &Models, slot: &Slot) -> bool {
    let runner = slot.runner.and_then(|id| state.runner(id));
    let model = models.of_slot(slot).filter(|model| model.is_known());
    let is_met = model.zip(runner).is_some_and(|(it, runner)| it.is_met(Some(slot), &runner.build));
    slot.fate == Fate::Stay && is_met
}

fn troubles(state: &State, runners: &[RunnerView], pools: &[PoolView]) -> Vec<String> {
    let mut troubles = Vec::new();
    if let EngineContact::Unreachable(why) = &state.engine {
        troubles.push(format!("the engine does not answer: {why}"));
    }
    troubles.extend(state.disks.trouble().map(|why| format!("no job is given out: {why}")));
    for (image, known) in &state.images {
        if let Image::Missing { why, .. } = known {
            troubles.push(format!("image {image}: {why}"));
        }
    }
    troubles.extend(gpus::troubles(state));
    troubles.extend(forge::views::troubles(state));
    troubles.extend(
        runners
            .iter()
            .filter(|it| state.slot(it.id).is_some_and(|slot| gpus::seat::is_without(state, slot)))
            .filter_map(|it| Some(format!("{}: {}", it.name, it.reason.as_ref()?))),
    );
    troubles.extend(runner_troubles(state, runners));
    for pool in pools {
        // What hinders single runners, too, was said with them.
        if let SizeReason::Held { waiting, why } = &pool.why
            && !troubles.iter().any(|trouble| trouble.ends_with(why.as_str()))
        {
            let (name, waiting) = (&pool.name, counted(*waiting, "waiting job"));
            troubles.push(format!("pool {name} cannot grow for {waiting}: {why}"));
        }
    }
    troubles
}

/// What is wrong with runners, each cause once: what one host lacks, ten runners fail for.
fn runner_troubles(state: &State, runners: &[RunnerView]) -> Vec<String> {
    let mut causes: Vec<(&str, &RunnerView, &String, usize)> = Vec::new();
    for runner in runners.iter().filter(|it| it.status.is_trouble()) {
        let Some(reason) = &runner.reason else { continue };
        let waits = state.backoffs.get(&Place::Slot(runner.id)).and_then(Backoff::why);
        // What the engine adds for each container (its id, a path) is evidence, not the cause.
        let cause = waits.unwrap_or(reason).split(EVIDENCE).next().unwrap_or_default();
        match causes.iter_mut().find(|(known, ..)| *known == cause) {
            Some((.., others)) => *others += 1,
            None => causes.push((cause, runner, reason, 0)),
        }
    }
    let told = |(_, first, reason, others): (&str, &RunnerView, &String, usize)| match others {
        0 => format!("{}: {reason}", first.name),
        _ => format!("{} and {others} more: {reason}", first.name),
    };
    causes.into_iter().map(told).collect()
}

fn runner(state: &State, slot: &Slot, now: Time) -> RunnerView {
    let present = slot.runner.and_then(|id| state.runner(id));
    let contact = present.map(|runner| state.contact(runner.id)).unwrap_or_default();
    let profile = state.spec.profiles.get(slot.profile_now());
    let reason = reason(state, slot, now);
    let has_gpu = profile.is_some_and(|profile| profile.gpu.is_some());
    let job = present.and_then(Runner::job);
    RunnerView {
        id: slot.id,
        name: slot.name.clone(),
        pool: slot.pool.clone(),
        profile: slot.profile_now().clone(),
        downgrade: slot.downgrade.clone(),
        labels: profile.map(|profile| profile.labels.clone()).unwrap_or_default(),
        gpu: slot.gpu.as_ref().filter(|_| has_gpu).map(|lease| lease.index),
        status: present.map_or_else(
            || empty_status(state, slot, reason.as_ref()),
            |runner| status(state, runner, &contact),
        ),
        since: present.map_or(now, |runner| runner.since),
        cordon: slot.cordon,
        incarnation: slot.runner,
        container: present.and_then(Runner::container).cloned(),
        container_name: present.map(|runner| runner.name.clone()),
        image: profile.map(|profile| profile.image.to_string()).unwrap_or_default(),
        job: job.map(|(job, _)| job),
        task: job.and_then(|(job, _)| state.job(job)?.spec.task.clone()),
        tasks_completed: slot.tasks_completed,
        cpus: profile.map_or(MilliCpu(0), |profile| profile.cpus),
        memory: profile.map_or(Bytes(0), |profile| profile.memory),
        reason: reason.or_else(|| slot.downgrade.as_ref().map(|it| it.in_words(now))),
        last_failure: slot.last_failure.as_ref().and_then(|it| failure(it, now)),
        health: health(present, &contact, now),
        heard: contact.spoke,
        forge: forge::views::runner(state, slot, present),
    }
}

fn failure(failure: &Failure, now: Time) -> Option<FailureView> {
    Some(FailureView {
        status: failure.cause.error_state()?,
        cause: failure.cause.to_string(),
        at: failure.at,
        incarnation: failure.incarnation,
        job: failure.job,
        in_a_row: failure.in_a_row,
        next_try: Some(failure.next_try).filter(|next| now < *next),
    })
}

fn empty_status(state: &State, slot: &Slot, reason: Option<&String>) -> RunnerStatus {
    let has_failed = state.backoffs.contains_key(&Place::Slot(slot.id));
    let is_waiting = !has_failed && gpus::seat::waits(state, slot).is_some();
    let leaving = state.runners().any(|runner| runner.slot == Some(slot.id));
    match (slot.fate, reason) {
        (Fate::Leave, _) => RunnerStatus::Removing,
        (Fate::Stay, _) if state.is_going_down() => RunnerStatus::Removing,
        (Fate::Stay, Some(_)) if is_waiting => RunnerStatus::Planned,
        (Fate::Stay, Some(_)) => failed_status(state, slot),
        (Fate::Stay, None) if leaving => RunnerStatus::Removing,
        (Fate::Stay, None) => RunnerStatus::Planned,
    }
}

/// The state of a slot that something stands in the way of: as its last runner failed, as long as
/// the slot waits because of that.
fn failed_status(state: &State, slot: &Slot) -> RunnerStatus {
    let waits = state.backoffs.contains_key(&Place::Slot(slot.id));
    let last = slot.last_failure.as_ref().filter(|_| waits);
    last.and_then(|failure| failure.cause.error_state()).unwrap_or(RunnerStatus::Error)
}

fn status(state: &State, runner: &Runner, contact: &Contact) -> RunnerStatus {
    match &runner.phase {
        Phase::Planned => match contact.op.map(|op| op.kind) {
            Some(OpKind::Create) => RunnerStatus::Creating,
            Some(OpKind::Start | OpKind::Remove | OpKind::Register | OpKind::Deregister) | None => {
                RunnerStatus::Planned
            }
        },
        Phase::Created { .. } | Phase::Booting { .. } => RunnerStatus::Starting,
        Phase::Registering { .. } => RunnerStatus::Registering,
        Phase::Working { .. } => RunnerStatus::Running,
        Phase::Leaving { .. } => RunnerStatus::Stopping,
        Phase::Idle { .. } => RunnerStatus::Idle,
        Phase::Busy { job, .. } => match state.job(*job).map(|job| &job.state) {
            Some(JobState::Given { stop: Some(Stop { by: StopBy::Timeout, .. }), .. }) => {
                RunnerStatus::TimedOut
            }
            Some(_) | None => RunnerStatus::Running,
        },
        Phase::Retiring { .. } => RunnerStatus::Removing,
    }
}

/// What stands in a slot's way, or what failed there last.
fn reason(state: &State, slot: &Slot, now: Time) -> Option<String> {
    let pool = desired::pool(&state.spec, &slot.pool)?;
    if let Some(why) = forge::views::reason(state, now, slot) {
        return Some(why);
    }
    let image = desired::template_as(&state.spec, pool, slot.profile_now())?.image;
    if slot.runner.is_none()
        && let Some(Image::Missing { why, .. }) = state.images.get(&image)
    {
        return Some(format!("image {image}: {why}"));
    }
    let stuck = state.runners().filter(|runner| {
        runner.slot == Some(slot.id) && state.contact(runner.id).removals_failed > 0
    });
    let stuck = stuck.count();
    if slot.runner.is_none() && stuck >= most_leftovers(pool.reuse) {
        return Some(format!("the engine does not remove {stuck} of its former containers"));
    }
    let backoff = state.backoffs.get(&Place::Slot(slot.id));
    let waits = || gpus::seat::waits(state, slot);
    let waits = backoff.is_none_or(|it| it.is_over(now)).then(waits).flatten();
    waits.or_else(|| backoff.and_then(|it| it.reason(now)))
}

fn health(runner: Option<&Runner>, contact: &Contact, now: Time) -> Health {
    let Some(runner) = runner else { return Health::Unknown };
    match runner.phase {
        Phase::Registering { .. }
        | Phase::Idle { .. }
        | Phase::Working { .. }
        | Phase::Leaving { .. }
        | Phase::Busy { .. } => {
            let recent = now.since(contact.heard).as_secs() <= UNHEALTHY_AFTER_SECONDS;
            match contact.is_connected() && recent {
                true => Health::Healthy,
                false => Health::Unhealthy,
            }
        }
        Phase::Planned | Phase::Created { .. } | Phase::Booting { .. } | Phase::Retiring { .. } => {
            Health::Unknown
        }
    }
}

fn pools(state: &State, runners: &[RunnerView], now: Time) -> Vec<PoolView> {
    let mut reasons = scale::reasons(state, now);
    let counts = desired::counts_now(state);
    let view = |it: &Pool| {
        let why = reasons.remove(&it.name).unwrap_or((SizeReason::File, 0));
        let desired = counts.get(&it.name).copied().unwrap_or(0);
        pool(state, it, runners, (desired, why))
    };
    state.spec.pools.iter().map(view).collect()
}

fn pool(
    state: &State,
    pool: &Pool,
    runners: &[RunnerView],
    (desired, (why, waiting)): (u32, (SizeReason, u32)),
) -> PoolView {
    let count = |is_so: fn(RunnerStatus) -> bool| {
        let alike = runners.iter().filter(|it| it.pool == pool.name && is_so(it.status));
        u32::try_from(alike.count()).unwrap_or(u32::MAX)
    };
    let spares = state.runners().filter(|runner| {
        runner.slot.is_none()
            && runner.build.template.pool == pool.name
            && matches!(runner.phase, Phase::Idle { .. } | Phase::Registering { .. })
    });
    PoolView {
        name: pool.name.clone(),
        profile: pool.profile.clone(),
        desired,
        min: match pool.size {
            PoolSize::Fixed(count) => count,
            PoolSize::Elastic(elastic) => elastic.min,
        },
        max: pool.size.most(),
        why,
        paused: state.meta.paused.get(&pool.name).cloned(),
        waiting,
        idle: count(|status| status == RunnerStatus::Idle),
        running: count(|status| status == RunnerStatus::Running),
        error: count(RunnerStatus::is_trouble),
        spares: u32::try_from(spares.count()).unwrap_or(u32::MAX),
        scaled: state.meta.scaled.contains_key(&pool.name),
    }
}

pub(super) fn jobs(state: &State, now: Time, filter: &JobFilter) -> Vec<JobView> {
    let wanted = |job: &&Job| filter.takes(job);
    let jobs: Vec<&Job> = match filter.order {
        JobOrder::Newest => state.jobs().rev().filter(wanted).take(filter.limit).collect(),
        JobOrder::Queue => {
            let all = state.queue(now).chain(state.jobs_on_hold());
            all.filter(wanted).take(filter.limit).collect()
        }
    };
    let mut line = Waiting::of(state, now, &jobs);
    jobs.into_iter().map(|job| describe(&mut line, job)).collect()
}

pub(super) fn job(state: &State, now: Time, id: JobId) -> Option<JobView> {
    let job = state.job(id)?;
    Some(describe(&mut Waiting::of(state, now, &[job]), job))
}

/// Places in the queue of the jobs that are shown, and why they wait.
struct Waiting<'a> {
    /// From 1.
    places: BTreeMap<JobId, u32>,
    /// What goes before them, of what waits for the same pools.
    ahead: BTreeMap<JobId, u32>,
    reasons: Reasons<'a>,
}

impl<'a> Waiting<'a> {
    fn of(state: &'a State, now: Time, jobs: &[&Job]) -> Self {
        let queued = jobs.iter().filter(|job| matches!(job.state, JobState::Queued));
        let mut queued: BTreeSet<JobId> = queued.map(|job| job.id).collect();
        let (mut places, mut ahead) = (BTreeMap::new(), BTreeMap::new());
        let mut kinds: BTreeMap<Kind, (u32, BTreeSet<&PoolName>)> = BTreeMap::new();
        for (place, job) in (1u32..).zip(state.queue(now)) {
            if queued.is_empty() {
                break;
            }
            let kind = Kind::of(job);
            let pools = || (0, assignment::servers(&state.spec, job).into_iter().collect());
            let (count, own) = kinds.entry(kind).or_insert_with(pools);
            *count += 1;
            if queued.remove(&job.id) {
                let own = own.clone();
                let rivals = kinds.values().filter(|(_, pools)| !pools.is_disjoint(&own));
                let before: u32 = rivals.map(|(count, _)| count).sum();
                places.insert(job.id, place);
                ahead.insert(job.id, before.saturating_sub(1));
            }
        }
        Self { places, ahead, reasons: Reasons::new(state, now) }
    }
}

fn describe(waiting: &mut Waiting<'_>, job: &Job) -> JobView {
    let position = waiting.places.get(&job.id).copied();
    let ahead = waiting.ahead.get(&job.id).copied();
    let wait = reason::of_hold(job).or_else(|| ahead.map(|ahead| waiting.reasons.of(job, ahead)));
    let ended = match &job.state {
        JobState::Ended { at, verdict } => Some((*at, verdict)),
        JobState::Queued
        | JobState::OnHold { .. }
        | JobState::Given { .. }
        | JobState::Publishing { .. }
        | JobState::Fenced { .. } => None,
    };
    let ended_why = ended.and_then(|(_, verdict)| verdict.reason.clone());
    JobView {
        id: job.id,
        spec: job.spec.clone(),
        profile: job.profile.clone(),
        raised: job.raised.clone(),
        reports: job.reports(),
        status: job.status(),
        attempt: job.attempt,
        runner: job.slot,
        runner_name: job.slot_name.clone(),
        queued_at: job.queued_at,
        assigned_at: job.assigned_at,
        started_at: job.started_at,
        ended_at: ended.map(|(at, _)| at),
        exit_code: ended.and_then(|(_, verdict)| verdict.exit_code),
        fault: ended.and_then(|(_, verdict)| verdict.fault),
        attempts: job.attempts.clone(),
        gpu_time: job.gpu_time(),
        reason: ended_why.or_else(|| wait.as_ref().map(ToString::to_string)),
        reason_code: wait.as_ref().map(WaitReason::code),
        wait,
        position,
    }
}
