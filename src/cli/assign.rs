//! `assign` and `complete`: a runner for work that is driven from outside, and back.

use std::time::Duration;

use clap::Args;

use super::context::{Context, Format, note, print};
use super::failure::Failure;
use super::submit::{submitter, whole_seconds};
use super::wanted::WantedArgs;
use super::{clock, render};
use crate::api::tasks::{AssignBody, Assignment, CompleteBody, Completed};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::event::TaskEnd;
use crate::fleet::view::JobStatus;
use crate::spec::show_duration;

/// Longest wait in one request.
const LOOK: Duration = Duration::from_secs(20);

/// Lease a runner to work that is driven from outside
///
/// Prints the runner; it has the task until `complete` gives it back, or its time is up. Where no
/// runner is idle the task waits in the queue like any job. Asking again for a task that is not
/// over prints the same runner.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet assign task-id-123 --type inference_small\n  \
                        slate-fleet assign build-7 --profile standard --timeout 10m\n  docker exec \
                        $(slate-fleet assign t1 --format json | jq -r .runner.container) make\n  \
                        slate-fleet assign t2 --no-wait      exit code 4 if it has to wait")]
pub(super) struct AssignArgs {
    /// What you call the work
    #[arg(value_name = "TASK")]
    task: String,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Take the runner back after this long [default: the fleet file's `limits.task_timeout`]
    #[arg(long, value_name = "DURATION", value_parser = clock::parse_duration)]
    task_timeout: Option<Duration>,
    /// Leave it in the queue when no runner is idle
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for a runner
    #[arg(long, value_name = "DURATION", default_value = "5m",
          value_parser = clock::parse_duration)]
    timeout: Duration,
    /// Print the runner's id only
    #[arg(short, long)]
    quiet: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Give back a runner that `assign` leased
///
/// What the task left under its folder of /reports is stored; then the runner is replaced like
/// after any job, or idle again if it is persistent.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet complete runner-001\n  slate-fleet complete \
                        slate-gpu-heavy-01 --failed\n  slate-fleet complete task-id-123")]
pub(super) struct CompleteArgs {
    /// Id or name of the runner, or the task
    #[arg(value_name = "RUNNER | TASK")]
    of: String,
    /// It did not go well
    #[arg(long)]
    failed: bool,
}

impl AssignArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let mut body = AssignBody {
            task: self.task,
            profile: self.wanted.profile,
            task_type: self.wanted.task_type,
            pool: self.wanted.pool,
            lane: self.wanted.lane,
            priority: self.wanted.priority,
            timeout_seconds: self.task_timeout.map(whole_seconds),
            wait_seconds: 0,
            submitter: Some(submitter()),
        };
        let patience = if self.no_wait { Duration::ZERO } else { self.timeout };
        let assignment = wait(&mut client, &mut body, patience).await?;
        if self.quiet {
            let id = assignment.runner.as_ref().map(|runner| format!("{}\n", runner.id));
            print(&id.unwrap_or_default())?;
        } else {
            let text = render::machine_one(self.format, &assignment);
            print(&text.unwrap_or_else(|| render::tasks::assignment(&assignment)))?;
        }
        match (assignment.status, self.no_wait) {
            (JobStatus::Queued, true) => Ok(Exit::NoCapacity),
            (JobStatus::Queued, false) => Err(late(&assignment, self.timeout)),
            _ => Ok(Exit::Done),
        }
    }
}

/// Asks until there is a runner or the time is up; asking again is no second task.
async fn wait(
    client: &mut Client,
    body: &mut AssignBody,
    patience: Duration,
) -> Result<Assignment, Failure> {
    let until = clock::start() + patience;
    let mut is_told = false;
    loop {
        let left = until.saturating_duration_since(clock::start());
        // The first answer tells at once whether it has to wait.
        body.wait_seconds = if is_told { whole_seconds(left.min(LOOK)) } else { 0 };
        let assignment: Assignment = client.post("/api/v1/assign", body).await?;
        if assignment.status != JobStatus::Queued || left.is_zero() {
            return Ok(assignment);
        }
        if !is_told {
            let why = assignment.reason.as_deref().unwrap_or("no runner is idle");
            note(&format!("{} waits as {}: {why}", assignment.task, assignment.job));
            is_told = true;
        }
    }
}

fn late(assignment: &Assignment, timeout: Duration) -> Failure {
    let Assignment { task, job, .. } = assignment;
    let timeout = show_duration(timeout);
    Failure::new(Exit::NotReady, format!("there was no runner for {task} within {timeout}")).help(
        format!(
            "it stays in the queue; `slate-fleet assign` with the same name waits on, \
             `slate-fleet cancel {job}` gives it up"
        ),
    )
}

impl CompleteArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let end = match self.failed {
            true => TaskEnd::Failed,
            false => TaskEnd::Succeeded,
        };
        let body = CompleteBody { of: self.of, end };
        let Completed { task, job, name, .. } = client.post("/api/v1/complete", &body).await?;
        let how = if self.failed { "failed" } else { "completed" };
        match (task, job) {
            (Some(task), Some(job)) => note(&format!("{task} {how} on {name} ({job})")),
            _ => note(&format!(
                "nothing to complete: {name} takes its forge's jobs, and the forge sees for itself \
                 when one ends"
            )),
        }
        Ok(Exit::Done)
    }
}
