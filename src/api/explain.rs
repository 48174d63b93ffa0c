//! Why something is as it is: a job, a runner or a pool, with all that belongs to the answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::ask::find_runner;
use super::dto::ExplainQuery;
use super::extract::{Params, Step};
use super::forges::JOBS_MAX;
use super::problem::{Problem, ProblemKind};
use super::sight::Sight;
use crate::fleet::view::{FleetView, JobStatus, JobView, PoolView, RunnerView};
use crate::fleet::waiting::{PoolQueue, WaitingView};
use crate::ids::{JobId, PoolName};
use crate::post_mortems::{PostMortem, Wanted};
use crate::spec::Secrets;
use crate::supervisor::handle::Query;

mod advice;
mod forge;
mod next_step;
mod output;

pub use forge::{ForgeJobExplanation, ForgePoolExplanation};

/// Post-mortems that go with an answer; there are more under their own routes.
const POST_MORTEMS: usize = 5;
/// An explanation is pasted into tickets, whoever asked for it.
const TOLD: Sight = Sight::Names;

/// The answer of `GET /api/v1/explain/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Explanation {
    /// Of a job.
    Job(Box<JobExplanation>),
    /// Of a runner.
    Runner(Box<RunnerExplanation>),
    /// Of a pool.
    Pool(Box<PoolExplanation>),
    /// Of a forge's job.
    ForgeJob(Box<ForgeJobExplanation>),
}

/// Why a job waits, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobExplanation {
    /// The job; the values of its variables are masked.
    pub job: JobView,
    /// What it stands behind, while it waits.
    pub waiting: Option<WaitingView>,
    /// The runners of the pools that may serve it, while it waits.
    pub pools: Vec<PoolStanding>,
    /// What stands in the way of the whole fleet, while it waits.
    pub troubles: Vec<String>,
    /// What is left of runners that failed under it, newest first.
    pub post_mortems: Vec<PostMortem>,
    /// The last lines that its last attempt wrote, if that did not go well.
    pub last_lines: Vec<String>,
    /// What can be done.
    pub advice: Vec<String>,
}

/// How a runner came to be where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerExplanation {
    /// The runner.
    pub runner: RunnerView,
    /// The job that it has; the values of its variables are masked.
    pub job: Option<JobView>,
    /// What is left of its last failure, newest first.
    pub post_mortems: Vec<PostMortem>,
    /// What can be done.
    pub advice: Vec<String>,
}

/// Why a pool has the size that it has, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolExplanation {
    /// The pool.
    pub pool: PoolView,
    /// Its runners, counted.
    pub standing: PoolStanding,
    /// The jobs that wait and that it may serve.
    pub waiting: PoolQueue,
    /// What it has to do with its forge, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<ForgePoolExplanation>,
    /// What stands in the way: the fleet's troubles, and its runners'.
    pub troubles: Vec<String>,
    /// What is left of its runners and spares that failed, newest first.
    pub post_mortems: Vec<PostMortem>,
    /// What can be done.
    pub advice: Vec<String>,
}

/// A pool's runners, counted by what they can do for a job now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolStanding {
    /// The pool.
    pub pool: PoolName,
    /// All.
    pub all: usize,
    /// Free for a job.
    pub idle: usize,
    /// With a job.
    pub busy: usize,
    /// Being made, started or replaced.
    pub coming: usize,
    /// Failed; they are tried again.
    pub failed: usize,
    /// Closed by an operator (`cordon`, `drain`), whatever they do.
    pub closed: usize,
}

impl PoolStanding {
    fn of(fleet: &FleetView, pool: &PoolName) -> Self {
        use crate::fleet::event::Cordon;
        use crate::fleet::view::RunnerStatus as Status;
        let runners: Vec<&RunnerView> =
            fleet.runners.iter().filter(|it| it.pool == *pool).collect();
        let count = |is: fn(&RunnerView) -> bool| runners.iter().filter(|it| is(it)).count();
        Self {
            pool: pool.clone(),
            all: runners.len(),
            idle: count(|it| it.status == Status::Idle && it.cordon == Cordon::Open),
            busy: count(|it| it.job.is_some() || it.status == Status::Running),
            coming: count(|it| {
                matches!(
                    it.status,
                    Status::Planned
                        | Status::Creating
                        | Status::Starting
                        | Status::Registering
                        | Status::Stopping
                        | Status::Removing
                )
            }),
            failed: count(|it| it.status.is_trouble()),
            closed: count(|it| it.cordon == Cordon::Closed),
        }
    }
}

pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    Step(name): Step,
    Params(ExplainQuery { forge }): Params<ExplainQuery>,
) -> Result<Json<Explanation>, Problem> {
    if forge {
        return api.explain_forge_job(&name).await.map(Json);
    }
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(id) = name.parse().ok().filter(|_| is_number || name.starts_with("job-")) {
        return api.explain_number(id, &name).await.map(Json);
    }
    let fleet = api.fleet_view().await?;
    if let Ok(runner) = find_runner(&fleet, &name) {
        return Ok(Json(Explanation::Runner(Box::new(api.explain_runner(runner).await?))));
    }
    match fleet.pools.iter().find(|pool| pool.name.as_str() == name) {
        Some(pool) => Ok(Json(Explanation::Pool(Box::new(api.explain_pool(&fleet, pool).await?)))),
        None => Err(Problem::new(
            ProblemKind::NotFound,
            format!("there is no job, runner or pool `{name}`"),
        )),
    }
}

