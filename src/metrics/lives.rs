//! Reads the lives of jobs and runners from the records of the core's steps.
//!
//! Each record is read once, after it is durable, so that each happening counts once. What was
//! recorded before this supervisor began is known from the restored state and not counted again.

use std::collections::BTreeMap;

use super::Meters;
use super::catalogue::{self, Entry};
use crate::fleet::attempt::{Attempt, Fault};
use crate::fleet::audit::AuditEntry;
use crate::fleet::job::{Job, JobState};
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::slot::Slot;
use crate::fleet::state::{Record, Restored};
use crate::ids::{IncarnationId, JobId, PoolName, SlotId};
use crate::units::Time;

/// What must be remembered to tell how long something took; as large as the fleet, not as its past.
#[derive(Debug, Default)]
pub struct Lives {
    slots: BTreeMap<SlotId, Place>,
    runners: BTreeMap<IncarnationId, Life>,
    jobs: BTreeMap<JobId, Given>,
    audit_head: u64,
}

/// A slot as it was recorded last.
#[derive(Debug)]
struct Place {
    pool: PoolName,
    tasks_completed: u64,
    failed: Option<IncarnationId>,
}

/// A runner that is not known to be gone.
#[derive(Debug)]
struct Life {
    pool: PoolName,
    is_of_forge: bool,
    since: Time,
    has_failed: bool,
}

/// A job that was given to a runner and is not over.
#[derive(Debug)]
struct Given {
    pool: PoolName,
    attempts: usize,
    started: usize,
    ended: usize,
}

impl Lives {
    /// What was recorded before this supervisor began.
    #[must_use]
    pub fn of(restored: &Restored) -> Self {
        let mut lives = Self { audit_head: restored.audit_seq, ..Self::default() };
        lives.slots = restored.slots.iter().map(|slot| (slot.id, Place::of(slot))).collect();
        lives.runners = restored.runners.iter().map(|it| (it.id, Life::of(it))).collect();
        let is_given = |job: &&Job| !job.attempts.is_empty() && !is_over(job);
        for job in restored.jobs.iter().filter(is_given) {
            let given = Given {
                pool: job.attempts.last().map_or_else(none, |it| lives.pool(it)),
                attempts: job.attempts.len(),
                started: started(job),
                ended: ended(job),
            };
            lives.jobs.insert(job.id, given);
        }
        lives
    }

    /// The number of the audit log's last entry.
    #[must_use]
    pub fn audit_head(&self) -> u64 {
        self.audit_head
    }

