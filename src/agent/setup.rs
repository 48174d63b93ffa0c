//! What the agent does to itself before it begins.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getpid, set_child_subreaper, set_dumpable_behavior,
    setrlimit,
};

use super::{AgentError, Settings, cpus, say};

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
    // A runner that looks larger than it is does its work all the same.
    if let Err(error) = cpus::keep_to_own(&settings.cpus, &settings.enrolment) {
        say(&format!("cannot keep to the runner's CPUs: {error}"));
    }
    Ok(())
}
