//! What is left of runners that failed: taken before the container is removed, kept in the state
//! folder, and read by `explain`.
//!
//! `gather` asks the engine, within a bound; `store` keeps one file for each incarnation; `words`
//! turns it into a sentence. Nothing of an environment gets in, and what looks like a secret is
//! masked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::Inspection;
use crate::fleet::oom::GpuOom;
use crate::ids::{AttemptNo, ContainerId, IncarnationId, JobId, PoolName, ProfileName, SlotId};
use crate::units::Time;

mod gather;
mod store;
mod words;

pub use gather::{LOG_BYTES_MAX, LOG_LINES_MAX, gather};
pub use store::{Keep, PostMortemError, PostMortems, Pruned, Pruning, Wanted};
pub use words::advice;

/// The evidence of one failed runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PostMortem {
    /// What happened, in one sentence.
    pub summary: String,
    /// The kind of cause in one word: `died`, `vanished`, `stale` …
    pub cause: String,
    /// The cause in the words of the record.
    pub why: String,
    /// When the runner was given up.
    pub at: Time,
    /// Which incarnation it was.
    pub incarnation: IncarnationId,
    /// The slot that it filled; none for a spare.
    pub slot: Option<SlotId>,
    /// That slot's name.
    pub runner: Option<String>,
    /// Its pool.
    pub pool: PoolName,
    /// Its profile.
    pub profile: ProfileName,
    /// Its image as the file names it.
    pub image: String,
    /// Its container, if one was made.
    pub container: Option<ContainerId>,
    /// That container's name.
    pub container_name: String,
    /// The job that it held.
    pub job: Option<JobId>,
    /// Which attempt of it.
    pub attempt: Option<AttemptNo>,
    /// How its job ran out of GPU memory, if that is why it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_oom: Option<GpuOom>,
    /// The exit code of the container's first process, the agent.
    pub exit_code: Option<i64>,
    /// The agent's last sign of life, if one was heard.
    pub heard: Option<Time>,
    /// What the engine said of the container.
    pub engine: Option<Inspection>,
    /// The last lines that the agent printed.
    pub log: Vec<String>,
    /// Evidence that could not be had, and why.
    pub missing: Vec<String>,
}
