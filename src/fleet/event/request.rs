//! What clients ask the core for.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TaskEnd;
use crate::fleet::attempt::RetryOn;
use crate::ids::{BlobId, JobId, LaneName, PoolName, ProfileName, SlotId, TaskName, TokenId};
use crate::spec::Spec;

/// What a client asks the core for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Bring the fleet to this spec.
    Apply(Box<Spec>),
    /// Accept a job.
    Submit(Box<JobSpec>),
    /// Accept all of these jobs or none; at least one.
    SubmitAll(Vec<JobSpec>),
    /// End a job.
    Cancel(JobId),
    /// Keep these jobs, which wait, from starting.
    Hold(Vec<JobId>),
    /// Let these jobs start again, at their old places.
    Release(Vec<JobId>),
    /// Give back the runner of a job that is driven from outside.
    Complete {
        /// Which job.
        job: JobId,
        /// How it ended.
        end: TaskEnd,
    },
    /// Set the number of runners.
    Scale(ScaleRequest),
    /// Remove every runner, then finish.
    Down(DownMode),
    /// Give slots no new jobs and replace nothing there (`cordon`, `drain`), or undo it.
    Cordon {
        /// Which slots.
        slots: Vec<SlotId>,
        /// Whether they are closed or opened.
        to: Cordon,
    },
    /// Begin nothing in pools (`pause`), or undo it.
    Pause {
        /// Which, by their names or the profiles that one pool has; all pools if empty.
        pools: Vec<String>,
        /// Whether they are closed or opened.
        to: Cordon,
    },
    /// Lease nothing more of cards (`cordon --gpu`), or undo it.
    CordonCards {
        /// Which, each by its UUID or index.
        cards: Vec<String>,
        /// Whether they are closed or opened.
        to: Cordon,
    },
    /// Replace these runners' containers.
    Restart {
        /// Which slots.
        slots: Vec<SlotId>,
        /// When those that have a job.
        when: RestartTime,
    },
    /// Put on record what became of a token of the API. The fleet keeps none.
    Token {
        /// Which.
        token: TokenId,
        /// What became of it.
        change: TokenChange,
        /// For what, and for how long.
        why: String,
    },
}

/// What becomes of a token of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenChange {
    /// It may be used from now on.
    Made,
    /// It may not be used any more.
    Revoked,
}

/// When a runner that has a job is restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartTime {
    /// After its job.
    #[default]
    AfterJob,
    /// At once: the job loses its runner, and is tried again if it may be.
    Now,
}

/// Whether a slot takes new jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cordon {
    /// Takes jobs.
    Open,
    /// Takes no new job.
    Closed,
}

impl Cordon {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// What `scale` asks for, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleRequest {
    /// The numbers.
    pub target: ScaleTarget,
    /// After this long the pools are as the file and their queue say; without it, after the next
    /// `up`.
    pub lasting: Option<Duration>,
}

/// Numbers of runners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleTarget {
    /// This many runners in all, shared out in the proportions of the file.
    Total(u32),
    /// This many in each named pool (or the one pool of the named profile).
    Pools(BTreeMap<String, u32>),
}

/// What happens to running jobs on `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DownMode {
    /// Jobs are asked to stop, and get the profile's grace.
    Now,
    /// Jobs may end by themselves; nothing new starts.
    Drain,
}

/// A job as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobSpec {
    /// Program and arguments; at least one, and none where there is a `task`.
    pub command: Vec<String>,
    /// The name of work that somebody drives from outside on the runner that is leased for it:
    /// unique among the jobs that are not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskName>,
    /// Environment beside the profile's.
    pub env: BTreeMap<String, String>,
    /// The profile it needs at least; from `--type` or the default where not given.
    pub profile: Option<ProfileName>,
    /// The type of work, which `task_types` maps to a profile.
    pub task_type: Option<String>,
    /// Only this pool.
    pub pool: Option<PoolName>,
    /// The lane it belongs to.
    pub lane: Option<LaneName>,
    /// The workflow: groups reports and counts against `max_parallel_workflows`.
    /// A job without one is a run of its own, and not counted.
    pub workflow: Option<String>,
    /// The run within the workflow; the job's own id if none.
    pub run_id: Option<String>,
    /// Higher starts first.
    pub priority: i32,
    /// Ends the job after this long; the fleet's default if none.
    pub timeout: Option<Duration>,
    /// The uploaded working folder.
    pub workspace: Option<BlobId>,
    /// Who submitted it, for fair sharing and the record.
    pub submitter: String,
    /// How often it is tried again at most; the fleet's default if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// After which attempts it is tried again.
    #[serde(default)]
    pub retry_on: RetryOn,
    /// Whether it is on hold from the start, until somebody releases it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hold: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(it: &bool) -> bool {
    !it
}

impl JobSpec {
    /// What is to be done, in one line.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.task {
            Some(task) => format!("task {task}, driven from outside"),
            None => self.command.join(" "),
        }
    }
}
