//! The closed sets of the read model in words, for programs.

use super::{FleetPhase, RunnerStatus};

impl RunnerStatus {
    /// All there are.
    pub const ALL: [Self; 12] = [
        Self::Planned,
        Self::Creating,
        Self::Starting,
        Self::Registering,
        Self::Idle,
        Self::Running,
        Self::Stopping,
        Self::Removing,
        Self::Error,
        Self::Stale,
        Self::Oom,
        Self::TimedOut,
    ];

    /// The status in one word, as it is written everywhere.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Registering => "registering",
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Removing => "removing",
            Self::Error => "error",
            Self::Stale => "stale",
            Self::Oom => "oom",
            Self::TimedOut => "timed_out",
        }
    }
}

impl FleetPhase {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Converging, Self::Ready, Self::GoingDown];

    /// The phase in one word, as it is written everywhere.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Converging => "converging",
            Self::Ready => "ready",
            Self::GoingDown => "going_down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_documents() {
        let written = |word: serde_json::Value| word.as_str().map(str::to_owned);
        for status in RunnerStatus::ALL {
            let json = serde_json::to_value(status).unwrap();
            assert_eq!(written(json).as_deref(), Some(status.word()));
        }
        for phase in FleetPhase::ALL {
            let json = serde_json::to_value(phase).unwrap();
            assert_eq!(written(json).as_deref(), Some(phase.word()));
        }
    }
}
