//! The queue of a scope. GitHub has no list of jobs, so the runs that are not over are listed for
//! each repository, and the jobs of each run.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::Github;
use super::line::{Trouble, refusal};
use super::scope::Place;
use super::shapes::{Job, Repository, Run};
use crate::fleet::forge::ForgeJobFact;
use crate::forge::{CallError, Listed};
use crate::ids::ForgeJobId;
use crate::units::words::counted;

/// Repositories of an organization that are read if none are named; those with the latest pushes.
const REPOSITORIES_MAX: usize = 50;
/// Runs of a repository whose jobs are read, those that wait first.
const RUNS_MAX: usize = 300;
/// GitHub gives a thousand runs at most for such a list.
const RUN_PAGES: usize = 10;
/// The governor has fewer places; so they are always filled.
const AT_ONCE: usize = 16;

/// Jobs that were read, and what was left out.
#[derive(Default)]
struct Queue {
    jobs: BTreeMap<ForgeJobId, ForgeJobFact>,
    gaps: Vec<String>,
}

impl Github {
    pub(super) async fn list_jobs(&self) -> Result<Listed<ForgeJobFact>, CallError> {
        let what = format!("reading the queue of {}", self.scope.words());
        let queue = self.queue().await.map_err(|trouble| self.reading(&what).sort(trouble))?;
        Ok(Listed { items: queue.jobs.into_values().collect(), gaps: queue.gaps })
    }

    async fn queue(&self) -> Result<Queue, Trouble> {
        let mut queue = Queue::default();
        if let Place::Repository { owner, name } = &self.scope.place {
            let repository = format!("{owner}/{name}");
            queue.add(self.queue_of(&repository).await?);
            return Ok(queue);
        }
        let repositories = self.queued_repositories(&mut queue.gaps).await?;
        let mut read = stream::iter(repositories)
            .map(|repository| async move {
                let queue = self.queue_of(&repository).await;
                (repository, queue)
            })
            .buffered(AT_ONCE);
        while let Some((repository, part)) = read.next().await {
            match part {
                Ok(part) => queue.add(part),
                // One that is hidden, gone or closed stays so, and keeps no other from its jobs.
                Err(Trouble::Refused(answer)) if answer.status.is_client_error() => {
                    let words = refusal(&answer);
                    queue.gaps.push(format!("the queue of {repository} is not read ({words})"));
                }
                // A list without it would say that its jobs are over.
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(queue)
    }

    /// The repositories of the scope whose queues are read.
    async fn queued_repositories(&self, gaps: &mut Vec<String>) -> Result<Vec<String>, Trouble> {
        if !self.repositories.is_empty() {
            return Ok(self.repositories.clone());
        }
        let Place::Organization(name) = &self.scope.place else {
            gaps.push(format!(
                "no queue is read: name the `repositories` of {} whose jobs count",
                self.scope.words()
            ));
            return Ok(Vec::new());
        };
        let path =
            format!("/orgs/{name}/repos?sort=pushed&direction=desc&per_page={REPOSITORIES_MAX}");
        let pages = self.api.list_some::<Repository>(&path, "repositories", 1).await?;
        if pages.is_cut {
            gaps.push(format!(
                "the queues of the {REPOSITORIES_MAX} repositories with the latest pushes are read; \
                 name others under `repositories`"
            ));
        }
        let open = pages.items.into_iter().filter(|it| !it.archived && !it.disabled);
        Ok(open.map(|it| it.full_name).filter(|it| super::scope::repository(it).is_ok()).collect())
    }

    async fn queue_of(&self, repository: &str) -> Result<Queue, Trouble> {
        let mut queue = Queue::default();
        let mut runs: Vec<Run> = Vec::new();
        for status in ["queued", "in_progress"] {
            let path = format!("/repos/{repository}/actions/runs?status={status}&per_page=100");
            let pages = self.api.list_some::<Run>(&path, "workflow_runs", RUN_PAGES).await?;
            if pages.bad > 0 {
                queue
                    .gaps
                    .push(format!("{repository}: not understood: {}", counted(pages.bad, "run")));
            }
            for run in pages.items {
                // A run may go from one list to the other between the two.
                if !runs.iter().any(|known| known.id == run.id) {
                    runs.push(run);
                }
            }
        }
        if runs.len() > RUNS_MAX {
            queue.gaps.push(format!(
                "{repository} has {} runs that are not over; the jobs of {RUNS_MAX} are read",
                runs.len()
            ));
            runs.truncate(RUNS_MAX);
        }
        let parts: Vec<Queue> = stream::iter(runs)
            .map(|run| self.jobs_of(repository, run))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        parts.into_iter().for_each(|part| queue.add(part));
        Ok(queue)
    }

    async fn jobs_of(&self, repository: &str, run: Run) -> Result<Queue, Trouble> {
        let path =
            format!("/repos/{repository}/actions/runs/{}/jobs?filter=latest&per_page=100", run.id);
        let pages = match self.api.list::<Job>(&path, "jobs").await {
            Ok(pages) => pages,
            // Deleted meanwhile.
            Err(Trouble::Refused(answer)) if answer.status.as_u16() == 404 => {
                return Ok(Queue::default());
            }
            Err(trouble) => return Err(trouble),
        };
        let mut queue = Queue::default();
        if pages.bad > 0 {
            let words = format!("run {}: not understood: {}", run.id, counted(pages.bad, "job"));
            queue.gaps.push(words);
        }
        let (fork, now) = (run.is_fork(), self.api.line.now());
        for job in pages.items {
            let mut fact = job.fact(repository, fork, now);
            fact.workflow = fact.workflow.or_else(|| run.name.clone());
            if !fact.status.is_final() {
                queue.jobs.insert(fact.id, fact);
            }
        }
        Ok(queue)
    }
}

impl Queue {
    fn add(&mut self, part: Self) {
        self.jobs.extend(part.jobs);
        self.gaps.extend(part.gaps);
    }
}
