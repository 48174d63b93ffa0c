//! File descriptors: as many as the system gives, shared out so that a flood of connections leaves
//! enough for the database, the engine and the logs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The supervisor's own: database, locks, logs, the engine's connections, those who look at reports
/// and what they read, and some room.
const OWN: u64 = 48 + 2 * crate::api::report_site::SEATS as u64;
/// Fewer connections than this would be of no use.
const FEWEST: u64 = 8;
/// As many as requests may be in work at a time.
const API_MOST: u64 = 1024;
/// A runner's session has a connection, and its job a log.
const EACH_AGENT: u64 = 2;
/// More runners than one host can hold.
const AGENTS_MOST: u64 = 20_000;

/// How many connections may be open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connections {
    /// Of clients, for the socket and for the port each.
    pub api: usize,
    /// Of agents.
    pub agents: usize,
}

/// Takes as many descriptors as this process may have, and shares them out.
pub(super) fn raise() -> Connections {
    let allowed = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    let limit = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => allowed.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            allowed.current
        }
    };
    let shares = share(limit.unwrap_or(u64::MAX));
    tracing::debug!(?limit, ?shares, "open files");
    shares
}

fn share(limit: u64) -> Connections {
    let spare = limit.saturating_sub(OWN);
    let api = (spare / 8).clamp(FEWEST, API_MOST);
    let agents = (spare.saturating_sub(2 * api) / EACH_AGENT).clamp(FEWEST, AGENTS_MOST);
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Connections { api: count(api), agents: count(agents) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_shared_out_and_many_are_bounded() {
        assert_eq!(share(64), Connections { api: 8, agents: 8 });
        assert_eq!(share(1024), Connections { api: 114, agents: 342 });
        assert_eq!(share(u64::MAX), Connections { api: 1024, agents: 20_000 });
    }
}