impl Api {
    /// A number is the fleet's own job, else a forge's: those count on from far beyond.
    async fn explain_number(&self, id: JobId, name: &str) -> Result<Explanation, Problem> {
        match self.explain_job(id).await {
            Ok(job) => Ok(Explanation::Job(Box::new(job))),
            Err(unknown) if unknown.kind == ProblemKind::NotFound => {
                self.explain_forge_job(name).await.map_err(|_| unknown)
            }
            Err(problem) => Err(problem),
        }
    }

    async fn explain_forge_job(&self, number: &str) -> Result<Explanation, Problem> {
        let jobs = self.ask(|reply| Query::ForgeJobs(JOBS_MAX, reply)).await?;
        let job = forge::find(jobs, number)?;
        let fleet = self.fleet_view().await?;
        Ok(Explanation::ForgeJob(Box::new(forge::job(&fleet, job))))
    }

    /// What a pool has to do with its forge.
    async fn at_forge(&self, pool: &PoolName) -> Result<Option<ForgePoolExplanation>, Problem> {
        let spec = self.ask(Query::Spec).await?;
        let found = spec.pools.iter().find(|it| it.name == *pool);
        let Some(at) = found.and_then(|pool| pool.forge.as_ref()) else { return Ok(None) };
        let jobs = self.ask(|reply| Query::ForgeJobs(JOBS_MAX, reply)).await?;
        Ok(Some(ForgePoolExplanation::of(pool, at, &jobs)))
    }

    async fn explain_job(&self, id: JobId) -> Result<JobExplanation, Problem> {
        let job = self.job_view(id).await?;
        let waiting = self.ask(|reply| Query::Waiting(id, reply)).await?;
        let fleet = self.fleet_view().await?;
        let served_by = waiting.iter().flat_map(|it| &it.pools);
        let pools = served_by.map(|pool| PoolStanding::of(&fleet, pool)).collect();
        let post_mortems = self.post_mortems(Wanted::Job(id), POST_MORTEMS).await?;
        let last_lines = match went_well(&job) {
            true => Vec::new(),
            false => {
                let spec = self.ask(Query::Spec).await?;
                let mut secrets = Secrets::of_variables(&job.spec.env);
                for profile in spec.profiles.values() {
                    secrets.extend(Secrets::of_variables(&profile.env));
                }
                output::last_lines(self.logs.as_ref(), job.id, &secrets).await
            }
        };
        let mut explanation = JobExplanation {
            troubles: waiting.as_ref().map(|_| fleet.troubles.clone()).unwrap_or_default(),
            job: TOLD.job(job),
            waiting,
            pools,
            post_mortems,
            last_lines,
            advice: Vec::new(),
        };
        explanation.advice = advice::of_job(&explanation);
        Ok(explanation)
    }

    async fn explain_runner(&self, runner: &RunnerView) -> Result<RunnerExplanation, Problem> {
        let job = match runner.job {
            Some(id) => self.ask(|reply| Query::Job(id, reply)).await?.map(|job| TOLD.job(job)),
            None => None,
        };
        let post_mortems = self.post_mortems(Wanted::Runner(runner.id), POST_MORTEMS).await?;
        let advice = advice::of_runner(runner, &post_mortems);
        Ok(RunnerExplanation { runner: runner.clone(), job, post_mortems, advice })
    }

    async fn explain_pool(
        &self,
        fleet: &FleetView,
        pool: &PoolView,
    ) -> Result<PoolExplanation, Problem> {
        let own = |it: &&RunnerView| it.pool == pool.name && it.reason.is_some();
        let told = fleet
            .runners
            .iter()
            .filter(own)
            .filter_map(|it| it.reason.as_ref().map(|why| format!("{}: {why}", it.name)));
        let mut troubles = fleet.troubles.clone();
        troubles.extend(told.filter(|it| !fleet.troubles.contains(it)));
        let at_forge = self.at_forge(&pool.name).await?;
        troubles.extend(at_forge.iter().flat_map(|it| forge::troubles_of(fleet, &it.scope)));
        let mut explanation = PoolExplanation {
            forge: at_forge,
            standing: PoolStanding::of(fleet, &pool.name),
            pool: pool.clone(),
            waiting: self.ask(|reply| Query::WaitingFor(pool.name.clone(), reply)).await?,
            troubles,
            post_mortems: self.post_mortems(Wanted::Pool(pool.name.clone()), POST_MORTEMS).await?,
            advice: Vec::new(),
        };
        explanation.advice = advice::of_pool(&explanation);
        Ok(explanation)
    }
}

/// Whether nobody will ask for a job's last lines.
fn went_well(job: &JobView) -> bool {
    match job.status {
        JobStatus::Succeeded | JobStatus::Assigned | JobStatus::Running => true,
        // One that was given out before lost its runner.
        JobStatus::Queued => job.attempt.0 == 0,
        JobStatus::Failed
        | JobStatus::Cancelled
        | JobStatus::TimedOut
        | JobStatus::Oom
        | JobStatus::Lost => false,
    }
}
