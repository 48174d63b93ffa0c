//! A job: from its acceptance to its end.

use std::cmp::Reverse;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, AttemptEnd, Fault, GpuTime, RetryOn};
use super::audit::Client;
use super::event::{JobEnd, JobSpec, TaskEnd};
use super::oom::{Blame, GpuUse};
use super::runner::Cause;
use super::view::{JobStatus, RunnerStatus};
use crate::ids::{AttemptNo, IncarnationId, JobId, ProfileName, SlotId};
use crate::spec::Limits;
use crate::units::Time;

/// One accepted job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What was submitted.
    pub spec: JobSpec,
    /// The profile it needs at least.
    pub profile: ProfileName,
    /// What it needed before it ran out of GPU memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised: Option<Raised>,
    /// Its priority with its lane's.
    pub priority: i32,
    /// Its turn among the jobs of its kind and priority; the lower goes first.
    #[serde(default)]
    pub turn: u64,
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
    /// Every time that it was given out; as many as its retries allow, and one more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// How often it is tried again at most.
    #[serde(default = "Limits::retries")]
    pub retries: u32,
    /// After which attempts.
    #[serde(default)]
    pub retry_on: RetryOn,
}

/// What a job needed before it ran out of GPU memory. By its own use it is tried again once at
/// most, and never with less memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Raised {
    /// The profile that it needed until then.
    pub from: ProfileName,
    /// The attempt that ran out of GPU memory.
    pub after: AttemptNo,
    /// Whose use that was.
    pub blame: Blame,
}

/// Where a job stands. Each variant holds exactly what exists then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Waits for a runner.
    Queued,
    /// Waits until an operator releases it.
    OnHold {
        /// Since when.
        since: Time,
        /// Who put it on hold.
        by: Client,
    },
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
        /// What was measured of its card; none on a runner without one.
        #[serde(default)]
        gpu: Option<GpuUse>,
    },
    /// Its attempt is over and its runner goes; what becomes of it is settled when the container
    /// is known to be gone.
    Fenced {
        /// Which runner.
        runner: IncarnationId,
        /// Why the attempt is over.
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
    /// Whose fault it was; nobody's if it succeeded.
    #[serde(default)]
    pub fault: Option<Fault>,
}

impl Job {
    /// Its place among all jobs: higher priority first, then first come, first served.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { priority: Reverse(self.priority), id: self.id }
    }

    /// Its place among the jobs of its kind.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { priority: Reverse(self.priority), turn: self.turn, id: self.id }
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

    /// Whether somebody drives it from outside: its runner is leased, and its agent knows nothing
    /// of it.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.spec.task.is_some()
    }

    /// Its first process runs, or ran before its end was told.
    pub(super) fn start(&mut self, now: Time) {
        let started = *self.started_at.get_or_insert(now);
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.started_at = Some(started);
        }
    }

    /// Its processes are gone: what its present attempt had of its card's time.
    pub(super) fn note_gpu_time(&mut self, time: Option<GpuTime>) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.gpu_time = time;
        }
    }

    /// What all its attempts had of their cards' time; none if none had a card.
    #[must_use]
    pub fn gpu_time(&self) -> Option<GpuTime> {
        self.attempts.iter().filter_map(|it| it.gpu_time).reduce(GpuTime::plus)
    }

    /// Its present attempt is over, in one way for ever.
    pub(super) fn end_attempt(&mut self, now: Time, verdict: &Verdict) {
        let is_held = self.runner().is_some();
        if let Some(attempt) = self.attempts.last_mut().filter(|it| is_held && it.end.is_none()) {
            attempt.end = Some(AttemptEnd::of(now, verdict));
        }
    }

    /// Whether it may be given out again after an attempt that ended so.
    pub(super) fn may_try_again(&self, verdict: &Verdict, stop: Option<StopBy>) -> bool {
        let is_covered = verdict.fault.is_some_and(|fault| self.retry_on.covers(fault));
        is_covered && self.has_tries_left(stop)
    }

    /// Whether it is wanted still and may be given out as often as that.
    pub(super) fn has_tries_left(&self, stop: Option<StopBy>) -> bool {
        let is_unwanted = matches!(stop, Some(StopBy::Cancel | StopBy::Down));
        !is_unwanted && self.attempt.0 <= self.retries
    }

    /// Its end, when its last attempt ended so.
    pub(super) fn last_verdict(&self, verdict: Verdict) -> Verdict {
        let tried = self.attempt.0;
        match verdict.reason {
            Some(why) if tried > 1 && verdict.fault == Some(Fault::Infrastructure) => {
                Verdict { reason: Some(format!("{why}; it was tried {tried} times")), ..verdict }
            }
            reason => Verdict { reason, ..verdict },
        }
    }

    /// The runner that holds it, or held it until its end is settled.
    #[must_use]
    pub fn runner(&self) -> Option<IncarnationId> {
        match &self.state {
            JobState::Queued | JobState::OnHold { .. } | JobState::Ended { .. } => None,
            JobState::Given { runner, .. }
            | JobState::Publishing { runner, .. }
            | JobState::Fenced { runner, .. } => Some(*runner),
        }
    }

    /// The state in the words that users see.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match &self.state {
            JobState::Queued | JobState::OnHold { .. } => JobStatus::Queued,
            JobState::Given { .. } if self.started_at.is_none() => JobStatus::Assigned,
            JobState::Given { .. } | JobState::Publishing { .. } | JobState::Fenced { .. } => {
                JobStatus::Running
            }
            JobState::Ended { verdict, .. } => verdict.status,
        }
    }
}

