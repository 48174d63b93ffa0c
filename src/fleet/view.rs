//! The read model: what the API, the CLI and the metrics see. They never see the core's state.

mod planned;
mod pool;
mod runner;
mod shared;
mod wait;
mod wanted;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Fault, GpuTime};
use super::disk::DiskView;
use super::event::JobSpec;
use super::forge::ForgeView;
use super::gpu::GpuReading;
use super::job::Raised;
use crate::ids::{AttemptNo, IncarnationId, JobId, ProfileName, ProjectName, SlotId};
use crate::units::{GpuMib, Time};

pub use planned::{Change, PlanView, PlannedCard, PlannedChange};
pub use pool::{PoolView, SizeReason};
pub use runner::{FailureView, Health, RunnerStatus, RunnerView};
pub use shared::{HostView, LaneView, OldestView};
pub(super) use wait::clock;
pub use wait::{WaitCode, WaitReason, day_and_clock};
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
    /// Jobs that wait for a runner.
    pub queued: u32,
    /// Jobs beside them that an operator holds back.
    #[serde(default)]
    pub held: u32,
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

impl FleetView {
    /// The runner of this name (`slate-light-01`), id (`runner-001`), or name at its forge.
    #[must_use]
    pub fn runner_named(&self, name: &str) -> Option<&RunnerView> {
        let id = name.parse().ok();
        let runners = || self.runners.iter();
        runners()
            .find(|it| it.name == name)
            .or_else(|| runners().find(|it| Some(it.id) == id))
            .or_else(|| runners().find(|it| it.is_registered_as(name)))
    }
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
