//! `hold` and `release`: jobs that wait and are kept from starting.

use clap::Args;

use super::context::{Context, note};
use super::failure::Failure;
use crate::api::dto::{Accepted, HoldBody};
use crate::exit::Exit;
use crate::ids::JobId;

/// Keep jobs that wait from starting
///
/// They keep their places, survive a restart, and no runner is made for them. `release` lets them
/// go, `cancel` ends them. All of the jobs are held or none; one that has a runner cannot be.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet hold job-42\n  \
                        slate-fleet jobs -q --status queued | xargs slate-fleet hold\n  \
                        slate-fleet submit --hold -- make deploy      held from the start")]
pub(super) struct HoldArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobId>,
}

/// Let jobs start that were held
///
/// They go on at their old places. All of the jobs are released or none.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet release job-42\n  \
                        slate-fleet jobs -q --status queued | xargs slate-fleet release")]
pub(super) struct ReleaseArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobId>,
}

impl HoldArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        ask(context, "/api/v1/jobs/hold", (self.jobs, "held")).await
    }
}

impl ReleaseArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        ask(context, "/api/v1/jobs/release", (self.jobs, "released")).await
    }
}

async fn ask(
    context: &Context,
    path: &str,
    (jobs, done): (Vec<JobId>, &str),
) -> Result<Exit, Failure> {
    let mut client = context.connect().await?;
    let body = HoldBody { jobs };
    let Accepted::Accepted = client.post(path, &body).await?;
    body.jobs.iter().for_each(|id| note(&format!("{id} {done}")));
    Ok(Exit::Done)
}
