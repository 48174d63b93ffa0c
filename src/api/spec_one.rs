//! Specification 1's `/api/runners`, to the letter; `status --json` prints the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::usage::HostUsage;
use crate::fleet::view::{FleetView, RunnerStatus};

/// The summary. Field order is the specification's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnersSummary {
    /// Slots in all.
    pub total_runners: u32,
    /// Slots with a job.
    pub running: u32,
    /// Slots ready for a job.
    pub idle: u32,
    /// Slots in trouble.
    pub error: u32,
    /// Bound on distinct workflow runs.
    pub max_parallel: u32,
    /// Slots by card: `GPU 0`.
    pub gpu_distribution: BTreeMap<String, u32>,
    /// Percent in use: `cpu`, and `gpu_0` … where the cards are read.
    pub utilization: BTreeMap<String, u32>,
}

impl RunnersSummary {
    pub(super) fn of(fleet: &FleetView, usage: &HostUsage) -> Self {
        let mut summary = Self::counts(fleet);
        if let Some(percent) = usage.cpu_percent() {
            summary.utilization.insert("cpu".to_owned(), percent);
        }
        summary
    }

    /// The summary without what only the host knows.
    #[must_use]
    pub fn counts(fleet: &FleetView) -> Self {
        let mut summary = Self {
            total_runners: 0,
            running: 0,
            idle: 0,
            error: 0,
            max_parallel: fleet.max_parallel_workflows,
            gpu_distribution: BTreeMap::new(),
            utilization: BTreeMap::new(),
        };
        for runner in &fleet.runners {
            summary.total_runners += 1;
            match runner.status {
                RunnerStatus::Running => summary.running += 1,
                RunnerStatus::Idle => summary.idle += 1,
                RunnerStatus::Error
                | RunnerStatus::Stale
                | RunnerStatus::Oom
                | RunnerStatus::TimedOut => summary.error += 1,
                RunnerStatus::Planned
                | RunnerStatus::Creating
                | RunnerStatus::Starting
                | RunnerStatus::Stopping
                | RunnerStatus::Removing => {}
            }
            if let Some(gpu) = runner.gpu {
                *summary.gpu_distribution.entry(format!("GPU {gpu}")).or_default() += 1;
            }
        }
        summary
    }
}
