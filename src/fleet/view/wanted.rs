//! Which jobs a reader wants to see.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobStatus;
use crate::fleet::job::Job;
use crate::ids::{JobId, LaneName, PoolName, ProfileName};

/// In which order jobs are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobOrder {
    /// The newest first.
    #[default]
    Newest,
    /// Those that wait, the next one first.
    Queue,
}

/// Which jobs to list; what is not said holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// In which order, of all or of those that wait.
    pub order: JobOrder,
    /// Only these states; all if empty.
    pub statuses: Vec<JobStatus>,
    /// Only those that may run in this pool alone.
    pub pool: Option<PoolName>,
    /// Only those that need this profile.
    pub profile: Option<ProfileName>,
    /// Only those of this lane.
    pub lane: Option<LaneName>,
    /// Only those that this submitter handed in.
    pub submitter: Option<String>,
    /// Only those of this workflow.
    pub workflow: Option<String>,
    /// Only those that were handed in before this one.
    pub before: Option<JobId>,
    /// At most this many.
    pub limit: usize,
}

impl JobFilter {
    /// The newest jobs, whatever they are.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(in crate::fleet) fn takes(&self, job: &Job) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        (self.statuses.is_empty() || self.statuses.contains(&job.status()))
            && self.before.is_none_or(|before| job.id < before)
            && is(self.pool.as_ref(), job.spec.pool.as_ref())
            && is(self.profile.as_ref(), Some(&job.profile))
            && is(self.lane.as_ref(), job.spec.lane.as_ref())
            && is(self.submitter.as_ref(), Some(&job.spec.submitter))
            && is(self.workflow.as_ref(), job.spec.workflow.as_ref())
    }
}
