//! Why a forge's job waits, or what became of it; and what a pool has to do with its forge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PoolStanding;
use super::next_step::{Asked, next_step};
use crate::api::problem::{Problem, ProblemKind};
use crate::api::words;
use crate::fleet::forge::{ForgeContact, ForgeJobStatus, ForgeJobView, ForgeView};
use crate::fleet::view::{FleetView, RunnerView};
use crate::ids::{PoolName, ScopeUrl};
use crate::spec::{ForgePool, ForkJobs};

/// Waiting jobs that are named; the others are counted.
const NAMED_MAX: usize = 5;

/// Why a forge's job waits, or where it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgeJobExplanation {
    /// The job.
    pub job: ForgeJobView,
    /// The runner of this fleet that has it.
    pub runner: Option<RunnerView>,
    /// The runners of the pool that it counts for.
    pub pool: Option<PoolStanding>,
    /// What stands in the way: the forge, and what the pool's runners wait for.
    pub troubles: Vec<String>,
    /// What can be done.
    pub advice: Vec<String>,
}

/// What a pool has to do with its forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgePoolExplanation {
    /// Where its runners register.
    pub scope: ScopeUrl,
    /// With which labels.
    pub labels: Vec<String>,
    /// By what right; only names of secrets.
    pub right: String,
    /// Whether jobs from forks are served.
    pub fork_jobs: ForkJobs,
    /// How many of its jobs wait for the pool.
    pub waiting: usize,
    /// The first few of them.
    pub next: Vec<ForgeJobView>,
}

impl ForgePoolExplanation {
    pub(super) fn of(pool: &PoolName, forge: &ForgePool, jobs: &[ForgeJobView]) -> Self {
        let waits = |it: &&ForgeJobView| {
            it.pool.as_ref() == Some(pool) && it.job.status == ForgeJobStatus::Queued
        };
        let waiting: Vec<&ForgeJobView> = jobs.iter().filter(waits).collect();
        Self {
            scope: forge.scope.clone(),
            labels: forge.labels.clone(),
            right: words::right(&forge.access),
            fork_jobs: forge.fork_jobs,
            waiting: waiting.len(),
            next: waiting.into_iter().take(NAMED_MAX).cloned().collect(),
        }
    }
}

/// The job of this number, else the first of the run of this number that is not over.
pub(super) fn find(jobs: Vec<ForgeJobView>, number: &str) -> Result<ForgeJobView, Problem> {
    let is = |id: String| id == number;
    let place = jobs.iter().position(|it| is(it.job.id.to_string())).or_else(|| {
        let of_run = || jobs.iter().enumerate().filter(|(_, it)| is(it.job.run.to_string()));
        let open = of_run().find(|(_, it)| !it.job.status.is_final());
        open.or_else(|| of_run().next()).map(|(place, _)| place)
    });
    place.and_then(|place| jobs.into_iter().nth(place)).ok_or_else(|| {
        let detail = format!("no forge has told of a job or a run `{number}`");
        Problem::new(ProblemKind::NotFound, detail)
    })
}

pub(super) fn job(fleet: &FleetView, job: ForgeJobView) -> ForgeJobExplanation {
    let name = job.job.runner.as_deref();
    let has_it = |it: &&RunnerView| name.is_some_and(|name| it.is_registered_as(name));
    let runner = fleet.runners.iter().find(has_it).cloned();
    let pool = job.pool.as_ref().map(|pool| PoolStanding::of(fleet, pool));
    let mut troubles = troubles_of(fleet, &job.scope);
    troubles.extend(holds(fleet, job.pool.as_ref()));
    let advice = advice(fleet, &job, runner.as_ref(), pool.as_ref());
    ForgeJobExplanation { job, runner, pool, troubles, advice }
}

