//! `cancel`: ends jobs.

use clap::Args;

use super::context::{Context, note};
use super::failure::Failure;
use crate::api::dto::Accepted;
use crate::exit::Exit;
use crate::ids::JobId;

/// End jobs that wait or run
///
/// A running job is asked to stop and killed after its profile's grace. All jobs are tried; the
/// exit code is 5 when only some could be cancelled.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet cancel job-42\n  \
                        slate-fleet jobs -q --status queued | xargs slate-fleet cancel")]
pub(super) struct CancelArgs {
    /// The jobs
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobId>,
}

impl CancelArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let mut failures = Vec::new();
        for id in &self.jobs {
            let answer: Result<Accepted, _> =
                client.post(&format!("/api/v1/jobs/{id}/cancel"), &()).await;
            match answer {
                Ok(Accepted::Accepted) => note(&format!("{id} cancelled")),
                Err(error) => failures.push(Failure::from(error)),
            }
        }
        partly(failures, self.jobs.len())
    }
}

/// One exit code for several tries: the failure's own where all failed the same way.
pub(super) fn partly(failures: Vec<Failure>, tried: usize) -> Result<Exit, Failure> {
    let failed = failures.len();
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(Exit::Done) };
    if tried == 1 {
        return Err(first);
    }
    let exit = if failed == tried { first.exit() } else { Exit::Partly };
    for failure in std::iter::once(first).chain(failures) {
        note(failure.render().trim_end());
    }
    Ok(exit)
}
