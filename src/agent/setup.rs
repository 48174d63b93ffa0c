//! What the agent does to itself before it begins.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getpid, set_child_subreaper, set_dumpable_behavior,
    setrlimit,
};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{AgentError, Settings};

/// Hides the agent's memory from jobs, allows no core files, keeps to the given CPUs, and inherits
/// orphans where it is not process 1.
///
/// # Errors
/// When the system refuses one of them; an agent without them must not run jobs.
pub fn prepare(settings: &Settings) -> Result<(), AgentError> {
    // The key of the agent's certificate is in its memory, and jobs may run as the same user.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| AgentError::new("hide the agent's memory", error))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|error| AgentError::new("forbid core files", error))?;
    if !getpid().is_init() {
        set_child_subreaper(Some(getpid()))
            .map_err(|error| AgentError::new("inherit orphaned processes", error))?;
    }
    keep_to_cpus(&settings.cpus)
}

/// Children inherit it, so that `nproc` shows a runner's size.
fn keep_to_cpus(cpus: &[u32]) -> Result<(), AgentError> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus.iter().map(|cpu| *cpu as usize).filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    sched_setaffinity(None, &set)
        .map_err(|error| AgentError::new("keep to the CPUs of `--cpus`", error))
}
