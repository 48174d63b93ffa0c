//! Pools at the simulated forge, and the jobs that are pushed there.

use std::time::Duration;

use crate::fleet::view::RunnerStatus;
use crate::ids::ForgeJobId;
use crate::sim::Sim;
use crate::sim::world::forge::jobs::Push;
use crate::sim::world::forge::{JobStage, SCOPE, Token};
use crate::spec::{ForgeAccess, ForgePool, Pool, Reuse, SecretSource};

fn forge_pool(access: ForgeAccess, labels: &[&str]) -> ForgePool {
    ForgePool {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..ForgePool::plain(SCOPE, access)
    }
}

impl Pool {
    /// Whose runners are registered for one job each, with these labels.
    #[must_use]
    pub fn at_forge(mut self, labels: &[&str]) -> Self {
        let access = ForgeAccess::Personal(SecretSource::Variable("GITHUB_TOKEN".to_owned()));
        self.forge = Some(forge_pool(access, labels));
        self.reuse = Reuse::OneJob;
        self
    }

    /// Whose runners stay registered, each with a token of its own, `RUNNER_TOKEN_1` and so on.
    #[must_use]
    pub fn kept_at_forge(mut self, labels: &[&str]) -> Self {
        let access = ForgeAccess::Tokens("RUNNER_TOKEN_{n}".to_owned());
        self.forge = Some(forge_pool(access, labels));
        self.reuse = Reuse::Persistent;
        self
    }
}

/// A job with these labels that runs for a number of seconds.
#[must_use]
pub fn push(labels: &[&str], seconds: u64) -> Push {
    Push {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        runs: Duration::from_secs(seconds),
        is_fork: false,
        held: Duration::ZERO,
    }
}

impl Sim {
    /// Somebody pushes a job for these labels that runs for a number of seconds.
    pub fn push(&mut self, labels: &[&str], seconds: u64) -> ForgeJobId {
        self.world.push(push(labels, seconds))
    }

    /// `.env` has tokens with these numbers.
    pub fn give_tokens(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.world.forge.tokens.insert(format!("RUNNER_TOKEN_{number}"), Token::Good);
        }
    }

    /// Where a job of the forge stands.
    #[must_use]
    pub fn pushed(&self, job: ForgeJobId) -> Option<JobStage> {
        self.world.forge.jobs.get(&job).map(|job| job.stage)
    }

    /// How the jobs of the forge ended.
    #[must_use]
    pub fn ends(&self) -> Vec<&'static str> {
        self.world.forge.jobs.values().flat_map(|job| job.ends.iter().copied()).collect()
    }

    /// Lets things happen until a job of the forge runs.
    pub fn run_till_pushed_runs(&mut self, job: ForgeJobId) -> bool {
        self.run_till(|sim| matches!(sim.pushed(job), Some(JobStage::Running(_))))
    }

    /// Lets things happen until every job of the forge is over.
    pub fn run_till_all_over(&mut self) -> bool {
        self.run_till(|sim| sim.world.forge.open_jobs().next().is_none())
    }

    /// Lets things happen until a slot has this status.
    pub fn run_till_slot(&mut self, slot: u32, status: RunnerStatus) -> bool {
        self.run_till(|sim| sim.slot(slot).is_some_and(|it| it.status == status))
    }
}
