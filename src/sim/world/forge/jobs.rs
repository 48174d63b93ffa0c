//! The forge's jobs: queued by labels, given to any runner that matches, and over once.

use std::time::Duration;

use super::{Entry, ForgeDue, ForgeJob, JobStage, Whose};
use crate::ids::{ContainerId, ForgeJobId, ForgeRunId, ForgeRunnerId, ScopeUrl};
use crate::sim::fault::Fault;
use crate::sim::world::{Pace, World};

/// From giving a job to a runner until its listener knows, in milliseconds.
const TELLS: u64 = 500;
/// A job that its runner did not take for this long waits again.
const NOT_TAKEN: Duration = Duration::from_secs(60);
/// A runner that fell silent keeps its job for this long.
const LOCK: Duration = Duration::from_secs(600);
/// A session that was not ended is kept for this long at most.
const SESSION_HELD: Duration = Duration::from_secs(240);
/// How a job ends whose runner fell silent.
pub const LOST: &str = "lost";
/// The flag `busy` lags behind by this long at most, in milliseconds.
const BUSY_LATE: u64 = 60_000;

/// A job as somebody pushes it.
#[derive(Debug, Clone)]
pub struct Push {
    /// Its labels.
    pub labels: Vec<String>,
    /// How long it runs.
    pub runs: Duration,
    /// Whether it runs a fork's code.
    pub is_fork: bool,
    /// How long it is held before it may run.
    pub held: Duration,
}

impl World {
    /// Somebody pushes a commit: the forge has one more job.
    pub fn push(&mut self, push: Push) -> ForgeJobId {
        self.forge.last_job += 1;
        let id = ForgeJobId(self.forge.last_job);
        let stage = if push.held.is_zero() { JobStage::Queued } else { JobStage::Held };
        let job = ForgeJob {
            scope: ScopeUrl::new(super::SCOPE),
            run: ForgeRunId(id.0),
            labels: push.labels,
            runs: push.runs,
            is_fork: push.is_fork,
            stage,
            created: self.now(),
            begun: Vec::new(),
            started: None,
            container: None,
            ends: Vec::new(),
            turn: 0,
        };
        self.note(format!("job {id} is pushed: {}", job.labels.join(", ")));
        self.forge.jobs.insert(id, job);
        match push.held.is_zero() {
            true => self.release(id),
            false => self.due_at_forge(push.held, ForgeDue::Release(id)),
        }
        id
    }

    /// Somebody cancels a job that waits.
    pub fn cancel_push(&mut self, id: ForgeJobId) {
        let Some(job) = self.forge.jobs.get_mut(&id) else { return };
        if !matches!(job.stage, JobStage::Held | JobStage::Queued) {
            return;
        }
        job.stage = JobStage::Over;
        job.ends.push("cancelled");
        self.note(format!("job {id} is cancelled"));
        self.hook(id);
    }

    pub(super) fn release(&mut self, id: ForgeJobId) {
        let Some(job) = self.forge.jobs.get_mut(&id) else { return };
        if matches!(job.stage, JobStage::Held | JobStage::Queued) {
            job.stage = JobStage::Queued;
            self.hook(id);
            let wait = self.span(20);
            self.due_at_forge(wait, ForgeDue::GiveOut);
        }
    }