/// A place among jobs of all kinds; the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    priority: Reverse<i32>,
    /// Decides between equals, so that the order is total.
    pub id: JobId,
}

/// A place among jobs of one kind; the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    priority: Reverse<i32>,
    turn: u64,
    /// Decides between equals, so that the order is total.
    pub id: JobId,
}

impl Place {
    /// The place among jobs of all kinds: turns are compared within one kind only.
    #[must_use]
    pub fn rank(self) -> Rank {
        Rank { priority: self.priority, id: self.id }
    }
}

impl Verdict {
    /// What an end means for the submitter.
    #[must_use]
    pub fn of(end: &JobEnd, stop: Option<StopBy>) -> Self {
        match end {
            JobEnd::Exited(0) => {
                Self { status: JobStatus::Succeeded, exit_code: Some(0), reason: None, fault: None }
            }
            JobEnd::Completed(TaskEnd::Succeeded) => {
                Self { status: JobStatus::Succeeded, exit_code: None, reason: None, fault: None }
            }
            JobEnd::Completed(TaskEnd::Failed) => Self {
                exit_code: None,
                reason: Some("whoever drove it said that it failed".to_owned()),
                ..Self::failed(1)
            },
            JobEnd::Exited(KILLED) => Self {
                reason: Some(format!("exit code {KILLED}: {UNKNOWN_KILL}")),
                ..Self::failed(KILLED)
            },
            JobEnd::Exited(code) => Self::failed(*code),
            JobEnd::Signalled(SIGKILL) => {
                Self { reason: Some(UNKNOWN_KILL.to_owned()), ..Self::failed(KILLED) }
            }
            JobEnd::Signalled(signal) => Self {
                reason: Some(format!("ended by signal {signal}")),
                ..Self::failed(128 + signal)
            },
            JobEnd::TimedOut => Self::stopped(StopBy::Timeout),
            JobEnd::Cancelled => stop.map_or_else(
                || Self::lost("somebody stopped its container, and it was not the fleet"),
                Self::stopped,
            ),
            JobEnd::OutOfMemory => Self::oom("its container's memory limit was reached".to_owned()),
            JobEnd::MemoryLimit { peak, limit } => Self::oom(format!(
                "its container's memory limit of {limit} was reached{}",
                peak.map(|peak| format!(" (peak {peak})")).unwrap_or_default()
            )),
            JobEnd::HostMemory { peak } => Self {
                fault: Some(Fault::Infrastructure),
                ..Self::oom(format!(
                    "the host had no memory left; the job's container was below its limit{}",
                    peak.map(|peak| format!(" (peak {peak})")).unwrap_or_default()
                ))
            },
            // The shell's own codes.
            JobEnd::NoSuchProgram(why) => Self::not_started(127, why),
            JobEnd::NotExecutable(why) => Self::not_started(126, why),
            // Never begun, so it has no code, and nothing is known against it.
            JobEnd::NotStarted(why) => Self {
                status: JobStatus::Failed,
                exit_code: None,
                reason: Some(format!("could not be started: {why}")),
                fault: Some(Fault::Infrastructure),
            },
        }
    }

    fn failed(code: i32) -> Self {
        Self {
            status: JobStatus::Failed,
            exit_code: Some(code),
            reason: None,
            fault: Some(Fault::Job),
        }
    }

    fn not_started(code: i32, why: &str) -> Self {
        Self { reason: Some(format!("could not be started: {why}")), ..Self::failed(code) }
    }

