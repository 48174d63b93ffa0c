//! A runner's place in the fleet, as readers see it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::downgrade::Downgrade;
use crate::fleet::event::Cordon;
use crate::fleet::forge::ForgeRunnerView;
use crate::ids::{ContainerId, IncarnationId, JobId, PoolName, ProfileName, SlotId, TaskName};
use crate::units::{Bytes, MilliCpu, Time};

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerView {
    /// `runner-001`.
    pub id: SlotId,
    /// `slate-standard-08`.
    pub name: String,
    /// The pool.
    pub pool: PoolName,
    /// The profile that it has now.
    pub profile: ProfileName,
    /// What that stands in the place of, for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downgrade: Option<Downgrade>,
    /// Labels.
    pub labels: Vec<String>,
    /// Index of its GPU.
    pub gpu: Option<u32>,
    /// Where it stands.
    pub status: RunnerStatus,
    /// Since when.
    pub since: Time,
    /// Whether it takes new jobs.
    pub cordon: Cordon,
    /// Its present incarnation.
    pub incarnation: Option<IncarnationId>,
    /// Its present container.
    pub container: Option<ContainerId>,
    /// The container's name.
    pub container_name: Option<String>,
    /// The image as the file names it.
    pub image: String,
    /// The job that it runs.
    pub job: Option<JobId>,
    /// That job's name, if somebody drives it from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskName>,
    /// Jobs done in this slot.
    pub tasks_completed: u64,
    /// CPU limit.
    pub cpus: MilliCpu,
    /// Memory limit.
    pub memory: Bytes,
    /// The last failure here, or what it waits for.
    pub reason: Option<String>,
    /// The last runner that failed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailureView>,
    /// Whether the agent's last sign of life is recent.
    pub health: Health,
    /// The agent's last sign of life, if this supervisor heard one.
    #[serde(default)]
    pub heard: Option<Time>,
    /// What its forge knows of it, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<ForgeRunnerView>,
}

/// A runner that has served for this long has left its failures behind.
const SERVES_WELL: Duration = Duration::from_secs(60);

impl RunnerView {
    /// How often it failed in a row; none once it has served for a while.
    #[must_use]
    pub fn failures_in_a_row(&self, now: Time) -> u32 {
        let is_well = self.status.is_serving() && now.since(self.since) > SERVES_WELL;
        let failure = self.last_failure.as_ref().filter(|_| !is_well);
        failure.map_or(0, |failure| failure.in_a_row)
    }

    /// Whether its forge lists it under this name.
    #[must_use]
    pub fn is_registered_as(&self, name: &str) -> bool {
        self.forge.as_ref().is_some_and(|forge| forge.name.as_deref() == Some(name))
    }
}

/// A runner that failed in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureView {
    /// The state that it failed with: `error`, `stale`, `oom` or `timed_out`.
    pub status: RunnerStatus,
    /// Why, in words.
    pub cause: String,
    /// When.
    pub at: Time,
    /// Which runner.
    pub incarnation: IncarnationId,
    /// The job that it had.
    pub job: Option<JobId>,
    /// Failures in a row; 0 once they are forgiven.
    pub in_a_row: u32,
    /// When the next runner is tried, while the slot waits for that.
    pub next_try: Option<Time>,
}

/// A runner's state in the words that users see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunnerStatus {
    /// To be created.
    Planned,
    /// The container is being made.
    Creating,
    /// The container is starting, or its agent has not spoken yet.
    Starting,
    /// On its way into its forge's list, or to being online there.
    Registering,
    /// Ready for a job.
    Idle,
    /// Runs a job.
    Running,
    /// Asked to end.
    Stopping,
    /// Being removed.
    Removing,
    /// Failed; the reason says why and when it is tried again.
    Error,
    /// Silent for too long, or alive and without progress.
    Stale,
    /// Ran out of memory.
    Oom,
    /// Its job did not end in time.
    TimedOut,
}

impl RunnerStatus {
    /// Whether it has a job or is ready for one.
    #[must_use]
    pub fn is_serving(self) -> bool {
        match self {
            Self::Idle | Self::Running => true,
            Self::Planned
            | Self::Creating
            | Self::Starting
            | Self::Registering
            | Self::Stopping
            | Self::Removing
            | Self::Error
            | Self::Stale
            | Self::Oom
            | Self::TimedOut => false,
        }
    }

    /// Whether it is one of specification 1's error states.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        match self {
            Self::Error | Self::Stale | Self::Oom | Self::TimedOut => true,
            Self::Planned
            | Self::Creating
            | Self::Starting
            | Self::Registering
            | Self::Idle
            | Self::Running
            | Self::Stopping
            | Self::Removing => false,
        }
    }
}

/// What is known of a runner's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The agent has spoken lately.
    Healthy,
    /// The agent has not spoken for too long.
    Unhealthy,
    /// No agent yet.
    Unknown,
}
