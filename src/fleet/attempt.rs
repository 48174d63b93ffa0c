//! The times that a job was given to a runner: what came of each, and whose fault that was.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::job::Verdict;
use super::view::JobStatus;
use crate::ids::{AttemptNo, IncarnationId, SlotId};
use crate::units::Time;

/// Who has to do something about an attempt that did not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The job itself: a red test, a missing program, its own timeout or memory.
    Job,
    /// What carries jobs: engine, host, container, agent, or a stranger's hand on them.
    Infrastructure,
    /// A person asked for it: cancel, down, a forced restart.
    Operator,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::Infrastructure => "infrastructure",
            Self::Operator => "operator",
        })
    }
}

/// After which attempts a job is tried again by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// After none.
    Never,
    /// After those that say nothing of the job: its runner was lost or taken from it.
    #[default]
    Infrastructure,
    /// After those, and once on a more capable profile after one that ran out of GPU memory.
    Oom,
    /// After failed ones, too.
    Any,
}

impl RetryOn {
    /// Whether an attempt with this fault is followed by another one.
    #[must_use]
    pub fn covers(self, fault: Fault) -> bool {
        match (self, fault) {
            (Self::Never, _) | (Self::Infrastructure | Self::Oom, Fault::Job) => false,
            (Self::Infrastructure | Self::Oom, Fault::Infrastructure | Fault::Operator)
            | (Self::Any, _) => true,
        }
    }
}

/// One time that a job was given to a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counted from 1.
    pub number: AttemptNo,
    /// The slot.
    pub slot: SlotId,
    /// The slot's name then.
    pub runner_name: String,
    /// The runner.
    pub incarnation: IncarnationId,
    /// Given to it.
    pub given_at: Time,
    /// First process started.
    pub started_at: Option<Time>,
    /// How it ended, if it has.
    pub end: Option<AttemptEnd>,
    /// What its agent said after it had been given up: evidence, and never more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<String>,
}

impl Attempt {
    /// Whether it is this one, was given up without its agent's word, and has none yet.
    #[must_use]
    pub fn is_given_up(&self, by: IncarnationId, number: AttemptNo, said: &Verdict) -> bool {
        let is_lost = self
            .end
            .as_ref()
            .is_some_and(|end| end.status == JobStatus::Lost && end.reason != said.reason);
        self.incarnation == by && self.number == number && is_lost && self.late.is_none()
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When.
    pub at: Time,
    /// As what the job would have ended with it.
    pub status: JobStatus,
    /// Its exit code, where it had one.
    pub exit_code: Option<i32>,
    /// Whose fault it was; nobody's if it succeeded.
    pub fault: Option<Fault>,
    /// Why, where the status does not say it all.
    pub reason: Option<String>,
}

impl AttemptEnd {
    /// The end of an attempt as a job's end.
    #[must_use]
    pub fn of(at: Time, verdict: &Verdict) -> Self {
        Self {
            at,
            status: verdict.status,
            exit_code: verdict.exit_code,
            fault: verdict.fault,
            reason: verdict.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_red_test_is_only_tried_again_when_somebody_asked_for_that() {
        let faults = [Fault::Job, Fault::Infrastructure, Fault::Operator];
        let covered = |on: RetryOn| faults.map(|fault| on.covers(fault));
        assert_eq!(covered(RetryOn::Never), [false, false, false]);
        assert_eq!(covered(RetryOn::default()), [false, true, true]);
        assert_eq!(covered(RetryOn::Oom), [false, true, true], "memory is asked for apart");
        assert_eq!(covered(RetryOn::Any), [true, true, true]);
    }
}
