//! A job: from its acceptance to its end.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{JobEnd, JobSpec};
use super::view::JobStatus;
use crate::ids::{AttemptNo, IncarnationId, JobId, ProfileName, SlotId};
use crate::units::Time;

/// How often a job is given out at most when runners die under it.
pub const ATTEMPTS_MAX: u32 = 3;

/// One accepted job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What was submitted.
    pub spec: JobSpec,
    /// The profile it needs at least.
    pub profile: ProfileName,
    /// Its priority with its lane's.
    pub priority: i32,
    /// Its bound, from the submission or the fleet's default.
    pub timeout: Duration,
    /// Where it stands.
    pub state: JobState,
    /// Times given out.
    pub attempt: AttemptNo,
    /// The slot of the last attempt.
    pub slot: Option<SlotId>,
    /// That slot's name.
    pub slot_name: Option<String>,
    /// Accepted.
    pub queued_at: Time,
    /// Last given out.
    pub assigned_at: Option<Time>,
    /// First process of the last attempt started.
    pub started_at: Option<Time>,
    /// Why the last attempt did not count, in words.
    pub setback: Option<String>,
}

/// Where a job stands. Each variant holds exactly what exists then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Waits for a runner.
    Queued,
    /// Given to a runner.
    Given {
        /// Which.
        runner: IncarnationId,
        /// Whether its end was asked for, and when.
        stop: Option<Stop>,
    },
    /// Its processes are gone; what they left under `/reports` is being published.
    Publishing {
        /// Whose folder.
        runner: IncarnationId,
        /// How it ended.
        end: JobEnd,
        /// Who asked for the end, if somebody did.
        stop: Option<StopBy>,
    },
    /// Its runner is lost; what becomes of it is decided when the container is known to be gone.
    Fenced {
        /// Which runner.
        runner: IncarnationId,
        /// Why the runner was lost.
        why: String,
        /// The end it gets, if it may not run again.
        verdict: Option<Verdict>,
    },
    /// Over.
    Ended {
        /// When.
        at: Time,
        /// How.
        verdict: Verdict,
    },
}

/// A job's end was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When.
    pub since: Time,
    /// For whom.
    pub by: StopBy,
}

/// Who wants a job to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopBy {
    /// Somebody cancelled it.
    Cancel,
    /// The fleet goes down.
    Down,
    /// Its time is up, and its agent did not see to it.
    Timeout,
}

/// How a job ended for its submitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The final state.
    pub status: JobStatus,
    /// Its exit code, where it had one; 128 + signal when a signal ended it.
    pub exit_code: Option<i32>,
    /// Why, where the status does not say it all.
    pub reason: Option<String>,
}

impl Job {
    /// Its place in the queue: higher priority first, then first come, first served.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { priority: Reverse(self.priority), id: self.id }
    }

    /// `workflow/run_id`, its folder in the report store.
    #[must_use]
    pub fn reports(&self) -> String {
        let workflow = self.spec.workflow.as_deref().unwrap_or("jobs");
        match &self.spec.run_id {
            Some(run) => format!("{workflow}/{run}"),
            None => format!("{workflow}/{}", self.id),
        }
    }

    /// The workflow run that it counts for, if it belongs to one.
    #[must_use]
    pub fn workflow_run(&self) -> Option<String> {
        self.spec.workflow.as_ref().map(|_| self.reports())
    }

    /// The runner that holds it, or held it until its end is settled.
    #[must_use]
    pub fn runner(&self) -> Option<IncarnationId> {
        match &self.state {
            JobState::Queued | JobState::Ended { .. } => None,
            JobState::Given { runner, .. }
            | JobState::Publishing { runner, .. }
            | JobState::Fenced { runner, .. } => Some(*runner),
        }
    }

    /// The state in the words that users see.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match &self.state {
            JobState::Queued => JobStatus::Queued,
            JobState::Given { .. } if self.started_at.is_none() => JobStatus::Assigned,
            JobState::Given { .. } | JobState::Publishing { .. } | JobState::Fenced { .. } => {
                JobStatus::Running
            }
            JobState::Ended { verdict, .. } => verdict.status,
        }
    }
}

/// A place in the queue; the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    priority: Reverse<i32>,
    /// Decides between equals, so that the order is total.
    pub id: JobId,
}

impl Verdict {
    /// What an end means for the submitter.
    #[must_use]
    pub fn of(end: &JobEnd, stop: Option<StopBy>) -> Self {
        match end {
            JobEnd::Exited(0) => {
                Self { status: JobStatus::Succeeded, exit_code: Some(0), reason: None }
            }
            JobEnd::Exited(code) => {
                Self { status: JobStatus::Failed, exit_code: Some(*code), reason: None }
            }
            JobEnd::Signalled(signal) => Self {
                status: JobStatus::Failed,
                exit_code: Some(128 + signal),
                reason: Some(format!("ended by signal {signal}")),
            },
            JobEnd::TimedOut => Self::stopped(StopBy::Timeout),
            JobEnd::Cancelled => Self::stopped(stop.unwrap_or(StopBy::Cancel)),
            JobEnd::OutOfMemory => Self {
                status: JobStatus::Oom,
                exit_code: Some(137),
                reason: Some("killed because its runner had no more memory".to_owned()),
            },
            // The shell's own codes; a job that was never begun has none.
            JobEnd::NoSuchProgram(why) => Self::not_started(Some(127), why),
            JobEnd::NotExecutable(why) => Self::not_started(Some(126), why),
            JobEnd::NotStarted(why) => Self::not_started(None, why),
        }
    }

    fn not_started(exit_code: Option<i32>, why: &str) -> Self {
        let reason = Some(format!("could not be started: {why}"));
        Self { status: JobStatus::Failed, exit_code, reason }
    }

    /// The end of a job that was stopped.
    #[must_use]
    pub fn stopped(by: StopBy) -> Self {
        let (status, reason) = match by {
            StopBy::Cancel => (JobStatus::Cancelled, "cancelled on request"),
            StopBy::Down => (JobStatus::Cancelled, "the fleet went down"),
            StopBy::Timeout => (JobStatus::TimedOut, "took longer than its timeout"),
        };
        Self { status, exit_code: None, reason: Some(reason.to_owned()) }
    }
}
