//! The times that a job was given to a runner: what came of each, and whose fault that was.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::Verdict;
use super::view::JobStatus;
use crate::ids::{AttemptNo, IncarnationId, SlotId};
use crate::units::Time;

/// Who has to do something about an attempt that did not go well.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// What it had of its card's time, once it has ended; none on a runner without a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_time: Option<GpuTime>,
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

/// What was had of a card's time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuTime {
    /// From being given to a runner to the end, times the part of the card's memory that the
    /// runner leased; all of it if the runner was alone on the card.
    pub reserved_ms: u64,
    /// What the job's own processes had, of the time that readings tell of; none where they never
    /// told it.
    pub busy_ms: Option<u64>,
    /// How long no reading tells how busy they were.
    pub unknown_ms: u64,
}

impl GpuTime {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let busy_ms = match (self.busy_ms, other.busy_ms) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        Self {
            reserved_ms: self.reserved_ms.saturating_add(other.reserved_ms),
            busy_ms,
            unknown_ms: self.unknown_ms.saturating_add(other.unknown_ms),
        }
    }
}

impl fmt::Display for GpuTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
        write!(f, "{} reserved, ", seconds(self.reserved_ms))?;
        match self.busy_ms {
            Some(busy) => write!(f, "{} busy", seconds(busy))?,
            None => return f.write_str("busy time not known"),
        }
        match self.unknown_ms {
            0..1000 => Ok(()),
            unknown => write!(f, " ({} not known)", seconds(unknown)),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    fn the_attempts_of_a_job_add_up() {
        let time = |reserved_ms, busy_ms, unknown_ms| GpuTime { reserved_ms, busy_ms, unknown_ms };
        let sum = time(8000, None, 16_000).plus(time(4040, Some(3470), 900));
        assert_eq!(sum, time(12_040, Some(3470), 16_900));
        assert_eq!(sum.plus(sum).busy_ms, Some(6940));
        assert_eq!(sum.to_string(), "12.0 s reserved, 3.4 s busy (16.9 s not known)");
        assert_eq!(time(12_000, Some(0), 999).to_string(), "12.0 s reserved, 0.0 s busy");
        assert_eq!(time(50, None, 50).to_string(), "0.0 s reserved, busy time not known");
    }

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
