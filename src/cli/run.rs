//! `run`: a job as if it ran here: live output, its exit code, and Ctrl-C.

use std::time::Duration;

use clap::Args;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::clock;
use super::context::{Context, note, print_bytes, print_error_bytes};
use super::failure::Failure;
use super::interrupt::Interrupts;
use super::submit::{self, JobArgs};
use crate::api::dto::Accepted;
use crate::api::record::{HEADER_LEN, Record, RecordKind};
use crate::client::{Client, ClientError, Records};
use crate::exit::{Exit, JOB_NOT_STARTED, JOB_OUT_OF_MEMORY, JOB_TIMED_OUT};
use crate::fleet::attempt::Fault;
use crate::fleet::view::{JobStatus, JobView};
use crate::ids::JobId;
use crate::state_dir::StateDir;

/// A job that starts within this needs no explanation.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a supervisor may be away in the middle of a job; a restart takes well under a second.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// How long the second Ctrl-C waits for the cancel that the first one sent.
const CANCEL_MAX: Duration = Duration::from_secs(2);

/// Run a command on a runner, as if it ran here
///
/// Sends the working folder (what git would track, without .git), streams standard output and
/// standard error apart, and exits with the job's own code: 128 + signal when a signal ended it,
/// 124 when its time was up, 125 when it could not be started, 130 when it was cancelled, 137 when
/// it ran out of memory. Ctrl-C cancels the job and waits for its end; twice leaves it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet run -- ruff check .\n  \
                        slate-fleet run --profile standard -- pytest -n auto\n  \
                        slate-fleet run --type lint --timeout 5m --env CI=1 -- make lint\n  \
                        slate-fleet run --no-workspace -- nproc")]
pub(super) struct RunArgs {
    /// Print the job's id and do not wait
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    job: JobArgs,
    /// Program and arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

impl RunArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        if self.detach {
            return submit::submit(self.job, self.command, context, &mut client).await;
        }
        let body = self.job.into_body(self.command, context, &mut client).await?;
        // From here on Ctrl-C must reach the job: it may be durable before its id is known here.
        let interrupts = Interrupts::new()?;
        let (id, records) = match client.run(&body).await {
            Ok(started) => started,
            Err(error) => return Err(submit::explain(&mut client, &body, error).await),
        };
        let running = Running {
            id,
            state: context.state_dir()?,
            began: clock::start(),
            offset: 0,
            job: None,
            told: None,
        };
        let job = running.attend(records, interrupts).await?;
        tell_end(&job);
        Ok(exit_of(&job))
    }
}

/// A job that this process attends to.
struct Running {
    id: JobId,
    state: StateDir,
    began: Instant,
    /// Bytes of the log that were received, so that a new connection goes on there.
    offset: u64,
    job: Option<JobView>,
    /// The last reason for waiting that was told.
    told: Option<String>,
}

impl Running {
    /// Shows output until the job is over.
    async fn attend(
        mut self,
        mut records: Records,
        mut interrupts: Interrupts,
    ) -> Result<JobView, Failure> {
        let mut cancelling: Option<JoinHandle<()>> = None;
        let explain_at = self.began + PATIENCE;
        let mut explained = false;
        loop {
            tokio::select! {
                record = records.next() => match record {
                    Ok(Some(record)) => match self.take(record) {
                        Ok(Some(job)) => return Ok(job),
                        Ok(None) => {}
                        Err(failure) => return Err(self.unread(failure).await),
                    },
                    Ok(None) | Err(ClientError::Broken(_)) => {
                        records = self.again(&mut interrupts).await?;
                    }
                    Err(error) => return Err(error.into()),
                },
                _ = interrupts.next() => {
                    if let Some(cancelling) = cancelling.take() {
                        // Two quick ones must not leave the job uncancelled.
                        let _late = timeout(CANCEL_MAX, cancelling).await;
                        return Err(left(self.id));
                    }
                    note(&format!("cancelling {}; once more leaves it alone", self.id));
                    cancelling = Some(tokio::spawn(cancel(self.state.clone(), self.id)));
                }
                () = sleep_until(explain_at), if !explained => {
                    explained = true;
                    self.explain();
                }
            }
        }
    }

    /// Shows one record; the job when it is over.
    fn take(&mut self, record: Record) -> Result<Option<JobView>, Failure> {
        if record.kind != RecordKind::Job {
            self.offset += u64::try_from(HEADER_LEN + record.bytes.len()).unwrap_or(0);
        }
        match record.kind {
            RecordKind::Stdout => print_bytes(&record.bytes)?,
            RecordKind::Stderr => print_error_bytes(&record.bytes)?,
            RecordKind::Attempt => {
                note(&format!("{} begins again: its last attempt did not count", self.id));
            }
            RecordKind::End => {}
            RecordKind::Job => {
                let job: JobView = serde_json::from_slice(&record.bytes)
                    .map_err(|error| ClientError::Answer(Box::new(error)))?;
                if job.status.is_final() {
                    return Ok(Some(job));
                }
                self.job = Some(job);
                if self.began.elapsed() >= PATIENCE {
                    self.explain();
                }
            }
        }
        Ok(None)
    }

