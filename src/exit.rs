//! The exit codes of `slate-fleet`, as data, so that the reference and the tests can walk them.

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All done.
    Done,
    /// It was tried and failed.
    Failed,
    /// The command line or the fleet file is wrong; nothing was changed.
    Usage,
    /// The time was up before the fleet, a runner or a job was where it should be.
    NotReady,
    /// A bound or the host's resources stand in the way.
    NoCapacity,
    /// Some of what was asked is done, some is not.
    Partly,
    /// No such job, runner, pool, profile or file.
    NotFound,
    /// The one who asks may not do this.
    NotAllowed,
    /// The engine or the supervisor does not answer, or no fleet is up.
    Unreachable,
    /// `plan` found changes.
    Changes,
    /// Ctrl-C or a termination signal ended it.
    Interrupted,
    /// A job's own exit code, passed through by `run` and `wait`.
    Job(u8),
}

/// `run`: the job's time was up, as coreutils' `timeout` says it.
pub const JOB_TIMED_OUT: u8 = 124;
/// `run`: the job could not be started, as `docker run` says it.
pub const JOB_NOT_STARTED: u8 = 125;
/// `run`: the job was killed for memory: 128 + SIGKILL.
pub const JOB_OUT_OF_MEMORY: u8 = 137;

/// Every fixed code with what it means to a caller.
pub const CATALOGUE: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Failed, "failed"),
    (Exit::Usage, "wrong command line or fleet file; nothing was changed"),
    (Exit::NotReady, "not ready in time"),
    (Exit::NoCapacity, "no capacity"),
    (Exit::Partly, "partly done"),
    (Exit::NotFound, "no such thing"),
    (Exit::NotAllowed, "not allowed"),
    (Exit::Unreachable, "engine or supervisor unreachable, or no fleet is up"),
    (Exit::Changes, "`plan` found changes"),
    (Exit::Job(JOB_TIMED_OUT), "`run`: the job's time was up"),
    (Exit::Job(JOB_NOT_STARTED), "`run`: the job could not be started, or its runner was lost"),
    (Exit::Interrupted, "interrupted, or the job was cancelled"),
    (Exit::Job(JOB_OUT_OF_MEMORY), "`run`: the job ran out of memory"),
];

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotReady => 3,
            Self::NoCapacity => 4,
            Self::Partly => 5,
            Self::NotFound => 6,
            Self::NotAllowed => 7,
            Self::Unreachable => 8,
            Self::Changes => 10,
            Self::Interrupted => 130,
            Self::Job(code) => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_catalogue_is_listed_once_in_order() {
        let codes: Vec<u8> = CATALOGUE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 124, 125, 130, 137]);
    }
}
