//! Whether the kernel killed something in this container for memory, and whose memory it was.

use std::fs;

use crate::units::Bytes;
use crate::wire::message::{MemoryKill, Short};

/// The files of a container's own control group, by hierarchy: v2, then v1.
const HIERARCHIES: [Files; 2] = [
    Files {
        kills: "/sys/fs/cgroup/memory.events",
        peak: "/sys/fs/cgroup/memory.peak",
        limit: "/sys/fs/cgroup/memory.max",
    },
    Files {
        kills: "/sys/fs/cgroup/memory/memory.oom_control",
        peak: "/sys/fs/cgroup/memory/memory.max_usage_in_bytes",
        limit: "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    },
];

struct Files {
    /// How often the kernel killed here for memory.
    kills: &'static str,
    peak: &'static str,
    limit: &'static str,
}

/// How often the kernel has killed for memory here; 0 where it does not say.
pub(super) fn kills() -> u64 {
    let text = HIERARCHIES.iter().find_map(|files| fs::read_to_string(files.kills).ok());
    text.as_deref().and_then(|text| counter(text, "oom_kill")).unwrap_or(0)
}

/// What the kernel says of the memory that it killed for.
pub(super) fn account() -> Option<MemoryKill> {
    let read = |path| fs::read_to_string(path).ok();
    let files = HIERARCHIES.iter().find(|files| read(files.kills).is_some())?;
    let bytes = |path| read(path).and_then(|text| number(&text)).map(Bytes);
    let (peak, limit) = (bytes(files.peak), bytes(files.limit));
    Some(MemoryKill { short: short(peak, limit), peak, limit })
}

/// A host that runs out kills in containers that never came near their own limit. The kernel's
/// counters of hits do not tell the two apart: a limit on memory with swap has its own.
fn short(peak: Option<Bytes>, limit: Option<Bytes>) -> Short {
    match (peak, limit) {
        (Some(peak), Some(limit)) if peak.0 < limit.0 - limit.0 / 16 => Short::Host,
        (Some(_), Some(_)) | (None, _) | (_, None) => Short::Container,
    }
}

fn counter(text: &str, name: &str) -> Option<u64> {
    let line = |line: &str| number(line.strip_prefix(name)?.strip_prefix(' ')?);
    text.lines().find_map(line)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hierarchies_are_understood() {
        let kills = |text| counter(text, "oom_kill");
        assert_eq!(kills("low 0\noom 2\noom_kill 3\noom_group_kill 0\n"), Some(3));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(kills("under_oom 0\n"), None);
        assert_eq!((number("536870912\n"), number("max\n")), (Some(536_870_912), None));
    }

    #[test]
    fn only_a_container_far_from_its_limit_died_of_the_hosts_memory() {
        let limit = Some(Bytes::mib(512));
        assert_eq!(short(Some(Bytes::mib(512)), limit), Short::Container);
        assert_eq!(short(Some(Bytes::mib(490)), limit), Short::Container);
        assert_eq!(short(Some(Bytes::mib(300)), limit), Short::Host);
        assert_eq!(short(None, limit), Short::Container);
        assert_eq!(short(Some(Bytes::mib(300)), None), Short::Container);
    }
}
