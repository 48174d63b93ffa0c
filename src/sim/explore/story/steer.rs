//! What an operator does with jobs and pools in a story.

use super::Story;
use crate::fleet::event::{Cordon, Request};
use crate::fleet::job::{Job, JobState};
use crate::ids::JobId;

impl Story {
    fn jobs(&self, which: impl Fn(&Job) -> bool) -> Vec<JobId> {
        let jobs = self.sim.records.jobs.values();
        jobs.filter(|job| which(job)).map(|job| job.id).collect()
    }

    pub(super) fn cancel(&mut self) {
        let open = self.jobs(|job| !matches!(job.state, JobState::Ended { .. }));
        if let Some(job) = self.rng.pick(&open) {
            self.sim.ask(Request::Cancel(*job));
        }
    }

    /// Most hold what waits; some name a job too many.
    pub(super) fn hold(&mut self) {
        let waiting = self.jobs(|job| job.state == JobState::Queued);
        let open = self.jobs(|job| !matches!(job.state, JobState::Ended { .. }));
        let mut jobs = self.some_of(&waiting);
        if self.rng.chance(100) {
            jobs.extend(self.rng.pick(&open).copied());
        }
        self.sim.hold(&jobs);
    }

    pub(super) fn release(&mut self) {
        let held = self.jobs(|job| matches!(job.state, JobState::OnHold { .. }));
        let jobs = self.some_of(&held);
        self.sim.release(&jobs);
    }

    /// A pool or all of them.
    pub(super) fn turn_pools(&mut self, to: Cordon) {
        let pool = self.rng.pick(&self.spec.pools).filter(|_| self.rng.clone().chance(700));
        let pools = pool.map(|pool| pool.name.to_string()).into_iter().collect();
        self.sim.ask(Request::Pause { pools, to });
    }

    /// Every pool is opened, and mostly what was held is let go; some jobs stay on hold, which is
    /// peace, too.
    pub(super) fn let_go(&mut self) {
        self.sim.resume(&[]);
        let held = self.jobs(|job| matches!(job.state, JobState::OnHold { .. }));
        if self.rng.chance(700) {
            self.sim.release(&held);
        }
    }

    fn some_of(&mut self, jobs: &[JobId]) -> Vec<JobId> {
        let most = self.rng.between(1, 3);
        (0..most).filter_map(|_| self.rng.pick(jobs).copied()).collect()
    }
}