    fn oom(why: String) -> Self {
        Self { status: JobStatus::Oom, reason: Some(why), ..Self::failed(KILLED) }
    }

    /// The end of an attempt whose runner was lost or taken from it.
    #[must_use]
    pub fn lost(why: impl Into<String>) -> Self {
        Self {
            status: JobStatus::Lost,
            exit_code: None,
            reason: Some(why.into()),
            fault: Some(Fault::Infrastructure),
        }
    }

    /// The end of an attempt whose runner goes before the job does.
    #[must_use]
    pub fn without_runner(cause: &Cause) -> Self {
        let lost = Self { fault: Some(cause.fault()), ..Self::lost(cause.to_string()) };
        match cause.error_state() {
            Some(RunnerStatus::Oom) => {
                Self { status: JobStatus::Oom, exit_code: Some(KILLED), ..lost }
            }
            Some(_) | None => lost,
        }
    }

    /// Something more that people should read.
    pub(super) fn add(&mut self, note: &str) {
        self.reason = Some(match self.reason.take() {
            Some(reason) => format!("{reason}; {note}"),
            None => note.to_owned(),
        });
    }

    /// The end in words.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (&self.reason, self.exit_code) {
            (Some(reason), _) => reason.clone(),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => String::new(),
        }
    }

    /// The end of a job that was stopped.
    #[must_use]
    pub fn stopped(by: StopBy) -> Self {
        let (status, reason, fault) = match by {
            StopBy::Cancel => (JobStatus::Cancelled, "cancelled on request", Fault::Operator),
            StopBy::Down => (JobStatus::Cancelled, "the fleet went down", Fault::Operator),
            StopBy::Timeout => (JobStatus::TimedOut, "took longer than its timeout", Fault::Job),
        };
        Self { status, exit_code: None, reason: Some(reason.to_owned()), fault: Some(fault) }
    }
}

/// The signal that nobody can catch, and what a shell makes of it.
const SIGKILL: i32 = 9;
const KILLED: i32 = 128 + SIGKILL;
/// All that the fleet itself and the kernel's memory killer would have left a trace of.
const UNKNOWN_KILL: &str = "killed by signal 9 from within its container or its host; it was not \
                            the fleet, and not for memory";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::event::ContainerExit;
    use crate::units::Bytes;

    // Pain 44: exit 137 says which: the container's memory limit (with peak and limit), the host's
    // memory, timeout, cancel, a forced stop, or a signal that nobody knows.
    #[test]
    fn an_end_by_force_always_says_which() {
        let (peak, limit) = (Some(Bytes::mib(512)), Bytes::mib(512));
        let of = |end: JobEnd, stop| {
            let verdict = Verdict::of(&end, stop);
            (verdict.fault, verdict.in_words())
        };
        let job = Some(Fault::Job);
        let infrastructure = Some(Fault::Infrastructure);
        let operator = Some(Fault::Operator);
        let ends = [
            (
                of(JobEnd::MemoryLimit { peak, limit }, None),
                (job, "its container's memory limit of 512MiB was reached (peak 512MiB)"),
            ),
            (of(JobEnd::OutOfMemory, None), (job, "its container's memory limit was reached")),
            (
                of(JobEnd::HostMemory { peak }, None),
                (
                    infrastructure,
                    "the host had no memory left; the job's container was below its limit (peak \
                     512MiB)",
                ),
            ),
            (of(JobEnd::TimedOut, None), (job, "took longer than its timeout")),
            (of(JobEnd::Cancelled, Some(StopBy::Cancel)), (operator, "cancelled on request")),
            (of(JobEnd::Cancelled, Some(StopBy::Down)), (operator, "the fleet went down")),
            (
                of(JobEnd::Cancelled, None),
                (infrastructure, "somebody stopped its container, and it was not the fleet"),
            ),
            (of(JobEnd::Signalled(SIGKILL), None), (job, UNKNOWN_KILL)),
        ];
        for (is, (fault, words)) in ends {
            assert_eq!(is, (fault, words.to_owned()));
        }
        let shell = Verdict::of(&JobEnd::Exited(KILLED), None).in_words();
        assert_eq!(shell, format!("exit code 137: {UNKNOWN_KILL}"));
        let whole = Cause::Died(ContainerExit { code: 137, oom: true });
        let whole = Verdict::without_runner(&whole);
        assert_eq!((whole.status, whole.fault), (JobStatus::Oom, infrastructure));
        let forced = Verdict::without_runner(&Cause::Forced);
        assert_eq!((forced.status, forced.fault), (JobStatus::Lost, operator));
    }
}