/// What stands between the fleet and a scope.
pub(super) fn troubles_of(fleet: &FleetView, scope: &ScopeUrl) -> Vec<String> {
    let view = fleet.forges.iter().find(|forge| forge.scope == *scope);
    view.and_then(trouble).into_iter().collect()
}

fn trouble(forge: &ForgeView) -> Option<String> {
    let scope = &forge.scope;
    match forge.contact.as_ref()? {
        ForgeContact::Good => None,
        ForgeContact::Unreachable(why) => Some(format!("{scope} does not answer: {why}")),
        ForgeContact::Limited { until, why } => {
            Some(format!("{scope} is limited until {}: {why}", words::time_of_day(*until)))
        }
        ForgeContact::Denied(why) => Some(format!("{scope} refuses: {why}")),
    }
}

/// What the runners of a pool wait for that only an operator can do.
fn holds<'a>(
    fleet: &'a FleetView,
    pool: Option<&'a PoolName>,
) -> impl Iterator<Item = String> + 'a {
    let own = fleet.runners.iter().filter(move |it| Some(&it.pool) == pool);
    own.filter_map(|it| Some(format!("{}: {}", it.name, it.forge.as_ref()?.hold.as_ref()?)))
}

fn advice(
    fleet: &FleetView,
    it: &ForgeJobView,
    runner: Option<&RunnerView>,
    pool: Option<&PoolStanding>,
) -> Vec<String> {
    let job = &it.job;
    if let Some(wait) = &it.wait {
        let pools = pool.map_or(&[][..], std::slice::from_ref);
        return vec![next_step(wait, Asked { job: None, page: job.url.as_deref(), pools })];
    }
    let page = job.url.as_ref().map(|url| format!(": {url}")).unwrap_or_default();
    match job.status {
        // Its runner may be gone, and its forge has not said so often enough yet.
        ForgeJobStatus::Running if runner.is_none() && is_ours(fleet, it) => vec![format!(
            "its runner {} is gone, and its forge does not give a job out twice: cancel the run \
             and run it again{page}",
            job.runner.as_deref().unwrap_or_default()
        )],
        ForgeJobStatus::Running => vec![format!("follow it on its page{page}")],
        ForgeJobStatus::Held | ForgeJobStatus::Queued | ForgeJobStatus::Completed(_) => Vec::new(),
    }
}

/// Whether the name of a job's runner is one that this fleet gives.
fn is_ours(fleet: &FleetView, it: &ForgeJobView) -> bool {
    let prefix = format!("{}-", fleet.project);
    it.job.runner.as_ref().is_some_and(|name| name.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::forge::ForgeJobFact;
    use crate::ids::ForgeRunId;
    use crate::units::Time;

    fn view(id: u64, run: u64, status: ForgeJobStatus) -> ForgeJobView {
        ForgeJobView {
            scope: ScopeUrl::new("https://github.com/acme/site"),
            job: ForgeJobFact {
                run: ForgeRunId(run),
                labels: vec!["self-hosted".to_owned()],
                status,
                ..ForgeJobFact::plain(id, "acme/site", Time(0))
            },
            pool: None,
            reason: None,
            reason_code: None,
            wait: None,
        }
    }

    #[test]
    fn a_job_is_found_by_its_number_or_as_the_open_one_of_its_run() {
        let over = || ForgeJobStatus::Completed("success".to_owned());
        let jobs = vec![view(1, 9, over()), view(2, 9, ForgeJobStatus::Queued), view(9, 3, over())];
        let found = |number: &str| find(jobs.clone(), number).map(|it| it.job.id.0);
        assert_eq!(found("1").ok(), Some(1));
        assert_eq!(found("9").ok(), Some(9), "a job goes before a run");
        assert_eq!(found("3").ok(), Some(9));
        assert_eq!(find(jobs[..2].to_vec(), "9").ok().map(|it| it.job.id.0), Some(2));
        assert_eq!(found("4").expect_err("nothing").kind, ProblemKind::NotFound);
    }
}