    /// Every job that waits goes to one of the runners that match; which, nobody can tell.
    pub(super) fn give_out(&mut self) {
        if self.is_forge_away() {
            let back = self.forge.away;
            self.clock.at(back, crate::sim::world::Due::Forge(ForgeDue::GiveOut));
            return;
        }
        let waiting: Vec<ForgeJobId> = self
            .forge
            .jobs
            .iter()
            .filter(|(_, job)| job.stage == JobStage::Queued)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.give(id);
        }
    }

    fn give(&mut self, id: ForgeJobId) {
        let Some(job) = self.forge.jobs.get(&id) else { return };
        let is_free = |(_, entry): &(&ForgeRunnerId, &Entry)| {
            entry.is_online() && entry.job.is_none() && entry.serves(job)
        };
        let free: Vec<ForgeRunnerId> =
            self.forge.entries.iter().filter(is_free).map(|(runner, _)| *runner).collect();
        let Some(runner) = self.rng.pick(&free).copied() else { return };
        let turn = self.turn();
        let late = match self.pace {
            Pace::Even => 0,
            Pace::Uneven => self.rng.below(BUSY_LATE),
        };
        let busy_from = self.now() + Duration::from_millis(late);
        if let Some(entry) = self.forge.entries.get_mut(&runner) {
            entry.job = Some(id);
            entry.busy_from = busy_from;
        }
        if let Some(job) = self.forge.jobs.get_mut(&id) {
            job.stage = JobStage::Given(runner);
            job.turn = turn;
            job.container = self
                .forge
                .entries
                .get(&runner)
                .and_then(|entry| entry.session.as_ref())
                .map(|session| session.container.clone());
        }
        let wait = self.span(TELLS);
        self.due_at_forge(wait, ForgeDue::Take(id, turn));
        self.due_at_forge(NOT_TAKEN, ForgeDue::Miss(id, turn));
    }

    /// A job reaches the runner that it was given to, be that still in the list or not.
    pub(super) fn take(&mut self, id: ForgeJobId, turn: u64) {
        let Some(job) = self.forge.jobs.get(&id).filter(|job| job.turn == turn) else { return };
        let JobStage::Given(runner) = job.stage else { return };
        let name = self.forge.entries.get(&runner).map(|entry| entry.name.clone());
        let is_foreign =
            self.forge.entries.get(&runner).is_some_and(|it| it.whose == Whose::Others);
        let container = job.container.clone();
        let taken = match (&container, is_foreign) {
            (_, true) => name,
            (Some(container), false) => self.listener_takes(container, runner, id),
            (None, false) => None,
        };
        let (Some(name), Some(job)) = (taken, self.forge.jobs.get_mut(&id)) else { return };
        job.stage = JobStage::Running(runner);
        if let Some(before) = job.begun.last() {
            let what = format!("job {id} begins on {name}, and began on {before}");
            self.truth.violations.push(what);
        }
        job.begun.push(name.clone());
        let runs = job.runs;
        job.started.get_or_insert(self.clock.now());
        self.note(format!("job {id} begins on {name}"));
        self.due_at_forge(runs, ForgeDue::Done(id, turn));
        self.hook(id);
    }

    /// A job that nobody took waits again; one whose runner fell silent is given up.
    pub(super) fn miss(&mut self, id: ForgeJobId, turn: u64) {
        let Some(job) = self.forge.jobs.get_mut(&id).filter(|job| job.turn == turn) else { return };
        let JobStage::Given(runner) = job.stage else { return };
        job.stage = JobStage::Queued;
        job.container = None;
        self.note(format!("job {id} was not taken and waits again"));
        if let Some(entry) = self.forge.entries.get_mut(&runner) {
            entry.job = None;
        }
        self.give_out();
    }

    /// The forge has heard nothing of a job's runner for too long.
    pub(super) fn lapse(&mut self, id: ForgeJobId, turn: u64) {
        let Some(job) = self.forge.jobs.get(&id).filter(|job| job.turn == turn) else { return };
        if let JobStage::Running(runner) = job.stage {
            self.end_job(id, runner, LOST);
        }
    }

    /// A job's steps are over; nobody says so if its runner is not there any more.
    pub(super) fn done(&mut self, id: ForgeJobId, turn: u64) {
        let Some(job) = self.forge.jobs.get(&id).filter(|job| job.turn == turn) else { return };
        let JobStage::Running(runner) = job.stage else { return };
        let container = job.container.clone();
        if container.is_none_or(|container| self.listener_finishes(&container, id)) {
            self.end_job(id, runner, "success");
        }
    }

    pub(in crate::sim::world) fn end_job(
        &mut self,
        id: ForgeJobId,
        runner: ForgeRunnerId,
        how: &'static str,
    ) {
        let Some(job) = self.forge.jobs.get_mut(&id) else { return };
        if job.stage == JobStage::Over {
            self.truth.violations.push(format!("job {id} is over twice"));
        }
        job.stage = JobStage::Over;
        job.ends.push(how);
        self.note(format!("job {id} is over: {how}"));
        let late = if self.strikes(Fault::ForgeLingers) { 110_000 } else { 0 };
        let lag = self.forge.lingers + Duration::from_millis(self.rng.below(late + 1));
        if let Some(entry) = self.forge.entries.get_mut(&runner) {
            entry.job = None;
            if entry.is_ephemeral {
                entry.is_done = true;
                self.due_at_forge(lag, ForgeDue::Purge(runner));
            }
        }
        self.hook(id);
        let wait = self.span(20);
        self.due_at_forge(wait, ForgeDue::GiveOut);
    }

    /// The listener in a container is gone: its session ends, and what it had to do is not done.
    pub(in crate::sim::world) fn end_session(&mut self, id: &ContainerId, is_clean: bool) {
        let is_held = !is_clean && self.strikes(Fault::SessionHeld);
        let held = if is_held { self.now() + SESSION_HELD } else { self.now() };
        let mut entries = self.forge.entries.values_mut();
        let is_its = |it: &&mut Entry| it.session.as_ref().is_some_and(|it| it.container == *id);
        if let Some(entry) = entries.find(is_its) {
            entry.session = None;
            entry.held = held;
        }
        let of_it = |(_, job): &(&ForgeJobId, &ForgeJob)| {
            matches!(job.stage, JobStage::Running(_)) && job.container.as_ref() == Some(id)
        };
        let lost: Vec<(ForgeJobId, u64)> =
            self.forge.jobs.iter().filter(of_it).map(|(id, job)| (*id, job.turn)).collect();
        for (job, turn) in lost {
            self.due_at_forge(LOCK, ForgeDue::Lapse(job, turn));
        }
    }
}
