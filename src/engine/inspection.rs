//! What an engine says of one container, for people who ask why it died. Nothing of its
//! environment, its command or foreign labels is taken over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, MilliCpu};

/// A container's state and limits at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// The engine's word: `created`, `running`, `paused`, `exited`, `dead` …
    pub status: String,
    /// How its first process ended; none while it runs or if it never started.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed something in it for memory, as far as the engine noticed.
    pub oom_killed: bool,
    /// Why the engine could not start it, in its words.
    pub error: Option<String>,
    /// When it was started last, as the engine writes it.
    pub started_at: Option<String>,
    /// When it ended last, as the engine writes it.
    pub finished_at: Option<String>,
    /// What its health check said last.
    pub health: Option<String>,
    /// How often the engine started it again by itself.
    pub restarts: u64,
    /// Its memory limit.
    pub memory: Option<Bytes>,
    /// Its CPU limit.
    pub cpus: Option<MilliCpu>,
    /// Most processes and threads in it.
    pub pids: Option<u64>,
}
