//! Whether the kernel killed something in this container for memory.

use std::fs;

/// The kernel's counters of a container's own control group, by hierarchy: v2, then v1.
const COUNTERS: [&str; 2] =
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// How often the kernel has killed for memory here; 0 where it does not say.
pub(super) fn kills() -> u64 {
    let text = COUNTERS.iter().find_map(|path| fs::read_to_string(path).ok());
    text.as_deref().and_then(count).unwrap_or(0)
}

fn count(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hierarchies_are_understood() {
        assert_eq!(count("low 0\noom 2\noom_kill 3\noom_group_kill 0\n"), Some(3));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(count("under_oom 0\n"), None);
    }
}
