//! What a job or a task asks of its runner, as `run`, `submit` and `assign` take it.

use clap::Args;

/// Where it may run, and when its turn is.
#[derive(Debug, Args)]
pub(super) struct WantedArgs {
    /// Profile that it needs at least
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<String>,
    /// Type of work; the fleet file's `task_types` say which profile it needs
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "profile")]
    pub(super) task_type: Option<String>,
    /// Only this pool
    #[arg(long, value_name = "POOL")]
    pub(super) pool: Option<String>,
    /// Lane that it belongs to
    #[arg(long, value_name = "LANE")]
    pub(super) lane: Option<String>,
    /// Higher goes first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(super) priority: i32,
}