    /// Nobody reads the output any more. That ends the job, as SIGPIPE would end a command here.
    async fn unread(&self, failure: Failure) -> Failure {
        if failure.exit() == Exit::Done {
            cancel(self.state.clone(), self.id).await;
        }
        failure
    }

    /// Says why the job waits, once for each reason.
    fn explain(&mut self) {
        let Some(job) = self.job.as_ref().filter(|job| job.status == JobStatus::Queued) else {
            return;
        };
        let reason = job.reason.clone().unwrap_or_else(|| "no runner is free".to_owned());
        if self.told.as_ref() != Some(&reason) {
            note(&format!("{} waits: {reason}", self.id));
            self.told = Some(reason);
        }
    }

    /// The supervisor went away in the middle; the job goes on, and so do we when it is back.
    async fn again(&mut self, interrupts: &mut Interrupts) -> Result<Records, Failure> {
        note(&format!("the supervisor went away; {} goes on, waiting for its return", self.id));
        let until = clock::start() + AWAY_MAX;
        let mut tries = interval(Duration::from_millis(100));
        let path =
            format!("/api/v1/jobs/{}/logs?follow=true&job=true&from={}", self.id, self.offset);
        loop {
            tokio::select! {
                _ = tries.tick() => {}
                _ = interrupts.next() => return Err(left(self.id)),
                () = sleep_until(until) => return Err(self.lost_supervisor()),
            }
            if let Ok(mut client) = Client::connect(&self.state).await
                && let Ok(records) = client.records(&path).await
            {
                return Ok(records);
            }
        }
    }

    fn lost_supervisor(&self) -> Failure {
        let seconds = AWAY_MAX.as_secs();
        Failure::new(
            Exit::Unreachable,
            format!("the supervisor has been away for {seconds} s; {} may still run", self.id),
        )
        .help(format!("`slate-fleet up -d`, then `slate-fleet logs -f {}`", self.id))
    }
}

async fn cancel(state: StateDir, id: JobId) {
    let answer: Result<Accepted, ClientError> = async {
        Client::connect(&state).await?.post(&format!("/api/v1/jobs/{id}/cancel"), &()).await
    }
    .await;
    if let Err(error) = answer {
        note(Failure::from(error).render().trim_end());
    }
}

fn left(id: JobId) -> Failure {
    Failure::new(Exit::Interrupted, format!("left {id} to itself; it may still run"))
        .help(format!("`slate-fleet logs -f {id}` follows it again"))
}

/// Says on stderr what an exit code alone does not.
fn tell_end(job: &JobView) {
    let reason = job.reason.as_deref().unwrap_or("no reason is known");
    let what = match job.status {
        JobStatus::Failed if job.reason.is_some() => {
            // `could not be started: ...` or `ended by signal 11`; an exit code speaks for itself.
            note(&format!("{} {reason}{}", job.id, fault(job)));
            return;
        }
        JobStatus::Cancelled => "was cancelled",
        JobStatus::TimedOut => "took too long",
        JobStatus::Oom => "ran out of memory",
        JobStatus::Lost => "was lost with its runner",
        JobStatus::Queued
        | JobStatus::Assigned
        | JobStatus::Running
        | JobStatus::Succeeded
        | JobStatus::Failed => return,
    };
    note(&format!("{} {what}: {reason}{}", job.id, fault(job)));
}

/// Whether anybody but the job is to blame: a red test needs no such word.
fn fault(job: &JobView) -> &'static str {
    match job.fault {
        Some(Fault::Infrastructure) => " (infrastructure, not the job)",
        Some(Fault::Job | Fault::Operator) | None => "",
    }
}

/// The exit code that a job's end stands for.
pub(super) fn exit_of(job: &JobView) -> Exit {
    match job.status {
        JobStatus::Succeeded => Exit::Done,
        JobStatus::Failed => match job.exit_code {
            // Never 0: the job did fail.
            Some(code) => Exit::Job(u8::try_from(code).unwrap_or(u8::MAX).max(1)),
            None => Exit::Job(JOB_NOT_STARTED),
        },
        JobStatus::Cancelled => Exit::Interrupted,
        JobStatus::TimedOut => Exit::Job(JOB_TIMED_OUT),
        JobStatus::Oom => Exit::Job(JOB_OUT_OF_MEMORY),
        JobStatus::Lost => Exit::Job(JOB_NOT_STARTED),
        JobStatus::Queued | JobStatus::Assigned | JobStatus::Running => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::fixture::failed_job;

    #[test]
    fn a_jobs_end_becomes_the_code_that_a_shell_expects() {
        let code =
            |status, exit_code| exit_of(&JobView { status, exit_code, ..failed_job() }).code();
        assert_eq!(code(JobStatus::Succeeded, Some(0)), 0);
        assert_eq!(code(JobStatus::Failed, Some(7)), 7);
        assert_eq!(code(JobStatus::Failed, Some(139)), 139);
        assert_eq!(code(JobStatus::Failed, Some(0)), 1);
        assert_eq!(code(JobStatus::Failed, Some(1000)), 255);
        assert_eq!(code(JobStatus::Failed, None), 125);
        assert_eq!(code(JobStatus::Cancelled, None), 130);
        assert_eq!(code(JobStatus::TimedOut, None), 124);
        assert_eq!(code(JobStatus::Oom, None), 137);
        assert_eq!(code(JobStatus::Lost, None), 125);
    }
}