    /// How many jobs and runners it remembers.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.runners.len()
    }

    /// Counts what one step has recorded.
    pub fn read(&mut self, records: &[Record], meters: &Meters) {
        let mut gone = Vec::new();
        for record in records {
            match record {
                Record::Slot(id, slot) => self.slot(*id, slot.as_deref(), meters),
                Record::Runner(id, Some(runner)) => self.runner(*id, runner, meters),
                // What the entries tell of it comes later in the step.
                Record::Runner(id, None) => gone.push(*id),
                Record::Job(id, Some(job)) => self.job(*id, job, meters),
                Record::Job(id, None) => drop(self.jobs.remove(id)),
                Record::Audit(entry) => self.entry(entry, meters),
                Record::Meta(_) => {}
            }
        }
        for id in gone {
            self.runners.remove(&id);
        }
    }

    fn slot(&mut self, id: SlotId, slot: Option<&Slot>, meters: &Meters) {
        let Some(slot) = slot else { return drop(self.slots.remove(&id)) };
        let new = Place::of(slot);
        let (done, failed) =
            self.slots.get(&id).map_or((0, None), |it| (it.tasks_completed, it.failed));
        let more = new.tasks_completed.saturating_sub(done);
        meters.count(&catalogue::TASKS_COMPLETED, &[], more);
        if let Some(failure) = &slot.last_failure
            && failed != new.failed
        {
            let labels = [slot.pool.as_str(), failure.cause.word()];
            meters.count(&catalogue::RUNNER_FAILURES, &labels, 1);
        }
        self.slots.insert(id, new);
    }

    fn runner(&mut self, id: IncarnationId, runner: &Runner, meters: &Meters) {
        // A phase is entered with an entry of its own, which says when.
        let life = self.runners.entry(id).or_insert_with(|| Life::of(runner));
        let Phase::Retiring { why, .. } = &runner.phase else { return };
        // A slot keeps its last failure; a spare has none.
        if runner.slot.is_none() && why.error_state().is_some() && !life.has_failed {
            let labels = [life.pool.as_str(), why.word()];
            meters.count(&catalogue::RUNNER_FAILURES, &labels, 1);
        }
        life.has_failed = true;
    }

    fn entry(&mut self, entry: &AuditEntry, meters: &Meters) {
        self.audit_head = entry.seq;
        if entry.what == "queued" && entry.before.is_none() {
            meters.count(&catalogue::JOBS_SUBMITTED, &[], 1);
        }
        let (Some(id), Some(after)) = (entry.incarnation, entry.after.as_deref()) else { return };
        let Some(life) = self.runners.get_mut(&id) else { return };
        if let Some(before) = entry.before.as_deref() {
            let took = entry.at.since(life.since);
            let pool = life.pool.as_str();
            if let Some(metric) = phase(before, after) {
                meters.observe(metric, &[pool], took);
            }
            if before == RUNNING && life.is_of_forge {
                meters.observe(&catalogue::TASK_DURATION, &[], took);
                meters.observe(&catalogue::JOB_RUN, &[pool, ""], took);
            }
        }
        life.since = entry.at;
    }

    fn job(&mut self, id: JobId, job: &Job, meters: &Meters) {
        let known = self.jobs.remove(&id);
        if known.is_none() && is_over(job) && !job.attempts.is_empty() {
            // It was over before: something was added to what is known of it.
            return;
        }
        let mut given = known.unwrap_or(Given { pool: none(), attempts: 0, started: 0, ended: 0 });
        let lane = job.spec.lane.as_ref().map_or("", |it| it.as_str());
        for (attempt, before) in job.attempts.iter().zip(befores(job)).skip(given.attempts) {
            given.pool = self.pool(attempt);
            let pool = given.pool.as_str();
            let waited = attempt.given_at.since(before.map_or(job.queued_at, |(at, _)| at));
            meters.observe(&catalogue::JOB_QUEUE, &[pool, lane], waited);
            if let Some((_, fault)) = before {
                let fault = fault.map_or_else(String::new, |it| it.to_string());
                meters.count(&catalogue::JOB_RETRIES, &[pool, &fault], 1);
            }
        }
        let labels = [given.pool.as_str(), lane];
        for attempt in job.attempts.iter().skip(given.started) {
            let Some(at) = attempt.started_at else { continue };
            meters.observe(&catalogue::JOB_START, &labels, at.since(attempt.given_at));
        }
        for attempt in job.attempts.iter().skip(given.ended) {
            let (Some(from), Some(end)) = (attempt.started_at, &attempt.end) else { continue };
            meters.observe(&catalogue::JOB_RUN, &labels, end.at.since(from));
            meters.observe(&catalogue::TASK_DURATION, &[], end.at.since(from));
        }
        if is_over(job) {
            let labels = [given.pool.as_str(), job.status().word()];
            return meters.count(&catalogue::JOBS_ENDED, &labels, 1);
        }
        if !job.attempts.is_empty() {
            (given.attempts, given.started, given.ended) =
                (job.attempts.len(), started(job), ended(job));
            self.jobs.insert(id, given);
        }
    }

    fn pool(&self, attempt: &Attempt) -> PoolName {
        self.slots.get(&attempt.slot).map_or_else(none, |slot| slot.pool.clone())
    }
}

impl Place {
    fn of(slot: &Slot) -> Self {
        Self {
            pool: slot.pool.clone(),
            tasks_completed: slot.tasks_completed,
            failed: slot.last_failure.as_ref().map(|it| it.incarnation),
        }
    }
}

impl Life {
    fn of(runner: &Runner) -> Self {
        Self {
            pool: runner.build.template.pool.clone(),
            is_of_forge: runner.enlistment().is_some(),
            since: runner.since,
            has_failed: runner.is_retiring(),
        }
    }
}

const PLANNED: &str = "planned";
const CREATED: &str = "created";
const STARTING: &str = "starting";
const REGISTERING: &str = "registering";
const IDLE: &str = "idle";
const RUNNING: &str = "running";

/// What a runner's way from one phase to another measures.
fn phase(before: &str, after: &str) -> Option<&'static Entry> {
    match (before, after) {
        (PLANNED, CREATED) => Some(&catalogue::RUNNER_CREATE),
        // An agent may speak before the engine has told of the start.
        (CREATED, STARTING | REGISTERING | IDLE) => Some(&catalogue::RUNNER_START),
        (STARTING, REGISTERING | IDLE) => Some(&catalogue::RUNNER_BOOT),
        (REGISTERING, IDLE | RUNNING) => Some(&catalogue::RUNNER_REGISTER),
        _ => None,
    }
}

/// The pool of a job that has none yet.
fn none() -> PoolName {
    PoolName::new("")
}

fn is_over(job: &Job) -> bool {
    matches!(job.state, JobState::Ended { .. })
}

fn started(job: &Job) -> usize {
    job.attempts.iter().take_while(|it| it.started_at.is_some() || it.end.is_some()).count()
}

fn ended(job: &Job) -> usize {
    job.attempts.iter().take_while(|it| it.end.is_some()).count()
}

/// Of each attempt, when the one before it ended and whose fault that was.
fn befores(job: &Job) -> impl Iterator<Item = Option<(Time, Option<Fault>)>> {
    let end = |it: &Attempt| it.end.as_ref().map(|end| (end.at, end.fault));
    std::iter::once(None).chain(job.attempts.iter().map(end))
}
