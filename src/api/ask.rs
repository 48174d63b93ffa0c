//! Questions to the loop with a bound on the wait, and names turned into ids.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::problem::{Problem, ProblemKind};
use super::{ANSWER_TIMEOUT, Api};
use crate::fleet::audit::Client;
use crate::fleet::effect::Answer;
use crate::fleet::event::Request;
use crate::fleet::view::{FleetView, JobView, RunnerView};
use crate::ids::{JobId, SlotId};
use crate::supervisor::handle::Query;

impl Api {
    /// Reads something from the loop.
    pub(super) async fn ask<T>(
        &self,
        query: impl FnOnce(oneshot::Sender<T>) -> Query,
    ) -> Result<T, Problem> {
        self.ask_within(ANSWER_TIMEOUT, query).await
    }

    /// Reads something from the loop, with a bound of the caller's.
    pub(super) async fn ask_within<T>(
        &self,
        bound: Duration,
        query: impl FnOnce(oneshot::Sender<T>) -> Query,
    ) -> Result<T, Problem> {
        Ok(timeout(bound, self.handle.query(query)).await.map_err(|_| no_answer(bound))??)
    }

    /// Asks the loop for a change; a refusal is a problem.
    pub(super) async fn change(&self, by: Client, request: Request) -> Result<Answer, Problem> {
        let answer = timeout(ANSWER_TIMEOUT, self.handle.request(by, request))
            .await
            .map_err(|_| no_answer(ANSWER_TIMEOUT))??;
        match answer {
            Answer::Refused(refusal) => Err(refusal.into()),
            done @ (Answer::Accepted | Answer::Submitted(_) | Answer::SubmittedAll { .. }) => {
                Ok(done)
            }
        }
    }

    pub(super) async fn fleet_view(&self) -> Result<Arc<FleetView>, Problem> {
        self.ask(Query::Fleet).await
    }

    /// One job, or the problem that there is none.
    pub(super) async fn job_view(&self, id: JobId) -> Result<JobView, Problem> {
        self.ask(|reply| Query::Job(id, reply))
            .await?
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, format!("there is no job `{id}`")))
    }

    /// The slots that these names or ids mean; all must exist.
    pub(super) async fn slots(&self, names: &[String]) -> Result<Vec<SlotId>, Problem> {
        let fleet = self.fleet_view().await?;
        names.iter().map(|name| find_runner(&fleet, name).map(|runner| runner.id)).collect()
    }
}

/// The runner of this name (`slate-light-01`), id (`runner-001`), or name at its forge.
pub(super) fn find_runner<'a>(fleet: &'a FleetView, name: &str) -> Result<&'a RunnerView, Problem> {
    fleet
        .runner_named(name)
        .ok_or_else(|| Problem::new(ProblemKind::NotFound, format!("there is no runner `{name}`")))
}

/// Reads a job's id from a path.
pub(super) fn parse_job(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|error: crate::ids::ParseIdError| {
        Problem::new(ProblemKind::Invalid, error.to_string())
    })
}

fn no_answer(bound: Duration) -> Problem {
    Problem::new(
        ProblemKind::Timeout,
        format!(
            "the supervisor's loop did not answer within {} s; its log may say why",
            bound.as_secs()
        ),
    )
}
