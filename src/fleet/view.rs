//! The read model: what the API, the CLI and the metrics see. They never see the core's state.

mod planned;
mod shared;
mod wait;
mod wanted;
mod words;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Fault, GpuTime};
use super::disk::DiskView;
use super::downgrade::Downgrade;
use super::event::{Cordon, JobSpec};
use super::forge::{ForgeRunnerView, ForgeView};
use super::gpu::GpuReading;
use super::job::Raised;
use crate::ids::{
    AttemptNo, ContainerId, IncarnationId, JobId, PoolName, ProfileName, ProjectName, SlotId,
    TaskName,
};
use crate::units::{Bytes, GpuMib, MilliCpu, Time};

pub use planned::{Change, PlanView, PlannedCard, PlannedChange};
pub use shared::{HostView, LaneView, OldestView};
pub(super) use wait::clock;
pub use wait::{WaitCode, WaitReason};
pub use wanted::{JobFilter, JobOrder};

/// The whole fleet at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetView {
    /// The project.
    pub project: ProjectName,
    /// When this was true.
    pub at: Time,
    /// Whether the fleet is as the file says.
    pub phase: FleetPhase,
    /// What stands in the way, in words for people; empty when all is well.
    pub troubles: Vec<String>,
    /// Bound on distinct workflow runs.
    pub max_parallel_workflows: u32,
    /// Every slot, by id.
    pub runners: Vec<RunnerView>,
    /// Every pool, in the file's order.
    pub pools: Vec<PoolView>,
    /// Every card of the host, by index.
    #[serde(default)]
    pub gpus: GpusView,
    /// Jobs that wait.
    pub queued: u32,
    /// Jobs that run.
    pub running: u32,
    /// The job that waits longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<OldestView>,
    /// Every lane, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneView>,
    /// The host.
    #[serde(default)]
    pub host: HostView,
    /// Every scope at a forge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forges: Vec<ForgeView>,
    /// Every disk that the fleet writes to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskView>,
}

/// Where the fleet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FleetPhase {
    /// Nothing is decided before the first complete list of containers.
    Starting,
    /// Work towards the spec is going on.
    Converging,
    /// Every runner is as the spec says.
    Ready,
    /// Removing everything.
    GoingDown,
}

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

/// The host's cards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpusView {
    /// Each card, by index.
    pub cards: Vec<GpuView>,
    /// What was not looked for or not found and why, a sentence each.
    pub notes: Vec<String>,
    /// The library that answered.
    pub library: Option<String>,
    /// The driver's version.
    pub driver: Option<String>,
}

/// One card, with what the fleet has on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuView {
    /// What was read of it.
    #[serde(flatten)]
    pub reading: GpuReading,
    /// Who holds what of it, by slot.
    pub leases: Vec<LeaseView>,
    /// What the leases hold together: of each the larger of reserved and measured.
    pub committed: GpuMib,
    /// In use by nobody of the fleet: desktops, other containers, leaks.
    pub foreign: GpuMib,
    /// What may still be leased.
    pub headroom: GpuMib,
    /// Why nothing more is placed on it, if so.
    pub cordon: Option<String>,
}

impl GpuView {
    /// A card that no fleet has anything on: what is in use is others'.
    #[must_use]
    pub fn unleased(reading: GpuReading) -> Self {
        let foreign = reading.used.unwrap_or_default();
        let taken = reading.card.reserved.0.saturating_add(foreign.0);
        Self {
            headroom: GpuMib(reading.card.memory.0.saturating_sub(taken)),
            leases: Vec::new(),
            committed: GpuMib(0),
            foreign,
            cordon: None,
            reading,
        }
    }
}

/// Memory of a card held by a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseView {
    /// The slot, if the runner is no spare.
    pub slot: Option<SlotId>,
    /// The runner.
    pub incarnation: IncarnationId,
    /// Its name, as `ps` lists it; its container's where it is a spare.
    pub name: String,
    /// Its profile.
    pub profile: ProfileName,
    /// What it reserved.
    pub reserved: GpuMib,
    /// What its processes hold, where that could be read.
    pub used: Option<GpuMib>,
    /// Whether it is alone on the card.
    pub exclusive: bool,
    /// Percent of the card's time that it had lately.
    pub busy_percent: Option<u8>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// Its profile.
    pub profile: ProfileName,
    /// Slots wanted.
    pub desired: u32,
    /// The fewest slots by the file.
    pub min: u32,
    /// The most slots by the file.
    pub max: u32,
    /// Why it has the size that it has.
    pub why: SizeReason,
    /// Jobs that wait for it, if it follows its queue.
    pub waiting: u32,
    /// Slots idle.
    pub idle: u32,
    /// Slots with a job.
    pub running: u32,
    /// Slots in trouble.
    pub error: u32,
    /// Ready containers beside the slots.
    pub spares: u32,
    /// Whether `scale` set the number.
    pub scaled: bool,
}

/// Why a pool has the size that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SizeReason {
    /// The file gives a number.
    File,
    /// `scale` set it.
    Set {
        /// Until when; without it, until the next `up`.
        until: Option<Time>,
    },
    /// Nothing asks for more than the fewest.
    Least,
    /// It keeps runners warm beside the busy ones.
    Warm,
    /// Jobs wait, and it grows until few enough do.
    Queue {
        /// How many.
        waiting: u32,
    },
    /// Jobs wait, and it has all that it may have.
    Most {
        /// How many.
        waiting: u32,
    },
    /// It should grow and cannot.
    Held {
        /// The jobs that wait.
        waiting: u32,
        /// What stands in the way.
        why: String,
    },
    /// It had more to do; runners go when they were idle for long enough.
    Idle {
        /// How long.
        after: Duration,
    },
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// What was submitted.
    pub spec: JobSpec,
    /// The profile it needs, resolved.
    pub profile: ProfileName,
    /// What it needed before it ran out of GPU memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised: Option<Raised>,
    /// `workflow/run_id`, its folder in the report store.
    pub reports: String,
    /// Where it stands.
    pub status: JobStatus,
    /// Attempts so far.
    pub attempt: AttemptNo,
    /// The slot it runs or ran on.
    pub runner: Option<SlotId>,
    /// That slot's name.
    pub runner_name: Option<String>,
    /// Accepted.
    pub queued_at: Time,
    /// Given to a runner.
    pub assigned_at: Option<Time>,
    /// First process started.
    pub started_at: Option<Time>,
    /// Over.
    pub ended_at: Option<Time>,
    /// The job's exit code, when it exited; 128 + signal when a signal ended it.
    pub exit_code: Option<i32>,
    /// Why it waits, or how it ended.
    pub reason: Option<String>,
    /// Why it waits, in one word; none unless it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<WaitCode>,
    /// The same with its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitReason>,
    /// Whose fault its end was, if it did not succeed.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// Every time that it was given to a runner, the first one first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// What its attempts that are over had of their cards' time; none if none had a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_time: Option<GpuTime>,
    /// Place in the queue, from 1.
    pub position: Option<u32>,
}

/// Where a job stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waits for a runner.
    Queued,
    /// Given to a runner, not started yet.
    Assigned,
    /// Runs.
    Running,
    /// Exit code 0.
    Succeeded,
    /// Another exit code, or it could not be started.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// Its time was up.
    TimedOut,
    /// It ran out of memory.
    Oom,
    /// Its runner died under it and it may not be run again.
    Lost,
}

impl JobStatus {
    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Assigned | Self::Running => false,
            Self::Succeeded
            | Self::Failed
            | Self::Cancelled
            | Self::TimedOut
            | Self::Oom
            | Self::Lost => true,
        }
    }
}
