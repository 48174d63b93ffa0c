//! The waiting jobs, as the rest of the core sees them.

use std::collections::BTreeSet;

use super::State;
use crate::fleet::job::Job;
use crate::fleet::queue::{Kind, Line, OF_AGE};
use crate::ids::JobId;
use crate::units::Time;

impl State {
    /// The waiting jobs, in the order in which they would start if every runner suited every job.
    pub fn queue(&self, now: Time) -> impl Iterator<Item = &Job> {
        let aged = move |id| {
            let job = self.jobs.get(&id)?;
            self.is_of_age(now, id).then(|| job.place())
        };
        self.queue.order(aged).filter_map(|id| self.jobs.get(&id))
    }

    /// The jobs that have no runner and are not over, in no order that matters.
    pub fn waiting_jobs(&self) -> impl Iterator<Item = &Job> {
        self.queue.ids().filter_map(|id| self.jobs.get(&id)).chain(self.jobs_on_hold())
    }

    /// The jobs that an operator holds back, the oldest first.
    pub fn jobs_on_hold(&self) -> impl Iterator<Item = &Job> {
        self.queue.on_hold().iter().filter_map(|id| self.jobs.get(id))
    }

    pub fn on_hold_len(&self) -> usize {
        self.queue.on_hold().len()
    }

    /// The waiting jobs, by what they ask for.
    pub fn queue_lines(&self) -> impl Iterator<Item = (&Kind, &Line)> {
        self.queue.lines()
    }

    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Whether a job waits for so long that others pass it a few times more at most.
    pub fn is_of_age(&self, now: Time, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| now.since(job.queued_at) >= OF_AGE)
    }

    /// How often the oldest job of a kind was passed since it is of age.
    pub fn passed(&self, kind: &Kind) -> u32 {
        self.queue.passed(kind)
    }

    /// The oldest job of a kind was passed so often; none when it starts.
    pub fn pass(&mut self, kind: Kind, passed: Option<u32>) {
        self.queue.pass(kind, passed);
    }

    /// The turn of a job that is handed in now.
    pub fn next_turn(&self, job: &Job) -> u64 {
        self.queue.next_turn(job)
    }

    /// The workflow runs that could have a job started if there were runners for all.
    pub fn admissible_runs(
        &self,
        under_way: BTreeSet<String>,
        is_served: impl Fn(JobId) -> bool,
    ) -> BTreeSet<String> {
        let most = self.spec.limits.max_parallel_workflows as usize;
        self.queue.admissible(under_way, most, is_served)
    }
}
